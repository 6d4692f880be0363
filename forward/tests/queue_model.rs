//! The queue's order against a plain list: whatever is popped must be one of those that may go next.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use roundtable_forward::{
    Datagram, Queue, SubscriptionKey,
    queue::{Path, QueueLimits, Settings},
};
use roundtable_moqt::{Location, message::GroupOrder};

const SUBSCRIPTIONS: usize = 4;

#[derive(Debug, Clone)]
enum Op {
    Push { subscription: usize, priority: u8, group: u64, object: u64 },
    Pop,
    Priority { subscription: usize, priority: u8 },
    Replace(usize),
    Wait(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let push = (0..SUBSCRIPTIONS, prop::sample::select(vec![16, 64, 96, 124]), 0..4_u64, 0..6_u64);
    prop_oneof![
        6 => push.prop_map(|(subscription, priority, group, object)| Op::Push { subscription, priority, group, object }),
        4 => Just(Op::Pop),
        1 => (0..SUBSCRIPTIONS, 0..3_u8).prop_map(|(subscription, priority)| Op::Priority { subscription, priority }),
        1 => (0..SUBSCRIPTIONS).prop_map(Op::Replace),
        1 => (0..150_u64).prop_map(Op::Wait),
    ]
}

/// What waits, in no order at all.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Waiting {
    subscription: usize,
    priority: u8,
    location: Location,
    deadline: Instant,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_next_is_what_the_draft_says(ops in prop::collection::vec(op(), 0..200)) {
        let mut now = Instant::now();
        let timeout = Duration::from_millis(200);
        let mut queue = Queue::new(QueueLimits::default());
        // Odd ones are descending.
        let settings = |index: usize, subscriber_priority| Settings {
            subscriber_priority,
            group_order: if index % 2 == 1 { GroupOrder::Descending } else { GroupOrder::Ascending },
            object_timeout: Some(timeout),
            ..Settings::default()
        };
        let mut priorities = [1_u8; SUBSCRIPTIONS];
        let mut keys: Vec<SubscriptionKey> =
            (0..SUBSCRIPTIONS).map(|index| queue.subscribe(settings(index, 1))).collect();
        let mut model: Vec<Waiting> = vec![];
        for op in ops {
            match op {
                Op::Push { subscription, priority, group, object } => {
                    let location = Location::new(group, object);
                    let bytes = Bytes::from(vec![subscription as u8, priority, group as u8, object as u8]);
                    let datagram = Datagram { location, publisher_priority: priority, received: now, marks: None, bytes };
                    queue.push(now, keys[subscription], &datagram).unwrap();
                    // The same object again takes the place of the first.
                    let is_same = |other: &Waiting| {
                        (other.subscription, other.priority, other.location) == (subscription, priority, location)
                    };
                    model.retain(|other| !is_same(other));
                    model.push(Waiting { subscription, priority, location, deadline: now + timeout });
                }
                Op::Pop => {
                    let popped = queue.pop_datagram(now, Path { space: 1000, datagram_bytes_max: 100 });
                    let class = |waiting: &Waiting| (priorities[waiting.subscription], waiting.priority);
                    let best = model.iter().map(class).min();
                    let Some(bytes) = popped else {
                        prop_assert_eq!(best, None);
                        prop_assert_eq!(queue.bytes(), 0);
                        continue;
                    };
                    let (subscription, location) =
                        (usize::from(bytes[0]), Location::new(bytes[2].into(), bytes[3].into()));
                    let found = |other: &Waiting| {
                        (other.subscription, other.priority, other.location) == (subscription, bytes[1], location)
                    };
                    let popped = model.iter().find(|waiting| found(waiting)).copied();
                    prop_assert!(popped.is_some(), "nobody waits for {bytes:?}");
                    let popped = popped.unwrap();
                    prop_assert_eq!(Some(class(&popped)), best);
                    let key = |waiting: &Waiting| {
                        let Location { group, object } = waiting.location;
                        (if waiting.subscription % 2 == 1 { 9 - group } else { group }, object)
                    };
                    let rivals = model.iter().filter(|other| {
                        other.subscription == subscription && other.priority == popped.priority
                    });
                    prop_assert_eq!(Some(key(&popped)), rivals.map(key).min());
                    model.retain(|waiting| !found(waiting));
                }
                Op::Priority { subscription, priority } => {
                    priorities[subscription] = priority;
                    queue.update(keys[subscription], settings(subscription, priority));
                }
                Op::Replace(subscription) => {
                    queue.remove(keys[subscription]);
                    keys[subscription] = queue.subscribe(settings(subscription, priorities[subscription]));
                    model.retain(|waiting| waiting.subscription != subscription);
                }
                Op::Wait(ms) => now += Duration::from_millis(ms),
            }
            // What is late may stay in the queue until its turn comes, but no longer.
            model.retain(|waiting| waiting.deadline > now);
            prop_assert!(queue.bytes() >= model.len() * 4);
        }
    }
}
