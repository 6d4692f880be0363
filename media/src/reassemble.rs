//! Objects to frames: what a receiver makes of a track (docs/wire.md, "Media datagrams", "Repair").
//!
//! Objects come in any order, twice, late or never. Frames go out in decode order, each once, with the gaps
//! between them. A gap is waited for until the frame behind it has waited long enough, or until somebody says
//! that nothing will come; then it is reported and passed over. Every buffer is bounded: under pressure the
//! oldest gap is given up first.

mod group;
mod ranges;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::object::{Location, Object, Status};

use self::{
    group::{Group, Missing, Piece, Placed, Unit},
    ranges::{Ranges, after},
};
use crate::{
    audio::{self, FrameLength},
    fragment::Erasure,
    loc::{AudioLevel, FrameMarking, Properties},
};

/// Settings of a receiver's track.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long a frame waits for one before it that is missing or not whole.
    pub wait: Duration,
    /// Payload held, bytes. More than the largest frame that is wanted.
    pub bytes_max: usize,
    /// Groups held.
    pub groups_max: usize,
    /// For tracks of sound: lets earlier frames be taken out of later objects.
    pub frame_length: Option<FrameLength>,
    /// When a frame of sound is taken out of a later object.
    pub redundancy: UseRedundancy,
}

/// When a frame of sound that is missing is taken out of a later object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UseRedundancy {
    /// As soon as possible.
    AtOnce,
    /// When its own object will not come: its exact time and level stand only there.
    AtLast,
}

impl Config {
    /// For playing: a frame waits no longer than this.
    pub fn live(wait: Duration) -> Self {
        Config {
            wait,
            bytes_max: 20 << 20,
            groups_max: 256,
            frame_length: None,
            redundancy: UseRedundancy::AtOnce,
        }
    }

    /// For recording: repair has time.
    pub fn recorder() -> Self {
        Config {
            wait: Duration::from_secs(10),
            bytes_max: 48 << 20,
            groups_max: 1024,
            frame_length: None,
            redundancy: UseRedundancy::AtLast,
        }
    }

    /// The same for a track of sound with frames of this length.
    pub fn with_audio(self, frame_length: Option<FrameLength>) -> Self {
        Config { frame_length, ..self }
    }
}

/// Where an object came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Sent as it was published: datagram or subgroup stream.
    Live,
    /// Asked for.
    Fetch,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// Kept.
    New,
    /// It says where a group ends.
    End,
    /// Was there already, or its frame has been given out.
    Duplicate,
    /// Its frame has been given up.
    Late,
    /// Not a media object, or one that contradicts others. It will not be waited for.
    Bad,
    /// Memory is full.
    Dropped,
}

/// Something in the track, in decode order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A frame.
    Frame(ReceivedFrame),
    /// Frames that will not come.
    Gap(Gap),
}

/// A frame as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// Its first object.
    pub location: Location,
    /// Presentation time, ticks of the timescale.
    pub timestamp: u64,
    /// Ticks per second; `None`: Unix microseconds.
    pub timescale: Option<u32>,
    /// True when decoding can begin here.
    pub is_key: bool,
    /// Of video.
    pub marking: Option<FrameMarking>,
    /// Of sound, where the publisher measured it.
    pub audio_level: Option<AudioLevel>,
    /// The codec's bytes.
    pub data: Bytes,
    /// When its first object came.
    pub arrived: Instant,
    /// How it came.
    pub origin: Origin,
}

/// How a frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By its own objects.
    Objects,
    /// Some of its fragments were rebuilt from parity.
    Parity {
        /// How many.
        fragments_rebuilt: u32,
    },
    /// Inside a later frame's object.
    Redundancy,
}

/// A hole in a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First location that is missing.
    pub start: Location,
    /// First location after the gap.
    pub end: Location,
    /// Frames that are certainly missing here. 0 when perhaps only the news of a group's end is; more may be
    /// known later, see [`Counters::frames_lost`].
    pub frames_at_least: u64,
}

/// What has happened to a track since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Objects kept.
    pub objects: u64,
    /// Objects of those that were fetched.
    pub objects_fetched: u64,
    /// Objects that came again.
    pub duplicates: u64,
    /// Objects that came after their frame was given up.
    pub late: u64,
    /// Objects without sense.
    pub bad: u64,
    /// Objects dropped because memory was full.
    pub dropped: u64,
    /// Frames given out.
    pub frames: u64,
    /// Frames given out that needed parity.
    pub frames_from_parity: u64,
    /// Frames given out of later objects.
    pub frames_from_redundancy: u64,
    /// Frames given up, as far as is known: exact where frames are numbered, else at least one for every gap.
    pub frames_lost: u64,
    /// Gaps given up.
    pub gaps: u64,
}

/// A hole that may still be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingRange {
    /// First location.
    pub start: Location,
    /// Last location; object `u64::MAX` is the end of the group, wherever that is.
    pub end: Location,
    /// Since when something behind it has been waiting.
    pub since: Instant,
}

/// Gaps that are remembered to tell late objects from duplicates.
const GAPS_REMEMBERED: usize = 64;
/// Redundant frames held.
const REDUNDANT_MAX: usize = 64;
/// A jump over more groups than these is taken for a new start of the publisher, not for loss.
const GROUPS_LOST_MAX: u64 = 3000;

/// Largest group or object id that is believed, so that ids can be counted up without a thought.
const ID_MAX: u64 = 1 << 62;

/// Receives one track.
#[derive(Debug)]
pub struct Reassembler {
    config: Config,
    /// Where the next frame begins; `None` until the first object.
    cursor: Option<Cursor>,
    groups: BTreeMap<u64, Group>,
    bytes: usize,
    /// What does not exist.
    absent: Ranges,
    /// What perhaps exists and will not come.
    abandoned: Ranges,
    given_up: VecDeque<(Location, Location)>,
    redundant: BTreeMap<u64, (audio::Recovered, Instant)>,
    erasure: Erasure,
    counters: Counters,
}

#[derive(Debug, Clone, Copy)]
struct Cursor {
    location: Location,
    /// Number of the next frame in its group, if nothing was miscounted.
    frame: u64,
}

/// Why the cursor stands still.
enum Blocked {
    /// Nothing is known of what follows.
    Quiet,
    /// Something behind has been waiting since then; the gap reaches to here.
    Until { since: Instant, end: Location, frames_at_least: u64 },
}

impl Reassembler {
    /// A track of which nothing has come yet. It begins at the start of the group of the first object, unless
    /// [`Self::start_at`] says otherwise.
    pub fn new(config: Config) -> Self {
        Reassembler {
            config,
            cursor: None,
            groups: BTreeMap::new(),
            bytes: 0,
            absent: Ranges::default(),
            abandoned: Ranges::default(),
            given_up: VecDeque::new(),
            redundant: BTreeMap::new(),
            erasure: Erasure::new(),
            counters: Counters::default(),
        }
    }

    /// The track begins here: the start of the group that a joining FETCH brings. Only before the first object.
    pub fn start_at(&mut self, location: Location) {
        self.cursor.get_or_insert(Cursor { location, frame: 0 });
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Memory held, bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.bytes
    }

    /// Where the next frame is expected.
    pub fn position(&self) -> Option<Location> {
        self.cursor.map(|cursor| cursor.location)
    }

    /// The location after the largest object that has come.
    pub fn seen_end(&self) -> Option<Location> {
        let last = self.groups.iter().next_back().map(|(id, group)| Location::new(*id, group.seen_end));
        last.max(self.position())
    }

    /// An object of the track.
    pub fn insert(&mut self, now: Instant, object: &Object, source: Source) -> Inserted {
        let location = object.location;
        if location.group > ID_MAX || location.object > ID_MAX {
            self.counters.bad += 1;
            return Inserted::Bad;
        }
        let cursor =
            *self.cursor.get_or_insert(Cursor { location: Location::new(location.group, 0), frame: 0 });
        if object.status != Status::Normal {
            self.note_end(now, location);
            return Inserted::End;
        }
        if location < cursor.location {
            return self.count_old(location);
        }
        if self.is_full(location.group) {
            self.counters.dropped += 1;
            return Inserted::Dropped;
        }
        let Ok(mut properties) = Properties::decode(&object.properties) else {
            self.counters.bad += 1;
            self.absent.add(location, location);
            return Inserted::Bad;
        };
        let redundancy = std::mem::take(&mut properties.redundancy);
        let timestamp = properties.timestamp;
        let group = self.groups.entry(location.group).or_default();
        let bytes_before = group.bytes;
        let wanted_from = if location.group == cursor.location.group { cursor.location.object } else { 0 };
        let piece =
            Piece { object: location.object, properties, payload: object.payload.clone(), arrived: now };
        let placed = group.place(piece, wanted_from, &mut self.erasure);
        // Adoption of orphans that turn out to be nonsense can free memory.
        self.bytes = (self.bytes + group.bytes).saturating_sub(bytes_before);
        if object.ends_group {
            group.end.get_or_insert(location.object.saturating_add(1));
            group.arrived.get_or_insert(now);
        }
        if group.is_empty() {
            self.groups.remove(&location.group);
        }
        match placed {
            Placed::New => {
                self.counters.objects += 1;
                self.counters.objects_fetched += u64::from(source == Source::Fetch);
                self.keep_redundancy(now, location.group, timestamp, &redundancy);
                Inserted::New
            }
            Placed::Duplicate => {
                self.counters.duplicates += 1;
                Inserted::Duplicate
            }
            Placed::TooLate => {
                self.counters.late += 1;
                Inserted::Late
            }
            Placed::Contradiction => {
                self.counters.bad += 1;
                self.absent.add(location, location);
                Inserted::Bad
            }
        }
    }

    /// True when an object of this group cannot be taken: the caller has not polled, or one frame takes it all.
    fn is_full(&self, group: u64) -> bool {
        self.bytes > self.config.bytes_max.saturating_mul(2)
            || (self.groups.len() > self.config.groups_max.saturating_mul(2)
                && !self.groups.contains_key(&group))
    }

    fn count_old(&mut self, location: Location) -> Inserted {
        let is_late = self.given_up.iter().any(|(start, end)| *start <= location && location < *end);
        if is_late {
            self.counters.late += 1;
            return Inserted::Late;
        }
        self.counters.duplicates += 1;
        Inserted::Duplicate
    }

    /// No object exists in the group from here on.
    fn note_end(&mut self, now: Instant, location: Location) {
        let is_past = self.cursor.is_some_and(|cursor| location.group < cursor.location.group);
        if is_past || self.is_full(location.group) {
            return;
        }
        let group = self.groups.entry(location.group).or_default();
        group.end.get_or_insert(location.object);
        group.arrived.get_or_insert(now);
    }

    fn keep_redundancy(
        &mut self,
        now: Instant,
        group: u64,
        timestamp: u64,
        redundancy: &[crate::loc::RedundantFrame],
    ) {
        let Some(length) = self.config.frame_length else { return };
        let wanted_from = self.cursor.map_or(0, |cursor| cursor.location.group);
        for recovered in audio::recover(group, timestamp, redundancy, length) {
            let is_wanted = recovered.group >= wanted_from
                && !self.groups.contains_key(&recovered.group)
                && self.redundant.len() < REDUNDANT_MAX;
            if is_wanted {
                self.redundant.entry(recovered.group).or_insert((recovered, now));
            }
        }
    }

    /// Nothing exists from `start` to `end`, both included (object `u64::MAX`: to the end of the group): nothing
    /// is lost there, and nothing is waited for.
    pub fn note_absent(&mut self, start: Location, end: Location) {
        self.absent.add(start, end);
    }

    /// Nobody has what is missing from `start` to `end`, both included: it is lost, without waiting longer.
    pub fn abandon(&mut self, start: Location, end: Location) {
        self.abandoned.add(start, end);
    }

    /// True for objects that may still come.
    fn is_wanted(&self, location: Location) -> bool {
        !self.absent.contains(location) && !self.abandoned.contains(location)
    }

    /// The next frame or gap, `None` until more comes or [`Self::poll_timeout`] passes.
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        loop {
            let cursor = self.cursor?;
            if let Some(frame) = self.take_frame(cursor) {
                return Some(Output::Frame(frame));
            }
            if let Some(gap) = self.give_up_hopeless(cursor) {
                return Some(Output::Gap(gap));
            }
            if self.skip_absent(cursor) {
                continue;
            }
            if self.config.redundancy == UseRedundancy::AtOnce
                && let Some(frame) = self.take_redundant(cursor)
            {
                return Some(Output::Frame(frame));
            }
            let Blocked::Until { since, end, frames_at_least } = self.blocked(cursor) else { return None };
            let is_pressed = self.bytes > self.config.bytes_max || self.groups.len() > self.config.groups_max;
            let abandoned_end = self.abandoned.end_of(cursor.location);
            if !is_pressed && abandoned_end.is_none() && now < since + self.config.wait {
                return None;
            }
            let end = abandoned_end.map_or(end, |abandoned_end| end.min(after(abandoned_end)));
            if let Some(frame) = self.take_redundant(cursor) {
                return Some(Output::Frame(frame));
            }
            return Some(Output::Gap(self.give_up(cursor, end, frames_at_least)));
        }
    }

    /// When [`Self::poll`] gives up a gap unless something comes before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.blocked(self.cursor?) {
            Blocked::Until { since, .. } => Some(since + self.config.wait),
            Blocked::Quiet => None,
        }
    }

    /// The next frame or gap when nothing more will come: waits for nothing.
    pub fn flush(&mut self, now: Instant) -> Option<Output> {
        let wait = std::mem::replace(&mut self.config.wait, Duration::ZERO);
        let output = self.poll(now.max(self.poll_timeout().unwrap_or(now)));
        self.config.wait = wait;
        if output.is_some() {
            return output;
        }
        // A frame that never became whole, with nothing behind it.
        let cursor = self.cursor?;
        let Location { group: id, object } = cursor.location;
        let group = self.groups.get(&id)?;
        let end = match group.next_unit(object) {
            Some((first, unit)) => first.saturating_add(unit.object_count()),
            None => group.end.filter(|end| *end > object)?,
        };
        Some(Output::Gap(self.give_up(cursor, Location::new(id, end), 1)))
    }

    /// Gives out the frame at the cursor if it is whole; steps over the end of a group.
    fn take_frame(&mut self, cursor: Cursor) -> Option<ReceivedFrame> {
        let Location { group: id, object } = cursor.location;
        let group = self.groups.get(&id)?;
        let unit = group.unit(object)?;
        let (data, fragments_rebuilt) = unit.frame()?;
        let next = Location::new(id, object.saturating_add(unit.object_count()));
        let properties = &unit.properties;
        let frame = ReceivedFrame {
            location: cursor.location,
            timestamp: properties.timestamp,
            timescale: properties.timescale,
            is_key: properties.marking.map_or(object == 0, |marking| marking.is_independent),
            marking: properties.marking,
            audio_level: properties.audio_level,
            data,
            arrived: unit.arrived,
            origin: match fragments_rebuilt {
                0 => Origin::Objects,
                _ => Origin::Parity { fragments_rebuilt },
            },
        };
        let number = unit.number().unwrap_or(cursor.frame);
        // Frames were lost in a gap, more of them or fewer than it was taken for.
        let lost = self.counters.frames_lost.saturating_add(number.saturating_sub(cursor.frame));
        self.counters.frames_lost = lost.saturating_sub(cursor.frame.saturating_sub(number));
        self.counters.frames += 1;
        self.counters.frames_from_parity += u64::from(fragments_rebuilt > 0);
        self.advance(next, number.saturating_add(1));
        Some(frame)
    }

    /// Takes the frame of sound at the cursor out of a later object.
    fn take_redundant(&mut self, cursor: Cursor) -> Option<ReceivedFrame> {
        let Location { group, object } = cursor.location;
        if object != 0 || self.groups.contains_key(&group) {
            return None;
        }
        let (recovered, arrived) = self.redundant.remove(&group)?;
        self.counters.frames += 1;
        self.counters.frames_from_redundancy += 1;
        self.advance(Location::new(group.saturating_add(1), 0), 0);
        Some(ReceivedFrame {
            location: cursor.location,
            timestamp: recovered.timestamp,
            timescale: self.timescale_near(group),
            is_key: true,
            marking: None,
            audio_level: None,
            data: recovered.payload,
            arrived,
            origin: Origin::Redundancy,
        })
    }

    /// The timescale of the carrier, which is a few groups further on.
    fn timescale_near(&self, group: u64) -> Option<u32> {
        let (_, carrier) = self.groups.range(group..).next()?;
        carrier.next_unit(0)?.1.properties.timescale
    }

    /// Gives up the frame at the cursor when too many of its missing objects will never come.
    fn give_up_hopeless(&mut self, cursor: Cursor) -> Option<Gap> {
        let Location { group, object } = cursor.location;
        let unit = self.groups.get(&group)?.unit(object)?;
        let is_wanted = |offset| self.is_wanted(Location::new(group, object.saturating_add(offset)));
        if unit.missing(is_wanted) != Missing::Hopeless {
            return None;
        }
        let end = Location::new(group, object.saturating_add(unit.object_count()));
        Some(self.give_up(cursor, end, 1))
    }

    /// Steps over the end of a group and over what does not exist. True when the cursor moved.
    fn skip_absent(&mut self, cursor: Cursor) -> bool {
        let Location { group: id, object } = cursor.location;
        let group = self.groups.get(&id);
        if group.and_then(|group| group.end).is_some_and(|end| object >= end) {
            self.advance(Location::new(id.saturating_add(1), 0), 0);
            return id < u64::MAX;
        }
        let next_unit = group.and_then(|group| group.next_unit(object));
        if next_unit.is_some_and(|(first, _)| first == object) {
            return false;
        }
        let Some(absent_end) = self.absent.end_of(cursor.location) else { return false };
        // What is here exists, whoever says that it does not.
        let next_here = next_unit.map(|(first, _)| Location::new(id, first)).or_else(|| {
            self.groups.range(id.saturating_add(1)..).next().map(|(id, _)| Location::new(*id, 0))
        });
        let target = next_here.map_or(after(absent_end), |next| next.min(after(absent_end)));
        if target <= cursor.location {
            return false;
        }
        self.advance(target, if target.group == id { cursor.frame } else { 0 });
        true
    }

    /// What the cursor waits for, and how far the gap reaches.
    fn blocked(&self, cursor: Cursor) -> Blocked {
        let Location { group: id, object } = cursor.location;
        let group = self.groups.get(&id);
        let here = group.and_then(|group| group.unit(object));
        let search_from = here.map_or(object, |unit| object.saturating_add(unit.object_count()));
        let next_here = group.and_then(|group| group.next_unit(search_from));
        if let Some((first, next)) = next_here {
            // The frame here is not whole, or something is missing before the next one.
            let end = Location::new(id, if here.is_some() { search_from } else { first });
            return Blocked::Until { since: next.arrived, end, frames_at_least: 1 };
        }
        let Some((next_id, next)) = self.groups.range(id.saturating_add(1)..).next() else {
            return Blocked::Quiet;
        };
        let Some(since) = next.arrived else { return Blocked::Quiet };
        if here.is_some() {
            return Blocked::Until { since, end: Location::new(id, search_from), frames_at_least: 1 };
        }
        let groups_between = next_id - id - 1;
        let certain_here = match group {
            Some(group) => u64::from(group.end.is_some_and(|end| end > object)),
            None => u64::from(object == 0),
        };
        let frames_at_least =
            if groups_between > GROUPS_LOST_MAX { 0 } else { groups_between + certain_here };
        Blocked::Until { since, end: Location::new(*next_id, 0), frames_at_least }
    }

    fn give_up(&mut self, cursor: Cursor, end: Location, frames_at_least: u64) -> Gap {
        let gap = Gap { start: cursor.location, end, frames_at_least };
        self.counters.gaps += 1;
        self.counters.frames_lost = self.counters.frames_lost.saturating_add(frames_at_least);
        if self.given_up.len() >= GAPS_REMEMBERED {
            self.given_up.pop_front();
        }
        self.given_up.push_back((gap.start, gap.end));
        let frame =
            if end.group == cursor.location.group { cursor.frame.saturating_add(frames_at_least) } else { 0 };
        self.advance(end, frame);
        gap
    }

    /// Moves the cursor and forgets what lies behind it.
    fn advance(&mut self, location: Location, frame: u64) {
        self.cursor = Some(Cursor { location, frame });
        let kept = self.groups.split_off(&location.group);
        let passed = std::mem::replace(&mut self.groups, kept);
        let freed: usize = passed.values().map(|group| group.bytes).sum();
        self.bytes = self.bytes.saturating_sub(freed);
        if let Some(group) = self.groups.get_mut(&location.group) {
            let before = group.bytes;
            group.forget_before(location.object);
            self.bytes = self.bytes.saturating_sub(before - group.bytes);
        }
        self.redundant = self.redundant.split_off(&location.group);
        self.absent.forget_before(location);
        self.abandoned.forget_before(location);
    }

    /// The holes between what has come, in order, at most `ranges_max` of them. What is missing after the last
    /// object is not known here: [`Self::seen_end`] tells where to look.
    pub fn missing(&self, ranges_max: usize) -> Vec<MissingRange> {
        let Some(cursor) = self.cursor else { return Vec::new() };
        let mut holes = Holes { track: self, ranges: Vec::new(), ranges_max };
        let mut position = cursor.location;
        for (id, group) in &self.groups {
            if holes.is_full() {
                break;
            }
            if position.group < *id
                && let Some(since) = group.arrived
            {
                holes.add(position, Location::new(id - 1, u64::MAX), since);
                position = Location::new(*id, 0);
            }
            let is_last = self.groups.range(id + 1..).next().is_none();
            position = holes.in_group(*id, group, position, is_last);
        }
        holes.ranges
    }
}

/// Collects what is missing.
struct Holes<'a> {
    track: &'a Reassembler,
    ranges: Vec<MissingRange>,
    ranges_max: usize,
}

impl Holes<'_> {
    fn is_full(&self) -> bool {
        self.ranges.len() >= self.ranges_max
    }

    fn add(&mut self, start: Location, end: Location, since: Instant) {
        for (start, end) in self.track.absent.subtract_from(start, end) {
            for (start, end) in self.track.abandoned.subtract_from(start, end) {
                if !self.is_full() {
                    self.ranges.push(MissingRange { start, end, since });
                }
            }
        }
    }

    /// The holes of one group from `position` on; where the next group is expected.
    fn in_group(&mut self, id: u64, group: &Group, position: Location, is_last: bool) -> Location {
        let mut object = position.object;
        while let Some((first, unit)) = group.next_unit(object) {
            if self.is_full() {
                break;
            }
            if first > object {
                self.add(Location::new(id, object), Location::new(id, first - 1), unit.arrived);
            }
            if !unit.is_complete() {
                self.in_frame(
                    id,
                    first,
                    unit,
                    if is_last && group.end.is_none() { group.seen_end } else { u64::MAX },
                );
            }
            object = first.saturating_add(unit.object_count());
        }
        let since = group.arrived;
        match (group.end, since) {
            (Some(end), Some(since)) if object < end => {
                self.add(Location::new(id, object), Location::new(id, end - 1), since);
            }
            (None, Some(since)) if !is_last => {
                self.add(Location::new(id, object), Location::new(id, u64::MAX), since);
            }
            _ => {}
        }
        if is_last && group.end.is_none() {
            Location::new(id, object)
        } else {
            Location::new(id.saturating_add(1), 0)
        }
    }

    /// The missing objects of a frame, neighbours together. Those from `seen_end` on may be on their way.
    fn in_frame(&mut self, id: u64, first: u64, unit: &Unit, seen_end: u64) {
        let is_wanted = |offset: u64| self.track.is_wanted(Location::new(id, first.saturating_add(offset)));
        let Missing::Offsets(offsets) = unit.missing(is_wanted) else { return };
        let mut run: Option<(u64, u64)> = None;
        for object in offsets.into_iter().map(|offset| first.saturating_add(offset)) {
            if object >= seen_end {
                break;
            }
            run = match run {
                Some((start, end)) if end + 1 == object => Some((start, object)),
                Some((start, end)) => {
                    self.add(Location::new(id, start), Location::new(id, end), unit.arrived);
                    Some((object, object))
                }
                None => Some((object, object)),
            };
        }
        if let Some((start, end)) = run {
            self.add(Location::new(id, start), Location::new(id, end), unit.arrived);
        }
    }
}

#[cfg(test)]
mod tests;
