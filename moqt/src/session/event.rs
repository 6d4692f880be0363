//! What the application is told, and what it can ask.

use super::transmit::StreamId;
#[cfg(doc)]
use super::{Config, Session};
use crate::{
    datagram::ObjectDatagram,
    error::{SessionError, StreamResetCode},
    fetch_stream::FetchItem,
    message::{
        FetchOk, GoAway, NamespaceRequest, Parameters, Publish, PublishDone, RequestError, RequestId,
        RequestOk, Setup, Subscribe, SubscribeOk, TrackAlias,
    },
    name::{FullTrackName, Namespace},
    object::{Location, Object},
    subgroup::SubgroupHeader,
};

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
    /// A request of either side is gone without a word that says why: the peer reset, stopped or withdrew it, or
    /// we had to end it ourselves (a limit, a refused update, the time of a GOAWAY, a SUBSCRIBE of ours that an
    /// accepted PUBLISH replaced).
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
    /// A request or update of ours was refused. A request is gone; one whose update was refused ends by what
    /// follows: `PublishDone`, `FetchEnded` or `Cancelled`.
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
    /// The message would break the draft's limits, or carries a parameter that does not belong there.
    #[error("the protocol does not allow this message")]
    TooLarge,
    /// The track has a subscription in the same role already, or the alias stands for another track.
    #[error("the track or its alias is in use already")]
    Duplicate,
    /// Names that begin with `.` or `.session` are not for applications (draft 3.2.1, 3.2.2).
    #[error("the name is reserved")]
    Reserved,
    /// Too many unanswered updates.
    #[error("too many updates are unanswered")]
    TooMany,
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
    /// Datagrams of subscriptions that were cancelled or refused, dropped.
    pub datagrams_unwanted: u64,
    /// Subgroup and FETCH streams of requests that are over, stopped.
    pub streams_unwanted: u64,
    /// Streams stopped or reset because too many were open or too many bytes were held.
    pub streams_over_limit: u64,
}
