//! One track to a player: WebM on standard output, or Matroska where WebM cannot hold the codec.

use std::{
    io::Write,
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread::JoinHandle,
};

use bytes::Bytes;
use roundtable_media::{
    container::{TrackSpec, webm},
    format::{Codec, Format, Frame},
};

use crate::{
    event::{Consumer, EpochId, RoomEvent},
    record::timestamp_in,
    room::Leave,
};

/// Pieces that wait for the player; with more, frames are dropped up to the next key frame.
const QUEUE_MAX: usize = 512;

/// Writes the first epoch that fits to a stream, on a thread of its own.
pub struct Pipe {
    queue: Option<SyncSender<Bytes>>,
    thread: Option<JoinHandle<()>>,
    playing: Option<Playing>,
    /// True when any track will do; else sound is passed over, since pictures were probably meant.
    takes_sound: bool,
    waits_for_key: bool,
    frames_dropped: u64,
    leave: Leave,
}

struct Playing {
    epoch: EpochId,
    format: Format,
    muxer: Option<webm::Writer>,
}

impl Pipe {
    /// Writes to `out`. When the player is gone or the track is over, the room is left.
    pub fn start(
        mut out: impl Write + Send + 'static,
        takes_sound: bool,
        leave: Leave,
    ) -> std::io::Result<Self> {
        let (queue, pieces): (_, Receiver<Bytes>) = mpsc::sync_channel(QUEUE_MAX);
        let gone = leave.clone();
        let thread = std::thread::Builder::new().name("player".to_owned()).spawn(move || {
            for piece in pieces {
                // The player is gone: nothing is left to do.
                if out.write_all(&piece).and_then(|()| out.flush()).is_err() {
                    gone.leave();
                    return;
                }
            }
        })?;
        Ok(Pipe {
            queue: Some(queue),
            thread: Some(thread),
            playing: None,
            takes_sound,
            waits_for_key: false,
            frames_dropped: 0,
            leave,
        })
    }

    /// Waits until everything has been written. Frames that the player was too slow for.
    pub fn finish(mut self) -> u64 {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.frames_dropped
    }

    fn send(&mut self, bytes: Bytes) -> bool {
        let Some(queue) = &self.queue else { return false };
        match queue.try_send(bytes) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                self.leave.leave();
                false
            }
        }
    }

    fn frame(&mut self, frame: Frame) {
        if self.waits_for_key && !frame.is_key {
            self.frames_dropped += 1;
            return;
        }
        let Some(playing) = &mut self.playing else { return };
        let mut bytes = Vec::new();
        let mut muxer = match playing.muxer.take() {
            Some(muxer) => muxer,
            None => {
                let spec = TrackSpec { format: playing.format.clone(), zero: frame.pts };
                match webm::Writer::new(vec![spec]) {
                    Ok((muxer, head)) => {
                        bytes.extend_from_slice(&head);
                        muxer
                    }
                    Err(error) => {
                        tracing::error!(%error, "the track cannot be played");
                        self.leave.leave();
                        return;
                    }
                }
            }
        };
        match muxer.write(0, &frame) {
            Ok(block) => bytes.extend_from_slice(&block),
            // Shown before the first frame: no player would show it.
            Err(error) => tracing::debug!(%error, "a frame is left out"),
        }
        playing.muxer = Some(muxer);
        if !bytes.is_empty() {
            let is_sent = self.send(bytes.into());
            self.frames_dropped += u64::from(!is_sent);
            self.waits_for_key = !is_sent;
        }
    }
}

impl Consumer for Pipe {
    fn handle(&mut self, event: RoomEvent) {
        match event {
            RoomEvent::Began { epoch, label, format, .. } => {
                let fits = self.takes_sound || format.codec.is_video();
                if self.playing.is_some() || !fits {
                    return;
                }
                let container = match format.codec {
                    Codec::H264 | Codec::Aac => "Matroska, since WebM cannot hold the codec",
                    _ => "WebM",
                };
                tracing::info!(track = %label, codec = format.codec_string, "playing as {container}");
                self.playing = Some(Playing { epoch, format, muxer: None });
            }
            RoomEvent::Frame { epoch, frame } => {
                let Some(playing) = self.playing.as_ref().filter(|playing| playing.epoch == epoch) else {
                    return;
                };
                let pts = timestamp_in(&frame, playing.format.timescale);
                self.frame(Frame { pts, duration: None, is_key: frame.is_key, data: frame.data });
            }
            // A player cannot change to another format in the middle, so the end of an epoch is the end.
            RoomEvent::Ended { epoch, .. }
                if self.playing.as_ref().is_some_and(|playing| playing.epoch == epoch) =>
            {
                self.queue = None;
                self.leave.leave();
            }
            _ => {}
        }
    }
}
