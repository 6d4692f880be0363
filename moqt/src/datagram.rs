//! OBJECT_DATAGRAM, decoded in place (draft 11.3.1), and padding datagrams (11.6.2).

use bytes::Bytes;

use crate::{
    error::Violation,
    message::TrackAlias,
    object::{Location, Object},
};

/// A datagram of the peer, its header decoded, its bytes shared with the packet.
#[derive(Debug, Clone)]
pub struct ObjectDatagram {
    /// The sender's name for the track.
    pub alias: TrackAlias,
    /// The object; properties and payload are slices of the datagram.
    pub object: Object,
    /// The type byte, needed to forward the datagram.
    kind: u8,
    /// Everything after the alias, which a relay forwards as it stands.
    rest: Bytes,
}

impl ObjectDatagram {
    /// Decodes a datagram. `Ok(None)` is padding. An error ends the session with its code.
    pub fn decode(_bytes: Bytes) -> Result<Option<Self>, Violation> {
        unimplemented!()
    }

    /// Encodes an object. `prefix` (a WebTransport session's quarter id, or nothing) stands in front.
    pub fn encode(_prefix: &[u8], _alias: TrackAlias, _object: &Object) -> Bytes {
        unimplemented!()
    }

    /// The same datagram under another alias: type and everything after the alias stay as they are.
    /// One allocation, one copy; meant to be done once per track and shared by all receivers.
    pub fn forward(&self, _prefix: &[u8], _alias: TrackAlias) -> Bytes {
        let _ = (self.kind, &self.rest);
        unimplemented!()
    }

    /// Bytes of the header and payload that [`Self::encode`] makes with this alias, without prefix.
    pub fn encoded_len(_alias: TrackAlias, _object: &Object) -> usize {
        unimplemented!()
    }

    /// Where the object stands.
    pub fn location(&self) -> Location {
        self.object.location
    }
}
