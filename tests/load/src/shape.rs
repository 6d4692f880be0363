//! What a track sends, when, and how a receiver tells how late it is.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes};
use roundtable_media::loc::{FragmentHeader, FrameMarking, Properties};
use roundtable_moqt::{Location, Object, ObjectDatagram, message::TrackAlias};

/// Objects of a group: the length of a group of video at 30 frames a second, as far as a relay cares.
const GROUP_FRAMES: u64 = 60;
/// Send time, in front of every payload.
const STAMP_BYTES: usize = 8;

/// When this process began: what send times count from. Senders and receivers share the process.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since [`EPOCH`].
pub fn stamp(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

/// How a track sends: `burst` datagrams at once, every `interval`, as the fragments of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Datagrams of a frame.
    pub burst: u8,
    /// From frame to frame.
    pub interval: Duration,
    /// Length of a datagram, type byte to payload's end.
    pub datagram_bytes: usize,
    /// Publisher priority.
    pub priority: u8,
}

impl Shape {
    /// So many datagrams a second in bursts of `burst`.
    pub fn per_second(datagrams: f64, burst: u8, datagram_bytes: usize) -> Self {
        let interval = Duration::from_secs_f64(f64::from(burst) / datagrams);
        Shape { burst, interval, datagram_bytes, priority: 64 }
    }

    /// The datagrams of frame number `frame`, with WebTransport's prefix or without.
    pub fn datagrams(
        &self,
        prefix: &[u8],
        alias: TrackAlias,
        first_group: u64,
        frame: u64,
        now: Instant,
    ) -> impl Iterator<Item = Bytes> {
        let (group, in_group) = (first_group + frame / GROUP_FRAMES, frame % GROUP_FRAMES);
        let stamp = stamp(now);
        let shape = *self;
        (0..self.burst).map(move |index| {
            let location = Location::new(group, in_group * u64::from(shape.burst) + u64::from(index));
            let properties = shape.properties(stamp, in_group, index);
            let mut object = Object {
                priority: Some(shape.priority),
                properties,
                ..Object::datagram(location, Bytes::new())
            };
            let header_bytes = ObjectDatagram::encoded_len(alias, &object);
            let payload_bytes = shape.datagram_bytes.saturating_sub(header_bytes).max(STAMP_BYTES);
            let mut payload = Vec::with_capacity(payload_bytes);
            payload.put_u64(stamp);
            payload.resize(payload_bytes, index);
            object.payload = payload.into();
            ObjectDatagram::encode(prefix, alias, &object)
        })
    }

    /// What LOC says about a fragment of video.
    fn properties(&self, stamp: u64, frame: u64, index: u8) -> Bytes {
        let marking = FrameMarking {
            starts_frame: index == 0,
            ends_frame: index + 1 == self.burst,
            is_independent: frame == 0,
            ..FrameMarking::default()
        };
        let frame_bytes = u32::try_from(self.datagram_bytes).unwrap_or(1) * u32::from(self.burst);
        let fragment = FragmentHeader {
            frame,
            block: 0,
            index,
            data_count: self.burst,
            parity_count: 0,
            frame_bytes: frame_bytes.max(1),
        };
        let fragment = (self.burst > 1).then_some(fragment);
        let timestamp = stamp / 1000;
        Properties { timestamp, marking: Some(marking), fragment, ..Properties::default() }.encode()
    }
}

/// When what is sent counts. Shared by all who send and receive.
#[derive(Debug)]
pub struct Window {
    start: AtomicU64,
    end: AtomicU64,
}

impl Window {
    /// Nothing counts yet.
    pub const fn new() -> Self {
        Window { start: AtomicU64::new(u64::MAX), end: AtomicU64::new(u64::MAX) }
    }

    /// From now on it counts.
    pub fn open(&self, now: Instant) {
        self.start.store(stamp(now), Ordering::Relaxed);
    }

    /// What is sent from now on does not count any more.
    pub fn close(&self, now: Instant) {
        self.end.store(stamp(now), Ordering::Relaxed);
    }

    /// True when what was sent then counts.
    pub fn contains(&self, stamp: u64) -> bool {
        (self.start.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)).contains(&stamp)
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

/// The send time in a payload.
pub fn stamp_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_as_long_as_asked_and_say_when_they_were_sent() {
        let shape = Shape::per_second(240.0, 8, 1024);
        assert_eq!(shape.interval, Duration::from_nanos(33_333_333));
        let now = Instant::now();
        let datagrams: Vec<Bytes> = shape.datagrams(&[0], TrackAlias(3), 700, 61, now).collect();
        assert_eq!(datagrams.len(), 8);
        for (index, bytes) in datagrams.iter().enumerate() {
            assert_eq!(bytes.len(), 1 + 1024);
            let object = ObjectDatagram::decode(bytes.slice(1..)).unwrap().unwrap().object;
            assert_eq!(object.location, Location::new(701, 8 + index as u64));
            assert_eq!(stamp_of(&object.payload), Some(stamp(now)));
            let properties = Properties::decode(&object.properties).unwrap();
            assert_eq!(properties.fragment.unwrap().index as usize, index);
        }
    }

    #[test]
    fn only_what_is_sent_while_the_window_is_open_counts() {
        let window = Window::new();
        let now = Instant::now() + Duration::from_secs(1);
        assert!(!window.contains(stamp(now)));
        window.open(now);
        assert!(window.contains(stamp(now)) && !window.contains(stamp(now) - 1));
        window.close(now + Duration::from_secs(1));
        assert!(!window.contains(stamp(now + Duration::from_secs(1))));
    }
}
