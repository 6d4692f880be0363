//! What the fuzzer found worth keeping, replayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../../fuzz/src/http3.rs"]
mod http3;

#[test]
fn the_corpus_of_http3_requests_holds() {
    let folder = format!("{}/../fuzz/corpus/http3", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        http3::request(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "{folder} has {inputs} inputs");
    http3::request(&[]);
}
