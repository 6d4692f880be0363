//! The little that must be known of the codecs' own bytes: key frames, picture formats, Opus durations.

use crate::format::Codec;

/// Bits, most significant first; `None` past the end.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Bits { bytes, position: 0 }
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(bit == 1)
    }

    /// At most 32 bits.
    pub(super) fn uint(&mut self, bits: u32) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..bits {
            value = value << 1 | u32::from(self.flag()?);
        }
        Some(value)
    }

    fn skip(&mut self, bits: u32) -> Option<()> {
        for _ in 0..bits {
            self.flag()?;
        }
        Some(())
    }
}

/// Whether decoding can begin at this frame, by its own bytes; `None` when they do not say.
/// `nal_length_bytes` is avcC's, 4 where it is not H.264.
pub(super) fn is_key(codec: Codec, nal_length_bytes: usize, frame: &[u8]) -> Option<bool> {
    match codec {
        Codec::Vp8 => Some(frame.first()? & 1 == 0),
        Codec::Vp9 => Some(Vp9Header::parse(frame)?.is_key),
        Codec::Av1 => Some(av1_sequence_header(frame).is_some()),
        Codec::H264 => h264_has_idr(nal_length_bytes, frame),
        Codec::Opus | Codec::Aac => Some(true),
    }
}

/// NAL unit type 5 among the length-prefixed units.
fn h264_has_idr(nal_length_bytes: usize, mut frame: &[u8]) -> Option<bool> {
    while !frame.is_empty() {
        let (length, rest) = frame.split_at_checked(nal_length_bytes)?;
        let length = length
            .iter()
            .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add(usize::from(*byte)))?;
        let (unit, rest) = rest.split_at_checked(length)?;
        if unit.first().is_some_and(|header| header & 0x1F == 5) {
            return Some(true);
        }
        frame = rest;
    }
    Some(false)
}

/// The beginning of a VP9 frame (VP9 bitstream specification 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vp9Header {
    pub(super) profile: u8,
    pub(super) is_key: bool,
    /// 8, 10 or 12; only of key frames.
    pub(super) bit_depth: u8,
}

impl Vp9Header {
    pub(super) fn parse(frame: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(frame);
        if bits.uint(2)? != 2 {
            return None;
        }
        let (low, high) = (u8::from(bits.flag()?), u8::from(bits.flag()?));
        let profile = high << 1 | low;
        if profile == 3 {
            bits.flag()?;
        }
        let shows_existing = bits.flag()?;
        if shows_existing {
            return Some(Vp9Header { profile, is_key: false, bit_depth: 8 });
        }
        let is_key = !bits.flag()?;
        bits.skip(2)?;
        let mut bit_depth = 8;
        if is_key && profile >= 2 {
            bits.skip(24)?;
            bit_depth = if bits.flag()? { 12 } else { 10 };
        }
        Some(Vp9Header { profile, is_key, bit_depth })
    }
}

/// What an AV1 sequence header says (AV1 specification 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Av1Sequence {
    pub(super) profile: u8,
    pub(super) level: u8,
    pub(super) is_high_tier: bool,
    pub(super) bit_depth: u8,
    pub(super) is_monochrome: bool,
    pub(super) subsampling: (bool, bool),
}

/// The first sequence header among the OBUs of a temporal unit.
pub(super) fn av1_sequence_header(mut unit: &[u8]) -> Option<Av1Sequence> {
    loop {
        let (header, rest) = unit.split_first()?;
        let kind = header >> 3 & 0xF;
        let rest = if header & 4 == 0 { rest } else { rest.get(1..)? };
        let (payload, rest) = if header & 2 == 0 {
            (rest, &[][..])
        } else {
            let (length, rest) = leb128(rest)?;
            rest.split_at_checked(length)?
        };
        if kind == 1 {
            return sequence_header(payload);
        }
        unit = rest;
    }
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, bytes.get(index + 1..)?));
        }
    }
    None
}

fn sequence_header(payload: &[u8]) -> Option<Av1Sequence> {
    let mut bits = Bits::new(payload);
    let profile = u8::try_from(bits.uint(3)?).ok()?;
    let _still_picture = bits.flag()?;
    let is_reduced = bits.flag()?;
    let (mut level, mut is_high_tier) = (0, false);
    if is_reduced {
        level = bits.uint(5)?;
    } else {
        let mut delay_bits = None;
        if bits.flag()? {
            bits.skip(64)?;
            if bits.flag()? {
                let zeros = std::iter::from_fn(|| bits.flag()).take_while(|bit| !bit).take(32).count();
                bits.skip(u32::try_from(zeros).ok()?)?;
            }
            if bits.flag()? {
                delay_bits = Some(bits.uint(5)? + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let has_display_delay = bits.flag()?;
        for point in 0..=bits.uint(5)? {
            bits.skip(12)?;
            let point_level = bits.uint(5)?;
            let point_tier = point_level > 7 && bits.flag()?;
            if point == 0 {
                (level, is_high_tier) = (point_level, point_tier);
            }
            if let Some(delay_bits) = delay_bits
                && bits.flag()?
            {
                bits.skip(2 * delay_bits + 1)?;
            }
            if has_display_delay && bits.flag()? {
                bits.skip(4)?;
            }
        }
    }
    let (width_bits, height_bits) = (bits.uint(4)? + 1, bits.uint(4)? + 1);
    bits.skip(width_bits + height_bits)?;
    if !is_reduced && bits.flag()? {
        bits.skip(7)?;
    }
    bits.skip(3)?;
    if !is_reduced {
        bits.skip(4)?;
        let has_order_hint = bits.flag()?;
        if has_order_hint {
            bits.skip(2)?;
        }
        let may_be_screen = bits.flag()? || bits.flag()?;
        if may_be_screen && !bits.flag()? {
            bits.skip(1)?;
        }
        if has_order_hint {
            bits.skip(3)?;
        }
    }
    bits.skip(3)?;
    let is_high_depth = bits.flag()?;
    let is_twelve = profile == 2 && is_high_depth && bits.flag()?;
    let bit_depth = if is_twelve {
        12
    } else if is_high_depth {
        10
    } else {
        8
    };
    let is_monochrome = profile != 1 && bits.flag()?;
    let color = if bits.flag()? { (bits.uint(8)?, bits.uint(8)?, bits.uint(8)?) } else { (2, 2, 2) };
    let subsampling = if is_monochrome {
        (true, true)
    } else if color == (1, 13, 0) {
        (false, false)
    } else {
        let _range = bits.flag()?;
        match profile {
            0 => (true, true),
            1 => (false, false),
            _ if bit_depth == 12 => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        }
    };
    let level = u8::try_from(level).ok()?;
    Some(Av1Sequence { profile, level, is_high_tier, bit_depth, is_monochrome, subsampling })
}

/// Length of an Opus packet in samples of 48 kHz (RFC 6716 section 3.1).
pub(super) fn opus_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let config = u32::from(toc >> 3);
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880].get(usize::from(toc >> 3 & 3)).copied()?,
        12..=15 => 480 << (config & 1),
        _ => 120 << (config & 3),
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3F),
    };
    Some(frame * count).filter(|samples| *samples <= 5760)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opus_packet_says_how_long_it_lasts() {
        assert_eq!(opus_samples(&[0xFC, 0, 0]), Some(960));
        assert_eq!(opus_samples(&[0x78, 0, 0]), Some(960));
        assert_eq!(opus_samples(&[0x80, 0, 0]), Some(120));
        assert_eq!(opus_samples(&[0x1B, 63]), None);
        assert_eq!(opus_samples(&[]), None);
    }

    #[test]
    fn an_idr_picture_is_found_behind_other_units() {
        let frame = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x65];
        assert_eq!(is_key(Codec::H264, 4, &frame), Some(true));
        assert_eq!(is_key(Codec::H264, 4, &frame[..6]), Some(false));
        assert_eq!(is_key(Codec::H264, 4, &frame[..9]), None);
    }
}
