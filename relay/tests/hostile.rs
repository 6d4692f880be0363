//! Peers that mean harm, or are broken: the relay tells them off with the draft's codes, stays within its limits, and
//! carries on for everybody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;
mod world;

use std::{
    io::{Read as _, Write as _},
    net::{TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use roundtable_moqt::{
    Event, Namespace, Object, ObjectDatagram, Parameters, PublishDoneCode, RequestErrorCode, SessionError,
    StreamResetCode,
    codec::{self, MessageContext},
    message::{
        Fetch, FetchRange, GoAway, Message, NamespaceRequest, Request, RequestId, Subscribe, TrackAlias,
    },
    vi64,
};
use support::Running;
use world::{
    BOTH, Peer, Via, World, at, header, name, namespace,
    raw::{Raw, Wire, address, publish, setup, subscribe, wire},
    soon, waiting,
};

// ---- Who must not notice

/// A call that goes on whatever happens beside it.
struct Call {
    publisher: Peer,
    track: RequestId,
    viewer: Peer,
    group: u64,
}

impl Call {
    async fn new(world: &World) -> Self {
        Self::of(world.peer(Via::WebTransport).await, world.peer(Via::Quic).await).await
    }

    async fn of(mut publisher: Peer, mut viewer: Peer) -> Self {
        let wanted = viewer.subscribe("ann/camera", waiting(10_000)).await;
        viewer.settle().await;
        let (track, _) = publisher.publish("ann/camera", 7, true).await;
        viewer.subscribed(wanted).await;
        Call { publisher, track, viewer, group: 0 }
    }

    /// A datagram and a message on a stream of its own still arrive.
    async fn goes_on(&mut self) {
        self.group += 2;
        self.publisher.send(7, &Object::datagram(at(self.group, 0), "picture"));
        assert_eq!(self.viewer.datagram().await.1.location(), at(self.group, 0));
        self.publisher.message(self.track, self.group + 1, "message").await;
        assert_eq!(self.viewer.object().await.location, at(self.group + 1, 0));
    }
}

/// The same numbers in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

// ---- Messages, whole and broken

/// A message of any type with any body, and the length it claims.
fn message(kind: u64, len: u16, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    vi64::put(&mut bytes, kind);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.freeze()
}

fn numbers(numbers: &[u64]) -> Bytes {
    let mut bytes = BytesMut::new();
    numbers.iter().for_each(|number| vi64::put(&mut bytes, *number));
    bytes.freeze()
}

// ---- Nonsense

/// Where it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Control,
    Request,
    /// The same, and FIN.
    WholeRequest,
    Data,
    Datagram,
}

#[tokio::test]
async fn nonsense_ends_the_session_it_comes_in_with_the_drafts_code_and_no_other() {
    use SessionError::{DuplicateTrackAlias, InvalidRequestId, KeyValueFormattingError, ProtocolViolation};
    use Where::{Control, Data, Datagram, Request, WholeRequest};

    let mut many_fields = BytesMut::new();
    vi64::put(&mut many_fields, 0);
    vi64::put(&mut many_fields, 33);
    (0..33).for_each(|_| many_fields.extend_from_slice(&[1, b'a']));
    many_fields.extend_from_slice(&[1, b'n', 0]);
    let mut long_field = BytesMut::new();
    vi64::put(&mut long_field, 0);
    vi64::put(&mut long_field, 1);
    vi64::put(&mut long_field, 5000);
    long_field.extend_from_slice(&[b'a'; 5000]);
    long_field.extend_from_slice(&[1, b'n', 0]);
    let good = subscribe(0, "ann/camera", Parameters::default());
    let two_publishes = [publish(0, "eve/one", 9), publish(2, "eve/two", 9)];
    let goaway = Message::GoAway(GoAway {
        uri: "https://evil.example".into(),
        timeout_ms: 1,
        request_id: Some(RequestId(1)),
    });

    let cases: Vec<(&str, Where, Vec<Bytes>, SessionError)> = vec![
        ("an unknown request", Request, vec![message(0x7777, 0, &[])], ProtocolViolation),
        ("a request type of nine bytes", Request, vec![message(u64::MAX, 0, &[])], ProtocolViolation),
        ("SETUP as a request", Request, vec![setup("/room")], ProtocolViolation),
        ("an answer as a request", Request, vec![message(0x07, 2, &[0, 0])], ProtocolViolation),
        ("a request cut short", WholeRequest, vec![good.slice(..good.len() - 3)], ProtocolViolation),
        ("a length that is too short", Request, vec![message(0x03, 3, &good[3..])], ProtocolViolation),
        (
            "more after the last field",
            Request,
            vec![message(0x03, 400, &[&good[3..], &[0; 400]].concat())],
            ProtocolViolation,
        ),
        (
            "a namespace of 33 fields",
            Request,
            vec![message(0x03, many_fields.len() as u16, &many_fields)],
            ProtocolViolation,
        ),
        (
            "a name of 5000 bytes",
            Request,
            vec![message(0x03, long_field.len() as u16, &long_field)],
            ProtocolViolation,
        ),
        (
            "a filter that is none",
            Request,
            vec![message(0x03, 11, &[0, 1, 1, b'a', 1, b'n', 1, 0x21, 2, 3, 5])],
            KeyValueFormattingError,
        ),
        (
            "a server's request id",
            Request,
            vec![subscribe(1, "ann/camera", Parameters::default())],
            InvalidRequestId,
        ),
        (
            "a request id twice",
            Request,
            vec![subscribe(0, "a/b", Parameters::default()), subscribe(0, "a/c", Parameters::default())],
            InvalidRequestId,
        ),
        ("one alias for two tracks", Request, two_publishes.into(), DuplicateTrackAlias),
        ("SETUP twice", Control, vec![setup("/room")], ProtocolViolation),
        ("a request where control messages go", Control, vec![good.clone()], ProtocolViolation),
        ("an unknown control message", Control, vec![message(0x7777, 0, &[])], ProtocolViolation),
        ("a client that knows a better server", Control, vec![wire(&goaway)], ProtocolViolation),
        ("a data stream of unknown type", Data, vec![numbers(&[0x7F])], ProtocolViolation),
        ("a data stream type of nine bytes", Data, vec![numbers(&[u64::MAX])], ProtocolViolation),
        ("data of a FETCH nobody made", Data, vec![numbers(&[0x05, 1])], ProtocolViolation),
        ("an unknown datagram", Datagram, vec![numbers(&[0x60, 1, 1])], ProtocolViolation),
        ("a datagram of reserved type", Datagram, vec![numbers(&[0x10, 1, 1])], ProtocolViolation),
        ("half a datagram's header", Datagram, vec![numbers(&[0x00, 1])], ProtocolViolation),
        (
            "no properties where some are said",
            Datagram,
            vec![numbers(&[0x09, 1, 1, 1, 0])],
            ProtocolViolation,
        ),
        ("a property beyond its end", Datagram, vec![numbers(&[0x09, 1, 1, 1, 2, 1, 90])], ProtocolViolation),
        ("status with a payload", Datagram, vec![numbers(&[0x28, 1, 1, 1, 3, 3, 3])], ProtocolViolation),
    ];

    let world = World::new();
    let mut call = Call::new(&world).await;
    for (what, place, parts, code) in cases {
        let (raw, mut control) = Raw::set_up(&world).await;
        let mut open = vec![];
        for part in parts {
            match place {
                Where::Control => control.write_all(&part).await.unwrap(),
                Where::Request => open.push(raw.bi(&part).await),
                Where::WholeRequest => {
                    let (mut send, receive) = raw.bi(&part).await;
                    send.finish().unwrap();
                    open.push((send, receive));
                }
                Where::Data => drop(raw.uni(&part).await),
                Where::Datagram => raw.quic.send_datagram(part).unwrap(),
            }
        }
        assert_eq!(SessionError::from_code(raw.verdict().await), code, "{what}");
    }
    call.goes_on().await;
    world.until("sessions_open", |open| open == 2).await;
}

#[tokio::test]
async fn a_session_that_does_not_begin_as_it_should_ends_with_the_drafts_code() {
    let world = World::new();
    for (path, code) in [
        (None, SessionError::InvalidPath),
        (Some("/a b"), SessionError::MalformedPath),
        (Some("/a/b/c"), SessionError::InvalidPath),
        (Some(""), SessionError::InvalidPath),
    ] {
        let raw = Raw::connect(&world, |_| {}).await;
        let mut options = path.map_or(vec![], |path| vec![0x01, path.len() as u8]);
        options.extend_from_slice(path.unwrap_or_default().as_bytes());
        let _control = raw.uni(&message(0x2F00, options.len() as u16, &options)).await;
        assert_eq!(SessionError::from_code(raw.verdict().await), code, "{path:?}");
    }
    // Half a SETUP, then the end of the control stream.
    let raw = Raw::connect(&world, |_| {}).await;
    let mut control = raw.uni(&setup("/room")[..5]).await;
    control.finish().unwrap();
    assert_eq!(SessionError::from_code(raw.verdict().await), SessionError::ProtocolViolation);
    // None at all.
    let raw = Raw::connect(&world, |_| {}).await;
    assert_eq!(SessionError::from_code(raw.verdict().await), SessionError::ControlMessageTimeout);
}

#[tokio::test]
async fn what_means_nothing_and_is_allowed_is_passed_over() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let raw = Raw::connect(&world, |_| {}).await;
    // Options of SETUP that nobody knows, reserved ones for exercise among them (0x7f * N + 0x9d).
    let mut options = BytesMut::new();
    vi64::put(&mut options, 1);
    vi64::put(&mut options, 5);
    options.extend_from_slice(b"/room");
    vi64::put(&mut options, 0x9D - 1);
    vi64::put(&mut options, 3);
    options.extend_from_slice(b"abc");
    vi64::put(&mut options, 0x7F);
    vi64::put(&mut options, 77);
    let _control = raw.uni(&message(0x2F00, options.len() as u16, &options)).await;
    let mut padding = numbers(&[0x132B_3E28]).to_vec();
    padding.extend_from_slice(&[0; 5000]);
    let mut padding = raw.uni(&padding).await;
    let mut datagram = numbers(&[0x132B_3E29]).to_vec();
    datagram.extend_from_slice(&[0; 900]);
    raw.quic.send_datagram(datagram.into()).unwrap();
    let (_send, mut receive) = raw.bi(&subscribe(0, "nobody/nothing", Parameters::default())).await;
    let mut answer = [0; 1];
    soon("an answer", receive.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x05], "REQUEST_ERROR, and the session goes on");
    padding.finish().unwrap();
    call.goes_on().await;
}

#[tokio::test]
async fn noise_on_streams_and_in_datagrams_of_a_session_harms_nobody_else() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let mut noise = Noise(0x2545_F491_4F6C_DD1D);
    for round in 0..60 {
        let (raw, mut control) = Raw::set_up(&world).await;
        for _ in 0..20 {
            let len = noise.next() as usize % 300;
            let bytes = noise.bytes(len);
            // The session may be over at any time.
            let _ = match (round + noise.next()) % 5 {
                0 => control.write_all(&bytes).await.is_ok(),
                1 => match raw.quic.open_uni().await {
                    Ok(mut stream) => stream.write_all(&bytes).await.is_ok(),
                    Err(_) => false,
                },
                2 => match raw.quic.open_bi().await {
                    Ok((mut send, _receive)) => send.write_all(&bytes).await.is_ok(),
                    Err(_) => false,
                },
                _ => raw.quic.send_datagram(bytes.into()).is_ok(),
            };
        }
    }
    call.goes_on().await;
    world.until("sessions_open", |open| open == 2).await;
}

#[tokio::test]
async fn noise_on_the_udp_port_harms_nobody() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
    for round in 0..4000_u64 {
        let len = [0, 1, 20, 60, 1199, 1200, 1452, 9000][noise.next() as usize % 8];
        let mut packet = noise.bytes(len);
        // An Initial of QUIC 1, of a version that does not exist, or a short header.
        if let Some(first) = packet.first_mut() {
            *first = [0xC3, 0xFF, 0x43, *first][round as usize % 4];
        }
        if let Some(version) = packet.get_mut(1..5) {
            version.copy_from_slice(&[[0, 0, 0, 1], [0x1a, 0x2a, 0x3a, 0x4a]][round as usize % 2]);
        }
        let _ = socket.send_to(&packet, address(&world));
        if round % 500 == 0 {
            call.goes_on().await;
        }
    }
    call.goes_on().await;
    let mut late = world.peer(Via::WebTransport).await;
    late.settle().await;
}

#[tokio::test]
async fn handshakes_that_stop_halfway_keep_nobody_out() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let mut endpoints = vec![];
    for _ in 0..200 {
        let raw_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut initial = vec![0xC3, 0, 0, 0, 1, 8];
        initial.extend_from_slice(&[7; 8]);
        initial.resize(1200, 0);
        raw_socket.send_to(&initial, address(&world)).unwrap();
        endpoints.push(raw_socket);
    }
    for _ in 0..60 {
        // The first flight is sent, and nobody is there for the answer.
        let mut tls = support::trusting(&[b"moqt-18"], true);
        tls.enable_sni = true;
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = endpoint.connect_with(config, address(&world), "localhost").unwrap();
        tokio::task::yield_now().await;
        drop(connecting);
    }
    world.peer(Via::WebTransport).await.settle().await;
    world.peer(Via::Quic).await.settle().await;
    call.goes_on().await;
}

#[test]
fn noise_on_the_http_port_harms_nobody() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let address = relay.http();
    let mut noise = Noise(0xDEAD_BEEF_1234_5678);
    let mut idle = vec![];
    for round in 0..200_u64 {
        let Ok(mut stream) = TcpStream::connect(address) else { panic!("the door is closed") };
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let host = address.to_string();
        let bytes = match round % 6 {
            0 => noise.bytes(2000),
            1 => b"GET / HTTP/1.1\r\nHost: ".to_vec(),
            2 => format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999999\r\n\r\nabc")
                .into_bytes(),
            3 => format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n"
            )
            .into_bytes(),
            4 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\x01\x05\x00\x00\x00\x00".to_vec(),
            _ => [b"GET /".to_vec(), vec![b'%'; 9000], b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
        };
        let _ = stream.write_all(&bytes);
        if round % 10 == 0 {
            let mut answer = [0; 500];
            let _ = stream.read(&mut answer);
        }
        // They stay open, and say nothing more.
        idle.push(stream);
    }
    assert_eq!(relay.get("/healthz").status, 200);
    drop(idle);
    assert_eq!(relay.get("/healthz").status, 200);
}

// ---- Too much of something

#[tokio::test]
async fn more_requests_than_allowed_are_refused_and_the_session_goes_on() {
    let world = World::with(|limits| limits.requests_per_session_max = 50);
    let mut call = Call::new(&world).await;
    let mut greedy = world.peer(Via::WebTransport).await;
    let mut ids = vec![];
    for count in 0..300 {
        ids.push(greedy.subscribe(&format!("nobody/{count}"), waiting(60_000)).await);
    }
    for id in &ids[50..] {
        let error = greedy.refused(*id).await;
        assert_eq!(error.code, RequestErrorCode::ExcessiveLoad);
        assert!(error.retry_after_ms.is_some(), "it may come back");
    }
    for id in ids.drain(..50) {
        greedy.call(move |session| session.cancel(id, StreamResetCode::Cancelled)).await;
    }
    greedy.settle().await;
    let track = greedy.subscribe("ann/camera", Parameters::default()).await;
    greedy.subscribed(track).await;
    call.goes_on().await;
}

#[tokio::test]
async fn a_room_has_only_so_many_tracks_and_namespaces() {
    let world = World::with(|limits| {
        limits.tracks_per_scope_max = 20;
        limits.namespaces_per_scope_max = 10;
    });
    let mut call = Call::new(&world).await;
    let mut greedy = world.peer(Via::Quic).await;
    let mut refused = 0;
    for count in 0..40 {
        let request = world::publish(&format!("eve/{count}"), 100 + count, false);
        let id = greedy.call(move |session| session.publish(request)).await;
        refused += u32::from(refusal(&mut greedy, id).await == Some(RequestErrorCode::ExcessiveLoad));
    }
    assert_eq!(refused, 21, "one is the call's");
    let mut refused = 0;
    for count in 0..40 {
        let request = NamespaceRequest {
            namespace: namespace(&format!("eve/{count}")),
            parameters: Parameters::default(),
        };
        let id = greedy.call(move |session| session.publish_namespace(request)).await;
        refused += u32::from(refusal(&mut greedy, id).await == Some(RequestErrorCode::ExcessiveLoad));
    }
    assert_eq!(refused, 30);
    let elsewhere = world.peer_at(Via::Quic, "/other").await;
    let mut elsewhere = elsewhere;
    elsewhere.publish("eve/1", 1, false).await;
    call.goes_on().await;
}

/// The code of a refusal, `None` when it was accepted.
async fn refusal(peer: &mut Peer, id: RequestId) -> Option<RequestErrorCode> {
    peer.expect("an answer", |event| match event {
        Event::Accepted(request, _) | Event::SubscribeAccepted(request, _) if *request == id => Some(None),
        Event::Refused(request, error) if *request == id => Some(Some(error.code)),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn there_are_only_so_many_sessions_in_a_room_and_in_all() {
    let world = World::with(|limits| {
        limits.sessions_per_scope_max = 4;
        limits.sessions_max = 6;
    });
    let mut call = Call::new(&world).await;
    let _third = world.peer(Via::Quic).await;
    let _fourth = world.peer(Via::Quic).await;
    for via in BOTH {
        let ended = world.stranger(via, "/room").await.ended().await;
        assert_eq!(ended.by, roundtable_transport::EndedBy::Peer, "{ended:?}");
    }
    let _fifth = world.peer_at(Via::Quic, "/other").await;
    let _sixth = world.peer_at(Via::WebTransport, "/other").await;
    let ended = world.stranger(Via::Quic, "/third").await.ended().await;
    assert_eq!(ended.by, roundtable_transport::EndedBy::Peer);
    world.until("sessions_refused", |refused| refused == 3).await;
    world.until("sessions_open", |open| open == 6).await;
    call.goes_on().await;
}

#[tokio::test]
async fn more_streams_than_allowed_are_stopped_and_the_others_go_on() {
    let world = World::with(|limits| limits.streams_per_session_max = 30);
    let mut call = Call::new(&world).await;
    let mut streams = vec![];
    for group in 100..200 {
        let stream = call.publisher.open(call.track, header(group)).await;
        call.publisher.write(stream, Object::stream(at(group, 0), "first")).await;
        streams.push(stream);
    }
    world.until("streams_refused", |refused| refused == 70).await;
    for _ in 0..70 {
        let code = call
            .publisher
            .expect("STOP_SENDING", |event| match event {
                Event::StreamStopped { code, .. } => Some(*code),
                _ => None,
            })
            .await;
        assert_eq!(code, StreamResetCode::ExcessiveLoad);
    }
    for group in 100..130 {
        assert_eq!(call.viewer.object().await.location, at(group, 0));
    }
    for stream in streams.drain(..30) {
        call.publisher.finish(stream).await;
    }
    call.group = 1000;
    call.goes_on().await;
}

#[tokio::test]
async fn datagrams_of_unknown_aliases_are_dropped_and_counted() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let mut eve = world.peer(Via::Quic).await;
    for count in 0..5000_u64 {
        let object = Object::datagram(at(count, 0), vec![0; 200]);
        let bytes = ObjectDatagram::encode(&[], TrackAlias(1_000_000 + count), &object);
        eve.datagrams.send(bytes).unwrap();
        if count % 50 == 0 {
            eve.settle().await;
        }
    }
    eve.settle().await;
    call.goes_on().await;
    eve.vanish().await;
    world.until("datagrams_unknown_alias", |dropped| dropped > 1000).await;
    world.until("sessions_open", |open| open == 2).await;
}

#[tokio::test]
async fn thousands_of_requests_opened_and_reset_leave_nothing_behind() {
    let world = World::with(|limits| limits.ended_track_age_max = Duration::from_millis(100));
    let mut call = Call::new(&world).await;
    let (raw, control) = Raw::set_up(&world).await;
    for count in 0..4000_u64 {
        let (mut send, mut receive) = soon("a stream", raw.quic.open_bi()).await.unwrap();
        let mut request = BytesMut::new();
        let rendezvous = Subscribe { track: name(&format!("eve/{count}")), parameters: waiting(60_000) };
        match count % 3 {
            0 => request.extend_from_slice(&wire(&Message::Request(
                RequestId(count * 2),
                Request::Subscribe(rendezvous),
            ))),
            1 => request.extend_from_slice(&publish(count * 2, &format!("eve/{count}"), count)),
            // Half a request.
            _ => request.extend_from_slice(&subscribe(count * 2, "ann/camera", Parameters::default())[..7]),
        }
        send.write_all(&request).await.unwrap();
        let _ = send.reset(1_u32.into());
        let _ = receive.stop(1_u32.into());
        if count % 500 == 0 {
            call.goes_on().await;
        }
    }
    call.goes_on().await;
    assert!(raw.quic.close_reason().is_none(), "cancelling is no offence");
    drop((raw, control));
    world.until("sessions_open", |open| open == 2).await;
    // Kept for late FETCHes, but not for long.
    world.until("tracks_open", |open| open == 1).await;
}

#[tokio::test]
async fn thousands_of_subscriptions_end_with_the_session_that_made_them() {
    let world = World::with(|limits| limits.ended_track_age_max = Duration::from_millis(100));
    let mut call = Call::new(&world).await;
    let mut greedy = world.peer(Via::WebTransport).await;
    let mut source = world.peer(Via::Quic).await;
    source.publish_namespace("eve").await;
    // QUIC lets it have so many at once.
    for count in 0..900 {
        greedy.subscribe(&format!("eve/{count}"), waiting(60_000)).await;
    }
    for alias in 0..900 {
        let (request, _) = source.asked().await;
        source.grant(request, alias, None).await;
    }
    world.until("subscriptions_open", |open| open == 901).await;
    call.goes_on().await;
    greedy.vanish().await;
    world.until("subscriptions_open", |open| open == 1).await;
    source.vanish().await;
    world.until("tracks_open", |open| open == 1).await;
    call.goes_on().await;
}

#[tokio::test]
async fn a_session_reaches_nothing_through_the_request_ids_of_others() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let (raw, _control) = Raw::set_up(&world).await;
    // 0 is the viewer's subscription in its own session, 1 the relay's request to somebody.
    for (id, other) in [(0, 0), (2, 1), (4, 2), (6, u64::MAX - 1)] {
        let range = FetchRange::RelativeJoining { subscription: RequestId(other), groups_back: 0 };
        let fetch = Fetch { range, parameters: Parameters::default() };
        let (_send, mut receive) =
            raw.bi(&wire(&Message::Request(RequestId(id), Request::Fetch(fetch)))).await;
        let mut answer = soon("an answer", receive.read_chunk(1000, true)).await.unwrap().unwrap().bytes;
        match codec::decode(&mut answer, MessageContext::Request) {
            Ok(Some(Message::RequestError(error))) => {
                assert_eq!(error.code, RequestErrorCode::InvalidJoiningRequestId);
            }
            other => panic!("{other:?}"),
        }
    }
    call.goes_on().await;
}

// ---- Peers that are slow, or gone

/// A subscriber that has asked for the call's track and reads nothing at all.
async fn deaf(world: &World) -> (Raw, quinn::SendStream, (quinn::SendStream, quinn::RecvStream)) {
    let raw = Raw::connect(world, |transport| {
        transport
            .stream_receive_window(2000_u32.into())
            .receive_window(4000_u32.into())
            .max_concurrent_uni_streams(3_u32.into())
            .datagram_receive_buffer_size(Some(2000));
    })
    .await;
    let control = raw.uni(&setup("/room")).await;
    let request = raw.bi(&subscribe(0, "ann/camera", Parameters::default())).await;
    (raw, control, request)
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_costs_the_others_nothing() {
    let world = World::with(|limits| {
        limits.queue_bytes_max = 1 << 20;
        limits.object_bytes_max = 100_000;
    });
    let mut call = Call::new(&world).await;
    let mut deaf_ones = vec![];
    for _ in 0..3 {
        deaf_ones.push(deaf(&world).await);
    }
    world.until("subscriptions_open", |open| open == 4).await;
    for round in 0..60 {
        let group = 10 + round;
        let stream = call.publisher.open(call.track, header(group)).await;
        for id in 0..5 {
            call.publisher.write(stream, Object::stream(at(group, id), vec![round as u8; 20_000])).await;
            assert_eq!(call.viewer.object().await.location, at(group, id));
        }
        call.publisher.finish(stream).await;
    }
    // 6 MB for each, of which a queue holds one; what a reset throws away with its stream is not counted here.
    world.until("objects_overflowed", |dropped| dropped >= 3 * 100).await;
    call.group = 1000;
    call.goes_on().await;
    for (raw, ..) in &deaf_ones {
        assert!(raw.quic.close_reason().is_none(), "being slow is no offence");
    }
    drop(deaf_ones);
    world.until("sessions_open", |open| open == 2).await;
}

#[tokio::test]
async fn a_peer_that_lets_answers_pile_up_is_let_go() {
    let world = World::with(|limits| limits.control_bytes_max = 60_000);
    let mut call = Call::new(&world).await;
    let raw = Raw::connect(&world, |transport| {
        transport.stream_receive_window(500_u32.into()).receive_window(1000_u32.into());
    })
    .await;
    let _control = raw.uni(&setup("/room")).await;
    let everything = NamespaceRequest { namespace: Namespace::default(), parameters: Parameters::default() };
    let _request =
        raw.bi(&wire(&Message::Request(RequestId(0), Request::SubscribeNamespace(everything)))).await;
    let mut source = world.peer(Via::Quic).await;
    source.settle().await;
    for count in 0..300 {
        source.publish_namespace(&format!("eve/{count}-{}", "n".repeat(1000))).await;
    }
    assert_eq!(
        SessionError::from_code(raw.verdict().await),
        SessionError::ControlMessageTimeout,
        "control messages are not read"
    );
    world.until("sessions_overloaded", |ended| ended == 1).await;
    call.goes_on().await;
}

#[tokio::test]
async fn a_publisher_whose_cable_is_cut_ends_its_tracks_for_everybody_in_time() {
    let world = World::new();
    let mut call = Call::new(&world).await;
    let wire = Wire::to(&world).await;
    let mut bob = world.peer_through(Via::WebTransport, wire.port).await;
    bob.publish("bob/camera", 3, true).await;
    bob.publish_namespace("bob").await;
    let wanted = call.viewer.subscribe("bob/camera", Parameters::default()).await;
    call.viewer.subscribed(wanted).await;
    bob.send(3, &Object::datagram(at(1, 0), "last words"));
    call.viewer.datagram().await;
    drop(wire);
    assert_eq!(call.viewer.done(wanted).await.code, PublishDoneCode::TrackEnded);
    world.until("sessions_open", |open| open == 2).await;
    let again = call.viewer.subscribe("bob/camera", Parameters::default()).await;
    assert_eq!(call.viewer.refused(again).await.code, RequestErrorCode::DoesNotExist);
    call.goes_on().await;
}

#[tokio::test]
async fn a_publisher_that_answers_nothing_holds_nobody_up() {
    let world = World::with(|limits| {
        limits.fill_timeout_max = Duration::from_millis(200);
        limits.ended_track_age_max = Duration::from_millis(100);
    });
    let mut call = Call::new(&world).await;
    let mut silent = world.peer(Via::Quic).await;
    silent.publish_namespace("eve").await;
    // It never answers SUBSCRIBE, FETCH or TRACK_STATUS.
    let mut waiting_ones = vec![];
    for count in 0..40 {
        let range =
            FetchRange::Standalone { track: name(&format!("eve/{count}")), start: at(0, 0), end: at(9, 0) };
        waiting_ones.push(call.viewer.fetch(range, Parameters::default()).await);
    }
    for id in waiting_ones {
        let error = call.viewer.refused(id).await;
        assert_eq!(error.code, RequestErrorCode::InvalidRange, "{error:?}");
    }
    let wanted = call.viewer.subscribe("eve/camera", Parameters::default()).await;
    assert_eq!(call.viewer.refused(wanted).await.code, RequestErrorCode::Timeout);
    call.goes_on().await;
}
