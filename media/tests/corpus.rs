//! What the fuzzers found worth keeping, replayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

#[path = "../../fuzz/src/media.rs"]
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
fn the_corpus_of_containers_holds() {
    replay("media_container", decoders::container);
}

#[test]
fn the_corpus_of_catalogs_holds() {
    replay("media_catalog", decoders::catalog);
}

#[test]
fn the_corpus_of_media_properties_holds() {
    replay("media_properties", decoders::properties);
}

#[test]
fn the_corpus_of_media_objects_holds() {
    replay("media_objects", decoders::objects);
}
