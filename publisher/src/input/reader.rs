//! The reading thread: bytes in the order the demuxer asks for, frames out, once or again and again.

use std::{
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    sync::Arc,
};

use roundtable_media::{
    audio::FrameLength,
    container::{Demuxer, Header, Source, Step},
    format::{Format, Frame, Shape},
};
use tokio::sync::mpsc;

use super::{InputConfig, InputError, InputEvent, InputHeader, Origin, TEST_CARD};

/// Bytes read at once from a file, at most.
const READ_BYTES_MAX: usize = 1 << 20;
/// And at least: a demuxer that wants a few bytes wants more soon.
const READ_BYTES_MIN: usize = 64 << 10;

/// Nobody takes the frames any more.
struct Gone;

/// Reads.
pub(super) struct Reader {
    config: InputConfig,
    bytes: Bytes,
    buffer: Vec<u8>,
    /// Of all passes.
    frames: u64,
}

/// Where the bytes are.
enum Bytes {
    File { file: File, position: u64, len: u64 },
    Pipe(io::Stdin),
    Memory(&'static [u8]),
}

impl Reader {
    pub(super) fn open(config: InputConfig) -> Result<Self, InputError> {
        let bytes = match &config.origin {
            Origin::Pipe => Bytes::Pipe(io::stdin()),
            Origin::TestCard => Bytes::Memory(TEST_CARD),
            Origin::File(path) => {
                let fail = |reason: io::Error| InputError::Open {
                    path: path.clone(),
                    hint: hint(&reason),
                    reason: Arc::new(reason),
                };
                let file = File::open(path).map_err(fail)?;
                let metadata = file.metadata().map_err(fail)?;
                if metadata.is_dir() {
                    return Err(fail(io::ErrorKind::IsADirectory.into()));
                }
                if metadata.is_file() {
                    Bytes::File { file, position: 0, len: metadata.len() }
                } else {
                    // A named pipe or a device: it has no size and no way back.
                    Bytes::File { file, position: 0, len: u64::MAX }
                }
            }
        };
        if config.is_loop && bytes.len().is_none() {
            return Err(InputError::NotTwice(config.origin));
        }
        Ok(Reader { config, bytes, buffer: Vec::new(), frames: 0 })
    }

    pub(super) fn run(mut self, events: &mpsc::Sender<InputEvent>) {
        let result = match self.passes(events) {
            Ok(result) => result,
            Err(Gone) => return,
        };
        // Nobody is left to hear it if this fails.
        let _ = events.blocking_send(InputEvent::End(result));
    }

    fn passes(&mut self, events: &mpsc::Sender<InputEvent>) -> Result<Result<(), InputError>, Gone> {
        let mut timeline = Timeline::default();
        loop {
            let frames_before = self.frames;
            let is_first = timeline.passes == 0;
            if let Err(error) = self.pass(events, &mut timeline)? {
                return Ok(Err(error));
            }
            if self.frames == frames_before {
                let is_empty = is_first.then(|| InputError::NoFrames(self.config.origin.clone()));
                return Ok(is_empty.map_or(Ok(()), Err));
            }
            if !self.config.is_loop {
                return Ok(Ok(()));
            }
            timeline.end_pass();
        }
    }

    /// From the beginning to the end.
    fn pass(
        &mut self,
        events: &mpsc::Sender<InputEvent>,
        timeline: &mut Timeline,
    ) -> Result<Result<(), InputError>, Gone> {
        let mut demuxer = Demuxer::new(self.bytes.source());
        loop {
            let step = match demuxer.poll() {
                Ok(step) => step,
                Err(error) => {
                    let (origin, frames) = (self.config.origin.clone(), self.frames);
                    return Ok(Err(InputError::Container { origin, error, frames }));
                }
            };
            match step {
                Step::Need { offset, bytes } => match self.bytes.read(offset, bytes, &mut self.buffer) {
                    Ok([]) => demuxer.finish(),
                    Ok(bytes) => demuxer.push(bytes),
                    Err(reason) => {
                        let origin = self.config.origin.clone();
                        return Ok(Err(InputError::Read { origin, reason: Arc::new(reason) }));
                    }
                },
                Step::Header(header) => {
                    timeline.begin_pass(&header);
                    if timeline.passes == 0 {
                        let Header { tracks, skipped, duration } = header;
                        let (bytes, is_endless) = (self.bytes.len(), self.config.is_loop);
                        let header = InputHeader { tracks, skipped, duration, bytes, is_endless };
                        events.blocking_send(InputEvent::Header(header)).map_err(|_| Gone)?;
                    }
                }
                Step::Frame { track, mut frame } => {
                    self.frames += 1;
                    timeline.place(track, &mut frame);
                    events.blocking_send(InputEvent::Frame { track, frame }).map_err(|_| Gone)?;
                }
                Step::End => return Ok(Ok(())),
            }
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => ". Is the path right? '-' reads a pipe, no FILE plays the test card",
        io::ErrorKind::IsADirectory => ". Name a file in it",
        _ => "",
    }
}

impl Bytes {
    fn source(&self) -> Source {
        match self {
            Bytes::File { len: u64::MAX, .. } | Bytes::Pipe(_) => Source::Pipe,
            Bytes::File { len, .. } => Source::File { bytes: *len },
            Bytes::Memory(bytes) => Source::File { bytes: bytes.len() as u64 },
        }
    }

    fn len(&self) -> Option<u64> {
        match self.source() {
            Source::File { bytes } => Some(bytes),
            Source::Pipe => None,
        }
    }

    /// Some bytes from `offset` on; none at the end.
    fn read<'a>(&mut self, offset: u64, wanted: usize, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        buffer.resize(wanted.clamp(READ_BYTES_MIN, READ_BYTES_MAX), 0);
        let len = match self {
            Bytes::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let mut rest = bytes.get(start..).unwrap_or_default();
                rest.read(buffer)?
            }
            Bytes::Pipe(stdin) => read_some(stdin, buffer)?,
            Bytes::File { file, position, len } => {
                if *position != offset && *len != u64::MAX {
                    *position = file.seek(SeekFrom::Start(offset))?;
                }
                let read = read_some(file, buffer)?;
                *position += read as u64;
                read
            }
        };
        Ok(buffer.get(..len).unwrap_or_default())
    }
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Media time through all passes of a loop: each pass begins where the one before has ended.
#[derive(Debug, Default)]
struct Timeline {
    passes: u64,
    /// What is added to this pass' times.
    offset_ns: i128,
    tracks: Vec<TrackTime>,
}

#[derive(Debug)]
struct TrackTime {
    timescale: i128,
    frame_length: Option<FrameLength>,
    /// Length of a frame that does not say its own, as far as the format knows it.
    usual_ticks: Option<i64>,
    offset_ticks: i64,
    /// Of this pass, in its own time: the first and the last frame's beginning, and the end.
    first: Option<i64>,
    last: i64,
    end: i64,
}

impl TrackTime {
    fn new(format: &Format) -> Self {
        let framerate = match format.shape {
            Shape::Video { framerate, .. } => framerate,
            Shape::Audio { .. } => None,
        };
        TrackTime {
            timescale: i128::from(format.timescale.max(1)),
            frame_length: FrameLength::new(format),
            // Between 0 and 2^32 for any rate that a format can say.
            usual_ticks: framerate
                .filter(|rate| *rate > 0.0)
                .map(|rate| (f64::from(format.timescale) / rate).round() as i64),
            offset_ticks: 0,
            first: None,
            last: i64::MIN,
            end: i64::MIN,
        }
    }

    fn ns(&self, ticks: i64) -> i128 {
        i128::from(ticks) * 1_000_000_000 / self.timescale
    }

    /// How long a frame lasts: as it says, as its format says, or as the one before did.
    fn length(&self, frame: &Frame) -> i64 {
        let said = frame.duration.filter(|ticks| *ticks > 0).map(i64::from);
        let counted = || self.frame_length?.ticks([&frame.data]).and_then(|ticks| i64::try_from(ticks).ok());
        let since_last = || Some(frame.pts.checked_sub(self.last)?).filter(|ticks| *ticks > 0);
        said.or_else(counted).or(self.usual_ticks).or_else(since_last).unwrap_or(0)
    }
}

impl Timeline {
    fn begin_pass(&mut self, header: &Header) {
        self.tracks = header.tracks.iter().map(TrackTime::new).collect();
        for track in &mut self.tracks {
            let ticks = (self.offset_ns * track.timescale + 500_000_000).div_euclid(1_000_000_000);
            track.offset_ticks = i64::try_from(ticks).unwrap_or(0);
        }
    }

    fn place(&mut self, track: usize, frame: &mut Frame) {
        let Some(track) = self.tracks.get_mut(track) else { return };
        let end = frame.pts.saturating_add(track.length(frame));
        track.end = track.end.max(end);
        track.first = Some(track.first.map_or(frame.pts, |first| first.min(frame.pts)));
        track.last = track.last.max(frame.pts);
        frame.pts = frame.pts.saturating_add(track.offset_ticks);
    }

    /// The next pass comes later by the length of the longest track: that one goes on without a break, the others
    /// as well if they are as long, whether or not they all begin at the same time.
    fn end_pass(&mut self) {
        self.passes += 1;
        let lengths =
            self.tracks.iter().filter_map(|track| Some(track.ns(track.end) - track.ns(track.first?)));
        self.offset_ns += lengths.max().unwrap_or(0).max(0);
    }
}

#[cfg(test)]
mod tests {
    use roundtable_media::format::Codec;

    use super::*;

    fn format(codec: Codec, shape: Shape, timescale: u32) -> Format {
        Format { codec, codec_string: String::new(), shape, config: bytes::Bytes::new(), timescale }
    }

    fn frame(pts: i64, duration: Option<u32>) -> Frame {
        Frame { pts, duration, is_key: true, data: bytes::Bytes::from_static(&[0xf8, 0]) }
    }

    #[test]
    fn passes_follow_each_other_at_the_length_of_the_longest_track() {
        let video = Shape::Video { width: 1, height: 1, framerate: Some(25.0) };
        let sound = Shape::Audio { samplerate: 48_000, channels: 2 };
        let tracks = vec![format(Codec::Vp8, video, 90_000), format(Codec::Opus, sound, 48_000)];
        let header = Header { tracks, skipped: Vec::new(), duration: None };
        let mut timeline = Timeline::default();
        timeline.begin_pass(&header);
        // 80 ms of picture in decode order that is not that of display, 60 ms of sound that begins 10 ms before.
        for pts in [0, 3600] {
            timeline.place(0, &mut frame(pts, None));
        }
        for pts in [-480, 480, 1440] {
            timeline.place(1, &mut frame(pts, None));
        }
        timeline.end_pass();
        timeline.begin_pass(&header);
        let (mut picture, mut packet) = (frame(0, None), frame(-480, None));
        timeline.place(0, &mut picture);
        timeline.place(1, &mut packet);
        assert_eq!(picture.pts, 80 * 90);
        assert_eq!(packet.pts, 70 * 48);
    }

    #[test]
    fn a_frame_lasts_as_long_as_it_says_or_as_the_one_before() {
        let video = Shape::Video { width: 1, height: 1, framerate: None };
        let mut track = TrackTime::new(&format(Codec::Vp9, video, 1000));
        track.last = 100;
        assert_eq!(track.length(&frame(133, Some(40))), 40);
        assert_eq!(track.length(&frame(133, None)), 33);
        assert_eq!(track.length(&frame(50, None)), 0);
    }

    #[test]
    fn the_test_card_is_read_to_its_end_and_loops_without_a_break() {
        let config = InputConfig { origin: Origin::TestCard, is_loop: true };
        let (sender, mut events) = mpsc::channel(1);
        std::thread::spawn(move || Reader::open(config).unwrap().run(&sender));
        let mut times: Vec<Vec<i64>> = Vec::new();
        let mut scales = Vec::new();
        loop {
            match events.blocking_recv().unwrap() {
                InputEvent::Header(header) => {
                    assert_eq!(header.tracks.len(), 2);
                    scales = header.tracks.iter().map(|format| i64::from(format.timescale)).collect();
                    times = vec![Vec::new(); 2];
                }
                InputEvent::Frame { track, frame } => {
                    times[track].push(frame.pts);
                    // Two and a half passes of twenty seconds.
                    if frame.pts > 50 * scales[track] {
                        break;
                    }
                }
                InputEvent::End(end) => panic!("{end:?}"),
            }
        }
        for (times, scale) in times.iter().zip(scales) {
            let steps = times.windows(2).map(|pair| (pair[1], (pair[1] - pair[0]) * 1000 / scale));
            let breaks = steps.filter(|(_, ms)| !(19..=21).contains(ms) && !(33..=34).contains(ms));
            assert_eq!(breaks.collect::<Vec<_>>(), []);
        }
    }
}
