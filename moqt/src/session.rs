//! One MoQT session, either role: bytes, stream signals and `now` go in; events, transmits and deadlines come out.
//!
//! Every request of the session, ours or the peer's, is named by its [`RequestId`]: parity tells who made it, so
//! one id space serves both. Streams are named by [`StreamId`], given out here for both directions; the driver
//! maps them to QUIC streams.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    datagram::ObjectDatagram,
    error::{PublishDoneCode, SessionError, StreamResetCode},
    fetch_stream::FetchItem,
    message::{
        Fetch, FetchOk, GoAway, GroupOrder, NamespaceRequest, Parameters, Publish, PublishDone, RequestError,
        RequestId, RequestOk, Setup, Subscribe, SubscribeOk, TrackAlias,
    },
    name::{FullTrackName, Namespace},
    object::{Location, Object},
    subgroup::SubgroupHeader,
};

/// Client or server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opened the connection; its requests are even.
    Client,
    /// Accepted the connection; its requests are odd.
    Server,
}

/// What carries the session: decides which SETUP options are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// WebTransport: path and authority were in the CONNECT.
    WebTransport,
    /// Raw QUIC: path and authority stand in SETUP.
    Quic,
}

/// Settings and limits of a session. Over a limit, requests are refused and the rest is dropped and counted.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our role.
    pub role: Role,
    /// What carries the session.
    pub carrier: Carrier,
    /// Our SETUP.
    pub setup: Setup,
    /// The peer's SETUP must have come by then, or the session ends.
    pub setup_timeout: Duration,
    /// Requests of the peer that may be open at once.
    pub peer_requests_max: usize,
    /// Largest object accepted on a stream, bytes.
    pub object_bytes_max: usize,
    /// Datagrams kept while their alias is unknown, and for how long.
    pub unknown_alias_datagrams_max: usize,
    /// How long they are kept.
    pub unknown_alias_wait: Duration,
    /// Bytes of tokens the peer may register.
    pub auth_token_cache_bytes_max: u64,
}

/// A stream of the session, named by the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// One way or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// Control and data.
    Uni,
    /// Requests.
    Bi,
}

/// Something for the driver to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transmit {
    /// Open a stream. Higher `priority` goes first (quinn's sense).
    Open {
        /// Its name from now on.
        stream: StreamId,
        /// One way or both.
        kind: StreamKind,
        /// See above.
        priority: i32,
    },
    /// Send bytes on a stream.
    Data {
        /// Which.
        stream: StreamId,
        /// What.
        bytes: Bytes,
    },
    /// Send FIN.
    Finish {
        /// Which.
        stream: StreamId,
    },
    /// Send RESET_STREAM; unsent bytes are dropped.
    Reset {
        /// Which.
        stream: StreamId,
        /// Why.
        code: StreamResetCode,
    },
    /// Send STOP_SENDING.
    Stop {
        /// Which.
        stream: StreamId,
        /// Why.
        code: StreamResetCode,
    },
    /// Change a stream's priority.
    Priority {
        /// Which.
        stream: StreamId,
        /// Higher goes first.
        priority: i32,
    },
    /// Close the connection; nothing follows.
    Close {
        /// The draft's code.
        code: SessionError,
        /// For people.
        reason: String,
    },
}

/// Something the application should know.
#[derive(Debug, Clone)]
pub enum Event {
    /// Both SETUPs have been exchanged. Requests may be made before.
    Ready(Setup),

    /// The peer wants a track from us. Answer with [`Session::accept_subscribe`] or [`Session::reject`].
    Subscribe(RequestId, Subscribe),
    /// The peer offers a track. Answer with [`Session::accept`] or [`Session::reject`]. Objects may come before.
    Publish(RequestId, Publish),
    /// The peer wants past objects; joining FETCHes arrive here resolved to a range. Answer with
    /// [`Session::accept_fetch`] and [`Session::open_fetch`], or [`Session::reject`].
    Fetch(RequestId, ResolvedFetch),
    /// The peer asks about a track. Answer with [`Session::accept`] or [`Session::reject`].
    TrackStatus(RequestId, Subscribe),
    /// The peer has tracks in a namespace.
    PublishNamespace(RequestId, NamespaceRequest),
    /// The peer wants to know namespaces. After [`Session::accept`]: [`Session::namespace`].
    SubscribeNamespace(RequestId, NamespaceRequest),
    /// The peer wants every track of a prefix. After [`Session::accept`]: [`Session::publish`].
    SubscribeTracks(RequestId, NamespaceRequest),
    /// The peer changes a request. Only what it sent is set. Answer with [`Session::accept_update`] or
    /// [`Session::reject_update`], in order. The session has applied nothing yet.
    Update {
        /// The request to change.
        request: RequestId,
        /// The update's own id.
        update: RequestId,
        /// What to change.
        parameters: Parameters,
    },
    /// The peer no longer wants a request, its own or one of ours to which it agreed; the request is gone.
    Cancelled {
        /// Which.
        request: RequestId,
        /// Why.
        code: StreamResetCode,
    },

    /// Our SUBSCRIBE was accepted.
    SubscribeAccepted(RequestId, SubscribeOk),
    /// Our FETCH was accepted; items may have come before.
    FetchAccepted(RequestId, FetchOk),
    /// Any other request or update of ours was accepted.
    Accepted(RequestId, RequestOk),
    /// A request or update of ours was refused; a request is gone.
    Refused(RequestId, RequestError),
    /// A subscription in which the peer publishes is over; the request is gone. Streams may still be open.
    PublishDone(RequestId, PublishDone),
    /// In answer to our SUBSCRIBE_NAMESPACE: the whole namespace, prefix included.
    Namespace(RequestId, Namespace),
    /// The namespace is gone.
    NamespaceDone(RequestId, Namespace),
    /// In answer to our SUBSCRIBE_TRACKS: a track the peer could not PUBLISH.
    PublishBlocked(RequestId, FullTrackName),

    /// A subgroup stream of a subscription in which the peer publishes.
    SubgroupOpened {
        /// The subscription.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// Its header, subgroup resolved.
        header: SubgroupHeader,
    },
    /// An object from a subgroup stream.
    Object {
        /// The subscription.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// The object.
        object: Object,
    },
    /// A subgroup stream ended: `None` by FIN, else by reset.
    SubgroupEnded {
        /// The subscription.
        request: RequestId,
        /// The stream.
        stream: StreamId,
        /// The reset's code.
        reset: Option<StreamResetCode>,
    },
    /// A datagram that waited for its alias (others are returned by [`Session::handle_datagram`]).
    Datagram(RequestId, ObjectDatagram),
    /// An item of a FETCH of ours.
    FetchItem(RequestId, FetchItem),
    /// The FETCH's stream ended: `None` by FIN, else by reset. The request is gone.
    FetchEnded {
        /// Which.
        request: RequestId,
        /// The reset's code.
        reset: Option<StreamResetCode>,
    },

    /// A stream of ours (subgroup or FETCH) was stopped by the peer; it is gone.
    StreamStopped {
        /// The subscription or FETCH it belonged to.
        request: RequestId,
        /// Which.
        stream: StreamId,
        /// Why.
        code: StreamResetCode,
    },
    /// The peer is leaving (`None`), or wants this request moved.
    GoAway(Option<RequestId>, GoAway),
    /// The session is over; nothing follows. Also after [`Session::close`].
    Closed {
        /// The code it was closed with.
        code: SessionError,
        /// For people.
        reason: String,
    },
}

/// A FETCH whose range is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFetch {
    /// The track.
    pub track: FullTrackName,
    /// First location.
    pub start: Location,
    /// End in the wire's encoding (object plus one, 0 for the whole group).
    pub end: Location,
    /// True when it came as a joining FETCH.
    pub joining: bool,
    /// Parameters.
    pub parameters: Parameters,
}

/// A subscription in either direction, as it stands after all accepted updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The track.
    pub track: FullTrackName,
    /// The publisher's name for it, once known.
    pub alias: Option<TrackAlias>,
    /// True when we send the objects.
    pub we_publish: bool,
    /// False until accepted.
    pub is_established: bool,
    /// Forward state, filter, priorities, timeouts.
    pub parameters: Parameters,
    /// The joining location (draft 5.1), when objects existed.
    pub joining: Option<Location>,
}

/// Why a call did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The session is over.
    #[error("the session is closed")]
    Closed,
    /// The peer sent GOAWAY: no new requests.
    #[error("the peer is going away")]
    GoingAway,
    /// No such request or stream, or not in a state for this call.
    #[error("the request is not in a state for this")]
    WrongState,
    /// The message would break the draft's limits.
    #[error("the message is larger than the protocol allows")]
    TooLarge,
}

/// What happened that nobody was told about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams of an alias that nobody established in time, or past the waiting room.
    pub datagrams_unknown_alias: u64,
    /// Padding, dropped.
    pub padding_datagrams: u64,
    /// Subgroup streams of an unknown alias, stopped.
    pub streams_unknown_alias: u64,
    /// Requests refused for [`Config::peer_requests_max`].
    pub requests_over_limit: u64,
}

/// The session.
#[derive(Debug)]
pub struct Session {}

#[allow(unused_variables, missing_docs)]
impl Session {
    pub fn new(config: Config, now: Instant) -> Self {
        unimplemented!()
    }

    // ---- from the driver

    /// The peer opened a stream; it is known by this name from now on.
    pub fn accept_stream(&mut self, kind: StreamKind) -> StreamId {
        unimplemented!()
    }
    /// Bytes of a stream, in order.
    pub fn handle_stream(&mut self, now: Instant, stream: StreamId, bytes: Bytes) {
        unimplemented!()
    }
    /// The peer's FIN.
    pub fn handle_stream_finished(&mut self, now: Instant, stream: StreamId) {
        unimplemented!()
    }
    /// The peer's RESET_STREAM.
    pub fn handle_stream_reset(&mut self, now: Instant, stream: StreamId, code: u64) {
        unimplemented!()
    }
    /// The peer's STOP_SENDING.
    pub fn handle_stream_stopped(&mut self, now: Instant, stream: StreamId, code: u64) {
        unimplemented!()
    }
    /// A datagram (after the WebTransport prefix): the subscription it belongs to and the object. `None`: padding,
    /// waiting for its alias, dropped, or the session is over. No allocation, no copy.
    pub fn handle_datagram(&mut self, now: Instant, bytes: Bytes) -> Option<(RequestId, ObjectDatagram)> {
        unimplemented!()
    }
    /// The transport is gone.
    pub fn handle_closed(&mut self, code: Option<SessionError>, reason: &str) {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        unimplemented!()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        unimplemented!()
    }
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        unimplemented!()
    }

    // ---- requests of ours

    pub fn subscribe(&mut self, request: Subscribe) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    pub fn publish(&mut self, request: Publish) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    pub fn fetch(&mut self, request: Fetch) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    pub fn track_status(&mut self, request: Subscribe) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    pub fn publish_namespace(&mut self, request: NamespaceRequest) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    pub fn subscribe_namespace(&mut self, request: NamespaceRequest) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    pub fn subscribe_tracks(&mut self, request: NamespaceRequest) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    /// REQUEST_UPDATE; returns the update's id, named by the answer.
    pub fn update(&mut self, request: RequestId, parameters: Parameters) -> Result<RequestId, CallError> {
        unimplemented!()
    }
    /// Ends a request in either direction by resetting and stopping its streams. No event follows.
    pub fn cancel(&mut self, request: RequestId, code: StreamResetCode) -> Result<(), CallError> {
        unimplemented!()
    }

    // ---- answers to the peer's requests

    pub fn accept_subscribe(&mut self, request: RequestId, answer: SubscribeOk) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn accept_fetch(&mut self, request: RequestId, answer: FetchOk) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn accept(&mut self, request: RequestId, answer: RequestOk) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn reject(&mut self, request: RequestId, error: RequestError) -> Result<(), CallError> {
        unimplemented!()
    }
    /// Applies the update to the request's [`Subscription`] and says so.
    pub fn accept_update(&mut self, update: RequestId, answer: RequestOk) -> Result<(), CallError> {
        unimplemented!()
    }
    /// Refuses the update; as the draft says, the request ends with it.
    pub fn reject_update(&mut self, update: RequestId, error: RequestError) -> Result<(), CallError> {
        unimplemented!()
    }
    /// NAMESPACE, for a namespace that begins with the prefix asked for.
    pub fn namespace(&mut self, request: RequestId, namespace: &Namespace) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn namespace_done(&mut self, request: RequestId, namespace: &Namespace) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn publish_blocked(&mut self, request: RequestId, track: &FullTrackName) -> Result<(), CallError> {
        unimplemented!()
    }

    // ---- objects of ours on streams (datagrams are encoded by ObjectDatagram and sent by the driver)

    /// Ends a subscription in which we publish; finishes or resets what is open first.
    pub fn publish_done(
        &mut self,
        request: RequestId,
        code: PublishDoneCode,
        reason: &str,
    ) -> Result<(), CallError> {
        unimplemented!()
    }
    /// Opens a subgroup stream of a subscription in which we publish. `header.alias` is set by the session.
    pub fn open_subgroup(
        &mut self,
        request: RequestId,
        header: SubgroupHeader,
    ) -> Result<StreamId, CallError> {
        unimplemented!()
    }
    /// Writes an object to a subgroup stream. Objects ascend.
    pub fn write_object(&mut self, stream: StreamId, object: &Object) -> Result<(), CallError> {
        unimplemented!()
    }
    /// Opens the stream of a FETCH of the peer; allowed before [`Session::accept_fetch`].
    pub fn open_fetch(&mut self, request: RequestId, order: GroupOrder) -> Result<StreamId, CallError> {
        unimplemented!()
    }
    pub fn write_fetch_item(&mut self, stream: StreamId, item: &FetchItem) -> Result<(), CallError> {
        unimplemented!()
    }
    /// FIN on a subgroup or FETCH stream.
    pub fn finish_stream(&mut self, stream: StreamId) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn reset_stream(&mut self, stream: StreamId, code: StreamResetCode) -> Result<(), CallError> {
        unimplemented!()
    }
    /// STOP_SENDING on a subgroup stream of the peer.
    pub fn stop_stream(&mut self, stream: StreamId, code: StreamResetCode) -> Result<(), CallError> {
        unimplemented!()
    }

    // ---- the session itself

    /// Sends GOAWAY; after `timeout` the session closes with GOAWAY_TIMEOUT.
    pub fn go_away(&mut self, now: Instant, uri: &str, timeout: Duration) -> Result<(), CallError> {
        unimplemented!()
    }
    pub fn close(&mut self, code: SessionError, reason: &str) {
        unimplemented!()
    }
    pub fn is_closed(&self) -> bool {
        unimplemented!()
    }
    pub fn subscription(&self, request: RequestId) -> Option<&Subscription> {
        unimplemented!()
    }
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }
}
