//! The subscriptions of one connection, found by key without hashing.

use crate::queue::{
    Counters, Settings, SubscriptionKey, datagrams::WaitingByRank, frames::Frames, subgroups::Streams,
};

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) settings: Settings,
    pub(super) counters: Counters,
    pub(super) waiting: WaitingByRank,
    pub(super) frames: Frames,
    pub(super) streams: Streams,
    /// Bytes sent, moved forward to the others' when it was idle.
    pub(super) served: u64,
    /// Its place in [`Queue::turns`](super::Queue).
    pub(super) turn: Option<Turn>,
}

/// A subscription that has something to send; the smallest goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) subscriber_priority: u8,
    pub(super) publisher_priority: u8,
    pub(super) served: u64,
    pub(super) key: SubscriptionKey,
}

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    subscription: Option<Box<Subscription>>,
}

impl Subscriptions {
    pub(super) fn insert(&mut self, settings: Settings) -> SubscriptionKey {
        let subscription = Some(Box::new(Subscription {
            settings,
            counters: Counters::default(),
            waiting: WaitingByRank::new(),
            frames: Frames::default(),
            streams: Streams::default(),
            served: 0,
            turn: None,
        }));
        let reused = self.free.pop().and_then(|index| Some((index, self.slots.get_mut(index as usize)?)));
        match reused {
            Some((index, slot)) => {
                slot.subscription = subscription;
                SubscriptionKey { index, generation: slot.generation }
            }
            None => {
                let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
                self.slots.push(Slot { generation: 0, subscription });
                SubscriptionKey { index, generation: 0 }
            }
        }
    }

    pub(super) fn get(&self, key: SubscriptionKey) -> Option<&Subscription> {
        let slot = self.slots.get(key.index as usize)?;
        slot.subscription.as_deref().filter(|_| slot.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        let slot = self.slots.get_mut(key.index as usize)?;
        slot.subscription.as_deref_mut().filter(|_| slot.generation == key.generation)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SubscriptionKey, &Subscription)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            let key = SubscriptionKey { index, generation: slot.generation };
            Some((key, slot.subscription.as_deref()?))
        })
    }

    pub(super) fn remove(&mut self, key: SubscriptionKey) -> Option<Subscription> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let subscription = slot.subscription.take()?;
        // A slot whose generations are used up stays empty for good.
        if let Some(generation) = slot.generation.checked_add(1) {
            slot.generation = generation;
            self.free.push(key.index);
        }
        Some(*subscription)
    }
}
