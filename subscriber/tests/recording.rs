//! What the recorder leaves on the disk: whole files, a manifest that explains them, and what a death costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_media::{
    catalog::Clock,
    container::{Demuxer, Source, Step},
    format::{Codec, Format, Frame, Shape},
    reassemble::{Counters, Gap, Origin, ReceivedFrame},
};
use roundtable_moqt::object::Location;
use roundtable_subscriber::{
    Consumer, Recorder, RoomEvent,
    event::{EpochId, TrackLabel},
    record::{RecordError, manifest, manifest::Line},
};

fn opus() -> Format {
    Format {
        codec: Codec::Opus,
        codec_string: "opus".into(),
        shape: Shape::Audio { samplerate: 48_000, channels: 2 },
        config: Bytes::new(),
        timescale: 48_000,
    }
}

fn vp8() -> Format {
    Format {
        codec: Codec::Vp8,
        codec_string: "vp8".into(),
        shape: Shape::Video { width: 320, height: 180, framerate: Some(30.0) },
        config: Bytes::new(),
        timescale: 90_000,
    }
}

fn frame(number: u64, ticks: u64, timescale: u32, bytes: usize) -> ReceivedFrame {
    let mut data = vec![number as u8; bytes];
    data[0] = 0xf8;
    ReceivedFrame {
        location: Location::new(1, number),
        timestamp: 1_000_000 + number * ticks,
        timescale: Some(timescale),
        is_key: number.is_multiple_of(30) || timescale == 48_000,
        marking: None,
        audio_level: None,
        data: data.into(),
        arrived: Instant::now(),
        origin: Origin::Objects,
    }
}

fn label(participant: &str, track: &str) -> TrackLabel {
    TrackLabel { participant: participant.into(), track: track.into() }
}

fn begin(recorder: &mut Recorder, epoch: u64, who: &str, track: &str, format: Format) {
    let clock = Clock::Media { zero_unix_us: Some(1_790_000_000_000_000) };
    recorder.handle(RoomEvent::Began { epoch: EpochId(epoch), label: label(who, track), format, clock });
}

fn end(recorder: &mut Recorder, epoch: u64) {
    let counters = Counters::default();
    recorder.handle(RoomEvent::Ended { epoch: EpochId(epoch), reason: "the track ended", counters });
}

/// All frames of a file.
fn frames_of(path: &Path) -> Vec<Frame> {
    let bytes = fs::read(path).unwrap();
    let mut demuxer = Demuxer::new(Source::File { bytes: bytes.len() as u64 });
    let mut frames = Vec::new();
    loop {
        match demuxer.poll().unwrap() {
            Step::Need { offset, .. } => match bytes.get(offset as usize..) {
                Some(rest) if !rest.is_empty() => demuxer.push(rest),
                _ => demuxer.finish(),
            },
            Step::Frame { frame, .. } => frames.push(frame),
            Step::Header(_) => {}
            Step::End => return frames,
        }
    }
}

#[test]
fn every_frame_is_in_its_file_and_the_manifest_says_where_it_belongs() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(folder.path()).unwrap();
    recorder.handle(RoomEvent::Joined { participant: "../evil".into(), at: Instant::now() });
    begin(&mut recorder, 0, "../evil", "camera", vp8());
    begin(&mut recorder, 1, "../evil", "audio", opus());
    for number in 0..90 {
        recorder.handle(RoomEvent::Frame { epoch: EpochId(0), frame: frame(number, 3000, 90_000, 500) });
        recorder.handle(RoomEvent::Frame { epoch: EpochId(1), frame: frame(number, 960, 48_000, 80) });
    }
    let gap = Gap { start: Location::new(1, 90), end: Location::new(1, 92), frames_at_least: 2 };
    recorder.handle(RoomEvent::Gap { epoch: EpochId(0), gap });
    end(&mut recorder, 0);
    recorder.handle(RoomEvent::Left { participant: "../evil".into(), at: Instant::now() });
    let summary = recorder.finish();
    assert_eq!((summary.files, summary.frames, summary.frames_lost), (2, 180, 2));
    assert_eq!(summary.errors, Vec::<String>::new());

    let video = frames_of(&folder.path().join("=2e=2e=2fevil-camera-001.webm"));
    assert_eq!(video.len(), 90);
    assert!(video.iter().enumerate().all(|(number, frame)| frame.data[1] == number as u8));
    assert_eq!(frames_of(&folder.path().join("=2e=2e=2fevil-audio-001.webm")).len(), 90);

    let lines = manifest::read(folder.path()).unwrap();
    assert!(matches!(lines.first(), Some(Line::Recording { .. })));
    assert!(matches!(lines.last(), Some(Line::End { .. })));
    let begun = lines.iter().find_map(|line| match line {
        Line::FileBegin { track, zero_timestamp, timescale, epoch_unix_us, participant, .. }
            if track == "camera" =>
        {
            Some((*zero_timestamp, *timescale, *epoch_unix_us, participant.clone()))
        }
        _ => None,
    });
    assert_eq!(begun, Some((1_000_000, 90_000, Some(1_790_000_000_000_000), "../evil".to_owned())));
    assert!(
        lines
            .iter()
            .any(|line| matches!(line, Line::Gap { frames_at_least: 2, start, .. } if start == "1.90"))
    );
    let ended = lines.iter().find_map(|line| match line {
        Line::FileEnd { file, frames_written, frames_expected, last_timestamp, .. }
            if file.contains("camera") =>
        {
            Some((*frames_written, *frames_expected, *last_timestamp))
        }
        _ => None,
    });
    assert_eq!(ended, Some((90, 92, Some(1_000_000 + 89 * 3000))));
}

#[test]
fn a_second_epoch_gets_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut recorder = Recorder::start(folder.path()).unwrap();
        for epoch in 0..2 {
            begin(&mut recorder, epoch, "bob", "audio", opus());
            recorder.handle(RoomEvent::Frame { epoch: EpochId(epoch), frame: frame(0, 960, 48_000, 80) });
            end(&mut recorder, epoch);
        }
        assert_eq!(recorder.finish().files, 2);
    }
    for number in 1..=4 {
        assert_eq!(frames_of(&folder.path().join(format!("bob-audio-00{number}.webm"))).len(), 1);
    }
}

#[test]
fn what_a_dead_recorder_left_is_made_whole_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(folder.path()).unwrap();
    begin(&mut recorder, 0, "bob", "camera", vp8());
    for number in 0..60 {
        recorder.handle(RoomEvent::Frame { epoch: EpochId(0), frame: frame(number, 3000, 90_000, 2000) });
    }
    let file = folder.path().join("bob-camera-001.webm");
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::metadata(&file).map_or(0, |metadata| metadata.len()) < 60 * 2000 {
        assert!(Instant::now() < deadline, "the frames do not reach the disk");
        std::thread::yield_now();
    }
    // A copy of the folder at this moment is what a dead process leaves; the last frame is cut, and so is the
    // manifest's last line.
    let left = tempfile::tempdir().unwrap();
    let bytes = fs::read(&file).unwrap();
    fs::write(left.path().join("bob-camera-001.webm"), &bytes[..bytes.len() - 100]).unwrap();
    let mut lines = fs::read(folder.path().join(manifest::FILE_NAME)).unwrap();
    lines.extend_from_slice(br#"{"type":"file_en"#);
    fs::write(left.path().join(manifest::FILE_NAME), lines).unwrap();
    recorder.finish();

    let again = Recorder::start(left.path()).unwrap();
    let lines = manifest::read(left.path()).unwrap();
    assert!(lines.iter().any(|line| matches!(line, Line::FileRepaired { frames: 59, .. })), "{lines:?}");
    assert_eq!(again.finish().errors, Vec::<String>::new());
    let frames = frames_of(&left.path().join("bob-camera-001.webm"));
    assert_eq!(frames.len(), 59);
    // A third one finds nothing to repair.
    Recorder::start(left.path()).unwrap().finish();
    let repaired = |line: &&Line| matches!(line, Line::FileRepaired { .. });
    assert_eq!(manifest::read(left.path()).unwrap().iter().filter(repaired).count(), 1);
}

#[test]
fn two_recorders_do_not_share_a_folder_and_a_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(folder.path()).unwrap();
    assert!(matches!(Recorder::start(folder.path()), Err(RecordError::Busy(_))));
    recorder.finish();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Recorder::start(&file.join("below")).err().unwrap();
    assert!(error.to_string().contains("below"), "{error}");
}

#[test]
fn a_file_that_cannot_be_written_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::start(folder.path()).unwrap();
    // H.264 without its configuration goes into no container.
    let broken = Format { codec: Codec::H264, codec_string: "avc1.64001f".into(), ..vp8() };
    begin(&mut recorder, 0, "bob", "camera", broken);
    begin(&mut recorder, 1, "bob", "audio", opus());
    for number in 0..40 {
        recorder.handle(RoomEvent::Frame { epoch: EpochId(0), frame: frame(number, 3000, 90_000, 500) });
        recorder.handle(RoomEvent::Frame { epoch: EpochId(1), frame: frame(number, 960, 48_000, 80) });
    }
    let summary = recorder.finish();
    assert_eq!((summary.files, summary.frames), (1, 40));
    assert_eq!(summary.errors.len(), 1, "{:?}", summary.errors);
    assert!(summary.errors[0].starts_with("bob/camera: "), "{:?}", summary.errors);
}
