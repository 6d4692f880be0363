//! A film goes in, a recording comes out: frame for frame, whatever the codec and the container.

use super::*;
use roundtable_tests::harness::Clip;

const VP9: [&str; 8] = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k"];
const AV1: [&str; 4] = ["-c:v", "libsvtav1", "-preset", "12"];
const AAC: [&str; 4] = ["-c:a", "aac", "-b:a", "64k"];
const FRAGMENTED: [&str; 2] = ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"];

/// Plays a clip into a recorded room and compares.
#[track_caller]
fn is_recorded_whole(clip: &Clip, file: &str) {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = clip.make(folder.path(), file);
    let recording = folder.path().join("recording");
    let recorder = relay.record(&relay.url("cinema"), &recording, &["--until-empty"]);
    publish(&relay.url("cinema"), "ann", &film, &[]).wait().expect_success();
    let finished = recorder.wait().expect_success();
    let summary = finished.json("finished");
    assert_eq!(summary[0]["frames_lost"], 0, "{summary:?}");
    assert_recorded(&film, &recording, "ann");
}

#[test]
fn vp8_and_opus_in_webm() {
    is_recorded_whole(&Clip::new(&VP8, &OPUS), "film.webm");
}

#[test]
fn vp9_and_opus_in_webm() {
    is_recorded_whole(&Clip::new(&VP9, &OPUS), "film.webm");
}

#[test]
fn vp9_in_mp4() {
    is_recorded_whole(&Clip::new(&VP9, &[]), "film.mp4");
}

#[test]
fn av1_and_opus_in_webm() {
    is_recorded_whole(&Clip::new(&AV1, &OPUS), "film.webm");
}

#[test]
fn av1_and_opus_in_mp4() {
    is_recorded_whole(&Clip::new(&AV1, &OPUS), "film.mp4");
}

#[test]
fn h264_with_b_frames_and_opus_in_matroska() {
    is_recorded_whole(&Clip::new(&H264, &OPUS), "film.mkv");
}

#[test]
fn h264_with_b_frames_and_aac_in_mp4() {
    is_recorded_whole(&Clip::new(&H264, &AAC), "film.mp4");
}

#[test]
fn h264_with_b_frames_and_aac_in_mp4_with_its_index_first() {
    is_recorded_whole(&Clip::new(&H264, &AAC).mux(&["-movflags", "+faststart"]), "film.mp4");
}

#[test]
fn h264_with_b_frames_and_aac_in_fragmented_mp4() {
    is_recorded_whole(&Clip::new(&H264, &AAC).mux(&FRAGMENTED), "film.mp4");
}

#[test]
fn sound_alone() {
    is_recorded_whole(&Clip::new(&[], &OPUS), "song.webm");
    is_recorded_whole(&Clip::new(&[], &AAC), "song.m4a");
}

#[test]
fn a_film_that_starts_late_and_has_uneven_frames() {
    // The picture begins half a second after the sound, at 24 and then at 12 frames a second.
    let filter = "select='lt(t\\,1)+not(mod(n\\,2))',setpts=PTS+0.5/TB";
    let video = [&VP8[..], &["-vf", filter, "-fps_mode", "passthrough"]].concat();
    is_recorded_whole(&Clip::new(&video, &OPUS), "film.webm");
}
