//! QUIC for Roundtable: WebTransport and raw QUIC on one UDP port, TLS, and the driver of a session.
//!
//! The only crate that touches QUIC. A server is served by web-transport-quinn, a client dials with wtransport
//! (or plain quinn for `moqt://`), and the same [`drive`] loop runs the session of either.

pub mod app;

pub use app::{App, DatagramSender, Io};
