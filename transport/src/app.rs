//! What runs on top of a session: the [`App`] that the driver calls, and the [`Io`] it is handed.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use roundtable_moqt::{Event, ObjectDatagram, Session, StreamId, message::RequestId};

use crate::datagrams::DatagramSender;

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
    ///
    /// Also the place to write objects to streams: a little per call, as long as [`StreamState::unsent_bytes`] is
    /// small. It is called again whenever QUIC has taken bytes, so nobody needs to wait for that.
    ///
    /// `Ready` ends the driver after what is queued has been sent: the session should be closed first. If it is
    /// not, it is closed then, without an error.
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

/// Backpressure of outgoing streams. Counts what the calls before this one left: what is written in the present
/// call is not in it yet.
pub trait StreamState {
    /// Bytes handed over for `stream` that QUIC has not taken yet. Writers keep it small, so that priorities
    /// and deadlines keep their meaning.
    fn unsent_bytes(&self, stream: StreamId) -> usize;
    /// The same, all streams together.
    fn unsent_bytes_total(&self) -> usize;
}
