//! A TCP listener and its connections: plain, TLS, or plain for a trusted proxy; bounded in number and in time.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tower::{ServiceExt as _, service_fn};

use super::Via;

/// Connections of one listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// TLS handshake, or the first byte of a request.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Waiting for a request's head, the time between two requests included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// How long running requests may take when the relay stops.
const GRACE: Duration = Duration::from_secs(2);
/// The first byte of every TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

/// What connections of a listener speak.
#[derive(Clone)]
pub enum Manner {
    /// HTTP.
    Plain,
    /// HTTPS.
    Tls {
        /// Does the handshakes.
        acceptor: TlsAcceptor,
        /// Answers who speaks HTTP to this port all the same.
        redirects: Router,
    },
    /// HTTP from these addresses; everybody else is turned away.
    BehindProxy(Arc<[IpAddr]>),
}

/// Accepts connections until `stop` turns true, then lets running requests end.
pub async fn serve(listener: TcpListener, manner: Manner, router: Router, mut stop: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or the peer is gone already: neither is mended by trying at once.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let connection = connection(stream, peer, manner.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("some requests were cut off");
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    manner: Manner,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let via = Via { peer, local: stream.local_addr()?, is_https: false };
    match manner {
        Manner::Plain => requests(stream, via, router, watcher).await,
        Manner::BehindProxy(proxies) if proxies.contains(&peer.ip().to_canonical()) => {
            requests(stream, via, router, watcher).await
        }
        Manner::BehindProxy(_) => requests(stream, via, Router::new().fallback(not_the_proxy), watcher).await,
        Manner::Tls { acceptor, redirects } => {
            let mut first = [0; 1];
            timeout(HANDSHAKE_TIMEOUT, stream.peek(&mut first)).await??;
            if first == [TLS_HANDSHAKE] {
                let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
                let via = Via { is_https: true, ..via };
                requests(stream, via, router, watcher).await
            } else {
                requests(stream, via, redirects, watcher).await
            }
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    via: Via,
    router: Router,
    watcher: Watcher,
) -> io::Result<()> {
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(via);
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    watcher.watch(connection).await.map_err(io::Error::other)
}

async fn not_the_proxy() -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, "This address serves the proxy in front of it only (--trusted-proxy).\n")
}
