//! EBML elements: an id, a size, and data or further elements (RFC 8794).

use bytes::{BufMut, Bytes, BytesMut};

use crate::container::{
    error::ContainerError,
    fields::Fields,
    window::{Window, len_u64},
};

/// An element's id, marker bits included, as the specifications write it.
pub(super) mod id {
    pub(in super::super) const EBML: u32 = 0x1A45_DFA3;
    pub(in super::super) const DOC_TYPE: u32 = 0x4282;
    pub(in super::super) const VOID: u32 = 0xEC;
    pub(in super::super) const SEGMENT: u32 = 0x1853_8067;
    pub(in super::super) const SEEK_HEAD: u32 = 0x114D_9B74;
    pub(in super::super) const SEEK: u32 = 0x4DBB;
    pub(in super::super) const SEEK_ID: u32 = 0x53AB;
    pub(in super::super) const SEEK_POSITION: u32 = 0x53AC;
    pub(in super::super) const INFO: u32 = 0x1549_A966;
    pub(in super::super) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
    pub(in super::super) const DURATION: u32 = 0x4489;
    pub(in super::super) const MUXING_APP: u32 = 0x4D80;
    pub(in super::super) const WRITING_APP: u32 = 0x5741;
    pub(in super::super) const TRACKS: u32 = 0x1654_AE6B;
    pub(in super::super) const TRACK_ENTRY: u32 = 0xAE;
    pub(in super::super) const TRACK_NUMBER: u32 = 0xD7;
    pub(in super::super) const TRACK_UID: u32 = 0x73C5;
    pub(in super::super) const TRACK_TYPE: u32 = 0x83;
    pub(in super::super) const FLAG_LACING: u32 = 0x9C;
    pub(in super::super) const DEFAULT_DURATION: u32 = 0x23_E383;
    pub(in super::super) const CODEC_ID: u32 = 0x86;
    pub(in super::super) const CODEC_PRIVATE: u32 = 0x63A2;
    pub(in super::super) const CODEC_DELAY: u32 = 0x56AA;
    pub(in super::super) const SEEK_PRE_ROLL: u32 = 0x56BB;
    pub(in super::super) const VIDEO: u32 = 0xE0;
    pub(in super::super) const PIXEL_WIDTH: u32 = 0xB0;
    pub(in super::super) const PIXEL_HEIGHT: u32 = 0xBA;
    pub(in super::super) const AUDIO: u32 = 0xE1;
    pub(in super::super) const SAMPLING_FREQUENCY: u32 = 0xB5;
    pub(in super::super) const CHANNELS: u32 = 0x9F;
    pub(in super::super) const CONTENT_ENCODINGS: u32 = 0x6D80;
    pub(in super::super) const CONTENT_ENCODING: u32 = 0x6240;
    pub(in super::super) const CONTENT_ENCODING_SCOPE: u32 = 0x5032;
    pub(in super::super) const CONTENT_ENCODING_TYPE: u32 = 0x5033;
    pub(in super::super) const CONTENT_COMPRESSION: u32 = 0x5034;
    pub(in super::super) const CONTENT_COMP_ALGO: u32 = 0x4254;
    pub(in super::super) const CONTENT_COMP_SETTINGS: u32 = 0x4255;
    pub(in super::super) const CLUSTER: u32 = 0x1F43_B675;
    pub(in super::super) const TIMESTAMP: u32 = 0xE7;
    pub(in super::super) const SIMPLE_BLOCK: u32 = 0xA3;
    pub(in super::super) const BLOCK_GROUP: u32 = 0xA0;
    pub(in super::super) const BLOCK: u32 = 0xA1;
    pub(in super::super) const BLOCK_DURATION: u32 = 0x9B;
    pub(in super::super) const REFERENCE_BLOCK: u32 = 0xFB;
    pub(in super::super) const CUES: u32 = 0x1C53_BB6B;
    pub(in super::super) const CUE_POINT: u32 = 0xBB;
    pub(in super::super) const CUE_TIME: u32 = 0xB3;
    pub(in super::super) const CUE_TRACK_POSITIONS: u32 = 0xB7;
    pub(in super::super) const CUE_TRACK: u32 = 0xF7;
    pub(in super::super) const CUE_CLUSTER_POSITION: u32 = 0xF1;
    pub(in super::super) const ATTACHMENTS: u32 = 0x1941_A469;
    pub(in super::super) const CHAPTERS: u32 = 0x1043_A770;
    pub(in super::super) const TAGS: u32 = 0x1254_C367;

    /// Elements that only stand directly in a segment: one of them ends a cluster of unknown size.
    pub(in super::super) const fn ends_cluster(id: u32) -> bool {
        matches!(
            id,
            CLUSTER | CUES | INFO | TRACKS | SEEK_HEAD | ATTACHMENTS | CHAPTERS | TAGS | SEGMENT | EBML
        )
    }
}

/// Longest id and size together.
pub(super) const HEADER_BYTES_MAX: usize = 12;

/// The beginning of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u32,
    /// Bytes of id and size.
    pub(super) header_bytes: usize,
    /// Bytes of data; `None`: unknown, until something ends it.
    pub(super) size: Option<u64>,
}

/// Reads a header. `Ok(None)`: more bytes are needed.
pub(super) fn header(bytes: &[u8], at: u64) -> Result<Option<Header>, ContainerError> {
    let Some(first) = bytes.first() else { return Ok(None) };
    let id_bytes = usize::try_from(first.leading_zeros()).unwrap_or(8) + 1;
    if id_bytes > 4 {
        return Err(ContainerError::Malformed { at, what: "no element begins here" });
    }
    let Some((id, rest)) = bytes.split_at_checked(id_bytes) else { return Ok(None) };
    let id = id.iter().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    let Some(first) = rest.first() else { return Ok(None) };
    if *first == 0 {
        return Err(ContainerError::Malformed { at, what: "an element's size has more than 8 bytes" });
    }
    let Some((size, size_bytes)) = vint(rest) else { return Ok(None) };
    Ok(Some(Header { id, header_bytes: id_bytes + size_bytes, size }))
}

/// A variable-size integer without its marker, and its length; the value is `None` when all its bits are set.
/// `None`: the bytes end within, or it has more than 8 bytes.
pub(super) fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let len = usize::try_from(first.leading_zeros()).ok()? + 1;
    if len > 8 {
        return None;
    }
    let value = bytes.get(..len)?.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = (1_u64 << (7 * len)) - 1;
    Some(((value & mask != mask).then_some(value & mask), len))
}

/// The header at the window's position; `Ok(None)`: more bytes are needed.
pub(super) fn peek(window: &Window) -> Result<Option<Header>, ContainerError> {
    header(window.bytes(), window.position())
}

/// A child of an element that has arrived whole.
pub(super) struct Child {
    pub(super) id: u32,
    pub(super) data: Fields,
}

/// The next child; `None` at the end.
pub(super) fn child(fields: &mut Fields) -> Result<Option<Child>, ContainerError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let cut = fields.malformed("an element is longer than the one it is in");
    let mut probe = fields.clone();
    let rest = probe.rest();
    let head = header(&rest, fields.at())?.ok_or(cut.clone())?;
    fields.take(head.header_bytes)?;
    let size = head.size.ok_or(fields.malformed("an element of unknown size where none may be"))?;
    let size = usize::try_from(size).ok().filter(|size| *size <= fields.len()).ok_or(cut)?;
    let at = fields.at();
    Ok(Some(Child { id: head.id, data: Fields::new(fields.take(size)?, at) }))
}

impl Child {
    /// An unsigned integer.
    pub(super) fn uint(mut self) -> Result<u64, ContainerError> {
        let len = self.data.len();
        self.data.uint(len)
    }

    /// A float of 0, 4 or 8 bytes.
    pub(super) fn float(mut self) -> Result<f64, ContainerError> {
        match self.data.len() {
            0 => Ok(0.0),
            4 => Ok(f64::from(f32::from_bits(self.data.u32()?))),
            8 => Ok(f64::from_bits(self.data.u64()?)),
            _ => Err(self.data.malformed("a float has neither 4 nor 8 bytes")),
        }
    }

    /// The data as they are.
    pub(super) fn bytes(mut self) -> Bytes {
        self.data.rest()
    }

    /// Text; zero bytes at its end are padding.
    pub(super) fn text(self) -> String {
        let bytes = self.bytes();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').chars().take(64).collect()
    }
}

// ---- writing

fn put_id(out: &mut BytesMut, id: u32) {
    let bytes = id.to_be_bytes();
    let zeros = usize::try_from(id.leading_zeros() / 8).unwrap_or(0);
    out.put_slice(bytes.get(zeros..).unwrap_or_default());
}

/// A size in 8 bytes, so that it can be patched.
pub(super) fn long_size(size: u64) -> [u8; 8] {
    (size & ((1 << 56) - 1) | 1 << 56).to_be_bytes()
}

/// The unknown size in 8 bytes.
pub(super) const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

fn put_size(out: &mut BytesMut, size: u64) {
    // 1 to 8 bytes; all bits set would mean unknown.
    let len = (1_u32..8).find(|len| size < (1_u64 << (7 * len)) - 1).unwrap_or(8);
    let marked = size & ((1 << 56) - 1) | 1_u64 << (7 * len);
    let skip = usize::try_from(8 - len).unwrap_or(0);
    out.put_slice(marked.to_be_bytes().get(skip..).unwrap_or_default());
}

/// An element with these data.
pub(super) fn put_bytes(out: &mut BytesMut, id: u32, data: &[u8]) {
    put_id(out, id);
    put_size(out, len_u64(data.len()));
    out.put_slice(data);
}

/// An element's id and size; `size` bytes of data are to follow.
pub(super) fn put_header(out: &mut BytesMut, id: u32, size: usize) {
    put_id(out, id);
    put_size(out, len_u64(size));
}

/// An element of unknown size whose size, 8 bytes, can be patched later.
pub(super) fn put_open(out: &mut BytesMut, id: u32) {
    put_id(out, id);
    out.put_slice(&UNKNOWN_SIZE);
}

/// An unsigned integer in as few bytes as it takes.
pub(super) fn put_uint(out: &mut BytesMut, id: u32, value: u64) {
    let zeros = usize::try_from(value.leading_zeros() / 8).unwrap_or(0).min(7);
    put_bytes(out, id, value.to_be_bytes().get(zeros..).unwrap_or_default());
}

/// An unsigned integer in 8 bytes.
pub(super) fn put_long_uint(out: &mut BytesMut, id: u32, value: u64) {
    put_bytes(out, id, &value.to_be_bytes());
}

/// A float in 8 bytes.
pub(super) fn put_float(out: &mut BytesMut, id: u32, value: f64) {
    put_bytes(out, id, &value.to_be_bytes());
}

/// A parent of what `fill` writes.
pub(super) fn put_parent(out: &mut BytesMut, id: u32, fill: impl FnOnce(&mut BytesMut)) {
    let mut data = BytesMut::new();
    fill(&mut data);
    put_bytes(out, id, &data);
}

/// Padding of exactly `len` bytes, at least 9.
pub(super) fn put_void(out: &mut BytesMut, len: usize) {
    put_id(out, id::VOID);
    let data = len.saturating_sub(9);
    out.put_slice(&long_size(len_u64(data)));
    out.put_bytes(0, data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_round_trip_at_every_length() {
        for size in [0, 126, 127, 128, 16_382, 16_383, 1 << 21, 1 << 40] {
            let mut out = BytesMut::new();
            put_id(&mut out, id::CLUSTER);
            put_size(&mut out, size);
            let read = header(&out, 0).unwrap().unwrap();
            assert_eq!((read.id, read.size, read.header_bytes), (id::CLUSTER, Some(size), out.len()));
        }
        let mut out = BytesMut::new();
        put_open(&mut out, id::SEGMENT);
        assert_eq!(header(&out, 0).unwrap().unwrap().size, None);
        assert_eq!(header(&out[..11], 0).unwrap(), None);
        assert!(header(&[0x08], 7).is_err());
    }
}
