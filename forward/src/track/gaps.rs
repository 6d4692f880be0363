//! What an uplink lost: missing objects of a track whose objects come as datagrams.

use std::time::{Duration, Instant};

use roundtable_moqt::{Location, fetch_stream::FetchItem};

use crate::track::{Insert, PublisherId, Track};

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
    /// Gaps remembered; beyond, the oldest are given up.
    pub gaps_max: usize,
    /// Groups that can be missing in a row; more is a publisher that starts anew.
    pub groups_max: u64,
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
            gaps_max: 64,
            groups_max: 256,
        }
    }
}

/// Names a gap within its track.
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

/// Takes in the answer to a FETCH that repairs a gap (ascending order).
#[derive(Debug)]
pub struct Repair {}

#[allow(unused_variables)]
impl Repair {
    /// The answer to a FETCH of `gap`.
    pub fn new(gap: Gap) -> Self {
        unimplemented!()
    }

    /// End Location and End Of Track of FETCH_OK, before or after the items.
    pub fn accepted(&mut self, end: Location, end_of_track: bool) {
        unimplemented!()
    }

    /// An item of the answer. `Some` for objects: a new one may be forwarded to subscribers too.
    pub fn item(&mut self, now: Instant, track: &mut Track, item: &FetchItem) -> Option<Insert> {
        unimplemented!()
    }

    /// The stream ended with FIN: what did not come does not exist.
    pub fn finished(self, now: Instant, track: &mut Track) {
        unimplemented!()
    }

    /// The FETCH was refused or its stream reset: what did not come stays unknown.
    pub fn failed(self, now: Instant, track: &mut Track) {
        unimplemented!()
    }
}
