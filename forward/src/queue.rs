//! Everything waiting for one downstream connection: datagrams and subgroup streams of all its subscriptions, in
//! the order of draft 7.2, with the deadlines of draft 8 and a drop policy that knows frames.

mod audit;
mod datagrams;
mod frames;
mod subgroups;
mod subscriptions;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{Location, message::GroupOrder};

pub use subgroups::{OutgoingStream, StreamStep, Subgroup, UpstreamStream};

use crate::{Marks, Window};
use subgroups::StreamTurns;
use subscriptions::{Subscriptions, Turn};

/// Limits of one connection's queue. When full, the least important goes first.
#[derive(Debug, Clone)]
pub struct QueueLimits {
    /// Datagrams waiting.
    pub datagrams_max: usize,
    /// Bytes of them.
    pub datagram_bytes_max: usize,
    /// Objects waiting for subgroup streams.
    pub stream_objects_max: usize,
    /// Bytes of them.
    pub stream_bytes_max: usize,
    /// Subgroup streams open or known to be over, per subscription.
    pub subgroups_max: usize,
    /// How long datagrams wait when neither side set a delivery timeout.
    pub ages: Ages,
    /// What a datagram takes of [`Path::space`] beside its bytes: 32 with quinn.
    pub datagram_overhead_bytes: usize,
}

/// How long a datagram waits when neither side set a delivery timeout, by publisher priority (docs/wire.md).
#[derive(Debug, Clone)]
pub struct Ages {
    /// Priorities below 32: audio.
    pub audio: Duration,
    /// Priorities 32 to 75: key frames and base layers.
    pub base: Duration,
    /// Priorities 76 to 119, and what does not set one (128): upper layers.
    pub upper: Duration,
    /// Priorities 120 to 127: parity.
    pub parity: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits {
            datagrams_max: 8192,
            datagram_bytes_max: 4 << 20,
            stream_objects_max: 4096,
            stream_bytes_max: 8 << 20,
            subgroups_max: 256,
            ages: Ages::default(),
            datagram_overhead_bytes: 32,
        }
    }
}

impl Default for Ages {
    fn default() -> Self {
        Ages {
            audio: Duration::from_millis(1000),
            base: Duration::from_millis(1000),
            upper: Duration::from_millis(500),
            parity: Duration::from_millis(300),
        }
    }
}

/// Names a subscription within its queue; never the same for two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionKey {
    index: u32,
    generation: u32,
}

/// How a subscription wants its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// SUBSCRIBER_PRIORITY, lower first.
    pub subscriber_priority: u8,
    /// GROUP_ORDER.
    pub group_order: GroupOrder,
    /// FORWARD: nothing is sent while false.
    pub is_forwarding: bool,
    /// The filter.
    pub window: Window,
    /// OBJECT_DELIVERY_TIMEOUT: the smaller of both sides' ([`crate::terms::smaller_timeout`]).
    pub object_timeout: Option<Duration>,
    /// SUBGROUP_DELIVERY_TIMEOUT likewise.
    pub subgroup_timeout: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            subscriber_priority: 128,
            group_order: GroupOrder::Ascending,
            is_forwarding: true,
            window: Window::ALL,
            object_timeout: None,
            subgroup_timeout: None,
        }
    }
}

/// A datagram ready to be sent, the same for all connections with one prefix. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// Where its object stands.
    pub location: Location,
    /// The object's priority, or the track's default.
    pub publisher_priority: u8,
    /// When it came.
    pub received: Instant,
    /// What it says about its frame; made once per object with [`Marks::new`].
    pub marks: Option<Marks>,
    /// As it goes to the network, prefix included.
    pub bytes: Bytes,
}

/// What the network takes now.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// Bytes that can be sent without pushing out older ones, [`QueueLimits::datagram_overhead_bytes`] of each
    /// datagram included.
    pub space: usize,
    /// Largest datagram, bytes, prefix included.
    pub datagram_bytes_max: usize,
}

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Its time was over before its turn came.
    Deadline,
    /// The queue was full, and it mattered least.
    Full,
    /// More of its frame was dropped than parity makes up for.
    IncompleteFrame,
    /// It depends on a frame that was dropped.
    SkippedGroup,
    /// Larger than the path takes.
    TooLarge,
}

/// What was sent and dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Handed to the network.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// [`DropReason::Deadline`]
    pub deadline: u64,
    /// [`DropReason::Full`]
    pub full: u64,
    /// [`DropReason::IncompleteFrame`]
    pub incomplete_frame: u64,
    /// [`DropReason::SkippedGroup`]
    pub skipped_group: u64,
    /// [`DropReason::TooLarge`]
    pub too_large: u64,
}

impl Counters {
    fn count(&mut self, reason: DropReason) {
        let counter = match reason {
            DropReason::Deadline => &mut self.deadline,
            DropReason::Full => &mut self.full,
            DropReason::IncompleteFrame => &mut self.incomplete_frame,
            DropReason::SkippedGroup => &mut self.skipped_group,
            DropReason::TooLarge => &mut self.too_large,
        };
        *counter += 1;
    }

    /// Everything that was not sent.
    pub fn dropped(&self) -> u64 {
        self.deadline + self.full + self.incomplete_frame + self.skipped_group + self.too_large
    }
}

/// One downstream connection: all its tracks.
#[derive(Debug)]
pub struct Queue {
    limits: QueueLimits,
    subscriptions: Subscriptions,
    counters: Counters,

    datagrams: usize,
    datagram_bytes: usize,
    /// Subscriptions with datagrams waiting, the next first.
    turns: BTreeSet<Turn>,
    /// What the subscription last served had been sent before.
    served: u64,
    swept: Option<Instant>,
    /// Subscriptions that wait for a new group.
    skipping: Vec<SubscriptionKey>,

    streams: StreamTurns,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Queue {
            limits,
            subscriptions: Subscriptions::default(),
            counters: Counters::default(),
            datagrams: 0,
            datagram_bytes: 0,
            turns: BTreeSet::new(),
            served: 0,
            swept: None,
            skipping: Vec::new(),
            streams: StreamTurns::default(),
        }
    }

    /// A new subscription.
    pub fn subscribe(&mut self, settings: Settings) -> SubscriptionKey {
        self.subscriptions.insert(settings)
    }

    /// Its settings changed: a new priority also moves what is waiting, a new window or forward state also drops
    /// it. The group order of a subscription cannot change (draft 7.1): once something waits, the old one stays.
    pub fn update(&mut self, subscription: SubscriptionKey, settings: Settings) {
        let Some(found) = self.subscriptions.get_mut(subscription) else { return };
        let is_idle = found.waiting.is_empty() && found.streams.is_empty();
        let group_order = if is_idle { settings.group_order } else { found.settings.group_order };
        found.settings = Settings { group_order, ..settings };
        self.retain_wanted(subscription);
        self.update_turn(subscription);
        self.reset_unwanted(subscription);
    }

    /// How it stands now.
    pub fn settings(&self, subscription: SubscriptionKey) -> Option<Settings> {
        self.subscriptions.get(subscription).map(|found| found.settings)
    }

    /// True when nothing of the subscription waits.
    pub fn is_idle(&self, subscription: SubscriptionKey) -> bool {
        self.subscriptions
            .get(subscription)
            .is_none_or(|found| found.waiting.is_empty() && found.streams.is_idle())
    }

    /// The subscription is over: what waits is forgotten, and so are its streams, which the session resets.
    pub fn remove(&mut self, subscription: SubscriptionKey) -> Counters {
        let Some(mut found) = self.subscriptions.remove(subscription) else { return Counters::default() };
        if let Some(turn) = found.turn.take() {
            self.turns.remove(&turn);
        }
        self.datagrams -= found.waiting.len();
        self.datagram_bytes -= found.waiting.values().map(datagrams::Waiting::len).sum::<usize>();
        self.streams.forget(subscription, &mut found.streams);
        found.counters
    }

    /// All subscriptions together, those that are over too.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// One subscription.
    pub fn subscription_counters(&self, subscription: SubscriptionKey) -> Option<Counters> {
        self.subscriptions.get(subscription).map(|found| found.counters)
    }

    /// Bytes waiting, datagrams and stream objects.
    pub fn bytes(&self) -> usize {
        self.datagram_bytes + self.streams.bytes()
    }
}
