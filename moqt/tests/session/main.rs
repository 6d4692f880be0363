//! The session against the draft: honest peers in a world of virtual time, and peers that break one rule each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../world/mod.rs"]
mod world;

mod chaos;
mod control;
mod data;
mod fetches;
mod honest;
mod namespaces;
mod requests;
mod subscriptions;
mod updates;
