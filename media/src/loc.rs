//! Properties of media objects: LOC's public ones and ours (draft-ietf-moq-loc-04, docs/wire.md, "Media datagrams").
//!
//! The framing of the pairs is the session's to check; what a pair says is checked here, and what is wrong costs
//! the receiver that object only.

use bytes::{BufMut, Bytes, BytesMut};
use roundtable_moqt::{
    properties::{Reader, Value, Writer},
    vi64,
};

/// LOC: ticks per second of [`TIMESTAMP`]. Absent: Unix microseconds.
pub const TIMESCALE: u64 = 0x08;
/// LOC: Video Frame Marking, RFC 9626.
pub const VIDEO_FRAME_MARKING: u64 = 0x09;
/// LOC: Audio Level, RFC 6464.
pub const AUDIO_LEVEL: u64 = 0x0C;
/// LOC: presentation time of the frame.
pub const TIMESTAMP: u64 = 0x10;
/// Ours: which piece of which frame the payload is.
pub const FRAGMENT: u64 = 0x3801;
/// Ours: earlier frames of the same track.
pub const AUDIO_REDUNDANCY: u64 = 0x3803;

/// Why an object's properties are of no use. The object is dropped and counted, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProperty {
    /// The key-value pairs themselves are broken.
    #[error("the properties are not key-value pairs")]
    Framing,
    /// No Timestamp.
    #[error("a media object has no Timestamp")]
    NoTimestamp,
    /// One of the properties known here stands twice.
    #[error("property {0:#x} stands twice")]
    Repeated(u64),
    /// Timescale 0 or above 32 bits.
    #[error("the Timescale is out of range")]
    Timescale,
    /// A marking that is no byte or more than four.
    #[error("the Video Frame Marking has the wrong length")]
    FrameMarking,
    /// Above 8 bits.
    #[error("the Audio Level is out of range")]
    AudioLevel,
    /// A FRAGMENT that is cut, has bytes left over, or numbers that contradict each other.
    #[error("the FRAGMENT property makes no sense")]
    Fragment,
    /// A redundancy block that is cut, or whose frames do not go back in time.
    #[error("the AUDIO_REDUNDANCY property makes no sense")]
    Redundancy,
}

/// What a video object says about its frame (RFC 9626, long form).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameMarking {
    /// S: the first data fragment of a frame.
    pub starts_frame: bool,
    /// E: the last data fragment of a frame.
    pub ends_frame: bool,
    /// I: decoding can begin with this frame.
    pub is_independent: bool,
    /// D: no other frame depends on this one.
    pub is_discardable: bool,
    /// B: depends on temporal layer 0 only, so a receiver can step up here.
    pub is_base_layer_sync: bool,
    /// TID: temporal layer, 0 to 7.
    pub temporal_layer: u8,
    /// LID: spatial layer; always 0 from Roundtable's publishers.
    pub spatial_layer: u8,
    /// TL0PICIDX: counts frames of temporal layer 0, modulo 256; 0 in tracks without layers.
    pub base_layer_index: u8,
}

impl FrameMarking {
    /// The three bytes of the long form.
    pub fn to_bytes(self) -> [u8; 3] {
        let bit = |set: bool, shift: u32| u8::from(set) << shift;
        let flags = bit(self.starts_frame, 7)
            | bit(self.ends_frame, 6)
            | bit(self.is_independent, 5)
            | bit(self.is_discardable, 4)
            | bit(self.is_base_layer_sync, 3)
            | (self.temporal_layer & 0x07);
        [flags, self.spatial_layer, self.base_layer_index]
    }

    /// Reads the long form, or one of the shorter ones, in which what is left out is 0.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadProperty> {
        let (flags, rest) = bytes.split_first().ok_or(BadProperty::FrameMarking)?;
        if rest.len() > 3 {
            return Err(BadProperty::FrameMarking);
        }
        let bit = |shift: u32| flags & (1 << shift) != 0;
        Ok(FrameMarking {
            starts_frame: bit(7),
            ends_frame: bit(6),
            is_independent: bit(5),
            is_discardable: bit(4),
            is_base_layer_sync: bit(3),
            temporal_layer: flags & 0x07,
            spatial_layer: rest.first().copied().unwrap_or(0),
            base_layer_index: rest.get(1).copied().unwrap_or(0),
        })
    }
}

/// How loud a frame of sound is (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// True when it is speech, as far as the publisher can tell.
    pub is_voice: bool,
    /// Decibels below overload, 0 (loudest) to 127 (silence).
    pub below_overload_db: u8,
}

impl AudioLevel {
    /// The byte of RFC 6464.
    pub const fn to_byte(self) -> u8 {
        ((self.is_voice as u8) << 7) | (self.below_overload_db & 0x7f)
    }

    /// Reads that byte.
    pub const fn from_byte(byte: u8) -> Self {
        AudioLevel { is_voice: byte & 0x80 != 0, below_overload_db: byte & 0x7f }
    }
}

/// Most data fragments of a block.
pub const BLOCK_FRAGMENTS_MAX: u8 = 100;
/// Most parity fragments of a block.
pub const BLOCK_PARITY_MAX: u8 = 100;

/// Which piece of which frame an object is; see [`crate::fragment`] for how a frame is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Number of the frame in its group, from 0.
    pub frame: u64,
    /// Block of the frame, from 0.
    pub block: u32,
    /// Fragment of the block: data 0 to `data_count - 1`, then parity.
    pub index: u8,
    /// k: data fragments of the block, 1 to [`BLOCK_FRAGMENTS_MAX`].
    pub data_count: u8,
    /// m: parity fragments of the block, 0 to [`BLOCK_PARITY_MAX`].
    pub parity_count: u8,
    /// Bytes of the whole frame, at least 1.
    pub frame_bytes: u32,
}

impl FragmentHeader {
    /// True for a parity fragment.
    pub const fn is_parity(&self) -> bool {
        self.index >= self.data_count
    }

    fn write(&self, out: &mut BytesMut) {
        vi64::put(out, self.frame);
        vi64::put(out, u64::from(self.block));
        vi64::put(out, u64::from(self.index));
        vi64::put(out, u64::from(self.data_count));
        vi64::put(out, u64::from(self.parity_count));
        vi64::put(out, u64::from(self.frame_bytes));
    }

    fn read(mut bytes: Bytes) -> Option<Self> {
        let frame = vi64::take(&mut bytes)?;
        let block = u32::try_from(vi64::take(&mut bytes)?).ok()?;
        let index = u8::try_from(vi64::take(&mut bytes)?).ok()?;
        let data_count = u8::try_from(vi64::take(&mut bytes)?).ok()?;
        let parity_count = u8::try_from(vi64::take(&mut bytes)?).ok()?;
        let frame_bytes = u32::try_from(vi64::take(&mut bytes)?).ok()?;
        let makes_sense = bytes.is_empty()
            && (1..=BLOCK_FRAGMENTS_MAX).contains(&data_count)
            && parity_count <= BLOCK_PARITY_MAX
            && index < data_count.saturating_add(parity_count)
            && frame_bytes > 0;
        makes_sense.then_some(FragmentHeader { frame, block, index, data_count, parity_count, frame_bytes })
    }
}

/// An earlier frame of sound carried by a later object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedundantFrame {
    /// How many groups before the carrying object's own, at least 1.
    pub groups_back: u64,
    /// The frame, as its own object carried it.
    pub payload: Bytes,
}

/// Most earlier frames read from one object; further ones are ignored.
pub const REDUNDANT_FRAMES_MAX: usize = 16;

fn write_redundancy(frames: &[RedundantFrame]) -> BytesMut {
    let mut out = BytesMut::new();
    for frame in frames {
        vi64::put(&mut out, frame.groups_back);
        vi64::put(&mut out, frame.payload.len() as u64);
        out.put_slice(&frame.payload);
    }
    out
}

fn read_redundancy(mut bytes: Bytes) -> Option<Vec<RedundantFrame>> {
    let mut frames = Vec::new();
    let mut previous = 0;
    while !bytes.is_empty() {
        let groups_back = vi64::take(&mut bytes)?;
        let len = usize::try_from(vi64::take(&mut bytes)?).ok()?;
        if groups_back <= previous || len > bytes.len() {
            return None;
        }
        previous = groups_back;
        let payload = bytes.split_to(len);
        if frames.len() < REDUNDANT_FRAMES_MAX {
            frames.push(RedundantFrame { groups_back, payload });
        }
    }
    Some(frames)
}

/// What is known of a media object besides its payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// Presentation time of the frame, in ticks of the timescale.
    pub timestamp: u64,
    /// Ticks per second; `None`: Unix microseconds.
    pub timescale: Option<u32>,
    /// On every object of video.
    pub marking: Option<FrameMarking>,
    /// On sound, when the publisher measures it.
    pub audio_level: Option<AudioLevel>,
    /// Where a frame is in pieces.
    pub fragment: Option<FragmentHeader>,
    /// Earlier frames of sound, newest first.
    pub redundancy: Vec<RedundantFrame>,
}

impl Properties {
    /// The key-value pairs, ascending.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        if let Some(timescale) = self.timescale {
            writer.integer(TIMESCALE, u64::from(timescale));
        }
        if let Some(marking) = self.marking {
            writer.bytes(VIDEO_FRAME_MARKING, &marking.to_bytes());
        }
        if let Some(level) = self.audio_level {
            writer.integer(AUDIO_LEVEL, u64::from(level.to_byte()));
        }
        writer.integer(TIMESTAMP, self.timestamp);
        if let Some(fragment) = self.fragment {
            let mut bytes = BytesMut::new();
            fragment.write(&mut bytes);
            writer.bytes(FRAGMENT, &bytes);
        }
        if !self.redundancy.is_empty() {
            writer.bytes(AUDIO_REDUNDANCY, &write_redundancy(&self.redundancy));
        }
        writer.finish()
    }

    /// Reads an object's properties; those that are not known here are passed over.
    pub fn decode(bytes: &Bytes) -> Result<Self, BadProperty> {
        let mut seen = Seen::default();
        let mut timestamp = None;
        let mut properties = Properties::default();
        for pair in Reader::new(bytes.clone()) {
            let (key, value) = pair.map_err(|_| BadProperty::Framing)?;
            match (key, value) {
                (TIMESTAMP, Value::Integer(value)) => timestamp = Some(value),
                (TIMESCALE, Value::Integer(value)) => {
                    let timescale = u32::try_from(value).ok().filter(|timescale| *timescale > 0);
                    properties.timescale = Some(timescale.ok_or(BadProperty::Timescale)?);
                }
                (AUDIO_LEVEL, Value::Integer(value)) => {
                    let byte = u8::try_from(value).map_err(|_| BadProperty::AudioLevel)?;
                    properties.audio_level = Some(AudioLevel::from_byte(byte));
                }
                (VIDEO_FRAME_MARKING, Value::Bytes(value)) => {
                    properties.marking = Some(FrameMarking::from_bytes(&value)?);
                }
                (FRAGMENT, Value::Bytes(value)) => {
                    properties.fragment = Some(FragmentHeader::read(value).ok_or(BadProperty::Fragment)?);
                }
                (AUDIO_REDUNDANCY, Value::Bytes(value)) => {
                    properties.redundancy = read_redundancy(value).ok_or(BadProperty::Redundancy)?;
                }
                _ => continue,
            }
            seen.note(key)?;
        }
        properties.timestamp = timestamp.ok_or(BadProperty::NoTimestamp)?;
        Ok(properties)
    }
}

/// Keys ascend, so a repeated one stands beside its first.
#[derive(Default)]
struct Seen(Option<u64>);

impl Seen {
    fn note(&mut self, key: u64) -> Result<(), BadProperty> {
        if self.0 == Some(key) {
            return Err(BadProperty::Repeated(key));
        }
        self.0 = Some(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn video() -> Properties {
        Properties {
            timestamp: 1_790_000_000_000_000,
            timescale: Some(90_000),
            marking: Some(FrameMarking { starts_frame: true, is_independent: true, ..Default::default() }),
            fragment: Some(FragmentHeader {
                frame: 3,
                block: 0,
                index: 2,
                data_count: 3,
                parity_count: 1,
                frame_bytes: 2500,
            }),
            ..Default::default()
        }
    }

    #[test]
    fn properties_round_trip() {
        assert_eq!(Properties::decode(&video().encode()), Ok(video()));
        let audio = Properties {
            timestamp: 0,
            audio_level: Some(AudioLevel { is_voice: true, below_overload_db: 37 }),
            redundancy: vec![
                RedundantFrame { groups_back: 1, payload: Bytes::from_static(b"newer") },
                RedundantFrame { groups_back: 3, payload: Bytes::from_static(b"older") },
            ],
            ..Default::default()
        };
        assert_eq!(Properties::decode(&audio.encode()), Ok(audio));
    }

    #[test]
    fn unknown_properties_are_passed_over() {
        let mut writer = Writer::new();
        writer.integer(0x02, 7).integer(TIMESTAMP, 5).bytes(0x3c01, b"who knows");
        assert_eq!(Properties::decode(&writer.finish()).map(|properties| properties.timestamp), Ok(5));
    }

    #[test]
    fn nonsense_is_named() {
        let decode = |build: &dyn Fn(&mut Writer)| {
            let mut writer = Writer::new();
            build(&mut writer);
            Properties::decode(&writer.finish()).unwrap_err()
        };
        let fragment = |numbers: [u64; 6]| {
            let mut bytes = BytesMut::new();
            numbers.into_iter().for_each(|number| vi64::put(&mut bytes, number));
            decode(&|writer| {
                writer.integer(TIMESTAMP, 1).bytes(FRAGMENT, &bytes);
            })
        };
        assert_eq!(decode(&|_| {}), BadProperty::NoTimestamp);
        assert_eq!(fragment([0, 0, 2, 2, 0, 9]), BadProperty::Fragment);
        assert_eq!(fragment([0, 0, 0, 0, 0, 9]), BadProperty::Fragment);
        assert_eq!(fragment([0, 0, 0, 101, 0, 9]), BadProperty::Fragment);
        assert_eq!(fragment([0, 0, 0, 1, 0, 0]), BadProperty::Fragment);
        assert_eq!(fragment([0, 1 << 40, 0, 1, 0, 1]), BadProperty::Fragment);
        assert_eq!(
            decode(&|writer| {
                writer.integer(TIMESCALE, 0).integer(TIMESTAMP, 1);
            }),
            BadProperty::Timescale
        );
        assert_eq!(
            decode(&|writer| {
                writer.integer(TIMESTAMP, 1).integer(TIMESTAMP, 2);
            }),
            BadProperty::Repeated(TIMESTAMP)
        );
        assert_eq!(
            decode(&|writer| {
                writer.bytes(VIDEO_FRAME_MARKING, &[]).integer(TIMESTAMP, 1);
            }),
            BadProperty::FrameMarking
        );
        assert_eq!(
            decode(&|writer| {
                // One group back, longer than what follows.
                writer.integer(TIMESTAMP, 1).bytes(AUDIO_REDUNDANCY, &[1, 9, 0]);
            }),
            BadProperty::Redundancy
        );
    }

    #[test]
    fn frame_marking_is_that_of_the_rfc() {
        let marking = FrameMarking {
            starts_frame: true,
            ends_frame: true,
            is_independent: false,
            is_discardable: true,
            is_base_layer_sync: true,
            temporal_layer: 2,
            spatial_layer: 0,
            base_layer_index: 200,
        };
        assert_eq!(marking.to_bytes(), [0b1101_1010, 0, 200]);
        assert_eq!(FrameMarking::from_bytes(&marking.to_bytes()), Ok(marking));
        let short = FrameMarking::from_bytes(&[0b1010_0000]).unwrap();
        assert!(short.starts_frame && short.is_independent && short.temporal_layer == 0);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Properties::decode(&Bytes::from(bytes));
        }
    }
}
