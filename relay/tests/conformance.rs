//! Rules of the draft that show only at the edges: time-outs with a peer that is slow, values reserved for exercise,
//! and what a relay must not make up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roundtable_moqt::{
    Event, Object, Parameters, PublishDoneCode, RequestErrorCode, Status, StreamResetCode,
    fetch_stream::FetchItem,
    message::{FetchRange, RequestError, RequestId},
    vi64,
};
use world::{
    Peer, Seen, Via, World, at, header, name, namespace, publish,
    raw::{Raw, Wire, setup, subscribe},
    soon, waiting,
};

/// A publisher whose track is wanted by somebody who takes all of it.
async fn live(world: &World, properties: &'static [u8]) -> (Peer, RequestId, Peer) {
    let mut viewer = world.peer(Via::Quic).await;
    let mut publisher = world.peer(Via::WebTransport).await;
    let mut request = publish("ann/camera", 7, true);
    request.track_properties = properties.into();
    let track = publisher.call(move |session| session.publish(request)).await;
    publisher.accepted(track).await;
    let wanted = viewer.subscribe("ann/camera", Parameters::default()).await;
    publisher.updated(track).await;
    viewer.subscribed(wanted).await;
    (publisher, track, viewer)
}

// ---- Delivery timeouts

/// A subscriber on raw QUIC that lets in 2000 bytes of each stream and reads on when a test says so.
async fn slow(world: &World, parameters: Parameters) -> (Raw, Vec<Box<dyn Send>>) {
    let raw = Raw::connect(world, |transport| {
        transport.stream_receive_window(2000_u32.into());
    })
    .await;
    let control = raw.uni(&setup("/room")).await;
    let request = raw.bi(&subscribe(0, "ann/camera", parameters)).await;
    (raw, vec![Box::new(control), Box::new(request)])
}

/// The first subgroup stream, unread. The relay's control stream is its first.
async fn subgroup(raw: &Raw) -> quinn::RecvStream {
    let mut control = soon("the control stream", raw.quic.accept_uni()).await.unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = control.read_chunk(1000, true).await {} });
    soon("a subgroup", raw.quic.accept_uni()).await.unwrap()
}

/// Reads a stream to its end: the reset's code, `None` for FIN.
async fn end(mut stream: quinn::RecvStream) -> Option<StreamResetCode> {
    loop {
        match soon("the stream's end", stream.read_chunk(100_000, true)).await {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(quinn::ReadError::Reset(code)) => return Some(StreamResetCode::from_code(code.into_inner())),
            Err(error) => panic!("{error}"),
        }
    }
}

/// 600 kB on one stream, far more than waits outside the queue.
async fn write_much(publisher: &Peer, track: RequestId, viewer: &mut Peer) {
    let stream = publisher.open(track, header(1)).await;
    for id in 0..30 {
        publisher.write(stream, Object::stream(at(1, id), vec![0; 20_000])).await;
        viewer.object().await;
    }
    publisher.finish(stream).await;
}

#[tokio::test]
async fn a_stream_whose_objects_are_late_is_reset_as_the_smaller_of_both_timeouts_says() {
    // The subscriber's, the publisher's, and both: 200 ms is the smaller. As varints 200 is 80c8, 15,000 is ba98.
    for (properties, subscriber_ms) in
        [(&[][..], Some(200)), (&[0x02, 0x80, 200][..], None), (&[0x02, 0xBA, 0x98][..], Some(200))]
    {
        let world = World::new();
        let (publisher, track, mut viewer) = live(&world, properties).await;
        let parameters = Parameters { object_delivery_timeout_ms: subscriber_ms, ..Parameters::default() };
        let (raw, _open) = slow(&world, parameters).await;
        world.until("subscriptions_open", |open| open == 2).await;
        write_much(&publisher, track, &mut viewer).await;
        // Objects are looked at when their turn comes, which is after they are too late.
        tokio::time::sleep(Duration::from_millis(250)).await;
        let end = end(subgroup(&raw).await).await;
        assert_eq!(end, Some(StreamResetCode::DeliveryTimeout), "{properties:?}");
        world.until("objects_expired", |expired| expired > 0).await;
    }
}

#[tokio::test]
async fn a_stream_without_a_timeout_waits_for_its_reader() {
    let world = World::new();
    let (publisher, track, mut viewer) = live(&world, &[]).await;
    let (raw, _open) = slow(&world, Parameters::default()).await;
    world.until("subscriptions_open", |open| open == 2).await;
    write_much(&publisher, track, &mut viewer).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(end(subgroup(&raw).await).await, None);
    assert_eq!(world.counter("objects_expired"), 0);
}

#[tokio::test]
async fn a_subgroup_that_has_not_arrived_in_time_after_its_end_is_reset() {
    // Most of it waits here, or all of it is with QUIC: it makes no difference.
    for objects in [30, 1] {
        let world = World::new();
        let (publisher, track, mut viewer) = live(&world, &[]).await;
        let parameters = Parameters { subgroup_delivery_timeout_ms: Some(200), ..Parameters::default() };
        let (raw, _open) = slow(&world, parameters).await;
        world.until("subscriptions_open", |open| open == 2).await;
        let stream = publisher.open(track, header(1)).await;
        for id in 0..objects {
            publisher.write(stream, Object::stream(at(1, id), vec![0; 20_000])).await;
            viewer.object().await;
        }
        // Its time begins with its end.
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(world.counter("objects_expired"), 0);
        publisher.finish(stream).await;
        // Nothing is read, and the reset comes all the same.
        let mut unread = subgroup(&raw).await;
        let reset = soon("the reset", unread.received_reset()).await.unwrap();
        let code = reset.map(|code| StreamResetCode::from_code(code.into_inner()));
        assert_eq!(code, Some(StreamResetCode::DeliveryTimeout), "{objects} objects");
    }
}

#[tokio::test]
async fn datagrams_whose_time_is_over_are_dropped_behind_a_path_that_stood_still() {
    let world = World::new();
    let (publisher, _, mut viewer) = live(&world, &[]).await;
    let wire = Wire::to(&world).await;
    let mut bob = world.peer_through(Via::WebTransport, wire.port).await;
    let parameters = Parameters { object_delivery_timeout_ms: Some(200), ..Parameters::default() };
    let wanted = bob.subscribe("ann/camera", parameters).await;
    bob.subscribed(wanted).await;
    publisher.send(7, &Object::datagram(at(1, 0), "in time"));
    bob.datagram().await;
    viewer.datagram().await;
    wire.pause(true);
    for object in 1..2000 {
        publisher.send(7, &Object::datagram(at(1, object), vec![0; 1000]));
        viewer.datagram().await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    wire.pause(false);
    publisher.send(7, &Object::datagram(at(2, 0), "newest"));
    let mut late = 0;
    while bob.datagram().await.1.location() != at(2, 0) {
        late += 1;
    }
    assert!(late < 1000, "{late} objects came although their time was over");
    world.until("objects_expired", |expired| expired > 500).await;
}

// ---- Values for exercise (draft 14)

/// The reserved values: 0x7f * n + 0x9d.
fn reserved(n: u64) -> u64 {
    0x7F * n + 0x9D
}

/// Properties of reserved types, one with bytes and one with a number.
fn reserved_properties() -> Bytes {
    let mut bytes = BytesMut::new();
    vi64::put(&mut bytes, reserved(0));
    vi64::put(&mut bytes, 3);
    bytes.extend_from_slice(b"abc");
    vi64::put(&mut bytes, reserved(1) - reserved(0));
    vi64::put(&mut bytes, 77);
    bytes.freeze()
}

#[tokio::test]
async fn reserved_properties_of_tracks_and_objects_pass_unchanged_everywhere() {
    let world = World::new();
    let mut publisher = world.peer(Via::WebTransport).await;
    let mut request = publish("ann/camera", 7, true);
    request.track_properties = reserved_properties();
    let track = publisher.call(move |session| session.publish(request)).await;
    publisher.accepted(track).await;
    let mut viewer = world.peer(Via::Quic).await;
    let wanted = viewer.subscribe("ann/camera", Parameters::default()).await;
    publisher.updated(track).await;
    assert_eq!(viewer.subscribed(wanted).await.track_properties, reserved_properties());

    publisher.send(7, &Object { properties: reserved_properties(), ..Object::datagram(at(1, 0), "x") });
    assert_eq!(viewer.datagram().await.1.object.properties, reserved_properties());
    let with_properties = roundtable_moqt::subgroup::SubgroupHeader { has_properties: true, ..header(2) };
    let stream = publisher.open(track, with_properties).await;
    publisher
        .write(stream, Object { properties: reserved_properties(), ..Object::stream(at(2, 0), "y") })
        .await;
    assert_eq!(viewer.object().await.properties, reserved_properties());

    let range = FetchRange::Standalone { track: name("ann/camera"), start: at(1, 0), end: at(2, 1) };
    let fetch = viewer.fetch(range, Parameters { fill_timeout_ms: Some(0), ..Parameters::default() }).await;
    let (ok, items) = viewer.fetched(fetch).await;
    assert_eq!(ok.track_properties, reserved_properties());
    let objects: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            FetchItem::Object(object) => Some((object.location, object.properties.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(objects, [(at(1, 0), reserved_properties()), (at(2, 0), reserved_properties())]);
}

#[tokio::test]
async fn reserved_codes_of_a_publisher_are_errors_like_others() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish_namespace("ann").await;
    let mut bob = world.peer(Via::Quic).await;
    let refused = bob.subscribe("ann/camera", Parameters::default()).await;
    let (asked, _) = ann.asked().await;
    let error = RequestError::new(RequestErrorCode::from_code(reserved(3)), "for exercise");
    ann.call(move |session| session.reject(asked, error)).await;
    assert_eq!(bob.refused(refused).await.code.code(), reserved(3));

    let wanted = bob.subscribe("ann/camera", Parameters::default()).await;
    let (asked, _) = ann.asked().await;
    ann.grant(asked, 3, None).await;
    bob.subscribed(wanted).await;
    let stream = ann.open(asked, header(1)).await;
    ann.write(stream, Object::stream(at(1, 0), "x")).await;
    let (id, _) = bob.stream_header().await;
    ann.call(move |session| session.reset_stream(stream, StreamResetCode::from_code(reserved(4)))).await;
    assert!(bob.stream_end(id).await.is_some());
    let done = PublishDoneCode::from_code(reserved(5));
    ann.call(move |session| session.publish_done(asked, done, "")).await;
    assert_eq!(bob.done(wanted).await.code, PublishDoneCode::TrackEnded);
}

// ---- What a relay must not make up

#[tokio::test]
async fn nobody_is_told_of_an_end_that_the_publisher_did_not_tell() {
    let world = World::new();
    let (publisher, track, mut viewer) = live(&world, &[]).await;
    publisher.send(7, &Object::datagram(at(1, 0), "x"));
    viewer.datagram().await;
    let stream = publisher.open(track, header(2)).await;
    publisher.write(stream, Object::stream(at(2, 0), "y")).await;
    viewer.object().await;
    publisher.vanish().await;
    viewer.expect("PUBLISH_DONE", |event| matches!(event, Event::PublishDone(..)).then_some(())).await;
    for seen in viewer.leftovers().await {
        match seen {
            Seen::Datagram(_, datagram) | Seen::Event(Event::Datagram(_, datagram)) => panic!("{datagram:?}"),
            Seen::Event(Event::Object { object, .. }) => {
                assert_eq!((object.status, object.ends_group), (Status::Normal, false), "{object:?}");
            }
            Seen::Event(Event::SubgroupEnded { reset, .. }) => {
                assert!(reset.is_some(), "a FIN would say that nothing is missing");
            }
            Seen::Event(_) => {}
        }
    }
    // Nor to a FETCH: what nobody said does not exist is not said not to.
    let range = FetchRange::Standalone { track: name("ann/camera"), start: at(1, 0), end: at(2, 0) };
    let fetch = viewer.fetch(range, Parameters { fill_timeout_ms: Some(0), ..Parameters::default() }).await;
    let (ok, items) = viewer.fetched(fetch).await;
    assert!(!ok.end_of_track);
    assert!(!items.iter().any(|item| matches!(item, FetchItem::NonExistent(_))), "{items:?}");
    assert!(items.iter().any(|item| matches!(item, FetchItem::Unknown(_))), "{items:?}");
}

#[tokio::test]
async fn prefixes_are_of_whole_fields() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let near = bob.subscribe_namespace("an").await;
    let right = bob.subscribe_namespace("ann/phone").await;
    let tracks = bob.subscribe_tracks("ann/ph", Parameters::default()).await;
    let mut ann = world.peer(Via::Quic).await;
    ann.publish_namespace("ann/phone/left").await;
    ann.publish_namespace("anna").await;
    ann.publish("ann/phone/camera", 1, true).await;
    let told = bob
        .expect("NAMESPACE", |event| match event {
            Event::Namespace(request, namespace) => Some((*request, namespace.clone())),
            _ => None,
        })
        .await;
    assert_eq!(told, (right, namespace("ann/phone/left")));
    for seen in bob.leftovers().await {
        assert!(!matches!(seen, Seen::Event(Event::Namespace(..) | Event::Publish(..))), "{seen:?}");
    }
    assert!(near != tracks);
    // The publisher of a longer prefix than the track's namespace is not asked for it.
    let mut eve = world.peer(Via::Quic).await;
    let nothing = eve.subscribe("ann/audio", waiting(50)).await;
    assert_eq!(eve.refused(nothing).await.code, RequestErrorCode::Timeout);
    assert!(!ann.leftovers().await.iter().any(|seen| matches!(seen, Seen::Event(Event::Subscribe(..)))));
}

#[tokio::test]
async fn an_absolute_joining_fetch_begins_at_the_group_it_names() {
    let world = World::new();
    let (publisher, _, mut viewer) = live(&world, &[]).await;
    for group in 3..=6 {
        publisher.send(7, &Object::datagram(at(group, 0), "x"));
        viewer.datagram().await;
    }
    let mut joiner = world.peer(Via::WebTransport).await;
    let wanted = joiner.subscribe("ann/camera", Parameters::default()).await;
    let range = FetchRange::AbsoluteJoining { subscription: wanted, group: 5 };
    let fetch = joiner.fetch(range, Parameters { fill_timeout_ms: Some(0), ..Parameters::default() }).await;
    joiner.subscribed(wanted).await;
    let (ok, items) = joiner.fetched(fetch).await;
    assert_eq!(ok.end, at(6, 1));
    let objects: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            FetchItem::Object(object) => Some(object.location),
            _ => None,
        })
        .collect();
    assert_eq!(objects, [at(5, 0), at(6, 0)]);
}
