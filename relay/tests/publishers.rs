//! Several publishers of one track, subscriptions that change, and what ends them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::time::{Duration, Instant};

use roundtable_moqt::{
    Event, Object, Parameters, PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode,
    message::{Filter, RequestError},
};
use world::{Seen, Via, World, at, publish, soon, waiting};

#[tokio::test]
async fn two_publishers_of_one_track_are_one_to_its_subscribers() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let wanted = bob.subscribe("ann/camera", waiting(10_000)).await;
    bob.settle().await;
    let mut first = world.peer(Via::WebTransport).await;
    let mut second = world.peer(Via::Quic).await;
    first.publish("ann/camera", 1, true).await;
    second.publish("ann/camera", 2, true).await;
    bob.subscribed(wanted).await;
    for group in 0..5 {
        first.send(1, &Object::datagram(at(group, 0), "same"));
        second.send(2, &Object::datagram(at(group, 0), "same"));
    }
    for group in 0..5 {
        assert_eq!(bob.datagram().await.1.location().group, group);
    }
    // The older one goes, the track goes on.
    first.vanish().await;
    world.until("sessions_open", |open| open == 2).await;
    second.send(2, &Object::datagram(at(5, 0), "more"));
    assert_eq!(bob.datagram().await.1.location(), at(5, 0));
    assert!(bob.leftovers().await.is_empty());
    second.vanish().await;
    assert_eq!(bob.done(wanted).await.code, PublishDoneCode::TrackEnded);
}

#[tokio::test]
async fn nonsense_beside_a_track_ends_only_who_came_later() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let wanted = bob.subscribe("ann/camera", waiting(10_000)).await;
    bob.settle().await;
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish("ann/camera", 1, true).await;
    bob.subscribed(wanted).await;
    ann.send(1, &Object::datagram(at(1, 0), "true"));
    bob.datagram().await;
    let mut eve = world.peer(Via::Quic).await;
    let (eves, _) = eve.publish("ann/camera", 2, true).await;
    eve.send(2, &Object::datagram(at(1, 0), "false"));
    eve.expect("the end", |event| match event {
        Event::Cancelled { request, .. } if *request == eves => Some(()),
        _ => None,
    })
    .await;
    ann.send(1, &Object::datagram(at(1, 1), "true"));
    assert_eq!(bob.datagram().await.1.location(), at(1, 1));
}

#[tokio::test]
async fn a_publisher_that_contradicts_itself_ends_its_track() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let wanted = bob.subscribe("ann/camera", waiting(10_000)).await;
    bob.settle().await;
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish("ann/camera", 1, true).await;
    bob.subscribed(wanted).await;
    ann.send(1, &Object::datagram(at(1, 0), "one thing"));
    bob.datagram().await;
    ann.send(1, &Object::datagram(at(1, 0), "another"));
    assert_eq!(bob.done(wanted).await.code, PublishDoneCode::MalformedTrack);
}

#[tokio::test]
async fn a_track_published_again_after_its_end_begins_anew() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    for round in 0..3 {
        let wanted = bob.subscribe("ann/camera", waiting(10_000)).await;
        bob.settle().await;
        let mut ann = world.peer(Via::WebTransport).await;
        ann.publish("ann/camera", 1, true).await;
        bob.subscribed(wanted).await;
        ann.send(1, &Object::datagram(at(0, 0), format!("round {round}")));
        assert_eq!(bob.datagram().await.1.object.payload, format!("round {round}"));
        ann.vanish().await;
        bob.done(wanted).await;
    }
}

#[tokio::test]
async fn forward_follows_the_subscribers() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let (track, ok) = ann.publish("ann/camera", 1, true).await;
    assert_eq!(ok.parameters.forward, Some(false));
    let mut bob = world.peer(Via::WebTransport).await;
    let not_yet = Parameters { forward: Some(false), ..Parameters::default() };
    let wanted = bob.subscribe("ann/camera", not_yet.clone()).await;
    bob.subscribed(wanted).await;
    bob.update(wanted, Parameters { forward: Some(true), ..Parameters::default() }).await;
    assert_eq!(ann.updated(track).await.forward, Some(true));
    ann.send(1, &Object::datagram(at(1, 0), "wanted"));
    bob.datagram().await;
    bob.update(wanted, not_yet).await;
    assert_eq!(ann.updated(track).await.forward, Some(false));
    ann.send(1, &Object::datagram(at(1, 1), "late"));
    ann.settle().await;
    assert!(bob.leftovers().await.is_empty());
}

#[tokio::test]
async fn a_subscriber_learns_where_a_sleeping_publisher_stands() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut request = publish("ann/camera", 1, true);
    request.parameters.largest_object = Some(at(1, 0));
    let track = ann.call(move |session| session.publish(request)).await;
    ann.accepted(track).await;
    let mut bob = world.peer(Via::WebTransport).await;
    let wanted = bob.subscribe("ann/camera", Parameters::default()).await;
    let update = ann
        .expect("REQUEST_UPDATE", |event| match event {
            Event::Update { update, .. } => Some(*update),
            _ => None,
        })
        .await;
    let ok = roundtable_moqt::message::RequestOk {
        parameters: Parameters { largest_object: Some(at(20, 7)), ..Parameters::default() },
        ..Default::default()
    };
    ann.call(move |session| session.accept_update(update, ok)).await;
    assert_eq!(bob.subscribed(wanted).await.parameters.largest_object, Some(at(20, 7)));
}

#[tokio::test]
async fn filters_pass_what_they_say() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut eve = world.peer(Via::WebTransport).await;
    let all = eve.subscribe("ann/camera", waiting(10_000)).await;
    eve.settle().await;
    ann.publish("ann/camera", 1, true).await;
    eve.subscribed(all).await;
    ann.send(1, &Object::datagram(at(5, 0), "before"));
    eve.datagram().await;
    let mut bob = world.peer(Via::Quic).await;
    let next = Parameters { filter: Some(Filter::NextGroupStart), ..Parameters::default() };
    let wanted = bob.subscribe("ann/camera", next).await;
    bob.subscribed(wanted).await;
    for (group, object) in [(5, 1), (6, 0), (7, 0), (8, 0)] {
        ann.send(1, &Object::datagram(at(group, object), "x"));
        eve.datagram().await;
    }
    for group in 6..=8 {
        assert_eq!(bob.datagram().await.1.location(), at(group, 0));
    }
    let range = Filter::AbsoluteRange { start: at(9, 1), end_group: 10 };
    bob.update(wanted, Parameters { filter: Some(range), ..Parameters::default() }).await;
    for (group, object) in [(9, 0), (9, 1), (10, 0), (11, 0)] {
        ann.send(1, &Object::datagram(at(group, object), "x"));
        eve.datagram().await;
    }
    assert_eq!(bob.datagram().await.1.location(), at(9, 1));
    assert_eq!(bob.datagram().await.1.location(), at(10, 0));
    assert!(bob.leftovers().await.is_empty());
    // A range that has passed fails, and the subscription with it.
    let passed = Filter::AbsoluteRange { start: at(1, 0), end_group: 2 };
    let update = Parameters { filter: Some(passed), ..Parameters::default() };
    let update = bob.call(move |session| session.update(wanted, update)).await;
    assert_eq!(bob.refused(update).await.code, RequestErrorCode::InvalidRange);
    assert_eq!(bob.done(wanted).await.code, PublishDoneCode::UpdateFailed);
}

#[tokio::test]
async fn new_group_requests_of_many_become_one() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let mut request = publish("ann/camera", 1, true);
    request.track_properties = vec![0x30, 1].into();
    let track = ann.call(move |session| session.publish(request)).await;
    ann.accepted(track).await;
    let mut viewers = Vec::new();
    for _ in 0..3 {
        let mut viewer = world.peer(Via::Quic).await;
        let wanted = viewer.subscribe("ann/camera", Parameters::default()).await;
        if viewers.is_empty() {
            assert_eq!(ann.updated(track).await.forward, Some(true));
        }
        viewer.subscribed(wanted).await;
        viewers.push((viewer, wanted));
    }
    ann.send(1, &Object::datagram(at(5, 0), "x"));
    for (viewer, _) in &mut viewers {
        viewer.datagram().await;
    }
    for (viewer, wanted) in &mut viewers {
        let ask = Parameters { new_group_request: Some(6), ..Parameters::default() };
        viewer.update(*wanted, ask).await;
    }
    assert_eq!(ann.updated(track).await.new_group_request, Some(6));
    assert!(ann.leftovers().await.is_empty());
    ann.send(1, &Object::datagram(at(6, 0), "x"));
    viewers[0].0.datagram().await;
    let (viewer, wanted) = &mut viewers[1];
    viewer.update(*wanted, Parameters { new_group_request: Some(7), ..Parameters::default() }).await;
    assert_eq!(ann.updated(track).await.new_group_request, Some(7));
}

#[tokio::test]
async fn track_properties_reach_subscribers_unchanged_and_mandatory_ones_keep_a_track_out() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let properties = vec![0x0e, 9, 0x31, 3, 1, 2, 3];
    let mut request = publish("ann/camera", 1, true);
    request.track_properties = properties.clone().into();
    let track = ann.call(move |session| session.publish(request)).await;
    ann.accepted(track).await;
    let mut bob = world.peer(Via::Quic).await;
    let wanted = bob.subscribe("ann/camera", Parameters::default()).await;
    ann.updated(track).await;
    assert_eq!(bob.subscribed(wanted).await.track_properties, properties);
    let mut mandatory = publish("ann/secret", 2, true);
    // 0x4000 as a varint of two bytes is 0xc0 0x40 0x00 in three.
    mandatory.track_properties = vec![0xc0, 0x40, 0x00, 1].into();
    let id = ann.call(move |session| session.publish(mandatory)).await;
    assert_eq!(ann.refused(id).await.code, RequestErrorCode::UnsupportedExtension);
}

#[tokio::test]
async fn an_old_object_is_not_delivered_after_its_time() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let parameters = Parameters { object_delivery_timeout_ms: Some(200), ..waiting(10_000) };
    let wanted = bob.subscribe("ann/camera", parameters).await;
    bob.settle().await;
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish("ann/camera", 1, true).await;
    bob.subscribed(wanted).await;
    ann.send(1, &Object::datagram(at(1, 0), "in time"));
    bob.datagram().await;
    // Whatever the connection cannot take at once waits, and is worthless after 200 ms.
    for object in 1..3000 {
        ann.send(1, &Object::datagram(at(1, object), vec![0; 1000]));
        if object % 50 == 0 {
            ann.settle().await;
        }
    }
    let begun = Instant::now();
    ann.send(1, &Object::datagram(at(2, 0), "newest"));
    loop {
        if bob.datagram().await.1.location() == at(2, 0) {
            break;
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "it did not wait behind what had expired");
}

#[tokio::test]
async fn a_relay_that_stops_says_so_and_refuses_what_comes_after() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let mut ann = world.peer(Via::Quic).await;
    ann.publish("ann/camera", 1, true).await;
    world.relay.go_away("https://elsewhere.example/room", Duration::from_millis(300));
    for peer in [&mut ann, &mut bob] {
        let goaway = peer
            .expect("GOAWAY", |event| match event {
                Event::GoAway(None, goaway) => Some(goaway.clone()),
                _ => None,
            })
            .await;
        assert_eq!((&*goaway.uri, goaway.timeout_ms), (&b"https://elsewhere.example/room"[..], 300));
    }
    // The publisher's request is still open when the time is over; the other one has none.
    assert_eq!(ann.ended().await.code, Some(SessionError::GoAwayTimeout));
    assert_eq!(bob.ended().await.code, Some(SessionError::NoError));
}

#[tokio::test]
async fn a_publisher_that_leaves_is_asked_for_nothing_new_and_serves_on() {
    let world = World::new();
    let mut bob = world.peer(Via::WebTransport).await;
    let wanted = bob.subscribe("ann/camera", waiting(10_000)).await;
    bob.settle().await;
    let mut ann = world.peer(Via::WebTransport).await;
    ann.publish_namespace("ann").await;
    let (asked, _) = ann.asked().await;
    ann.grant(asked, 3, None).await;
    bob.subscribed(wanted).await;
    ann.io(|io| io.session.go_away(io.now, "", Duration::ZERO)).await.unwrap();
    ann.send(3, &Object::datagram(at(1, 0), "still here"));
    bob.datagram().await;
    let request = bob.subscribe("ann/audio", Parameters::default()).await;
    assert_eq!(bob.refused(request).await.code, RequestErrorCode::DoesNotExist);
}

#[tokio::test]
async fn a_publishers_refusal_to_update_does_not_hang_its_subscribers() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let (track, _) = ann.publish("ann/camera", 1, true).await;
    let mut bob = world.peer(Via::WebTransport).await;
    let wanted = bob.subscribe("ann/camera", Parameters::default()).await;
    let update = ann
        .expect("REQUEST_UPDATE", |event| match event {
            Event::Update { request, update, .. } if *request == track => Some(*update),
            _ => None,
        })
        .await;
    let error = RequestError::new(RequestErrorCode::Unauthorized, "no");
    ann.call(move |session| session.reject_update(update, error)).await;
    let ended = bob.pick("an answer and the end", |seen| match seen {
        Seen::Event(Event::Refused(id, _) | Event::PublishDone(id, _)) if *id == wanted => Some(()),
        _ => None,
    });
    soon("an answer", ended).await;
}

#[tokio::test]
async fn a_cancelled_subscription_gets_nothing_more_and_can_be_made_again() {
    let world = World::new();
    let mut ann = world.peer(Via::WebTransport).await;
    let (track, _) = ann.publish("ann/camera", 1, true).await;
    let mut bob = world.peer(Via::WebTransport).await;
    for round in 0..3 {
        let wanted = bob.subscribe("ann/camera", Parameters::default()).await;
        assert_eq!(ann.updated(track).await.forward, Some(true));
        bob.subscribed(wanted).await;
        ann.send(1, &Object::datagram(at(round, 0), "x"));
        assert_eq!(bob.datagram().await.0, wanted);
        bob.call(move |session| session.cancel(wanted, StreamResetCode::Cancelled)).await;
        assert_eq!(ann.updated(track).await.forward, Some(false));
    }
    world.until("subscriptions_open", |open| open == 0).await;
}
