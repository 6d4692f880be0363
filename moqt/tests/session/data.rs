//! Subgroup streams in both directions (draft 11.4).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roundtable_moqt::{
    Config, Event, Forwarding, Location, Object, Role, SessionError, StreamId, StreamResetCode,
    message::{Message, Publish, PublishDone, Request, TrackAlias},
    session::{CallError, Carrier},
    subgroup::{Encoder, SubgroupHeader},
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

fn object(number: u64, payload: &'static str) -> Object {
    Object { forwarding: Forwarding::Subgroup(0), ..Object::stream(Location::new(1, number), payload) }
}

fn stream(header: SubgroupHeader, objects: &[Object]) -> Bytes {
    let mut bytes = BytesMut::new();
    let mut encoder = Encoder::new(header, &mut bytes);
    for object in objects {
        let payload = encoder.object(object, &mut bytes).unwrap();
        bytes.extend_from_slice(&payload);
    }
    bytes.freeze()
}

fn of_alias(alias: u64) -> SubgroupHeader {
    SubgroupHeader { alias: TrackAlias(alias), ..subgroup(1, 0) }
}

/// The peer publishes `a/x` under alias 1.
fn receiving() -> (Peer, StreamId) {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.request(0, Request::Publish(publish("a/x", 1)));
    peer.session.accept(id(0), ok()).unwrap();
    peer.events();
    (peer, request)
}

#[test]
fn a_subgroup_is_reported_object_by_object() {
    let (mut peer, _) = receiving();
    let uni = peer.data(stream(of_alias(1), &[object(0, "zero"), object(3, "three")]));
    peer.finish(uni);
    let events = peer.events();
    expect!(
        [
            Event::SubgroupOpened { header, .. },
            Event::Object { object: zero, .. },
            Event::Object { object: three, .. },
            Event::SubgroupEnded { reset: None, .. },
        ] = &events[..]
    );
    assert_eq!((header, zero, three), (&of_alias(1), &object(0, "zero"), &object(3, "three")));
    assert_eq!(peer.session.buffered_bytes(), 0);
}

#[test]
fn every_way_to_cut_a_stream_gives_the_same_events() {
    let bytes = stream(of_alias(1), &[object(0, "zero"), object(3, "three")]);
    let events = |pieces: &mut dyn Iterator<Item = Bytes>| {
        let (mut peer, _) = receiving();
        let first = pieces.next().unwrap();
        let uni = peer.data(first);
        for piece in pieces {
            peer.say_bytes(uni, piece);
        }
        peer.finish(uni);
        format!("{:?}", peer.events())
    };
    let whole = events(&mut std::iter::once(bytes.clone()));
    for len in 1..bytes.len() {
        let mut pieces = bytes.chunks(len).map(Bytes::copy_from_slice);
        assert_eq!(events(&mut pieces), whole);
    }
}

#[test]
fn a_subgroup_named_by_its_first_object_opens_with_it() {
    let (mut peer, _) = receiving();
    let header = SubgroupHeader { subgroup: None, ..of_alias(1) };
    let bytes = stream(header, &[Object { forwarding: Forwarding::Subgroup(5), ..object(5, "five") }]);
    let uni = peer.data(bytes.slice(..4));
    assert!(peer.events().is_empty());
    peer.say_bytes(uni, bytes.slice(4..));
    let events = peer.events();
    expect!([Event::SubgroupOpened { header, .. }, Event::Object { object, .. }] = &events[..]);
    assert_eq!((header.subgroup, object.forwarding), (Some(5), Forwarding::Subgroup(5)));
}

#[test]
fn a_reset_comes_after_what_had_arrived() {
    let (mut peer, _) = receiving();
    let uni = peer.data(stream(of_alias(1), &[object(0, "zero")]));
    peer.reset(uni, StreamResetCode::DeliveryTimeout);
    let events = peer.events();
    expect!(
        [Event::SubgroupOpened { .. }, Event::Object { .. }, Event::SubgroupEnded { reset, .. }] =
            &events[..]
    );
    assert_eq!(*reset, Some(StreamResetCode::DeliveryTimeout));
}

#[test]
fn a_fin_within_an_object_is_a_violation() {
    let (mut peer, _) = receiving();
    let bytes = stream(of_alias(1), &[object(0, "zero")]);
    let uni = peer.data(bytes.slice(..bytes.len() - 1));
    peer.finish(uni);
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn an_object_larger_than_we_take_is_refused() {
    let config = Config { object_bytes_max: 3, ..Config::new(Role::Server, Carrier::Quic) };
    let mut peer = Peer::opposite_config(config);
    peer.request(0, Request::Publish(publish("a/x", 1)));
    peer.data(stream(of_alias(1), &[object(0, "four")]));
    assert!(peer.close_code().is_some());
}

#[test]
fn streams_wait_briefly_for_their_alias_and_within_limits() {
    let mut peer = Peer::opposite(Role::Server);
    let streams: Vec<_> = (0..70).map(|_| peer.data(stream(of_alias(1), &[object(0, "zero")]))).collect();
    assert_eq!(peer.session.counters().streams_unknown_alias, 70 - 64);
    assert_eq!(peer.of(streams[0]).stopped, Some(StreamResetCode::Cancelled));
    peer.finish(streams[69]);
    peer.request(0, Request::Publish(publish("a/x", 1)));
    let events = peer.events();
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Object { .. })).count(), 64);
    assert!(matches!(events.last(), Some(Event::SubgroupEnded { .. })));

    let unknown = peer.data(stream(of_alias(9), &[object(0, "zero")]));
    peer.wait(Duration::from_millis(250));
    assert_eq!(peer.of(unknown).stopped, Some(StreamResetCode::Cancelled));
    assert_eq!(peer.session.counters().streams_unknown_alias, 70 - 64 + 1);
    peer.session.check_consistency().unwrap();
}

#[test]
fn streams_outlive_publish_done_and_may_even_open_after_it() {
    let (mut peer, request) = receiving();
    let early = peer.data(stream(of_alias(1), &[object(0, "zero")]));
    let done = PublishDone {
        code: roundtable_moqt::PublishDoneCode::TrackEnded,
        stream_count: 2,
        reason: String::new(),
    };
    peer.say(request, &Message::PublishDone(done));
    peer.events();
    peer.finish(early);
    expect!(Event::SubgroupEnded { reset: None, .. } = peer.event());
    peer.data(stream(of_alias(1), &[object(0, "zero")]));
    expect!([Event::SubgroupOpened { request, .. }, Event::Object { .. }] = &peer.events()[..]);
    assert_eq!(*request, id(0));
    assert_eq!(peer.of(early).stopped, None);
}

#[test]
fn streams_of_a_cancelled_subscription_are_stopped() {
    let (mut peer, _) = receiving();
    let early = peer.data(stream(of_alias(1), &[object(0, "zero")]));
    peer.session.cancel(id(0), StreamResetCode::Cancelled).unwrap();
    peer.events();
    let late = peer.data(stream(of_alias(1), &[object(0, "zero")]));
    assert!(peer.events().is_empty());
    for stream in [early, late] {
        assert_eq!(peer.of(stream).stopped, Some(StreamResetCode::Cancelled));
    }
    assert_eq!(peer.session.counters().streams_unwanted, 1);
}

#[test]
fn a_stream_can_be_stopped_alone() {
    let (mut peer, _) = receiving();
    let uni = peer.data(stream(of_alias(1), &[object(0, "zero")]));
    peer.events();
    peer.session.stop_stream(uni, StreamResetCode::TooFarBehind).unwrap();
    peer.say_bytes(uni, stream(of_alias(1), &[]));
    peer.finish(uni);
    assert!(peer.events().is_empty());
    assert_eq!(peer.of(uni).stopped, Some(StreamResetCode::TooFarBehind));
    assert_eq!(peer.session.stop_stream(uni, StreamResetCode::TooFarBehind), Err(CallError::WrongState));
    assert_eq!(peer.session.requests_len(), 1);
}

#[test]
fn what_nobody_takes_is_bounded() {
    let (mut peer, _) = receiving();
    let mut refused = 0;
    for _ in 0..200 {
        let stream_id = peer.session.accept_stream(roundtable_moqt::StreamKind::Uni);
        let mut bytes = stream(of_alias(1), &[]).to_vec();
        // An object of a megabyte that never ends.
        bytes.extend_from_slice(&[0, 0xe0 | 0x10, 0, 0, 0]);
        bytes.resize(1 << 20, 0);
        let now = peer.now;
        peer.session.handle_stream(now, stream_id, Bytes::from(bytes));
        refused = peer.session.counters().streams_over_limit;
    }
    assert!(refused > 100, "{refused}");
    assert!(peer.session.buffered_bytes() <= 33 << 20);
    peer.session.check_consistency().unwrap();
}

#[test]
fn there_are_only_so_many_streams() {
    let mut peer = Peer::opposite(Role::Server);
    for _ in 0..5000 {
        peer.open(roundtable_moqt::StreamKind::Uni);
    }
    assert_eq!(peer.session.counters().streams_over_limit, 5000 - 4096);
}

#[test]
fn a_stream_of_ours_that_is_stopped_is_reset_and_reported() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    let data = peer.session.open_subgroup(id(0), subgroup(1, 0)).unwrap();
    peer.events();
    peer.stop(data, StreamResetCode::TooFarBehind);
    expect!(Event::StreamStopped { stream: stopped, code, .. } = peer.event());
    assert_eq!((stopped, code), (data, StreamResetCode::TooFarBehind));
    assert!(peer.of(data).reset.is_some());
    assert_eq!(peer.session.write_object(data, &object(0, "x")), Err(CallError::WrongState));
    peer.session.open_subgroup(id(0), subgroup(2, 0)).unwrap();
}

#[test]
fn streams_are_opened_with_the_drafts_priorities() {
    let mut peer = Peer::opposite(Role::Server);
    let offer = Publish { track_properties: property(0x0e, 10), ..publish("a/x", 1) };
    let request = peer.session.publish(offer).unwrap();
    let mut priority = |header: SubgroupHeader| {
        let stream = peer.session.open_subgroup(request, header).unwrap();
        peer.hear();
        peer.of(stream).priority.unwrap()
    };
    let default = priority(subgroup(5, 0));
    let urgent = priority(SubgroupHeader { priority: Some(9), ..subgroup(5, 0) });
    let next_group = priority(subgroup(6, 0));
    let next_subgroup = priority(subgroup(5, 1));
    assert!(urgent > default && default > next_subgroup && next_subgroup > next_group);
    let control = peer.of(peer.opened[0]).priority.unwrap();
    let request = peer.of(peer.opened[1]).priority.unwrap();
    assert!(control > request && request > urgent);
    let answers = peer.request(0, Request::TrackStatus(subscribe("a/x")));
    assert!(peer.of(answers).priority.unwrap() > urgent);
}

#[test]
fn objects_are_written_in_order_and_read_back() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.publish(publish("a/x", 1)).unwrap();
    let data = peer.session.open_subgroup(request, subgroup(1, 0)).unwrap();
    peer.session.write_object(data, &object(1, "one")).unwrap();
    assert_eq!(peer.session.write_object(data, &object(1, "again")), Err(CallError::WrongState));
    peer.session.finish_stream(data).unwrap();
    peer.hear();
    let heard = peer.of(data);
    assert!(heard.is_finished);
    assert_eq!(heard.bytes.freeze(), stream(of_alias(1), &[object(1, "one")]));
}
