//! What ffmpeg wrote, read as a file and as a pipe.

use std::fs;

use roundtable_media::{
    container::ContainerError,
    format::{Codec, Shape},
};

use crate::media::{assert_same, frame_hash, make, read, read_file, read_pipe, remux};

/// Reads `path` both ways and compares with ffmpeg.
fn agrees_with_ffmpeg(path: &std::path::Path) -> crate::media::Read {
    let expected = frame_hash(path);
    let bytes = fs::read(path).unwrap();
    let file = read(path);
    assert_same(&expected, &file.streams(), 1e-9);
    let pipe = read_pipe(&bytes, 4099);
    assert_eq!(pipe.error, None);
    assert_same(&expected, &pipe.streams(), 1e-9);
    assert_eq!(file.header, pipe.header);
    file
}

#[test]
fn webm_with_vp8_and_opus() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.webm", "-c:v libvpx -g 15 -deadline realtime -c:a libopus");
    let read = agrees_with_ffmpeg(&path);
    let [video, audio] = &read.header().tracks[..] else { panic!() };
    assert_eq!((video.codec, video.codec_string.as_str()), (Codec::Vp8, "vp8"));
    assert!(matches!(video.shape, Shape::Video { width: 160, height: 120, .. }));
    assert_eq!((audio.codec, audio.codec_string.as_str()), (Codec::Opus, "opus"));
    assert!(matches!(audio.shape, Shape::Audio { samplerate: 48_000, channels: 1 }));
    assert!(audio.config.starts_with(b"OpusHead"));
    let keys: Vec<_> =
        read.frames.iter().filter(|(track, _)| *track == 0).map(|(_, frame)| frame.is_key).collect();
    assert_eq!(keys.iter().filter(|key| **key).count(), 4);
    assert!(keys[0] && keys[15] && !keys[1]);
    let opus = read.frames.iter().find(|(track, _)| *track == 1).unwrap();
    assert_eq!((opus.1.pts, opus.1.duration), (-7, Some(20)));
    let duration = read.header().duration.unwrap().as_secs_f64();
    assert!((1.9..2.1).contains(&duration), "{duration}");
}

#[test]
fn webm_with_vp9_says_its_profile_and_level() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus");
    let read = agrees_with_ffmpeg(&path);
    assert_eq!(read.header().tracks[0].codec_string, "vp09.00.10.08");
    let deep = make(
        folder.path(),
        "b.webm",
        "-an -c:v libvpx-vp9 -pix_fmt yuv420p10le -deadline realtime -cpu-used 8 -t 0.2",
    );
    assert_eq!(agrees_with_ffmpeg(&deep).header().tracks[0].codec_string, "vp09.02.10.10");
}

#[test]
fn webm_with_av1_of_either_encoder() {
    let folder = tempfile::tempdir().unwrap();
    for (name, encoder) in [
        ("aom.webm", "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 30 -t 1 -c:a libopus"),
        ("svt.mkv", "-c:v libsvtav1 -preset 12 -g 30 -t 1 -an"),
    ] {
        let read = agrees_with_ffmpeg(&make(folder.path(), name, encoder));
        let video = &read.header().tracks[0];
        assert!(video.codec_string.starts_with("av01.0."), "{}", video.codec_string);
        assert_eq!(video.config[0], 0x81);
        assert!(read.frames[0].1.is_key);
    }
}

#[test]
fn h264_with_b_frames_and_aac_in_every_arrangement() {
    let folder = tempfile::tempdir().unwrap();
    let encode = "-c:v libx264 -g 30 -bf 3 -profile:v high -pix_fmt yuv420p -c:a aac";
    let whole = make(folder.path(), "end.mp4", encode);
    let expected = frame_hash(&whole);
    let file = read(&whole);
    assert_same(&expected, &file.streams(), 1e-9);
    let [video, audio] = &file.header().tracks[..] else { panic!() };
    assert!(video.codec_string.starts_with("avc1.6400"), "{}", video.codec_string);
    assert_eq!((audio.codec_string.as_str(), audio.codec), ("mp4a.40.2", Codec::Aac));
    let pts: Vec<_> =
        file.frames.iter().filter(|(track, _)| *track == 0).map(|(_, frame)| frame.pts).collect();
    assert!(pts.windows(2).any(|pair| pair[0] > pair[1]), "there are B-frames");
    assert_eq!(file.frames.iter().filter(|(track, frame)| *track == 0 && frame.is_key).count(), 2);

    // The index comes last: a pipe cannot be read, and says what would work.
    let piped = read_pipe(&fs::read(&whole).unwrap(), 1000);
    assert_eq!(piped.error, Some(ContainerError::IndexAtEnd));
    assert!(piped.error.unwrap().to_string().contains("-movflags frag_keyframe+empty_moov"));

    for (name, arguments) in [
        ("fast.mp4", "-movflags faststart"),
        ("frag.mp4", "-movflags frag_keyframe+empty_moov+default_base_moof"),
        ("frag_old.mp4", "-movflags frag_keyframe+empty_moov"),
        ("frag_delayed.mp4", "-movflags frag_keyframe+delay_moov"),
        ("frag_mixed.mp4", "-movflags frag_keyframe"),
        ("frag_frames.mp4", "-movflags frag_every_frame+empty_moov"),
        ("frag_separate.mp4", "-movflags frag_keyframe+empty_moov+separate_moof -frag_duration 500000"),
        ("dash.mp4", "-movflags dash+global_sidx -frag_duration 400000"),
        ("remuxed.mkv", ""),
        ("quicktime.mov", "-movflags faststart"),
    ] {
        println!("{name}");
        let path = remux(&whole, name, arguments);
        let read = agrees_with_ffmpeg(&path);
        assert_eq!(read.header().tracks[0].config, video.config, "{name}");
        let keys = read.frames.iter().filter(|(track, frame)| *track == 0 && frame.is_key).count();
        assert_eq!(keys, 2, "{name}");
    }

    // With negative composition offsets in fragments ffmpeg reads times other than those it wrote.
    let arguments = "-an -movflags frag_keyframe+empty_moov+negative_cts_offsets";
    let negative = read(&remux(&whole, "frag_negative.mp4", arguments));
    let video =
        expected.iter().filter(|(stream, _)| **stream == 0).map(|(_, seen)| (0, seen.clone())).collect();
    assert_same(&video, &negative.streams(), 1e-9);
}

#[test]
fn mp4_with_av1_vp9_and_opus() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("vp9.mp4", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus -movflags faststart"),
        (
            "av1.mp4",
            "-c:v libaom-av1 -cpu-used 8 -usage realtime -t 1 -c:a libopus -movflags frag_keyframe+empty_moov",
        ),
    ] {
        let read = agrees_with_ffmpeg(&make(folder.path(), name, arguments));
        let audio = &read.header().tracks[1];
        assert_eq!((audio.codec, audio.timescale), (Codec::Opus, 48_000));
        assert_eq!(&audio.config[..10], b"OpusHead\x01\x01");
    }
}

#[test]
fn frames_of_several_tracks_come_in_the_order_of_their_times() {
    let folder = tempfile::tempdir().unwrap();
    let encode = "-c:v libx264 -g 30 -bf 2 -c:a aac -movflags frag_keyframe+empty_moov";
    let path = make(folder.path(), "a.mp4", encode);
    let read = read(&path);
    let mut latest = [f64::MIN; 2];
    for (track, frame) in &read.frames {
        let seconds = frame.pts as f64 / f64::from(read.header().tracks[*track].timescale);
        latest[*track] = latest[*track].max(seconds);
        let apart = latest[0] - latest[1];
        assert!(latest.contains(&f64::MIN) || apart.abs() < 0.25, "{apart} s apart");
    }
}

#[test]
fn a_live_pipe_gives_each_frame_as_soon_as_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.webm", "-an -c:v libvpx -deadline realtime -f webm -live 1");
    let bytes = fs::read(path).unwrap();
    let whole = read_pipe(&bytes, usize::MAX / 2);
    assert_eq!((whole.frames.len(), whole.error.clone()), (60, None));
    // Cut behind its last byte, a frame has been delivered.
    let needle = &whole.frames[40].1.data;
    let at = bytes.windows(needle.len()).position(|window| window == &needle[..]).unwrap();
    let cut = read_pipe(&bytes[..at + needle.len()], 7);
    assert_eq!(cut.frames.len(), 41);
}

#[test]
fn odd_matroska_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let source = make(folder.path(), "a.mkv", "-c:v libx264 -bf 2 -g 30 -c:a libopus");
    for (name, arguments) in [
        ("live.mkv", "-live 1"),
        ("short.mkv", "-cluster_time_limit 200"),
        ("front.mkv", "-reserve_index_space 2000"),
    ] {
        println!("{name}");
        agrees_with_ffmpeg(&remux(&source, name, arguments));
    }
}

#[test]
fn pieces_of_any_size_give_the_same_frames() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("a.webm", "-c:v libvpx -deadline realtime -c:a libopus -t 0.5"),
        ("a.mp4", "-c:v libx264 -bf 2 -c:a aac -t 0.5 -movflags frag_keyframe+empty_moov"),
        ("b.mp4", "-c:v libx264 -bf 2 -c:a aac -t 0.5 -movflags faststart"),
    ] {
        let bytes = fs::read(make(folder.path(), name, arguments)).unwrap();
        let expected = read_pipe(&bytes, bytes.len());
        for piece in [1, 2, 3, 7, 100, 1000, 65_536] {
            assert_eq!(read_pipe(&bytes, piece), expected, "{name} in pieces of {piece}");
            let by_file = read_file(&bytes, piece);
            assert_eq!(by_file.streams(), expected.streams(), "{name} as a file in pieces of {piece}");
        }
    }
}
