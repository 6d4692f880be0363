//! One track as a relay remembers it: its objects, what is known not to exist, its ends, and what its uplink lost.

mod audit;
mod evict;
mod fetch;
mod gaps;
mod insert;
mod ranges;
mod repair;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{Forwarding, Location, message::Filter};

pub use fetch::{Fetch, FetchCursor, Step};
pub use gaps::{Gap, GapId, GapLimits};
pub use insert::{Insert, Malformed};
pub use repair::Repair;

use crate::{Budget, Terms, Window, budget::Account, filter::InvalidRange};
use gaps::Gaps;
use ranges::{LAST, Ranges};

/// How much of a track is remembered, and for how long.
#[derive(Debug, Clone)]
pub struct CacheLimits {
    /// Bytes of all groups but the newest, bookkeeping included.
    pub bytes_max: usize,
    /// Bytes of the newest group, which is kept whole up to here; beyond, its start is given up.
    pub newest_group_bytes_max: usize,
    /// Objects, statuses and ranges that do not exist, together.
    pub entries_max: usize,
    /// How long a group is kept after its last object came, unless it is the newest.
    pub age_max: Duration,
    /// The uplink's gaps.
    pub gaps: GapLimits,
}

impl Default for CacheLimits {
    fn default() -> Self {
        CacheLimits {
            bytes_max: 8 << 20,
            newest_group_bytes_max: 4 << 20,
            entries_max: 16_384,
            age_max: Duration::from_secs(30),
            gaps: GapLimits::default(),
        }
    }
}

/// Names a publisher of the track, given out by the relay: one per upstream subscription, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublisherId(pub u64);

/// One track. Not behind a lock of its own, and without a clock.
#[derive(Debug)]
pub struct Track {
    limits: CacheLimits,
    terms: Terms,
    account: Account,
    objects: BTreeMap<Location, Stored>,
    /// Every group that has objects here, or whose end is known.
    groups: BTreeMap<u64, Group>,
    /// Known not to exist, the ends of groups and of the track included.
    absent: Ranges,
    /// Everything before is forgotten.
    floor: Location,
    largest: Option<Location>,
    /// END_OF_TRACK: nothing exists from here on, and who said so.
    end: Option<(Location, PublisherId)>,
    gaps: Gaps,
    counters: TrackCounters,
}

/// An object in the cache. Its location is the key.
#[derive(Debug)]
struct Stored {
    publisher: PublisherId,
    received: Instant,
    forwarding: Forwarding,
    /// With the track's default filled in.
    priority: u8,
    properties: Bytes,
    payload: Bytes,
}

#[derive(Debug)]
struct Group {
    bytes: usize,
    objects: u32,
    last_received: Instant,
    /// The first object id that does not exist, and who said so.
    end: Option<(u64, PublisherId)>,
    /// Objects came on subgroup streams: a missing object id need not be a lost datagram.
    has_streams: bool,
}

/// What an entry of a map costs beyond the bytes of the object, roughly.
const OBJECT_OVERHEAD_BYTES: usize = 256;
/// The same for a group.
const GROUP_OVERHEAD_BYTES: usize = 160;

impl Stored {
    fn cost(&self) -> usize {
        self.properties.len() + self.payload.len() + OBJECT_OVERHEAD_BYTES
    }
}

impl Track {
    /// A track nobody has published to yet.
    pub fn new(limits: CacheLimits, budget: &Budget, terms: Terms) -> Self {
        Track {
            gaps: Gaps::new(limits.gaps.clone()),
            limits,
            terms,
            account: budget.open(),
            objects: BTreeMap::new(),
            groups: BTreeMap::new(),
            absent: Ranges::default(),
            floor: Location::new(0, 0),
            largest: None,
            end: None,
            counters: TrackCounters::default(),
        }
    }

    /// How long a group is kept from now on, unless it is the newest.
    pub fn set_age_max(&mut self, age_max: Duration) {
        self.limits.age_max = age_max;
    }

    /// What the publisher says about the track; from SUBSCRIBE_OK, PUBLISH or FETCH_OK.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
    }

    /// See [`Self::set_terms`].
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Forgets what a publisher said about ends, and its gaps. What it sent stays.
    pub fn remove_publisher(&mut self, publisher: PublisherId) {
        self.gaps.remove_publisher(publisher);
        if let Some((location, _)) = self.end.take_if(|(_, who)| *who == publisher) {
            self.absent.remove(location, LAST);
            // Groups may have ended before on somebody else's word.
            for (id, group) in self.groups.range(location.group..) {
                if let Some((end, _)) = group.end {
                    self.absent.insert(Location::new(*id, end), Location::new(*id, u64::MAX));
                }
            }
        }
        for (id, group) in &mut self.groups {
            if let Some((end, _)) = group.end.take_if(|(_, who)| *who == publisher) {
                self.absent.remove(Location::new(*id, end), Location::new(*id, u64::MAX));
            }
        }
        if let Some((location, _)) = self.end {
            self.absent.insert(location, LAST);
        }
        // Cut to pieces, what does not exist takes more entries than before.
        self.trim();
    }

    /// The largest location of an object seen or heard of; statuses do not count.
    pub fn largest(&self) -> Option<Location> {
        self.largest
    }

    /// LARGEST_OBJECT of a message of the publisher.
    pub fn note_largest(&mut self, largest: Location) {
        self.largest = self.largest.max(Some(largest));
    }

    /// The window of a subscription's filter now (draft 5.1.2).
    pub fn window(&self, filter: Option<Filter>) -> Result<Window, InvalidRange> {
        let window = Window::new(filter, self.largest)?;
        let last = Location::new(window.end_group, u64::MAX);
        let has_ended = window.end_group < u64::MAX
            && self.largest.is_some_and(|largest| {
                largest.group == window.end_group
                    && largest.object.checked_add(1).is_none_or(|next| {
                        let rest = self.absent.around(Location::new(largest.group, next));
                        rest.is_some_and(|(_, end)| end >= last)
                    })
            });
        if has_ended { Err(InvalidRange) } else { Ok(window) }
    }

    /// Bytes a joiner would be sent to have `group` from its object 0 on; `None` when its start is not here, so
    /// that asking for a new group is the better way (docs/wire.md, "Joining").
    pub fn join_bytes(&self, group: u64) -> Option<usize> {
        let has_start = self.objects.contains_key(&Location::new(group, 0));
        let held = self.groups.get(&group).filter(|_| has_start)?;
        Some(held.bytes.saturating_sub(held.objects as usize * OBJECT_OVERHEAD_BYTES))
    }

    /// True when the object is in the cache.
    pub fn has(&self, location: Location) -> bool {
        self.objects.contains_key(&location)
    }

    /// Ranges to FETCH from their publishers now, each once: pass what comes back to [`Repair`].
    pub fn gaps(&mut self, now: Instant) -> Vec<Gap> {
        let objects = &self.objects;
        self.gaps.due(now, |start, end, max| objects.range(start..end).take(max).count())
    }

    /// When [`Self::gaps`] may have something new, if nothing is inserted before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.gaps.poll_timeout()
    }

    /// The publisher does not answer FETCH: its gaps are no longer reported.
    pub fn stop_repairs(&mut self, publisher: PublisherId) {
        self.gaps.silence(publisher);
    }

    /// Bytes held, bookkeeping included.
    pub fn bytes(&self) -> usize {
        self.account.bytes()
    }

    /// What happened that nobody was told about.
    pub fn counters(&self) -> TrackCounters {
        TrackCounters {
            gaps_asked: self.gaps.asked,
            gaps_closed_late: self.gaps.closed_late,
            gaps_given_up: self.gaps.given_up,
            ..self.counters
        }
    }

    fn set_absent(&mut self, start: Location, end: Location) {
        self.absent.insert(start.max(self.floor), end);
        self.gaps.close(start, end);
        self.trim();
    }

    fn give_up(&mut self, start: Location, end: Location) {
        self.gaps.close(start, end);
    }

    fn repaired(&mut self, gap: GapId) {
        self.gaps.resolved(gap);
    }

    fn repair_failed(&mut self, now: Instant, gap: GapId) {
        self.gaps.failed(now, gap);
    }
}

/// What happened in a track that nobody was told about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackCounters {
    /// Objects put in the cache.
    pub objects: u64,
    /// Seen before, dropped.
    pub duplicates: u64,
    /// Older than the cache.
    pub too_old: u64,
    /// Said not to exist before.
    pub absent: u64,
    /// Groups given up for age or bytes.
    pub groups_evicted: u64,
    /// Gaps reported to be asked for.
    pub gaps_asked: u64,
    /// Missing objects that came before they were asked for.
    pub gaps_closed_late: u64,
    /// Missing ranges that nobody could fill in time.
    pub gaps_given_up: u64,
}
