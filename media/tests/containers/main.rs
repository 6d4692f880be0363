//! Containers against ffmpeg: what it writes we read, what we write it reads, frame for frame.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cut;
mod hostile;
mod media;
mod reading;
mod round_trip;
