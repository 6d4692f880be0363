//! MoQ Transport draft-18: the codec and the session as a pure state machine.
//!
//! No socket, no clock, no task: bytes and `now` go in, events, transmits and deadlines come out.
//! Line references such as "draft 10.7" are to draft-ietf-moq-transport-18.
//!
//! - [`name`], [`object`], [`message`], [`error`]: the draft's nouns as types.
//! - [`vi64`], [`properties`]: the two encodings everything else is made of.
//! - [`datagram`], [`subgroup`], [`fetch_stream`]: objects on the wire, decoded in place; [`stream_type`] tells which.
//! - [`codec`]: control messages to bytes and back; its `wire` file is the only one that names the codec crate.
//! - [`session`]: one MoQT session, either role.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod chunks;
pub mod codec;
pub mod datagram;
pub mod error;
pub mod fetch_stream;
pub mod message;
pub mod name;
pub mod object;
pub mod properties;
pub mod session;
pub mod stream_type;
pub mod subgroup;
pub mod vi64;

pub use datagram::ObjectDatagram;
pub use error::{PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode};
pub use message::Parameters;
pub use name::{FullTrackName, Namespace};
pub use object::{Forwarding, Location, Object, Status};
pub use session::{Config, Event, Role, Session, StreamId, StreamKind, Transmit};
