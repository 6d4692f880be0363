//! Writes fragmented MP4: an initialisation, then a fragment of one track at a time, each of at most a second, so
//! that a cut file plays up to the cut.
//!
//! Frames bring only their presentation time; MP4 wants a decode time too. Within a fragment the n-th frame
//! decoded gets the n-th smallest presentation time, and the difference is stored beside it: presentation times
//! are exact whatever the reordering. Where a codec may reorder, an edit list starts the presentation a second
//! into the media, so that the difference is never negative: ffmpeg misreads negative ones in fragments.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    boxes,
    fragment::NON_SYNC,
    index::{Index, MOVIE_TIMESCALE},
};
use crate::{
    container::{Finish, TrackSpec, WriteError, codec_config, fields::Fields, window::len_u64},
    format::{Codec, Format, Frame, Shape},
};

/// A fragment is given out before it holds more than this.
const FRAGMENT_BYTES_MAX: usize = 8 << 20;
/// An H.264 frame may be shown at most this many frames after it was decoded.
const REORDER_FRAMES_MAX: usize = 16;

#[derive(Debug)]
struct Track {
    id: u32,
    spec: TrackSpec,
    /// Ticks between the start of the media and that of the presentation.
    delay: i64,
    /// Frames not given out yet, times counted from the file's zero.
    held: Vec<Frame>,
    held_bytes: usize,
    /// Most frames seen to be decoded before one that is shown earlier.
    reorder_frames: usize,
    last_dts: Option<i64>,
    last_duration: u32,
}

/// Writes fragmented MP4 (H.264, AAC, Opus).
#[derive(Debug)]
pub struct Writer {
    tracks: Vec<Track>,
    index: Index,
    sequence: u32,
    written: u64,
}

impl Writer {
    /// A writer and the first bytes of its file. Times keep each track's own timescale.
    pub fn new(tracks: Vec<TrackSpec>) -> Result<(Self, Bytes), WriteError> {
        if tracks.is_empty() || tracks.len() > 100 || tracks.iter().any(|track| track.format.timescale == 0) {
            return Err(WriteError::Track);
        }
        let mut out = BytesMut::with_capacity(2048);
        boxes::put(&mut out, b"ftyp", |out| {
            out.put_slice(b"iso6\0\0\x02\0iso6iso5mp41");
        });
        let moov_at = out.len();
        let mut entries = Vec::with_capacity(tracks.len());
        for (id, spec) in (1..).zip(&tracks) {
            entries.push((id, spec, sample_entry(&spec.format)?));
        }
        boxes::put(&mut out, b"moov", |out| {
            put_mvhd(out, entries.len());
            for (id, spec, entry) in &entries {
                put_trak(out, *id, &spec.format, entry);
            }
            boxes::put(out, b"mvex", |out| {
                boxes::put_full(out, b"mehd", 1, 0, |out| out.put_u64(0));
                for (id, ..) in &entries {
                    boxes::put_full(out, b"trex", 0, 0, |out| {
                        out.put_u32(*id);
                        out.put_u32(1);
                        out.put_bytes(0, 12);
                    });
                }
            });
        });
        let out = out.freeze();
        let moov = Fields::new(out.slice(moov_at + 8..), len_u64(moov_at) + 8);
        let index = Index::of_moov(moov).map_err(|_| WriteError::TooLarge)?;
        let tracks = (1..).zip(tracks).map(|(id, spec)| Track::new(id, spec)).collect();
        Ok((Writer { tracks, index, sequence: 0, written: len_u64(out.len()) }, out))
    }

    /// Takes a frame; gives out the fragment that became complete, or nothing. Frames of a track in decode order.
    pub fn write(&mut self, track: usize, frame: &Frame) -> Result<Bytes, WriteError> {
        let Some(entry) = self.tracks.get_mut(track) else { return Err(WriteError::Track) };
        let count = entry.push(frame)?;
        if count == 0 { Ok(Bytes::new()) } else { self.fragment(track, count) }
    }

    /// Gives out what is held back, so that all frames so far are in the file.
    pub fn flush(&mut self) -> Result<Bytes, WriteError> {
        let mut out = BytesMut::new();
        for track in 0..self.tracks.len() {
            let count = self.tracks.get(track).map_or(0, |track| track.held.len());
            if count > 0 {
                out.put(self.fragment(track, count)?);
            }
        }
        Ok(out.freeze())
    }

    /// The rest of the file.
    pub fn finish(mut self) -> Result<Finish, WriteError> {
        let last = self.flush()?;
        let Finish { append: index, patches } = self.index.finish();
        let mut append = BytesMut::with_capacity(last.len() + index.len());
        append.put(last);
        append.put(index);
        Ok(Finish { append: append.freeze(), patches })
    }

    /// A fragment of the first `count` frames held of a track.
    fn fragment(&mut self, track: usize, count: usize) -> Result<Bytes, WriteError> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let Some(entry) = self.tracks.get_mut(track) else { return Err(WriteError::Track) };
        let (frames, times) = entry.take(count)?;
        let is_video = entry.spec.format.codec.is_video();
        let (Some(first), Some(first_time), Some(last_time)) = (frames.first(), times.first(), times.last())
        else {
            return Ok(Bytes::new());
        };
        let data_bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
        let mut out = BytesMut::with_capacity(data_bytes + frames.len() * 16 + 128);
        let put_moof = |out: &mut BytesMut, data_offset: u32| {
            boxes::put(out, b"moof", |out| {
                boxes::put_full(out, b"mfhd", 0, 0, |out| out.put_u32(sequence));
                boxes::put(out, b"traf", |out| {
                    // Offsets count from the start of the moof.
                    boxes::put_full(out, b"tfhd", 0, 0x02_0000, |out| out.put_u32(entry.id));
                    boxes::put_full(out, b"tfdt", 1, 0, |out| out.put_i64(first_time.dts));
                    boxes::put_full(out, b"trun", 1, 0xF01, |out| {
                        out.put_u32(u32::try_from(frames.len()).unwrap_or(u32::MAX));
                        out.put_u32(data_offset);
                        for (frame, time) in frames.iter().zip(&times) {
                            out.put_u32(time.duration);
                            out.put_u32(u32::try_from(frame.data.len()).unwrap_or(u32::MAX));
                            // Depends on others and is no sync sample, or depends on none.
                            out.put_u32(if frame.is_key { 0x0200_0000 } else { 0x0100_0000 | NON_SYNC });
                            out.put_i32(time.composition);
                        }
                    });
                });
            });
        };
        put_moof(&mut out, 0);
        let data_offset = out.len() + 8;
        out.clear();
        put_moof(&mut out, u32::try_from(data_offset).map_err(|_| WriteError::TooLarge)?);
        out.put_u32(u32::try_from(data_bytes + 8).map_err(|_| WriteError::TooLarge)?);
        out.put_slice(b"mdat");
        frames.iter().for_each(|frame| out.put_slice(&frame.data));

        let time = u64::try_from(first.pts + entry.delay).map_err(|_| WriteError::BeforeStart)?;
        let latest = frames.iter().map(|frame| frame.pts).max().unwrap_or(0);
        let end =
            u64::try_from(latest.saturating_add(i64::from(last_time.duration) + entry.delay)).unwrap_or(0);
        self.index.fragment(track, self.written, time, end, first.is_key || !is_video);
        self.written += len_u64(out.len());
        Ok(out.freeze())
    }
}

/// When a sample is decoded, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    dts: i64,
    duration: u32,
    /// Presentation minus decode time.
    composition: i32,
}

impl Track {
    fn new(id: u32, spec: TrackSpec) -> Self {
        Track {
            id,
            delay: delay(&spec.format),
            spec,
            held: Vec::new(),
            held_bytes: 0,
            reorder_frames: 0,
            last_dts: None,
            last_duration: 0,
        }
    }

    /// Holds a frame back; says how many of those held make a fragment now.
    fn push(&mut self, frame: &Frame) -> Result<usize, WriteError> {
        let pts = frame.pts.checked_sub(self.spec.zero).ok_or(WriteError::TooLarge)?;
        if pts < 0 {
            return Err(WriteError::BeforeStart);
        }
        if u32::try_from(frame.data.len()).is_err() {
            return Err(WriteError::TooLarge);
        }
        let later = self.held.iter().rev().take(REORDER_FRAMES_MAX).filter(|held| held.pts > pts).count();
        self.reorder_frames = self.reorder_frames.max(later);
        self.held_bytes += frame.data.len();
        self.held.push(Frame { pts, ..frame.clone() });

        let before = self.held.len() - 1;
        let is_new_group = self.spec.format.codec.is_video() && frame.is_key && before > 0;
        if is_new_group && self.is_boundary(before) {
            return Ok(before);
        }
        let (first, last) =
            self.held.iter().fold((pts, pts), |(a, b), held| (a.min(held.pts), b.max(held.pts)));
        let is_full =
            last - first >= i64::from(self.spec.format.timescale) || self.held_bytes >= FRAGMENT_BYTES_MAX;
        if !is_full || before == 0 {
            return Ok(0);
        }
        // Behind the last place where nothing shown earlier is still to come, as far as seen. Elsewhere it would
        // be only less tidy: decode times must not go back, and then do not.
        let settled = before.saturating_sub(self.reorder_frames).max(1);
        Ok((1..=settled).rev().find(|count| self.is_boundary(*count)).unwrap_or(settled))
    }

    /// True when the first `count` frames held are all shown before the others.
    fn is_boundary(&self, count: usize) -> bool {
        let Some((before, after)) = self.held.split_at_checked(count) else { return false };
        let (last, first) =
            (before.iter().map(|frame| frame.pts).max(), after.iter().map(|frame| frame.pts).min());
        first.is_none_or(|first| last.is_none_or(|last| last < first))
    }

    /// The first `count` frames held, with the times to store.
    fn take(&mut self, count: usize) -> Result<(Vec<Frame>, Vec<Times>), WriteError> {
        let rest = self.held.split_off(count.min(self.held.len()));
        let frames = std::mem::replace(&mut self.held, rest);
        self.held_bytes = self.held.iter().map(|frame| frame.data.len()).sum();

        let mut order: Vec<i64> = frames.iter().map(|frame| frame.pts).collect();
        order.sort_unstable();
        let mut last_dts = self.last_dts;
        let dts: Vec<i64> = order
            .into_iter()
            .map(|pts| {
                let dts = last_dts.map_or(pts, |last| pts.max(last + 1));
                last_dts = Some(dts);
                dts
            })
            .collect();
        self.last_dts = last_dts;

        let said = frames.last().and_then(|frame| frame.duration);
        let following = self.held.iter().map(|frame| frame.pts).min();
        let next = dts.iter().skip(1).copied().map(Some).chain([following]);
        let mut times = Vec::with_capacity(frames.len());
        for ((frame, dts), next) in frames.iter().zip(&dts).zip(next) {
            let until_next = next.and_then(|next| u32::try_from(next - dts).ok()).filter(|ticks| *ticks > 0);
            self.last_duration = until_next.or(said).unwrap_or(self.last_duration);
            let composition =
                i32::try_from(frame.pts - dts + self.delay).map_err(|_| WriteError::TooLarge)?;
            times.push(Times { dts: *dts, duration: self.last_duration, composition });
        }
        Ok((frames, times))
    }
}

/// How far into the media the presentation starts, ticks: enough for any reordering the codec may do.
fn delay(format: &Format) -> i64 {
    /// Profile of an avcC that has no B-frames.
    const BASELINE: u8 = 66;
    let may_reorder = format.codec == Codec::H264 && format.config.get(1) != Some(&BASELINE);
    if may_reorder { i64::from(format.timescale) } else { 0 }
}

// ---- the initialisation

const UNITY_MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

fn put_mvhd(out: &mut BytesMut, tracks: usize) {
    boxes::put_full(out, b"mvhd", 1, 0, |out| {
        out.put_bytes(0, 16);
        out.put_u32(MOVIE_TIMESCALE);
        out.put_u64(0);
        out.put_u32(0x1_0000);
        out.put_u16(0x100);
        out.put_bytes(0, 10);
        UNITY_MATRIX.iter().for_each(|value| out.put_u32(*value));
        out.put_bytes(0, 24);
        out.put_u32(u32::try_from(tracks + 1).unwrap_or(u32::MAX));
    });
}

fn put_trak(out: &mut BytesMut, id: u32, format: &Format, entry: &[u8]) {
    let (width, height) = match format.shape {
        Shape::Video { width, height, .. } => (width, height),
        Shape::Audio { .. } => (0, 0),
    };
    let is_video = format.codec.is_video();
    boxes::put(out, b"trak", |out| {
        // Enabled, in the movie.
        boxes::put_full(out, b"tkhd", 1, 3, |out| {
            out.put_bytes(0, 16);
            out.put_u32(id);
            out.put_u32(0);
            out.put_u64(0);
            out.put_bytes(0, 12);
            out.put_u16(if is_video { 0 } else { 0x100 });
            out.put_u16(0);
            UNITY_MATRIX.iter().for_each(|value| out.put_u32(*value));
            out.put_u32(width << 16);
            out.put_u32(height << 16);
        });
        let delay = delay(format);
        if delay > 0 {
            boxes::put(out, b"edts", |out| {
                // One edit, as long as there is media, at normal speed.
                boxes::put_full(out, b"elst", 1, 0, |out| {
                    out.put_u32(1);
                    out.put_u64(0);
                    out.put_i64(delay);
                    out.put_u32(0x1_0000);
                });
            });
        }
        boxes::put(out, b"mdia", |out| {
            boxes::put_full(out, b"mdhd", 1, 0, |out| {
                out.put_bytes(0, 16);
                out.put_u32(format.timescale);
                out.put_u64(0);
                // Undetermined language.
                out.put_u16(0x55C4);
                out.put_u16(0);
            });
            boxes::put_full(out, b"hdlr", 0, 0, |out| {
                out.put_u32(0);
                out.put_slice(if is_video { b"vide" } else { b"soun" });
                out.put_bytes(0, 12);
                out.put_slice(b"Roundtable\0");
            });
            boxes::put(out, b"minf", |out| {
                if is_video {
                    boxes::put_full(out, b"vmhd", 0, 1, |out| out.put_bytes(0, 8));
                } else {
                    boxes::put_full(out, b"smhd", 0, 0, |out| out.put_bytes(0, 4));
                }
                boxes::put(out, b"dinf", |out| {
                    boxes::put_full(out, b"dref", 0, 0, |out| {
                        out.put_u32(1);
                        boxes::put_full(out, b"url ", 0, 1, |_| {});
                    });
                });
                boxes::put(out, b"stbl", |out| {
                    boxes::put_full(out, b"stsd", 0, 0, |out| {
                        out.put_u32(1);
                        out.put_slice(entry);
                    });
                    boxes::put_full(out, b"stts", 0, 0, |out| out.put_u32(0));
                    boxes::put_full(out, b"stsc", 0, 0, |out| out.put_u32(0));
                    boxes::put_full(out, b"stsz", 0, 0, |out| out.put_u64(0));
                    boxes::put_full(out, b"stco", 0, 0, |out| out.put_u32(0));
                });
            });
        });
    });
}

/// The sample description of a format.
fn sample_entry(format: &Format) -> Result<Bytes, WriteError> {
    let mut out = BytesMut::with_capacity(256);
    let head = |out: &mut BytesMut| {
        out.put_bytes(0, 6);
        out.put_u16(1);
    };
    match (format.codec, format.shape) {
        (Codec::H264, Shape::Video { width, height, .. }) => {
            codec_config::avc(&format.config).ok_or(WriteError::Config)?;
            let width = u16::try_from(width).map_err(|_| WriteError::Config)?;
            let height = u16::try_from(height).map_err(|_| WriteError::Config)?;
            boxes::put(&mut out, b"avc1", |out| {
                head(out);
                out.put_bytes(0, 16);
                out.put_u16(width);
                out.put_u16(height);
                // 72 dpi, one frame a sample, no name, 24 bits.
                out.put_u32(0x48_0000);
                out.put_u32(0x48_0000);
                out.put_u32(0);
                out.put_u16(1);
                out.put_bytes(0, 32);
                out.put_u16(0x18);
                out.put_i16(-1);
                boxes::put(out, b"avcC", |out| out.put_slice(&format.config));
            });
        }
        (Codec::Aac, Shape::Audio { samplerate, channels }) => {
            codec_config::aac(&format.config).ok_or(WriteError::Config)?;
            let specific_len = u8::try_from(format.config.len()).ok().filter(|len| *len < 64);
            let specific_len = specific_len.ok_or(WriteError::Config)?;
            boxes::put(&mut out, b"mp4a", |out| {
                head(out);
                put_sound(out, channels, samplerate);
                boxes::put_full(out, b"esds", 0, 0, |out| {
                    // ES descriptor, decoder configuration (AAC, audio stream), its specifics, then one of SL.
                    out.put_slice(&[3, 3 + 2 + 13 + 2 + specific_len + 3, 0, 0, 0]);
                    out.put_slice(&[4, 13 + 2 + specific_len, 0x40, 0x15]);
                    out.put_bytes(0, 11);
                    out.put_slice(&[5, specific_len]);
                    out.put_slice(&format.config);
                    out.put_slice(&[6, 1, 2]);
                });
            });
        }
        (Codec::Opus, Shape::Audio { channels, .. }) => {
            let dops = codec_config::opus_to_dops(&format.config).ok_or(WriteError::Config)?;
            boxes::put(&mut out, b"Opus", |out| {
                head(out);
                put_sound(out, channels, 48_000);
                boxes::put(out, b"dOps", |out| out.put_slice(&dops));
            });
        }
        _ => return Err(WriteError::Codec),
    }
    Ok(out.freeze())
}

fn put_sound(out: &mut BytesMut, channels: u32, samplerate: u32) {
    out.put_u64(0);
    out.put_u16(u16::try_from(channels).unwrap_or(2));
    out.put_u16(16);
    out.put_u32(0);
    // 16.16; rates beyond are told by the codec configuration alone.
    out.put_u32(u16::try_from(samplerate).map_or(0, |rate| u32::from(rate) << 16));
}
