//! What the fuzzer found worth keeping, replayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use roundtable_forward::replay::replay;

#[test]
fn the_corpus_of_tracks_and_queues_holds() {
    let folder = format!("{}/../fuzz/corpus/forward", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        replay(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "{folder} has {inputs} inputs");
    replay(&[]);
}
