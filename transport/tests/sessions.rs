//! Sessions through the driver, over WebTransport and raw QUIC: wtransport or quinn on one side, our server on the
//! other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use roundtable_moqt::{
    Event, FullTrackName, Location, Namespace, Object, ObjectDatagram, Parameters, PublishDoneCode, Role,
    Session, SessionError, StreamId, StreamKind, StreamResetCode, Transmit,
    message::{RequestId, Subscribe, SubscribeOk, TrackAlias},
    session::{Carrier, Config},
    subgroup::SubgroupHeader,
};
use roundtable_transport::{DatagramSender, EndedBy, SendError};
use support::{
    peer::{Peer, Seen, pair},
    server, server_with, soon,
};

const SCHEMES: [&str; 2] = ["https", "moqt"];
const ALIAS: TrackAlias = TrackAlias(7);

fn track() -> FullTrackName {
    FullTrackName::new(Namespace::single("alice").unwrap(), "camera").unwrap()
}

/// `subscriber` subscribes to a track of `publisher`; the request's id.
async fn subscribed(subscriber: &mut Peer, publisher: &mut Peer) -> RequestId {
    let subscribe = Subscribe { track: track(), parameters: Parameters::default() };
    let request = subscriber.call(|io| io.session.subscribe(subscribe)).await.unwrap();
    let event = publisher.event().await;
    let Event::Subscribe(asked, subscribe) = event else { panic!("{event:?}") };
    assert_eq!((asked, subscribe.track), (request, track()));
    let answer =
        SubscribeOk { alias: ALIAS, parameters: Parameters::default(), track_properties: Bytes::new() };
    publisher.call(move |io| io.session.accept_subscribe(request, answer)).await.unwrap();
    let event = subscriber.event().await;
    assert!(matches!(&event, Event::SubscribeAccepted(accepted, _) if *accepted == request), "{event:?}");
    request
}

fn header(group: u64) -> SubgroupHeader {
    SubgroupHeader {
        alias: ALIAS,
        group,
        subgroup: Some(0),
        priority: None,
        ends_group: false,
        first_object: true,
        has_properties: false,
    }
}

async fn open(peer: &Peer, request: RequestId, group: u64) -> StreamId {
    peer.call(move |io| io.session.open_subgroup(request, header(group))).await.unwrap()
}

#[tokio::test]
async fn requests_and_datagrams_go_both_ways() {
    let server = server();
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        for direction in 0..2 {
            let (receiver, sender) =
                if direction == 0 { (&mut client, &mut served) } else { (&mut served, &mut client) };
            subscribed(receiver, sender).await;
            let payload = Bytes::from(vec![direction; 1000]);
            for object in 0..50 {
                let object = Object::datagram(Location::new(3, object), payload.clone());
                let bytes = ObjectDatagram::encode(sender.datagrams.prefix(), ALIAS, &object);
                sender.datagrams.send(bytes).unwrap();
            }
            let mut arrived = BTreeSet::new();
            while arrived.len() < 50 {
                let datagram = receiver.datagram().await;
                assert_eq!(datagram.object.payload, payload);
                arrived.insert(datagram.location());
            }
        }
        let stats = client.datagrams.stats();
        assert!(stats.bytes_sent > 50_000 && stats.rtt > Duration::ZERO, "{stats:?}");
    }
}

#[tokio::test]
async fn a_burst_of_datagrams_reaches_the_app_as_batches() {
    let server = server();
    let (mut client, mut served) = pair(&server, "moqt").await;
    subscribed(&mut served, &mut client).await;
    let prefix = client.datagrams.prefix();
    for object in 0..40 {
        let object = Object::datagram(Location::new(0, object), vec![1; 900]);
        client.datagrams.send(ObjectDatagram::encode(prefix, ALIAS, &object)).unwrap();
    }
    let (mut datagrams, mut batches) = (0, 0);
    while datagrams < 40 || batches == 0 {
        match served.seen().await {
            Seen::Datagram(_) => datagrams += 1,
            Seen::Drained => batches += 1,
            Seen::Event(event) => panic!("{event:?}"),
        }
    }
    assert!(batches < 40, "{batches} batches for 40 datagrams");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_is_paced_by_what_quic_takes() {
    const OBJECTS: u64 = 160;
    const OBJECT_BYTES: usize = 256 << 10;
    const UNSENT_BYTES_MAX: usize = 64 << 10;
    let server = server();
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        // A served WebTransport session sends, and one that wtransport dialled.
        for direction in 0..2 {
            let (receiver, sender) =
                if direction == 0 { (&mut client, &mut served) } else { (&mut served, &mut client) };
            let request = subscribed(receiver, sender).await;
            let stream = open(sender, request, 0).await;
            let most_unsent = Arc::new(AtomicUsize::new(0));
            let seen_unsent = most_unsent.clone();
            let mut next = 0;
            sender.write(move |io| {
                let unsent = io.streams.unsent_bytes(stream);
                seen_unsent.fetch_max(unsent, Ordering::Relaxed);
                if unsent > UNSENT_BYTES_MAX {
                    return Poll::Pending;
                }
                if next == OBJECTS {
                    io.session.finish_stream(stream).unwrap();
                    return Poll::Ready(());
                }
                let payload = vec![u8::try_from(next % 251).unwrap(); OBJECT_BYTES];
                io.session.write_object(stream, &Object::stream(Location::new(0, next), payload)).unwrap();
                next += 1;
                Poll::Pending
            });
            let mut received = 0;
            loop {
                match receiver.event().await {
                    Event::SubgroupOpened { .. } => {}
                    Event::Object { object, .. } => {
                        assert_eq!(object.location, Location::new(0, received));
                        assert_eq!(object.payload.len(), OBJECT_BYTES);
                        assert_eq!(u64::from(object.payload[OBJECT_BYTES - 1]), received % 251);
                        received += 1;
                    }
                    Event::SubgroupEnded { reset, .. } => {
                        assert_eq!(reset, None);
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(received, OBJECTS);
            let most = most_unsent.load(Ordering::Relaxed);
            assert!(most <= UNSENT_BYTES_MAX + OBJECT_BYTES + 64, "{most} bytes waited");
        }
    }
}

#[tokio::test]
async fn more_streams_than_the_peer_allows_wait_their_turn() {
    const STREAMS: u64 = 60;
    let server = server_with(|config| config.quic.peer_unidirectional_streams_max = 5);
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        let request = subscribed(&mut served, &mut client).await;
        for group in 0..STREAMS {
            let stream = open(&client, request, group).await;
            let write = client.call(move |io| {
                let object = Object::stream(Location::new(group, 0), "payload");
                io.session.write_object(stream, &object)?;
                io.session.finish_stream(stream)
            });
            write.await.unwrap();
        }
        let mut groups = BTreeSet::new();
        while groups.len() < STREAMS as usize {
            if let Event::Object { object, .. } = served.event().await {
                groups.insert(object.location.group);
            }
        }
    }
}

#[tokio::test]
async fn a_peer_with_hundreds_of_requests_open_is_allowed_more_and_more() {
    // QUIC allows fewer at first, and all stay open.
    const REQUESTS: usize = 500;
    let server = server();
    for scheme in SCHEMES {
        let (client, mut served) = pair(&server, scheme).await;
        client
            .call(|io| {
                for index in 0..REQUESTS {
                    let name = FullTrackName::new(Namespace::single("alice").unwrap(), format!("{index}"));
                    let parameters = Parameters::default();
                    io.session.subscribe(Subscribe { track: name.unwrap(), parameters }).unwrap();
                }
            })
            .await;
        for _ in 0..REQUESTS {
            let event = served.event().await;
            assert!(matches!(event, Event::Subscribe(..)), "{event:?}");
        }
    }
}

#[tokio::test]
async fn hundreds_of_streams_that_wake_at_once_are_all_served() {
    const STREAMS: u64 = 400;
    let server = server();
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        let request = subscribed(&mut client, &mut served).await;
        let mut streams = Vec::new();
        for object in 0..2 {
            // The second object of all streams leaves in one flight of packets, and then there is silence: nothing
            // wakes the receiver again.
            let opened = std::mem::take(&mut streams);
            let written = served.call(move |io| {
                let streams = if opened.is_empty() {
                    (0..STREAMS)
                        .map(|group| io.session.open_subgroup(request, header(group)).unwrap())
                        .collect()
                } else {
                    opened
                };
                for (group, stream) in (0..).zip(&streams) {
                    let object = Object::stream(Location::new(group, object), "payload");
                    io.session.write_object(*stream, &object).unwrap();
                }
                streams
            });
            streams = written.await;
            let mut groups = BTreeSet::new();
            while groups.len() < STREAMS as usize {
                if let Event::Object { object, .. } = client.event().await {
                    groups.insert(object.location.group);
                }
            }
        }
    }
}

#[tokio::test]
async fn resets_and_stops_keep_their_codes() {
    let server = server();
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        for direction in 0..2 {
            let (receiver, sender) =
                if direction == 0 { (&mut client, &mut served) } else { (&mut served, &mut client) };
            let request = subscribed(receiver, sender).await;
            let mut streams = Vec::new();
            for group in 0..2 {
                let stream = open(sender, request, group).await;
                let object = Object::stream(Location::new(group, 0), "payload");
                sender.call(move |io| io.session.write_object(stream, &object)).await.unwrap();
                let arrived = loop {
                    if let Event::Object { stream, .. } = receiver.event().await {
                        break stream;
                    }
                };
                streams.push((stream, arrived));
            }
            let (ours, _) = streams[0];
            let code = StreamResetCode::TooFarBehind;
            sender.call(move |io| io.session.reset_stream(ours, code)).await.unwrap();
            let event = receiver.event().await;
            assert!(
                matches!(&event, Event::SubgroupEnded { reset: Some(StreamResetCode::TooFarBehind), .. }),
                "{event:?}"
            );

            let (ours, theirs) = streams[1];
            let code = StreamResetCode::ExcessiveLoad;
            receiver.call(move |io| io.session.stop_stream(theirs, code)).await.unwrap();
            let event = sender.event().await;
            let Event::StreamStopped { stream, code, .. } = event else { panic!("{event:?}") };
            assert_eq!((stream, code), (ours, StreamResetCode::ExcessiveLoad));
        }
    }
}

#[tokio::test]
async fn the_closing_side_and_its_code_are_known_at_both_ends() {
    let server = server();
    for scheme in SCHEMES {
        for client_closes in [true, false] {
            let (client, served) = pair(&server, scheme).await;
            let (closing, closed) = if client_closes { (client, served) } else { (served, client) };
            closing.call(|io| io.session.close(SessionError::GoAwayTimeout, "too slow")).await;
            let (closing, closed) = tokio::join!(closing.ended(), closed.ended());
            assert_eq!((closing.by, closing.code), (EndedBy::Us, Some(SessionError::GoAwayTimeout)));
            assert_eq!(
                (closed.by, closed.code, closed.reason.as_str()),
                (EndedBy::Peer, Some(SessionError::GoAwayTimeout), "too slow"),
                "{scheme}, client closes: {client_closes}"
            );
        }
    }
}

#[tokio::test]
async fn breaking_the_protocol_ends_the_session_with_the_drafts_code() {
    let server = server();
    for scheme in SCHEMES {
        let (client, served) = pair(&server, scheme).await;
        // Type 0x10 is reserved.
        let bytes = [client.datagrams.prefix(), &[0x10, 0, 0, 0]].concat();
        client.datagrams.send(bytes.into()).unwrap();
        let (client, served) = tokio::join!(client.ended(), served.ended());
        assert_eq!((served.by, served.code), (EndedBy::Us, Some(SessionError::ProtocolViolation)));
        assert_eq!((client.by, client.code), (EndedBy::Peer, Some(SessionError::ProtocolViolation)));
    }
}

#[tokio::test]
async fn datagrams_of_another_web_transport_session_are_counted_and_dropped() {
    let server = server();
    let (mut client, mut served) = pair(&server, "https").await;
    subscribed(&mut served, &mut client).await;
    let object = Object::datagram(Location::new(0, 0), "payload");
    let bytes = |prefix: &[u8]| ObjectDatagram::encode(prefix, ALIAS, &object);
    client.datagrams.send(bytes(&[1])).unwrap();
    client.datagrams.send(Bytes::from_static(&[0x40])).unwrap();
    client.datagrams.send(bytes(&[0])).unwrap();
    assert_eq!(served.datagram().await.object.payload, "payload");
    client.call(|io| io.session.close(SessionError::NoError, "")).await;
    assert_eq!(served.ended().await.counters.datagrams_other_session, 2);
}

#[tokio::test]
async fn an_app_that_ends_leaves_after_its_last_words_have_arrived() {
    let server = server();
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        let request = subscribed(&mut client, &mut served).await;
        let stream = open(&served, request, 0).await;
        let last_words = served.call(move |io| {
            io.session.write_object(stream, &Object::stream(Location::new(0, 0), vec![9; 2 << 20]))?;
            io.session.finish_stream(stream)?;
            io.session.publish_done(request, PublishDoneCode::TrackEnded, "the end")
        });
        last_words.await.unwrap();
        let ended = served.end().await;
        assert_eq!((ended.by, ended.code), (EndedBy::Us, Some(SessionError::NoError)));
        let (mut objects, mut done) = (0, false);
        loop {
            match client.event().await {
                Event::Object { object, .. } => {
                    assert_eq!(object.payload.len(), 2 << 20);
                    objects += 1;
                }
                Event::PublishDone(..) => done = true,
                Event::Closed { code, .. } => {
                    assert_eq!(code, SessionError::NoError);
                    break;
                }
                _ => {}
            }
        }
        assert_eq!((objects, done), (1, true), "{scheme}");
    }
}

#[tokio::test]
async fn a_driver_that_is_dropped_takes_its_connection_along() {
    let server = server();
    for scheme in SCHEMES {
        let (client, served) = pair(&server, scheme).await;
        // Somebody still holds a sender.
        let sender = served.datagrams.clone();
        served.driver.abort();
        assert_eq!(client.ended().await.by, EndedBy::Peer);
        assert_eq!(sender.send(Bytes::from_static(b"x")), Err(SendError::Closed));
    }
}

#[tokio::test]
async fn a_silent_peer_is_lost_after_the_idle_time_out() {
    let server = server_with(|config| config.quic.idle_timeout = Duration::from_millis(300));
    let client = {
        // A runtime of its own, which stops with its endpoint and everything: nobody says goodbye.
        let (tell, told) = tokio::sync::oneshot::channel();
        let url = server.url("moqt", "/room");
        let config = server.client();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let connection = runtime.block_on(roundtable_transport::connect(&url, &config)).unwrap();
            std::mem::forget(connection);
            told.blocking_recv().unwrap();
        });
        (tell, thread)
    };
    let served = soon("a client", server.endpoint.accept()).await.unwrap().accept().await.unwrap();
    let served = Peer::run(served, Role::Server);
    let ended = served.ended().await;
    assert_eq!((ended.by, ended.code), (EndedBy::Network, None));
    client.0.send(()).unwrap();
    client.1.join().unwrap();
}

#[tokio::test]
async fn a_full_datagram_buffer_wakes_its_sender_when_there_is_room() {
    let server = server();
    let (client, _served) = pair(&server, "moqt").await;
    let datagram = Bytes::from(vec![0x33; client.datagrams.bytes_max()]);
    assert_eq!(client.datagrams.send(Bytes::from(vec![0; datagram.len() + 1])), Err(SendError::TooLarge));
    // One task, no await: nothing leaves meanwhile.
    let mut sent = 0;
    while client.datagrams.space() >= datagram.len() {
        client.datagrams.send(datagram.clone()).unwrap();
        sent += 1;
    }
    assert!(sent > 10 && sent < 100, "{sent}");
    soon("room", client.datagrams.send_when_possible(datagram.clone())).await.unwrap();
    assert!(client.datagrams.space() + DatagramSender::OVERHEAD_BYTES < 64 << 10);
}

#[tokio::test]
async fn streams_that_are_none_of_the_sessions_are_refused_and_counted() {
    let server = server();
    let quic = support::quinn_client(&server, "h3").await.unwrap();
    let mut control = quic.open_uni().await.unwrap();
    control.write_all(&[0x00, 0x04, 0x00]).await.unwrap();
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    let url = server.url("https", "/room").parse::<url::Url>().unwrap();
    let request = web_transport_proto::ConnectRequest::new(url).with_protocol("moqt-18");
    request.write(&mut send).await.unwrap();
    let served = soon("a client", server.endpoint.accept()).await.unwrap().accept().await.unwrap();
    let served = Peer::run(served, Role::Server);
    web_transport_proto::ConnectResponse::read(&mut receive).await.unwrap();

    // A stream of session 4, a request of HTTP/3's, and QPACK's two, which must stay.
    let (mut foreign, mut foreign_answer) = quic.open_bi().await.unwrap();
    foreign.write_all(&[0x40, 0x41, 0x04, 1, 2, 3]).await.unwrap();
    let (mut http, mut http_answer) = quic.open_bi().await.unwrap();
    http.write_all(&[0x01, 0x02, 0, 0]).await.unwrap();
    let mut qpack = quic.open_uni().await.unwrap();
    qpack.write_all(&[0x02]).await.unwrap();
    let reset = |error| match error {
        Err(quinn::ReadError::Reset(code)) => code.into_inner(),
        other => panic!("{other:?}"),
    };
    assert_eq!(reset(soon("refusal", foreign_answer.read_chunk(1, true)).await), 0x3994_bd84);
    assert_eq!(reset(soon("refusal", http_answer.read_chunk(1, true)).await), 0x10b);

    // The end of the CONNECT stream is the end of the session.
    send.finish().unwrap();
    let ended = served.ended().await;
    assert_eq!((ended.by, ended.code), (EndedBy::Peer, Some(SessionError::NoError)));
    assert_eq!(ended.counters.streams_other_session, 1);
    assert_eq!(ended.counters.streams_not_sessions, 2);
}

#[tokio::test]
async fn a_peer_that_does_not_read_costs_a_bounded_amount_of_memory() {
    let server = server();
    // Says SETUP and SUBSCRIBE, and reads nothing, ever.
    let quic = support::quinn_client(&server, "moqt-18").await.unwrap();
    let mut config = Config::new(Role::Client, Carrier::Quic);
    config.setup.path = Some("/room".into());
    config.setup.authority = Some("localhost".into());
    let mut session = Session::new(config, std::time::Instant::now());
    session.subscribe(Subscribe { track: track(), parameters: Parameters::default() }).unwrap();
    let (mut streams, mut unread) = (BTreeMap::new(), Vec::new());
    while let Some(transmit) = session.poll_transmit() {
        match transmit {
            Transmit::Open { stream, kind: StreamKind::Uni, .. } => {
                streams.insert(stream, quic.open_uni().await.unwrap());
            }
            Transmit::Open { stream, kind: StreamKind::Bi, .. } => {
                let (send, receive) = quic.open_bi().await.unwrap();
                streams.insert(stream, send);
                unread.push(receive);
            }
            Transmit::Data { stream, bytes } => {
                streams.get_mut(&stream).unwrap().write_chunk(bytes).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
    }

    let served = soon("a client", server.endpoint.accept()).await.unwrap().accept().await.unwrap();
    let mut served = Peer::run(served, Role::Server);
    let request = loop {
        if let Event::Subscribe(request, _) = served.event().await {
            break request;
        }
    };
    let answer =
        SubscribeOk { alias: ALIAS, parameters: Parameters::default(), track_properties: Bytes::new() };
    served.call(move |io| io.session.accept_subscribe(request, answer)).await.unwrap();
    let stream = open(&served, request, 0).await;
    // An app that does not look at what is unsent.
    let mut written = 0;
    loop {
        let object = Object::stream(Location::new(0, written), vec![0; 1 << 20]);
        if served.call(move |io| io.session.write_object(stream, &object)).await.is_err() {
            break;
        }
        written += 1;
        assert!(written < 20, "nobody stops it");
    }
    assert!(written >= 8, "stopped after {written} MiB, which a slow network may need");
    let event = served.event().await;
    assert!(matches!(&event, Event::StreamStopped { code: StreamResetCode::TooFarBehind, .. }), "{event:?}");
    assert_eq!(served.call(|io| io.streams.unsent_bytes_total()).await, 0);
}

/// A path that is always full: a congestion window of three packets.
#[derive(Debug, Clone, Copy)]
struct Narrow;

impl quinn::congestion::ControllerFactory for Narrow {
    fn build(self: Arc<Self>, _now: std::time::Instant, _mtu: u16) -> Box<dyn quinn::congestion::Controller> {
        Box::new(Narrow)
    }
}

impl quinn::congestion::Controller for Narrow {
    fn on_congestion_event(
        &mut self,
        _now: std::time::Instant,
        _sent: std::time::Instant,
        _is_persistent: bool,
        _lost_bytes: u64,
    ) {
    }

    fn on_mtu_update(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        3600
    }

    fn clone_box(&self) -> Box<dyn quinn::congestion::Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        3600
    }

    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any> {
        self
    }
}

#[tokio::test]
async fn requests_and_answers_get_through_while_datagrams_fill_the_path() {
    let server = server_with(|config| config.quic.congestion = Arc::new(Narrow));
    for scheme in SCHEMES {
        let (mut client, mut served) = pair(&server, scheme).await;
        // Offers more datagrams than the path takes, at every moment. QUIC sends those first; what no whole one fits
        // into is left for streams.
        let flood = {
            let datagrams = served.datagrams.clone();
            // Of an unknown track, and as large as the path takes: no packet has room for anything else.
            let datagram = move || {
                let mut bytes = datagrams.prefix().to_vec();
                bytes.extend_from_slice(&[0x00, 0x33]);
                bytes.resize(datagrams.bytes_max(), 0x33);
                Bytes::from(bytes)
            };
            let datagrams = served.datagrams.clone();
            tokio::spawn(async move {
                while datagrams.send_when_possible(datagram()).await.is_ok() {
                    while datagrams.space() >= 2000 {
                        let _ = datagrams.send(datagram());
                    }
                }
            })
        };
        // The buffer is full before the first word.
        let is_full = async {
            while served.datagrams.space() > 4096 {
                tokio::task::yield_now().await;
            }
        };
        soon("a full buffer", is_full).await;
        for _ in 0..3 {
            let request = subscribed(&mut client, &mut served).await;
            served
                .call(move |io| io.session.publish_done(request, PublishDoneCode::TrackEnded, ""))
                .await
                .unwrap();
            while !matches!(client.event().await, Event::PublishDone(..)) {}
        }
        assert!(!flood.is_finished());
        flood.abort();
    }
}
