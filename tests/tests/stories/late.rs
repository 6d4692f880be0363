//! Who comes late sees a picture at once.

use std::time::{Duration, Instant};

use super::*;
use roundtable_tests::harness::{Clip, frames_of};

#[test]
fn a_late_subscriber_begins_with_the_cached_key_frame_and_not_with_the_next_one() {
    for raw in [false, true] {
        let relay = Relay::start();
        let folder = tempfile::tempdir().unwrap();
        // One key frame, at the very beginning.
        let video = [&VP8[..], &["-g", "1000"]].concat();
        let film = Clip::new(&video, &OPUS).seconds(4.0).make(folder.path(), "film.webm");
        let url = if raw { relay.raw_url("cinema") } else { relay.url("cinema") };
        let first = relay.record(&url, &folder.path().join("first"), &["--until-empty"]);
        let film_plays = publish(&relay.url("cinema"), "ann", &film, &[]);
        first.wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() > Some(45));

        let came = Instant::now();
        let into = folder.path().join("late");
        let late = relay.record(&url, &into, &["--until-empty"]);
        late.wait_json("began", |line| line["track"] == "camera");
        let waited = came.elapsed();
        assert!(waited < Duration::from_millis(1500), "the first picture took {waited:?}");
        film_plays.wait().expect_success();
        first.wait().expect_success();
        late.wait().expect_success();

        let sent = frames_of_video(&film);
        let files = files_of(&into, "ann");
        let picture = files.iter().find(|file| file.track == "camera").unwrap();
        let kept = frames_of(&picture.path);
        assert_eq!(
            kept,
            frames_of(
                &files_of(&folder.path().join("first"), "ann")
                    .iter()
                    .find(|file| file.track == "camera")
                    .unwrap()
                    .path
            )
        );
        assert_eq!(kept[0].hash, sent[0].hash, "it begins with the key frame of the beginning");
    }
}

fn frames_of_video(film: &Path) -> Vec<roundtable_tests::harness::Frame> {
    streams_of(film).into_iter().find(|stream| stream.media == "video").unwrap().frames
}
