//! Bytes become operations on a track and a queue, and what must always hold is checked after each: the body of a
//! fuzz target, and of the ordinary test that replays what the fuzzer found.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{
    Forwarding, Location, Object, Status, StreamResetCode, fetch_stream::FetchItem, message::GroupOrder,
    properties::Writer,
};

use crate::{
    Budget, CacheLimits, Datagram, Marks, PublisherId, Queue, SubscriptionKey, Terms, Track, Window,
    marks::Fragment,
    queue::{OutgoingStream, Path, QueueLimits, Settings, StreamStep, Subgroup, UpstreamStream},
    track::{Gap, GapLimits, Repair, Step},
};

/// Plays `input`. Panics when something does not hold that must.
pub fn replay(input: &[u8]) {
    let mut world = World::new(Input(input));
    while !world.input.0.is_empty() {
        world.step();
        world.check();
    }
    world.settle();
}

/// Numbers out of the input; zeros when it has ended.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Mostly small and close together, sometimes at the end of the numbers.
    fn id(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..254 => u64::from(byte % 12),
            254 => 1 << (u32::from(self.byte() % 8) * 8),
            255 => u64::MAX - u64::from(self.byte() % 8),
        }
    }
}

struct World<'a> {
    input: Input<'a>,
    now: Instant,
    budget: Budget,
    limits: CacheLimits,
    track: Track,
    /// Groups count from here.
    base: u64,
    gaps: Vec<Gap>,
    queue_limits: QueueLimits,
    queue: Queue,
    subscriptions: Vec<SubscriptionKey>,
    upstreams: Vec<UpstreamStream>,
    next_upstream: u64,
    /// The largest object written to each open stream.
    open: BTreeMap<OutgoingStream, Option<u64>>,
    opened: BTreeSet<OutgoingStream>,
}

const GROUP_ORDERS: [GroupOrder; 2] = [GroupOrder::Ascending, GroupOrder::Descending];

impl<'a> World<'a> {
    fn new(mut input: Input<'a>) -> Self {
        let budget = Budget::new(40_000);
        let limits = CacheLimits {
            bytes_max: 10_000,
            newest_group_bytes_max: 8_000,
            entries_max: 64,
            age_max: Duration::from_secs(1),
            gaps: GapLimits { ranges_max: 8, ..GapLimits::default() },
        };
        let cache_duration_max = input.flag().then(|| Duration::from_millis(u64::from(input.byte()) * 4));
        let terms = Terms { cache_duration_max, ..Terms::default() };
        let track = Track::new(limits.clone(), &budget, terms);
        let queue_limits = QueueLimits {
            datagrams_max: 24,
            datagram_bytes_max: 4000,
            stream_objects_max: 16,
            stream_bytes_max: 4000,
            subgroups_max: 4,
            ..QueueLimits::default()
        };
        let queue = Queue::new(queue_limits.clone());
        World {
            input,
            now: Instant::now(),
            budget,
            limits,
            track,
            base: 0,
            gaps: Vec::new(),
            queue_limits,
            queue,
            subscriptions: Vec::new(),
            upstreams: Vec::new(),
            next_upstream: 0,
            open: BTreeMap::new(),
            opened: BTreeSet::new(),
        }
    }

    /// Around the group the input has come to; sometimes anywhere.
    fn location(&mut self) -> Location {
        let group = self.group();
        Location::new(group, self.input.id())
    }

    fn group(&mut self) -> u64 {
        self.input.id().saturating_add(self.base)
    }

    fn step(&mut self) {
        match self.input.below(21) {
            0..4 => {
                let (object, publisher) = (self.object(), self.publisher());
                self.track.insert(self.now, publisher, &object);
            }
            4 => {
                let (object, publisher) = (self.object(), self.publisher());
                self.track.insert_fetched(self.now, publisher, &object);
            }
            5 => {
                let (last, publisher) = (self.location(), self.publisher());
                // Malformed or not is for others to say.
                let _ = self.track.end_group(self.now, publisher, last);
            }
            6 => self.fetch(),
            7 => self.repair(),
            8 => {
                let publisher = self.publisher();
                match self.input.below(4) {
                    0 => self.track.remove_publisher(publisher),
                    1 => self.track.stop_repairs(publisher),
                    2 => self.track.note_largest(Location::new(u64::from(self.input.byte()), 0)),
                    _ => self.track.evict(self.now),
                }
            }
            9 | 10 => self.now += Duration::from_millis(u64::from(self.input.byte())),
            11 => self.subscribe(),
            12..15 => self.offer(),
            15 => {
                let path = self.path();
                self.queue.drain(self.now, path, |_| ());
                self.queue.new_groups_wanted(self.now);
            }
            16 | 17 => self.upstream(),
            18 => match self.input.byte() {
                0..8 => {
                    self.track = Track::new(self.limits.clone(), &self.budget, *self.track.terms());
                    self.gaps.clear();
                    self.base = 0;
                }
                more => self.base += u64::from(more % 3),
            },
            _ => {
                for _ in 0..self.input.below(8) {
                    self.pop_stream();
                }
                if self.input.flag()
                    && let Some(stream) = self.open.keys().next().copied()
                {
                    self.queue.stop_stream(stream);
                    self.open.remove(&stream);
                }
            }
        }
    }

    fn publisher(&mut self) -> PublisherId {
        PublisherId(u64::from(self.input.below(3)))
    }

    fn object(&mut self) -> Object {
        let location = self.location();
        let payload = vec![self.input.below(2); usize::from(self.input.byte()) * 4];
        let object = Object::datagram(location, payload);
        match self.input.below(16) {
            0 => Object { status: Status::EndOfGroup, payload: Bytes::new(), ..object },
            1 => Object { status: Status::EndOfTrack, payload: Bytes::new(), ..object },
            2 => Object { ends_group: true, ..object },
            3 | 4 => {
                let mut writer = Writer::new();
                writer.integer(0x3C, self.input.id()).integer(0x3E, self.input.id());
                Object { properties: writer.finish(), ..object }
            }
            5 | 6 => Object { forwarding: Forwarding::Subgroup(u64::from(self.input.below(3))), ..object },
            _ => object,
        }
    }

    /// Reads a whole answer, which must end, be in order, and tell no location twice.
    fn fetch(&mut self) {
        let (start, end) = (self.location(), self.location());
        let order = if self.input.flag() { GroupOrder::Descending } else { GroupOrder::Ascending };
        let patience = self.now + Duration::from_millis(u64::from(self.input.byte()));
        let Ok(mut fetch) = self.track.fetch(start, end, order, patience) else { return };
        assert!(fetch.end.object == 0 || fetch.end > start, "FETCH_OK ends before it starts");
        let key = |location: Location| match order {
            GroupOrder::Ascending => (location.group, location.object),
            GroupOrder::Descending => (u64::MAX - location.group, location.object),
        };
        let mut previous = None;
        for _ in 0..10_000 {
            let location = match self.track.next(&mut fetch.cursor, self.now) {
                Step::Done => return,
                Step::Wait(until) => {
                    assert!(until > self.now, "a wait for the past");
                    self.now = until;
                    continue;
                }
                Step::Item(FetchItem::Object(object)) => object.location,
                Step::Item(FetchItem::NonExistent(location) | FetchItem::Unknown(location)) => location,
            };
            assert!(location >= start || order == GroupOrder::Descending, "an item before the start");
            assert!(previous < Some(key(location)), "items out of order");
            previous = Some(key(location));
        }
        unreachable!("an answer without end");
    }

    fn repair(&mut self) {
        self.gaps.extend(self.track.gaps(self.now));
        let Some(gap) = self.gaps.pop() else { return };
        let mut repair = Repair::new(gap);
        for _ in 0..self.input.below(4) {
            let item = match self.input.below(4) {
                0 => FetchItem::NonExistent(self.location()),
                1 => FetchItem::Unknown(self.location()),
                _ => FetchItem::Object(self.object()),
            };
            repair.item(self.now, &mut self.track, &item);
        }
        match self.input.below(3) {
            0 => repair.failed(self.now, &mut self.track),
            1 => repair.finished(&mut self.track),
            _ => {
                repair.accepted(gap.end);
                repair.finished(&mut self.track);
            }
        }
    }

    fn settings(&mut self) -> Settings {
        let timeout = |byte: u8| (byte > 128).then(|| Duration::from_millis(u64::from(byte)));
        let start = self.location();
        let window = if self.input.flag() { Window { start, end_group: u64::MAX } } else { Window::ALL };
        Settings {
            subscriber_priority: self.input.below(3),
            group_order: if self.input.flag() { GROUP_ORDERS[0] } else { GROUP_ORDERS[1] },
            is_forwarding: self.input.below(8) != 0,
            window,
            object_timeout: timeout(self.input.byte()),
            subgroup_timeout: timeout(self.input.byte()),
        }
    }

    fn subscribe(&mut self) {
        let settings = self.settings();
        let chosen = self.chosen();
        match (self.input.below(3), chosen) {
            // All at once, since the session would reset the streams of each.
            (0, Some(_)) => {
                self.open.clear();
                for key in std::mem::take(&mut self.subscriptions) {
                    self.queue.remove(key);
                }
            }
            (1, Some(key)) => self.queue.update(key, settings),
            _ => self.subscriptions.push(self.queue.subscribe(settings)),
        }
    }

    fn chosen(&mut self) -> Option<SubscriptionKey> {
        let index = usize::from(self.input.byte());
        self.subscriptions.get(index % self.subscriptions.len().max(1)).copied()
    }

    fn path(&mut self) -> Path {
        Path { space: usize::from(self.input.byte()) * 8, datagram_bytes_max: 900 }
    }

    fn offer(&mut self) {
        let Some(key) = self.chosen() else { return };
        let batch: Vec<Datagram> = (0..self.input.below(8)).map(|_| self.datagram()).collect();
        let path = self.path();
        let mut sent = 0;
        let overhead = self.queue_limits.datagram_overhead_bytes;
        self.queue.offer(self.now, key, &batch, path, |bytes| sent += bytes.len() + overhead);
        assert!(sent <= path.space, "more was sent than the network takes");
    }

    fn datagram(&mut self) -> Datagram {
        let (data, parity) = (1 + self.input.below(4), self.input.below(3));
        let fragment = Fragment {
            frame: u32::from(self.input.below(6)),
            block: 0,
            index: u16::from(self.input.byte() % (data + parity)),
            data: u16::from(data),
            parity: u16::from(parity),
        };
        let marks = Marks {
            is_discardable: self.input.flag(),
            depends_on_base_only: self.input.flag(),
            temporal_layer: self.input.below(3),
            fragment: self.input.flag().then_some(fragment),
            ..Marks::default()
        };
        Datagram {
            location: self.location(),
            publisher_priority: self.input.byte(),
            received: self.now,
            marks: self.input.flag().then_some(marks),
            bytes: Bytes::from(vec![0; usize::from(self.input.byte()) * 4]),
        }
    }

    /// Objects and ends of upstream subgroup streams, handed to every subscription.
    fn upstream(&mut self) {
        if self.input.below(4) == 0 || self.upstreams.is_empty() {
            let (group, effective_priority) = (self.group(), self.input.byte());
            let subgroup = Subgroup {
                group,
                id: u64::from(self.input.below(2)),
                priority: Some(effective_priority),
                effective_priority,
                ends_group: self.input.flag(),
                first_object: self.input.flag(),
                has_properties: false,
            };
            let id = self.next_upstream;
            self.next_upstream += 1;
            self.upstreams.push(UpstreamStream { id, subgroup, objects_before: 0 });
        }
        let index = usize::from(self.input.byte()) % self.upstreams.len();
        let ends = self.input.below(4) == 0;
        let reset = self.input.flag().then_some(StreamResetCode::GoingAway);
        let (id, len) = (self.input.id(), usize::from(self.input.byte()) * 8);
        let Some(upstream) = self.upstreams.get_mut(index) else { return };
        let location = Location::new(upstream.subgroup.group, id);
        let forwarding = Forwarding::Subgroup(upstream.subgroup.id);
        let object = Object { forwarding, ..Object::stream(location, vec![0; len]) };
        for key in &self.subscriptions {
            if ends {
                self.queue.end_stream(self.now, *key, upstream, reset);
            } else {
                self.queue.push_object(*key, upstream, self.now, &object);
            }
        }
        upstream.objects_before += 1;
        if ends {
            self.upstreams.remove(index);
        }
    }

    /// A stream is opened once, carries ascending objects, and ends once.
    fn pop_stream(&mut self) -> bool {
        let step = if self.input.flag() { self.queue.pop_reset(self.now) } else { None };
        let Some(step) = step.or_else(|| self.queue.pop_stream(self.now)) else { return false };
        match step {
            StreamStep::Open { stream, .. } => {
                assert!(self.opened.insert(stream), "opened twice");
                self.open.insert(stream, None);
            }
            StreamStep::Object { stream, object } => {
                let previous = self.open.get_mut(&stream);
                let id = Some(object.location.object);
                assert!(previous.is_some_and(|previous| previous.replace(object.location.object) < id));
            }
            StreamStep::Finish { stream, .. } | StreamStep::Reset { stream, .. } => {
                assert!(self.open.remove(&stream).is_some(), "ended, but not open");
            }
        }
        true
    }

    fn check(&self) {
        self.track.audit();
        self.queue.audit();
        assert_eq!(self.budget.bytes(), self.track.bytes());
        let newest = self.limits.newest_group_bytes_max;
        // A group costs bookkeeping even when it has nothing left.
        assert!(self.track.bytes() <= self.limits.bytes_max + newest + 200);
        let limits = &self.queue_limits;
        assert!(self.queue.bytes() <= limits.datagram_bytes_max + limits.stream_bytes_max);
        assert!(self.queue.has_datagrams() || self.queue.bytes() <= limits.stream_bytes_max);
    }

    /// With room and time enough everything goes, and nothing is left.
    fn settle(mut self) {
        let path = Path { space: usize::MAX, datagram_bytes_max: usize::MAX };
        assert!(!self.queue.drain(self.now, path, |_| ()), "datagrams wait although there is room");
        for upstream in std::mem::take(&mut self.upstreams) {
            for key in &self.subscriptions {
                self.queue.end_stream(self.now, *key, &upstream, None);
            }
        }
        while self.pop_stream() {}
        self.now += Duration::from_secs(60);
        while self.pop_stream() {}
        assert_eq!(
            (self.queue.bytes(), self.queue.has_streams(), self.queue.poll_timeout()),
            (0, false, None)
        );
        drop(self.track);
        assert_eq!(self.budget.bytes(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that every run plays the same.
    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = std::iter::repeat_with(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        });
        next.take(len).collect()
    }

    #[test]
    fn noise_breaks_nothing() {
        for seed in 0..600 {
            replay(&noise(seed, 40 + (seed as usize % 10) * 300));
        }
    }

    #[test]
    fn noise_that_goes_on_breaks_nothing() {
        for seed in 1000..1030 {
            replay(&noise(seed, 30_000));
        }
    }
}
