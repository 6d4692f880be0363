//! Load for a relay: many clients in one thread, each a real MoQT session over its own UDP socket.
//!
//! The clients speak QUIC themselves, on quinn-proto, so that they cost little and owe nothing to the relay's own
//! transport: what is measured beside them is the relay.
//!
//! - [`quic`], [`http3`]: one connection, and WebTransport on it, the client's side.
//! - [`client`]: a session with tracks it publishes and tracks it subscribes to.
//! - [`crowd`]: the loop that many clients share.
//! - [`shape`], [`latency`]: what is sent when, and how late it came.
//! - [`lean`], [`sink`]: the least that fan-out could cost, to compare with.
//! - [`process`], [`pin`]: the relay as a process: what it uses, and on which core.
//! - [`bench`]: what `make bench` runs.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod bench;
pub mod client;
pub mod crowd;
pub mod http3;
pub mod latency;
pub mod lean;
pub mod pin;
pub mod process;
pub mod quic;
pub mod shape;
pub mod sink;
