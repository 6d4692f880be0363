//! What all sessions share of one track.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_forward::{
    Budget, CacheLimits, Insert, PublisherId, Terms, Track as Cache,
    filter::InvalidRange,
    queue::UpstreamStream,
    track::{Fetch, FetchCursor, Gap, Malformed, Repair, Step},
};
use roundtable_moqt::{
    Forwarding, FullTrackName, Location, Object, Status, StreamResetCode,
    fetch_stream::FetchItem,
    message::{GroupOrder, TrackAlias},
};

use super::{
    Batch, Subscriber,
    batch::{encode, rebuild},
};
use crate::counters::Counters;

/// A track of a scope, from its first publisher to its last and a little longer.
#[derive(Debug)]
pub struct Track {
    /// Its name in its scope.
    pub name: FullTrackName,
    /// Its name toward all subscribers.
    pub alias: TrackAlias,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    properties: Bytes,
    /// Replaced as a whole, so that a delivery holds no lock.
    subscribers: Arc<[Arc<Subscriber>]>,
    /// Sessions that answer a FETCH and wait for something to come.
    fetchers: Vec<Waker>,
    is_malformed: bool,
}

/// What a publisher's task has to do after it handed objects over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// When [`Track::gaps`] is to be asked.
    pub gaps_at: Option<Instant>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The track's largest location then.
    pub largest: Option<Location>,
}

impl Track {
    /// A track that nobody has published to yet.
    pub fn new(
        name: FullTrackName,
        alias: TrackAlias,
        limits: CacheLimits,
        budget: &Budget,
        counters: Arc<Counters>,
    ) -> Self {
        let state = State {
            cache: Cache::new(limits, budget, Terms::default()),
            properties: Bytes::new(),
            subscribers: Arc::new([]),
            fetchers: Vec::new(),
            is_malformed: false,
        };
        Track { name, alias, counters, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- what it is

    /// What a publisher says about it. Later publishers of the same track say the same; the newest counts.
    pub fn describe(&self, terms: Terms, properties: Bytes, largest: Option<Location>) {
        let mut state = self.state();
        state.cache.set_terms(terms);
        state.properties = properties;
        if let Some(largest) = largest {
            state.cache.note_largest(largest);
        }
    }

    /// LARGEST_OBJECT of a publisher's message.
    pub fn note_largest(&self, largest: Location) {
        self.state().cache.note_largest(largest);
    }

    /// The largest location seen or heard of.
    pub fn largest(&self) -> Option<Location> {
        self.state().cache.largest()
    }

    /// Its properties as the publisher gave them.
    pub fn properties(&self) -> Bytes {
        self.state().properties.clone()
    }

    /// Bytes its cache holds.
    pub fn bytes(&self) -> usize {
        self.state().cache.bytes()
    }

    /// Past groups are kept this long from now on.
    pub fn keep_for(&self, age_max: Duration) {
        self.state().cache.set_age_max(age_max);
    }

    // ---- subscribers

    /// Objects go to this subscription from now on, as its filter says.
    pub fn attach(&self, subscriber: &Arc<Subscriber>) -> Result<Joined, InvalidRange> {
        let mut state = self.state();
        let joined = state.apply(subscriber)?;
        let others = state.subscribers.iter().filter(|other| other.link != subscriber.link).cloned();
        state.subscribers = others.chain([Arc::clone(subscriber)]).collect();
        Ok(joined)
    }

    /// An update of a subscription takes effect.
    pub fn update(&self, subscriber: &Subscriber) -> Result<Joined, InvalidRange> {
        self.state().apply(subscriber)
    }

    /// No more objects for it.
    pub fn detach(&self, subscriber: &Subscriber) {
        let mut state = self.state();
        state.subscribers =
            state.subscribers.iter().filter(|other| other.link != subscriber.link).cloned().collect();
    }

    // ---- publishers

    /// Datagrams of a publisher: into the cache, and to everybody.
    pub fn publish_datagrams(
        &self,
        now: Instant,
        publisher: PublisherId,
        batch: &mut Batch,
    ) -> Result<Published, Malformed> {
        let received = batch.take_received();
        self.counters.objects_received.add(received.len() as u64);
        let mut malformed = None;
        let (subscribers, gaps_at) = {
            let mut state = self.state();
            let default_priority = state.cache.terms().default_priority;
            for datagram in &received {
                let (bytes, object) = rebuild(datagram, self.alias);
                match state.cache.insert(now, publisher, &object) {
                    Insert::Malformed(reason) => {
                        malformed = Some(reason);
                        break;
                    }
                    insert if insert.is_forwarded() => batch.ready(now, &object, default_priority, bytes),
                    insert => self.count(insert),
                }
            }
            state.wake_fetchers();
            (Arc::clone(&state.subscribers), state.cache.poll_timeout())
        };
        if !batch.is_ready_empty() {
            for subscriber in &*subscribers {
                subscriber.offer(now, batch.of(subscriber.prefix()));
            }
        }
        batch.give_back(received);
        malformed.map_or(Ok(Published { gaps_at }), Err)
    }

    /// An object of a subgroup stream of a publisher.
    pub fn publish_object(
        &self,
        now: Instant,
        publisher: PublisherId,
        upstream: &UpstreamStream,
        object: Object,
    ) -> Result<(), Malformed> {
        self.counters.objects_received.increment();
        let object = compact(object);
        let subscribers = {
            let mut state = self.state();
            match state.cache.insert(now, publisher, &object) {
                Insert::Malformed(reason) => return Err(reason),
                insert if insert.is_forwarded() => {}
                insert => {
                    self.count(insert);
                    return Ok(());
                }
            }
            state.wake_fetchers();
            Arc::clone(&state.subscribers)
        };
        for subscriber in &*subscribers {
            subscriber.push_object(upstream, now, &object);
        }
        Ok(())
    }

    /// Such a stream ended: `None` by FIN, after its last object.
    pub fn end_stream(
        &self,
        now: Instant,
        publisher: PublisherId,
        upstream: &UpstreamStream,
        last: Option<Location>,
        reset: Option<StreamResetCode>,
    ) -> Result<(), Malformed> {
        let subscribers = {
            let mut state = self.state();
            if let (Some(last), None, true) = (last, reset, upstream.subgroup.ends_group) {
                state.cache.end_group(now, publisher, last)?;
            }
            state.wake_fetchers();
            Arc::clone(&state.subscribers)
        };
        for subscriber in &*subscribers {
            subscriber.end_stream(now, upstream, reset);
        }
        Ok(())
    }

    /// The default priority of its objects.
    pub fn default_priority(&self) -> u8 {
        self.state().cache.terms().default_priority
    }

    /// A publisher is gone: its gaps are nobody's to fill, and what it said about ends no longer counts.
    pub fn remove_publisher(&self, publisher: PublisherId) {
        let mut state = self.state();
        state.cache.remove_publisher(publisher);
        state.wake_fetchers();
    }

    /// It broke the draft's rules: whoever reads it is told.
    pub fn set_malformed(&self) {
        let mut state = self.state();
        state.is_malformed = true;
        state.wake_fetchers();
    }

    // ---- repair

    /// Ranges to FETCH from their publishers now, each once, and when to ask again.
    pub fn gaps(&self, now: Instant) -> (Vec<Gap>, Option<Instant>) {
        let mut state = self.state();
        let gaps = state.cache.gaps(now);
        (gaps, state.cache.poll_timeout())
    }

    /// An item of the answer to a FETCH of ours. What was missing goes to the subscribers as well.
    pub fn repair_item(&self, now: Instant, repair: &mut Repair, item: FetchItem) -> Result<(), Malformed> {
        let item = match item {
            FetchItem::Object(object) => FetchItem::Object(compact(object)),
            other => other,
        };
        let (subscribers, default_priority) = {
            let mut state = self.state();
            let insert = repair.item(now, &mut state.cache, &item);
            state.wake_fetchers();
            match insert {
                Some(Insert::Malformed(reason)) => return Err(reason),
                Some(Insert::New) => self.counters.objects_repaired.increment(),
                _ => return Ok(()),
            }
            if let FetchItem::Object(object) = &item {
                state.cache.note_largest(object.location);
            }
            (Arc::clone(&state.subscribers), state.cache.terms().default_priority)
        };
        if let FetchItem::Object(object) = &item
            && object.forwarding == Forwarding::Datagram
        {
            let mut batch = Batch::default();
            batch.ready(now, object, default_priority, encode(object, self.alias));
            for subscriber in &*subscribers {
                subscriber.offer(now, batch.of(subscriber.prefix()));
            }
        }
        Ok(())
    }

    /// The answer is complete, or not (`is_complete`).
    pub fn end_repair(&self, now: Instant, repair: Repair, is_complete: bool) {
        let mut state = self.state();
        if is_complete {
            repair.finished(&mut state.cache);
        } else {
            repair.failed(now, &mut state.cache);
        }
        state.wake_fetchers();
    }

    /// The publisher does not answer FETCH at all.
    pub fn stop_repairs(&self, publisher: PublisherId) {
        self.state().cache.stop_repairs(publisher);
    }

    // ---- FETCH of subscribers

    /// Begins to answer a FETCH from the cache.
    pub fn fetch(
        &self,
        start: Location,
        end: Location,
        order: GroupOrder,
        patience: Instant,
    ) -> Result<Fetch, InvalidRange> {
        self.state().cache.fetch(start, end, order, patience)
    }

    /// The next piece of the answer. When it has to be waited for, `waker` is called as soon as something changes.
    /// `None` when the track is malformed.
    pub fn next(&self, cursor: &mut FetchCursor, now: Instant, waker: &Waker) -> Option<Step> {
        let mut state = self.state();
        if state.is_malformed {
            return None;
        }
        let step = state.cache.next(cursor, now);
        if matches!(step, Step::Wait(_)) {
            state.wait(waker);
        }
        Some(step)
    }

    /// `waker` is called when something comes.
    pub fn wait(&self, waker: &Waker) {
        self.state().wait(waker);
    }

    /// Whoever waits looks again.
    pub fn wake_fetchers(&self) {
        self.state().wake_fetchers();
    }

    /// Gives up what is too old. About once a second.
    pub fn evict(&self, now: Instant) {
        self.state().cache.evict(now);
    }

    fn count(&self, insert: Insert) {
        match insert {
            Insert::Duplicate => self.counters.objects_duplicate.increment(),
            Insert::Absent => self.counters.objects_refused.increment(),
            Insert::New | Insert::TooOld | Insert::Malformed(_) => {}
        }
    }
}

impl State {
    fn apply(&self, subscriber: &Subscriber) -> Result<Joined, InvalidRange> {
        subscriber.apply(self.cache.terms(), |filter| self.cache.window(filter))?;
        Ok(Joined { largest: self.cache.largest() })
    }

    fn wait(&mut self, waker: &Waker) {
        if !self.fetchers.iter().any(|known| known.will_wake(waker)) {
            self.fetchers.push(waker.clone());
        }
    }

    fn wake_fetchers(&mut self) {
        for waker in self.fetchers.drain(..) {
            waker.wake();
        }
    }
}

/// An object that holds on to no more memory than its own: what came from the network is a slice of something larger.
fn compact(object: Object) -> Object {
    /// Beyond, what it holds on to is hardly more than itself.
    const COPIED_MAX: usize = 64 << 10;
    if object.status != Status::Normal || object.payload.len() > COPIED_MAX {
        return object;
    }
    Object {
        payload: Bytes::copy_from_slice(&object.payload),
        properties: Bytes::copy_from_slice(&object.properties),
        ..object
    }
}
