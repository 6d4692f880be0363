//! The Roundtable relay: rooms, calls and recordings over Media over QUIC.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | flags, environment and file become one checked [`config::Config`] |
//! | [`command`] | looking after users and making tokens, from the command line |
//! | [`certificate`] | the certificate of QUIC and HTTPS: made or given, renewed while running |
//! | [`data`] | the data folder and its lock |
//! | [`store`] | what lasts about people, rooms and calls: SQLite or Postgres |
//! | [`id`], [`clock`] | names of users, rooms and the rest; the time of day |
//! | [`doors`] | who may come in at all, decided on Host, :authority and Origin |
//! | [`accept`] | who is let in to a call |
//! | [`api`] | the JSON API: signing in, rooms, calls, history |
//! | [`password`], [`rate`] | passwords, slow on purpose; how often somebody may do something |
//! | [`http`] | the page, health, the certificate's hash; metrics on a listener of their own |
//! | [`start`] | brings everything up in order, and down again |
//! | [`token`] | signed tokens: who somebody is and what they may do, for minutes |
//! | [`rights`] | what a session may do, checked in one place |
//! | [`meeting`], [`journal`] | the people in rooms while they are there, and what is written down of it |
//! | [`call`] | ringing people, and what comes of it |
//! | [`limits`], [`counters`] | how much of everything, and what happened |
//! | [`relay`], [`scope`] | what all sessions share, and what those of one room share |
//! | [`session`] | one session: what its peer asks, and what waits for it |
//! | [`fanout`] | objects on their way from publishers to subscribers |
//! | [`room`] | who publishes what and who wants it: values in, actions out |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod accept;
pub mod api;
pub mod call;
pub mod certificate;
pub mod clock;
pub mod command;
pub mod config;
pub mod counters;
pub mod data;
pub mod doors;
pub mod fanout;
pub mod http;
pub mod id;
pub mod journal;
pub mod limits;
pub mod meeting;
pub mod password;
pub mod rate;
pub mod refusal;
pub mod relay;
pub mod rights;
pub mod room;
pub mod scope;
pub mod session;
pub mod start;
pub mod store;
pub mod token;
