//! One client: a QUIC connection, a MoQT session on it, the tracks it publishes and those it subscribes to.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use quinn_proto::{
    Dir, Event as QuicEvent, ReadError, StreamEvent, StreamId as QuicStream, VarInt, WriteError,
};
use roundtable_moqt::{
    Config, Event, FullTrackName, ObjectDatagram, Parameters, Role, Session, StreamId, StreamKind, Transmit,
    message::{Publish, RequestId, RequestOk, Subscribe, TrackAlias},
    session::Carrier,
};
use roundtable_transport::MOQT_PROTOCOL;
use url::Url;

use crate::{
    http3::{self, Purpose},
    latency::Latencies,
    quic::{Buffers, Dialling, Link},
    shape::{Shape, Window, stamp_of},
};

/// What is late by more of a frame's interval than this was held up here, and is left out instead of sent in a heap.
const FRAMES_LATE_MAX: u32 = 8;
/// OBJECT_DELIVERY_TIMEOUT of our subscriptions, as a live receiver sets it.
const DELIVERY_TIMEOUT_MS: u64 = 1000;
/// How long a subscription may wait for its publisher.
const RENDEZVOUS_TIMEOUT_MS: u64 = 30_000;

/// Where a relay is, and what carries the sessions.
#[derive(Debug, Clone)]
pub struct Target {
    /// Of its UDP socket.
    pub address: SocketAddr,
    /// What carries the session.
    pub carrier: Carrier,
    /// Names host and room; the same for both carriers.
    pub url: Url,
    dialling: Dialling,
}

impl Target {
    /// A room of a relay: `https://…` is WebTransport, `moqt://…` raw QUIC.
    pub fn new(carrier: Carrier, address: SocketAddr, room: &str) -> anyhow::Result<Self> {
        let url = Url::parse(&format!("https://{address}/{room}")).context("the room's name fits no URL")?;
        let alpn = match carrier {
            Carrier::WebTransport => "h3",
            Carrier::Quic => MOQT_PROTOCOL,
        };
        Ok(Target { address, carrier, url, dialling: Dialling::new(alpn)? })
    }

    /// The same relay, another room.
    pub fn with_room(&self, room: &str) -> Self {
        let mut target = self.clone();
        target.url.set_path(room);
        target
    }

    fn session(&self) -> Config {
        let mut config = Config::new(Role::Client, self.carrier);
        if self.carrier == Carrier::Quic {
            let authority = self.url.authority().to_owned();
            config.setup.path = Some(self.url.path().to_owned().into());
            config.setup.authority = Some(authority.into());
        }
        config.setup.implementation = Some("roundtable-load".into());
        config
    }
}

/// What a client is to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where.
    pub target: Target,
    /// Tracks it publishes.
    pub publishes: Vec<(FullTrackName, Shape)>,
    /// Tracks it subscribes to.
    pub subscribes: Vec<FullTrackName>,
}

/// What clients have done so far, for whoever waits for them.
#[derive(Debug, Default)]
pub struct Progress {
    /// Sessions that are up.
    pub ready: AtomicU64,
    /// Tracks that the relay has accepted.
    pub published: AtomicU64,
    /// Subscriptions that are established.
    pub subscribed: AtomicU64,
}

/// What a client saw of what was sent while the window was open.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received.
    pub received: u64,
    /// How late they were.
    pub latencies: Latencies,
    /// Frames that were not sent because this process was held up.
    pub frames_skipped: u64,
    /// From the first packet to the first answered request.
    pub join: Latencies,
}

impl Tally {
    /// Adds another client's.
    pub fn merge(&mut self, other: &Tally) {
        self.sent += other.sent;
        self.received += other.received;
        self.latencies.merge(&other.latencies);
        self.frames_skipped += other.frames_skipped;
        self.join.merge(&other.join);
    }
}

/// One client.
#[derive(Debug)]
pub struct Client {
    link: Link,
    target: Target,
    stage: Stage,
    streams: Streams,
    publications: Vec<Publication>,
    subscriptions: Vec<RequestId>,
    plan_subscribes: Vec<FullTrackName>,
    window: Arc<Window>,
    progress: Arc<Progress>,
    began: Instant,
    /// Present once the relay has answered a request.
    joined: bool,
    tally: Tally,
}

#[derive(Debug)]
enum Stage {
    Handshake,
    /// WebTransport: the CONNECT is on its way on this stream; what has come of the answer.
    Connecting(QuicStream, Vec<u8>),
    Session(Box<Session>),
}

#[derive(Debug)]
struct Publication {
    name: FullTrackName,
    alias: TrackAlias,
    shape: Shape,
    request: Option<RequestId>,
    is_wanted: bool,
    next: Option<Instant>,
    frame: u64,
    first_group: u64,
}

/// The connection's streams, by both their names.
#[derive(Debug, Default)]
struct Streams {
    quic_by_session: HashMap<StreamId, QuicStream>,
    session_by_quic: HashMap<QuicStream, StreamId>,
    outgoing: HashMap<StreamId, Outgoing>,
    /// Streams of the relay whose header has not come whole.
    headers: HashMap<QuicStream, Bytes>,
    opening: VecDeque<(StreamId, StreamKind)>,
}

#[derive(Debug, Default)]
struct Outgoing {
    chunks: VecDeque<Bytes>,
    is_finishing: bool,
}

impl Client {
    /// Begins to connect.
    pub fn new(
        now: Instant,
        plan: Plan,
        window: Arc<Window>,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let link = Link::connect(now, &plan.target.dialling, plan.target.address)?;
        let unix_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let first_group = u64::try_from(unix_ms.as_millis()).unwrap_or(0);
        let publications = plan.publishes.into_iter().zip(1..).map(|((name, shape), alias)| Publication {
            name,
            alias: TrackAlias(alias),
            shape,
            request: None,
            is_wanted: false,
            next: None,
            frame: 0,
            first_group,
        });
        Ok(Client {
            link,
            target: plan.target,
            stage: Stage::Handshake,
            streams: Streams::default(),
            publications: publications.collect(),
            subscriptions: Vec::new(),
            plan_subscribes: plan.subscribes,
            window,
            progress,
            began: now,
            joined: false,
            tally: Tally::default(),
        })
    }

    /// The connection.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What it saw.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// True when the session is up.
    pub fn is_joined(&self) -> bool {
        self.joined
    }

    /// Something arrived.
    pub fn receive(&mut self, now: Instant, buffers: &mut Buffers) -> anyhow::Result<()> {
        self.link.receive(now, buffers).context("cannot receive")?;
        self.go_on(now)
    }

    /// The time of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.link.poll_timeout().is_some_and(|at| at <= now) {
            self.link.quic.handle_timeout(now);
        }
        if let Stage::Session(session) = &mut self.stage
            && session.poll_timeout().is_some_and(|at| at <= now)
        {
            session.handle_timeout(now);
        }
        self.send_frames(now);
        self.go_on(now)
    }

    /// When it wants to be called.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        let session = match &self.stage {
            Stage::Session(session) => session.poll_timeout(),
            Stage::Handshake | Stage::Connecting(..) => None,
        };
        let frame = self.next_frame();
        [self.link.poll_timeout(), session, frame].into_iter().flatten().min()
    }

    /// When the next frame is due: to be kept more exactly than other times.
    pub fn next_frame(&self) -> Option<Instant> {
        self.publications.iter().filter_map(|publication| publication.next).min()
    }

    /// Leaves.
    pub fn close(&mut self, now: Instant) {
        self.link.close(now);
    }

    fn go_on(&mut self, now: Instant) -> anyhow::Result<()> {
        while let Some(event) = self.link.quic.poll() {
            match event {
                QuicEvent::Connected => self.connected(now)?,
                QuicEvent::ConnectionLost { reason } => bail!("the connection was lost: {reason}"),
                QuicEvent::Stream(StreamEvent::Opened { dir }) => self.accept(now, dir)?,
                QuicEvent::Stream(StreamEvent::Readable { id }) => self.read(now, id)?,
                QuicEvent::Stream(StreamEvent::Writable { id }) => {
                    if let Some(stream) = self.streams.session_by_quic.get(&id).copied() {
                        self.write(stream);
                    }
                }
                QuicEvent::Stream(StreamEvent::Stopped { id, error_code }) => {
                    if let (Some(stream), Stage::Session(session)) =
                        (self.streams.session_by_quic.get(&id), &mut self.stage)
                    {
                        session.handle_stream_stopped(now, *stream, error_code.into_inner());
                    }
                }
                QuicEvent::Stream(StreamEvent::Available { .. } | StreamEvent::Finished { .. })
                | QuicEvent::DatagramReceived
                | QuicEvent::DatagramsUnblocked
                | QuicEvent::HandshakeDataReady => {}
            }
        }
        self.datagrams(now);
        self.session_outputs(now)?;
        self.link.flush(now).context("cannot send")
    }

    fn connected(&mut self, now: Instant) -> anyhow::Result<()> {
        match self.target.carrier {
            Carrier::Quic => self.begin_session(now),
            Carrier::WebTransport => {
                let control = self.link.quic.streams().open(Dir::Uni).context("no control stream")?;
                self.link.quic.send_stream(control).write(&http3::settings())?;
                let request = self.link.quic.streams().open(Dir::Bi).context("no request stream")?;
                self.link.quic.send_stream(request).write(&http3::connect(&self.target.url)?)?;
                self.stage = Stage::Connecting(request, Vec::new());
            }
        }
        Ok(())
    }

    fn begin_session(&mut self, now: Instant) {
        let mut session = Session::new(self.target.session(), now);
        for publication in &mut self.publications {
            let request = session.publish(Publish {
                track: publication.name.clone(),
                alias: publication.alias,
                parameters: Parameters::default(),
                track_properties: Bytes::new(),
            });
            publication.request = request.ok();
        }
        for track in self.plan_subscribes.drain(..) {
            let parameters = Parameters {
                rendezvous_timeout_ms: Some(RENDEZVOUS_TIMEOUT_MS),
                object_delivery_timeout_ms: Some(DELIVERY_TIMEOUT_MS),
                ..Parameters::default()
            };
            self.subscriptions.extend(session.subscribe(Subscribe { track, parameters }));
        }
        self.stage = Stage::Session(Box::new(session));
    }

    // ---- streams

    fn accept(&mut self, now: Instant, dir: Dir) -> anyhow::Result<()> {
        while let Some(id) = self.link.quic.streams().accept(dir) {
            match self.target.carrier {
                Carrier::Quic => self.join(id),
                Carrier::WebTransport => {
                    self.streams.headers.insert(id, Bytes::new());
                }
            }
            self.read(now, id)?;
        }
        Ok(())
    }

    /// A stream of the relay belongs to the session.
    fn join(&mut self, id: QuicStream) {
        if let Stage::Session(session) = &mut self.stage {
            let stream = session.accept_stream(kind(id.dir()));
            self.streams.quic_by_session.insert(stream, id);
            self.streams.session_by_quic.insert(id, stream);
            if id.dir() == Dir::Bi {
                self.streams.outgoing.insert(stream, Outgoing::default());
            }
        }
    }

    fn read(&mut self, now: Instant, id: QuicStream) -> anyhow::Result<()> {
        loop {
            let mut receiving = self.link.quic.recv_stream(id);
            // An error means that the stream has been read to its end.
            let Ok(mut chunks) = receiving.read(true) else { return Ok(()) };
            let next = chunks.next(64 << 10);
            let _ = chunks.finalize();
            match next {
                Ok(Some(chunk)) => self.chunk(now, id, chunk.bytes)?,
                Ok(None) => {
                    if let (Some(stream), Stage::Session(session)) =
                        (self.streams.session_by_quic.get(&id), &mut self.stage)
                    {
                        session.handle_stream_finished(now, *stream);
                    }
                    return Ok(());
                }
                Err(ReadError::Blocked) => return Ok(()),
                Err(ReadError::Reset(code)) => {
                    if let (Some(stream), Stage::Session(session)) =
                        (self.streams.session_by_quic.get(&id), &mut self.stage)
                    {
                        session.handle_stream_reset(now, *stream, code.into_inner());
                    }
                    return Ok(());
                }
            }
        }
    }

    fn chunk(&mut self, now: Instant, id: QuicStream, bytes: Bytes) -> anyhow::Result<()> {
        if let Stage::Connecting(request, answer) = &mut self.stage
            && *request == id
        {
            answer.extend_from_slice(&bytes);
            if http3::is_accepted(answer)? {
                self.begin_session(now);
                for id in self.streams.headers.keys().copied().collect::<Vec<_>>() {
                    self.header(now, id);
                }
            }
        } else if let Some(header) = self.streams.headers.get_mut(&id) {
            *header = Bytes::from([&header[..], &bytes].concat());
            self.header(now, id);
        } else {
            self.stream_bytes(now, id, bytes);
        }
        Ok(())
    }

    /// More of a WebTransport stream's header may have come. The relay's streams may overtake its answer to the CONNECT;
    /// until that is here they wait.
    fn header(&mut self, now: Instant, id: QuicStream) {
        let Stage::Session(_) = &self.stage else { return };
        let Some(bytes) = self.streams.headers.get(&id) else { return };
        match http3::purpose(kind(id.dir()), bytes) {
            Purpose::Unknown => return,
            Purpose::Session(rest) => {
                self.join(id);
                self.stream_bytes(now, id, rest);
            }
            Purpose::Http3 => {}
        }
        self.streams.headers.remove(&id);
    }

    fn stream_bytes(&mut self, now: Instant, id: QuicStream, bytes: Bytes) {
        if let (Some(stream), Stage::Session(session)) =
            (self.streams.session_by_quic.get(&id), &mut self.stage)
            && !bytes.is_empty()
        {
            session.handle_stream(now, *stream, bytes);
        }
    }

    fn open_waiting(&mut self) {
        while let Some(&(stream, kind)) = self.streams.opening.front() {
            let dir = match kind {
                StreamKind::Uni => Dir::Uni,
                StreamKind::Bi => Dir::Bi,
            };
            let Some(id) = self.link.quic.streams().open(dir) else { return };
            self.streams.opening.pop_front();
            self.streams.quic_by_session.insert(stream, id);
            self.streams.session_by_quic.insert(id, stream);
            self.write(stream);
        }
    }

    fn write(&mut self, stream: StreamId) {
        let Some(&id) = self.streams.quic_by_session.get(&stream) else { return };
        let Some(outgoing) = self.streams.outgoing.get_mut(&stream) else { return };
        while let Some(chunk) = outgoing.chunks.front_mut() {
            match self.link.quic.send_stream(id).write(chunk) {
                Ok(written) => {
                    let _ = chunk.split_to(written);
                    if chunk.is_empty() {
                        outgoing.chunks.pop_front();
                    }
                }
                Err(WriteError::Blocked) => return,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    self.streams.outgoing.remove(&stream);
                    return;
                }
            }
        }
        if outgoing.is_finishing {
            // An error means that it has ended already.
            let _ = self.link.quic.send_stream(id).finish();
            self.streams.outgoing.remove(&stream);
        }
    }

    fn transmit(&mut self, transmit: Transmit) -> anyhow::Result<()> {
        match transmit {
            Transmit::Open { stream, kind, .. } => {
                let mut outgoing = Outgoing::default();
                if self.target.carrier == Carrier::WebTransport {
                    outgoing.chunks.push_back(http3::stream_header(kind));
                }
                self.streams.outgoing.insert(stream, outgoing);
                self.streams.opening.push_back((stream, kind));
            }
            Transmit::Data { stream, bytes } => {
                if let Some(outgoing) = self.streams.outgoing.get_mut(&stream) {
                    outgoing.chunks.push_back(bytes);
                }
                self.write(stream);
            }
            Transmit::Finish { stream, .. } => {
                if let Some(outgoing) = self.streams.outgoing.get_mut(&stream) {
                    outgoing.is_finishing = true;
                }
                self.write(stream);
            }
            Transmit::Reset { stream, .. } => {
                self.streams.outgoing.remove(&stream);
                if let Some(&id) = self.streams.quic_by_session.get(&stream) {
                    // An error means that it has ended already.
                    let _ = self.link.quic.send_stream(id).reset(VarInt::from_u32(0));
                }
            }
            Transmit::Stop { stream, .. } => {
                if let Some(&id) = self.streams.quic_by_session.get(&stream) {
                    let _ = self.link.quic.recv_stream(id).stop(VarInt::from_u32(0));
                }
            }
            Transmit::Priority { .. } => {}
            Transmit::Close { code, reason } => bail!("the session was closed: {code:?} {reason}"),
        }
        Ok(())
    }

    // ---- the session

    fn session_outputs(&mut self, now: Instant) -> anyhow::Result<()> {
        loop {
            let Stage::Session(session) = &mut self.stage else { return Ok(()) };
            if let Some(event) = session.poll_event() {
                self.event(now, event)?;
            } else if let Some(transmit) = session.poll_transmit() {
                self.transmit(transmit)?;
            } else {
                break;
            }
        }
        self.open_waiting();
        Ok(())
    }

    fn event(&mut self, now: Instant, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Ready(_) => {
                self.progress.ready.fetch_add(1, Ordering::Relaxed);
                self.joined = true;
            }
            Event::Accepted(request, ok) => {
                if let Some(publication) = self.publication(request) {
                    publication.want(now, ok.parameters.forward.unwrap_or(true));
                    self.progress.published.fetch_add(1, Ordering::Relaxed);
                    self.note_join(now);
                }
            }
            Event::Update { request, update, parameters } => {
                if let (Some(forward), Some(publication)) = (parameters.forward, self.publication(request)) {
                    publication.want(now, forward);
                }
                if let Stage::Session(session) = &mut self.stage {
                    // Fails only when the request is gone.
                    let _ = session.accept_update(update, RequestOk::default());
                }
            }
            Event::SubscribeAccepted(..) => {
                self.progress.subscribed.fetch_add(1, Ordering::Relaxed);
                self.note_join(now);
            }
            Event::Refused(_, error) => bail!("the relay refused a request: {error:?}"),
            Event::PublishDone(_, done) => bail!("a track has ended: {done:?}"),
            Event::Datagram(_, datagram) => self.object(now, &datagram),
            Event::Closed { code, reason } => bail!("the session ended: {code:?} {reason}"),
            _ => {}
        }
        Ok(())
    }

    fn note_join(&mut self, now: Instant) {
        if self.tally.join.count() == 0 {
            self.tally.join.record(now.saturating_duration_since(self.began));
        }
    }

    fn publication(&mut self, request: RequestId) -> Option<&mut Publication> {
        self.publications.iter_mut().find(|publication| publication.request == Some(request))
    }

    // ---- datagrams

    fn prefix(&self) -> &'static [u8] {
        match self.target.carrier {
            Carrier::Quic => &[],
            Carrier::WebTransport => http3::DATAGRAM_PREFIX,
        }
    }

    fn datagrams(&mut self, now: Instant) {
        let prefix_bytes = self.prefix().len();
        while let Some(datagram) = self.link.quic.datagrams().recv() {
            let Stage::Session(session) = &mut self.stage else { continue };
            let Some(datagram) = datagram.get(prefix_bytes..).map(|rest| datagram.slice_ref(rest)) else {
                continue;
            };
            if let Some((_, datagram)) = session.handle_datagram(now, datagram) {
                self.object(now, &datagram);
            }
        }
    }

    fn object(&mut self, now: Instant, datagram: &ObjectDatagram) {
        let Some(stamp) = stamp_of(&datagram.object.payload) else { return };
        if self.window.contains(stamp) {
            self.tally.received += 1;
            let late_ns = crate::shape::stamp(now).saturating_sub(stamp);
            self.tally.latencies.record(Duration::from_nanos(late_ns));
        }
    }

    fn send_frames(&mut self, now: Instant) {
        let prefix = self.prefix();
        for publication in &mut self.publications {
            let Some(mut due) = publication.next else { continue };
            if due > now {
                continue;
            }
            let behind = now - due;
            let interval = publication.shape.interval;
            if behind > interval * FRAMES_LATE_MAX {
                let skipped = behind.as_nanos() / interval.as_nanos().max(1);
                self.tally.frames_skipped += u64::try_from(skipped).unwrap_or(0);
                due = now;
            }
            let sent_at = Instant::now();
            let frame = publication.frame;
            let Publication { shape, alias, first_group, .. } = *publication;
            for bytes in shape.datagrams(prefix, alias, first_group, frame, sent_at) {
                if self.link.quic.datagrams().send(bytes, true).is_ok()
                    && self.window.contains(crate::shape::stamp(sent_at))
                {
                    self.tally.sent += 1;
                }
            }
            publication.frame += 1;
            publication.next = Some(due + interval);
        }
    }
}

impl Publication {
    fn want(&mut self, now: Instant, is_wanted: bool) {
        self.is_wanted = is_wanted;
        if !is_wanted {
            self.next = None;
        } else if self.next.is_none() {
            self.next = Some(now);
        }
    }
}

fn kind(dir: Dir) -> StreamKind {
    match dir {
        Dir::Uni => StreamKind::Uni,
        Dir::Bi => StreamKind::Bi,
    }
}
