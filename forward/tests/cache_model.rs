//! The cache against a model that is simple and obviously right: a set of objects, a set of locations that do not
//! exist, and a FETCH answer read the way a subscriber reads it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use proptest::prelude::*;
use roundtable_forward::{
    Budget, CacheLimits, Insert, PublisherId, Terms, Track,
    track::{Gap, GapId, Repair, Step},
};
use roundtable_moqt::{
    Location, Object, Status, fetch_stream::FetchItem, message::GroupOrder, properties::Writer,
};

const GROUPS: u64 = 5;
const OBJECTS: u64 = 6;
const PUBLISHER: PublisherId = PublisherId(1);

#[derive(Debug, Clone)]
enum Op {
    Object { at: Location, is_wrong: bool, ends_group: bool },
    PriorGap { at: Location, groups: u64, objects: u64 },
    EndOfGroup(Location),
    EndOfTrack(Location),
    Repair { start: Location, end: Location, brings: Vec<(Location, u8)>, is_whole: bool },
}

fn location() -> impl Strategy<Value = Location> {
    (0..GROUPS, 0..OBJECTS).prop_map(|(group, object)| Location::new(group, object))
}

fn op() -> impl Strategy<Value = Op> {
    let object = (location(), prop::bool::weighted(0.05), prop::bool::weighted(0.1));
    let repair = (location(), location(), prop::collection::vec((location(), 0..3_u8), 0..6), any::<bool>());
    prop_oneof![
        12 => object.prop_map(|(at, is_wrong, ends_group)| Op::Object { at, is_wrong, ends_group }),
        2 => (location(), 0..3_u64, 0..3_u64)
            .prop_map(|(at, groups, objects)| Op::PriorGap { at, groups, objects }),
        1 => location().prop_map(Op::EndOfGroup),
        1 => location().prop_map(Op::EndOfTrack),
        2 => repair.prop_map(|(one, other, mut brings, is_whole)| {
            brings.sort();
            Op::Repair { start: one.min(other), end: one.max(other), brings, is_whole }
        }),
    ]
}

fn payload(at: Location) -> Vec<u8> {
    vec![at.group as u8, at.object as u8]
}

/// All locations a test can tell apart: the ids in use, the one after, and the last of each group.
fn universe() -> impl Iterator<Item = Location> {
    (0..=GROUPS)
        .flat_map(|group| (0..=OBJECTS + 1).chain([u64::MAX]).map(move |object| Location::new(group, object)))
}

#[derive(Default)]
struct Model {
    objects: BTreeSet<Location>,
    absent: BTreeSet<Location>,
    group_ends: BTreeMap<u64, u64>,
    track_end: Option<Location>,
    largest: Option<Location>,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    New,
    Duplicate,
    Absent,
    Malformed,
}

impl Model {
    fn set_absent(&mut self, range: std::ops::RangeInclusive<Location>) {
        self.absent.extend(universe().filter(|location| range.contains(location)));
    }

    fn insert(&mut self, at: Location, is_wrong: bool, is_live: bool) -> Verdict {
        if self.objects.contains(&at) {
            return if is_wrong { Verdict::Malformed } else { Verdict::Duplicate };
        }
        let is_beyond = self.track_end.is_some_and(|end| at >= end)
            || self.group_ends.get(&at.group).is_some_and(|end| at.object >= *end);
        if is_beyond {
            return Verdict::Malformed;
        }
        if self.absent.contains(&at) {
            return Verdict::Absent;
        }
        self.objects.insert(at);
        if is_live {
            self.largest = self.largest.max(Some(at));
        }
        Verdict::New
    }

    fn end_group(&mut self, end: Location) -> Verdict {
        if let Some(known) = self.group_ends.get(&end.group) {
            return if *known == end.object { Verdict::Duplicate } else { Verdict::Malformed };
        }
        let rest = end..=Location::new(end.group, u64::MAX);
        if self.objects.range(rest.clone()).next().is_some() {
            return Verdict::Malformed;
        }
        self.group_ends.insert(end.group, end.object);
        self.set_absent(rest);
        Verdict::New
    }

    fn end_track(&mut self, end: Location) -> Verdict {
        if let Some(known) = self.track_end {
            return if known == end { Verdict::Duplicate } else { Verdict::Malformed };
        }
        if self.objects.range(end..).next().is_some() {
            return Verdict::Malformed;
        }
        self.track_end = Some(end);
        self.set_absent(end..=Location::new(u64::MAX, u64::MAX));
        Verdict::New
    }
}

fn verdict(insert: Insert) -> Verdict {
    match insert {
        Insert::New => Verdict::New,
        Insert::Duplicate => Verdict::Duplicate,
        Insert::Absent => Verdict::Absent,
        Insert::Malformed(_) => Verdict::Malformed,
        Insert::TooOld => panic!("nothing is evicted here"),
    }
}

fn status(at: Location, status: Status) -> Object {
    Object { status, ..Object::datagram(at, vec![]) }
}

fn apply(op: &Op, now: Instant, track: &mut Track, model: &mut Model) {
    match op {
        Op::Object { at, is_wrong, ends_group } => {
            let end = Location::new(at.group, at.object + 1);
            // What the end says is judged with the object; the model judges them one by one.
            let mut object = Object::datagram(*at, if *is_wrong { vec![9] } else { payload(*at) });
            object.ends_group = *ends_group;
            let mut trial = Model { objects: model.objects.clone(), ..Model::default() };
            trial.absent.clone_from(&model.absent);
            trial.group_ends.clone_from(&model.group_ends);
            trial.track_end = model.track_end;
            trial.largest = model.largest;
            let is_wrong = *is_wrong && model.objects.contains(at);
            let object = if is_wrong { object } else { Object { payload: payload(*at).into(), ..object } };
            let mut expected = trial.insert(*at, is_wrong, true);
            let is_taken = matches!(expected, Verdict::New | Verdict::Duplicate);
            if *ends_group && is_taken && trial.end_group(end) == Verdict::Malformed {
                expected = Verdict::Malformed;
            }
            if expected != Verdict::Malformed {
                *model = trial;
            }
            assert_eq!(verdict(track.insert(now, PUBLISHER, &object)), expected);
        }
        Op::PriorGap { at, groups, objects } => {
            let mut writer = Writer::new();
            writer.integer(0x3C, *groups).integer(0x3E, *objects);
            let object = Object { properties: writer.finish(), ..Object::datagram(*at, payload(*at)) };
            if model.objects.contains(at)
                || model.absent.contains(at)
                || *groups > at.group
                || *objects > at.object
            {
                return;
            }
            let group_gap = Location::new(at.group - groups, 0)..Location::new(at.group, 0);
            let object_gap = Location::new(at.group, at.object - objects)..*at;
            let covers = |gap: &std::ops::Range<Location>| model.objects.range(gap.clone()).next().is_some();
            if covers(&group_gap) || covers(&object_gap) {
                return;
            }
            let gaps = [group_gap, object_gap];
            model.absent.extend(universe().filter(|at| gaps.iter().any(|gap| gap.contains(at))));
            let expected = model.insert(*at, false, true);
            assert_eq!(verdict(track.insert(now, PUBLISHER, &object)), expected);
        }
        Op::EndOfGroup(at) => {
            let expected = model.end_group(*at);
            let insert = track.insert(now, PUBLISHER, &status(*at, Status::EndOfGroup));
            assert_eq!(verdict(insert), expected);
        }
        Op::EndOfTrack(at) => {
            let expected = model.end_track(*at);
            let insert = track.insert(now, PUBLISHER, &status(*at, Status::EndOfTrack));
            assert_eq!(verdict(insert), expected);
        }
        Op::Repair { start, end, brings, is_whole } => {
            let wire_end = Location::new(end.group, end.object + 1);
            let gap = Gap { id: GapId(u64::MAX), publisher: PUBLISHER, start: *start, end: wire_end };
            let mut repair = Repair::new(gap);
            let mut told = BTreeSet::new();
            for (at, kind) in brings.iter().filter(|(at, _)| (start..=end).contains(&at)) {
                if !told.insert(*at) {
                    continue;
                }
                let previous = told.range(..at).next_back().copied();
                let between = |location: &Location| {
                    previous.map_or(location >= start, |previous| *location > previous) && location < at
                };
                let item = match kind {
                    0 => FetchItem::NonExistent(*at),
                    1 => FetchItem::Unknown(*at),
                    _ => FetchItem::Object(Object::datagram(*at, payload(*at))),
                };
                if *kind != 1 {
                    model.absent.extend(universe().filter(between));
                }
                match repair.item(now, track, &item) {
                    Some(insert) => assert_eq!(verdict(insert), model.insert(*at, false, false)),
                    None if *kind == 0 => model.set_absent(*at..=*at),
                    None => assert_eq!(*kind, 1),
                }
            }
            if *is_whole {
                repair.accepted(wire_end);
                let from = told.last().copied();
                let rest = |at: &Location| from.map_or(at >= start, |from| *at > from) && at <= end;
                model.absent.extend(universe().filter(rest));
                repair.finished(track);
            } else {
                repair.failed(now, track);
            }
        }
    }
}

/// What a subscriber knows of every location after it has read the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Object,
    Absent,
    Unknown,
}

fn read(items: &[FetchItem], locations: &mut Vec<Location>, order: GroupOrder) -> BTreeMap<Location, Known> {
    let key = |at: &Location| match order {
        GroupOrder::Ascending => (at.group, at.object),
        GroupOrder::Descending => (u64::MAX - at.group, at.object),
    };
    locations.sort_by_key(key);
    let mut known = BTreeMap::new();
    let mut rest = locations.as_slice();
    let mut previous = None;
    for item in items {
        let (at, between, here) = match item {
            FetchItem::Object(object) => {
                assert_eq!(object.payload, payload(object.location));
                assert_eq!((object.status, object.priority), (Status::Normal, Some(128)));
                (object.location, Known::Absent, Known::Object)
            }
            FetchItem::NonExistent(at) => (*at, Known::Absent, Known::Absent),
            FetchItem::Unknown(at) => (*at, Known::Unknown, Known::Unknown),
        };
        assert!(previous.is_none_or(|previous| previous < key(&at)), "out of order: {items:?}");
        previous = Some(key(&at));
        let (passed, following) = rest.split_at(rest.partition_point(|location| key(location) <= key(&at)));
        known.extend(passed.iter().map(|location| (*location, if *location == at { here } else { between })));
        rest = following;
    }
    known.extend(rest.iter().map(|location| (*location, Known::Absent)));
    known
}

fn check_fetch(
    track: &Track,
    model: &Model,
    start: Location,
    end: Location,
    order: GroupOrder,
    now: Instant,
) {
    let last = Location::new(end.group, end.object.checked_sub(1).unwrap_or(u64::MAX));
    let answer = track.fetch(start, end, order, now);
    let Some(largest) = model.largest.filter(|largest| start <= *largest && start <= last) else {
        assert!(answer.is_err());
        return;
    };
    let mut answer = answer.unwrap();
    let expected_end = if last > largest { Location::new(largest.group, largest.object + 1) } else { end };
    assert_eq!(answer.end, expected_end);
    let last = last.min(largest);
    let mut items = vec![];
    loop {
        match track.next(&mut answer.cursor, now) {
            Step::Item(item) => items.push(item),
            Step::Done => break,
            Step::Wait(_) => panic!("patience is over"),
        }
        assert!(items.len() < 1000, "an answer without end");
    }
    let mut locations = universe().filter(|at| (start..=last).contains(at)).collect();
    for (at, known) in read(&items, &mut locations, order) {
        let expected = match () {
            () if model.objects.contains(&at) => Known::Object,
            () if model.absent.contains(&at) => Known::Absent,
            () => Known::Unknown,
        };
        assert_eq!(known, expected, "{at:?} in {items:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_knows_what_a_set_of_objects_would(
        ops in prop::collection::vec(op(), 0..40),
        fetches in prop::collection::vec((location(), location(), any::<bool>(), any::<bool>()), 1..8),
    ) {
        let now = Instant::now();
        let budget = Budget::new(1 << 20);
        let mut track = Track::new(CacheLimits::default(), &budget, Terms::default());
        let mut model = Model::default();
        for op in &ops {
            apply(op, now, &mut track, &mut model);
            prop_assert_eq!(track.largest(), model.largest);
        }
        for at in universe() {
            prop_assert_eq!(track.has(at), model.objects.contains(&at));
        }
        for (start, end, is_whole_group, is_descending) in fetches {
            let end = if is_whole_group { Location::new(end.group, 0) } else { end };
            let order = if is_descending { GroupOrder::Descending } else { GroupOrder::Ascending };
            check_fetch(&track, &model, start, end, order, now);
        }
        prop_assert_eq!(budget.bytes(), track.bytes());
        drop(track);
        prop_assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn a_small_cache_forgets_but_never_lies(
        ops in prop::collection::vec((op(), 0..400_u64), 0..120),
        bytes_max in 300..3000_usize,
        newest_group_bytes_max in 300..2000_usize,
        entries_max in 1..20_usize,
        budget_bytes_max in 300..4000_usize,
    ) {
        let mut now = Instant::now();
        let budget = Budget::new(budget_bytes_max);
        let age_max = Duration::from_secs(1);
        let limits = CacheLimits { bytes_max, newest_group_bytes_max, entries_max, age_max, ..CacheLimits::default() };
        let mut track = Track::new(limits, &budget, Terms::default());
        let _neighbour = Track::new(CacheLimits::default(), &budget, Terms::default());
        let mut sent = BTreeSet::new();
        for (op, ms) in ops {
            now += Duration::from_millis(ms);
            if let Op::Object { at, .. } = op {
                track.insert(now, PUBLISHER, &Object::datagram(at, payload(at)));
                sent.insert(at);
            }
            track.evict(now);
            prop_assert!(track.bytes() <= bytes_max + newest_group_bytes_max + 160);
            prop_assert!(track.bytes() <= budget_bytes_max || track.bytes() <= 160 + budget_bytes_max / 2);
            let all = (Location::new(0, 0), Location::new(GROUPS, 0));
            let Ok(mut fetch) = track.fetch(all.0, all.1, GroupOrder::Ascending, now) else { continue };
            let mut items = vec![];
            while let Step::Item(item) = track.next(&mut fetch.cursor, now) {
                items.push(item);
            }
            let objects = items.iter().filter(|item| matches!(item, FetchItem::Object(_))).count();
            prop_assert!(objects <= entries_max);
            let last = track.largest().unwrap();
            let mut locations = universe().filter(|at| *at <= last).collect();
            for (at, known) in read(&items, &mut locations, GroupOrder::Ascending) {
                match known {
                    Known::Object => prop_assert!(sent.contains(&at)),
                    Known::Absent => prop_assert!(false, "nobody said that {at:?} does not exist: {items:?}"),
                    Known::Unknown => {}
                }
            }
        }
    }
}
