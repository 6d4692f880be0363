//! What somebody who watches a film live through a room would have seen and heard, whatever the network did.
//!
//! The watcher follows the room as a live subscriber does and notes when each frame came; from that follows, for any
//! playout delay, which pictures were shown and which sound was made up. It does not trust anybody's counters.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use roundtable_media::reassemble::Counters;
use roundtable_subscriber::{Consumer, Mode, Room, RoomConfig, RoomEvent, TrackFilter, event::EpochId};
use roundtable_transport::{ConnectOptions, Ended, drive};

use crate::harness::Frame;

/// How long a live receiver waits for what is missing.
const LIVE_WAIT: Duration = Duration::from_millis(250);
/// Media left out of the figures at either end: who comes and goes is not what is measured.
const EDGE: f64 = 1.0;

/// A frame that came.
#[derive(Debug, Clone)]
struct Came {
    /// Presentation time, seconds of the publisher's clock.
    pts: f64,
    at: Instant,
    /// SHA-256 of the payload, hex.
    hash: String,
    /// True when frames before it in its group are missing: a picture that cannot be decoded.
    is_broken: bool,
}

/// What came of one kind of media.
#[derive(Debug, Clone, Default)]
struct Track {
    came: Vec<Came>,
    gap_since_key: bool,
    counters: Counters,
}

/// What came of a film.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    video: Track,
    audio: Track,
    epochs: Vec<(EpochId, bool)>,
}

/// What a playout delay makes of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    /// Part of the sound's time that had to be made up, 0 to 1.
    pub audio_concealed: f64,
    /// Part of the pictures that were shown, 0 to 1.
    pub frames_shown: f64,
    /// Longest time that one picture stood still, seconds.
    pub freeze_max: f64,
    /// Time that pictures stood still for longer than 150 ms, together, seconds.
    pub frozen: f64,
}

/// Follows a room until its last participant has left.
pub async fn watch(connect: &ConnectOptions) -> anyhow::Result<Watched> {
    let (connection, session) = connect.connect("roundtable-watcher").await?;
    let config = RoomConfig {
        mode: Mode::Live { wait: LIVE_WAIT },
        filter: TrackFilter::default(),
        until_empty: true,
        duration: None,
    };
    let watched = Arc::new(Mutex::new(Watched::default()));
    let mut room = Room::new(config, Watcher(Arc::clone(&watched)));
    let Ended { .. } = drive(connection, session, &mut room).await;
    drop(room.finish(Instant::now()));
    let watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(watched.clone())
}

struct Watcher(Arc<Mutex<Watched>>);

impl Consumer for Watcher {
    fn handle(&mut self, event: RoomEvent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(Instant::now(), &event);
    }
}

impl Watched {
    fn note(&mut self, now: Instant, event: &RoomEvent) {
        match event {
            RoomEvent::Began { epoch, format, .. } => self.epochs.push((*epoch, format.codec.is_video())),
            RoomEvent::Frame { epoch, frame } => {
                let ticks_per_s = f64::from(frame.timescale.unwrap_or(1_000_000));
                let pts = frame.timestamp as f64 / ticks_per_s;
                let Some((is_video, track)) = self.track(*epoch) else { return };
                if frame.is_key {
                    track.gap_since_key = false;
                }
                let is_broken = is_video && track.gap_since_key;
                // A picture can be decoded when those before it are there; sound is played as it came, holes and all.
                let at = if is_video { now } else { frame.arrived };
                let digest = ring::digest::digest(&ring::digest::SHA256, &frame.data);
                let hash = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                track.came.push(Came { pts, at, hash, is_broken });
            }
            RoomEvent::Gap { epoch, .. } => {
                if let Some((_, track)) = self.track(*epoch) {
                    track.gap_since_key = true;
                }
            }
            RoomEvent::Ended { epoch, counters, .. } => {
                if let Some((_, track)) = self.track(*epoch) {
                    track.counters = *counters;
                }
            }
            RoomEvent::Following { .. } | RoomEvent::Joined { .. } | RoomEvent::Left { .. } => {}
        }
    }

    fn track(&mut self, epoch: EpochId) -> Option<(bool, &mut Track)> {
        let is_video = self.epochs.iter().find(|(id, _)| *id == epoch)?.1;
        Some((is_video, if is_video { &mut self.video } else { &mut self.audio }))
    }

    /// What parity, redundancy and FETCH gave back: pictures' counts, then sound's.
    pub fn repairs(&self) -> (Counters, Counters) {
        (self.video.counters, self.audio.counters)
    }

    /// How it went, second by second: the pictures, and the sound.
    pub fn seconds(&self, video_sent: &[Frame], audio_sent: &[Frame]) -> (Vec<Second>, Vec<Second>) {
        (self.video.seconds(video_sent), self.audio.seconds(audio_sent))
    }

    /// What it was to somebody who plays everything this long after the fastest way through the network, when these
    /// pictures and this sound were sent.
    pub fn quality(&self, delay: Duration, video_sent: &[Frame], audio_sent: &[Frame]) -> Quality {
        let audio_kept = self.audio.on_time(delay, audio_sent);
        let video_kept = self.video.on_time(delay, video_sent);
        let (freeze_max, frozen) = freezes(&video_kept.times, video_kept.span);
        Quality {
            audio_concealed: 1.0 - audio_kept.part(),
            frames_shown: video_kept.part(),
            freeze_max,
            frozen,
        }
    }
}

/// One second of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Second {
    /// Frames that came, whenever.
    pub came: usize,
    /// Of these such as nothing can be made of, for want of those before.
    pub broken: usize,
    /// The slowest one's way, longer than the fastest of all: seconds.
    pub latest: f64,
}

struct Kept {
    times: Vec<f64>,
    expected: usize,
    span: (f64, f64),
}

impl Kept {
    fn part(&self) -> f64 {
        if self.expected == 0 { 1.0 } else { self.times.len() as f64 / self.expected as f64 }
    }
}

impl Track {
    /// Second by second.
    fn seconds(&self, sent: &[Frame]) -> Vec<Second> {
        let Some((origin, shift)) = self.came.iter().map(|came| came.at).min().zip(self.shift(sent)) else {
            return Vec::new();
        };
        let transit = |came: &Came| came.at.saturating_duration_since(origin).as_secs_f64() - came.pts;
        let fastest = self.came.iter().map(transit).fold(f64::MAX, f64::min);
        let mut seconds: Vec<Second> = Vec::new();
        for came in &self.came {
            let number = (came.pts - shift).max(0.0) as usize;
            if seconds.len() <= number {
                seconds.resize(number + 1, Second::default());
            }
            if let Some(second) = seconds.get_mut(number) {
                second.came += 1;
                second.broken += usize::from(came.is_broken);
                second.latest = second.latest.max(transit(came) - fastest);
            }
        }
        seconds
    }

    /// Of the frames sent those that could be played in time, but for the edges.
    fn on_time(&self, delay: Duration, sent: &[Frame]) -> Kept {
        let least = |times: &mut dyn Iterator<Item = f64>| times.fold(f64::MAX, f64::min);
        let most = |times: &mut dyn Iterator<Item = f64>| times.fold(f64::MIN, f64::max);
        let all_sent = || sent.iter().map(|frame| frame.pts);
        let span = (least(&mut all_sent()) + EDGE, most(&mut all_sent()) - EDGE);
        let is_inside = |pts: f64| pts >= span.0 && pts <= span.1;
        let expected = all_sent().filter(|pts| is_inside(*pts)).count();
        let Some((origin, shift)) = self.came.iter().map(|came| came.at).min().zip(self.shift(sent)) else {
            return Kept { times: Vec::new(), expected, span };
        };
        let transit = |came: &Came| came.at.saturating_duration_since(origin).as_secs_f64() - came.pts;
        let fastest = least(&mut self.came.iter().map(transit));
        let deadline = fastest + delay.as_secs_f64();
        let shown = self.came.iter().filter(|came| !came.is_broken && transit(came) <= deadline);
        // Microseconds, so that a frame that came twice counts once.
        let micros: BTreeSet<i64> = shown.map(|came| ((came.pts - shift) * 1e6).round() as i64).collect();
        let times = micros.into_iter().map(|micros| micros as f64 / 1e6);
        Kept { times: times.filter(|pts| is_inside(*pts)).collect(), expected, span }
    }

    /// How much later the publisher's clock has frames than the film: found by a payload that is there only once.
    fn shift(&self, sent: &[Frame]) -> Option<f64> {
        let mut pts_by_hash: HashMap<&str, Option<f64>> = HashMap::new();
        for frame in sent {
            pts_by_hash.entry(&frame.hash).and_modify(|pts| *pts = None).or_insert(Some(frame.pts));
        }
        self.came.iter().find_map(|came| Some(came.pts - (*pts_by_hash.get(came.hash.as_str())?)?))
    }
}

/// The longest time between two pictures, and the sum of those above 150 ms.
fn freezes(times: &[f64], span: (f64, f64)) -> (f64, f64) {
    let ends = [span.0].into_iter().chain(times.iter().copied()).chain([span.1]);
    let all: Vec<f64> = ends.collect();
    let still = all.windows(2).filter_map(|pair| match pair {
        [one, other] => Some(other - one),
        _ => None,
    });
    still.fold((0.0, 0.0), |(longest, sum), pause| {
        (f64::max(longest, pause), sum + if pause > 0.15 { pause } else { 0.0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures at 10 a second for ten seconds, each with a way of 50 ms but for those that `change` treats. The
    /// publisher's clock runs 3 s before the film's.
    fn film(change: impl Fn(usize, &mut Came) -> bool) -> (Watched, Vec<Frame>) {
        let origin = Instant::now();
        let of = |number: u32| Frame {
            pts: f64::from(number) / 10.0,
            size: 1,
            // Some pictures are like others.
            hash: if number % 5 == 3 { number.to_string() } else { "same".to_owned() },
        };
        let sent: Vec<Frame> = (0..100).map(of).collect();
        let mut watched = Watched::default();
        for (number, frame) in sent.iter().enumerate() {
            let at = origin + Duration::from_secs_f64(frame.pts + 0.05);
            let mut came = Came { pts: frame.pts + 3.0, at, hash: frame.hash.clone(), is_broken: false };
            if change(number, &mut came) {
                watched.video.came.push(came);
            }
        }
        (watched, sent)
    }

    #[test]
    fn everything_in_time_is_everything_shown() {
        let (watched, sent) = film(|_, _| true);
        let quality = watched.quality(Duration::from_millis(10), &sent, &[]);
        assert_eq!((quality.frames_shown, quality.audio_concealed, quality.frozen), (1.0, 0.0, 0.0));
    }

    #[test]
    fn lost_late_and_broken_pictures_are_not_shown() {
        let (watched, sent) = film(|number, came| {
            match number {
                20..=24 => return false,
                40 => came.at += Duration::from_millis(80),
                60 => came.is_broken = true,
                _ => {}
            }
            true
        });
        // 81 lie between the edges.
        let quality = watched.quality(Duration::from_millis(50), &sent, &[]);
        assert!((quality.frames_shown - 74.0 / 80.0).abs() < 0.02, "{quality:?}");
        assert!((quality.freeze_max - 0.6).abs() < 1e-6, "{quality:?}");
        assert!((quality.frozen - 1.0).abs() < 1e-6, "{quality:?}");
        let patient = watched.quality(Duration::from_millis(100), &sent, &[]);
        assert!(patient.frames_shown > quality.frames_shown);
    }

    #[test]
    fn a_slow_second_is_found() {
        let (watched, sent) = film(|number, came| {
            came.at += Duration::from_millis(if number / 10 == 4 { number as u64 } else { 0 });
            number != 25
        });
        let (video, audio) = watched.seconds(&sent, &[]);
        assert_eq!((video.len(), audio.len()), (10, 0));
        assert_eq!((video[2].came, video[3].came), (9, 10));
        assert!(video[3].latest < 1e-6 && (video[4].latest - 0.049).abs() < 1e-6, "{video:?}");
    }

    #[test]
    fn nothing_came_is_nothing_shown() {
        let (watched, sent) = film(|_, _| false);
        let quality = watched.quality(Duration::from_secs(1), &sent, &sent);
        assert_eq!((quality.frames_shown, quality.audio_concealed), (0.0, 1.0));
        assert!((quality.freeze_max - 7.9).abs() < 1e-6, "{quality:?}");
    }
}
