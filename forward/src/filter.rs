//! What a subscription wants: its filter as a window of locations (draft 5.1.2), and requests for new groups
//! merged for all subscribers of a track (draft 10.2.13).

use roundtable_moqt::{Location, message::Filter};

/// The locations a subscription wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First location, inclusive.
    pub start: Location,
    /// Last group, inclusive; `u64::MAX` when there is no end.
    pub end_group: u64,
}

/// A range or filter that cannot be satisfied: INVALID_RANGE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range is empty, has passed, or has nothing in it yet")]
pub struct InvalidRange;

impl Window {
    /// Everything: a subscription without a filter.
    pub const ALL: Window = Window { start: Location::new(0, 0), end_group: u64::MAX };

    /// The window of a filter, given the track's largest location when the message is processed.
    ///
    /// A range whose last group lies before the largest has passed. Whether the largest group itself is complete
    /// is known to [`Track::window`](crate::Track::window).
    pub fn new(filter: Option<Filter>, largest: Option<Location>) -> Result<Window, InvalidRange> {
        let window = match (filter, largest) {
            (None, _) | (Some(Filter::NextGroupStart | Filter::LargestObject), None) => Window::ALL,
            (Some(Filter::NextGroupStart), Some(largest)) => {
                let group = largest.group.checked_add(1).ok_or(InvalidRange)?;
                Window { start: Location::new(group, 0), ..Window::ALL }
            }
            (Some(Filter::LargestObject), Some(Location { group, object })) => {
                let start = match object.checked_add(1) {
                    Some(object) => Location::new(group, object),
                    None => Location::new(group.checked_add(1).ok_or(InvalidRange)?, 0),
                };
                Window { start, ..Window::ALL }
            }
            (Some(Filter::AbsoluteStart(start)), _) => Window { start, ..Window::ALL },
            (Some(Filter::AbsoluteRange { start, end_group }), _) => Window { start, end_group },
        };
        let has_passed = largest.is_some_and(|largest| largest.group > window.end_group);
        if has_passed || window.end_group < window.start.group { Err(InvalidRange) } else { Ok(window) }
    }

    /// True when an object at `location` passes.
    pub fn contains(&self, location: Location) -> bool {
        location >= self.start && location.group <= self.end_group
    }
}

/// The NEW_GROUP_REQUESTs of all subscribers of a track, merged into what goes upstream (draft 10.2.13).
///
/// For one upstream subscription; whether the track has dynamic groups is [`Terms::dynamic_groups`].
///
/// [`Terms::dynamic_groups`]: crate::Terms::dynamic_groups
#[derive(Debug, Clone, Default)]
pub struct NewGroupRequests {
    outstanding: Option<Outstanding>,
}

#[derive(Debug, Clone, Copy)]
struct Outstanding {
    value: u64,
    largest_group: Option<u64>,
}

impl NewGroupRequests {
    /// A subscriber asks with `value` while the track's largest group is `largest_group`: true when a
    /// NEW_GROUP_REQUEST of the same value has to go upstream, which is outstanding from then on.
    pub fn request(&mut self, value: u64, largest_group: Option<u64>) -> bool {
        let is_wanted = value == 0 || largest_group.is_none_or(|largest| value > largest);
        if !is_wanted || self.is_outstanding(largest_group).is_some_and(|outstanding| outstanding >= value) {
            return false;
        }
        self.outstanding = Some(Outstanding { value, largest_group });
        true
    }

    /// The value of the request that is outstanding: until the largest group grows.
    pub fn is_outstanding(&self, largest_group: Option<u64>) -> Option<u64> {
        self.outstanding.filter(|asked| largest_group <= asked.largest_group).map(|asked| asked.value)
    }

    /// The upstream subscription is gone, and with it what was asked.
    pub fn clear(&mut self) {
        self.outstanding = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGEST: Option<Location> = Some(Location::new(7, 3));

    fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    #[test]
    fn filters_relative_to_the_largest_object_start_after_it() {
        let next = Window::new(Some(Filter::NextGroupStart), LARGEST).unwrap();
        assert!(!next.contains(at(7, 4)) && next.contains(at(8, 0)));
        let largest = Window::new(Some(Filter::LargestObject), LARGEST).unwrap();
        assert!(!largest.contains(at(7, 3)) && largest.contains(at(7, 4)));
    }

    #[test]
    fn before_the_first_object_they_pass_everything() {
        for filter in [Filter::NextGroupStart, Filter::LargestObject] {
            assert_eq!(Window::new(Some(filter), None), Ok(Window::ALL));
        }
        assert_eq!(Window::new(None, LARGEST), Ok(Window::ALL));
    }

    #[test]
    fn a_range_ends_with_its_last_group_whole() {
        let range = Filter::AbsoluteRange { start: at(7, 2), end_group: 8 };
        let window = Window::new(Some(range), LARGEST).unwrap();
        assert!(!window.contains(at(7, 1)) && window.contains(at(7, 2)));
        assert!(window.contains(at(8, u64::MAX)) && !window.contains(at(9, 0)));
    }

    #[test]
    fn a_range_that_has_passed_is_invalid() {
        let range = Filter::AbsoluteRange { start: at(2, 0), end_group: 6 };
        assert_eq!(Window::new(Some(range), LARGEST), Err(InvalidRange));
        let backwards = Filter::AbsoluteRange { start: at(9, 0), end_group: 8 };
        assert_eq!(Window::new(Some(backwards), LARGEST), Err(InvalidRange));
    }

    #[test]
    fn locations_at_the_end_of_the_numbers_do_not_wrap() {
        let last = Some(at(u64::MAX, u64::MAX));
        assert_eq!(Window::new(Some(Filter::NextGroupStart), last), Err(InvalidRange));
        assert_eq!(Window::new(Some(Filter::LargestObject), last), Err(InvalidRange));
        let start = Window::new(Some(Filter::LargestObject), Some(at(1, u64::MAX))).unwrap().start;
        assert_eq!(start, at(2, 0));
    }

    #[test]
    fn one_new_group_request_is_outstanding_until_the_largest_group_grows() {
        let mut requests = NewGroupRequests::default();
        assert!(requests.request(8, Some(7)));
        assert!(!requests.request(8, Some(7)), "the same again");
        assert!(!requests.request(0, Some(7)), "any new group is what was asked for");
        assert!(requests.request(9, Some(7)), "a larger one is news");
        assert_eq!(requests.is_outstanding(Some(7)), Some(9));
        assert_eq!(requests.is_outstanding(Some(8)), None);
        assert!(!requests.request(8, Some(8)), "that group has come");
        assert!(requests.request(0, Some(8)));
    }

    #[test]
    fn an_empty_track_can_be_asked_for_its_first_group() {
        let mut requests = NewGroupRequests::default();
        assert!(requests.request(0, None));
        assert!(!requests.request(0, None));
        assert!(requests.request(1, None));
        assert_eq!(requests.is_outstanding(Some(0)), None);
    }
}
