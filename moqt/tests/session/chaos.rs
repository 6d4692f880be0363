//! Anything in any order: nothing panics, nothing grows without bound, the books always balance.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::world::{Random, chaos};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_peer_and_no_application_breaks_a_session(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        chaos::run(&bytes);
    }
}

fn noise(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..20_000).map(|_| random.next().to_be_bytes()[0]).collect()
}

#[test]
fn noise_breaks_no_session() {
    (0..500).for_each(|seed| chaos::run(&noise(seed)));
}

#[test]
fn no_application_makes_a_session_end_over_a_polite_peer() {
    let mut told = BTreeMap::<String, usize>::new();
    for seed in 0..20 {
        for (event, times) in chaos::run_politely(&noise(seed)) {
            *told.entry(event).or_default() += times;
        }
    }
    // Everything that can be told was told, but for GOAWAY, which this peer does not send.
    told.remove("Closed");
    let rare: Vec<_> = told.iter().filter(|(_, times)| **times < 3).collect();
    assert!(told.len() == 24 && rare.is_empty(), "{} kinds of events: {told:#?}", told.len());
}
