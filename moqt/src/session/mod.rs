//! One MoQT session, either role: bytes, stream signals and `now` go in; events, transmits and deadlines come out.
//!
//! Every request of the session, ours or the peer's, is named by its [`RequestId`]: parity tells who made it, so
//! one id space serves both. Streams are named by [`StreamId`], given out here for both directions; the driver
//! maps them to QUIC streams.
//!
//! A driver's turn: hand over what arrived (`accept_stream`, `handle_*`), take all events ([`Session::poll_event`])
//! and act on them, then take all transmits ([`Session::poll_transmit`]), then sleep until
//! [`Session::poll_timeout`]. Whatever the peer does, the memory of the session is bounded; what the driver
//! holds for QUIC is the driver's to bound: see [`Session::handle_stalled`].
//!
//! - `control`: the two control streams, SETUP and GOAWAY. `driver`: what the transport reports.
//! - `calls`, `answers`: what the application says, as requester and as responder.
//! - `received`, `replies`: what the peer says, as requester and as responder; `joining`: joining FETCHes.
//! - `incoming`, `outgoing`: data streams; `aliases`, `waiting_room`: what a track alias means, and until then.
//! - `ending`: how a request ends, in one place for every reason there is.

mod aliases;
mod answers;
mod calls;
mod config;
mod consistency;
mod control;
mod driver;
mod ending;
mod event;
mod incoming;
mod joining;
mod outgoing;
mod parameters;
mod priority;
mod received;
mod replies;
mod request;
mod request_ids;
mod stream;
mod timers;
mod tokens;
mod track_properties;
mod tracks;
mod transmit;
mod uri;
mod waiting_room;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Instant,
};

use self::{
    aliases::Aliases,
    request::Request,
    request_ids::RequestIds,
    stream::Stream,
    timers::{Timer, Timers},
    tokens::Tokens,
    tracks::{OurAliases, Tracks},
    waiting_room::WaitingRoom,
};
pub use self::{
    config::{Carrier, Config, Role},
    event::{CallError, Counters, Event, ResolvedFetch, Subscription},
    track_properties::TrackProperties,
    transmit::{StreamId, StreamKind, Transmit},
};
use crate::{
    codec,
    error::{SessionError, Violation},
    message::{Message, RequestId, Setup},
};

/// The session.
#[derive(Debug)]
pub struct Session {
    config: Config,
    /// The latest time anybody told us.
    now: Instant,
    is_closed: bool,
    events: VecDeque<Event>,
    transmits: VecDeque<Transmit>,
    timers: Timers,

    streams: BTreeMap<StreamId, Stream>,
    next_stream: u64,
    our_control: StreamId,
    peer_control: Option<StreamId>,
    peer_setup: Option<Setup>,
    goaway_sent: bool,
    goaway_received: bool,

    requests: BTreeMap<RequestId, Request>,
    /// The peer's unanswered updates, and the request that each changes.
    requests_by_update: BTreeMap<RequestId, RequestId>,
    next_request: u64,
    peer_ids: RequestIds,
    peer_requests: usize,
    peer_request_streams: usize,
    tracks: Tracks,
    tokens: Tokens,

    our_aliases: OurAliases,
    aliases: Aliases,
    waiting_room: WaitingRoom,
    /// Subgroup streams whose alias nobody knows yet, oldest first.
    waiting_streams: VecDeque<StreamId>,

    /// Data streams of the peer with something to decode; decoded one item at a time, as events are asked for.
    readable: VecDeque<StreamId>,
    data_streams: usize,
    data_bytes: usize,
    held_bytes: usize,
    counters: Counters,
}

impl Session {
    /// A session on a connection that was just made. Its SETUP is ready to be sent.
    pub fn new(config: Config, now: Instant) -> Self {
        let our_control = StreamId(0);
        let mut session = Session {
            now,
            is_closed: false,
            events: VecDeque::new(),
            transmits: VecDeque::new(),
            timers: Timers::default(),
            streams: BTreeMap::from([(our_control, Stream::OurControl)]),
            next_stream: 1,
            our_control,
            peer_control: None,
            peer_setup: None,
            goaway_sent: false,
            goaway_received: false,
            requests: BTreeMap::new(),
            requests_by_update: BTreeMap::new(),
            next_request: config.role.parity(),
            peer_ids: RequestIds::of(config.role.peer()),
            peer_requests: 0,
            peer_request_streams: 0,
            tracks: Tracks::default(),
            tokens: Tokens::new(config.auth_token_cache_bytes_max),
            our_aliases: OurAliases::default(),
            aliases: Aliases::default(),
            waiting_room: WaitingRoom::new(config.unknown_alias_datagrams_max, config.unknown_alias_wait),
            waiting_streams: VecDeque::new(),
            readable: VecDeque::new(),
            data_streams: 0,
            data_bytes: 0,
            held_bytes: 0,
            counters: Counters::default(),
            config,
        };
        session.timers.set(now + session.config.setup_timeout, Timer::Setup);
        session.send_setup();
        session
    }

    /// The next thing that the application should know; to be asked until there is none, after every call that
    /// hands something over.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let stream = *self.readable.front()?;
            let result = self.read_data(stream);
            self.check(result);
        }
    }

    /// The next thing for the driver to do; to be asked until there is none, after the events.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Ends the session. What was to be sent before still is; [`Event::Closed`] follows.
    pub fn close(&mut self, code: SessionError, reason: &str) {
        if self.is_closed {
            return;
        }
        self.transmits.push_back(Transmit::Close { code, reason: reason.to_owned() });
        self.end(code, reason);
    }

    /// True once the session is over, for whatever reason.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// The peer's SETUP, once it has come.
    pub fn peer_setup(&self) -> Option<&Setup> {
        self.peer_setup.as_ref()
    }

    /// True when either side has sent GOAWAY.
    pub fn is_going_away(&self) -> bool {
        self.goaway_sent || self.goaway_received
    }

    /// Every open request of either side, oldest ids first.
    pub fn requests(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.requests.keys().copied()
    }

    /// Open requests of either side.
    pub fn requests_len(&self) -> usize {
        self.requests.len()
    }

    /// A subscription of either direction, as it stands.
    pub fn subscription(&self, request: RequestId) -> Option<&Subscription> {
        Some(&self.requests.get(&request)?.subscribed()?.view)
    }

    /// Every open subscription of either direction.
    pub fn subscriptions(&self) -> impl Iterator<Item = (RequestId, &Subscription)> + '_ {
        self.requests.iter().filter_map(|(id, request)| Some((*id, &request.subscribed()?.view)))
    }

    /// What a track says about itself, as told in PUBLISH or SUBSCRIBE_OK.
    pub fn track_properties(&self, request: RequestId) -> Option<TrackProperties> {
        Some(self.requests.get(&request)?.subscribed()?.properties)
    }

    /// What happened that nobody was told about.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes held for the peer: messages and objects that have not arrived whole, and objects that nobody took.
    pub fn buffered_bytes(&self) -> usize {
        self.held_bytes + self.data_bytes
    }

    fn end(&mut self, code: SessionError, reason: &str) {
        self.is_closed = true;
        self.events.push_back(Event::Closed { code, reason: reason.to_owned() });
        self.timers.clear_all();
        self.streams.clear();
        self.requests.clear();
        self.requests_by_update.clear();
        self.tracks = Tracks::default();
        self.our_aliases = OurAliases::default();
        self.aliases.clear();
        self.waiting_room.clear();
        self.waiting_streams.clear();
        self.readable.clear();
        self.held_bytes = 0;
        self.data_bytes = 0;
    }

    /// A violation of the peer ends the session with the draft's code.
    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result {
            self.close(violation.code, violation.reason);
        }
    }

    fn ensure_open(&self) -> Result<(), CallError> {
        if self.is_closed { Err(CallError::Closed) } else { Ok(()) }
    }

    fn name_stream(&mut self) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        stream
    }

    /// Queues a message on a control or request stream whose sending half is open.
    fn send(&mut self, stream: StreamId, message: &Message) -> Result<(), CallError> {
        let bytes = codec::encode(message).ok_or(CallError::TooLarge)?;
        let can_send = match self.streams.get(&stream) {
            Some(Stream::Request(stream)) => stream.can_send,
            Some(Stream::OurControl) => true,
            _ => false,
        };
        if can_send {
            self.transmits.push_back(Transmit::Data { stream, bytes });
        }
        Ok(())
    }
}
