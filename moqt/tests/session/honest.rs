//! Two sessions and a link: what works between honest peers, on a good link and on a bad one.

use std::time::Duration;

use roundtable_moqt::{
    Event, Location, Object, ObjectDatagram, Parameters, Session,
    fetch_stream::FetchItem,
    message::{Fetch, FetchOk, FetchRange, GroupOrder, TrackAlias},
};

use crate::{
    expect,
    world::{CLIENT, Link, SERVER, World, events::*},
};

#[test]
fn a_subscription_carries_datagrams_and_subgroups() {
    let mut world = World::new(1, Link::default());
    let request = world.client().subscribe(subscribe("a/camera")).unwrap();
    world.settle();
    expect!(Event::Subscribe(received, wanted) = world.event(SERVER));
    assert_eq!((received, wanted.track), (request, track("a/camera")));
    world.server().accept_subscribe(received, subscribe_ok(7)).unwrap();
    world.settle();
    expect!(Event::SubscribeAccepted(accepted, answer) = world.event(CLIENT));
    assert_eq!((accepted, answer.alias), (request, TrackAlias(7)));

    let object = Object::datagram(Location::new(1, 0), "frame");
    world.send_datagram(SERVER, ObjectDatagram::encode(b"", TrackAlias(7), &object));
    let stream = world.server().open_subgroup(request, subgroup(2, 0)).unwrap();
    let text = Object::stream(Location::new(2, 0), "text");
    world.server().write_object(stream, &text).unwrap();
    world.server().finish_stream(stream).unwrap();
    world.settle();
    let (owner, datagram) = world.sides[CLIENT].datagrams.pop_front().unwrap();
    assert_eq!((owner, datagram.object), (request, object));
    expect!(Event::SubgroupOpened { request: owner, header, .. } = world.event(CLIENT));
    assert_eq!((owner, header.group, header.subgroup), (request, 2, Some(0)));
    expect!(Event::Object { object, .. } = world.event(CLIENT));
    assert_eq!(object, text);
    expect!(Event::SubgroupEnded { reset: None, .. } = world.event(CLIENT));
    world.advance(Duration::from_secs(60));
    assert!(world.events(CLIENT).is_empty() && world.events(SERVER).is_empty());
}

#[test]
fn a_publish_carries_objects_before_and_after_its_answer() {
    let mut world = World::new(2, Link::default());
    let request = world.client().publish(publish("a/audio", 3)).unwrap();
    world.settle();
    let object = |group| Object::datagram(Location::new(group, 0), "opus");
    world.send_datagram(CLIENT, ObjectDatagram::encode(b"", TrackAlias(3), &object(1)));
    world.settle();
    expect!(Event::Publish(received, _) = world.event(SERVER));
    assert_eq!(received, request);
    let (owner, datagram) = world.sides[SERVER].datagrams.pop_front().unwrap();
    assert_eq!((owner, datagram.location().group), (request, 1));
    world.server().accept(request, ok()).unwrap();
    world.settle();
    expect!(Event::Accepted(accepted, _) = world.event(CLIENT));
    assert_eq!(accepted, request);
    world.send_datagram(CLIENT, ObjectDatagram::encode(b"", TrackAlias(3), &object(2)));
    world.settle();
    assert_eq!(world.sides[SERVER].datagrams.pop_front().unwrap().1.location().group, 2);
}

#[test]
fn a_late_joiner_gets_the_current_group_by_a_joining_fetch() {
    let mut world = World::new(3, Link::default());
    let request = world.client().subscribe(subscribe("a/camera")).unwrap();
    let join = FetchRange::RelativeJoining { subscription: request, groups_back: 0 };
    let fetch = world.client().fetch(Fetch { range: join, parameters: Parameters::default() }).unwrap();
    world.settle();
    expect!(Event::Subscribe(..) = world.event(SERVER));
    assert!(world.events(SERVER).is_empty(), "the FETCH waits for the subscription");
    world.server().accept_subscribe(request, subscribe_ok_at(1, Location::new(9, 4))).unwrap();
    world.settle();
    expect!(Event::Fetch(received, resolved) = world.event(SERVER));
    assert_eq!((received, resolved.track, resolved.joining), (fetch, track("a/camera"), true));
    assert_eq!((resolved.start, resolved.end), (Location::new(9, 0), Location::new(9, 5)));

    let stream = world.server().open_fetch(fetch, GroupOrder::Ascending).unwrap();
    let item =
        FetchItem::Object(Object { priority: Some(5), ..Object::datagram(Location::new(9, 0), "key") });
    world.server().write_fetch_item(stream, &item).unwrap();
    world.server().finish_stream(stream).unwrap();
    let answer = FetchOk {
        end_of_track: false,
        end: Location::new(9, 5),
        parameters: Parameters::default(),
        track_properties: bytes::Bytes::new(),
    };
    world.server().accept_fetch(fetch, answer).unwrap();
    world.settle();
    let events = world.events(CLIENT);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::FetchItem(owner, got) if *owner == fetch && *got == item))
    );
    expect!(Some(Event::FetchEnded { reset: None, .. }) = events.last());
    assert_eq!(world.client().requests().collect::<Vec<_>>(), [request]);
    assert_eq!(world.server().requests().collect::<Vec<_>>(), [request]);
}

/// Everything that honest peers do, on one link; returns what the client was told.
fn call(seed: u64, link: Link) -> (Vec<String>, Vec<u64>) {
    let mut world = World::new(seed, link);
    let sent: Vec<_> = (0..20)
        .map(|group| (group, Object::stream(Location::new(group, 0), format!("object {group}"))))
        .collect();
    let request = world.client().subscribe(subscribe("a/b/camera")).unwrap();
    let names = world.client().subscribe_namespace(under("")).unwrap();
    let accept = |session: &mut Session, event: Event| match event {
        Event::Subscribe(id, _) => session.accept_subscribe(id, subscribe_ok(42)).unwrap(),
        Event::SubscribeNamespace(id, _) => {
            session.accept(id, ok()).unwrap();
            session.namespace(id, &namespace("a/b")).unwrap();
        }
        event => panic!("{event:?}"),
    };
    world.settle();
    for event in world.events(SERVER) {
        accept(world.server(), event);
    }
    for (group, object) in &sent {
        let datagram = Object::datagram(object.location, object.payload.clone());
        world.send_datagram(SERVER, ObjectDatagram::encode(b"", TrackAlias(42), &datagram));
        let stream = world.server().open_subgroup(request, subgroup(*group, 0)).unwrap();
        world.server().write_object(stream, object).unwrap();
        world.server().finish_stream(stream).unwrap();
        world.advance(Duration::from_millis(7));
    }
    world.server().publish_done(request, roundtable_moqt::PublishDoneCode::TrackEnded, "over").unwrap();
    world.server().namespace_done(names, &namespace("a/b")).unwrap();
    world.advance(Duration::from_secs(10));

    let events = world.events(CLIENT);
    let objects = events.iter().filter(|event| matches!(event, Event::Object { .. })).count();
    assert_eq!(objects, sent.len(), "streams lose nothing");
    assert!(
        events.iter().any(|event| matches!(event, Event::PublishDone(_, done) if done.stream_count == 20))
    );
    assert!(events.iter().any(|event| matches!(event, Event::Namespace(..))));
    assert!(events.iter().any(|event| matches!(event, Event::NamespaceDone(..))));
    assert_eq!(world.client().requests().collect::<Vec<_>>(), [names]);
    for side in &world.sides {
        assert!(!side.session.is_closed());
        assert_eq!(side.session.buffered_bytes(), 0);
        side.session.check_consistency().unwrap();
    }
    let groups = world.sides[CLIENT].datagrams.iter().map(|(_, datagram)| datagram.location().group);
    (events.iter().map(|event| format!("{event:?}")).collect(), groups.collect())
}

#[test]
fn a_rough_link_changes_nothing_but_the_order() {
    for seed in 0..100 {
        call(seed, Link::rough());
    }
}

#[test]
fn the_same_seed_gives_the_same_result() {
    assert_eq!(call(7, Link::rough()), call(7, Link::rough()));
}
