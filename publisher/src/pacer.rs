//! How fast the objects of a frame leave: not all at once, since a key frame in one burst overflows the buffers on
//! its way, and in no more time than the frame has.

use std::time::{Duration, Instant};

/// Datagrams that leave together at most (measured: what a receiver's default socket buffer takes without loss).
const BURST_MAX: usize = 60;
/// And at least, if there are as many.
const BURST_MIN: usize = 10;
/// Time between two bursts.
const PAUSE: Duration = Duration::from_millis(1);
/// A frame is out after so long, unless that takes bursts above the limit.
const SPREAD_MAX: Duration = Duration::from_millis(15);

/// Lets bursts go.
#[derive(Debug, Default)]
pub struct Pacer {
    burst: usize,
    left: usize,
    next_at: Option<Instant>,
}

impl Pacer {
    /// `waiting` objects are to leave from now on.
    pub fn load(&mut self, waiting: usize) {
        let bursts = usize::try_from(SPREAD_MAX.as_millis() / PAUSE.as_millis().max(1)).unwrap_or(1).max(1);
        self.burst = waiting.div_ceil(bursts).clamp(BURST_MIN, BURST_MAX);
    }

    /// True when one more may leave now; it counts as left.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.next_at.is_none_or(|at| at <= now) {
            self.left = self.burst.max(BURST_MIN);
            self.next_at = Some(now + PAUSE);
        }
        let may = self.left > 0;
        self.left -= usize::from(may);
        may
    }

    /// When the next burst may leave.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds and the largest burst that so many objects take.
    fn play(objects: usize) -> (u128, usize) {
        let start = Instant::now();
        let (mut pacer, mut now) = (Pacer::default(), start);
        let (mut left, mut burst, mut largest) = (objects, 0, 0);
        pacer.load(objects);
        while left > 0 {
            if pacer.take(now) {
                left -= 1;
                burst += 1;
            } else {
                now = pacer.poll_timeout().unwrap();
                burst = 0;
            }
            largest = largest.max(burst);
        }
        (now.duration_since(start).as_millis(), largest)
    }

    #[test]
    fn small_frames_leave_at_once_and_key_frames_within_some_milliseconds() {
        assert_eq!(play(1), (0, 1));
        assert_eq!(play(10), (0, 10));
        assert_eq!(play(150), (14, 10));
        assert_eq!(play(300), (14, 20));
    }

    #[test]
    fn no_burst_is_larger_than_sixty() {
        let (ms, largest) = play(1100);
        assert_eq!(largest, 60);
        assert_eq!(ms, 18);
    }
}
