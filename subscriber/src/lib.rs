#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
//! Receives a Roundtable room: finds its participants and their tracks, repairs what got lost, and hands frames to
//! a [`Consumer`], such as the recorder. The binary is one user of it; the relay's recording service another.
//!
//! - [`room`]: the [`App`](roundtable_transport::App) that runs on a session. [`event`]: what it hands out.
//! - [`record`]: files and their manifest, written off the network's task.
//! - [`live`]: what arrives, as a table. [`pipe`]: one track to a player.
//! - [`filter`]: which tracks. [`options`], [`run`]: the command line tool.

pub mod event;
pub mod filter;
pub mod live;
pub mod options;
pub mod pipe;
pub mod record;
pub mod room;
pub mod run;

pub use event::{Consumer, RoomEvent};
pub use filter::TrackFilter;
pub use record::Recorder;
pub use room::{Mode, Room, RoomConfig};
