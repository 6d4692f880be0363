//! No film at hand: the test card.

use std::time::Duration;

use super::*;
use roundtable_tests::harness::frames_of;

#[test]
fn the_test_card_plays_until_it_is_told_to_stop() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let recorder = relay.record(&relay.url("try"), folder.path(), &["--until-empty"]);
    let mut command = publisher(&relay.url("try"));
    let card = Process::start("publisher", command.args(["--json", "--name", "card"]));
    recorder.wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() > Some(100));
    card.interrupt().expect_success();
    recorder.wait().expect_success();
    let files = files_of(folder.path(), "card");
    assert_eq!(files.iter().map(|file| file.track.as_str()).collect::<Vec<_>>().len(), 2);
    for file in files {
        assert_eq!(file.frames_missing, 0);
        assert_plays(&file.path);
        let frames = frames_of(&file.path);
        // It goes round without a break: as many frames as the time asks for, each after the one before.
        let span = Duration::from_secs_f64(frames.last().unwrap().pts - frames[0].pts);
        let longest = frames.windows(2).map(|pair| pair[1].pts - pair[0].pts).fold(0.0, f64::max);
        assert!(frames.windows(2).all(|pair| pair[1].pts > pair[0].pts));
        assert!(span > Duration::from_secs(3), "{}: {span:?}", file.track);
        assert!(longest < 0.05, "{}: {longest}", file.track);
        if file.track == "camera" {
            let pictures: std::collections::BTreeSet<_> = frames.iter().map(|frame| &frame.hash).collect();
            assert!(pictures.len() > frames.len() / 2, "the picture moves");
        }
    }
}
