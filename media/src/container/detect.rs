//! Tells a file's kind by its first bytes, and names what it is when it is nothing we read.

use super::error::ContainerError;

/// A container that is read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// WebM or Matroska.
    Webm,
    /// MP4 and its relatives, fragmented or not.
    Mp4,
}

/// Bytes that settle every case.
pub(super) const HEAD_BYTES: usize = 512;

/// `None`: more bytes are needed. `finished` says there are none.
pub(super) fn detect(head: &[u8], finished: bool) -> Result<Option<Kind>, ContainerError> {
    if head.is_empty() && finished {
        return Err(ContainerError::Empty);
    }
    if head.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]) {
        return Ok(Some(Kind::Webm));
    }
    if matches!(
        head.get(4..8),
        Some(
            b"ftyp" | b"styp" | b"moov" | b"moof" | b"mdat" | b"free" | b"skip" | b"wide" | b"sidx" | b"pnot"
        )
    ) {
        // Pictures of the same family begin like a film.
        return match head.get(8..12) {
            Some(b"heic" | b"heix" | b"mif1" | b"avif") if head.get(4..8) == Some(b"ftyp") => {
                Err(ContainerError::NotMedia { what: "a HEIF or AVIF picture" })
            }
            Some(_) => Ok(Some(Kind::Mp4)),
            None if finished => Ok(Some(Kind::Mp4)),
            None => Ok(None),
        };
    }
    if head.len() < HEAD_BYTES && !finished {
        return Ok(None);
    }
    Err(name(head))
}

/// What a file is that we do not read.
fn name(head: &[u8]) -> ContainerError {
    const PICTURES: &[(&[u8], &str)] = &[
        (b"\x89PNG", "a PNG picture"),
        (b"\xFF\xD8\xFF", "a JPEG picture"),
        (b"GIF8", "a GIF picture"),
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive or office document"),
        (b"\x1F\x8B", "gzip-compressed data"),
        (b"\x7FELF", "a program"),
    ];
    const CONTAINERS: &[(&[u8], &str)] = &[
        (b"OggS", "an Ogg file"),
        (b"FLV", "a Flash video"),
        (b"DKIF", "an IVF file"),
        (b"fLaC", "a FLAC file"),
        (b"ID3", "an MP3 file"),
        (b"YUV4MPEG2", "raw pictures (Y4M)"),
        (b"\x30\x26\xB2\x75", "a Windows Media file"),
        (b"\x00\x00\x01\xBA", "an MPEG program stream"),
        (b"\x00\x00\x00\x01", "a raw H.264 or H.265 stream (Annex B) without a container"),
        (b"\x00\x00\x01", "a raw video stream without a container"),
        (b"\xFF\xF1", "a raw AAC stream (ADTS)"),
        (b"\xFF\xF9", "a raw AAC stream (ADTS)"),
        (b"\xFF\xFB", "an MP3 file"),
    ];
    if let Some((_, what)) = PICTURES.iter().find(|(magic, _)| head.starts_with(magic)) {
        return ContainerError::NotMedia { what };
    }
    if let Some((_, what)) = CONTAINERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return ContainerError::OtherContainer { what };
    }
    if head.starts_with(b"RIFF") {
        return match head.get(8..12) {
            Some(b"WEBP") => ContainerError::NotMedia { what: "a WebP picture" },
            Some(b"WAVE") => ContainerError::OtherContainer { what: "a WAVE file" },
            _ => ContainerError::OtherContainer { what: "an AVI file" },
        };
    }
    if head.first() == Some(&0x47) && head.get(188).is_none_or(|sync| *sync == 0x47) && head.len() >= 188 {
        return ContainerError::OtherContainer { what: "an MPEG transport stream" };
    }
    let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E | 0x80..);
    if head.iter().all(is_text) {
        return ContainerError::NotMedia { what: "text" };
    }
    ContainerError::NotMedia { what: "something unknown" }
}
