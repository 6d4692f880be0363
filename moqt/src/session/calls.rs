//! Requests of ours (draft 10).

use super::{
    CallError, Session, StreamKind, Subscription, Transmit,
    config::UPDATES_MAX,
    joining, parameters, priority,
    received::is_reserved,
    request::{FetchData, Fetched, Kind, Prefix, Request, Subscribed, Update},
    stream::{RequestStream, Stream},
    track_properties::TrackProperties,
};
use crate::{
    codec,
    message::{
        self, Fetch, FetchRange, Message, NamespaceRequest, Parameters, Publish, RequestId, Subscribe,
    },
    name::Namespace,
};

impl Session {
    /// SUBSCRIBE. Answered by `SubscribeAccepted` or `Refused`.
    pub fn subscribe(&mut self, request: Subscribe) -> Result<RequestId, CallError> {
        ensure_usable(request.track.namespace())?;
        if !self.tracks.of(&request.track, false).is_empty() {
            return Err(CallError::Duplicate);
        }
        let view = Subscription {
            track: request.track.clone(),
            alias: None,
            we_publish: false,
            is_established: false,
            parameters: parameters::lasting(&request.parameters),
            joining: None,
        };
        let track = request.track.clone();
        let subscribed = Subscribed::new(view, TrackProperties::default());
        let priority = subscribed.subscriber_priority();
        let kind = Kind::Subscription(Box::new(subscribed));
        let id = self.open_request(message::Request::Subscribe(request), kind, priority)?;
        // The publisher may use the alias of an earlier subscription again, and objects may overtake the answer.
        for alias in self.aliases.late_of(&track) {
            self.forget_late(alias);
        }
        self.tracks.insert(track, false, id);
        Ok(id)
    }

    /// PUBLISH. Answered by `Accepted` or `Refused`. Objects may be sent at once, unless `forward` is false.
    pub fn publish(&mut self, request: Publish) -> Result<RequestId, CallError> {
        ensure_usable(request.track.namespace())?;
        let properties =
            TrackProperties::parse(&request.track_properties).map_err(|_| CallError::TooLarge)?;
        let is_free = self.tracks.of(&request.track, true).is_empty();
        if !is_free || !self.our_aliases.can_name(request.alias, &request.track) {
            return Err(CallError::Duplicate);
        }
        let view = Subscription {
            track: request.track.clone(),
            alias: Some(request.alias),
            we_publish: true,
            is_established: false,
            parameters: parameters::lasting(&request.parameters),
            joining: request.parameters.largest_object,
        };
        let (track, alias) = (request.track.clone(), request.alias);
        let kind = Kind::Subscription(Box::new(Subscribed::new(view, properties)));
        let id = self.open_request(message::Request::Publish(request), kind, priority::DEFAULT)?;
        self.our_aliases.insert(alias, &track);
        self.tracks.insert(track, true, id);
        Ok(id)
    }

    /// FETCH. Answered by `FetchAccepted` or `Refused`; items may come before. A joining FETCH names a
    /// subscription in which the peer publishes.
    pub fn fetch(&mut self, request: Fetch) -> Result<RequestId, CallError> {
        let start = match &request.range {
            FetchRange::Standalone { track, start, .. } => {
                ensure_usable(track.namespace())?;
                Some(*start)
            }
            range @ (FetchRange::RelativeJoining { subscription, .. }
            | FetchRange::AbsoluteJoining { subscription, .. }) => {
                let open = self.requests.get(subscription).filter(|open| open.is_ours || open.is_accepted);
                let joined = open.and_then(Request::subscribed).filter(|joined| !joined.view.we_publish);
                let joined = joined.ok_or(CallError::WrongState)?;
                joined.view.joining.and_then(|at| joining::resolve(range, at)).map(|(start, _)| start)
            }
        };
        let priority = request.parameters.subscriber_priority.unwrap_or(priority::DEFAULT);
        let order = request.parameters.group_order.unwrap_or_default();
        let fetched = Fetched { priority, order, start, waits: None, data: FetchData::NotYet };
        self.open_request(message::Request::Fetch(request), Kind::Fetch(Box::new(fetched)), priority)
    }

    /// TRACK_STATUS. Answered by `Accepted` or `Refused`, and over with it.
    pub fn track_status(&mut self, request: Subscribe) -> Result<RequestId, CallError> {
        ensure_usable(request.track.namespace())?;
        self.open_request(message::Request::TrackStatus(request), Kind::TrackStatus, priority::DEFAULT)
    }

    /// PUBLISH_NAMESPACE. Answered by `Accepted` or `Refused`; withdrawn by [`Session::cancel`].
    pub fn publish_namespace(&mut self, request: NamespaceRequest) -> Result<RequestId, CallError> {
        ensure_usable(&request.namespace)?;
        let request = message::Request::PublishNamespace(request);
        self.open_request(request, Kind::PublishNamespace, priority::DEFAULT)
    }

    /// SUBSCRIBE_NAMESPACE. Answered by `Accepted` or `Refused`; then `Namespace` and `NamespaceDone`.
    pub fn subscribe_namespace(&mut self, request: NamespaceRequest) -> Result<RequestId, CallError> {
        ensure_usable(&request.namespace)?;
        let kind = Kind::SubscribeNamespace(Prefix::new(request.namespace.clone()));
        self.open_request(message::Request::SubscribeNamespace(request), kind, priority::DEFAULT)
    }

    /// SUBSCRIBE_TRACKS. Answered by `Accepted` or `Refused`; then the peer's PUBLISHes, and `PublishBlocked`.
    pub fn subscribe_tracks(&mut self, request: NamespaceRequest) -> Result<RequestId, CallError> {
        ensure_usable(&request.namespace)?;
        let kind = Kind::SubscribeTracks(Prefix::new(request.namespace.clone()));
        self.open_request(message::Request::SubscribeTracks(request), kind, priority::DEFAULT)
    }

    /// REQUEST_UPDATE of a request of ours, or of a PUBLISH of the peer that we have accepted. Returns the update's
    /// id, named by the answer: `Accepted`, after which [`Session::subscription`] shows it, or `Refused`.
    pub fn update(&mut self, request: RequestId, parameters: Parameters) -> Result<RequestId, CallError> {
        self.ensure_open()?;
        let open =
            self.requests.get(&request).filter(|open| open.may_update(true)).ok_or(CallError::WrongState)?;
        let scope = open.updatable().ok_or(CallError::WrongState)?;
        scope.check(&parameters).map_err(|_| CallError::TooLarge)?;
        if open.updates_sent.len() >= UPDATES_MAX {
            return Err(CallError::TooMany);
        }
        if let Some(prefix) = &parameters.namespace_prefix {
            ensure_usable(prefix)?;
        }
        // Only tracks that say so can be asked for a new group (draft 10.2.13).
        let has_dynamic_groups =
            open.subscribed().is_some_and(|subscribed| subscribed.properties.has_dynamic_groups);
        if parameters.new_group_request.is_some() && open.is_accepted && !has_dynamic_groups {
            return Err(CallError::WrongState);
        }
        let stream = open.stream;
        let id = RequestId(self.next_request);
        let kept = parameters::of_update(&parameters);
        self.send(stream, &Message::RequestUpdate(id, parameters))?;
        self.next_request += 2;
        if let Some(open) = self.requests.get_mut(&request) {
            open.updates_sent.push_back(Update { id, parameters: kept });
        }
        Ok(id)
    }

    fn open_request(
        &mut self,
        request: message::Request,
        kind: Kind,
        subscriber_priority: u8,
    ) -> Result<RequestId, CallError> {
        self.ensure_open()?;
        if self.goaway_received {
            return Err(CallError::GoingAway);
        }
        let id = RequestId(self.next_request);
        let bytes = codec::encode(&Message::Request(id, request)).ok_or(CallError::TooLarge)?;
        self.next_request += 2;
        let stream = self.name_stream();
        let priority = priority::request(subscriber_priority);
        self.transmits.push_back(Transmit::Open { stream, kind: StreamKind::Bi, priority });
        self.transmits.push_back(Transmit::Data { stream, bytes });
        self.streams.insert(stream, Stream::Request(RequestStream::new(true, Some(id))));
        self.requests.insert(id, Request::new(stream, true, kind));
        Ok(id)
    }
}

fn ensure_usable(namespace: &Namespace) -> Result<(), CallError> {
    if is_reserved(namespace) { Err(CallError::Reserved) } else { Ok(()) }
}
