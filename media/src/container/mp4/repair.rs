//! Finishes a fragmented MP4 whose writer died: reads it once, from front to back, and says what to cut and add.

use super::{
    boxes,
    fragment::{self, Defaults},
    index::Index,
};
use crate::container::{
    Repair,
    error::ContainerError,
    fields::Fields,
    window::{Window, len_u64},
};

/// Longest index box read.
const INDEX_BYTES_MAX: u64 = 16 << 20;
/// Samples counted in one fragment; a second has far fewer.
const SAMPLES_MAX: usize = 1 << 16;

/// Reads a file piece by piece; frames themselves are not kept.
#[derive(Debug, Default)]
pub struct Repairer {
    window: Window,
    index: Option<Index>,
    /// Fragments read, until the media behind has arrived.
    pending: Vec<Pending>,
    is_media_pending: bool,
    valid: u64,
    frames: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    track: usize,
    moof: u64,
    time: u64,
    end: u64,
    is_seek_point: bool,
    frames: u64,
}

impl Repairer {
    /// A repairer that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ContainerError> {
        self.window.push(bytes);
        while self.advance()? {}
        Ok(())
    }

    /// The file ends here. An error if not even its header is whole.
    pub fn finish(self) -> Result<Repair, ContainerError> {
        let index =
            self.index.ok_or(ContainerError::Truncated { at: self.window.end(), what: "its header" })?;
        Ok(Repair { valid_bytes: self.valid, frames: self.frames, finish: index.finish() })
    }

    /// One box further; false when more bytes are needed.
    fn advance(&mut self) -> Result<bool, ContainerError> {
        let at = self.window.position();
        if at > self.window.end() {
            return Ok(false);
        }
        if self.is_media_pending {
            self.commit(at);
        }
        let Some(head) = boxes::header(self.window.bytes(), at)? else { return Ok(false) };
        match (&head.kind, self.index.is_some()) {
            (b"moov", false) => {
                let Some(data) = self.whole(head)? else { return Ok(false) };
                self.index = Some(Index::of_moov(data)?);
                self.valid = self.window.position();
            }
            (b"moof", true) => {
                let Some(data) = self.whole(head)? else { return Ok(false) };
                self.fragment(data, at)?;
            }
            (kind, _) => {
                self.is_media_pending = kind == b"mdat" && !self.pending.is_empty();
                let size = head.size.unwrap_or(u64::MAX / 2);
                self.window.skip(size.saturating_add(len_u64(head.header_bytes)));
            }
        }
        Ok(true)
    }

    fn fragment(&mut self, data: Fields, at: u64) -> Result<(), ContainerError> {
        let Some(index) = &self.index else { return Ok(()) };
        self.pending.clear();
        for fragment in fragment::parse(data, at, |_| Defaults::default())? {
            let Some(track) = index.position(fragment.track_id) else { continue };
            let (mut time, mut end, mut is_seek_point, mut frames) = (None, 0, false, 0_u64);
            for sample in fragment.take(SAMPLES_MAX).filter(|sample| sample.bytes > 0) {
                let shown =
                    u64::try_from(sample.dts.saturating_add(i64::from(sample.composition))).unwrap_or(0);
                if time.is_none() {
                    (time, is_seek_point) = (Some(shown), sample.is_sync);
                }
                end = end.max(shown.saturating_add(u64::from(sample.duration)));
                frames += 1;
            }
            let Some(time) = time else { continue };
            self.pending.push(Pending { track, moof: at, time, end, is_seek_point, frames });
        }
        Ok(())
    }

    fn commit(&mut self, end: u64) {
        self.is_media_pending = false;
        self.valid = end;
        for fragment in self.pending.drain(..) {
            let Pending { track, moof, time, end, is_seek_point, frames } = fragment;
            self.frames += frames;
            if let Some(index) = &mut self.index {
                index.fragment(track, moof, time, end, is_seek_point);
            }
        }
    }

    fn whole(&mut self, head: boxes::Header) -> Result<Option<Fields>, ContainerError> {
        let at = self.window.position();
        let size = head.size.unwrap_or(u64::MAX);
        if size > INDEX_BYTES_MAX {
            return Err(ContainerError::TooLarge {
                at,
                what: "an index",
                bytes: size,
                bytes_max: INDEX_BYTES_MAX,
            });
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if self.window.bytes().len() < head.header_bytes.saturating_add(size) {
            return Ok(None);
        }
        self.window.skip(len_u64(head.header_bytes));
        let at = self.window.position();
        Ok(self.window.take(size).map(|data| Fields::new(data, at)))
    }
}
