//! REQUEST_UPDATE in both directions (draft 10.9).

use roundtable_moqt::{
    Event, Location, Parameters, PublishDoneCode, RequestErrorCode, Role, SessionError, StreamId,
    StreamResetCode,
    message::{Fetch, FetchRange, GroupOrder, Message, Request, RequestId, RequestOk},
    session::CallError,
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

fn priority(priority: u8) -> Parameters {
    Parameters { subscriber_priority: Some(priority), ..Parameters::default() }
}

fn largest(group: u64, object: u64) -> RequestOk {
    let largest_object = Some(Location::new(group, object));
    RequestOk { parameters: Parameters { largest_object, ..Parameters::default() }, ..ok() }
}

fn update(number: u64, parameters: Parameters) -> Message {
    Message::RequestUpdate(id(number), parameters)
}

/// A server that publishes to the peer.
fn publishing() -> (Peer, StreamId) {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    peer.events();
    peer.messages(stream);
    (peer, stream)
}

#[test]
fn an_update_changes_the_subscription_when_it_is_accepted() {
    let (mut peer, stream) = publishing();
    peer.say(stream, &update(2, forward(false)));
    expect!(Event::Update { request, update: number, parameters } = peer.event());
    assert_eq!((request, number, parameters), (id(0), id(2), forward(false)));
    assert_eq!(peer.session.subscription(id(0)).unwrap().parameters.forward, Some(true));
    peer.session.accept_update(id(2), ok()).unwrap();
    assert_eq!(peer.session.subscription(id(0)).unwrap().parameters.forward, Some(false));
    peer.hear();
    expect!(Message::RequestOk(_) = peer.message(stream));
}

#[test]
fn turning_forward_on_moves_the_joining_location() {
    let (mut peer, stream) = publishing();
    peer.say(stream, &update(2, forward(false)));
    peer.session.accept_update(id(2), largest(4, 4)).unwrap();
    assert_eq!(peer.session.subscription(id(0)).unwrap().joining, None);
    peer.say(stream, &update(4, forward(true)));
    peer.session.accept_update(id(4), largest(5, 6)).unwrap();
    assert_eq!(peer.session.subscription(id(0)).unwrap().joining, Some(Location::new(5, 6)));
}

#[test]
fn updates_are_answered_in_order_and_once() {
    let (mut peer, stream) = publishing();
    peer.say(stream, &update(2, priority(1)));
    peer.say(stream, &update(4, priority(2)));
    assert_eq!(peer.session.accept_update(id(4), ok()), Err(CallError::WrongState));
    peer.session.accept_update(id(2), ok()).unwrap();
    assert_eq!(peer.session.accept_update(id(2), ok()), Err(CallError::WrongState));
    peer.session.accept_update(id(4), ok()).unwrap();
    assert_eq!(peer.session.subscription(id(0)).unwrap().parameters.subscriber_priority, Some(2));
}

#[test]
fn an_update_of_an_unanswered_request_is_answered_after_it() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.say(stream, &update(2, forward(false)));
    assert_eq!(peer.session.accept_update(id(2), ok()), Err(CallError::WrongState));
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    peer.session.accept_update(id(2), ok()).unwrap();
    assert_eq!(peer.messages(stream).len(), 0, "not taken yet");
    peer.hear();
    assert!(matches!(peer.messages(stream)[..], [Message::SubscribeOk(_), Message::RequestOk(_)]));
}

#[test]
fn a_new_subscriber_priority_reorders_open_streams() {
    let (mut peer, stream) = publishing();
    let data = peer.session.open_subgroup(id(0), subgroup(1, 0)).unwrap();
    peer.hear();
    let before = peer.of(data).priority.unwrap();
    peer.say(stream, &update(2, priority(0)));
    peer.session.accept_update(id(2), ok()).unwrap();
    peer.hear();
    let after = peer.of(data).priority.unwrap();
    assert!(after > before);
    assert!(peer.of(stream).priority.unwrap() > after, "requests go before data");
}

#[test]
fn refusing_an_update_ends_a_subscription_with_update_failed() {
    let (mut peer, stream) = publishing();
    let data = peer.session.open_subgroup(id(0), subgroup(1, 0)).unwrap();
    peer.say(stream, &update(2, forward(false)));
    peer.session.reject_update(id(2), error(RequestErrorCode::Unauthorized)).unwrap();
    peer.hear();
    let messages = peer.messages(stream);
    expect!([Message::RequestError(_), Message::PublishDone(done)] = &messages[..]);
    assert_eq!((done.code, done.stream_count), (PublishDoneCode::UpdateFailed, 1));
    assert!(peer.of(stream).is_finished);
    assert_eq!(peer.of(data).reset, Some(StreamResetCode::Cancelled));
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn refusing_an_update_resets_a_fetch() {
    let mut peer = Peer::opposite(Role::Server);
    let range =
        FetchRange::Standalone { track: track("a/x"), start: Location::new(0, 0), end: Location::new(1, 0) };
    let stream = peer.request(0, Request::Fetch(Fetch { range, parameters: Parameters::default() }));
    let data = peer.session.open_fetch(id(0), GroupOrder::Ascending).unwrap();
    peer.say(stream, &update(2, priority(3)));
    peer.session.reject_update(id(2), error(RequestErrorCode::Unauthorized)).unwrap();
    peer.hear();
    assert!(peer.of(data).reset.is_some() && peer.of(stream).is_finished);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn parameters_that_do_not_belong_to_the_request_are_violations() {
    let prefix = Parameters { namespace_prefix: Some(namespace("b")), ..Parameters::default() };
    for (request, parameters) in [
        (Request::Subscribe(subscribe("a/x")), prefix),
        (Request::PublishNamespace(under("a")), priority(1)),
        (Request::SubscribeNamespace(under("a")), forward(true)),
    ] {
        let mut peer = Peer::opposite(Role::Server);
        let stream = peer.request(0, request);
        peer.say(stream, &update(2, parameters));
        assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
    }
}

#[test]
fn a_track_status_cannot_be_updated_and_an_updates_id_is_new() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::TrackStatus(subscribe("a/x")));
    peer.say(stream, &update(2, Parameters::default()));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
    let (mut peer, stream) = publishing();
    peer.say(stream, &update(0, Parameters::default()));
    assert_eq!(peer.close_code(), Some(SessionError::InvalidRequestId));
}

#[test]
fn a_peer_that_outruns_our_answers_loses_its_request_only() {
    let (mut peer, stream) = publishing();
    for number in 0..64 {
        peer.say(stream, &update(2 + 2 * number, priority(1)));
    }
    assert_eq!(peer.events().len(), 64);
    peer.say(stream, &update(2 + 2 * 64, priority(1)));
    expect!(Event::Cancelled { .. } = peer.event());
    let messages = peer.messages(stream);
    expect!([Message::RequestError(error), Message::PublishDone(_)] = &messages[..]);
    assert_eq!(error.code, RequestErrorCode::ExcessiveLoad);
    assert_eq!(peer.close_code(), None);
    peer.session.check_consistency().unwrap();
}

#[test]
fn the_subscriber_of_a_publish_may_update_it_once_accepted() {
    // As the subscriber.
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Publish(publish("a/x", 1)));
    assert_eq!(peer.session.update(id(0), forward(false)), Err(CallError::WrongState));
    peer.session.accept(id(0), ok()).unwrap();
    let number = peer.session.update(id(0), forward(false)).unwrap();
    peer.events();
    peer.say(stream, &Message::RequestOk(ok()));
    expect!(Event::Accepted(accepted, _) = peer.event());
    assert_eq!(accepted, number);
    assert_eq!(peer.session.subscription(id(0)).unwrap().parameters.forward, Some(false));
    // As the publisher.
    let request = peer.session.publish(publish("a/x", 1)).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::RequestOk(ok()));
    peer.events();
    peer.say(stream, &update(2, forward(false)));
    peer.session.accept_update(id(2), ok()).unwrap();
    assert_eq!(peer.session.subscription(request).unwrap().parameters.forward, Some(false));
    // Too early.
    peer.session.publish(publish("a/y", 2)).unwrap();
    let stream = peer.latest();
    peer.say(stream, &update(4, forward(false)));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn an_update_of_ours_takes_effect_with_its_answer() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::SubscribeOk(subscribe_ok_at(1, Location::new(1, 1))));
    peer.events();
    let off = peer.session.update(request, forward(false)).unwrap();
    let on = peer.session.update(request, forward(true)).unwrap();
    peer.say(stream, &Message::RequestOk(ok()));
    peer.say(stream, &Message::RequestOk(largest(3, 2)));
    let accepted: Vec<RequestId> = peer
        .events()
        .into_iter()
        .map(|event| if let Event::Accepted(number, _) = event { number } else { panic!("{event:?}") })
        .collect();
    assert_eq!(accepted, [off, on]);
    assert_eq!(peer.session.subscription(request).unwrap().joining, Some(Location::new(3, 2)));
    peer.say(stream, &Message::RequestOk(ok()));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation), "there was no third");
}

#[test]
fn a_publisher_whose_own_update_fails_ends_the_subscription() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.publish(publish("a/x", 1)).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::RequestOk(ok()));
    peer.session.update(request, Parameters::default()).unwrap();
    peer.hear();
    peer.messages(stream);
    peer.events();
    peer.say(stream, &Message::RequestError(error(RequestErrorCode::ExpiredAuthToken)));
    expect!([Event::Refused(..), Event::Cancelled { .. }] = &peer.events()[..]);
    expect!(Message::PublishDone(done) = peer.message(stream));
    assert_eq!(done.code, PublishDoneCode::UpdateFailed);
}

#[test]
fn new_groups_are_asked_for_only_where_tracks_allow() {
    let ask = Parameters { new_group_request: Some(0), ..Parameters::default() };
    for (properties, result) in [(property(0x30, 1), true), (property(0x30, 0), false)] {
        let mut peer = Peer::opposite(Role::Server);
        let offer = roundtable_moqt::message::Publish { track_properties: properties, ..publish("a/x", 1) };
        peer.request(0, Request::Publish(offer));
        peer.session.accept(id(0), ok()).unwrap();
        assert_eq!(peer.session.update(id(0), ask.clone()).is_ok(), result);
    }
}

#[test]
fn unanswered_updates_of_ours_are_bounded() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    for _ in 0..64 {
        peer.session.update(request, priority(1)).unwrap();
    }
    assert_eq!(peer.session.update(request, priority(1)), Err(CallError::TooMany));
}
