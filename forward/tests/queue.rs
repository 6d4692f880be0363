//! What waits for a connection, in which order it goes, and what is dropped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use roundtable_forward::{
    Datagram, Marks, Queue, SubscriptionKey, Window,
    marks::Fragment,
    queue::{Counters, DropReason, Path, QueueLimits, Settings},
};
use roundtable_moqt::{Location, message::GroupOrder};

const MS: Duration = Duration::from_millis(1);
const OPEN: Path = Path { space: usize::MAX, datagram_bytes_max: 1200 };
const SHUT: Path = Path { space: 0, datagram_bytes_max: 1200 };

fn queue() -> Queue {
    Queue::new(QueueLimits::default())
}

/// Its bytes name it: group, object, priority.
fn datagram(now: Instant, group: u64, object: u64, publisher_priority: u8) -> Datagram {
    Datagram {
        location: Location::new(group, object),
        publisher_priority,
        received: now,
        marks: None,
        bytes: Bytes::from(vec![group as u8, object as u8, publisher_priority]),
    }
}

fn drain(queue: &mut Queue, now: Instant) -> Vec<Vec<u8>> {
    let mut sent = vec![];
    queue.drain(now, OPEN, |bytes| sent.push(bytes.to_vec()));
    sent
}

fn fragment(frame: u32, index: u16, data: u16, parity: u16) -> Option<Fragment> {
    Some(Fragment { frame, block: 0, index, data, parity })
}

/// A frame of a layer: data at 64, 80, 96 by layer, parity at 124, one object after the other.
fn frame(now: Instant, group: u64, first: u64, marks: Marks, data: u16, parity: u16) -> Vec<Datagram> {
    let number = marks.fragment.map_or(first as u32, |fragment| fragment.frame);
    (0..data + parity)
        .map(|index| {
            let priority = if index < data { 64 + 16 * marks.temporal_layer } else { 124 };
            let marks = Some(Marks { fragment: fragment(number, index, data, parity), ..marks });
            Datagram { marks, ..datagram(now, group, first + u64::from(index), priority) }
        })
        .collect()
}

fn layer(frame_number: u32, temporal_layer: u8) -> Marks {
    Marks { temporal_layer, fragment: fragment(frame_number, 0, 1, 0), ..Marks::default() }
}

fn push_all(queue: &mut Queue, now: Instant, key: SubscriptionKey, datagrams: &[Datagram]) {
    for datagram in datagrams {
        let _ = queue.push(now, key, datagram);
    }
}

#[test]
fn what_the_network_takes_never_waits() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings { object_timeout: Some(50 * MS), ..Settings::default() });
    let batch: Vec<_> = (0..8).map(|object| datagram(now, 1, object, 64)).collect();
    let mut sent = 0;
    assert!(!queue.offer(now, key, &batch, OPEN, |_| sent += 1));
    assert_eq!(sent, 8);
    assert_eq!(queue.counters(), Counters { sent: 8, sent_bytes: 24, ..Counters::default() });
    assert_eq!(queue.subscription_counters(key), Some(queue.counters()));
}

#[test]
fn when_there_is_too_little_room_the_important_goes_first_and_the_rest_waits() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    let batch = [datagram(now, 1, 0, 124), datagram(now, 1, 1, 64), datagram(now, 1, 2, 16)];
    let mut sent = vec![];
    let path = Path { space: 2 * (3 + 32) + 34, ..OPEN };
    assert!(queue.offer(now, key, &batch, path, |bytes| sent.push(bytes[2])));
    assert_eq!(sent, [16, 64]);
    assert_eq!(drain(&mut queue, now), [[1, 0, 124]]);
}

#[test]
fn order_is_subscriber_priority_then_publisher_priority_then_group_then_object() {
    let (now, mut queue) = (Instant::now(), queue());
    let low = queue.subscribe(Settings { subscriber_priority: 200, ..Settings::default() });
    let high = queue.subscribe(Settings { subscriber_priority: 100, ..Settings::default() });
    push_all(&mut queue, now, low, &[datagram(now, 9, 0, 1)]);
    for (group, object, priority) in [(2, 1, 64), (2, 0, 64), (1, 7, 64), (3, 0, 16), (1, 0, 96)] {
        push_all(&mut queue, now, high, &[datagram(now, group, object, priority)]);
    }
    let sent = drain(&mut queue, now);
    assert_eq!(sent, [[3, 0, 16], [1, 7, 64], [2, 0, 64], [2, 1, 64], [1, 0, 96], [9, 0, 1]]);
}

#[test]
fn descending_order_sends_the_newest_group_first_but_its_objects_in_order() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings { group_order: GroupOrder::Descending, ..Settings::default() });
    let batch = [(1, 0), (1, 1), (2, 0), (2, 1)].map(|(group, object)| datagram(now, group, object, 64));
    push_all(&mut queue, now, key, &batch);
    assert_eq!(drain(&mut queue, now), [[2, 0, 64], [2, 1, 64], [1, 0, 64], [1, 1, 64]]);
}

#[test]
fn the_group_order_holds_from_the_first_thing_that_waits() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    let descending = Settings { group_order: GroupOrder::Descending, ..Settings::default() };
    queue.update(key, descending);
    push_all(&mut queue, now, key, &[datagram(now, 1, 0, 64), datagram(now, 2, 0, 64)]);
    queue.update(key, Settings::default());
    assert_eq!(queue.settings(key), Some(descending));
    assert_eq!(drain(&mut queue, now), [[2, 0, 64], [1, 0, 64]]);
}

#[test]
fn subscriptions_of_equal_priority_share_whatever_their_group_ids() {
    let (now, mut queue) = (Instant::now(), queue());
    let (old, new) = (queue.subscribe(Settings::default()), queue.subscribe(Settings::default()));
    for object in 0..4 {
        push_all(&mut queue, now, old, &[datagram(now, 1, object, 64)]);
        push_all(&mut queue, now, new, &[datagram(now, 200, object, 64)]);
    }
    let groups: Vec<u8> = drain(&mut queue, now).iter().map(|bytes| bytes[0]).collect();
    for pair in groups.chunks(2) {
        assert!(pair.contains(&1) && pair.contains(&200), "{groups:?}");
    }
    push_all(&mut queue, now, old, &(0..3).map(|object| datagram(now, 2, object, 64)).collect::<Vec<_>>());
    drain(&mut queue, now);
    for object in 0..3 {
        push_all(&mut queue, now, new, &[datagram(now, 201, object, 64)]);
        push_all(&mut queue, now, old, &[datagram(now, 3, object, 64)]);
    }
    let groups: Vec<u8> = drain(&mut queue, now).iter().map(|bytes| bytes[0]).collect();
    assert_eq!(groups.iter().take(4).filter(|group| **group == 3).count(), 2, "no claim from idle times");
}

#[test]
fn a_new_subscriber_priority_moves_what_waits() {
    let (now, mut queue) = (Instant::now(), queue());
    let one = queue.subscribe(Settings::default());
    let other = queue.subscribe(Settings { subscriber_priority: 200, ..Settings::default() });
    push_all(&mut queue, now, one, &[datagram(now, 1, 0, 64)]);
    push_all(&mut queue, now, other, &[datagram(now, 2, 0, 64)]);
    queue.update(other, Settings { subscriber_priority: 1, ..Settings::default() });
    assert_eq!(drain(&mut queue, now), [[2, 0, 64], [1, 0, 64]]);
}

#[test]
fn what_is_not_wanted_is_not_sent() {
    let (now, mut queue) = (Instant::now(), queue());
    let window = Window { start: Location::new(2, 1), end_group: 3 };
    let key = queue.subscribe(Settings { window, ..Settings::default() });
    let batch =
        [(1, 9), (2, 0), (2, 1), (3, 5), (4, 0)].map(|(group, object)| datagram(now, group, object, 64));
    let mut sent = vec![];
    queue.offer(now, key, &batch, OPEN, |bytes| sent.push((bytes[0], bytes[1])));
    assert_eq!(sent, [(2, 1), (3, 5)]);
    queue.offer(now, key, &batch, SHUT, |_| panic!("shut"));
    assert_eq!(queue.bytes(), 6);
    queue.update(key, Settings { is_forwarding: false, ..Settings::default() });
    assert_eq!((queue.bytes(), queue.has_datagrams()), (0, false));
    assert!(!queue.offer(now, key, &batch, OPEN, |_| panic!("paused")));
    assert_eq!(queue.counters().dropped(), 0, "nobody was waiting for them");
}

#[test]
fn a_subscription_that_is_over_leaves_nothing() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    push_all(&mut queue, now, key, &[datagram(now, 1, 0, 64)]);
    queue.remove(key);
    assert_eq!((queue.bytes(), queue.has_datagrams()), (0, false));
    let next = queue.subscribe(Settings::default());
    assert_ne!(key, next);
    push_all(&mut queue, now, key, &[datagram(now, 1, 0, 64)]);
    assert!(!queue.has_datagrams(), "its key is not the next one's");
}

#[test]
fn an_object_delivery_timeout_drops_what_is_late() {
    let (now, mut queue) = (Instant::now(), queue());
    let settings =
        Settings { object_timeout: Some(50 * MS), subgroup_timeout: Some(20 * MS), ..Settings::default() };
    let key = queue.subscribe(settings);
    push_all(&mut queue, now, key, &[datagram(now, 1, 0, 64)]);
    push_all(&mut queue, now, key, &[datagram(now + 10 * MS, 1, 1, 64)]);
    assert_eq!(drain(&mut queue, now + 20 * MS), [[1, 1, 64]], "the smaller counts for datagrams");
    assert_eq!(queue.counters().deadline, 1);
    let late = datagram(now, 1, 2, 64);
    assert_eq!(queue.push(now + 30 * MS, key, &late), Err(DropReason::Deadline));
    assert!(!queue.offer(now + 30 * MS, key, &[late], OPEN, |_| panic!("late")));
}

#[test]
fn without_a_timeout_parity_waits_less_than_what_it_protects() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    push_all(
        &mut queue,
        now,
        key,
        &[datagram(now, 1, 0, 16), datagram(now, 1, 1, 64), datagram(now, 1, 2, 124)],
    );
    assert_eq!(drain(&mut queue, now + 400 * MS), [[1, 0, 16], [1, 1, 64]]);
}

#[test]
fn a_full_queue_drops_parity_first_then_upper_layers_and_audio_last() {
    let now = Instant::now();
    let mut queue = Queue::new(QueueLimits { datagrams_max: 4, ..QueueLimits::default() });
    let (video, audio) = (queue.subscribe(Settings::default()), queue.subscribe(Settings::default()));
    let push = |queue: &mut Queue, key, object, priority| {
        let _ = queue.push(now, key, &datagram(now, 1, object, priority));
    };
    for (object, priority) in [(0, 124), (1, 64), (2, 96), (3, 64)] {
        push(&mut queue, video, object, priority);
    }
    push(&mut queue, audio, 0, 16);
    push(&mut queue, audio, 1, 16);
    push(&mut queue, video, 4, 96);
    push(&mut queue, audio, 2, 16);
    assert_eq!(drain(&mut queue, now), [[1, 0, 16], [1, 1, 16], [1, 2, 16], [1, 3, 64]]);
    assert_eq!(queue.counters().full, 4);
    assert_eq!(queue.subscription_counters(audio).unwrap().full, 0);
}

#[test]
fn dropped_parity_costs_nothing_but_one_more_loss_ends_the_frame() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    let marks = Marks { is_discardable: true, ..layer(3, 2) };
    push_all(&mut queue, now, key, &frame(now, 1, 10, marks, 3, 2));
    // Parity's time is over first, then one of data as well.
    let later = now + 400 * MS;
    assert_eq!(queue.pop_datagram(later, OPEN).unwrap()[1], 10);
    assert_eq!(drain(&mut queue, later), [[1, 11, 96], [1, 12, 96]]);
    assert_eq!((queue.counters().deadline, queue.counters().incomplete_frame), (2, 0));
    let late = frame(later - 600 * MS, 1, 10, marks, 3, 2).remove(2);
    assert_eq!(queue.push(later, key, &late), Err(DropReason::Deadline));
    let rest = frame(later, 1, 10, marks, 3, 2).remove(1);
    assert_eq!(queue.push(later, key, &rest), Err(DropReason::IncompleteFrame));
    assert_eq!(queue.new_groups_wanted(later), [], "nothing depends on the frame");
    let next = frame(later, 1, 20, layer(4, 2), 1, 0);
    assert_eq!(queue.push(later, key, &next[0]), Ok(()));
}

#[test]
fn a_lost_base_frame_skips_to_the_next_group_and_wants_one() {
    let (now, mut queue) = (Instant::now(), queue());
    let camera = queue.subscribe(Settings::default());
    let audio = queue.subscribe(Settings::default());
    push_all(&mut queue, now, camera, &frame(now, 1, 0, layer(0, 0), 2, 0));
    let later = now + 1100 * MS;
    push_all(&mut queue, later, camera, &frame(later, 1, 2, layer(1, 0), 2, 1));
    push_all(&mut queue, later, audio, &[datagram(later, 50, 0, 16)]);
    assert_eq!(drain(&mut queue, later), [[50, 0, 16]]);
    let counters = queue.subscription_counters(camera).unwrap();
    assert_eq!((counters.deadline, counters.skipped_group), (1, 4), "one was late, the rest is of no use");

    assert_eq!(queue.new_groups_wanted(later), [camera]);
    assert_eq!(queue.new_groups_wanted(later + 500 * MS), [], "not again so soon");
    assert_eq!(queue.new_groups_wanted(later + 1000 * MS), [camera]);
    let same_group = frame(later, 1, 9, layer(2, 1), 1, 0);
    assert_eq!(queue.push(later, camera, &same_group[0]), Err(DropReason::SkippedGroup));
    let next_group = frame(later, 2, 0, layer(0, 0), 1, 0);
    assert_eq!(queue.push(later, camera, &next_group[0]), Ok(()));
    assert_eq!(queue.new_groups_wanted(later + 3000 * MS), []);
}

#[test]
fn no_new_group_is_wanted_while_there_is_no_room_for_one() {
    let (now, mut queue) = (Instant::now(), queue());
    let camera = queue.subscribe(Settings::default());
    let screen = queue.subscribe(Settings::default());
    let late = frame(now, 1, 0, layer(0, 0), 1, 0).remove(0);
    let later = now + 1100 * MS;
    let _ = queue.push(later, camera, &late);
    push_all(&mut queue, later, screen, &[datagram(later, 7, 0, 48)]);
    assert_eq!(queue.new_groups_wanted(later), []);
    drain(&mut queue, later);
    push_all(&mut queue, later, screen, &[datagram(later, 7, 1, 124)]);
    assert_eq!(queue.new_groups_wanted(later), [camera], "parity would let a key frame pass");
}

#[test]
fn a_lost_upper_layer_leaves_the_base_and_comes_back_with_a_sync_frame_or_group() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    let send = |queue: &mut Queue, group, number: u32, marks| {
        queue.push(now, key, &frame(now, group, u64::from(number), marks, 1, 0)[0])
    };
    let lost = frame(now - 600 * MS, 1, 0, layer(0, 1), 1, 0).remove(0);
    assert_eq!(queue.push(now, key, &lost), Err(DropReason::Deadline));
    assert_eq!(send(&mut queue, 1, 1, layer(1, 2)), Err(DropReason::SkippedGroup));
    assert_eq!(send(&mut queue, 1, 2, layer(2, 0)), Ok(()));
    let sync = |number, temporal_layer| Marks { depends_on_base_only: true, ..layer(number, temporal_layer) };
    assert_eq!(send(&mut queue, 1, 3, sync(3, 2)), Ok(()), "needs the base only");
    assert_eq!(send(&mut queue, 1, 4, layer(4, 2)), Err(DropReason::SkippedGroup));
    assert_eq!(send(&mut queue, 1, 5, sync(5, 1)), Ok(()));
    assert_eq!(send(&mut queue, 1, 6, layer(6, 2)), Ok(()), "its layer is whole again");
    let lost = frame(now - 600 * MS, 1, 7, layer(7, 1), 1, 0).remove(0);
    assert_eq!(queue.push(now, key, &lost), Err(DropReason::Deadline));
    assert_eq!(send(&mut queue, 2, 0, layer(0, 1)), Ok(()), "a new group makes up for everything");
    assert_eq!(queue.new_groups_wanted(now), []);
}

#[test]
fn after_consequences_are_over_the_fast_path_is_back() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    let lost = frame(now - 1100 * MS, 1, 0, layer(0, 0), 1, 0);
    let mut sent = 0;
    queue.offer(now, key, &lost, SHUT, |_| sent += 1);
    queue.offer(now, key, &frame(now, 2, 0, layer(0, 0), 4, 1), OPEN, |_| sent += 1);
    assert_eq!(sent, 5);
}

#[test]
fn larger_than_the_path_is_dropped_alone() {
    let (now, mut queue) = (Instant::now(), queue());
    let key = queue.subscribe(Settings::default());
    let large =
        Datagram { bytes: Bytes::from(vec![0; 1201]), ..frame(now, 1, 0, layer(0, 0), 1, 0).remove(0) };
    assert!(!queue.offer(now, key, std::slice::from_ref(&large), OPEN, |_| panic!("too large")));
    push_all(&mut queue, now, key, &[large, datagram(now, 1, 1, 64)]);
    assert_eq!(drain(&mut queue, now), [[1, 1, 64]]);
    assert_eq!(queue.counters().too_large, 2);
    assert_eq!(queue.new_groups_wanted(now), []);
}
