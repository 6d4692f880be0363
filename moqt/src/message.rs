//! Control messages as values (draft 10). [`crate::codec`] turns them into bytes and back.

use bytes::Bytes;

use crate::{
    error::RequestErrorCode,
    name::{FullTrackName, Namespace},
    object::Location,
};

/// Names a request in its session: even from the client, odd from the server (draft 10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names a track in datagrams and subgroup headers, chosen by who sends the objects (draft 11.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackAlias(pub u64);

/// Order of groups within a subscription or FETCH (draft 7, 10.2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum GroupOrder {
    /// Lower group ids first.
    #[default]
    Ascending,
    /// Higher group ids first.
    Descending,
}

/// Which objects a subscription wants (draft 5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// From the group after the largest.
    NextGroupStart,
    /// From the object after the largest.
    LargestObject,
    /// From this location on.
    AbsoluteStart(Location),
    /// From this location to the end of group `end_group` (already absolute here, a delta on the wire).
    AbsoluteRange {
        /// First location.
        start: Location,
        /// Last group, inclusive.
        end_group: u64,
    },
}

/// An authorization token as it stands in SETUP or a parameter (draft 10.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Forget the token of this alias.
    Delete {
        /// The alias to forget.
        alias: u64,
    },
    /// Remember a token under an alias, and use it.
    Register {
        /// Alias to remember it under.
        alias: u64,
        /// Token type, 0 is out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
    /// Use a token registered before.
    UseAlias {
        /// The alias given at registration.
        alias: u64,
    },
    /// Use this token.
    UseValue {
        /// Token type, 0 is out of band.
        token_type: u64,
        /// The token.
        value: Bytes,
    },
}

/// All message parameters of the draft (10.2). Which message may carry which is the codec's to check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// 0x02, milliseconds; 0 is none.
    pub object_delivery_timeout_ms: Option<u64>,
    /// 0x03, may repeat.
    pub authorization_tokens: Vec<Token>,
    /// 0x04, milliseconds; absent is 0.
    pub rendezvous_timeout_ms: Option<u64>,
    /// 0x06, milliseconds; 0 is none.
    pub subgroup_delivery_timeout_ms: Option<u64>,
    /// 0x08, milliseconds; 0 is never.
    pub expires_ms: Option<u64>,
    /// 0x09: the largest location the sender has seen; `None` when the track is empty.
    pub largest_object: Option<Location>,
    /// 0x0A, milliseconds.
    pub fill_timeout_ms: Option<u64>,
    /// 0x10; absent is true, or unchanged in REQUEST_UPDATE.
    pub forward: Option<bool>,
    /// 0x20; absent is 128.
    pub subscriber_priority: Option<u8>,
    /// 0x21; absent is everything, or unchanged in REQUEST_UPDATE.
    pub filter: Option<Filter>,
    /// 0x22.
    pub group_order: Option<GroupOrder>,
    /// 0x32: largest group known plus one, or 0.
    pub new_group_request: Option<u64>,
    /// 0x34, only in REQUEST_UPDATE of a namespace subscription.
    pub namespace_prefix: Option<Namespace>,
}

/// SETUP options (draft 10.3.1). Unknown ones are ignored on receipt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setup {
    /// 0x01, raw QUIC clients only: path and query of the URI.
    pub path: Option<Bytes>,
    /// 0x03.
    pub authorization_tokens: Vec<Token>,
    /// 0x04, bytes.
    pub max_auth_token_cache_size: Option<u64>,
    /// 0x05, raw QUIC clients only: authority of the URI.
    pub authority: Option<Bytes>,
    /// 0x07: name and version of the sender's implementation.
    pub implementation: Option<Bytes>,
}

/// SUBSCRIBE and TRACK_STATUS share a body (draft 10.7, 10.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The track wanted.
    pub track: FullTrackName,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH (draft 10.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The track offered.
    pub track: FullTrackName,
    /// How its objects will name it.
    pub alias: TrackAlias,
    /// Parameters.
    pub parameters: Parameters,
    /// Track properties as Key-Value-Pairs, forwarded unchanged.
    pub track_properties: Bytes,
}

/// What a FETCH asks for (draft 10.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchRange {
    /// A range of a track.
    Standalone {
        /// The track.
        track: FullTrackName,
        /// First location.
        start: Location,
        /// Last location in the wire's encoding: object plus one, or object 0 for the whole group.
        end: Location,
    },
    /// From `groups_back` groups before a subscription's joining location up to it.
    RelativeJoining {
        /// The subscription joined.
        subscription: RequestId,
        /// How many groups before the largest.
        groups_back: u64,
    },
    /// From this group up to a subscription's joining location.
    AbsoluteJoining {
        /// The subscription joined.
        subscription: RequestId,
        /// First group.
        group: u64,
    },
}

/// FETCH (draft 10.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What is asked for.
    pub range: FetchRange,
    /// Parameters.
    pub parameters: Parameters,
}

/// PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS share a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRequest {
    /// The namespace, or the prefix of those wanted.
    pub namespace: Namespace,
    /// Parameters.
    pub parameters: Parameters,
}

/// The seven messages a request stream can begin with (draft 3.3). The request's id stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// 0x03
    Subscribe(Subscribe),
    /// 0x1D
    Publish(Publish),
    /// 0x16
    Fetch(Fetch),
    /// 0x0D
    TrackStatus(Subscribe),
    /// 0x06
    PublishNamespace(NamespaceRequest),
    /// 0x50
    SubscribeNamespace(NamespaceRequest),
    /// 0x51
    SubscribeTracks(NamespaceRequest),
}

/// SUBSCRIBE_OK (draft 10.8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeOk {
    /// How the track's objects will name it.
    pub alias: TrackAlias,
    /// Parameters.
    pub parameters: Parameters,
    /// Track properties as Key-Value-Pairs.
    pub track_properties: Bytes,
}

/// FETCH_OK (draft 10.13).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOk {
    /// True when the track is complete and `end` is its last object.
    pub end_of_track: bool,
    /// End of the response in FETCH's own encoding (object plus one, 0 for the whole group).
    pub end: Location,
    /// Parameters.
    pub parameters: Parameters,
    /// Track properties as Key-Value-Pairs.
    pub track_properties: Bytes,
}

/// REQUEST_OK (draft 10.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestOk {
    /// Parameters.
    pub parameters: Parameters,
    /// Track properties, only in answer to TRACK_STATUS.
    pub track_properties: Bytes,
}

/// Where else to ask (draft 10.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Empty is this session's URI.
    pub uri: Bytes,
    /// The track to ask for, literally; empty namespace and name is the same as before.
    pub track: FullTrackName,
}

/// REQUEST_ERROR (draft 10.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    /// What went wrong.
    pub code: RequestErrorCode,
    /// When the same request may be tried again; `None` is never.
    pub retry_after_ms: Option<u64>,
    /// For people, at most 1024 bytes.
    pub reason: String,
    /// Only with [`RequestErrorCode::Redirect`].
    pub redirect: Option<Redirect>,
}

impl RequestError {
    /// An error that is not worth trying again.
    pub fn new(code: RequestErrorCode, reason: impl Into<String>) -> Self {
        RequestError { code, retry_after_ms: None, reason: reason.into(), redirect: None }
    }
}

/// PUBLISH_DONE (draft 10.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishDone {
    /// Why the subscription ended.
    pub code: crate::error::PublishDoneCode,
    /// Data streams opened for it; 2^62 - 1 when unknown.
    pub stream_count: u64,
    /// For people, at most 1024 bytes.
    pub reason: String,
}

/// GOAWAY (draft 10.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoAway {
    /// Where to go; empty is the same URI. Always empty from a client.
    pub uri: Bytes,
    /// Milliseconds the sender waits; 0 is unsaid.
    pub timeout_ms: u64,
    /// Control stream only: smallest request that was not processed.
    pub request_id: Option<RequestId>,
}

/// Every message that can stand on a control or request stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// 0x2F00, first on each control stream.
    Setup(Setup),
    /// 0x10
    GoAway(GoAway),
    /// First on a request stream.
    Request(RequestId, Request),
    /// 0x02
    RequestUpdate(RequestId, Parameters),
    /// 0x04
    SubscribeOk(SubscribeOk),
    /// 0x07, and 0x1E, which the draft's table also lists for PUBLISH_OK: accepted, never sent.
    RequestOk(RequestOk),
    /// 0x05
    RequestError(RequestError),
    /// 0x18
    FetchOk(FetchOk),
    /// 0x0B
    PublishDone(PublishDone),
    /// 0x08: namespace after the prefix asked for.
    Namespace(Namespace),
    /// 0x0E
    NamespaceDone(Namespace),
    /// 0x0F: namespace after the prefix asked for, and track name.
    PublishBlocked(FullTrackName),
}
