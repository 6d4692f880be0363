//! One file: an epoch of a track, written so that it plays wherever it is cut.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_media::{
    container::{Finish, TrackSpec, WriteError, mp4, webm},
    format::{Codec, Format, Frame},
};

use super::name::file_name;

/// Written data reaches the disk at least this often, and an MP4 fragment waits no longer for its end.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Frames looked at before the file's time 0 is fixed: pictures may be shown before the key frame they follow.
const REORDER_FRAMES: usize = 16;
/// How long such frames wait.
const REORDER_WAIT: Duration = Duration::from_millis(500);
/// Files of one participant and track in one folder.
const NUMBER_MAX: u32 = 100_000;

/// Why a file is not written any further.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot write {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("cannot put this track in a file: {0}")]
    Container(#[from] WriteError),
}

#[derive(Debug)]
enum Muxer {
    Webm(webm::Writer),
    Mp4(mp4::Writer),
}

impl Muxer {
    fn new(format: Format, zero: i64) -> Result<(Self, Bytes), WriteError> {
        let spec = TrackSpec { format: format.clone(), zero };
        match extension(format.codec) {
            "mp4" => mp4::Writer::new(vec![spec]).map(|(writer, head)| (Muxer::Mp4(writer), head)),
            _ => webm::Writer::new(vec![spec]).map(|(writer, head)| (Muxer::Webm(writer), head)),
        }
    }

    fn write(&mut self, frame: &Frame) -> Result<Bytes, WriteError> {
        match self {
            Muxer::Webm(writer) => writer.write(0, frame),
            Muxer::Mp4(writer) => writer.write(0, frame),
        }
    }

    fn flush(&mut self) -> Result<Bytes, WriteError> {
        match self {
            Muxer::Webm(_) => Ok(Bytes::new()),
            Muxer::Mp4(writer) => writer.flush(),
        }
    }

    fn finish(self) -> Result<Finish, WriteError> {
        match self {
            Muxer::Webm(writer) => Ok(writer.finish()),
            Muxer::Mp4(writer) => writer.finish(),
        }
    }
}

/// WebM where it can hold the codec, fragmented MP4 for H.264 and AAC.
pub(super) fn extension(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 | Codec::Aac => "mp4",
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => "webm",
    }
}

/// The file of one epoch.
#[derive(Debug)]
pub(super) struct EpochFile {
    pub(super) name: String,
    path: PathBuf,
    file: File,
    format: Format,
    muxer: Option<Muxer>,
    /// Frames that wait for the file's time 0.
    waiting: Vec<Frame>,
    waiting_since: Instant,
    synced: Instant,
    is_dirty: bool,
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) first_pts: Option<i64>,
    pub(super) last_pts: Option<i64>,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// In the file, or about to be.
    Yes,
    /// The container cannot hold it; the file goes on.
    Refused,
}

impl EpochFile {
    /// A new file in the folder; never one that exists.
    pub(super) fn create(
        folder: &Path,
        participant: &str,
        track: &str,
        format: Format,
        now: Instant,
    ) -> Result<Self, FileError> {
        let mut number = 1;
        loop {
            let name = file_name(participant, track, number, extension(format.codec));
            let path = folder.join(&name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    return Ok(EpochFile {
                        name,
                        path,
                        file,
                        format,
                        muxer: None,
                        waiting: Vec::new(),
                        waiting_since: now,
                        synced: now,
                        is_dirty: false,
                        bytes: 0,
                        frames: 0,
                        first_pts: None,
                        last_pts: None,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < NUMBER_MAX => {
                    number += 1;
                }
                Err(source) => return Err(FileError::Io { path, source }),
            }
        }
    }

    /// Ticks per second of what is written.
    pub(super) fn timescale(&self) -> u32 {
        self.format.timescale
    }

    /// The next frame, in decode order. Returns the file's time 0 once that is fixed.
    pub(super) fn write(&mut self, frame: Frame) -> Result<(Written, Option<i64>), FileError> {
        if self.muxer.is_some() {
            return Ok((self.mux(&frame)?, None));
        }
        self.waiting.push(frame);
        let is_enough = self.format.codec != Codec::H264 || self.waiting.len() >= REORDER_FRAMES;
        let zero = if is_enough { self.begin()? } else { None };
        Ok((Written::Yes, zero))
    }

    /// Fixes the file's time 0 and writes its head and what waited.
    fn begin(&mut self) -> Result<Option<i64>, FileError> {
        let Some(zero) = self.waiting.iter().map(|frame| frame.pts).min() else { return Ok(None) };
        let (muxer, head) = Muxer::new(self.format.clone(), zero)?;
        self.muxer = Some(muxer);
        self.append(&head)?;
        for frame in std::mem::take(&mut self.waiting) {
            self.mux(&frame)?;
        }
        Ok(Some(zero))
    }

    fn mux(&mut self, frame: &Frame) -> Result<Written, FileError> {
        let Some(muxer) = &mut self.muxer else { return Ok(Written::Refused) };
        let bytes = match muxer.write(frame) {
            Ok(bytes) => bytes,
            Err(WriteError::BeforeStart | WriteError::TooLarge) => return Ok(Written::Refused),
            Err(error) => return Err(error.into()),
        };
        self.frames += 1;
        self.first_pts = Some(self.first_pts.map_or(frame.pts, |first| first.min(frame.pts)));
        self.last_pts = Some(self.last_pts.map_or(frame.pts, |last| last.max(frame.pts)));
        self.append(&bytes)?;
        Ok(Written::Yes)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(source) = self.file.write_all(bytes) {
            // A disk that is full has taken a part: without it the file stays whole up to here.
            let _ = self.file.set_len(self.bytes);
            return Err(self.io(source));
        }
        self.bytes += bytes.len() as u64;
        self.is_dirty = true;
        Ok(())
    }

    fn io(&self, source: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), source }
    }

    /// Called several times a second: what waits goes to the disk. Returns the file's time 0 once that is fixed.
    pub(super) fn tick(&mut self, now: Instant) -> Result<Option<i64>, FileError> {
        let mut zero = None;
        if self.muxer.is_none() && now.saturating_duration_since(self.waiting_since) >= REORDER_WAIT {
            zero = self.begin()?;
        }
        if now.saturating_duration_since(self.synced) >= SYNC_EVERY {
            if let Some(muxer) = &mut self.muxer {
                let bytes = muxer.flush()?;
                self.append(&bytes)?;
            }
            self.synced = now;
            if std::mem::take(&mut self.is_dirty) {
                self.file.sync_data().map_err(|source| self.io(source))?;
            }
        }
        Ok(zero)
    }

    /// Writes the index. Returns the file's time 0 if that was not fixed before.
    pub(super) fn finish(&mut self) -> Result<Option<i64>, FileError> {
        let zero = if self.muxer.is_none() { self.begin()? } else { None };
        if let Some(muxer) = self.muxer.take() {
            let finish = muxer.finish()?;
            self.append(&finish.append)?;
            apply_patches(&mut self.file, &finish).map_err(|source| self.io(source))?;
        }
        self.file.sync_all().map_err(|source| self.io(source))?;
        Ok(zero)
    }
}

/// Writes the patches of a file whose other bytes are in place.
pub(super) fn apply_patches(file: &mut File, finish: &Finish) -> io::Result<()> {
    for patch in &finish.patches {
        file.seek(SeekFrom::Start(patch.offset))?;
        file.write_all(&patch.bytes)?;
    }
    file.seek(SeekFrom::End(0)).map(drop)
}
