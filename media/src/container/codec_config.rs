//! Codec configurations (avcC, av1C, vpcC, OpusHead, AudioSpecificConfig) and the codec strings they give.

use bytes::{BufMut, Bytes, BytesMut};

use super::bitstream::{self, Av1Sequence, Bits, Vp9Header};
use crate::format::{Codec, Format, Shape};

/// Until the first frame says it better.
pub(super) const VP9_UNSETTLED: &str = "vp09.00.10.08";
/// Until the first frame says it better.
pub(super) const AV1_UNSETTLED: &str = "av01.0.04M.08";

/// Completes a VP9 or AV1 format from the track's first frame, where the container left it open.
pub(super) fn settle(format: &mut Format, frame: &[u8]) {
    let Shape::Video { width, height, framerate } = format.shape else { return };
    match format.codec {
        Codec::Vp9 => {
            if let Some(header) = Vp9Header::parse(frame) {
                format.codec_string = vp9_string(header, width, height, framerate);
            }
        }
        Codec::Av1 => {
            if let Some(sequence) = bitstream::av1_sequence_header(frame) {
                format.codec_string = av1_string(sequence);
                format.config = av1_config(sequence);
            }
        }
        _ => {}
    }
}

/// `avc1.PPCCLL` of an avcC (RFC 6381), and how many bytes a NAL unit's length has.
pub(super) fn avc(config: &[u8]) -> Option<(String, usize)> {
    let [1, profile, compatibility, level, length, _, _, ..] = config else { return None };
    Some((format!("avc1.{profile:02x}{compatibility:02x}{level:02x}"), usize::from(length & 3) + 1))
}

/// `av01.P.LLT.DD` of an av1C (AV1 in ISO BMFF, section 5).
pub(super) fn av1(config: &[u8]) -> Option<String> {
    let [0x81, profile_level, flags, _, ..] = config else { return None };
    let profile = profile_level >> 5;
    let is_high_depth = flags & 0x40 != 0;
    Some(av1_string(Av1Sequence {
        profile,
        level: profile_level & 0x1F,
        is_high_tier: flags & 0x80 != 0,
        bit_depth: match (is_high_depth, flags & 0x20 != 0) {
            (true, true) => 12,
            (true, false) => 10,
            (false, _) => 8,
        },
        is_monochrome: flags & 0x10 != 0,
        subsampling: (flags & 8 != 0, flags & 4 != 0),
    }))
}

/// The same, of a sequence header.
pub(super) fn av1_string(sequence: Av1Sequence) -> String {
    let Av1Sequence { profile, level, is_high_tier, bit_depth, is_monochrome, subsampling } = sequence;
    let tier = if is_high_tier { 'H' } else { 'M' };
    let mut string = format!("av01.{profile}.{level:02}{tier}.{bit_depth:02}");
    if is_monochrome || subsampling != (true, true) {
        // The optional fields come all or none; colours are left at their defaults.
        let (mono, x, y) = (u8::from(is_monochrome), u8::from(subsampling.0), u8::from(subsampling.1));
        string.push_str(&format!(".{mono}.{x}{y}0.01.01.01.0"));
    }
    string
}

/// An av1C for a stream that came without one: the four bytes without configuration OBUs.
pub(super) fn av1_config(sequence: Av1Sequence) -> Bytes {
    let flags = u8::from(sequence.is_high_tier) << 7
        | u8::from(sequence.bit_depth > 8) << 6
        | u8::from(sequence.bit_depth == 12) << 5
        | u8::from(sequence.is_monochrome) << 4
        | u8::from(sequence.subsampling.0) << 3
        | u8::from(sequence.subsampling.1) << 2;
    Bytes::copy_from_slice(&[0x81, sequence.profile << 5 | (sequence.level & 0x1F), flags, 0])
}

/// `vp09.PP.LL.DD` of an MP4's vpcC, which is a full box.
pub(super) fn vp9_mp4(config: &[u8]) -> Option<String> {
    let [1, _, _, _, profile, level, depth, ..] = config else { return None };
    Some(format!("vp09.{profile:02}.{level:02}.{:02}", depth >> 4))
}

/// `vp09.PP.LL.DD` of a WebM's CodecPrivate: id, length, value.
pub(super) fn vp9_webm(mut config: &[u8]) -> Option<String> {
    let (mut profile, mut level, mut depth) = (None, None, 8);
    while let [id, 1, value, rest @ ..] = config {
        match id {
            1 => profile = Some(*value),
            2 => level = Some(*value),
            3 => depth = *value,
            _ => {}
        }
        config = rest;
    }
    Some(format!("vp09.{:02}.{:02}.{depth:02}", profile?, level?))
}

/// `vp09.PP.LL.DD` of a key frame; the level is the smallest that holds the picture.
pub(super) fn vp9_string(header: Vp9Header, width: u32, height: u32, framerate: Option<f64>) -> String {
    const LEVELS: &[(u8, u64, f64)] = &[
        (10, 36_864, 829_440.0),
        (11, 73_728, 2_764_800.0),
        (20, 122_880, 4_608_000.0),
        (21, 245_760, 9_216_000.0),
        (30, 552_960, 20_736_000.0),
        (31, 983_040, 36_864_000.0),
        (40, 2_228_224, 83_558_400.0),
        (41, 2_228_224, 160_432_128.0),
        (50, 8_912_896, 311_951_360.0),
        (51, 8_912_896, 588_251_136.0),
        (52, 8_912_896, 1_176_502_272.0),
        (60, 35_651_584, 1_176_502_272.0),
        (61, 35_651_584, 2_353_004_544.0),
    ];
    let pixels = u64::from(width) * u64::from(height);
    let rate = f64::from(width) * f64::from(height) * framerate.unwrap_or(30.0);
    let level = LEVELS.iter().find(|(_, size_max, rate_max)| pixels <= *size_max && rate <= *rate_max);
    let level = level.map_or(62, |(level, ..)| *level);
    format!("vp09.{:02}.{level:02}.{:02}", header.profile, header.bit_depth)
}

/// What an OpusHead says (RFC 7845 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpusHead {
    pub(super) channels: u8,
    /// Samples of 48 kHz to drop at the start.
    pub(super) pre_skip: u16,
}

pub(super) fn opus(config: &[u8]) -> Option<OpusHead> {
    let rest = config.strip_prefix(b"OpusHead")?;
    let [version, channels, low, high, _, _, _, _, _, _, _family, ..] = rest else { return None };
    (*version < 16 && *channels > 0)
        .then_some(OpusHead { channels: *channels, pre_skip: u16::from_le_bytes([*low, *high]) })
}

/// An OpusHead of an MP4's dOps, which holds the same with the other byte order.
pub(super) fn opus_from_dops(config: &[u8]) -> Option<Bytes> {
    let [0, channels, skip_high, skip_low, r3, r2, r1, r0, gain_high, gain_low, rest @ ..] = config else {
        return None;
    };
    let mut head = BytesMut::with_capacity(19 + rest.len());
    head.put_slice(b"OpusHead");
    head.put_slice(&[1, *channels, *skip_low, *skip_high, *r0, *r1, *r2, *r3, *gain_low, *gain_high]);
    head.put_slice(rest);
    opus(&head).map(|_| head.freeze())
}

/// The dOps of an OpusHead.
pub(super) fn opus_to_dops(head: &[u8]) -> Option<Bytes> {
    opus(head)?;
    let [_, channels, skip_low, skip_high, r0, r1, r2, r3, gain_low, gain_high, rest @ ..] = head.get(8..)?
    else {
        return None;
    };
    let mut config = BytesMut::with_capacity(11 + rest.len());
    config.put_slice(&[0, *channels, *skip_high, *skip_low, *r3, *r2, *r1, *r0, *gain_high, *gain_low]);
    config.put_slice(rest);
    Some(config.freeze())
}

/// An OpusHead for a stream that came without one.
pub(super) fn opus_default(channels: u8) -> Bytes {
    let mut head = BytesMut::with_capacity(19);
    head.put_slice(b"OpusHead");
    head.put_slice(&[1, channels, 0, 0, 0x80, 0xBB, 0, 0, 0, 0, 0]);
    head.freeze()
}

/// What an AudioSpecificConfig says (ISO 14496-3 section 1.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Aac {
    pub(super) codec_string: String,
    pub(super) samplerate: u32,
    /// `None`: described in the stream itself.
    pub(super) channels: Option<u32>,
    /// Samples of one frame, of the core's rate.
    pub(super) core_samplerate: u32,
}

pub(super) fn aac(config: &[u8]) -> Option<Aac> {
    fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
        let kind = bits.uint(5)?;
        if kind == 31 { Some(32 + bits.uint(6)?) } else { Some(kind) }
    }
    fn rate(bits: &mut Bits<'_>) -> Option<u32> {
        const RATES: [u32; 13] = [
            96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000,
            7350,
        ];
        match bits.uint(4)? {
            15 => bits.uint(24),
            index => RATES.get(usize::try_from(index).ok()?).copied(),
        }
    }
    let mut bits = Bits::new(config);
    let kind = object_type(&mut bits)?;
    let core_samplerate = rate(&mut bits).filter(|rate| *rate > 0)?;
    let channels = match bits.uint(4)? {
        0 => None,
        7 => Some(8),
        count @ 1..=6 => Some(count),
        _ => return None,
    };
    // Spectral band replication signalled up front: what comes out has the second rate.
    let samplerate =
        if matches!(kind, 5 | 29) { rate(&mut bits).filter(|rate| *rate > 0)? } else { core_samplerate };
    let channels = if kind == 29 { Some(2) } else { channels };
    Some(Aac { codec_string: format!("mp4a.40.{kind}"), samplerate, channels, core_samplerate })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codec_strings_are_those_of_rfc_6381() {
        assert_eq!(avc(&[1, 0x64, 0, 0x1F, 0xFF, 0xE1, 0]).unwrap(), ("avc1.64001f".into(), 4));
        assert_eq!(av1(&[0x81, 0x04, 0x0C, 0]).unwrap(), "av01.0.04M.08");
        assert_eq!(av1(&[0x81, 0x2D, 0x40, 0]).unwrap(), "av01.1.13M.10.0.000.01.01.01.0");
        assert_eq!(vp9_mp4(&[1, 0, 0, 0, 0, 31, 0x82, 2, 2, 2, 0, 0]).unwrap(), "vp09.00.31.08");
        assert_eq!(vp9_webm(&[1, 1, 2, 2, 1, 41, 3, 1, 10]).unwrap(), "vp09.02.41.10");
        let header = Vp9Header { profile: 0, is_key: true, bit_depth: 8 };
        assert_eq!(vp9_string(header, 1280, 720, Some(30.0)), "vp09.00.31.08");
        let aac = aac(&[0x11, 0x90]).unwrap();
        assert_eq!((aac.codec_string.as_str(), aac.samplerate, aac.channels), ("mp4a.40.2", 48_000, Some(2)));
    }

    #[test]
    fn an_opus_head_survives_the_way_through_mp4() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xBB\0\0\0\0\0";
        assert_eq!(opus(head), Some(OpusHead { channels: 2, pre_skip: 312 }));
        assert_eq!(&opus_from_dops(&opus_to_dops(head).unwrap()).unwrap()[..], head);
    }
}
