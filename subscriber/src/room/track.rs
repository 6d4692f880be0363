//! One subscription to a track of media: from objects to epochs of frames.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use roundtable_media::{
    audio::FrameLength,
    catalog::CatalogTrack,
    gaps::{self, Answer, Ask, Planner},
    reassemble::{self, Output, Reassembler, ReceivedFrame, Source},
    stats::Stats,
};
use roundtable_moqt::{
    FullTrackName,
    message::RequestId,
    object::{Location, Object},
};

use super::{Mode, fetching::Fetching};
use crate::event::{Consumer, EpochId, RoomEvent, TrackLabel};

/// How long objects wait for the joining FETCH to say where the track begins.
const JOIN_WAIT: Duration = Duration::from_secs(2);
/// How many objects wait meanwhile; with more, the track begins with what there is.
const JOIN_OBJECTS_MAX: usize = 8192;
/// How long a track that is over may still be repaired.
const CLOSE_WAIT: Duration = Duration::from_secs(6);
/// A track that has been quiet this long is asked for what it may have sent last.
const QUIET: Duration = Duration::from_millis(300);
/// Gaps looked at together.
const GAPS_MAX: usize = 64;

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// To be subscribed to at this time.
    Waiting(Instant),
    /// SUBSCRIBE is on its way, or accepted.
    Subscribed(RequestId),
    /// No more objects come by themselves; missing ones are asked for until then.
    Closing(Instant),
    /// Nothing comes any more.
    Closed,
}

/// What a track wants from the session.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// FETCHes for repair.
    pub(super) asks: Vec<Ask>,
    /// When to look again, if nothing happens.
    pub(super) wake_at: Option<Instant>,
}

/// A subscription.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) label: TrackLabel,
    pub(super) name: FullTrackName,
    pub(super) state: State,
    /// What the catalog said last, and from which group on it holds.
    formats: VecDeque<(CatalogTrack, u64)>,
    epoch: Option<EpochId>,
    reassembler: Reassembler,
    planner: Planner,
    pub(super) stats: Stats,
    mode: Mode,
    join: Option<Join>,
    close_reason: &'static str,
    last_object: Option<Instant>,
    /// Up to where the track has been asked for what it may have sent last.
    tail_asked: Option<Location>,
    /// Times the track could not be had, without a frame in between.
    pub(super) failures: u32,
    /// What an earlier subscription has handed out ends here.
    pub(super) not_before: Option<Location>,
    dirty: bool,
}

/// Objects wait until the joining FETCH has shown where the track begins.
#[derive(Debug)]
struct Join {
    until: Instant,
    held: Vec<Object>,
}

impl Track {
    pub(super) fn new(
        label: TrackLabel,
        name: FullTrackName,
        entry: CatalogTrack,
        mode: Mode,
        now: Instant,
    ) -> Self {
        let (config, planner) = match mode {
            Mode::Record => (reassemble::Config::recorder(), gaps::Config::recorder()),
            Mode::Live { wait } => (reassemble::Config::live(wait), gaps::Config::live(wait)),
        };
        let frame_length = FrameLength::new(&entry.format);
        Track {
            label,
            name,
            state: State::Waiting(now),
            formats: VecDeque::from([(entry, 0)]),
            epoch: None,
            reassembler: Reassembler::new(config.with_audio(frame_length)),
            planner: Planner::new(planner),
            stats: Stats::new(),
            mode,
            join: None,
            close_reason: "the track ended",
            last_object: None,
            tail_asked: None,
            failures: 0,
            not_before: None,
            dirty: false,
        }
    }

    /// What the catalog says of the track now.
    pub(super) fn entry(&self) -> Option<&CatalogTrack> {
        self.formats.back().map(|(entry, _)| entry)
    }

    /// Where the next frame is expected.
    pub(super) fn position(&self) -> Option<Location> {
        self.reassembler.position()
    }

    pub(super) fn counters(&self) -> reassemble::Counters {
        self.reassembler.counters()
    }

    /// The catalog has changed: what is in groups after the present one may be something else.
    pub(super) fn change(&mut self, entry: CatalogTrack) {
        let is_same = self
            .entry()
            .is_some_and(|present| present.format == entry.format && present.clock == entry.clock);
        let from_group = self.reassembler.seen_end().map_or(0, |end| match end.object {
            0 => end.group,
            _ => end.group.saturating_add(1),
        });
        if is_same {
            if let Some((present, _)) = self.formats.back_mut() {
                *present = entry;
            }
        } else if self.epoch.is_none() && self.formats.len() == 1 {
            self.formats = VecDeque::from([(entry, 0)]);
        } else if self.formats.len() < 64 {
            self.formats.push_back((entry, from_group));
        }
    }

    /// Objects are held back until a joining FETCH has brought the first.
    pub(super) fn joining(&mut self, now: Instant) {
        self.join = Some(Join { until: now + JOIN_WAIT, held: Vec::new() });
    }

    /// The joining FETCH has brought its first object, or will bring none.
    pub(super) fn joined(&mut self, now: Instant, first: Option<Location>) {
        let Some(join) = self.join.take() else { return };
        let held_first = join.held.iter().map(|object| object.location).min();
        if let Some(start) = first.into_iter().chain(held_first).min() {
            let start = Location::new(start.group, 0);
            self.reassembler.start_at(self.not_before.map_or(start, |handed_out| start.max(handed_out)));
        }
        for object in join.held {
            self.reassembler.insert(now, &object, Source::Live);
        }
        self.dirty = true;
    }

    /// An object that came by itself.
    pub(super) fn live_object(&mut self, now: Instant, object: &Object) {
        self.stats.object(now, object.payload.len() + object.properties.len());
        self.last_object = Some(now);
        self.dirty = true;
        match &mut self.join {
            Some(join) if join.held.len() < JOIN_OBJECTS_MAX => join.held.push(object.clone()),
            Some(_) => {
                self.joined(now, None);
                self.reassembler.insert(now, object, Source::Live);
            }
            None => {
                self.reassembler.insert(now, object, Source::Live);
            }
        }
    }

    /// An item of a FETCH.
    pub(super) fn fetched(
        &mut self,
        now: Instant,
        fetching: &mut Fetching,
        item: &roundtable_moqt::fetch_stream::FetchItem,
    ) {
        if let roundtable_moqt::fetch_stream::FetchItem::Object(object) = item {
            self.stats.object(now, object.payload.len() + object.properties.len());
            self.joined(now, Some(object.location));
        }
        fetching.item(now, item, &mut self.reassembler);
        self.dirty = true;
    }

    /// A FETCH is over. `ask` is what it was for; `None` for the joining one.
    pub(super) fn fetch_ended(
        &mut self,
        now: Instant,
        fetching: &Fetching,
        ask: Option<&Ask>,
        is_whole: bool,
    ) {
        self.joined(now, None);
        let answer = fetching.ended(is_whole, &mut self.reassembler);
        if let Some(ask) = ask {
            self.planner.answered(now, ask, answer);
        }
        self.dirty = true;
    }

    /// A FETCH was refused; `nothing_there` when the range lies behind everything that was published.
    pub(super) fn fetch_refused(&mut self, now: Instant, ask: Option<&Ask>, nothing_there: bool) {
        self.joined(now, None);
        if let Some(ask) = ask {
            let answer = if nothing_there { Answer::Complete } else { Answer::Incomplete };
            self.planner.answered(now, ask, answer);
        }
        self.dirty = true;
    }

    /// No object comes by itself any more.
    pub(super) fn close(&mut self, now: Instant, reason: &'static str) {
        if matches!(self.state, State::Closing(_) | State::Closed) {
            return;
        }
        self.close_reason = reason;
        self.tail_asked = None;
        self.joined(now, None);
        self.state = State::Closing(now + CLOSE_WAIT);
        self.dirty = true;
    }

    /// Hands out what is ready and says what to ask for. `can_ask` is false when the session is over.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        round_trip: Duration,
        can_ask: bool,
        next_epoch: &mut u64,
        consumer: &mut dyn Consumer,
    ) -> Wants {
        if self.join.as_ref().is_some_and(|join| join.until <= now) {
            self.joined(now, None);
        }
        let is_due = self.reassembler.poll_timeout().is_some_and(|at| at <= now);
        if self.dirty || is_due {
            self.dirty = false;
            while let Some(output) = self.reassembler.poll(now) {
                self.hand_out(now, output, next_epoch, consumer);
            }
        }
        let mut wants = self.plan(now, round_trip, can_ask);
        if self.dirty {
            // Something was given up.
            self.dirty = false;
            while let Some(output) = self.reassembler.poll(now) {
                self.hand_out(now, output, next_epoch, consumer);
            }
        }
        if let State::Closing(until) = self.state {
            let is_done = wants.asks.is_empty()
                && self.planner.in_flight() == 0
                && self.reassembler.missing(1).is_empty()
                && !self.wants_tail();
            if is_done || until <= now || !can_ask {
                self.finish(now, next_epoch, consumer);
                return Wants::default();
            }
            wants.wake_at = earliest(wants.wake_at, Some(until));
        }
        wants.wake_at = earliest(wants.wake_at, self.reassembler.poll_timeout());
        wants.wake_at = earliest(wants.wake_at, self.join.as_ref().map(|join| join.until));
        wants
    }

    fn plan(&mut self, now: Instant, round_trip: Duration, can_ask: bool) -> Wants {
        let mut wants = Wants::default();
        if self.join.is_some() || !can_ask || matches!(self.state, State::Closed) {
            return wants;
        }
        let mut missing = self.reassembler.missing(GAPS_MAX);
        let quiet_since = self.last_object.map(|at| at + QUIET);
        if self.wants_tail()
            && let Some(end) = self.reassembler.seen_end()
        {
            let is_closing = matches!(self.state, State::Closing(_));
            if is_closing || quiet_since.is_some_and(|at| at <= now) {
                self.tail_asked = Some(end);
                let since = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
                // Wherever the track ends: an answer reaches to its largest object.
                let far = Location::new(end.group.saturating_add(1 << 24), u64::MAX);
                missing.push(reassemble::MissingRange { start: end, end: far, since });
            } else {
                wants.wake_at = quiet_since;
            }
        }
        if missing.is_empty() {
            return wants;
        }
        let plan = self.planner.plan(now, &missing, round_trip);
        for (start, end) in plan.hopeless {
            self.reassembler.abandon(start, end);
            self.dirty = true;
        }
        wants.asks = plan.asks;
        wants.wake_at = earliest(wants.wake_at, plan.again_at);
        wants
    }

    /// True when something may have been sent after the last object that came.
    fn wants_tail(&self) -> bool {
        self.mode == Mode::Record
            && self.reassembler.seen_end().is_some_and(|end| self.tail_asked.is_none_or(|asked| asked < end))
    }

    /// Hands out the rest and ends the epoch.
    pub(super) fn finish(&mut self, now: Instant, next_epoch: &mut u64, consumer: &mut dyn Consumer) {
        self.joined(now, None);
        while let Some(output) = self.reassembler.flush(now) {
            self.hand_out(now, output, next_epoch, consumer);
        }
        self.end_epoch(self.close_reason, consumer);
        self.state = State::Closed;
    }

    fn hand_out(&mut self, now: Instant, output: Output, next_epoch: &mut u64, consumer: &mut dyn Consumer) {
        match output {
            Output::Frame(frame) => self.hand_out_frame(now, frame, next_epoch, consumer),
            Output::Gap(gap) => {
                if let Some(epoch) = self.epoch {
                    consumer.handle(RoomEvent::Gap { epoch, gap });
                }
            }
        }
    }

    fn hand_out_frame(
        &mut self,
        now: Instant,
        frame: ReceivedFrame,
        next_epoch: &mut u64,
        consumer: &mut dyn Consumer,
    ) {
        let is_changed =
            self.formats.get(1).is_some_and(|(_, from_group)| frame.location.group >= *from_group);
        if is_changed {
            self.end_epoch("the format changed", consumer);
            self.formats.pop_front();
            self.stats.restart();
            return self.hand_out_frame(now, frame, next_epoch, consumer);
        }
        self.stats.frame(now, &frame);
        self.failures = 0;
        let epoch = match self.epoch {
            Some(epoch) => epoch,
            // Nothing can be decoded before the first key frame.
            None if !frame.is_key => return,
            None => {
                let Some((entry, _)) = self.formats.front() else { return };
                let epoch = EpochId(*next_epoch);
                *next_epoch += 1;
                self.epoch = Some(epoch);
                consumer.handle(RoomEvent::Began {
                    epoch,
                    label: self.label.clone(),
                    format: entry.format.clone(),
                    clock: entry.clock,
                });
                epoch
            }
        };
        consumer.handle(RoomEvent::Frame { epoch, frame });
    }

    fn end_epoch(&mut self, reason: &'static str, consumer: &mut dyn Consumer) {
        if let Some(epoch) = self.epoch.take() {
            consumer.handle(RoomEvent::Ended { epoch, reason, counters: self.reassembler.counters() });
        }
    }
}

/// The earlier of two moments, where there are any.
pub(super) fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
