//! Objects of subgroup streams on their way to one connection (draft 11.4.3).

use roundtable_moqt::{Object, StreamResetCode};

use crate::queue::SubscriptionKey;

/// The upstream stream an object came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamStream {
    /// Names the stream, whoever sent it; never used again.
    pub id: u64,
    /// The subgroup it carries, as its header says.
    pub subgroup: Subgroup,
    /// Objects that came on it before this one, duplicates and filtered ones included; at its end, all of them.
    pub objects_before: u64,
}

/// Header of a subgroup as the original publisher gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subgroup {
    /// Group of every object.
    pub group: u64,
    /// Id within the group.
    pub id: u64,
    /// Publisher priority as it stood in the header; `None` is the track's default.
    pub priority: Option<u8>,
    /// `priority`, or the track's default.
    pub effective_priority: u8,
    /// END_OF_GROUP bit.
    pub ends_group: bool,
    /// FIRST_OBJECT bit.
    pub first_object: bool,
    /// PROPERTIES bit.
    pub has_properties: bool,
}

/// Names a subgroup stream toward the subscriber; never used again in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutgoingStream(pub u64);

/// What to do on the connection's subgroup streams, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStep {
    /// Open a stream.
    Open {
        /// Its name from now on.
        stream: OutgoingStream,
        /// Whose it is.
        subscription: SubscriptionKey,
        /// Its header; `first_object` is true only if the subgroup's first object follows.
        subgroup: Subgroup,
    },
    /// Write an object.
    Object {
        /// Where.
        stream: OutgoingStream,
        /// What.
        object: Object,
    },
    /// FIN.
    Finish {
        /// Where.
        stream: OutgoingStream,
    },
    /// RESET_STREAM; unsent objects are dropped.
    Reset {
        /// Where.
        stream: OutgoingStream,
        /// Why.
        code: StreamResetCode,
    },
}
