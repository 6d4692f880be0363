//! The sample table of an unfragmented track, walked where it lies: nothing is expanded, so a count costs nothing.

use bytes::{Buf, Bytes};

use super::{
    Sample,
    boxes::{self, array},
};
use crate::container::{error::ContainerError, fields::Fields};

/// Entries of 4, 8 or 12 bytes, as many as are really there.
#[derive(Debug, Clone, Default)]
struct Words(Bytes);

impl Words {
    fn new(data: &mut Fields, entry_bytes: usize) -> Result<Self, ContainerError> {
        let count = usize::try_from(data.u32()?).unwrap_or(usize::MAX);
        let bytes = data.rest();
        Ok(Words(bytes.slice(..bytes.len().min(count.saturating_mul(entry_bytes)))))
    }

    fn word(&self, index: usize) -> Option<u32> {
        array(&self.0, index.checked_mul(4)?).map(u32::from_be_bytes)
    }

    fn pair(&self, index: usize) -> Option<(u32, u32)> {
        let first = index.checked_mul(2)?;
        Some((self.word(first)?, self.word(first + 1)?))
    }
}

/// A run-length table (stts, ctts): how many samples have which value.
#[derive(Debug, Clone, Default)]
struct Runs {
    words: Words,
    entry: usize,
    left: u32,
    value: u32,
}

impl Runs {
    fn new(words: Words) -> Self {
        Runs { words, ..Runs::default() }
    }

    /// The value of the next sample; the last one stays when the table is too short.
    fn next(&mut self) -> u32 {
        while self.left == 0 {
            let Some((count, value)) = self.words.pair(self.entry) else { return self.value };
            (self.left, self.value) = (count, value);
            self.entry += 1;
        }
        self.left -= 1;
        self.value
    }
}

/// A track's samples in decode order.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    durations: Runs,
    compositions: Option<Runs>,
    /// All samples' size, or 0.
    equal_bytes: u32,
    sizes: Words,
    sample_count: u32,
    chunk_offsets: Words,
    has_long_offsets: bool,
    chunk_runs: Words,
    /// Sync samples, counted from 1; `None`: all are.
    syncs: Option<Words>,

    sample: u32,
    chunk: u32,
    chunk_run: usize,
    left_in_chunk: u32,
    offset: u64,
    dts: i64,
    sync: usize,
}

impl Table {
    /// Reads an stbl.
    pub(super) fn parse(mut stbl: Fields) -> Result<Self, ContainerError> {
        let mut table = Table::default();
        while let Some(child) = boxes::child(&mut stbl)? {
            let mut data = child.data;
            match &child.kind {
                b"stts" => {
                    boxes::full(&mut data)?;
                    table.durations = Runs::new(Words::new(&mut data, 8)?);
                }
                b"ctts" => {
                    boxes::full(&mut data)?;
                    table.compositions = Some(Runs::new(Words::new(&mut data, 8)?));
                }
                b"stsz" => {
                    boxes::full(&mut data)?;
                    table.equal_bytes = data.u32()?;
                    table.sample_count = data.clone().u32()?;
                    table.sizes = Words::new(&mut data, 4)?;
                }
                b"stz2" => return Err(data.malformed("compact sample sizes (stz2) are not read")),
                b"stsc" => {
                    boxes::full(&mut data)?;
                    table.chunk_runs = Words::new(&mut data, 12)?;
                }
                b"stco" | b"co64" => {
                    boxes::full(&mut data)?;
                    table.has_long_offsets = child.kind == *b"co64";
                    table.chunk_offsets = Words::new(&mut data, if table.has_long_offsets { 8 } else { 4 })?;
                }
                b"stss" => {
                    boxes::full(&mut data)?;
                    table.syncs = Some(Words::new(&mut data, 4)?);
                }
                _ => {}
            }
        }
        Ok(table)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sample_count == 0 || self.chunk_offsets.0.is_empty()
    }

    /// The duration that all samples have, if they have one.
    pub(super) fn constant_duration(&self) -> Option<u32> {
        let (_, duration) = self.durations.words.pair(0)?;
        let is_only = self.durations.words.0.remaining() == 8;
        (is_only && duration > 0).then_some(duration)
    }

    fn chunk_offset(&self, chunk: u32) -> Option<u64> {
        let index = usize::try_from(chunk).ok()?;
        if self.has_long_offsets {
            array(&self.chunk_offsets.0, index.checked_mul(8)?).map(u64::from_be_bytes)
        } else {
            self.chunk_offsets.word(index).map(u64::from)
        }
    }

    /// Samples of a chunk (counted from 0): those of the last run that begins at or before it.
    fn samples_in_chunk(&mut self, chunk: u32) -> Option<u32> {
        while let Some(first) = self.chunk_runs.word((self.chunk_run + 1) * 3)
            && first <= chunk.saturating_add(1)
        {
            self.chunk_run += 1;
        }
        self.chunk_runs.word(self.chunk_run * 3 + 1)
    }

    fn is_sync(&mut self) -> bool {
        let Some(syncs) = &self.syncs else { return true };
        let number = self.sample.saturating_add(1);
        while let Some(sync) = syncs.word(self.sync) {
            if sync >= number {
                return sync == number;
            }
            self.sync += 1;
        }
        false
    }
}

impl Iterator for Table {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        if self.sample >= self.sample_count {
            return None;
        }
        while self.left_in_chunk == 0 {
            self.offset = self.chunk_offset(self.chunk)?;
            self.left_in_chunk = self.samples_in_chunk(self.chunk)?;
            self.chunk += 1;
        }
        self.left_in_chunk -= 1;
        let bytes = match self.equal_bytes {
            0 => self.sizes.word(usize::try_from(self.sample).ok()?)?,
            bytes => bytes,
        };
        let duration = self.durations.next();
        // Version 0 is unsigned by the book, but files have negative numbers there too.
        let composition = self.compositions.as_mut().map_or(0, |runs| runs.next().cast_signed());
        let is_sync = self.is_sync();
        let sample = Sample {
            offset: self.offset,
            bytes,
            dts: self.dts,
            composition,
            duration,
            is_sync,
            is_sync_said: self.syncs.is_some(),
        };
        self.offset = self.offset.saturating_add(u64::from(bytes));
        self.dts = self.dts.saturating_add(i64::from(duration));
        self.sample += 1;
        Some(sample)
    }
}
