//! A FETCH of a subscriber that the cache cannot answer alone.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use roundtable_forward::{
    PublisherId,
    track::{Gap, GapId},
};
use roundtable_moqt::{Location, message::RequestError};

use crate::{fanout::Track, room::SessionId};

/// A range that one publisher after the other is asked for, until one answers.
#[derive(Debug)]
pub struct Fill {
    /// Of which track.
    pub track: Arc<Track>,
    /// First location.
    pub start: Location,
    /// Last location in FETCH's encoding.
    pub end: Location,
    /// Whom to ask next.
    sources: Mutex<Vec<SessionId>>,
    is_over: AtomicBool,
    refusal: Mutex<Option<RequestError>>,
}

impl Fill {
    /// A range of a track; `sources` are asked in this order.
    pub fn new(track: Arc<Track>, start: Location, end: Location, mut sources: Vec<SessionId>) -> Self {
        sources.reverse();
        Fill {
            track,
            start,
            end,
            sources: Mutex::new(sources),
            is_over: AtomicBool::new(false),
            refusal: Mutex::default(),
        }
    }

    /// The same as a gap of the publisher that is asked.
    pub(super) fn gap(&self, publisher: PublisherId) -> Gap {
        // Not one of the track's own gaps: nothing is closed in its list.
        Gap { id: GapId(u64::MAX), publisher, start: self.start, end: self.end }
    }

    /// Whom to ask next.
    pub(super) fn next_source(&self) -> Option<SessionId> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Nobody is left to ask, or somebody has answered.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        self.track.wake_fetchers();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Why the last publisher that was asked refused.
    pub(super) fn refuse(&self, error: RequestError) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn refusal(&self) -> Option<RequestError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
