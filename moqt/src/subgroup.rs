//! Subgroup streams (draft 11.4.2): an encoder for one outgoing stream, a decoder for one incoming.

mod decoder;
mod encoder;

#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Item};
pub use encoder::Encoder;

use crate::{error::Violation, message::TrackAlias};

/// Header of a subgroup stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubgroupHeader {
    /// The sender's name for the track.
    pub alias: TrackAlias,
    /// Group of every object on the stream.
    pub group: u64,
    /// Subgroup; `None` while it is "the id of the first object" and that has not come yet.
    pub subgroup: Option<u64>,
    /// `None` is the track's default.
    pub priority: Option<u8>,
    /// The stream's end is the group's end.
    pub ends_group: bool,
    /// The first object here is the first ever published in the subgroup.
    pub first_object: bool,
    /// Objects carry a properties field.
    pub has_properties: bool,
}

/// How the header says its subgroup (SUBGROUP_ID_MODE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubgroupMode {
    Zero,
    FirstObject,
    Present,
}

/// The type of a subgroup stream: flags that say which fields stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const SUBGROUP: u8 = 0x10;
    const PROPERTIES: u8 = 0x01;
    const MODE: u8 = 0x06;
    const END_OF_GROUP: u8 = 0x08;
    const DEFAULT_PRIORITY: u8 = 0x20;
    const FIRST_OBJECT: u8 = 0x40;

    fn from_code(code: u64) -> Result<Self, Violation> {
        let bits = u8::try_from(code).ok().filter(|bits| bits & 0x90 == Self::SUBGROUP);
        let kind = Kind(bits.ok_or(Violation::protocol("no type of a subgroup stream"))?);
        if kind.0 & Self::MODE == Self::MODE {
            return Err(Violation::protocol("a reserved way to say the subgroup"));
        }
        Ok(kind)
    }

    /// The type that says all of `header`, the smallest one if its subgroup is known.
    fn of(header: &SubgroupHeader) -> Self {
        let mode = match header.subgroup {
            Some(0) => 0x00,
            None => 0x02,
            Some(_) => 0x04,
        };
        let flags = [
            (Self::PROPERTIES, header.has_properties),
            (Self::END_OF_GROUP, header.ends_group),
            (Self::DEFAULT_PRIORITY, header.priority.is_none()),
            (Self::FIRST_OBJECT, header.first_object),
        ];
        let flags: u8 = flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum();
        Kind(Self::SUBGROUP | mode | flags)
    }

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    const fn mode(self) -> SubgroupMode {
        match self.0 & Self::MODE {
            0x00 => SubgroupMode::Zero,
            0x02 => SubgroupMode::FirstObject,
            _ => SubgroupMode::Present,
        }
    }
}
