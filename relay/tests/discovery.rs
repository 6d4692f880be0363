//! Who hears of which namespaces and tracks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use roundtable_moqt::{
    Event, Namespace, Object, Parameters, PublishDoneCode, RequestErrorCode, StreamResetCode,
    message::{NamespaceRequest, RequestError, RequestId, Subscribe},
};
use world::{BOTH, Peer, Seen, Via, World, at, name, namespace, publish, waiting};

async fn told(peer: &mut Peer) -> (RequestId, Namespace) {
    peer.expect("NAMESPACE", |event| match event {
        Event::Namespace(id, namespace) => Some((*id, namespace.clone())),
        _ => None,
    })
    .await
}

async fn done(peer: &mut Peer) -> (RequestId, Namespace) {
    peer.expect("NAMESPACE_DONE", |event| match event {
        Event::NamespaceDone(id, namespace) => Some((*id, namespace.clone())),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn namespaces_of_now_and_later_are_told_and_their_ends() {
    for via in BOTH {
        let world = World::new();
        let mut ann = world.peer(via).await;
        ann.publish_namespace("ann").await;
        let mut bob = world.peer(Via::WebTransport).await;
        let all = bob.subscribe_namespace("").await;
        assert_eq!(told(&mut bob).await, (all, namespace("ann")));
        let more = ann.publish_namespace("more/of/it").await;
        assert_eq!(told(&mut bob).await, (all, namespace("more/of/it")));
        ann.call(move |session| session.cancel(more, StreamResetCode::Cancelled)).await;
        assert_eq!(done(&mut bob).await, (all, namespace("more/of/it")));
        ann.vanish().await;
        assert_eq!(done(&mut bob).await, (all, namespace("ann")));
    }
}

#[tokio::test]
async fn a_scope_is_a_world_of_its_own() {
    let world = World::new();
    let mut ann = world.peer_at(Via::WebTransport, "/one").await;
    ann.publish_namespace("ann").await;
    ann.publish("ann/camera", 1, true).await;
    let mut bob = world.peer_at(Via::Quic, "/other").await;
    bob.subscribe_namespace("").await;
    bob.subscribe_tracks("", Parameters::default()).await;
    let request = bob.subscribe("ann/camera", Parameters::default()).await;
    assert_eq!(bob.refused(request).await.code, RequestErrorCode::DoesNotExist);
    let seen = bob.leftovers().await;
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn all_tracks_of_a_prefix_come_by_publish_but_not_ones_own() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let (track, _) = ann.publish("ann/camera", 1, false).await;
    let mut bob = world.peer(Via::Quic).await;
    bob.publish("bob/camera", 1, false).await;
    bob.subscribe_tracks("", Parameters::default()).await;
    assert_eq!(ann.updated(track).await.forward, Some(true));
    let (id, offered) = bob.offered().await;
    assert_eq!(offered.track, name("ann/camera"));
    assert_eq!(offered.parameters.forward, Some(true));
    bob.take_offer(id, Parameters::default()).await;
    ann.send(1, &Object::datagram(at(1, 0), "hello"));
    let (from, datagram) = bob.datagram().await;
    assert_eq!((from, datagram.alias), (id, offered.alias));
    // A later one, too.
    let (later, ok) = ann.publish("ann/audio", 2, false).await;
    assert_eq!(ok.parameters.forward, Some(true));
    let (id, offered) = bob.offered().await;
    assert_eq!(offered.track, name("ann/audio"));
    bob.take_offer(id, Parameters { forward: Some(false), ..Parameters::default() }).await;
    assert_eq!(ann.updated(later).await.forward, Some(false));
    let seen = bob.leftovers().await;
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn tracks_offered_without_forward_wait_for_an_update() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut bob = world.peer(Via::Quic).await;
    bob.subscribe_tracks("ann", Parameters { forward: Some(false), ..Parameters::default() }).await;
    let (track, ok) = ann.publish("ann/camera", 1, true).await;
    assert_eq!(ok.parameters.forward, Some(false));
    let (id, offered) = bob.offered().await;
    assert_eq!(offered.parameters.forward, Some(false));
    bob.take_offer(id, Parameters { forward: Some(false), ..Parameters::default() }).await;
    bob.update(id, Parameters { forward: Some(true), ..Parameters::default() }).await;
    assert_eq!(ann.updated(track).await.forward, Some(true));
    ann.send(1, &Object::datagram(at(1, 0), "hello"));
    assert_eq!(bob.datagram().await.0, id);
}

#[tokio::test]
async fn an_offer_that_is_refused_is_not_sent() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut bob = world.peer(Via::WebTransport).await;
    bob.subscribe_tracks("ann", Parameters::default()).await;
    let (track, _) = ann.publish("ann/camera", 1, true).await;
    let (id, _) = bob.offered().await;
    let error = RequestError::new(RequestErrorCode::Uninterested, "no");
    bob.call(move |session| session.reject(id, error)).await;
    assert_eq!(ann.updated(track).await.forward, Some(false));
}

#[tokio::test]
async fn an_offered_track_ends_like_any_other() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut bob = world.peer(Via::WebTransport).await;
    bob.subscribe_tracks("ann", Parameters::default()).await;
    let (track, _) = ann.publish("ann/camera", 1, true).await;
    let (id, _) = bob.offered().await;
    bob.take_offer(id, Parameters::default()).await;
    ann.call(move |session| session.publish_done(track, PublishDoneCode::TrackEnded, "")).await;
    assert_eq!(bob.done(id).await.code, PublishDoneCode::TrackEnded);
}

#[tokio::test]
async fn a_publisher_of_a_namespace_is_asked_for_its_tracks() {
    for via in BOTH {
        let world = World::new();
        let mut ann = world.peer(via).await;
        ann.publish_namespace("ann").await;
        let mut bob = world.peer(Via::WebTransport).await;
        let mut eve = world.peer(Via::Quic).await;
        let bobs = bob.subscribe("ann/house/camera", Parameters::default()).await;
        let (asked, subscribe) = ann.asked().await;
        assert_eq!(subscribe.track, name("ann/house/camera"));
        let eves = eve.subscribe("ann/house/camera", Parameters::default()).await;
        eve.settle().await;
        ann.grant(asked, 9, Some(at(4, 2))).await;
        assert_eq!(bob.subscribed(bobs).await.parameters.largest_object, Some(at(4, 2)));
        eve.subscribed(eves).await;
        ann.send(9, &Object::datagram(at(5, 0), "hello"));
        bob.datagram().await;
        eve.datagram().await;
        assert!(
            !ann.leftovers().await.iter().any(|seen| matches!(seen, Seen::Event(Event::Subscribe(..)))),
            "one subscription serves both"
        );
        // With the last subscriber the publisher is let go.
        bob.call(move |session| session.cancel(bobs, StreamResetCode::Cancelled)).await;
        eve.call(move |session| session.cancel(eves, StreamResetCode::Cancelled)).await;
        ann.expect("the end of the SUBSCRIBE", |event| match event {
            Event::Cancelled { request, .. } if *request == asked => Some(()),
            _ => None,
        })
        .await;
    }
}

#[tokio::test]
async fn the_publishers_refusal_reaches_the_subscriber() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish_namespace("ann").await;
    let mut bob = world.peer(Via::WebTransport).await;
    let request = bob.subscribe("ann/camera", Parameters::default()).await;
    let (asked, _) = ann.asked().await;
    let error = RequestError::new(RequestErrorCode::Unauthorized, "not for you");
    ann.call(move |session| session.reject(asked, error)).await;
    let error = bob.refused(request).await;
    assert_eq!((error.code, &*error.reason), (RequestErrorCode::Unauthorized, "not for you"));
}

#[tokio::test]
async fn track_status_tells_what_subscribe_would() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut request = publish("ann/camera", 1, true);
    request.track_properties = vec![0x0e, 16].into();
    request.parameters.largest_object = Some(at(7, 1));
    let id = ann.call(move |session| session.publish(request)).await;
    ann.accepted(id).await;
    ann.publish_namespace("ann/more").await;
    let mut bob = world.peer(Via::WebTransport).await;
    let ask = |text: &str| Subscribe { track: name(text), parameters: Parameters::default() };
    let request = ask("ann/camera");
    let id = bob.call(move |session| session.track_status(request)).await;
    let ok = bob.accepted(id).await;
    assert_eq!(ok.parameters.largest_object, Some(at(7, 1)));
    assert_eq!(&*ok.track_properties, [0x0e, 16]);
    // What nobody has subscribed to is passed on.
    let request = ask("ann/more/x");
    let id = bob.call(move |session| session.track_status(request)).await;
    let (asked, what) = ann
        .expect("TRACK_STATUS", |event| match event {
            Event::TrackStatus(id, subscribe) => Some((*id, subscribe.track.clone())),
            _ => None,
        })
        .await;
    assert_eq!(what, name("ann/more/x"));
    let ok = roundtable_moqt::message::RequestOk {
        parameters: Parameters { largest_object: Some(at(1, 1)), ..Parameters::default() },
        ..Default::default()
    };
    ann.call(move |session| session.accept(asked, ok)).await;
    assert_eq!(bob.accepted(id).await.parameters.largest_object, Some(at(1, 1)));
    let request = ask("eve/x");
    let id = bob.call(move |session| session.track_status(request)).await;
    assert_eq!(bob.refused(id).await.code, RequestErrorCode::DoesNotExist);
}

#[tokio::test]
async fn nobody_publishes_as_the_relay_or_wider_than_that() {
    let world = World::new();
    let mut eve = world.peer(Via::Quic).await;
    for prefix in ["", "relay", "relay/roster"] {
        let request = NamespaceRequest { namespace: namespace(prefix), parameters: Parameters::default() };
        let id = eve.call(move |session| session.publish_namespace(request)).await;
        assert_eq!(eve.refused(id).await.code, RequestErrorCode::Unauthorized, "{prefix:?}");
    }
    let request = publish("relay/chat", 1, true);
    let id = eve.call(move |session| session.publish(request)).await;
    assert_eq!(eve.refused(id).await.code, RequestErrorCode::Unauthorized);
}

#[tokio::test]
async fn overlapping_prefixes_are_refused() {
    let world = World::new();
    let mut bob = world.peer(Via::Quic).await;
    bob.subscribe_namespace("a").await;
    let request = NamespaceRequest { namespace: namespace("a/b"), parameters: Parameters::default() };
    let id = bob.call(move |session| session.subscribe_namespace(request)).await;
    assert_eq!(bob.refused(id).await.code, RequestErrorCode::PrefixOverlap);
    bob.subscribe_tracks("a/b", Parameters::default()).await;
}

#[tokio::test]
async fn a_moved_prefix_is_told_what_is_new_to_it() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish_namespace("a/b").await;
    ann.publish_namespace("a/c").await;
    let mut bob = world.peer(Via::WebTransport).await;
    let id = bob.subscribe_namespace("a/b").await;
    assert_eq!(told(&mut bob).await.1, namespace("a/b"));
    bob.update(id, Parameters { namespace_prefix: Some(namespace("a")), ..Parameters::default() }).await;
    assert_eq!(told(&mut bob).await.1, namespace("a/c"));
}

#[tokio::test]
async fn a_second_subscription_to_the_same_track_is_refused_but_not_to_ones_own() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let first = ann.subscribe("ann/camera", waiting(10_000)).await;
    ann.settle().await;
    ann.publish("ann/camera", 1, true).await;
    ann.subscribed(first).await;
    ann.send(1, &Object::datagram(at(1, 0), "to myself"));
    assert_eq!(ann.datagram().await.0, first);
}

#[tokio::test]
async fn a_path_that_names_no_room_ends_a_raw_quic_session() {
    let world = World::new();
    for path in ["/", "/a/b", "/me", "/a%20b"] {
        let peer = world.stranger(Via::Quic, path).await;
        assert_eq!(peer.ended().await.code, Some(roundtable_moqt::SessionError::InvalidPath), "{path}");
    }
    world.peer_at(Via::Quic, "/me/ann").await;
}
