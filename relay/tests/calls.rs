//! Publishers and subscribers through the relay, over real connections of both kinds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use roundtable_moqt::{Object, Parameters, PublishDoneCode, RequestErrorCode};
use world::{BOTH, Via, World, at, waiting};

#[tokio::test]
async fn a_datagram_reaches_a_subscriber_unchanged_whatever_carries_either() {
    for publisher_via in BOTH {
        for subscriber_via in BOTH {
            let world = World::new();
            let mut publisher = world.peer(publisher_via).await;
            let mut subscriber = world.peer(subscriber_via).await;
            let (track, ok) = publisher.publish("ann/camera", 7, false).await;
            assert_eq!(ok.parameters.forward, Some(false), "nobody wants it yet");
            let request = subscriber.subscribe("ann/camera", Parameters::default()).await;
            assert_eq!(publisher.updated(track).await.forward, Some(true));
            let ok = subscriber.subscribed(request).await;
            assert_eq!(ok.parameters.largest_object, None);
            let object = Object {
                priority: Some(9),
                properties: vec![0x10, 5].into(),
                ..Object::datagram(at(3, 0), "hello")
            };
            publisher.send(7, &object);
            let (from, datagram) = subscriber.datagram().await;
            assert_eq!((from, datagram.alias, datagram.object), (request, ok.alias, object));
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_came_first_misses_nothing() {
    let world = World::new();
    let mut subscriber = world.peer(Via::WebTransport).await;
    let mut publisher = world.peer(Via::Quic).await;
    let request = subscriber.subscribe("ann/camera", waiting(10_000)).await;
    subscriber.settle().await;
    let (_, ok) = publisher.publish("ann/camera", 7, true).await;
    assert_eq!(ok.parameters.forward, Some(true));
    for group in 0..100 {
        publisher.send(7, &Object::datagram(at(group, 0), vec![1; 500]));
    }
    subscriber.subscribed(request).await;
    for group in 0..100 {
        assert_eq!(subscriber.datagram().await.1.location(), at(group, 0));
    }
}

#[tokio::test]
async fn a_track_that_nobody_publishes_is_refused_or_waited_for() {
    let world = World::new();
    let mut subscriber = world.peer(Via::Quic).await;
    let request = subscriber.subscribe("ann/camera", Parameters::default()).await;
    assert_eq!(subscriber.refused(request).await.code, RequestErrorCode::DoesNotExist);
    let request = subscriber.subscribe("ann/camera", waiting(50)).await;
    assert_eq!(subscriber.refused(request).await.code, RequestErrorCode::Timeout);
}

#[tokio::test]
async fn a_publisher_that_vanishes_ends_its_tracks_for_everybody() {
    let world = World::new();
    let mut publisher = world.peer(Via::WebTransport).await;
    let mut subscriber = world.peer(Via::WebTransport).await;
    let request = subscriber.subscribe("ann/camera", waiting(10_000)).await;
    publisher.publish("ann/camera", 7, true).await;
    subscriber.subscribed(request).await;
    publisher.vanish().await;
    assert_eq!(subscriber.done(request).await.code, PublishDoneCode::TrackEnded);
}
