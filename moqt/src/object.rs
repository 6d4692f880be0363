//! Objects: what tracks are made of (draft 2.1, 11.2).

use bytes::Bytes;

/// Where an object stands in its track: group first, then object (draft 1.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Location {
    /// Group id.
    pub group: u64,
    /// Object id within the group.
    pub object: u64,
}

impl Location {
    /// The location of `object` in `group`.
    pub const fn new(group: u64, object: u64) -> Self {
        Location { group, object }
    }
}

/// How the original publisher sends an object; a relay keeps it (draft 11.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// One object, one datagram.
    Datagram,
    /// On the stream of this subgroup of the object's group.
    Subgroup(u64),
}

/// Whether an object is one, or says that none follow (draft 11.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// An object with a payload, which may be empty.
    #[default]
    Normal,
    /// No object with this id or a larger one exists in the group.
    EndOfGroup,
    /// No object at this location or a later one exists in the track.
    EndOfTrack,
}

impl Status {
    /// The number on the wire.
    pub const fn code(self) -> u64 {
        match self {
            Status::Normal => 0x0,
            Status::EndOfGroup => 0x3,
            Status::EndOfTrack => 0x4,
        }
    }

    /// The status of a number on the wire; `None` closes the session with PROTOCOL_VIOLATION.
    pub const fn from_code(code: u64) -> Option<Self> {
        match code {
            0x0 => Some(Status::Normal),
            0x3 => Some(Status::EndOfGroup),
            0x4 => Some(Status::EndOfTrack),
            _ => None,
        }
    }
}

/// One object, whole. Clones share the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Where it stands.
    pub location: Location,
    /// Publisher priority, lower is sent first; `None` is the track's default (draft 7).
    pub priority: Option<u8>,
    /// Datagram or subgroup.
    pub forwarding: Forwarding,
    /// Normal, or the end of something. Anything but normal has neither properties nor payload.
    pub status: Status,
    /// True when no later object exists in the group (the END_OF_GROUP bit of a datagram).
    pub ends_group: bool,
    /// The object's Key-Value-Pairs as they came, without their length; read with [`crate::properties`].
    pub properties: Bytes,
    /// The payload; never looked into by a relay.
    pub payload: Bytes,
}

impl Object {
    /// A normal datagram object without properties.
    pub fn datagram(location: Location, payload: impl Into<Bytes>) -> Self {
        Object {
            location,
            priority: None,
            forwarding: Forwarding::Datagram,
            status: Status::Normal,
            ends_group: false,
            properties: Bytes::new(),
            payload: payload.into(),
        }
    }

    /// A normal object of subgroup 0 without properties.
    pub fn stream(location: Location, payload: impl Into<Bytes>) -> Self {
        Object { forwarding: Forwarding::Subgroup(0), ..Self::datagram(location, payload) }
    }
}
