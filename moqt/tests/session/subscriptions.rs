//! SUBSCRIBE and PUBLISH, their aliases and their ends (draft 5.1, 10.7 to 10.11, 11.1).

use std::time::Duration;

use roundtable_moqt::{
    Event, Location, Object, ObjectDatagram, Parameters, PublishDoneCode, RequestErrorCode, Role,
    SessionError, StreamKind, StreamResetCode, codec,
    message::{Message, Publish, PublishDone, Request, RequestOk, SubscribeOk, TrackAlias},
    session::CallError,
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

fn datagram(alias: u64) -> bytes::Bytes {
    ObjectDatagram::encode(b"", TrackAlias(alias), &Object::datagram(Location::new(1, 1), "x"))
}

fn refusal(peer: &mut Peer, number: u64, request: Request) -> RequestErrorCode {
    let stream = peer.request(number, request);
    expect!(Message::RequestError(error) = peer.message(stream));
    error.code
}

fn done(code: PublishDoneCode) -> Message {
    Message::PublishDone(PublishDone { code, stream_count: 0, reason: String::new() })
}

#[test]
fn a_track_has_one_subscription_per_role() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Subscribe(subscribe("a/x")));
    assert_eq!(
        refusal(&mut peer, 2, Request::Subscribe(subscribe("a/x"))),
        RequestErrorCode::DuplicateSubscription
    );
    peer.request(4, Request::Publish(publish("a/x", 1)));
    assert_eq!(
        refusal(&mut peer, 6, Request::Publish(publish("a/x", 2))),
        RequestErrorCode::DuplicateSubscription
    );
    assert_eq!(peer.events().len(), 2);
    assert_eq!(peer.session.subscribe(subscribe("a/x")), Err(CallError::Duplicate));
    assert_eq!(peer.session.publish(publish("a/x", 1)), Err(CallError::Duplicate));
    peer.session.reject(id(0), error(RequestErrorCode::DoesNotExist)).unwrap();
    peer.session.publish(publish("a/x", 1)).unwrap();
    assert_eq!(
        refusal(&mut peer, 8, Request::Subscribe(subscribe("a/x"))),
        RequestErrorCode::DuplicateSubscription,
        "our PUBLISH has no answer yet"
    );
}

#[test]
fn a_publish_that_meets_our_subscribe_replaces_it_when_accepted() {
    let mut peer = Peer::opposite(Role::Server);
    let ours = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.request(0, Request::Publish(publish("a/x", 1)));
    expect!(Event::Publish(..) = peer.event());
    peer.session.accept(id(0), ok()).unwrap();
    expect!(Event::Cancelled { request, .. } = peer.event());
    assert_eq!(request, ours);
    assert_eq!(peer.of(stream).reset, Some(StreamResetCode::Cancelled));
    assert_eq!(peer.datagram(datagram(1)).unwrap().0, id(0));
}

#[test]
fn when_publish_and_subscribe_met_the_alias_stays_with_the_one_that_lives() {
    let mut peer = Peer::opposite(Role::Server);
    let ours = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.request(0, Request::Publish(publish("a/x", 1)));
    peer.say(stream, &Message::SubscribeOk(subscribe_ok(1)));
    assert_eq!(peer.close_code(), None, "one alias, one track");
    peer.session.reject(id(0), error(RequestErrorCode::Uninterested)).unwrap();
    assert_eq!(peer.datagram(datagram(1)).unwrap().0, ours);
}

#[test]
fn one_alias_for_two_tracks_closes_the_session() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Publish(publish("a/x", 1)));
    peer.request(2, Request::Publish(publish("a/y", 1)));
    assert_eq!(peer.close_code(), Some(SessionError::DuplicateTrackAlias));

    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Publish(publish("a/x", 1)));
    peer.session.subscribe(subscribe("a/y")).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::SubscribeOk(subscribe_ok(1)));
    assert_eq!(peer.close_code(), Some(SessionError::DuplicateTrackAlias));
}

#[test]
fn an_alias_of_ours_stands_for_one_track_too() {
    let mut peer = Peer::opposite(Role::Server);
    peer.session.publish(publish("a/x", 1)).unwrap();
    assert_eq!(peer.session.publish(publish("a/y", 1)), Err(CallError::Duplicate));
    peer.request(0, Request::Subscribe(subscribe("a/y")));
    assert_eq!(peer.session.accept_subscribe(id(0), subscribe_ok(1)), Err(CallError::Duplicate));
    peer.session.accept_subscribe(id(0), subscribe_ok(2)).unwrap();
}

#[test]
fn publish_ok_sets_the_subscription_and_its_defaults() {
    let mut peer = Peer::opposite(Role::Server);
    let offer = Publish { parameters: forward(false), ..publish("a/x", 1) };
    let request = peer.session.publish(offer).unwrap();
    let stream = peer.latest();
    assert_eq!(peer.session.subscription(request).unwrap().parameters.forward, Some(false));
    assert_eq!(peer.session.open_subgroup(request, subgroup(0, 0)), Err(CallError::WrongState));
    let parameters = Parameters { subscriber_priority: Some(9), ..Parameters::default() };
    peer.say(stream, &Message::RequestOk(RequestOk { parameters, ..ok() }));
    let view = peer.session.subscription(request).unwrap();
    assert!(view.is_established);
    assert_eq!((view.parameters.forward, view.parameters.subscriber_priority), (Some(true), Some(9)));
    peer.session.open_subgroup(request, subgroup(0, 0)).unwrap();
}

#[test]
fn a_track_with_an_unknown_mandatory_property_is_left_alone() {
    let mut peer = Peer::opposite(Role::Server);
    let offer = Publish { track_properties: property(0x4000, 1), ..publish("a/x", 1) };
    assert_eq!(refusal(&mut peer, 0, Request::Publish(offer)), RequestErrorCode::UnsupportedExtension);
    assert!(peer.datagram(datagram(1)).is_none());
    assert_eq!(peer.session.counters().datagrams_unwanted, 1);

    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    let answer = SubscribeOk { track_properties: property(0x4000, 1), ..subscribe_ok(2) };
    peer.say(stream, &Message::SubscribeOk(answer));
    expect!(Event::Refused(refused, error) = peer.event());
    assert_eq!((refused, error.code), (request, RequestErrorCode::UnsupportedExtension));
    assert_eq!(peer.of(stream).reset, Some(StreamResetCode::Cancelled));
    assert_eq!(peer.close_code(), None);
}

#[test]
fn forbidden_values_of_track_properties_close_the_session() {
    for (key, value) in [(0x30, 2), (0x22, 3), (0x0e, 256)] {
        let mut peer = Peer::opposite(Role::Server);
        let harmless = Publish { track_properties: property(key + 0x40, value), ..publish("a/x", 1) };
        let message = codec::encode(&Message::Request(id(0), Request::Publish(harmless))).unwrap();
        let mut bytes = message.to_vec();
        let at = bytes.len() - property(key + 0x40, value).len();
        bytes.truncate(at);
        bytes.extend_from_slice(&property(key, value));
        // The key's encoding may be shorter now.
        let len = u16::try_from(bytes.len() - 3).unwrap();
        bytes[1..3].copy_from_slice(&len.to_be_bytes());
        let stream = peer.open(StreamKind::Bi);
        peer.say_bytes(stream, bytes);
        assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
    }
}

#[test]
fn objects_of_an_unanswered_publish_belong_to_it() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Publish(publish("a/x", 1)));
    assert_eq!(peer.datagram(datagram(1)).unwrap().0, id(0));
}

#[test]
fn datagrams_wait_briefly_for_their_alias_and_within_limits() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    for _ in 0..300 {
        assert!(peer.datagram(datagram(7)).is_none());
    }
    assert_eq!(peer.session.counters().datagrams_unknown_alias, 300 - 256);
    peer.say(stream, &Message::SubscribeOk(subscribe_ok(7)));
    let events = peer.events();
    expect!(Event::SubscribeAccepted(..) = events[0].clone());
    let waited =
        events[1..].iter().all(|event| matches!(event, Event::Datagram(owner, _) if *owner == request));
    assert!(waited && events.len() == 257);

    peer.datagram(datagram(8));
    peer.wait(Duration::from_millis(250));
    assert_eq!(peer.session.counters().datagrams_unknown_alias, 300 - 256 + 1);
    assert_eq!(peer.session.poll_timeout(), None);
}

#[test]
fn late_datagrams_are_delivered_after_publish_done_and_dropped_after_a_cancel() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Publish(publish("a/x", 1)));
    peer.session.accept(id(0), ok()).unwrap();
    peer.say(stream, &done(PublishDoneCode::TrackEnded));
    assert_eq!(peer.session.requests_len(), 0);
    assert!(peer.of(stream).is_finished);
    assert_eq!(peer.datagram(datagram(1)).unwrap().0, id(0));
    peer.wait(Duration::from_secs(2));
    assert!(peer.datagram(datagram(1)).is_none());
    assert_eq!(peer.session.counters().datagrams_unwanted, 0, "it is unknown by now");

    peer.request(2, Request::Publish(publish("a/y", 2)));
    peer.session.cancel(id(2), StreamResetCode::Cancelled).unwrap();
    assert!(peer.datagram(datagram(2)).is_none());
    assert_eq!(peer.session.counters().datagrams_unwanted, 1);
    peer.request(4, Request::Publish(publish("a/z", 2)));
    assert_eq!(peer.datagram(datagram(2)).unwrap().0, id(4), "the alias may be used again");
}

#[test]
fn a_new_subscription_to_the_same_track_waits_for_its_alias_again() {
    let mut peer = Peer::opposite(Role::Server);
    let first = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::SubscribeOk(subscribe_ok(1)));
    peer.session.cancel(first, StreamResetCode::Cancelled).unwrap();
    let second = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.events();
    assert!(peer.datagram(datagram(1)).is_none());
    peer.say(stream, &Message::SubscribeOk(subscribe_ok(1)));
    let events = peer.events();
    assert!(matches!(&events[1], Event::Datagram(owner, _) if *owner == second), "{events:?}");
}

#[test]
fn aliases_that_are_over_are_bounded() {
    let mut peer = Peer::opposite(Role::Server);
    for number in 0..5000 {
        let stream = peer.request(number * 2, Request::Publish(publish("a/x", number)));
        peer.say(stream, &done(PublishDoneCode::TrackEnded));
        peer.finish(stream);
    }
    assert!(peer.datagram(datagram(4999)).is_some());
    assert!(peer.datagram(datagram(1)).is_none());
    peer.session.check_consistency().unwrap();
}

#[test]
fn publish_done_comes_from_who_publishes_after_an_answer() {
    let mut peer = Peer::opposite(Role::Server);
    peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.say(stream, &done(PublishDoneCode::TrackEnded));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));

    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.say(stream, &done(PublishDoneCode::TrackEnded));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn our_publish_done_counts_streams_and_closes_what_is_open() {
    for (code, is_complete) in [(PublishDoneCode::TrackEnded, true), (PublishDoneCode::TooFarBehind, false)] {
        let mut peer = Peer::opposite(Role::Server);
        let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
        assert_eq!(peer.session.publish_done(id(0), code, ""), Err(CallError::WrongState));
        peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
        let streams = [0, 1, 2].map(|group| peer.session.open_subgroup(id(0), subgroup(group, 0)).unwrap());
        peer.session.finish_stream(streams[0]).unwrap();
        peer.session.reset_stream(streams[1], StreamResetCode::DeliveryTimeout).unwrap();
        peer.session.publish_done(id(0), code, "over").unwrap();
        peer.hear();
        assert_eq!(peer.of(streams[2]).is_finished, is_complete);
        assert_eq!(peer.of(streams[2]).reset.is_some(), !is_complete);
        let messages = peer.messages(stream);
        expect!(Message::PublishDone(done) = messages[1].clone());
        assert_eq!((done.code, done.stream_count), (code, 3));
        assert!(peer.of(stream).is_finished);
        assert_eq!(peer.session.publish_done(id(0), code, ""), Err(CallError::WrongState));
    }
}

#[test]
fn a_subscriber_that_leaves_resets_the_publishers_streams() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    let data = peer.session.open_subgroup(id(0), subgroup(1, 0)).unwrap();
    peer.events();
    peer.stop(stream, StreamResetCode::Cancelled);
    expect!(Event::Cancelled { .. } = peer.event());
    assert_eq!(peer.of(data).reset, Some(StreamResetCode::Cancelled));
    assert_eq!(
        peer.session.write_object(data, &Object::stream(Location::new(1, 0), "x")),
        Err(CallError::WrongState)
    );
}
