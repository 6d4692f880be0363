//! What both sides agree with QUIC: time-outs, windows, datagram buffers.

use std::{fmt, sync::Arc, time::Duration};

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt, congestion::ControllerFactory};

use crate::congestion::RealTime;

/// Settings of every QUIC connection, either side.
#[derive(Clone)]
pub struct QuicConfig {
    /// A peer that is silent for so long is gone. The smaller of both sides' counts, and a browser notices a dead
    /// server only by it.
    pub idle_timeout: Duration,
    /// Pings after so long without traffic; well below [`Self::idle_timeout`], so that two may get lost.
    pub keep_alive: Duration,
    /// Bidirectional streams the peer may have open: its requests. QUIC keeps some 50 bytes for each from the start,
    /// so few are allowed at first, and more when it uses half of them.
    pub peer_bidirectional_streams_max: u32,
    /// Unidirectional streams the peer may have open: control, subgroups, FETCH responses. Likewise.
    pub peer_unidirectional_streams_max: u32,
    /// Bytes of one stream, and of all, that may lie here unread.
    pub stream_receive_bytes_max: u32,
    /// See above.
    pub receive_bytes_max: u32,
    /// Bytes of streams handed to QUIC and not acknowledged; what is more waits in the driver, where priorities
    /// still count.
    pub send_bytes_max: u64,
    /// Bytes of datagrams that wait to be read; the oldest are dropped when there are more.
    pub datagram_receive_bytes_max: usize,
    /// Bytes of datagrams that wait to be sent, in order of arrival. Small: a megabyte would be four seconds of
    /// video that nobody wants any more.
    pub datagram_send_bytes_max: usize,
    /// UDP payload to begin with, bytes.
    pub mtu_initial: u16,
    /// UDP payload that path MTU discovery tries to reach, bytes.
    pub mtu_max: u16,
    /// Congestion controller.
    pub congestion: Arc<dyn ControllerFactory + Send + Sync>,
}

/// The round trip that is assumed before one is measured. A lost packet of the handshake is sent again after three of
/// these; with the third of a second that RFC 9002 suggests (6.2.2) one dial in a hundred fails when every fifth packet
/// is lost. On a longer path some packets go twice.
const ROUND_TRIP_GUESS: Duration = Duration::from_millis(100);

impl Default for QuicConfig {
    fn default() -> Self {
        QuicConfig {
            idle_timeout: Duration::from_secs(6),
            keep_alive: Duration::from_secs(2),
            peer_bidirectional_streams_max: 1024,
            peer_unidirectional_streams_max: 1024,
            stream_receive_bytes_max: 1 << 20,
            receive_bytes_max: 8 << 20,
            send_bytes_max: 1 << 20,
            datagram_receive_bytes_max: 2 << 20,
            datagram_send_bytes_max: 64 << 10,
            mtu_initial: 1200,
            mtu_max: 1452,
            congestion: Arc::new(RealTime),
        }
    }
}

impl QuicConfig {
    /// What the peer may have open, and what it begins with.
    pub(crate) fn stream_limits(&self) -> StreamLimits {
        StreamLimits {
            bidirectional: Allowance::new(BIDIRECTIONAL_FIRST, self.peer_bidirectional_streams_max),
            unidirectional: Allowance::new(UNIDIRECTIONAL_FIRST, self.peer_unidirectional_streams_max),
        }
    }

    /// The same for quinn.
    pub(crate) fn transport(&self) -> TransportConfig {
        let mut mtu_discovery = MtuDiscoveryConfig::default();
        mtu_discovery.upper_bound(self.mtu_max);

        let StreamLimits { bidirectional, unidirectional } = self.stream_limits();
        let mut transport = TransportConfig::default();
        transport
            .initial_rtt(ROUND_TRIP_GUESS)
            .max_idle_timeout(IdleTimeout::try_from(self.idle_timeout).ok())
            .keep_alive_interval(Some(self.keep_alive))
            .max_concurrent_bidi_streams(VarInt::from_u32(bidirectional.now))
            .max_concurrent_uni_streams(VarInt::from_u32(unidirectional.now))
            .stream_receive_window(VarInt::from_u32(self.stream_receive_bytes_max))
            .receive_window(VarInt::from_u32(self.receive_bytes_max))
            .send_window(self.send_bytes_max)
            .datagram_receive_buffer_size(Some(self.datagram_receive_bytes_max))
            .datagram_send_buffer_size(self.datagram_send_bytes_max)
            .initial_mtu(self.mtu_initial)
            .mtu_discovery_config(Some(mtu_discovery))
            .congestion_controller_factory(self.congestion.clone());
        transport
    }
}

/// Streams the peer may have open at first: the requests of a small call.
const BIDIRECTIONAL_FIRST: u32 = 128;
/// The same for what carries objects: JSON tracks send one stream for each message.
const UNIDIRECTIONAL_FIRST: u32 = 32;

/// What a peer may have open, of both kinds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamLimits {
    pub(crate) bidirectional: Allowance,
    pub(crate) unidirectional: Allowance,
}

/// Streams of one kind that a peer may have open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    now: u32,
    max: u32,
}

impl Allowance {
    const fn new(first: u32, max: u32) -> Self {
        Allowance { now: if first < max { first } else { max }, max }
    }

    /// The peer has so many open: what it may have from now on, when that is more.
    pub(crate) fn grow(&mut self, open: usize) -> Option<u32> {
        if self.now == self.max || open < usize::try_from(self.now / 2).unwrap_or(usize::MAX) {
            return None;
        }
        while self.now < self.max && open >= usize::try_from(self.now / 2).unwrap_or(usize::MAX) {
            self.now = self.now.saturating_mul(2).min(self.max);
        }
        Some(self.now)
    }
}

impl fmt::Debug for QuicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicConfig")
            .field("idle_timeout", &self.idle_timeout)
            .field("keep_alive", &self.keep_alive)
            .field("datagram_send_bytes_max", &self.datagram_send_bytes_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_doubles_when_half_of_it_is_used_up_to_its_limit() {
        let mut allowance = Allowance::new(32, 100);
        assert_eq!(allowance.grow(15), None);
        assert_eq!(allowance.grow(16), Some(64));
        assert_eq!(allowance.grow(31), None);
        assert_eq!(allowance.grow(32), Some(100));
        assert_eq!(allowance.grow(1000), None);
        assert_eq!(Allowance::new(32, 1024).grow(200), Some(512));
        assert_eq!(Allowance::new(32, 5).now, 5);
    }
}
