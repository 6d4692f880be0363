//! A peer and an application that do anything in any order, told by a string of bytes: for fuzzing and for
//! property tests alike. [`run`] is a peer without manners, [`run_politely`] one that follows the draft.

mod polite;
mod source;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::BytesMut;
use roundtable_moqt::{
    Event, Object, ObjectDatagram, PublishDoneCode, RequestErrorCode, Role, SessionError, StreamId,
    StreamKind, StreamResetCode, codec,
    fetch_stream::{self, FetchItem},
    message::{GroupOrder, Message, Request, RequestId, Setup, TrackAlias},
    session::{Carrier, Config},
    subgroup,
};

use self::{polite::Polite, source::Source};
use super::{events, peer::Peer};

/// Runs a session through anything and checks after every step that it is whole, and that what it holds is bounded.
pub fn run(bytes: &[u8]) {
    let mut source = Source(bytes);
    let mut peer = Peer::silent(config(&mut source));
    if source.below(8) > 0 {
        peer.say_setup(Setup::default());
    }
    let mut streams = vec![peer.control];
    let mut next_id = first_id(&peer);
    while !source.0.is_empty() && peer.closed.is_none() {
        step(&mut source, &mut peer, &mut streams, &mut next_id);
        check(&mut peer);
    }
    if let Some((code, _)) = &peer.closed {
        assert_ne!(*code, SessionError::InternalError, "{:?}", peer.closed);
        assert!(peer.session.is_closed());
        assert_eq!(peer.session.poll_timeout(), None);
    }
}

/// Runs a session with a peer that follows the draft: it does not end but by its own GOAWAY. Returns the events
/// by name and how often they came.
pub fn run_politely(bytes: &[u8]) -> BTreeMap<String, usize> {
    let mut source = Source(bytes);
    let mut peer = Peer::opposite_config(config(&mut source));
    let mut polite = Polite::default();
    let mut next_id = first_id(&peer);
    let mut updates = VecDeque::new();
    let mut told = BTreeMap::new();
    while !source.0.is_empty() && peer.closed.is_none() {
        match source.below(16) {
            0..=7 => polite.step(&mut source, &mut peer, &mut next_id),
            8 => peer.wait(Duration::from_millis(u64::from(source.byte()) * 4)),
            9..=11 => respond(&mut source, &mut peer),
            12 => {
                if let Some(update) = updates.pop_front() {
                    let _ = match source.below(8) {
                        0 => {
                            peer.session.reject_update(update, events::error(RequestErrorCode::Unauthorized))
                        }
                        _ => peer.session.accept_update(update, events::ok()),
                    };
                }
            }
            _ => application(&mut source, &mut peer),
        }
        peer.hear();
        polite.listen(&mut peer);
        for event in &peer.events {
            let event = format!("{event:?}");
            let name = event.split(|sign: char| !sign.is_alphanumeric()).next().unwrap_or_default();
            *told.entry(name.to_owned()).or_default() += 1;
        }
        updates.extend(peer.events.iter().filter_map(|event| match event {
            Event::Update { update, .. } => Some(*update),
            _ => None,
        }));
        check(&mut peer);
    }
    if let Some((code, reason)) = &peer.closed {
        assert!(matches!(code, SessionError::GoAwayTimeout | SessionError::NoError), "{code:?}: {reason}");
    }
    told
}

fn config(source: &mut Source<'_>) -> Config {
    let role = if source.chance() { Role::Client } else { Role::Server };
    Config {
        peer_requests_max: 8,
        object_bytes_max: 4096,
        unknown_alias_datagrams_max: 4,
        auth_token_cache_bytes_max: 64,
        ..Config::new(role, if source.chance() { Carrier::Quic } else { Carrier::WebTransport })
    }
}

/// The peer's first request id: not of the parity of the session's.
fn first_id(peer: &Peer) -> u64 {
    if peer.role == Role::Client { 1 } else { 0 }
}

fn check(peer: &mut Peer) {
    peer.session.check_consistency().unwrap();
    assert!(peer.session.buffered_bytes() <= (1 << 20) + (33 << 20));
    peer.events.clear();
}

/// The application answers a request of the peer, in the right way mostly.
fn respond(source: &mut Source<'_>, peer: &mut Peer) {
    let parity = first_id(peer);
    let open: Vec<_> = peer.session.requests().filter(|request| request.0 % 2 == parity).collect();
    let Some(&request) = open.get(usize::from(source.byte()) % open.len().max(1)) else { return };
    let session = &mut peer.session;
    let answer = roundtable_moqt::message::SubscribeOk {
        parameters: source.fitting(codec::Scope::SubscribeOk),
        ..events::subscribe_ok(request.0)
    };
    let _ = session.accept_subscribe(request, answer);
    let _ = session.accept_fetch(request, source.fetch_ok());
    let _ = session.accept(request, source.request_ok());
    let _ = session.open_subgroup(request, events::subgroup(1, 0));
    let _ = session.open_fetch(request, GroupOrder::Ascending);
    let _ = session.namespace(request, &source.namespace());
}

fn step(source: &mut Source<'_>, peer: &mut Peer, streams: &mut Vec<StreamId>, next_id: &mut u64) {
    // Streams of the peer and of the session alike.
    let pick = |source: &mut Source<'_>, peer: &Peer, streams: &[StreamId]| {
        let all = streams.len() + peer.opened.len();
        let index = usize::from(source.byte()) % all;
        streams.get(index).copied().unwrap_or_else(|| peer.opened[index - streams.len()])
    };
    let code = StreamResetCode::Cancelled;
    match source.below(20) {
        0 => streams.push(peer.open(StreamKind::Uni)),
        1 => streams.push(peer.open(StreamKind::Bi)),
        2 => {
            let stream = pick(source, peer, streams);
            peer.say_bytes(stream, source.take());
        }
        3..=5 => {
            let stream = pick(source, peer, streams);
            let message = source.message(*next_id);
            if matches!(message, Message::RequestUpdate(..)) {
                *next_id += 2;
            }
            if let Some(bytes) = codec::encode(&message) {
                peer.say_bytes(stream, bytes);
            }
        }
        6 | 7 => {
            let stream = peer.open(StreamKind::Bi);
            streams.push(stream);
            let message = Message::Request(RequestId(*next_id), source.request());
            *next_id += 2;
            if let Some(bytes) = codec::encode(&message) {
                peer.say_bytes(stream, bytes);
            }
        }
        8 => {
            let stream = pick(source, peer, streams);
            match source.below(8) {
                0..=2 => peer.finish(stream),
                3..=5 => peer.reset(stream, code),
                6 => peer.stop(stream, code),
                _ => {
                    let now = peer.now;
                    // A control stream that stalls ends the session by its own right.
                    if peer.opened.first().is_none_or(|control| *control != stream) {
                        peer.session.handle_stalled(now, stream);
                    }
                    peer.hear();
                }
            }
        }
        9 => {
            peer.datagram(source.take());
        }
        10 => {
            let bytes = ObjectDatagram::encode(b"", TrackAlias(source.number()), &source.object());
            peer.datagram(bytes);
        }
        11 => {
            let mut bytes = BytesMut::new();
            let header = subgroup::SubgroupHeader {
                alias: TrackAlias(source.number()),
                subgroup: source.chance().then(|| source.number()),
                ..events::subgroup(source.number(), 0)
            };
            let mut encoder = subgroup::Encoder::new(header, &mut bytes);
            let object = Object { forwarding: roundtable_moqt::Forwarding::Subgroup(0), ..source.object() };
            if let Some(payload) = encoder.object(&object, &mut bytes) {
                bytes.extend_from_slice(&payload);
            }
            streams.push(peer.data(bytes));
        }
        12 => {
            let mut bytes = BytesMut::new();
            let request = RequestId(source.number());
            let mut encoder = fetch_stream::Encoder::new(request, GroupOrder::Ascending, &mut bytes);
            if let Some(payload) = encoder.item(&FetchItem::Object(source.object()), &mut bytes) {
                bytes.extend_from_slice(&payload);
            }
            streams.push(peer.data(bytes));
        }
        13 => peer.wait(Duration::from_millis(u64::from(source.byte()) * 4)),
        14 | 15 => respond(source, peer),
        _ => application(source, peer),
    }
    peer.hear();
}

/// Any call, allowed or not. Errors are answers too.
fn application(source: &mut Source<'_>, peer: &mut Peer) {
    let now = peer.now;
    let request = RequestId(source.number());
    let stream = StreamId(u64::from(source.byte()));
    let session = &mut peer.session;
    let code = StreamResetCode::Cancelled;
    match source.below(22) {
        0 | 1 => {
            let _ = match source.request() {
                Request::Subscribe(request) => session.subscribe(request),
                Request::Publish(request) => session.publish(request),
                Request::Fetch(request) => session.fetch(request),
                Request::TrackStatus(request) => session.track_status(request),
                Request::PublishNamespace(request) => session.publish_namespace(request),
                Request::SubscribeNamespace(request) => session.subscribe_namespace(request),
                Request::SubscribeTracks(request) => session.subscribe_tracks(request),
            };
        }
        2 | 3 => drop(session.update(request, source.parameters())),
        4 => drop(session.cancel(request, code)),
        5 | 6 => {
            let answer = roundtable_moqt::message::SubscribeOk {
                parameters: source.fitting(codec::Scope::SubscribeOk),
                track_properties: source.properties(),
                ..events::subscribe_ok(source.number())
            };
            let _ = session.accept_subscribe(request, answer);
        }
        7 => drop(session.accept_fetch(request, source.fetch_ok())),
        8 | 9 => drop(session.accept(request, source.request_ok())),
        10 => drop(session.reject(request, events::error(RequestErrorCode::Uninterested))),
        11 => drop(session.accept_update(request, source.request_ok())),
        12 => drop(session.reject_update(request, events::error(RequestErrorCode::Unauthorized))),
        13 => drop(session.namespace(request, &source.namespace())),
        14 => drop(session.namespace_done(request, &source.namespace())),
        15 => drop(session.publish_blocked(request, &source.track())),
        16 => {
            let done =
                [PublishDoneCode::TrackEnded, PublishDoneCode::GoingAway][usize::from(source.below(2))];
            let _ = session.publish_done(request, done, "done");
        }
        17 => drop(session.open_subgroup(request, events::subgroup(source.number(), source.number()))),
        18 => drop(session.open_fetch(request, GroupOrder::Descending)),
        19 => {
            let object = Object { forwarding: roundtable_moqt::Forwarding::Subgroup(0), ..source.object() };
            let _ = session.write_object(stream, &object);
            let _ = session.write_fetch_item(stream, &FetchItem::Object(object));
        }
        20 => drop(match source.below(3) {
            0 => session.finish_stream(stream),
            1 => session.reset_stream(stream, code),
            _ => session.stop_stream(stream, code),
        }),
        _ => {
            let timeout = Duration::from_millis(u64::from(source.byte()));
            match source.byte() {
                0 => drop(session.go_away(now, "", timeout)),
                _ => drop(session.go_away_request(now, request, "", timeout)),
            }
        }
    }
}
