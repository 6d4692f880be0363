#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
//! What MoQ objects mean: formats, catalog, LOC properties, fragments, FEC, containers. Pure: no socket, no clock.
//!
//! A publisher's way: [`mod@format`] says what the frames are, [`catalog`] tells the receivers, [`packetize`]
//! makes objects of frames, with [`loc`] for their properties, [`fragment`] for frames larger than a datagram and
//! [`audio`] for sound sent twice. [`names`] knows the tracks and their priorities.
//! [`container`] reads and writes files.
//!
//! A receiver's way: [`reassemble`] makes frames of objects again, [`gaps`] says what to ask for once more,
//! [`stats`] counts.

pub mod audio;
pub mod catalog;
pub mod container;
pub mod format;
pub mod fragment;
pub mod gaps;
pub mod loc;
pub mod names;
pub mod packetize;
pub mod reassemble;
pub mod stats;
