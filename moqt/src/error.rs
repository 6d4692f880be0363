//! The draft's codes (3.5, 3.4.1, 10.6, 10.11), each set in one place.

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A number this draft does not define (GREASE, or a newer peer).
            Other(u64),
        }

        impl $name {
            /// The number on the wire.
            pub const fn code(self) -> u64 {
                match self { $($name::$variant => $code,)* $name::Other(code) => code }
            }

            /// The code of a number on the wire.
            pub const fn from_code(code: u64) -> Self {
                match code { $($code => $name::$variant,)* other => $name::Other(other) }
            }
        }
    };
}

codes! {
    /// Why a session ends (draft 3.5).
    SessionError {
        /// No error.
        NoError = 0x0,
        /// Our own bug.
        InternalError = 0x1,
        /// Not allowed to have a session.
        Unauthorized = 0x2,
        /// The peer broke the protocol.
        ProtocolViolation = 0x3,
        /// Wrong parity, or a request id seen before.
        InvalidRequestId = 0x4,
        /// One alias for two tracks.
        DuplicateTrackAlias = 0x5,
        /// A Key-Value-Pair or token that is not what its type says.
        KeyValueFormattingError = 0x6,
        /// PATH where it must not be, or unknown.
        InvalidPath = 0x8,
        /// PATH that is no path.
        MalformedPath = 0x9,
        /// The peer did not leave in time.
        GoAwayTimeout = 0x10,
        /// The peer did not answer in time.
        ControlMessageTimeout = 0x11,
        /// Data on an open stream did not come in time.
        DataStreamTimeout = 0x12,
        /// More registered tokens than allowed.
        AuthTokenCacheOverflow = 0x13,
        /// An alias registered twice.
        DuplicateAuthTokenAlias = 0x14,
        /// No common version.
        VersionNegotiationFailed = 0x15,
        /// A token that is none.
        MalformedAuthToken = 0x16,
        /// An alias nobody registered.
        UnknownAuthTokenAlias = 0x17,
        /// The token's time is over.
        ExpiredAuthToken = 0x18,
        /// AUTHORITY where it must not be, or not ours.
        InvalidAuthority = 0x19,
        /// AUTHORITY that is none.
        MalformedAuthority = 0x1A,
    }
}

codes! {
    /// Why a request is refused (draft 10.6, 15.10.2).
    RequestErrorCode {
        /// Our own bug.
        InternalError = 0x0,
        /// Not allowed.
        Unauthorized = 0x1,
        /// Nobody came in time.
        Timeout = 0x2,
        /// Not a request for this endpoint.
        NotSupported = 0x3,
        /// A token that is none.
        MalformedAuthToken = 0x4,
        /// The token's time is over.
        ExpiredAuthToken = 0x5,
        /// The endpoint is leaving.
        GoingAway = 0x6,
        /// Over a limit.
        ExcessiveLoad = 0x9,
        /// No such track or namespace.
        DoesNotExist = 0x10,
        /// Range or filter that cannot be satisfied.
        InvalidRange = 0x11,
        /// The track broke the draft's rules.
        MalformedTrack = 0x12,
        /// Subscribed already in the same role.
        DuplicateSubscription = 0x19,
        /// The subscriber does not want it.
        Uninterested = 0x20,
        /// Prefix shared with another subscription of the same kind.
        PrefixOverlap = 0x30,
        /// More namespaces than we list.
        NamespaceTooLarge = 0x31,
        /// A joining FETCH of no established subscription.
        InvalidJoiningRequestId = 0x32,
        /// A mandatory track property we do not know.
        UnsupportedExtension = 0x33,
        /// Ask elsewhere.
        Redirect = 0x34,
    }
}

codes! {
    /// Why a subscription ended (draft 10.11).
    PublishDoneCode {
        /// Our own bug.
        InternalError = 0x0,
        /// No longer allowed.
        Unauthorized = 0x1,
        /// The track is no longer published.
        TrackEnded = 0x2,
        /// The filter's end is reached.
        SubscriptionEnded = 0x3,
        /// Somebody is leaving.
        GoingAway = 0x4,
        /// The subscriber is too slow.
        TooFarBehind = 0x5,
        /// The announced time is over.
        Expired = 0x6,
        /// A REQUEST_UPDATE failed.
        UpdateFailed = 0x8,
        /// Overload.
        ExcessiveLoad = 0x9,
        /// The track broke the draft's rules.
        MalformedTrack = 0x12,
    }
}

codes! {
    /// Why a stream is reset or stopped (draft 3.3.3).
    StreamResetCode {
        /// Our own bug.
        InternalError = 0x0,
        /// No longer wanted.
        Cancelled = 0x1,
        /// A delivery timeout passed.
        DeliveryTimeout = 0x2,
        /// The session ends.
        SessionClosed = 0x3,
        /// Somebody is leaving.
        GoingAway = 0x4,
        /// The subscriber is too slow.
        TooFarBehind = 0x5,
        /// A FETCH met an object nobody knows about.
        UnknownObjectStatus = 0x6,
        /// The token's time is over.
        ExpiredAuthToken = 0x7,
        /// Overload.
        ExcessiveLoad = 0x9,
        /// The track broke the draft's rules.
        MalformedTrack = 0x12,
    }
}

/// What the peer did that ends the session: the code to close with and a reason for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code:?})")]
pub struct Violation {
    /// The draft's code.
    pub code: SessionError,
    /// What was wrong, fixed text.
    pub reason: &'static str,
}

impl Violation {
    /// A PROTOCOL_VIOLATION.
    pub const fn protocol(reason: &'static str) -> Self {
        Violation { code: SessionError::ProtocolViolation, reason }
    }

    /// A KEY_VALUE_FORMATTING_ERROR.
    pub const fn key_value(reason: &'static str) -> Self {
        Violation { code: SessionError::KeyValueFormattingError, reason }
    }
}
