//! Reads MP4: front to back where the format allows, by random access where the index says so.

use bytes::Bytes;

use super::{
    Sample, boxes,
    fragment::{self, TrackFragment},
    movie::Movie,
    table::Table,
};
use crate::{
    container::{
        FRAME_BYTES_MAX, Header, Source, Step, TRACKS_MAX, bitstream, codec_config,
        error::ContainerError,
        fields::Fields,
        interleave::Interleave,
        window::{Window, len_u64},
    },
    format::{Codec, Frame},
};

/// Longest index read: hours of film.
const MOOV_BYTES_MAX: u64 = 256 << 20;
/// Frames that wait for the first frame of a track whose description does not say its format, bytes.
const UNSETTLED_BYTES_MAX: usize = 4 << 20;
/// Longest index of a fragment.
const MOOF_BYTES_MAX: u64 = 16 << 20;

/// Samples of one track, from either kind of table, with the next one in sight.
#[derive(Debug)]
struct Samples {
    track: usize,
    next: Option<Sample>,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Table(Box<Table>),
    Fragment(Box<TrackFragment>),
}

impl Samples {
    fn new(track: usize, rest: Rest) -> Self {
        let mut samples = Samples { track, next: None, rest };
        samples.advance();
        samples
    }

    /// To the next sample that has bytes.
    fn advance(&mut self) {
        self.next = loop {
            let next = match &mut self.rest {
                Rest::Table(table) => table.next(),
                Rest::Fragment(fragment) => fragment.next(),
            };
            if next.is_none_or(|sample| sample.bytes > 0) {
                break next;
            }
        };
    }
}

#[derive(Debug)]
enum Place {
    /// Between boxes.
    Boxes,
    /// In an mdat that ends there.
    Media { end: Option<u64> },
    /// Going through the index in order of time; then on with the boxes at `then`.
    Random { windows: Vec<Window>, reading: usize, then: u64 },
}

enum Advance {
    Went,
    Need { offset: u64, bytes: usize },
    End,
}

/// Reads an MP4 file or pipe.
#[derive(Debug)]
pub(in super::super) struct Demuxer {
    source: Source,
    window: Window,
    place: Place,
    movie: Option<Movie>,
    header_is_out: bool,
    pending: Vec<Samples>,
    /// Where each track's next fragment begins if it does not say.
    next_dts: Vec<i64>,
    interleave: Interleave,
    ended: Option<Result<(), ContainerError>>,
}

impl Demuxer {
    pub(in super::super) fn new(source: Source) -> Self {
        Demuxer {
            source,
            window: Window::default(),
            place: Place::Boxes,
            movie: None,
            header_is_out: false,
            pending: Vec::new(),
            next_dts: Vec::new(),
            interleave: Interleave::default(),
            ended: None,
        }
    }

    fn window_in_use(&mut self) -> &mut Window {
        match &mut self.place {
            Place::Random { windows, reading, .. } => match windows.get_mut(*reading) {
                Some(window) => window,
                None => &mut self.window,
            },
            _ => &mut self.window,
        }
    }

    pub(in super::super) fn push(&mut self, bytes: &[u8]) {
        self.window_in_use().push(bytes);
    }

    pub(in super::super) fn finish(&mut self) {
        self.window_in_use().finish();
    }

    pub(in super::super) fn poll(&mut self) -> Result<Step, ContainerError> {
        loop {
            if let Some(movie) = &self.movie
                && !self.header_is_out
                && (self.ended.is_some()
                    || self.interleave.held_bytes() > UNSETTLED_BYTES_MAX
                    || movie.tracks.iter().all(|track| track.is_settled))
            {
                self.header_is_out = true;
                return Ok(Step::Header(Header {
                    tracks: movie.tracks.iter().map(|track| track.format.clone()).collect(),
                    skipped: movie.skipped.clone(),
                    duration: movie.duration,
                }));
            }
            if self.header_is_out
                && let Some((track, frame)) = self.interleave.pop()
            {
                return Ok(Step::Frame { track, frame });
            }
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| Step::End);
            }
            let ended = match self.advance() {
                Ok(Advance::Went) => continue,
                Ok(Advance::Need { offset, bytes }) => return Ok(Step::Need { offset, bytes }),
                Ok(Advance::End) => Ok(()),
                Err(error) => Err(error),
            };
            self.ended = Some(ended);
            self.interleave.finish();
        }
    }

    fn advance(&mut self) -> Result<Advance, ContainerError> {
        if let Source::File { .. } = self.source {
            self.window.jump();
        }
        match self.place {
            Place::Boxes => self.next_box(),
            Place::Media { end } => self.media(end),
            Place::Random { .. } => self.random(),
        }
    }

    // ---- boxes

    fn next_box(&mut self) -> Result<Advance, ContainerError> {
        let at = self.window.position();
        let Some(head) = boxes::header(self.window.bytes(), at)? else {
            return if self.window.is_finished() {
                self.file_ends()
            } else {
                Ok(self.need(boxes::HEADER_BYTES_MAX))
            };
        };
        match (&head.kind, &self.movie) {
            (b"moov", None) => {
                let Some(data) = self.whole(head, MOOV_BYTES_MAX, "the index (moov)")? else {
                    return Ok(self.need_whole(head));
                };
                self.begin(Movie::parse(data)?)?;
            }
            (b"moof", Some(_)) => {
                let Some(data) = self.whole(head, MOOF_BYTES_MAX, "the index of a fragment (moof)")? else {
                    return Ok(self.need_whole(head));
                };
                self.fragment(data, at)?;
            }
            (b"moof", None) => {
                return Err(self.malformed("a fragment comes before the initialisation (moov) it belongs to"));
            }
            (b"mdat", None) if self.source == Source::Pipe => return Err(ContainerError::IndexAtEnd),
            (b"mdat", Some(_)) => {
                self.window.skip(len_u64(head.header_bytes));
                let end = head.size.map(|size| self.window.position().saturating_add(size));
                self.place = Place::Media { end };
            }
            (kind, _) => {
                if !kind.iter().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | 0xA9)) {
                    return Err(self.malformed("no box begins here"));
                }
                let Some(size) = head.size else {
                    let what = "the media: the index (moov) is missing";
                    return if self.movie.is_some() { Ok(Advance::End) } else { Err(self.truncated(what)) };
                };
                self.window.skip(size.saturating_add(len_u64(head.header_bytes)));
            }
        }
        Ok(Advance::Went)
    }

    fn file_ends(&self) -> Result<Advance, ContainerError> {
        let is_between = self.window.bytes().is_empty()
            && match self.source {
                Source::File { bytes } => self.window.position() <= bytes,
                Source::Pipe => self.window.position() == self.window.end(),
            };
        if self.movie.is_none() {
            return Err(self.truncated("the media: the index (moov), which comes last, is missing"));
        }
        let is_whole = is_between && self.pending.iter().all(|samples| samples.next.is_none());
        if is_whole { Ok(Advance::End) } else { Err(self.truncated("the media")) }
    }

    /// The index has come.
    fn begin(&mut self, movie: Movie) -> Result<(), ContainerError> {
        if movie.tracks.is_empty() {
            let found = movie.skipped.iter().map(|skipped| format!("{} ({})", skipped.codec, skipped.reason));
            return Err(ContainerError::NoUsableTrack { found: found.collect() });
        }
        let tables = movie.tracks.iter().enumerate().filter(|(_, track)| !track.table.is_empty());
        self.pending = tables
            .map(|(index, track)| Samples::new(index, Rest::Table(Box::new(track.table.clone()))))
            .collect();
        self.next_dts = vec![0; movie.tracks.len()];
        self.interleave = Interleave::new(movie.tracks.len());
        if !self.pending.is_empty() && self.source != Source::Pipe {
            let windows = movie.tracks.iter().map(|_| Window::default()).collect();
            self.place = Place::Random { windows, reading: 0, then: self.window.position() };
        }
        self.movie = Some(movie);
        Ok(())
    }

    fn fragment(&mut self, data: Fields, at: u64) -> Result<(), ContainerError> {
        let Some(movie) = &self.movie else { return Ok(()) };
        self.pending.retain(|samples| samples.next.is_some());
        if self.pending.len() > 4 * TRACKS_MAX {
            return Err(self.malformed("fragments follow each other without their media"));
        }
        let defaults =
            |id| movie.tracks.iter().find(|track| track.id == id).map(|t| t.defaults).unwrap_or_default();
        for mut fragment in fragment::parse(data, at, defaults)? {
            let index = movie.tracks.iter().position(|track| track.id == fragment.track_id);
            let Some((index, next_dts)) =
                index.and_then(|index| Some((index, self.next_dts.get_mut(index)?)))
            else {
                continue;
            };
            fragment.start_at(fragment.start_dts.unwrap_or(*next_dts));
            *next_dts = fragment.end_dts();
            self.pending.push(Samples::new(index, Rest::Fragment(Box::new(fragment))));
        }
        Ok(())
    }

    // ---- samples, as the bytes come

    fn media(&mut self, end: Option<u64>) -> Result<Advance, ContainerError> {
        let position = self.window.position();
        let next = self.pending.iter_mut().filter(|samples| samples.next.is_some());
        let next = next.min_by_key(|samples| samples.next.map(|sample| sample.offset));
        let sample = next.as_ref().and_then(|samples| samples.next);
        let inside = sample.filter(|sample| end.is_none_or(|end| sample.offset < end));
        let (Some(samples), Some(sample)) = (next, inside) else {
            let Some(end) = end else { return Ok(Advance::End) };
            self.window.skip(end.saturating_sub(position));
            self.place = Place::Boxes;
            return Ok(Advance::Went);
        };
        let Some(ahead) = sample.offset.checked_sub(position) else {
            return Err(ContainerError::OutOfOrder { at: sample.offset });
        };
        let track = samples.track;
        self.window.skip(ahead);
        if let Source::File { .. } = self.source {
            self.window.jump();
        }
        let len = frame_len(sample)?;
        let Some(data) = self.window.take(len) else {
            return if self.window.is_finished() {
                Err(self.truncated("a frame"))
            } else {
                Ok(self.need(len - self.window.bytes().len()))
            };
        };
        samples.advance();
        self.frame(track, sample, data)?;
        Ok(Advance::Went)
    }

    // ---- samples, by random access

    fn random(&mut self) -> Result<Advance, ContainerError> {
        let Place::Random { windows, reading, then } = &mut self.place else { return Ok(Advance::Went) };
        let Some(movie) = &self.movie else { return Ok(Advance::End) };
        let due = |samples: &&mut Samples| {
            let (sample, track) = (samples.next?, movie.tracks.get(samples.track)?);
            let ticks = i128::from(sample.dts) + i128::from(track.shift);
            Some(ticks * 1_000_000_000 / i128::from(track.format.timescale.max(1)))
        };
        let next = self.pending.iter_mut().filter(|samples| samples.next.is_some()).min_by_key(due);
        let Some((samples, sample)) = next.and_then(|samples| samples.next.map(|sample| (samples, sample)))
        else {
            let then = *then;
            let is_fragmented = movie.is_fragmented;
            self.place = Place::Boxes;
            self.pending.clear();
            if !is_fragmented {
                return Ok(Advance::End);
            }
            self.window.seek(then);
            return Ok(Advance::Went);
        };
        let track = samples.track;
        let len = frame_len(sample)?;
        *reading = track;
        let Some(window) = windows.get_mut(track) else { return Ok(Advance::End) };
        match sample.offset.checked_sub(window.position()) {
            Some(ahead) if sample.offset <= window.end() => window.skip(ahead),
            _ => window.seek(sample.offset),
        }
        let Some(data) = window.take(len) else {
            if window.is_finished() {
                return Err(self.truncated("the media"));
            }
            return Ok(Advance::Need { offset: window.end(), bytes: len - window.bytes().len() });
        };
        samples.advance();
        self.frame(track, sample, data)?;
        Ok(Advance::Went)
    }

    /// Hands a frame on.
    fn frame(&mut self, index: usize, sample: Sample, data: Bytes) -> Result<(), ContainerError> {
        let late = ContainerError::Malformed { at: sample.offset, what: "a time is out of range" };
        let Some(track) = self.movie.as_mut().and_then(|movie| movie.tracks.get_mut(index)) else {
            return Ok(());
        };
        if !track.is_settled {
            codec_config::settle(&mut track.format, &data);
            track.is_settled = true;
        }
        let dts = sample.dts.checked_add(track.shift).ok_or(late.clone())?;
        let pts = dts.checked_add(i64::from(sample.composition)).ok_or(late)?;
        let codec = track.format.codec;
        let looks_key = || bitstream::is_key(codec, track.nal_length_bytes, &data).unwrap_or(true);
        let is_key = match codec {
            Codec::Opus | Codec::Aac => true,
            Codec::Vp8 | Codec::Vp9 => sample.is_sync && looks_key(),
            Codec::Av1 | Codec::H264 => sample.is_sync && (sample.is_sync_said || looks_key()),
        };
        let duration = Some(sample.duration).filter(|duration| *duration > 0);
        let timescale = track.format.timescale;
        self.interleave.push(index, dts, timescale, Frame { pts, duration, is_key, data });
        Ok(())
    }

    // ---- reading boxes

    fn whole(
        &mut self,
        head: boxes::Header,
        bytes_max: u64,
        what: &'static str,
    ) -> Result<Option<Fields>, ContainerError> {
        let at = self.window.position();
        let size = match (head.size, self.source) {
            (Some(size), _) => size,
            (None, Source::File { bytes }) => {
                bytes.saturating_sub(at).saturating_sub(len_u64(head.header_bytes))
            }
            (None, Source::Pipe) => {
                return Err(self.malformed("an index without a size cannot come through a pipe"));
            }
        };
        if size > bytes_max {
            return Err(ContainerError::TooLarge { at, what, bytes: size, bytes_max });
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if self.window.bytes().len() < head.header_bytes.saturating_add(size) {
            return if self.window.is_finished() { Err(self.truncated(what)) } else { Ok(None) };
        }
        self.window.skip(len_u64(head.header_bytes));
        let at = self.window.position();
        Ok(self.window.take(size).map(|data| Fields::new(data, at)))
    }

    fn need_whole(&self, head: boxes::Header) -> Advance {
        let size = usize::try_from(head.size.unwrap_or(0)).unwrap_or(usize::MAX);
        self.need(size.saturating_add(head.header_bytes).saturating_sub(self.window.bytes().len()))
    }

    fn need(&self, bytes: usize) -> Advance {
        Advance::Need { offset: self.window.end(), bytes: bytes.max(1) }
    }

    fn malformed(&self, what: &'static str) -> ContainerError {
        ContainerError::Malformed { at: self.window.position(), what }
    }

    fn truncated(&self, what: &'static str) -> ContainerError {
        let at = match self.source {
            Source::File { bytes } => bytes,
            Source::Pipe => self.window.end(),
        };
        ContainerError::Truncated { at, what }
    }
}

fn frame_len(sample: Sample) -> Result<usize, ContainerError> {
    usize::try_from(sample.bytes).ok().filter(|len| *len <= FRAME_BYTES_MAX).ok_or(ContainerError::TooLarge {
        at: sample.offset,
        what: "a frame",
        bytes: u64::from(sample.bytes),
        bytes_max: len_u64(FRAME_BYTES_MAX),
    })
}
