//! One track as a relay remembers it: its objects, what is known not to exist, its ends, and what its uplink lost.

mod fetch;
mod gaps;
mod ranges;

use std::time::{Duration, Instant};

use roundtable_moqt::{Location, Object, message::Filter};

pub use fetch::{Fetch, FetchCursor, Step};
pub use gaps::{Gap, GapId, GapLimits, Repair};

use crate::{Budget, Terms, Window, filter::InvalidRange};

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

/// One track. Not behind a lock of its own, and without a clock.
#[derive(Debug)]
pub struct Track {}

#[allow(unused_variables)]
impl Track {
    /// A track nobody has published to yet.
    pub fn new(limits: CacheLimits, budget: &Budget, terms: Terms) -> Self {
        unimplemented!()
    }

    /// What the publisher says about the track; from SUBSCRIBE_OK, PUBLISH or FETCH_OK.
    pub fn set_terms(&mut self, terms: Terms) {
        unimplemented!()
    }

    /// See [`Self::set_terms`].
    pub fn terms(&self) -> &Terms {
        unimplemented!()
    }

    /// An object that came in a subscription, as a datagram or on a subgroup stream.
    ///
    /// The cache keeps the object's `Bytes` as they are, and with them whatever memory they are slices of: hand
    /// over the bytes that were built for forwarding rather than slices of a receive buffer.
    pub fn insert(&mut self, now: Instant, publisher: PublisherId, object: &Object) -> Insert {
        unimplemented!()
    }

    /// An object out of the answer to a FETCH: fills the cache, and says nothing about the live edge.
    pub fn insert_fetched(&mut self, now: Instant, publisher: PublisherId, object: &Object) -> Insert {
        unimplemented!()
    }

    /// FIN of a subgroup stream whose header has the END_OF_GROUP bit: the largest object that came on it is the
    /// group's last.
    pub fn end_group(&mut self, publisher: PublisherId, last: Location) -> Result<(), Malformed> {
        unimplemented!()
    }

    /// Forgets what a publisher said about ends, and its gaps. What it sent stays.
    pub fn remove_publisher(&mut self, publisher: PublisherId) {
        unimplemented!()
    }

    /// The largest location of an object seen or heard of; statuses do not count.
    pub fn largest(&self) -> Option<Location> {
        unimplemented!()
    }

    /// LARGEST_OBJECT of a message of the publisher.
    pub fn note_largest(&mut self, largest: Location) {
        unimplemented!()
    }

    /// The window of a subscription's filter now (draft 5.1.2).
    pub fn window(&self, filter: Option<Filter>) -> Result<Window, InvalidRange> {
        unimplemented!()
    }

    /// Bytes a joiner would be sent to have `group` from its object 0 on; `None` when its start is not here, so that
    /// asking for a new group is the better way (docs/wire.md, "Joining").
    pub fn join_bytes(&self, group: u64) -> Option<usize> {
        unimplemented!()
    }

    /// True when the object is in the cache.
    pub fn has(&self, location: Location) -> bool {
        unimplemented!()
    }

    /// Ranges to FETCH from their publishers now, each once: pass what comes back to [`Repair`].
    pub fn gaps(&mut self, now: Instant) -> Vec<Gap> {
        unimplemented!()
    }

    /// When [`Self::gaps`] may have something new, if nothing is inserted before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    /// The publisher does not answer FETCH: its gaps are no longer reported.
    pub fn stop_repairs(&mut self, publisher: PublisherId) {
        unimplemented!()
    }

    /// Begins to answer a FETCH. `start` and `end` as in the message (`end` is the last object plus one, or object 0
    /// for the whole group). Waits for repairs until `patience`.
    pub fn fetch(
        &self,
        start: Location,
        end: Location,
        order: roundtable_moqt::message::GroupOrder,
        patience: Instant,
    ) -> Result<Fetch, InvalidRange> {
        unimplemented!()
    }

    /// The next piece of a FETCH. Short: the lock around the track can be released between two calls.
    pub fn next(&self, cursor: &mut FetchCursor, now: Instant) -> Step {
        unimplemented!()
    }

    /// Gives up what is too old or over a limit. Call it about once a second.
    pub fn evict(&mut self, now: Instant) {
        unimplemented!()
    }

    /// Bytes held, bookkeeping included.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }

    /// What happened that nobody was told about.
    pub fn counters(&self) -> TrackCounters {
        unimplemented!()
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
    /// Gaps that closed without being asked for.
    pub gaps_closed_late: u64,
    /// Gaps nobody could fill.
    pub gaps_given_up: u64,
}
