//! Objects of subgroup streams, alone and mixed with datagrams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use roundtable_moqt::{
    Object, Parameters, Status, StreamResetCode, error::PublishDoneCode, message::RequestId,
    subgroup::SubgroupHeader,
};
use world::{BOTH, Peer, Via, World, at, header, waiting};

/// A publisher and a subscriber of one track.
async fn pair(world: &World, publisher: Via, subscriber: Via) -> (Peer, RequestId, Peer, RequestId) {
    let mut subscriber = world.peer(subscriber).await;
    let mut publisher = world.peer(publisher).await;
    let wanted = subscriber.subscribe("ann/state", waiting(10_000)).await;
    subscriber.settle().await;
    let (published, _) = publisher.publish("ann/state", 7, true).await;
    subscriber.subscribed(wanted).await;
    (publisher, published, subscriber, wanted)
}

#[tokio::test]
async fn a_subgroup_arrives_as_it_was_sent_whatever_carries_it() {
    for publisher_via in BOTH {
        for subscriber_via in BOTH {
            let world = World::new();
            let (publisher, published, mut subscriber, _) = pair(&world, publisher_via, subscriber_via).await;
            let sent = SubgroupHeader {
                subgroup: Some(3),
                priority: Some(40),
                ends_group: true,
                has_properties: true,
                ..header(5)
            };
            let stream = publisher.open(published, sent.clone()).await;
            let objects: Vec<Object> = (0..4)
                .map(|id| Object {
                    forwarding: roundtable_moqt::Forwarding::Subgroup(3),
                    priority: Some(40),
                    properties: vec![0x10, id].into(),
                    ..Object::stream(at(5, u64::from(id) * 2), vec![id; 3000])
                })
                .collect();
            for object in &objects {
                publisher.write(stream, object.clone()).await;
            }
            publisher.finish(stream).await;
            let (id, got) = subscriber.stream_header().await;
            assert_eq!(SubgroupHeader { alias: sent.alias, ..got }, sent);
            for object in objects {
                assert_eq!(subscriber.object().await, object);
            }
            assert_eq!(subscriber.stream_end(id).await, None);
        }
    }
}

#[tokio::test]
async fn a_message_sent_before_the_answer_reaches_who_waited_for_the_track() {
    let world = World::new();
    let mut subscriber = world.peer(Via::WebTransport).await;
    let mut publisher = world.peer(Via::WebTransport).await;
    let wanted = subscriber.subscribe("ann/catalog", waiting(10_000)).await;
    subscriber.settle().await;
    let request = world::publish("ann/catalog", 7, true);
    let id = publisher.call(move |session| session.publish(request)).await;
    publisher.message(id, 1, "first").await;
    publisher.accepted(id).await;
    subscriber.subscribed(wanted).await;
    assert_eq!(subscriber.object().await.payload, "first");
}

#[tokio::test]
async fn a_large_object_arrives_whole() {
    let world = World::new();
    let (publisher, published, mut subscriber, _) = pair(&world, Via::WebTransport, Via::WebTransport).await;
    let payload: Vec<u8> = (0..3 << 20).map(|index: u32| (index % 251) as u8).collect();
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), payload.clone())).await;
    publisher.finish(stream).await;
    assert_eq!(subscriber.object().await.payload, payload);
}

#[tokio::test]
async fn a_reset_upstream_is_a_reset_downstream_after_what_came() {
    let world = World::new();
    let (publisher, published, mut subscriber, _) = pair(&world, Via::Quic, Via::WebTransport).await;
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), "one")).await;
    assert_eq!(subscriber.object().await.payload, "one");
    publisher.call(move |session| session.reset_stream(stream, StreamResetCode::DeliveryTimeout)).await;
    let (id, _) = subscriber.stream_header().await;
    assert_eq!(subscriber.stream_end(id).await, Some(StreamResetCode::DeliveryTimeout));
}

#[tokio::test]
async fn streams_of_a_publisher_that_vanishes_are_reset_and_its_track_ends() {
    let world = World::new();
    let (publisher, published, mut subscriber, wanted) = pair(&world, Via::Quic, Via::Quic).await;
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), "one")).await;
    subscriber.object().await;
    let (id, _) = subscriber.stream_header().await;
    publisher.vanish().await;
    assert!(subscriber.stream_end(id).await.is_some());
    assert_eq!(subscriber.done(wanted).await.code, PublishDoneCode::TrackEnded);
}

#[tokio::test]
async fn publish_done_follows_the_last_object_and_counts_the_streams() {
    let world = World::new();
    let (publisher, published, mut subscriber, wanted) = pair(&world, Via::Quic, Via::WebTransport).await;
    for group in 0..20 {
        publisher.message(published, group, "message").await;
    }
    publisher.call(move |session| session.publish_done(published, PublishDoneCode::TrackEnded, "over")).await;
    for group in 0..20 {
        let (_, header) = subscriber.stream_header().await;
        assert!(header.group <= 19, "{group}");
        subscriber.object().await;
    }
    let done = subscriber.done(wanted).await;
    assert_eq!((done.code, done.stream_count), (PublishDoneCode::TrackEnded, 20));
}

#[tokio::test]
async fn datagrams_and_streams_mix_in_one_track_and_one_group() {
    let world = World::new();
    let (publisher, published, mut subscriber, _) = pair(&world, Via::WebTransport, Via::Quic).await;
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), "stream")).await;
    assert_eq!(subscriber.object().await.location, at(1, 0));
    publisher.send(7, &Object::datagram(at(1, 1), "datagram"));
    assert_eq!(subscriber.datagram().await.1.location(), at(1, 1));
    publisher.write(stream, Object::stream(at(1, 2), "stream")).await;
    assert_eq!(subscriber.object().await.location, at(1, 2));
}

#[tokio::test]
async fn statuses_pass_through() {
    let world = World::new();
    let (publisher, published, mut subscriber, _) = pair(&world, Via::WebTransport, Via::Quic).await;
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), "one")).await;
    let end = Object { status: Status::EndOfGroup, ..Object::stream(at(1, 1), "") };
    publisher.write(stream, end.clone()).await;
    subscriber.object().await;
    assert_eq!(subscriber.object().await, end);
    let end = Object { status: Status::EndOfTrack, ..Object::datagram(at(2, 0), "") };
    publisher.send(7, &end);
    assert_eq!(subscriber.datagram().await.1.object, end);
}

#[tokio::test]
async fn a_subscriber_that_joins_within_a_subgroup_gets_what_follows() {
    let world = World::new();
    let mut publisher = world.peer(Via::WebTransport).await;
    let (published, _) = publisher.publish("ann/state", 7, true).await;
    let mut first = world.peer(Via::WebTransport).await;
    let wanted = first.subscribe("ann/state", Parameters::default()).await;
    publisher.updated(published).await;
    first.subscribed(wanted).await;
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), "one")).await;
    first.object().await;
    let mut second = world.peer(Via::Quic).await;
    let wanted = second.subscribe("ann/state", Parameters::default()).await;
    assert_eq!(second.subscribed(wanted).await.parameters.largest_object, Some(at(1, 0)));
    publisher.write(stream, Object::stream(at(1, 1), "two")).await;
    assert_eq!(second.object().await.payload, "two");
    let (_, header) = second.stream_header().await;
    assert!(!header.first_object, "the subgroup's first object is not here");
}

#[tokio::test]
async fn a_stopped_stream_costs_its_subgroup_only() {
    let world = World::new();
    let (publisher, published, mut subscriber, _) = pair(&world, Via::WebTransport, Via::WebTransport).await;
    let stream = publisher.open(published, header(1)).await;
    publisher.write(stream, Object::stream(at(1, 0), "one")).await;
    let (id, _) = subscriber.stream_header().await;
    subscriber.object().await;
    subscriber.call(move |session| session.stop_stream(id, StreamResetCode::Cancelled)).await;
    subscriber.settle().await;
    publisher.write(stream, Object::stream(at(1, 1), "two")).await;
    publisher.message(published, 2, "three").await;
    assert_eq!(subscriber.object().await.payload, "three");
}
