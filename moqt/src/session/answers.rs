//! Our answers to the peer's requests, and what follows them (draft 10).

use super::{
    CallError, Session,
    config::NAMESPACE_BYTES_MAX,
    parameters,
    replies::{cost, ends_before},
    request::{Ending, FetchData, Kind, Request},
    track_properties::TrackProperties,
};
use crate::{
    codec::{self, Scope},
    error::StreamResetCode,
    message::{FetchOk, Message, RequestError, RequestId, RequestOk, SubscribeOk},
    name::{FullTrackName, Namespace},
};

impl Session {
    /// SUBSCRIBE_OK. Its LARGEST_OBJECT is kept as the joining location.
    pub fn accept_subscribe(&mut self, request: RequestId, answer: SubscribeOk) -> Result<(), CallError> {
        let open = self.unanswered(request)?;
        let subscribed = open.subscribed().filter(|subscribed| subscribed.view.we_publish);
        let subscribed = subscribed.ok_or(CallError::WrongState)?;
        let properties = TrackProperties::parse(&answer.track_properties).map_err(|_| CallError::TooLarge)?;
        let track = subscribed.view.track.clone();
        if !self.our_aliases.can_name(answer.alias, &track) {
            return Err(CallError::Duplicate);
        }
        let (alias, parameters) = (answer.alias, answer.parameters.clone());
        self.send(open.stream, &Message::SubscribeOk(answer))?;
        self.our_aliases.insert(alias, &track);
        if let Some(open) = self.requests.get_mut(&request) {
            open.is_accepted = true;
            if let Some(subscribed) = open.subscribed_mut() {
                subscribed.properties = properties;
                let view = &mut subscribed.view;
                view.alias = Some(alias);
                view.is_established = true;
                view.joining = parameters.largest_object;
                parameters::apply(&mut view.parameters, &parameters);
            }
        }
        self.resolve_joins(request);
        Ok(())
    }

    /// FETCH_OK. If the data stream has ended already, the request is over.
    pub fn accept_fetch(&mut self, request: RequestId, answer: FetchOk) -> Result<(), CallError> {
        let open = self.unanswered(request)?;
        let Kind::Fetch(fetched) = &open.kind else { return Err(CallError::WrongState) };
        if fetched.waits.is_some() {
            return Err(CallError::WrongState);
        }
        if fetched.start.is_some_and(|start| ends_before(answer.end, start)) {
            return Err(CallError::TooLarge);
        }
        let has_ended = matches!(fetched.data, FetchData::Finished | FetchData::Broken);
        self.send(open.stream, &Message::FetchOk(answer))?;
        if let Some(open) = self.requests.get_mut(&request) {
            open.is_accepted = true;
        }
        if has_ended {
            self.end_request(request, Ending::Done);
        }
        Ok(())
    }

    /// REQUEST_OK to any other request. For PUBLISH, an unanswered SUBSCRIBE of ours of the same track is cancelled
    /// first; what the answer leaves out takes its default, `forward` being true.
    pub fn accept(&mut self, request: RequestId, answer: RequestOk) -> Result<(), CallError> {
        let open = self.unanswered(request)?;
        let allowed = open.answerable().ok_or(CallError::WrongState)?;
        let is_status = matches!(open.kind, Kind::TrackStatus);
        if allowed.check(&answer.parameters).is_err() || !(is_status || answer.track_properties.is_empty()) {
            return Err(CallError::TooLarge);
        }
        let stream = open.stream;
        let mut met = Vec::new();
        if let Some(subscribed) = open.subscribed() {
            if answer.parameters.new_group_request.is_some() && !subscribed.properties.has_dynamic_groups {
                return Err(CallError::WrongState);
            }
            let others = self.tracks.of(&subscribed.view.track, false);
            met.extend(others.iter().copied().filter(|other| *other != request));
        }
        let message = Message::RequestOk(answer);
        if codec::encode(&message).is_none() {
            return Err(CallError::TooLarge);
        }
        for other in met {
            self.cancel_for(other, StreamResetCode::Cancelled, StreamResetCode::Cancelled);
        }
        self.send(stream, &message)?;
        let Message::RequestOk(answer) = message else { return Ok(()) };
        if is_status {
            self.end_request(request, Ending::Done);
            return Ok(());
        }
        if let Some(open) = self.requests.get_mut(&request) {
            open.is_accepted = true;
            if let Some(subscribed) = open.subscribed_mut() {
                subscribed.view.is_established = true;
                parameters::apply_publish_ok(&mut subscribed.view.parameters, &answer.parameters);
                let alias = subscribed.view.alias;
                alias.into_iter().for_each(|alias| self.establish_alias(alias, request));
            }
        }
        Ok(())
    }

    /// REQUEST_ERROR; the request is over.
    pub fn reject(&mut self, request: RequestId, error: RequestError) -> Result<(), CallError> {
        let stream = self.unanswered(request)?.stream;
        self.send(stream, &Message::RequestError(error))?;
        self.end_request(request, Ending::Refused);
        Ok(())
    }

    /// REQUEST_OK to the oldest unanswered update of a request that has been accepted: applies it, so that
    /// [`Session::subscription`] shows it. An answer that turns `forward` on carries LARGEST_OBJECT, which becomes
    /// the joining location.
    pub fn accept_update(&mut self, update: RequestId, answer: RequestOk) -> Result<(), CallError> {
        let id = self.oldest_update(update)?;
        let open = self.requests.get(&id).filter(|open| open.is_accepted).ok_or(CallError::WrongState)?;
        if Scope::UpdateOk.check(&answer.parameters).is_err() || !answer.track_properties.is_empty() {
            return Err(CallError::TooLarge);
        }
        let parameters = answer.parameters.clone();
        self.send(open.stream, &Message::RequestOk(answer))?;
        self.requests_by_update.remove(&update);
        let update = self.requests.get_mut(&id).and_then(|open| open.updates_received.pop_front());
        if let Some(update) = update {
            self.apply_update(id, &update.parameters, &parameters);
        }
        self.resolve_joins(id);
        Ok(())
    }

    /// REQUEST_ERROR to the oldest unanswered update; as the draft says, the request ends with it: a subscription
    /// in which we publish by PUBLISH_DONE, a FETCH by resetting its data, others by closing their stream.
    pub fn reject_update(&mut self, update: RequestId, error: RequestError) -> Result<(), CallError> {
        let id = self.oldest_update(update)?;
        if codec::encode(&Message::RequestError(error.clone())).is_none() {
            return Err(CallError::TooLarge);
        }
        self.fail_update(id, error);
        Ok(())
    }

    /// NAMESPACE, for a namespace that begins with the prefix asked for. Nothing is sent if it was named before.
    pub fn namespace(&mut self, request: RequestId, namespace: &Namespace) -> Result<(), CallError> {
        self.ensure_open()?;
        let open = self.requests.get_mut(&request).ok_or(CallError::WrongState)?;
        let is_ready = !open.is_ours && open.is_accepted;
        let stream = open.stream;
        let Kind::SubscribeNamespace(prefix) = &mut open.kind else { return Err(CallError::WrongState) };
        let suffix = namespace.suffix(&prefix.namespace).filter(|_| is_ready).ok_or(CallError::WrongState)?;
        if prefix.active_bytes + cost(namespace) > NAMESPACE_BYTES_MAX {
            return Err(CallError::TooMany);
        }
        if prefix.active.insert(namespace.clone()) {
            prefix.active_bytes += cost(namespace);
            self.send(stream, &Message::Namespace(suffix))?;
        }
        Ok(())
    }

    /// NAMESPACE_DONE, for a namespace that was named before.
    pub fn namespace_done(&mut self, request: RequestId, namespace: &Namespace) -> Result<(), CallError> {
        self.ensure_open()?;
        let open =
            self.requests.get_mut(&request).filter(|open| !open.is_ours).ok_or(CallError::WrongState)?;
        let stream = open.stream;
        let Kind::SubscribeNamespace(prefix) = &mut open.kind else { return Err(CallError::WrongState) };
        let suffix = namespace.suffix(&prefix.namespace).ok_or(CallError::WrongState)?;
        if !prefix.active.remove(namespace) {
            return Err(CallError::WrongState);
        }
        prefix.active_bytes -= cost(namespace);
        self.send(stream, &Message::NamespaceDone(suffix))
    }

    /// PUBLISH_BLOCKED, for a track under the prefix of a SUBSCRIBE_TRACKS; it must not be published after.
    pub fn publish_blocked(&mut self, request: RequestId, track: &FullTrackName) -> Result<(), CallError> {
        self.ensure_open()?;
        let open = self.requests.get(&request).filter(|open| !open.is_ours && open.is_accepted);
        let open = open.ok_or(CallError::WrongState)?;
        let Kind::SubscribeTracks(prefix) = &open.kind else { return Err(CallError::WrongState) };
        let suffix = track.namespace().suffix(&prefix.namespace).ok_or(CallError::WrongState)?;
        let track = FullTrackName::new(suffix, track.name().clone()).map_err(|_| CallError::TooLarge)?;
        self.send(open.stream, &Message::PublishBlocked(track))
    }

    /// A request of the peer that has no answer yet.
    fn unanswered(&self, request: RequestId) -> Result<&Request, CallError> {
        self.ensure_open()?;
        let open = self.requests.get(&request).ok_or(CallError::WrongState)?;
        if open.is_ours || open.is_accepted { Err(CallError::WrongState) } else { Ok(open) }
    }

    /// The request that an update changes, if the update is the next to be answered.
    fn oldest_update(&self, update: RequestId) -> Result<RequestId, CallError> {
        self.ensure_open()?;
        let id = *self.requests_by_update.get(&update).ok_or(CallError::WrongState)?;
        let oldest = self.requests.get(&id).and_then(|open| open.updates_received.front());
        if oldest.is_some_and(|oldest| oldest.id == update) { Ok(id) } else { Err(CallError::WrongState) }
    }
}
