//! A relay on loopback, and peers that do what a test says.
#![allow(dead_code, unreachable_pub)]

pub mod raw;

use std::{
    collections::VecDeque,
    fmt::Debug,
    future::Future,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{
    Config, Event, FullTrackName, Location, Namespace, Object, ObjectDatagram, Parameters, Role, Session,
    StreamId, StreamResetCode,
    fetch_stream::FetchItem,
    message::{
        Fetch, FetchOk, FetchRange, NamespaceRequest, Publish, PublishDone, RequestError, RequestId,
        RequestOk, Subscribe, SubscribeOk, Token, TrackAlias,
    },
    subgroup::SubgroupHeader,
};
use roundtable_relay::{
    clock::UnixMs,
    counters::Counters,
    id::ParticipantId,
    journal::Journal,
    limits::Limits,
    meeting::{Meetings, Policy},
    relay::{Admission, Relay},
    scope::{ScopeName, token_of_query},
    token::{Keys, MediaToken, Sources, TokenKey},
};
use roundtable_transport::{
    App, Certificates, ClientConfig, Connection, DatagramSender, Ended, Endpoint, EndpointConfig,
    IncomingKind, Io, Trust, connect, drive,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Long enough for a busy machine, short enough to fail a test rather than hang it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long: {what}"))
}

/// What carries a peer's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    WebTransport,
    Quic,
}

pub const BOTH: [Via; 2] = [Via::WebTransport, Via::Quic];

pub struct World {
    pub relay: Arc<Relay>,
    pub port: u16,
    certificates: Certificates,
    /// A key that an application shares with the relay.
    application: TokenKey,
    _accepting: Aborted,
}

pub struct Aborted(JoinHandle<()>);

impl Aborted {
    pub fn new(task: JoinHandle<()>) -> Self {
        Aborted(task)
    }
}

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with_policy(Policy::Open, change)
    }

    /// One that lets nobody in without a token.
    pub fn guarded() -> Self {
        Self::with_policy(Policy::Tokens, |_| {})
    }

    fn with_policy(policy: Policy, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let certificates = Certificates::new(vec![made.cert.der().clone()], key).unwrap();
        let config = EndpointConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificates.clone());
        let endpoint = Endpoint::bind(config).unwrap();
        let port = endpoint.local_addresses()[0].port();
        let counters = Arc::<Counters>::default();
        let own = Arc::new(Journal::new(None, Arc::clone(&counters)));
        let application = TokenKey::random().unwrap();
        let keys = Keys::new(TokenKey::random().unwrap(), vec![application.clone()]);
        let meetings = Arc::new(Meetings::new(policy, keys, own, Arc::clone(&counters)));
        let relay = Relay::new(limits, counters, meetings);
        let accepting = Aborted(tokio::spawn(accept(endpoint, Arc::clone(&relay))));
        World { relay, port, certificates, application, _accepting: accepting }
    }

    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// A peer in the room `room`.
    pub async fn peer(&self, via: Via) -> Peer {
        self.peer_at(via, "/room").await
    }

    pub async fn peer_at(&self, via: Via, path: &str) -> Peer {
        let mut peer = self.stranger(via, path).await;
        peer.expect("SETUP", |event| matches!(event, Event::Ready(_)).then_some(())).await;
        peer
    }

    /// A token for the room `room` that an application makes, good for ten minutes.
    pub fn token(&self, participant: &str, change: impl FnOnce(&mut MediaToken)) -> String {
        let now = UnixMs::now();
        let mut token = MediaToken {
            scope: "/room".to_owned(),
            sub: ParticipantId::new(participant).unwrap(),
            name: participant.to_uppercase(),
            user: None,
            sign_in: None,
            publish: Sources::USUAL,
            subscribe: true,
            moderate: false,
            record: false,
            waiting: false,
            iat: now.seconds(),
            exp: now.seconds() + 600,
        };
        change(&mut token);
        self.application.sign(&token)
    }

    /// A participant in the room `room`.
    pub async fn participant(&self, via: Via, name: &str) -> Peer {
        let token = self.token(name, |_| {});
        self.peer_with(via, "/room", &token).await
    }

    pub async fn peer_with(&self, via: Via, path: &str, token: &str) -> Peer {
        let mut peer = self.stranger_with(via, path, token).await;
        peer.expect("SETUP", |event| matches!(event, Event::Ready(_)).then_some(())).await;
        peer
    }

    /// One who shows a token in SETUP that has not been answered yet.
    pub async fn stranger_with(&self, via: Via, path: &str, token: &str) -> Peer {
        let connection = self.connection(via, path).await;
        let mut config = Peer::config(&connection);
        config.setup.authorization_tokens = vec![use_value(token)];
        Peer::run_with(connection, config)
    }

    /// One whose SETUP has not been answered yet.
    pub async fn stranger(&self, via: Via, path: &str) -> Peer {
        Peer::run(self.connection(via, path).await)
    }

    /// A peer in the room `room` that reaches the relay by another port.
    pub async fn peer_through(&self, via: Via, port: u16) -> Peer {
        let mut peer = Peer::run(self.connection_through(via, "/room", port).await);
        peer.expect("SETUP", |event| matches!(event, Event::Ready(_)).then_some(())).await;
        peer
    }

    pub async fn connection(&self, via: Via, path: &str) -> Connection {
        self.connection_through(via, path, self.port).await
    }

    async fn connection_through(&self, via: Via, path: &str, port: u16) -> Connection {
        let scheme = match via {
            Via::WebTransport => "https",
            Via::Quic => "moqt",
        };
        let url = format!("{scheme}://127.0.0.1:{port}{path}");
        let trust = Trust::Pinned(vec![self.certificates.hash().unwrap()]);
        let config = ClientConfig { trust, ..ClientConfig::default() };
        soon("a connection", connect(&url, &config)).await.unwrap()
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.relay.counters.figures().find(|figure| figure.name == name).unwrap().value
    }

    /// Waits until a number of the relay is as expected.
    pub async fn until(&self, name: &str, is_right: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_right(self.counter(name)) {
            assert!(Instant::now() < deadline, "{name} stays {}", self.counter(name));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn accept(endpoint: Endpoint, relay: Arc<Relay>) {
    let tending = Aborted(tokio::spawn(Arc::clone(&relay).tend()));
    let tending_people = Aborted(tokio::spawn(Arc::clone(&relay.meetings).tend()));
    while let Some(incoming) = endpoint.accept().await {
        let admission = match incoming.kind() {
            IncomingKind::WebTransport(request) => Admission {
                scope: ScopeName::from_path(&request.path),
                token: request.query.as_deref().and_then(token_of_query),
            },
            IncomingKind::Quic => Admission::default(),
        };
        let relay = Arc::clone(&relay);
        tokio::spawn(async move {
            let connection = incoming.accept().await.unwrap();
            relay.serve(connection, admission).await;
        });
    }
    drop((tending, tending_people));
}

type Command = Box<dyn FnOnce(&mut Io<'_>) + Send>;

/// What a peer saw, in order.
#[derive(Debug)]
pub enum Seen {
    Event(Event),
    Datagram(RequestId, ObjectDatagram),
}

/// The far side of a session of the relay.
pub struct Peer {
    commands: mpsc::UnboundedSender<Command>,
    seen: mpsc::UnboundedReceiver<Seen>,
    /// Seen, and not asked for yet.
    kept: VecDeque<Seen>,
    pub datagrams: DatagramSender,
    driver: JoinHandle<Ended>,
}

struct Puppet {
    commands: mpsc::UnboundedReceiver<Command>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl App for Puppet {
    fn handle_event(&mut self, _io: &mut Io<'_>, event: Event) {
        let _ = self.seen.send(Seen::Event(event));
    }

    fn handle_datagram(&mut self, _io: &mut Io<'_>, request: RequestId, datagram: ObjectDatagram) {
        let _ = self.seen.send(Seen::Datagram(request, datagram));
    }

    fn datagrams_drained(&mut self, _io: &mut Io<'_>) {}

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        while let Poll::Ready(command) = self.commands.poll_recv(cx) {
            match command {
                Some(command) => command(io),
                None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _io: &mut Io<'_>) {}
}

impl Peer {
    pub fn run(connection: Connection) -> Self {
        let config = Self::config(&connection);
        Self::run_with(connection, config)
    }

    pub fn config(connection: &Connection) -> Config {
        let mut config = Config::new(Role::Client, connection.carrier());
        if let Some(target) = connection.setup_target() {
            config.setup.path = Some(target.path.clone());
            config.setup.authority = Some(target.authority.clone());
        }
        config
    }

    pub fn run_with(connection: Connection, config: Config) -> Self {
        let (commands, commands_in) = mpsc::unbounded_channel();
        let (seen_out, seen) = mpsc::unbounded_channel();
        let mut app = Puppet { commands: commands_in, seen: seen_out };
        let datagrams = connection.datagrams();
        let session = Session::new(config, Instant::now());
        let driver = tokio::spawn(async move { drive(connection, session, &mut app).await });
        Peer { commands, seen, kept: VecDeque::new(), datagrams, driver }
    }

    /// Does something with the session, in its task.
    pub async fn io<T: Send + 'static>(&self, what: impl FnOnce(&mut Io<'_>) -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |io| drop(answer.send(what(io))));
        assert!(self.commands.send(command).is_ok(), "the driver has ended");
        soon("a call", answered).await.unwrap()
    }

    /// The same with a call that must work.
    pub async fn call<T: Send + 'static, E: Debug + Send + 'static>(
        &self,
        what: impl FnOnce(&mut Session) -> Result<T, E> + Send + 'static,
    ) -> T {
        self.io(|io| what(io.session)).await.unwrap()
    }

    /// The next thing seen that `pick` takes; what comes before it is kept for later.
    pub async fn pick<T>(&mut self, what: &str, mut pick: impl FnMut(&Seen) -> Option<T>) -> T {
        for index in 0..self.kept.len() {
            if let Some(found) = pick(&self.kept[index]) {
                self.kept.remove(index);
                return found;
            }
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            let Ok(next) = next else { panic!("no {what} came, but {:?}", self.kept) };
            let next = next.unwrap_or_else(|| panic!("no {what} came before the end, but {:?}", self.kept));
            if let Some(found) = pick(&next) {
                return found;
            }
            self.kept.push_back(next);
        }
    }

    pub async fn expect<T>(&mut self, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        self.pick(what, |seen| match seen {
            Seen::Event(event) => pick(event),
            Seen::Datagram(..) => None,
        })
        .await
    }

    /// Everything that has arrived by now and was not asked for. The relay has acted on all that was sent before.
    pub async fn leftovers(&mut self) -> Vec<Seen> {
        self.settle().await;
        while let Ok(seen) = self.seen.try_recv() {
            self.kept.push_back(seen);
        }
        self.kept.drain(..).collect()
    }

    /// Waits until the relay has answered something, and so has seen all that this peer sent before.
    pub async fn settle(&mut self) {
        let track = name("nobody/nothing");
        let id = self
            .call(|session| session.track_status(Subscribe { track, parameters: Parameters::default() }))
            .await;
        self.refused(id).await;
    }

    // ---- requests

    pub async fn publish(&mut self, text: &str, alias: u64, forward: bool) -> (RequestId, RequestOk) {
        let request = publish(text, alias, forward);
        let id = self.call(move |session| session.publish(request)).await;
        (id, self.accepted(id).await)
    }

    pub async fn subscribe(&mut self, text: &str, parameters: Parameters) -> RequestId {
        let track = name(text);
        self.call(move |session| session.subscribe(Subscribe { track, parameters })).await
    }

    pub async fn publish_namespace(&mut self, text: &str) -> RequestId {
        let request = NamespaceRequest { namespace: namespace(text), parameters: Parameters::default() };
        let id = self.call(move |session| session.publish_namespace(request)).await;
        self.accepted(id).await;
        id
    }

    pub async fn subscribe_namespace(&mut self, text: &str) -> RequestId {
        let request = NamespaceRequest { namespace: namespace(text), parameters: Parameters::default() };
        let id = self.call(move |session| session.subscribe_namespace(request)).await;
        self.accepted(id).await;
        id
    }

    pub async fn subscribe_tracks(&mut self, text: &str, parameters: Parameters) -> RequestId {
        let request = NamespaceRequest { namespace: namespace(text), parameters };
        let id = self.call(move |session| session.subscribe_tracks(request)).await;
        self.accepted(id).await;
        id
    }

    pub async fn fetch(&mut self, range: FetchRange, parameters: Parameters) -> RequestId {
        self.call(move |session| session.fetch(Fetch { range, parameters })).await
    }

    /// Follows a track of the relay's own, from its latest message on.
    pub async fn watch(&mut self, name: &str) -> Watched {
        let track = own(name);
        let subscribe = Subscribe { track, parameters: waiting(10_000) };
        let request = self.call(move |session| session.subscribe(subscribe)).await;
        self.subscribed(request).await;
        let range = FetchRange::RelativeJoining { subscription: request, groups_back: 0 };
        let fetch = self.fetch(range, Parameters::default()).await;
        Watched { request, fetch, last_group: None }
    }

    /// The next message of a track that is followed.
    pub async fn message_of(&mut self, watched: &mut Watched) -> serde_json::Value {
        let object = self
            .expect("a message", |event| {
                let object = match event {
                    Event::Object { request, object, .. } if *request == watched.request => object,
                    Event::FetchItem(request, FetchItem::Object(object)) if *request == watched.fetch => {
                        object
                    }
                    _ => return None,
                };
                (Some(object.location.group) > watched.last_group).then(|| object.clone())
            })
            .await;
        watched.last_group = Some(object.location.group);
        serde_json::from_slice(&object.payload).unwrap()
    }

    /// The first message from now on that is as expected.
    pub async fn until(
        &mut self,
        watched: &mut Watched,
        what: &str,
        mut is_right: impl FnMut(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let mut seen = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, self.message_of(watched)).await;
            let message = message.unwrap_or_else(|_| panic!("{what} did not come, but {seen:?}"));
            if is_right(&message) {
                return message;
            }
            seen.push(message);
        }
    }

    // ---- answers

    pub async fn accepted(&mut self, id: RequestId) -> RequestOk {
        let what = format!("answer to {id:?}");
        self.expect(&what, |event| match event {
            Event::Accepted(request, ok) if *request == id => Some(ok.clone()),
            Event::Refused(request, error) if *request == id => panic!("refused: {error:?}"),
            _ => None,
        })
        .await
    }

    pub async fn subscribed(&mut self, id: RequestId) -> SubscribeOk {
        self.expect("SUBSCRIBE_OK", |event| match event {
            Event::SubscribeAccepted(request, ok) if *request == id => Some(ok.clone()),
            Event::Refused(request, error) if *request == id => panic!("refused: {error:?}"),
            _ => None,
        })
        .await
    }

    pub async fn refused(&mut self, id: RequestId) -> RequestError {
        self.expect("REQUEST_ERROR", |event| match event {
            Event::Refused(request, error) if *request == id => Some(error.clone()),
            Event::SubscribeAccepted(request, _) | Event::Accepted(request, _) if *request == id => {
                panic!("accepted")
            }
            _ => None,
        })
        .await
    }

    pub async fn done(&mut self, id: RequestId) -> PublishDone {
        self.expect("PUBLISH_DONE", |event| match event {
            Event::PublishDone(request, done) if *request == id => Some(done.clone()),
            _ => None,
        })
        .await
    }

    /// All of a FETCH's answer; FETCH_OK first.
    pub async fn fetched(&mut self, id: RequestId) -> (FetchOk, Vec<FetchItem>) {
        let ok = self
            .expect("FETCH_OK", |event| match event {
                Event::FetchAccepted(request, ok) if *request == id => Some(ok.clone()),
                Event::Refused(request, error) if *request == id => panic!("refused: {error:?}"),
                _ => None,
            })
            .await;
        let mut items = Vec::new();
        loop {
            let item = self
                .expect("the end of a FETCH", |event| match event {
                    Event::FetchItem(request, item) if *request == id => Some(Some(item.clone())),
                    Event::FetchEnded { request, reset } if *request == id => {
                        assert_eq!(*reset, None, "the FETCH stream was reset");
                        Some(None)
                    }
                    _ => None,
                })
                .await;
            match item {
                Some(item) => items.push(item),
                None => return (ok, items),
            }
        }
    }

    /// The relay's SUBSCRIBE for a track of this peer.
    pub async fn asked(&mut self) -> (RequestId, Subscribe) {
        self.expect("SUBSCRIBE", |event| match event {
            Event::Subscribe(id, subscribe) => Some((*id, subscribe.clone())),
            _ => None,
        })
        .await
    }

    /// Grants it.
    pub async fn grant(&mut self, id: RequestId, alias: u64, largest: Option<Location>) {
        let parameters = Parameters { largest_object: largest, ..Parameters::default() };
        let ok = SubscribeOk { alias: TrackAlias(alias), parameters, track_properties: Bytes::new() };
        self.call(move |session| session.accept_subscribe(id, ok)).await;
    }

    /// The relay's PUBLISH for a track of others.
    pub async fn offered(&mut self) -> (RequestId, Publish) {
        self.expect("PUBLISH", |event| match event {
            Event::Publish(id, publish) => Some((*id, publish.clone())),
            _ => None,
        })
        .await
    }

    pub async fn take_offer(&mut self, id: RequestId, parameters: Parameters) {
        let ok = RequestOk { parameters, ..RequestOk::default() };
        self.call(move |session| session.accept(id, ok)).await;
    }

    /// The relay's next REQUEST_UPDATE of this peer's request; it is accepted.
    pub async fn updated(&mut self, id: RequestId) -> Parameters {
        let (update, parameters) = self
            .expect("REQUEST_UPDATE", |event| match event {
                Event::Update { request, update, parameters } if *request == id => {
                    Some((*update, parameters.clone()))
                }
                _ => None,
            })
            .await;
        self.call(move |session| session.accept_update(update, RequestOk::default())).await;
        parameters
    }

    /// A REQUEST_UPDATE of ours, accepted.
    pub async fn update(&mut self, id: RequestId, parameters: Parameters) -> RequestOk {
        let update = self.call(move |session| session.update(id, parameters)).await;
        self.accepted(update).await
    }

    // ---- objects

    pub fn send(&self, alias: u64, object: &Object) {
        let bytes = ObjectDatagram::encode(self.datagrams.prefix(), TrackAlias(alias), object);
        self.datagrams.send(bytes).unwrap();
    }

    pub async fn datagram(&mut self) -> (RequestId, ObjectDatagram) {
        self.pick("datagram", |seen| match seen {
            Seen::Datagram(id, datagram) | Seen::Event(Event::Datagram(id, datagram)) => {
                Some((*id, datagram.clone()))
            }
            Seen::Event(_) => None,
        })
        .await
    }

    pub async fn object(&mut self) -> Object {
        self.expect("stream object", |event| match event {
            Event::Object { object, .. } => Some(object.clone()),
            _ => None,
        })
        .await
    }

    /// Leaves without a word to the relay's sessions: the connection is closed.
    pub async fn vanish(self) {
        self.driver.abort();
        let _ = self.driver.await;
    }

    pub async fn ended(self) -> Ended {
        let ended = soon("the session's end", self.driver).await.unwrap();
        drop(self.commands);
        ended
    }
}

/// A track of the relay's own that is followed.
pub struct Watched {
    pub request: RequestId,
    fetch: RequestId,
    last_group: Option<u64>,
}

/// A track of the relay's own.
pub fn own(name: &str) -> FullTrackName {
    FullTrackName::new(namespace("relay"), name.as_bytes().to_vec()).unwrap()
}

pub fn use_value(token: &str) -> Token {
    Token::UseValue { token_type: 0, value: Bytes::copy_from_slice(token.as_bytes()) }
}

pub fn namespace(text: &str) -> Namespace {
    let fields = text.split('/').filter(|field| !field.is_empty());
    Namespace::new(fields.map(|field| Bytes::copy_from_slice(field.as_bytes()))).unwrap()
}

/// `ann/camera`: the last part is the track's own name.
pub fn name(text: &str) -> FullTrackName {
    let (prefix, name) = text.rsplit_once('/').unwrap();
    FullTrackName::new(namespace(prefix), name.as_bytes().to_vec()).unwrap()
}

pub fn publish(text: &str, alias: u64, forward: bool) -> Publish {
    Publish {
        track: name(text),
        alias: TrackAlias(alias),
        parameters: Parameters { forward: Some(forward), ..Parameters::default() },
        track_properties: Bytes::new(),
    }
}

pub fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

pub fn waiting(ms: u64) -> Parameters {
    Parameters { rendezvous_timeout_ms: Some(ms), ..Parameters::default() }
}

// ---- subgroup streams

impl Peer {
    /// Opens a subgroup stream of a track this peer publishes.
    pub async fn open(&self, request: RequestId, header: SubgroupHeader) -> StreamId {
        self.call(move |session| session.open_subgroup(request, header)).await
    }

    pub async fn write(&self, stream: StreamId, object: Object) {
        self.call(move |session| session.write_object(stream, &object)).await;
    }

    pub async fn finish(&self, stream: StreamId) {
        self.call(move |session| session.finish_stream(stream)).await;
    }

    /// A whole group of one object: a message of a JSON track.
    pub async fn message(&self, request: RequestId, group: u64, text: &str) {
        let stream = self.open(request, header(group)).await;
        self.write(stream, Object::stream(at(group, 0), text.to_owned())).await;
        self.finish(stream).await;
    }

    pub async fn stream_header(&mut self) -> (StreamId, SubgroupHeader) {
        self.expect("subgroup stream", |event| match event {
            Event::SubgroupOpened { stream, header, .. } => Some((*stream, header.clone())),
            _ => None,
        })
        .await
    }

    /// How a subgroup stream ended: `None` by FIN.
    pub async fn stream_end(&mut self, id: StreamId) -> Option<StreamResetCode> {
        self.expect("end of a stream", |event| match event {
            Event::SubgroupEnded { stream, reset, .. } if *stream == id => Some(*reset),
            _ => None,
        })
        .await
    }
}

/// A subgroup 0 that begins with its first object.
pub fn header(group: u64) -> SubgroupHeader {
    SubgroupHeader {
        alias: TrackAlias(0),
        group,
        subgroup: Some(0),
        priority: None,
        ends_group: false,
        first_object: true,
        has_properties: false,
    }
}
