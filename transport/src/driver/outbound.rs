//! Streams on their way out: opened when the peer allows, written as far as QUIC takes them.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use quinn::{StoppedError, VarInt, WriteError};
use roundtable_moqt::{Session, StreamId, StreamKind, StreamResetCode};

use super::{
    inbound::Inbound,
    wakes::{Token, Wakes},
};
use crate::{
    app::StreamState,
    codes::CodeSpace,
    connection::{BoxFuture, Connection, Gone, SendStream, Streams, stream_header},
};

/// What may wait on a request stream: small messages, which a peer that reads at all has taken long before.
const REQUEST_UNSENT_BYTES_MAX: usize = 256 << 10;
/// What may wait on a control or data stream: the largest objects, and a few.
const UNSENT_BYTES_MAX: usize = 8 << 20;
/// What may wait on all streams together.
const UNSENT_BYTES_TOTAL_MAX: usize = 64 << 20;

/// The sending halves.
pub(super) struct Outbound {
    codes: CodeSpace,
    have_headers: bool,
    streams: HashMap<StreamId, Sending>,
    /// Streams with something to write or finish that have not been told that they must wait.
    dirty: VecDeque<StreamId>,
    /// Streams that were seen above their limit since the last flush.
    stalling: Vec<StreamId>,
    opening: [Opening; 2],
    unsent_bytes: usize,
    taken_bytes: u64,
    /// Streams that ended and whose end the peer has not acknowledged.
    unacknowledged: usize,
    /// Those of them that are given up at a time.
    deadlines: BTreeSet<(Instant, StreamId)>,
}

struct Sending {
    /// `None` until it is open.
    stream: Option<SendStream>,
    kind: StreamKind,
    waker: Waker,
    priority: i32,
    chunks: VecDeque<Bytes>,
    unsent_bytes: usize,
    progress: Progress,
    /// When it is given up.
    by: Option<Instant>,
    /// STOP_SENDING for the other half, wanted before there was one.
    stop: Option<StreamResetCode>,
    /// Completes when the peer stops the stream, or has all of it.
    stopped: Option<BoxFuture<Result<Option<VarInt>, StoppedError>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// More may come.
    Writing,
    /// FIN follows what is queued.
    Finishing,
    /// FIN is handed over.
    Finished,
}

/// Streams of one kind that wait to be opened, in order: the peer's limit may be reached.
struct Opening {
    kind: StreamKind,
    waiting: VecDeque<StreamId>,
    attempt: Option<BoxFuture<Result<Streams, Gone>>>,
}

impl Opening {
    /// The next stream that could be opened, or could not. `None` while all must wait.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &Connection,
    ) -> Option<(StreamId, Result<Streams, Gone>)> {
        let Some(&id) = self.waiting.front() else {
            // Whoever waited was reset; a stream opened now would be nobody's.
            self.attempt = None;
            return None;
        };
        let attempt = self.attempt.get_or_insert_with(|| connection.open(self.kind));
        let Poll::Ready(opened) = attempt.as_mut().poll(cx) else { return None };
        self.attempt = None;
        self.waiting.pop_front();
        Some((id, opened))
    }
}

impl StreamState for Outbound {
    fn unsent_bytes(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |sending| sending.unsent_bytes)
    }

    fn unsent_bytes_total(&self) -> usize {
        self.unsent_bytes
    }
}

impl Outbound {
    pub(super) fn new(connection: &Connection) -> Self {
        let opening = |kind| Opening { kind, waiting: VecDeque::new(), attempt: None };
        Outbound {
            codes: connection.code_space(),
            have_headers: connection.streams_have_headers(),
            streams: HashMap::new(),
            dirty: VecDeque::new(),
            stalling: Vec::new(),
            opening: [opening(StreamKind::Uni), opening(StreamKind::Bi)],
            unsent_bytes: 0,
            taken_bytes: 0,
            unacknowledged: 0,
            deadlines: BTreeSet::new(),
        }
    }

    /// Streams that are open this way.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Bytes QUIC has taken since the start.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes
    }

    /// True when QUIC has all bytes, and the peer the end of all streams that ended.
    pub(super) fn is_flushed(&self) -> bool {
        self.unsent_bytes == 0
            && self.unacknowledged == 0
            && self.opening.iter().all(|opening| opening.waiting.is_empty())
    }

    /// Opens a stream as soon as the peer allows; what is written before waits.
    pub(super) fn open(&mut self, id: StreamId, kind: StreamKind, priority: i32, wakes: &Wakes) {
        let mut sending = Sending::new(kind, None, wakes.waker(Token::Stream(id)), priority);
        if self.have_headers {
            let header = stream_header::ours(kind);
            sending.unsent_bytes += header.len();
            self.unsent_bytes += header.len();
            sending.chunks.push_back(header);
        }
        self.streams.insert(id, sending);
        for opening in self.opening.iter_mut().filter(|opening| opening.kind == kind) {
            opening.waiting.push_back(id);
        }
    }

    /// The sending half of a stream of the peer.
    pub(super) fn accepted(&mut self, id: StreamId, stream: SendStream, waker: Waker) {
        self.streams.insert(id, Sending::new(StreamKind::Bi, Some(stream), waker, 0));
    }

    pub(super) fn write(&mut self, id: StreamId, bytes: Bytes) {
        // A stream that the peer stopped is gone; what the session wrote before it knew is dropped.
        let Some(sending) = self.streams.get_mut(&id) else { return };
        if bytes.is_empty() {
            return;
        }
        sending.unsent_bytes += bytes.len();
        self.unsent_bytes += bytes.len();
        sending.chunks.push_back(bytes);
        self.dirty.push_back(id);
        if self.is_stalled(id) {
            self.stalling.push(id);
        }
    }

    /// FIN; with `by`, unless the peer has all of it by then.
    pub(super) fn finish(&mut self, id: StreamId, by: Option<Instant>) {
        let Some(sending) = self.streams.get_mut(&id) else { return };
        if sending.progress == Progress::Writing {
            sending.progress = Progress::Finishing;
            sending.by = by;
            self.deadlines.extend(by.map(|by| (by, id)));
            self.unacknowledged += 1;
            self.dirty.push_back(id);
        }
    }

    pub(super) fn reset(&mut self, id: StreamId, code: StreamResetCode) {
        let code = self.codes.write(code.code());
        if let Some(mut sending) = self.remove(id)
            && let Some(stream) = &mut sending.stream
        {
            // An error means that it has ended already.
            let _ = stream.quinn().reset(code);
        }
    }

    /// Resets the streams whose time is over; returns how many.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut expired = 0;
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(by, _)| *by <= now) {
            self.reset(id, StreamResetCode::DeliveryTimeout);
            expired += 1;
        }
        expired
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(by, _)| *by)
    }

    pub(super) fn set_priority(&mut self, id: StreamId, priority: i32) {
        let Some(sending) = self.streams.get_mut(&id) else { return };
        sending.priority = priority;
        if let Some(stream) = &mut sending.stream {
            let _ = stream.quinn().set_priority(priority);
        }
    }

    /// STOP_SENDING for a stream that is not open yet.
    pub(super) fn stop_when_open(&mut self, id: StreamId, code: StreamResetCode) {
        if let Some(sending) = self.streams.get_mut(&id)
            && sending.stream.is_none()
        {
            sending.stop = Some(code);
        }
    }

    /// A stream's waker was woken: it may have room, or the peer may have stopped it.
    pub(super) fn woken(&mut self, id: StreamId, now: Instant, session: &mut Session) {
        let Some(sending) = self.streams.get_mut(&id) else { return };
        if sending.stream.is_none() {
            return;
        }
        match sending.poll_stopped() {
            Poll::Ready(Ok(Some(code))) => self.stopped_by_peer(id, code, now, session),
            // The peer has all of it, or the connection is gone, which others report.
            Poll::Ready(Ok(None) | Err(_)) => drop(self.remove(id)),
            Poll::Pending => self.pump(id, now, session),
        }
    }

    /// Opens what can be opened and writes what can be written.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        connection: &Connection,
        session: &mut Session,
        inbound: &mut Inbound,
    ) {
        self.open_waiting(cx, now, connection, session, inbound);
        while let Some(id) = self.dirty.pop_front() {
            self.pump(id, now, session);
        }
        for id in std::mem::take(&mut self.stalling) {
            if self.is_stalled(id) {
                session.handle_stalled(now, id);
            }
        }
    }

    /// True when more waits for the peer to read than it may make us keep.
    fn is_stalled(&self, id: StreamId) -> bool {
        let Some(sending) = self.streams.get(&id) else { return false };
        let max = match sending.kind {
            StreamKind::Bi => REQUEST_UNSENT_BYTES_MAX,
            StreamKind::Uni => UNSENT_BYTES_MAX,
        };
        sending.unsent_bytes > max || self.unsent_bytes > UNSENT_BYTES_TOTAL_MAX
    }

    fn open_waiting(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        connection: &Connection,
        session: &mut Session,
        inbound: &mut Inbound,
    ) {
        for index in 0..self.opening.len() {
            while let Some((id, opened)) =
                self.opening.get_mut(index).and_then(|opening| opening.poll(cx, connection))
            {
                match opened {
                    Ok(streams) => self.opened(id, streams, inbound),
                    // Stopped by the peer before it was open, or the connection is gone, which others report.
                    Err(Gone) => self.stopped_by_peer(id, VarInt::from_u32(0), now, session),
                }
            }
        }
    }

    fn opened(&mut self, id: StreamId, streams: Streams, inbound: &mut Inbound) {
        // A stream that was reset while it waited is not in `waiting` any more.
        let (Some(sending), Some(mut send)) = (self.streams.get_mut(&id), streams.send) else { return };
        let _ = send.quinn().set_priority(sending.priority);
        sending.stopped = Some(Box::pin(send.quinn().stopped()));
        sending.stream = Some(send);
        sending.waker.wake_by_ref();
        self.dirty.push_back(id);
        if let Some(receive) = streams.receive {
            inbound.register(id, receive, sending.waker.clone());
            if let Some(code) = sending.stop.take() {
                inbound.stop(id, code);
            }
        }
    }

    /// Writes until QUIC takes no more. Then the stream's waker brings it back.
    fn pump(&mut self, id: StreamId, now: Instant, session: &mut Session) {
        let Some(sending) = self.streams.get_mut(&id) else { return };
        let Some(stream) = &mut sending.stream else { return };
        while !sending.chunks.is_empty() {
            match poll_write(stream, &sending.waker, sending.chunks.make_contiguous()) {
                Poll::Ready(Ok(written)) => {
                    sending.chunks.drain(..written.chunks);
                    sending.unsent_bytes -= written.bytes;
                    self.unsent_bytes -= written.bytes;
                    self.taken_bytes += u64::try_from(written.bytes).unwrap_or(u64::MAX);
                }
                Poll::Ready(Err(WriteError::Stopped(code))) => {
                    self.stopped_by_peer(id, code, now, session);
                    return;
                }
                // The connection is gone, which others report.
                Poll::Ready(Err(_)) => {
                    self.remove(id);
                    return;
                }
                Poll::Pending => return,
            }
        }
        if sending.progress == Progress::Finishing {
            sending.progress = Progress::Finished;
            if stream.quinn().finish().is_err() {
                self.remove(id);
            }
        }
    }

    fn stopped_by_peer(&mut self, id: StreamId, code: VarInt, now: Instant, session: &mut Session) {
        if let Some(sending) = self.remove(id)
            && sending.progress == Progress::Writing
        {
            session.handle_stream_stopped(now, id, self.codes.read(code));
        }
    }

    fn remove(&mut self, id: StreamId) -> Option<Sending> {
        let sending = self.streams.remove(&id)?;
        self.unsent_bytes -= sending.unsent_bytes;
        if let Some(by) = sending.by {
            self.deadlines.remove(&(by, id));
        }
        if sending.progress != Progress::Writing {
            self.unacknowledged -= 1;
        }
        if sending.stream.is_none() {
            for opening in &mut self.opening {
                opening.waiting.retain(|waiting| *waiting != id);
            }
        }
        Some(sending)
    }
}

impl Sending {
    fn new(kind: StreamKind, mut stream: Option<SendStream>, waker: Waker, priority: i32) -> Self {
        let stopped = stream.as_mut().map(|stream| Box::pin(stream.quinn().stopped()) as BoxFuture<_>);
        Sending {
            kind,
            stream,
            waker,
            priority,
            chunks: VecDeque::new(),
            unsent_bytes: 0,
            progress: Progress::Writing,
            by: None,
            stop: None,
            stopped,
        }
    }

    fn poll_stopped(&mut self) -> Poll<Result<Option<VarInt>, StoppedError>> {
        match &mut self.stopped {
            Some(stopped) => stopped.as_mut().poll(&mut Context::from_waker(&self.waker)),
            None => Poll::Pending,
        }
    }
}

/// Writes as many of `chunks` as QUIC takes, without a copy; what was written is cut off their fronts. quinn keeps
/// the waker in the connection, not in the future, so dropping that loses nothing.
fn poll_write(
    stream: &mut SendStream,
    waker: &Waker,
    chunks: &mut [Bytes],
) -> Poll<Result<quinn::Written, WriteError>> {
    let writing = pin!(stream.quinn().write_chunks(chunks));
    writing.poll(&mut Context::from_waker(waker))
}
