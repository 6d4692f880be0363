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

#[test]
fn a_film_whose_key_frames_are_far_apart() {
    // Longer than a group may last: encoders often put ten seconds between key frames.
    let video = [&H264[..], &["-g", "1000", "-keyint_min", "1000", "-sc_threshold", "0"]].concat();
    is_recorded_whole(&Clip::new(&video, &OPUS).seconds(6.0), "film.mkv");
}

#[test]
fn a_film_of_many_megabits() {
    let noise = ["-vf", "noise=alls=40:allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "12M"];
    is_recorded_whole(&Clip::new(&noise, &AAC).size("1280x720"), "film.mp4");
}

#[test]
fn of_a_film_with_more_tracks_the_first_picture_and_the_first_sound_are_sent() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let whole = Clip::new(&VP8, &OPUS).make(folder.path(), "film.mkv");
    let subtitles = folder.path().join("words.srt");
    std::fs::write(&subtitles, "1\n00:00:00,000 --> 00:00:01,000\nNot for the room.\n").unwrap();
    let film = folder.path().join("more.mkv");
    let (whole, words) = (whole.to_str().unwrap(), subtitles.to_str().unwrap());
    let inputs = ["-i", whole, "-f", "lavfi", "-i", "sine=frequency=880:duration=2", "-i", words];
    let maps = ["-map", "2", "-map", "0:v", "-map", "0:a", "-map", "1", "-map", "0:v"];
    let codecs =
        ["-c", "copy", "-c:a:1", "libmp3lame", "-attach", words, "-metadata:s:t", "mimetype=text/plain"];
    roundtable_tests::harness::ffmpeg(
        inputs.iter().chain(&maps).chain(&codecs).chain(&[film.to_str().unwrap()]),
    );
    let recording = folder.path().join("recording");
    let recorder = relay.record(&relay.url("cinema"), &recording, &["--until-empty"]);
    let told = publish(&relay.url("cinema"), "ann", &film, &[]).wait().expect_success();
    recorder.wait().expect_success();
    assert_recorded(Path::new(whole), &recording, "ann");
    let skipped = &told.json("began")[0]["skipped"];
    assert_eq!(
        skipped.as_array().map(Vec::len),
        Some(3),
        "{skipped}: subtitles, second sound, second picture"
    );
}

#[test]
fn a_film_that_goes_round_has_no_break_in_time() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(1.0).make(folder.path(), "film.webm");
    let recording = folder.path().join("recording");
    let recorder = relay.record(&relay.url("cinema"), &recording, &["--until-empty"]);
    let playing = publish(&relay.url("cinema"), "ann", &film, &["--loop"]);
    recorder.wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() > Some(75));
    playing.interrupt().expect_success();
    recorder.wait().expect_success();
    let once = streams_of(&film);
    let files = files_of(&recording, "ann");
    assert_eq!(files.len(), 2, "one file for each track, however often it went round");
    for stream in &once {
        let (file, kept) = with_stream(&files, stream);
        assert_eq!(file.frames_missing, 0);
        assert_plays(&file.path);
        for (number, frame) in kept.frames.iter().enumerate() {
            assert_eq!(frame.hash, stream.frames[number % stream.frames.len()].hash, "frame {number}");
        }
        let steps: Vec<f64> = kept.frames.windows(2).map(|pair| pair[1].pts - pair[0].pts).collect();
        let (least, most) =
            steps.iter().fold((f64::MAX, 0.0), |(a, b), step| (f64::min(a, *step), f64::max(b, *step)));
        let frame = if stream.media == "video" { 1.0 / 30.0 } else { 0.02 };
        // A round lasts as long as its longest track: sound ends a little after the picture here.
        assert!(least > 0.0 && most < frame * 2.0 + 0.01, "{}: {least} {most}", stream.media);
    }
}

#[test]
fn an_empty_room_is_no_reason_to_wait() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).make(folder.path(), "film.webm");
    let began = std::time::Instant::now();
    publish(&relay.url("cinema"), "ann", &film, &[]).wait().expect_success();
    let took = began.elapsed().as_secs_f64();
    assert!((1.9..6.0).contains(&took), "a film of two seconds took {took}");
}
