//! Which subscriptions exist of a track, and what our own aliases stand for.

use std::collections::BTreeMap;

use crate::{
    message::{RequestId, TrackAlias},
    name::FullTrackName,
};

/// Subscriptions by track and role. At most one per role, but for a moment: a PUBLISH of the peer may meet our
/// unanswered SUBSCRIBE of the same track (draft 5.1).
#[derive(Debug, Default)]
pub(super) struct Tracks(BTreeMap<(FullTrackName, bool), Vec<RequestId>>);

impl Tracks {
    /// The subscriptions of a track in which we publish, or in which the peer does.
    pub(super) fn of(&self, track: &FullTrackName, we_publish: bool) -> &[RequestId] {
        self.0.get(&(track.clone(), we_publish)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn insert(&mut self, track: FullTrackName, we_publish: bool, request: RequestId) {
        self.0.entry((track, we_publish)).or_default().push(request);
    }

    pub(super) fn remove(&mut self, track: &FullTrackName, we_publish: bool, request: RequestId) {
        let key = (track.clone(), we_publish);
        if let Some(requests) = self.0.get_mut(&key) {
            requests.retain(|other| *other != request);
            if requests.is_empty() {
                self.0.remove(&key);
            }
        }
    }
}

/// The aliases we have given to tracks that we publish (draft 11.1).
#[derive(Debug, Default)]
pub(super) struct OurAliases(BTreeMap<TrackAlias, (FullTrackName, usize)>);

impl OurAliases {
    /// True when the alias can stand for this track.
    pub(super) fn can_name(&self, alias: TrackAlias, track: &FullTrackName) -> bool {
        self.0.get(&alias).is_none_or(|(named, _)| named == track)
    }

    pub(super) fn insert(&mut self, alias: TrackAlias, track: &FullTrackName) {
        self.0.entry(alias).or_insert_with(|| (track.clone(), 0)).1 += 1;
    }

    pub(super) fn remove(&mut self, alias: TrackAlias) {
        if let Some((_, uses)) = self.0.get_mut(&alias) {
            *uses -= 1;
            if *uses == 0 {
                self.0.remove(&alias);
            }
        }
    }
}
