//! Requests of the peer: the first message of a stream that it opened (draft 3.3, 5.1, 10).

use super::{
    Event, ResolvedFetch, Session, StreamId, Subscription,
    aliases::Meaning,
    config::OVERLOAD_RETRY_MS,
    parameters, priority,
    request::{FetchData, Fetched, Kind, Prefix, Request, Subscribed},
    stream::Stream,
    tokens::TokenError,
    track_properties::TrackProperties,
};
use crate::{
    error::{RequestErrorCode, SessionError, Violation},
    message::{
        self, Fetch, FetchRange, Message, NamespaceRequest, Parameters, Publish, RequestError, RequestId,
        Subscribe, TrackAlias,
    },
    name::{FullTrackName, Namespace},
    object::Location,
};

/// Why a request is refused without asking the application.
pub(super) type Objection = (RequestErrorCode, &'static str);

impl Session {
    pub(super) fn handle_first_message(
        &mut self,
        stream: StreamId,
        message: Message,
    ) -> Result<(), Violation> {
        let Message::Request(id, mut request) = message else {
            return Err(Violation::protocol("a request stream does not begin with a request"));
        };
        self.peer_ids.insert(id)?;
        // Tokens are registered whatever becomes of the request (draft 10.2.2).
        let token_objection = self.resolve_tokens(parameters_of(&mut request))?;
        if let message::Request::Publish(publish) = &request {
            self.check_alias(publish.alias, &publish.track)?;
        }
        if let Some(error) = self.overload() {
            self.refuse(stream, &request, error);
            return Ok(());
        }
        let objection = token_objection.or_else(|| reserved_request(&request));
        if let Some((code, reason)) = objection {
            self.refuse(stream, &request, RequestError::new(code, reason));
            return Ok(());
        }
        match request {
            message::Request::Subscribe(subscribe) => self.receive_subscribe(stream, id, subscribe),
            message::Request::Publish(publish) => return self.receive_publish(stream, id, publish),
            message::Request::Fetch(fetch) => self.receive_fetch(stream, id, fetch),
            message::Request::TrackStatus(status) => {
                self.insert_received(stream, id, Kind::TrackStatus);
                self.events.push_back(Event::TrackStatus(id, status));
            }
            message::Request::PublishNamespace(namespace) => {
                self.insert_received(stream, id, Kind::PublishNamespace);
                self.events.push_back(Event::PublishNamespace(id, namespace));
            }
            message::Request::SubscribeNamespace(prefix) => {
                let kind = Kind::SubscribeNamespace(Prefix::new(prefix.namespace.clone()));
                self.receive_prefix(stream, id, kind, Event::SubscribeNamespace(id, prefix));
            }
            message::Request::SubscribeTracks(prefix) => {
                let kind = Kind::SubscribeTracks(Prefix::new(prefix.namespace.clone()));
                self.receive_prefix(stream, id, kind, Event::SubscribeTracks(id, prefix));
            }
        }
        Ok(())
    }

    fn receive_subscribe(&mut self, stream: StreamId, id: RequestId, subscribe: Subscribe) {
        if !self.tracks.of(&subscribe.track, true).is_empty() {
            self.refuse_stream(stream, duplicate());
            return;
        }
        let view = Subscription {
            track: subscribe.track.clone(),
            alias: None,
            we_publish: true,
            is_established: false,
            parameters: parameters::lasting(&subscribe.parameters),
            joining: None,
        };
        self.tracks.insert(subscribe.track.clone(), true, id);
        let subscribed = Subscribed::new(view, TrackProperties::default());
        self.insert_received(stream, id, Kind::Subscription(Box::new(subscribed)));
        self.events.push_back(Event::Subscribe(id, subscribe));
    }

    fn receive_publish(
        &mut self,
        stream: StreamId,
        id: RequestId,
        publish: Publish,
    ) -> Result<(), Violation> {
        let properties = TrackProperties::parse(&publish.track_properties)?;
        // Our SUBSCRIBE without an answer does not count: it ends when this PUBLISH is accepted (draft 5.1).
        let is_duplicate =
            self.tracks.of(&publish.track, false).iter().any(|other| {
                self.requests.get(other).is_some_and(|other| !other.is_ours || other.is_accepted)
            });
        if is_duplicate {
            self.refuse_stream(stream, duplicate());
            self.discard_alias(publish.alias, &publish.track);
            return Ok(());
        }
        if let Some((code, reason)) = properties.objection() {
            self.refuse_stream(stream, RequestError::new(code, reason));
            self.discard_alias(publish.alias, &publish.track);
            return Ok(());
        }
        let view = Subscription {
            track: publish.track.clone(),
            alias: Some(publish.alias),
            we_publish: false,
            is_established: false,
            parameters: parameters::lasting(&publish.parameters),
            joining: publish.parameters.largest_object,
        };
        self.tracks.insert(publish.track.clone(), false, id);
        self.insert_received(stream, id, Kind::Subscription(Box::new(Subscribed::new(view, properties))));
        let alias = publish.alias;
        self.events.push_back(Event::Publish(id, publish));
        self.establish_alias(alias, id);
        Ok(())
    }

    fn receive_fetch(&mut self, stream: StreamId, id: RequestId, fetch: Fetch) {
        let mut fetched = Fetched {
            priority: fetch.parameters.subscriber_priority.unwrap_or(priority::DEFAULT),
            order: fetch.parameters.group_order.unwrap_or_default(),
            start: None,
            waits: None,
            data: FetchData::NotYet,
        };
        match fetch.range {
            FetchRange::Standalone { track, start, end } => {
                if !is_range(start, end) {
                    let error =
                        RequestError::new(RequestErrorCode::InvalidRange, "the range ends before it starts");
                    self.refuse_stream(stream, error);
                    return;
                }
                fetched.start = Some(start);
                self.insert_received(stream, id, Kind::Fetch(Box::new(fetched)));
                let parameters = fetch.parameters;
                self.events.push_back(Event::Fetch(
                    id,
                    ResolvedFetch { track, start, end, joining: false, parameters },
                ));
            }
            range @ (FetchRange::RelativeJoining { subscription, .. }
            | FetchRange::AbsoluteJoining { subscription, .. }) => {
                if !self.requests.get(&subscription).is_some_and(Request::we_publish) {
                    let error = RequestError::new(
                        RequestErrorCode::InvalidJoiningRequestId,
                        "the joining FETCH names no subscription",
                    );
                    self.refuse_stream(stream, error);
                    return;
                }
                fetched.waits = Some((range, fetch.parameters));
                self.insert_received(stream, id, Kind::Fetch(Box::new(fetched)));
                self.resolve_joins(subscription);
            }
        }
    }

    fn receive_prefix(&mut self, stream: StreamId, id: RequestId, kind: Kind, event: Event) {
        let (Kind::SubscribeNamespace(prefix) | Kind::SubscribeTracks(prefix)) = &kind else { return };
        if self.overlaps(&kind, &prefix.namespace, id) {
            self.refuse_stream(stream, RequestError::new(PREFIX_OVERLAP.0, PREFIX_OVERLAP.1));
            return;
        }
        self.insert_received(stream, id, kind);
        self.events.push_back(event);
    }

    /// True when a prefix shares one with another open request of the peer of the same kind, as it stands or as an
    /// unanswered update would have it (draft 10.18, 10.19).
    pub(super) fn overlaps(&self, kind: &Kind, namespace: &Namespace, but: RequestId) -> bool {
        self.requests.iter().any(|(id, request)| {
            let prefix = match (&request.kind, kind) {
                (Kind::SubscribeNamespace(prefix), Kind::SubscribeNamespace(_))
                | (Kind::SubscribeTracks(prefix), Kind::SubscribeTracks(_)) => prefix,
                _ => return false,
            };
            let updates = request
                .updates_received
                .iter()
                .filter_map(|update| update.parameters.namespace_prefix.as_ref());
            *id != but
                && !request.is_ours
                && std::iter::once(&prefix.namespace).chain(updates).any(|other| other.overlaps(namespace))
        })
    }

    /// Replaces a message's tokens by what they stand for.
    pub(super) fn resolve_tokens(
        &mut self,
        parameters: &mut Parameters,
    ) -> Result<Option<Objection>, Violation> {
        match self.tokens.resolve(std::mem::take(&mut parameters.authorization_tokens)) {
            Ok(values) => {
                parameters.authorization_tokens = values;
                Ok(None)
            }
            Err(TokenError::Session(violation)) => Err(violation),
            Err(TokenError::Request(code, reason)) => Ok(Some((code, reason))),
        }
    }

    /// One alias stands for one track (draft 11.1).
    pub(super) fn check_alias(&self, alias: TrackAlias, track: &FullTrackName) -> Result<(), Violation> {
        if let Some(Meaning::Of(request)) = self.aliases.meaning(alias)
            && self.subscription(request).is_some_and(|view| view.track != *track)
        {
            return Err(Violation {
                code: SessionError::DuplicateTrackAlias,
                reason: "a track alias stands for another track already",
            });
        }
        Ok(())
    }

    fn overload(&mut self) -> Option<RequestError> {
        if self.goaway_sent {
            return Some(RequestError::new(RequestErrorCode::GoingAway, "going away"));
        }
        if self.peer_requests < self.config.peer_requests_max {
            return None;
        }
        self.counters.requests_over_limit += 1;
        let error = RequestError::new(RequestErrorCode::ExcessiveLoad, "too many open requests");
        Some(RequestError { retry_after_ms: Some(OVERLOAD_RETRY_MS), ..error })
    }

    fn refuse(&mut self, stream: StreamId, request: &message::Request, error: RequestError) {
        self.refuse_stream(stream, error);
        if let message::Request::Publish(publish) = request {
            self.discard_alias(publish.alias, &publish.track);
        }
    }

    fn insert_received(&mut self, stream: StreamId, id: RequestId, kind: Kind) {
        if let Some(Stream::Request(open)) = self.streams.get_mut(&stream) {
            open.request = Some(id);
        }
        self.peer_requests += 1;
        self.requests.insert(id, Request::new(stream, false, kind));
    }
}

pub(super) const PREFIX_OVERLAP: Objection =
    (RequestErrorCode::PrefixOverlap, "the prefix overlaps that of another subscription");

fn duplicate() -> RequestError {
    RequestError::new(RequestErrorCode::DuplicateSubscription, "the track has a subscription in this role")
}

/// True when the range, `end` in the wire's encoding, holds at least one location (draft 10.12.3).
fn is_range(start: Location, end: Location) -> bool {
    end.group > start.group || (end.group == start.group && (end.object == 0 || end.object > start.object))
}

/// Namespaces that nobody may use, and those that belong to the protocol, of which we know none (draft 3.2.1,
/// 3.2.2). Other names that begin with a dot are the application's to refuse.
pub(super) fn is_reserved(namespace: &Namespace) -> bool {
    namespace.fields().first().is_some_and(|field| **field == *b"." || **field == *b".session")
}

pub(super) const RESERVED: Objection = (RequestErrorCode::DoesNotExist, "the namespace is reserved");

fn reserved_request(request: &message::Request) -> Option<Objection> {
    let namespace = match request {
        message::Request::Subscribe(Subscribe { track, .. })
        | message::Request::TrackStatus(Subscribe { track, .. })
        | message::Request::Publish(Publish { track, .. })
        | message::Request::Fetch(Fetch { range: FetchRange::Standalone { track, .. }, .. }) => {
            track.namespace()
        }
        // It belongs to a subscription that was not refused.
        message::Request::Fetch(_) => return None,
        message::Request::PublishNamespace(NamespaceRequest { namespace, .. })
        | message::Request::SubscribeNamespace(NamespaceRequest { namespace, .. })
        | message::Request::SubscribeTracks(NamespaceRequest { namespace, .. }) => namespace,
    };
    is_reserved(namespace).then_some(RESERVED)
}

fn parameters_of(request: &mut message::Request) -> &mut Parameters {
    match request {
        message::Request::Subscribe(subscribe) | message::Request::TrackStatus(subscribe) => {
            &mut subscribe.parameters
        }
        message::Request::Publish(publish) => &mut publish.parameters,
        message::Request::Fetch(fetch) => &mut fetch.parameters,
        message::Request::PublishNamespace(namespace)
        | message::Request::SubscribeNamespace(namespace)
        | message::Request::SubscribeTracks(namespace) => &mut namespace.parameters,
    }
}
