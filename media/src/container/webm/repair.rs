//! Finishes a WebM file whose writer died: reads it once, from front to back, and says what to cut and add.

use bytes::Bytes;

use super::{
    ebml::{self, id},
    index::{self, Index, Layout},
};
use crate::container::{
    Repair,
    error::ContainerError,
    fields::Fields,
    window::{Window, len_u64},
};

/// Longest Info or Tracks element read.
const ELEMENT_BYTES_MAX: u64 = 16 << 20;
/// Of a block: track number, time, flags.
const BLOCK_HEAD_BYTES: usize = 4;

/// Reads a file piece by piece; frames themselves are not kept.
#[derive(Debug)]
pub struct Repairer {
    window: Window,
    index: Index,
    place: Place,
    has_tracks: bool,
    /// What counts once the bytes up to the window's position have arrived.
    pending: Option<Pending>,
    valid: u64,
    frames: u64,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    File,
    Segment,
    Cluster { cluster: Cluster, is_noted: bool },
}

#[derive(Debug, Clone, Copy)]
struct Cluster {
    at: u64,
    size: Option<u64>,
    start: u64,
    end: Option<u64>,
    time_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    cluster: Cluster,
    is_noted: bool,
    track: u64,
    time_ms: u64,
    is_key: bool,
}

impl Default for Repairer {
    fn default() -> Self {
        Repairer {
            window: Window::default(),
            index: Index::default(),
            place: Place::File,
            has_tracks: false,
            pending: None,
            valid: 0,
            frames: 0,
        }
    }
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
        if !self.has_tracks {
            return Err(ContainerError::Truncated { at: self.window.end(), what: "its header" });
        }
        let finish = self.index.finish(self.valid);
        Ok(Repair { valid_bytes: self.valid, frames: self.frames, finish })
    }

    /// One element further; false when more bytes are needed.
    fn advance(&mut self) -> Result<bool, ContainerError> {
        if self.window.position() > self.window.end() {
            return Ok(false);
        }
        self.commit();
        let Some(head) = ebml::peek(&self.window)? else { return Ok(false) };
        let at = self.window.position();
        let start = at.saturating_add(len_u64(head.header_bytes));
        match self.place {
            Place::Cluster { cluster, .. } if cluster.end.is_some_and(|end| at >= end) => {
                self.place = Place::Segment;
            }
            Place::Cluster { cluster, .. } if cluster.end.is_none() && id::ends_cluster(head.id) => {
                self.place = Place::Segment;
            }
            Place::Cluster { cluster, is_noted } => return self.cluster_element(head, cluster, is_noted),
            _ => match head.id {
                id::SEGMENT => {
                    self.window.skip(len_u64(head.header_bytes));
                    self.index.layout.segment_start = start;
                    // Only a size of 8 bytes can take the real one.
                    self.index.layout.segment_size = start.checked_sub(8).filter(|_| head.header_bytes == 12);
                    self.place = Place::Segment;
                }
                id::CLUSTER if self.has_tracks => {
                    self.window.skip(len_u64(head.header_bytes));
                    let size = start.checked_sub(8).filter(|_| head.header_bytes == 12);
                    let end = head.size.map(|size| start.saturating_add(size));
                    let cluster = Cluster { at, size, start, end, time_ms: 0 };
                    self.place = Place::Cluster { cluster, is_noted: false };
                }
                id::VOID | id::SEEK_HEAD
                    if at == self.index.layout.segment_start && is_seek_head_space(head) =>
                {
                    self.index.layout.seek_head = Some(at);
                    return self.skip(head);
                }
                id::INFO => {
                    self.index.layout.info = at;
                    let Some(data) = self.whole(head)? else { return Ok(false) };
                    self.info(data)?;
                }
                id::TRACKS => {
                    let Some(data) = self.whole(head)? else { return Ok(false) };
                    let has_video = has_video(data)?;
                    let layout = Layout { tracks: at, ..self.index.layout };
                    self.index = Index::new(layout, has_video);
                    self.has_tracks = true;
                    self.valid = self.window.position();
                }
                _ => return self.skip(head),
            },
        }
        Ok(true)
    }

    fn info(&mut self, mut data: Fields) -> Result<(), ContainerError> {
        loop {
            let at = data.at();
            let Some(child) = ebml::child(&mut data)? else { return Ok(()) };
            let is_duration_space = data.at().checked_sub(at) == Some(len_u64(index::DURATION_BYTES))
                && matches!(child.id, id::VOID | id::DURATION);
            if is_duration_space {
                self.index.layout.duration = Some(at);
            }
        }
    }

    fn cluster_element(
        &mut self,
        head: ebml::Header,
        cluster: Cluster,
        is_noted: bool,
    ) -> Result<bool, ContainerError> {
        match head.id {
            id::TIMESTAMP => {
                let Some(mut data) = self.whole(head)? else { return Ok(false) };
                let len = data.len();
                let time_ms = data.uint(len)?;
                self.place = Place::Cluster { cluster: Cluster { time_ms, ..cluster }, is_noted };
                Ok(true)
            }
            id::SIMPLE_BLOCK => {
                let beginning =
                    self.window.bytes().get(head.header_bytes..head.header_bytes + BLOCK_HEAD_BYTES);
                let Some(beginning) = beginning else { return Ok(false) };
                let mut fields = Fields::new(Bytes::copy_from_slice(beginning), self.window.position());
                let track = u64::from(fields.u8()? & 0x7F);
                let relative = fields.i16()?;
                let is_key = fields.u8()? & 0x80 != 0;
                let time_ms = cluster.time_ms.saturating_add_signed(i64::from(relative));
                self.pending = Some(Pending { cluster, is_noted, track, time_ms, is_key });
                self.skip(head)
            }
            _ => self.skip(head),
        }
    }

    /// The last frame begun has arrived whole.
    fn commit(&mut self) {
        let Some(Pending { cluster, is_noted, track, time_ms, is_key }) = self.pending.take() else { return };
        if !is_noted {
            self.index.cluster(cluster.at, cluster.size, cluster.start);
            self.place = Place::Cluster { cluster, is_noted: true };
        }
        self.index.frame(track, time_ms, 0, is_key && !is_noted);
        self.valid = self.window.position();
        self.frames += 1;
    }

    fn whole(&mut self, head: ebml::Header) -> Result<Option<Fields>, ContainerError> {
        let at = self.window.position();
        let size = head.size.unwrap_or(u64::MAX);
        if size > ELEMENT_BYTES_MAX {
            let what = "an element of the header";
            return Err(ContainerError::TooLarge { at, what, bytes: size, bytes_max: ELEMENT_BYTES_MAX });
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if self.window.bytes().len() < head.header_bytes.saturating_add(size) {
            return Ok(None);
        }
        self.window.skip(len_u64(head.header_bytes));
        let at = self.window.position();
        Ok(self.window.take(size).map(|data| Fields::new(data, at)))
    }

    fn skip(&mut self, head: ebml::Header) -> Result<bool, ContainerError> {
        let at = self.window.position();
        let size = head.size.ok_or(ContainerError::Malformed { at, what: "an element of unknown size" })?;
        self.window.skip(size.saturating_add(len_u64(head.header_bytes)));
        Ok(true)
    }
}

/// True for what takes up as much as the writer keeps free.
fn is_seek_head_space(head: ebml::Header) -> bool {
    let bytes = head.size.and_then(|size| size.checked_add(len_u64(head.header_bytes)));
    bytes == Some(len_u64(index::SEEK_HEAD_BYTES))
}

/// True when one of the tracks has pictures.
fn has_video(mut data: Fields) -> Result<bool, ContainerError> {
    while let Some(child) = ebml::child(&mut data)? {
        if child.id != id::TRACK_ENTRY {
            continue;
        }
        let mut entry = child.data;
        while let Some(child) = ebml::child(&mut entry)? {
            if child.id == id::TRACK_TYPE && child.uint()? == 1 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
