//! A peer that says whatever a test makes it say to one session, and notes what the session says.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use roundtable_moqt::{
    Config, Event, ObjectDatagram, Role, Session, SessionError, StreamId, StreamKind, StreamResetCode,
    Transmit,
    codec::{self, MessageContext},
    message::{Message, RequestId, Setup},
    session::Carrier,
};

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Heard {
    pub kind: Option<StreamKind>,
    pub bytes: BytesMut,
    pub is_finished: bool,
    pub reset: Option<StreamResetCode>,
    pub stopped: Option<StreamResetCode>,
    pub priority: Option<i32>,
}

pub struct Peer {
    /// The session's.
    pub role: Role,
    pub now: Instant,
    pub session: Session,
    pub control: StreamId,
    pub heard: BTreeMap<StreamId, Heard>,
    /// In the order in which the session opened them.
    pub opened: Vec<StreamId>,
    pub closed: Option<(SessionError, String)>,
    pub events: Vec<Event>,
}

impl Peer {
    /// Opposite a session of this role on raw QUIC; SETUP has been exchanged.
    pub fn opposite(role: Role) -> Self {
        Self::opposite_config(Config::new(role, Carrier::Quic))
    }

    pub fn opposite_config(config: Config) -> Self {
        let mut peer = Self::silent(config);
        peer.say_setup(Setup::default());
        peer.events.clear();
        peer
    }

    /// Has opened its control stream and said nothing.
    pub fn silent(config: Config) -> Self {
        let now = Instant::now();
        let role = config.role;
        let mut session = Session::new(config, now);
        let control = session.accept_stream(StreamKind::Uni);
        let mut peer = Peer {
            role,
            now,
            session,
            control,
            heard: BTreeMap::new(),
            opened: Vec::new(),
            closed: None,
            events: Vec::new(),
        };
        peer.hear();
        peer
    }

    pub fn say_setup(&mut self, setup: Setup) {
        self.say(self.control, &Message::Setup(setup));
    }

    pub fn open(&mut self, kind: StreamKind) -> StreamId {
        let stream = self.session.accept_stream(kind);
        self.hear();
        stream
    }

    /// Opens a request stream and says this on it.
    pub fn request(&mut self, id: u64, request: roundtable_moqt::message::Request) -> StreamId {
        let stream = self.open(StreamKind::Bi);
        self.say(stream, &Message::Request(RequestId(id), request));
        stream
    }

    pub fn say(&mut self, stream: StreamId, message: &Message) {
        self.say_bytes(stream, codec::encode(message).expect("the message can be encoded"));
    }

    pub fn say_bytes(&mut self, stream: StreamId, bytes: impl Into<Bytes>) {
        self.session.handle_stream(self.now, stream, bytes.into());
        self.hear();
    }

    /// Opens a unidirectional stream with these bytes.
    pub fn data(&mut self, bytes: impl Into<Bytes>) -> StreamId {
        let stream = self.open(StreamKind::Uni);
        self.say_bytes(stream, bytes);
        stream
    }

    pub fn finish(&mut self, stream: StreamId) {
        self.session.handle_stream_finished(self.now, stream);
        self.hear();
    }

    pub fn reset(&mut self, stream: StreamId, code: StreamResetCode) {
        self.session.handle_stream_reset(self.now, stream, code.code());
        self.hear();
    }

    pub fn stop(&mut self, stream: StreamId, code: StreamResetCode) {
        self.session.handle_stream_stopped(self.now, stream, code.code());
        self.hear();
    }

    pub fn datagram(&mut self, bytes: impl Into<Bytes>) -> Option<(RequestId, ObjectDatagram)> {
        let found = self.session.handle_datagram(self.now, bytes.into());
        self.hear();
        found
    }

    /// Lets time pass.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.session.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.session.handle_timeout(self.now);
            self.hear();
        }
        self.now = until;
    }

    /// Takes what the session has to say.
    pub fn hear(&mut self) {
        loop {
            self.events.extend(std::iter::from_fn(|| self.session.poll_event()));
            let Some(transmit) = self.session.poll_transmit() else { return };
            assert!(self.closed.is_none(), "something follows the close: {transmit:?}");
            match transmit {
                Transmit::Open { stream, kind, priority } => {
                    let heard = Heard { kind: Some(kind), priority: Some(priority), ..Heard::default() };
                    assert!(self.heard.insert(stream, heard).is_none(), "opened twice");
                    self.opened.push(stream);
                }
                Transmit::Data { stream, bytes } => {
                    let heard = self.heard.entry(stream).or_default();
                    assert!(!heard.is_finished && heard.reset.is_none(), "data after the end");
                    heard.bytes.extend_from_slice(&bytes);
                }
                Transmit::Finish { stream, .. } => {
                    let heard = self.heard.entry(stream).or_default();
                    assert!(!heard.is_finished && heard.reset.is_none(), "finished after the end");
                    heard.is_finished = true;
                }
                Transmit::Reset { stream, code } => {
                    let heard = self.heard.entry(stream).or_default();
                    assert!(!heard.is_finished && heard.reset.is_none(), "reset after the end");
                    heard.reset = Some(code);
                }
                Transmit::Stop { stream, code } => {
                    let heard = self.heard.entry(stream).or_default();
                    assert!(heard.stopped.is_none(), "stopped twice");
                    heard.stopped = Some(code);
                }
                Transmit::Priority { stream, priority } => {
                    self.heard.entry(stream).or_default().priority = Some(priority);
                }
                Transmit::Close { code, reason } => self.closed = Some((code, reason)),
            }
        }
    }

    /// What was heard of a stream.
    pub fn of(&self, stream: StreamId) -> Heard {
        self.heard.get(&stream).cloned().unwrap_or_default()
    }

    /// Takes the messages that the session has sent on a stream. The first of a stream that the session opened is
    /// its request.
    pub fn messages(&mut self, stream: StreamId) -> Vec<Message> {
        let Some(heard) = self.heard.get_mut(&stream) else { return Vec::new() };
        let mut messages = Vec::new();
        while heard.bytes.has_remaining() {
            let is_first = matches!(heard.bytes[0], 0x03 | 0x1d | 0x16 | 0x0d | 0x06 | 0x40 | 0x50 | 0x51)
                && codec::decode(&mut heard.bytes.clone(), MessageContext::RequestFirst).is_ok();
            let context = match heard.kind {
                Some(StreamKind::Uni) => MessageContext::Control,
                _ if is_first => MessageContext::RequestFirst,
                _ => MessageContext::Request,
            };
            messages.push(codec::decode(&mut heard.bytes, context).unwrap().expect("whole messages"));
        }
        messages
    }

    /// The only message that the session has sent on a stream since last asked.
    pub fn message(&mut self, stream: StreamId) -> Message {
        let mut messages = self.messages(stream);
        assert_eq!(messages.len(), 1, "{messages:?}");
        messages.remove(0)
    }

    /// The stream of the session's latest request; its request has been read.
    pub fn latest(&mut self) -> StreamId {
        self.hear();
        let stream = *self.opened.last().expect("a stream");
        self.messages(stream);
        stream
    }

    pub fn events(&mut self) -> Vec<Event> {
        self.hear();
        std::mem::take(&mut self.events)
    }

    /// The only event since last asked.
    pub fn event(&mut self) -> Event {
        let mut events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    /// The code with which the session has closed.
    pub fn close_code(&self) -> Option<SessionError> {
        self.closed.as_ref().map(|(code, _)| *code)
    }
}
