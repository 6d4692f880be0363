//! The way out of one connection.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Instant,
};

use roundtable_forward::{
    Datagram, Queue, SubscriptionKey,
    queue::{Counters as QueueCounters, Path, QueueLimits, UpstreamStream},
};
use roundtable_moqt::{Object, StreamResetCode};
use roundtable_transport::DatagramSender;

use crate::counters::Counters;

/// Datagrams and stream objects waiting for one connection, and the sender they leave by. Whoever brings datagrams
/// sends what QUIC takes right there; the rest, and everything for streams, is left to the connection's own task,
/// which is woken for it.
#[derive(Debug)]
pub struct Outlet {
    queue: Mutex<Queue>,
    datagrams: DatagramSender,
    waker: Mutex<Option<Waker>>,
    /// The task has been woken and has not looked yet.
    is_woken: AtomicBool,
    /// What has been added to the relay's counters.
    reported: Mutex<QueueCounters>,
}

impl Outlet {
    /// The way out by `datagrams`.
    pub fn new(datagrams: DatagramSender, limits: QueueLimits) -> Self {
        Outlet {
            queue: Mutex::new(Queue::new(limits)),
            datagrams,
            waker: Mutex::new(None),
            is_woken: AtomicBool::new(false),
            reported: Mutex::default(),
        }
    }

    /// What stands in front of every datagram of this connection.
    pub fn prefix(&self) -> &'static [u8] {
        self.datagrams.prefix()
    }

    /// The sender behind the queue.
    pub fn datagrams(&self) -> &DatagramSender {
        &self.datagrams
    }

    /// The queue; the lock is for a moment.
    pub fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What QUIC takes now.
    pub fn path(&self) -> Path {
        Path { space: self.datagrams.space(), datagram_bytes_max: self.datagrams.bytes_max() }
    }

    /// Sends a batch of one track's datagrams, together with what waits, as far as QUIC takes it.
    pub(super) fn offer(&self, now: Instant, subscription: SubscriptionKey, batch: &[Datagram]) {
        let is_waiting = self.queue().offer(now, subscription, batch, self.path(), |bytes| {
            // Too large is counted by the queue, and a connection that is gone needs nothing.
            let _ = self.datagrams.send(bytes.clone());
        });
        if is_waiting {
            self.wake();
        }
    }

    /// Leaves an object of a subgroup stream to the connection's task.
    pub(super) fn push_object(
        &self,
        subscription: SubscriptionKey,
        upstream: &UpstreamStream,
        received: Instant,
        object: &Object,
    ) {
        self.queue().push_object(subscription, upstream, received, object);
        self.wake();
    }

    /// The same for the end of such a stream.
    pub(super) fn end_stream(
        &self,
        now: Instant,
        subscription: SubscriptionKey,
        upstream: &UpstreamStream,
        reset: Option<StreamResetCode>,
    ) {
        self.queue().end_stream(now, subscription, upstream, reset);
        self.wake();
    }

    /// Adds to the relay's counters what happened since the last time.
    pub fn report(&self, counters: &Counters) {
        let now = self.queue().counters();
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *reported, now);
        counters.objects_sent.add(now.sent - before.sent);
        counters.bytes_sent.add(now.sent_bytes - before.sent_bytes);
        counters.datagrams_too_large.add(now.too_large - before.too_large);
        counters.objects_expired.add(now.deadline - before.deadline);
        counters.objects_overflowed.add(now.full - before.full);
        let incomplete = now.incomplete_frame + now.skipped_group;
        counters.objects_useless.add(incomplete - before.incomplete_frame - before.skipped_group);
    }

    /// Wakes the connection's task, once until it looks.
    pub fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel)
            && let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner)
        {
            waker.wake_by_ref();
        }
    }

    /// The connection's task looks now, and is to be woken for what comes later.
    pub fn register(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.is_woken.store(false, Ordering::Release);
    }
}
