#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
//! Publishes a file, a pipe or a test card into a Roundtable room, at the pace of its own time stamps.
//!
//! - [`input`]: bytes to frames, on a thread of its own. [`schedule`]: when each frame is due.
//! - [`track`]: frames to objects. [`history`]: what was sent and may be asked for again. [`answers`]: FETCHes.
//! - [`pacer`]: how fast objects leave. [`publication`]: the [`App`](roundtable_transport::App) of a session.
//! - [`seat`]: one session, which a publication can leave for another. [`journey`]: from the first to the last.
//! - [`progress`]: what is told to people and programs. [`options`], [`run`]: the command line tool.

pub mod answers;
pub mod history;
pub mod input;
pub mod journey;
pub mod options;
pub mod pacer;
pub mod progress;
pub mod publication;
pub mod run;
pub mod schedule;
pub mod seat;
pub mod track;

pub use input::{Input, InputConfig, Origin};
pub use publication::{Publication, PublicationConfig};
