//! Datagrams that overtook the message that names their track (draft 11.3).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{datagram::ObjectDatagram, message::TrackAlias};

/// Keeps the newest; when full, the oldest is dropped.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    datagrams_max: usize,
    wait: Duration,
    /// Oldest first, each with the time until which it waits.
    datagrams: VecDeque<(Instant, ObjectDatagram)>,
}

impl WaitingRoom {
    pub(super) fn new(datagrams_max: usize, wait: Duration) -> Self {
        WaitingRoom { datagrams_max, wait, datagrams: VecDeque::new() }
    }

    /// When the oldest has waited long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.datagrams.front().map(|(until, _)| *until)
    }

    /// Lets a datagram wait; returns how many were dropped for it.
    pub(super) fn push(&mut self, now: Instant, datagram: ObjectDatagram) -> u64 {
        let mut dropped = 0;
        self.datagrams.push_back((now + self.wait, datagram));
        while self.datagrams.len() > self.datagrams_max {
            self.datagrams.pop_front();
            dropped += 1;
        }
        dropped
    }

    /// Drops what has waited long enough; returns how many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while self.deadline().is_some_and(|until| until <= now) {
            self.datagrams.pop_front();
            dropped += 1;
        }
        dropped
    }

    /// Takes what waited for this alias, in the order it came.
    pub(super) fn take(&mut self, alias: TrackAlias) -> Vec<ObjectDatagram> {
        let mut taken = Vec::new();
        self.datagrams.retain(|(_, datagram)| {
            let is_wanted = datagram.alias == alias;
            if is_wanted {
                taken.push(datagram.clone());
            }
            !is_wanted
        });
        taken
    }

    pub(super) fn clear(&mut self) {
        self.datagrams.clear();
    }
}
