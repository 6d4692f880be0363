//! What the relay serves over TCP: the page with its small API ([`page`]), and the metrics on a listener of their
//! own ([`metrics`]). Every request passes the doors ([`guard`]) before anything else looks at it.

pub mod guard;
pub mod metrics;
pub mod page;
pub mod server;

use std::net::SocketAddr;

/// Whom a request came from and through which address of ours; an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Via {
    /// The peer of the TCP connection.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// It speaks TLS.
    pub is_https: bool,
}
