//! The datagrams of one track that came in one turn, made ready to leave.

use std::time::Instant;

use bytes::Bytes;
use roundtable_forward::{Datagram, Marks};
use roundtable_moqt::{Object, ObjectDatagram, message::TrackAlias};

/// What stands in front of a WebTransport datagram. Raw QUIC's form is what follows it, so one buffer serves both.
const WEB_TRANSPORT_PREFIX: &[u8] = &[0];

/// Datagrams of a track, built once for everybody. Kept between turns for its memory.
#[derive(Debug, Default)]
pub struct Batch {
    received: Vec<ObjectDatagram>,
    web_transport: Vec<Datagram>,
    quic: Vec<Datagram>,
}

impl Batch {
    /// One more that came.
    pub fn push(&mut self, datagram: ObjectDatagram) {
        self.received.push(datagram);
    }

    /// None has come.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty()
    }

    pub(super) fn take_received(&mut self) -> Vec<ObjectDatagram> {
        std::mem::take(&mut self.received)
    }

    pub(super) fn give_back(&mut self, mut received: Vec<ObjectDatagram>) {
        received.clear();
        self.received = received;
        self.web_transport.clear();
        self.quic.clear();
    }

    /// In the form of connections with this prefix.
    pub(super) fn of(&self, prefix: &[u8]) -> &[Datagram] {
        if prefix.is_empty() { &self.quic } else { &self.web_transport }
    }

    pub(super) fn is_ready_empty(&self) -> bool {
        self.quic.is_empty()
    }

    /// Adds one that is to be sent.
    pub(super) fn ready(&mut self, received: Instant, object: &Object, default_priority: u8, bytes: Bytes) {
        let datagram = Datagram {
            location: object.location,
            publisher_priority: object.priority.unwrap_or(default_priority),
            received,
            marks: Marks::new(&object.properties),
            bytes,
        };
        let bytes = datagram.bytes.slice(WEB_TRANSPORT_PREFIX.len()..);
        let Datagram { location, publisher_priority, received, marks, .. } = datagram;
        self.quic.push(Datagram { location, publisher_priority, received, marks, bytes });
        self.web_transport.push(datagram);
    }
}

/// A datagram under the relay's alias, with the WebTransport prefix, and its object as slices of the new bytes: what
/// the cache keeps must not hold on to the receive buffer.
pub(super) fn rebuild(datagram: &ObjectDatagram, alias: TrackAlias) -> (Bytes, Object) {
    let bytes = datagram.forward(WEB_TRANSPORT_PREFIX, alias);
    let object = &datagram.object;
    let payload_at = bytes.len().saturating_sub(object.payload.len());
    let properties_at = payload_at.saturating_sub(object.properties.len());
    let rebuilt = Object {
        payload: bytes.slice(payload_at..),
        properties: bytes.slice(properties_at..payload_at),
        ..*object
    };
    (bytes, rebuilt)
}

/// The same for an object that came in answer to a FETCH.
pub(super) fn encode(object: &Object, alias: TrackAlias) -> Bytes {
    ObjectDatagram::encode(WEB_TRANSPORT_PREFIX, alias, object)
}
