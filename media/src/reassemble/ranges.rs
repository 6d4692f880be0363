//! Locations that need not be waited for.

use roundtable_moqt::object::Location;

/// Most ranges kept; with more, the oldest are forgotten and waited for like any other.
const RANGES_MAX: usize = 256;

/// Ranges of locations, both ends included. An object id of `u64::MAX` is the end of a group.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    ranges: Vec<(Location, Location)>,
}

impl Ranges {
    pub(super) fn add(&mut self, start: Location, end: Location) {
        if start > end {
            return;
        }
        let (mut start, mut end) = (start, end);
        self.ranges.retain(|(other_start, other_end)| {
            let touches = *other_start <= after(end) && start <= after(*other_end);
            if touches {
                start = start.min(*other_start);
                end = end.max(*other_end);
            }
            !touches
        });
        if self.ranges.len() >= RANGES_MAX {
            self.ranges.remove(0);
        }
        self.ranges.push((start, end));
    }

    /// The last location of the range that this one is in.
    pub(super) fn end_of(&self, location: Location) -> Option<Location> {
        let hit = self.ranges.iter().find(|(start, end)| *start <= location && location <= *end);
        hit.map(|(_, end)| *end)
    }

    pub(super) fn contains(&self, location: Location) -> bool {
        self.end_of(location).is_some()
    }

    /// Forgets what lies before.
    pub(super) fn forget_before(&mut self, location: Location) {
        self.ranges.retain(|(_, end)| *end >= location);
    }

    /// The parts of `start..=end` that are in no range here, in order.
    pub(super) fn subtract_from(&self, start: Location, end: Location) -> Vec<(Location, Location)> {
        let mut overlapping: Vec<_> =
            self.ranges.iter().filter(|(from, to)| *from <= end && start <= *to).copied().collect();
        overlapping.sort_unstable();
        let mut rest = Vec::new();
        let mut from = start;
        for (range_start, range_end) in overlapping {
            if from < range_start
                && let Some(last) = before(range_start)
            {
                rest.push((from, last));
            }
            from = from.max(after(range_end));
        }
        if from <= end && !self.contains(from) {
            rest.push((from, end));
        }
        rest
    }
}

/// The location that follows; past the last object of a group comes the next group. Nothing follows the last one.
pub(super) fn after(location: Location) -> Location {
    match location.object.checked_add(1) {
        Some(object) if object < u64::MAX => Location::new(location.group, object),
        _ => location.group.checked_add(1).map_or(location, |group| Location::new(group, 0)),
    }
}

fn before(location: Location) -> Option<Location> {
    match location.object.checked_sub(1) {
        Some(object) => Some(Location::new(location.group, object)),
        None => location.group.checked_sub(1).map(|group| Location::new(group, u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(group: u64, object: u64) -> Location {
        Location::new(group, object)
    }

    #[test]
    fn touching_ranges_become_one() {
        let mut ranges = Ranges::default();
        ranges.add(at(1, 4), at(1, 6));
        ranges.add(at(1, 9), at(1, u64::MAX));
        assert_eq!(ranges.end_of(at(1, 5)), Some(at(1, 6)));
        assert_eq!(ranges.end_of(at(1, 7)), None);
        ranges.add(at(1, 7), at(1, 8));
        assert_eq!(ranges.end_of(at(1, 4)), Some(at(1, u64::MAX)));
        ranges.add(at(2, 0), at(2, 3));
        assert_eq!(ranges.end_of(at(1, 4)), Some(at(2, 3)));
        ranges.forget_before(at(2, 4));
        assert!(!ranges.contains(at(1, 4)));
    }

    #[test]
    fn subtraction_leaves_the_holes() {
        let mut ranges = Ranges::default();
        ranges.add(at(1, 2), at(1, 3));
        ranges.add(at(1, 6), at(1, u64::MAX));
        assert_eq!(
            ranges.subtract_from(at(1, 0), at(2, 1)),
            [(at(1, 0), at(1, 1)), (at(1, 4), at(1, 5)), (at(2, 0), at(2, 1))]
        );
        assert_eq!(ranges.subtract_from(at(1, 2), at(1, 3)), []);
        assert_eq!(ranges.subtract_from(at(1, 7), at(1, u64::MAX)), []);
    }
}
