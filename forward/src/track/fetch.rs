//! FETCH out of the cache (draft 10.12, 11.4.4).
//!
//! An answer is made step by step from a cursor, so that a large FETCH never holds the track for long, and objects
//! that come while it is under way are part of it.

use std::time::Instant;

use roundtable_moqt::{Location, Object, Status, fetch_stream::FetchItem, message::GroupOrder};

use crate::{
    filter::InvalidRange,
    track::{
        Stored, Track,
        gaps::{last_of, wire_end},
        ranges::{after, before},
    },
};

/// The beginning of an answer to a FETCH.
#[derive(Debug)]
pub struct Fetch {
    /// End Location of FETCH_OK, in its encoding.
    pub end: Location,
    /// End Of Track of FETCH_OK.
    pub end_of_track: bool,
    /// Where the answer stands.
    pub cursor: FetchCursor,
}

/// Where an answer to a FETCH stands. A copy can look ahead.
#[derive(Debug, Clone)]
pub struct FetchCursor {
    start: Location,
    last: Location,
    order: GroupOrder,
    patience: Instant,
    at: At,
    /// Where a run of absent objects ended that lies between the last item and here: it has to be told apart from
    /// unknown ones that follow.
    absent: Option<Location>,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// This location comes next.
    Location(Location),
    /// Descending: this group has been told, the one below comes next.
    Below(u64),
    Done,
}

impl FetchCursor {
    /// The first location of the answer in `group`.
    fn start_of(&self, group: u64) -> Location {
        if group == self.start.group { self.start } else { Location::new(group, 0) }
    }

    /// The last location of the run of ascending ones that `location` lies in: all of the answer, or all of a group.
    fn run_last(&self, location: Location) -> Location {
        match self.order {
            GroupOrder::Ascending => self.last,
            GroupOrder::Descending => self.last.min(Location::new(location.group, u64::MAX)),
        }
    }

    /// `location` has been told.
    fn pass(&mut self, location: Location) {
        let next = after(location).filter(|_| location < self.run_last(location));
        self.at = match (next, self.order) {
            (Some(next), _) => At::Location(next),
            (None, GroupOrder::Ascending) => At::Done,
            (None, GroupOrder::Descending) => At::Below(location.group),
        };
    }
}

/// What comes next in an answer to a FETCH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To be written to the stream.
    Item(FetchItem),
    /// What comes next is being repaired: ask again when something was inserted or repaired, at the latest at this
    /// time.
    Wait(Instant),
    /// Nothing follows: FIN.
    Done,
}

/// Expired objects looked at in one step.
const EXPIRED_PER_STEP_MAX: usize = 256;

impl Track {
    /// Begins to answer a FETCH. `start` and `end` as in the message (`end` is the last object plus one, or object 0
    /// for the whole group). Waits for repairs until `patience`.
    pub fn fetch(
        &self,
        start: Location,
        end: Location,
        order: GroupOrder,
        patience: Instant,
    ) -> Result<Fetch, InvalidRange> {
        let largest = self.largest.ok_or(InvalidRange)?;
        if start > largest || last_of(end) < start {
            return Err(InvalidRange);
        }
        let is_beyond = last_of(end) > largest;
        let (last, end) = if is_beyond { (largest, wire_end(largest)) } else { (last_of(end), end) };
        let end_of_track = last == largest && self.is_complete();
        let mut cursor = FetchCursor { start, last, order, patience, at: At::Done, absent: None };
        cursor.at = At::Location(match order {
            GroupOrder::Ascending => start,
            GroupOrder::Descending => cursor.start_of(last.group),
        });
        Ok(Fetch { end, end_of_track, cursor })
    }

    /// The next piece of a FETCH. Short: the lock around the track can be released between two calls.
    pub fn next(&self, cursor: &mut FetchCursor, now: Instant) -> Step {
        loop {
            let step = match cursor.at {
                At::Location(location) => self.next_in_run(cursor, now, location),
                At::Below(group) => self.next_lower_group(cursor, now, group),
                At::Done => Some(Step::Done),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    fn next_in_run(&self, cursor: &mut FetchCursor, now: Instant, location: Location) -> Option<Step> {
        let object = self.servable(location, cursor.run_last(location), now);
        let before_object = match object {
            Ok((found, stored)) if found == location => {
                cursor.pass(location);
                cursor.absent = None;
                return Some(Step::Item(FetchItem::Object(stored.object(location))));
            }
            Ok((found, _)) => before(found)?,
            Err(looked_at) => looked_at,
        };
        if let Some((_, absent_end)) = self.absent.around(location) {
            let told = absent_end.min(before_object);
            cursor.absent = Some(told);
            cursor.pass(told);
            return None;
        }
        let before_absent = self.absent.next_start(location).and_then(before);
        let told = before_absent.map_or(before_object, |end| end.min(before_object));
        Some(self.unknown(cursor, now, (location, told), told))
    }

    /// Descending order: all of `group` has been told. Spans of groups that do not exist or of which nothing is known
    /// are passed at once, since publisher and subscriber can name any number of them.
    fn next_lower_group(&self, cursor: &mut FetchCursor, now: Instant, group: u64) -> Option<Step> {
        let Some(below) = group.checked_sub(1).filter(|below| *below >= cursor.start.group) else {
            cursor.at = At::Done;
            return None;
        };
        let (bottom, top) = (cursor.start_of(below), Location::new(below, u64::MAX));
        let newest_object = self.objects.range(cursor.start..=top).next_back().map(|(found, _)| found.group);
        if let Some((absent_start, absent_end)) = self.absent.around(bottom)
            && absent_end >= top
            && newest_object != Some(below)
        {
            let is_whole = absent_start <= cursor.start_of(absent_start.group);
            let lowest = if is_whole { absent_start.group } else { absent_start.group + 1 };
            let lowest = newest_object.map_or(lowest, |newest| lowest.max(newest + 1));
            let lowest = lowest.max(cursor.start.group);
            cursor.absent = Some(Location::new(lowest, u64::MAX));
            cursor.at = At::Below(lowest);
            return None;
        }
        let newest_absent = self.absent.previous_end(after(top)?).map(|end| end.group.min(below));
        let known = newest_object.max(newest_absent).filter(|known| *known >= cursor.start.group);
        if known == Some(below) {
            cursor.at = At::Location(bottom);
            return None;
        }
        let lowest = known.map_or(cursor.start.group, |known| known + 1);
        let range = (cursor.start_of(lowest), top);
        Some(self.unknown(cursor, now, range, Location::new(lowest, u64::MAX)))
    }

    /// Says that nothing is known of `range`, or waits. `told` is the end of the range in the order of the answer.
    fn unknown(
        &self,
        cursor: &mut FetchCursor,
        now: Instant,
        range: (Location, Location),
        told: Location,
    ) -> Step {
        if now < cursor.patience && self.gaps.is_repairing(range.0, range.1, now) {
            return Step::Wait(cursor.patience);
        }
        if let Some(absent) = cursor.absent.take() {
            return Step::Item(FetchItem::NonExistent(absent));
        }
        cursor.pass(told);
        Step::Item(FetchItem::Unknown(told))
    }

    /// The first object of `start..=end` that may still be served, or how far there is none.
    fn servable(
        &self,
        start: Location,
        end: Location,
        now: Instant,
    ) -> Result<(Location, &Stored), Location> {
        let mut looked_at = end;
        for (count, (location, stored)) in self.objects.range(start..=end).enumerate() {
            let age = now.saturating_duration_since(stored.received);
            if self.terms.cache_duration_max.is_none_or(|max| age < max) {
                return Ok((*location, stored));
            }
            if count >= EXPIRED_PER_STEP_MAX {
                looked_at = *location;
                break;
            }
        }
        Err(looked_at)
    }

    /// True when the track has ended, and the largest object is its last.
    fn is_complete(&self) -> bool {
        let (Some((end, _)), Some(largest)) = (self.end, self.largest) else { return false };
        let next = after(largest).unwrap_or(end);
        next >= end || self.absent.around(next).is_some_and(|(_, absent_end)| absent_end >= end)
    }
}

impl Stored {
    fn object(&self, location: Location) -> Object {
        Object {
            location,
            priority: Some(self.priority),
            forwarding: self.forwarding,
            status: Status::Normal,
            ends_group: false,
            properties: self.properties.clone(),
            payload: self.payload.clone(),
        }
    }
}
