//! The peer as a subscriber: the tracks it gets, because it asked for them or for all of a prefix.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use roundtable_forward::SubscriptionKey;
use roundtable_moqt::{
    FullTrackName, Location, Parameters, PublishDoneCode, RequestErrorCode,
    message::{Publish, RequestError, RequestId, RequestOk, Subscribe, SubscribeOk},
};
use roundtable_transport::Io;

use super::{Order, Peer};
use crate::{
    fanout::{Subscriber, Track},
    refusal::Refusal,
    room::{LinkId, SessionId},
    scope::Scope,
};

/// How long what is queued may take once its track has ended.
const FINISH_WAIT_MAX: Duration = Duration::from_secs(5);

/// Tracks of which we send objects to the peer.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_request: HashMap<RequestId, Subscription>,
    request_by_link: HashMap<LinkId, RequestId>,
    request_by_key: HashMap<SubscriptionKey, RequestId>,
    /// Their answers have been handed over; objects follow in the next turn, so that the answers leave first.
    answered: Vec<RequestId>,
    /// Their tracks have ended; what is queued still goes out.
    ending: Vec<RequestId>,
}

#[derive(Debug)]
struct Subscription {
    name: FullTrackName,
    subscriber: Arc<Subscriber>,
    /// `None` while the answer is open.
    track: Option<Arc<Track>>,
    end: Option<(PublishDoneCode, Instant)>,
}

impl Subscriptions {
    fn insert(
        &mut self,
        request: RequestId,
        name: FullTrackName,
        subscriber: Arc<Subscriber>,
        track: Option<Arc<Track>>,
    ) {
        self.request_by_link.insert(subscriber.link, request);
        self.request_by_key.insert(subscriber.key, request);
        self.by_request.insert(request, Subscription { name, subscriber, track, end: None });
    }

    fn remove(&mut self, request: RequestId) -> Option<Subscription> {
        let subscription = self.by_request.remove(&request)?;
        self.request_by_link.remove(&subscription.subscriber.link);
        self.request_by_key.remove(&subscription.subscriber.key);
        Some(subscription)
    }

    pub(super) fn request_by_key(&self, key: SubscriptionKey) -> Option<RequestId> {
        self.request_by_key.get(&key).copied()
    }

    pub(super) fn by_key(&self, key: SubscriptionKey) -> Option<(LinkId, Option<&Arc<Track>>)> {
        let subscription = self.by_request.get(self.request_by_key.get(&key)?)?;
        Some((subscription.subscriber.link, subscription.track.as_ref()))
    }

    /// All of them, whether answered or not.
    pub(super) fn all(&self) -> Vec<(RequestId, FullTrackName)> {
        self.by_request.iter().map(|(request, subscription)| (*request, subscription.name.clone())).collect()
    }

    pub(super) fn is_answered(&self, request: RequestId) -> bool {
        self.by_request.get(&request).is_some_and(|subscription| subscription.track.is_some())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.ending.iter().filter_map(|request| Some(self.by_request.get(request)?.end?.1)).min()
    }

    /// Of those that are served.
    pub(super) fn len(&self) -> usize {
        self.by_request.values().filter(|subscription| subscription.track.is_some()).count()
    }
}

impl Peer {
    /// SUBSCRIBE. It is answered when the room says so.
    pub(super) fn subscribed(
        &mut self,
        io: &mut Io<'_>,
        scope: &Scope,
        id: RequestId,
        subscribe: Subscribe,
    ) -> Result<(), Refusal> {
        let Subscribe { track: name, parameters } = subscribe;
        let subscriber = scope.subscribe(io.now, self.handle.id, &self.handle, &name, parameters)?;
        self.subscriptions.insert(id, name, subscriber, None);
        Ok(())
    }

    /// SUBSCRIBE_OK: the track has a publisher.
    pub(super) fn accept_subscribe(
        &mut self,
        io: &mut Io<'_>,
        link: LinkId,
        track: &Arc<Track>,
        largest: Option<Location>,
    ) {
        let Some(&request) = self.subscriptions.request_by_link.get(&link) else { return };
        let Some(subscription) = self.subscriptions.by_request.get_mut(&request) else { return };
        let answer = SubscribeOk {
            alias: track.alias,
            parameters: Parameters { largest_object: largest, ..Parameters::default() },
            track_properties: track.properties(),
        };
        subscription.track = Some(Arc::clone(track));
        self.relay.counters.subscriptions_open.increment();
        self.subscriptions.answered.push(request);
        if io.session.accept_subscribe(request, answer).is_err() {
            // The request is gone, which is told by an event, or our alias stands for a track that has just ended.
            let refusal = Refusal::new(RequestErrorCode::InternalError, "the track could not be named");
            self.forget_subscription(io.now, request);
            self.refuse(io, request, refusal);
        }
    }

    /// REQUEST_ERROR to a SUBSCRIBE.
    pub(super) fn refuse_subscribe(&mut self, io: &mut Io<'_>, link: LinkId, error: RequestError) {
        let Some(&request) = self.subscriptions.request_by_link.get(&link) else { return };
        self.drop_subscription(request);
        self.refuse(io, request, error);
    }

    /// PUBLISH, because the peer asked for all tracks of a prefix.
    #[expect(clippy::too_many_arguments, reason = "the fields of an order")]
    pub(super) fn offer(
        &mut self,
        io: &mut Io<'_>,
        link: LinkId,
        name: FullTrackName,
        track: Arc<Track>,
        subscriber: Arc<Subscriber>,
        forward: bool,
        largest: Option<Location>,
    ) {
        let publish = Publish {
            track: name.clone(),
            alias: track.alias,
            parameters: Parameters {
                forward: Some(forward),
                largest_object: largest,
                ..Parameters::default()
            },
            track_properties: track.properties(),
        };
        match io.session.publish(publish) {
            Ok(request) => {
                self.relay.counters.subscriptions_open.increment();
                self.subscriptions.insert(request, name, subscriber, Some(track));
                self.subscriptions.answered.push(request);
            }
            Err(_) => {
                if let Some(scope) = &self.scope {
                    scope.unsubscribe(io.now, link);
                }
            }
        }
    }

    /// PUBLISH_OK: what the peer wants of a track we offered. False when it answers something else.
    fn offer_accepted(&mut self, io: &mut Io<'_>, id: RequestId, ok: &RequestOk) -> bool {
        let Some(subscription) = self.subscriptions.by_request.get(&id) else { return false };
        // Absent is 1 here (draft 10.2.12).
        let forward = Some(ok.parameters.forward.unwrap_or(true));
        let wanted = Parameters { forward, ..ok.parameters.clone() };
        subscription.subscriber.update_parameters(&wanted);
        let result = subscription.track.as_ref().map(|track| track.update(&subscription.subscriber));
        let link = subscription.subscriber.link;
        if let Some(Err(_)) = result {
            self.forget_subscription(io.now, id);
            // Fails only when the request is gone.
            let _ = io.session.publish_done(id, PublishDoneCode::SubscriptionEnded, "the range has passed");
            return true;
        }
        if let Some(scope) = &self.scope {
            scope.update_subscription(io.now, link, forward, ok.parameters.new_group_request);
        }
        true
    }

    /// REQUEST_OK to a request of ours.
    pub(super) fn accepted(&mut self, io: &mut Io<'_>, id: RequestId, ok: RequestOk) {
        if self.upstream_update_accepted(io, id, &ok) || self.offer_accepted(io, id, &ok) {
            return;
        }
        self.status_answered(id, Ok(ok));
    }

    /// REQUEST_ERROR to a request of ours.
    pub(super) fn refused(&mut self, io: &mut Io<'_>, id: RequestId, error: RequestError) {
        if self.upstream_refused(io, id, &error)
            || self.fetch_refused(io, id, &error)
            || self.forget_subscription(io.now, id)
        {
            return;
        }
        self.status_answered(id, Err(error));
    }

    /// REQUEST_UPDATE.
    pub(super) fn updated(
        &mut self,
        io: &mut Io<'_>,
        request: RequestId,
        update: RequestId,
        parameters: Parameters,
    ) {
        self.relay.counters.requests_total.increment();
        let result = if let Err(refusal) = self.renewed(&parameters.authorization_tokens) {
            Err(refusal)
        } else if self.subscriptions.by_request.contains_key(&request) {
            self.subscription_updated(io, request, &parameters)
        } else {
            self.interest_updated(io, request, parameters).map(|()| RequestOk::default())
        };
        // Both fail only when the request is gone.
        match result {
            Ok(answer) => drop(io.session.accept_update(update, answer)),
            Err(refusal) => {
                self.relay.counters.requests_refused.increment();
                let _ = io.session.reject_update(update, refusal.into());
                self.forget_subscription(io.now, request);
            }
        }
    }

    fn subscription_updated(
        &mut self,
        io: &Io<'_>,
        request: RequestId,
        parameters: &Parameters,
    ) -> Result<RequestOk, Refusal> {
        let subscription = self.subscriptions.by_request.get(&request).ok_or(Refusal::internal())?;
        subscription.subscriber.update_parameters(parameters);
        let link = subscription.subscriber.link;
        let joined = subscription.track.as_ref().map(|track| track.update(&subscription.subscriber));
        let largest_object = match joined {
            Some(Ok(joined)) => joined.largest,
            Some(Err(_)) => {
                return Err(Refusal::new(RequestErrorCode::InvalidRange, "the range has passed"));
            }
            None => None,
        };
        if let Some(scope) = &self.scope {
            scope.update_subscription(io.now, link, parameters.forward, parameters.new_group_request);
        }
        let parameters = Parameters { largest_object, ..Parameters::default() };
        Ok(RequestOk { parameters, ..RequestOk::default() })
    }

    /// The track has ended: PUBLISH_DONE follows what is queued.
    pub(super) fn end_subscription(&mut self, io: &mut Io<'_>, link: LinkId, code: PublishDoneCode) {
        let Some(&request) = self.subscriptions.request_by_link.get(&link) else { return };
        let Some(subscription) = self.subscriptions.by_request.get_mut(&request) else { return };
        let wait = if code == PublishDoneCode::MalformedTrack { Duration::ZERO } else { FINISH_WAIT_MAX };
        subscription.end = Some((code, io.now + wait));
        self.subscriptions.ending.push(request);
    }

    /// Lets objects follow answers, and PUBLISH_DONE follow objects.
    pub(super) fn finish_subscriptions(&mut self, io: &mut Io<'_>) {
        let mut ended = Vec::new();
        self.subscriptions.ending.retain(|request| {
            let Some(subscription) = self.subscriptions.by_request.get(request) else { return false };
            let Some((code, until)) = subscription.end else { return false };
            let is_idle = subscription.subscriber.is_idle();
            if is_idle || until <= io.now {
                ended.push((*request, code));
                return false;
            }
            true
        });
        for (request, code) in ended {
            self.drop_subscription(request);
            // Fails only when the request is gone.
            let _ = io.session.publish_done(request, code, "");
        }
        if !self.subscriptions.answered.is_empty() {
            self.handle.outlet.wake();
        }
    }

    /// In the turn after their answers.
    pub(super) fn release_objects(&mut self, io: &Io<'_>) {
        for request in std::mem::take(&mut self.subscriptions.answered) {
            if let Some(subscription) = self.subscriptions.by_request.get(&request) {
                subscription.subscriber.answered(io.now);
            }
        }
    }

    /// The peer does not want a request any more, its own or ours.
    pub(super) fn cancelled(&mut self, io: &mut Io<'_>, request: RequestId) {
        if self.forget_subscription(io.now, request)
            || self.end_publication(io.now, request, PublishDoneCode::TrackEnded)
            || self.answers.remove(request)
        {
            return;
        }
        self.fetch_ended(io, request, false);
        if let Some(scope) = &self.scope {
            scope.with(io.now, |room| {
                room.unpublish_namespace(self.handle.id, request);
                room.unsubscribe_interest(self.handle.id, request);
            });
        }
    }

    /// The subscription is over, and the room told; false when there is none.
    pub(super) fn forget_subscription(&mut self, now: Instant, request: RequestId) -> bool {
        let Some(subscription) = self.drop_subscription(request) else { return false };
        if let Some(scope) = &self.scope {
            scope.unsubscribe(now, subscription.subscriber.link);
        }
        true
    }

    fn drop_subscription(&mut self, request: RequestId) -> Option<Subscription> {
        let subscription = self.subscriptions.remove(request)?;
        if subscription.track.is_some() {
            self.relay.counters.subscriptions_open.decrement();
        }
        Some(subscription)
    }

    // ---- TRACK_STATUS

    /// TRACK_STATUS: answered from what is known of the track, or by a publisher of its namespace.
    pub(super) fn status_asked(
        &mut self,
        io: &mut Io<'_>,
        scope: &Scope,
        id: RequestId,
        subscribe: &Subscribe,
    ) -> Result<(), Refusal> {
        match scope.status(&subscribe.track) {
            Ok(track) => {
                let parameters = Parameters { largest_object: track.largest(), ..Parameters::default() };
                // Fails only when the request is gone.
                let _ = io.session.accept(id, RequestOk { parameters, track_properties: track.properties() });
                Ok(())
            }
            Err(sources) => {
                let asker = self.handle.id;
                let ask = |source| {
                    let name = subscribe.track.clone();
                    scope.order(source, Order::AskStatus { name, asker, request: id })
                };
                if sources.into_iter().any(ask) {
                    return Ok(());
                }
                Err(Refusal::new(RequestErrorCode::DoesNotExist, "nobody publishes this track"))
            }
        }
    }

    /// Passes another session's TRACK_STATUS on.
    pub(super) fn ask_status(
        &mut self,
        io: &mut Io<'_>,
        name: FullTrackName,
        asker: SessionId,
        request: RequestId,
    ) {
        match io.session.track_status(Subscribe { track: name, parameters: Parameters::default() }) {
            Ok(ours) => drop(self.statuses.insert(ours, (asker, request))),
            Err(_) => {
                let refusal = Refusal::new(RequestErrorCode::DoesNotExist, "the publisher cannot be asked");
                self.answer_status(asker, request, Err(refusal.into()));
            }
        }
    }

    fn status_answered(&mut self, ours: RequestId, answer: Result<RequestOk, RequestError>) {
        if let Some((asker, request)) = self.statuses.remove(&ours) {
            self.answer_status(asker, request, answer);
        }
    }

    fn answer_status(&self, asker: SessionId, request: RequestId, answer: Result<RequestOk, RequestError>) {
        if let Some(scope) = &self.scope {
            scope.order(asker, Order::AnswerStatus { request, answer });
        }
    }

    /// The session is over: nobody waits for these any more, and others must not wait for us.
    pub(super) fn forget_requests(&mut self) {
        let refusal = Refusal::new(RequestErrorCode::DoesNotExist, "the publisher is gone");
        for (asker, request) in self.statuses.drain().map(|(_, who)| who).collect::<Vec<_>>() {
            self.answer_status(asker, request, Err(refusal.into()));
        }
        for _ in 0..self.subscriptions.len() {
            self.relay.counters.subscriptions_open.decrement();
        }
        self.subscriptions = Subscriptions::default();
    }
}
