//! Programs that die in the middle: what the others see, and what is left on the disk.

use std::time::{Duration, Instant};

use super::*;
use roundtable_tests::harness::{Clip, frames_of, lines_of};

/// A recorded room in which a film plays, so far that these many pictures have been recorded.
fn playing(relay: &Relay, film: &Path, into: &Path, pictures: u64) -> (Process, Process) {
    let recorder = relay.record(&relay.url("cinema"), into, &["--until-empty"]);
    let film = publish(&relay.url("cinema"), "ann", film, &["--reconnect", "0"]);
    recorder
        .wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() >= Some(pictures));
    (recorder, film)
}

#[test]
fn a_publisher_that_vanishes_ends_its_tracks_for_everybody() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(8.0).make(folder.path(), "film.webm");
    let into = folder.path().join("recording");
    let (recorder, publisher) = playing(&relay, &film, &into, 45);
    let other = relay.record(&relay.raw_url("cinema"), &folder.path().join("other"), &["--until-empty"]);
    other.wait_json("began", |line| line["track"] == "camera");
    publisher.kill();
    let died = Instant::now();
    for receiver in [recorder, other] {
        let finished = receiver.wait().expect_success();
        assert_eq!(finished.json("left").len(), 1);
        assert_eq!(finished.json("ended").len(), 2, "{:?}", finished.stdout);
    }
    assert!(died.elapsed() < Duration::from_secs(15), "{:?}", died.elapsed());
    for file in files_of(&into, "ann") {
        assert_eq!(file.end.as_ref().unwrap()["type"], "file_end");
        assert_plays(&file.path);
    }
}

/// Kills a recorder and looks at what it leaves.
fn killed_recorder_loses_little(clip: &Clip, name: &str) {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = clip.make(folder.path(), name);
    let into = folder.path().join("recording");
    let (recorder, publisher) = playing(&relay, &film, &into, 90);
    let seen = |recorder: &Process, track: &str| {
        let lines = recorder.stdout_lines().into_iter().rev();
        let mut lines = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(&line).ok());
        lines.find(|line| line["type"] == "figures" && line["track"] == track).unwrap()["frames"]
            .as_u64()
            .unwrap()
    };
    let (pictures, sounds) = (seen(&recorder, "camera"), seen(&recorder, "audio"));
    recorder.kill();
    publisher.kill();

    let sent = streams_of(&film);
    let files = files_of(&into, "ann");
    assert_eq!(files.len(), 2);
    for file in &files {
        assert!(file.end.is_none(), "nobody ended {file:?}");
        let (sent, seen) = match file.track.as_str() {
            "camera" => (&sent[0], pictures),
            _ => (&sent[1], sounds),
        };
        // As it lies there, before anybody repairs it: it plays, and begins as the film begins.
        let kept = frames_of(&file.path);
        let per_second = (1.0 / (sent.frames[1].pts - sent.frames[0].pts).abs().max(0.02)).ceil() as usize;
        assert!(
            kept.len() + 2 * per_second.max(30) >= seen as usize,
            "{}: {} frames of {seen} are left",
            file.track,
            kept.len()
        );
        for (sent, kept) in sent.frames.iter().zip(&kept) {
            assert_eq!(sent.hash, kept.hash);
        }
    }
    assert_eq!(lines_of(&into).iter().filter(|line| line["type"] == "end").count(), 0);

    // The next recorder makes it whole, with an index, before it does anything else.
    let next = relay.record(&relay.url("other"), &into, &[]);
    next.interrupt().expect_success();
    for file in files_of(&into, "ann") {
        let end = file.end.as_ref().unwrap();
        assert_eq!(end["type"], "file_repaired");
        let kept = frames_of(&file.path);
        assert_eq!(end["frames"].as_u64(), Some(kept.len() as u64));
        assert_plays(&file.path);
        assert!(duration_of(&file.path) > 1.0, "{file:?}");
    }
}

/// Seconds that a file's head says it lasts.
fn duration_of(path: &Path) -> f64 {
    let probe = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(probe.stdout).unwrap();
    text.trim().parse().unwrap_or_else(|_| panic!("{} does not say how long it is: {text:?}", path.display()))
}

#[test]
fn a_recorder_that_is_killed_leaves_webm_that_plays_and_is_repaired() {
    killed_recorder_loses_little(&Clip::new(&VP8, &OPUS).seconds(8.0), "film.webm");
}

#[test]
fn a_recorder_that_is_killed_leaves_mp4_that_plays_and_is_repaired() {
    killed_recorder_loses_little(&Clip::new(&H264, &["-c:a", "aac"]).seconds(8.0), "film.mp4");
}

#[test]
fn a_relay_that_dies_is_said_by_everybody_and_the_files_are_finished() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(20.0).make(folder.path(), "film.webm");
    let into = folder.path().join("recording");
    let (recorder, publisher) = playing(&relay, &film, &into, 45);
    relay.kill();
    let died = Instant::now();
    for tool in [recorder, publisher] {
        let said = tool.wait().expect_failure();
        assert!(said.contains("the connection to the relay was lost"), "{said}");
    }
    assert!(died.elapsed() < Duration::from_secs(15), "{:?}", died.elapsed());
    for file in files_of(&into, "ann") {
        assert_eq!(file.end.as_ref().unwrap()["type"], "file_end");
        assert_plays(&file.path);
    }
}

#[test]
fn a_relay_that_is_told_to_stop_is_said_too() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(20.0).make(folder.path(), "film.webm");
    let into = folder.path().join("recording");
    let (recorder, publisher) = playing(&relay, &film, &into, 45);
    relay.process().signal("INT");
    for tool in [recorder, publisher] {
        let said = tool.wait().expect_failure();
        assert!(said.contains("the relay"), "{said}");
    }
    for file in files_of(&into, "ann") {
        assert_eq!(file.end.as_ref().unwrap()["type"], "file_end");
        assert_plays(&file.path);
    }
}

#[test]
fn a_relay_that_comes_back_is_found_again_and_the_film_goes_on() {
    let relay = Relay::start();
    let address = relay.quic().to_string();
    let folder = tempfile::tempdir().unwrap();
    // Longer than it takes to notice that a relay is dead.
    let film = Clip::new(&VP8, &OPUS).seconds(14.0).make(folder.path(), "film.webm");
    let before = relay.record(&relay.url("cinema"), &folder.path().join("before"), &[]);
    let publisher = publish(&relay.url("cinema"), "ann", &film, &[]);
    let shown = |line: &serde_json::Value| line["track"] == "camera" && line["frames"].as_u64() >= Some(45);
    before.wait_json("figures", shown);
    relay.kill();
    let relay = Relay::start_at(&address, &[]);
    let after = relay.record(&relay.url("cinema"), &folder.path().join("after"), &["--until-empty"]);
    publisher.wait().expect_success();
    after.wait().expect_success();
    let files = files_of(&folder.path().join("after"), "ann");
    assert_eq!(files.len(), 2);
    for stream in &streams_of(&film) {
        let (_, kept) = with_stream(&files, stream);
        let last = |stream: &Stream| stream.frames.last().unwrap().hash.clone();
        assert_eq!(last(&kept), last(stream), "the end was missed");
        assert!(kept.frames.len() > 25, "{} frames", kept.frames.len());
    }
    before.kill();
}

#[test]
fn a_participant_who_comes_back_gets_files_of_its_own() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(1.0).make(folder.path(), "film.webm");
    let into = folder.path().join("recording");
    let recorder = relay.record(&relay.url("cinema"), &into, &[]);
    for _ in 0..2 {
        publish(&relay.url("cinema"), "ann", &film, &[]).wait().expect_success();
    }
    let mut left = 0;
    recorder.wait_stdout("second farewell", |line| {
        left += usize::from(line.contains("\"left\""));
        (left == 2).then_some(())
    });
    recorder.interrupt().expect_success();
    let files = files_of(&into, "ann");
    assert_eq!(files.len(), 4, "{files:?}");
    for stream in streams_of(&film) {
        let track = if stream.media == "video" { "camera" } else { "audio" };
        for file in files.iter().filter(|file| file.track == track) {
            assert_same(&stream, &streams_of(&file.path)[0]);
        }
    }
}
