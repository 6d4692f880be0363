//! Streams on their way in: from QUIC's chunks to the session, without a copy.

use std::{
    collections::HashMap,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::{Buf as _, Bytes};
use quinn::{ReadError, VarInt};
use roundtable_moqt::{Session, StreamId, StreamKind, StreamResetCode};

use super::{
    DriverCounters,
    outbound::Outbound,
    wakes::{Token, Wakes},
};
use crate::{
    codes::{CodeSpace, http3},
    connection::{
        Connection, ReceiveStream, SendStream, Streams,
        stream_header::{self, Header},
    },
};

/// Read from one stream before the next has its turn, bytes.
const BYTES_PER_STREAM: usize = 64 << 10;
/// HTTP/3's own streams of the peer that must stay open (QPACK's two), with room for one more kind.
const KEPT_STREAMS_MAX: usize = 3;

/// The receiving halves.
pub(super) struct Inbound {
    codes: CodeSpace,
    have_headers: bool,
    streams: HashMap<StreamId, Receiving>,
    /// Streams of which it is not known yet whether they are the session's.
    headers: HashMap<u64, HeaderWait>,
    next_header: u64,
    kept: Vec<ReceiveStream>,
}

struct Receiving {
    stream: ReceiveStream,
    waker: Waker,
}

struct HeaderWait {
    kind: StreamKind,
    receive: ReceiveStream,
    send: Option<SendStream>,
    waker: Waker,
    /// What has come of the header.
    bytes: Bytes,
}

impl Inbound {
    pub(super) fn new(connection: &Connection) -> Self {
        Inbound {
            codes: connection.code_space(),
            have_headers: connection.streams_have_headers(),
            streams: HashMap::new(),
            headers: HashMap::new(),
            next_header: 0,
            kept: Vec::new(),
        }
    }

    /// Streams that are open this way, those of which it is not known yet whose they are included.
    pub(super) fn len(&self) -> usize {
        self.streams.len() + self.headers.len()
    }

    /// A stream of the peer.
    pub(super) fn accepted(
        &mut self,
        kind: StreamKind,
        streams: Streams,
        session: &mut Session,
        outbound: &mut Outbound,
        wakes: &Wakes,
    ) {
        let Some(receive) = streams.receive else { return };
        if !self.have_headers {
            self.join_session(kind, receive, streams.send, session, outbound, wakes);
            return;
        }
        let waker = wakes.waker(Token::Header(self.next_header));
        waker.wake_by_ref();
        let wait = HeaderWait { kind, receive, send: streams.send, waker, bytes: Bytes::new() };
        self.headers.insert(self.next_header, wait);
        self.next_header += 1;
    }

    fn join_session(
        &mut self,
        kind: StreamKind,
        receive: ReceiveStream,
        send: Option<SendStream>,
        session: &mut Session,
        outbound: &mut Outbound,
        wakes: &Wakes,
    ) -> StreamId {
        let stream = session.accept_stream(kind);
        let waker = wakes.waker(Token::Stream(stream));
        if let Some(send) = send {
            outbound.accepted(stream, send, waker.clone());
        }
        self.register(stream, receive, waker);
        stream
    }

    /// The receiving half of a stream; it is read when its waker is woken, which happens here first.
    pub(super) fn register(&mut self, stream: StreamId, receive: ReceiveStream, waker: Waker) {
        waker.wake_by_ref();
        self.streams.insert(stream, Receiving { stream: receive, waker });
    }

    /// Reads a stream that was woken, at most what is left for this turn.
    pub(super) fn read(&mut self, id: StreamId, now: Instant, session: &mut Session, bytes_left: &mut usize) {
        let Some(receiving) = self.streams.get_mut(&id) else { return };
        let mut share = BYTES_PER_STREAM.min(*bytes_left);
        loop {
            if share == 0 {
                // Its turn comes again after the others.
                receiving.waker.wake_by_ref();
                return;
            }
            match poll_chunk(&mut receiving.stream, &receiving.waker, share) {
                Poll::Ready(Ok(Some(bytes))) => {
                    share -= bytes.len();
                    *bytes_left -= bytes.len();
                    session.handle_stream(now, id, bytes);
                }
                Poll::Ready(Ok(None)) => {
                    session.handle_stream_finished(now, id);
                    break;
                }
                Poll::Ready(Err(ReadError::Reset(code))) => {
                    session.handle_stream_reset(now, id, self.codes.read(code));
                    break;
                }
                // The rest means that the connection is gone, which others report.
                Poll::Ready(Err(_)) => break,
                Poll::Pending => return,
            }
        }
        self.streams.remove(&id);
    }

    /// Reads on in a stream's WebTransport header.
    pub(super) fn read_header(
        &mut self,
        header: u64,
        now: Instant,
        session: &mut Session,
        outbound: &mut Outbound,
        wakes: &Wakes,
        counters: &mut DriverCounters,
    ) {
        let Some(mut wait) = self.headers.remove(&header) else { return };
        let verdict = loop {
            match poll_chunk(&mut wait.receive, &wait.waker, BYTES_PER_STREAM) {
                Poll::Ready(Ok(Some(bytes))) => {
                    wait.bytes =
                        if wait.bytes.is_empty() { bytes } else { [wait.bytes, bytes].concat().into() };
                }
                Poll::Ready(Ok(None) | Err(_)) => return,
                Poll::Pending => {
                    self.headers.insert(header, wait);
                    return;
                }
            }
            match stream_header::read(wait.kind, &wait.bytes) {
                Header::Partial => {}
                verdict => break verdict,
            }
        };
        match verdict {
            Header::Session(header_bytes) => {
                wait.bytes.advance(header_bytes);
                let stream = self.join_session(wait.kind, wait.receive, wait.send, session, outbound, wakes);
                if !wait.bytes.is_empty() {
                    session.handle_stream(now, stream, wait.bytes);
                }
            }
            Header::OtherSession => {
                counters.streams_other_session += 1;
                wait.refuse(http3::UNKNOWN_SESSION);
            }
            Header::Other | Header::Partial => {
                counters.streams_not_sessions += 1;
                match wait.kind {
                    StreamKind::Bi => wait.refuse(http3::REQUEST_REJECTED),
                    StreamKind::Uni if self.kept.len() < KEPT_STREAMS_MAX => self.kept.push(wait.receive),
                    StreamKind::Uni => wait.refuse(http3::STREAM_CREATION),
                }
            }
        }
    }

    /// STOP_SENDING. False when there is no such stream.
    pub(super) fn stop(&mut self, stream: StreamId, code: StreamResetCode) -> bool {
        let Some(mut receiving) = self.streams.remove(&stream) else { return false };
        // An error means that the stream has ended already.
        let _ = receiving.stream.quinn().stop(self.codes.write(code.code()));
        true
    }
}

impl HeaderWait {
    fn refuse(mut self, code: VarInt) {
        // Errors mean that the stream has ended already.
        let _ = self.receive.quinn().stop(code);
        if let Some(send) = &mut self.send {
            let _ = send.quinn().reset(code);
        }
    }
}

/// The stream's next bytes, shared with the packet they came in. quinn keeps the waker in the connection, not in the
/// future, so dropping that loses nothing.
fn poll_chunk(
    stream: &mut ReceiveStream,
    waker: &Waker,
    bytes_max: usize,
) -> Poll<Result<Option<Bytes>, ReadError>> {
    let reading = pin!(stream.quinn().read_chunk(bytes_max, true));
    reading.poll(&mut Context::from_waker(waker)).map_ok(|chunk| chunk.map(|chunk| chunk.bytes))
}
