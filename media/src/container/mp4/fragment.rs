//! Movie fragments (moof): the samples of a second or so, walked where their table lies.

use bytes::{Buf, Bytes};

use super::{Sample, boxes};
use crate::container::{error::ContainerError, fields::Fields, window::len_u64};

/// What samples have that do not say otherwise (trex, tfhd).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) duration: u32,
    pub(super) bytes: u32,
    pub(super) flags: u32,
}

/// In sample flags: not a sync sample.
pub(super) const NON_SYNC: u32 = 0x0001_0000;

/// One track's part of a fragment.
#[derive(Debug, Clone)]
pub(super) struct TrackFragment {
    pub(super) track_id: u32,
    /// Decode time of the first sample, when said.
    pub(super) start_dts: Option<i64>,
    runs: std::vec::IntoIter<Run>,
    run: Option<Run>,
    dts: i64,
}

/// A trun.
#[derive(Debug, Clone)]
struct Run {
    flags: u32,
    left: u32,
    first_flags: Option<u32>,
    defaults: Defaults,
    offset: u64,
    entries: Bytes,
}

const DATA_OFFSET: u32 = 0x1;
const FIRST_FLAGS: u32 = 0x4;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const COMPOSITION: u32 = 0x800;

/// Reads a moof that begins at `at`. `defaults` gives each track's.
pub(super) fn parse(
    mut moof: Fields,
    at: u64,
    defaults: impl Fn(u32) -> Defaults,
) -> Result<Vec<TrackFragment>, ContainerError> {
    let mut fragments = Vec::new();
    // Where a track's data begin if it does not say: behind the track's before.
    let mut implied = at;
    while let Some(child) = boxes::child(&mut moof)? {
        if child.kind == *b"traf" {
            fragments.push(track_fragment(child.data, at, &mut implied, &defaults)?);
        }
    }
    Ok(fragments)
}

fn track_fragment(
    mut traf: Fields,
    moof: u64,
    implied: &mut u64,
    defaults: impl Fn(u32) -> Defaults,
) -> Result<TrackFragment, ContainerError> {
    let mut tfhd =
        boxes::find(&traf, b"tfhd")?.ok_or(traf.malformed("a track fragment has no header (tfhd)"))?;
    let (_, flags) = boxes::full(&mut tfhd)?;
    let track_id = tfhd.u32()?;
    let mut base = if flags & 0x02_0000 != 0 { moof } else { *implied };
    if flags & 0x1 != 0 {
        base = tfhd.u64()?;
    }
    if flags & 0x2 != 0 {
        tfhd.u32()?;
    }
    let mut defaults = defaults(track_id);
    for (bit, field) in
        [(0x8, &mut defaults.duration), (0x10, &mut defaults.bytes), (0x20, &mut defaults.flags)]
    {
        if flags & bit != 0 {
            *field = tfhd.u32()?;
        }
    }
    let (mut start_dts, mut runs, mut offset) = (None, Vec::new(), base);
    while let Some(child) = boxes::child(&mut traf)? {
        let mut data = child.data;
        match &child.kind {
            b"tfdt" => {
                let (version, _) = boxes::full(&mut data)?;
                let dts = if version == 1 { data.u64()? } else { u64::from(data.u32()?) };
                start_dts =
                    Some(i64::try_from(dts).map_err(|_| data.malformed("a decode time is out of range"))?);
            }
            b"trun" => {
                let run = Run::parse(data, base, offset, defaults)?;
                offset = run.offset.saturating_add(run.data_bytes());
                runs.push(run);
            }
            _ => {}
        }
    }
    *implied = offset;
    Ok(TrackFragment { track_id, start_dts, runs: runs.into_iter(), run: None, dts: start_dts.unwrap_or(0) })
}

impl Run {
    fn parse(mut data: Fields, base: u64, follows: u64, defaults: Defaults) -> Result<Self, ContainerError> {
        let (_, flags) = boxes::full(&mut data)?;
        let mut left = data.u32()?;
        let mut offset = follows;
        if flags & DATA_OFFSET != 0 {
            offset = base
                .checked_add_signed(i64::from(data.i32()?))
                .ok_or(data.malformed("a run of samples lies before the file"))?;
        }
        let first_flags = if flags & FIRST_FLAGS != 0 { Some(data.u32()?) } else { None };
        // Samples without a byte and without an entry are only a number: as many as anybody likes to write.
        if flags & SIZE == 0 && defaults.bytes == 0 {
            left = 0;
        }
        let run = Run { flags, left, first_flags, defaults, offset, entries: data.rest() };
        let entry_bytes = run.entry_bytes();
        if entry_bytes > 0
            && u64::from(left).saturating_mul(len_u64(entry_bytes)) > len_u64(run.entries.len())
        {
            return Err(data.malformed("a run of samples is shorter than its count"));
        }
        Ok(run)
    }

    fn entry_bytes(&self) -> usize {
        [DURATION, SIZE, FLAGS, COMPOSITION].iter().filter(|bit| self.flags & **bit != 0).count() * 4
    }

    /// Bytes of all samples.
    fn data_bytes(&self) -> u64 {
        if self.flags & SIZE == 0 {
            return u64::from(self.left).saturating_mul(u64::from(self.defaults.bytes));
        }
        let mut run = self.clone();
        let sizes = std::iter::from_fn(|| run.next(0)).map(|sample| u64::from(sample.bytes));
        sizes.fold(0, u64::saturating_add)
    }

    /// Ticks of all samples.
    fn duration(&self) -> i64 {
        if self.flags & DURATION == 0 {
            return i64::from(self.left).saturating_mul(i64::from(self.defaults.duration));
        }
        let mut run = self.clone();
        let durations = std::iter::from_fn(|| run.next(0)).map(|sample| i64::from(sample.duration));
        durations.fold(0, i64::saturating_add)
    }

    fn next(&mut self, dts: i64) -> Option<Sample> {
        self.left = self.left.checked_sub(1)?;
        let mut field =
            |bit: u32| (self.flags & bit != 0 && self.entries.len() >= 4).then(|| self.entries.get_u32());
        let duration = field(DURATION).unwrap_or(self.defaults.duration);
        let bytes = field(SIZE).unwrap_or(self.defaults.bytes);
        let own_flags = field(FLAGS);
        let composition = field(COMPOSITION).unwrap_or(0).cast_signed();
        let flags = self.first_flags.take().or(own_flags).unwrap_or(self.defaults.flags);
        let is_sync_said = own_flags.is_some() || flags != 0;
        let offset = self.offset;
        self.offset = self.offset.saturating_add(u64::from(bytes));
        Some(Sample {
            offset,
            bytes,
            dts,
            composition,
            duration,
            is_sync: flags & NON_SYNC == 0,
            is_sync_said,
        })
    }
}

impl TrackFragment {
    /// Sets the decode time of the first sample, where the fragment does not say it.
    pub(super) fn start_at(&mut self, dts: i64) {
        self.dts = dts;
    }

    /// Decode time after the last sample. A count costs nothing here either: only what has entries is walked.
    pub(super) fn end_dts(&self) -> i64 {
        self.runs.as_slice().iter().fold(self.dts, |dts, run| dts.saturating_add(run.duration()))
    }
}

impl Iterator for TrackFragment {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        loop {
            if let Some(sample) = self.run.as_mut().and_then(|run| run.next(self.dts)) {
                self.dts = self.dts.saturating_add(i64::from(sample.duration));
                return Some(sample);
            }
            self.run = Some(self.runs.next()?);
        }
    }
}
