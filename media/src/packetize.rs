//! Frames to objects: what a publisher sends (docs/wire.md, "Groups and objects", "Media datagrams").

use bytes::Bytes;
use roundtable_moqt::{
    object::{Forwarding, Location, Object, Status},
    vi64,
};

use crate::{
    audio::{FrameLength, History},
    format::Frame,
    fragment::{ALIAS_BYTES_RESERVED, DATAGRAM_BYTES_MAX, Erasure, FRAME_BYTES_MAX, Layout},
    loc::{AudioLevel, BLOCK_FRAGMENTS_MAX, BLOCK_PARITY_MAX, FragmentHeader, FrameMarking, Properties},
    names::Priorities,
};

/// Why a frame did not become objects. The packetizer goes on with the next frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketizeError {
    /// A track begins with a key frame.
    #[error("a track begins with a key frame")]
    NoKeyFrame,
    /// LOC's timestamps are not negative: shift the whole track, and the catalog's `epochUs` with it.
    #[error("presentation time {0} is negative")]
    NegativeTime(i64),
    /// Larger than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes is larger than 16 MiB")]
    TooLarge(usize),
}

/// Bytes that are left for the payload of an object datagram beside its header and these properties.
fn payload_bytes_max(location: Location, properties: &Bytes) -> usize {
    let header = 1
        + ALIAS_BYTES_RESERVED
        + vi64::len(location.group)
        + vi64::len(location.object)
        + 1
        + vi64::len(properties.len() as u64)
        + properties.len();
    DATAGRAM_BYTES_MAX.saturating_sub(header)
}

fn timestamp(frame: &Frame) -> Result<u64, PacketizeError> {
    u64::try_from(frame.pts).map_err(|_| PacketizeError::NegativeTime(frame.pts))
}

/// Which layer a frame of video is in, and who depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layer {
    /// 0 is the base layer.
    pub temporal: u8,
    /// Depends on the base layer only.
    pub is_base_layer_sync: bool,
    /// No frame depends on it.
    pub is_discardable: bool,
}

/// How much parity is sent, in percent of a block's data fragments, rounded up. 0 sends none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParityPercent {
    /// For key frames and temporal layer 0.
    pub base: u8,
    /// For the layers above.
    pub upper: u8,
}

impl ParityPercent {
    fn count(self, data_count: u32, is_base: bool) -> u8 {
        let percent = u32::from(if is_base { self.base } else { self.upper });
        let count = (data_count * percent).div_ceil(100);
        u8::try_from(count).map_or(BLOCK_PARITY_MAX, |count| count.min(BLOCK_PARITY_MAX))
    }
}

/// Settings of a track of video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoConfig {
    /// Of the track: [`crate::names::TrackName::priorities`].
    pub priorities: Priorities,
    /// Ticks per second; `None` when frames carry Unix microseconds.
    pub timescale: Option<u32>,
    /// True when frames come in temporal layers.
    pub has_layers: bool,
    /// See there.
    pub parity: ParityPercent,
}

/// Turns the frames of one track of video into objects.
#[derive(Debug)]
pub struct VideoPacketizer {
    config: VideoConfig,
    erasure: Erasure,
    /// Of the next key frame.
    next_group: u64,
    group: Option<OpenGroup>,
    base_layer_index: u8,
}

/// The group that frames go to.
#[derive(Debug)]
struct OpenGroup {
    id: u64,
    next_object: u64,
    next_frame: u64,
}

impl VideoPacketizer {
    /// `first_group` is at least the Unix milliseconds of now, and larger than any group sent before.
    pub fn new(config: VideoConfig, first_group: u64) -> Self {
        VideoPacketizer {
            config,
            erasure: Erasure::new(),
            next_group: first_group,
            group: None,
            base_layer_index: 0,
        }
    }

    /// Changes the amount of parity from the next frame on.
    pub fn set_parity(&mut self, parity: ParityPercent) {
        self.config.parity = parity;
    }

    /// The group of the next key frame, as long as [`Self::skip_to_group`] does not change it.
    pub fn next_group(&self) -> u64 {
        self.next_group
    }

    /// Gives the next key frame at least this group, so that tracks of one altGroup count alike.
    pub fn skip_to_group(&mut self, group: u64) {
        self.next_group = self.next_group.max(group);
    }

    /// The objects of the next frame in decode order, in the order in which they are sent. A key frame ends the
    /// group before (an END_OF_GROUP object stands first then) and begins the next.
    pub fn packetize(&mut self, frame: &Frame, layer: Layer) -> Result<Vec<Object>, PacketizeError> {
        let timestamp = timestamp(frame)?;
        let frame_bytes = u32::try_from(frame.data.len())
            .ok()
            .filter(|bytes| *bytes <= FRAME_BYTES_MAX)
            .ok_or(PacketizeError::TooLarge(frame.data.len()))?;
        let mut objects = Vec::new();
        if frame.is_key {
            objects.extend(self.finish());
            self.group = Some(OpenGroup { id: self.next_group, next_object: 0, next_frame: 0 });
            self.next_group += 1;
        }
        let group = self.group.as_mut().ok_or(PacketizeError::NoKeyFrame)?;
        let is_base = frame.is_key || layer.temporal == 0;
        if self.config.has_layers && is_base {
            self.base_layer_index = self.base_layer_index.wrapping_add(1);
        }
        let marking = FrameMarking {
            is_independent: frame.is_key,
            is_discardable: layer.is_discardable,
            is_base_layer_sync: layer.is_base_layer_sync,
            temporal_layer: if frame.is_key { 0 } else { layer.temporal },
            base_layer_index: self.base_layer_index,
            ..FrameMarking::default()
        };
        let properties = Properties {
            timestamp,
            timescale: self.config.timescale,
            marking: Some(marking),
            ..Properties::default()
        };
        let pieces = Pieces { config: &self.config, group, properties, is_base, frame_bytes };
        pieces.cut(frame, &mut self.erasure, &mut objects);
        Ok(objects)
    }

    /// Ends the open group, at the end of the film or when the camera goes off: its END_OF_GROUP object. There
    /// is never an END_OF_TRACK, since the track may be published again.
    pub fn finish(&mut self) -> Option<Object> {
        let group = self.group.take()?;
        Some(Object {
            priority: Some(self.config.priorities.base),
            status: Status::EndOfGroup,
            ..Object::datagram(Location::new(group.id, group.next_object), Bytes::new())
        })
    }
}

/// One frame on its way into objects.
struct Pieces<'a> {
    config: &'a VideoConfig,
    group: &'a mut OpenGroup,
    properties: Properties,
    is_base: bool,
    frame_bytes: u32,
}

impl Pieces<'_> {
    fn cut(mut self, frame: &Frame, erasure: &mut Erasure, objects: &mut Vec<Object>) {
        let number = self.group.next_frame;
        self.group.next_frame += 1;
        let layout = self.layout(number);
        let fragments = layout.as_ref().and_then(|layout| erasure.split(&frame.data, layout));
        let Some((layout, fragments)) = layout.zip(fragments) else {
            let object = self.object(frame.data.clone(), true, true, None);
            objects.push(object);
            return;
        };
        for fragment in fragments {
            let header = FragmentHeader {
                frame: number,
                block: fragment.block,
                index: fragment.index,
                data_count: fragment.data_count,
                parity_count: layout.parity_count(),
                frame_bytes: self.frame_bytes,
            };
            let starts = fragment.block == 0 && fragment.index == 0;
            objects.push(self.object(fragment.payload, starts, fragment.ends_frame, Some(header)));
        }
    }

    /// How the frame is cut; `None` when it fits into one datagram and gets no parity.
    fn layout(&self, number: u64) -> Option<Layout> {
        let location = Location::new(self.group.id, self.group.next_object);
        let bytes_max = payload_bytes_max(location, &self.properties.encode());
        let fits_whole = self.frame_bytes as usize <= bytes_max;
        let wants_parity = self.config.parity.count(1, self.is_base) > 0;
        if self.frame_bytes == 0 || (fits_whole && !wants_parity) {
            return None;
        }
        // The longest header that any fragment of this frame can have.
        let widest = FragmentHeader {
            frame: number,
            block: self.frame_bytes / (u32::from(BLOCK_FRAGMENTS_MAX) * 512),
            index: BLOCK_FRAGMENTS_MAX + BLOCK_PARITY_MAX,
            data_count: BLOCK_FRAGMENTS_MAX,
            parity_count: BLOCK_PARITY_MAX,
            frame_bytes: self.frame_bytes,
        };
        let last_object = location.object + u64::from(self.frame_bytes) / 256 + 256;
        let properties = Properties { fragment: Some(widest), ..self.properties.clone() }.encode();
        let bytes_max = payload_bytes_max(Location::new(location.group, last_object), &properties);
        let bytes_max = u32::try_from(bytes_max).ok()?;
        let unprotected = Layout::balanced(self.frame_bytes, bytes_max, 0)?;
        let parity_count = self.config.parity.count(u32::from(unprotected.data_count(0)?), self.is_base);
        Layout::balanced(self.frame_bytes, bytes_max, parity_count)
    }

    fn object(
        &mut self,
        payload: Bytes,
        starts_frame: bool,
        ends_frame: bool,
        fragment: Option<FragmentHeader>,
    ) -> Object {
        let location = Location::new(self.group.id, self.group.next_object);
        self.group.next_object += 1;
        let marking = self.properties.marking.unwrap_or_default();
        self.properties.marking = Some(FrameMarking { starts_frame, ends_frame, ..marking });
        self.properties.fragment = fragment;
        let priority = match fragment {
            Some(fragment) if fragment.is_parity() => self.config.priorities.parity,
            _ => self.config.priorities.of_layer(marking.temporal_layer),
        };
        Object {
            priority: Some(priority),
            properties: self.properties.encode(),
            ..Object::datagram(location, payload)
        }
    }
}

/// Settings of a track of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioConfig {
    /// Of the track: [`crate::names::TrackName::priorities`].
    pub priorities: Priorities,
    /// Ticks per second; `None` when frames carry Unix microseconds.
    pub timescale: Option<u32>,
    /// How long frames are: [`FrameLength::new`] of the track's format.
    pub frame_length: FrameLength,
    /// Earlier frames in each object: 0 without loss, 2 to 4 with it.
    pub redundancy_depth: usize,
}

/// Turns the frames of one track of sound into objects, one group each.
#[derive(Debug)]
pub struct AudioPacketizer {
    config: AudioConfig,
    next_group: u64,
    history: History,
    /// Where the frame after the last one begins, when time goes on without a break.
    expected_timestamp: Option<u64>,
}

impl AudioPacketizer {
    /// `first_group` is at least the Unix milliseconds of now, and larger than any group sent before.
    pub fn new(config: AudioConfig, first_group: u64) -> Self {
        AudioPacketizer { config, next_group: first_group, history: History::new(), expected_timestamp: None }
    }

    /// Changes the redundancy from the next frame on.
    pub fn set_redundancy(&mut self, depth: usize) {
        self.config.redundancy_depth = depth;
    }

    /// The group of the next frame.
    pub fn next_group(&self) -> u64 {
        self.next_group
    }

    /// The object of the next frame. It is a datagram unless the frame is too long for one: then it belongs on a
    /// subgroup stream of its own, which nobody has to put together again.
    pub fn packetize(&mut self, frame: &Frame, level: Option<AudioLevel>) -> Result<Object, PacketizeError> {
        let timestamp = timestamp(frame)?;
        if frame.data.len() > FRAME_BYTES_MAX as usize {
            return Err(PacketizeError::TooLarge(frame.data.len()));
        }
        if !self.follows(timestamp) {
            self.history.clear();
        }
        let ticks = self.config.frame_length.ticks([&frame.data]);
        self.expected_timestamp = ticks.and_then(|ticks| timestamp.checked_add(ticks));

        let location = Location::new(self.next_group, 0);
        self.next_group += 1;
        let mut properties = Properties {
            timestamp,
            timescale: self.config.timescale,
            audio_level: level,
            ..Properties::default()
        };
        let bytes_free = payload_bytes_max(location, &properties.encode()).checked_sub(frame.data.len());
        if let Some(bytes_free) = bytes_free {
            // Key and length of the property itself, and a length of all properties that grows by a byte.
            let bytes_max = bytes_free.saturating_sub(6);
            properties.redundancy =
                self.history.redundancy(location.group, self.config.redundancy_depth, bytes_max);
        }
        self.history.push(location.group, frame.data.clone());
        Ok(Object {
            priority: Some(self.config.priorities.base),
            forwarding: if bytes_free.is_some() { Forwarding::Datagram } else { Forwarding::Subgroup(0) },
            ends_group: true,
            properties: properties.encode(),
            ..Object::datagram(location, frame.data.clone())
        })
    }

    /// True when the frame begins where the last one ended, up to 2 ms: containers round to milliseconds.
    fn follows(&self, timestamp: u64) -> bool {
        let tolerance = u64::from(self.config.timescale.unwrap_or(1_000_000)) / 500 + 1;
        self.expected_timestamp.is_some_and(|expected| expected.abs_diff(timestamp) <= tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        format::{Codec, Format, Shape},
        names::TrackName,
    };

    fn video(parity: ParityPercent) -> VideoPacketizer {
        let config = VideoConfig {
            priorities: TrackName::Camera.priorities(),
            timescale: Some(90_000),
            has_layers: false,
            parity,
        };
        VideoPacketizer::new(config, 1_790_000_000_000)
    }

    fn frame(pts: i64, is_key: bool, bytes: usize) -> Frame {
        Frame { pts, duration: None, is_key, data: Bytes::from(vec![7; bytes]) }
    }

    fn datagram_bytes(object: &Object) -> usize {
        1 + ALIAS_BYTES_RESERVED
            + vi64::len(object.location.group)
            + vi64::len(object.location.object)
            + 1
            + vi64::len(object.properties.len() as u64)
            + object.properties.len()
            + object.payload.len()
    }

    #[test]
    fn a_small_frame_is_one_object_and_a_key_frame_begins_a_group() {
        let mut packetizer = video(ParityPercent::default());
        assert_eq!(
            packetizer.packetize(&frame(0, false, 10), Layer::default()),
            Err(PacketizeError::NoKeyFrame)
        );
        let key = packetizer.packetize(&frame(0, true, 10), Layer::default()).unwrap();
        assert_eq!(key.len(), 1);
        assert_eq!(key[0].location, Location::new(1_790_000_000_000, 0));
        let marking = Properties::decode(&key[0].properties).unwrap().marking.unwrap();
        assert!(marking.starts_frame && marking.ends_frame && marking.is_independent);
        let delta = packetizer.packetize(&frame(3000, false, 10), Layer::default()).unwrap();
        assert_eq!(delta[0].location.object, 1);
        let next = packetizer.packetize(&frame(6000, true, 10), Layer::default()).unwrap();
        assert_eq!(next[0].status, Status::EndOfGroup);
        assert_eq!(next[0].location, Location::new(1_790_000_000_000, 2));
        assert_eq!(next[1].location, Location::new(1_790_000_000_001, 0));
    }

    #[test]
    fn every_fragment_fits_a_datagram_of_1024_bytes_whatever_the_alias() {
        for bytes in [1, 900, 1000, 1024, 5000, 99_000, 1 << 20, FRAME_BYTES_MAX as usize] {
            for parity in if bytes > 1 << 20 { &[0][..] } else { &[0, 30] } {
                let parity = *parity;
                let mut packetizer = video(ParityPercent { base: parity, upper: 0 });
                let objects = packetizer.packetize(&frame(1 << 40, true, bytes), Layer::default()).unwrap();
                assert!(objects.iter().all(|object| datagram_bytes(object) <= DATAGRAM_BYTES_MAX));
                let data: usize = objects
                    .iter()
                    .filter(|object| {
                        let properties = Properties::decode(&object.properties).unwrap();
                        properties.fragment.is_none_or(|fragment| !fragment.is_parity())
                    })
                    .map(|object| object.payload.len())
                    .sum();
                assert_eq!(data, bytes);
                if bytes < 2 << 20 && parity == 0 {
                    assert!(objects.len() <= bytes / 940 + 1, "{} objects for {bytes} bytes", objects.len());
                }
            }
        }
    }

    #[test]
    fn data_comes_before_parity_of_each_block_and_marks_start_and_end() {
        let mut packetizer = video(ParityPercent { base: 10, upper: 0 });
        let objects = packetizer.packetize(&frame(0, true, 150_000), Layer::default()).unwrap();
        let headers: Vec<_> = objects
            .iter()
            .map(|object| {
                let properties = Properties::decode(&object.properties).unwrap();
                (properties.fragment.unwrap(), properties.marking.unwrap(), object.priority.unwrap())
            })
            .collect();
        let data_count = headers[0].0.data_count;
        let (last_data, first_parity) = (usize::from(data_count) - 1, usize::from(data_count));
        assert!(headers[0].1.starts_frame && !headers[0].1.ends_frame);
        assert_eq!((headers[last_data].0.is_parity(), headers[last_data].2), (false, 64));
        assert_eq!((headers[first_parity].0.is_parity(), headers[first_parity].2), (true, 124));
        let ends: Vec<_> = headers.iter().filter(|(_, marking, _)| marking.ends_frame).collect();
        assert_eq!(ends.len(), 1);
        assert_eq!((ends[0].0.block, ends[0].0.index + 1), (1, ends[0].0.data_count));
        assert_eq!(headers.iter().map(|(fragment, ..)| fragment.block).max(), Some(1));
    }

    #[test]
    fn upper_layers_have_their_own_priority_and_base_frames_are_counted() {
        let mut packetizer = video(ParityPercent::default());
        packetizer.config.has_layers = true;
        packetizer.packetize(&frame(0, true, 10), Layer::default()).unwrap();
        let upper = Layer { temporal: 1, is_base_layer_sync: true, is_discardable: true };
        let object = packetizer.packetize(&frame(1, false, 10), upper).unwrap().remove(0);
        let marking = Properties::decode(&object.properties).unwrap().marking.unwrap();
        assert_eq!(object.priority, Some(80));
        assert!(marking.is_discardable && marking.is_base_layer_sync);
        assert_eq!((marking.temporal_layer, marking.base_layer_index), (1, 1));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_and_the_next_frame_goes_on() {
        let mut packetizer = video(ParityPercent::default());
        assert_eq!(
            packetizer.packetize(&frame(-1, true, 10), Layer::default()),
            Err(PacketizeError::NegativeTime(-1))
        );
        assert_eq!(
            packetizer.packetize(&frame(0, true, (16 << 20) + 1), Layer::default()),
            Err(PacketizeError::TooLarge((16 << 20) + 1))
        );
        assert_eq!(packetizer.packetize(&frame(0, true, 10), Layer::default()).unwrap().len(), 1);
    }

    fn audio(depth: usize) -> AudioPacketizer {
        let format = Format {
            codec: Codec::Opus,
            codec_string: "opus".into(),
            shape: Shape::Audio { samplerate: 48_000, channels: 2 },
            config: Bytes::new(),
            timescale: 48_000,
        };
        let config = AudioConfig {
            priorities: TrackName::Audio.priorities(),
            timescale: Some(48_000),
            frame_length: FrameLength::new(&format).unwrap(),
            redundancy_depth: depth,
        };
        AudioPacketizer::new(config, 100)
    }

    fn opus(pts: i64, bytes: usize) -> Frame {
        let mut data = vec![1; bytes];
        data[0] = 0xf8;
        Frame { pts, duration: None, is_key: true, data: data.into() }
    }

    #[test]
    fn every_frame_of_sound_is_a_group_and_carries_the_ones_before() {
        let mut packetizer = audio(2);
        let objects: Vec<_> =
            (0..4).map(|at| packetizer.packetize(&opus(at * 960, 100), None).unwrap()).collect();
        for (at, object) in objects.iter().enumerate() {
            assert_eq!(object.location, Location::new(100 + at as u64, 0));
            assert!(object.ends_group && object.forwarding == Forwarding::Datagram);
            let carried = Properties::decode(&object.properties).unwrap().redundancy.len();
            assert_eq!(carried, at.min(2));
        }
        let after_break = packetizer.packetize(&opus(48_000, 100), None).unwrap();
        assert_eq!(Properties::decode(&after_break.properties).unwrap().redundancy, []);
    }

    #[test]
    fn sound_that_does_not_fit_leaves_redundancy_out_first_and_goes_by_stream_last() {
        let mut packetizer = audio(4);
        for at in 0..60 {
            let object = packetizer.packetize(&opus(at * 960, 100 + 20 * at as usize), None).unwrap();
            let fits = datagram_bytes(&object) <= DATAGRAM_BYTES_MAX;
            assert_eq!(fits, object.forwarding == Forwarding::Datagram);
        }
    }
}
