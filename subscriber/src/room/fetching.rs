//! One FETCH on its way: what its answer says about each location (draft 11.4.4).

use std::time::Instant;

use roundtable_media::{
    gaps::Answer,
    reassemble::{Reassembler, Source},
};
use roundtable_moqt::{fetch_stream::FetchItem, message::FetchOk, object::Location};

/// Follows the answer to an ascending FETCH.
#[derive(Debug)]
pub(super) struct Fetching {
    /// The first location nothing has been said about; `None` until the start of a joining FETCH is known.
    next: Option<Location>,
    end: Option<Location>,
    has_unknown: bool,
}

impl Fetching {
    /// A FETCH from here on.
    pub(super) fn from(start: Option<Location>) -> Self {
        Fetching { next: start, end: None, has_unknown: false }
    }

    /// FETCH_OK says how far the answer reaches.
    pub(super) fn accepted(&mut self, ok: &FetchOk) {
        self.end = Some(match ok.end.object.checked_sub(1) {
            Some(last) => Location::new(ok.end.group, last),
            None => Location::new(ok.end.group, u64::MAX),
        });
    }

    /// The next item. What the answer passes over does not exist.
    pub(super) fn item(&mut self, now: Instant, item: &FetchItem, track: &mut Reassembler) {
        match item {
            FetchItem::Object(object) => {
                self.absent_before(object.location, track);
                track.insert(now, object, Source::Fetch);
                self.next = Some(after(object.location));
            }
            FetchItem::NonExistent(end) => {
                if let Some(next) = self.next {
                    track.note_absent(next, *end);
                }
                self.next = Some(after(*end));
            }
            FetchItem::Unknown(end) => {
                self.has_unknown |= self.next.is_some();
                self.next = Some(after(*end));
            }
        }
    }

    fn absent_before(&self, location: Location, track: &mut Reassembler) {
        let Some(next) = self.next.filter(|next| *next < location) else { return };
        let last = match location.object.checked_sub(1) {
            Some(object) => Location::new(location.group, object),
            None => Location::new(location.group.saturating_sub(1), u64::MAX),
        };
        track.note_absent(next, last);
    }

    /// The stream has ended; `is_whole` when by FIN.
    pub(super) fn ended(&self, is_whole: bool, track: &mut Reassembler) -> Answer {
        if !is_whole {
            return Answer::Incomplete;
        }
        if let (Some(next), Some(end)) = (self.next, self.end)
            && next <= end
        {
            track.note_absent(next, end);
        }
        if self.has_unknown { Answer::Incomplete } else { Answer::Complete }
    }
}

fn after(location: Location) -> Location {
    match location.object.checked_add(1) {
        Some(object) => Location::new(location.group, object),
        None => Location::new(location.group.saturating_add(1), 0),
    }
}
