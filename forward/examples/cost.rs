//! What the hot paths cost, in nanoseconds of one core: `cargo run --release -p roundtable-forward --example cost`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_forward::{
    Budget, CacheLimits, Datagram, Marks, PublisherId, Queue, Terms, Track,
    queue::{Path, QueueLimits, Settings},
};
use roundtable_moqt::{Location, Object, message::GroupOrder, properties::Writer, vi64};

const OBJECTS: u64 = 400_000;
const BATCH: u64 = 8;
const SUBSCRIBERS: usize = 100;

fn main() {
    let properties = properties();
    print("marks of an object", OBJECTS, || {
        for _ in 0..OBJECTS {
            black_box(Marks::new(black_box(&properties)));
        }
    });
    let payload = Bytes::from(vec![0; 1000]);
    let video = |n: u64| Location::new(1_800_000_000_000 + n / 1000, n % 1000);
    print("insert, video, 1000 objects a group", OBJECTS, || insert(&properties, &payload, video));
    let audio = |n: u64| Location::new(1_800_000_000_000 + n, 0);
    print("insert, audio, one object a group", OBJECTS, || insert(&Bytes::new(), &payload, audio));
    fetch(&properties, &payload);
    for (name, path) in [
        ("offer, the network takes all, 100 subscribers", open()),
        ("offer, all waits and goes a batch later, 100 subscribers", Path { space: 0, ..open() }),
    ] {
        print(name, OBJECTS * 10 / BATCH * BATCH, || offer(&payload, path));
    }
    push_and_pop(&payload);
}

fn open() -> Path {
    Path { space: 1 << 20, datagram_bytes_max: 1200 }
}

fn print(name: &str, count: u64, run: impl FnOnce()) {
    let start = cpu_ns();
    run();
    println!("{name:60} {:8.1} ns", (cpu_ns() - start) as f64 / count as f64);
}

/// Time this thread has had on a core, so that what else runs on the machine matters less.
fn cpu_ns() -> u64 {
    let schedstat =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is measured on Linux");
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

fn properties() -> Bytes {
    let mut fragment = bytes::BytesMut::new();
    [7_u64, 0, 2, 10, 3, 9000].into_iter().for_each(|number| vi64::put(&mut fragment, number));
    let mut writer = Writer::new();
    writer.bytes(0x09, &[0xA0, 0, 0]).integer(0x10, 1_800_000_000_000_000).bytes(0x3801, &fragment);
    writer.finish()
}

fn insert(properties: &Bytes, payload: &Bytes, location: impl Fn(u64) -> Location) {
    let mut track = Track::new(CacheLimits::default(), &Budget::new(1 << 26), Terms::default());
    let now = Instant::now();
    for n in 0..OBJECTS {
        let object =
            Object { properties: properties.clone(), ..Object::datagram(location(n), payload.clone()) };
        black_box(track.insert(now, PublisherId(1), &object));
    }
}

fn fetch(properties: &Bytes, payload: &Bytes) {
    let limits =
        CacheLimits { newest_group_bytes_max: 1 << 28, entries_max: 1 << 20, ..CacheLimits::default() };
    let mut track = Track::new(limits, &Budget::new(1 << 28), Terms::default());
    let now = Instant::now();
    for n in 0..100_000 {
        let object = Object {
            properties: properties.clone(),
            ..Object::datagram(Location::new(1, n), payload.clone())
        };
        track.insert(now, PublisherId(1), &object);
    }
    let (start, end) = (Location::new(1, 0), Location::new(1, 0));
    let mut fetch = track.fetch(start, end, GroupOrder::Ascending, now).unwrap();
    print("one step of a FETCH", 100_000, || {
        for _ in 0..100_000 {
            black_box(track.next(&mut fetch.cursor, now));
        }
    });
}

fn batch(n: u64, now: Instant, payload: &Bytes) -> Vec<Datagram> {
    let datagram = |object| Datagram {
        location: Location::new(1_800_000_000_000, object),
        publisher_priority: 64,
        received: now,
        marks: Some(Marks::default()),
        bytes: payload.clone(),
    };
    (n * BATCH..(n + 1) * BATCH).map(datagram).collect()
}

fn offer(payload: &Bytes, path: Path) {
    let now = Instant::now();
    let settings = Settings { object_timeout: Some(Duration::from_secs(10)), ..Settings::default() };
    let mut queues: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let mut queue = Queue::new(QueueLimits::default());
            let key = queue.subscribe(settings);
            (queue, key)
        })
        .collect();
    for n in 0..OBJECTS * 10 / BATCH / SUBSCRIBERS as u64 {
        let batch = batch(n, now, payload);
        for (queue, key) in &mut queues {
            queue.offer(now, *key, &batch, path, |bytes| {
                black_box(bytes.clone());
            });
            if path.space == 0 {
                queue.drain(now, open(), |bytes| {
                    black_box(bytes.clone());
                });
            }
        }
    }
}

/// A queue that is never empty: 25 subscriptions with 20 datagrams each wait.
fn push_and_pop(payload: &Bytes) {
    let now = Instant::now();
    let mut queue = Queue::new(QueueLimits::default());
    let keys: Vec<_> = (0..25).map(|_| queue.subscribe(Settings::default())).collect();
    let datagram = |n: u64| Datagram {
        location: Location::new(1, n),
        publisher_priority: [64, 80, 96, 124][n as usize % 4],
        ..batch(0, now, payload).remove(0)
    };
    let datagrams: Vec<_> = (0..1000).map(datagram).collect();
    for datagram in datagrams.iter().take(20) {
        for key in &keys {
            queue.push(now, *key, datagram).unwrap();
        }
    }
    print("push and pop, 500 waiting in 25 subscriptions", OBJECTS, || {
        for n in 0..OBJECTS as usize {
            let datagram = &datagrams[n % 1000];
            // The same object again replaces itself: keep the length by popping only when it grew.
            let before = queue.bytes();
            let _ = queue.push(now, keys[n % 25], datagram);
            if queue.bytes() > before {
                black_box(queue.pop_datagram(now, open()));
            }
        }
    });
}
