//! One subscription's place in its track and in its connection's queue.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use roundtable_forward::{
    Datagram, SubscriptionKey, Terms, Window,
    filter::InvalidRange,
    queue::{Settings, UpstreamStream},
    terms::smaller_timeout,
};
use roundtable_moqt::{Object, Parameters, StreamResetCode, message::Filter};

use super::Outlet;
use crate::room::LinkId;

/// Objects held for a subscription that has been granted and not been answered yet: their alias means nothing to
/// the subscriber before. More are dropped, oldest first.
const HELD_MAX: usize = 512;

/// A subscription of one session to one track.
#[derive(Debug)]
pub struct Subscriber {
    /// Its name in the room.
    pub link: LinkId,
    /// Its name in the queue.
    pub key: SubscriptionKey,
    outlet: Arc<Outlet>,
    is_answered: AtomicBool,
    held: Mutex<Vec<Held>>,
    wishes: Mutex<Wishes>,
}

/// What the subscriber asked for, updates included.
#[derive(Debug)]
struct Wishes {
    parameters: Parameters,
    /// What the filter came to when it was processed; `None` until then.
    window: Option<Window>,
}

#[derive(Debug)]
enum Held {
    Datagram(Datagram),
    Object(UpstreamStream, Instant, Object),
    End(UpstreamStream, Option<StreamResetCode>),
}

impl Subscriber {
    /// A subscription whose answer is on its way.
    pub fn new(link: LinkId, outlet: Arc<Outlet>, parameters: Parameters) -> Self {
        let key = outlet.queue().subscribe(Settings::default());
        Subscriber {
            link,
            key,
            outlet,
            is_answered: AtomicBool::new(false),
            held: Mutex::default(),
            wishes: Mutex::new(Wishes { parameters, window: None }),
        }
    }

    /// What stands in front of its datagrams.
    pub fn prefix(&self) -> &'static [u8] {
        self.outlet.prefix()
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what an update sets.
    pub fn update_parameters(&self, update: &Parameters) {
        let mut wishes = self.wishes();
        if update.filter.is_some() {
            wishes.window = None;
        }
        let known = &mut wishes.parameters;
        known.forward = update.forward.or(known.forward);
        known.filter = update.filter.or(known.filter);
        known.subscriber_priority = update.subscriber_priority.or(known.subscriber_priority);
        known.group_order = update.group_order.or(known.group_order);
        known.object_delivery_timeout_ms =
            update.object_delivery_timeout_ms.or(known.object_delivery_timeout_ms);
        known.subgroup_delivery_timeout_ms =
            update.subgroup_delivery_timeout_ms.or(known.subgroup_delivery_timeout_ms);
    }

    /// Puts the parameters into effect. A filter that is new becomes a window of the track as it stands now.
    pub(super) fn apply(
        &self,
        terms: &Terms,
        window: impl FnOnce(Option<Filter>) -> Result<Window, InvalidRange>,
    ) -> Result<(), InvalidRange> {
        let mut wishes = self.wishes();
        let window = match wishes.window {
            Some(window) => window,
            None => window(wishes.parameters.filter)?,
        };
        wishes.window = Some(window);
        let parameters = &wishes.parameters;
        let settings = Settings {
            subscriber_priority: parameters.subscriber_priority.unwrap_or(128),
            group_order: parameters.group_order.unwrap_or(terms.group_order),
            is_forwarding: parameters.forward.unwrap_or(true),
            window,
            object_timeout: smaller_timeout(terms.object_timeout, parameters.object_delivery_timeout_ms),
            subgroup_timeout: smaller_timeout(
                terms.subgroup_timeout,
                parameters.subgroup_delivery_timeout_ms,
            ),
        };
        self.outlet.queue().update(self.key, settings);
        Ok(())
    }

    /// The answer has gone out: what was held follows it, and whatever comes from now on.
    pub fn answered(&self, now: Instant) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for item in held.drain(..) {
            match item {
                Held::Datagram(datagram) => self.outlet.offer(now, self.key, &[datagram]),
                Held::Object(upstream, received, object) => {
                    self.outlet.push_object(self.key, &upstream, received, &object);
                }
                Held::End(upstream, reset) => self.outlet.end_stream(now, self.key, &upstream, reset),
            }
        }
        self.is_answered.store(true, Ordering::Release);
    }

    /// Nothing of it waits.
    pub fn is_idle(&self) -> bool {
        let is_held = !self.held.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        !is_held && self.outlet.queue().is_idle(self.key)
    }

    pub(super) fn offer(&self, now: Instant, batch: &[Datagram]) {
        if self.is_answered.load(Ordering::Acquire)
            || !self.hold(|| batch.iter().cloned().map(Held::Datagram).collect())
        {
            self.outlet.offer(now, self.key, batch);
        }
    }

    pub(super) fn push_object(&self, upstream: &UpstreamStream, received: Instant, object: &Object) {
        if self.is_answered.load(Ordering::Acquire)
            || !self.hold(|| vec![Held::Object(*upstream, received, object.clone())])
        {
            self.outlet.push_object(self.key, upstream, received, object);
        }
    }

    pub(super) fn end_stream(&self, now: Instant, upstream: &UpstreamStream, reset: Option<StreamResetCode>) {
        if self.is_answered.load(Ordering::Acquire) || !self.hold(|| vec![Held::End(*upstream, reset)]) {
            self.outlet.end_stream(now, self.key, upstream, reset);
        }
    }

    /// False when it has been answered in the meantime.
    fn hold(&self, items: impl FnOnce() -> Vec<Held>) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_answered.load(Ordering::Acquire) {
            return false;
        }
        held.extend(items());
        let excess = held.len().saturating_sub(HELD_MAX);
        held.drain(..excess);
        true
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.outlet.queue().remove(self.key);
    }
}
