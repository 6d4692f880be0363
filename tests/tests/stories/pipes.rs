//! A pipe goes in as it comes, and a track goes out to a player.

use std::process::{Command, Stdio};

use super::*;
use roundtable_tests::harness::{Clip, frames_of, subscriber};

/// ffmpeg writing a clip into a pipe at its real speed.
fn piping(clip: &Clip, format: &[&str]) -> (Process, std::process::ChildStdout) {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-re"]).args(clip.arguments());
    command.args(format).arg("-").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut ffmpeg = Process::start_with_stdout("ffmpeg", &mut command);
    let stdout = ffmpeg.take_stdout();
    (ffmpeg, stdout)
}

#[test]
fn what_ffmpeg_writes_into_a_pipe_arrives_as_it_is_made() {
    for format in [
        &["-f", "webm"][..],
        &["-f", "matroska"],
        &["-f", "mp4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"],
    ] {
        let is_mp4 = format.contains(&"mp4");
        let relay = Relay::start();
        let folder = tempfile::tempdir().unwrap();
        let recorder = relay.record(&relay.url("stage"), folder.path(), &["--until-empty"]);
        let clip = Clip::new(if is_mp4 { &H264 } else { &VP8 }, &OPUS).seconds(3.0);
        let (mut ffmpeg, pipe) = piping(&clip, format);
        let mut command = publisher(&relay.url("stage"));
        command.args(["--json", "--name", "ann", "-"]).stdin(pipe);
        let publisher = Process::start("publisher", &mut command);
        recorder.wait_json("began", |line| line["track"] == "camera");
        assert!(!ffmpeg.has_ended(), "pictures arrived only when everything had been written");
        ffmpeg.wait().expect_success();
        publisher.wait().expect_success();
        recorder.wait().expect_success();
        let files = files_of(folder.path(), "ann");
        let count = |track: &str| {
            let file = files.iter().find(|file| file.track == track).unwrap();
            assert_eq!(file.frames_missing, 0);
            assert_plays(&file.path);
            frames_of(&file.path).len()
        };
        assert_eq!(count("camera"), 90, "{format:?}");
        assert!((149..=152).contains(&count("audio")), "{format:?}: {}", count("audio"));
    }
}

/// Plays a film into a room and one track of it out into a file, as a player would read it.
fn played(video: &[&'static str], arguments: &[&str]) -> (Stream, Vec<Stream>) {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(video, &OPUS).make(folder.path(), "film.mkv");
    let out = folder.path().join("out.mkv");
    let mut command = subscriber(&relay.url("tv"));
    command.args(["-o", "-", "--until-empty"]).args(arguments).stdout(Stdio::piped());
    let before = relay.joined();
    let mut player = Process::start_with_stdout("subscriber", &mut command);
    relay.wait_joined(before + 1);
    let mut decoder = Command::new("ffmpeg");
    decoder.args(["-hide_banner", "-loglevel", "error", "-xerror", "-i", "-", "-c", "copy", "-y"]);
    decoder.arg(&out).stdin(player.take_stdout());
    let decoder = Process::start("ffmpeg", &mut decoder);
    publish(&relay.url("tv"), "ann", &film, &[]).wait().expect_success();
    player.wait().expect_success();
    decoder.wait().expect_success();
    assert_plays(&out);
    (streams_of(&out).remove(0), streams_of(&film))
}

#[test]
fn a_track_is_piped_into_a_player_as_webm_or_matroska() {
    for video in [&VP8[..], &H264] {
        let (out, film) = played(video, &[]);
        assert_same(&film[0], &out);
    }
}

#[test]
fn the_sound_is_piped_into_a_player_when_it_is_asked_for() {
    let (out, film) = played(&VP8, &["--tracks", "ann/audio"]);
    // A player joins what is live: the first sounds may have gone by when it had heard of the track.
    let sent = &film[1].frames;
    let first = sent.iter().position(|frame| frame.hash == out.frames[0].hash).unwrap();
    assert!(first < 25, "half a second was missed: {first} frames");
    assert_same(&Stream { frames: sent[first..].to_vec(), ..film[1].clone() }, &out);
}

#[test]
fn a_player_that_is_closed_ends_the_subscriber_quietly() {
    let relay = Relay::start();
    let mut command = subscriber(&relay.url("tv"));
    command.args(["-o", "-"]).stdout(Stdio::piped());
    let mut player = Process::start_with_stdout("subscriber", &mut command);
    relay.wait_joined(1);
    drop(player.take_stdout());
    let mut command = publisher(&relay.url("tv"));
    command.args(["--name", "card"]);
    let card = Process::start("publisher", &mut command);
    player.wait().expect_success();
    card.interrupt().expect_success();
}
