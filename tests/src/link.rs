//! The lossy link: what a network does to datagrams, decided by a seed.
//!
//! [`Lane`] is one direction of the link as values: datagrams and the time go in, datagrams and deadlines come out, so
//! it runs in virtual time as well as over sockets. [`Link`] puts it between real programs: a UDP proxy on loopback
//! that needs no rights. The binary `roundtable-link` is the same for people.

mod impairment;
mod lane;
mod proxy;
mod random;

pub use impairment::{Burst, Impairment, ImpairmentError, Rate, Reorder, parse_duration};
pub use lane::{Counters, Lane};
pub use proxy::{Direction, Link, Settings};
