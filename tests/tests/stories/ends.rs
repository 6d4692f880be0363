//! How it ends: when told to, when the time is up, when everybody has gone; and what scripts are told.

use std::time::{Duration, Instant};

use super::*;
use roundtable_tests::harness::{Clip, frames_of, lines_of, subscriber};

fn card(relay: &Relay) -> Process {
    let mut command = publisher(&relay.url("room"));
    Process::start("publisher", command.args(["--json", "--name", "card"]))
}

#[test]
fn ctrl_c_and_a_polite_kill_finish_the_files() {
    for signal in ["INT", "TERM"] {
        let relay = Relay::start();
        let folder = tempfile::tempdir().unwrap();
        let recorder = relay.record(&relay.url("room"), folder.path(), &[]);
        let card = card(&relay);
        recorder.wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() > Some(60));
        recorder.signal(signal);
        recorder.wait().expect_success();
        assert_eq!(lines_of(folder.path()).last().unwrap()["type"], "end");
        let files = files_of(folder.path(), "card");
        assert_eq!(files.len(), 2);
        for file in &files {
            assert_eq!(file.end.as_ref().unwrap()["type"], "file_end", "{file:?}");
            assert_eq!(file.frames_missing, 0);
            assert_plays(&file.path);
            let frames = frames_of(&file.path);
            assert_eq!(file.end.as_ref().unwrap()["frames_written"].as_u64(), Some(frames.len() as u64));
        }
        card.signal(signal);
        card.wait().expect_success();
    }
}

#[test]
fn a_duration_ends_the_recording_in_time() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let _card = card(&relay);
    relay.wait_joined(1);
    let began = Instant::now();
    let recorder = relay.record(&relay.url("room"), folder.path(), &["--duration", "2s"]);
    recorder.wait().expect_success();
    let took = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    let files = files_of(folder.path(), "card");
    assert_eq!(files.len(), 2);
    for file in &files {
        assert_plays(&file.path);
    }
}

#[test]
fn until_empty_waits_for_the_first_and_ends_with_the_last() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let song = Clip::new(&[], &OPUS).seconds(1.0).make(folder.path(), "song.webm");
    let mut recorder = relay.record(&relay.url("room"), &folder.path().join("recording"), &["--until-empty"]);
    assert!(!recorder.has_ended(), "an empty room is no reason to end before anybody came");
    let card = card(&relay);
    recorder.wait_json("joined", |line| line["participant"] == "card");
    publish(&relay.url("room"), "ann", &song, &[]).wait().expect_success();
    recorder.wait_json("left", |line| line["participant"] == "ann");
    assert!(!recorder.has_ended(), "somebody is still there");
    card.interrupt().expect_success();
    recorder.wait().expect_success();
}

#[test]
fn everything_is_told_as_json_line_by_line() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(3.0).make(folder.path(), "film.webm");
    let recorder = relay.record(&relay.url("room"), &folder.path().join("recording"), &["--until-empty"]);
    let publisher = publish(&relay.url("room"), "ann", &film, &[]).wait().expect_success();
    let recorder = recorder.wait().expect_success();
    for finished in [&publisher, &recorder] {
        assert!(!finished.stdout.is_empty());
        for line in &finished.stdout {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(value["type"].is_string(), "{line}");
        }
    }
    assert_eq!(recorder.json("joined")[0]["participant"], "ann");
    let began: Vec<_> = recorder.json("began").iter().map(|line| line["codec"].clone()).collect();
    assert!(began.contains(&"vp8".into()) && began.contains(&"opus".into()), "{began:?}");
    let figures = recorder.json("figures");
    let busiest = figures.iter().filter_map(|line| line["frames_per_s"].as_f64()).fold(0.0, f64::max);
    assert!((25.0..60.0).contains(&busiest), "{busiest}");
    let finished = &recorder.json("finished")[0];
    assert_eq!((&finished["files"], &finished["frames_lost"]), (&2.into(), &0.into()));
}

#[test]
fn without_a_recording_figures_are_shown_in_plain_lines() {
    let relay = Relay::start();
    let mut command = subscriber(&relay.url("room"));
    let watcher = relay.join("subscriber", command.arg("--until-empty"));
    let card = card(&relay);
    watcher.wait_stdout("line about the camera", |line| line.contains("card/camera").then_some(()));
    card.interrupt().expect_success();
    watcher.wait().expect_success();
}

#[test]
fn only_the_tracks_that_are_asked_for_are_recorded() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(1.0).make(folder.path(), "film.webm");
    let into = folder.path().join("recording");
    let recorder = relay.record(&relay.url("room"), &into, &["--until-empty", "--tracks", "ann/screen*"]);
    publish(&relay.url("room"), "ann", &film, &["--as", "screen"]).wait().expect_success();
    publish(&relay.url("room"), "bob", &film, &["--as", "screen"]).wait().expect_success();
    recorder.wait().expect_success();
    let mut tracks: Vec<_> =
        recorded_in(&into).into_iter().map(|file| (file.participant, file.track)).collect();
    tracks.sort();
    assert_eq!(tracks, [("ann".into(), "screen".into()), ("ann".into(), "screen-audio".into())]);
}
