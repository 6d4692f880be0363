//! Datagrams waiting for one connection: order, deadlines and drops.
//!
//! Two levels, since draft 7.2 orders the objects of one subscription but leaves open how subscriptions of equal
//! priority share: every subscription keeps its datagrams in the draft's order, and among subscriptions whose
//! first ones are equally important the one that was sent the fewest bytes goes next.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{Location, message::GroupOrder};

use crate::{
    Marks,
    queue::{
        Ages, Datagram, DropReason, Path, Queue, Settings, SubscriptionKey,
        frames::Consequence,
        subscriptions::{Subscription, Turn},
    },
};

/// Where a datagram stands among those of its subscription; the smallest is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) publisher_priority: u8,
    /// The group, turned around in descending order.
    group: u64,
    object: u64,
}

impl Rank {
    pub(super) fn new(order: GroupOrder, publisher_priority: u8, location: Location) -> Self {
        let group = turned(order, location.group);
        Rank { publisher_priority, group, object: location.object }
    }

    fn location(&self, order: GroupOrder) -> Location {
        Location::new(turned(order, self.group), self.object)
    }
}

/// A group id that sorts as the order wants it; its own inverse.
pub(super) fn turned(order: GroupOrder, group: u64) -> u64 {
    match order {
        GroupOrder::Ascending => group,
        GroupOrder::Descending => u64::MAX - group,
    }
}

#[derive(Debug)]
pub(super) struct Waiting {
    bytes: Bytes,
    deadline: Instant,
    marks: Option<Marks>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

pub(super) type WaitingByRank = BTreeMap<Rank, Waiting>;

/// Publisher priorities of parity (docs/wire.md).
const PARITY: std::ops::Range<u8> = 120..128;

const SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// How dispensable a datagram is; the greatest goes first.
type Dispensability = (bool, u8, u8);

impl Queue {
    /// Offers a batch of one track's datagrams. What the network takes goes to `send` at once, in the draft's
    /// order, together with what waited before; the rest waits. True when something waits: go on with
    /// [`Self::drain`] when there is room.
    ///
    /// While nothing waits and nothing was dropped lately this is a loop over `batch` and nothing else.
    pub fn offer(
        &mut self,
        now: Instant,
        subscription: SubscriptionKey,
        batch: &[Datagram],
        path: Path,
        mut send: impl FnMut(&Bytes),
    ) -> bool {
        if self.datagrams == 0 && self.send_at_once(now, subscription, batch, path, &mut send) {
            return false;
        }
        for datagram in batch {
            // A drop is counted where it happens.
            let _ = self.push(now, subscription, datagram);
        }
        self.drain(now, path, send)
    }

    /// The fast path: true when the whole batch was sent.
    fn send_at_once(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        batch: &[Datagram],
        path: Path,
        send: &mut impl FnMut(&Bytes),
    ) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return true };
        let settings = subscription.settings;
        let overhead = self.limits.datagram_overhead_bytes;
        let bytes: usize = batch.iter().map(|datagram| datagram.bytes.len() + overhead).sum();
        let is_fresh =
            |datagram: &Datagram| settings.timeout().is_none_or(|timeout| now < datagram.received + timeout);
        if bytes > path.space || !subscription.frames.are_whole() || !batch.iter().all(is_fresh) {
            return false;
        }
        if !settings.is_forwarding {
            return true;
        }
        let (mut sent, mut sent_bytes, mut too_large) = (0, 0, 0);
        for datagram in batch.iter().filter(|datagram| settings.window.contains(datagram.location)) {
            let len = datagram.bytes.len();
            if len > path.datagram_bytes_max {
                too_large += 1;
                continue;
            }
            send(&datagram.bytes);
            sent += 1;
            sent_bytes += len as u64;
        }
        for counters in [&mut subscription.counters, &mut self.counters] {
            counters.sent += sent;
            counters.sent_bytes += sent_bytes;
            counters.too_large += too_large;
        }
        true
    }

    /// Sends what waits as far as the network takes it. True when something still waits.
    pub fn drain(&mut self, now: Instant, mut path: Path, mut send: impl FnMut(&Bytes)) -> bool {
        while let Some(bytes) = self.pop_datagram(now, path) {
            path.space = path.space.saturating_sub(bytes.len() + self.limits.datagram_overhead_bytes);
            send(&bytes);
        }
        self.has_datagrams()
    }

    /// Puts one datagram in the queue. It may drop another one instead. What the subscription does not want is
    /// ignored.
    pub fn push(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        datagram: &Datagram,
    ) -> Result<(), DropReason> {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return Ok(()) };
        let settings = subscription.settings;
        if !settings.is_forwarding || !settings.window.contains(datagram.location) {
            return Ok(());
        }
        let admitted = match &datagram.marks {
            Some(marks) => subscription.frames.admit(datagram.location, marks),
            None => Ok(()),
        };
        let deadline = datagram.received + settings.wait_max(datagram.publisher_priority, &self.limits.ages);
        let result = admitted.and_then(|()| {
            if deadline <= now { Err(DropReason::Deadline) } else { self.make_room(now, key, datagram) }
        });
        if let Err(reason) = result {
            self.count(key, reason);
            if matches!(reason, DropReason::Deadline | DropReason::Full) {
                self.suffer(key, datagram.location, datagram.marks.as_ref(), datagram.publisher_priority);
            }
            return Err(reason);
        }
        let Some(subscription) = self.subscriptions.get_mut(key) else { return Ok(()) };
        let rank = Rank::new(settings.group_order, datagram.publisher_priority, datagram.location);
        let waiting = Waiting { bytes: datagram.bytes.clone(), deadline, marks: datagram.marks };
        self.datagrams += 1;
        self.datagram_bytes += waiting.bytes.len();
        if let Some(twin) = subscription.waiting.insert(rank, waiting) {
            self.datagrams -= 1;
            self.datagram_bytes -= twin.bytes.len();
        }
        self.update_turn(key);
        Ok(())
    }

    /// The next datagram, if it fits. Those whose time is over are dropped on the way.
    pub fn pop_datagram(&mut self, now: Instant, path: Path) -> Option<Bytes> {
        loop {
            let turn = *self.turns.first()?;
            let key = turn.key;
            let subscription = self.subscriptions.get_mut(key)?;
            let first = subscription.waiting.first_entry()?;
            let len = first.get().bytes.len();
            let reason = match first.get() {
                waiting if waiting.deadline <= now => Some(DropReason::Deadline),
                _ if len > path.datagram_bytes_max => Some(DropReason::TooLarge),
                _ if len + self.limits.datagram_overhead_bytes > path.space => return None,
                _ => None,
            };
            let (rank, waiting) = first.remove_entry();
            self.datagrams -= 1;
            self.datagram_bytes -= len;
            if let Some(reason) = reason {
                let location = rank.location(subscription.settings.group_order);
                self.count(key, reason);
                if reason == DropReason::Deadline {
                    self.suffer(key, location, waiting.marks.as_ref(), rank.publisher_priority);
                }
                self.update_turn(key);
                continue;
            }
            self.served = turn.served;
            subscription.served += len as u64;
            for counters in [&mut subscription.counters, &mut self.counters] {
                counters.sent += 1;
                counters.sent_bytes += len as u64;
            }
            self.update_turn(key);
            return Some(waiting.bytes);
        }
    }

    /// True while datagrams wait.
    pub fn has_datagrams(&self) -> bool {
        self.datagrams > 0
    }

    /// Subscriptions that skip to the next group because a frame was dropped that others depend on: for each the
    /// relay should ask for a new group upstream. Each is named at most once a second, and not while anything waits
    /// that would go before a key frame: it helps nobody where there is no room for it.
    pub fn new_groups_wanted(&mut self, now: Instant) -> Vec<SubscriptionKey> {
        if self.skipping.is_empty() {
            return Vec::new();
        }
        let first = self.turns.first().map(|turn| (turn.subscriber_priority, turn.publisher_priority));
        let mut wanted = Vec::new();
        self.skipping.retain(|key| {
            let Some(subscription) = self.subscriptions.get_mut(*key) else { return false };
            let Some(priority) = subscription.frames.skipping_priority() else { return false };
            let turn = (subscription.settings.subscriber_priority, priority);
            if first.is_none_or(|first| first > turn) && subscription.frames.ask_for_group(now) {
                wanted.push(*key);
            }
            true
        });
        wanted
    }

    /// Makes the queue take one more datagram, or refuses it when everything waiting matters more.
    fn make_room(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        datagram: &Datagram,
    ) -> Result<(), DropReason> {
        let len = datagram.bytes.len();
        if len > self.limits.datagram_bytes_max {
            return Err(DropReason::TooLarge);
        }
        while self.datagrams >= self.limits.datagrams_max
            || self.datagram_bytes + len > self.limits.datagram_bytes_max
        {
            // Sweeping costs as much as the queue is long, so not for every datagram.
            if self.swept.is_none_or(|swept| now >= swept + SWEEP_INTERVAL) {
                self.swept = Some(now);
                self.drop_expired(now);
                continue;
            }
            let Some((worst, dispensability)) = self.most_dispensable() else {
                return Err(DropReason::Full);
            };
            let own = self.subscriptions.get(key).map(|subscription| {
                let priority = subscription.settings.subscriber_priority;
                dispensability_of(priority, datagram.publisher_priority)
            });
            if own.is_none_or(|own| own > dispensability) {
                return Err(DropReason::Full);
            }
            self.drop_oldest(worst, dispensability.2);
            // The drop may have made this one useless too.
            if let Some(marks) = &datagram.marks
                && let Some(subscription) = self.subscriptions.get(key)
            {
                subscription.frames.allows(datagram.location, marks)?;
            }
        }
        Ok(())
    }

    /// The subscription that has the most dispensable datagrams, and how much they are.
    fn most_dispensable(&self) -> Option<(SubscriptionKey, Dispensability)> {
        let candidates = self.turns.iter().filter_map(|turn| {
            let waiting = &self.subscriptions.get(turn.key)?.waiting;
            let parity = waiting.range(lowest(PARITY.start)..lowest(PARITY.end)).next_back();
            let (rank, _) = parity.or_else(|| waiting.last_key_value())?;
            Some((turn.key, dispensability_of(turn.subscriber_priority, rank.publisher_priority)))
        });
        candidates.max_by_key(|(_, dispensability)| *dispensability)
    }

    fn drop_oldest(&mut self, key: SubscriptionKey, publisher_priority: u8) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let order = subscription.settings.group_order;
        let mut alike = match publisher_priority.checked_add(1) {
            Some(next) => subscription.waiting.range(lowest(publisher_priority)..lowest(next)),
            None => subscription.waiting.range(lowest(publisher_priority)..),
        };
        let oldest = match order {
            GroupOrder::Ascending => alike.next(),
            GroupOrder::Descending => alike.next_back(),
        };
        let Some(rank) = oldest.map(|(rank, _)| *rank) else { return };
        self.drop_waiting(key, rank, DropReason::Full);
        self.update_turn(key);
    }

    fn drop_expired(&mut self, now: Instant) {
        let keys: Vec<SubscriptionKey> = self.turns.iter().map(|turn| turn.key).collect();
        for key in keys {
            let Some(subscription) = self.subscriptions.get(key) else { continue };
            let expired = subscription.waiting.iter().filter(|(_, waiting)| waiting.deadline <= now);
            let expired: Vec<Rank> = expired.map(|(rank, _)| *rank).collect();
            for rank in expired {
                self.drop_waiting(key, rank, DropReason::Deadline);
            }
            self.update_turn(key);
        }
    }

    fn drop_waiting(&mut self, key: SubscriptionKey, rank: Rank, reason: DropReason) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let location = rank.location(subscription.settings.group_order);
        // A purge that an earlier drop caused may have taken it.
        let Some(waiting) = subscription.waiting.remove(&rank) else { return };
        self.datagrams -= 1;
        self.datagram_bytes -= waiting.bytes.len();
        self.count(key, reason);
        self.suffer(key, location, waiting.marks.as_ref(), rank.publisher_priority);
    }

    /// A datagram was dropped: what is of no use without it goes too.
    fn suffer(&mut self, key: SubscriptionKey, location: Location, marks: Option<&Marks>, priority: u8) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Some(marks) = marks else { return };
        let consequence = subscription.frames.dropped(location, marks, priority);
        if consequence == Consequence::None {
            return;
        }
        if consequence == Consequence::PurgeAndSkip && !self.skipping.contains(&key) {
            self.skipping.push(key);
        }
        let Subscription { waiting, frames, settings, .. } = subscription;
        let order = settings.group_order;
        let useless = waiting.iter().filter_map(|(rank, waiting)| {
            let reason = frames.allows(rank.location(order), waiting.marks.as_ref()?).err()?;
            Some((*rank, reason))
        });
        let useless: Vec<(Rank, DropReason)> = useless.collect();
        for (rank, reason) in useless {
            let Some(subscription) = self.subscriptions.get_mut(key) else { return };
            if let Some(waiting) = subscription.waiting.remove(&rank) {
                self.datagrams -= 1;
                self.datagram_bytes -= waiting.bytes.len();
                self.count(key, reason);
            }
        }
        self.update_turn(key);
    }

    /// What no longer passes the settings is forgotten.
    pub(super) fn retain_wanted(&mut self, key: SubscriptionKey) {
        let Some(Subscription { waiting, settings, .. }) = self.subscriptions.get_mut(key) else { return };
        waiting.retain(|rank, waiting| {
            let is_wanted =
                settings.is_forwarding && settings.window.contains(rank.location(settings.group_order));
            if !is_wanted {
                self.datagrams -= 1;
                self.datagram_bytes -= waiting.bytes.len();
            }
            is_wanted
        });
    }

    /// A subscription's first datagram, priority or share has changed.
    pub(super) fn update_turn(&mut self, key: SubscriptionKey) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let first = subscription.waiting.first_key_value().map(|(rank, _)| rank.publisher_priority);
        if subscription.turn.is_none() && first.is_some() {
            // Who had nothing to send has no claim on the past.
            subscription.served = subscription.served.max(self.served);
        }
        let turn = first.map(|publisher_priority| Turn {
            subscriber_priority: subscription.settings.subscriber_priority,
            publisher_priority,
            served: subscription.served,
            key,
        });
        if turn == subscription.turn {
            return;
        }
        if let Some(previous) = std::mem::replace(&mut subscription.turn, turn) {
            self.turns.remove(&previous);
        }
        self.turns.extend(turn);
    }

    pub(super) fn count(&mut self, key: SubscriptionKey, reason: DropReason) {
        self.counters.count(reason);
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.counters.count(reason);
        }
    }
}

impl Settings {
    /// The delivery timeout of a datagram (draft 8).
    fn timeout(&self) -> Option<Duration> {
        match (self.object_timeout, self.subgroup_timeout) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    fn wait_max(&self, publisher_priority: u8, ages: &Ages) -> Duration {
        self.timeout().unwrap_or(match publisher_priority {
            0..32 => ages.audio,
            32..76 => ages.base,
            120..128 => ages.parity,
            _ => ages.upper,
        })
    }
}

fn dispensability_of(subscriber_priority: u8, publisher_priority: u8) -> Dispensability {
    (PARITY.contains(&publisher_priority), subscriber_priority, publisher_priority)
}

/// The lowest rank of a priority.
fn lowest(publisher_priority: u8) -> Rank {
    Rank { publisher_priority, group: 0, object: 0 }
}
