//! Ours against the independent codec `moqtap-codec`: what we write it reads as the same, what it writes of that
//! has the same bytes, and those we read as what we began with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod control;
mod datagram;
mod fetch;
mod strategy;
mod subgroup;
mod vectors;

use moqtap_codec::varint::VarInt;

fn vi(value: u64) -> VarInt {
    VarInt::from_u64_moqt(value)
}
