//! Everything the session waits for, in one ordered set.

use std::{collections::BTreeSet, time::Instant};

use super::transmit::StreamId;
use crate::message::{RequestId, TrackAlias};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The peer's SETUP has not come.
    Setup,
    /// The time of our GOAWAY is over.
    GoAway,
    /// The time of our GOAWAY for one request is over.
    RequestGoAway(RequestId),
    /// The peer closed half of a request of ours, and what should follow has not come.
    Stopped(RequestId),
    /// The oldest datagram has waited long enough for its alias.
    WaitingDatagrams,
    /// A subgroup stream has waited long enough for its alias.
    WaitingStream(StreamId),
    /// Nothing more is expected of a subscription that is over.
    LateAlias(TrackAlias),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(super) fn clear(&mut self, at: Instant, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Clears what there is once, whenever it was due.
    pub(super) fn clear_setup(&mut self) {
        self.0.retain(|(_, timer)| *timer != Timer::Setup);
    }

    pub(super) fn clear_all(&mut self) {
        self.0.clear();
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes one that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.pop_first();
        Some(timer)
    }
}
