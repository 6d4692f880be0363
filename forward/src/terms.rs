//! What a publisher says about its track as a whole: the track properties a relay acts upon (draft 12).

use std::time::Duration;

use bytes::Bytes;
use roundtable_moqt::{
    error::Violation,
    message::GroupOrder,
    properties::{Reader, Value},
};

use crate::pairs::IMMUTABLE_PROPERTIES;

/// Track properties that change how a relay handles the track. Everything else it only passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// OBJECT_DELIVERY_TIMEOUT; `None` is none.
    pub object_timeout: Option<Duration>,
    /// SUBGROUP_DELIVERY_TIMEOUT; `None` is none.
    pub subgroup_timeout: Option<Duration>,
    /// MAX_CACHE_DURATION.
    pub cache_duration_max: Option<Duration>,
    /// DEFAULT_PUBLISHER_PRIORITY.
    pub default_priority: u8,
    /// DEFAULT_PUBLISHER_GROUP_ORDER.
    pub group_order: GroupOrder,
    /// DYNAMIC_GROUPS: subscribers may ask for new groups.
    pub dynamic_groups: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            object_timeout: None,
            subgroup_timeout: None,
            cache_duration_max: None,
            default_priority: 128,
            group_order: GroupOrder::Ascending,
            dynamic_groups: false,
        }
    }
}

impl Terms {
    /// Reads a track's properties, those inside IMMUTABLE_PROPERTIES too. An error ends the session.
    pub fn new(track_properties: &Bytes) -> Result<Self, Violation> {
        let mut terms = Terms::default();
        for pair in Reader::new(track_properties.clone()) {
            match pair? {
                (IMMUTABLE_PROPERTIES, Value::Bytes(inner)) => {
                    for pair in Reader::new(inner) {
                        let (key, value) = pair?;
                        terms.set(key, &value)?;
                    }
                }
                (key, value) => terms.set(key, &value)?,
            }
        }
        Ok(terms)
    }

    fn set(&mut self, key: u64, value: &Value) -> Result<(), Violation> {
        let Value::Integer(value) = *value else { return Ok(()) };
        match key {
            0x02 => self.object_timeout = timeout(value),
            0x04 => self.cache_duration_max = Some(Duration::from_millis(value)),
            0x06 => self.subgroup_timeout = timeout(value),
            0x0E => {
                let priority = u8::try_from(value);
                self.default_priority =
                    priority.map_err(|_| Violation::protocol("a default priority is larger than 255"))?;
            }
            0x22 => {
                self.group_order = match value {
                    1 => GroupOrder::Ascending,
                    2 => GroupOrder::Descending,
                    _ => return Err(Violation::protocol("a group order is neither 1 nor 2")),
                }
            }
            0x30 => {
                self.dynamic_groups = match value {
                    0 => false,
                    1 => true,
                    _ => return Err(Violation::protocol("dynamic groups is neither 0 nor 1")),
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A delivery timeout as both sides want it: the smaller of the two that are set (draft 8). Milliseconds; 0 and
/// `None` are none.
pub fn smaller_timeout(publisher: Option<Duration>, subscriber_ms: Option<u64>) -> Option<Duration> {
    match (publisher, subscriber_ms.and_then(timeout)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// An hour is as good as none, and cannot overflow a clock.
fn timeout(ms: u64) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3600);
    Some(Duration::from_millis(ms)).filter(|timeout| !timeout.is_zero() && *timeout <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundtable_moqt::properties::Writer;

    #[test]
    fn track_properties_are_read_also_inside_the_immutable_ones() {
        let mut inner = Writer::new();
        inner.integer(0x04, 1500).integer(0x30, 1);
        let mut writer = Writer::new();
        writer
            .integer(0x02, 200)
            .bytes(IMMUTABLE_PROPERTIES, &inner.finish())
            .integer(0x0E, 16)
            .integer(0x22, 2)
            .bytes(0x4001, b"of others");
        let terms = Terms::new(&writer.finish()).unwrap();
        assert_eq!(
            terms,
            Terms {
                object_timeout: Some(Duration::from_millis(200)),
                subgroup_timeout: None,
                cache_duration_max: Some(Duration::from_millis(1500)),
                default_priority: 16,
                group_order: GroupOrder::Descending,
                dynamic_groups: true,
            }
        );
    }

    #[test]
    fn values_the_draft_forbids_are_violations() {
        for (key, value) in [(0x0E, 256), (0x22, 0), (0x22, 3), (0x30, 2)] {
            let mut writer = Writer::new();
            writer.integer(key, value);
            assert!(Terms::new(&writer.finish()).is_err(), "{key:#x} = {value}");
        }
    }

    #[test]
    fn the_smaller_timeout_of_both_sides_counts_and_zero_is_none() {
        let ms = Duration::from_millis;
        assert_eq!(smaller_timeout(Some(ms(200)), Some(150)), Some(ms(150)));
        assert_eq!(smaller_timeout(Some(ms(200)), Some(0)), Some(ms(200)));
        assert_eq!(smaller_timeout(None, Some(150)), Some(ms(150)));
        assert_eq!(smaller_timeout(None, None), None);
        assert_eq!(smaller_timeout(None, Some(u64::MAX)), None);
    }
}
