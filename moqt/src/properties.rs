//! Key-Value-Pairs (draft 1.4.3): properties of tracks and objects, and SETUP options.
//!
//! Types ascend as deltas; an even type carries one integer, an odd one up to 65535 bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{error::Violation, vi64};

/// Value of one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of an even type.
    Integer(u64),
    /// Of an odd type; shares the memory it was read from.
    Bytes(Bytes),
}

/// Longest byte value (draft 1.4.3).
pub const VALUE_BYTES_MAX: usize = 0xffff;

/// Reads pairs until the bytes end. Broken framing yields one error and ends the iteration.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    previous: u64,
}

impl Reader {
    /// Pairs of `bytes`, which hold nothing else.
    pub fn new(bytes: Bytes) -> Self {
        Reader { bytes, previous: 0 }
    }

    fn pair(&mut self) -> Result<(u64, Value), Violation> {
        const CUT: Violation = Violation::protocol("a key-value pair is cut short");
        let delta = vi64::take(&mut self.bytes).ok_or(CUT)?;
        let key =
            self.previous.checked_add(delta).ok_or(Violation::protocol("a key is larger than 64 bits"))?;
        self.previous = key;
        let number = vi64::take(&mut self.bytes).ok_or(CUT)?;
        if key % 2 == 0 {
            return Ok((key, Value::Integer(number)));
        }
        let len = usize::try_from(number).ok().filter(|len| *len <= VALUE_BYTES_MAX);
        let len = len.ok_or(Violation::protocol("a value is longer than 65535 bytes"))?;
        if self.bytes.remaining() < len {
            return Err(CUT);
        }
        Ok((key, Value::Bytes(self.bytes.split_to(len))))
    }
}

impl Iterator for Reader {
    type Item = Result<(u64, Value), Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let pair = self.pair();
        if pair.is_err() {
            self.bytes.clear();
        }
        Some(pair)
    }
}

/// Writes pairs in ascending order of their types.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: BytesMut,
    previous: u64,
}

impl Writer {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, key: u64) {
        debug_assert!(key >= self.previous, "types ascend");
        vi64::put(&mut self.bytes, key.saturating_sub(self.previous));
        self.previous = key;
    }

    /// Appends an even type.
    pub fn integer(&mut self, key: u64, value: u64) -> &mut Self {
        debug_assert!(key.is_multiple_of(2));
        self.key(key);
        vi64::put(&mut self.bytes, value);
        self
    }

    /// Appends an odd type; `value` is at most [`VALUE_BYTES_MAX`] bytes.
    pub fn bytes(&mut self, key: u64, value: &[u8]) -> &mut Self {
        debug_assert!(key % 2 == 1 && value.len() <= VALUE_BYTES_MAX);
        self.key(key);
        vi64::put(&mut self.bytes, value.len() as u64);
        self.bytes.put_slice(value);
        self
    }

    /// The pairs as bytes.
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }
}

/// Walks the framing without building values: what the relay does to a datagram before it forwards it.
pub fn check(bytes: &[u8]) -> Result<(), Violation> {
    const CUT: Violation = Violation::protocol("a key-value pair is cut short");
    let mut rest = bytes;
    let mut previous = 0_u64;
    while !rest.is_empty() {
        let delta = vi64::take(&mut rest).ok_or(CUT)?;
        let key = previous.checked_add(delta).ok_or(Violation::protocol("a key is larger than 64 bits"))?;
        previous = key;
        let number = vi64::take(&mut rest).ok_or(CUT)?;
        if key % 2 == 1 {
            let len = usize::try_from(number).ok().filter(|len| *len <= VALUE_BYTES_MAX);
            let len = len.ok_or(Violation::protocol("a value is longer than 65535 bytes"))?;
            rest = rest.get(len..).ok_or(CUT)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_round_trip_and_a_cut_is_an_error() {
        let mut writer = Writer::new();
        writer
            .integer(0x08, 48_000)
            .bytes(0x09, &[1, 2, 3])
            .integer(0x10, u64::MAX)
            .bytes(0x3801, b"fragment");
        let bytes = writer.finish();
        let pairs: Vec<_> = Reader::new(bytes.clone()).map(Result::unwrap).collect();
        assert_eq!(
            pairs,
            [
                (0x08, Value::Integer(48_000)),
                (0x09, Value::Bytes(Bytes::from_static(&[1, 2, 3]))),
                (0x10, Value::Integer(u64::MAX)),
                (0x3801, Value::Bytes(Bytes::from_static(b"fragment"))),
            ]
        );
        check(&bytes).unwrap();
        assert!(check(&bytes[..bytes.len() - 1]).is_err());
        assert!(Reader::new(bytes.slice(..bytes.len() - 1)).last().unwrap().is_err());
    }
}
