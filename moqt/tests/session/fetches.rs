//! FETCH: ranges, joining, data before and after its answer (draft 5.2, 10.12, 10.13, 11.4.4).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roundtable_moqt::{
    Event, Location, Object, Parameters, RequestErrorCode, Role, SessionError, StreamId, StreamResetCode,
    fetch_stream::{Encoder, FetchItem},
    message::{Fetch, FetchOk, FetchRange, GroupOrder, Message, Request, RequestId},
    session::CallError,
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

const fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn standalone(start: Location, end: Location) -> Fetch {
    let range = FetchRange::Standalone { track: track("a/x"), start, end };
    Fetch { range, parameters: Parameters::default() }
}

fn relative(subscription: u64, groups_back: u64) -> Fetch {
    let range = FetchRange::RelativeJoining { subscription: id(subscription), groups_back };
    Fetch { range, parameters: Parameters::default() }
}

fn fetch_ok(end: Location) -> FetchOk {
    FetchOk { end_of_track: false, end, parameters: Parameters::default(), track_properties: Bytes::new() }
}

fn item(group: u64, object: u64) -> FetchItem {
    FetchItem::Object(Object { priority: Some(1), ..Object::datagram(at(group, object), "old") })
}

fn data(request: RequestId, items: &[FetchItem]) -> Bytes {
    let mut bytes = BytesMut::new();
    let mut encoder = Encoder::new(request, GroupOrder::Ascending, &mut bytes);
    for item in items {
        let payload = encoder.item(item, &mut bytes).unwrap();
        bytes.extend_from_slice(&payload);
    }
    bytes.freeze()
}

fn refused(peer: &mut Peer, stream: StreamId) -> RequestErrorCode {
    peer.hear();
    expect!(Message::RequestError(error) = peer.message(stream));
    error.code
}

#[test]
fn a_range_that_ends_before_it_starts_is_refused() {
    let mut peer = Peer::opposite(Role::Server);
    let cases = [
        (at(1, 0), at(1, 0), true),
        (at(1, 5), at(1, 6), true),
        (at(1, 5), at(1, 5), false),
        (at(1, 5), at(1, 0), true),
        (at(2, 0), at(1, 9), false),
    ];
    for (number, (start, end, is_range)) in cases.into_iter().enumerate() {
        let stream = peer.request(number as u64 * 2, Request::Fetch(standalone(start, end)));
        if is_range {
            expect!(Event::Fetch(_, resolved) = peer.event());
            assert_eq!((resolved.start, resolved.end, resolved.joining), (start, end, false));
        } else {
            assert_eq!(refused(&mut peer, stream), RequestErrorCode::InvalidRange);
        }
    }
}

#[test]
fn a_joining_fetch_needs_a_subscription_in_which_we_publish() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Publish(publish("a/x", 1)));
    for (number, subscription) in [(2, 0), (4, 99), (6, 6)] {
        let stream = peer.request(number, Request::Fetch(relative(subscription, 0)));
        assert_eq!(refused(&mut peer, stream), RequestErrorCode::InvalidJoiningRequestId);
    }
}

#[test]
fn a_joining_fetch_waits_for_the_answer_and_for_updates() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.request(2, Request::Fetch(relative(0, 2)));
    expect!(Event::Subscribe(..) = peer.event());
    assert_eq!(peer.session.accept_fetch(id(2), fetch_ok(at(1, 1))), Err(CallError::WrongState));
    peer.say(stream, &Message::RequestUpdate(id(4), Parameters::default()));
    peer.events();
    peer.session.accept_subscribe(id(0), subscribe_ok_at(1, at(9, 3))).unwrap();
    assert!(peer.events().is_empty(), "an update stands between");
    peer.session.accept_update(id(4), ok()).unwrap();
    expect!(Event::Fetch(_, resolved) = peer.event());
    assert_eq!((resolved.start, resolved.end, resolved.joining), (at(7, 0), at(9, 4), true));
}

#[test]
fn a_joining_fetch_to_nothing_is_an_invalid_range() {
    // No objects yet.
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    let stream = peer.request(2, Request::Fetch(relative(0, 0)));
    assert_eq!(refused(&mut peer, stream), RequestErrorCode::InvalidRange);
    // Not forwarding.
    let mut quiet = subscribe("a/y");
    quiet.parameters = forward(false);
    peer.request(4, Request::Subscribe(quiet));
    peer.session.accept_subscribe(id(4), subscribe_ok_at(2, at(3, 3))).unwrap();
    let stream = peer.request(6, Request::Fetch(relative(4, 0)));
    assert_eq!(refused(&mut peer, stream), RequestErrorCode::InvalidRange);
    // A group that has not begun.
    peer.request(8, Request::Subscribe(subscribe("a/z")));
    peer.session.accept_subscribe(id(8), subscribe_ok_at(3, at(3, 3))).unwrap();
    let range = FetchRange::AbsoluteJoining { subscription: id(8), group: 4 };
    let stream = peer.request(10, Request::Fetch(Fetch { range, parameters: Parameters::default() }));
    assert_eq!(refused(&mut peer, stream), RequestErrorCode::InvalidRange);
}

#[test]
fn a_joining_fetch_ends_with_the_subscription_it_waits_for() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Subscribe(subscribe("a/x")));
    let stream = peer.request(2, Request::Fetch(relative(0, 0)));
    peer.session.reject(id(0), error(RequestErrorCode::DoesNotExist)).unwrap();
    assert_eq!(refused(&mut peer, stream), RequestErrorCode::InvalidJoiningRequestId);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn our_publish_can_be_joined() {
    let mut peer = Peer::opposite(Role::Server);
    let mut offer = publish("a/x", 1);
    offer.parameters.largest_object = Some(at(5, 5));
    let request = peer.session.publish(offer).unwrap();
    let stream = peer.latest();
    peer.request(0, Request::Fetch(relative(request.0, 0)));
    assert!(peer.events().is_empty(), "PUBLISH_OK is on its way");
    peer.say(stream, &Message::RequestOk(ok()));
    expect!([Event::Accepted(..), Event::Fetch(_, resolved)] = &peer.events()[..]);
    assert_eq!((resolved.start, resolved.end), (at(5, 0), at(5, 6)));
}

#[test]
fn items_may_come_before_the_answer_and_the_end_comes_after_it() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    let stream = peer.latest();
    let items = [item(1, 0), item(1, 1), FetchItem::Unknown(at(2, 7))];
    let uni = peer.data(data(request, &items));
    peer.finish(uni);
    let got: Vec<_> = peer
        .events()
        .into_iter()
        .map(|event| if let Event::FetchItem(_, item) = event { item } else { panic!("{event:?}") })
        .collect();
    assert_eq!(got, items);
    peer.say(stream, &Message::FetchOk(fetch_ok(at(2, 0))));
    expect!([Event::FetchAccepted(..), Event::FetchEnded { reset: None, .. }] = &peer.events()[..]);
    assert_eq!(peer.session.requests_len(), 0);
    assert!(peer.of(stream).is_finished);
}

#[test]
fn a_reset_of_the_data_ends_a_fetch() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    let uni = peer.data(data(request, &[item(1, 0)]));
    peer.reset(uni, StreamResetCode::UnknownObjectStatus);
    expect!([Event::FetchItem(..), Event::FetchEnded { reset: Some(code), .. }] = &peer.events()[..]);
    assert_eq!(*code, StreamResetCode::UnknownObjectStatus);
    assert_eq!(peer.session.requests_len(), 0);
}

#[test]
fn a_refused_fetch_stops_its_data_and_late_data_is_unwanted() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    let stream = peer.latest();
    let uni = peer.data(data(request, &[item(1, 0)]));
    peer.say(stream, &Message::RequestError(error(RequestErrorCode::InternalError)));
    assert_eq!(peer.of(uni).stopped, Some(StreamResetCode::Cancelled));
    let late = peer.data(data(request, &[item(1, 0)]));
    assert_eq!(peer.of(late).stopped, Some(StreamResetCode::Cancelled));
    assert_eq!(peer.session.counters().streams_unwanted, 1);
    assert_eq!(peer.close_code(), None);
}

#[test]
fn fetch_data_belongs_to_a_fetch_of_ours_and_comes_on_one_stream() {
    let mut peer = Peer::opposite(Role::Server);
    peer.data(data(id(1), &[]));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    peer.data(data(request, &[]));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    peer.data(data(request, &[item(1, 0)]));
    peer.data(data(request, &[item(1, 1)]));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn an_answer_that_ends_before_the_start_is_a_violation() {
    for (end, is_violation) in [(at(3, 9), true), (at(4, 1), true), (at(4, 2), false), (at(4, 0), false)] {
        let mut peer = Peer::opposite(Role::Server);
        peer.session.fetch(standalone(at(4, 2), at(9, 0))).unwrap();
        let stream = peer.latest();
        peer.say(stream, &Message::FetchOk(fetch_ok(end)));
        assert_eq!(peer.close_code().is_some(), is_violation, "{end:?}");
    }
}

#[test]
fn a_fetch_that_we_serve_is_over_when_data_and_answer_are() {
    let mut peer = Peer::opposite(Role::Server);
    let first = peer.request(0, Request::Fetch(standalone(at(1, 0), at(2, 0))));
    let data = peer.session.open_fetch(id(0), GroupOrder::Ascending).unwrap();
    assert_eq!(peer.session.open_fetch(id(0), GroupOrder::Ascending), Err(CallError::WrongState));
    peer.session.finish_stream(data).unwrap();
    assert_eq!(peer.session.requests_len(), 1, "the answer is missing");
    peer.session.accept_fetch(id(0), fetch_ok(at(2, 0))).unwrap();
    peer.hear();
    assert_eq!(peer.session.requests_len(), 0);
    assert!(peer.of(first).is_finished);

    peer.request(2, Request::Fetch(standalone(at(1, 0), at(2, 0))));
    peer.session.accept_fetch(id(2), fetch_ok(at(2, 0))).unwrap();
    let data = peer.session.open_fetch(id(2), GroupOrder::Ascending).unwrap();
    peer.events();
    peer.stop(data, StreamResetCode::Cancelled);
    expect!(Event::StreamStopped { request, .. } = peer.event());
    assert_eq!((request, peer.session.requests_len()), (id(2), 0));
    assert_eq!(peer.of(data).reset, Some(StreamResetCode::Cancelled));
}

#[test]
fn cancelling_a_fetch_closes_its_data_on_either_side() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    let uni = peer.data(data(request, &[item(1, 0)]));
    peer.session.cancel(request, StreamResetCode::Cancelled).unwrap();
    let stream = peer.request(0, Request::Fetch(standalone(at(1, 0), at(2, 0))));
    let ours = peer.session.open_fetch(id(0), GroupOrder::Ascending).unwrap();
    peer.reset(stream, StreamResetCode::Cancelled);
    assert_eq!(peer.of(uni).stopped, Some(StreamResetCode::Cancelled));
    assert_eq!(peer.of(ours).reset, Some(StreamResetCode::Cancelled));
}

#[test]
fn a_fetch_whose_data_never_comes_ends_after_a_while() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::FetchOk(fetch_ok(at(2, 0))));
    peer.finish(stream);
    peer.events();
    peer.wait(Duration::from_secs(2));
    expect!(Event::FetchEnded { request: ended, reset: Some(StreamResetCode::Cancelled) } = peer.event());
    assert_eq!((ended, peer.session.requests_len()), (request, 0));

    let request = peer.session.fetch(standalone(at(1, 0), at(2, 0))).unwrap();
    let stream = peer.latest();
    peer.stop(stream, StreamResetCode::Cancelled);
    peer.say(stream, &Message::FetchOk(fetch_ok(at(2, 0))));
    peer.finish(stream);
    let uni = peer.data(data(request, &[item(1, 0)]));
    peer.events();
    peer.wait(Duration::from_secs(60));
    assert!(peer.events().is_empty(), "its data has begun");
    peer.finish(uni);
    expect!(Event::FetchEnded { reset: None, .. } = peer.event());
}
