//! The Tracks element: what every track is (RFC 9559 section 5.1.4).

use bytes::Bytes;

use super::ebml::{self, id};
use crate::{
    container::{
        Skipped, TRACKS_MAX, bitstream,
        codec_config::{self, aac, avc},
        error::ContainerError,
        fields::Fields,
    },
    format::{Codec, Format, Shape},
};

/// The clock of a segment. Ticks are kept as they are where a whole number of them makes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Nanoseconds of a tick of the file.
    pub(super) tick_ns: u64,
    /// Ticks per second of the frames' times.
    pub(super) timescale: u32,
    /// What a tick of the file is in ticks of the frames' times.
    multiplier: i64,
}

const SECOND_NS: u64 = 1_000_000_000;

impl Clock {
    pub(super) fn new(tick_ns: u64) -> Option<Self> {
        if tick_ns == 0 || tick_ns > SECOND_NS {
            return None;
        }
        let per_second = u32::try_from(SECOND_NS / tick_ns).ok()?;
        Some(if SECOND_NS.is_multiple_of(tick_ns) {
            Clock { tick_ns, timescale: per_second, multiplier: 1 }
        } else {
            Clock { tick_ns, timescale: 1_000_000_000, multiplier: i64::try_from(tick_ns).ok()? }
        })
    }

    /// A time of the file as a frame's; `None` when no clock reaches that far.
    pub(super) fn ticks(self, ticks: i64) -> Option<i64> {
        ticks.checked_mul(self.multiplier)
    }

    /// Nanoseconds, rounded to a tick.
    pub(super) fn of_ns(self, ns: u64) -> u64 {
        let ticks =
            (u128::from(ns) * u128::from(self.timescale) + u128::from(SECOND_NS / 2)) / u128::from(SECOND_NS);
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

/// A track whose frames are delivered.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) number: u64,
    pub(super) format: Format,
    /// False while the first frame still has to say what the header did not.
    pub(super) is_settled: bool,
    /// Subtracted from every block's time.
    pub(super) delay_ticks: i64,
    /// Of each frame, nanoseconds.
    pub(super) default_duration_ns: Option<u64>,
    /// What header stripping took from the front of every frame.
    pub(super) stripped: Bytes,
    pub(super) nal_length_bytes: usize,
}

impl Track {
    /// Nanoseconds of one frame, where the block does not say.
    pub(super) fn frame_ns(&self, frame: &[u8]) -> Option<u64> {
        match self.format.codec {
            // Opus says it best itself, in 48ths of a millisecond.
            Codec::Opus => bitstream::opus_samples(frame).map(|samples| u64::from(samples) * 1_000_000 / 48),
            _ => self.default_duration_ns,
        }
    }
}

/// Tracks to deliver and tracks to leave.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    pub(super) usable: Vec<Track>,
    pub(super) skipped: Vec<Skipped>,
}

/// Reads a Tracks element.
pub(super) fn parse(mut data: Fields, clock: Clock) -> Result<Tracks, ContainerError> {
    let mut tracks = Tracks::default();
    while let Some(child) = ebml::child(&mut data)? {
        if child.id != id::TRACK_ENTRY || tracks.usable.len() + tracks.skipped.len() >= TRACKS_MAX {
            continue;
        }
        let entry = Entry::parse(child.data)?;
        let codec_id = entry.codec_id.clone();
        match entry.into_track(clock) {
            Ok(track) => tracks.usable.push(track),
            Err(reason) => tracks.skipped.push(Skipped { codec: codec_id, reason }),
        }
    }
    Ok(tracks)
}

/// A TrackEntry as it stands in the file.
#[derive(Debug, Default)]
struct Entry {
    number: u64,
    codec_id: String,
    private: Bytes,
    delay_ns: u64,
    default_duration_ns: Option<u64>,
    width: u64,
    height: u64,
    samplerate: f64,
    channels: u64,
    stripped: Bytes,
    /// Frames are changed in a way that cannot be undone here.
    obstacle: Option<&'static str>,
}

impl Entry {
    fn parse(mut data: Fields) -> Result<Self, ContainerError> {
        let mut entry = Entry { samplerate: 8000.0, channels: 1, ..Entry::default() };
        while let Some(child) = ebml::child(&mut data)? {
            match child.id {
                id::TRACK_NUMBER => entry.number = child.uint()?,
                id::CODEC_ID => entry.codec_id = child.text(),
                id::CODEC_PRIVATE => entry.private = child.bytes(),
                id::CODEC_DELAY => entry.delay_ns = child.uint()?,
                id::DEFAULT_DURATION => entry.default_duration_ns = Some(child.uint()?).filter(|ns| *ns > 0),
                id::VIDEO => {
                    let mut video = child.data;
                    while let Some(child) = ebml::child(&mut video)? {
                        match child.id {
                            id::PIXEL_WIDTH => entry.width = child.uint()?,
                            id::PIXEL_HEIGHT => entry.height = child.uint()?,
                            _ => {}
                        }
                    }
                }
                id::AUDIO => {
                    let mut audio = child.data;
                    while let Some(child) = ebml::child(&mut audio)? {
                        match child.id {
                            id::SAMPLING_FREQUENCY => entry.samplerate = child.float()?,
                            id::CHANNELS => entry.channels = child.uint()?,
                            _ => {}
                        }
                    }
                }
                id::CONTENT_ENCODINGS => entry.encodings(child.data)?,
                _ => {}
            }
        }
        Ok(entry)
    }

    fn encodings(&mut self, mut data: Fields) -> Result<(), ContainerError> {
        while let Some(child) = ebml::child(&mut data)? {
            if child.id != id::CONTENT_ENCODING {
                continue;
            }
            let (mut scope, mut kind, mut algorithm, mut settings) = (1, 0, 0, Bytes::new());
            let mut encoding = child.data;
            while let Some(child) = ebml::child(&mut encoding)? {
                match child.id {
                    id::CONTENT_ENCODING_SCOPE => scope = child.uint()?,
                    id::CONTENT_ENCODING_TYPE => kind = child.uint()?,
                    id::CONTENT_COMPRESSION => {
                        let mut compression = child.data;
                        while let Some(child) = ebml::child(&mut compression)? {
                            match child.id {
                                id::CONTENT_COMP_ALGO => algorithm = child.uint()?,
                                id::CONTENT_COMP_SETTINGS => settings = child.bytes(),
                                _ => {}
                            }
                        }
                    }
                    _ => {}
                }
            }
            match (kind, algorithm) {
                (0, 3) if scope == 1 && self.stripped.is_empty() && settings.len() <= 4096 => {
                    self.stripped = settings;
                }
                (0, _) => self.obstacle = Some("its frames are compressed by the container"),
                _ => self.obstacle = Some("it is encrypted"),
            }
        }
        Ok(())
    }

    fn into_track(self, clock: Clock) -> Result<Track, &'static str> {
        const SIZE: &str = "its picture has no size";
        if let Some(obstacle) = self.obstacle {
            return Err(obstacle);
        }
        let codec = match self.codec_id.as_str() {
            "V_VP8" => Codec::Vp8,
            "V_VP9" => Codec::Vp9,
            "V_AV1" => Codec::Av1,
            "V_MPEG4/ISO/AVC" => Codec::H264,
            "A_OPUS" => Codec::Opus,
            "A_AAC" => Codec::Aac,
            _ => return Err("its codec is not carried"),
        };
        let shape = if codec.is_video() {
            let size = |pixels: u64| {
                u32::try_from(pixels).ok().filter(|pixels| (1..=65_535).contains(pixels)).ok_or(SIZE)
            };
            // Any u64 below 2^53 survives; a rate needs no more.
            #[expect(clippy::cast_precision_loss, reason = "a frame rate is an estimate")]
            let framerate = self.default_duration_ns.map(|ns| 1e9 / ns as f64);
            Shape::Video { width: size(self.width)?, height: size(self.height)?, framerate }
        } else {
            Shape::Audio {
                samplerate: samplerate(self.samplerate),
                channels: u32::try_from(self.channels).unwrap_or(0).clamp(1, 255),
            }
        };
        let mut track = Track {
            number: self.number,
            format: Format {
                codec,
                codec_string: String::new(),
                shape,
                config: self.private,
                timescale: clock.timescale,
            },
            is_settled: true,
            delay_ticks: i64::try_from(clock.of_ns(self.delay_ns.min(SECOND_NS))).unwrap_or(0),
            default_duration_ns: self.default_duration_ns,
            stripped: self.stripped,
            nal_length_bytes: 4,
        };
        configure(&mut track)?;
        Ok(track)
    }
}

/// The codec string, and whatever the configuration knows better than the container.
fn configure(track: &mut Track) -> Result<(), &'static str> {
    let format = &mut track.format;
    match format.codec {
        Codec::Vp8 => format.codec_string = "vp8".into(),
        Codec::Vp9 => {
            track.is_settled = codec_config::vp9_webm(&format.config).is_some();
            format.codec_string =
                codec_config::vp9_webm(&format.config).unwrap_or_else(|| codec_config::VP9_UNSETTLED.into());
            format.config = Bytes::new();
        }
        Codec::Av1 => {
            track.is_settled = codec_config::av1(&format.config).is_some();
            format.codec_string =
                codec_config::av1(&format.config).unwrap_or_else(|| codec_config::AV1_UNSETTLED.into());
        }
        Codec::H264 => {
            let (string, nal_length_bytes) = avc(&format.config).ok_or("its avcC is missing or broken")?;
            (format.codec_string, track.nal_length_bytes) = (string, nal_length_bytes);
        }
        Codec::Opus => {
            let Shape::Audio { channels, .. } = format.shape else { return Err("it is no sound") };
            if format.config.is_empty() {
                format.config = codec_config::opus_default(u8::try_from(channels).unwrap_or(2));
            }
            let head = codec_config::opus(&format.config).ok_or("its OpusHead is broken")?;
            format.shape = Shape::Audio { samplerate: 48_000, channels: u32::from(head.channels) };
            format.codec_string = "opus".into();
        }
        Codec::Aac => {
            let config = aac(&format.config).ok_or("its AudioSpecificConfig is missing or broken")?;
            let Shape::Audio { channels, .. } = format.shape else { return Err("it is no sound") };
            let channels = config.channels.unwrap_or(channels);
            format.shape = Shape::Audio { samplerate: config.samplerate, channels };
            format.codec_string = config.codec_string;
            track.default_duration_ns =
                track.default_duration_ns.or(Some(1024 * SECOND_NS / u64::from(config.core_samplerate)));
        }
    }
    Ok(())
}

/// Hz of a float that a file may fill with anything.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float cast saturates")]
fn samplerate(value: f64) -> u32 {
    (value.round() as u32).clamp(1, 768_000)
}
