//! WebM and Matroska (RFC 9559) on EBML (RFC 8794).

mod block;
mod demux;
mod ebml;
mod index;
mod repair;
mod tracks;
mod write;

pub(super) use demux::Demuxer;
pub use repair::Repairer;
pub use write::Writer;
