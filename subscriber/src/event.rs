//! What a room hands out.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use roundtable_media::{
    catalog::Clock,
    format::Format,
    reassemble::{Counters, Gap, ReceivedFrame},
    stats::Figures,
};

/// Names one epoch of one track: from its first key frame until its format or clock changes, or it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochId(pub u64);

/// A track of a participant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackLabel {
    /// Fields of the namespace joined by `/`; bytes that are no UTF-8 are replaced. For people and filters only.
    pub participant: Arc<str>,
    /// Name of the track.
    pub track: Arc<str>,
}

impl std::fmt::Display for TrackLabel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.participant, self.track)
    }
}

/// Something in the room.
#[derive(Debug, Clone)]
pub enum RoomEvent {
    /// The room is followed: of whoever comes from now on, nothing is missed.
    Following {
        /// Since when.
        at: Instant,
    },
    /// A participant is there.
    Joined {
        /// Who.
        participant: Arc<str>,
        /// When it was noticed.
        at: Instant,
    },
    /// A participant is gone.
    Left {
        /// Who.
        participant: Arc<str>,
        /// When it was noticed.
        at: Instant,
    },
    /// An epoch begins; its first frame, a key frame, follows.
    Began {
        /// Its name from now on.
        epoch: EpochId,
        /// Which track.
        label: TrackLabel,
        /// What its frames are.
        format: Format,
        /// What their time stamps count.
        clock: Clock,
    },
    /// The next frame in decode order.
    Frame {
        /// Of which epoch.
        epoch: EpochId,
        /// The frame.
        frame: ReceivedFrame,
    },
    /// Frames that will not come.
    Gap {
        /// In which epoch.
        epoch: EpochId,
        /// Where.
        gap: Gap,
    },
    /// An epoch is over.
    Ended {
        /// Which.
        epoch: EpochId,
        /// Why, for people.
        reason: &'static str,
        /// Of the whole subscription until now.
        counters: Counters,
    },
}

/// Takes what a room hands out, on the network's task: it must not block.
pub trait Consumer: Send {
    /// The next event.
    fn handle(&mut self, event: RoomEvent);
}

impl<C: Consumer + ?Sized> Consumer for Box<C> {
    fn handle(&mut self, event: RoomEvent) {
        (**self).handle(event);
    }
}

/// Figures of one track at one moment.
#[derive(Debug, Clone)]
pub struct TrackFigures {
    /// Which.
    pub label: TrackLabel,
    /// Codec parameter string.
    pub codec: String,
    /// The figures.
    pub figures: Figures,
}

/// Turns moments of the monotonic clock into Unix time, without ever jumping.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    anchor: Instant,
    anchor_unix: Duration,
}

impl WallClock {
    /// Reads both clocks once.
    pub fn now() -> Self {
        let anchor_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        WallClock { anchor: Instant::now(), anchor_unix }
    }

    /// Unix microseconds of a moment.
    pub fn unix_us(&self, at: Instant) -> i64 {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let since = micros(at.saturating_duration_since(self.anchor));
        let before = micros(self.anchor.saturating_duration_since(at));
        micros(self.anchor_unix).saturating_add(since).saturating_sub(before)
    }
}
