//! What the driver is told to do.

use std::time::Instant;

use bytes::Bytes;

use crate::error::{SessionError, StreamResetCode};

/// A stream of the session, named by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// One way or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Control and data.
    Uni,
    /// Requests.
    Bi,
}

/// Something for the driver to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// Open a stream. Higher `priority` goes first (quinn's sense).
    Open {
        /// Its name from now on.
        stream: StreamId,
        /// One way or both.
        kind: StreamKind,
        /// See above.
        priority: i32,
    },
    /// Send bytes on a stream.
    Data {
        /// Which.
        stream: StreamId,
        /// What.
        bytes: Bytes,
    },
    /// Send FIN.
    Finish {
        /// Which.
        stream: StreamId,
        /// Unless the peer has acknowledged all of it by then, reset it with DELIVERY_TIMEOUT (draft 8).
        by: Option<Instant>,
    },
    /// Send RESET_STREAM; unsent bytes are dropped.
    Reset {
        /// Which.
        stream: StreamId,
        /// Why.
        code: StreamResetCode,
    },
    /// Send STOP_SENDING.
    Stop {
        /// Which.
        stream: StreamId,
        /// Why.
        code: StreamResetCode,
    },
    /// Change a stream's priority.
    Priority {
        /// Which.
        stream: StreamId,
        /// Higher goes first.
        priority: i32,
    },
    /// Close the connection; nothing follows.
    Close {
        /// The draft's code.
        code: SessionError,
        /// For people.
        reason: String,
    },
}
