//! What must hold between the parts of a track, whatever came: for [`replay`](crate::replay).

use std::collections::BTreeMap;

use crate::track::{GROUP_OVERHEAD_BYTES, Track};

impl Track {
    /// Panics when the books do not agree. Costs as much as the track is large.
    pub(crate) fn audit(&self) {
        let mut held: BTreeMap<u64, (usize, u32)> = BTreeMap::new();
        for (location, stored) in &self.objects {
            let (bytes, objects) = held.entry(location.group).or_default();
            *bytes += stored.cost();
            *objects += 1;
        }
        let mut bytes = 0;
        for (id, group) in &self.groups {
            bytes += group.bytes + GROUP_OVERHEAD_BYTES;
            let held = held.remove(id).unwrap_or_default();
            assert_eq!(held, (group.bytes, group.objects), "group {id} does not know what it holds");
        }
        assert!(held.is_empty(), "objects of groups nobody knows: {held:?}");
        assert_eq!(bytes, self.account.bytes());
        let entries = self.objects.len() + self.absent.len() + self.groups.len();
        assert!(entries <= self.limits.entries_max.max(1), "{entries} entries");
        let first = self.objects.first_key_value().map(|(location, _)| *location);
        assert!(first.is_none_or(|first| first >= self.floor), "{first:?} lies before {:?}", self.floor);
        self.gaps.audit(|start, end| {
            let found = self.objects.range(start..=end).next();
            assert!(found.is_none(), "{found:?} is here, and missed");
        });
    }
}
