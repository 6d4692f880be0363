#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
//! What the end-to-end tests of Roundtable stand on.

pub mod harness;
pub mod link;
pub mod quality;
