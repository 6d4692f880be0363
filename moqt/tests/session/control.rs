//! Control streams, SETUP, GOAWAY (draft 3.3, 10.3, 10.4).

use std::time::Duration;

use bytes::Bytes;
use roundtable_moqt::{
    Config, Event, RequestErrorCode, Role, SessionError, StreamKind, StreamResetCode,
    message::{GoAway, Message, Request, Setup, Token},
    session::{CallError, Carrier},
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

fn server(carrier: Carrier) -> Peer {
    Peer::silent(Config::new(Role::Server, carrier))
}

fn goaway(uri: &'static str, request: u64) -> Message {
    Message::GoAway(GoAway { uri: Bytes::from(uri), timeout_ms: 0, request_id: Some(id(request)) })
}

#[test]
fn setup_is_sent_at_once_and_both_make_the_session_ready() {
    let mut peer = server(Carrier::Quic);
    let control = peer.opened[0];
    expect!(Message::Setup(setup) = peer.message(control));
    assert_eq!(setup.max_auth_token_cache_size, Some(16 << 10));
    let path = Setup { path: Some("/room".into()), ..Setup::default() };
    peer.say_setup(path.clone());
    expect!(Event::Ready(received) = peer.event());
    assert_eq!(received, path);
}

#[test]
fn a_peer_without_setup_is_closed_after_a_while() {
    let mut peer = server(Carrier::Quic);
    peer.wait(Duration::from_millis(4999));
    assert_eq!(peer.close_code(), None);
    peer.wait(Duration::from_millis(1));
    assert_eq!(peer.close_code(), Some(SessionError::ControlMessageTimeout));
    expect!(Event::Closed { code: SessionError::ControlMessageTimeout, .. } = peer.event());
}

#[test]
fn path_and_authority_come_from_clients_on_raw_quic_only() {
    let path = || Setup { path: Some("/room".into()), ..Setup::default() };
    let authority = || Setup { authority: Some("host:1".into()), ..Setup::default() };
    let code = |role, carrier, setup| {
        let mut peer = Peer::silent(Config::new(role, carrier));
        peer.say_setup(setup);
        peer.close_code()
    };
    use Carrier::{Quic, WebTransport};
    assert_eq!(code(Role::Server, Quic, path()), None);
    assert_eq!(code(Role::Server, Quic, authority()), None);
    for (role, carrier) in [(Role::Client, Quic), (Role::Client, WebTransport), (Role::Server, WebTransport)]
    {
        assert_eq!(code(role, carrier, path()), Some(SessionError::InvalidPath));
        assert_eq!(code(role, carrier, authority()), Some(SessionError::InvalidAuthority));
    }
    let setup = Setup { authority: Some(":1".into()), ..Setup::default() };
    assert_eq!(code(Role::Server, Quic, setup), Some(SessionError::MalformedAuthority));
}

#[test]
fn a_path_is_a_path() {
    let mut peer = server(Carrier::Quic);
    peer.say_bytes(peer.control, b"\xaf\x00\x00\x06\x01\x04room".to_vec());
    assert_eq!(peer.close_code(), Some(SessionError::MalformedPath));
}

#[test]
fn closing_a_control_stream_in_any_way_is_a_violation() {
    let ways: [fn(&mut Peer); 3] = [
        |peer| peer.finish(peer.control),
        |peer| peer.reset(peer.control, StreamResetCode::Cancelled),
        |peer| peer.stop(peer.opened[0], StreamResetCode::Cancelled),
    ];
    for close in ways {
        let mut peer = Peer::opposite(Role::Server);
        close(&mut peer);
        assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
    }
}

#[test]
fn there_is_one_control_stream_with_one_setup() {
    let mut peer = Peer::opposite(Role::Server);
    peer.say_setup(Setup::default());
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));

    let mut peer = Peer::opposite(Role::Server);
    let second = peer.open(StreamKind::Uni);
    peer.say(second, &Message::Setup(Setup::default()));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn requests_and_data_that_come_before_setup_wait_for_it() {
    let mut peer = server(Carrier::Quic);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    let refused = peer.request(2, Request::Publish(publish("a/y", 1)));
    peer.finish(refused);
    peer.data(vec![0x30, 1, 5]);
    assert!(peer.events().is_empty());
    peer.say_setup(Setup::default());
    let events = peer.events();
    assert!(
        matches!(
            events[..],
            [Event::Ready(_), Event::Subscribe(..), Event::Publish(..), Event::Cancelled { .. }]
        ),
        "{events:?}"
    );
    assert_eq!(peer.of(stream).reset, None);
    assert_eq!(peer.close_code(), None);
}

#[test]
fn what_comes_before_setup_is_bounded() {
    let mut peer = server(Carrier::Quic);
    for _ in 0..40 {
        let mut bytes = vec![0x38, 1, 5, 128];
        bytes.resize(100_000, 0);
        peer.data(bytes);
    }
    assert!(peer.session.buffered_bytes() <= 1 << 20);
    assert!(peer.session.counters().streams_over_limit > 20);
    peer.session.check_consistency().unwrap();
    assert_eq!(peer.close_code(), None);
}

#[test]
fn tokens_in_setup_are_values_and_cannot_be_aliases() {
    let mut peer = server(Carrier::Quic);
    let register = Token::Register { alias: 1, token_type: 0, value: "secret".into() };
    peer.say_setup(Setup { authorization_tokens: vec![register], ..Setup::default() });
    expect!(Event::Ready(setup) = peer.event());
    let value = Token::UseValue { token_type: 0, value: "secret".into() };
    assert_eq!(setup.authorization_tokens, std::slice::from_ref(&value));
    let mut with_alias = subscribe("a/x");
    with_alias.parameters.authorization_tokens = vec![Token::UseAlias { alias: 1 }];
    peer.request(0, Request::Subscribe(with_alias));
    expect!(Event::Subscribe(_, subscribe) = peer.event());
    assert_eq!(subscribe.parameters.authorization_tokens, [value]);

    let mut peer = server(Carrier::Quic);
    // AUTHORIZATION TOKEN of two bytes: USE_ALIAS, 1.
    peer.say_bytes(peer.control, vec![0xaf, 0x00, 0x00, 0x04, 0x03, 0x02, 0x02, 0x01]);
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn unknown_stream_types_close_the_session_and_padding_is_discarded() {
    let mut peer = Peer::opposite(Role::Server);
    let padding = peer.data(vec![0xf0, 0x13, 0x2b, 0x3e, 0x28]);
    for _ in 0..1000 {
        peer.say_bytes(padding, vec![0; 10_000]);
    }
    assert_eq!(peer.session.buffered_bytes(), 0);
    peer.finish(padding);
    assert_eq!(peer.datagram(vec![0xf0, 0x13, 0x2b, 0x3e, 0x29, 0, 0]).map(|_| ()), None);
    assert_eq!(peer.session.counters().padding_datagrams, 1);
    assert_eq!(peer.close_code(), None);
    peer.data(vec![0x20]);
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn goaway_is_told_and_ends_new_requests_of_ours() {
    let mut peer = Peer::opposite(Role::Client);
    peer.say(peer.control, &goaway("moqt://other", 0));
    expect!(Event::GoAway(None, goaway) = peer.event());
    assert_eq!(goaway.uri, "moqt://other");
    assert_eq!(peer.session.subscribe(subscribe("a/x")), Err(CallError::GoingAway));
    assert!(peer.session.is_going_away());
}

#[test]
fn goaway_comes_once_with_the_receivers_parity_and_no_uri_from_clients() {
    let code = |role, messages: &[Message]| {
        let mut peer = Peer::opposite(role);
        for message in messages {
            peer.say(peer.control, message);
        }
        peer.close_code()
    };
    assert_eq!(code(Role::Server, &[goaway("", 1)]), None);
    assert_eq!(code(Role::Server, &[goaway("", 1), goaway("", 1)]), Some(SessionError::ProtocolViolation));
    assert_eq!(code(Role::Server, &[goaway("moqt://x", 1)]), Some(SessionError::ProtocolViolation));
    assert_eq!(code(Role::Server, &[goaway("", 0)]), Some(SessionError::InvalidRequestId));
    assert_eq!(code(Role::Client, &[goaway("", 1)]), Some(SessionError::InvalidRequestId));
}

#[test]
fn our_goaway_names_the_first_request_not_seen_and_refuses_what_comes_after() {
    let mut peer = Peer::opposite(Role::Server);
    peer.request(4, Request::Subscribe(subscribe("a/x")));
    let now = peer.now;
    let control = peer.opened[0];
    peer.messages(control);
    peer.session.go_away(now, "moqt://other", Duration::from_secs(1)).unwrap();
    peer.hear();
    expect!(Message::GoAway(goaway) = peer.message(control));
    assert_eq!((goaway.request_id, goaway.timeout_ms), (Some(id(6)), 1000));
    assert_eq!(peer.session.go_away(now, "", Duration::ZERO), Err(CallError::WrongState));
    let late = peer.request(6, Request::Subscribe(subscribe("a/y")));
    expect!(Message::RequestError(error) = peer.message(late));
    assert_eq!(error.code, RequestErrorCode::GoingAway);
    assert!(peer.of(late).is_finished);
    assert_eq!(peer.close_code(), None);
    peer.wait(Duration::from_secs(1));
    assert_eq!(peer.close_code(), Some(SessionError::GoAwayTimeout));
}

#[test]
fn a_session_without_requests_leaves_without_an_error() {
    let mut peer = Peer::opposite(Role::Client);
    let now = peer.now;
    assert_eq!(peer.session.go_away(now, "moqt://x", Duration::ZERO), Err(CallError::TooLarge));
    peer.session.go_away(now, "", Duration::from_secs(1)).unwrap();
    peer.wait(Duration::from_secs(1));
    assert_eq!(peer.close_code(), Some(SessionError::NoError));
}

#[test]
fn one_request_can_be_asked_to_move() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe(subscribe("a/x")).unwrap();
    let stream = peer.latest();
    let moved = Message::GoAway(GoAway { uri: Bytes::new(), timeout_ms: 5, request_id: None });
    peer.say(stream, &moved);
    expect!(Event::GoAway(Some(named), _) = peer.event());
    assert_eq!(named, request);
    peer.session.subscribe(subscribe("a/y")).unwrap();
    peer.say(stream, &moved);
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));

    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::Subscribe(subscribe("a/x")));
    peer.events();
    peer.session.accept_subscribe(id(0), subscribe_ok(1)).unwrap();
    let now = peer.now;
    peer.session.go_away_request(now, id(0), "", Duration::from_millis(50)).unwrap();
    peer.wait(Duration::from_millis(50));
    expect!(Event::Cancelled { code: StreamResetCode::GoingAway, .. } = peer.event());
    assert_eq!(peer.of(stream).reset, Some(StreamResetCode::GoingAway));
}

#[test]
fn a_lost_transport_is_the_end() {
    let mut peer = Peer::opposite(Role::Server);
    peer.session.subscribe(subscribe("a/x")).unwrap();
    peer.session.handle_closed(Some(SessionError::Unauthorized), "no");
    assert!(peer.session.poll_transmit().is_none());
    expect!(Event::Closed { code: SessionError::Unauthorized, .. } = peer.event());
    assert_eq!(peer.session.subscribe(subscribe("a/y")), Err(CallError::Closed));
    peer.session.close(SessionError::NoError, "");
    assert!(peer.session.poll_event().is_none());
}
