//! Datagrams of one connection, sent from any task.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

/// Sends the datagrams of one connection, from any task. Cheap to clone. A clone does not keep the session alive.
///
/// [`DatagramSender::send`] never waits: QUIC keeps a small buffer ([`crate::QuicConfig`]) and, when it is full,
/// forgets the oldest. Whoever cares which datagram is lost keeps a queue of its own, sends while [`Self::space`]
/// says so, and passes the next one to [`Self::send_when_possible`] to be woken.
#[derive(Clone)]
pub struct DatagramSender {
    way: Way,
    prefix: &'static [u8],
}

#[derive(Clone)]
enum Way {
    Quic(quinn::Connection),
    Sink(Arc<Mutex<Sink>>),
}

impl DatagramSender {
    /// What a datagram takes of [`Self::space`] beside its bytes.
    pub const OVERHEAD_BYTES: usize = 32;

    pub(crate) fn new(connection: quinn::Connection, prefix: &'static [u8]) -> Self {
        DatagramSender { way: Way::Quic(connection), prefix }
    }

    /// One that leads nowhere but into the other half, for tests of an [`crate::App`] without a network: takes
    /// datagrams of up to `bytes_max`, and has `space` for so many bytes until some are taken out.
    pub fn sink(prefix: &'static [u8], bytes_max: usize, space: usize) -> (Self, DatagramSink) {
        let sink = Arc::new(Mutex::new(Sink { queue: VecDeque::new(), bytes_max, space }));
        (DatagramSender { way: Way::Sink(sink.clone()), prefix }, DatagramSink(sink))
    }

    /// What stands in front of every datagram of this session: the quarter session id of WebTransport (one byte
    /// for a connection's first session), or nothing. Two sessions with equal prefixes can share bytes.
    pub fn prefix(&self) -> &'static [u8] {
        self.prefix
    }

    /// Largest datagram the path takes now, bytes, prefix included. 0 when the peer takes none.
    pub fn bytes_max(&self) -> usize {
        match &self.way {
            Way::Quic(connection) => connection.max_datagram_size().unwrap_or(0),
            Way::Sink(sink) => lock(sink).bytes_max,
        }
    }

    /// Bytes that can be sent now without pushing older datagrams out of QUIC's buffer. Every datagram takes
    /// [`Self::OVERHEAD_BYTES`] more than its length.
    pub fn space(&self) -> usize {
        match &self.way {
            Way::Quic(connection) => connection.datagram_send_buffer_space(),
            Way::Sink(sink) => lock(sink).space,
        }
    }

    /// Hands one datagram, prefix included, to QUIC. It leaves with the others handed over in the same turn.
    pub fn send(&self, bytes: Bytes) -> Result<(), SendError> {
        match &self.way {
            Way::Quic(connection) => Ok(connection.send_datagram(bytes)?),
            Way::Sink(sink) => lock(sink).send(bytes),
        }
    }

    /// Hands over one datagram as soon as there is space for it. Its completion is the sign to go on with
    /// [`Self::send`]; so the connection that is slow is woken, and only by what it really sent.
    pub fn send_when_possible(&self, bytes: Bytes) -> PendingDatagram {
        PendingDatagram(match &self.way {
            Way::Quic(connection) => {
                let connection = connection.clone();
                Box::pin(async move { Ok(connection.send_datagram_wait(bytes).await?) })
            }
            Way::Sink(sink) => {
                let sink = sink.clone();
                Box::pin(async move { lock(&sink).send(bytes) })
            }
        })
    }

    /// The connection's figures. Reads all counters under the connection's lock: for reports, not per datagram.
    pub fn stats(&self) -> PathStats {
        match &self.way {
            Way::Quic(connection) => {
                let stats = connection.stats();
                PathStats {
                    rtt: stats.path.rtt,
                    packets_sent: stats.path.sent_packets,
                    packets_lost: stats.path.lost_packets,
                    window_bytes: stats.path.cwnd,
                    bytes_sent: stats.udp_tx.bytes,
                    bytes_received: stats.udp_rx.bytes,
                    mtu_bytes: stats.path.current_mtu,
                }
            }
            Way::Sink(_) => PathStats::default(),
        }
    }
}

impl fmt::Debug for DatagramSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramSender").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A datagram on its way into QUIC's buffer. Dropping it drops the datagram, if it still waits.
#[must_use = "a datagram waits only while it is polled"]
pub struct PendingDatagram(Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>);

impl Future for PendingDatagram {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for PendingDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingDatagram").finish_non_exhaustive()
    }
}

/// Why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Larger than [`DatagramSender::bytes_max`].
    #[error("the datagram is larger than the path takes")]
    TooLarge,
    /// The connection is gone.
    #[error("the connection is closed")]
    Closed,
}

impl From<quinn::SendDatagramError> for SendError {
    fn from(error: quinn::SendDatagramError) -> Self {
        match error {
            // A peer without datagrams has a largest datagram of 0 bytes.
            quinn::SendDatagramError::TooLarge
            | quinn::SendDatagramError::UnsupportedByPeer
            | quinn::SendDatagramError::Disabled => SendError::TooLarge,
            quinn::SendDatagramError::ConnectionLost(_) => SendError::Closed,
        }
    }
}

/// Figures of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct PathStats {
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Packets sent since the start.
    pub packets_sent: u64,
    /// Packets of these that were declared lost.
    pub packets_lost: u64,
    /// Congestion window, bytes.
    pub window_bytes: u64,
    /// UDP payload sent, bytes.
    pub bytes_sent: u64,
    /// UDP payload received, bytes.
    pub bytes_received: u64,
    /// Largest UDP payload the path is known to take, bytes.
    pub mtu_bytes: u16,
}

/// The other half of [`DatagramSender::sink`].
#[derive(Clone)]
pub struct DatagramSink(Arc<Mutex<Sink>>);

struct Sink {
    queue: VecDeque<Bytes>,
    bytes_max: usize,
    space: usize,
}

impl Sink {
    fn send(&mut self, bytes: Bytes) -> Result<(), SendError> {
        if bytes.len() > self.bytes_max {
            return Err(SendError::TooLarge);
        }
        self.space = self.space.saturating_sub(bytes.len() + DatagramSender::OVERHEAD_BYTES);
        self.queue.push_back(bytes);
        Ok(())
    }
}

impl DatagramSink {
    /// The next datagram sent, oldest first; its space is free again.
    pub fn take(&self) -> Option<Bytes> {
        let mut sink = lock(&self.0);
        let bytes = sink.queue.pop_front()?;
        sink.space += bytes.len() + DatagramSender::OVERHEAD_BYTES;
        Some(bytes)
    }
}

impl fmt::Debug for DatagramSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramSink").field("waiting", &lock(&self.0).queue.len()).finish()
    }
}

fn lock(sink: &Mutex<Sink>) -> MutexGuard<'_, Sink> {
    sink.lock().unwrap_or_else(PoisonError::into_inner)
}
