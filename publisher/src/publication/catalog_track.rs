//! The track `catalog`: what there is, one snapshot a group, on streams.

use std::time::{Duration, Instant};

use roundtable_media::{
    catalog::{Catalog, CatalogTrack as Entry, Clock, Packaging},
    names::TrackName,
};
use roundtable_moqt::{
    FullTrackName, Location, Object, Session,
    message::{RequestId, TrackAlias},
};

use super::sending::{forwards, send_on_stream};
use crate::{history::History, track::MediaTrack};

/// Alias of the catalog; those of the media tracks follow.
pub(super) const CATALOG_ALIAS: TrackAlias = TrackAlias(0);

/// The snapshot, and who has it.
#[derive(Debug)]
pub(super) struct CatalogTrack {
    pub(super) full_name: FullTrackName,
    pub(super) content: Catalog,
    pub(super) subscription: Option<RequestId>,
    pub(super) history: History,
    /// The relay's subscription that the snapshot has been sent to.
    sent_to: Option<RequestId>,
}

impl CatalogTrack {
    pub(super) fn new(now: Instant, full_name: FullTrackName, content: Catalog, group: u64) -> Self {
        let priority = Some(TrackName::Catalog.priorities().base);
        let object = Object { priority, ..Object::stream(Location::new(group, 0), content.encode()) };
        let mut history = History::new(group);
        history.push(now, object);
        CatalogTrack { full_name, content, subscription: None, history, sent_to: None }
    }

    /// Sends the snapshot when somebody has come to want it.
    pub(super) fn send(&mut self, session: &mut Session) {
        let Some(request) = self.subscription.filter(|request| self.sent_to != Some(*request)) else {
            return;
        };
        if !session.subscription(request).is_some_and(forwards) {
            return;
        }
        self.sent_to = Some(request);
        if let Some(newest) = self.history.newest() {
            send_on_stream(session, Some(request), newest);
        }
    }

    /// Forgets the session.
    pub(super) fn detach(&mut self) -> Option<RequestId> {
        self.sent_to = None;
        self.subscription.take()
    }
}

/// The catalog of these tracks. `zero_unix_us` is the Unix time of time stamp 0.
pub(super) fn describe(
    tracks: &[MediaTrack],
    label: Option<&str>,
    zero_unix_us: Option<u64>,
    duration_and_bytes: Option<(Duration, u64)>,
    now_unix_ms: u64,
) -> Catalog {
    // Of the film as a whole, which is nearly all picture where there is one.
    let bitrate = duration_and_bytes
        .filter(|(duration, _)| !duration.is_zero())
        .map(|(duration, bytes)| (bytes as f64 * 8.0 / duration.as_secs_f64()) as u64);
    let has_video = tracks.iter().any(|track| track.name.is_video());
    let describe = |track: &MediaTrack| {
        let is_video = track.name.is_video();
        Entry {
            name: track.name.as_str().to_owned(),
            namespace: None,
            packaging: if is_video { Packaging::LocFragments } else { Packaging::Loc },
            is_live: true,
            format: track.format.clone(),
            bitrate: bitrate.filter(|_| is_video == has_video).unwrap_or(0),
            alt_group: None,
            render_group: Some(1),
            temporal_layers: 1,
            clock: Clock::Media { zero_unix_us },
            label: label.map(str::to_owned),
        }
    };
    Catalog {
        generated_at_ms: Some(now_unix_ms),
        is_complete: false,
        tracks: tracks.iter().map(describe).collect(),
        ignored: Vec::new(),
    }
}
