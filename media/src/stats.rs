//! What a receiver sees of a track, in numbers for people and for the relay.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::reassemble::{Counters, ReceivedFrame};

/// Rates are taken over this long.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// The fastest way a frame took is remembered this long, as what lateness is measured against.
const FASTEST_WINDOW: Duration = Duration::from_secs(30);
/// Rates are counted in slices of this length.
const SLICE: Duration = Duration::from_millis(100);

/// Figures of one track.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Payload and properties, thousands of bits a second.
    pub kbit_per_s: f64,
    /// Frames a second.
    pub frames_per_s: f64,
    /// Part of the frames that never came, 0 to 1, since the start.
    pub loss: f64,
    /// Interarrival jitter (RFC 3550, 6.4.1), milliseconds.
    pub jitter_ms: f64,
    /// How much later than the fastest one of the last 30 s the last frame came, milliseconds.
    pub lateness_ms: f64,
    /// The same, the latest frame of the last 2 s.
    pub lateness_max_ms: f64,
    /// Bytes since the start.
    pub bytes: u64,
    /// Counts since the start.
    pub counters: Counters,
}

/// Measures one track.
#[derive(Debug, Default)]
pub struct Stats {
    bytes: u64,
    slices: VecDeque<Slice>,
    previous: Option<Transit>,
    jitter_us: f64,
    /// Ascending in time and in transit: the first is the fastest of the window.
    fastest: VecDeque<(Instant, i64)>,
    lateness_us: i64,
    origin: Option<Instant>,
}

#[derive(Debug)]
struct Slice {
    began: Instant,
    bytes: u64,
    frames: u64,
    lateness_max_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Transit {
    timestamp_us: i64,
    transit_us: i64,
}

impl Stats {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An object came, whatever became of it.
    pub fn object(&mut self, now: Instant, bytes: usize) {
        let bytes = bytes as u64;
        self.bytes = self.bytes.saturating_add(bytes);
        let slice = self.slice(now);
        slice.bytes = slice.bytes.saturating_add(bytes);
    }

    /// A frame was given out.
    pub fn frame(&mut self, now: Instant, frame: &ReceivedFrame) {
        let timestamp_us = timestamp_us(frame);
        let origin = *self.origin.get_or_insert(frame.arrived);
        let arrived_us = micros(frame.arrived.saturating_duration_since(origin));
        let transit_us = arrived_us.saturating_sub(timestamp_us);
        let is_in_order = self.previous.is_none_or(|previous| timestamp_us > previous.timestamp_us);
        // A frame shown before one that was sent earlier says nothing about the network.
        if is_in_order {
            if let Some(previous) = self.previous {
                let difference = transit_us.saturating_sub(previous.transit_us).unsigned_abs() as f64;
                self.jitter_us += (difference - self.jitter_us) / 16.0;
            }
            self.previous = Some(Transit { timestamp_us, transit_us });
            self.lateness_us = self.lateness(now, transit_us);
        }
        let lateness_us = self.lateness_us;
        let slice = self.slice(now);
        slice.frames += 1;
        slice.lateness_max_us = slice.lateness_max_us.max(lateness_us);
    }

    /// A new time line begins: another epoch of the publisher.
    pub fn restart(&mut self) {
        self.previous = None;
        self.fastest.clear();
    }

    fn lateness(&mut self, now: Instant, transit_us: i64) -> i64 {
        while self.fastest.back().is_some_and(|(_, other)| *other >= transit_us) {
            self.fastest.pop_back();
        }
        self.fastest.push_back((now, transit_us));
        while self.fastest.len() > 1
            && self.fastest.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > FASTEST_WINDOW)
        {
            self.fastest.pop_front();
        }
        // Slowly growing transits would keep every frame of the window.
        if self.fastest.len() > 4096 {
            self.fastest.truncate(2048);
        }
        let fastest = self.fastest.front().map_or(transit_us, |(_, fastest)| *fastest);
        transit_us.saturating_sub(fastest)
    }

    fn slice(&mut self, now: Instant) -> &mut Slice {
        let is_new =
            self.slices.back().is_none_or(|slice| now.saturating_duration_since(slice.began) >= SLICE);
        if is_new {
            while self
                .slices
                .front()
                .is_some_and(|slice| now.saturating_duration_since(slice.began) > RATE_WINDOW)
            {
                self.slices.pop_front();
            }
            self.slices.push_back(Slice { began: now, bytes: 0, frames: 0, lateness_max_us: 0 });
        }
        let last = self.slices.len().saturating_sub(1);
        // One was pushed if there was none.
        #[allow(clippy::indexing_slicing)]
        &mut self.slices[last]
    }

    /// The figures at this moment.
    pub fn figures(&self, now: Instant, counters: Counters) -> Figures {
        let recent =
            || self.slices.iter().filter(|slice| now.saturating_duration_since(slice.began) <= RATE_WINDOW);
        let first = recent().next().map_or(now, |slice| slice.began);
        let seconds = now.saturating_duration_since(first).max(SLICE).as_secs_f64();
        let bytes: u64 = recent().map(|slice| slice.bytes).sum();
        let frames: u64 = recent().map(|slice| slice.frames).sum();
        let expected = counters.frames.saturating_add(counters.frames_lost);
        Figures {
            kbit_per_s: bytes as f64 * 8.0 / 1000.0 / seconds,
            frames_per_s: frames as f64 / seconds,
            loss: if expected == 0 { 0.0 } else { counters.frames_lost as f64 / expected as f64 },
            jitter_ms: self.jitter_us / 1000.0,
            lateness_ms: self.lateness_us as f64 / 1000.0,
            lateness_max_ms: recent().map(|slice| slice.lateness_max_us).max().unwrap_or(0) as f64 / 1000.0,
            bytes: self.bytes,
            counters,
        }
    }
}

fn timestamp_us(frame: &ReceivedFrame) -> i64 {
    let timescale = u128::from(frame.timescale.unwrap_or(1_000_000).max(1));
    i64::try_from(u128::from(frame.timestamp) * 1_000_000 / timescale).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reassemble::Origin;
    use bytes::Bytes;
    use roundtable_moqt::object::Location;

    fn frame(number: u64, arrived: Instant) -> ReceivedFrame {
        ReceivedFrame {
            location: Location::new(0, number),
            timestamp: number * 20,
            timescale: Some(1000),
            is_key: true,
            marking: None,
            audio_level: None,
            data: Bytes::new(),
            arrived,
            origin: Origin::Objects,
        }
    }

    /// 50 frames of 100 bytes a second; every tenth comes `late` after its time.
    fn run(late: Duration) -> Figures {
        let start = Instant::now();
        let mut stats = Stats::new();
        let mut now = start;
        for number in 0..200 {
            now = start + Duration::from_millis(20 * number);
            let arrived = if number % 10 == 9 { now + late } else { now };
            stats.object(now, 100);
            stats.frame(now, &frame(number, arrived));
        }
        let counters = Counters { frames: 190, frames_lost: 10, ..Counters::default() };
        stats.figures(now + Duration::from_millis(20), counters)
    }

    #[test]
    fn rates_are_those_of_the_last_two_seconds() {
        let figures = run(Duration::ZERO);
        assert!((figures.kbit_per_s - 40.0).abs() < 2.5, "{figures:?}");
        assert!((figures.frames_per_s - 50.0).abs() < 3.0, "{figures:?}");
        assert_eq!((figures.bytes, figures.loss), (20_000, 0.05));
        assert_eq!((figures.jitter_ms, figures.lateness_max_ms), (0.0, 0.0));
    }

    #[test]
    fn late_frames_show_in_jitter_and_lateness() {
        let figures = run(Duration::from_millis(10));
        assert!(figures.jitter_ms > 0.5 && figures.jitter_ms < 2.5, "{figures:?}");
        assert_eq!(figures.lateness_max_ms, 10.0);
        assert_eq!(figures.lateness_ms, 10.0);
    }
}
