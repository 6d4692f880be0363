//! How a request ends: one place for every reason there is.

use std::time::Duration;

use super::{
    CallError, Event, Session, StreamId, Transmit,
    aliases::Meaning,
    config::{LATE_ALIASES_MAX, LATE_WAIT_MAX, LATE_WAIT_MIN},
    request::{Ending, FetchData, Fetched, Kind, Subscribed},
    stream::Stream,
    timers::Timer,
};
use crate::{
    error::{RequestErrorCode, StreamResetCode},
    message::{Message, RequestError, RequestId, TrackAlias},
    name::FullTrackName,
};

impl Session {
    /// Ends a request in either direction by resetting and stopping its streams. No event follows.
    pub fn cancel(&mut self, request: RequestId, code: StreamResetCode) -> Result<(), CallError> {
        self.ensure_open()?;
        if !self.requests.contains_key(&request) {
            return Err(CallError::WrongState);
        }
        self.end_request(request, Ending::Aborted(code));
        Ok(())
    }

    /// Cancels a request for a reason of our own, and tells the application.
    pub(super) fn cancel_for(
        &mut self,
        request: RequestId,
        code: StreamResetCode,
        stream_code: StreamResetCode,
    ) {
        self.cancelled_by_peer(request, code, Ending::Aborted(stream_code));
    }

    /// Forgets a request and whatever belongs to it. Tells the peer, not the application.
    pub(super) fn end_request(&mut self, id: RequestId, ending: Ending) {
        let Some(request) = self.requests.remove(&id) else { return };
        self.peer_requests -= usize::from(!request.is_ours);
        for update in &request.updates_received {
            self.requests_by_update.remove(&update.id);
        }
        if let Some(until) = request.goaway_until {
            self.timers.clear(until, Timer::RequestGoAway(id));
        }
        if let Some(until) = request.stopped_until {
            self.timers.clear(until, Timer::Stopped(id));
        }
        match request.kind {
            Kind::Subscription(subscribed) => self.end_subscription(id, *subscribed, ending),
            Kind::Fetch(fetched) => self.end_fetch(&fetched, ending),
            Kind::TrackStatus
            | Kind::PublishNamespace
            | Kind::SubscribeNamespace(_)
            | Kind::SubscribeTracks(_) => {}
        }
        match ending {
            Ending::Aborted(code) => self.abort_stream(request.stream, code),
            Ending::Done | Ending::Refused => self.finish_request_stream(request.stream),
        }
    }

    fn end_subscription(&mut self, id: RequestId, subscribed: Subscribed, ending: Ending) {
        let view = &subscribed.view;
        self.tracks.remove(&view.track, view.we_publish, id);
        if let Some(code) = ending.data_code() {
            for &stream in &subscribed.streams {
                self.transmits.push_back(if view.we_publish {
                    Transmit::Reset { stream, code }
                } else {
                    Transmit::Stop { stream, code }
                });
                self.remove_stream(stream);
            }
        }
        match view.alias {
            Some(alias) if view.we_publish => self.our_aliases.remove(alias),
            Some(alias) => self.retire_alias(id, alias, &subscribed, ending),
            None => {}
        }
        self.refuse_joins(id);
    }

    fn end_fetch(&mut self, fetched: &Fetched, ending: Ending) {
        let FetchData::Open(stream) = fetched.data else { return };
        let code = ending.data_code().unwrap_or(StreamResetCode::Cancelled);
        let is_ours = matches!(self.streams.get(&stream), Some(Stream::OurFetch(_)));
        self.transmits.push_back(if is_ours {
            Transmit::Reset { stream, code }
        } else {
            Transmit::Stop { stream, code }
        });
        self.remove_stream(stream);
    }

    /// FIN on our half; the peer's is awaited, so that an answer is never overtaken by a STOP_SENDING.
    fn finish_request_stream(&mut self, id: StreamId) {
        let Some(Stream::Request(stream)) = self.streams.get_mut(&id) else { return };
        if stream.can_send {
            stream.can_send = false;
            self.transmits.push_back(Transmit::Finish { stream: id, by: None });
        }
        stream.is_over = true;
        self.held_bytes -= stream.buffer.len();
        stream.buffer = bytes::BytesMut::new();
        if !stream.can_receive {
            self.remove_stream(id);
        }
    }

    /// Resets and stops what is open of a request stream.
    pub(super) fn abort_stream(&mut self, id: StreamId, code: StreamResetCode) {
        let Some(Stream::Request(stream)) = self.streams.get(&id) else { return };
        if stream.can_send {
            self.transmits.push_back(Transmit::Reset { stream: id, code });
        }
        if stream.can_receive {
            self.transmits.push_back(Transmit::Stop { stream: id, code });
        }
        self.remove_stream(id);
    }

    /// Refuses a request that has no record: REQUEST_ERROR and FIN (draft 3.3.2).
    pub(super) fn refuse_stream(&mut self, stream: StreamId, error: RequestError) {
        // Our own refusals are far below the limit of a message.
        let _ = self.send(stream, &Message::RequestError(error));
        self.finish_request_stream(stream);
    }

    /// Refuses a request of the peer that has a record but no answer.
    pub(super) fn refuse_request(&mut self, id: RequestId, code: RequestErrorCode, reason: &'static str) {
        if let Some(request) = self.requests.get(&id) {
            let _ = self.send(request.stream, &Message::RequestError(RequestError::new(code, reason)));
            self.end_request(id, Ending::Refused);
        }
    }

    /// The peer's subscription is over. What still comes under its alias is delivered or thrown away for a while,
    /// but not taken for something unknown (draft 10.11, 11.1).
    fn retire_alias(&mut self, id: RequestId, alias: TrackAlias, subscribed: &Subscribed, ending: Ending) {
        if self.aliases.meaning(alias) != Some(Meaning::Of(id)) {
            return;
        }
        // A PUBLISH and a SUBSCRIBE of the same track may have met; then the other one goes on.
        let other = self.tracks.of(&subscribed.view.track, false).iter().copied().find(|other| {
            self.requests
                .get(other)
                .and_then(|other| other.subscribed())
                .is_some_and(|other| other.view.alias == Some(alias))
        });
        if let Some(other) = other {
            self.aliases.set(alias, other);
            return;
        }
        let meaning = match ending {
            Ending::Done => Meaning::Of(id),
            Ending::Refused | Ending::Aborted(_) => Meaning::Discard,
        };
        let properties = &subscribed.properties;
        let ours = [
            properties.object_delivery_timeout_ms,
            properties.subgroup_delivery_timeout_ms,
            subscribed.view.parameters.object_delivery_timeout_ms,
            subscribed.view.parameters.subgroup_delivery_timeout_ms,
        ];
        let wait = Duration::from_millis(ours.into_iter().flatten().max().unwrap_or(0));
        self.keep_late(
            alias,
            meaning,
            subscribed.view.track.clone(),
            wait.clamp(LATE_WAIT_MIN, LATE_WAIT_MAX),
        );
    }

    /// Throws away what comes under an alias of a track that was refused before it had a record.
    pub(super) fn discard_alias(&mut self, alias: TrackAlias, track: &FullTrackName) {
        if self.aliases.meaning(alias).is_none() {
            self.keep_late(alias, Meaning::Discard, track.clone(), LATE_WAIT_MIN);
            self.counters.datagrams_unwanted += self.waiting_room.take(alias).len() as u64;
        }
    }

    fn keep_late(&mut self, alias: TrackAlias, meaning: Meaning, track: FullTrackName, wait: Duration) {
        let until = self.now + wait;
        if let Some(replaced) = self.aliases.retire(alias, meaning, track, until) {
            self.timers.clear(replaced, Timer::LateAlias(alias));
        }
        self.timers.set(until, Timer::LateAlias(alias));
        if self.aliases.late_len() > LATE_ALIASES_MAX {
            let first = self.aliases.first_late();
            first.into_iter().for_each(|alias| self.forget_late(alias));
        }
    }

    pub(super) fn forget_late(&mut self, alias: TrackAlias) {
        if let Some(until) = self.aliases.forget(alias) {
            self.timers.clear(until, Timer::LateAlias(alias));
        }
    }

    /// The namespaces of a SUBSCRIBE_NAMESPACE of ours are gone with it (draft 10.18).
    pub(super) fn end_namespaces(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(&id).filter(|request| request.is_ours) else { return };
        if let Kind::SubscribeNamespace(prefix) = &mut request.kind {
            prefix.active_bytes = 0;
            let done = std::mem::take(&mut prefix.active).into_iter();
            self.events.extend(done.map(|namespace| Event::NamespaceDone(id, namespace)));
        }
    }

    /// A joining FETCH cannot join what is over.
    fn refuse_joins(&mut self, subscription: RequestId) {
        for fetch in self.joins_of(subscription) {
            self.refuse_request(
                fetch,
                RequestErrorCode::InvalidJoiningRequestId,
                "the subscription ended before it was established",
            );
        }
    }
}
