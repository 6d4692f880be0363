//! When each frame is due: by its own time, with what comes later in decode order looked at, since a frame must
//! leave before the first picture that needs it is shown.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use roundtable_media::format::Frame;

/// Frames looked at ahead, all tracks together.
const FRAMES_MAX: usize = 64;
/// And bytes; at least one frame, whatever its size.
const BYTES_MAX: usize = 8 << 20;
/// What comes later than this moves the clock: the source stood still, or is slower than its own time.
const LATE_MAX: Duration = Duration::from_secs(3);

/// Frames that wait until they are due.
#[derive(Debug, Default)]
pub struct Schedule {
    tracks: Vec<Waiting>,
    bytes: usize,
    frames: usize,
    /// The moment of media time zero: when it is, or how long before our start it was.
    clock: Option<Clock>,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    at: Instant,
    media_ns: i128,
}

#[derive(Debug)]
struct Waiting {
    timescale: i128,
    is_ignored: bool,
    frames: VecDeque<Frame>,
}

impl Schedule {
    /// For tracks of these timescales.
    pub fn new(timescales: impl IntoIterator<Item = u32>) -> Self {
        let tracks = timescales.into_iter().map(|timescale| Waiting {
            timescale: i128::from(timescale.max(1)),
            is_ignored: false,
            frames: VecDeque::new(),
        });
        Schedule { tracks: tracks.collect(), ..Schedule::default() }
    }

    /// Tracks of which no frame will be pushed.
    pub fn ignore(&mut self, is_ignored: impl Fn(usize) -> bool) {
        for (index, track) in self.tracks.iter_mut().enumerate() {
            track.is_ignored = is_ignored(index);
        }
    }

    /// True when more frames would help.
    pub fn has_room(&self) -> bool {
        self.frames == 0 || (self.frames < FRAMES_MAX && self.bytes < BYTES_MAX)
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// True when every track has a frame, so that the earliest of all is known.
    pub fn has_frames_of_all(&self) -> bool {
        self.tracks.iter().all(|track| track.is_ignored || !track.frames.is_empty())
    }

    /// The next frame of a track.
    pub fn push(&mut self, track: usize, frame: Frame) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        self.frames += 1;
        self.bytes += frame.data.len();
        track.frames.push_back(frame);
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        for track in &mut self.tracks {
            track.frames.clear();
        }
        (self.frames, self.bytes) = (0, 0);
    }

    /// Media time of the earliest picture or sound that waits, nanoseconds.
    pub fn earliest_ns(&self) -> Option<i128> {
        self.tracks.iter().filter_map(Waiting::due_ns).min()
    }

    /// Starts the clock: what is earliest now is due at once.
    pub fn start(&mut self, now: Instant) {
        let media_ns = self.earliest_ns().unwrap_or(0);
        self.clock = Some(Clock { at: now, media_ns });
    }

    /// Media time of now, nanoseconds.
    pub fn media_ns(&self, now: Instant) -> Option<i128> {
        let clock = self.clock?;
        let since = i128::try_from(now.saturating_duration_since(clock.at).as_nanos()).unwrap_or(i128::MAX);
        Some(clock.media_ns + since)
    }

    /// When the next frame is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let clock = self.clock?;
        let ns = (self.earliest_ns()? - clock.media_ns).max(0);
        clock.at.checked_add(Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }

    /// The next frame that is due, and its track.
    pub fn pop(&mut self, now: Instant) -> Option<(usize, Frame)> {
        let due = self.poll_timeout().filter(|due| *due <= now)?;
        if now.saturating_duration_since(due) > LATE_MAX {
            self.start(now);
        }
        let tracks = self.tracks.iter().enumerate();
        let dues = tracks.filter_map(|(index, track)| Some((track.due_ns()?, index)));
        let (_, index) = dues.min()?;
        let frame = self.tracks.get_mut(index)?.frames.pop_front()?;
        self.frames -= 1;
        self.bytes -= frame.data.len();
        Some((index, frame))
    }
}

impl Waiting {
    /// Media time of the earliest frame of all that wait: those before it in decode order are due with it.
    fn due_ns(&self) -> Option<i128> {
        let earliest = self.frames.iter().map(|frame| frame.pts).min()?;
        Some(i128::from(earliest) * 1_000_000_000 / self.timescale)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn frame(pts: i64) -> Frame {
        Frame { pts, duration: None, is_key: false, data: Bytes::from_static(b"x") }
    }

    fn after(start: Instant, now: Instant) -> u128 {
        now.duration_since(start).as_millis()
    }

    /// Everything that leaves, with the millisecond at which it does.
    fn play(schedule: &mut Schedule, start: Instant) -> Vec<(u128, usize, i64)> {
        let mut left = Vec::new();
        while let Some(now) = schedule.poll_timeout() {
            let (track, frame) = schedule.pop(now).unwrap();
            left.push((after(start, now), track, frame.pts));
        }
        left
    }

    #[test]
    fn frames_leave_at_their_own_time_whatever_their_track_counts() {
        let start = Instant::now();
        let mut schedule = Schedule::new([1000, 48_000]);
        [100, 140].into_iter().for_each(|pts| schedule.push(0, frame(pts)));
        [4800, 5760].into_iter().for_each(|pts| schedule.push(1, frame(pts)));
        schedule.start(start);
        assert_eq!(play(&mut schedule, start), [(0, 0, 100), (0, 1, 4800), (20, 1, 5760), (40, 0, 140)]);
    }

    #[test]
    fn a_frame_that_is_shown_late_leaves_with_the_first_that_needs_it() {
        let start = Instant::now();
        let mut schedule = Schedule::new([1000]);
        [0, 160, 80, 40, 120, 200].into_iter().for_each(|pts| schedule.push(0, frame(pts)));
        schedule.start(start);
        let left: Vec<_> = play(&mut schedule, start).iter().map(|(ms, _, pts)| (*ms, *pts)).collect();
        assert_eq!(left, [(0, 0), (40, 160), (40, 80), (40, 40), (120, 120), (200, 200)]);
    }

    #[test]
    fn a_short_stall_is_caught_up_with_and_a_long_one_moves_the_clock() {
        let start = Instant::now();
        let mut schedule = Schedule::new([1000]);
        [0, 40, 80].into_iter().for_each(|pts| schedule.push(0, frame(pts)));
        schedule.start(start);
        schedule.pop(start).unwrap();
        let late = start + Duration::from_secs(1);
        schedule.pop(late).unwrap();
        assert_eq!(schedule.poll_timeout(), Some(start + Duration::from_millis(80)));
        let later = start + Duration::from_secs(60);
        schedule.pop(later).unwrap();
        schedule.push(0, frame(120));
        assert_eq!(schedule.poll_timeout(), Some(later + Duration::from_millis(40)));
    }

    #[test]
    fn little_is_held_but_always_something() {
        let mut schedule = Schedule::new([1000]);
        let large = Frame { data: Bytes::from(vec![0; BYTES_MAX + 1]), ..frame(0) };
        assert!(schedule.has_room());
        schedule.push(0, large);
        assert!(!schedule.has_room());
        schedule.start(Instant::now());
        schedule.pop(Instant::now()).unwrap();
        assert!(schedule.has_room() && schedule.is_empty());
    }
}
