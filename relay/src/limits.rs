//! How much of everything the relay takes on.

use std::time::Duration;

/// Limits, each enforced where the thing is made and counted in [`crate::counters::Counters`] when met.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sessions of the whole relay; more are closed at once.
    pub sessions_max: usize,
    /// Sessions of one scope.
    pub sessions_per_scope_max: usize,
    /// Tracks of one scope, those kept for late FETCHes included.
    pub tracks_per_scope_max: usize,
    /// Different namespaces published in one scope.
    pub namespaces_per_scope_max: usize,
    /// Requests a peer may have open at once.
    pub requests_per_session_max: usize,
    /// Tracks sent to one session because it asked for all of a prefix; the rest is PUBLISH_BLOCKED.
    pub offers_per_session_max: usize,
    /// Subgroup streams of one peer that are open at once, in either direction.
    pub streams_per_session_max: usize,
    /// Largest object taken from a stream, bytes.
    pub object_bytes_max: usize,
    /// Objects waiting for one subscriber's connection, bytes.
    pub queue_bytes_max: usize,
    /// Control messages waiting in one session's connection, bytes; more ends the session.
    pub control_bytes_max: usize,
    /// Messages waiting for one session's task; more ends the session.
    pub mailbox_max: usize,
    /// Objects kept for FETCH, all tracks together, bytes.
    pub cache_bytes_max: usize,
    /// Objects are kept for FETCH this long.
    pub cache_age_max: Duration,
    /// A track that ended can be fetched this long.
    pub ended_track_age_max: Duration,
    /// Longest wait of a SUBSCRIBE for a publisher (RENDEZVOUS_TIMEOUT).
    pub rendezvous_max: Duration,
    /// Longest wait of a FETCH for objects from upstream (FILL_TIMEOUT), and the wait when it is absent.
    pub fill_timeout_max: Duration,
    /// FETCHes toward one publisher at once.
    pub repairs_per_session_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions_max: 10_000,
            sessions_per_scope_max: 2_000,
            tracks_per_scope_max: 20_000,
            namespaces_per_scope_max: 4_000,
            requests_per_session_max: 2_000,
            offers_per_session_max: 2_000,
            streams_per_session_max: 1_000,
            object_bytes_max: 16 << 20,
            queue_bytes_max: 4 << 20,
            control_bytes_max: 4 << 20,
            mailbox_max: 10_000,
            cache_bytes_max: 512 << 20,
            cache_age_max: Duration::from_secs(30),
            ended_track_age_max: Duration::from_secs(30),
            rendezvous_max: Duration::from_secs(60),
            fill_timeout_max: Duration::from_secs(2),
            repairs_per_session_max: 16,
        }
    }
}
