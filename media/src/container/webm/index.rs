//! What a finished WebM file has and a growing one has not: sizes, duration, Cues, and the way to them.

use bytes::{BufMut, Bytes, BytesMut};

use super::ebml::{self, id};
use crate::container::{Finish, Patch, window::len_u64};

/// Bytes kept free for the SeekHead: three entries of 21 bytes behind a header of 5.
pub(super) const SEEK_HEAD_BYTES: usize = 68;
/// Bytes kept free for the duration.
pub(super) const DURATION_BYTES: usize = 11;
/// Sound alone gets a seek point this often.
const AUDIO_CUE_INTERVAL_MS: u64 = 5000;

/// Where the parts of the file lie that are filled in at the end. Offsets from the start of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// The segment's size, 8 bytes, if still unknown.
    pub(super) segment_size: Option<u64>,
    /// The segment's first child.
    pub(super) segment_start: u64,
    /// [`SEEK_HEAD_BYTES`] kept free.
    pub(super) seek_head: Option<u64>,
    pub(super) info: u64,
    /// [`DURATION_BYTES`] kept free.
    pub(super) duration: Option<u64>,
    pub(super) tracks: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cluster {
    /// The element's start.
    at: u64,
    /// Its size, 8 bytes, if it can be patched.
    size: Option<u64>,
    /// Its first child.
    start: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cue {
    time_ms: u64,
    track: u64,
    cluster: u64,
}

/// Gathers the index while frames are written, or while a cut file is read again.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) layout: Layout,
    has_video: bool,
    clusters: Vec<Cluster>,
    cues: Vec<Cue>,
    duration_ms: u64,
}

impl Index {
    pub(super) fn new(layout: Layout, has_video: bool) -> Self {
        Index { layout, has_video, ..Index::default() }
    }

    /// A cluster begins at `at`; its size, if of 8 bytes, stands at `size`, its first child at `start`.
    pub(super) fn cluster(&mut self, at: u64, size: Option<u64>, start: u64) {
        self.clusters.push(Cluster { at, size, start });
    }

    /// A frame of the last cluster.
    pub(super) fn frame(&mut self, track: u64, time_ms: u64, duration_ms: u64, is_seek_point: bool) {
        self.duration_ms = self.duration_ms.max(time_ms.saturating_add(duration_ms));
        let Some(cluster) = self.clusters.last() else { return };
        let is_far = |cue: &Cue| time_ms >= cue.time_ms.saturating_add(AUDIO_CUE_INTERVAL_MS);
        let is_wanted = if self.has_video { is_seek_point } else { self.cues.last().is_none_or(is_far) };
        if is_wanted {
            self.cues.push(Cue { time_ms, track, cluster: cluster.at });
        }
    }

    /// What finishes a file whose media ends at `end`.
    pub(super) fn finish(&self, end: u64) -> Finish {
        let mut append = BytesMut::new();
        if !self.cues.is_empty() {
            ebml::put_parent(&mut append, id::CUES, |out| {
                for cue in &self.cues {
                    ebml::put_parent(out, id::CUE_POINT, |out| {
                        ebml::put_uint(out, id::CUE_TIME, cue.time_ms);
                        ebml::put_parent(out, id::CUE_TRACK_POSITIONS, |out| {
                            ebml::put_uint(out, id::CUE_TRACK, cue.track);
                            ebml::put_uint(out, id::CUE_CLUSTER_POSITION, self.in_segment(cue.cluster));
                        });
                    });
                }
            });
        }
        let file_end = end.saturating_add(len_u64(append.len()));
        let mut patches = Vec::with_capacity(self.clusters.len() + 3);
        let mut patch = |offset: u64, bytes: Bytes| patches.push(Patch { offset, bytes });
        let size = |bytes: u64| Bytes::copy_from_slice(&ebml::long_size(bytes));
        if let Some(at) = self.layout.segment_size {
            patch(at, size(self.in_segment(file_end)));
        }
        if let Some(at) = self.layout.seek_head
            && !self.cues.is_empty()
        {
            patch(at, self.seek_head(end));
        }
        if let Some(at) = self.layout.duration {
            let mut out = BytesMut::with_capacity(DURATION_BYTES);
            #[expect(clippy::cast_precision_loss, reason = "exact below 285,000 years")]
            ebml::put_float(&mut out, id::DURATION, self.duration_ms as f64);
            patch(at, out.freeze());
        }
        let ends = self.clusters.iter().skip(1).map(|cluster| cluster.at).chain([end]);
        for (cluster, end) in self.clusters.iter().zip(ends) {
            if let Some(at) = cluster.size {
                patch(at, size(end.saturating_sub(cluster.start)));
            }
        }
        Finish { append: append.freeze(), patches }
    }

    fn seek_head(&self, cues: u64) -> Bytes {
        let mut out = BytesMut::with_capacity(SEEK_HEAD_BYTES);
        ebml::put_parent(&mut out, id::SEEK_HEAD, |out| {
            for (id, at) in [(id::INFO, self.layout.info), (id::TRACKS, self.layout.tracks), (id::CUES, cues)]
            {
                ebml::put_parent(out, id::SEEK, |out| {
                    ebml::put_bytes(out, id::SEEK_ID, &id.to_be_bytes());
                    ebml::put_long_uint(out, id::SEEK_POSITION, self.in_segment(at));
                });
            }
        });
        debug_assert_eq!(out.len(), SEEK_HEAD_BYTES, "the space kept free is exact");
        out.freeze()
    }

    fn in_segment(&self, at: u64) -> u64 {
        at.saturating_sub(self.layout.segment_start)
    }
}

/// Free space for the SeekHead.
pub(super) fn put_seek_head_space(out: &mut BytesMut) {
    ebml::put_void(out, SEEK_HEAD_BYTES);
}

/// Free space for the duration, inside Info.
pub(super) fn put_duration_space(out: &mut impl BufMut) {
    let mut space = BytesMut::with_capacity(DURATION_BYTES);
    ebml::put_void(&mut space, DURATION_BYTES);
    out.put_slice(&space);
}
