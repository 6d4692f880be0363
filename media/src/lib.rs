//! What MoQ objects mean: formats, catalog, LOC properties, fragments, FEC, containers. Pure: no socket, no clock.

pub mod format;
