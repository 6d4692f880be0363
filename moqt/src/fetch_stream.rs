//! FETCH responses (draft 11.4.4): an encoder for one outgoing stream, a decoder for one incoming.

mod decoder;
mod encoder;
mod prior;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::Encoder;

use crate::object::{Location, Object};

/// Type of a FETCH stream (draft 11.4.4).
pub const FETCH_HEADER: u64 = 0x05;

/// What a FETCH stream carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchItem {
    /// An object. Its status is always normal.
    Object(Object),
    /// Nothing exists from after the item before up to this location, inclusive (0x8C).
    NonExistent(Location),
    /// Nobody knows what is from after the item before up to this location, inclusive (0x10C).
    Unknown(Location),
}

impl FetchItem {
    /// Where the object stands, or the range ends.
    pub fn location(&self) -> Location {
        match self {
            FetchItem::Object(object) => object.location,
            FetchItem::NonExistent(end) | FetchItem::Unknown(end) => *end,
        }
    }
}

/// Serialization Flags: which fields an object has, and what it shares with the one before.
mod flags {
    pub(super) const SUBGROUP: u64 = 0x03;
    pub(super) const SUBGROUP_ZERO: u64 = 0x00;
    pub(super) const SUBGROUP_PRIOR: u64 = 0x01;
    pub(super) const SUBGROUP_NEXT: u64 = 0x02;
    pub(super) const SUBGROUP_PRESENT: u64 = 0x03;
    pub(super) const OBJECT_DELTA: u64 = 0x04;
    pub(super) const GROUP_DELTA: u64 = 0x08;
    pub(super) const PRIORITY: u64 = 0x10;
    pub(super) const PROPERTIES: u64 = 0x20;
    pub(super) const DATAGRAM: u64 = 0x40;
    pub(super) const MAX: u64 = 0x7F;
    /// End of Non-Existent Range. Its two ids are absolute and no payload length follows: the draft leaves
    /// both unsaid, implementations agree (moq-wg/moq-transport issue 1861).
    pub(super) const NON_EXISTENT: u64 = 0x8C;
    /// End of Unknown Range, in the same form.
    pub(super) const UNKNOWN: u64 = 0x10C;
}
