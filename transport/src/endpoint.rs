//! The server's side of UDP: sockets, handshakes, and a queue of who wants in.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quinn::{EndpointConfig as QuinnEndpointConfig, TokioRuntime};
use roundtable_moqt::SessionError;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tracing::Instrument as _;

use crate::{
    incoming::{self, HandshakeError, Incoming},
    quic::{QuicConfig, StreamLimits},
    socket,
    tls::Certificates,
};

/// Settings of a server's endpoint.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Where to listen; port 0 lets the system choose one per address.
    pub listen: Vec<SocketAddr>,
    /// The certificate, replaceable while running.
    pub certificates: Certificates,
    /// Of every connection.
    pub quic: QuicConfig,
    /// UDP buffers of each socket, bytes, each direction.
    pub socket_buffer_bytes: usize,
    /// From the first packet to the CONNECT request, or to the end of the raw QUIC handshake.
    pub handshake_timeout: Duration,
    /// Handshakes at once, per socket; more are refused.
    pub handshakes_max: usize,
    /// Handshakes at once, per socket, above which clients must first prove that their address is theirs (Retry,
    /// one round trip more).
    pub handshakes_before_retry: usize,
    /// Sessions that wait in [`Endpoint::accept`]'s queue; more wait in their handshake, until it times out.
    pub queue_max: usize,
}

impl EndpointConfig {
    /// The usual settings.
    pub fn new(listen: Vec<SocketAddr>, certificates: Certificates) -> Self {
        EndpointConfig {
            listen,
            certificates,
            quic: QuicConfig::default(),
            socket_buffer_bytes: 4 << 20,
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 1024,
            handshakes_before_retry: 128,
            queue_max: 64,
        }
    }
}

/// Why an endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or not ours.
    #[error("cannot listen on UDP {address}: {source}")]
    Socket {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What happened to clients that [`Endpoint::accept`] never saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointCounters {
    /// Refused: too many handshakes at once.
    pub handshakes_refused: u64,
    /// Asked to prove their address first.
    pub handshakes_retried: u64,
    /// Did not finish in time.
    pub handshakes_timed_out: u64,
    /// Failed: no common protocol, certificate refused, not WebTransport, nonsense.
    pub handshakes_failed: u64,
}

#[derive(Debug, Default)]
struct Counting {
    refused: AtomicU64,
    retried: AtomicU64,
    timed_out: AtomicU64,
    failed: AtomicU64,
}

/// A server: WebTransport and raw QUIC on the same UDP ports.
#[derive(Debug)]
pub struct Endpoint {
    sockets: Vec<quinn::Endpoint>,
    queue: Mutex<mpsc::Receiver<Incoming>>,
    counting: Arc<Counting>,
    /// Ends them when the endpoint is dropped.
    _accepting: JoinSet<()>,
}

impl Endpoint {
    /// Listens on all addresses, or on none. Must be called within a tokio runtime.
    pub fn bind(config: EndpointConfig) -> Result<Self, BindError> {
        let tls = config.certificates.server_config()?;
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        server.transport_config(Arc::new(config.quic.transport())).migration(true);

        let mut sockets = Vec::new();
        for &address in &config.listen {
            let endpoint = socket::bind(address, config.socket_buffer_bytes).and_then(|socket| {
                quinn::Endpoint::new(
                    QuinnEndpointConfig::default(),
                    Some(server.clone()),
                    socket,
                    Arc::new(TokioRuntime),
                )
            });
            sockets.push(endpoint.map_err(|source| BindError::Socket { address, source })?);
        }

        let (queue, incoming) = mpsc::channel(config.queue_max.max(1));
        let counting = Arc::new(Counting::default());
        let mut accepting = JoinSet::new();
        for socket in &sockets {
            let handshakes = Handshakes {
                timeout: config.handshake_timeout,
                before_retry: config.handshakes_before_retry,
                max: config.handshakes_max,
                free: Arc::new(Semaphore::new(config.handshakes_max)),
                queue: queue.clone(),
                counting: counting.clone(),
                stream_limits: config.quic.stream_limits(),
            };
            accepting.spawn(handshakes.run(socket.clone()));
        }
        Ok(Endpoint { sockets, queue: Mutex::new(incoming), counting, _accepting: accepting })
    }

    /// The addresses listened on, ports resolved, in the order of [`EndpointConfig::listen`].
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// The next client that has finished its handshake, and for WebTransport has sent its CONNECT. `None` when the
    /// endpoint is closed. Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        self.queue.lock().await.recv().await
    }

    /// Refuses new connections from now on; sessions go on.
    pub fn stop_accepting(&self) {
        for socket in &self.sockets {
            socket.set_server_config(None);
        }
    }

    /// Closes every connection that is left, and waits, but not for long, until the peers know.
    pub async fn close(&self) {
        const WAIT_MAX: Duration = Duration::from_secs(2);
        let code = quinn::VarInt::from_u64(SessionError::NoError.code()).unwrap_or_default();
        for socket in &self.sockets {
            socket.close(code, b"the server is stopping");
        }
        let idle = async {
            for socket in &self.sockets {
                socket.wait_idle().await;
            }
        };
        let _ = tokio::time::timeout(WAIT_MAX, idle).await;
    }

    /// QUIC connections that exist, in whatever state.
    pub fn connections(&self) -> usize {
        self.sockets.iter().map(quinn::Endpoint::open_connections).sum()
    }

    /// Counts since the start.
    pub fn counters(&self) -> EndpointCounters {
        EndpointCounters {
            handshakes_refused: self.counting.refused.load(Ordering::Relaxed),
            handshakes_retried: self.counting.retried.load(Ordering::Relaxed),
            handshakes_timed_out: self.counting.timed_out.load(Ordering::Relaxed),
            handshakes_failed: self.counting.failed.load(Ordering::Relaxed),
        }
    }
}

/// The handshakes of one socket: each in a task of its own, so that a slow one delays nobody.
struct Handshakes {
    timeout: Duration,
    before_retry: usize,
    max: usize,
    free: Arc<Semaphore>,
    queue: mpsc::Sender<Incoming>,
    counting: Arc<Counting>,
    stream_limits: StreamLimits,
}

impl Handshakes {
    async fn run(self, socket: quinn::Endpoint) {
        // Dropped with this future, which ends the handshakes too.
        let mut running = JoinSet::new();
        while let Some(connecting) = socket.accept().await {
            while running.try_join_next().is_some() {}
            let Ok(permit) = self.free.clone().try_acquire_owned() else {
                self.counting.refused.fetch_add(1, Ordering::Relaxed);
                connecting.refuse();
                continue;
            };
            let in_progress = self.max - self.free.available_permits();
            if in_progress > self.before_retry && connecting.may_retry() {
                self.counting.retried.fetch_add(1, Ordering::Relaxed);
                // Fails only when the address is validated already, which may_retry excludes.
                let _ = connecting.retry();
                continue;
            }
            let span = tracing::debug_span!("handshake", peer = %connecting.remote_address());
            let handshake = incoming::handshake(connecting, self.stream_limits);
            let handshake =
                bounded(handshake, self.timeout, self.queue.clone(), self.counting.clone(), permit);
            running.spawn(handshake.instrument(span));
        }
    }
}

/// A handshake, and its wait for the queue, within its time.
async fn bounded(
    handshake: impl Future<Output = Result<Incoming, HandshakeError>>,
    timeout: Duration,
    queue: mpsc::Sender<Incoming>,
    counting: Arc<Counting>,
    _permit: OwnedSemaphorePermit,
) {
    let finished = async {
        let incoming = handshake.await?;
        // A full queue holds up this client alone.
        let _ = queue.send(incoming).await;
        Ok::<_, HandshakeError>(())
    };
    match tokio::time::timeout(timeout, finished).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            counting.failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, "handshake failed");
        }
        Err(_) => {
            counting.timed_out.fetch_add(1, Ordering::Relaxed);
            tracing::debug!("handshake timed out");
        }
    }
}
