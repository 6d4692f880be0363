//! The index of an MP4 (moov): its tracks, and where their samples lie.

use std::time::Duration;

use super::{boxes, fragment::Defaults, sample_entry, table::Table};
use crate::{
    container::{Skipped, TRACKS_MAX, error::ContainerError, fields::Fields},
    format::{Format, Shape},
};

/// A track whose frames are delivered.
#[derive(Debug, Clone)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) format: Format,
    pub(super) nal_length_bytes: usize,
    /// False while the first frame still has to say what the description did not.
    pub(super) is_settled: bool,
    /// What the edit list adds to every time.
    pub(super) shift: i64,
    pub(super) table: Table,
    pub(super) defaults: Defaults,
}

/// A moov.
#[derive(Debug, Clone, Default)]
pub(super) struct Movie {
    pub(super) tracks: Vec<Track>,
    pub(super) skipped: Vec<Skipped>,
    /// Fragments may follow.
    pub(super) is_fragmented: bool,
    pub(super) duration: Option<Duration>,
}

impl Movie {
    /// Reads the data of a moov.
    pub(super) fn parse(mut moov: Fields) -> Result<Self, ContainerError> {
        let mut movie = Movie::default();
        let (mut timescale, mut length) = (0, 0);
        if let Some(mut mvhd) = boxes::find(&moov, b"mvhd")? {
            (timescale, length) = times(&mut mvhd)?;
        }
        let mut defaults_by_track_id = Vec::new();
        if let Some(mut mvex) = boxes::find(&moov, b"mvex")? {
            movie.is_fragmented = true;
            while let Some(child) = boxes::child(&mut mvex)? {
                let mut data = child.data;
                match &child.kind {
                    b"mehd" => {
                        let (version, _) = boxes::full(&mut data)?;
                        length = if version == 1 { data.u64()? } else { u64::from(data.u32()?) };
                    }
                    b"trex" if defaults_by_track_id.len() < TRACKS_MAX => {
                        boxes::full(&mut data)?;
                        let id = data.u32()?;
                        data.u32()?;
                        let defaults =
                            Defaults { duration: data.u32()?, bytes: data.u32()?, flags: data.u32()? };
                        defaults_by_track_id.push((id, defaults));
                    }
                    _ => {}
                }
            }
        }
        // A length of all ones means that nobody knows.
        if timescale > 0 && length > 0 && length < u64::from(u32::MAX) * 1000 && length != u64::from(u32::MAX)
        {
            let seconds = length / u64::from(timescale);
            let nanos = (length % u64::from(timescale)) * 1_000_000_000 / u64::from(timescale);
            movie.duration = Some(Duration::new(seconds, u32::try_from(nanos).unwrap_or(0)));
        }
        while let Some(child) = boxes::child(&mut moov)? {
            if child.kind != *b"trak" || movie.tracks.len() + movie.skipped.len() >= TRACKS_MAX {
                continue;
            }
            match track(child.data, timescale)? {
                Ok(mut track) => {
                    let defaults = defaults_by_track_id.iter().find(|(id, _)| *id == track.id);
                    track.defaults = defaults.map(|(_, defaults)| *defaults).unwrap_or_default();
                    movie.tracks.push(track);
                }
                Err((codec, reason)) => movie.skipped.push(Skipped { codec, reason }),
            }
        }
        Ok(movie)
    }
}

/// Timescale and duration of an mvhd or mdhd.
fn times(data: &mut Fields) -> Result<(u32, u64), ContainerError> {
    let (version, _) = boxes::full(data)?;
    data.take(if version == 1 { 16 } else { 8 })?;
    let timescale = data.u32()?;
    let length = if version == 1 { data.u64()? } else { u64::from(data.u32()?) };
    Ok((timescale, length))
}

fn track(trak: Fields, movie_timescale: u32) -> Result<Result<Track, sample_entry::Refusal>, ContainerError> {
    let missing = |what| trak.malformed(what);
    let mut tkhd = boxes::find(&trak, b"tkhd")?.ok_or(missing("a track has no header (tkhd)"))?;
    let (version, _) = boxes::full(&mut tkhd)?;
    tkhd.take(if version == 1 { 16 } else { 8 })?;
    let id = tkhd.u32()?;
    let mdia = boxes::find(&trak, b"mdia")?.ok_or(missing("a track has no media (mdia)"))?;
    let mut mdhd = boxes::find(&mdia, b"mdhd")?.ok_or(missing("a track has no media header (mdhd)"))?;
    let (timescale, _) = times(&mut mdhd)?;
    let minf = boxes::find(&mdia, b"minf")?.ok_or(missing("a track has no media information (minf)"))?;
    let stbl = boxes::find(&minf, b"stbl")?.ok_or(missing("a track has no sample table (stbl)"))?;
    let stsd = boxes::find(&stbl, b"stsd")?.ok_or(missing("a track has no sample description (stsd)"))?;
    let described = match sample_entry::parse(stsd)? {
        Ok(described) => described,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if timescale == 0 {
        return Ok(Err((described.codec_string, "it has no timescale")));
    }
    let shift = edit_shift(&trak, movie_timescale, timescale)?;
    let table = Table::parse(stbl)?;
    let mut shape = described.shape;
    if let Shape::Video { framerate, .. } = &mut shape {
        *framerate = table.constant_duration().map(|duration| f64::from(timescale) / f64::from(duration));
    }
    Ok(Ok(Track {
        id,
        format: Format {
            codec: described.codec,
            codec_string: described.codec_string,
            shape,
            config: described.config,
            timescale,
        },
        nal_length_bytes: described.nal_length_bytes,
        is_settled: described.is_settled,
        shift,
        table,
        defaults: Defaults::default(),
    }))
}

/// What the edit list of a trak adds to its times. Empty edits delay it, the first real one says which media time it starts with.
/// Further edits are left alone, and nothing is cut: what comes before the start has a negative time.
pub(super) fn edit_shift(trak: &Fields, movie_timescale: u32, timescale: u32) -> Result<i64, ContainerError> {
    let Some(edts) = boxes::find(trak, b"edts")? else { return Ok(0) };
    let Some(mut elst) = boxes::find(&edts, b"elst")? else { return Ok(0) };
    let (version, _) = boxes::full(&mut elst)?;
    let count = elst.u32()?;
    let mut empty = 0_u64;
    for _ in 0..count {
        let (length, start) = if version == 1 {
            (elst.u64()?, elst.i64()?)
        } else {
            (u64::from(elst.u32()?), i64::from(elst.i32()?))
        };
        elst.u32()?;
        if start == -1 {
            empty = empty.saturating_add(length);
            continue;
        }
        let delay = u128::from(empty) * u128::from(timescale) / u128::from(movie_timescale.max(1));
        return Ok(i64::try_from(delay).unwrap_or(0).saturating_sub(start));
    }
    Ok(0)
}
