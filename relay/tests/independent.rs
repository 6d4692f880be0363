//! The relay as other people's clients see it: the strict client `moqtap-client`, with a codec, a session and a
//! WebTransport of its own, and the HTTP/3 crate `h3`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures
)]

mod support;
mod world;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use moqtap_client::draft18::{
    connection::{ClientConfig, Connection, RequestStream, TransportType},
    event::{ClientEvent, Direction},
    observer::ConnectionObserver,
};
use moqtap_codec::{
    dispatch::{AnyControlMessage, AnyDatagramHeader, AnyFetchHeader, AnySubgroupHeader},
    draft18::{
        data_stream::{DatagramHeader, FetchObject, GroupOrder, SubgroupHeader, SubgroupObject},
        message::{ControlMessage, FetchOk, Publish, RequestError, RequestOk, RequestUpdate, SubscribeOk},
    },
    kvp::{KeyValuePair, KvpValue},
    types::TrackNamespace,
    varint::VarInt,
    version::DraftVersion,
};
use world::{BOTH, Via, World, soon};

// ---- Words of the draft

const LARGEST_OBJECT: u64 = 0x09;
const RENDEZVOUS_TIMEOUT: u64 = 0x04;
const FILL_TIMEOUT: u64 = 0x0A;
const FORWARD: u64 = 0x10;
const SUBSCRIBER_PRIORITY: u64 = 0x20;
const GROUP_ORDER: u64 = 0x22;

fn vi(value: u64) -> VarInt {
    VarInt::from_u64_moqt(value)
}

fn number(key: u64, value: u64) -> KeyValuePair {
    KeyValuePair { key: vi(key), value: KvpValue::Varint(vi(value)) }
}

fn bytes(key: u64, value: &[u8]) -> KeyValuePair {
    KeyValuePair { key: vi(key), value: KvpValue::Bytes(value.to_vec()) }
}

fn namespace(fields: &[&str]) -> TrackNamespace {
    TrackNamespace(fields.iter().map(|field| field.as_bytes().to_vec()).collect())
}

fn ann() -> TrackNamespace {
    namespace(&["ann"])
}

fn parameter(parameters: &[KeyValuePair], key: u64) -> Option<&KvpValue> {
    parameters.iter().find(|pair| pair.key == vi(key)).map(|pair| &pair.value)
}

// ---- A client

async fn client(world: &World, via: Via) -> Connection {
    // It takes whichever provider the process has, and panics when two are compiled in and none is chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let address = format!("127.0.0.1:{}", world.port);
    let (transport, setup_parameters) = match via {
        Via::WebTransport => (TransportType::WebTransport { url: format!("https://{address}/room") }, vec![]),
        Via::Quic => (TransportType::Quic, vec![bytes(0x01, b"/room"), bytes(0x05, address.as_bytes())]),
    };
    let config = ClientConfig {
        draft: DraftVersion::Draft18,
        transport,
        skip_cert_verification: true,
        ca_certs: vec![],
        setup_parameters,
    };
    soon("SETUP", Connection::connect(&address, config)).await.unwrap()
}

async fn answer(client: &mut Connection, request: &mut RequestStream) -> ControlMessage {
    soon("an answer", client.recv_on_request_stream(request)).await.unwrap()
}

async fn ok(client: &mut Connection, request: &mut RequestStream) -> RequestOk {
    match answer(client, request).await {
        ControlMessage::RequestOk(ok) => ok,
        other => panic!("{other:?}"),
    }
}

async fn refusal(client: &mut Connection, request: &mut RequestStream) -> RequestError {
    match answer(client, request).await {
        ControlMessage::RequestError(error) => error,
        other => panic!("{other:?}"),
    }
}

async fn subscribed(client: &mut Connection, request: &mut RequestStream) -> SubscribeOk {
    match answer(client, request).await {
        ControlMessage::SubscribeOk(ok) => ok,
        other => panic!("{other:?}"),
    }
}

async fn publish(
    client: &mut Connection,
    name: &str,
    alias: u64,
    forward: u64,
) -> (RequestStream, RequestOk) {
    let parameters = vec![number(FORWARD, forward)];
    let publishing = client.publish(ann(), name.into(), vi(alias), parameters, vec![]);
    let mut request = soon("PUBLISH", publishing).await.unwrap();
    let ok = ok(client, &mut request).await;
    (request, ok)
}

async fn subscribe(client: &mut Connection, name: &str, parameters: Vec<KeyValuePair>) -> RequestStream {
    soon("SUBSCRIBE", client.subscribe(ann(), name.into(), parameters)).await.unwrap()
}

/// The relay's REQUEST_UPDATE of a PUBLISH, accepted; returns its FORWARD.
async fn updated(client: &mut Connection, request: &mut RequestStream) -> Option<KvpValue> {
    let ControlMessage::RequestUpdate(update) = answer(client, request).await else { panic!("no update") };
    let empty = RequestOk { parameters: vec![], track_properties: vec![] };
    client.respond_ok(request, empty).await.unwrap();
    parameter(&update.parameters, FORWARD).cloned()
}

/// A REQUEST_UPDATE of ours, and the answer. The client has no call for it, and does not expect the REQUEST_OK; ids
/// far from its own are as good, and what came is seen by its observer.
async fn update(
    client: &mut Connection,
    request: &mut RequestStream,
    id: u64,
    parameters: Vec<KeyValuePair>,
) {
    let message = ControlMessage::RequestUpdate(RequestUpdate { request_id: vi(id), parameters });
    client.send_on_request_stream(request, &message).await.unwrap();
}

async fn update_accepted(client: &mut Connection, request: &mut RequestStream) {
    let seen = Seen::default();
    client.set_observer(Box::new(seen.clone()));
    let _ = soon("an answer", client.recv_on_request_stream(request)).await;
    client.clear_observer();
    let seen = seen.0.lock().unwrap();
    assert!(
        matches!(seen.last(), Some(AnyControlMessage::Draft18(ControlMessage::RequestOk(_)))),
        "{seen:?}"
    );
}

/// Messages as they came.
#[derive(Default, Clone)]
struct Seen(Arc<Mutex<Vec<AnyControlMessage>>>);

impl ConnectionObserver for Seen {
    fn on_event(&self, event: &ClientEvent) {
        if let ClientEvent::ControlMessage { direction: Direction::Receive, message, .. } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

fn datagram(alias: u64, group: u64, object: u64) -> AnyDatagramHeader {
    AnyDatagramHeader::Draft18(DatagramHeader {
        datagram_type: 0x01,
        track_alias: vi(alias),
        group_id: vi(group),
        object_id: vi(object),
        publisher_priority: Some(9),
        // Timestamp 5, and one that nobody knows.
        properties: vec![0x10, 5, 0x31, 2, 7, 7],
        object_status: None,
    })
}

async fn received(client: &Connection) -> (DatagramHeader, Vec<u8>) {
    let (header, payload) = soon("a datagram", client.recv_datagram()).await.unwrap();
    let AnyDatagramHeader::Draft18(header) = header;
    (header, payload.to_vec())
}

// ---- What people do with it

#[tokio::test]
async fn a_strict_client_publishes_and_another_subscribes_whatever_carries_either() {
    for publisher_via in BOTH {
        for subscriber_via in BOTH {
            let world = World::new();
            let mut publisher = client(&world, publisher_via).await;
            let mut subscriber = client(&world, subscriber_via).await;
            let mut announced = soon("", publisher.publish_namespace(ann(), vec![])).await.unwrap();
            ok(&mut publisher, &mut announced).await;
            let (mut track, answer_to_publish) = publish(&mut publisher, "camera", 7, 0).await;
            assert_eq!(parameter(&answer_to_publish.parameters, FORWARD), Some(&KvpValue::Varint(vi(0))));

            let mut wanted = subscribe(&mut subscriber, "camera", vec![number(SUBSCRIBER_PRIORITY, 3)]).await;
            assert_eq!(updated(&mut publisher, &mut track).await, Some(KvpValue::Varint(vi(1))));
            let granted = subscribed(&mut subscriber, &mut wanted).await;
            assert_eq!(parameter(&granted.parameters, LARGEST_OBJECT), None, "nothing was published");

            publisher.send_datagram(&datagram(7, 3, 0), b"hello").unwrap();
            let (header, payload) = received(&subscriber).await;
            assert_eq!(header.track_alias, granted.track_alias);
            assert_eq!((header.group_id, header.object_id), (vi(3), vi(0)));
            assert_eq!((header.publisher_priority, &*payload), (Some(9), &b"hello"[..]));
            assert_eq!(header.properties, [0x10, 5, 0x31, 2, 7, 7]);

            subgroup(&publisher, 7, 4, &["one", "two"]).await;
            assert_eq!(subgroup_received(&subscriber).await, (4, vec![b"one".to_vec(), b"two".to_vec()]));

            let done = publisher.publish_done(&mut track, vi(0x2), vi(1), b"bye".to_vec());
            soon("PUBLISH_DONE", done).await.unwrap();
            match answer(&mut subscriber, &mut wanted).await {
                ControlMessage::PublishDone(done) => {
                    assert_eq!((done.status_code, done.stream_count), (vi(0x2), vi(1)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A whole group on a subgroup stream.
async fn subgroup(client: &Connection, alias: u64, group: u64, payloads: &[&str]) {
    let header = SubgroupHeader {
        header_type: 0x14,
        track_alias: vi(alias),
        group_id: vi(group),
        subgroup_id: vi(0),
        publisher_priority: Some(8),
    };
    let mut stream = client.open_subgroup_stream(&AnySubgroupHeader::Draft18(header)).await.unwrap();
    for (id, payload) in (0..).zip(payloads) {
        let object = SubgroupObject {
            object_id: vi(id),
            extension_headers: vec![],
            payload_length: vi(payload.len() as u64),
            object_status: None,
            payload: payload.as_bytes().to_vec(),
        };
        stream.write_subgroup_object(&object).await.unwrap();
    }
    stream.finish().await.unwrap();
}

async fn subgroup_received(client: &Connection) -> (u64, Vec<Vec<u8>>) {
    let (header, mut stream) = soon("a subgroup", client.accept_subgroup_stream()).await.unwrap();
    let AnySubgroupHeader::Draft18(header) = header;
    assert_eq!((header.subgroup_id, header.publisher_priority), (vi(0), Some(8)));
    let mut payloads = vec![];
    while let Ok(object) = soon("an object", stream.read_subgroup_object()).await {
        payloads.push(object.payload);
    }
    (header.group_id.into_inner(), payloads)
}

#[tokio::test]
async fn a_strict_client_may_subscribe_before_anybody_publishes() {
    for via in BOTH {
        let world = World::new();
        let mut subscriber = client(&world, via).await;
        let mut nothing = subscribe(&mut subscriber, "nothing", vec![]).await;
        assert_eq!(refusal(&mut subscriber, &mut nothing).await.error_code, vi(0x10), "DOES_NOT_EXIST");
        let mut late = subscribe(&mut subscriber, "late", vec![number(RENDEZVOUS_TIMEOUT, 50)]).await;
        assert_eq!(refusal(&mut subscriber, &mut late).await.error_code, vi(0x2), "TIMEOUT");

        let mut wanted = subscribe(&mut subscriber, "camera", vec![number(RENDEZVOUS_TIMEOUT, 20_000)]).await;
        // Answered after what was sent before: the relay knows of both.
        let mut probe = subscribe(&mut subscriber, "nothing", vec![]).await;
        refusal(&mut subscriber, &mut probe).await;
        let mut publisher = client(&world, via).await;
        let (_track, granted) = publish(&mut publisher, "camera", 7, 0).await;
        assert_eq!(parameter(&granted.parameters, FORWARD), Some(&KvpValue::Varint(vi(1))), "it is wanted");
        subscribed(&mut subscriber, &mut wanted).await;
        publisher.send_datagram(&datagram(7, 1, 0), b"first").unwrap();
        assert_eq!(received(&subscriber).await.1, b"first");
    }
}

/// A track with a publisher, a subscriber that has seen group 5 with objects 0 to 2, and its requests.
struct Live {
    publisher: Connection,
    track: RequestStream,
    subscriber: Connection,
    wanted: RequestStream,
}

async fn live(world: &World, via: Via) -> Live {
    let mut publisher = client(world, via).await;
    let mut subscriber = client(world, via).await;
    let (mut track, _) = publish(&mut publisher, "camera", 7, 0).await;
    let mut wanted = subscribe(&mut subscriber, "camera", vec![]).await;
    updated(&mut publisher, &mut track).await;
    subscribed(&mut subscriber, &mut wanted).await;
    for object in 0..3 {
        publisher.send_datagram(&datagram(7, 5, object), &[object as u8]).unwrap();
        received(&subscriber).await;
    }
    Live { publisher, track, subscriber, wanted }
}

/// FETCH_OK and the objects that follow it.
async fn fetched(client: &mut Connection, request: &mut RequestStream) -> (FetchOk, Vec<FetchObject>) {
    let ControlMessage::FetchOk(ok) = answer(client, request).await else { panic!("no FETCH_OK") };
    let (header, mut stream) = soon("the data", client.accept_fetch_stream()).await.unwrap();
    let AnyFetchHeader::Draft18(header) = header;
    assert_eq!(header.request_id, request.request_id());
    stream.begin_fetch_objects(GroupOrder::Ascending);
    let mut objects = vec![];
    while let Ok((object, payload)) = soon("an object", stream.read_fetch_object()).await {
        assert_eq!(payload, [object.object_id as u8]);
        assert!(object.header.is_datagram(), "forwarded as it was sent");
        assert_eq!(object.publisher_priority, Some(9));
        assert_eq!(object.header.properties, [0x10, 5, 0x31, 2, 7, 7]);
        objects.push(object);
    }
    (ok, objects)
}

fn ids(objects: &[FetchObject]) -> Vec<(u64, u64)> {
    objects.iter().map(|object| (object.group_id, object.object_id)).collect()
}

#[tokio::test]
async fn a_strict_client_fetches_and_joins() {
    for via in BOTH {
        let world = World::new();
        let mut live = live(&world, via).await;
        let (start, end) = ((vi(5), vi(1)), (vi(5), vi(3)));
        let fetch = live.subscriber.fetch(ann(), "camera".into(), start.0, start.1, end.0, end.1, vec![]);
        let mut fetch = soon("FETCH", fetch).await.unwrap();
        let (ok, objects) = fetched(&mut live.subscriber, &mut fetch).await;
        assert_eq!((ok.end_of_track, ok.end_group, ok.end_object), (0, vi(5), vi(3)));
        assert_eq!(ids(&objects), [(5, 1), (5, 2)]);

        let mut joiner = client(&world, via).await;
        let mut wanted = subscribe(&mut joiner, "camera", vec![]).await;
        let joining = joiner.joining_fetch(wanted.request_id(), vi(0), vec![number(FILL_TIMEOUT, 0)]);
        let mut join = soon("a joining FETCH", joining).await.unwrap();
        let granted = subscribed(&mut joiner, &mut wanted).await;
        assert_eq!(parameter(&granted.parameters, LARGEST_OBJECT), Some(&KvpValue::Bytes(vec![5, 2])));
        let (ok, objects) = fetched(&mut joiner, &mut join).await;
        assert_eq!((ok.end_group, ok.end_object), (vi(5), vi(3)));
        assert_eq!(ids(&objects), [(5, 0), (5, 1), (5, 2)]);
        live.publisher.send_datagram(&datagram(7, 5, 3), b"live").unwrap();
        assert_eq!(received(&joiner).await.0.object_id, vi(3), "live goes on where the past ends");

        let wrong = live.subscriber.fetch(ann(), "camera".into(), vi(9), vi(0), vi(9), vi(0), vec![]);
        let mut wrong = soon("FETCH", wrong).await.unwrap();
        assert_eq!(refusal(&mut live.subscriber, &mut wrong).await.error_code, vi(0x11), "INVALID_RANGE");
    }
}

#[tokio::test]
async fn a_strict_client_asks_for_a_tracks_status() {
    let world = World::new();
    let mut live = live(&world, Via::WebTransport).await;
    let mut status = soon("", live.subscriber.track_status(ann(), "camera".into(), vec![])).await.unwrap();
    let known = ok(&mut live.subscriber, &mut status).await;
    assert_eq!(parameter(&known.parameters, LARGEST_OBJECT), Some(&KvpValue::Bytes(vec![5, 2])));
    let mut status = soon("", live.subscriber.track_status(ann(), "no".into(), vec![])).await.unwrap();
    assert_eq!(refusal(&mut live.subscriber, &mut status).await.error_code, vi(0x10));
}

#[tokio::test]
async fn a_strict_client_hears_of_namespaces_and_their_ends() {
    for via in BOTH {
        let world = World::new();
        let mut watcher = client(&world, via).await;
        let mut publisher = client(&world, via).await;
        let mut all = soon("", watcher.subscribe_namespace(namespace(&[]), vec![])).await.unwrap();
        ok(&mut watcher, &mut all).await;
        let deep = namespace(&["ann", "phone"]);
        let mut announced = soon("", publisher.publish_namespace(deep.clone(), vec![])).await.unwrap();
        ok(&mut publisher, &mut announced).await;
        match answer(&mut watcher, &mut all).await {
            ControlMessage::Namespace(told) => assert_eq!(told.namespace_suffix, deep),
            other => panic!("{other:?}"),
        }
        publisher.cancel_request_stream(&mut announced, 0x1).unwrap();
        match answer(&mut watcher, &mut all).await {
            ControlMessage::NamespaceDone(told) => assert_eq!(told.namespace_suffix, deep),
            other => panic!("{other:?}"),
        }
        let mut twice = soon("", watcher.subscribe_namespace(ann(), vec![])).await.unwrap();
        assert_eq!(refusal(&mut watcher, &mut twice).await.error_code, vi(0x30), "PREFIX_OVERLAP");
    }
}

#[tokio::test]
async fn a_strict_client_is_offered_the_tracks_of_a_prefix() {
    for via in BOTH {
        let world = World::new();
        let mut watcher = client(&world, via).await;
        let mut all = soon("", watcher.subscribe_tracks(namespace(&[]), vec![])).await.unwrap();
        ok(&mut watcher, &mut all).await;
        let mut publisher = client(&world, via).await;
        let (_track, granted) = publish(&mut publisher, "camera", 7, 0).await;
        assert_eq!(parameter(&granted.parameters, FORWARD), Some(&KvpValue::Varint(vi(1))));
        let (message, mut offer) = soon("PUBLISH", watcher.accept_request_stream()).await.unwrap();
        let ControlMessage::Publish(Publish { track_namespace, track_name, track_alias, .. }) = message
        else {
            panic!("{message:?}")
        };
        assert_eq!((track_namespace, &*track_name), (ann(), &b"camera"[..]));
        let empty = RequestOk { parameters: vec![], track_properties: vec![] };
        watcher.respond_ok(&mut offer, empty).await.unwrap();
        publisher.send_datagram(&datagram(7, 1, 0), b"offered").unwrap();
        let (header, payload) = received(&watcher).await;
        assert_eq!((header.track_alias, &*payload), (track_alias, &b"offered"[..]));
    }
}

#[tokio::test]
async fn a_strict_client_turns_forwarding_off_and_on_again() {
    let world = World::new();
    let mut live = live(&world, Via::Quic).await;
    update(&mut live.subscriber, &mut live.wanted, 1000, vec![number(FORWARD, 0)]).await;
    assert_eq!(updated(&mut live.publisher, &mut live.track).await, Some(KvpValue::Varint(vi(0))));
    update_accepted(&mut live.subscriber, &mut live.wanted).await;
    live.publisher.send_datagram(&datagram(7, 5, 3), b"unseen").unwrap();
    update(&mut live.subscriber, &mut live.wanted, 1002, vec![number(FORWARD, 1)]).await;
    assert_eq!(updated(&mut live.publisher, &mut live.track).await, Some(KvpValue::Varint(vi(1))));
    update_accepted(&mut live.subscriber, &mut live.wanted).await;
    live.publisher.send_datagram(&datagram(7, 6, 0), b"seen").unwrap();
    assert_eq!(received(&live.subscriber).await.1, b"seen");
}

#[tokio::test]
async fn a_strict_client_is_told_to_go_away_even_if_it_was_only_just_coming_in() {
    for via in BOTH {
        let world = World::new();
        let early = client(&world, via).await;
        world.relay.go_away("", Duration::from_secs(10));
        let late = client(&world, via).await;
        for mut client in [early, late] {
            match soon("GOAWAY", client.recv_and_dispatch()).await.unwrap() {
                ControlMessage::GoAway(goaway) => {
                    assert_eq!((&*goaway.new_session_uri, goaway.timeout), (&b""[..], vi(10_000)));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_cancelled_subscription_of_a_strict_client_leaves_the_publisher_idle() {
    let world = World::new();
    let mut live = live(&world, Via::WebTransport).await;
    live.subscriber.cancel_request_stream(&mut live.wanted, 0x1).unwrap();
    assert_eq!(updated(&mut live.publisher, &mut live.track).await, Some(KvpValue::Varint(vi(0))));
    let mut descending = subscribe(&mut live.subscriber, "camera", vec![number(GROUP_ORDER, 2)]).await;
    assert_eq!(updated(&mut live.publisher, &mut live.track).await, Some(KvpValue::Varint(vi(1))));
    subscribed(&mut live.subscriber, &mut descending).await;
}

#[tokio::test]
async fn a_strict_client_is_refused_alone_and_outlives_others_faults() {
    let world = World::new();
    let mut client = client(&world, Via::Quic).await;
    let taken = namespace(&["relay"]);
    let mut refused = soon("", client.publish_namespace(taken, vec![])).await.unwrap();
    assert_eq!(refusal(&mut client, &mut refused).await.error_code, vi(0x1), "UNAUTHORIZED");
    // A datagram of a type that nobody has defined ends the session it came in.
    let other = world.peer(Via::Quic).await;
    other.datagrams.send(vec![0x60, 1, 1].into()).unwrap();
    let ended = other.ended().await;
    assert_eq!(ended.code, Some(roundtable_moqt::SessionError::ProtocolViolation));
    let mut still = soon("", client.track_status(ann(), "camera".into(), vec![])).await.unwrap();
    assert_eq!(refusal(&mut client, &mut still).await.error_code, vi(0x10), "others' faults are not ours");
}

// ---- The HTTP/3 crate, at the real binary

mod http3 {
    use std::{future::poll_fn, net::SocketAddr, sync::Arc};

    use h3::ext::Protocol;
    use web_transport_quinn::http::{Method, Request, StatusCode, request::Builder};

    use super::{
        support::{Running, trusting},
        world::soon,
    };

    async fn quic(address: SocketAddr) -> quinn::Connection {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(trusting(&[b"h3"], true)).unwrap();
        let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        soon("a handshake", endpoint.connect(address, "localhost").unwrap()).await.unwrap()
    }

    async fn ask(address: SocketAddr, request: Builder) -> StatusCode {
        let quic = quic(address).await;
        let (mut connection, mut sender) = h3::client::builder()
            .enable_extended_connect(true)
            .enable_datagram(true)
            .build::<_, _, bytes::Bytes>(h3_quinn::Connection::new(quic))
            .await
            .unwrap();
        let driver = tokio::spawn(async move { poll_fn(|cx| connection.poll_close(cx)).await });
        let mut stream = sender.send_request(request.body(()).unwrap()).await.unwrap();
        let status = soon("the answer", stream.recv_response()).await.unwrap().status();
        driver.abort();
        status
    }

    fn connect(url: String) -> Builder {
        Request::builder()
            .method(Method::CONNECT)
            .uri(url)
            .extension(Protocol::WEB_TRANSPORT)
            .header("wt-available-protocols", "\"moqt-18\"")
    }

    #[tokio::test]
    async fn whoever_asks_for_what_is_not_there_is_told_so() {
        let data = tempfile::tempdir().unwrap();
        let relay = Running::start(data.path(), &[]);
        let address = relay.quic();
        let room = format!("https://{address}/room");
        assert_eq!(ask(address, Request::get(&room)).await, StatusCode::NOT_FOUND);
        assert_eq!(ask(address, Request::post(&room)).await, StatusCode::METHOD_NOT_ALLOWED);
        for path in ["/", "/me", "/me/", "/a%20room", "/a/b/c", "/room/", "/.session"] {
            let status = ask(address, connect(format!("https://{address}{path}"))).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        }
        assert_eq!(ask(address, connect(room.clone())).await, StatusCode::OK);
        let foreign = connect("https://evil.example/room".to_owned());
        assert_eq!(ask(address, foreign).await, StatusCode::MISDIRECTED_REQUEST);
        let other_version = Request::builder()
            .method(Method::CONNECT)
            .uri(&room)
            .extension(Protocol::WEB_TRANSPORT)
            .header("wt-available-protocols", "\"moqt-17\"");
        assert_eq!(ask(address, other_version).await, StatusCode::BAD_REQUEST);
        let tunnel = Request::builder().method(Method::CONNECT).uri(&room).extension(Protocol::CONNECT_UDP);
        assert_eq!(ask(address, tunnel).await, StatusCode::NOT_IMPLEMENTED);
    }

    #[tokio::test]
    async fn nonsense_in_place_of_http3_ends_that_connection_only() {
        let data = tempfile::tempdir().unwrap();
        let relay = Running::start(data.path(), &[]);
        let address = relay.quic();
        for request in [&[0x01, 0x04, 0xff, 0xff, 0xff, 0xff][..], &[0x00, 0x03, 1, 2, 3], &[0x41; 3000], &[]]
        {
            let quic = quic(address).await;
            let mut control = quic.open_uni().await.unwrap();
            control.write_all(&[0x00, 0x04, 0x00]).await.unwrap();
            let (mut send, _receive) = quic.open_bi().await.unwrap();
            // It may be closed before all is sent.
            let _ = send.write_all(request).await;
            let _ = send.finish();
            let closed = soon("the verdict", quic.closed()).await;
            assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(_)), "{closed:?}");
        }
        assert_eq!(ask(address, connect(format!("https://{address}/room"))).await, StatusCode::OK);
        assert_eq!(relay.get("/healthz").status, 200);
    }
}
