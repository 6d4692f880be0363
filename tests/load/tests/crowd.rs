//! The load against a real relay: what it counts is what happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use roundtable_load::{
    client::{Plan, Progress, Tally, Target},
    crowd,
    shape::{Shape, Window},
};
use roundtable_moqt::{FullTrackName, Namespace, session::Carrier};
use roundtable_tests::harness::Relay;

const PATIENCE: Duration = Duration::from_secs(20);
const SUBSCRIBERS: u64 = 3;

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn load(carrier: Carrier, relay: SocketAddr) -> Tally {
    let target = Target::new(carrier, relay, "room").unwrap();
    let track = FullTrackName::new(Namespace::single("ann").unwrap(), "camera").unwrap();
    let publishes = vec![(track.clone(), Shape::per_second(400.0, 4, 1024))];
    let mut plans = vec![Plan { target: target.clone(), publishes, subscribes: Vec::new() }];
    plans.resize(4, Plan { target, publishes: Vec::new(), subscribes: vec![track] });
    let (window, progress) = (Arc::new(Window::new()), Arc::new(Progress::default()));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let crowd = scope.spawn(|| crowd::run(plans, &window, &progress, &stop));
        until("subscriptions", || {
            crowd.is_finished() || progress.subscribed.load(Ordering::Relaxed) == SUBSCRIBERS
        });
        window.open(Instant::now());
        thread::sleep(Duration::from_millis(300));
        window.close(Instant::now());
        // What was sent last is on its way.
        thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        crowd.join().unwrap().unwrap()
    })
}

#[test]
fn everything_sent_while_the_window_is_open_is_counted_once_by_every_subscriber() {
    let relay = Relay::start();
    for carrier in [Carrier::WebTransport, Carrier::Quic] {
        let tally = load(carrier, relay.quic());
        assert!(tally.sent >= 4 && tally.sent.is_multiple_of(4), "{tally:?}");
        assert!(tally.received <= tally.sent * SUBSCRIBERS, "{tally:?}");
        // A machine busy with other tests may hold something back for long, but not much of it.
        assert!(tally.received * 2 > tally.sent * SUBSCRIBERS, "{tally:?}");
        assert_eq!(tally.latencies.count(), tally.received);
        assert!(tally.latencies.percentile(50.0) > Duration::ZERO);
        assert_eq!(tally.join.count(), 1 + SUBSCRIBERS);
    }
}

#[test]
fn a_client_that_is_refused_ends_the_run_with_the_reason() {
    let relay = Relay::start();
    let target = Target::new(Carrier::Quic, relay.quic(), "room").unwrap().with_room("/no/room");
    let plan = Plan { target, publishes: Vec::new(), subscribes: Vec::new() };
    let (window, progress) = (Arc::new(Window::new()), Arc::new(Progress::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let running = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || crowd::run(vec![plan], &window, &progress, &stop))
    };
    until("the refusal", || running.is_finished());
    stop.store(true, Ordering::Relaxed);
    let error = running.join().unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("lost") || format!("{error:#}").contains("closed"), "{error:#}");
}
