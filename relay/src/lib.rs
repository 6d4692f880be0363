//! The Roundtable relay: rooms, calls and recordings over Media over QUIC.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | flags, environment and file become one checked [`config::Config`] |
//! | [`certificate`] | the certificate of QUIC and HTTPS: made or given, renewed while running |
//! | [`doors`] | who may come in at all, decided on Host, :authority and Origin |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod certificate;
pub mod config;
pub mod doors;
