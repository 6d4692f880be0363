//! What the transport reports: streams, their bytes and their ends, datagrams, time.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::{
    Event, Session, StreamId, StreamKind, Transmit,
    aliases::Meaning,
    config::{DATA_STREAMS_MAX, HELD_BYTES_MAX, LATE_WAIT_MIN, LINGERING_STREAMS_MAX, STOPPED_WAIT},
    control::CONTROL_CLOSED,
    priority,
    request::{Ending, FetchData, Kind},
    stream::{RequestStream, Stream, StreamEnd, Untyped},
    timers::Timer,
};
use crate::{
    codec::{self, MessageContext},
    datagram::ObjectDatagram,
    error::{SessionError, StreamResetCode, Violation},
    message::RequestId,
};

impl Session {
    /// The peer opened a stream; it is known by this name from now on.
    pub fn accept_stream(&mut self, kind: StreamKind) -> StreamId {
        let id = self.name_stream();
        if self.is_closed {
            return id;
        }
        match kind {
            StreamKind::Uni if self.data_streams < DATA_STREAMS_MAX => {
                self.data_streams += 1;
                self.streams.insert(id, Stream::Untyped(Untyped::default()));
            }
            StreamKind::Bi
                if self.peer_request_streams < self.config.peer_requests_max + LINGERING_STREAMS_MAX =>
            {
                self.peer_request_streams += 1;
                self.streams.insert(id, Stream::Request(RequestStream::new(false, None)));
                // Our answers go before data, too (draft 7.2).
                let priority = priority::request(priority::DEFAULT);
                self.transmits.push_back(Transmit::Priority { stream: id, priority });
            }
            StreamKind::Uni => self.abort_over_limit(id, false),
            StreamKind::Bi => self.abort_over_limit(id, true),
        }
        id
    }

    /// Bytes of a stream, in order.
    pub fn handle_stream(&mut self, now: Instant, stream: StreamId, bytes: Bytes) {
        if self.is_closed || bytes.is_empty() {
            return;
        }
        self.now = now;
        let result = self.receive(stream, bytes);
        self.check(result);
    }

    /// The peer's FIN.
    pub fn handle_stream_finished(&mut self, now: Instant, stream: StreamId) {
        if self.is_closed {
            return;
        }
        self.now = now;
        let result = match self.streams.get_mut(&stream) {
            Some(Stream::PeerControl(_)) => Err(CONTROL_CLOSED),
            Some(Stream::Request(open)) => {
                open.can_receive = false;
                self.read_request_stream(stream)
            }
            Some(Stream::Untyped(untyped)) => {
                untyped.is_finished = true;
                self.read_type(stream)
            }
            Some(Stream::Padding) => {
                self.remove_stream(stream);
                Ok(())
            }
            Some(Stream::Subgroup(_) | Stream::Fetch(_)) => {
                self.end_data(stream, StreamEnd::Fin);
                Ok(())
            }
            Some(Stream::OurControl | Stream::OurSubgroup(_) | Stream::OurFetch(_)) | None => Ok(()),
        };
        self.check(result);
    }

    /// The peer's RESET_STREAM.
    pub fn handle_stream_reset(&mut self, now: Instant, stream: StreamId, code: u64) {
        if self.is_closed {
            return;
        }
        self.now = now;
        let code = StreamResetCode::from_code(code);
        match self.streams.get(&stream) {
            Some(Stream::PeerControl(_)) => self.check(Err(CONTROL_CLOSED)),
            Some(Stream::Request(_)) => self.request_stream_reset(stream, code),
            Some(Stream::Untyped(_) | Stream::Padding) => self.remove_stream(stream),
            Some(Stream::Subgroup(_) | Stream::Fetch(_)) => self.end_data(stream, StreamEnd::Reset(code)),
            Some(Stream::OurControl | Stream::OurSubgroup(_) | Stream::OurFetch(_)) | None => {}
        }
    }

    /// The peer's STOP_SENDING.
    pub fn handle_stream_stopped(&mut self, now: Instant, stream: StreamId, code: u64) {
        if self.is_closed {
            return;
        }
        self.now = now;
        let code = StreamResetCode::from_code(code);
        match self.streams.get(&stream) {
            Some(Stream::OurControl) => self.check(Err(CONTROL_CLOSED)),
            Some(Stream::Request(_)) => self.request_stream_stopped(stream, code),
            Some(Stream::OurSubgroup(_) | Stream::OurFetch(_)) => {
                self.data_stream_stopped(stream, code, StreamResetCode::Cancelled);
            }
            _ => {}
        }
    }

    /// The driver holds more for this stream than it wants to, because the peer does not read: a request is
    /// cancelled with EXCESSIVE_LOAD, a data stream is reset with TOO_FAR_BEHIND, a control stream ends the
    /// session. To be called when the bytes handed over by [`Transmit::Data`] and not yet taken by QUIC pass the
    /// driver's limit: nothing else bounds what answers a peer can provoke without reading them.
    pub fn handle_stalled(&mut self, now: Instant, stream: StreamId) {
        if self.is_closed {
            return;
        }
        self.now = now;
        const CODE: StreamResetCode = StreamResetCode::ExcessiveLoad;
        match self.streams.get(&stream) {
            Some(Stream::OurControl) => {
                self.close(SessionError::InternalError, "the peer does not read its control stream");
            }
            Some(Stream::Request(open)) => match (open.request, open.is_over) {
                (Some(request), false) => self.cancel_for(request, CODE, CODE),
                _ => self.abort_stream(stream, CODE),
            },
            Some(Stream::OurSubgroup(_) | Stream::OurFetch(_)) => {
                self.data_stream_stopped(
                    stream,
                    StreamResetCode::TooFarBehind,
                    StreamResetCode::TooFarBehind,
                );
            }
            _ => {}
        }
    }

    /// A datagram (after the WebTransport prefix): the subscription it belongs to and the object. `None`: padding,
    /// waiting for its alias, dropped, or the session is over. No allocation, no copy. Objects may come before the
    /// PUBLISH they belong to has been accepted, and for a while after [`Event::PublishDone`].
    pub fn handle_datagram(&mut self, now: Instant, bytes: Bytes) -> Option<(RequestId, ObjectDatagram)> {
        if self.is_closed {
            return None;
        }
        self.now = now;
        match ObjectDatagram::decode(bytes) {
            Ok(Some(datagram)) => match self.aliases.meaning(datagram.alias) {
                Some(Meaning::Of(request)) => Some((request, datagram)),
                Some(Meaning::Discard) => {
                    self.counters.datagrams_unwanted += 1;
                    None
                }
                None => {
                    self.let_wait(datagram);
                    None
                }
            },
            Ok(None) => {
                self.counters.padding_datagrams += 1;
                None
            }
            Err(violation) => {
                self.check(Err(violation));
                None
            }
        }
    }

    /// The transport is gone. `code` is what the peer closed with, if it did.
    pub fn handle_closed(&mut self, code: Option<SessionError>, reason: &str) {
        if !self.is_closed {
            self.transmits.clear();
            self.end(code.unwrap_or(SessionError::InternalError), reason);
        }
    }

    /// The time of [`Session::poll_timeout`] has come; too early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_closed {
            return;
        }
        self.now = now;
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Setup => self.close(SessionError::ControlMessageTimeout, "SETUP did not come in time"),
                Timer::GoAway => self.goaway_timed_out(),
                Timer::RequestGoAway(request) => self.request_goaway_timed_out(request),
                Timer::Stopped(request) => self.stopped_timed_out(request),
                Timer::WaitingDatagrams => self.expire_datagrams(),
                Timer::WaitingStream(stream) => self.expire_stream(stream),
                Timer::LateAlias(alias) => {
                    self.aliases.forget(alias);
                }
            }
        }
    }

    fn receive(&mut self, stream: StreamId, bytes: Bytes) -> Result<(), Violation> {
        // One turn's bytes may be many whole messages: let in as many as fit, as long as reading makes room.
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = HELD_BYTES_MAX.saturating_sub(self.held_bytes).min(rest.len());
            if room == 0 {
                return self.refuse_held(stream);
            }
            match self.streams.get_mut(&stream) {
                Some(Stream::PeerControl(buffer)) => buffer.extend_from_slice(&rest.split_to(room)),
                Some(Stream::Untyped(untyped)) => untyped.buffer.extend_from_slice(&rest.split_to(room)),
                Some(Stream::Request(open)) if !open.is_over => {
                    open.buffer.extend_from_slice(&rest.split_to(room));
                }
                Some(Stream::Subgroup(_) | Stream::Fetch(_)) => {
                    self.push_data(stream, rest);
                    return Ok(());
                }
                _ => return Ok(()),
            }
            self.held_bytes += room;
            self.read(stream)?;
        }
        Ok(())
    }

    pub(super) fn read(&mut self, stream: StreamId) -> Result<(), Violation> {
        match self.streams.get(&stream) {
            Some(Stream::PeerControl(_)) => self.read_control(stream),
            Some(Stream::Untyped(_)) => self.read_type(stream),
            Some(Stream::Request(_)) => self.read_request_stream(stream),
            _ => Ok(()),
        }
    }

    /// A stream would need more than [`HELD_BYTES_MAX`].
    fn refuse_held(&mut self, stream: StreamId) -> Result<(), Violation> {
        match self.streams.get(&stream) {
            Some(Stream::PeerControl(_)) => {
                return Err(Violation {
                    code: SessionError::InternalError,
                    reason: "too many bytes are held",
                });
            }
            Some(Stream::Request(open)) => match open.request {
                Some(request) => {
                    self.cancel_for(request, StreamResetCode::ExcessiveLoad, StreamResetCode::ExcessiveLoad);
                }
                None => self.abort_over_limit(stream, true),
            },
            _ => self.abort_over_limit(stream, false),
        }
        Ok(())
    }

    fn abort_over_limit(&mut self, stream: StreamId, is_bidirectional: bool) {
        self.counters.streams_over_limit += 1;
        if is_bidirectional {
            self.transmits.push_back(Transmit::Reset { stream, code: StreamResetCode::ExcessiveLoad });
        }
        self.transmits.push_back(Transmit::Stop { stream, code: StreamResetCode::ExcessiveLoad });
        self.remove_stream(stream);
    }

    /// Reads the messages that a request stream has brought, and its end.
    pub(super) fn read_request_stream(&mut self, id: StreamId) -> Result<(), Violation> {
        while let Some(Stream::Request(stream)) = self.streams.get_mut(&id) {
            if stream.is_over {
                if !stream.can_receive {
                    self.remove_stream(id);
                }
                return Ok(());
            }
            if self.peer_setup.is_none() {
                return Ok(());
            }
            let context = match stream.request {
                None => MessageContext::RequestFirst,
                Some(_) => MessageContext::Request,
            };
            let before = stream.buffer.remaining();
            let message = codec::decode(&mut stream.buffer, context)?;
            self.held_bytes -= before - stream.buffer.remaining();
            match (message, stream.request) {
                (Some(message), Some(request)) => self.handle_message(request, message)?,
                (Some(message), None) => self.handle_first_message(id, message)?,
                (None, _) if stream.can_receive => {
                    if stream.buffer.is_empty() {
                        // Gives the memory of a large message back.
                        stream.buffer = bytes::BytesMut::new();
                    }
                    return Ok(());
                }
                (None, _) if !stream.buffer.is_empty() => {
                    return Err(Violation::protocol("a request stream ended within a message"));
                }
                (None, None) => {
                    self.abort_stream(id, StreamResetCode::Cancelled);
                    return Ok(());
                }
                (None, Some(request)) => {
                    self.request_stream_finished(request);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The peer has nothing more to say about a request. For some requests that ends them.
    fn request_stream_finished(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        if let Kind::Fetch(fetched) = &request.kind
            && request.is_ours
            && request.is_accepted
            && fetched.data == FetchData::NotYet
        {
            // Its data stream may be late, or may have been reset before it could say whose it was.
            self.wait_for_end(id, LATE_WAIT_MIN);
            return;
        }
        let ends = match (&request.kind, request.is_ours) {
            (Kind::Subscription(subscribed), _) => {
                // A publisher ends by PUBLISH_DONE; a subscriber that will not update may FIN early.
                !subscribed.view.we_publish || (request.is_ours && !request.is_accepted)
            }
            (Kind::Fetch(_) | Kind::TrackStatus, is_ours) => is_ours && !request.is_accepted,
            (Kind::PublishNamespace, is_ours) => !is_ours || !request.is_accepted,
            (Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_), _) => true,
        };
        if ends {
            self.cancelled_by_peer(id, StreamResetCode::Cancelled, Ending::Refused);
        }
    }

    fn request_stream_reset(&mut self, id: StreamId, code: StreamResetCode) {
        let Some(Stream::Request(stream)) = self.streams.get_mut(&id) else { return };
        stream.can_receive = false;
        match stream.request {
            Some(request) if !stream.is_over => {
                self.cancelled_by_peer(request, code, Ending::Aborted(StreamResetCode::Cancelled));
            }
            Some(_) => self.remove_stream(id),
            None => self.abort_stream(id, StreamResetCode::Cancelled),
        }
    }

    fn request_stream_stopped(&mut self, id: StreamId, code: StreamResetCode) {
        let Some(Stream::Request(stream)) = self.streams.get_mut(&id) else { return };
        if !stream.can_send {
            return;
        }
        stream.can_send = false;
        self.transmits.push_back(Transmit::Reset { stream: id, code: StreamResetCode::Cancelled });
        let Some(request_id) = stream.request else {
            self.abort_stream(id, StreamResetCode::Cancelled);
            return;
        };
        let Some(request) = self.requests.get(&request_id) else { return };
        match (request.is_ours, request.is_accepted, &request.kind) {
            // A refusal may follow: whoever drops both halves at once stops ours before its answer arrives.
            (true, false, _) => {
                self.wait_for_end(request_id, STOPPED_WAIT);
            }
            // Its items, or their absence, tell the rest.
            (true, true, Kind::Fetch(_)) => {}
            _ => {
                self.cancelled_by_peer(request_id, code, Ending::Aborted(StreamResetCode::Cancelled));
            }
        }
    }

    /// Half of a request of ours is closed, and what should follow may never come.
    fn wait_for_end(&mut self, id: RequestId, wait: Duration) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let until = self.now + wait;
        if let Some(before) = request.stopped_until.replace(until) {
            self.timers.clear(before, Timer::Stopped(id));
        }
        self.timers.set(until, Timer::Stopped(id));
    }

    fn stopped_timed_out(&mut self, id: RequestId) {
        const CODE: StreamResetCode = StreamResetCode::Cancelled;
        let Some(request) = self.requests.get(&id) else { return };
        let Kind::Fetch(fetched) = &request.kind else {
            self.cancel_for(id, CODE, CODE);
            return;
        };
        let has_fin =
            matches!(self.streams.get(&request.stream), Some(Stream::Request(open)) if !open.can_receive);
        if !request.is_accepted {
            self.cancel_for(id, CODE, CODE);
        } else if fetched.data == FetchData::NotYet && has_fin {
            self.fetch_data_ended(id, Some(CODE));
        }
    }

    /// Tells the application that a request is over by the peer's doing, and ends it.
    pub(super) fn cancelled_by_peer(&mut self, request: RequestId, code: StreamResetCode, ending: Ending) {
        if self.requests.contains_key(&request) {
            self.end_namespaces(request);
            self.end_request(request, ending);
            self.events.push_back(Event::Cancelled { request, code });
        }
    }
}
