//! Brings frames of several tracks, which lie in a file as runs of one track each, into the order of their times.

use std::collections::VecDeque;

use crate::format::Frame;

/// Frames of one track are not held back longer than this for those of another.
const HELD_NS_MAX: i64 = 2_000_000_000;
/// Nor more bytes than this.
const HELD_BYTES_MAX: usize = 32 << 20;

#[derive(Debug)]
struct Held {
    /// When it is decoded.
    time_ns: i64,
    frame: Frame,
}

/// Holds frames back until every track has shown that none of its own come before.
#[derive(Debug, Default)]
pub(super) struct Interleave {
    queues: Vec<VecDeque<Held>>,
    bytes: usize,
    latest_ns: i64,
    /// No frame follows: nothing is held back any more.
    is_finished: bool,
}

impl Interleave {
    pub(super) fn new(tracks: usize) -> Self {
        Interleave {
            queues: (0..tracks).map(|_| VecDeque::new()).collect(),
            latest_ns: i64::MIN,
            ..Self::default()
        }
    }

    /// The next frame of a track, decoded at `ticks` of `timescale`.
    pub(super) fn push(&mut self, track: usize, ticks: i64, timescale: u32, frame: Frame) {
        let time_ns = i128::from(ticks) * 1_000_000_000 / i128::from(timescale.max(1));
        let time_ns = i64::try_from(time_ns).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX });
        let Some(queue) = self.queues.get_mut(track) else { return };
        self.bytes = self.bytes.saturating_add(frame.data.len());
        self.latest_ns = self.latest_ns.max(time_ns);
        queue.push_back(Held { time_ns, frame });
    }

    /// Bytes held back.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// The next frame of all, if it is certain.
    pub(super) fn pop(&mut self) -> Option<(usize, Frame)> {
        let heads = self.queues.iter().enumerate();
        let (track, time_ns) = heads
            .filter_map(|(track, queue)| queue.front().map(|held| (track, held.time_ns)))
            .min_by_key(|(_, time_ns)| *time_ns)?;
        let is_certain = self.is_finished
            || self.queues.iter().all(|queue| !queue.is_empty())
            || self.latest_ns.saturating_sub(time_ns) > HELD_NS_MAX
            || self.bytes > HELD_BYTES_MAX;
        if !is_certain {
            return None;
        }
        let held = self.queues.get_mut(track)?.pop_front()?;
        self.bytes = self.bytes.saturating_sub(held.frame.data.len());
        Some((track, held.frame))
    }
}
