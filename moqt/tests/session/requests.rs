//! Requests in general: ids, streams, answers, limits (draft 3.3, 10.1).

use std::time::Duration;

use bytes::Bytes;
use roundtable_moqt::{
    Config, Event, FullTrackName, Parameters, RequestErrorCode, Role, SessionError, StreamKind,
    StreamResetCode,
    message::{Message, Redirect, Request, RequestError, RequestId, RequestOk, Token},
    session::{CallError, Carrier},
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

fn violated(act: impl FnOnce(&mut Peer)) -> Option<SessionError> {
    let mut peer = Peer::opposite(Role::Server);
    act(&mut peer);
    peer.close_code()
}

#[test]
fn a_request_stream_begins_with_a_request() {
    for message in [Message::RequestOk(ok()), Message::RequestUpdate(id(0), Parameters::default())] {
        let code = violated(|peer| {
            let stream = peer.open(StreamKind::Bi);
            peer.say(stream, &message);
        });
        assert_eq!(code, Some(SessionError::ProtocolViolation));
    }
}

#[test]
fn request_ids_have_the_peers_parity_and_are_used_once() {
    assert_eq!(
        violated(|peer| {
            peer.request(1, Request::TrackStatus(subscribe("a/x")));
        }),
        Some(SessionError::InvalidRequestId)
    );
    let code = violated(|peer| {
        peer.request(0, Request::TrackStatus(subscribe("a/x")));
        peer.request(4, Request::TrackStatus(subscribe("a/x")));
        peer.request(2, Request::TrackStatus(subscribe("a/x")));
        assert_eq!(peer.close_code(), None);
        peer.request(4, Request::TrackStatus(subscribe("a/x")));
    });
    assert_eq!(code, Some(SessionError::InvalidRequestId));
}

#[test]
fn ours_count_up_by_two() {
    for (role, first) in [(Role::Client, 0), (Role::Server, 1)] {
        let mut peer = Peer::opposite(role);
        let ids = [
            peer.session.subscribe(subscribe("a/x")).unwrap(),
            peer.session.publish(publish("a/x", 1)).unwrap(),
            peer.session.update(id(first), forward(false)).unwrap(),
            peer.session.track_status(subscribe("a/x")).unwrap(),
        ];
        assert_eq!(ids, [id(first), id(first + 2), id(first + 4), id(first + 6)]);
    }
}

#[test]
fn a_request_is_answered_once_and_in_its_own_way() {
    let mut peer = Peer::opposite(Role::Server);
    let requests = [
        Request::Subscribe(subscribe("a/x")),
        Request::TrackStatus(subscribe("a/x")),
        Request::PublishNamespace(under("a")),
    ];
    let streams: Vec<_> =
        requests.into_iter().enumerate().map(|(n, request)| peer.request(2 * n as u64, request)).collect();
    peer.events();
    assert_eq!(peer.session.accept(id(0), ok()), Err(CallError::WrongState));
    assert_eq!(peer.session.accept_subscribe(id(2), subscribe_ok(1)), Err(CallError::WrongState));
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    assert_eq!(peer.session.accept_subscribe(id(0), subscribe_ok(1)), Err(CallError::WrongState));
    assert_eq!(peer.session.reject(id(0), error(RequestErrorCode::Unauthorized)), Err(CallError::WrongState));
    peer.session.accept(id(2), RequestOk { track_properties: property(0x30, 1), ..ok() }).unwrap();
    assert_eq!(
        peer.session.accept(id(4), RequestOk { track_properties: property(0x30, 1), ..ok() }),
        Err(CallError::TooLarge)
    );
    peer.session.accept(id(4), ok()).unwrap();
    peer.hear();
    expect!(Message::SubscribeOk(_) = peer.message(streams[0]));
    expect!(Message::RequestOk(_) = peer.message(streams[1]));
    expect!(Message::RequestOk(_) = peer.message(streams[2]));
    let finished = streams.iter().map(|stream| peer.of(*stream).is_finished).collect::<Vec<_>>();
    assert_eq!(finished, [false, true, false]);
}

#[test]
fn wrong_and_second_answers_of_the_peer_are_violations() {
    type Ask = fn(&mut Peer) -> Result<RequestId, CallError>;
    let wrong: [(Ask, Message); 5] = [
        (|peer| peer.session.subscribe(subscribe("a/x")), Message::RequestOk(ok())),
        (|peer| peer.session.publish(publish("a/x", 1)), Message::SubscribeOk(subscribe_ok(1))),
        (|peer| peer.session.subscribe_namespace(under("a")), Message::Namespace(namespace("b"))),
        (|peer| peer.session.subscribe_tracks(under("a")), Message::PublishBlocked(track("b/x"))),
        (
            |peer| peer.session.publish_namespace(under("a")),
            Message::RequestOk(RequestOk { track_properties: property(0x30, 1), ..ok() }),
        ),
    ];
    for (ask, answer) in wrong {
        let code = violated(|peer| {
            ask(peer).unwrap();
            let stream = peer.latest();
            peer.say(stream, &answer);
        });
        assert_eq!(code, Some(SessionError::ProtocolViolation), "{answer:?}");
    }
    for second in [Message::RequestOk(ok()), Message::RequestError(error(RequestErrorCode::Timeout))] {
        let code = violated(|peer| {
            peer.session.publish_namespace(under("a")).unwrap();
            let stream = peer.latest();
            peer.say(stream, &Message::RequestOk(ok()));
            assert_eq!(peer.close_code(), None);
            peer.say(stream, &second);
        });
        assert_eq!(code, Some(SessionError::ProtocolViolation));
    }
}

#[test]
fn a_refusal_ends_a_request_on_both_sides() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    let refusal = error(RequestErrorCode::DoesNotExist);
    peer.say(stream, &Message::RequestError(refusal.clone()));
    expect!(Event::Refused(refused, why) = peer.event());
    assert_eq!((refused, why), (request, refusal));
    assert!(peer.of(stream).is_finished);
    assert_eq!(peer.session.requests_len(), 0);
    assert_eq!(peer.session.cancel(request, StreamResetCode::Cancelled), Err(CallError::WrongState));
    peer.session.subscribe(subscribe("a/x")).unwrap();
}

#[test]
fn a_redirect_makes_sense_or_closes_the_session() {
    let redirect = |uri: &'static str, path| {
        Message::RequestError(RequestError {
            redirect: Some(Redirect { uri: Bytes::from(uri), track: path }),
            ..error(RequestErrorCode::Redirect)
        })
    };
    let nowhere = || FullTrackName::new(namespace(""), "").unwrap();
    let code = |role, answer| {
        let mut peer = Peer::opposite(role);
        peer.session.publish_namespace(under("a")).unwrap();
        let stream = peer.latest();
        peer.say(stream, &answer);
        peer.close_code()
    };
    assert_eq!(code(Role::Client, redirect("moqt://x", nowhere())), None);
    assert_eq!(code(Role::Server, redirect("moqt://x", nowhere())), Some(SessionError::ProtocolViolation));
    assert_eq!(code(Role::Client, redirect("", track("b/name"))), Some(SessionError::ProtocolViolation));
}

#[test]
fn too_many_requests_are_refused_and_counted() {
    let config = Config { peer_requests_max: 3, ..Config::new(Role::Server, Carrier::Quic) };
    let mut peer = Peer::opposite_config(config);
    for number in 0..3 {
        peer.request(number * 2, Request::TrackStatus(subscribe("a/x")));
    }
    let over = peer.request(6, Request::TrackStatus(subscribe("a/x")));
    expect!(Message::RequestError(error) = peer.message(over));
    assert_eq!(error.code, RequestErrorCode::ExcessiveLoad);
    assert!(error.retry_after_ms.is_some());
    assert_eq!(peer.session.counters().requests_over_limit, 1);
    peer.session.accept(id(0), ok()).unwrap();
    peer.events();
    peer.request(8, Request::TrackStatus(subscribe("a/x")));
    expect!(Event::TrackStatus(..) = peer.event());
}

#[test]
fn streams_that_linger_are_bounded() {
    let config = Config { peer_requests_max: 0, ..Config::new(Role::Server, Carrier::Quic) };
    let mut peer = Peer::opposite_config(config);
    let mut last = None;
    for number in 0..1000 {
        last = Some(peer.request(number * 2, Request::TrackStatus(subscribe("a/x"))));
    }
    assert_eq!(peer.of(last.unwrap()).reset, Some(StreamResetCode::ExcessiveLoad));
    assert_eq!(peer.session.counters().requests_over_limit, 256);
    peer.session.check_consistency().unwrap();
}

#[test]
fn reserved_namespaces_do_not_exist_and_are_not_passed_on() {
    for path in [".session/x", "./x", ".session/a/x"] {
        let mut peer = Peer::opposite(Role::Server);
        let prefix = path.rsplit_once('/').unwrap().0;
        let requests = [
            Request::Subscribe(subscribe(path)),
            Request::Publish(publish(path, 1)),
            Request::TrackStatus(subscribe(path)),
            Request::PublishNamespace(under(prefix)),
            Request::SubscribeNamespace(under(prefix)),
            Request::SubscribeTracks(under(prefix)),
        ];
        for (number, request) in requests.into_iter().enumerate() {
            let stream = peer.request(number as u64 * 2, request);
            expect!(Message::RequestError(error) = peer.message(stream));
            assert_eq!(error.code, RequestErrorCode::DoesNotExist);
        }
        assert!(peer.events().is_empty());
        assert_eq!(peer.session.subscribe(subscribe(path)), Err(CallError::Reserved));
    }
    let mut peer = Peer::opposite(Role::Server);
    peer.request(0, Request::Subscribe(subscribe(".other/x")));
    expect!(Event::Subscribe(..) = peer.event());
}

#[test]
fn a_token_is_registered_even_when_its_request_fails() {
    let mut peer = Peer::opposite(Role::Server);
    let with = |path, token| {
        let mut subscribe = subscribe(path);
        subscribe.parameters.authorization_tokens = vec![token];
        Request::Subscribe(subscribe)
    };
    peer.request(0, with(".session/x", Token::Register { alias: 5, token_type: 1, value: "jwt".into() }));
    peer.request(2, with("a/x", Token::UseAlias { alias: 5 }));
    expect!(Event::Subscribe(_, subscribe) = peer.event());
    let value = Token::UseValue { token_type: 1, value: "jwt".into() };
    assert_eq!(subscribe.parameters.authorization_tokens, [value]);
    peer.request(4, with("a/y", Token::Delete { alias: 5 }));
    peer.request(6, with("a/z", Token::UseAlias { alias: 5 }));
    assert_eq!(peer.close_code(), Some(SessionError::UnknownAuthTokenAlias));
}

#[test]
fn a_cancelled_request_is_reported_once_and_its_stream_closed() {
    let cancels: [fn(&mut Peer, roundtable_moqt::StreamId); 2] = [
        |peer, stream| peer.reset(stream, StreamResetCode::Cancelled),
        |peer, stream| peer.stop(stream, StreamResetCode::Cancelled),
    ];
    for cancel in cancels {
        for request in [Request::Subscribe(subscribe("a/x")), Request::PublishNamespace(under("a"))] {
            let mut peer = Peer::opposite(Role::Server);
            let stream = peer.request(0, request);
            peer.events();
            cancel(&mut peer, stream);
            expect!(Event::Cancelled { code: StreamResetCode::Cancelled, .. } = peer.event());
            assert_eq!(peer.of(stream).reset, Some(StreamResetCode::Cancelled));
            assert_eq!(peer.session.requests_len(), 0);
            cancel(&mut peer, stream);
            assert!(peer.events().is_empty());
        }
    }
}

#[test]
fn cancelling_is_silent_and_resets_both_halves() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.session.cancel(request, StreamResetCode::GoingAway).unwrap();
    peer.hear();
    let heard = peer.of(stream);
    assert_eq!(
        (heard.reset, heard.stopped),
        (Some(StreamResetCode::GoingAway), Some(StreamResetCode::GoingAway))
    );
    peer.say(stream, &Message::SubscribeOk(subscribe_ok(1)));
    assert!(peer.events().is_empty());
    assert_eq!(peer.close_code(), None);
}

#[test]
fn an_answer_may_follow_a_stop_of_its_request() {
    let mut peer = Peer::opposite(Role::Server);
    peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.stop(stream, StreamResetCode::Cancelled);
    peer.say(stream, &Message::RequestError(error(RequestErrorCode::Unauthorized)));
    expect!(Event::Refused(_, RequestError { code: RequestErrorCode::Unauthorized, .. }) = peer.event());

    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    peer.stop(stream, StreamResetCode::Cancelled);
    peer.wait(Duration::from_secs(1));
    expect!(Event::Cancelled { request: cancelled, .. } = peer.event());
    assert_eq!(cancelled, request);
    assert_eq!(peer.session.poll_timeout(), None);
}

#[test]
fn a_fin_ends_what_lives_by_its_stream_and_nothing_else() {
    let mut peer = Peer::opposite(Role::Server);
    let ends = [
        (Request::Subscribe(subscribe("a/x")), false),
        (Request::TrackStatus(subscribe("a/x")), false),
        (Request::Publish(publish("a/x", 1)), true),
        (Request::PublishNamespace(under("a")), true),
        (Request::SubscribeNamespace(under("a")), true),
        (Request::SubscribeTracks(under("a")), true),
    ];
    for (number, (request, is_end)) in ends.into_iter().enumerate() {
        let stream = peer.request(number as u64 * 2, request);
        peer.events();
        peer.finish(stream);
        assert_eq!(matches!(peer.events()[..], [Event::Cancelled { .. }]), is_end, "{number}");
    }
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
}

#[test]
fn half_a_message_is_a_violation_when_the_stream_ends() {
    let code = violated(|peer| {
        let stream = peer.open(StreamKind::Bi);
        peer.say_bytes(stream, vec![0x03, 0x00, 0x20, 0x00]);
        peer.finish(stream);
    });
    assert_eq!(code, Some(SessionError::ProtocolViolation));
    let code = violated(|peer| {
        let stream = peer.open(StreamKind::Bi);
        peer.say_bytes(stream, vec![0x03, 0x00, 0x20, 0x00]);
        peer.reset(stream, StreamResetCode::Cancelled);
        let empty = peer.open(StreamKind::Bi);
        peer.finish(empty);
    });
    assert_eq!(code, None);
}

#[test]
fn a_stream_that_the_peer_does_not_read_is_given_up() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::SubscribeNamespace(under("a")));
    peer.events();
    peer.session.accept(id(0), ok()).unwrap();
    let now = peer.now;
    peer.session.handle_stalled(now, stream);
    expect!(Event::Cancelled { code: StreamResetCode::ExcessiveLoad, .. } = peer.event());
    assert_eq!(peer.of(stream).reset, Some(StreamResetCode::ExcessiveLoad));
}
