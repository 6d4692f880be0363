//! Containers: WebM/Matroska and MP4 to frames and back. Bytes in, frames out; no file, no task, no clock.
//!
//! - [`Demuxer`] tells the format by content and reads it as the bytes arrive. Feed it from a pipe in order, or
//!   from a file at the offsets it asks for ([`Step::Need`]).
//! - [`webm::Writer`] and [`mp4::Writer`] produce bytes to append, in a shape that still plays when the file is
//!   cut anywhere; finishing yields [`Finish`]: what to append and what to patch.
//! - [`webm::Repairer`] and [`mp4::Repairer`] finish a file whose writer died.
//!
//! The parsers are our own: of the crates for this, matroska-demuxer and re_mp4 need `Seek` (no pipes), re_mp4
//! allocates what a length field says, and the sans-I/O MP4 crates expand whole sample tables or know no pipe.
//! Here nothing is allocated before its bytes have arrived, and sample tables are walked where they lie.

mod bitstream;
mod codec_config;
mod detect;
mod error;
mod fields;
mod interleave;
pub mod mp4;
pub mod webm;
mod window;

#[doc(hidden)]
pub mod fuzz;

use std::time::Duration;

use bytes::Bytes;

pub use detect::Kind;
pub use error::ContainerError;

use crate::format::{Format, Frame};

/// Largest frame, bytes: a guard, far above what any encoder makes for a call.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Tracks looked at in one file.
pub const TRACKS_MAX: usize = 64;

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In order only, as they arrive.
    Pipe,
    /// Any part at any time.
    File {
        /// The file's size.
        bytes: u64,
    },
}

/// A track that was found and left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The codec, in the container's or the common name.
    pub codec: String,
    /// Why.
    pub reason: &'static str,
}

/// What a file says before its first frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Tracks whose frames follow; frames name them by their index here.
    pub tracks: Vec<Format>,
    /// Tracks whose frames do not.
    pub skipped: Vec<Skipped>,
    /// Length of the whole, when the file says it.
    pub duration: Option<Duration>,
}

/// What a demuxer wants or has.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Wants bytes: [`Demuxer::push`] those from `offset` on, or [`Demuxer::finish`] if there are none. From a
    /// pipe `offset` is always where the bytes pushed so far end.
    Need {
        /// From the start of the file.
        offset: u64,
        /// How many it knows it wants, a hint; more is fine, less too.
        bytes: usize,
    },
    /// Once, before the first frame.
    Header(Header),
    /// The next frame: decode order within a track, tracks interleaved by time.
    Frame {
        /// Index into [`Header::tracks`].
        track: usize,
        /// The frame.
        frame: Frame,
    },
    /// No frame follows.
    End,
}

/// A track to write.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackSpec {
    /// What it is.
    pub format: Format,
    /// The presentation time, in the track's timescale, that is the file's time 0. No frame may come before it.
    pub zero: i64,
}

/// Bytes to write over what is already in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// From the start of the file.
    pub offset: u64,
    /// Never reaches beyond the bytes written before.
    pub bytes: Bytes,
}

/// How to turn a growing file into a finished one: append, then patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finish {
    /// Goes at the end.
    pub append: Bytes,
    /// Go over earlier bytes; any order.
    pub patches: Vec<Patch>,
}

/// How to mend a file whose writer died: cut to `valid_bytes`, then as in [`Finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Everything up to here is whole; the rest is to be cut off.
    pub valid_bytes: u64,
    /// Frames within.
    pub frames: u64,
    /// What makes it a finished file.
    pub finish: Finish,
}

/// Why a frame was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The container cannot hold this codec.
    #[error("this container cannot hold that codec")]
    Codec,
    /// The codec configuration is missing or broken.
    #[error("the codec configuration is missing or broken")]
    Config,
    /// No track has this index.
    #[error("no such track")]
    Track,
    /// The frame lies before the time that was made the file's zero.
    #[error("the frame lies before the start of the file")]
    BeforeStart,
    /// The frame is larger or later than the container can say.
    #[error("the frame is larger or later than the container can say")]
    TooLarge,
}

/// Reads any supported container.
#[derive(Debug)]
pub struct Demuxer {
    source: Source,
    state: State,
    /// Set after an error or the end: nothing follows.
    over: bool,
}

#[derive(Debug)]
enum State {
    Detecting { head: Vec<u8>, finished: bool },
    Webm(Box<webm::Demuxer>),
    Mp4(Box<mp4::Demuxer>),
}

impl Demuxer {
    /// A demuxer that has seen nothing yet.
    pub fn new(source: Source) -> Self {
        Demuxer { source, state: State::Detecting { head: Vec::new(), finished: false }, over: false }
    }

    /// The bytes at the offset last asked for by [`Step::Need`], any number of them.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Detecting { head, .. } => head.extend_from_slice(bytes),
            State::Webm(demuxer) => demuxer.push(bytes),
            State::Mp4(demuxer) => demuxer.push(bytes),
        }
    }

    /// There are no bytes at the offset last asked for.
    pub fn finish(&mut self) {
        match &mut self.state {
            State::Detecting { finished, .. } => *finished = true,
            State::Webm(demuxer) => demuxer.finish(),
            State::Mp4(demuxer) => demuxer.finish(),
        }
    }

    /// What is next. After an error everything readable has been delivered and [`Step::End`] follows.
    pub fn poll(&mut self) -> Result<Step, ContainerError> {
        if self.over {
            return Ok(Step::End);
        }
        let step = self.next();
        self.over = matches!(step, Err(_) | Ok(Step::End));
        step
    }

    fn next(&mut self) -> Result<Step, ContainerError> {
        loop {
            match &mut self.state {
                State::Webm(demuxer) => return demuxer.poll(),
                State::Mp4(demuxer) => return demuxer.poll(),
                State::Detecting { head, finished } => {
                    let Some(kind) = detect::detect(head, *finished)? else {
                        let offset = u64::try_from(head.len()).unwrap_or(u64::MAX);
                        return Ok(Step::Need { offset, bytes: detect::HEAD_BYTES });
                    };
                    let (head, finished) = (std::mem::take(head), *finished);
                    self.state = match kind {
                        Kind::Webm => State::Webm(Box::new(webm::Demuxer::new(self.source))),
                        Kind::Mp4 => State::Mp4(Box::new(mp4::Demuxer::new(self.source))),
                    };
                    self.push(&head);
                    if finished {
                        self.finish();
                    }
                }
            }
        }
    }
}
