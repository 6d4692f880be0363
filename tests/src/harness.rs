//! The real binaries in a world of their own: a relay on free ports with its data in a temporary folder, tools that
//! talk to it, media made by ffmpeg. Everything that runs is ended by its own id when its owner is dropped; what it
//! said is shown when the test fails.
//!
//! These are means of tests: what goes wrong here panics with what to do about it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod framehash;
mod manifest;
mod media;
mod process;
mod relay;

use std::time::Duration;

pub use framehash::{Frame, Stream, assert_same, assert_same_payloads, frames_of, streams_of};
pub use manifest::{Recorded, lines_of, recorded_in};
pub use media::{Clip, ffmpeg};
pub use process::{Finished, Process, tool};
pub use relay::{Relay, publisher, subscriber};

/// Long enough for a busy machine, short enough to fail a test rather than hang it.
pub const PATIENCE: Duration = Duration::from_secs(60);
