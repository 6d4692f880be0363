//! Fan-out of MoQ objects: what a relay remembers of a track, and what it still has to send to a subscriber.
//!
//! Pure: no socket, no clock, no task, no lock. `now` is passed in.
//!
//! - [`Track`]: the cache of one track, its largest location, its ends, the gaps of its uplink, and FETCH from
//!   all of that ([`track`]).
//! - [`Queue`]: everything waiting for one downstream connection, in the draft's order, with deadlines and a drop
//!   policy that knows frames ([`queue`]).
//! - [`filter`]: which objects a subscription wants, and when a new group is asked for upstream.
//! - [`marks`] and [`terms`]: the public properties of objects and tracks that the above act upon.
//! - [`replay`]: all of it driven by bytes, for a fuzzer.
//! - [`Budget`]: the bytes that all caches together may hold.
//!
//! Line references such as "draft 10.12" are to draft-ietf-moq-transport-18.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod budget;
pub mod filter;
pub mod marks;
mod pairs;
pub mod queue;
pub mod replay;
pub mod terms;
pub mod track;

pub use budget::Budget;
pub use filter::{NewGroupRequests, Window};
pub use marks::Marks;
pub use queue::{Datagram, Queue, SubscriptionKey};
pub use terms::Terms;
pub use track::{CacheLimits, Insert, PublisherId, Track};
