//! Congestion control for calls: delay decides, loss hardly does.
//!
//! Controllers made for files read every lost packet as a full queue. On a radio link that loses five of a hundred
//! packets whatever is sent they starve a call that the link would carry (Cubic: a third of 3 Mbit/s). Controllers
//! that read the rate alone keep the call going and let a true bottleneck's queue grow. [`RealTime`] reads the
//! queue itself: how much longer packets take than the path's best, and keeps that near [`DELAY_TARGET`].
//!
//! [`Pipe`] is the controller as a value without clock or connection; [`RealTime`] fits it to quinn.
//!
//! Measured figures, and what it was compared with: `docs/decisions/2026-11-25-congestion-control.md`.

mod pipe;

use std::{any::Any, sync::Arc, time::Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

pub use pipe::{DELAY_TARGET, Pipe};

/// Makes a [`Pipe`] for every path of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealTime;

impl ControllerFactory for RealTime {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Path { pipe: Pipe::new(now, u64::from(current_mtu)) })
    }
}

#[derive(Debug, Clone)]
struct Path {
    pipe: Pipe,
}

impl Controller for Path {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.pipe.handle_sent(now, bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, _rtt: &RttEstimator) {
        self.pipe.handle_ack(now, sent, bytes, app_limited);
    }

    fn on_end_acks(&mut self, _now: Instant, in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.pipe.set_in_flight(in_flight);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.pipe.handle_lost(now, sent, lost_bytes, is_persistent);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.pipe.set_mtu(u64::from(new_mtu));
    }

    fn window(&self) -> u64 {
        // quinn asks before every packet. Only a full window is worth a look at the clock.
        if self.pipe.is_full() { self.pipe.window_at(Instant::now()) } else { self.pipe.window() }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.pipe.window_initial()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        Box::new(self.pipe)
    }
}
