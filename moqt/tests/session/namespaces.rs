//! SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS and what they bring (draft 6, 10.15 to 10.20).

use roundtable_moqt::{
    Event, Parameters, RequestErrorCode, Role, SessionError, StreamId, StreamResetCode,
    message::{Message, Request, RequestId},
    session::CallError,
};

use crate::{
    expect,
    world::{events::*, peer::Peer},
};

fn prefix(name: &str) -> Parameters {
    Parameters { namespace_prefix: Some(namespace(name)), ..Parameters::default() }
}

fn refusal(peer: &mut Peer, stream: StreamId) -> Option<RequestErrorCode> {
    peer.messages(stream).into_iter().find_map(|message| match message {
        Message::RequestError(error) => Some(error.code),
        _ => None,
    })
}

/// A session that has subscribed to a prefix.
fn listening(name: &str) -> (Peer, RequestId, StreamId) {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe_namespace(under(name)).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::RequestOk(ok()));
    peer.events();
    (peer, request, stream)
}

#[test]
fn prefixes_of_one_kind_do_not_overlap() {
    let mut peer = Peer::opposite(Role::Server);
    let cases = [("a/b", false), ("a", true), ("a/b/c", true), ("", true), ("a/bc", false), ("b", false)];
    for (number, (name, is_overlap)) in cases.into_iter().enumerate() {
        let number = number as u64 * 4;
        let names = peer.request(number, Request::SubscribeNamespace(under(name)));
        let tracks = peer.request(number + 2, Request::SubscribeTracks(under(name)));
        let expected = is_overlap.then_some(RequestErrorCode::PrefixOverlap);
        assert_eq!(refusal(&mut peer, names), expected, "{name}");
        assert_eq!(refusal(&mut peer, tracks), expected, "{name}");
    }
    assert_eq!(peer.events().len(), 6);
}

#[test]
fn a_prefix_may_move_where_no_other_is() {
    let mut peer = Peer::opposite(Role::Server);
    let first = peer.request(0, Request::SubscribeNamespace(under("a")));
    peer.request(2, Request::SubscribeNamespace(under("b")));
    peer.session.accept(id(0), ok()).unwrap();
    peer.session.accept(id(2), ok()).unwrap();
    peer.say(first, &Message::RequestUpdate(id(4), prefix("a/b")));
    peer.session.accept_update(id(4), ok()).unwrap();
    peer.events();
    peer.request(6, Request::SubscribeNamespace(under("a/c")));
    expect!(Event::SubscribeNamespace(..) = peer.event());
    peer.say(first, &Message::RequestUpdate(id(8), prefix("b/c")));
    assert_eq!(refusal(&mut peer, first), Some(RequestErrorCode::PrefixOverlap));
    expect!(Event::Cancelled { .. } = peer.event());
    assert!(peer.of(first).is_finished, "a failed update closes the stream");
}

#[test]
fn namespaces_come_whole_and_go_once() {
    let (mut peer, request, stream) = listening("a");
    peer.say(stream, &Message::Namespace(namespace("b")));
    peer.say(stream, &Message::Namespace(namespace("b")));
    peer.say(stream, &Message::Namespace(namespace("")));
    let events = peer.events();
    expect!([Event::Namespace(_, first), Event::Namespace(_, second)] = &events[..]);
    assert_eq!((first, second), (&namespace("a/b"), &namespace("a")));
    peer.say(stream, &Message::NamespaceDone(namespace("b")));
    expect!(Event::NamespaceDone(owner, gone) = peer.event());
    assert_eq!((owner, gone), (request, namespace("a/b")));
    peer.say(stream, &Message::NamespaceDone(namespace("b")));
    assert_eq!(peer.close_code(), Some(SessionError::ProtocolViolation));
}

#[test]
fn the_end_of_the_stream_is_the_end_of_its_namespaces() {
    let ends: [fn(&mut Peer, StreamId); 2] =
        [Peer::finish, |peer, stream| peer.reset(stream, StreamResetCode::ExcessiveLoad)];
    for end in ends {
        let (mut peer, _, stream) = listening("a");
        peer.say(stream, &Message::Namespace(namespace("b")));
        peer.events();
        end(&mut peer, stream);
        expect!([Event::NamespaceDone(..), Event::Cancelled { .. }] = &peer.events()[..]);
    }
}

#[test]
fn a_new_prefix_drops_the_namespaces_outside() {
    let (mut peer, request, stream) = listening("a");
    for name in ["b", "b/c", "d"] {
        peer.say(stream, &Message::Namespace(namespace(name)));
    }
    peer.session.update(request, prefix("a/b")).unwrap();
    peer.events();
    peer.say(stream, &Message::RequestOk(ok()));
    expect!([Event::Accepted(..), Event::NamespaceDone(_, gone)] = &peer.events()[..]);
    assert_eq!(*gone, namespace("a/d"));
    peer.say(stream, &Message::NamespaceDone(namespace("c")));
    expect!(Event::NamespaceDone(_, gone) = peer.event());
    assert_eq!(gone, namespace("a/b/c"));
}

#[test]
fn a_peer_cannot_fill_our_memory_with_namespaces() {
    let (mut peer, request, stream) = listening("");
    for number in 0..20_000 {
        peer.say(stream, &Message::Namespace(namespace(&format!("n{number}"))));
    }
    let events = peer.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Cancelled { request: gone, .. } if *gone == request))
    );
    assert_eq!(peer.close_code(), None);
    assert_eq!(peer.of(stream).reset, Some(StreamResetCode::ExcessiveLoad));
}

#[test]
fn ours_are_sent_after_the_prefix_and_once() {
    let mut peer = Peer::opposite(Role::Server);
    let stream = peer.request(0, Request::SubscribeNamespace(under("a")));
    assert_eq!(peer.session.namespace(id(0), &namespace("a/b")), Err(CallError::WrongState));
    peer.session.accept(id(0), ok()).unwrap();
    peer.session.namespace(id(0), &namespace("a/b")).unwrap();
    peer.session.namespace(id(0), &namespace("a/b")).unwrap();
    assert_eq!(peer.session.namespace(id(0), &namespace("b")), Err(CallError::WrongState));
    peer.session.namespace_done(id(0), &namespace("a/b")).unwrap();
    assert_eq!(peer.session.namespace_done(id(0), &namespace("a/b")), Err(CallError::WrongState));
    peer.hear();
    let messages = peer.messages(stream);
    expect!([Message::RequestOk(_), Message::Namespace(new), Message::NamespaceDone(gone)] = &messages[..]);
    assert_eq!((new, gone), (&namespace("b"), &namespace("b")));
}

#[test]
fn blocked_tracks_are_named_in_full() {
    let mut peer = Peer::opposite(Role::Server);
    let request = peer.session.subscribe_tracks(under("a")).unwrap();
    let stream = peer.latest();
    peer.say(stream, &Message::RequestOk(ok()));
    peer.events();
    peer.say(stream, &Message::PublishBlocked(track("b/x")));
    expect!(Event::PublishBlocked(owner, blocked) = peer.event());
    assert_eq!((owner, blocked), (request, track("a/b/x")));

    let stream = peer.request(0, Request::SubscribeTracks(under("a")));
    peer.session.accept(id(0), ok()).unwrap();
    peer.session.publish_blocked(id(0), &track("a/c/y")).unwrap();
    assert_eq!(peer.session.publish_blocked(id(0), &track("b/y")), Err(CallError::WrongState));
    peer.hear();
    expect!([Message::RequestOk(_), Message::PublishBlocked(blocked)] = &peer.messages(stream)[..]);
    assert_eq!(*blocked, track("c/y"));
}
