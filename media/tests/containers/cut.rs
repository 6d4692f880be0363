//! Files whose end is missing: readable up to the cut, and mended by the repairers.

use std::fs;

use roundtable_media::container::{ContainerError, Repair, mp4, webm};

use crate::{
    media::{Read, make, probed_duration, read, read_file, read_pipe},
    round_trip::{finish, write_mp4, write_webm},
};

fn repair_webm(bytes: &[u8]) -> Result<Repair, ContainerError> {
    let mut repairer = webm::Repairer::new();
    bytes.chunks(777).try_for_each(|piece| repairer.push(piece))?;
    repairer.finish()
}

fn repair_mp4(bytes: &[u8]) -> Result<Repair, ContainerError> {
    let mut repairer = mp4::Repairer::new();
    bytes.chunks(777).try_for_each(|piece| repairer.push(piece))?;
    repairer.finish()
}

fn mended(bytes: &[u8], repair: &Repair) -> Vec<u8> {
    finish(bytes[..repair.valid_bytes as usize].to_vec(), &repair.finish)
}

/// Both deliver the same beginning.
fn begins_like(part: &Read, whole: &Read) {
    for track in 0..whole.header().tracks.len() {
        let of = |read: &Read| {
            read.frames
                .iter()
                .filter(|(of, _)| *of == track)
                .map(|(_, frame)| frame.data.clone())
                .collect::<Vec<_>>()
        };
        assert!(of(whole).starts_with(&of(part)));
    }
}

#[test]
fn a_cut_webm_is_read_up_to_the_cut_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let source = read(&make(folder.path(), "a.webm", "-c:v libvpx -g 15 -deadline realtime -c:a libopus"));
    let (file, end) = write_webm(&source);
    let whole = read_file(&file, 4096);
    assert_eq!((whole.error.clone(), whole.frames.len()), (None, source.frames.len()));
    for cut in (700..file.len()).step_by(file.len() / 37) {
        let part = &file[..cut];
        let read = read_pipe(part, 999);
        begins_like(&read, &whole);
        let repair = repair_webm(part).unwrap();
        assert_eq!(repair.frames as usize, read.frames.len(), "cut at {cut}");
        let mended = mended(part, &repair);
        let again = read_file(&mended, 4096);
        assert_eq!((again.error, again.frames.len()), (None, read.frames.len()), "cut at {cut}");
        // Mending what is whole changes nothing.
        let once_more = repair_webm(&mended).unwrap();
        assert_eq!(crate::cut::mended(&mended, &once_more), mended, "cut at {cut}");
    }
    let path = folder.path().join("cut.webm");
    let part = &file[..file.len() / 2];
    fs::write(&path, mended(part, &repair_webm(part).unwrap())).unwrap();
    let (frames, seconds) = (read_pipe(part, 999).frames, probed_duration(&path));
    let last = frames.iter().map(|(_, frame)| frame.pts).max().unwrap() as f64 / 1000.0;
    assert!((seconds - last).abs() < 0.08, "{seconds} against {last}");
    assert_eq!(repair_webm(&finish(file.clone(), &end)).unwrap().frames as usize, source.frames.len());
    assert!(matches!(repair_webm(&file[..100]), Err(ContainerError::Truncated { .. })));
}

#[test]
fn a_cut_mp4_is_read_up_to_the_cut_and_mended() {
    let folder = tempfile::tempdir().unwrap();
    let source = read(&make(folder.path(), "a.mp4", "-c:v libx264 -bf 3 -g 15 -c:a aac"));
    let (file, end) = write_mp4(&source);
    for cut in (1500..file.len()).step_by(file.len() / 37) {
        let part = &file[..cut];
        let read = read_pipe(part, 999);
        begins_like(&read, &source);
        let repair = repair_mp4(part).unwrap();
        assert!(repair.frames as usize <= read.frames.len(), "cut at {cut}");
        let mended = mended(part, &repair);
        let again = read_file(&mended, 4096);
        assert_eq!((again.error, again.frames.len() as u64), (None, repair.frames), "cut at {cut}");
        let once_more = repair_mp4(&mended).unwrap();
        assert_eq!(crate::cut::mended(&mended, &once_more), mended, "cut at {cut}");
    }
    assert_eq!(repair_mp4(&finish(file.clone(), &end)).unwrap().frames as usize, source.frames.len());
    assert!(matches!(repair_mp4(&file[..100]), Err(ContainerError::Truncated { .. })));
}

#[test]
fn a_truncated_file_says_where_it_ends_and_gives_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("a.webm", "-c:v libvpx -deadline realtime -c:a libopus"),
        ("a.mp4", "-c:v libx264 -c:a aac -movflags faststart"),
        ("b.mp4", "-c:v libx264 -g 10 -c:a aac -movflags frag_keyframe+empty_moov"),
    ] {
        let path = make(folder.path(), name, arguments);
        let whole = read(&path);
        let bytes = fs::read(&path).unwrap();
        let part = &bytes[..bytes.len() * 2 / 3];
        for read in [read_file(part, 5000), read_pipe(part, 5000)] {
            let Some(ContainerError::Truncated { at, .. }) = read.error else {
                panic!("{name}: {:?}", read.error)
            };
            assert_eq!(at, part.len() as u64, "{name}");
            assert!(read.frames.len() > whole.frames.len() / 3, "{name}: {}", read.frames.len());
            begins_like(&read, &whole);
        }
    }
    let path = make(folder.path(), "c.mp4", "-c:v libx264 -c:a aac");
    let bytes = fs::read(&path).unwrap();
    let error = read_file(&bytes[..bytes.len() / 2], 5000).error.unwrap();
    assert!(error.to_string().contains("the index (moov)"), "{error}");
}
