//! Boxes: a size, a kind of four letters, and data or further boxes (ISO 14496-12 section 4.2).

use bytes::{BufMut, BytesMut};

use crate::container::{error::ContainerError, fields::Fields, window::len_u64};

/// Four letters.
pub(super) type Kind = [u8; 4];

/// Longest header: size, kind, large size.
pub(super) const HEADER_BYTES_MAX: usize = 16;

/// The beginning of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) header_bytes: usize,
    /// Bytes after the header; `None`: to the end of the file.
    pub(super) size: Option<u64>,
}

/// Reads a header. `Ok(None)`: more bytes are needed.
pub(super) fn header(bytes: &[u8], at: u64) -> Result<Option<Header>, ContainerError> {
    let (Some(size), Some(kind)) = (array(bytes, 0), array(bytes, 4)) else { return Ok(None) };
    let (size, header_bytes) = match u32::from_be_bytes(size) {
        0 => return Ok(Some(Header { kind, header_bytes: 8, size: None })),
        1 => {
            let Some(large) = array(bytes, 8) else { return Ok(None) };
            (u64::from_be_bytes(large), 16)
        }
        size => (u64::from(size), 8),
    };
    let size = size.checked_sub(len_u64(header_bytes));
    let size = size.ok_or(ContainerError::Malformed { at, what: "a box is smaller than its own header" })?;
    Ok(Some(Header { kind, header_bytes, size: Some(size) }))
}

/// `N` bytes at `at`.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A box inside one that has arrived whole.
pub(super) struct Child {
    pub(super) kind: Kind,
    pub(super) data: Fields,
}

/// The next box; `None` at the end.
pub(super) fn child(fields: &mut Fields) -> Result<Option<Child>, ContainerError> {
    // QuickTime ends some lists with four zero bytes.
    if fields.len() < 8 {
        return Ok(None);
    }
    let cut = fields.malformed("a box is longer than the one it is in");
    let rest = fields.clone().rest();
    let head = header(&rest, fields.at())?.ok_or(cut.clone())?;
    fields.take(head.header_bytes)?;
    let size = match head.size {
        None => fields.len(),
        Some(size) => usize::try_from(size).ok().filter(|size| *size <= fields.len()).ok_or(cut)?,
    };
    let at = fields.at();
    Ok(Some(Child { kind: head.kind, data: Fields::new(fields.take(size)?, at) }))
}

/// The first box of this kind.
pub(super) fn find(fields: &Fields, kind: &Kind) -> Result<Option<Fields>, ContainerError> {
    let mut fields = fields.clone();
    while let Some(child) = child(&mut fields)? {
        if child.kind == *kind {
            return Ok(Some(child.data));
        }
    }
    Ok(None)
}

/// Version and flags of a full box.
pub(super) fn full(data: &mut Fields) -> Result<(u8, u32), ContainerError> {
    let word = data.u32()?;
    let [version, ..] = word.to_be_bytes();
    Ok((version, word & 0x00FF_FFFF))
}

// ---- writing

/// A box of what `fill` writes.
pub(super) fn put(out: &mut BytesMut, kind: &Kind, fill: impl FnOnce(&mut BytesMut)) {
    let mut data = BytesMut::new();
    fill(&mut data);
    out.put_u32(u32::try_from(data.len().saturating_add(8)).unwrap_or(u32::MAX));
    out.put_slice(kind);
    out.put_slice(&data);
}

/// A full box of what `fill` writes.
pub(super) fn put_full(
    out: &mut BytesMut,
    kind: &Kind,
    version: u8,
    flags: u32,
    fill: impl FnOnce(&mut BytesMut),
) {
    put(out, kind, |out| {
        out.put_u32(u32::from(version) << 24 | flags & 0x00FF_FFFF);
        fill(out);
    });
}
