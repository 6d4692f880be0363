//! What the fuzzers found worth keeping, replayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../../fuzz/src/moqt.rs"]
mod decoders;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = format!("{}/../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut inputs = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs >= 10, "{folder} has {inputs} inputs");
    run(&[]);
}

#[test]
fn the_corpus_of_control_messages_holds() {
    replay("moqt_control", decoders::control);
}

#[test]
fn the_corpus_of_datagrams_holds() {
    replay("moqt_datagram", decoders::datagram);
}

#[test]
fn the_corpus_of_subgroup_streams_holds() {
    replay("moqt_subgroup", decoders::subgroup);
}

#[test]
fn the_corpus_of_fetch_streams_holds() {
    replay("moqt_fetch", decoders::fetch);
}

#[test]
fn the_corpus_of_properties_holds() {
    replay("moqt_properties", decoders::properties);
}
