//! Read, written again by us, read by ffmpeg: nothing has changed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use roundtable_media::container::{Finish, TrackSpec, mp4, webm};

use crate::media::{Read, assert_same, frame_hash, make, probed_duration, read, read_file, remux};

/// Each track's file time 0: one instant for all, early enough for every frame.
pub(crate) fn specs(read: &Read) -> Vec<TrackSpec> {
    let tracks = &read.header().tracks;
    let seconds = |(track, frame): &(usize, roundtable_media::format::Frame)| {
        frame.pts as f64 / f64::from(tracks[*track].timescale)
    };
    let start = read.frames.iter().map(seconds).fold(f64::MAX, f64::min);
    let zero = |timescale: u32| (start * f64::from(timescale)).floor() as i64;
    tracks.iter().map(|format| TrackSpec { zero: zero(format.timescale), format: format.clone() }).collect()
}

pub(crate) fn write_webm(read: &Read) -> (Vec<u8>, Finish) {
    let (mut writer, head) = webm::Writer::new(specs(read)).unwrap();
    let mut file = head.to_vec();
    for (track, frame) in &read.frames {
        file.extend_from_slice(&writer.write(*track, frame).unwrap());
    }
    (file, writer.finish())
}

pub(crate) fn write_mp4(read: &Read) -> (Vec<u8>, Finish) {
    let (mut writer, head) = mp4::Writer::new(specs(read)).unwrap();
    let mut file = head.to_vec();
    for (track, frame) in &read.frames {
        file.extend_from_slice(&writer.write(*track, frame).unwrap());
    }
    (file, writer.finish().unwrap())
}

pub(crate) fn finish(mut file: Vec<u8>, finish: &Finish) -> Vec<u8> {
    file.extend_from_slice(&finish.append);
    for patch in &finish.patches {
        let at = patch.offset as usize;
        file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    file
}

fn save(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Writes what was read as WebM, unfinished and finished, and compares both with the source.
fn survives_webm(source: &Path) {
    let folder = source.parent().unwrap();
    let read = read(source);
    let (unfinished, end) = write_webm(&read);
    let expected = frame_hash(source);
    let live = save(folder, "live_out.webm", &unfinished);
    assert_same(&expected, &frame_hash(&live), 0.001_01);
    let finished = finish(unfinished, &end);
    let path = save(folder, "out.webm", &finished);
    assert_same(&expected, &frame_hash(&path), 0.001_01);
    let (was, is) = (probed_duration(source), probed_duration(&path));
    assert!((was - is).abs() < 0.08, "lasts {is} s instead of {was}");
    let again = read_file(&finished, 1000);
    assert_eq!(again.error, None);
    assert_same(&read.streams(), &again.streams(), 0.001_01);
    let keys = |read: &Read| read.frames.iter().map(|(_, frame)| frame.is_key).collect::<Vec<_>>();
    assert_eq!(keys(&again), keys(&read));
}

/// The same as fragmented MP4, whose times are exact.
fn survives_mp4(source: &Path) {
    let folder = source.parent().unwrap();
    let read = read(source);
    let (unfinished, end) = write_mp4(&read);
    let finished = finish(unfinished, &end);
    let path = save(folder, "out.mp4", &finished);
    let expected = frame_hash(source);
    // The zero of each track is rounded to its own tick.
    assert_same(&expected, &frame_hash(&path), 0.000_1);
    let (was, is) = (probed_duration(source), probed_duration(&path));
    assert!((was - is).abs() < 0.12, "lasts {is} s instead of {was}");
    let again = read_file(&finished, 1000);
    assert_eq!(again.error, None);
    assert_same(&expected, &again.streams(), 0.000_1);
    let keys = |read: &Read, track| {
        read.frames.iter().filter(|(of, _)| *of == track).map(|(_, frame)| frame.is_key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&again, 0), keys(&read, 0));
}

#[test]
fn vp8_and_opus_survive_webm() {
    let folder = tempfile::tempdir().unwrap();
    survives_webm(&make(folder.path(), "a.webm", "-c:v libvpx -g 20 -deadline realtime -c:a libopus"));
}

#[test]
fn vp9_and_opus_survive_webm() {
    let folder = tempfile::tempdir().unwrap();
    survives_webm(&make(
        folder.path(),
        "a.webm",
        "-c:v libvpx-vp9 -cpu-used 8 -deadline realtime -c:a libopus",
    ));
}

#[test]
fn av1_survives_webm() {
    let folder = tempfile::tempdir().unwrap();
    survives_webm(&make(
        folder.path(),
        "a.webm",
        "-c:v libaom-av1 -cpu-used 8 -usage realtime -t 1 -c:a libopus",
    ));
    survives_webm(&make(folder.path(), "b.mkv", "-an -c:v libsvtav1 -preset 12 -t 1"));
}

#[test]
fn opus_alone_survives_webm_and_mp4() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.webm", "-vn -c:a libopus");
    survives_webm(&path);
    survives_mp4(&remux(&path, "a.mp4", ""));
}

#[test]
fn h264_with_b_frames_and_aac_survive_mp4() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        "-c:v libx264 -bf 3 -g 25 -x264-params b-pyramid=normal -c:a aac",
        "-c:v libx264 -bf 2 -g 300 -x264-params open-gop=1:keyint=20 -c:a aac",
        "-c:v libx264 -profile:v baseline -g 50 -c:a libopus",
    ] {
        survives_mp4(&make(folder.path(), "a.mp4", arguments));
    }
}

#[test]
fn h264_out_of_matroska_survives_mp4_and_matroska() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.mkv", "-c:v libx264 -bf 3 -g 25 -c:a aac");
    survives_mp4(&path);
    survives_webm(&path);
}

#[test]
fn a_key_frame_of_a_megabyte_survives() {
    let folder = tempfile::tempdir().unwrap();
    let noise = "-vf scale=1280:960,noise=alls=100:allf=t -t 0.1 -an";
    let path = make(folder.path(), "a.webm", &format!("{noise} -c:v libvpx -qmin 0 -qmax 1 -b:v 900M"));
    assert!(read(&path).frames[0].1.data.len() > 1 << 20, "{}", read(&path).frames[0].1.data.len());
    survives_webm(&path);
    survives_mp4(&make(folder.path(), "a.mp4", &format!("{noise} -c:v libx264 -qp 0 -preset ultrafast")));
}
