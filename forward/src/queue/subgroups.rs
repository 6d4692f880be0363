//! Objects of subgroup streams on their way to one connection (draft 11.4.3).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use roundtable_moqt::{Object, StreamResetCode};

use crate::queue::{DropReason, Queue, SubscriptionKey, datagrams::turned, subscriptions::Turn};

/// The upstream stream an object came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamStream {
    /// Names the stream, whoever sent it; never used again.
    pub id: u64,
    /// The subgroup it carries, as its header says.
    pub subgroup: Subgroup,
    /// Objects that came on it before this one, duplicates and filtered ones included; at its end, all of them.
    pub objects_before: u64,
}

/// Header of a subgroup as the original publisher gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subgroup {
    /// Group of every object.
    pub group: u64,
    /// Id within the group.
    pub id: u64,
    /// Publisher priority as it stood in the header; `None` is the track's default.
    pub priority: Option<u8>,
    /// `priority`, or the track's default.
    pub effective_priority: u8,
    /// END_OF_GROUP bit.
    pub ends_group: bool,
    /// FIRST_OBJECT bit.
    pub first_object: bool,
    /// PROPERTIES bit.
    pub has_properties: bool,
}

/// Names a subgroup stream toward the subscriber; never used again in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutgoingStream(pub u64);

/// What to do on the connection's subgroup streams, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStep {
    /// Open a stream.
    Open {
        /// Its name from now on.
        stream: OutgoingStream,
        /// Whose it is.
        subscription: SubscriptionKey,
        /// Its header; `first_object` is true only if the subgroup's first object follows.
        subgroup: Subgroup,
    },
    /// Write an object.
    Object {
        /// Where.
        stream: OutgoingStream,
        /// What.
        object: Object,
    },
    /// FIN.
    Finish {
        /// Where.
        stream: OutgoingStream,
        /// SUBGROUP_DELIVERY_TIMEOUT: unless the subscriber has all of it by then, the stream is to be reset with
        /// DELIVERY_TIMEOUT (draft 8).
        by: Option<Instant>,
    },
    /// RESET_STREAM; unsent objects are dropped.
    Reset {
        /// Where.
        stream: OutgoingStream,
        /// Why.
        code: StreamResetCode,
    },
}

/// One subscription's subgroups.
#[derive(Debug, Default)]
pub(super) struct Streams {
    outgoing: BTreeMap<SubgroupId, Outgoing>,
    /// Subgroups with something to do, in the order of draft 7.2.
    ready: BTreeSet<Rank>,
    served: u64,
    turn: Option<Turn>,
}

impl Streams {
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }
}

/// Group, then subgroup.
type SubgroupId = (u64, u64);

/// Publisher priority, group turned by the group order, subgroup.
type Rank = (u8, u64, u64);

/// A subgroup on its way to the subscriber.
#[derive(Debug)]
struct Outgoing {
    subgroup: Subgroup,
    rank: Rank,
    /// `None` until the first object goes out, and between two streams.
    stream: Option<OutgoingStream>,
    pending: VecDeque<Pending>,
    /// The last object that came, and where.
    last: Option<Previous>,
    /// Nothing more of it is sent: whatever comes until the upstream stream ends is dropped.
    dead: Option<Cause>,
    /// The upstream stream is over.
    has_ended: bool,
    /// SUBGROUP_DELIVERY_TIMEOUT after the end came.
    finish_by: Option<Instant>,
}

/// Why a subgroup is no longer sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Dropped(DropReason),
    /// The subscriber does not want it.
    Unwanted,
}

#[derive(Debug, Clone, Copy)]
struct Previous {
    object: u64,
    upstream: u64,
    objects_before: u64,
}

impl Previous {
    /// The rule of draft 11.4.3. That all objects between are absent or of other subgroups is not looked at: a stream
    /// more costs less than asking the cache.
    fn is_followed_by(&self, upstream: &UpstreamStream, object: &Object) -> bool {
        let id = object.location.object;
        let is_next_on_its_stream =
            self.upstream == upstream.id && upstream.objects_before == self.objects_before + 1;
        id > self.object && (id - self.object == 1 || is_next_on_its_stream)
    }
}

#[derive(Debug)]
enum Pending {
    Object {
        object: Object,
        received: Instant,
        is_first: bool,
    },
    /// The next object may not be the next of the subgroup: it needs a stream of its own.
    Restart,
    Finish,
    Reset(StreamResetCode),
}

/// The connection's part: whose turn it is, which streams there are, and what they hold.
#[derive(Debug, Default)]
pub(super) struct StreamTurns {
    turns: BTreeSet<Turn>,
    subgroup_by_stream: BTreeMap<OutgoingStream, (SubscriptionKey, SubgroupId)>,
    timers: BTreeSet<(Instant, SubscriptionKey, SubgroupId)>,
    /// Subgroups whose streams are to be reset, which needs no room.
    doomed: BTreeSet<(SubscriptionKey, SubgroupId)>,
    next_stream: u64,
    served: u64,
    objects: usize,
    bytes: usize,
}

impl Streams {
    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }
}

fn bytes_of(object: &Object) -> usize {
    object.payload.len() + object.properties.len()
}

impl StreamTurns {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, object: &Object) {
        self.objects += 1;
        self.bytes += bytes_of(object);
    }

    fn subtract(&mut self, pending: &Pending) {
        if let Pending::Object { object, .. } = pending {
            self.objects -= 1;
            self.bytes -= bytes_of(object);
        }
    }

    pub(super) fn forget(&mut self, key: SubscriptionKey, streams: &mut Streams) {
        if let Some(turn) = streams.turn.take() {
            self.turns.remove(&turn);
        }
        for (id, outgoing) in std::mem::take(&mut streams.outgoing) {
            self.drop_pending(&outgoing.pending);
            if let Some(stream) = outgoing.stream {
                self.subgroup_by_stream.remove(&stream);
            }
            if let Some(at) = outgoing.finish_by {
                self.timers.remove(&(at, key, id));
            }
            self.doomed.remove(&(key, id));
        }
    }

    /// Objects among them.
    fn drop_pending(&mut self, pending: &VecDeque<Pending>) -> usize {
        pending.iter().for_each(|pending| self.subtract(pending));
        pending.iter().filter(|pending| matches!(pending, Pending::Object { .. })).count()
    }
}

impl Queue {
    /// An object that came on a subgroup stream.
    pub fn push_object(
        &mut self,
        key: SubscriptionKey,
        upstream: &UpstreamStream,
        received: Instant,
        object: &Object,
    ) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let settings = subscription.settings;
        if !settings.is_forwarding || !settings.window.contains(object.location) {
            return;
        }
        let id = (upstream.subgroup.group, upstream.subgroup.id);
        let is_known = subscription.streams.outgoing.contains_key(&id);
        let priority = upstream.subgroup.effective_priority;
        if !is_known && !self.make_subgroup_room(key)
            || !self.make_stream_room(key, priority, bytes_of(object))
        {
            self.kill(key, id, StreamResetCode::TooFarBehind, Cause::Dropped(DropReason::Full));
            self.count_objects(key, Cause::Dropped(DropReason::Full), 1);
            return;
        }
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let subgroup = upstream.subgroup;
        let outgoing = subscription.streams.outgoing.entry(id).or_insert_with(|| Outgoing {
            subgroup,
            rank: (priority, turned(settings.group_order, subgroup.group), subgroup.id),
            stream: None,
            pending: VecDeque::new(),
            last: None,
            dead: None,
            has_ended: false,
            finish_by: None,
        });
        outgoing.has_ended = false;
        // It goes on, by another publisher.
        if let Some(at) = outgoing.finish_by.take() {
            self.streams.timers.remove(&(at, key, id));
        }
        let previous = outgoing.last.replace(Previous {
            object: object.location.object,
            upstream: upstream.id,
            objects_before: upstream.objects_before,
        });
        if let Some(cause) = outgoing.dead {
            self.count_objects(key, cause, 1);
            return;
        }
        if previous.is_some_and(|previous| !previous.is_followed_by(upstream, object)) {
            outgoing.pending.push_back(Pending::Restart);
        }
        let is_first = subgroup.first_object && upstream.objects_before == 0;
        outgoing.pending.push_back(Pending::Object { object: object.clone(), received, is_first });
        self.streams.add(object);
        self.update_stream(key, id);
    }

    /// The upstream stream ended: `None` by FIN, else by reset.
    pub fn end_stream(
        &mut self,
        now: Instant,
        key: SubscriptionKey,
        upstream: &UpstreamStream,
        reset: Option<StreamResetCode>,
    ) {
        let id = (upstream.subgroup.group, upstream.subgroup.id);
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let subgroup_timeout = subscription.settings.subgroup_timeout;
        let Some(outgoing) = subscription.streams.outgoing.get_mut(&id) else { return };
        // Another publisher's stream of the same subgroup has taken over, and will end it.
        if outgoing.last.is_some_and(|last| last.upstream != upstream.id) {
            return;
        }
        outgoing.has_ended = true;
        if outgoing.dead.is_some() {
            self.update_stream(key, id);
            return;
        }
        outgoing.pending.push_back(reset.map_or(Pending::Finish, Pending::Reset));
        if reset.is_none()
            && let Some(timeout) = subgroup_timeout
        {
            let at = now + timeout;
            if let Some(previous) = outgoing.finish_by.replace(at) {
                self.streams.timers.remove(&(previous, key, id));
            }
            self.streams.timers.insert((at, key, id));
        }
        self.update_stream(key, id);
    }

    /// The next stream to be reset, because of a time-out or because nobody wants it any more. It needs no room, so
    /// it does not wait for [`Self::pop_stream`].
    pub fn pop_reset(&mut self, now: Instant) -> Option<StreamStep> {
        self.expire_streams(now);
        while let Some((key, id)) = self.streams.doomed.pop_first() {
            let Some(subscription) = self.subscriptions.get_mut(key) else { continue };
            let Some(outgoing) = subscription.streams.outgoing.get_mut(&id) else { continue };
            let Some(Pending::Reset(code)) = outgoing.pending.front() else { continue };
            let code = *code;
            outgoing.pending.pop_front();
            let stream = self.close(key, id);
            self.update_stream(key, id);
            if let Some(stream) = stream {
                return Some(StreamStep::Reset { stream, code });
            }
        }
        None
    }

    fn expire_streams(&mut self, now: Instant) {
        while let Some((at, key, id)) = self.streams.timers.first().copied().filter(|(at, ..)| *at <= now) {
            self.streams.timers.remove(&(at, key, id));
            self.kill(key, id, StreamResetCode::DeliveryTimeout, Cause::Dropped(DropReason::Deadline));
        }
    }

    /// What to do next on the connection's subgroup streams.
    pub fn pop_stream(&mut self, now: Instant) -> Option<StreamStep> {
        self.expire_streams(now);
        loop {
            let turn = *self.streams.turns.first()?;
            let key = turn.key;
            let subscription = self.subscriptions.get_mut(key)?;
            let timeout = subscription.settings.object_timeout;
            let streams = &mut subscription.streams;
            let rank = *streams.ready.first()?;
            let id = (turned(subscription.settings.group_order, rank.1), rank.2);
            let outgoing = streams.outgoing.get_mut(&id)?;
            let next = outgoing.pending.front()?;
            if let (Pending::Object { received, .. }, Some(timeout)) = (next, timeout)
                && now.saturating_duration_since(*received) > timeout
            {
                self.kill(key, id, StreamResetCode::DeliveryTimeout, Cause::Dropped(DropReason::Deadline));
                continue;
            }
            if let Pending::Object { is_first, .. } = next
                && outgoing.stream.is_none()
            {
                let stream = OutgoingStream(self.streams.next_stream);
                self.streams.next_stream += 1;
                self.streams.subgroup_by_stream.insert(stream, (key, id));
                outgoing.stream = Some(stream);
                let subgroup = Subgroup { first_object: *is_first, ..outgoing.subgroup };
                return Some(StreamStep::Open { stream, subscription: key, subgroup });
            }
            let next = outgoing.pending.pop_front()?;
            self.streams.subtract(&next);
            let step = match next {
                Pending::Object { object, .. } => {
                    let len = bytes_of(&object) as u64;
                    self.streams.served = turn.served;
                    streams.served += len;
                    for counters in [&mut subscription.counters, &mut self.counters] {
                        counters.sent += 1;
                        counters.sent_bytes += len;
                    }
                    outgoing.stream.map(|stream| StreamStep::Object { stream, object })
                }
                Pending::Restart => self
                    .close(key, id)
                    .map(|stream| StreamStep::Reset { stream, code: StreamResetCode::Cancelled }),
                Pending::Finish => {
                    let by = outgoing.finish_by.take();
                    if let Some(at) = by {
                        self.streams.timers.remove(&(at, key, id));
                    }
                    self.close(key, id).map(|stream| StreamStep::Finish { stream, by })
                }
                Pending::Reset(code) => self.close(key, id).map(|stream| StreamStep::Reset { stream, code }),
            };
            self.update_stream(key, id);
            if step.is_some() {
                return step;
            }
        }
    }

    /// The subscriber stopped a stream, or the session could not open it: nothing more of that subgroup is sent.
    pub fn stop_stream(&mut self, stream: OutgoingStream) {
        let Some((key, id)) = self.streams.subgroup_by_stream.get(&stream).copied() else { return };
        self.close(key, id);
        self.kill(key, id, StreamResetCode::Cancelled, Cause::Unwanted);
    }

    /// True while [`Self::pop_stream`] has something.
    pub fn has_streams(&self) -> bool {
        !self.streams.turns.is_empty()
    }

    /// When [`Self::pop_stream`] may have something new although nothing was pushed (delivery timeouts).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.streams.timers.first().map(|(at, ..)| *at)
    }

    /// Subgroups that no longer pass the settings are reset (draft 11.4.3).
    pub(super) fn reset_unwanted(&mut self, key: SubscriptionKey) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let settings = subscription.settings;
        let unwanted = subscription.streams.outgoing.keys().filter(|(group, _)| {
            let is_inside = (settings.window.start.group..=settings.window.end_group).contains(group);
            !settings.is_forwarding || !is_inside
        });
        let unwanted: Vec<SubgroupId> = unwanted.copied().collect();
        for id in unwanted {
            self.kill(key, id, StreamResetCode::Cancelled, Cause::Unwanted);
            // It may be wanted again before it ends, on a new stream.
            if let Some(subscription) = self.subscriptions.get_mut(key)
                && let Some(outgoing) = subscription.streams.outgoing.get_mut(&id)
            {
                outgoing.dead = None;
                outgoing.last = None;
            }
            self.update_stream(key, id);
        }
        self.update_stream_turn(key);
    }

    /// Drops what waits of a subgroup and resets its stream. Nothing more of it is sent.
    fn kill(&mut self, key: SubscriptionKey, id: SubgroupId, code: StreamResetCode, cause: Cause) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let Some(outgoing) = subscription.streams.outgoing.get_mut(&id) else { return };
        outgoing.dead = Some(cause);
        let pending = std::mem::take(&mut outgoing.pending);
        if outgoing.stream.is_some() {
            outgoing.pending.push_back(Pending::Reset(code));
            self.streams.doomed.insert((key, id));
        }
        if let Some(at) = outgoing.finish_by.take() {
            self.streams.timers.remove(&(at, key, id));
        }
        let objects = self.streams.drop_pending(&pending);
        self.count_objects(key, cause, objects);
        self.update_stream(key, id);
    }

    /// One more subgroup of a subscription. When there are too many, one that has not been opened goes, the oldest
    /// first: a snapshot is worth less than the next. False when all of them are open.
    fn make_subgroup_room(&mut self, key: SubscriptionKey) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return false };
        let outgoing = &mut subscription.streams.outgoing;
        if outgoing.len() < self.limits.subgroups_max {
            return true;
        }
        let closed = outgoing.iter().find(|(_, outgoing)| outgoing.stream.is_none());
        let Some(id) = closed.map(|(id, _)| *id) else { return false };
        self.kill(key, id, StreamResetCode::TooFarBehind, Cause::Dropped(DropReason::Full));
        if let Some(subscription) = self.subscriptions.get_mut(key) {
            subscription.streams.outgoing.remove(&id);
        }
        true
    }

    /// Bytes for one more object. When there are too many, the oldest subgroup of the least important ones goes. False
    /// when that would be the object's own or a more important one.
    fn make_stream_room(&mut self, key: SubscriptionKey, publisher_priority: u8, len: usize) -> bool {
        let Some(subscription) = self.subscriptions.get(key) else { return false };
        let own = (subscription.settings.subscriber_priority, publisher_priority);
        if len > self.limits.stream_bytes_max {
            return false;
        }
        while self.streams.objects >= self.limits.stream_objects_max
            || self.streams.bytes + len > self.limits.stream_bytes_max
        {
            let Some((victim, priorities, id)) = self.least_important_subgroup() else { return false };
            if own > priorities {
                return false;
            }
            self.kill(victim, id, StreamResetCode::TooFarBehind, Cause::Dropped(DropReason::Full));
        }
        true
    }

    /// The oldest of the least important subgroups that hold objects, and its subscriber and publisher priority.
    fn least_important_subgroup(&self) -> Option<(SubscriptionKey, (u8, u8), SubgroupId)> {
        let candidates = self.streams.turns.iter().filter_map(|turn| {
            let subscription = self.subscriptions.get(turn.key)?;
            let streams = &subscription.streams;
            let id = |rank: &Rank| (turned(subscription.settings.group_order, rank.1), rank.2);
            let holds_objects = |rank: &&Rank| {
                let outgoing = streams.outgoing.get(&id(rank));
                outgoing.is_some_and(|outgoing| {
                    outgoing.pending.iter().any(|pending| matches!(pending, Pending::Object { .. }))
                })
            };
            let worst = streams.ready.iter().rev().find(holds_objects)?;
            let alike = streams.ready.range((worst.0, 0, 0)..=*worst).filter(holds_objects);
            let oldest = alike.min_by_key(|rank| id(rank))?;
            Some((turn.key, (turn.subscriber_priority, worst.0), id(oldest)))
        });
        candidates.max_by_key(|(_, priorities, _)| *priorities)
    }

    /// The subgroup's stream is over; its name goes to the caller.
    fn close(&mut self, key: SubscriptionKey, id: SubgroupId) -> Option<OutgoingStream> {
        let outgoing = self.subscriptions.get_mut(key)?.streams.outgoing.get_mut(&id)?;
        let stream = outgoing.stream.take()?;
        self.streams.subgroup_by_stream.remove(&stream);
        self.streams.doomed.remove(&(key, id));
        Some(stream)
    }

    /// What a subgroup has to do has changed.
    fn update_stream(&mut self, key: SubscriptionKey, id: SubgroupId) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let streams = &mut subscription.streams;
        let Some(outgoing) = streams.outgoing.get(&id) else { return };
        let rank = outgoing.rank;
        if outgoing.pending.is_empty() {
            streams.ready.remove(&rank);
            let is_over = outgoing.stream.is_none() && (outgoing.dead.is_none() || outgoing.has_ended);
            if let Some(outgoing) = is_over.then(|| streams.outgoing.remove(&id)).flatten()
                && let Some(at) = outgoing.finish_by
            {
                self.streams.timers.remove(&(at, key, id));
            }
        } else {
            streams.ready.insert(rank);
        }
        self.update_stream_turn(key);
    }

    /// A subscription's first subgroup, priority or share has changed.
    fn update_stream_turn(&mut self, key: SubscriptionKey) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let streams = &mut subscription.streams;
        let first = streams.ready.first().map(|(publisher_priority, ..)| *publisher_priority);
        if streams.turn.is_none() && first.is_some() {
            streams.served = streams.served.max(self.streams.served);
        }
        let turn = first.map(|publisher_priority| Turn {
            subscriber_priority: subscription.settings.subscriber_priority,
            publisher_priority,
            served: streams.served,
            key,
        });
        if turn == streams.turn {
            return;
        }
        if let Some(previous) = std::mem::replace(&mut streams.turn, turn) {
            self.streams.turns.remove(&previous);
        }
        self.streams.turns.extend(turn);
    }

    fn count_objects(&mut self, key: SubscriptionKey, cause: Cause, objects: usize) {
        if let Cause::Dropped(reason) = cause {
            (0..objects).for_each(|_| self.count(key, reason));
        }
    }
}

impl Queue {
    /// The streams' part of [`Self::audit`].
    pub(super) fn audit_streams(&self) {
        let all = &self.streams;
        let (mut objects, mut bytes, mut turns) = (0, 0, 0);
        let (mut open, mut timers, mut doomed) = (0, 0, 0);
        for (key, subscription) in self.subscriptions.iter() {
            let streams = &subscription.streams;
            assert!(streams.outgoing.len() <= self.limits.subgroups_max);
            for (id, outgoing) in &streams.outgoing {
                let pending = outgoing.pending.iter().filter_map(|pending| match pending {
                    Pending::Object { object, .. } => Some(bytes_of(object)),
                    _ => None,
                });
                objects += pending.clone().count();
                bytes += pending.sum::<usize>();
                assert_eq!(streams.ready.contains(&outgoing.rank), !outgoing.pending.is_empty(), "{id:?}");
                if let Some(stream) = outgoing.stream {
                    assert_eq!(all.subgroup_by_stream.get(&stream), Some(&(key, *id)));
                    open += 1;
                }
                let is_doomed = outgoing.stream.is_some()
                    && matches!(outgoing.pending.front(), Some(Pending::Reset(_)))
                    && all.doomed.contains(&(key, *id));
                doomed += usize::from(is_doomed);
                if let Some(at) = outgoing.finish_by {
                    assert!(all.timers.contains(&(at, key, *id)), "{id:?} would wait for ever");
                    timers += 1;
                }
            }
            let ready = streams.outgoing.values().filter(|outgoing| !outgoing.pending.is_empty()).count();
            assert_eq!(ready, streams.ready.len());
            let first = streams.ready.first().map(|(publisher_priority, ..)| *publisher_priority);
            assert_eq!(streams.turn.map(|turn| turn.publisher_priority), first);
            if let Some(turn) = streams.turn {
                assert!(all.turns.contains(&turn), "{key:?} waits in vain");
                assert_eq!(
                    (turn.subscriber_priority, turn.key),
                    (subscription.settings.subscriber_priority, key)
                );
                turns += 1;
            }
        }
        assert_eq!((objects, bytes, turns), (all.objects, all.bytes, all.turns.len()));
        assert_eq!(
            (open, timers, doomed),
            (all.subgroup_by_stream.len(), all.timers.len(), all.doomed.len())
        );
        assert!(all.objects <= self.limits.stream_objects_max && all.bytes <= self.limits.stream_bytes_max);
    }
}
