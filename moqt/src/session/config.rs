//! Settings of a session, and the limits that are the same for everybody.

use std::time::Duration;

use crate::message::Setup;

/// Client or server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Opened the connection; its requests are even.
    Client,
    /// Accepted the connection; its requests are odd.
    Server,
}

impl Role {
    /// Lowest bit of this role's request ids (draft 10.1).
    pub(super) const fn parity(self) -> u64 {
        match self {
            Role::Client => 0,
            Role::Server => 1,
        }
    }

    pub(super) const fn peer(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
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
    /// Our SETUP. MAX_AUTH_TOKEN_CACHE_SIZE is filled in from [`Config::auth_token_cache_bytes_max`].
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

impl Config {
    /// Defaults that suit either end of a call.
    pub fn new(role: Role, carrier: Carrier) -> Self {
        Config {
            role,
            carrier,
            setup: Setup::default(),
            setup_timeout: Duration::from_secs(5),
            peer_requests_max: 1024,
            object_bytes_max: 4 << 20,
            unknown_alias_datagrams_max: 256,
            unknown_alias_wait: Duration::from_millis(250),
            auth_token_cache_bytes_max: 16 << 10,
        }
    }
}

/// Bytes of control and request messages that have not arrived whole, and of streams that came before SETUP,
/// all together. A stream that needs more is refused.
pub(super) const HELD_BYTES_MAX: usize = 1 << 20;

/// Bytes of objects that have not arrived whole, or that nobody has taken by [`super::Session::poll_event`],
/// all data streams together (never less than twice the largest object). A stream that needs more is stopped.
pub(super) const DATA_BYTES_MAX: usize = 32 << 20;

/// Data streams of the peer that may be open at once. More are stopped.
pub(super) const DATA_STREAMS_MAX: usize = 4096;

/// Request streams of the peer beyond [`Config::peer_requests_max`] that may linger: refused ones whose end the
/// peer has not sent yet, and ones whose request has not come whole. More are reset.
pub(super) const LINGERING_STREAMS_MAX: usize = 256;

/// Subgroup streams that may wait for their alias at once. More are stopped.
pub(super) const UNKNOWN_ALIAS_STREAMS_MAX: usize = 64;

/// REQUEST_UPDATEs of one request that may wait for their answers, in each direction.
pub(super) const UPDATES_MAX: usize = 64;

/// Bytes of the namespaces that one SUBSCRIBE_NAMESPACE of ours may bring. With more, it is cancelled.
pub(super) const NAMESPACE_BYTES_MAX: usize = 1 << 20;

/// What a namespace costs of [`NAMESPACE_BYTES_MAX`] beyond its own bytes.
pub(super) const NAMESPACE_COST: usize = 64;

/// How long the alias of a subscription that is over stays known at least, and at most: what is still on its way
/// is not taken for something unknown (draft 10.11, 11.1).
pub(super) const LATE_WAIT_MIN: Duration = Duration::from_secs(2);
/// See [`LATE_WAIT_MIN`].
pub(super) const LATE_WAIT_MAX: Duration = Duration::from_secs(30);

/// Aliases of subscriptions that are over. With more, the one that ends first is forgotten.
pub(super) const LATE_ALIASES_MAX: usize = 1024;

/// Gaps between the request ids that the peer used. With more, the oldest counts as used.
pub(super) const REQUEST_ID_GAPS_MAX: usize = 1024;

/// How long an unanswered request of ours waits for an answer after the peer stopped reading its stream.
pub(super) const STOPPED_WAIT: Duration = Duration::from_secs(1);

/// What we tell a peer that has too many requests open: milliseconds until it may try again.
pub(super) const OVERLOAD_RETRY_MS: u64 = 1000;
