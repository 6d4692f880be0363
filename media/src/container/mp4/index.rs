//! What a finished fragmented MP4 has and a growing one has not: durations, and the index for seeking (mfra).

use bytes::{BufMut, Bytes, BytesMut};

use super::{boxes, movie::edit_shift};
use crate::container::{Finish, Patch, error::ContainerError, fields::Fields};

/// Ticks per second of the movie.
pub(super) const MOVIE_TIMESCALE: u32 = 1000;
/// Sound alone gets a seek point this often, seconds.
const AUDIO_POINT_INTERVAL_S: u64 = 5;

/// A number of 8 bytes that takes a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DurationField {
    at: u64,
    timescale: u32,
    /// Of one track, or of all.
    track: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    id: u32,
    timescale: u32,
    is_video: bool,
    /// Media before the presentation, ticks.
    delay: u64,
    /// Where the media ends, ticks.
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct SeekPoint {
    track: usize,
    time: u64,
    moof: u64,
}

/// Gathers the index while fragments are written, or while a cut file is read again.
#[derive(Debug, Default)]
pub(super) struct Index {
    tracks: Vec<Track>,
    fields: Vec<DurationField>,
    points: Vec<SeekPoint>,
}

impl Index {
    /// Looks through the data of a moov for tracks and for durations of 8 bytes.
    pub(super) fn of_moov(mut moov: Fields) -> Result<Self, ContainerError> {
        let mut index = Index::default();
        while let Some(child) = boxes::child(&mut moov)? {
            let mut data = child.data;
            match &child.kind {
                b"mvhd" if boxes::full(&mut data)?.0 == 1 => {
                    data.take(16)?;
                    let timescale = data.u32()?;
                    index.fields.push(DurationField { at: data.at(), timescale, track: None });
                }
                b"mvex" => {
                    if let Some(mut mehd) = boxes::find(&data, b"mehd")?
                        && boxes::full(&mut mehd)?.0 == 1
                    {
                        index.fields.push(DurationField {
                            at: mehd.at(),
                            timescale: MOVIE_TIMESCALE,
                            track: None,
                        });
                    }
                }
                b"trak" => index.track(&data)?,
                _ => {}
            }
        }
        Ok(index)
    }

    fn track(&mut self, trak: &Fields) -> Result<(), ContainerError> {
        let number = self.tracks.len();
        let missing = trak.malformed("a track is not whole");
        let mut tkhd = boxes::find(trak, b"tkhd")?.ok_or(missing.clone())?;
        let is_long = boxes::full(&mut tkhd)?.0 == 1;
        tkhd.take(if is_long { 16 } else { 8 })?;
        let id = tkhd.u32()?;
        tkhd.u32()?;
        if is_long {
            self.fields.push(DurationField {
                at: tkhd.at(),
                timescale: MOVIE_TIMESCALE,
                track: Some(number),
            });
        }
        let mdia = boxes::find(trak, b"mdia")?.ok_or(missing.clone())?;
        let mut mdhd = boxes::find(&mdia, b"mdhd")?.ok_or(missing)?;
        let is_long = boxes::full(&mut mdhd)?.0 == 1;
        mdhd.take(if is_long { 16 } else { 8 })?;
        let timescale = mdhd.u32()?;
        if is_long {
            self.fields.push(DurationField { at: mdhd.at(), timescale, track: Some(number) });
        }
        let mut handler = boxes::find(&mdia, b"hdlr")?.unwrap_or(Fields::new(Bytes::new(), 0));
        let is_video = handler.take(12).is_ok_and(|bytes| bytes.ends_with(b"vide"));
        let shift = edit_shift(trak, MOVIE_TIMESCALE, timescale)?;
        let delay = u64::try_from(shift.saturating_neg()).unwrap_or(0);
        self.tracks.push(Track { id, timescale, is_video, delay, end: 0 });
        Ok(())
    }

    /// Index of a track by the file's number for it.
    pub(super) fn position(&self, id: u32) -> Option<usize> {
        self.tracks.iter().position(|track| track.id == id)
    }

    /// A fragment of `track` lies at `moof`; its first sample is shown at `time`, its last ends at `end`, both
    /// before any edit.
    pub(super) fn fragment(&mut self, track: usize, moof: u64, time: u64, end: u64, is_seek_point: bool) {
        let Some(entry) = self.tracks.get_mut(track) else { return };
        entry.end = entry.end.max(end);
        let interval = if entry.is_video { 0 } else { AUDIO_POINT_INTERVAL_S * u64::from(entry.timescale) };
        let previous = self.points.iter().rev().find(|point| point.track == track);
        if is_seek_point && previous.is_none_or(|point| time >= point.time.saturating_add(interval)) {
            self.points.push(SeekPoint { track, time, moof });
        }
    }

    /// What finishes the file.
    pub(super) fn finish(&self) -> Finish {
        let patches = self.fields.iter().map(|field| {
            let tracks = self.tracks.iter().enumerate();
            let ends = tracks.filter(|(number, _)| field.track.is_none_or(|track| track == *number)).map(
                |(_, track)| {
                    let end = u128::from(track.end.saturating_sub(track.delay)) * u128::from(field.timescale);
                    u64::try_from(end.div_ceil(u128::from(track.timescale.max(1)))).unwrap_or(u64::MAX)
                },
            );
            let duration = ends.max().unwrap_or(0);
            Patch { offset: field.at, bytes: Bytes::copy_from_slice(&duration.to_be_bytes()) }
        });
        Finish { append: self.mfra(), patches: patches.collect() }
    }

    fn mfra(&self) -> Bytes {
        let mut out = BytesMut::new();
        boxes::put(&mut out, b"mfra", |out| {
            for (number, track) in self.tracks.iter().enumerate() {
                let points: Vec<_> = self.points.iter().filter(|point| point.track == number).collect();
                boxes::put_full(out, b"tfra", 1, 0, |out| {
                    out.put_u32(track.id);
                    // The numbers of traf, trun and sample take a byte each and are 1.
                    out.put_u32(0);
                    out.put_u32(u32::try_from(points.len()).unwrap_or(u32::MAX));
                    for point in points {
                        out.put_u64(point.time);
                        out.put_u64(point.moof);
                        out.put_slice(&[1, 1, 1]);
                    }
                });
            }
        });
        // mfro stands last inside mfra and says how long mfra is, so that it is found from the file's end.
        let len = u32::try_from(out.len().saturating_add(16)).unwrap_or(u32::MAX);
        boxes::put_full(&mut out, b"mfro", 0, 0, |out| out.put_u32(len));
        if let Some(size) = out.get_mut(..4) {
            size.copy_from_slice(&len.to_be_bytes());
        }
        out.freeze()
    }
}
