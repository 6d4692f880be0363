//! What a track has sent, as long as it may be asked for: the relay repairs its uplink by FETCH, and asks for the
//! present group when somebody joins a track that nobody took so far (docs/wire.md, "Repair").

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use roundtable_moqt::{Location, Object, Status, fetch_stream::FetchItem, message::GroupOrder};

/// Objects are kept so long at least, and the newest group as long as it is the newest.
const AGE: Duration = Duration::from_secs(2);
/// Except that there are never more bytes than this.
const BYTES_MAX: usize = 24 << 20;
/// What an object costs beside its bytes.
const OBJECT_COST: usize = 128;

/// Objects of one track.
#[derive(Debug)]
pub struct History {
    objects: BTreeMap<Location, Kept>,
    bytes: usize,
    /// Before this, nothing is known: it was forgotten, or sent by another process.
    known_from: Location,
    largest: Option<Location>,
}

#[derive(Debug)]
struct Kept {
    at: Instant,
    object: Object,
}

/// A range that cannot be answered: it begins after the largest object, or ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range holds no objects")]
pub struct NoObjects;

/// The answer to a FETCH.
#[derive(Debug)]
pub struct Answer {
    /// End Location of FETCH_OK, in its encoding.
    pub end: Location,
    /// What to write, in the order asked for.
    pub items: Vec<FetchItem>,
}

impl History {
    /// Nothing sent; groups before `first_group` are another's.
    pub fn new(first_group: u64) -> Self {
        History {
            objects: BTreeMap::new(),
            bytes: 0,
            known_from: Location::new(first_group, 0),
            largest: None,
        }
    }

    /// The largest location sent; statuses do not count.
    pub fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// The newest object, if it is still kept.
    pub fn newest(&self) -> Option<&Object> {
        self.objects.values().next_back().map(|kept| &kept.object)
    }

    /// An object has been sent. A status says nothing that a FETCH could answer.
    pub fn push(&mut self, now: Instant, object: Object) {
        if object.status != Status::Normal {
            return;
        }
        self.largest = self.largest.max(Some(object.location));
        self.bytes += cost(&object);
        if let Some(before) = self.objects.insert(object.location, Kept { at: now, object }) {
            self.bytes -= cost(&before.object);
        }
        self.forget_old(now);
    }

    fn forget_old(&mut self, now: Instant) {
        let newest_group = self.largest.map_or(0, |largest| largest.group);
        while let Some(entry) = self.objects.first_entry() {
            let is_fresh = entry.key().group == newest_group
                || now.saturating_duration_since(entry.get().at) < AGE
                || self.objects.len() == 1;
            if is_fresh && self.bytes <= BYTES_MAX {
                return;
            }
            let Some((location, kept)) = self.objects.pop_first() else { return };
            self.bytes -= cost(&kept.object);
            self.known_from = Location::new(location.group, location.object + 1);
        }
    }

    /// What is known of a range: `start` and `end` as in FETCH (`end` is the last object plus one, or object 0 for
    /// the whole group).
    pub fn fetch(&self, start: Location, end: Location, order: GroupOrder) -> Result<Answer, NoObjects> {
        let largest = self.largest.ok_or(NoObjects)?;
        let last = match end.object.checked_sub(1) {
            Some(object) => Location::new(end.group, object),
            None => Location::new(end.group, u64::MAX),
        };
        if start > largest || last < start {
            return Err(NoObjects);
        }
        let is_beyond = last > largest;
        let (last, end) =
            if is_beyond { (largest, Location::new(largest.group, largest.object + 1)) } else { (last, end) };
        let found = self.objects.range(start..=last).map(|(_, kept)| kept.object.clone());
        let mut objects: Vec<Object> = found.collect();
        let unknown = start < self.known_from;
        let mut items = Vec::with_capacity(objects.len() + 1);
        match order {
            GroupOrder::Ascending => {
                if unknown {
                    items.push(FetchItem::Unknown(before(self.known_from).min(last)));
                }
                items.extend(objects.into_iter().map(FetchItem::Object));
            }
            GroupOrder::Descending => {
                // Groups fall, objects rise; the sort keeps their order within a group.
                objects.sort_by_key(|object| std::cmp::Reverse(object.location.group));
                let oldest = objects.last().map_or(last.group, |object| object.location.group);
                let is_cut = unknown && oldest == self.known_from.group && self.known_from.object > 0;
                let from_cut = objects.iter().position(|object| is_cut && object.location.group == oldest);
                let tail = from_cut.map(|at| objects.split_off(at)).unwrap_or_default();
                items.extend(objects.into_iter().map(FetchItem::Object));
                if is_cut {
                    items.push(FetchItem::Unknown(before(self.known_from)));
                }
                items.extend(tail.into_iter().map(FetchItem::Object));
                let is_rest_unknown = unknown && start.group < oldest;
                if is_rest_unknown {
                    items.push(FetchItem::Unknown(Location::new(start.group, u64::MAX)));
                }
            }
        }
        Ok(Answer { end, items })
    }
}

fn cost(object: &Object) -> usize {
    object.payload.len() + object.properties.len() + OBJECT_COST
}

/// The location before one that is not the first of all.
fn before(location: Location) -> Location {
    match location.object.checked_sub(1) {
        Some(object) => Location::new(location.group, object),
        None => Location::new(location.group.saturating_sub(1), u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: fn(u64, u64) -> (Location, Location) =
        |first, last| (Location::new(first, 0), Location::new(last, 0));

    fn push(history: &mut History, at: Instant, group: u64, object: u64) {
        history.push(at, Object::datagram(Location::new(group, object), vec![object as u8; 100]));
    }

    fn text(answer: &Answer) -> String {
        let item = |item: &FetchItem| match item {
            FetchItem::Object(object) => format!("{}.{}", object.location.group, object.location.object),
            FetchItem::NonExistent(end) => format!("-{}.{}", end.group, end.object as i64),
            FetchItem::Unknown(end) => format!("?{}.{}", end.group, end.object as i64),
        };
        answer.items.iter().map(item).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn objects_are_kept_for_two_seconds_and_the_newest_group_longer() {
        let start = Instant::now();
        let mut history = History::new(10);
        push(&mut history, start, 10, 0);
        push(&mut history, start, 10, 1);
        let later = start + Duration::from_millis(1500);
        push(&mut history, later, 11, 0);
        push(&mut history, start + Duration::from_secs(3), 11, 1);
        push(&mut history, start + Duration::from_secs(60), 11, 2);
        let (first, last) = WHOLE(10, 11);
        let answer = history.fetch(first, last, GroupOrder::Ascending).unwrap();
        assert_eq!(text(&answer), "?10.1 11.0 11.1 11.2");
        assert_eq!(answer.end, Location::new(11, 3));
        push(&mut history, start + Duration::from_secs(61), 12, 0);
        assert_eq!(
            text(&history.fetch(first, WHOLE(0, 12).1, GroupOrder::Ascending).unwrap()),
            "?11.1 11.2 12.0"
        );
    }

    #[test]
    fn what_another_process_may_have_sent_is_unknown_and_what_lies_between_objects_is_not() {
        let mut history = History::new(10);
        let now = Instant::now();
        assert_eq!(
            history.fetch(Location::new(10, 0), Location::new(11, 0), GroupOrder::Ascending).err(),
            Some(NoObjects)
        );
        push(&mut history, now, 10, 0);
        push(&mut history, now, 11, 0);
        push(&mut history, now, 11, 1);
        let ascending = |start, end| history.fetch(start, end, GroupOrder::Ascending);
        assert_eq!(
            text(&ascending(Location::new(0, 0), Location::new(11, 2)).unwrap()),
            "?9.-1 10.0 11.0 11.1"
        );
        assert_eq!(text(&ascending(Location::new(10, 1), Location::new(10, 0)).unwrap()), "");
        assert_eq!(text(&ascending(Location::new(11, 1), Location::new(11, 2)).unwrap()), "11.1");
        assert_eq!(ascending(Location::new(11, 2), Location::new(11, 0)).err(), Some(NoObjects));
        assert_eq!(ascending(Location::new(11, 1), Location::new(10, 0)).err(), Some(NoObjects));
    }

    #[test]
    fn descending_answers_tell_the_newest_group_first() {
        let start = Instant::now();
        let mut history = History::new(10);
        push(&mut history, start, 10, 0);
        push(&mut history, start + Duration::from_secs(1), 10, 1);
        push(&mut history, start + Duration::from_millis(2500), 11, 0);
        push(&mut history, start + Duration::from_millis(2500), 11, 1);
        let (first, last) = WHOLE(8, 11);
        let answer = history.fetch(first, last, GroupOrder::Descending).unwrap();
        assert_eq!(text(&answer), "11.0 11.1 ?10.0 10.1 ?8.-1");
        let answer = history.fetch(Location::new(11, 0), last, GroupOrder::Descending).unwrap();
        assert_eq!(text(&answer), "11.0 11.1");
    }

    #[test]
    fn a_huge_group_costs_a_bounded_amount_of_memory() {
        let mut history = History::new(1);
        let now = Instant::now();
        for object in 0..40 {
            history.push(now, Object::datagram(Location::new(1, object), vec![0; 1 << 20]));
        }
        assert!(history.bytes <= BYTES_MAX);
        let answer = history.fetch(Location::new(1, 0), Location::new(2, 0), GroupOrder::Ascending).unwrap();
        assert!(answer.items.len() < 25 && matches!(answer.items[0], FetchItem::Unknown(_)));
        assert_eq!(history.newest().map(|object| object.location), history.largest());
    }
}
