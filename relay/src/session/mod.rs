//! One session of the relay: what its peer asks, what the room wants of it, and what waits for it.
//!
//! - [`Peer`]: the [`App`] on a session; each half of what it does has a file.
//! - [`Handle`], [`Order`]: how others reach it.

mod answer;
mod discovery;
mod fill;
mod handle;
mod publisher;
mod repair;
mod rights;
mod streams;
mod subscriber;

use std::{
    collections::HashMap,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use roundtable_moqt::{
    Event, ObjectDatagram, SessionError,
    message::{Request, RequestError, RequestId, Setup},
};
use roundtable_transport::{App, Io};

use self::{
    answer::Answers, publisher::Publications, repair::Repairs, streams::StreamsOut, subscriber::Subscriptions,
};
pub use self::{
    fill::Fill,
    handle::{Handle, Order},
};
use crate::{
    clock::UnixMs,
    meeting::Place,
    refusal::Refusal,
    relay::{Admission, Relay},
    room::LinkId,
    scope::{Scope, ScopeName},
};

/// Orders carried out in one turn.
const ORDERS_PER_TURN: usize = 256;

/// The relay's side of one session.
#[derive(Debug)]
pub struct Peer {
    relay: Arc<Relay>,
    handle: Arc<Handle>,
    admission: Admission,
    /// `None` until the peer has said in SETUP who it is, and in raw QUIC where it wants to.
    scope: Option<Arc<Scope>>,
    /// Whose the session is.
    place: Option<Place>,
    /// Tracks of which the peer sends objects.
    publications: Publications,
    /// Tracks of which we send objects.
    subscriptions: Subscriptions,
    streams: StreamsOut,
    /// FETCHes of the peer.
    answers: Answers,
    /// FETCHes of ours.
    repairs: Repairs,
    /// TRACK_STATUS that we passed on to the peer, and whose they are.
    statuses: HashMap<RequestId, (crate::room::SessionId, RequestId)>,
    room_timeout: Option<Instant>,
    waker: Waker,
}

impl Peer {
    pub(crate) fn new(relay: Arc<Relay>, handle: Arc<Handle>, admission: Admission) -> Self {
        Peer {
            relay,
            handle,
            admission,
            scope: None,
            place: None,
            publications: Publications::default(),
            subscriptions: Subscriptions::default(),
            streams: StreamsOut::default(),
            answers: Answers::default(),
            repairs: Repairs::default(),
            statuses: HashMap::new(),
            room_timeout: None,
            waker: Waker::noop().clone(),
        }
    }

    /// The session is over: what it published ends, what it wanted is forgotten.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.reset_streams_in(now);
        self.fail_repairs(now);
        self.forget_requests();
        if let Some(place) = self.place.take() {
            self.relay.meetings.left(UnixMs::now(), &place, &self.handle);
        }
        if let Some(scope) = self.scope.take() {
            scope.leave(now, self.handle.id);
            self.relay.left(&scope);
        }
    }

    /// SETUP has come, and with it all there is to decide on.
    fn ready(&mut self, io: &mut Io<'_>, setup: &Setup) {
        let Admission { scope, token } = std::mem::take(&mut self.admission);
        let target = match scope {
            Some(scope) => Some((scope, token)),
            None => setup.path.as_deref().and_then(ScopeName::from_path_and_query),
        };
        let Some((name, token_of_path)) = target else {
            io.session.close(SessionError::InvalidPath, "the path names no room");
            return;
        };
        let token = self::rights::token(&setup.authorization_tokens).or(token_of_path);
        let now = UnixMs::now();
        let admitted = match self.relay.meetings.admit(now, &name, token.as_deref()) {
            Ok(admitted) => admitted,
            Err(denied) => {
                tracing::debug!(reason = %denied, "not admitted");
                self.relay.counters.sessions_refused.increment();
                io.session.close(denied.code(), &denied.to_string());
                return;
            }
        };
        self.handle.set_rights(admitted.rights);
        let Some(scope) = self.relay.enter(&name, &self.handle) else {
            io.session.close(SessionError::InternalError, "the room is full");
            return;
        };
        tracing::info!(scope = %name, "joined");
        if let Some(place) = &admitted.place {
            self.relay.meetings.entered(now, place, &scope, &self.handle);
        }
        self.place = admitted.place;
        self.scope = Some(scope);
    }

    fn refuse(&self, io: &mut Io<'_>, request: RequestId, refusal: impl Into<RequestError>) {
        self.relay.counters.requests_refused.increment();
        // Fails only when the request is gone.
        let _ = io.session.reject(request, refusal.into());
    }

    /// Every request of the peer comes by here, and nothing else decides what it may do.
    fn request(&mut self, io: &mut Io<'_>, id: RequestId, request: Request) {
        self.relay.counters.requests_total.increment();
        let Some(scope) = self.scope.clone() else {
            self.refuse(io, id, Refusal::internal());
            return;
        };
        let allowed = self.handle.rights().check(&request);
        let result = allowed.and_then(|()| match request {
            Request::Publish(publish) => self.published(io, &scope, id, publish),
            Request::Subscribe(subscribe) => self.subscribed(io, &scope, id, subscribe),
            Request::TrackStatus(subscribe) => self.status_asked(io, &scope, id, &subscribe),
            Request::PublishNamespace(request) => self.namespace_published(io, &scope, id, request),
            Request::SubscribeNamespace(request) => self.namespaces_wanted(io, &scope, id, request),
            Request::SubscribeTracks(request) => self.tracks_wanted(io, &scope, id, request),
            Request::Fetch(_) => Ok(()),
        });
        if let Err(error) = result {
            self.refuse(io, id, error);
        }
        self.room_timeout = scope.poll_timeout();
    }

    fn order(&mut self, io: &mut Io<'_>, order: Order) {
        match order {
            Order::SubscribeUpstream { link, name, track, new_group } => {
                self.subscribe_upstream(io, link, name, track, new_group);
            }
            Order::UpdateUpstream { link, forward, new_group } => {
                self.update_upstream(io, link, forward, new_group);
            }
            Order::CancelUpstream { link } => self.cancel_upstream(io, link),
            Order::Repair { link, gap } => self.repair(io, link, gap),
            Order::Fill(fill) => self.fill(io, fill),
            Order::AskStatus { name, asker, request } => self.ask_status(io, name, asker, request),
            Order::AcceptSubscribe { link, track, largest } => {
                self.accept_subscribe(io, link, &track, largest);
            }
            Order::RefuseSubscribe { link, error } => self.refuse_subscribe(io, link, error),
            Order::Offer { link, name, track, subscriber, forward, largest } => {
                self.offer(io, link, name, track, subscriber, forward, largest);
            }
            Order::EndSubscription { link, code } => self.end_subscription(io, link, code),
            // These three fail only when the request is gone.
            Order::PublishBlocked { request, name } => {
                let _ = io.session.publish_blocked(request, &name);
            }
            Order::Namespace { request, namespace } => {
                let _ = io.session.namespace(request, &namespace);
            }
            Order::NamespaceDone { request, namespace } => {
                let _ = io.session.namespace_done(request, &namespace);
            }
            Order::AnswerStatus { request, answer } => match answer {
                Ok(answer) => drop(io.session.accept(request, answer)),
                Err(error) => self.refuse(io, request, error),
            },
            Order::RightsChanged => self.rights_changed(io),
            // A session that has said so before says it once.
            Order::GoAway { uri, timeout } => drop(io.session.go_away(io.now, &uri, timeout)),
            Order::Close { code, reason } => io.session.close(code, reason),
        }
    }

    /// A peer that does not read its control messages would have them pile up here.
    fn watch_control(&self, io: &mut Io<'_>) {
        let unsent = io.streams.unsent_bytes_total();
        let is_overloaded = self.handle.has_overflowed()
            || unsent > self.relay.limits.control_bytes_max
                && unsent - self.data_bytes(io) > self.relay.limits.control_bytes_max;
        if is_overloaded && !io.session.is_closed() {
            self.relay.counters.sessions_overloaded.increment();
            io.session.close(SessionError::ControlMessageTimeout, "control messages are not read");
        }
    }

    /// What a link of ours is called in the session.
    fn upstream_request(&self, link: LinkId) -> Option<RequestId> {
        self.publications.request_of(link)
    }
}

impl App for Peer {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        match event {
            Event::Ready(setup) => self.ready(io, &setup),
            Event::Subscribe(id, subscribe) => self.request(io, id, Request::Subscribe(subscribe)),
            Event::Publish(id, publish) => self.request(io, id, Request::Publish(publish)),
            Event::TrackStatus(id, subscribe) => self.request(io, id, Request::TrackStatus(subscribe)),
            Event::PublishNamespace(id, request) => self.request(io, id, Request::PublishNamespace(request)),
            Event::SubscribeNamespace(id, request) => {
                self.request(io, id, Request::SubscribeNamespace(request));
            }
            Event::SubscribeTracks(id, request) => self.request(io, id, Request::SubscribeTracks(request)),
            Event::Fetch(id, fetch) => self.fetch_asked(io, id, fetch),
            Event::Update { request, update, parameters } => self.updated(io, request, update, parameters),
            Event::Cancelled { request, .. } => self.cancelled(io, request),

            Event::SubscribeAccepted(id, ok) => self.upstream_accepted(io, id, ok),
            Event::Accepted(id, ok) => self.accepted(io, id, ok),
            Event::Refused(id, error) => self.refused(io, id, error),
            Event::PublishDone(id, done) => self.publish_done(io, id, &done),
            Event::SubgroupOpened { request, stream, header } => {
                self.stream_opened(io, request, stream, &header);
            }
            Event::Object { stream, object, .. } => self.stream_object(io, stream, object),
            Event::SubgroupEnded { stream, reset, .. } => self.stream_ended(io, stream, reset),
            Event::Datagram(request, datagram) => self.datagram(request, datagram),

            Event::FetchAccepted(id, ok) => self.fetch_accepted(id, &ok),
            Event::FetchItem(id, item) => self.fetch_item(io, id, item),
            Event::FetchEnded { request, reset } => self.fetch_ended(io, request, reset.is_none()),

            Event::StreamStopped { request, stream, .. } => self.stream_stopped(request, stream),
            Event::GoAway(None, _) => {
                if let Some(scope) = &self.scope {
                    scope.with(io.now, |room| room.leaving(self.handle.id));
                }
            }
            // A client has nowhere else to send us; the request goes on until it ends it.
            Event::GoAway(Some(_), _) => {}
            // The relay asks nobody for namespaces or tracks.
            Event::Namespace(..) | Event::NamespaceDone(..) | Event::PublishBlocked(..) => {}
            Event::Closed { .. } => {
                let dropped = io.session.counters().datagrams_unknown_alias;
                self.relay.counters.datagrams_unknown_alias.add(dropped);
            }
        }
    }

    fn handle_datagram(&mut self, _io: &mut Io<'_>, request: RequestId, datagram: ObjectDatagram) {
        self.datagram(request, datagram);
    }

    fn datagrams_drained(&mut self, io: &mut Io<'_>) {
        self.flush_datagrams(io);
    }

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        if !self.waker.will_wake(cx.waker()) {
            self.waker = cx.waker().clone();
        }
        self.handle.outlet.register(cx.waker());
        // Answers of the turn before are on their way.
        self.release_objects(io);
        // 1. What the room wants, before objects that depend on it.
        for _ in 0..ORDERS_PER_TURN {
            let Some(order) = self.handle.take() else { break };
            self.order(io, order);
        }
        // 2. Datagrams that waited for their alias.
        self.flush_datagrams(io);
        // 3. What waits for this peer: datagrams before streams, live objects before past ones.
        self.send_datagrams(cx, io);
        self.send_streams(io);
        self.send_answers(io);
        self.finish_subscriptions(io);
        self.watch_control(io);
        // 4. Orders beyond the bound come in the next turn, after other sessions' tasks.
        if self.handle.has_orders() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [
            self.room_timeout,
            self.publications.poll_timeout(),
            self.subscriptions.poll_timeout(),
            self.answers.poll_timeout(),
            self.streams.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_timeout(&mut self, io: &mut Io<'_>) {
        if let Some(scope) = self.scope.clone()
            && self.room_timeout.is_some_and(|at| at <= io.now)
        {
            scope.with(io.now, |room| room.handle_timeout(io.now));
            self.room_timeout = scope.poll_timeout();
        }
        self.publications_timeout(io);
        // Answers, endings and streams are looked at in `poll`, which follows in the same turn.
    }
}

/// Longer than any deadline of a peer that still counts.
const FAR: Duration = Duration::from_secs(3600);

/// A time-out in milliseconds as a peer gives it, bounded.
fn bounded(ms: u64, max: Duration) -> Duration {
    Duration::from_millis(ms).min(max).min(FAR)
}
