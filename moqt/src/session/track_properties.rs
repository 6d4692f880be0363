//! The track properties that the protocol itself defines (draft 2.5.1, 12).

use bytes::Bytes;

use crate::{
    error::{RequestErrorCode, Violation},
    message::GroupOrder,
    properties::{DEFAULT_PUBLISHER_GROUP_ORDER, DYNAMIC_GROUPS, IMMUTABLE, Reader, Value},
};

const OBJECT_DELIVERY_TIMEOUT: u64 = 0x02;
const MAX_CACHE_DURATION: u64 = 0x04;
const SUBGROUP_DELIVERY_TIMEOUT: u64 = 0x06;
const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0e;
const MANDATORY: std::ops::RangeInclusive<u64> = 0x4000..=0x7fff;

/// What a track's properties say, mutable or immutable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackProperties {
    /// Milliseconds; `None` or 0 is none.
    pub object_delivery_timeout_ms: Option<u64>,
    /// Milliseconds; `None` or 0 is none.
    pub subgroup_delivery_timeout_ms: Option<u64>,
    /// Milliseconds an object may be served from a cache; `None` is as long as the cache likes.
    pub max_cache_duration_ms: Option<u64>,
    /// Of objects that say nothing themselves; `None` is 128.
    pub default_priority: Option<u8>,
    /// Of subscriptions that ask for none; `None` is ascending.
    pub default_group_order: Option<GroupOrder>,
    /// True when new groups can be asked for.
    pub has_dynamic_groups: bool,
    /// A property of 0x4000 to 0x7FFF: whoever does not know it must leave the track alone. We know none.
    pub mandatory: Option<u64>,
    /// The immutable properties are no Key-Value-Pairs, or contain immutable properties.
    pub is_malformed: bool,
}

impl TrackProperties {
    /// Reads a track's Key-Value-Pairs. Values that the draft forbids end the session.
    pub fn parse(bytes: &Bytes) -> Result<Self, Violation> {
        let mut properties = TrackProperties::default();
        properties.read(bytes.clone(), false)?;
        Ok(properties)
    }

    /// Why nobody may subscribe to this track (draft 2.5.1, 2.4.3).
    pub(super) fn objection(&self) -> Option<(RequestErrorCode, &'static str)> {
        if self.is_malformed {
            return Some((RequestErrorCode::MalformedTrack, "the immutable properties are malformed"));
        }
        self.mandatory
            .map(|_| (RequestErrorCode::UnsupportedExtension, "an unknown mandatory track property"))
    }

    fn read(&mut self, bytes: Bytes, is_immutable: bool) -> Result<(), Violation> {
        for pair in Reader::new(bytes) {
            let (key, value) = match pair {
                Err(_) if is_immutable => {
                    self.is_malformed = true;
                    return Ok(());
                }
                pair => pair?,
            };
            if MANDATORY.contains(&key) {
                self.mandatory.get_or_insert(key);
            }
            match (key, value) {
                (OBJECT_DELIVERY_TIMEOUT, Value::Integer(ms)) => self.object_delivery_timeout_ms = Some(ms),
                (SUBGROUP_DELIVERY_TIMEOUT, Value::Integer(ms)) => {
                    self.subgroup_delivery_timeout_ms = Some(ms);
                }
                (MAX_CACHE_DURATION, Value::Integer(ms)) => self.max_cache_duration_ms = Some(ms),
                (DEFAULT_PUBLISHER_PRIORITY, Value::Integer(priority)) => {
                    let priority = u8::try_from(priority)
                        .map_err(|_| Violation::protocol("a default publisher priority is above 255"))?;
                    self.default_priority = Some(priority);
                }
                (DEFAULT_PUBLISHER_GROUP_ORDER, Value::Integer(order)) => {
                    self.default_group_order = Some(match order {
                        1 => GroupOrder::Ascending,
                        2 => GroupOrder::Descending,
                        _ => return Err(Violation::protocol("a group order is neither 1 nor 2")),
                    });
                }
                (DYNAMIC_GROUPS, Value::Integer(value)) => {
                    if value > 1 {
                        return Err(Violation::protocol("DYNAMIC_GROUPS is neither 0 nor 1"));
                    }
                    self.has_dynamic_groups = value == 1;
                }
                (IMMUTABLE, _) if is_immutable => self.is_malformed = true,
                (IMMUTABLE, Value::Bytes(bytes)) => self.read(bytes, true)?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Writer;

    #[test]
    fn the_drafts_properties_are_read_in_both_lists() {
        let mut immutable = Writer::new();
        immutable.integer(DEFAULT_PUBLISHER_GROUP_ORDER, 2).integer(DYNAMIC_GROUPS, 1);
        let mut writer = Writer::new();
        writer
            .integer(OBJECT_DELIVERY_TIMEOUT, 500)
            .integer(MAX_CACHE_DURATION, 2000)
            .bytes(IMMUTABLE, &immutable.finish())
            .integer(DEFAULT_PUBLISHER_PRIORITY, 16)
            .integer(0x9d + 0x7f, 1);
        assert_eq!(
            TrackProperties::parse(&writer.finish()).unwrap(),
            TrackProperties {
                object_delivery_timeout_ms: Some(500),
                max_cache_duration_ms: Some(2000),
                default_priority: Some(16),
                default_group_order: Some(GroupOrder::Descending),
                has_dynamic_groups: true,
                ..TrackProperties::default()
            }
        );
    }

    #[test]
    fn forbidden_values_end_the_session() {
        for (key, value) in [
            (DEFAULT_PUBLISHER_PRIORITY, 256),
            (DEFAULT_PUBLISHER_GROUP_ORDER, 0),
            (DEFAULT_PUBLISHER_GROUP_ORDER, 3),
            (DYNAMIC_GROUPS, 2),
        ] {
            let mut writer = Writer::new();
            writer.integer(key, value);
            assert!(TrackProperties::parse(&writer.finish()).is_err(), "{key:#x} = {value}");
        }
    }

    #[test]
    fn broken_immutable_properties_make_the_track_malformed_not_the_session() {
        let mut nested = Writer::new();
        nested.bytes(IMMUTABLE, b"");
        for inner in [&[0x02][..], &nested.finish()] {
            let mut writer = Writer::new();
            writer.bytes(IMMUTABLE, inner);
            let properties = TrackProperties::parse(&writer.finish()).unwrap();
            assert_eq!(properties.objection().unwrap().0, RequestErrorCode::MalformedTrack);
        }
    }

    #[test]
    fn a_mandatory_property_is_noticed_wherever_it_stands() {
        let mut inner = Writer::new();
        inner.integer(0x4000, 1);
        let mut writer = Writer::new();
        writer.bytes(IMMUTABLE, &inner.finish());
        assert_eq!(TrackProperties::parse(&writer.finish()).unwrap().mandatory, Some(0x4000));
        let mut writer = Writer::new();
        writer.bytes(0x7fff, b"x").integer(0x8000, 1);
        assert_eq!(TrackProperties::parse(&writer.finish()).unwrap().mandatory, Some(0x7fff));
    }
}
