//! Takes in the answer to a FETCH that repairs a gap.

use std::time::Instant;

use roundtable_moqt::{Location, fetch_stream::FetchItem};

use crate::track::{
    Insert, Track,
    gaps::{Gap, last_of},
    ranges::{after, before},
};

/// The answer to a FETCH of a [`Gap`], ascending.
///
/// What the answer leaves out does not exist (draft 10.12.3), once FETCH_OK has told how far it goes and the stream
/// has ended with FIN.
#[derive(Debug)]
pub struct Repair {
    gap: Gap,
    /// Next location the answer can speak about; `None` past the last.
    position: Option<Location>,
    /// Last location asked for.
    last: Location,
    /// How far FETCH_OK says the answer goes.
    covered: Option<Location>,
}

impl Repair {
    /// The answer to a FETCH of `gap`.
    pub fn new(gap: Gap) -> Self {
        Repair { gap, position: Some(gap.start), last: last_of(gap.end), covered: None }
    }

    /// What is repaired.
    pub fn gap(&self) -> &Gap {
        &self.gap
    }

    /// End Location of FETCH_OK, before or after the items.
    pub fn accepted(&mut self, end: Location) {
        self.covered = Some(last_of(end));
    }

    /// An item of the answer. `Some` for objects: a new one may be forwarded to subscribers too. Objects nobody asked
    /// for are ignored.
    pub fn item(&mut self, now: Instant, track: &mut Track, item: &FetchItem) -> Option<Insert> {
        let location = match item {
            FetchItem::Object(object) => object.location,
            FetchItem::NonExistent(location) | FetchItem::Unknown(location) => *location,
        };
        let position = self.position.filter(|position| *position <= location)?;
        if position > self.last {
            return None;
        }
        self.position = after(location);
        let skipped = match item {
            FetchItem::Object(_) => before(location),
            FetchItem::NonExistent(_) | FetchItem::Unknown(_) => Some(location),
        };
        if let Some(end) = skipped.map(|end| end.min(self.last)).filter(|end| *end >= position) {
            match item {
                FetchItem::Unknown(_) => track.give_up(position, end),
                FetchItem::Object(_) | FetchItem::NonExistent(_) => track.set_absent(position, end),
            }
        }
        match item {
            FetchItem::Object(object) if location <= self.last => {
                Some(track.insert_fetched(now, self.gap.publisher, object))
            }
            _ => None,
        }
    }

    /// FETCH_OK has come and the stream has ended with FIN.
    pub fn finished(self, track: &mut Track) {
        if let (Some(position), Some(covered)) = (self.position, self.covered) {
            track.set_absent(position, covered.min(self.last));
        }
        track.repaired(self.gap.id);
    }

    /// The FETCH was refused or its stream reset: what did not come stays unknown, and is asked for once more or
    /// given up.
    pub fn failed(self, now: Instant, track: &mut Track) {
        track.repair_failed(now, self.gap.id);
    }
}
