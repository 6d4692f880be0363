//! Who comes late sees a picture at once.

use std::time::{Duration, Instant};

use super::*;
use std::process::{Command, Stdio};

use roundtable_tests::harness::{Clip, Frame, frames_of, subscriber};

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

        let kept = pictures(&into);
        assert_eq!(
            kept[0].hash,
            frames_of_video(&film)[0].hash,
            "it begins with the key frame of the beginning"
        );
        assert_eq!(kept, pictures(&folder.path().join("first")), "and has everything since");
    }
}

/// The recorded pictures of ann.
fn pictures(folder: &Path) -> Vec<Frame> {
    let files = files_of(folder, "ann");
    frames_of(&files.iter().find(|file| file.track == "camera").unwrap().path)
}

#[test]
fn a_late_player_begins_with_the_cached_key_frame_too() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let video = [&VP8[..], &["-g", "1000"]].concat();
    let film = Clip::new(&video, &OPUS).seconds(4.0).make(folder.path(), "film.webm");
    let first = relay.record(&relay.url("tv"), &folder.path().join("first"), &["--until-empty"]);
    let film_plays = publish(&relay.url("tv"), "ann", &film, &[]);
    first.wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() > Some(45));
    let out = folder.path().join("out.mkv");
    let mut command = subscriber(&relay.url("tv"));
    command.args(["-o", "-", "--until-empty"]).stdout(Stdio::piped());
    let mut player = Process::start_with_stdout("subscriber", &mut command);
    let mut decoder = Command::new("ffmpeg");
    decoder.args(["-hide_banner", "-loglevel", "error", "-xerror", "-i", "-", "-c", "copy", "-y"]);
    let decoder = Process::start("ffmpeg", decoder.arg(&out).stdin(player.take_stdout()));
    film_plays.wait().expect_success();
    first.wait().expect_success();
    player.wait().expect_success();
    decoder.wait().expect_success();
    let (sent, played) = (frames_of_video(&film), frames_of(&out));
    assert_eq!(played[0].hash, sent[0].hash);
    assert_plays(&out);
}

fn frames_of_video(film: &Path) -> Vec<Frame> {
    streams_of(film).into_iter().find(|stream| stream.media == "video").unwrap().frames
}
