//! Subgroup streams on their way to a connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use roundtable_forward::{
    Queue, SubscriptionKey, Window,
    queue::{OutgoingStream, QueueLimits, Settings, StreamStep, Subgroup, UpstreamStream},
};
use roundtable_moqt::{Forwarding, Location, Object, StreamResetCode, message::GroupOrder};

const MS: Duration = Duration::from_millis(1);

fn subgroup(group: u64, id: u64, effective_priority: u8) -> Subgroup {
    Subgroup {
        group,
        id,
        priority: Some(effective_priority),
        effective_priority,
        ends_group: true,
        first_object: true,
        has_properties: false,
    }
}

/// An upstream stream that hands its objects to a queue.
struct Upstream(UpstreamStream);

impl Upstream {
    fn new(id: u64, subgroup: Subgroup) -> Self {
        Upstream(UpstreamStream { id, subgroup, objects_before: 0 })
    }

    fn object(&self, id: u64) -> Object {
        let Subgroup { group, id: subgroup, .. } = self.0.subgroup;
        let forwarding = Forwarding::Subgroup(subgroup);
        Object { forwarding, ..Object::stream(Location::new(group, id), vec![group as u8, id as u8]) }
    }

    fn push(&mut self, queue: &mut Queue, key: SubscriptionKey, now: Instant, id: u64) {
        queue.push_object(key, &self.0, now, &self.object(id));
        self.skip();
    }

    /// An object came that was not for this queue.
    fn skip(&mut self) {
        self.0.objects_before += 1;
    }

    fn end(&self, queue: &mut Queue, key: SubscriptionKey, now: Instant, reset: Option<StreamResetCode>) {
        queue.end_stream(now, key, &self.0, reset);
    }
}

/// Steps as short text: what a person would write down.
fn steps(queue: &mut Queue, now: Instant) -> Vec<String> {
    let step = std::iter::from_fn(|| queue.pop_stream(now));
    let text = step.map(|step| match step {
        StreamStep::Open { stream, subgroup, .. } => {
            let first = if subgroup.first_object { " first" } else { "" };
            format!("{} open {}.{}{first}", stream.0, subgroup.group, subgroup.id)
        }
        StreamStep::Object { stream, object } => {
            format!("{} object {}.{}", stream.0, object.location.group, object.location.object)
        }
        StreamStep::Finish { stream, .. } => format!("{} fin", stream.0),
        StreamStep::Reset { stream, code } => format!("{} reset {code:?}", stream.0),
    });
    text.collect()
}

fn queue() -> (Queue, SubscriptionKey, Instant) {
    let mut queue = Queue::new(QueueLimits::default());
    let key = queue.subscribe(Settings::default());
    (queue, key, Instant::now())
}

#[test]
fn a_subgroup_goes_out_as_it_came_in() {
    let (mut queue, key, now) = queue();
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    assert_eq!(steps(&mut queue, now), ["0 open 5.0 first", "0 object 5.0"]);
    upstream.push(&mut queue, key, now, 1);
    upstream.push(&mut queue, key, now, 4);
    upstream.end(&mut queue, key, now, None);
    assert_eq!(steps(&mut queue, now), ["0 object 5.1", "0 object 5.4", "0 fin"]);
    assert_eq!((queue.bytes(), queue.has_streams()), (0, false));
    assert_eq!((queue.counters().sent, queue.counters().dropped()), (3, 0));
}

#[test]
fn an_upstream_reset_comes_after_what_came_before_it() {
    let (mut queue, key, now) = queue();
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    upstream.end(&mut queue, key, now, Some(StreamResetCode::GoingAway));
    assert_eq!(steps(&mut queue, now), ["0 open 5.0 first", "0 object 5.0", "0 reset GoingAway"]);
}

#[test]
fn streams_go_by_priority_group_order_and_subgroup() {
    let (mut queue, key, now) = queue();
    let newest_first = Settings { group_order: GroupOrder::Descending, ..Settings::default() };
    let other = queue.subscribe(Settings { subscriber_priority: 1, ..newest_first });
    for (upstream, (group, id, priority)) in
        [(1, 1, 8), (1, 0, 8), (2, 0, 8), (3, 0, 7)].into_iter().enumerate()
    {
        for key in [key, other] {
            Upstream::new(upstream as u64, subgroup(group, id, priority)).push(&mut queue, key, now, 0);
        }
    }
    let opened: Vec<_> = steps(&mut queue, now).into_iter().filter(|step| step.contains("open")).collect();
    let of = |steps: &[String]| {
        steps.iter().map(|step| step.split(' ').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        of(&opened[..4]),
        ["3.0", "2.0", "1.0", "1.1"],
        "descending, and first by subscriber priority"
    );
    assert_eq!(of(&opened[4..]), ["3.0", "1.0", "1.1", "2.0"]);
}

#[test]
fn an_object_that_may_not_be_the_next_gets_a_stream_of_its_own() {
    let (mut queue, key, now) = queue();
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    upstream.skip();
    upstream.push(&mut queue, key, now, 2);
    upstream.push(&mut queue, key, now, 3);
    let expected = [
        "0 open 5.0 first",
        "0 object 5.0",
        "0 reset Cancelled",
        "1 open 5.0",
        "1 object 5.2",
        "1 object 5.3",
    ];
    assert_eq!(steps(&mut queue, now), expected);
}

#[test]
fn another_publisher_can_go_on_where_the_first_stopped() {
    let (mut queue, key, now) = queue();
    let mut first = Upstream::new(1, subgroup(5, 0, 8));
    let mut second = Upstream::new(2, subgroup(5, 0, 8));
    first.push(&mut queue, key, now, 0);
    second.skip();
    second.push(&mut queue, key, now, 1);
    first.end(&mut queue, key, now, Some(StreamResetCode::GoingAway));
    second.push(&mut queue, key, now, 2);
    second.end(&mut queue, key, now, None);
    let expected = ["0 open 5.0 first", "0 object 5.0", "0 object 5.1", "0 object 5.2", "0 fin"];
    assert_eq!(steps(&mut queue, now), expected);
}

#[test]
fn who_joins_in_the_middle_does_not_get_the_first_object_mark() {
    let (mut queue, key, now) = queue();
    let window = Window { start: Location::new(5, 1), ..Window::ALL };
    queue.update(key, Settings { window, ..Settings::default() });
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    upstream.push(&mut queue, key, now, 1);
    upstream.end(&mut queue, key, now, None);
    assert_eq!(steps(&mut queue, now), ["0 open 5.0", "0 object 5.1", "0 fin"]);
}

#[test]
fn an_object_that_is_late_resets_its_stream_and_nothing_of_the_subgroup_follows() {
    let (mut queue, key, now) = queue();
    queue.update(key, Settings { object_timeout: Some(50 * MS), ..Settings::default() });
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    steps(&mut queue, now);
    upstream.push(&mut queue, key, now, 1);
    upstream.push(&mut queue, key, now + 40 * MS, 2);
    assert_eq!(steps(&mut queue, now + 51 * MS), ["0 reset DeliveryTimeout"]);
    upstream.push(&mut queue, key, now + 51 * MS, 3);
    assert!(!queue.has_streams());
    assert_eq!(queue.counters().deadline, 3);
    upstream.end(&mut queue, key, now + 51 * MS, None);
    assert_eq!(steps(&mut queue, now + 51 * MS), [""; 0]);
}

#[test]
fn a_subgroup_that_is_not_sent_in_time_after_its_end_is_reset() {
    let (mut queue, key, now) = queue();
    queue.update(key, Settings { subgroup_timeout: Some(50 * MS), ..Settings::default() });
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    assert!(matches!(queue.pop_stream(now), Some(StreamStep::Open { .. })));
    assert_eq!(queue.poll_timeout(), None);
    upstream.end(&mut queue, key, now + 10 * MS, None);
    assert_eq!(queue.poll_timeout(), Some(now + 60 * MS));
    assert_eq!(steps(&mut queue, now + 60 * MS), ["0 reset DeliveryTimeout"]);
    assert_eq!((queue.poll_timeout(), queue.bytes()), (None, 0));

    let mut upstream = Upstream::new(2, subgroup(6, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    upstream.end(&mut queue, key, now, None);
    let last = std::iter::from_fn(|| queue.pop_stream(now)).last();
    let by = Some(now + 50 * MS);
    assert_eq!(last, Some(StreamStep::Finish { stream: OutgoingStream(1), by }), "the rest is QUIC's to do");
    assert_eq!(queue.poll_timeout(), None, "in time");
}

#[test]
fn a_stream_the_subscriber_stopped_stays_stopped() {
    let (mut queue, key, now) = queue();
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    steps(&mut queue, now);
    queue.stop_stream(OutgoingStream(0));
    upstream.push(&mut queue, key, now, 1);
    upstream.end(&mut queue, key, now, None);
    assert_eq!(steps(&mut queue, now), [""; 0]);
    assert_eq!(queue.counters().dropped(), 0);
}

#[test]
fn pausing_resets_what_is_open_and_going_on_opens_anew() {
    let (mut queue, key, now) = queue();
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    steps(&mut queue, now);
    queue.update(key, Settings { is_forwarding: false, ..Settings::default() });
    upstream.push(&mut queue, key, now, 1);
    queue.update(key, Settings::default());
    upstream.push(&mut queue, key, now, 2);
    upstream.end(&mut queue, key, now, None);
    assert_eq!(steps(&mut queue, now), ["0 reset Cancelled", "1 open 5.0", "1 object 5.2", "1 fin"]);
}

#[test]
fn a_subscriber_that_stops_reading_keeps_the_newest_snapshots() {
    let now = Instant::now();
    let limits = QueueLimits { stream_objects_max: 3, ..QueueLimits::default() };
    let mut queue = Queue::new(limits);
    let key = queue.subscribe(Settings::default());
    for group in 0..10 {
        let mut upstream = Upstream::new(group, subgroup(group, 0, 8));
        upstream.push(&mut queue, key, now, 0);
        upstream.end(&mut queue, key, now, None);
    }
    let objects: Vec<_> = steps(&mut queue, now).into_iter().filter(|step| step.contains("object")).collect();
    assert_eq!(objects, ["0 object 7.0", "1 object 8.0", "2 object 9.0"]);
    assert_eq!(queue.counters().full, 7);
}

#[test]
fn what_matters_less_makes_room_for_what_matters_more() {
    let now = Instant::now();
    let mut queue = Queue::new(QueueLimits { stream_objects_max: 2, ..QueueLimits::default() });
    let key = queue.subscribe(Settings::default());
    Upstream::new(1, subgroup(1, 0, 100)).push(&mut queue, key, now, 0);
    Upstream::new(2, subgroup(1, 1, 8)).push(&mut queue, key, now, 1);
    Upstream::new(3, subgroup(1, 2, 200)).push(&mut queue, key, now, 2);
    Upstream::new(4, subgroup(1, 3, 50)).push(&mut queue, key, now, 3);
    let objects: Vec<_> = steps(&mut queue, now).into_iter().filter(|step| step.contains("object")).collect();
    assert_eq!(objects, ["0 object 1.1", "1 object 1.3"]);
}

#[test]
fn a_subscription_holds_only_so_many_subgroups() {
    let now = Instant::now();
    let mut queue = Queue::new(QueueLimits { subgroups_max: 2, ..QueueLimits::default() });
    let key = queue.subscribe(Settings::default());
    for group in 0..5 {
        Upstream::new(group, subgroup(group, 0, 8)).push(&mut queue, key, now, 0);
    }
    assert_eq!(
        steps(&mut queue, now),
        ["0 open 3.0 first", "0 object 3.0", "1 open 4.0 first", "1 object 4.0"]
    );
    Upstream::new(9, subgroup(9, 0, 8)).push(&mut queue, key, now, 0);
    assert_eq!(steps(&mut queue, now), [""; 0], "both are open");
}

#[test]
fn resets_wait_for_no_room() {
    let (mut queue, key, now) = queue();
    queue.update(key, Settings { subgroup_timeout: Some(50 * MS), ..Settings::default() });
    let mut late = Upstream::new(1, subgroup(5, 0, 8));
    late.push(&mut queue, key, now, 0);
    let mut going_on = Upstream::new(2, subgroup(6, 0, 8));
    going_on.push(&mut queue, key, now, 0);
    let opened = std::iter::from_fn(|| queue.pop_stream(now)).count();
    assert_eq!(opened, 4, "both are open, and have sent an object");
    late.push(&mut queue, key, now, 1);
    going_on.push(&mut queue, key, now, 1);
    late.end(&mut queue, key, now, None);
    assert_eq!(queue.pop_reset(now), None);
    let reset = StreamStep::Reset { stream: OutgoingStream(0), code: StreamResetCode::DeliveryTimeout };
    assert_eq!(queue.pop_reset(now + 50 * MS), Some(reset));
    assert_eq!(queue.pop_reset(now + 50 * MS), None);
    queue.update(key, Settings { is_forwarding: false, ..Settings::default() });
    let reset = StreamStep::Reset { stream: OutgoingStream(1), code: StreamResetCode::Cancelled };
    assert_eq!(queue.pop_reset(now + 50 * MS), Some(reset));
    assert_eq!((queue.bytes(), steps(&mut queue, now + 50 * MS)), (0, vec![]));
}

#[test]
fn a_subgroup_that_another_publisher_goes_on_with_is_late_for_nobody() {
    let (mut queue, key, now) = queue();
    queue.update(key, Settings { subgroup_timeout: Some(50 * MS), ..Settings::default() });
    let mut first = Upstream::new(1, subgroup(5, 0, 8));
    first.push(&mut queue, key, now, 0);
    first.end(&mut queue, key, now, None);
    let mut second = Upstream::new(2, subgroup(5, 0, 8));
    second.push(&mut queue, key, now, 1);
    assert_eq!(queue.poll_timeout(), None, "its end has not come");
    assert!(!steps(&mut queue, now + 100 * MS).iter().any(|step| step.contains("reset")));
}

#[test]
fn a_subscription_that_is_over_takes_its_streams_along() {
    let (mut queue, key, now) = queue();
    queue.update(key, Settings { subgroup_timeout: Some(50 * MS), ..Settings::default() });
    let mut upstream = Upstream::new(1, subgroup(5, 0, 8));
    upstream.push(&mut queue, key, now, 0);
    upstream.end(&mut queue, key, now, None);
    queue.remove(key);
    assert_eq!((queue.bytes(), queue.has_streams(), queue.poll_timeout()), (0, false, None));
    queue.stop_stream(OutgoingStream(0));
    assert_eq!(steps(&mut queue, now + 100 * MS), [""; 0]);
}
