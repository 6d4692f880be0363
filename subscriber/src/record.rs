//! The recorder: a [`Consumer`] that writes one file for each epoch of each track, and a manifest of them all.
//!
//! Files are written on a thread of their own. The queue to it has a bound in bytes; what the disk cannot take in
//! time is dropped and listed as a gap, and the network's task never waits.

mod file;
pub mod manifest;
mod name;
mod repair;

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use roundtable_media::{
    catalog::Clock,
    format::{Format, Frame},
    reassemble::{Counters, Gap, ReceivedFrame},
};

use self::{
    file::{EpochFile, FileError, Written},
    manifest::{GapReason, Line, Manifest},
};
use crate::{
    event::{Consumer, EpochId, RoomEvent, TrackLabel, WallClock},
    room::location_text,
};

/// Bytes of frames that may wait for the disk.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Events that may wait for the disk.
const QUEUE_EVENTS_MAX: usize = 1 << 16;
/// How often files are looked after when nothing arrives.
const TICK: Duration = Duration::from_millis(200);
/// Files open at once; epochs beyond are not recorded.
const FILES_MAX: usize = 512;
/// Version of the manifest.
const VERSION: u32 = 1;
/// Holds off a second recorder.
const LOCK_NAME: &str = ".roundtable-recorder";

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder cannot be made or written.
    #[error("cannot record into {}: {source}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else does.
    #[error("another recorder is writing into {}: give each its own folder", .0.display())]
    Busy(PathBuf),
}

/// What a recording came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files finished.
    pub files: u64,
    /// Frames in them.
    pub frames: u64,
    /// Frames that are missing, as far as is known.
    pub frames_lost: u64,
    /// What could not be written, for people.
    pub errors: Vec<String>,
}

/// Hands what it gets to the thread that writes.
pub struct Recorder {
    queue: SyncSender<Message>,
    queued_bytes: Arc<AtomicUsize>,
    /// Events other than frames that the queue could not take.
    events_dropped: Arc<AtomicU64>,
    dropped: HashMap<EpochId, u64>,
    thread: Option<JoinHandle<()>>,
    summary: Arc<Mutex<Summary>>,
}

enum Message {
    Event(RoomEvent),
    /// Frames of this epoch that the queue could not take.
    Dropped(EpochId, u64),
}

impl Recorder {
    /// Begins to record into a folder, which is made if it is not there. Files that an earlier recorder left
    /// unfinished are made whole first.
    pub fn start(folder: &Path) -> Result<Self, RecordError> {
        let fail = |source| RecordError::Folder { folder: folder.to_owned(), source };
        fs::create_dir_all(folder).map_err(fail)?;
        let lock = File::create(folder.join(LOCK_NAME)).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(RecordError::Busy(folder.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(fail(source)),
        }
        let clock = WallClock::now();
        let mut manifest = Manifest::open(folder).map_err(fail)?;
        for name in repair::unfinished(folder).map_err(fail)? {
            let line = repair::repair(folder, &name).unwrap_or_else(|error| {
                let message = error.to_string();
                tracing::warn!(file = name, message, "a file cannot be repaired");
                Line::RepairFailed { file: name.clone(), message }
            });
            manifest.write(&line).map_err(fail)?;
        }
        let at_unix_us = clock.unix_us(Instant::now());
        manifest.write(&Line::Recording { version: VERSION, at_unix_us }).map_err(fail)?;

        let (queue, messages) = mpsc::sync_channel(QUEUE_EVENTS_MAX);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let summary = Arc::new(Mutex::new(Summary::default()));
        let writer = Writer {
            folder: folder.to_owned(),
            _lock: lock,
            manifest,
            clock,
            epochs: HashMap::new(),
            queued_bytes: queued_bytes.clone(),
            summary: summary.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || writer.run(&messages))
            .map_err(fail)?;
        Ok(Recorder {
            queue,
            queued_bytes,
            events_dropped: Arc::default(),
            dropped: HashMap::new(),
            thread: Some(thread),
            summary,
        })
    }

    /// Finishes all files. Blocks until they are on the disk.
    pub fn finish(self) -> Summary {
        let Recorder { queue, thread, summary, events_dropped, .. } = self;
        drop(queue);
        let has_panicked = thread.is_some_and(|thread| thread.join().is_err());
        let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if has_panicked {
            summary
                .errors
                .push("the recorder stopped on a bug of its own; its files will be repaired".into());
        }
        if events_dropped.load(Ordering::Relaxed) > 0 {
            summary.errors.push("the disk was too slow to keep the manifest complete".into());
        }
        summary
    }

    /// Passes an event on if there is room for it.
    fn offer(&mut self, event: RoomEvent) {
        let frame = match &event {
            RoomEvent::Frame { epoch, frame } => Some((*epoch, frame.data.len())),
            _ => None,
        };
        let bytes = frame.map_or(0, |(_, bytes)| bytes);
        if self.queued_bytes.load(Ordering::Relaxed).saturating_add(bytes) > QUEUE_BYTES_MAX {
            self.count_dropped(frame.map(|(epoch, _)| epoch));
            return;
        }
        if let Some((epoch, _)) = frame
            && let Some(frames) = self.dropped.remove(&epoch)
            && self.queue.try_send(Message::Dropped(epoch, frames)).is_err()
        {
            self.dropped.insert(epoch, frames);
        }
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.queue.try_send(Message::Event(event)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.count_dropped(frame.map(|(epoch, _)| epoch));
            }
        }
    }

    fn count_dropped(&mut self, frame_of: Option<EpochId>) {
        match frame_of {
            Some(epoch) => *self.dropped.entry(epoch).or_default() += 1,
            None => {
                self.events_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Consumer for Recorder {
    fn handle(&mut self, event: RoomEvent) {
        if let RoomEvent::Ended { epoch, .. } = &event
            && let Some(frames) = self.dropped.remove(epoch)
        {
            let _ = self.queue.try_send(Message::Dropped(*epoch, frames));
        }
        self.offer(event);
    }
}

/// The thread's side.
struct Writer {
    folder: PathBuf,
    /// Held as long as this recorder lives.
    _lock: File,
    manifest: Manifest,
    clock: WallClock,
    epochs: HashMap<EpochId, Epoch>,
    queued_bytes: Arc<AtomicUsize>,
    summary: Arc<Mutex<Summary>>,
}

struct Epoch {
    label: TrackLabel,
    format: Format,
    clock: Clock,
    /// `None` when it cannot be written.
    file: Option<EpochFile>,
    first_arrived_unix_us: i64,
    clock_offset_us: Option<i64>,
    last_timestamp: Option<i64>,
    frames_lost: u64,
    is_announced: bool,
    /// Frames lost and frames repaired before this epoch, of the same subscription.
    gaps_waiting: Vec<Line>,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut ticked = Instant::now();
        loop {
            match messages.recv_timeout(TICK) {
                Ok(Message::Event(event)) => self.event(event),
                Ok(Message::Dropped(epoch, frames)) => self.disk_gap(epoch, frames),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if now.saturating_duration_since(ticked) >= TICK {
                ticked = now;
                self.tick(now);
            }
        }
        let open: Vec<EpochId> = self.epochs.keys().copied().collect();
        for epoch in open {
            self.end(epoch, "the recorder ended", None);
        }
        let at_unix_us = self.clock.unix_us(Instant::now());
        self.note(&Line::End { at_unix_us });
    }

    fn event(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::Following { .. } => {}
            RoomEvent::Joined { participant, at } => {
                let at_unix_us = self.clock.unix_us(at);
                self.note(&Line::Join { participant: participant.to_string(), at_unix_us });
            }
            RoomEvent::Left { participant, at } => {
                let at_unix_us = self.clock.unix_us(at);
                self.note(&Line::Leave { participant: participant.to_string(), at_unix_us });
            }
            RoomEvent::Began { epoch, label, format, clock } => self.begin(epoch, label, format, clock),
            RoomEvent::Frame { epoch, frame } => {
                self.queued_bytes.fetch_sub(frame.data.len(), Ordering::Relaxed);
                self.frame(epoch, frame);
            }
            RoomEvent::Gap { epoch, gap } => self.network_gap(epoch, gap),
            RoomEvent::Ended { epoch, reason, counters } => self.end(epoch, reason, Some(counters)),
        }
    }

    fn begin(&mut self, id: EpochId, label: TrackLabel, format: Format, clock: Clock) {
        let file = if self.epochs.len() >= FILES_MAX {
            self.error(None, format!("{label}: more than {FILES_MAX} files at once"));
            None
        } else {
            let (participant, track) = (&label.participant, &label.track);
            match EpochFile::create(&self.folder, participant, track, format.clone(), Instant::now()) {
                Ok(file) => Some(file),
                Err(error) => {
                    self.error(None, format!("{label}: {error}"));
                    None
                }
            }
        };
        let epoch = Epoch {
            label,
            format,
            clock,
            file,
            first_arrived_unix_us: 0,
            clock_offset_us: None,
            last_timestamp: None,
            frames_lost: 0,
            is_announced: false,
            gaps_waiting: Vec::new(),
        };
        self.epochs.insert(id, epoch);
    }

    fn frame(&mut self, id: EpochId, frame: ReceivedFrame) {
        let Some(epoch) = self.epochs.get_mut(&id) else { return };
        let Some(file) = &mut epoch.file else { return };
        let arrived_unix_us = self.clock.unix_us(frame.arrived);
        if epoch.last_timestamp.is_none() {
            epoch.first_arrived_unix_us = arrived_unix_us;
        }
        let pts = timestamp_in(&frame, file.timescale());
        epoch.last_timestamp = Some(pts);
        if let Some(published_us) = published_unix_us(&epoch.clock, pts, file.timescale()) {
            let offset = arrived_unix_us.saturating_sub(published_us);
            epoch.clock_offset_us = Some(epoch.clock_offset_us.map_or(offset, |least| least.min(offset)));
        }
        let frame = Frame { pts, duration: None, is_key: frame.is_key, data: frame.data };
        match file.write(frame) {
            Ok((written, zero)) => {
                self.announce(id, zero);
                if written == Written::Refused {
                    self.gap(id, None, 1, GapReason::Container);
                }
            }
            Err(error) => self.give_up(id, &error),
        }
    }

    /// Says in the manifest that the file has begun, once its time 0 is known.
    fn announce(&mut self, id: EpochId, zero: Option<i64>) {
        let Some(zero_timestamp) = zero else { return };
        let Some(epoch) = self.epochs.get_mut(&id) else { return };
        let Some(file) = &epoch.file else { return };
        let epoch_unix_us = published_unix_us(&epoch.clock, 0, file.timescale());
        let line = Line::FileBegin {
            file: file.name.clone(),
            participant: epoch.label.participant.to_string(),
            track: epoch.label.track.to_string(),
            codec: epoch.format.codec_string.clone(),
            timescale: file.timescale(),
            zero_timestamp,
            epoch_unix_us,
            first_arrived_unix_us: epoch.first_arrived_unix_us,
        };
        epoch.is_announced = true;
        let gaps = std::mem::take(&mut epoch.gaps_waiting);
        self.note(&line);
        gaps.iter().for_each(|gap| self.note(gap));
    }

    fn network_gap(&mut self, id: EpochId, gap: Gap) {
        self.gap(id, Some(gap), gap.frames_at_least, GapReason::Network);
    }

    fn disk_gap(&mut self, id: EpochId, frames: u64) {
        self.gap(id, None, frames, GapReason::Disk);
    }

    fn gap(&mut self, id: EpochId, gap: Option<Gap>, frames: u64, reason: GapReason) {
        let Some(epoch) = self.epochs.get_mut(&id) else { return };
        let Some(file) = &epoch.file else { return };
        epoch.frames_lost = epoch.frames_lost.saturating_add(frames);
        let line = Line::Gap {
            file: file.name.clone(),
            start: gap.map(|gap| location_text(gap.start)).unwrap_or_default(),
            end: gap.map(|gap| location_text(gap.end)).unwrap_or_default(),
            frames_at_least: frames,
            after_timestamp: epoch.last_timestamp,
            reason,
        };
        if epoch.is_announced {
            self.note(&line);
        } else if epoch.gaps_waiting.len() < 1024 {
            epoch.gaps_waiting.push(line);
        }
    }

    fn end(&mut self, id: EpochId, reason: &str, counters: Option<Counters>) {
        let finished = match self.epochs.get_mut(&id).and_then(|epoch| epoch.file.as_mut()) {
            Some(file) => file.finish(),
            None => {
                self.epochs.remove(&id);
                return;
            }
        };
        match finished {
            Ok(zero) => self.announce(id, zero),
            Err(error) => self.give_up(id, &error),
        }
        let Some(epoch) = self.epochs.remove(&id) else { return };
        let Some(file) = epoch.file else { return };
        let counters = counters.unwrap_or_default();
        self.note(&Line::FileEnd {
            file: file.name,
            reason: reason.to_owned(),
            frames_written: file.frames,
            frames_expected: file.frames.saturating_add(epoch.frames_lost),
            bytes: file.bytes,
            first_timestamp: file.first_pts,
            last_timestamp: file.last_pts,
            clock_offset_us: epoch.clock_offset_us,
            frames_from_parity: counters.frames_from_parity,
            frames_from_redundancy: counters.frames_from_redundancy,
            objects_fetched: counters.objects_fetched,
        });
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        summary.files += 1;
        summary.frames += file.frames;
        summary.frames_lost += epoch.frames_lost;
    }

    fn tick(&mut self, now: Instant) {
        let open: Vec<EpochId> = self.epochs.keys().copied().collect();
        for id in open {
            let Some(file) = self.epochs.get_mut(&id).and_then(|epoch| epoch.file.as_mut()) else { continue };
            match file.tick(now) {
                Ok(zero) => self.announce(id, zero),
                Err(error) => self.give_up(id, &error),
            }
        }
    }

    /// This file is not written any further; the others are.
    fn give_up(&mut self, id: EpochId, error: &FileError) {
        let Some(epoch) = self.epochs.get_mut(&id) else { return };
        let file = epoch.file.take().map(|file| file.name);
        let message = format!("{}: {error}", epoch.label);
        self.error(file, message);
    }

    fn error(&mut self, file: Option<String>, message: String) {
        tracing::error!("{message}");
        self.note(&Line::Error { file, message: message.clone() });
        let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        if summary.errors.len() < 100 {
            summary.errors.push(message);
        }
    }

    fn note(&mut self, line: &Line) {
        if let Err(error) = self.manifest.write(line) {
            tracing::error!(%error, "cannot write the manifest");
            let mut summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
            let message = format!("cannot write the manifest: {error}");
            if summary.errors.last() != Some(&message) && summary.errors.len() < 100 {
                summary.errors.push(message);
            }
        }
    }
}

/// The frame's time in ticks of the file's timescale, which is that of the catalog.
pub(crate) fn timestamp_in(frame: &ReceivedFrame, timescale: u32) -> i64 {
    let own = u128::from(frame.timescale.unwrap_or(1_000_000).max(1));
    let ticks = match own == u128::from(timescale) {
        true => u128::from(frame.timestamp),
        false => u128::from(frame.timestamp) * u128::from(timescale) / own,
    };
    i64::try_from(ticks).unwrap_or(i64::MAX)
}

/// When the publisher says that this time stamp is, in its own Unix time.
fn published_unix_us(clock: &Clock, pts: i64, timescale: u32) -> Option<i64> {
    match clock {
        Clock::Unix => Some(pts),
        Clock::Media { zero_unix_us } => {
            let zero = i64::try_from((*zero_unix_us)?).ok()?;
            let since = i128::from(pts) * 1_000_000 / i128::from(timescale.max(1));
            i64::try_from(since).ok()?.checked_add(zero)
        }
    }
}
