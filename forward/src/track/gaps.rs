//! What an uplink lost: missing objects of a track whose objects come as datagrams.
//!
//! A datagram beyond the largest one so far leaves a suspicion behind: everything skipped. What comes late within
//! the grace closes it again; the rest is asked of the publisher. Objects of subgroup streams are never missed
//! here, since streams lose nothing, and a group that has any is not looked at.

use std::time::{Duration, Instant};

use roundtable_moqt::Location;

use crate::track::{
    PublisherId,
    ranges::{after, before},
};

/// How gaps of the uplink are asked for.
#[derive(Debug, Clone)]
pub struct GapLimits {
    /// How long a missing object may be merely late.
    pub grace: Duration,
    /// Two gaps with at most this many objects between them are asked for as one.
    pub merged_objects_max: usize,
    /// FETCHes without an answer at once.
    pub outstanding_max: usize,
    /// How often a gap is asked for.
    pub attempts_max: u8,
    /// How long an answer may take before the gap is asked for again.
    pub answer_timeout: Duration,
    /// How long after it was noticed a gap is worth asking for; publishers keep 2 s.
    pub age_max: Duration,
    /// Missing ranges remembered; beyond, the oldest are given up.
    pub ranges_max: usize,
    /// Groups that can be missing in a row; more is a publisher that starts anew.
    pub groups_max: u64,
    /// Objects of a group that can be missing in a row.
    pub objects_max: u64,
}

impl Default for GapLimits {
    fn default() -> Self {
        GapLimits {
            grace: Duration::from_millis(5),
            merged_objects_max: 8,
            outstanding_max: 4,
            attempts_max: 2,
            answer_timeout: Duration::from_millis(500),
            age_max: Duration::from_secs(2),
            ranges_max: 64,
            groups_max: 256,
            objects_max: 4096,
        }
    }
}

/// Names a FETCH for missing objects within its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GapId(pub u64);

/// A range to FETCH from its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Its name.
    pub id: GapId,
    /// Who should have it.
    pub publisher: PublisherId,
    /// First location missing.
    pub start: Location,
    /// Last location missing in FETCH's encoding: object plus one, or object 0 for the whole group.
    pub end: Location,
}

/// A range of which nothing has come. Both ends inclusive.
#[derive(Debug, Clone, Copy)]
struct Missing {
    publisher: PublisherId,
    start: Location,
    end: Location,
    noticed: Instant,
    /// Not asked for before.
    due: Instant,
    attempts: u8,
    asked: Option<(GapId, Instant)>,
}

#[derive(Debug)]
pub(super) struct Gaps {
    limits: GapLimits,
    /// Ascending and disjoint.
    missing: Vec<Missing>,
    edge: Option<Edge>,
    /// Publishers that do not answer FETCH.
    silent: Vec<PublisherId>,
    next_id: u64,
    pub(super) asked: u64,
    pub(super) closed_late: u64,
    pub(super) given_up: u64,
}

/// The largest datagram so far, and whose.
#[derive(Debug)]
struct Edge {
    publisher: PublisherId,
    location: Location,
    /// True until a datagram comes that is not object 0: audio. Then a group's first object is all of it, whether
    /// its end is marked or not.
    has_one_object_groups: bool,
}

impl Gaps {
    pub(super) fn new(limits: GapLimits) -> Self {
        let (asked, closed_late, given_up) = (0, 0, 0);
        let (missing, silent) = (Vec::new(), Vec::new());
        Gaps { limits, missing, edge: None, silent, next_id: 0, asked, closed_late, given_up }
    }

    /// A new datagram of `publisher`. What it skips, inclusive: to be handed to [`Self::notice`] without what is
    /// known.
    pub(super) fn advance(
        &mut self,
        publisher: PublisherId,
        location: Location,
    ) -> Option<(Location, Location)> {
        let limits = &self.limits;
        let Some(edge) = self.edge.as_mut().filter(|edge| edge.publisher == publisher) else {
            // Somebody else's object within what has come already does not make it the one to follow.
            if self.edge.as_ref().is_none_or(|edge| location > edge.location) {
                self.edge = Some(Edge { publisher, location, has_one_object_groups: location.object == 0 });
            }
            return None;
        };
        edge.has_one_object_groups &= location.object == 0;
        if location <= edge.location {
            return None;
        }
        let previous = std::mem::replace(&mut edge.location, location);
        let start = if previous.group == location.group || !edge.has_one_object_groups {
            after(previous)?
        } else {
            Location::new(previous.group.checked_add(1)?, 0)
        };
        let is_jump = location.group - previous.group > limits.groups_max
            || location.object > limits.objects_max && location.group != previous.group
            || location.group == previous.group && location.object - previous.object > limits.objects_max;
        (start < location && !is_jump).then_some((start, before(location)?))
    }

    /// Nothing of `start..=end` has come although something after it has. What is missing already (after another
    /// publisher's absence, say) is not missed twice.
    pub(super) fn notice(&mut self, now: Instant, publisher: PublisherId, start: Location, end: Location) {
        if self.silent.contains(&publisher) {
            return;
        }
        let due = now + self.limits.grace;
        let mut position = Some(start);
        let mut place = self.missing.partition_point(|other| other.end < start);
        while let Some(start) = position.filter(|start| *start <= end) {
            let other = self.missing.get(place).copied().filter(|other| other.start <= end);
            let free_end = other.map_or(Some(end), |other| before(other.start));
            if let Some(end) = free_end.filter(|end| *end >= start) {
                let missing = Missing { publisher, start, end, noticed: now, due, attempts: 0, asked: None };
                self.missing.insert(place, missing);
                place += 1;
            }
            position = other.and_then(|other| after(other.end));
            place += 1;
        }
        self.give_up_surplus();
    }

    fn give_up_surplus(&mut self) {
        let surplus = self.missing.len().saturating_sub(self.limits.ranges_max);
        self.missing.drain(..surplus);
        self.given_up += surplus as u64;
    }

    /// An object came after all.
    pub(super) fn came(&mut self, location: Location) {
        if self.missing.is_empty() {
            return;
        }
        let is_whole = self.edge.as_ref().is_some_and(|edge| edge.has_one_object_groups);
        let end = if is_whole && location.object == 0 { u64::MAX } else { location.object };
        let found = self.close(location, Location::new(location.group, end));
        self.closed_late += u64::from(found == Closed::Unasked);
    }

    /// Nothing is missing in `start..=end`: it has come, does not exist, or nobody will ever know.
    pub(super) fn close(&mut self, start: Location, end: Location) -> Closed {
        let mut closed = Closed::Nothing;
        if start > end {
            return closed;
        }
        let mut index = self.missing.partition_point(|missing| missing.end < start);
        while let Some(missing) = self.missing.get(index).copied().filter(|missing| missing.start <= end) {
            closed = if missing.asked.is_none() { Closed::Unasked } else { Closed::Asked };
            self.missing.remove(index);
            if missing.start < start
                && let Some(end) = before(start)
            {
                self.missing.insert(index, Missing { end, ..missing });
                index += 1;
            }
            if missing.end > end
                && let Some(start) = after(end)
            {
                self.missing.insert(index, Missing { start, ..missing });
                index += 1;
            }
        }
        // What comes in the middle of a range makes two of it.
        self.give_up_surplus();
        closed
    }

    /// The first range of `start..=end` that may still be repaired.
    pub(super) fn is_repairing(&self, start: Location, end: Location, now: Instant) -> bool {
        let first = self.missing.partition_point(|missing| missing.end < start);
        let candidates = self.missing.iter().skip(first).take_while(|missing| missing.start <= end);
        candidates.into_iter().any(|missing| missing.noticed + self.limits.age_max > now)
    }

    /// What to ask for now. `objects_between` counts the objects between two locations, up to a limit.
    pub(super) fn due(
        &mut self,
        now: Instant,
        objects_between: impl Fn(Location, Location, usize) -> usize,
    ) -> Vec<Gap> {
        self.expire(now);
        let mut outstanding = self.outstanding();
        let mut gaps: Vec<Gap> = Vec::new();
        let limits = &self.limits;
        let mut previous: Option<Missing> = None;
        for missing in self.missing.iter_mut().filter(|missing| missing.asked.is_none() && missing.due <= now)
        {
            let near = previous.is_some_and(|previous| {
                previous.publisher == missing.publisher
                    && objects_between(previous.end, missing.start, limits.merged_objects_max + 1)
                        <= limits.merged_objects_max
            });
            let id = match gaps.last_mut() {
                Some(gap) if near => {
                    gap.end = wire_end(missing.end);
                    gap.id
                }
                _ if outstanding >= limits.outstanding_max => break,
                _ => {
                    outstanding += 1;
                    let id = GapId(self.next_id);
                    self.next_id += 1;
                    let (publisher, start) = (missing.publisher, missing.start);
                    gaps.push(Gap { id, publisher, start, end: wire_end(missing.end) });
                    id
                }
            };
            missing.asked = Some((id, now));
            missing.attempts = missing.attempts.saturating_add(1);
            previous = Some(*missing);
        }
        self.asked += gaps.len() as u64;
        gaps
    }

    /// The answer to a FETCH is complete: what it did not bring never comes.
    pub(super) fn resolved(&mut self, id: GapId) {
        self.missing.retain(|missing| missing.asked.is_none_or(|(asked, _)| asked != id));
    }

    /// A FETCH brought nothing, or not all: what is left is asked for once more, or given up.
    pub(super) fn failed(&mut self, now: Instant, id: GapId) {
        let limits = &self.limits;
        let given_up = &mut self.given_up;
        self.missing.retain_mut(|missing| {
            if missing.asked.is_none_or(|(asked, _)| asked != id) {
                return true;
            }
            missing.asked = None;
            missing.due = now + limits.answer_timeout / 10;
            let is_hopeless = missing.attempts >= limits.attempts_max;
            *given_up += u64::from(is_hopeless);
            !is_hopeless
        });
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let is_full = self.outstanding() >= self.limits.outstanding_max;
        let next = self.missing.iter().filter_map(|missing| match missing.asked {
            Some((_, at)) => Some(at + self.limits.answer_timeout),
            None if is_full => None,
            None => Some(missing.due),
        });
        next.min()
    }

    pub(super) fn silence(&mut self, publisher: PublisherId) {
        self.missing.retain(|missing| missing.publisher != publisher);
        if !self.silent.contains(&publisher) {
            self.silent.push(publisher);
        }
    }

    pub(super) fn remove_publisher(&mut self, publisher: PublisherId) {
        self.missing.retain(|missing| missing.publisher != publisher);
        self.silent.retain(|silent| *silent != publisher);
        self.edge.take_if(|edge| edge.publisher == publisher);
    }

    /// Answers that did not come in time, and gaps nobody can fill any more.
    fn expire(&mut self, now: Instant) {
        let limits = &self.limits;
        let given_up = &mut self.given_up;
        self.missing.retain_mut(|missing| {
            if missing.asked.is_some_and(|(_, at)| at + limits.answer_timeout <= now) {
                missing.asked = None;
                missing.due = now;
            }
            let is_hopeless = missing.noticed + limits.age_max <= now
                || missing.asked.is_none() && missing.attempts >= limits.attempts_max;
            *given_up += u64::from(is_hopeless);
            !is_hopeless
        });
    }

    /// Panics when the missing ranges are not as they should be; hands them to `each`.
    pub(super) fn audit(&self, each: impl Fn(Location, Location)) {
        assert!(self.missing.len() <= self.limits.ranges_max, "{} missing ranges", self.missing.len());
        assert!(self.outstanding() <= self.limits.outstanding_max, "too many FETCHes at once");
        let mut previous = None;
        for missing in &self.missing {
            assert!(missing.start <= missing.end && previous < Some(missing.start), "{:?}", self.missing);
            previous = Some(missing.end);
            each(missing.start, missing.end);
        }
    }

    fn outstanding(&self) -> usize {
        let mut ids: Vec<u64> = self.missing.iter().filter_map(|missing| Some(missing.asked?.0.0)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

/// What [`Gaps::close`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// Nothing was missing there.
    Nothing,
    /// Missing, but not asked for.
    Unasked,
    /// Missing and asked for.
    Asked,
}

/// The end of a range in FETCH's encoding; `last` is inclusive.
pub(super) fn wire_end(last: Location) -> Location {
    Location::new(last.group, last.object.checked_add(1).unwrap_or(0))
}

/// The last location of a range that ends with `end` in FETCH's encoding.
pub(super) fn last_of(end: Location) -> Location {
    Location::new(end.group, end.object.checked_sub(1).unwrap_or(u64::MAX))
}
