//! Two sessions and a link: what works between honest peers, on a good link and on a bad one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::time::Duration;

use roundtable_moqt::{Event, Location, Object, ObjectDatagram, message::TrackAlias};
use world::{CLIENT, Link, SERVER, World, events::*};

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
