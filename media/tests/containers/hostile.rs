//! What is no media, and what only pretends to be.

use std::fs;

use bytes::Bytes;
use proptest::prelude::*;
use roundtable_media::container::{ContainerError, fuzz::fuzz_demux};

use crate::media::{make, read_file, read_pipe};

fn error_of(bytes: &[u8]) -> String {
    let error = read_pipe(bytes, 100).error.unwrap();
    assert_eq!(read_file(bytes, 100).error.unwrap(), error);
    error.to_string()
}

#[test]
fn what_is_no_media_is_named() {
    assert_eq!(error_of(b""), "it is empty");
    assert!(error_of(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR").contains("a PNG picture"));
    assert!(error_of(b"dear diary,\nnothing happened\n").contains("text"));
    assert!(error_of(&[0; 600]).contains("something unknown"));
    let annex_b = error_of(b"\0\0\0\x01\x67\x42\xC0\x1E");
    assert!(annex_b.contains("Annex B") && annex_b.contains("-c copy -f matroska"), "{annex_b}");
    let mut transport = vec![0_u8; 400];
    (transport[0], transport[188], transport[376]) = (0x47, 0x47, 0x47);
    assert!(error_of(&transport).contains("MPEG transport stream"));
    assert!(error_of(b"OggS\0\x02").contains("an Ogg file"));
}

#[test]
fn codecs_that_are_not_carried_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.mkv", "-c:v mpeg4 -c:a flac -t 0.2");
    let error = error_of(&fs::read(path).unwrap());
    assert!(error.contains("A_FLAC") && error.contains("VP8, VP9, AV1, H.264, Opus and AAC"), "{error}");
    let path = make(folder.path(), "b.mkv", "-c:v libvpx -c:a flac -t 0.2");
    let read = read_pipe(&fs::read(path).unwrap(), 1000);
    assert_eq!((read.header().tracks.len(), read.header().skipped[0].codec.as_str()), (1, "A_FLAC"));
    let path = make(
        folder.path(),
        "c.mp4",
        "-c:v libx264 -an -t 0.2 -encryption_scheme cenc-aes-ctr \
         -encryption_key 76a6c65c5ea762046bd749a2e632ccbb -encryption_kid a7e61c373e219033c21091fa607bf3b8",
    );
    let error = read_file(&fs::read(path).unwrap(), 1000).error.unwrap().to_string();
    assert!(error.contains("encrypted"), "{error}");
}

fn boxed(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut out = (data.len() as u32 + 8).to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    out
}

#[test]
fn sizes_that_lie_are_refused_without_memory() {
    let ftyp = boxed(b"ftyp", b"isomabcd");
    let mut huge_moov = ftyp.clone();
    huge_moov.extend_from_slice(&[0xFF, 0xFF, 0xFF, 0xF0]);
    huge_moov.extend_from_slice(b"moov");
    assert!(matches!(read_pipe(&huge_moov, 5).error, Some(ContainerError::TooLarge { .. })));
    let mut tiny = ftyp;
    tiny.extend_from_slice(&[0, 0, 0, 3]);
    tiny.extend_from_slice(b"moov");
    assert!(matches!(read_pipe(&tiny, 5).error, Some(ContainerError::Malformed { .. })));
    let huge_tracks = b"\x1A\x45\xDF\xA3\x80\x18\x53\x80\x67\xFF\x16\x54\xAE\x6B\x08\xFF\xFF\xFF\xFF\xFF\xFF";
    assert!(matches!(
        read_pipe(huge_tracks, 5).error,
        Some(ContainerError::TooLarge { .. } | ContainerError::Malformed { .. })
    ));
    let no_tracks = b"\x1A\x45\xDF\xA3\x80\x18\x53\x80\x67\xFF\x1F\x43\xB6\x75\xFF\xE7\x81\x00";
    assert!(matches!(read_pipe(no_tracks, 5).error, Some(ContainerError::Malformed { .. })));
}

/// Fragments that count four thousand million samples in a few bytes end at once.
#[test]
fn counts_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), "a.mp4", "-c:v libx264 -an -t 0.2 -movflags frag_keyframe+empty_moov");
    let file = fs::read(path).unwrap();
    let moof = file.windows(4).position(|window| window == b"moof").unwrap() - 4;
    for size in [0_u32, 1, u32::MAX] {
        let mut tfhd = vec![0, 0, 0, 0x18];
        tfhd.extend([0, 0, 0, 1, 0, 0, 0, 1]);
        tfhd.extend(size.to_be_bytes());
        let trun = [0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        let traf = [boxed(b"tfhd", &tfhd), boxed(b"trun", &trun)].concat();
        let hostile =
            [&file[..moof], &boxed(b"moof", &boxed(b"traf", &traf)), &boxed(b"mdat", b"abc")].concat();
        let read = read_pipe(&hostile, 1000);
        assert!(read.frames.len() <= 11, "{}", read.frames.len());
        fuzz_demux(&hostile);
    }
}

#[test]
fn an_unknown_doctype_is_refused() {
    let bytes = b"\x1A\x45\xDF\xA3\x87\x42\x82\x84doom\x18\x53\x80\x67\xFF";
    assert!(error_of(bytes).contains("EBML of another kind"));
}

#[test]
fn header_stripping_is_undone() {
    // One VP8 track whose frames lost their first two bytes.
    let compression = b"\x6D\x80\x8F\x62\x40\x8C\x50\x34\x89\x42\x54\x81\x03\x42\x55\x82\x10\x02";
    let mut entry = b"\xD7\x81\x01\x83\x81\x01\x86\x85V_VP8\xE0\x88\xB0\x82\x01\x00\xBA\x82\x01\x00".to_vec();
    entry.extend_from_slice(compression);
    let mut tracks = vec![0xAE, 0x80 | entry.len() as u8];
    tracks.extend_from_slice(&entry);
    let mut file = b"\x1A\x45\xDF\xA3\x87\x42\x82\x84webm\x18\x53\x80\x67\xFF".to_vec();
    file.extend_from_slice(b"\x16\x54\xAE\x6B");
    file.push(0x80 | tracks.len() as u8);
    file.extend_from_slice(&tracks);
    file.extend_from_slice(b"\x1F\x43\xB6\x75\xFF\xE7\x81\x05\xA3\x86\x81\x00\x02\x80\x9D\x01");
    let read = read_pipe(&file, 3);
    assert_eq!(read.error, None);
    let frame = &read.frames[0].1;
    assert_eq!(
        (frame.data.clone(), frame.pts, frame.is_key),
        (Bytes::from_static(b"\x10\x02\x9D\x01"), 7, true)
    );
}

#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for (name, arguments) in [
        ("a.webm", "-c:v libvpx -deadline realtime -c:a libopus -t 0.3"),
        ("a.mkv", "-c:v libx264 -bf 2 -c:a aac -t 0.3"),
        ("a.mp4", "-c:v libx264 -bf 2 -c:a aac -t 0.3"),
        ("b.mp4", "-c:v libx264 -c:a libopus -t 0.3 -movflags frag_keyframe+empty_moov"),
    ] {
        let file = fs::read(make(folder.path(), name, arguments)).unwrap();
        // Structure is at the front, or at the end of an unfragmented MP4.
        let structure = if name == "a.mp4" { file.len() - 2500..file.len() } else { 0..file.len().min(2500) };
        for _ in 0..400 {
            let mut damaged = vec![200];
            damaged.extend_from_slice(&file);
            for _ in 0..=random() % 4 {
                let at = 1 + structure.start + random() as usize % structure.len();
                damaged[at] = if random() % 3 == 0 { 0xFF } else { random() as u8 };
            }
            damaged.truncate(if random() % 3 == 0 {
                1 + random() as usize % file.len()
            } else {
                damaged.len()
            });
            fuzz_demux(&damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_behind_a_good_beginning_never_panic(
        kind in 0..3_usize,
        piece in any::<u8>(),
        tail in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let beginnings: [&[u8]; 3] = [
            b"\x1A\x45\xDF\xA3\x87\x42\x82\x84webm\x18\x53\x80\x67\xFF",
            b"\0\0\0\x10ftypisomabcd\0\0\x01\0moov",
            b"\0\0\0\x10ftypisomabcd",
        ];
        let data = [&[piece], beginnings[kind], &tail[..]].concat();
        fuzz_demux(&data);
    }
}
