//! QUIC for Roundtable: WebTransport and raw QUIC on one UDP port, TLS, and the driver of a session.
//!
//! The only crate that touches QUIC. A server is an [`Endpoint`] that yields [`Incoming`] sessions of both kinds;
//! a client dials with [`connect`]. Both end in a [`Connection`], on which [`drive`] runs a session and its [`App`].
//!
//! - [`endpoint`], [`incoming`]: UDP sockets, handshakes, and who wants in.
//! - [`client`]: `https://` (WebTransport) and `moqt://` (raw QUIC) URLs.
//! - [`tls`]: certificates that can be replaced while running, and whom a client trusts.
//! - `web_transport`: HTTP/3 as far as the server's side of WebTransport needs it.
//! - `options` (feature `clap`): the options with which command line tools find their relay.
//! - [`connection`]: one session's QUIC connection, whatever carries it.
//! - `congestion`: how much may be on its way to a peer.
//! - [`driver`], [`app`], [`datagrams`]: the loop of one connection, what it calls, and the fast way out.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod app;
pub mod client;
mod codes;
pub mod congestion;
pub mod connection;
pub mod datagrams;
pub mod driver;
pub mod endpoint;
pub mod incoming;
#[cfg(feature = "clap")]
pub mod options;
pub mod quic;
mod socket;
pub mod tls;
mod web_transport;

pub use app::{App, Io, StreamState};
pub use client::{ClientConfig, ConnectError, connect};
pub use connection::{Connection, SetupTarget};
pub use datagrams::{DatagramSender, DatagramSink, PathStats, PendingDatagram, SendError};
pub use driver::{Ended, EndedBy, drive};
pub use endpoint::{BindError, Endpoint, EndpointConfig};
pub use incoming::{AcceptError, ConnectRequest, Incoming, IncomingKind};
#[cfg(feature = "clap")]
pub use options::{ConnectOptions, OptionsError};
pub use quic::QuicConfig;
pub use tls::{CertificateHash, Certificates, Trust};

/// ALPN of MoQT on raw QUIC, and the WebTransport sub-protocol: the version spoken (draft 3.1).
pub const MOQT_PROTOCOL: &str = "moqt-18";
