//! What a room wants done, and by whom.

use roundtable_moqt::{
    FullTrackName, Namespace, PublishDoneCode,
    message::{RequestError, RequestId},
};

use super::{LinkId, SessionId};

/// Something for one session to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Action<T> {
    /// Who.
    pub session: SessionId,
    /// What.
    pub command: Command<T>,
}

/// What a session can be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command<T> {
    // ---- toward a publisher
    /// SUBSCRIBE to a track of the peer.
    SubscribeUpstream {
        /// Its name from now on.
        link: LinkId,
        /// The track.
        name: FullTrackName,
        /// Where its objects go.
        track: T,
        /// NEW_GROUP_REQUEST to pass on.
        new_group: Option<u64>,
    },
    /// REQUEST_UPDATE of a track that the peer publishes.
    UpdateUpstream {
        /// Which.
        link: LinkId,
        /// Whether anybody wants it, if that changed.
        forward: Option<bool>,
        /// NEW_GROUP_REQUEST to pass on.
        new_group: Option<u64>,
    },
    /// Nobody wants it any more; the link is gone.
    CancelUpstream {
        /// Which.
        link: LinkId,
    },

    // ---- toward a subscriber
    /// SUBSCRIBE_OK; objects from now on go there.
    AcceptSubscribe {
        /// Which.
        link: LinkId,
        /// The track.
        track: T,
    },
    /// REQUEST_ERROR to a SUBSCRIBE; the link is gone.
    RefuseSubscribe {
        /// Which.
        link: LinkId,
        /// Why.
        error: RequestError,
    },
    /// PUBLISH to the peer, that asked for all tracks of a prefix; objects from now on go there.
    Offer {
        /// Its name from now on.
        link: LinkId,
        /// The track.
        name: FullTrackName,
        /// The same.
        track: T,
        /// What its SUBSCRIBE_TRACKS said.
        forward: bool,
    },
    /// PUBLISH_DONE, once what is queued has been sent; the link is gone.
    EndSubscription {
        /// Which.
        link: LinkId,
        /// Why.
        code: PublishDoneCode,
    },
    /// PUBLISH_BLOCKED in answer to SUBSCRIBE_TRACKS.
    PublishBlocked {
        /// The SUBSCRIBE_TRACKS.
        request: RequestId,
        /// The track that is not offered.
        name: FullTrackName,
    },
    /// NAMESPACE in answer to SUBSCRIBE_NAMESPACE.
    Namespace {
        /// The SUBSCRIBE_NAMESPACE.
        request: RequestId,
        /// The whole namespace.
        namespace: Namespace,
    },
    /// NAMESPACE_DONE.
    NamespaceDone {
        /// The SUBSCRIBE_NAMESPACE.
        request: RequestId,
        /// The whole namespace.
        namespace: Namespace,
    },
}
