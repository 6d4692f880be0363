//! FETCH: from the cache, from publishers, and what the uplink lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use roundtable_moqt::{
    Event, Location, Object, Parameters, RequestErrorCode, StreamResetCode,
    fetch_stream::FetchItem,
    message::{FetchOk, FetchRange, GroupOrder, RequestError, RequestId},
    session::ResolvedFetch,
};
use world::{BOTH, Peer, Via, World, at, header, name, waiting};

fn standalone(text: &str, start: Location, end: Location) -> FetchRange {
    FetchRange::Standalone { track: name(text), start, end }
}

fn locations(items: &[FetchItem]) -> Vec<Location> {
    items
        .iter()
        .map(|item| match item {
            FetchItem::Object(object) => object.location,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// A publisher whose track somebody wants, so that its objects flow.
async fn live(world: &World, via: Via) -> (Peer, RequestId, Peer) {
    let mut viewer = world.peer(Via::Quic).await;
    let mut publisher = world.peer(via).await;
    let wanted = viewer.subscribe("ann/camera", waiting(10_000)).await;
    viewer.settle().await;
    let (track, _) = publisher.publish("ann/camera", 7, true).await;
    viewer.subscribed(wanted).await;
    (publisher, track, viewer)
}

/// The relay's next FETCH to this publisher.
async fn fetch_asked(peer: &mut Peer) -> (RequestId, ResolvedFetch) {
    peer.expect("FETCH", |event| match event {
        Event::Fetch(id, fetch) => Some((*id, fetch.clone())),
        _ => None,
    })
    .await
}

/// Answers it with these items, in ascending order.
async fn answer_fetch(peer: &Peer, id: RequestId, end: Location, items: Vec<FetchItem>) {
    peer.call(move |session| {
        let ok = FetchOk {
            end_of_track: false,
            end,
            parameters: Parameters::default(),
            track_properties: bytes::Bytes::new(),
        };
        session.accept_fetch(id, ok)?;
        let stream = session.open_fetch(id, GroupOrder::Ascending)?;
        for item in &items {
            session.write_fetch_item(stream, item)?;
        }
        session.finish_stream(stream)
    })
    .await;
}

#[tokio::test]
async fn a_late_joiner_gets_the_current_group_from_the_cache() {
    for via in BOTH {
        let world = World::new();
        let (publisher, _, mut viewer) = live(&world, via).await;
        for group in 4..=5 {
            for object in 0..3 {
                let object = Object {
                    priority: Some(16),
                    properties: vec![0x10, 9].into(),
                    ..Object::datagram(at(group, object), vec![7; 900])
                };
                publisher.send(7, &object);
                viewer.datagram().await;
            }
        }
        let mut joiner = world.peer(via).await;
        let wanted = joiner.subscribe("ann/camera", Parameters::default()).await;
        let range = FetchRange::RelativeJoining { subscription: wanted, groups_back: 0 };
        let fetch = joiner.fetch(range, Parameters::default()).await;
        assert_eq!(joiner.subscribed(wanted).await.parameters.largest_object, Some(at(5, 2)));
        let (ok, items) = joiner.fetched(fetch).await;
        assert_eq!((ok.end, ok.end_of_track), (at(5, 3), false));
        assert_eq!(locations(&items), [at(5, 0), at(5, 1), at(5, 2)]);
        let FetchItem::Object(object) = &items[0] else { panic!() };
        assert_eq!((object.priority, &*object.properties), (Some(16), &[0x10, 9][..]));
        publisher.send(7, &Object::datagram(at(5, 3), "live"));
        assert_eq!(joiner.datagram().await.1.location(), at(5, 3), "live goes on where the past ends");
    }
}

#[tokio::test]
async fn objects_of_streams_can_be_fetched_in_either_order() {
    let world = World::new();
    let (publisher, track, mut viewer) = live(&world, Via::WebTransport).await;
    for group in 1..=3 {
        publisher.message(track, group, "message").await;
        viewer.object().await;
    }
    let range = standalone("ann/camera", at(1, 0), at(3, 0));
    let fetch =
        viewer.fetch(range.clone(), Parameters { fill_timeout_ms: Some(0), ..Parameters::default() }).await;
    let (_, items) = viewer.fetched(fetch).await;
    assert!(matches!(items[0], FetchItem::Object(Object { location: Location { group: 1, object: 0 }, .. })));
    let parameters = Parameters {
        group_order: Some(GroupOrder::Descending),
        fill_timeout_ms: Some(0),
        ..Parameters::default()
    };
    let fetch = viewer.fetch(range, parameters).await;
    let (_, items) = viewer.fetched(fetch).await;
    let groups: Vec<u64> = items
        .iter()
        .filter_map(|item| match item {
            FetchItem::Object(object) => Some(object.location.group),
            _ => None,
        })
        .collect();
    assert_eq!(groups, [3, 2, 1]);
}

#[tokio::test]
async fn a_large_fetch_flows_and_leaves_live_objects_their_way() {
    let world = World::with(|limits| limits.queue_bytes_max = 16 << 20);
    let (publisher, track, mut viewer) = live(&world, Via::WebTransport).await;
    let stream = publisher.open(track, header(1)).await;
    for id in 0..40 {
        publisher.write(stream, Object::stream(at(1, id), vec![id as u8; 100_000])).await;
        viewer.object().await;
    }
    let range = standalone("ann/camera", at(1, 0), at(1, 40));
    let fetch = viewer.fetch(range, Parameters::default()).await;
    publisher.send(7, &Object::datagram(at(2, 0), "live"));
    viewer.datagram().await;
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(locations(&items), (0..40).map(|id| at(1, id)).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_the_cache_never_had_is_asked_of_the_publisher() {
    let world = World::new();
    let (mut publisher, _, mut viewer) = live(&world, Via::Quic).await;
    // The relay comes in the middle of a group.
    publisher.send(7, &Object::datagram(at(5, 2), "two"));
    viewer.datagram().await;
    let range = standalone("ann/camera", at(5, 0), at(5, 3));
    let fetch = viewer.fetch(range, Parameters::default()).await;
    let (asked, resolved) = fetch_asked(&mut publisher).await;
    assert_eq!((resolved.start, resolved.end), (at(5, 0), at(5, 2)));
    let items = vec![
        FetchItem::Object(Object::datagram(at(5, 0), "zero")),
        FetchItem::Object(Object::datagram(at(5, 1), "one")),
    ];
    answer_fetch(&publisher, asked, at(5, 2), items).await;
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(locations(&items), [at(5, 0), at(5, 1), at(5, 2)]);
}

#[tokio::test]
async fn what_nobody_knows_is_said_to_be_unknown_in_time() {
    let world = World::new();
    let (mut publisher, _, mut viewer) = live(&world, Via::Quic).await;
    publisher.send(7, &Object::datagram(at(5, 2), "two"));
    viewer.datagram().await;
    let range = standalone("ann/camera", at(5, 0), at(5, 3));
    // Not waiting at all.
    let now = Parameters { fill_timeout_ms: Some(0), ..Parameters::default() };
    let fetch = viewer.fetch(range.clone(), now).await;
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(items[0], FetchItem::Unknown(at(5, 1)));
    // Waiting for a publisher that never answers.
    let short = Parameters { fill_timeout_ms: Some(100), ..Parameters::default() };
    let fetch = viewer.fetch(range.clone(), short).await;
    fetch_asked(&mut publisher).await;
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(items[0], FetchItem::Unknown(at(5, 1)));
    // One that refuses is not waited for.
    let long = Parameters { fill_timeout_ms: Some(60_000), ..Parameters::default() };
    let fetch = viewer.fetch(range, long).await;
    let (asked, _) = fetch_asked(&mut publisher).await;
    let error = RequestError::new(RequestErrorCode::NotSupported, "");
    publisher.call(move |session| session.reject(asked, error)).await;
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(items[0], FetchItem::Unknown(at(5, 1)));
}

#[tokio::test]
async fn a_track_that_nobody_subscribed_to_is_fetched_from_who_publishes_its_namespace() {
    let world = World::new();
    let mut publisher = world.peer(Via::WebTransport).await;
    publisher.publish_namespace("ann").await;
    let mut viewer = world.peer(Via::Quic).await;
    let fetch = viewer.fetch(standalone("ann/log", at(0, 0), at(9, 0)), Parameters::default()).await;
    let (asked, resolved) = fetch_asked(&mut publisher).await;
    assert_eq!((resolved.track, resolved.start, resolved.end), (name("ann/log"), at(0, 0), at(9, 0)));
    let items = vec![
        FetchItem::Object(Object::stream(at(0, 0), "first")),
        FetchItem::Object(Object::stream(at(2, 0), "last")),
    ];
    answer_fetch(&publisher, asked, at(2, 1), items).await;
    let (ok, items) = viewer.fetched(fetch).await;
    assert_eq!(ok.end, at(2, 1));
    assert_eq!(locations(&items), [at(0, 0), at(2, 0)], "what the publisher left out does not exist");
}

#[tokio::test]
async fn ranges_that_cannot_be_are_refused() {
    let world = World::new();
    let (publisher, _, mut viewer) = live(&world, Via::WebTransport).await;
    let fetch = viewer.fetch(standalone("eve/camera", at(0, 0), at(1, 0)), Parameters::default()).await;
    assert_eq!(viewer.refused(fetch).await.code, RequestErrorCode::DoesNotExist);
    publisher.send(7, &Object::datagram(at(5, 0), "x"));
    viewer.datagram().await;
    let fetch = viewer.fetch(standalone("ann/camera", at(6, 0), at(7, 0)), Parameters::default()).await;
    assert_eq!(viewer.refused(fetch).await.code, RequestErrorCode::InvalidRange);
}

#[tokio::test]
async fn a_gap_of_the_uplink_is_repaired_once_for_everybody() {
    let world = World::new();
    let (mut publisher, _, mut viewer) = live(&world, Via::WebTransport).await;
    let mut other = world.peer(Via::WebTransport).await;
    let wanted = other.subscribe("ann/camera", Parameters::default()).await;
    other.subscribed(wanted).await;
    for object in [0, 1, 4] {
        publisher.send(7, &Object::datagram(at(1, object), "sent"));
        viewer.datagram().await;
        other.datagram().await;
    }
    let (asked, resolved) = fetch_asked(&mut publisher).await;
    assert_eq!((resolved.start, resolved.end), (at(1, 2), at(1, 4)));
    // A FETCH of a subscriber waits for the same answer.
    let fetch = viewer.fetch(standalone("ann/camera", at(1, 0), at(1, 5)), Parameters::default()).await;
    viewer.settle().await;
    let items = vec![
        FetchItem::Object(Object::datagram(at(1, 2), "again")),
        FetchItem::Object(Object::datagram(at(1, 3), "again")),
    ];
    answer_fetch(&publisher, asked, at(1, 4), items).await;
    for peer in [&mut viewer, &mut other] {
        for object in [2, 3] {
            assert_eq!(peer.datagram().await.1.location(), at(1, object));
        }
    }
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(locations(&items), (0..5).map(|object| at(1, object)).collect::<Vec<_>>());
    assert_eq!(world.counter("repairs_total"), 1);
    assert_eq!(world.counter("objects_repaired"), 2);
}

#[tokio::test]
async fn an_ended_track_can_still_be_fetched_for_a_while() {
    let world = World::new();
    let (publisher, _, mut viewer) = live(&world, Via::WebTransport).await;
    publisher.send(7, &Object::datagram(at(5, 0), "last"));
    viewer.datagram().await;
    publisher.vanish().await;
    viewer.expect("the end", |event| matches!(event, Event::PublishDone(..)).then_some(())).await;
    let fetch = viewer.fetch(standalone("ann/camera", at(5, 0), at(5, 1)), Parameters::default()).await;
    let (_, items) = viewer.fetched(fetch).await;
    assert_eq!(locations(&items), [at(5, 0)]);
}

#[tokio::test]
async fn a_cancelled_fetch_leaves_nothing_behind() {
    let world = World::new();
    let (mut publisher, _, mut viewer) = live(&world, Via::WebTransport).await;
    publisher.send(7, &Object::datagram(at(5, 2), "two"));
    viewer.datagram().await;
    let long = Parameters { fill_timeout_ms: Some(60_000), ..Parameters::default() };
    let fetch = viewer.fetch(standalone("ann/camera", at(5, 0), at(5, 3)), long).await;
    let (asked, _) = fetch_asked(&mut publisher).await;
    viewer.call(move |session| session.cancel(fetch, StreamResetCode::Cancelled)).await;
    viewer.settle().await;
    answer_fetch(&publisher, asked, at(5, 2), vec![FetchItem::NonExistent(at(5, 1))]).await;
    publisher.send(7, &Object::datagram(at(5, 3), "three"));
    assert_eq!(viewer.datagram().await.1.location(), at(5, 3));
}
