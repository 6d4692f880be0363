//! Reads WebM and Matroska from front to back, clusters and segments of unknown size included.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    block,
    ebml::{self, id},
    tracks::{self, Clock, Tracks},
};
use crate::{
    container::{
        FRAME_BYTES_MAX, Header, Source, Step, bitstream, codec_config,
        error::ContainerError,
        fields::Fields,
        window::{Window, len_u64},
    },
    format::{Codec, Frame},
};

/// Longest element that is neither a block nor skipped, bytes.
const ELEMENT_BYTES_MAX: u64 = 16 << 20;
/// Frames that wait for the first frame of a track whose header does not say its format.
const UNSETTLED_FRAMES_MAX: usize = 256;

/// Where the next element stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    /// `end`: `None` where the size is unknown.
    Segment {
        end: Option<u64>,
    },
    Cluster {
        segment_end: Option<u64>,
        end: Option<u64>,
        time: u64,
    },
}

/// What one step through the file came to.
enum Advance {
    Went,
    Need(usize),
    End,
}

/// Reads a WebM or Matroska file or pipe.
#[derive(Debug)]
pub(in super::super) struct Demuxer {
    source: Source,
    window: Window,
    place: Place,
    clock: Option<Clock>,
    duration_ticks: f64,
    tracks: Option<Tracks>,
    header_is_out: bool,
    ready: VecDeque<(usize, Frame)>,
    /// How it ended, once it has.
    ended: Option<Result<(), ContainerError>>,
}

impl Demuxer {
    pub(in super::super) fn new(source: Source) -> Self {
        Demuxer {
            source,
            window: Window::default(),
            place: Place::File,
            clock: None,
            duration_ticks: 0.0,
            tracks: None,
            header_is_out: false,
            ready: VecDeque::new(),
            ended: None,
        }
    }

    pub(in super::super) fn push(&mut self, bytes: &[u8]) {
        self.window.push(bytes);
    }

    pub(in super::super) fn finish(&mut self) {
        self.window.finish();
    }

    pub(in super::super) fn poll(&mut self) -> Result<Step, ContainerError> {
        loop {
            if !self.header_is_out && self.is_settled() {
                self.header_is_out = true;
                return self.header().map(Step::Header);
            }
            if self.header_is_out
                && let Some((track, frame)) = self.ready.pop_front()
            {
                return Ok(Step::Frame { track, frame });
            }
            if let Some(ended) = &self.ended {
                return ended.clone().map(|()| Step::End);
            }
            match self.advance() {
                Ok(Advance::Went) => {}
                Ok(Advance::Need(bytes)) => return Ok(Step::Need { offset: self.window.end(), bytes }),
                Ok(Advance::End) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
            }
        }
    }

    /// True when the header can go out: every format is known, or will not be.
    fn is_settled(&self) -> bool {
        let is_last_chance = self.ended.is_some() || self.ready.len() >= UNSETTLED_FRAMES_MAX;
        self.tracks
            .as_ref()
            .is_some_and(|tracks| is_last_chance || tracks.usable.iter().all(|track| track.is_settled))
    }

    fn header(&mut self) -> Result<Header, ContainerError> {
        let Some(Tracks { usable, skipped }) = &self.tracks else { return Err(ContainerError::Empty) };
        let tick_ns = self.clock.map_or(1_000_000, |clock| clock.tick_ns);
        #[expect(clippy::cast_precision_loss, reason = "at most 1e9")]
        let seconds = self.duration_ticks * tick_ns as f64 / 1e9;
        Ok(Header {
            tracks: usable.iter().map(|track| track.format.clone()).collect(),
            skipped: skipped.clone(),
            duration: Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero()),
        })
    }

    /// One element further.
    fn advance(&mut self) -> Result<Advance, ContainerError> {
        if let Source::File { .. } = self.source {
            self.window.jump();
        }
        let position = self.window.position();
        match self.place {
            Place::Cluster { segment_end, end: Some(end), .. } if position >= end => {
                self.place = Place::Segment { end: segment_end };
                return Ok(Advance::Went);
            }
            Place::Segment { end: Some(end) } if position >= end => return Ok(Advance::End),
            _ => {}
        }
        let Some(head) = ebml::peek(&self.window)? else {
            return if self.window.is_finished() {
                self.file_ends()
            } else {
                Ok(Advance::Need(ebml::HEADER_BYTES_MAX))
            };
        };
        match self.place {
            Place::File => self.file_element(head),
            Place::Segment { .. } => self.segment_element(head),
            Place::Cluster { segment_end, end: None, .. } if id::ends_cluster(head.id) => {
                self.place = Place::Segment { end: segment_end };
                Ok(Advance::Went)
            }
            Place::Cluster { end, segment_end, time } => {
                let size = self.size(head)?;
                let element_end = position.saturating_add(len_u64(head.header_bytes)).saturating_add(size);
                if end.or(segment_end).is_some_and(|end| element_end > end) {
                    return Err(self.malformed("an element is longer than the cluster it is in"));
                }
                self.cluster_element(head, segment_end, end, time)
            }
        }
    }

    /// No bytes follow: fine between elements, unless a size promised more.
    fn file_ends(&self) -> Result<Advance, ContainerError> {
        let is_between = self.window.bytes().is_empty()
            && match self.source {
                Source::File { bytes } => self.window.position() <= bytes,
                Source::Pipe => self.window.position() == self.window.end(),
            };
        let what = match (self.place, &self.tracks) {
            (Place::File, _) => "its header",
            (_, None) => "its header",
            (Place::Segment { end: None } | Place::Cluster { end: None, segment_end: None, .. }, Some(_))
                if is_between =>
            {
                return Ok(Advance::End);
            }
            _ => "the media",
        };
        Err(self.truncated(what))
    }

    fn file_element(&mut self, head: ebml::Header) -> Result<Advance, ContainerError> {
        match head.id {
            id::EBML => {
                let Some(mut data) = self.whole(head, 4096, "the EBML header")? else {
                    return Ok(self.need(head));
                };
                while let Some(child) = ebml::child(&mut data)? {
                    if child.id == id::DOC_TYPE && !matches!(child.text().as_str(), "webm" | "matroska") {
                        return Err(ContainerError::NotMedia { what: "EBML of another kind" });
                    }
                }
            }
            id::SEGMENT => {
                self.window.skip(len_u64(head.header_bytes));
                let end = head.size.map(|size| self.window.position().saturating_add(size));
                self.place = Place::Segment { end };
            }
            _ => self.skip(head)?,
        }
        Ok(Advance::Went)
    }

    fn segment_element(&mut self, head: ebml::Header) -> Result<Advance, ContainerError> {
        match head.id {
            id::INFO => {
                let Some(mut data) = self.whole(head, ELEMENT_BYTES_MAX, "the segment's information")? else {
                    return Ok(self.need(head));
                };
                let mut tick_ns = 1_000_000;
                while let Some(child) = ebml::child(&mut data)? {
                    match child.id {
                        id::TIMESTAMP_SCALE => tick_ns = child.uint()?,
                        id::DURATION => self.duration_ticks = child.float()?,
                        _ => {}
                    }
                }
                let clock = Clock::new(tick_ns).ok_or(self.malformed("the timestamp scale is impossible"))?;
                if self.tracks.is_none() {
                    self.clock = Some(clock);
                }
            }
            id::TRACKS => {
                let Some(data) = self.whole(head, ELEMENT_BYTES_MAX, "the list of tracks")? else {
                    return Ok(self.need(head));
                };
                if self.tracks.is_none() {
                    let clock = self.clock.or(Clock::new(1_000_000)).ok_or(ContainerError::Empty)?;
                    self.clock = Some(clock);
                    let tracks = tracks::parse(data, clock)?;
                    if tracks.usable.is_empty() {
                        let found = tracks
                            .skipped
                            .iter()
                            .map(|skipped| format!("{} ({})", skipped.codec, skipped.reason));
                        return Err(ContainerError::NoUsableTrack { found: found.collect() });
                    }
                    self.tracks = Some(tracks);
                }
            }
            id::CLUSTER => {
                if self.tracks.is_none() {
                    return Err(self.malformed("media begins before the list of tracks"));
                }
                let Place::Segment { end: segment_end } = self.place else { return Ok(Advance::Went) };
                self.window.skip(len_u64(head.header_bytes));
                let end = head.size.map(|size| self.window.position().saturating_add(size));
                self.place = Place::Cluster { segment_end, end, time: 0 };
            }
            // A second file behind this one is not part of it.
            id::EBML | id::SEGMENT => return Ok(Advance::End),
            _ => self.skip(head)?,
        }
        Ok(Advance::Went)
    }

    fn cluster_element(
        &mut self,
        head: ebml::Header,
        segment_end: Option<u64>,
        end: Option<u64>,
        time: u64,
    ) -> Result<Advance, ContainerError> {
        match head.id {
            id::TIMESTAMP => {
                let Some(mut data) = self.whole(head, 8, "a cluster's timestamp")? else {
                    return Ok(self.need(head));
                };
                let len = data.len();
                self.place = Place::Cluster { segment_end, end, time: data.uint(len)? };
            }
            id::SIMPLE_BLOCK => {
                let Some(data) = self.whole(head, len_u64(FRAME_BYTES_MAX), "a frame")? else {
                    return Ok(self.need(head));
                };
                let block = block::parse(data)?;
                let is_key = block.is_key;
                self.block(time, block, is_key, None)?;
            }
            id::BLOCK_GROUP => {
                let Some(mut data) = self.whole(head, len_u64(FRAME_BYTES_MAX), "a frame")? else {
                    return Ok(self.need(head));
                };
                let (mut block, mut duration, mut is_key) = (None, None, true);
                while let Some(child) = ebml::child(&mut data)? {
                    match child.id {
                        id::BLOCK => block = Some(block::parse(child.data)?),
                        id::BLOCK_DURATION => duration = Some(child.uint()?),
                        id::REFERENCE_BLOCK => is_key = false,
                        _ => {}
                    }
                }
                if let Some(block) = block {
                    self.block(time, block, is_key, duration)?;
                }
            }
            _ => self.skip(head)?,
        }
        Ok(Advance::Went)
    }

    /// The frames of a block. `duration`: of the whole block, in the file's ticks.
    fn block(
        &mut self,
        cluster_time: u64,
        block: block::Block,
        is_key: bool,
        duration: Option<u64>,
    ) -> Result<(), ContainerError> {
        let late = self.malformed("a time is out of range");
        let (Some(clock), Some(tracks)) = (self.clock, &mut self.tracks) else { return Ok(()) };
        let by_number = tracks.usable.iter_mut().enumerate().find(|(_, track)| track.number == block.track);
        let Some((index, track)) = by_number else { return Ok(()) };
        let time = i64::try_from(cluster_time).ok().and_then(|time| time.checked_add(i64::from(block.time)));
        let time =
            time.and_then(|time| clock.ticks(time)).and_then(|time| time.checked_sub(track.delay_ticks));
        let start = time.ok_or(late.clone())?;
        let frames = len_u64(block.frames.len()).max(1);
        let duration = duration.and_then(|ticks| clock.ticks(i64::try_from(ticks / frames).ok()?));
        let mut elapsed_ns = 0_u64;
        for data in block.frames {
            let data = restore(&track.stripped, data);
            if data.is_empty() {
                continue;
            }
            if !track.is_settled {
                codec_config::settle(&mut track.format, &data);
                track.is_settled = true;
            }
            let frame_ns = track.frame_ns(&data);
            let elapsed = i64::try_from(clock.of_ns(elapsed_ns)).unwrap_or(i64::MAX);
            let pts = start.checked_add(elapsed).ok_or(late.clone())?;
            elapsed_ns = elapsed_ns.saturating_add(frame_ns.unwrap_or(0));
            let ticks =
                duration.and_then(|ticks| u64::try_from(ticks).ok()).or(frame_ns.map(|ns| clock.of_ns(ns)));
            let codec = track.format.codec;
            // VP8 and VP9 say it in their first bits; muxers have been seen to be wrong.
            let is_key = match codec {
                Codec::Vp8 | Codec::Vp9 => {
                    is_key && bitstream::is_key(codec, track.nal_length_bytes, &data).unwrap_or(is_key)
                }
                Codec::Av1 | Codec::H264 => is_key,
                Codec::Opus | Codec::Aac => true,
            };
            let duration = ticks.and_then(|ticks| u32::try_from(ticks).ok());
            self.ready.push_back((index, Frame { pts, duration, is_key, data }));
        }
        Ok(())
    }

    // ---- reading elements

    fn size(&self, head: ebml::Header) -> Result<u64, ContainerError> {
        head.size.ok_or(self.malformed("an element of unknown size where none may be"))
    }

    /// An element's data, once all of it is here.
    fn whole(
        &mut self,
        head: ebml::Header,
        bytes_max: u64,
        what: &'static str,
    ) -> Result<Option<Fields>, ContainerError> {
        let size = self.size(head)?;
        let at = self.window.position();
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

    /// What [`Demuxer::whole`] lacks.
    fn need(&self, head: ebml::Header) -> Advance {
        let size = usize::try_from(head.size.unwrap_or(0)).unwrap_or(usize::MAX);
        Advance::Need(size.saturating_add(head.header_bytes).saturating_sub(self.window.bytes().len()))
    }

    fn skip(&mut self, head: ebml::Header) -> Result<(), ContainerError> {
        let size = self.size(head)?;
        self.window.skip(size.saturating_add(len_u64(head.header_bytes)));
        Ok(())
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

/// Puts back what header stripping took.
fn restore(stripped: &Bytes, data: Bytes) -> Bytes {
    if stripped.is_empty() {
        return data;
    }
    let mut whole = BytesMut::with_capacity(stripped.len() + data.len());
    whole.extend_from_slice(stripped);
    whole.extend_from_slice(&data);
    whole.freeze()
}
