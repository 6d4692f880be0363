//! What a track of media is, whichever container or catalog says it.

use bytes::Bytes;

/// Codecs that Roundtable carries without touching their frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
    /// H.264, length-prefixed NAL units.
    H264,
    /// Opus.
    Opus,
    /// AAC, raw frames.
    Aac,
}

impl Codec {
    /// The codec of a parameter string of RFC 6381 or WebCodecs; `None` for one that Roundtable does not carry.
    pub fn from_string(codec_string: &str) -> Option<Self> {
        let family = codec_string.split('.').next().unwrap_or_default();
        match family {
            "vp8" | "vp08" => Some(Codec::Vp8),
            "vp9" | "vp09" => Some(Codec::Vp9),
            "av01" => Some(Codec::Av1),
            "avc1" | "avc3" => Some(Codec::H264),
            "opus" | "Opus" => Some(Codec::Opus),
            "mp4a" => codec_string.starts_with("mp4a.40.").then_some(Codec::Aac),
            _ => None,
        }
    }

    /// True for a codec of pictures.
    pub const fn is_video(self) -> bool {
        matches!(self, Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::H264)
    }
}

/// Size or sound of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// Pictures.
    Video {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Frames per second, when known.
        framerate: Option<f64>,
    },
    /// Sound.
    Audio {
        /// Hz.
        samplerate: u32,
        /// Channels.
        channels: u32,
    },
}

/// Everything a receiver must know before the first frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// The codec parameter string of RFC 6381 and WebCodecs, e.g. `vp8`, `avc1.64001f`, `av01.0.04M.08`, `opus`.
    pub codec_string: String,
    /// Size or sound.
    pub shape: Shape,
    /// Codec configuration: avcC, av1C, OpusHead, AudioSpecificConfig; empty where there is none.
    pub config: Bytes,
    /// Ticks per second of the track's time stamps.
    pub timescale: u32,
}

/// One frame of a track, in decode order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Presentation time in the track's timescale; of B-frames not ascending.
    pub pts: i64,
    /// Duration in the track's timescale, when known.
    pub duration: Option<u32>,
    /// True when decoding can begin here. Always true for audio.
    pub is_key: bool,
    /// The codec's own bytes.
    pub data: Bytes,
}
