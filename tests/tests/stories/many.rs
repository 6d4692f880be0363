//! A full room: everybody gets all of it, and nobody pays for another.

use super::*;
use roundtable_tests::harness::Clip;

#[test]
fn two_publishers_and_five_subscribers_at_once_get_all_of_it_by_either_transport() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let ann = Clip::new(&VP8, &OPUS).seconds(3.0).make(folder.path(), "ann.webm");
    let bob = Clip::new(&H264, &OPUS).seconds(3.0).make(folder.path(), "bob.mkv");
    let (quic, raw) = (relay.url("hall"), relay.raw_url("hall"));
    let recorders: Vec<_> = (0..5)
        .map(|number| {
            let into = folder.path().join(format!("recording-{number}"));
            let url = if number % 2 == 0 { &quic } else { &raw };
            // Until both have been there: the first to go must not end it.
            (relay.record(url, &into, &[]), into)
        })
        .collect();
    let ann_plays = publish(&quic, "ann", &ann, &[]);
    let bob_plays = publish(&raw, "bob", &bob, &[]);
    ann_plays.wait().expect_success();
    bob_plays.wait().expect_success();
    for (recorder, into) in recorders {
        for who in ["ann", "bob"] {
            recorder.wait_json("left", |line| line["participant"] == who);
        }
        recorder.interrupt().expect_success();
        assert_recorded(&ann, &into, "ann");
        assert_recorded(&bob, &into, "bob");
    }
}

#[test]
fn a_subscriber_that_stops_reading_costs_the_others_nothing() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(4.0).make(folder.path(), "film.webm");
    let (stuck_into, into) = (folder.path().join("stuck"), folder.path().join("recording"));
    let stuck = relay.record(&relay.url("hall"), &stuck_into, &[]);
    let recorder = relay.record(&relay.url("hall"), &into, &["--until-empty"]);
    let film_plays = publish(&relay.url("hall"), "ann", &film, &[]);
    stuck.wait_json("began", |line| line["track"] == "camera");
    stuck.signal("STOP");
    film_plays.wait().expect_success();
    recorder.wait().expect_success();
    assert_recorded(&film, &into, "ann");
    // Woken again it finishes what it has.
    stuck.signal("CONT");
    stuck.signal("INT");
    stuck.wait();
    for file in recorded_in(&stuck_into) {
        assert_plays(&file.path);
    }
}
