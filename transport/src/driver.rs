//! The loop of one connection: what QUIC has goes into the session, what the session wants goes out, and the
//! [`App`] decides.
//!
//! One task, one hand-written poll. Every turn does a bounded amount of work in a fixed order, so that no stream
//! starves the datagrams, no flood of either starves the control messages, and no connection starves another.

mod inbound;
mod outbound;
mod wakes;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{Session, SessionError, StreamKind, Transmit};
use tokio::time::Sleep;

use self::{
    inbound::Inbound,
    outbound::Outbound,
    wakes::{Token, Wakes},
};
use crate::{
    app::{App, Io},
    connection::{BoxFuture, Connection, Gone, Streams, strip_quarter_session_id},
    datagrams::DatagramSender,
    quic::StreamLimits,
    web_transport::Farewell,
};

/// Datagrams taken in one turn. More than a GSO batch and than a key frame's burst, small beside what QUIC buffers.
const DATAGRAMS_PER_TURN: usize = 512;
/// Bytes read from streams in one turn.
const STREAM_BYTES_PER_TURN: usize = 256 << 10;
/// Streams looked at in one turn, new ones included.
const STREAMS_PER_TURN: usize = 64;
/// Events and transmits handled at a stretch.
const OUTPUTS_PER_TURN: usize = 4096;
/// Times the app may write more because QUIC took what it wrote before.
const APP_POLLS_PER_TURN: usize = 16;
/// How long what is queued may take when the app has ended the session.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(2);

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Who ended it.
    pub by: EndedBy,
    /// The draft's code, when there was one.
    pub code: Option<SessionError>,
    /// For people.
    pub reason: String,
    /// Counts of this connection.
    pub counters: DriverCounters,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    /// Our session: the app closed it, or the peer broke the protocol.
    Us,
    /// The peer closed it.
    Peer,
    /// Nobody: the peer fell silent, or the path broke.
    Network,
}

/// What the driver dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriverCounters {
    /// Datagrams of a WebTransport session that does not exist here, or of none.
    pub datagrams_other_session: u64,
    /// Streams of a WebTransport session that does not exist here.
    pub streams_other_session: u64,
    /// HTTP/3 streams that are none of WebTransport's: requests are refused, unknown types ignored.
    pub streams_not_sessions: u64,
    /// Streams of ours that had ended and were reset, because the peer did not have all of them in time.
    pub streams_expired: u64,
}

/// Runs `session` on `connection` until one of them ends, or until [`App::poll`] is ready. Dropping the future closes
/// the connection without a code.
pub async fn drive<A: App + ?Sized>(connection: Connection, session: Session, app: &mut A) -> Ended {
    let quic = connection.quinn().clone();
    let mut datagram = pin!(quic.read_datagram());
    let mut driver = Driver::new(&connection, session, app);
    let closing = poll_fn(|cx| {
        // Renewed in place when it is done: waiting for a datagram costs no allocation.
        driver.turn(cx, &mut |cx| {
            let result = ready!(datagram.as_mut().poll(cx));
            datagram.set(quic.read_datagram());
            Poll::Ready(result.map_err(|_| Gone))
        })
    })
    .await;
    let (by, code, reason) = match closing {
        Closing::ByUs { code, reason } => {
            connection.close(code, &reason).await;
            (EndedBy::Us, Some(code), reason)
        }
        Closing::ByPeer(Farewell { code, reason }) => {
            driver.session.handle_closed(Some(code), &reason);
            (EndedBy::Peer, Some(code), reason)
        }
        Closing::Gone => {
            let end = connection.end().await;
            driver.session.handle_closed(end.code, &end.reason);
            let by = if end.by_peer { EndedBy::Peer } else { EndedBy::Network };
            (by, end.code, end.reason)
        }
    };
    driver.now = Instant::now();
    driver.events();
    Ended { by, code, reason, counters: driver.counters }
}

/// Why the loop ended.
enum Closing {
    /// The session wants the connection closed.
    ByUs { code: SessionError, reason: String },
    /// The peer said goodbye on the CONNECT stream.
    ByPeer(Farewell),
    /// The connection is gone.
    Gone,
}

struct Driver<'a, A: ?Sized> {
    connection: &'a Connection,
    session: Session,
    app: &'a mut A,
    datagrams: DatagramSender,
    has_datagram_prefix: bool,
    inbound: Inbound,
    outbound: Outbound,
    wakes: Wakes,
    accepting_unidirectional: BoxFuture<Result<Streams, Gone>>,
    accepting_bidirectional: BoxFuture<Result<Streams, Gone>>,
    caught_datagram: Option<BoxFuture<Result<Bytes, Gone>>>,
    farewell: Option<BoxFuture<Farewell>>,
    farewell_waker: Waker,
    alarm: Pin<Box<Sleep>>,
    /// Read once per turn.
    now: Instant,
    /// Set when the connection is to be closed as soon as what is queued is out, and when that is given up.
    closing: Option<(Closing, Instant)>,
    is_app_done: bool,
    counters: DriverCounters,
    stream_limits: StreamLimits,
}

impl<'a, A: App + ?Sized> Driver<'a, A> {
    fn new(connection: &'a Connection, session: Session, app: &'a mut A) -> Self {
        let datagrams = connection.datagrams();
        let wakes = Wakes::default();
        let farewell_waker = wakes.waker(Token::Farewell);
        farewell_waker.wake_by_ref();
        Driver {
            connection,
            session,
            app,
            has_datagram_prefix: !datagrams.prefix().is_empty(),
            datagrams,
            inbound: Inbound::new(connection),
            outbound: Outbound::new(connection),
            wakes,
            accepting_unidirectional: connection.accept(StreamKind::Uni),
            accepting_bidirectional: connection.accept(StreamKind::Bi),
            caught_datagram: connection.caught_datagram(),
            farewell: connection.farewell(),
            farewell_waker,
            alarm: Box::pin(tokio::time::sleep(Duration::ZERO)),
            now: Instant::now(),
            closing: None,
            is_app_done: false,
            counters: DriverCounters::default(),
            stream_limits: connection.stream_limits(),
        }
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        poll_datagram: &mut impl FnMut(&mut Context<'_>) -> Poll<Result<Bytes, Gone>>,
    ) -> Poll<Closing> {
        self.now = Instant::now();
        self.wakes.set_task(cx.waker());

        // 1. What the session wants sent, control messages above all. Every later step ends with the same, so that
        //    an answer never waits for the rest of the turn.
        self.outputs(cx);

        // 2. All datagrams that have arrived, as one batch for the app: what it forwards leaves as one GSO batch.
        let datagrams = self.receive_datagrams(cx, poll_datagram);

        // 3. Streams that came, and streams that have bytes or room.
        let new_streams = self.new_streams(cx);
        let streams = self.woken_streams(cx);

        // 4. Time-outs of session and app.
        self.timeouts(cx);

        // 5. The app, and again while QUIC takes what it writes.
        let app = self.poll_app(cx);

        if let (Err(Gone), _) | (_, Err(Gone)) = (datagrams, new_streams) {
            return Poll::Ready(Closing::Gone);
        }
        if let Some((closing, _)) =
            self.closing.take_if(|(_, give_up)| *give_up <= self.now || self.outbound.is_flushed())
        {
            return Poll::Ready(closing);
        }
        // A step that stopped at its bound goes on in the next turn, after the other connections' tasks.
        if [datagrams, new_streams, Ok(streams), Ok(app)].contains(&Ok(Turn::More)) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn receive_datagrams(
        &mut self,
        cx: &mut Context<'_>,
        poll_datagram: &mut impl FnMut(&mut Context<'_>) -> Poll<Result<Bytes, Gone>>,
    ) -> Result<Turn, Gone> {
        let mut result = Ok(Turn::Done);
        let mut received = 0;
        if let Some(caught) = &mut self.caught_datagram
            && let Poll::Ready(next) = caught.as_mut().poll(cx)
        {
            // At most one per turn: the library's task catches the next one only when this one is taken.
            self.caught_datagram = self.connection.caught_datagram();
            match next {
                Ok(datagram) => {
                    self.datagram(datagram);
                    received += 1;
                    result = Ok(Turn::More);
                }
                Err(Gone) => result = Err(Gone),
            }
        }
        loop {
            if received >= DATAGRAMS_PER_TURN {
                result = result.and(Ok(Turn::More));
                break;
            }
            match poll_datagram(cx) {
                Poll::Ready(Ok(datagram)) => {
                    received += 1;
                    if !self.has_datagram_prefix {
                        self.datagram(datagram);
                    } else if let Some(datagram) = strip_quarter_session_id(datagram) {
                        self.datagram(datagram);
                    } else {
                        self.counters.datagrams_other_session += 1;
                    }
                }
                Poll::Ready(Err(Gone)) => {
                    result = Err(Gone);
                    break;
                }
                Poll::Pending => break,
            }
        }
        if received > 0 {
            let mut io = Io {
                now: self.now,
                session: &mut self.session,
                datagrams: &self.datagrams,
                streams: &self.outbound,
            };
            self.app.datagrams_drained(&mut io);
            self.outputs(cx);
        }
        result
    }

    /// The hot path: nothing here allocates or copies.
    fn datagram(&mut self, datagram: Bytes) {
        if let Some((request, datagram)) = self.session.handle_datagram(self.now, datagram) {
            let mut io = Io {
                now: self.now,
                session: &mut self.session,
                datagrams: &self.datagrams,
                streams: &self.outbound,
            };
            self.app.handle_datagram(&mut io, request, datagram);
        }
    }

    fn new_streams(&mut self, cx: &mut Context<'_>) -> Result<Turn, Gone> {
        for kind in [StreamKind::Uni, StreamKind::Bi] {
            let mut accepted = 0;
            loop {
                let accepting = match kind {
                    StreamKind::Uni => &mut self.accepting_unidirectional,
                    StreamKind::Bi => &mut self.accepting_bidirectional,
                };
                let Poll::Ready(streams) = accepting.as_mut().poll(cx) else { break };
                *accepting = self.connection.accept(kind);
                self.inbound.accepted(kind, streams?, &mut self.session, &mut self.outbound, &self.wakes);
                accepted += 1;
                if accepted == STREAMS_PER_TURN {
                    self.allow_streams(kind);
                    return Ok(Turn::More);
                }
            }
            if accepted > 0 {
                self.allow_streams(kind);
            }
        }
        Ok(Turn::Done)
    }

    /// A peer that uses what it may have gets more, up to the limit.
    fn allow_streams(&mut self, kind: StreamKind) {
        let open = self.inbound.len().max(self.outbound.len());
        let allowance = match kind {
            StreamKind::Uni => &mut self.stream_limits.unidirectional,
            StreamKind::Bi => &mut self.stream_limits.bidirectional,
        };
        if let Some(count) = allowance.grow(open) {
            self.connection.allow_streams(kind, count);
        }
    }

    fn woken_streams(&mut self, cx: &mut Context<'_>) -> Turn {
        let mut bytes_left = STREAM_BYTES_PER_TURN;
        for _ in 0..STREAMS_PER_TURN {
            if bytes_left == 0 {
                break;
            }
            let Some(token) = self.wakes.take() else { break };
            match token {
                Token::Stream(stream) => {
                    self.inbound.read(stream, self.now, &mut self.session, &mut bytes_left);
                    self.outbound.woken(stream, self.now, &mut self.session);
                }
                Token::Farewell => {
                    let mut cx = Context::from_waker(&self.farewell_waker);
                    if let Some(farewell) = &mut self.farewell
                        && let Poll::Ready(farewell) = farewell.as_mut().poll(&mut cx)
                    {
                        self.farewell = None;
                        self.closing = Some((Closing::ByPeer(farewell), self.now));
                    }
                }
                Token::Header(header) => {
                    self.inbound.read_header(
                        header,
                        self.now,
                        &mut self.session,
                        &mut self.outbound,
                        &self.wakes,
                        &mut self.counters,
                    );
                }
            }
            self.outputs(cx);
        }
        // Their wake-ups are used up: many streams wake at once, and the task only once for all.
        if self.wakes.any() { Turn::More } else { Turn::Done }
    }

    fn timeouts(&mut self, cx: &mut Context<'_>) {
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now);
        }
        self.counters.streams_expired += self.outbound.expire(self.now);
        if self.app.poll_timeout().is_some_and(|at| at <= self.now) {
            let mut io = Io {
                now: self.now,
                session: &mut self.session,
                datagrams: &self.datagrams,
                streams: &self.outbound,
            };
            self.app.handle_timeout(&mut io);
        }
        self.outputs(cx);
    }

    /// Polls the app as long as QUIC takes what it writes: so a large FETCH flows at QUIC's pace, from a small queue.
    fn poll_app(&mut self, cx: &mut Context<'_>) -> Turn {
        let mut turn = Turn::Done;
        for round in 1.. {
            if self.is_app_done || self.closing.is_some() {
                break;
            }
            let mut io = Io {
                now: self.now,
                session: &mut self.session,
                datagrams: &self.datagrams,
                streams: &self.outbound,
            };
            self.is_app_done = self.app.poll(cx, &mut io).is_ready();
            let taken_before = self.outbound.taken_bytes();
            self.outputs(cx);
            if self.outbound.taken_bytes() == taken_before {
                break;
            }
            if round == APP_POLLS_PER_TURN {
                turn = Turn::More;
                break;
            }
        }
        if self.is_app_done && !self.session.is_closed() {
            self.session.close(SessionError::NoError, "");
            self.outputs(cx);
        }
        self.set_alarm(cx);
        turn
    }

    /// Last of all: every step before may have moved a deadline.
    fn set_alarm(&mut self, cx: &mut Context<'_>) {
        let give_up = self.closing.as_ref().map(|(_, give_up)| *give_up);
        let app = self.app.poll_timeout().filter(|_| self.closing.is_none());
        let expiry = self.outbound.poll_timeout();
        let Some(at) = [self.session.poll_timeout(), expiry, app, give_up].into_iter().flatten().min() else {
            return;
        };
        let at = tokio::time::Instant::from_std(at);
        if self.alarm.deadline() != at {
            self.alarm.as_mut().reset(at);
        }
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Hands events to the app and carries out what the session wants done, until there is none of either.
    fn outputs(&mut self, cx: &mut Context<'_>) {
        let mut left = OUTPUTS_PER_TURN;
        loop {
            let before = left;
            while left > 0 && self.event() {
                left -= 1;
            }
            while left > 0
                && let Some(transmit) = self.session.poll_transmit()
            {
                left -= 1;
                self.transmit(transmit);
            }
            self.outbound.flush(cx, self.now, self.connection, &mut self.session, &mut self.inbound);
            if left == before {
                return;
            }
            if left == 0 {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    fn events(&mut self) {
        while self.event() {}
    }

    fn event(&mut self) -> bool {
        let Some(event) = self.session.poll_event() else { return false };
        let mut io = Io {
            now: self.now,
            session: &mut self.session,
            datagrams: &self.datagrams,
            streams: &self.outbound,
        };
        self.app.handle_event(&mut io, event);
        true
    }

    fn transmit(&mut self, transmit: Transmit) {
        match transmit {
            Transmit::Open { stream, kind, priority } => {
                self.outbound.open(stream, kind, priority, &self.wakes);
            }
            Transmit::Data { stream, bytes } => self.outbound.write(stream, bytes),
            Transmit::Finish { stream, by } => self.outbound.finish(stream, by),
            Transmit::Reset { stream, code } => self.outbound.reset(stream, code),
            Transmit::Priority { stream, priority } => self.outbound.set_priority(stream, priority),
            Transmit::Stop { stream, code } => {
                if !self.inbound.stop(stream, code) {
                    self.outbound.stop_when_open(stream, code);
                }
            }
            Transmit::Close { code, reason } => {
                // Only an orderly end waits for what is queued; QUIC forgets unsent data when it closes.
                let patience = if code == SessionError::NoError { FLUSH_WAIT_MAX } else { Duration::ZERO };
                self.closing = Some((Closing::ByUs { code, reason }, self.now + patience));
            }
        }
    }
}

/// Whether a step stopped at its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Done,
    More,
}
