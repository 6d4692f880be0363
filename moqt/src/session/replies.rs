//! What the peer says about an open request: answers, updates, and what follows them (draft 10).

use super::{
    Event, Session,
    config::{NAMESPACE_BYTES_MAX, NAMESPACE_COST, Role, UPDATES_MAX},
    parameters,
    received::{Objection, PREFIX_OVERLAP, RESERVED, is_reserved},
    request::{Ending, FetchData, Kind, UNEXPECTED, Update},
    track_properties::TrackProperties,
};
use crate::{
    codec::Scope,
    error::{PublishDoneCode, RequestErrorCode, StreamResetCode, Violation},
    message::{
        FetchOk, GoAway, Message, Parameters, PublishDone, RequestError, RequestId, RequestOk, SubscribeOk,
    },
    name::{FullTrackName, NameError, Namespace},
    object::Location,
};

const TWICE: Violation = Violation::protocol("a request was answered twice");
const TRACK_PROPERTIES: Violation = Violation::protocol("REQUEST_OK has track properties");
const TOO_LONG: Violation = Violation::protocol("a namespace is longer than allowed");

impl Session {
    pub(super) fn handle_message(&mut self, id: RequestId, message: Message) -> Result<(), Violation> {
        match message {
            Message::RequestOk(ok) => self.handle_request_ok(id, ok),
            Message::RequestError(error) => self.handle_request_error(id, error),
            Message::SubscribeOk(ok) => self.handle_subscribe_ok(id, ok),
            Message::FetchOk(ok) => self.handle_fetch_ok(id, ok),
            Message::RequestUpdate(update, parameters) => self.handle_update(id, update, parameters),
            Message::PublishDone(done) => self.handle_publish_done(id, done),
            Message::Namespace(suffix) => self.handle_namespace(id, &suffix),
            Message::NamespaceDone(suffix) => self.handle_namespace_done(id, &suffix),
            Message::PublishBlocked(track) => self.handle_publish_blocked(id, &track),
            Message::GoAway(goaway) => self.handle_request_goaway(id, goaway),
            Message::Setup(_) | Message::Request(..) => Err(UNEXPECTED),
        }
    }

    fn handle_request_ok(&mut self, id: RequestId, ok: RequestOk) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        if !request.is_ours || request.is_accepted {
            return self.handle_update_ok(id, ok);
        }
        let allowed = request.answerable().ok_or(UNEXPECTED)?;
        allowed.check(&ok.parameters)?;
        if matches!(request.kind, Kind::TrackStatus) {
            TrackProperties::parse(&ok.track_properties)?;
            self.events.push_back(Event::Accepted(id, ok));
            self.end_request(id, Ending::Done);
            return Ok(());
        }
        if !ok.track_properties.is_empty() {
            return Err(TRACK_PROPERTIES);
        }
        request.is_accepted = true;
        if let Some(subscribed) = request.subscribed_mut() {
            subscribed.view.is_established = true;
            parameters::apply_publish_ok(&mut subscribed.view.parameters, &ok.parameters);
        }
        self.events.push_back(Event::Accepted(id, ok));
        self.reprioritize(id);
        self.resolve_joins(id);
        Ok(())
    }

    fn handle_update_ok(&mut self, id: RequestId, ok: RequestOk) -> Result<(), Violation> {
        Scope::UpdateOk.check(&ok.parameters)?;
        if !ok.track_properties.is_empty() {
            return Err(TRACK_PROPERTIES);
        }
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        let update = request.updates_sent.pop_front().ok_or(TWICE)?;
        self.events.push_back(Event::Accepted(update.id, ok.clone()));
        self.apply_update(id, &update.parameters, &ok.parameters);
        Ok(())
    }

    /// Applies an update that was accepted, whoever made it.
    pub(super) fn apply_update(&mut self, id: RequestId, update: &Parameters, answer: &Parameters) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        match &mut request.kind {
            Kind::Subscription(subscribed) => {
                let did_forward = subscribed.forwards();
                parameters::apply(&mut subscribed.view.parameters, update);
                parameters::apply(&mut subscribed.view.parameters, answer);
                if !did_forward && subscribed.forwards() {
                    subscribed.view.joining = answer.largest_object;
                }
            }
            Kind::Fetch(fetched) => fetched.priority = update.subscriber_priority.unwrap_or(fetched.priority),
            Kind::SubscribeNamespace(prefix) | Kind::SubscribeTracks(prefix) => {
                if let Some(namespace) = &update.namespace_prefix {
                    prefix.namespace = namespace.clone();
                    let (kept, gone) = std::mem::take(&mut prefix.active)
                        .into_iter()
                        .partition(|name| name.starts_with(namespace));
                    prefix.active = kept;
                    let gone: std::collections::BTreeSet<Namespace> = gone;
                    prefix.active_bytes -= gone.iter().map(cost).sum::<usize>();
                    if request.is_ours {
                        // The peer has no way left to say so.
                        self.events
                            .extend(gone.into_iter().map(|namespace| Event::NamespaceDone(id, namespace)));
                    }
                }
            }
            Kind::TrackStatus | Kind::PublishNamespace => {}
        }
        if update.subscriber_priority.is_some() {
            self.reprioritize(id);
        }
    }

    fn handle_request_error(&mut self, id: RequestId, error: RequestError) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        if let Some(redirect) = &error.redirect {
            if self.config.role == Role::Server && !redirect.uri.is_empty() {
                return Err(Violation::protocol("a client's redirect has a URI"));
            }
            if request.is_namespace_scoped() && !redirect.track.name().is_empty() {
                return Err(Violation::protocol("the redirect of a namespace has a track name"));
            }
        }
        if request.is_ours && !request.is_accepted {
            self.events.push_back(Event::Refused(id, error));
            self.end_request(id, Ending::Refused);
            return Ok(());
        }
        let update = request.updates_sent.pop_front().ok_or(TWICE)?;
        let we_publish = request.we_publish();
        self.events.push_back(Event::Refused(update.id, error));
        if we_publish {
            // The publisher ends a subscription whose update failed (draft 10.9.1).
            self.end_publishing(id, PublishDoneCode::UpdateFailed, "an update was refused");
            self.events.push_back(Event::Cancelled { request: id, code: StreamResetCode::Cancelled });
        }
        Ok(())
    }

    fn handle_subscribe_ok(&mut self, id: RequestId, ok: SubscribeOk) -> Result<(), Violation> {
        let Some(request) = self.requests.get(&id) else { return Ok(()) };
        if !request.is_ours || !request.peer_publishes() {
            return Err(UNEXPECTED);
        }
        if request.is_accepted {
            return Err(TWICE);
        }
        let properties = TrackProperties::parse(&ok.track_properties)?;
        let track = request.subscribed().map(|subscribed| subscribed.view.track.clone()).ok_or(UNEXPECTED)?;
        self.check_alias(ok.alias, &track)?;
        if let Some((code, reason)) = properties.objection() {
            self.events.push_back(Event::Refused(id, RequestError::new(code, reason)));
            self.end_request(id, Ending::Aborted(StreamResetCode::Cancelled));
            self.discard_alias(ok.alias, &track);
            return Ok(());
        }
        if let Some(request) = self.requests.get_mut(&id) {
            request.is_accepted = true;
            if let Some(subscribed) = request.subscribed_mut() {
                subscribed.properties = properties;
                let view = &mut subscribed.view;
                view.alias = Some(ok.alias);
                view.is_established = true;
                view.joining = ok.parameters.largest_object;
                parameters::apply(&mut view.parameters, &ok.parameters);
            }
        }
        let alias = ok.alias;
        self.events.push_back(Event::SubscribeAccepted(id, ok));
        self.establish_alias(alias, id);
        Ok(())
    }

    fn handle_fetch_ok(&mut self, id: RequestId, ok: FetchOk) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        let (is_ours, is_accepted) = (request.is_ours, request.is_accepted);
        let fetched = request.fetched_mut().filter(|_| is_ours).ok_or(UNEXPECTED)?;
        if is_accepted {
            return Err(TWICE);
        }
        if fetched.start.is_some_and(|start| ends_before(ok.end, start)) {
            return Err(Violation::protocol("FETCH_OK ends before the range starts"));
        }
        let data = fetched.data;
        request.is_accepted = true;
        let properties = TrackProperties::parse(&ok.track_properties)?;
        if let Some((code, reason)) = properties.objection() {
            self.events.push_back(Event::Refused(id, RequestError::new(code, reason)));
            self.end_request(id, Ending::Aborted(StreamResetCode::Cancelled));
            return Ok(());
        }
        self.events.push_back(Event::FetchAccepted(id, ok));
        if data == FetchData::Finished {
            self.events.push_back(Event::FetchEnded { request: id, reset: None });
            self.end_request(id, Ending::Done);
        }
        Ok(())
    }

    fn handle_publish_done(&mut self, id: RequestId, done: PublishDone) -> Result<(), Violation> {
        let Some(request) = self.requests.get(&id) else { return Ok(()) };
        // PUBLISH may end unanswered, SUBSCRIBE has been answered.
        if !request.peer_publishes() || (request.is_ours && !request.is_accepted) {
            return Err(UNEXPECTED);
        }
        self.events.push_back(Event::PublishDone(id, done));
        self.end_request(id, Ending::Done);
        Ok(())
    }

    fn handle_update(
        &mut self,
        id: RequestId,
        update: RequestId,
        mut parameters: Parameters,
    ) -> Result<(), Violation> {
        self.peer_ids.insert(update)?;
        let token_objection = self.resolve_tokens(&mut parameters)?;
        let Some(request) = self.requests.get(&id) else { return Ok(()) };
        if !request.may_update(false) {
            return Err(UNEXPECTED);
        }
        request.updatable().ok_or(UNEXPECTED)?.check(&parameters)?;
        let objection: Option<Objection> = if request.updates_received.len() >= UPDATES_MAX {
            Some((RequestErrorCode::ExcessiveLoad, "too many unanswered updates"))
        } else if let Some(prefix) = &parameters.namespace_prefix {
            let is_overlap = self.overlaps(&request.kind, prefix, id);
            token_objection
                .or(is_reserved(prefix).then_some(RESERVED))
                .or(is_overlap.then_some(PREFIX_OVERLAP))
        } else {
            token_objection
        };
        if let Some((code, reason)) = objection {
            self.fail_update(id, RequestError::new(code, reason));
            self.events.push_back(Event::Cancelled { request: id, code: StreamResetCode::Cancelled });
            return Ok(());
        }
        if let Some(request) = self.requests.get_mut(&id) {
            let kept = Update { id: update, parameters: parameters::of_update(&parameters) };
            request.updates_received.push_back(kept);
        }
        self.requests_by_update.insert(update, id);
        self.events.push_back(Event::Update { request: id, update, parameters });
        Ok(())
    }

    /// Refuses an update, and with it all that stand unanswered; the request ends (draft 10.9.1).
    pub(super) fn fail_update(&mut self, id: RequestId, error: RequestError) {
        let Some(request) = self.requests.get(&id) else { return };
        // Refusing an update of a request without answer refuses the request.
        let ends_publishing = request.we_publish() && request.is_accepted;
        // The application's errors are checked before, ours are short.
        let _ = self.send(request.stream, &Message::RequestError(error));
        if ends_publishing {
            self.end_publishing(id, PublishDoneCode::UpdateFailed, "an update was refused");
        } else {
            self.end_request(id, Ending::Refused);
        }
    }

    fn handle_namespace(&mut self, id: RequestId, suffix: &Namespace) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        let is_answered = request.is_ours && request.is_accepted;
        let Kind::SubscribeNamespace(prefix) = &mut request.kind else { return Err(UNEXPECTED) };
        if !is_answered {
            return Err(UNEXPECTED);
        }
        let namespace = prefix.namespace.join(suffix).map_err(|_: NameError| TOO_LONG)?;
        if !prefix.active.insert(namespace.clone()) {
            return Ok(());
        }
        prefix.active_bytes += cost(&namespace);
        if prefix.active_bytes > NAMESPACE_BYTES_MAX {
            prefix.active.remove(&namespace);
            self.cancel_for(id, StreamResetCode::ExcessiveLoad, StreamResetCode::ExcessiveLoad);
            return Ok(());
        }
        self.events.push_back(Event::Namespace(id, namespace));
        Ok(())
    }

    fn handle_namespace_done(&mut self, id: RequestId, suffix: &Namespace) -> Result<(), Violation> {
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        let is_answered = request.is_ours && request.is_accepted;
        let Kind::SubscribeNamespace(prefix) = &mut request.kind else { return Err(UNEXPECTED) };
        if !is_answered {
            return Err(UNEXPECTED);
        }
        let namespace = prefix.namespace.join(suffix).map_err(|_: NameError| TOO_LONG)?;
        if !prefix.active.remove(&namespace) {
            return Err(Violation::protocol("NAMESPACE_DONE came without NAMESPACE"));
        }
        prefix.active_bytes -= cost(&namespace);
        self.events.push_back(Event::NamespaceDone(id, namespace));
        Ok(())
    }

    fn handle_publish_blocked(&mut self, id: RequestId, suffix: &FullTrackName) -> Result<(), Violation> {
        let Some(request) = self.requests.get(&id) else { return Ok(()) };
        let Kind::SubscribeTracks(prefix) = &request.kind else { return Err(UNEXPECTED) };
        if !request.is_ours || !request.is_accepted {
            return Err(UNEXPECTED);
        }
        let namespace = prefix.namespace.join(suffix.namespace()).map_err(|_: NameError| TOO_LONG)?;
        let track = FullTrackName::new(namespace, suffix.name().clone()).map_err(|_: NameError| TOO_LONG)?;
        self.events.push_back(Event::PublishBlocked(id, track));
        Ok(())
    }

    fn handle_request_goaway(&mut self, id: RequestId, goaway: GoAway) -> Result<(), Violation> {
        self.check_goaway_uri(&goaway)?;
        let Some(request) = self.requests.get_mut(&id) else { return Ok(()) };
        let is_prefix = matches!(request.kind, Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_));
        if is_prefix && request.is_ours && !request.is_accepted {
            return Err(UNEXPECTED);
        }
        if std::mem::replace(&mut request.goaway_received, true) {
            return Err(Violation::protocol("GOAWAY came twice for a request"));
        }
        self.events.push_back(Event::GoAway(Some(id), goaway));
        Ok(())
    }
}

/// What a namespace costs of [`NAMESPACE_BYTES_MAX`].
pub(super) fn cost(namespace: &Namespace) -> usize {
    NAMESPACE_COST * (1 + namespace.fields().len()) + namespace.byte_len()
}

/// True when `end`, in the wire's encoding, lies before `start`.
pub(super) fn ends_before(end: Location, start: Location) -> bool {
    end.group < start.group || (end.group == start.group && end.object != 0 && end.object < start.object)
}
