//! Whatever a network does to the objects of a track, what comes out of the reassembler is what was published,
//! and what it cannot know it does not invent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use roundtable_media::{
    format::Frame,
    gaps::{self, Answer, Planner},
    loc::Properties,
    names::TrackName,
    packetize::{Layer, ParityPercent, VideoConfig, VideoPacketizer},
    reassemble::{Config, Output, Reassembler, Source},
};
use roundtable_moqt::object::{Location, Object, Status};

/// A small generator, so that a failure prints one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn frames(random: &mut Random, count: u64) -> Vec<Frame> {
    (0..count)
        .map(|number| {
            let is_key = number % 10 == 0;
            let bytes = 1 + random.below(if is_key { 110_000 } else { 4000 }) as usize;
            let fill = random.below(251) as usize;
            let data: Vec<u8> = (0..bytes).map(|at| ((at + 1) * (fill + 1) % 253) as u8).collect();
            Frame { pts: number as i64 * 3000, duration: None, is_key, data: data.into() }
        })
        .collect()
}

fn objects_of(frames: &[Frame], parity: u8) -> Vec<Object> {
    let config = VideoConfig {
        priorities: TrackName::Camera.priorities(),
        timescale: Some(90_000),
        has_layers: false,
        parity: ParityPercent { base: parity, upper: parity },
    };
    let mut packetizer = VideoPacketizer::new(config, 50);
    let mut objects: Vec<Object> =
        frames.iter().flat_map(|frame| packetizer.packetize(frame, Layer::default()).unwrap()).collect();
    objects.extend(packetizer.finish());
    objects
}

/// Moves each object by up to `distance` places.
fn reorder(random: &mut Random, objects: &mut [Object], distance: u64) {
    for at in 0..objects.len() {
        let other = at + random.below(distance + 1) as usize;
        if other < objects.len() {
            objects.swap(at, other);
        }
    }
}

/// Asserts that every frame is the one with that time stamp, each at most once and in order; how many came.
fn check(outputs: &[Output], frames: &[Frame]) -> usize {
    let mut next = 0;
    for output in outputs {
        let Output::Frame(received) = output else { continue };
        let number = usize::try_from(received.timestamp / 3000).unwrap();
        assert!(number >= next, "frame {number} after {next}");
        assert_eq!(received.data, frames[number].data, "frame {number}");
        assert_eq!(received.is_key, frames[number].is_key);
        next = number + 1;
    }
    outputs.iter().filter(|output| matches!(output, Output::Frame(_))).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_comes_out_is_what_went_in(
        seed in any::<u64>(), parity in 0_u8..40, loss_percent in 0_u64..40, distance in 0_u64..30,
    ) {
        let mut random = Random(seed);
        let frames = frames(&mut random, 20);
        let mut objects = objects_of(&frames, parity);
        let duplicates: Vec<_> = objects.iter().filter(|_| random.below(20) == 0).cloned().collect();
        objects.extend(duplicates);
        reorder(&mut random, &mut objects, distance);
        let start = Instant::now();
        let mut track = Reassembler::new(Config::live(Duration::from_millis(60)));
        track.start_at(Location::new(50, 0));
        let mut outputs = Vec::new();
        let mut now = start;
        for object in &objects {
            now += Duration::from_micros(300);
            if random.below(100) >= loss_percent {
                track.insert(now, object, Source::Live);
            }
            outputs.extend(std::iter::from_fn(|| track.poll(now)));
        }
        outputs.extend(std::iter::from_fn(|| track.flush(now)));
        let came = check(&outputs, &frames);
        let counters = track.counters();
        prop_assert_eq!(counters.bad, 0);
        prop_assert_eq!(counters.frames, came as u64);
        prop_assert!(counters.frames + counters.frames_lost <= frames.len() as u64);
        if loss_percent == 0 && distance == 0 {
            prop_assert_eq!(came, frames.len());
        }
    }

    #[test]
    fn everything_comes_back_when_no_block_loses_more_than_its_parity(
        seed in any::<u64>(), parity in 1_u8..60,
    ) {
        let mut random = Random(seed);
        let frames = frames(&mut random, 15);
        let mut objects = objects_of(&frames, parity);
        let mut losses = std::collections::HashMap::new();
        objects.retain(|object| {
            if object.status != Status::Normal {
                return true;
            }
            let Some(fragment) = Properties::decode(&object.properties).unwrap().fragment else { return true };
            let lost: &mut u8 =
                losses.entry((object.location.group, fragment.frame, fragment.block)).or_default();
            let is_lost = *lost < fragment.parity_count && random.below(3) == 0;
            *lost += u8::from(is_lost);
            !is_lost
        });
        let now = Instant::now();
        let mut track = Reassembler::new(Config::recorder());
        track.start_at(Location::new(50, 0));
        let mut outputs = Vec::new();
        for object in &objects {
            track.insert(now, object, Source::Live);
            outputs.extend(std::iter::from_fn(|| track.poll(now)));
        }
        prop_assert_eq!(check(&outputs, &frames), frames.len());
        prop_assert_eq!(track.counters().frames_lost, 0);
    }

    #[test]
    fn a_recorder_that_asks_for_what_is_missing_gets_everything(
        seed in any::<u64>(), parity in 0_u8..20, loss_percent in 1_u64..60,
    ) {
        let mut random = Random(seed);
        let frames = frames(&mut random, 20);
        let objects = objects_of(&frames, parity);
        let start = Instant::now();
        let mut now = start;
        let mut track = Reassembler::new(Config::recorder());
        track.start_at(Location::new(50, 0));
        let mut planner = Planner::new(gaps::Config::recorder());
        let mut outputs = Vec::new();
        let round_trip = Duration::from_millis(5);
        for (at, object) in objects.iter().enumerate() {
            now += Duration::from_micros(500);
            // The last object, which says where the track ends, comes: a recorder asks for the rest at the end.
            if at + 1 == objects.len() || random.below(100) >= loss_percent {
                track.insert(now, object, Source::Live);
            }
            repair(&mut track, &mut planner, &objects[..=at], now, round_trip);
            outputs.extend(std::iter::from_fn(|| track.poll(now)));
        }
        for _ in 0..200 {
            now += Duration::from_millis(50);
            repair(&mut track, &mut planner, &objects, now, round_trip);
            outputs.extend(std::iter::from_fn(|| track.poll(now)));
        }
        prop_assert_eq!(check(&outputs, &frames), frames.len());
        prop_assert_eq!(track.missing(10), []);
    }

}

proptest! {
    #[test]
    fn nonsense_neither_panics_nor_grows(objects in proptest::collection::vec(hostile_object(), 1..300)) {
        let config = Config { bytes_max: 1 << 20, groups_max: 16, ..Config::live(Duration::from_millis(10)) };
        let mut track = Reassembler::new(config);
        let mut planner = Planner::new(gaps::Config::live(Duration::from_millis(10)));
        let mut now = Instant::now();
        for object in &objects {
            now += Duration::from_micros(100);
            track.insert(now, object, Source::Live);
            prop_assert!(track.buffered_bytes() < (2 << 20) + (3 << 20));
            let missing = track.missing(20);
            prop_assert!(missing.len() <= 20);
            prop_assert!(missing.iter().all(|range| range.start <= range.end));
            planner.plan(now, &missing, Duration::ZERO);
            for _ in 0..1000 {
                if track.poll(now).is_none() {
                    break;
                }
            }
        }
        for _ in 0..10_000 {
            if track.flush(now).is_none() {
                break;
            }
        }
        prop_assert_eq!(track.flush(now), None);
        prop_assert_eq!(track.missing(1), []);
    }
}

/// Answers FETCHes at once, out of everything that was published.
fn repair(
    track: &mut Reassembler,
    planner: &mut Planner,
    published: &[Object],
    now: Instant,
    round_trip: Duration,
) {
    let missing = track.missing(64);
    for ask in planner.plan(now, &missing, round_trip).asks {
        let mut next = ask.start;
        for object in published {
            let is_asked = ask.start <= object.location && object.location <= ask.end;
            if !is_asked || object.status != Status::Normal {
                continue;
            }
            if object.location > next {
                let end = Location::new(object.location.group, object.location.object.wrapping_sub(1));
                if object.location.object > 0 {
                    track.note_absent(next, end);
                }
            }
            // A FETCH does not say where groups end.
            let object = Object { ends_group: false, ..object.clone() };
            track.insert(now, &object, Source::Fetch);
            next = Location::new(object.location.group, object.location.object + 1);
        }
        track.note_absent(next, ask.end);
        planner.answered(now, &ask, Answer::Complete);
    }
}

prop_compose! {
    fn hostile_object()(
        group in prop_oneof![0_u64..4, Just(u64::MAX), any::<u64>()],
        object in prop_oneof![0_u64..40, Just(u64::MAX), any::<u64>()],
        kind in 0_u8..10,
        numbers in proptest::array::uniform6(prop_oneof![0_u64..12, 0_u64..300, any::<u64>()]),
        ends in any::<bool>(),
        payload in 0_usize..1100,
        garbage in proptest::collection::vec(any::<u8>(), 0..30),
    ) -> Object {
        let location = Location::new(group, object);
        let mut writer = roundtable_moqt::properties::Writer::new();
        writer.bytes(0x09, &[if ends { 0x40 } else { 0x80 }, 0, 0]).integer(0x10, numbers[0]);
        let mut fragment = bytes::BytesMut::new();
        numbers.iter().for_each(|number| roundtable_moqt::vi64::put(&mut fragment, *number));
        if kind < 7 {
            writer.bytes(0x3801, &fragment);
        }
        let properties = if kind == 9 { Bytes::from(garbage) } else { writer.finish() };
        let status = if kind == 8 { Status::EndOfGroup } else { Status::Normal };
        Object { properties, status, ends_group: ends && kind == 7, ..Object::datagram(location, vec![0; payload]) }
    }
}
