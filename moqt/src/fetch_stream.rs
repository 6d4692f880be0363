//! FETCH responses (draft 11.4.4): an encoder for one outgoing stream, a decoder for one incoming.

use bytes::{Bytes, BytesMut};

use crate::{
    error::Violation,
    message::{GroupOrder, RequestId},
    object::{Location, Object},
};

/// What a FETCH stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// An object. Its status is always normal.
    Object(Object),
    /// Nothing exists from after the item before up to this location, inclusive (0x8C).
    NonExistent(Location),
    /// Nobody knows what is from after the item before up to this location, inclusive (0x10C).
    Unknown(Location),
}

/// Writes one FETCH stream.
#[derive(Debug)]
pub struct Encoder {}

impl Encoder {
    /// Appends the header to `out`.
    pub fn new(_request: RequestId, _order: GroupOrder, _out: &mut BytesMut) -> Self {
        unimplemented!()
    }

    /// Appends an item's header to `out`, and returns the payload that follows it, not copied (empty for
    /// ranges). `None` when the item does not follow the one before in the stream's order.
    #[must_use]
    pub fn item(&mut self, _item: &FetchItem, _out: &mut BytesMut) -> Option<Bytes> {
        unimplemented!()
    }
}

/// Reads one FETCH stream, in whatever pieces it arrives.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder that takes the stream from its type on. The order is that of the FETCH; it must be given
    /// with [`Self::order`] before the second group can be read.
    pub fn new(_object_bytes_max: usize) -> Self {
        unimplemented!()
    }

    /// The request of the header, once it has come.
    pub fn request(&mut self) -> Result<Option<RequestId>, Violation> {
        unimplemented!()
    }

    /// The order asked for by the request.
    pub fn order(&mut self, _order: GroupOrder) {
        unimplemented!()
    }

    /// More bytes of the stream.
    pub fn push(&mut self, _bytes: Bytes) {
        unimplemented!()
    }

    /// The next item, `None` until more bytes come.
    pub fn poll(&mut self) -> Result<Option<FetchItem>, Violation> {
        unimplemented!()
    }

    /// The stream's FIN: an error in the middle of an item.
    pub fn finish(&self) -> Result<(), Violation> {
        unimplemented!()
    }

    /// Bytes held, for limits.
    pub fn buffered_bytes(&self) -> usize {
        unimplemented!()
    }
}
