//! Writes WebM as a live stream does: clusters of at most a second and of unknown size, so that the file plays
//! wherever it is cut.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    ebml::{self, id},
    index::{self, Index, Layout},
};
use crate::{
    container::{Finish, TrackSpec, WriteError, codec_config, window::len_u64},
    format::{Codec, Format, Frame, Shape},
};

/// Clusters span less than this, milliseconds.
const CLUSTER_MS_MAX: i64 = 1000;
/// Tracks of one file; their numbers take one byte in a block.
const TRACKS_MAX: usize = 100;
/// Opus wants this much decoded before what is shown after a seek (RFC 7845 section 4.6).
const OPUS_SEEK_PRE_ROLL_NS: u64 = 80_000_000;

#[derive(Debug)]
struct Track {
    spec: TrackSpec,
    /// Added to every time: what CodecDelay takes away again.
    delay_ms: i64,
    last_ms: i64,
    interval_ms: i64,
}

/// Writes WebM (VP8, VP9, AV1, Opus); with H.264 or AAC the same as Matroska.
#[derive(Debug)]
pub struct Writer {
    tracks: Vec<Track>,
    index: Index,
    /// Bytes given out so far.
    written: u64,
    cluster: Option<OpenCluster>,
}

#[derive(Debug, Clone, Copy)]
struct OpenCluster {
    time_ms: i64,
    has_video: bool,
}

impl Writer {
    /// A writer and the first bytes of its file. Times are kept to the millisecond.
    pub fn new(tracks: Vec<TrackSpec>) -> Result<(Self, Bytes), WriteError> {
        if tracks.is_empty() || tracks.len() > TRACKS_MAX {
            return Err(WriteError::Track);
        }
        let mut out = BytesMut::with_capacity(1024);
        let is_webm = tracks.iter().all(|track| !matches!(track.format.codec, Codec::H264 | Codec::Aac));
        put_file_header(&mut out, if is_webm { "webm" } else { "matroska" });

        ebml::put_open(&mut out, id::SEGMENT);
        let segment_start = len_u64(out.len());
        let mut layout = Layout {
            segment_size: Some(segment_start - 8),
            segment_start,
            seek_head: Some(segment_start),
            ..Layout::default()
        };
        index::put_seek_head_space(&mut out);

        layout.info = len_u64(out.len());
        ebml::put_parent(&mut out, id::INFO, |out| {
            ebml::put_uint(out, id::TIMESTAMP_SCALE, 1_000_000);
            ebml::put_bytes(out, id::MUXING_APP, b"Roundtable");
            ebml::put_bytes(out, id::WRITING_APP, b"Roundtable");
            index::put_duration_space(out);
        });
        layout.duration = Some(len_u64(out.len().saturating_sub(index::DURATION_BYTES)));

        layout.tracks = len_u64(out.len());
        let tracks: Vec<Track> = tracks.into_iter().map(Track::new).collect();
        let mut entries = BytesMut::new();
        for (number, track) in (1..).zip(&tracks) {
            track.put_entry(&mut entries, number)?;
        }
        ebml::put_bytes(&mut out, id::TRACKS, &entries);

        let has_video = tracks.iter().any(|track| track.spec.format.codec.is_video());
        let writer = Writer {
            tracks,
            index: Index::new(layout, has_video),
            written: len_u64(out.len()),
            cluster: None,
        };
        Ok((writer, out.freeze()))
    }

    /// The bytes of one frame. Frames of a track in decode order, tracks roughly in time.
    pub fn write(&mut self, track: usize, frame: &Frame) -> Result<Bytes, WriteError> {
        let entry = self.tracks.get_mut(track).ok_or(WriteError::Track)?;
        let time_ms = entry.time_ms(frame.pts).ok_or(WriteError::TooLarge)?;
        let unsigned_ms = u64::try_from(time_ms).map_err(|_| WriteError::BeforeStart)?;
        let number = u8::try_from(track + 1).map_err(|_| WriteError::Track)?;
        let is_video = entry.spec.format.codec.is_video();
        let duration_ms = entry.duration_ms(time_ms, frame);
        let is_seek_point = is_video && frame.is_key;

        let mut out = BytesMut::with_capacity(frame.data.len() + 32);
        let fits = |cluster: OpenCluster| {
            (i64::from(i16::MIN)..CLUSTER_MS_MAX).contains(&(time_ms - cluster.time_ms))
                && !(is_seek_point && cluster.has_video)
        };
        let cluster = match self.cluster.filter(|cluster| fits(*cluster)) {
            Some(cluster) => cluster,
            None => {
                ebml::put_open(&mut out, id::CLUSTER);
                let start = self.written + len_u64(out.len());
                self.index.cluster(self.written, Some(start - 8), start);
                ebml::put_uint(&mut out, id::TIMESTAMP, unsigned_ms);
                OpenCluster { time_ms, has_video: false }
            }
        };
        self.cluster = Some(OpenCluster { has_video: cluster.has_video || is_video, ..cluster });
        let relative = i16::try_from(time_ms - cluster.time_ms).map_err(|_| WriteError::TooLarge)?;

        ebml::put_header(&mut out, id::SIMPLE_BLOCK, frame.data.len() + 4);
        out.put_u8(0x80 | number);
        out.put_i16(relative);
        out.put_u8(if frame.is_key { 0x80 } else { 0 });
        out.put_slice(&frame.data);
        self.index.frame(u64::from(number), unsigned_ms, duration_ms, is_seek_point);
        self.written += len_u64(out.len());
        Ok(out.freeze())
    }

    /// What makes the file complete: Cues, sizes, duration.
    pub fn finish(self) -> Finish {
        self.index.finish(self.written)
    }
}

impl Track {
    fn new(spec: TrackSpec) -> Self {
        let delay_ns = delay_ns(&spec.format);
        let delay_ms = i64::try_from((delay_ns + 500_000) / 1_000_000).unwrap_or(0);
        Track { spec, delay_ms, last_ms: 0, interval_ms: 0 }
    }

    /// Milliseconds in the file, rounded to nearest.
    fn time_ms(&self, pts: i64) -> Option<i64> {
        let ticks = i128::from(pts) - i128::from(self.spec.zero);
        let timescale = i128::from(self.spec.format.timescale.max(1));
        let ms = (ticks * 2000 + timescale).div_euclid(2 * timescale);
        i64::try_from(ms).ok()?.checked_add(self.delay_ms)
    }

    /// What the frame says, or else what the one before took.
    fn duration_ms(&mut self, time_ms: i64, frame: &Frame) -> u64 {
        let interval = time_ms.saturating_sub(self.last_ms);
        if interval > 0 && self.last_ms > 0 {
            self.interval_ms = interval;
        }
        self.last_ms = time_ms;
        let timescale = u64::from(self.spec.format.timescale.max(1));
        let said = frame.duration.map(|ticks| (u64::from(ticks) * 1000 + timescale / 2) / timescale);
        said.unwrap_or(u64::try_from(self.interval_ms).unwrap_or(0))
    }

    fn put_entry(&self, out: &mut BytesMut, number: u64) -> Result<(), WriteError> {
        let Format { codec, shape, config, .. } = &self.spec.format;
        let codec_id = match codec {
            Codec::Vp8 => "V_VP8",
            Codec::Vp9 => "V_VP9",
            Codec::Av1 => "V_AV1",
            Codec::H264 => "V_MPEG4/ISO/AVC",
            Codec::Opus => "A_OPUS",
            Codec::Aac => "A_AAC",
        };
        let is_whole = match codec {
            Codec::H264 => codec_config::avc(config).is_some(),
            Codec::Aac => codec_config::aac(config).is_some(),
            Codec::Opus => config.is_empty() || codec_config::opus(config).is_some(),
            Codec::Av1 => config.is_empty() || codec_config::av1(config).is_some(),
            Codec::Vp8 | Codec::Vp9 => true,
        };
        if !is_whole {
            return Err(WriteError::Config);
        }
        let config = match (codec, shape) {
            // Opus cannot be read without its head.
            (Codec::Opus, Shape::Audio { channels, .. }) if config.is_empty() => {
                codec_config::opus_default(u8::try_from(*channels).unwrap_or(2))
            }
            (Codec::Vp8 | Codec::Vp9, _) => Bytes::new(),
            _ => config.clone(),
        };
        ebml::put_parent(out, id::TRACK_ENTRY, |out| {
            ebml::put_uint(out, id::TRACK_NUMBER, number);
            ebml::put_uint(out, id::TRACK_UID, number);
            ebml::put_uint(out, id::TRACK_TYPE, if codec.is_video() { 1 } else { 2 });
            ebml::put_uint(out, id::FLAG_LACING, 0);
            ebml::put_bytes(out, id::CODEC_ID, codec_id.as_bytes());
            if !config.is_empty() {
                ebml::put_bytes(out, id::CODEC_PRIVATE, &config);
            }
            if *codec == Codec::Opus {
                ebml::put_uint(out, id::CODEC_DELAY, delay_ns(&self.spec.format));
                ebml::put_uint(out, id::SEEK_PRE_ROLL, OPUS_SEEK_PRE_ROLL_NS);
            }
            match shape {
                Shape::Video { width, height, framerate } => {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a float cast saturates"
                    )]
                    if let Some(duration_ns) =
                        framerate.filter(|rate| *rate > 0.1).map(|rate| (1e9 / rate) as u64)
                    {
                        ebml::put_uint(out, id::DEFAULT_DURATION, duration_ns.max(1));
                    }
                    ebml::put_parent(out, id::VIDEO, |out| {
                        ebml::put_uint(out, id::PIXEL_WIDTH, u64::from(*width));
                        ebml::put_uint(out, id::PIXEL_HEIGHT, u64::from(*height));
                    });
                }
                Shape::Audio { samplerate, channels } => ebml::put_parent(out, id::AUDIO, |out| {
                    ebml::put_float(out, id::SAMPLING_FREQUENCY, f64::from(*samplerate));
                    ebml::put_uint(out, id::CHANNELS, u64::from(*channels));
                }),
            }
        });
        Ok(())
    }
}

/// How much decoded sound comes before the first that is meant to be heard.
fn delay_ns(format: &Format) -> u64 {
    let pre_skip = match format.codec {
        Codec::Opus => codec_config::opus(&format.config).map_or(0, |head| head.pre_skip),
        _ => 0,
    };
    (u64::from(pre_skip) * 1_000_000 + 24) / 48
}

fn put_file_header(out: &mut BytesMut, doc_type: &str) {
    const EBML_VERSION: u32 = 0x4286;
    const EBML_READ_VERSION: u32 = 0x42F7;
    const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
    const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
    const DOC_TYPE_VERSION: u32 = 0x4287;
    const DOC_TYPE_READ_VERSION: u32 = 0x4285;
    ebml::put_parent(out, id::EBML, |out| {
        ebml::put_uint(out, EBML_VERSION, 1);
        ebml::put_uint(out, EBML_READ_VERSION, 1);
        ebml::put_uint(out, EBML_MAX_ID_LENGTH, 4);
        ebml::put_uint(out, EBML_MAX_SIZE_LENGTH, 8);
        ebml::put_bytes(out, id::DOC_TYPE, doc_type.as_bytes());
        ebml::put_uint(out, DOC_TYPE_VERSION, 4);
        ebml::put_uint(out, DOC_TYPE_READ_VERSION, 2);
    });
}
