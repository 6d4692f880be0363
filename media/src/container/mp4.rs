//! MP4 (ISO 14496-12), whole and fragmented.

mod boxes;
mod demux;
mod fragment;
mod index;
mod movie;
mod repair;
mod sample_entry;
mod table;
mod write;

pub(super) use demux::Demuxer;
pub use repair::Repairer;
pub use write::Writer;

/// Where a sample lies and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sample {
    /// From the start of the file.
    offset: u64,
    bytes: u32,
    /// Media time before any edit.
    dts: i64,
    /// To be added to `dts`.
    composition: i32,
    duration: u32,
    is_sync: bool,
    /// False when `is_sync` is only what holds where nothing is said.
    is_sync_said: bool,
}
