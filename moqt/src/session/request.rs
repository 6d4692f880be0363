//! An open request of either side: what it is, and how far it has come.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Instant,
};

use super::{event::Subscription, priority, track_properties::TrackProperties, transmit::StreamId};
use crate::{
    codec::Scope,
    error::{StreamResetCode, Violation},
    message::{FetchRange, GroupOrder, Parameters, RequestId},
    name::Namespace,
    object::Location,
};

#[derive(Debug)]
pub(super) struct Request {
    /// Its bidirectional stream.
    pub(super) stream: StreamId,
    /// True when we made it.
    pub(super) is_ours: bool,
    /// True once it was accepted. A refused one is gone.
    pub(super) is_accepted: bool,
    pub(super) kind: Kind,
    /// The peer's REQUEST_UPDATEs that we have not answered, oldest first.
    pub(super) updates_received: VecDeque<Update>,
    /// Our REQUEST_UPDATEs that the peer has not answered, oldest first.
    pub(super) updates_sent: VecDeque<Update>,
    pub(super) goaway_received: bool,
    pub(super) goaway_sent: bool,
    /// Running timers, to be cleared with it.
    pub(super) goaway_until: Option<Instant>,
    pub(super) stopped_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Update {
    pub(super) id: RequestId,
    /// What it changes, without tokens.
    pub(super) parameters: Parameters,
}

#[derive(Debug)]
pub(super) enum Kind {
    Subscription(Box<Subscribed>),
    Fetch(Box<Fetched>),
    TrackStatus,
    PublishNamespace,
    SubscribeNamespace(Prefix),
    SubscribeTracks(Prefix),
}

/// A subscription, made by SUBSCRIBE or PUBLISH.
#[derive(Debug)]
pub(super) struct Subscribed {
    /// What the application sees of it.
    pub(super) view: Subscription,
    pub(super) properties: TrackProperties,
    /// Data streams that the publisher has opened.
    pub(super) streams_opened: u64,
    /// Those that are open.
    pub(super) streams: BTreeSet<StreamId>,
}

impl Subscribed {
    pub(super) fn new(view: Subscription, properties: TrackProperties) -> Self {
        Subscribed { view, properties, streams_opened: 0, streams: BTreeSet::new() }
    }

    pub(super) fn forwards(&self) -> bool {
        self.view.parameters.forward.unwrap_or(true)
    }

    pub(super) fn subscriber_priority(&self) -> u8 {
        self.view.parameters.subscriber_priority.unwrap_or(priority::DEFAULT)
    }

    /// The subscriber's order, or else the track's.
    pub(super) fn group_order(&self) -> GroupOrder {
        self.view.parameters.group_order.or(self.properties.default_group_order).unwrap_or_default()
    }
}

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) priority: u8,
    pub(super) order: GroupOrder,
    /// First location, where known.
    pub(super) start: Option<Location>,
    /// A joining FETCH of the peer that waits for its subscription.
    pub(super) waits: Option<(FetchRange, Parameters)>,
    pub(super) data: FetchData,
}

/// The one data stream of a FETCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchData {
    NotYet,
    Open(StreamId),
    /// Ended by FIN.
    Finished,
    /// Ended otherwise.
    Broken,
}

/// The prefix of a SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS.
#[derive(Debug)]
pub(super) struct Prefix {
    pub(super) namespace: Namespace,
    /// What NAMESPACE has named and NAMESPACE_DONE has not, prefix included.
    pub(super) active: BTreeSet<Namespace>,
    pub(super) active_bytes: usize,
}

impl Prefix {
    pub(super) fn new(namespace: Namespace) -> Self {
        Prefix { namespace, active: BTreeSet::new(), active_bytes: 0 }
    }
}

impl Request {
    pub(super) fn new(stream: StreamId, is_ours: bool, kind: Kind) -> Self {
        Request {
            stream,
            is_ours,
            is_accepted: false,
            kind,
            updates_received: VecDeque::new(),
            updates_sent: VecDeque::new(),
            goaway_received: false,
            goaway_sent: false,
            goaway_until: None,
            stopped_until: None,
        }
    }

    pub(super) fn subscribed(&self) -> Option<&Subscribed> {
        match &self.kind {
            Kind::Subscription(subscribed) => Some(subscribed),
            _ => None,
        }
    }

    pub(super) fn subscribed_mut(&mut self) -> Option<&mut Subscribed> {
        match &mut self.kind {
            Kind::Subscription(subscribed) => Some(subscribed),
            _ => None,
        }
    }

    pub(super) fn fetched_mut(&mut self) -> Option<&mut Fetched> {
        match &mut self.kind {
            Kind::Fetch(fetched) => Some(fetched),
            _ => None,
        }
    }

    /// True for a subscription in which we send the objects.
    pub(super) fn we_publish(&self) -> bool {
        self.subscribed().is_some_and(|subscribed| subscribed.view.we_publish)
    }

    /// True for a subscription in which the peer sends the objects.
    pub(super) fn peer_publishes(&self) -> bool {
        self.subscribed().is_some_and(|subscribed| !subscribed.view.we_publish)
    }

    /// True when the side may send REQUEST_UPDATE now: who made the request may, and the subscriber of a PUBLISH
    /// that it has accepted (draft 10.9).
    pub(super) fn may_update(&self, by_us: bool) -> bool {
        match &self.kind {
            Kind::TrackStatus => false,
            Kind::Subscription(subscribed) if by_us != self.is_ours => {
                self.is_accepted && subscribed.view.we_publish != by_us
            }
            _ => by_us == self.is_ours,
        }
    }

    /// What a REQUEST_UPDATE of this request may carry; `None` when there is no such thing.
    pub(super) fn updatable(&self) -> Option<Scope> {
        match &self.kind {
            Kind::Subscription(_) => Some(Scope::UpdateSubscription),
            Kind::Fetch(_) => Some(Scope::UpdateFetch),
            Kind::TrackStatus => None,
            Kind::PublishNamespace => Some(Scope::UpdatePublishNamespace),
            Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_) => Some(Scope::UpdatePrefix),
        }
    }

    /// What the REQUEST_OK that accepts this request may carry; `None` when it is another message that does.
    pub(super) fn answerable(&self) -> Option<Scope> {
        match &self.kind {
            // Only PUBLISH is answered by REQUEST_OK; there, who makes the request publishes.
            Kind::Subscription(subscribed) => {
                (subscribed.view.we_publish == self.is_ours).then_some(Scope::PublishOk)
            }
            Kind::Fetch(_) => None,
            Kind::TrackStatus => Some(Scope::TrackStatusOk),
            Kind::PublishNamespace | Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_) => {
                Some(Scope::NamespaceOk)
            }
        }
    }

    /// True when no track name belongs to the request, so that none may stand in a redirect (draft 10.6.1).
    pub(super) fn is_namespace_scoped(&self) -> bool {
        matches!(self.kind, Kind::PublishNamespace | Kind::SubscribeNamespace(_) | Kind::SubscribeTracks(_))
    }
}

/// How a request ends, as seen from our side of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All was said, and what is still on its way is welcome: FIN.
    Done,
    /// All was said, and nothing more is wanted or sent: FIN, data streams aborted.
    Refused,
    /// Reset and stopped with this code, data streams too.
    Aborted(StreamResetCode),
}

impl Ending {
    /// The code for data streams that end with the request; `None` leaves them alone.
    pub(super) fn data_code(self) -> Option<StreamResetCode> {
        match self {
            Ending::Done => None,
            Ending::Refused => Some(StreamResetCode::Cancelled),
            Ending::Aborted(code) => Some(code),
        }
    }
}

/// The peer sent something that this request does not allow now.
pub(super) const UNEXPECTED: Violation =
    Violation::protocol("a message came that its request does not allow at this point");
