//! A session of `roundtable-moqt` against a peer with or without manners and an application without: nothing panics,
//! the books balance, and a peer that follows the draft is never closed. The tests of the crate run the same with
//! random input.

#[path = "../../moqt/tests/world/mod.rs"]
mod world;

use self::world::chaos;

/// The first byte says which peer.
pub fn session(data: &[u8]) {
    match data.split_first() {
        Some((0..=127, rest)) => chaos::run(rest),
        Some((_, rest)) => drop(chaos::run_politely(rest)),
        None => {}
    }
}
