//! The two control streams: SETUP and GOAWAY (draft 3.3, 10.3, 10.4).

use std::time::Duration;

use bytes::Bytes;

use super::{
    CallError, Event, Session, StreamId, StreamKind, Transmit,
    config::{Carrier, Role},
    priority,
    stream::Stream,
    timers::Timer,
    uri,
};
use crate::{
    codec::{self, MessageContext, URI_BYTES_MAX},
    error::{SessionError, StreamResetCode, Violation},
    message::{GoAway, Message, RequestId, Setup},
};

impl Session {
    /// Sends GOAWAY. With a `timeout` above zero the session closes after it: with GOAWAY_TIMEOUT if requests are
    /// still open, else without error. New requests of the peer are refused from now on. A client's `uri` is empty.
    pub fn go_away(
        &mut self,
        now: std::time::Instant,
        uri: &str,
        timeout: Duration,
    ) -> Result<(), CallError> {
        self.ensure_open()?;
        self.now = now;
        if self.goaway_sent {
            return Err(CallError::WrongState);
        }
        let goaway = self.goaway(uri, timeout, Some(self.peer_ids.next()))?;
        self.send(self.our_control, &Message::GoAway(goaway))?;
        self.goaway_sent = true;
        if !timeout.is_zero() {
            self.timers.set(now + timeout, Timer::GoAway);
        }
        Ok(())
    }

    /// Sends GOAWAY for one request: it should be made again, there or here. With a `timeout` above zero the
    /// request is cancelled with GOING_AWAY after it, and [`Event::Cancelled`] says so.
    pub fn go_away_request(
        &mut self,
        now: std::time::Instant,
        request: RequestId,
        uri: &str,
        timeout: Duration,
    ) -> Result<(), CallError> {
        self.ensure_open()?;
        self.now = now;
        let open = self.requests.get(&request).ok_or(CallError::WrongState)?;
        // A namespace subscription's answer comes before anything else (draft 10.18).
        if open.goaway_sent || (!open.is_ours && !open.is_accepted) {
            return Err(CallError::WrongState);
        }
        let stream = open.stream;
        let goaway = self.goaway(uri, timeout, None)?;
        self.send(stream, &Message::GoAway(goaway))?;
        if let Some(open) = self.requests.get_mut(&request) {
            open.goaway_sent = true;
            if !timeout.is_zero() {
                open.goaway_until = Some(now + timeout);
                self.timers.set(now + timeout, Timer::RequestGoAway(request));
            }
        }
        Ok(())
    }

    fn goaway(
        &self,
        uri: &str,
        timeout: Duration,
        request_id: Option<RequestId>,
    ) -> Result<GoAway, CallError> {
        if uri.len() > URI_BYTES_MAX || (self.config.role == Role::Client && !uri.is_empty()) {
            return Err(CallError::TooLarge);
        }
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(GoAway { uri: Bytes::copy_from_slice(uri.as_bytes()), timeout_ms, request_id })
    }

    pub(super) fn send_setup(&mut self) {
        let cache = self.config.auth_token_cache_bytes_max;
        self.config.setup.max_auth_token_cache_size = (cache > 0).then_some(cache);
        let stream = self.our_control;
        self.transmits.push_back(Transmit::Open {
            stream,
            kind: StreamKind::Uni,
            priority: priority::CONTROL,
        });
        let setup = Message::Setup(self.config.setup.clone());
        if self.send(stream, &setup).is_err() {
            self.close(SessionError::InternalError, "our SETUP is larger than the protocol allows");
        }
    }

    /// A unidirectional stream turned out to begin with SETUP; `bytes` are all that came on it, from there on.
    pub(super) fn open_peer_control(&mut self, stream: StreamId) -> Result<(), Violation> {
        if self.peer_control.is_some() {
            return Err(Violation::protocol("a second control stream was opened"));
        }
        let Some(Stream::Untyped(untyped)) = self.streams.remove(&stream) else { return Ok(()) };
        self.data_streams -= 1;
        self.peer_control = Some(stream);
        let is_finished = untyped.is_finished;
        self.streams.insert(stream, Stream::PeerControl(untyped.buffer));
        self.read_control(stream)?;
        if is_finished { Err(CONTROL_CLOSED) } else { Ok(()) }
    }

    pub(super) fn read_control(&mut self, stream: StreamId) -> Result<(), Violation> {
        while let Some(Stream::PeerControl(buffer)) = self.streams.get_mut(&stream) {
            let before = buffer.len();
            let message = codec::decode(buffer, MessageContext::Control)?;
            self.held_bytes -= before - buffer.len();
            let Some(message) = message else { return Ok(()) };
            match message {
                Message::Setup(setup) => self.handle_setup(setup)?,
                _ if self.peer_setup.is_none() => {
                    return Err(Violation::protocol("the control stream does not begin with SETUP"));
                }
                Message::GoAway(goaway) => self.handle_goaway(goaway)?,
                _ => {
                    return Err(Violation::protocol(
                        "a message came on the control stream that belongs elsewhere",
                    ));
                }
            }
        }
        Ok(())
    }

    fn handle_setup(&mut self, mut setup: Setup) -> Result<(), Violation> {
        if self.peer_setup.is_some() {
            return Err(Violation::protocol("SETUP came twice"));
        }
        let may_name_resource = self.config.role == Role::Server && self.config.carrier == Carrier::Quic;
        check_resource(&setup, may_name_resource)?;
        setup.authorization_tokens = self.tokens.resolve_setup(setup.authorization_tokens)?;
        self.timers.clear_setup();
        self.peer_setup = Some(Setup { authorization_tokens: Vec::new(), ..setup.clone() });
        self.events.push_back(Event::Ready(setup));
        // What came before SETUP is read now, in the order in which the streams were opened.
        let early: Vec<StreamId> = self.streams.keys().copied().collect();
        for stream in early {
            if !matches!(self.streams.get(&stream), Some(Stream::PeerControl(_))) {
                self.read(stream)?;
            }
        }
        Ok(())
    }

    fn handle_goaway(&mut self, goaway: GoAway) -> Result<(), Violation> {
        if self.goaway_received {
            return Err(Violation::protocol("GOAWAY came twice"));
        }
        self.check_goaway_uri(&goaway)?;
        let request_id = goaway.request_id.ok_or(Violation::protocol("GOAWAY has no request id"))?;
        if request_id.0 % 2 != self.config.role.parity() {
            return Err(Violation {
                code: SessionError::InvalidRequestId,
                reason: "GOAWAY names a request id of the wrong parity",
            });
        }
        self.goaway_received = true;
        self.events.push_back(Event::GoAway(None, goaway));
        Ok(())
    }

    pub(super) fn check_goaway_uri(&self, goaway: &GoAway) -> Result<(), Violation> {
        if self.config.role == Role::Server && !goaway.uri.is_empty() {
            return Err(Violation::protocol("a client's GOAWAY has a URI"));
        }
        Ok(())
    }

    pub(super) fn goaway_timed_out(&mut self) {
        if self.requests.is_empty() {
            self.close(SessionError::NoError, "going away");
        } else {
            self.close(
                SessionError::GoAwayTimeout,
                "requests were still open when the time to leave was over",
            );
        }
    }

    pub(super) fn request_goaway_timed_out(&mut self, request: RequestId) {
        self.cancel_for(request, StreamResetCode::GoingAway, StreamResetCode::GoingAway);
    }
}

pub(super) const CONTROL_CLOSED: Violation = Violation::protocol("a control stream was closed");

/// PATH and AUTHORITY come from clients on raw QUIC only, and the authority has a host.
fn check_resource(setup: &Setup, may_name_resource: bool) -> Result<(), Violation> {
    use SessionError::{InvalidAuthority, InvalidPath, MalformedAuthority};
    if setup.path.is_some() && !may_name_resource {
        return Err(Violation { code: InvalidPath, reason: "PATH is not allowed here" });
    }
    if let Some(authority) = &setup.authority {
        if !may_name_resource {
            return Err(Violation { code: InvalidAuthority, reason: "AUTHORITY is not allowed here" });
        }
        if !uri::is_authority(authority) {
            return Err(Violation { code: MalformedAuthority, reason: "AUTHORITY is not an authority" });
        }
    }
    Ok(())
}
