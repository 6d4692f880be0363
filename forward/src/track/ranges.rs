//! Sets of locations, kept as ranges.

use std::collections::BTreeMap;

use roundtable_moqt::Location;

/// The last location there can be.
pub(super) const LAST: Location = Location::new(u64::MAX, u64::MAX);

/// The location after `location` in the order of the numbers; `None` after the last.
pub(super) fn after(location: Location) -> Option<Location> {
    match location.object.checked_add(1) {
        Some(object) => Some(Location::new(location.group, object)),
        None => Some(Location::new(location.group.checked_add(1)?, 0)),
    }
}

/// The location before `location`; `None` before the first.
pub(super) fn before(location: Location) -> Option<Location> {
    match location.object.checked_sub(1) {
        Some(object) => Some(Location::new(location.group, object)),
        None => Some(Location::new(location.group.checked_sub(1)?, u64::MAX)),
    }
}

/// A set of locations as ranges, both ends inclusive, that neither overlap nor touch.
#[derive(Debug, Default, Clone)]
pub(super) struct Ranges {
    end_by_start: BTreeMap<Location, Location>,
}

impl Ranges {
    pub(super) fn len(&self) -> usize {
        self.end_by_start.len()
    }

    /// The range that `location` lies in.
    pub(super) fn around(&self, location: Location) -> Option<(Location, Location)> {
        let (start, end) = self.end_by_start.range(..=location).next_back()?;
        (location <= *end).then_some((*start, *end))
    }

    /// Where the first range after `location` starts.
    pub(super) fn next_start(&self, location: Location) -> Option<Location> {
        let next = self.end_by_start.range(after(location)?..).next();
        next.map(|(start, _)| *start)
    }

    /// Where the last range that starts before `location` ends.
    pub(super) fn previous_end(&self, location: Location) -> Option<Location> {
        self.end_by_start.range(..location).next_back().map(|(_, end)| *end)
    }

    /// Adds `start..=end`.
    pub(super) fn insert(&mut self, start: Location, end: Location) {
        if start > end {
            return;
        }
        let (mut start, mut end) = (start, end);
        let touching = before(start).unwrap_or(start);
        if let Some((earlier, its_end)) = self.around(touching) {
            start = start.min(earlier);
            end = end.max(its_end);
        }
        let reach = after(end).unwrap_or(end);
        while let Some((&inner, &its_end)) = self.end_by_start.range(start..=reach).next() {
            self.end_by_start.remove(&inner);
            end = end.max(its_end);
        }
        self.end_by_start.insert(start, end);
    }

    /// Takes `start..=end` out.
    pub(super) fn remove(&mut self, start: Location, end: Location) {
        while let Some((&found, &its_end)) = self.end_by_start.range(..=end).next_back() {
            if its_end < start {
                return;
            }
            self.end_by_start.remove(&found);
            if its_end > end
                && let Some(rest) = after(end)
            {
                self.end_by_start.insert(rest, its_end);
            }
            if found < start
                && let Some(rest) = before(start)
            {
                self.end_by_start.insert(found, rest);
            }
        }
    }

    /// Takes the first range out.
    pub(super) fn pop_first(&mut self) {
        self.end_by_start.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Small numbers at both ends of a group, so that ranges meet across groups.
    fn location() -> impl Strategy<Value = Location> {
        (0..3_u64, 0..6_u64).prop_map(|(group, object)| at(group, object))
    }

    fn at(group: u64, object: u64) -> Location {
        Location::new(group, if object >= 4 { u64::MAX - (5 - object) } else { object })
    }

    fn universe() -> impl Iterator<Item = Location> {
        (0..3).flat_map(|group| (0..6).map(move |object| at(group, object)))
    }

    proptest! {
        #[test]
        fn ranges_hold_what_a_list_of_locations_would(
            steps in prop::collection::vec((any::<bool>(), location(), location()), 0..40)
        ) {
            let mut ranges = Ranges::default();
            let mut model = std::collections::BTreeSet::new();
            for (is_insert, one, other) in steps {
                let (start, end) = (one.min(other), one.max(other));
                let inside = universe().filter(|location| (start..=end).contains(location));
                if is_insert {
                    ranges.insert(start, end);
                    model.extend(inside);
                } else {
                    ranges.remove(start, end);
                    inside.for_each(|location| { model.remove(&location); });
                }
                for location in universe() {
                    prop_assert_eq!(ranges.around(location).is_some(), model.contains(&location));
                }
                let bounds: Vec<_> = ranges.end_by_start.iter().collect();
                for pair in bounds.windows(2) {
                    prop_assert!(after(*pair[0].1).unwrap() < *pair[1].0, "ranges touch: {:?}", bounds);
                }
            }
        }
    }

    #[test]
    fn removing_to_the_very_last_location_ends() {
        let mut ranges = Ranges::default();
        ranges.insert(Location::new(3, 0), LAST);
        ranges.remove(Location::new(4, 1), LAST);
        assert_eq!(ranges.around(Location::new(3, 9)), Some((Location::new(3, 0), Location::new(4, 0))));
        assert_eq!(ranges.around(LAST), None);
    }
}
