//! What runs on top of a session: the [`App`] that the driver calls, and the [`Io`] it is handed.

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{Event, ObjectDatagram, Session, StreamId, message::RequestId};

/// One side of one session: relay, publisher or subscriber. All calls come from the session's one task, in
/// turns of a bounded amount of work; none may block. After every turn the driver sends what the session wants
/// sent.
pub trait App: Send {
    /// Something the session reports.
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event);

    /// An object that came as a datagram.
    fn handle_datagram(&mut self, io: &mut Io<'_>, request: RequestId, datagram: ObjectDatagram);

    /// Every datagram that had arrived has been handed over: the moment to pass a batch on.
    fn datagrams_drained(&mut self, io: &mut Io<'_>);

    /// Messages from outside the session (channels, wake-ups). Called in every turn; registers its waker.
    /// `Ready` ends the driver after what is queued has been sent: the session should be closed first.
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()>;

    /// When [`App::handle_timeout`] wants to be called.
    fn poll_timeout(&self) -> Option<Instant>;

    /// That time has come.
    fn handle_timeout(&mut self, io: &mut Io<'_>);
}

/// What an [`App`] can use during a call.
pub struct Io<'a> {
    /// The session's clock, read once per turn.
    pub now: Instant,
    /// The session.
    pub session: &'a mut Session,
    /// Sends datagrams on this connection; clones may be kept and used from other tasks.
    pub datagrams: &'a DatagramSender,
    /// What the driver knows of the connection's streams.
    pub streams: &'a dyn StreamState,
}

/// Backpressure of outgoing streams.
pub trait StreamState {
    /// Bytes handed over for `stream` that QUIC has not taken yet. Writers keep it small, so that priorities
    /// and deadlines keep their meaning.
    fn unsent_bytes(&self, stream: StreamId) -> usize;
    /// The same, all streams together.
    fn unsent_bytes_total(&self) -> usize;
}

/// Sends the datagrams of one connection, from any task. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DatagramSender {}

#[allow(unused_variables)]
impl DatagramSender {
    /// What stands in front of every datagram of this session: the quarter session id of WebTransport (one byte
    /// for a connection's first session), or nothing. Two sessions with equal prefixes can share bytes.
    pub fn prefix(&self) -> &[u8] {
        unimplemented!()
    }
    /// Largest datagram the path takes now, bytes, prefix included. 0 when the peer takes none.
    pub fn bytes_max(&self) -> usize {
        unimplemented!()
    }
    /// Bytes that can be sent now without pushing older datagrams out of QUIC's buffer.
    pub fn space(&self) -> usize {
        unimplemented!()
    }
    /// Hands one datagram, prefix included, to QUIC.
    pub fn send(&self, bytes: Bytes) -> Result<(), SendError> {
        unimplemented!()
    }
    /// The connection's figures.
    pub fn stats(&self) -> PathStats {
        unimplemented!()
    }
}

/// Why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendError {
    /// Larger than [`DatagramSender::bytes_max`].
    TooLarge,
    /// The connection is gone.
    Closed,
}

/// Figures of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathStats {
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Packets sent and lost since the start.
    pub packets_sent: u64,
    /// See above.
    pub packets_lost: u64,
    /// Congestion window, bytes.
    pub window_bytes: u64,
    /// UDP bytes sent and received.
    pub bytes_sent: u64,
    /// See above.
    pub bytes_received: u64,
}
