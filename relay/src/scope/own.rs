//! The relay as a publisher of its own, in the namespace `relay`: JSON tracks, one message a group. They take the
//! same way as anybody's objects.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_forward::{
    PublisherId, Terms,
    queue::{Subgroup, UpstreamStream},
};
use roundtable_moqt::{FullTrackName, Location, Namespace, Object, PublishDoneCode, properties::Writer};

use super::{Scope, State};
use crate::{
    clock::UnixMs,
    fanout::Track,
    rights::RELAY_NAMESPACE,
    room::{LinkId, PublishOffer, SessionId},
};

/// The relay itself among the sessions of a scope.
pub(super) const RELAY: SessionId = SessionId(u64::MAX);

/// Longer than any meeting.
const AGE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A track of the relay's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTrack {
    /// Its name in the namespace `relay`.
    pub name: String,
    /// Publisher priority of its objects.
    pub priority: u8,
    /// Which of its messages can be fetched.
    pub keeps: Keeps,
}

/// How much of the past of a track can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The latest message: it says all there is to say.
    Latest,
    /// Every message for so long; `None`: for as long as the scope is there.
    All(Option<Duration>),
}

/// Those that are published in a scope.
#[derive(Debug, Default)]
pub(super) struct OwnTracks {
    by_name: BTreeMap<String, Published>,
    streams_made: u64,
}

#[derive(Debug)]
struct Published {
    link: LinkId,
    track: Arc<Track>,
    priority: u8,
    last_group: Option<u64>,
}

impl OwnTracks {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

impl Scope {
    /// Publishes a message on a track of the relay's own, which begins with it if need be. Without a `group` the
    /// message gets the next. Calls for one track must not cross.
    pub fn tell(&self, now: Instant, own: &OwnTrack, group: Option<u64>, message: impl Into<Bytes>) {
        let Some((link, track, upstream)) = self.begin_message(now, own, group) else { return };
        let publisher = PublisherId(link.0);
        let location = Location::new(upstream.subgroup.group, 0);
        // Neither can contradict what came before: every group is new, and has one object.
        let _ = track.publish_object(now, publisher, &upstream, Object::stream(location, message));
        let upstream = UpstreamStream { objects_before: 1, ..upstream };
        let _ = track.end_stream(now, publisher, &upstream, Some(location), None);
    }

    /// Publishes a track of the relay's own before there is anything to say on it.
    pub fn announce(&self, now: Instant, own: &OwnTrack) {
        self.state().ensure_own(now, own);
    }

    /// The track is no more.
    pub fn stop_telling(&self, now: Instant, name: &str) {
        let mut state = self.state();
        let Some(published) = state.own.by_name.remove(name) else { return };
        state.room.remove_upstream(now, published.link, PublishDoneCode::TrackEnded);
        state.carry_out(now);
    }

    fn begin_message(
        &self,
        now: Instant,
        own: &OwnTrack,
        group: Option<u64>,
    ) -> Option<(LinkId, Arc<Track>, UpstreamStream)> {
        let mut state = self.state();
        state.ensure_own(now, own);
        state.own.streams_made += 1;
        // Publishers' streams are counted from 0.
        let id = u64::MAX - state.own.streams_made;
        let published = state.own.by_name.get_mut(&own.name)?;
        let next = published.last_group.map_or(0, |last| last + 1);
        let group = group.unwrap_or_else(|| u64::try_from(UnixMs::now().0).unwrap_or(0)).max(next);
        published.last_group = Some(group);
        let subgroup = Subgroup {
            group,
            id: 0,
            priority: None,
            effective_priority: published.priority,
            ends_group: true,
            first_object: true,
            has_properties: false,
        };
        Some((
            published.link,
            Arc::clone(&published.track),
            UpstreamStream { id, subgroup, objects_before: 0 },
        ))
    }
}

impl State {
    fn ensure_own(&mut self, now: Instant, own: &OwnTrack) {
        if self.own.by_name.contains_key(&own.name) {
            return;
        }
        let name =
            Namespace::single(RELAY_NAMESPACE).map(|space| FullTrackName::new(space, own.name.clone()));
        let Ok(Ok(name)) = name else { return };
        self.room.join(RELAY);
        let accept = match self.room.publish(now, RELAY, PublishOffer { name, dynamic_groups: false }) {
            Ok(accept) => accept,
            Err(refusal) => {
                tracing::warn!(%refusal, "the relay cannot publish a track of its own");
                return;
            }
        };
        let (terms, properties) = own.describe();
        accept.track.describe(terms, properties, None);
        if let Keeps::All(_) = own.keeps {
            accept.track.keep_for(AGE_MAX);
        }
        let published =
            Published { link: accept.link, track: accept.track, priority: own.priority, last_group: None };
        self.own.by_name.insert(own.name.clone(), published);
        self.carry_out(now);
    }
}

impl OwnTrack {
    /// What it says about itself (draft 12).
    fn describe(&self) -> (Terms, Bytes) {
        const MAX_CACHE_DURATION: u64 = 0x04;
        const DEFAULT_PUBLISHER_PRIORITY: u64 = 0x0E;
        let mut properties = Writer::new();
        let cache_duration_max = match self.keeps {
            Keeps::All(span) => span,
            Keeps::Latest => None,
        };
        if let Some(span) = cache_duration_max {
            properties.integer(MAX_CACHE_DURATION, u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        }
        properties.integer(DEFAULT_PUBLISHER_PRIORITY, u64::from(self.priority));
        let terms = Terms { default_priority: self.priority, cache_duration_max, ..Terms::default() };
        (terms, properties.finish())
    }
}
