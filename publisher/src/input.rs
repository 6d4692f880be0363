//! Where the frames come from: a file, a pipe or the test card, read and demuxed on a thread of its own, which
//! waits when nobody takes what it has.

mod reader;

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use roundtable_media::{
    container::{ContainerError, Skipped},
    format::{Format, Frame},
};
use tokio::sync::mpsc;

use self::reader::Reader;

/// Frames read ahead.
const FRAMES_AHEAD: usize = 32;

/// A picture that moves, a clock and a tone, so that a room can be tried with nothing at hand.
static TEST_CARD: &[u8] = include_bytes!("../testcard/testcard.webm");

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file of this path.
    File(PathBuf),
    /// Standard input.
    Pipe,
    /// The built-in one.
    TestCard,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Pipe => f.write_str("standard input"),
            Origin::TestCard => f.write_str("the test card"),
        }
    }
}

/// What to read, and how often.
#[derive(Debug, Clone)]
pub struct InputConfig {
    /// Where from.
    pub origin: Origin,
    /// Again and again.
    pub is_loop: bool,
}

/// Why there are no more frames. What was readable has been handed out before.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened.
    #[error("cannot open {}: {reason}{hint}", .path.display())]
    Open {
        /// As given.
        path: PathBuf,
        /// Why.
        reason: Arc<io::Error>,
        /// What to do about it.
        hint: &'static str,
    },
    /// Again and again is not possible.
    #[error("--loop needs a file: {0} cannot be read twice")]
    NotTwice(Origin),
    /// Reading failed in the middle.
    #[error("cannot read {origin}: {reason}")]
    Read {
        /// What.
        origin: Origin,
        /// Why.
        reason: Arc<io::Error>,
    },
    /// It is not what can be published, or not all of it.
    #[error("cannot publish {}{origin}: {error}", if *.frames > 0 { "all of " } else { "" })]
    Container {
        /// What.
        origin: Origin,
        /// Why.
        error: ContainerError,
        /// Frames that were readable.
        frames: u64,
    },
    /// A file of tracks without frames.
    #[error("cannot publish {0}: its tracks have no frames")]
    NoFrames(Origin),
    /// No thread to read on.
    #[error("cannot start to read: {0}")]
    Thread(Arc<io::Error>),
}

/// What the media says about itself before its first frame.
#[derive(Debug, Clone)]
pub struct InputHeader {
    /// Tracks whose frames follow; frames name them by their index here.
    pub tracks: Vec<Format>,
    /// Tracks whose frames do not.
    pub skipped: Vec<Skipped>,
    /// Length of one pass, when it is known.
    pub duration: Option<Duration>,
    /// Size of one pass, when it is known.
    pub bytes: Option<u64>,
    /// One pass follows the other.
    pub is_endless: bool,
}

/// What comes in.
#[derive(Debug)]
pub enum InputEvent {
    /// Once, first.
    Header(InputHeader),
    /// The next frame: decode order within a track.
    Frame {
        /// Index into [`InputHeader::tracks`].
        track: usize,
        /// The frame; its times go on through all passes of a loop.
        frame: Frame,
    },
    /// Nothing follows.
    End(Result<(), InputError>),
}

/// Frames as they are read.
#[derive(Debug)]
pub struct Input {
    events: mpsc::Receiver<InputEvent>,
    has_ended: bool,
}

impl Input {
    /// Begins to read. What cannot even be opened is told here.
    pub fn start(config: InputConfig) -> Result<Self, InputError> {
        let reader = Reader::open(config)?;
        let (sender, events) = mpsc::channel(FRAMES_AHEAD);
        // A thread that nobody joins: reading a pipe may take for ever, and must not hold up the process' end.
        thread::Builder::new()
            .name("input".into())
            .spawn(move || reader.run(&sender))
            .map_err(|error| InputError::Thread(Arc::new(error)))?;
        Ok(Input { events, has_ended: false })
    }

    /// What comes next. After [`InputEvent::End`] nothing is ever ready.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<InputEvent> {
        if self.has_ended {
            return Poll::Pending;
        }
        match self.events.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(event) => {
                // A reader that is gone without a word has panicked: our bug, told as the end.
                let event = event.unwrap_or(InputEvent::End(Ok(())));
                self.has_ended = matches!(event, InputEvent::End(_));
                Poll::Ready(event)
            }
        }
    }
}
