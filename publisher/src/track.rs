//! One track: frames become objects, wait until they may leave, and are remembered for a while.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use roundtable_media::{
    audio::FrameLength,
    format::{Format, Frame},
    names::TrackName,
    packetize::{
        AudioConfig, AudioPacketizer, Layer, PacketizeError, ParityPercent, VideoConfig, VideoPacketizer,
    },
};
use roundtable_moqt::{
    FullTrackName, Object, Status,
    message::{RequestId, TrackAlias},
};

use crate::history::History;

/// Objects that could not leave for so long are given up, up to the next key frame.
const LATE_MAX: Duration = Duration::from_secs(2);

/// A track of media.
#[derive(Debug)]
pub struct MediaTrack {
    /// Which of ours.
    pub name: TrackName,
    /// The same with our namespace.
    pub full_name: FullTrackName,
    /// Its name in datagrams.
    pub alias: TrackAlias,
    /// What its frames are.
    pub format: Format,
    /// The relay's subscription, while there is one.
    pub subscription: Option<RequestId>,
    /// What was sent.
    pub history: History,
    /// Counts.
    pub counters: TrackCounters,
    packetizer: Packetizer,
    outgoing: VecDeque<Outgoing>,
    /// Frames are left out until the next key frame.
    is_skipping: bool,
}

/// What became of the frames of a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackCounters {
    /// Frames that were cut into objects.
    pub frames: u64,
    /// Their bytes.
    pub frame_bytes: u64,
    /// Frames that the uplink was too slow for.
    pub frames_dropped: u64,
    /// Frames that could not be sent: before the first key frame, or larger than the wire allows.
    pub frames_unfit: u64,
    /// Objects that left, or would have if anybody had wanted them.
    pub objects: u64,
}

#[derive(Debug)]
enum Packetizer {
    Video(Box<VideoPacketizer>),
    Audio(Box<AudioPacketizer>),
}

#[derive(Debug)]
struct Outgoing {
    object: Object,
    since: Instant,
}

impl MediaTrack {
    /// A track whose first group is this one.
    pub fn new(
        name: TrackName,
        full_name: FullTrackName,
        alias: TrackAlias,
        format: Format,
        first_group: u64,
    ) -> Self {
        let priorities = name.priorities();
        let timescale = Some(format.timescale);
        let packetizer = match FrameLength::new(&format) {
            None => {
                let parity = ParityPercent::default();
                let config = VideoConfig { priorities, timescale, has_layers: false, parity };
                Packetizer::Video(Box::new(VideoPacketizer::new(config, first_group)))
            }
            Some(frame_length) => {
                let config = AudioConfig { priorities, timescale, frame_length, redundancy_depth: 0 };
                Packetizer::Audio(Box::new(AudioPacketizer::new(config, first_group)))
            }
        };
        MediaTrack {
            name,
            full_name,
            alias,
            format,
            subscription: None,
            history: History::new(first_group),
            counters: TrackCounters::default(),
            packetizer,
            outgoing: VecDeque::new(),
            is_skipping: false,
        }
    }

    /// The next frame: its objects wait to be sent from now on.
    pub fn push(&mut self, now: Instant, frame: &Frame) {
        if self.is_skipping && frame.is_key {
            self.is_skipping = false;
        }
        if self.is_skipping {
            self.counters.frames_dropped += 1;
            return;
        }
        let objects = match &mut self.packetizer {
            Packetizer::Video(packetizer) => packetizer.packetize(frame, Layer::default()),
            Packetizer::Audio(packetizer) => packetizer.packetize(frame, None).map(|object| vec![object]),
        };
        match objects {
            Ok(objects) => {
                self.counters.frames += 1;
                self.counters.frame_bytes += frame.data.len() as u64;
                self.outgoing.extend(objects.into_iter().map(|object| Outgoing { object, since: now }));
            }
            Err(reason) => self.unfit(reason),
        }
    }

    fn unfit(&mut self, reason: PacketizeError) {
        if self.counters.frames_unfit == 0 {
            tracing::warn!(track = self.name.as_str(), %reason, "a frame cannot be sent");
        }
        self.counters.frames_unfit += 1;
        // Whatever depends on it is of no use; so the next key frame is waited for.
        self.is_skipping = matches!(reason, PacketizeError::TooLarge(_)) && self.name.is_video();
    }

    /// No frame follows: the open group ends.
    pub fn finish(&mut self, now: Instant) {
        if let Packetizer::Video(packetizer) = &mut self.packetizer {
            self.outgoing.extend(packetizer.finish().map(|object| Outgoing { object, since: now }));
        }
    }

    /// Objects that wait to be sent.
    pub fn waiting(&self) -> usize {
        self.outgoing.len()
    }

    /// The object that is to be sent next.
    pub fn next(&self) -> Option<&Object> {
        self.outgoing.front().map(|outgoing| &outgoing.object)
    }

    /// It has been sent, or nobody wants it: it can be asked for from now on.
    pub fn sent(&mut self, now: Instant) {
        if let Some(Outgoing { object, .. }) = self.outgoing.pop_front() {
            self.counters.objects += 1;
            self.history.push(now, object);
        }
    }

    /// Gives up what the uplink has been too slow for: everything up to the next key frame, since what depends on
    /// it is of no use. Ends of groups stay.
    pub fn drop_late(&mut self, now: Instant) {
        let is_late = |outgoing: &Outgoing| now.saturating_duration_since(outgoing.since) > LATE_MAX;
        if !self.outgoing.front().is_some_and(is_late) {
            return;
        }
        if !self.name.is_video() {
            let before = self.outgoing.len();
            self.outgoing.retain(|outgoing| !is_late(outgoing));
            self.counters.frames_dropped += (before - self.outgoing.len()) as u64;
            return;
        }
        // The newest group that has not begun to leave is all that is worth its bytes.
        let newest = self.outgoing.iter().rposition(|outgoing| outgoing.object.location.object == 0);
        let keep_from = newest.filter(|at| *at > 0).unwrap_or(self.outgoing.len());
        self.is_skipping |= keep_from == self.outgoing.len();
        let rest = self.outgoing.split_off(keep_from);
        let mut frames = 0;
        let mut last = None;
        self.outgoing.retain(|outgoing| {
            let is_media = outgoing.object.status == Status::Normal;
            frames += u64::from(is_media && last.replace(outgoing.since) != Some(outgoing.since));
            !is_media
        });
        self.outgoing.extend(rest);
        self.counters.frames_dropped += frames;
        tracing::debug!(track = self.name.as_str(), frames, "the uplink is too slow");
    }
}
