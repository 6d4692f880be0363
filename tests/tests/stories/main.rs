//! What people do with Roundtable, with the real binaries on one machine: one file for each story.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod ends;
mod films;
mod key_frames;
mod late;
mod lossy;
mod many;
mod mistakes;
mod pipes;
mod test_card;
mod vanishing;

use std::path::Path;

use roundtable_tests::harness::{
    Process, Recorded, Relay, Stream, assert_same, ffmpeg, publisher, recorded_in, streams_of,
};

/// VP8 as fast as it goes, with sound.
const VP8: [&str; 8] = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k"];
/// H.264 with B-frames.
const H264: [&str; 6] = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "3"];
/// Opus.
const OPUS: [&str; 4] = ["-c:a", "libopus", "-b:a", "32k"];

/// A publisher that plays this into a room, told in JSON.
fn publish(url: &str, name: &str, file: &Path, arguments: &[&str]) -> Process {
    let mut command = publisher(url);
    command.args(["--json", "--name", name]).args(arguments).arg(file);
    Process::start(name, &mut command)
}

/// What is recorded of a participant is what went in: the same streams, each whole, as much apart in time as they
/// were, and every file can be played to its end.
#[track_caller]
fn assert_recorded(input: &Path, folder: &Path, participant: &str) {
    let sent = streams_of(input);
    let files = files_of(folder, participant);
    assert_eq!(files.len(), sent.len(), "{files:?}");
    for stream in &sent {
        let (file, kept) = with_stream(&files, stream);
        assert_same(stream, &kept);
        assert_eq!(file.frames_missing, 0);
        assert_plays(&file.path);
    }
    if let [video, audio] = &sent[..] {
        let apart_sent = first_shown(audio) - first_shown(video);
        let apart_kept =
            published_at(&with_stream(&files, audio).0) - published_at(&with_stream(&files, video).0);
        // ffmpeg moves Opus by what a decoder throws away at the start, 6.5 ms, as files of some containers say.
        assert!(
            (apart_sent - apart_kept).abs() < 0.008,
            "sound is {apart_kept} s after picture, not {apart_sent}"
        );
    }
}

/// The files of a participant.
fn files_of(folder: &Path, participant: &str) -> Vec<Recorded> {
    let files = recorded_in(folder).into_iter();
    files.filter(|file| file.participant == participant).collect()
}

/// The file that holds what a stream became.
#[track_caller]
fn with_stream(files: &[Recorded], stream: &Stream) -> (Recorded, Stream) {
    let streams = files.iter().map(|file| (file.clone(), streams_of(&file.path).remove(0)));
    let mut of_media = streams.filter(|(_, kept)| kept.media == stream.media);
    let found = of_media.next().unwrap_or_else(|| panic!("no {} in {files:?}", stream.media));
    assert!(of_media.next().is_none(), "more than one file of {}", stream.media);
    found
}

fn first_shown(stream: &Stream) -> f64 {
    stream.frames.iter().map(|frame| frame.pts).fold(f64::MAX, f64::min)
}

/// The publisher's Unix time of a file's first frame, seconds.
fn published_at(file: &Recorded) -> f64 {
    let number = |value: &serde_json::Value| value.as_f64().unwrap_or_else(|| panic!("{file:?}"));
    let end = file.end.as_ref().unwrap_or_else(|| panic!("{file:?} has no end"));
    number(&file.begin["epoch_unix_us"]) / 1e6
        + number(&end["first_timestamp"]) / number(&file.begin["timescale"])
}

/// A decoder finds nothing wrong from the beginning to the end.
#[track_caller]
fn assert_plays(path: &Path) {
    // -xerror makes ffmpeg fail on what it would otherwise only mention.
    ffmpeg(["-xerror", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
}
