//! A room as a value: who publishes what, who wants it, and what everybody must be told because of that.
//!
//! Calls come from sessions in any order; each changes the state and leaves [`Action`]s for sessions, its own
//! included, to be taken with [`Room::poll_action`]. No lock, no clock, no task, and no object: the data path
//! hangs one value of its own on each track (`T`), which the room makes and hands around.

mod action;
mod interest;
mod namespaces;
mod publishers;
mod subscribers;
mod tracks;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use roundtable_moqt::{FullTrackName, Namespace, message::RequestId};

pub use self::{
    action::{Action, Command},
    publishers::{PublishAccept, PublishOffer},
    subscribers::{SubscribeOffer, UpdateOffer},
};
use self::{interest::Interest, tracks::Track};

/// Names a session in the whole relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// Names one subscription between the room and a session, in either direction and whoever began it. The
/// session knows which of its requests it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// How much of everything a room takes on.
#[derive(Debug, Clone, Copy)]
pub struct RoomLimits {
    /// Tracks, ended ones included.
    pub tracks_max: usize,
    /// Different namespaces that are published.
    pub namespaces_max: usize,
    /// Tracks offered to one session because it asked for all of a prefix.
    pub offers_per_session_max: usize,
    /// Longest wait for a publisher.
    pub rendezvous_max: Duration,
    /// A publisher that is asked for a track answers within this time.
    pub upstream_wait_max: Duration,
    /// A SUBSCRIBE waits this long at most for a publisher to say where its track stands.
    pub forward_wait_max: Duration,
    /// A track that ended can be fetched this long.
    pub ended_track_age_max: Duration,
}

/// What a room keeps about a session.
#[derive(Debug, Default)]
struct Member {
    /// What it publishes, by request.
    namespaces: HashMap<RequestId, Namespace>,
    /// What it wants to hear of, by request.
    interests: HashMap<RequestId, Interest>,
    /// Its subscriptions in both directions.
    links: BTreeSet<LinkId>,
    /// Tracks offered to it that have not ended.
    offers: usize,
    /// It said GOAWAY: it is asked for nothing more.
    is_leaving: bool,
}

/// When something is over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A subscription has waited long enough.
    Waiting(LinkId),
    /// An ended track is forgotten.
    Ended(FullTrackName),
}

/// The state of one scope.
pub struct Room<T> {
    limits: RoomLimits,
    new_track: Box<dyn FnMut(&FullTrackName) -> T + Send>,
    members: HashMap<SessionId, Member>,
    /// Who publishes a namespace, in the order they came.
    publishers_by_namespace: BTreeMap<Namespace, Vec<SessionId>>,
    /// Who wants to hear of namespaces or tracks, by prefix.
    interested_by_prefix: BTreeMap<Namespace, Vec<(SessionId, RequestId)>>,
    tracks: BTreeMap<FullTrackName, Track<T>>,
    track_by_link: HashMap<LinkId, FullTrackName>,
    timers: BTreeSet<(Instant, Timer)>,
    links_made: u64,
    actions: VecDeque<Action<T>>,
}

impl<T> std::fmt::Debug for Room<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("members", &self.members.len())
            .field("tracks", &self.tracks.len())
            .finish_non_exhaustive()
    }
}

impl<T: Clone> Room<T> {
    /// An empty room. `new_track` makes what the data path keeps for a track each time the track begins.
    pub fn new(limits: RoomLimits, new_track: impl FnMut(&FullTrackName) -> T + Send + 'static) -> Self {
        Room {
            limits,
            new_track: Box::new(new_track),
            members: HashMap::new(),
            publishers_by_namespace: BTreeMap::new(),
            interested_by_prefix: BTreeMap::new(),
            tracks: BTreeMap::new(),
            track_by_link: HashMap::new(),
            timers: BTreeSet::new(),
            links_made: 0,
            actions: VecDeque::new(),
        }
    }

    /// A session comes in.
    pub fn join(&mut self, session: SessionId) {
        self.members.entry(session).or_default();
    }

    /// A session is gone, with all it published and wanted.
    pub fn leave(&mut self, now: Instant, session: SessionId) {
        let Some(member) = self.members.get(&session) else { return };
        let links: Vec<LinkId> = member.links.iter().copied().collect();
        let namespaces: Vec<RequestId> = member.namespaces.keys().copied().collect();
        let interests: Vec<RequestId> = member.interests.keys().copied().collect();
        // Namespaces first: the tracks it leaves behind must not be asked of it again.
        for request in interests {
            self.forget_interest(session, request);
        }
        for request in namespaces {
            self.unpublish_namespace(session, request);
        }
        for link in links {
            self.drop_link(now, link);
        }
        self.members.remove(&session);
    }

    /// The session said GOAWAY: what it serves goes on, but nothing new is asked of it.
    pub fn leaving(&mut self, session: SessionId) {
        if let Some(member) = self.members.get_mut(&session) {
            member.is_leaving = true;
        }
    }

    /// What to do next because of the calls so far.
    pub fn poll_action(&mut self) -> Option<Action<T>> {
        self.actions.pop_front()
    }

    /// When [`Room::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Ends what has waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, timer));
                return;
            }
            match timer {
                Timer::Waiting(link) => self.waited_long_enough(now, link),
                Timer::Ended(name) => self.forget_ended(&name, at),
            }
        }
    }

    /// Nobody is here and nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.tracks.is_empty()
    }

    /// The subscription has not ended.
    pub fn has_link(&self, link: LinkId) -> bool {
        self.track_by_link.contains_key(&link)
    }

    /// The publisher behind a subscription of ours.
    pub fn session_of(&self, link: LinkId) -> Option<SessionId> {
        let track = self.tracks.get(self.track_by_link.get(&link)?)?;
        track.upstreams.iter().find(|upstream| upstream.link == link).map(|upstream| upstream.session)
    }

    /// The data path's part of every track.
    pub fn tracks(&self) -> Vec<T> {
        self.tracks.values().map(|track| track.data.clone()).collect()
    }

    /// Sessions here.
    pub fn members_len(&self) -> usize {
        self.members.len()
    }

    /// Tracks known, ended ones included.
    pub fn tracks_len(&self) -> usize {
        self.tracks.len()
    }

    fn act(&mut self, session: SessionId, command: Command<T>) {
        self.actions.push_back(Action { session, command });
    }

    fn new_link(&mut self, session: SessionId, name: &FullTrackName) -> LinkId {
        let link = LinkId(self.links_made);
        self.links_made += 1;
        self.track_by_link.insert(link, name.clone());
        if let Some(member) = self.members.get_mut(&session) {
            member.links.insert(link);
        }
        link
    }

    fn forget_link(&mut self, session: SessionId, link: LinkId) {
        self.track_by_link.remove(&link);
        if let Some(member) = self.members.get_mut(&session) {
            member.links.remove(&link);
        }
    }
}

#[cfg(test)]
mod tests;
