//! Everything waiting for one downstream connection: datagrams and subgroup streams of all its subscriptions, in
//! the order of draft 7.2, with the deadlines of draft 8 and a drop policy that knows frames.

mod subgroups;

use std::time::{Duration, Instant};

use bytes::Bytes;
use roundtable_moqt::{Location, Object, StreamResetCode, message::GroupOrder};

pub use subgroups::{OutgoingStream, StreamStep, Subgroup, UpstreamStream};

use crate::{Marks, Window};

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
    /// Bytes that can be sent without pushing out older ones.
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

/// One downstream connection: all its tracks.
#[derive(Debug)]
pub struct Queue {}

#[allow(unused_variables)]
impl Queue {
    /// An empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        unimplemented!()
    }

    // ---- subscriptions

    /// A new subscription.
    pub fn subscribe(&mut self, settings: Settings) -> SubscriptionKey {
        unimplemented!()
    }

    /// Its settings changed; a new priority also moves what is waiting, a new window or forward state also drops it.
    pub fn update(&mut self, subscription: SubscriptionKey, settings: Settings) {
        unimplemented!()
    }

    /// How it stands now.
    pub fn settings(&self, subscription: SubscriptionKey) -> Option<Settings> {
        unimplemented!()
    }

    /// The subscription is over: what waits is forgotten, and so are its streams (the session resets them).
    pub fn remove(&mut self, subscription: SubscriptionKey) -> Counters {
        unimplemented!()
    }

    // ---- datagrams

    /// Offers a batch of one track's datagrams. What the network takes goes to `send` at once, in the draft's
    /// order, together with what waited before; the rest waits. True when something waits: go on with
    /// [`Self::drain`] when there is room.
    ///
    /// While nothing waits and nothing was dropped lately this is a loop over `batch` and nothing else.
    pub fn offer(
        &mut self,
        now: Instant,
        subscription: SubscriptionKey,
        batch: &[Datagram],
        path: Path,
        send: impl FnMut(&Bytes),
    ) -> bool {
        unimplemented!()
    }

    /// Sends what waits as far as the network takes it. True when something still waits.
    pub fn drain(&mut self, now: Instant, path: Path, send: impl FnMut(&Bytes)) -> bool {
        unimplemented!()
    }

    /// Puts one datagram in the queue.
    pub fn push(
        &mut self,
        now: Instant,
        subscription: SubscriptionKey,
        datagram: &Datagram,
    ) -> Result<(), DropReason> {
        unimplemented!()
    }

    /// The next datagram, if it fits. Those whose time is over are dropped on the way.
    pub fn pop_datagram(&mut self, now: Instant, path: Path) -> Option<Bytes> {
        unimplemented!()
    }

    /// True while datagrams wait.
    pub fn has_datagrams(&self) -> bool {
        unimplemented!()
    }

    /// Subscriptions that skip to the next group because a frame was dropped that others depend on: for each the
    /// relay should ask for a new group upstream. Each is named at most once a second, and not before the queue is
    /// at most half full: a key frame helps nobody while there is no room for it.
    pub fn new_groups_wanted(&mut self, now: Instant) -> Vec<SubscriptionKey> {
        unimplemented!()
    }

    // ---- subgroup streams

    /// An object that came on a subgroup stream.
    pub fn push_object(
        &mut self,
        now: Instant,
        subscription: SubscriptionKey,
        upstream: &UpstreamStream,
        received: Instant,
        object: &Object,
    ) {
        unimplemented!()
    }

    /// The upstream stream ended: `None` by FIN, else by reset.
    pub fn end_stream(
        &mut self,
        now: Instant,
        subscription: SubscriptionKey,
        upstream: &UpstreamStream,
        reset: Option<StreamResetCode>,
    ) {
        unimplemented!()
    }

    /// What to do next on the connection's subgroup streams.
    pub fn pop_stream(&mut self, now: Instant) -> Option<StreamStep> {
        unimplemented!()
    }

    /// The subscriber stopped a stream, or the session could not open it: nothing more of that subgroup is sent.
    pub fn stop_stream(&mut self, stream: OutgoingStream) {
        unimplemented!()
    }

    /// True while [`Self::pop_stream`] has something.
    pub fn has_streams(&self) -> bool {
        unimplemented!()
    }

    /// When [`Self::pop_stream`] may have something new although nothing was pushed (delivery timeouts).
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }

    // ---- figures

    /// All subscriptions together, those that are over too.
    pub fn counters(&self) -> Counters {
        unimplemented!()
    }

    /// One subscription.
    pub fn subscription_counters(&self, subscription: SubscriptionKey) -> Option<Counters> {
        unimplemented!()
    }

    /// Bytes waiting, datagrams and stream objects.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }
}
