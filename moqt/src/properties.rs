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
        let mut pairs = Pairs { rest: &self.bytes, previous: self.previous };
        let (key, field) = pairs.pair()?;
        let value = match field {
            Field::Integer(number) => Value::Integer(number),
            Field::Bytes(bytes) => Value::Bytes(self.bytes.slice_ref(bytes)),
        };
        let taken = self.bytes.len() - pairs.rest.len();
        self.bytes.advance(taken);
        self.previous = key;
        Ok((key, value))
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
    let mut pairs = Pairs { rest: bytes, previous: 0 };
    while !pairs.rest.is_empty() {
        pairs.pair()?;
    }
    Ok(())
}

/// The one walk over pairs, without a reference count.
struct Pairs<'a> {
    rest: &'a [u8],
    previous: u64,
}

enum Field<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

impl<'a> Pairs<'a> {
    fn pair(&mut self) -> Result<(u64, Field<'a>), Violation> {
        const CUT: Violation = Violation::protocol("a key-value pair is cut short");
        let delta = vi64::take(&mut self.rest).ok_or(CUT)?;
        let key =
            self.previous.checked_add(delta).ok_or(Violation::protocol("a key is larger than 64 bits"))?;
        self.previous = key;
        let number = vi64::take(&mut self.rest).ok_or(CUT)?;
        if key.is_multiple_of(2) {
            return Ok((key, Field::Integer(number)));
        }
        let len = usize::try_from(number).ok().filter(|len| *len <= VALUE_BYTES_MAX);
        let len = len.ok_or(Violation::protocol("a value is longer than 65535 bytes"))?;
        let (value, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok((key, Field::Bytes(value)))
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(u64, Field<'a>), Violation>;

    /// The caller stops at the first error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() { None } else { Some(self.pair()) }
    }
}

/// Number of DEFAULT_PUBLISHER_PRIORITY, a track property (draft 12.4).
pub const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0E;
/// Number of DEFAULT_PUBLISHER_GROUP_ORDER, a track property (draft 12.5).
pub const DEFAULT_PUBLISHER_GROUP_ORDER: u64 = 0x22;
/// Number of DYNAMIC_GROUPS, a track property (draft 12.6).
pub const DYNAMIC_GROUPS: u64 = 0x30;
/// Number of IMMUTABLE_PROPERTIES, which hold properties themselves (draft 12.7).
pub const IMMUTABLE: u64 = 0x0B;

/// [`check`] for the properties of a track, and the values whose range the draft enforces with the session.
pub fn check_track(bytes: &[u8]) -> Result<(), Violation> {
    check(bytes)?;
    Pairs { rest: bytes, previous: 0 }.try_for_each(|pair| match pair? {
        // What cannot be read in there makes the track malformed, not the session.
        (IMMUTABLE, Field::Bytes(inner)) => Pairs { rest: inner, previous: 0 }
            .map_while(Result::ok)
            .try_for_each(|(key, field)| check_track_value(key, field)),
        (key, field) => check_track_value(key, field),
    })
}

fn check_track_value(key: u64, field: Field<'_>) -> Result<(), Violation> {
    match (key, field) {
        (DEFAULT_PUBLISHER_GROUP_ORDER, Field::Integer(order)) if !matches!(order, 1 | 2) => {
            Err(Violation::protocol("DEFAULT_PUBLISHER_GROUP_ORDER is neither 1 nor 2"))
        }
        (DYNAMIC_GROUPS, Field::Integer(flag)) if flag > 1 => {
            Err(Violation::protocol("DYNAMIC_GROUPS is neither 0 nor 1"))
        }
        _ => Ok(()),
    }
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

    #[test]
    fn a_type_past_64_bits_and_a_value_past_65535_bytes_are_violations() {
        let mut wraps = BytesMut::new();
        vi64::put(&mut wraps, u64::MAX - 1);
        vi64::put(&mut wraps, 0);
        vi64::put(&mut wraps, 2);
        vi64::put(&mut wraps, 0);
        assert_eq!(check(&wraps).unwrap_err().reason, "a key is larger than 64 bits");

        let mut long = BytesMut::new();
        vi64::put(&mut long, 1);
        vi64::put(&mut long, 0x1_0000);
        long.resize(long.len() + 0x1_0000, 0);
        assert_eq!(check(&long).unwrap_err().reason, "a value is longer than 65535 bytes");
        assert_eq!(Reader::new(long.freeze()).count(), 1, "one error ends the iteration");
    }

    #[test]
    fn a_value_shares_the_memory_it_was_read_from() {
        let mut writer = Writer::new();
        writer.bytes(0x09, &[1, 2, 3]);
        let bytes = writer.finish();
        let Some(Ok((9, Value::Bytes(value)))) = Reader::new(bytes.clone()).next() else { panic!() };
        assert_eq!(value.as_ptr(), bytes[2..].as_ptr());
    }

    #[test]
    fn track_properties_out_of_range_are_violations_also_inside_immutable_ones() {
        for (key, value, is_legal) in [
            (DEFAULT_PUBLISHER_GROUP_ORDER, 0, false),
            (DEFAULT_PUBLISHER_GROUP_ORDER, 2, true),
            (DEFAULT_PUBLISHER_GROUP_ORDER, 3, false),
            (DYNAMIC_GROUPS, 1, true),
            (DYNAMIC_GROUPS, 2, false),
            (DEFAULT_PUBLISHER_PRIORITY, 256, true),
        ] {
            let mut inner = Writer::new();
            inner.integer(key, value);
            let inner = inner.finish();
            let mut outer = Writer::new();
            outer.bytes(IMMUTABLE, &inner);
            assert_eq!(check_track(&inner).is_ok(), is_legal, "{key:#x} = {value}");
            assert_eq!(check_track(&outer.finish()).is_ok(), is_legal, "{key:#x} = {value}, immutable");
        }
        let mut unreadable = Writer::new();
        unreadable.bytes(IMMUTABLE, &[0x80]);
        check_track(&unreadable.finish()).unwrap();
    }
}
