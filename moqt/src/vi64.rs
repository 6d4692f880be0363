//! The draft's variable-length integer (1.4.1): the leading 1 bits of the first byte give the length.

use bytes::{Buf, BufMut};

/// Longest encoding, bytes.
pub const BYTES_MAX: usize = 9;

/// Bytes the shortest encoding of `value` takes, 1 to 9.
pub const fn len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    match bits {
        0..=7 => 1,
        8..=14 => 2,
        15..=21 => 3,
        22..=28 => 4,
        29..=35 => 5,
        36..=42 => 6,
        43..=49 => 7,
        50..=56 => 8,
        _ => 9,
    }
}

/// Length of the encoding that begins with `first`, bytes.
pub const fn len_of(first: u8) -> usize {
    first.leading_ones() as usize + 1
}

/// Appends the shortest encoding of `value`.
pub fn put(buf: &mut impl BufMut, value: u64) {
    let len = len(value);
    let bytes = value.to_be_bytes();
    match len {
        9 => {
            buf.put_u8(0xff);
            buf.put_slice(&bytes);
        }
        8 => {
            buf.put_u8(0xfe);
            buf.put_uint(value, 7);
        }
        _ => {
            let prefix = !(0xff_u64 >> (len - 1)) & 0xff;
            buf.put_uint(value | (prefix << (8 * (len - 1))), len);
        }
    }
}

/// Takes one integer off the front; `None`, and nothing taken, when the bytes do not reach.
pub fn take(buf: &mut impl Buf) -> Option<u64> {
    if !buf.has_remaining() {
        return None;
    }
    let first = *buf.chunk().first()?;
    if first < 0x80 {
        buf.advance(1);
        return Some(first.into());
    }
    let len = len_of(first);
    if buf.remaining() < len {
        return None;
    }
    // In nine bytes the first, which is all length, is shifted out.
    let shift_in = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    let value = match buf.chunk().get(..len) {
        Some(bytes) => {
            let value = bytes.iter().fold(0, shift_in);
            buf.advance(len);
            value
        }
        None => (0..len).fold(0, |value, _| shift_in(value, &buf.get_u8())),
    };
    // The length's own bits: `len` of them, of which the last is 0.
    Some(if len == BYTES_MAX { value } else { value & (u64::MAX >> (64 - 7 * len)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};

    #[test]
    fn the_drafts_examples_decode() {
        for (bytes, value) in [
            (&[0x25_u8][..], 37_u64),
            (&[0x80, 0x25], 37),
            (&[0xbb, 0xbd], 15_293),
            (&[0xed, 0x7f, 0x3e, 0x7d], 226_442_877),
            (&[0xfa, 0xa1, 0xa0, 0xe4, 0x03, 0xd8], 2_893_212_287_960),
            (&[0xfc, 0x89, 0x98, 0xab, 0xc6, 0x6b, 0xc0], 151_288_809_941_952),
            (&[0xfe, 0xfa, 0x31, 0x8f, 0xa8, 0xe3, 0xca, 0x11], 70_423_237_261_249_041),
            (&[0xff; 9], u64::MAX),
        ] {
            let mut buf = Bytes::copy_from_slice(bytes);
            assert_eq!(take(&mut buf), Some(value));
            assert!(buf.is_empty());
        }
    }

    #[test]
    fn an_integer_may_lie_across_two_pieces() {
        for value in [15_293, 2_893_212_287_960, u64::MAX] {
            let mut bytes = BytesMut::new();
            put(&mut bytes, value);
            for cut in 0..=bytes.len() {
                let mut pieces = bytes[..cut].chain(&bytes[cut..]);
                assert_eq!((take(&mut pieces), pieces.remaining()), (Some(value), 0), "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn longer_encodings_than_needed_decode() {
        for len in 1..=9_usize {
            let mut bytes = vec![0_u8; len];
            bytes[0] = if len == 9 { 0xff } else { !(0xff_u8 >> (len - 1)) };
            bytes[len - 1] |= 0x05;
            let mut buf = &bytes[..];
            assert_eq!((take(&mut buf), buf.len()), (Some(5), 0), "{len} bytes");
        }
    }

    #[test]
    fn every_length_round_trips_and_short_input_takes_nothing() {
        for bits in 0..=64_u32 {
            for value in
                [1_u64.checked_shl(bits).unwrap_or(0), 1_u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1)]
            {
                let mut buf = BytesMut::new();
                put(&mut buf, value);
                assert_eq!(buf.len(), len(value));
                for cut in 0..buf.len() {
                    let mut short = Bytes::copy_from_slice(&buf[..cut]);
                    assert_eq!(take(&mut short), None);
                    assert_eq!(short.len(), cut);
                }
                assert_eq!(take(&mut buf), Some(value));
                assert!(buf.is_empty());
            }
        }
    }
}
