//! An object comes in: what it means for what was known before (draft 2.1, 2.4.2, 9.1).

use std::time::Instant;

use roundtable_moqt::{Forwarding, Location, Object, Status};

use crate::{
    pairs::{self, Value},
    track::{
        GROUP_OVERHEAD_BYTES, Group, PublisherId, Stored, Track,
        ranges::{LAST, after, before},
    },
};

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insert {
    /// Seen for the first time: forward it.
    New,
    /// Seen before: drop it.
    Duplicate,
    /// Older than what the track remembers, so nobody can tell whether it has come before. Not cached; forward it,
    /// or subscribers of tracks whose groups do not grow with time would miss objects (draft 2.3.1).
    TooOld,
    /// Said not to exist before it came: neither cache nor forward it (draft 9.1).
    Absent,
    /// It contradicts what came before: neither cache nor forward it (draft 2.4.2).
    Malformed(Malformed),
}

impl Insert {
    /// True when subscribers should get it.
    pub fn is_forwarded(self) -> bool {
        matches!(self, Insert::New | Insert::TooOld)
    }
}

/// How a track broke the draft's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// For people, fixed text.
    pub reason: &'static str,
    /// Who said the contrary before. When that is the publisher of this object, it has broken its own track, and
    /// the track ends for everybody with MALFORMED_TRACK. When it is another one, one of the two is wrong: the
    /// relay ends the subscription of the publisher that came later and [forgets](Track::remove_publisher) its
    /// claims, so that nobody can end a track by publishing nonsense beside it.
    pub contradicts: PublisherId,
}

const MALFORMED_END_OF_GROUP: &str = "an object lies beyond the end of its group";
const MALFORMED_END_OF_TRACK: &str = "an object lies beyond the end of the track";
const MALFORMED_TWO_ENDS: &str = "an end was said to be elsewhere before";
const MALFORMED_DUPLICATE: &str = "an object came twice, and differs";
const MALFORMED_PRIORITY: &str = "objects of one subgroup differ in priority";
const MALFORMED_PRIOR_GAP: &str = "a prior gap reaches beyond the first id, or stands there twice";
const MALFORMED_GAP_NOT_EMPTY: &str = "a prior gap covers an object that came";

impl Track {
    /// An object that came in a subscription, as a datagram or on a subgroup stream.
    ///
    /// The cache keeps the object's `Bytes` as they are, and with them whatever memory they are slices of: hand
    /// over the bytes that were built for forwarding rather than slices of a receive buffer.
    pub fn insert(&mut self, now: Instant, publisher: PublisherId, object: &Object) -> Insert {
        let insert = self.insert_any(now, publisher, object);
        if insert == Insert::New && object.status == Status::Normal {
            self.largest = self.largest.max(Some(object.location));
            self.look_for_gaps(now, publisher, object);
        }
        insert
    }

    /// An object out of the answer to a FETCH: fills the cache, and says nothing about the live edge.
    pub fn insert_fetched(&mut self, now: Instant, publisher: PublisherId, object: &Object) -> Insert {
        self.insert_any(now, publisher, object)
    }

    /// FIN of a subgroup stream whose header has the END_OF_GROUP bit: the largest object that came on it is the
    /// group's last.
    pub fn end_group(
        &mut self,
        now: Instant,
        publisher: PublisherId,
        last: Location,
    ) -> Result<(), Malformed> {
        let Some(end) = last.object.checked_add(1) else { return Ok(()) };
        self.set_group_end(now, publisher, Location::new(last.group, end)).map(|_| ())
    }

    fn insert_any(&mut self, now: Instant, publisher: PublisherId, object: &Object) -> Insert {
        let insert = self.judge(now, publisher, object).unwrap_or_else(Insert::Malformed);
        match insert {
            Insert::New => self.counters.objects += 1,
            Insert::Duplicate => self.counters.duplicates += 1,
            Insert::TooOld => self.counters.too_old += 1,
            Insert::Absent => self.counters.absent += 1,
            Insert::Malformed(_) => {}
        }
        insert
    }

    fn judge(&mut self, now: Instant, publisher: PublisherId, object: &Object) -> Result<Insert, Malformed> {
        let location = object.location;
        if location < self.floor {
            return Ok(Insert::TooOld);
        }
        match object.status {
            Status::EndOfGroup => return self.set_group_end(now, publisher, location),
            Status::EndOfTrack => return self.set_track_end(publisher, location),
            Status::Normal => {}
        }
        let priority = object.priority.unwrap_or(self.terms.default_priority);
        let insert = match self.objects.get(&location) {
            Some(stored) => stored.judge_duplicate(object, priority)?,
            None => self.judge_new(publisher, object, priority)?,
        };
        if object.ends_group && insert != Insert::Absent {
            self.end_group(now, publisher, location)?;
        }
        if insert == Insert::New {
            self.store(now, publisher, object, priority);
        }
        Ok(insert)
    }

    fn judge_new(
        &mut self,
        publisher: PublisherId,
        object: &Object,
        priority: u8,
    ) -> Result<Insert, Malformed> {
        let location = object.location;
        if let Some((_, contradicts)) = self.end.filter(|(end, _)| location >= *end) {
            return Err(Malformed { reason: MALFORMED_END_OF_TRACK, contradicts });
        }
        let end = self.groups.get(&location.group).and_then(|group| group.end);
        if let Some((_, contradicts)) = end.filter(|(end, _)| location.object >= *end) {
            return Err(Malformed { reason: MALFORMED_END_OF_GROUP, contradicts });
        }
        if self.absent.around(location).is_some() {
            return Ok(Insert::Absent);
        }
        if let Forwarding::Subgroup(_) = object.forwarding
            && let Some((neighbour, stored)) = self.objects.range(..location).next_back()
            && neighbour.group == location.group
            && stored.forwarding == object.forwarding
            && stored.priority != priority
        {
            return Err(Malformed { reason: MALFORMED_PRIORITY, contradicts: stored.publisher });
        }
        self.apply_prior_gaps(publisher, object)?;
        Ok(Insert::New)
    }

    /// PRIOR_GROUP_ID_GAP and PRIOR_OBJECT_ID_GAP (draft 12.8, 12.9).
    fn apply_prior_gaps(&mut self, publisher: PublisherId, object: &Object) -> Result<(), Malformed> {
        const PRIOR_GROUP_ID_GAP: u64 = 0x3C;
        const PRIOR_OBJECT_ID_GAP: u64 = 0x3E;
        if object.properties.is_empty() {
            return Ok(());
        }
        let (mut groups, mut objects, mut is_twice) = (None, None, false);
        let whole = pairs::walk(&object.properties, &mut |key, value| match (key, value) {
            (PRIOR_GROUP_ID_GAP, Value::Integer(gap)) => is_twice |= groups.replace(gap).is_some(),
            (PRIOR_OBJECT_ID_GAP, Value::Integer(gap)) => is_twice |= objects.replace(gap).is_some(),
            _ => {}
        });
        let Location { group, object: id } = object.location;
        let wrong = Malformed { reason: MALFORMED_PRIOR_GAP, contradicts: publisher };
        if is_twice || whole.is_none() {
            return Err(wrong);
        }
        if let Some(gap) = groups.filter(|gap| *gap > 0) {
            let first = group.checked_sub(gap).ok_or(wrong)?;
            self.set_prior_gap(Location::new(first, 0), Location::new(group - 1, u64::MAX))?;
        }
        if let Some(gap) = objects.filter(|gap| *gap > 0) {
            let first = id.checked_sub(gap).ok_or(wrong)?;
            self.set_prior_gap(Location::new(group, first), Location::new(group, id - 1))?;
        }
        Ok(())
    }

    fn set_prior_gap(&mut self, start: Location, end: Location) -> Result<(), Malformed> {
        match self.objects.range(start..=end).next() {
            Some((_, stored)) => {
                Err(Malformed { reason: MALFORMED_GAP_NOT_EMPTY, contradicts: stored.publisher })
            }
            None => {
                if end >= self.floor {
                    self.set_absent(start, end);
                }
                Ok(())
            }
        }
    }

    /// Nothing exists in the group of `end` from `end` on.
    fn set_group_end(
        &mut self,
        now: Instant,
        publisher: PublisherId,
        end: Location,
    ) -> Result<Insert, Malformed> {
        let last = Location::new(end.group, u64::MAX);
        if let Some((known, contradicts)) = self.groups.get(&end.group).and_then(|group| group.end) {
            let wrong = Malformed { reason: MALFORMED_TWO_ENDS, contradicts };
            return if known == end.object { Ok(Insert::Duplicate) } else { Err(wrong) };
        }
        if let Some((_, stored)) = self.objects.range(end..=last).next() {
            return Err(Malformed { reason: MALFORMED_END_OF_GROUP, contradicts: stored.publisher });
        }
        if last >= self.floor {
            self.group(now, end.group).end = Some((end.object, publisher));
            self.set_absent(end, last);
        }
        Ok(Insert::New)
    }

    /// Nothing exists in the track from `end` on.
    fn set_track_end(&mut self, publisher: PublisherId, end: Location) -> Result<Insert, Malformed> {
        if let Some((known, contradicts)) = self.end {
            let wrong = Malformed { reason: MALFORMED_TWO_ENDS, contradicts };
            return if known == end { Ok(Insert::Duplicate) } else { Err(wrong) };
        }
        if let Some((_, stored)) = self.objects.range(end..).next() {
            return Err(Malformed { reason: MALFORMED_END_OF_TRACK, contradicts: stored.publisher });
        }
        self.end = Some((end, publisher));
        self.set_absent(end, LAST);
        Ok(Insert::New)
    }

    fn store(&mut self, now: Instant, publisher: PublisherId, object: &Object, priority: u8) {
        let stored = Stored {
            publisher,
            received: now,
            forwarding: object.forwarding,
            priority,
            properties: object.properties.clone(),
            payload: object.payload.clone(),
        };
        let cost = stored.cost();
        let group = self.group(now, object.location.group);
        group.bytes += cost;
        group.objects += 1;
        group.last_received = now;
        group.has_streams |= matches!(object.forwarding, Forwarding::Subgroup(_));
        self.objects.insert(object.location, stored);
        self.account.add(cost);
        self.gaps.came(object.location);
        self.trim();
    }

    fn group(&mut self, now: Instant, id: u64) -> &mut Group {
        let account = &mut self.account;
        self.groups.entry(id).or_insert_with(|| {
            account.add(GROUP_OVERHEAD_BYTES);
            Group { bytes: 0, objects: 0, last_received: now, end: None, has_streams: false }
        })
    }

    fn look_for_gaps(&mut self, now: Instant, publisher: PublisherId, object: &Object) {
        let location = object.location;
        let whole = (Location::new(location.group, 0), Location::new(location.group, u64::MAX));
        if object.forwarding != Forwarding::Datagram {
            self.gaps.close(whole.0, whole.1);
            return;
        }
        let Some((start, end)) = self.gaps.advance(publisher, location) else { return };
        let has_streams = |id| self.groups.get(&id).is_some_and(|group: &Group| group.has_streams);
        if has_streams(start.group) || has_streams(location.group) {
            return;
        }
        let mut position = Some(start);
        while let Some(start) = position.filter(|start| *start <= end) {
            let (unknown_end, next) = match self.first_known(start, end) {
                Some((known, known_end)) => (before(known), after(known_end)),
                None => (Some(end), None),
            };
            if let Some(unknown_end) = unknown_end.filter(|unknown_end| *unknown_end >= start) {
                self.gaps.notice(now, publisher, start, unknown_end);
            }
            position = next;
        }
    }

    /// The first run in `start..=end` of which something is known, inclusive.
    fn first_known(&self, start: Location, end: Location) -> Option<(Location, Location)> {
        let object = self.objects.range(start..=end).next().map(|(location, _)| (*location, *location));
        let absent = self.absent.around(start).map(|(_, absent_end)| (start, absent_end)).or_else(|| {
            let next = self.absent.next_start(start).filter(|next| *next <= end)?;
            self.absent.around(next)
        });
        match (object, absent) {
            (Some(object), Some(absent)) => Some(object.min(absent)),
            (object, absent) => object.or(absent),
        }
    }
}

impl Stored {
    /// Whether `object` is the same again (draft 9.1). Properties may differ, and the first ones stay, so that nobody
    /// can poison the cache.
    fn judge_duplicate(&self, object: &Object, priority: u8) -> Result<Insert, Malformed> {
        let is_same = self.forwarding == object.forwarding
            && self.priority == priority
            && self.payload == object.payload;
        let wrong = Malformed { reason: MALFORMED_DUPLICATE, contradicts: self.publisher };
        if is_same { Ok(Insert::Duplicate) } else { Err(wrong) }
    }
}
