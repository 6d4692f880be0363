//! The relay itself: its scopes, and what all sessions share.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_forward::{Budget, CacheLimits, queue::QueueLimits};
use roundtable_moqt::{
    Config, FullTrackName, Role, Session, SessionError,
    message::{Setup, TrackAlias},
};
use roundtable_transport::{Connection, Ended, drive};
use tracing::Instrument as _;

use crate::{
    counters::Counters,
    fanout::{Outlet, Track},
    limits::Limits,
    meeting::Meetings,
    room::{RoomLimits, SessionId},
    scope::{Scope, ScopeName},
    session::{Handle, Order, Peer},
};

/// How often what is due by time alone is looked at.
const TEND_INTERVAL: Duration = Duration::from_secs(1);
/// How long a SUBSCRIBE waits for a publisher that is asked, and that has begun to send.
const UPSTREAM_WAIT_MAX: Duration = Duration::from_secs(5);
/// See above.
const FORWARD_WAIT_MAX: Duration = Duration::from_secs(1);
/// What we are, in SETUP.
const IMPLEMENTATION: &str = concat!("roundtable-relay/", env!("CARGO_PKG_VERSION"));

/// What is known of a session before its SETUP.
#[derive(Debug, Clone, Default)]
pub struct Admission {
    /// Its scope, from the CONNECT's path. `None` in raw QUIC, where the path stands in SETUP.
    pub scope: Option<ScopeName>,
    /// The token of the path's query, for tools that cannot put one into SETUP.
    pub token: Option<String>,
}

/// Everything that sessions share.
#[derive(Debug)]
pub struct Relay {
    /// How much of everything.
    pub limits: Limits,
    /// What happened.
    pub counters: Arc<Counters>,
    /// The people in rooms.
    pub meetings: Arc<Meetings>,
    cache: Budget,
    scopes: Mutex<HashMap<ScopeName, Arc<Scope>>>,
    /// What everybody was told when the relay began to stop.
    leaving: OnceLock<(Arc<str>, Duration)>,
    sessions_made: AtomicU64,
    streams_made: AtomicU64,
    aliases_made: Arc<AtomicU64>,
}

impl Relay {
    /// A relay that nobody is in.
    pub fn new(limits: Limits, counters: Arc<Counters>, meetings: Arc<Meetings>) -> Arc<Self> {
        Arc::new(Relay {
            cache: Budget::new(limits.cache_bytes_max),
            limits,
            counters,
            meetings,
            scopes: Mutex::default(),
            leaving: OnceLock::new(),
            sessions_made: AtomicU64::new(0),
            streams_made: AtomicU64::new(0),
            aliases_made: Arc::default(),
        })
    }

    /// Runs the session of a connection that the doors let in, to its end. Dropping the future ends it at once.
    pub async fn serve(self: Arc<Self>, connection: Connection, admission: Admission) -> Ended {
        let id = SessionId(self.sessions_made.fetch_add(1, Ordering::Relaxed));
        let span = tracing::info_span!("session", id = id.0);
        self.run(connection, admission, id).instrument(span).await
    }

    async fn run(self: Arc<Self>, connection: Connection, admission: Admission, id: SessionId) -> Ended {
        let limits = QueueLimits {
            datagram_bytes_max: self.limits.queue_bytes_max,
            stream_bytes_max: self.limits.queue_bytes_max.max(self.limits.object_bytes_max),
            ..QueueLimits::default()
        };
        let outlet = Arc::new(Outlet::new(connection.datagrams(), limits));
        let handle = Arc::new(Handle::new(id, Arc::clone(&outlet), self.limits.mailbox_max));
        let mut session = Session::new(self.session_config(&connection), Instant::now());
        self.counters.sessions_open.increment();
        self.counters.sessions_total.increment();
        let mut seat = Seat { peer: Peer::new(Arc::clone(&self), handle, admission), relay: self };
        if seat.relay.counters.sessions_open.value() > seat.relay.limits.sessions_max as u64 {
            seat.relay.counters.sessions_refused.increment();
            session.close(SessionError::InternalError, "too many sessions");
        }
        let ended = drive(connection, session, &mut seat.peer).await;
        outlet.report(&seat.relay.counters);
        tracing::info!(by = ?ended.by, code = ?ended.code, "left");
        ended
    }

    fn session_config(&self, connection: &Connection) -> Config {
        let setup =
            Setup { implementation: Some(Bytes::from_static(IMPLEMENTATION.as_bytes())), ..Setup::default() };
        Config {
            setup,
            peer_requests_max: self.limits.requests_per_session_max,
            object_bytes_max: self.limits.object_bytes_max,
            ..Config::new(Role::Server, connection.carrier())
        }
    }

    /// Looks after what is due by time alone, for as long as the relay runs: caches, tracks that ended.
    pub async fn tend(self: Arc<Self>) {
        let mut interval = tokio::time::interval(TEND_INTERVAL);
        loop {
            interval.tick().await;
            let now = Instant::now();
            let scopes: Vec<Arc<Scope>> = self.scopes().values().cloned().collect();
            let mut tracks = 0;
            for scope in scopes {
                tracks += scope.tend(now);
                scope.report(&self.counters);
                self.left(&scope);
            }
            self.counters.tracks_open.set(tracks);
        }
    }

    /// Tells everybody to go elsewhere, and ends the sessions that are left after `timeout`.
    pub fn go_away(&self, uri: &str, timeout: Duration) {
        let uri: Arc<str> = uri.into();
        // Whoever is only just coming in is told when it is in.
        let _ = self.leaving.set((Arc::clone(&uri), timeout));
        for scope in self.scopes().values() {
            scope.tell_all(|| Order::GoAway { uri: Arc::clone(&uri), timeout });
        }
    }

    /// Bytes that all caches hold.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    fn scopes(&self) -> MutexGuard<'_, HashMap<ScopeName, Arc<Scope>>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session comes into a scope, made if there is none. `None` when it is full.
    pub(crate) fn enter(&self, name: &ScopeName, handle: &Arc<Handle>) -> Option<Arc<Scope>> {
        let mut scopes = self.scopes();
        let scope = scopes.entry(name.clone()).or_insert_with(|| Arc::new(self.new_scope(name.clone())));
        let has_joined = scope.join(handle.id, Arc::clone(handle), self.limits.sessions_per_scope_max);
        let scope = has_joined.then(|| Arc::clone(scope));
        if let (Some(_), Some((uri, timeout))) = (&scope, self.leaving.get()) {
            handle.send(Order::GoAway { uri: Arc::clone(uri), timeout: *timeout });
        }
        self.counters.scopes_open.set(scopes.len() as u64);
        if scope.is_none() {
            self.counters.sessions_refused.increment();
        }
        scope
    }

    /// Somebody left a scope: it goes with the last of what it keeps.
    pub(crate) fn left(&self, scope: &Scope) {
        let mut scopes = self.scopes();
        if scope.is_empty() {
            scopes.remove(scope.name());
        }
        self.counters.scopes_open.set(scopes.len() as u64);
    }

    fn new_scope(&self, name: ScopeName) -> Scope {
        let limits = RoomLimits {
            tracks_max: self.limits.tracks_per_scope_max,
            namespaces_max: self.limits.namespaces_per_scope_max,
            offers_per_session_max: self.limits.offers_per_session_max,
            rendezvous_max: self.limits.rendezvous_max,
            upstream_wait_max: UPSTREAM_WAIT_MAX,
            forward_wait_max: FORWARD_WAIT_MAX,
            ended_track_age_max: self.limits.ended_track_age_max,
        };
        let aliases = Arc::clone(&self.aliases_made);
        let budget = self.cache.clone();
        let counters = Arc::clone(&self.counters);
        let cache = CacheLimits { age_max: self.limits.cache_age_max, ..CacheLimits::default() };
        Scope::new(name, limits, move |name: &FullTrackName| {
            let alias = TrackAlias(aliases.fetch_add(1, Ordering::Relaxed));
            Arc::new(Track::new(name.clone(), alias, cache.clone(), &budget, Arc::clone(&counters)))
        })
    }

    /// Names a stream of a publisher.
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams_made.fetch_add(1, Ordering::Relaxed)
    }
}

/// A session's place in the relay: given back also when its future is dropped.
struct Seat {
    peer: Peer,
    relay: Arc<Relay>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.peer.leave(Instant::now());
        self.relay.counters.sessions_open.decrement();
    }
}
