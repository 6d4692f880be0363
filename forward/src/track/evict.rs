//! What a track gives up, and when: the oldest first, whole groups before parts of one.

use std::time::Instant;

use roundtable_moqt::Location;

use crate::track::{
    GROUP_OVERHEAD_BYTES, Track,
    ranges::{after, before},
};

impl Track {
    /// Gives up what is too old or over a limit. Call it about once a second.
    pub fn evict(&mut self, now: Instant) {
        while self.groups.len() > 1
            && let Some(group) = self.groups.first_entry()
            && group.get().last_received + self.limits.age_max <= now
        {
            self.evict_first_group();
        }
        if let Some(duration_max) = self.terms.cache_duration_max {
            while let Some(object) = self.objects.first_entry()
                && now.saturating_duration_since(object.get().received) >= duration_max
            {
                self.evict_first_object();
            }
        }
        self.trim();
    }

    /// Gives up what is over a limit. Amortised constant time: every entry is given up once.
    pub(super) fn trim(&mut self) {
        loop {
            let entries = self.objects.len() + self.absent.len() + self.groups.len();
            let newest_bytes = self.groups.last_key_value().map_or(0, |(_, group)| group.bytes);
            let has_too_many = entries > self.limits.entries_max;
            let is_over_share =
                self.account.budget.is_overdrawn() && self.account.bytes() > self.account.budget.share();
            let is_over = has_too_many || is_over_share;
            if self.groups.len() > 1
                && (is_over || self.account.bytes() - newest_bytes > self.limits.bytes_max)
            {
                self.evict_first_group();
            } else if is_over && self.objects.is_empty() {
                if self.absent.len() == 0 {
                    return;
                }
                self.absent.pop_first();
            } else if is_over || newest_bytes > self.limits.newest_group_bytes_max {
                self.evict_first_object();
            } else {
                return;
            }
        }
    }

    fn evict_first_group(&mut self) {
        let Some((id, group)) = self.groups.pop_first() else { return };
        let mut bytes = GROUP_OVERHEAD_BYTES;
        while let Some(object) = self.objects.first_entry()
            && object.key().group <= id
        {
            bytes += object.remove().cost();
        }
        debug_assert_eq!(bytes, group.bytes + GROUP_OVERHEAD_BYTES, "a group knows its bytes");
        self.account.subtract(bytes);
        self.counters.groups_evicted += 1;
        self.forget_up_to(Location::new(id, u64::MAX));
    }

    fn evict_first_object(&mut self) {
        let Some((location, object)) = self.objects.pop_first() else { return };
        self.account.subtract(object.cost());
        let is_newest = self.groups.last_key_value().is_some_and(|(id, _)| *id == location.group);
        if let Some(group) = self.groups.get_mut(&location.group) {
            group.bytes -= object.cost();
            group.objects -= 1;
            if group.objects == 0 && !is_newest {
                self.groups.remove(&location.group);
                self.account.subtract(GROUP_OVERHEAD_BYTES);
            }
        }
        self.forget_up_to(location);
    }

    fn forget_up_to(&mut self, location: Location) {
        let Some(floor) = after(location) else { return };
        self.floor = self.floor.max(floor);
        self.absent.remove(Location::new(0, 0), location);
        self.gaps.close(Location::new(0, 0), location);
        // Groups before the floor hold nothing but the memory of their end.
        while let Some(group) = self.groups.first_entry()
            && group.get().objects == 0
            && before(floor).is_some_and(|last| *group.key() < last.group)
        {
            group.remove();
            self.account.subtract(GROUP_OVERHEAD_BYTES);
        }
    }
}
