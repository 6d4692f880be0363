//! The data path: objects of a track on their way from publishers to subscribers.
//!
//! - [`Track`]: what all sessions share of a track: its cache, and who gets its objects.
//! - [`Outlet`]: the way out of one connection: its queue, drained by whoever brings something.
//! - [`Subscriber`]: one subscription's place in both.
//! - [`Batch`]: the datagrams of one track that a publisher's turn brought.
//!
//! Locks are taken in this order, each for a moment, none across an await: track, subscriber, queue.

mod batch;
mod outlet;
mod subscriber;
mod track;

pub use self::{
    batch::Batch,
    outlet::Outlet,
    subscriber::Subscriber,
    track::{Joined, Published, Track},
};
