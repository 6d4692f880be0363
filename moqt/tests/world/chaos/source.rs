//! Values made of bytes.

use bytes::Bytes;
use roundtable_moqt::{
    Location, Object, Parameters, PublishDoneCode, RequestErrorCode, codec,
    message::{
        Fetch, FetchOk, FetchRange, Filter, GoAway, Message, PublishDone, Request, RequestId, RequestOk,
        Setup, Token, TrackAlias,
    },
};

use super::events;

/// Numbers from bytes; zeros when they end.
pub(super) struct Source<'a>(pub(super) &'a [u8]);

impl Source<'_> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    pub(super) fn chance(&mut self) -> bool {
        self.byte().is_multiple_of(2)
    }

    pub(super) fn take(&mut self) -> Bytes {
        let len = usize::from(self.below(40)).min(self.0.len());
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        Bytes::copy_from_slice(bytes)
    }

    /// Small mostly, so that ids meet; huge sometimes.
    pub(super) fn number(&mut self) -> u64 {
        match self.below(16) {
            0 => u64::MAX,
            1 => u64::from(self.byte()) << 56,
            _ => u64::from(self.below(12)),
        }
    }

    pub(super) fn location(&mut self) -> Location {
        Location::new(self.number(), self.number())
    }

    pub(super) fn parameters(&mut self) -> Parameters {
        let mut parameters = Parameters::default();
        let flags = self.byte();
        if flags & 1 != 0 {
            parameters.forward = Some(self.chance());
        }
        if flags & 2 != 0 {
            parameters.subscriber_priority = Some(self.byte());
        }
        if flags & 4 != 0 {
            parameters.largest_object = Some(self.location());
        }
        if flags & 8 != 0 {
            parameters.filter = Some(Filter::AbsoluteStart(self.location()));
        }
        if flags & 16 != 0 {
            parameters.authorization_tokens = vec![match self.below(4) {
                0 => Token::Register { alias: self.number(), token_type: 0, value: self.take() },
                1 => Token::UseAlias { alias: self.number() },
                2 => Token::Delete { alias: self.number() },
                _ => Token::UseValue { token_type: 0, value: self.take() },
            }];
        }
        if flags & 32 != 0 {
            parameters.namespace_prefix = Some(self.namespace());
        }
        if flags & 64 != 0 {
            parameters.new_group_request = Some(self.number());
        }
        parameters
    }

    /// What this message may carry of what was made up.
    pub(super) fn fitting(&mut self, scope: codec::Scope) -> Parameters {
        let parameters = self.parameters();
        if scope.check(&parameters).is_ok() { parameters } else { Parameters::default() }
    }

    pub(super) fn namespace(&mut self) -> roundtable_moqt::Namespace {
        events::namespace(["", "a", "a/b", "b", ".session", ".", "a/b/c"][usize::from(self.below(7))])
    }

    pub(super) fn track(&mut self) -> roundtable_moqt::FullTrackName {
        events::track(["a/x", "a/y", "a/b/x", ".session/x", "b/x"][usize::from(self.below(5))])
    }

    pub(super) fn properties(&mut self) -> Bytes {
        match self.below(8) {
            0 => events::property(0x30, self.number()),
            1 => events::property(0x22, self.number()),
            2 => events::property(0x4000, 1),
            3 => events::property(0x02, self.number()),
            4 => self.take(),
            _ => Bytes::new(),
        }
    }

    pub(super) fn request(&mut self) -> Request {
        let namespace = |source: &mut Self, scope| roundtable_moqt::message::NamespaceRequest {
            namespace: source.namespace(),
            parameters: source.fitting(scope),
        };
        use codec::Scope;
        match self.below(7) {
            0 => Request::Subscribe(roundtable_moqt::message::Subscribe {
                track: self.track(),
                parameters: self.fitting(Scope::Subscribe),
            }),
            1 => Request::Publish(roundtable_moqt::message::Publish {
                track: self.track(),
                alias: TrackAlias(self.number()),
                parameters: self.fitting(Scope::Publish),
                track_properties: self.properties(),
            }),
            2 => Request::Fetch(Fetch { range: self.range(), parameters: self.fitting(Scope::Fetch) }),
            3 => Request::TrackStatus(roundtable_moqt::message::Subscribe {
                track: self.track(),
                parameters: self.fitting(Scope::TrackStatus),
            }),
            4 => Request::PublishNamespace(namespace(self, Scope::PublishNamespace)),
            5 => Request::SubscribeNamespace(namespace(self, Scope::SubscribeNamespace)),
            _ => Request::SubscribeTracks(namespace(self, Scope::SubscribeTracks)),
        }
    }

    pub(super) fn range(&mut self) -> FetchRange {
        let subscription = RequestId(self.number());
        match self.below(3) {
            0 => FetchRange::Standalone { track: self.track(), start: self.location(), end: self.location() },
            1 => FetchRange::RelativeJoining { subscription, groups_back: self.number() },
            _ => FetchRange::AbsoluteJoining { subscription, group: self.number() },
        }
    }

    pub(super) fn request_ok(&mut self) -> RequestOk {
        let scope = [codec::Scope::PublishOk, codec::Scope::UpdateOk, codec::Scope::NamespaceOk]
            [usize::from(self.below(3))];
        let track_properties = if self.below(8) == 0 { self.properties() } else { Bytes::new() };
        RequestOk { parameters: self.fitting(scope), track_properties }
    }

    pub(super) fn fetch_ok(&mut self) -> FetchOk {
        FetchOk {
            end_of_track: self.chance(),
            end: self.location(),
            parameters: Parameters::default(),
            track_properties: self.properties(),
        }
    }

    pub(super) fn message(&mut self, request: u64) -> Message {
        match self.below(14) {
            0 => Message::Setup(Setup::default()),
            1 => Message::GoAway(GoAway {
                uri: if self.chance() { Bytes::new() } else { self.take() },
                timeout_ms: self.number(),
                request_id: self.chance().then(|| RequestId(self.number())),
            }),
            2 => Message::Request(RequestId(self.number()), self.request()),
            3 | 4 => {
                let scope = [codec::Scope::UpdateSubscription, codec::Scope::UpdatePrefix]
                    [usize::from(self.below(2))];
                Message::RequestUpdate(RequestId(request), self.fitting(scope))
            }
            5 => Message::SubscribeOk(roundtable_moqt::message::SubscribeOk {
                alias: TrackAlias(self.number()),
                parameters: self.fitting(codec::Scope::SubscribeOk),
                track_properties: self.properties(),
            }),
            6 | 7 => Message::RequestOk(self.request_ok()),
            8 => Message::RequestError(events::error(RequestErrorCode::from_code(self.number() % 64))),
            9 => Message::FetchOk(self.fetch_ok()),
            10 => Message::PublishDone(PublishDone {
                code: PublishDoneCode::TrackEnded,
                stream_count: self.number(),
                reason: String::new(),
            }),
            11 => Message::Namespace(self.namespace()),
            12 => Message::NamespaceDone(self.namespace()),
            _ => Message::PublishBlocked(self.track()),
        }
    }

    pub(super) fn object(&mut self) -> Object {
        Object::datagram(self.location(), self.take())
    }
}
