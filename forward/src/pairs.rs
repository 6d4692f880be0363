//! Walks Key-Value-Pairs without allocating.

use roundtable_moqt::vi64;

/// Carries pairs that nobody on the way may change (draft 12.7).
pub(crate) const IMMUTABLE_PROPERTIES: u64 = 0x0B;

/// Value of one pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Integer(u64),
    Bytes(&'a [u8]),
}

/// Hands every pair to `each`, those inside IMMUTABLE_PROPERTIES too. `None` when the framing is broken; what came
/// before has been handed over.
pub(crate) fn walk<'a>(pairs: &'a [u8], each: &mut impl FnMut(u64, Value<'a>)) -> Option<()> {
    level(pairs, true, each)
}

fn level<'a>(mut pairs: &'a [u8], is_outer: bool, each: &mut impl FnMut(u64, Value<'a>)) -> Option<()> {
    let mut key = 0_u64;
    while !pairs.is_empty() {
        key = key.checked_add(take(&mut pairs)?)?;
        let number = take(&mut pairs)?;
        if key.is_multiple_of(2) {
            each(key, Value::Integer(number));
            continue;
        }
        let (value, rest) = pairs.split_at_checked(usize::try_from(number).ok()?)?;
        pairs = rest;
        if key == IMMUTABLE_PROPERTIES && is_outer {
            level(value, false, each)?;
        } else {
            each(key, Value::Bytes(value));
        }
    }
    Some(())
}

/// Nearly all numbers in properties take one byte, and this is done for every object.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    match bytes.split_first()? {
        (first @ 0..0x80, rest) => {
            *bytes = rest;
            Some(u64::from(*first))
        }
        _ => vi64::take(bytes),
    }
}
