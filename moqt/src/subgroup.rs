//! Subgroup streams (draft 11.4.2): an encoder for one outgoing stream, a decoder for one incoming.

use bytes::{Bytes, BytesMut};

use crate::{error::Violation, message::TrackAlias, object::Object};

/// Header of a subgroup stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubgroupHeader {
    /// The sender's name for the track.
    pub alias: TrackAlias,
    /// Group of every object on the stream.
    pub group: u64,
    /// Subgroup; `None` while it is "the id of the first object" and that has not come yet.
    pub subgroup: Option<u64>,
    /// `None` is the track's default.
    pub priority: Option<u8>,
    /// The stream's end is the group's end.
    pub ends_group: bool,
    /// The first object here is the first ever published in the subgroup.
    pub first_object: bool,
    /// Objects carry a properties field.
    pub has_properties: bool,
}

/// Writes one subgroup stream.
#[derive(Debug)]
pub struct Encoder {
    _header: SubgroupHeader,
    _previous: Option<u64>,
}

impl Encoder {
    /// Appends the header to `out`. `header.subgroup` is `Some`.
    pub fn new(_header: SubgroupHeader, _out: &mut BytesMut) -> Self {
        unimplemented!()
    }

    /// Appends the object's header to `out` and returns the payload that follows it, not copied.
    /// Objects ascend; `None` when this one does not follow.
    #[must_use]
    pub fn object(&mut self, _object: &Object, _out: &mut BytesMut) -> Option<Bytes> {
        unimplemented!()
    }
}

/// Reads one subgroup stream, in whatever pieces it arrives.
#[derive(Debug)]
pub struct Decoder {}

/// What a decoder found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The stream's header; always first, once.
    Header(SubgroupHeader),
    /// A whole object (possibly a status). Its subgroup is resolved.
    Object(Object),
}

impl Decoder {
    /// A decoder that takes the stream from its type on; larger objects than the limit are a violation.
    pub fn new(_object_bytes_max: usize) -> Self {
        unimplemented!()
    }

    /// More bytes of the stream.
    pub fn push(&mut self, _bytes: Bytes) {
        unimplemented!()
    }

    /// The next item, `None` until more bytes come.
    pub fn poll(&mut self) -> Result<Option<Item>, Violation> {
        unimplemented!()
    }

    /// The stream's FIN: an error in the middle of an object.
    pub fn finish(&self) -> Result<(), Violation> {
        unimplemented!()
    }

    /// Bytes held, for limits.
    pub fn buffered_bytes(&self) -> usize {
        unimplemented!()
    }
}
