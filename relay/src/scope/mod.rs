//! One scope and those who are in it: the room's state, and what it takes to carry out its actions.

mod name;
mod own;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use roundtable_forward::Terms;
use roundtable_moqt::{
    FullTrackName, Location, Parameters, PublishDoneCode, RequestErrorCode, message::RequestError,
};

use self::own::{OwnTracks, RELAY};
pub use self::{
    name::{ID_BYTES_MAX, ScopeName, is_id, token_of_query},
    own::{Keeps, OwnTrack},
};

use crate::{
    counters::Counters,
    fanout::{Subscriber, Track},
    refusal::Refusal,
    room::{
        Action, Command, LinkId, PublishAccept, PublishOffer, Room, RoomLimits, SessionId, SubscribeOffer,
        UpdateOffer,
    },
    session::{Handle, Order},
};

/// A scope that somebody is in.
#[derive(Debug)]
pub struct Scope {
    name: ScopeName,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    room: Room<Arc<Track>>,
    handles: HashMap<SessionId, Arc<Handle>>,
    /// Every subscription that is served or waits for it, and its track once it is served.
    subscriptions: HashMap<LinkId, (Arc<Subscriber>, Option<Arc<Track>>)>,
    /// What the relay itself publishes here.
    own: OwnTracks,
}

/// What a publisher says about its track.
#[derive(Debug, Clone)]
pub struct Description {
    /// What the relay acts upon.
    pub terms: Terms,
    /// All of it.
    pub properties: Bytes,
    /// LARGEST_OBJECT.
    pub largest: Option<Location>,
}

impl Scope {
    /// An empty one.
    pub fn new(
        name: ScopeName,
        limits: RoomLimits,
        new_track: impl FnMut(&FullTrackName) -> Arc<Track> + Send + 'static,
    ) -> Self {
        let room = Room::new(limits, new_track);
        let state =
            State { room, handles: HashMap::new(), subscriptions: HashMap::new(), own: OwnTracks::default() };
        Scope { name, state: Mutex::new(state) }
    }

    /// Its name.
    pub fn name(&self) -> &ScopeName {
        &self.name
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the room, and carries out what follows from it.
    pub fn with<R>(&self, now: Instant, change: impl FnOnce(&mut Room<Arc<Track>>) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state.room);
        state.carry_out(now);
        result
    }

    /// A session comes in. False when there are `sessions_max` already.
    pub fn join(&self, session: SessionId, handle: Arc<Handle>, sessions_max: usize) -> bool {
        let mut state = self.state();
        if state.handles.len() >= sessions_max {
            return false;
        }
        state.room.join(session);
        state.handles.insert(session, handle);
        true
    }

    /// A session is gone.
    pub fn leave(&self, now: Instant, session: SessionId) {
        let mut state = self.state();
        state.handles.remove(&session);
        state.room.leave(now, session);
        state.carry_out(now);
        let State { room, subscriptions, .. } = &mut *state;
        let gone: Vec<LinkId> = subscriptions.keys().copied().filter(|link| !room.has_link(*link)).collect();
        for link in gone {
            state.detach(link);
        }
    }

    /// Nobody is here and nothing is kept but what the relay itself tells.
    pub fn is_empty(&self) -> bool {
        let state = self.state();
        state.handles.is_empty() && state.room.tracks_len() <= state.own.len()
    }

    /// What a session may do has changed: it is offered what it may see now. What it may not see any more is its own
    /// task's to end.
    pub fn rights_changed(&self, now: Instant, session: SessionId) {
        self.with(now, |room| room.offer_again(now, session));
    }

    /// Tells everybody here something.
    pub fn tell_all(&self, order: impl Fn() -> Order) {
        for handle in self.state().handles.values() {
            handle.send(order());
        }
    }

    /// What is due by time alone, caches included. Returns how many tracks are known.
    pub fn tend(&self, now: Instant) -> u64 {
        let tracks = {
            let mut state = self.state();
            state.room.handle_timeout(now);
            state.carry_out(now);
            state.room.tracks()
        };
        for track in &tracks {
            track.evict(now);
        }
        tracks.len() as u64
    }

    /// Adds to the relay's counters what everybody's queue did.
    pub fn report(&self, counters: &Counters) {
        let handles: Vec<Arc<Handle>> = self.state().handles.values().cloned().collect();
        for handle in handles {
            handle.outlet.report(counters);
        }
    }

    /// When something is due, for those who wait.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.state().room.poll_timeout()
    }

    // ---- publishers

    /// PUBLISH.
    pub fn publish(
        &self,
        now: Instant,
        session: SessionId,
        name: FullTrackName,
        description: Description,
    ) -> Result<PublishAccept<Arc<Track>>, Refusal> {
        let mut state = self.state();
        let offer = PublishOffer { name, dynamic_groups: description.terms.dynamic_groups };
        let accept = state.room.publish(now, session, offer)?;
        // Whoever is answered or offered the track because of this must see what it is.
        accept.track.describe(description.terms, description.properties, description.largest);
        state.carry_out(now);
        Ok(accept)
    }

    /// SUBSCRIBE_OK of a publisher.
    pub fn upstream_accepted(&self, now: Instant, link: LinkId, track: &Track, description: Description) {
        let dynamic_groups = description.terms.dynamic_groups;
        track.describe(description.terms, description.properties, description.largest);
        self.with(now, |room| room.upstream_accepted(now, link, dynamic_groups));
    }

    // ---- subscribers

    /// SUBSCRIBE. The answer is an order to the session, also when it comes at once.
    pub fn subscribe(
        &self,
        now: Instant,
        session: SessionId,
        handle: &Handle,
        name: &FullTrackName,
        parameters: Parameters,
    ) -> Result<Arc<Subscriber>, Refusal> {
        let mut state = self.state();
        let largest_group =
            state.room.track(name).and_then(|track| track.largest()).map(|largest| largest.group);
        let offer = SubscribeOffer {
            name: name.clone(),
            forward: parameters.forward.unwrap_or(true),
            rendezvous: std::time::Duration::from_millis(parameters.rendezvous_timeout_ms.unwrap_or(0)),
            new_group: parameters.new_group_request,
            largest_group,
        };
        let link = state.room.subscribe(now, session, offer)?;
        let subscriber = Arc::new(Subscriber::new(link, Arc::clone(&handle.outlet), parameters));
        state.subscriptions.insert(link, (Arc::clone(&subscriber), None));
        state.carry_out(now);
        Ok(subscriber)
    }

    /// A subscription changes. Its parameters have been taken over.
    pub fn update_subscription(
        &self,
        now: Instant,
        link: LinkId,
        forward: Option<bool>,
        new_group: Option<u64>,
    ) {
        let mut state = self.state();
        let track = state.subscriptions.get(&link).and_then(|(_, track)| track.clone());
        let largest_group = track.and_then(|track| track.largest()).map(|largest| largest.group);
        state.room.update_subscription(now, link, UpdateOffer { forward, new_group, largest_group });
        state.carry_out(now);
    }

    /// The subscriber wants no more.
    pub fn unsubscribe(&self, now: Instant, link: LinkId) {
        let mut state = self.state();
        state.detach(link);
        state.room.unsubscribe(now, link);
        state.carry_out(now);
    }

    // ---- FETCH and TRACK_STATUS

    /// A track to FETCH from, with those who may have what the cache does not; made if a publisher could be asked.
    pub fn fetchable(
        &self,
        now: Instant,
        name: &FullTrackName,
    ) -> Result<(Arc<Track>, Vec<SessionId>), Refusal> {
        let mut state = self.state();
        let sources = state.room.fetch_sources(name);
        match state.room.track(name) {
            Some(track) => Ok((track, sources)),
            None if sources.is_empty() => {
                Err(Refusal::new(RequestErrorCode::DoesNotExist, "nobody publishes this track"))
            }
            None => state.room.track_to_fetch(now, name).map(|track| (track, sources)),
        }
    }

    /// The track, while somebody publishes it; else whom to ask about it.
    pub fn status(&self, name: &FullTrackName) -> Result<Arc<Track>, Vec<SessionId>> {
        let state = self.state();
        match state.room.track(name) {
            Some(track) if state.room.is_live(name) => Ok(track),
            _ => Err(state.room.publishers_of(name.namespace())),
        }
    }

    /// Leaves a session something to do. False when it is gone.
    pub fn order(&self, session: SessionId, order: Order) -> bool {
        let handle = self.state().handles.get(&session).cloned();
        handle.is_some_and(|handle| handle.send(order))
    }

    /// The same, to the session that a link belongs to.
    pub fn order_by_link(&self, link: LinkId, order: Order) -> bool {
        let session = self.state().room.session_of(link);
        session.is_some_and(|session| self.order(session, order))
    }
}

impl State {
    /// Carries out what the room wants done: what belongs to the data path at once, the rest by the sessions.
    fn carry_out(&mut self, now: Instant) {
        while let Some(Action { session, command }) = self.room.poll_action() {
            let order = match command {
                Command::AcceptSubscribe { link, track } => self.accept_subscribe(now, link, track),
                Command::Offer { link, name, track, forward } => {
                    let order = self.offer(session, link, name, track, forward);
                    if order.is_none() {
                        self.room.unsubscribe(now, link);
                    }
                    order
                }
                Command::EndSubscription { link, code } => {
                    // What is queued for it still goes out: the session keeps the subscriber until then.
                    self.detach(link);
                    Some(Order::EndSubscription { link, code })
                }
                Command::RefuseSubscribe { link, error } => {
                    self.detach(link);
                    Some(Order::RefuseSubscribe { link, error })
                }
                Command::SubscribeUpstream { link, name, track, new_group } => {
                    Some(Order::SubscribeUpstream { link, name, track, new_group })
                }
                Command::UpdateUpstream { link, .. } if session == RELAY => {
                    // The relay tells whether anybody listens or not.
                    self.room.upstream_updated(now, link);
                    None
                }
                Command::UpdateUpstream { link, forward, new_group } => {
                    Some(Order::UpdateUpstream { link, forward, new_group })
                }
                Command::CancelUpstream { link } => Some(Order::CancelUpstream { link }),
                Command::PublishBlocked { request, name } => Some(Order::PublishBlocked { request, name }),
                Command::Namespace { request, namespace } => Some(Order::Namespace { request, namespace }),
                Command::NamespaceDone { request, namespace } => {
                    Some(Order::NamespaceDone { request, namespace })
                }
            };
            if let (Some(order), Some(handle)) = (order, self.handles.get(&session)) {
                handle.send(order);
            }
        }
    }

    /// From here on objects are for this subscriber, though it is only told when its session gets to it.
    fn accept_subscribe(&mut self, now: Instant, link: LinkId, track: Arc<Track>) -> Option<Order> {
        let (subscriber, place) = self.subscriptions.get_mut(&link)?;
        match track.attach(subscriber) {
            Ok(joined) => {
                *place = Some(Arc::clone(&track));
                Some(Order::AcceptSubscribe { link, track, largest: joined.largest })
            }
            Err(reason) => {
                self.subscriptions.remove(&link);
                self.room.unsubscribe(now, link);
                let error = RequestError::new(RequestErrorCode::InvalidRange, reason.to_string());
                Some(Order::RefuseSubscribe { link, error })
            }
        }
    }

    fn offer(
        &mut self,
        session: SessionId,
        link: LinkId,
        name: FullTrackName,
        track: Arc<Track>,
        forward: bool,
    ) -> Option<Order> {
        let handle = self.handles.get(&session)?;
        // Not everything of a prefix is for everybody.
        handle.rights().may_see(&name).ok()?;
        let outlet = Arc::clone(&handle.outlet);
        let parameters = Parameters { forward: Some(forward), ..Parameters::default() };
        let subscriber = Arc::new(Subscriber::new(link, outlet, parameters));
        let joined = track.attach(&subscriber).ok()?;
        self.subscriptions.insert(link, (Arc::clone(&subscriber), Some(Arc::clone(&track))));
        Some(Order::Offer { link, name, track, subscriber, forward, largest: joined.largest })
    }

    fn detach(&mut self, link: LinkId) {
        if let Some((subscriber, Some(track))) = self.subscriptions.remove(&link) {
            track.detach(&subscriber);
        }
    }
}

/// How a track ended upstream, as its subscribers are told.
pub fn end_code(upstream: PublishDoneCode) -> PublishDoneCode {
    match upstream {
        PublishDoneCode::MalformedTrack => PublishDoneCode::MalformedTrack,
        // Whatever the publisher's reason concerned was between it and us.
        _ => PublishDoneCode::TrackEnded,
    }
}
