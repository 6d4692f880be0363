//! A peer that follows the draft and does nothing but what it allows, in any order: whatever the application does,
//! no session ends over it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;
use roundtable_moqt::{
    Forwarding, Location, Namespace, Object, ObjectDatagram, Parameters, PublishDoneCode, RequestErrorCode,
    StreamId, StreamKind, StreamResetCode,
    codec::Scope,
    fetch_stream::{self, FetchItem},
    message::{
        FetchOk, FetchRange, GroupOrder, Message, PublishDone, Request, RequestId, RequestOk, TrackAlias,
    },
    subgroup::{self, SubgroupHeader},
};

use super::super::peer::Peer;
use super::{Source, events};

/// What the peer remembers of a request stream.
#[derive(Debug)]
struct Open {
    request: Request,
    id: RequestId,
    is_ours: bool,
    is_answered: bool,
    /// Nothing more may be said.
    is_over: bool,
    /// The session's updates, to be answered.
    updates: VecDeque<Parameters>,
    prefix: Namespace,
    names: BTreeSet<Namespace>,
}

#[derive(Debug, Default)]
pub(super) struct Polite {
    open: BTreeMap<StreamId, Open>,
    data: Vec<StreamId>,
    fetches: BTreeSet<RequestId>,
}

const TRACKS: [&str; 4] = ["a/x", "a/y", "a/b/x", "b/x"];

/// One alias for each track, whoever asked.
fn alias(track: &roundtable_moqt::FullTrackName) -> TrackAlias {
    let index = TRACKS.iter().position(|path| events::track(path) == *track);
    TrackAlias(index.map_or(99, |index| index as u64))
}

fn prefix(request: &Request) -> Namespace {
    match request {
        Request::SubscribeNamespace(wanted) | Request::SubscribeTracks(wanted) => wanted.namespace.clone(),
        _ => events::namespace(""),
    }
}

impl Polite {
    /// Notes what the session has said.
    pub(super) fn listen(&mut self, peer: &mut Peer) {
        let streams: Vec<_> = peer.heard.keys().copied().collect();
        for stream in streams {
            if peer.heard[&stream].kind == Some(StreamKind::Uni) {
                continue;
            }
            for message in peer.messages(stream) {
                if let Message::Request(id, request) = message {
                    let prefix = prefix(&request);
                    self.insert(stream, Open { prefix, ..opened(id, request, false) });
                    continue;
                }
                let Some(open) = self.open.get_mut(&stream) else { continue };
                match message {
                    Message::RequestUpdate(_, parameters) => open.updates.push_back(parameters),
                    Message::RequestError(_) | Message::PublishDone(_) => open.is_over = true,
                    Message::RequestOk(_) | Message::SubscribeOk(_) | Message::FetchOk(_) => {
                        open.is_answered = true;
                    }
                    _ => {}
                }
            }
            let heard = &peer.heard[&stream];
            if (heard.is_finished || heard.reset.is_some() || heard.stopped.is_some())
                && let Some(open) = self.open.get_mut(&stream)
            {
                open.is_over = true;
            }
        }
    }

    fn insert(&mut self, stream: StreamId, open: Open) {
        self.open.insert(stream, open);
    }

    pub(super) fn step(&mut self, source: &mut Source<'_>, peer: &mut Peer, next_id: &mut u64) {
        match source.below(12) {
            0..=2 => {
                let request = polite_request(source, self);
                let id = RequestId(*next_id);
                *next_id += 2;
                let stream = peer.request(id.0, request.clone());
                self.insert(stream, Open { prefix: prefix(&request), ..opened(id, request, true) });
            }
            3..=6 => self.say_on_some(source, peer, next_id),
            7 => self.end_some(source, peer),
            8 => {
                let alias = TrackAlias(u64::from(source.below(5)));
                peer.datagram(ObjectDatagram::encode(b"", alias, &source.object()));
            }
            9 => self.send_subgroup(source, peer),
            10 => self.send_fetch(source, peer),
            _ => {
                if let Some(stream) = self.data.pop() {
                    match source.below(3) {
                        0 => peer.reset(stream, StreamResetCode::DeliveryTimeout),
                        _ => peer.finish(stream),
                    }
                }
            }
        }
    }

    fn say_on_some(&mut self, source: &mut Source<'_>, peer: &mut Peer, next_id: &mut u64) {
        let index = usize::from(source.byte());
        let live: Vec<_> =
            self.open.iter().filter(|(_, open)| !open.is_over).map(|(stream, _)| *stream).collect();
        if live.is_empty() {
            return;
        }
        let stream = live[index % live.len()];
        let open = self.open.get_mut(&stream).unwrap();
        let message =
            if open.is_ours || open.is_answered { open.later(source, next_id) } else { open.answer(source) };
        if let Some(message) = message {
            peer.say(stream, &message);
        }
    }

    fn end_some(&mut self, source: &mut Source<'_>, peer: &mut Peer) {
        let index = usize::from(source.byte());
        if self.open.is_empty() {
            return;
        }
        let stream = *self.open.keys().nth(index % self.open.len()).unwrap();
        match source.below(4) {
            0 => peer.stop(stream, StreamResetCode::Cancelled),
            1 => {
                self.open.remove(&stream);
                peer.reset(stream, StreamResetCode::Cancelled);
            }
            2 => {
                self.open.remove(&stream);
                peer.finish(stream);
            }
            _ => {
                let streams: Vec<_> = peer.opened.iter().skip(1).copied().collect();
                if let Some(stream) = streams.get(index % streams.len().max(1)) {
                    peer.stop(*stream, StreamResetCode::TooFarBehind);
                }
            }
        }
    }

    fn send_subgroup(&mut self, source: &mut Source<'_>, peer: &mut Peer) {
        let mut bytes = BytesMut::new();
        let header = SubgroupHeader {
            alias: TrackAlias(u64::from(source.below(5))),
            subgroup: source.chance().then_some(0),
            ..events::subgroup(1, 0)
        };
        let mut encoder = subgroup::Encoder::new(header, &mut bytes);
        for number in 0..source.below(4) {
            let location = Location::new(1, u64::from(number));
            let object =
                Object { forwarding: Forwarding::Subgroup(0), ..Object::stream(location, source.take()) };
            let payload = encoder.object(&object, &mut bytes).unwrap();
            bytes.extend_from_slice(&payload);
        }
        self.data.push(peer.data(bytes));
    }

    fn send_fetch(&mut self, source: &mut Source<'_>, peer: &mut Peer) {
        let wanted = self.open.values().find(|open| {
            !open.is_ours && matches!(open.request, Request::Fetch(_)) && !self.fetches.contains(&open.id)
        });
        let Some(id) = wanted.map(|open| open.id) else { return };
        self.fetches.insert(id);
        let mut bytes = BytesMut::new();
        let mut encoder = fetch_stream::Encoder::new(id, GroupOrder::Ascending, &mut bytes);
        let object = Object { priority: Some(1), ..Object::datagram(Location::new(3, 3), source.take()) };
        let payload = encoder.item(&FetchItem::Object(object), &mut bytes).unwrap();
        bytes.extend_from_slice(&payload);
        self.data.push(peer.data(bytes));
    }
}

fn opened(id: RequestId, request: Request, is_ours: bool) -> Open {
    Open {
        request,
        id,
        is_ours,
        is_answered: false,
        is_over: false,
        updates: VecDeque::new(),
        prefix: events::namespace(""),
        names: BTreeSet::new(),
    }
}

/// A request with aliases that never clash, and properties and tokens that nobody can object to.
fn polite_request(source: &mut Source<'_>, polite: &Polite) -> Request {
    let mut request = source.request();
    match &mut request {
        Request::Publish(publish) => {
            publish.track = events::track(TRACKS[usize::from(source.below(4))]);
            publish.alias = alias(&publish.track);
            publish.track_properties = events::property(0x30, u64::from(source.below(2)));
            publish.parameters.authorization_tokens.clear();
        }
        Request::Subscribe(wanted) | Request::TrackStatus(wanted) => {
            wanted.parameters.authorization_tokens.clear();
        }
        Request::Fetch(fetch) => {
            fetch.parameters.authorization_tokens.clear();
            if source.chance()
                && let Some(joined) =
                    polite.open.values().find(|open| matches!(open.request, Request::Subscribe(_)))
            {
                fetch.range = FetchRange::RelativeJoining { subscription: joined.id, groups_back: 1 };
            }
        }
        Request::PublishNamespace(wanted)
        | Request::SubscribeNamespace(wanted)
        | Request::SubscribeTracks(wanted) => wanted.parameters.authorization_tokens.clear(),
    }
    request
}

impl Open {
    /// The answer to a request of the session.
    fn answer(&mut self, source: &mut Source<'_>) -> Option<Message> {
        if source.below(6) == 0 {
            self.is_over = true;
            return Some(Message::RequestError(events::error(RequestErrorCode::Unauthorized)));
        }
        self.is_answered = true;
        Some(match &self.request {
            Request::Subscribe(wanted) => Message::SubscribeOk(roundtable_moqt::message::SubscribeOk {
                parameters: source.fitting(Scope::SubscribeOk),
                ..events::subscribe_ok(alias(&wanted.track).0)
            }),
            Request::Fetch(_) => Message::FetchOk(FetchOk {
                end_of_track: false,
                end: Location::new(u64::MAX, 0),
                parameters: Parameters::default(),
                track_properties: bytes::Bytes::new(),
            }),
            Request::Publish(_) => {
                let parameters = source.fitting(Scope::PublishOk);
                Message::RequestOk(RequestOk { parameters, ..events::ok() })
            }
            Request::TrackStatus(_) => {
                self.is_over = true;
                Message::RequestOk(events::ok())
            }
            _ => Message::RequestOk(events::ok()),
        })
    }

    /// What may follow.
    fn later(&mut self, source: &mut Source<'_>, next_id: &mut u64) -> Option<Message> {
        if !self.updates.is_empty() && (!self.is_ours || self.is_answered) && source.chance() {
            if source.below(8) == 0 {
                // One refusal may stand for several updates; the request is over with it.
                self.is_over = true;
                return Some(Message::RequestError(events::error(RequestErrorCode::Unauthorized)));
            }
            if let Some(prefix) = self.updates.pop_front().and_then(|update| update.namespace_prefix) {
                self.names.retain(|name| name.starts_with(&prefix));
                self.prefix = prefix;
            }
            let parameters = source.fitting(Scope::UpdateOk);
            return Some(Message::RequestOk(RequestOk { parameters, ..events::ok() }));
        }
        let scope = match (&self.request, self.is_ours) {
            (Request::Subscribe(_), true) => Scope::UpdateSubscription,
            (Request::Publish(_), _) => Scope::UpdateSubscription,
            (Request::Fetch(_), true) => Scope::UpdateFetch,
            (Request::PublishNamespace(_), true) => Scope::UpdatePublishNamespace,
            (Request::SubscribeNamespace(_) | Request::SubscribeTracks(_), true) => Scope::UpdatePrefix,
            (Request::SubscribeNamespace(_), false) => return self.name(source),
            (Request::SubscribeTracks(_), false) => {
                return Some(Message::PublishBlocked(events::track("z/z")));
            }
            (Request::Subscribe(_), false) => return self.done(source),
            _ => return None,
        };
        if matches!(self.request, Request::Publish(_)) && self.is_ours && source.below(4) == 0 {
            return self.done(source);
        }
        let mut parameters = source.fitting(scope);
        parameters.authorization_tokens.clear();
        let id = RequestId(*next_id);
        *next_id += 2;
        Some(Message::RequestUpdate(id, parameters))
    }

    fn name(&mut self, source: &mut Source<'_>) -> Option<Message> {
        if source.chance()
            && let Some(name) = self.names.pop_first()
        {
            return name.suffix(&self.prefix).map(Message::NamespaceDone);
        }
        let suffix = source.namespace();
        self.names.insert(self.prefix.join(&suffix).unwrap());
        Some(Message::Namespace(suffix))
    }

    fn done(&mut self, source: &mut Source<'_>) -> Option<Message> {
        self.is_over = true;
        let stream_count = source.number();
        let code = PublishDoneCode::TrackEnded;
        Some(Message::PublishDone(PublishDone { code, stream_count, reason: String::new() }))
    }
}
