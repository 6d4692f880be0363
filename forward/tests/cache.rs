//! What a track remembers, asks for and gives up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::{Duration, Instant};

use roundtable_forward::{
    Budget, CacheLimits, Insert, PublisherId, Terms, Track,
    track::{Gap, GapLimits, Malformed, Repair, Step},
};
use roundtable_moqt::{
    Location, Object, Status,
    fetch_stream::FetchItem,
    message::{Filter, GroupOrder},
};

const ALICE: PublisherId = PublisherId(1);
const MALLORY: PublisherId = PublisherId(2);
const MS: Duration = Duration::from_millis(1);

fn at(group: u64, object: u64) -> Location {
    Location::new(group, object)
}

fn track() -> Track {
    Track::new(CacheLimits::default(), &Budget::new(1 << 24), Terms::default())
}

fn datagram(group: u64, object: u64) -> Object {
    Object::datagram(at(group, object), vec![group as u8, object as u8])
}

fn ranges(gaps: &[Gap]) -> Vec<(Location, Location)> {
    gaps.iter().map(|gap| (gap.start, gap.end)).collect()
}

fn items(track: &Track, start: Location, end: Location, now: Instant) -> Vec<FetchItem> {
    let mut fetch = track.fetch(start, end, GroupOrder::Ascending, now).unwrap();
    let step = std::iter::from_fn(|| match track.next(&mut fetch.cursor, now) {
        Step::Item(item) => Some(item),
        Step::Wait(_) | Step::Done => None,
    });
    step.collect()
}

#[test]
fn a_publisher_that_contradicts_itself_has_broken_its_track() {
    let (now, mut track) = (Instant::now(), track());
    assert_eq!(track.insert(now, ALICE, &datagram(1, 0)), Insert::New);
    assert_eq!(track.insert(now, ALICE, &datagram(1, 0)), Insert::Duplicate);
    for object in [
        Object { payload: vec![7].into(), ..datagram(1, 0) },
        Object { priority: Some(3), ..datagram(1, 0) },
        Object { forwarding: roundtable_moqt::Forwarding::Subgroup(0), ..datagram(1, 0) },
    ] {
        let Insert::Malformed(Malformed { contradicts, .. }) = track.insert(now, ALICE, &object) else {
            panic!("{object:?}")
        };
        assert_eq!(contradicts, ALICE);
    }
    let default_said = Object { priority: Some(128), ..datagram(1, 0) };
    assert_eq!(track.insert(now, ALICE, &default_said), Insert::Duplicate);
}

#[test]
fn a_second_publisher_cannot_end_the_track_of_the_first() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &datagram(1, 0));
    let nonsense = Object { payload: vec![7].into(), ..datagram(1, 0) };
    let insert = track.insert(now, MALLORY, &nonsense);
    assert!(matches!(insert, Insert::Malformed(Malformed { contradicts: ALICE, .. })), "told apart from her");

    let end = Object { status: Status::EndOfTrack, ..Object::datagram(at(1, 1), vec![]) };
    assert_eq!(track.insert(now, MALLORY, &end), Insert::New);
    let insert = track.insert(now, ALICE, &datagram(1, 1));
    assert!(matches!(insert, Insert::Malformed(Malformed { contradicts: MALLORY, .. })));
    track.remove_publisher(MALLORY);
    assert_eq!(track.insert(now, ALICE, &datagram(1, 1)), Insert::New);
}

#[test]
fn forgetting_a_publisher_keeps_to_the_limit_of_entries() {
    let now = Instant::now();
    let limits = CacheLimits { entries_max: 120, ..CacheLimits::default() };
    let mut track = Track::new(limits, &Budget::new(1 << 24), Terms::default());
    let status = |status, at| Object { status, ..Object::datagram(at, vec![]) };
    track.insert(now, MALLORY, &status(Status::EndOfTrack, at(0, 0)));
    for group in 0..100 {
        track.insert(now, ALICE, &status(Status::EndOfGroup, at(group, 1)));
    }
    assert_eq!(track.counters().groups_evicted, 0, "one range says what does not exist");
    track.remove_publisher(MALLORY);
    assert_eq!(track.counters().groups_evicted, 40, "each of a hundred groups has an end of its own");
}

#[test]
fn priority_may_not_change_within_a_subgroup() {
    let (now, mut track) = (Instant::now(), track());
    let object = |id, priority| Object { priority, ..Object::stream(at(1, id), vec![1]) };
    assert_eq!(track.insert(now, ALICE, &object(0, Some(5))), Insert::New);
    assert!(matches!(track.insert(now, ALICE, &object(1, Some(6))), Insert::Malformed(_)));
}

#[test]
fn a_group_that_ends_with_fin_has_nothing_behind_its_last_object() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &Object::stream(at(4, 0), vec![1]));
    track.end_group(now, ALICE, at(4, 0)).unwrap();
    assert!(matches!(track.insert(now, ALICE, &Object::stream(at(4, 1), vec![1])), Insert::Malformed(_)));
    let range = Filter::AbsoluteRange { start: at(4, 0), end_group: 4 };
    assert!(track.window(Some(range)).is_err(), "the whole range has been published");
}

#[test]
fn what_was_skipped_is_asked_for_once_after_a_grace() {
    let (now, mut track) = (Instant::now(), track());
    for object in [3, 4, 7, 10] {
        track.insert(now, ALICE, &datagram(1, object));
    }
    assert_eq!(ranges(&track.gaps(now)), [], "it may be merely late");
    track.insert(now + MS, ALICE, &datagram(1, 5));
    let later = track.poll_timeout().unwrap();
    assert_eq!(
        ranges(&track.gaps(later)),
        [(at(1, 6), at(1, 10))],
        "close ones as one, none before the first"
    );
    assert_eq!(ranges(&track.gaps(later)), []);
    assert_eq!(track.counters().gaps_asked, 1);
    assert_eq!(track.counters().gaps_closed_late, 1);
}

#[test]
fn gaps_far_apart_are_asked_for_apart_and_only_so_many_at_once() {
    let (now, mut track) = (Instant::now(), track());
    (0..200).filter(|id| id % 20 != 10).for_each(|id| {
        track.insert(now, ALICE, &datagram(1, id));
    });
    let gaps = track.gaps(now + 10 * MS);
    let expected: Vec<_> = (0..4).map(|n| (at(1, 20 * n + 10), at(1, 20 * n + 11))).collect();
    assert_eq!(ranges(&gaps), expected);
    assert_eq!(ranges(&track.gaps(now + 10 * MS)), []);
    let mut repair = Repair::new(gaps[0]);
    repair.accepted(at(1, 11));
    let object = FetchItem::Object(datagram(1, 10));
    assert_eq!(repair.item(now, &mut track, &object), Some(Insert::New));
    repair.finished(&mut track);
    assert_eq!(ranges(&track.gaps(now + 11 * MS)), [(at(1, 90), at(1, 91))]);
}

#[test]
fn missing_ranges_stay_few_however_objects_cut_them_to_pieces() {
    let now = Instant::now();
    let gaps =
        GapLimits { ranges_max: 8, merged_objects_max: 0, outstanding_max: 1000, ..GapLimits::default() };
    let limits = CacheLimits { gaps, ..CacheLimits::default() };
    let mut track = Track::new(limits, &Budget::new(1 << 24), Terms::default());
    track.insert(now, ALICE, &datagram(1, 0));
    track.insert(now, ALICE, &datagram(1, 200));
    for late in (2..200).step_by(2) {
        track.insert(now, ALICE, &datagram(1, late));
    }
    let last: Vec<_> = (0..8).map(|n| (at(1, 185 + 2 * n), at(1, 186 + 2 * n))).collect();
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), last, "the oldest are given up");
    assert_eq!(track.counters().gaps_given_up, 92);
}

#[test]
fn the_lost_end_of_a_group_is_asked_for_when_the_next_begins() {
    let (now, mut track) = (Instant::now(), track());
    for (group, object) in [(1, 0), (1, 1), (2, 0)] {
        track.insert(now, ALICE, &datagram(group, object));
    }
    let gaps = track.gaps(now + 5 * MS);
    assert_eq!(ranges(&gaps), [(at(1, 2), at(1, 0))], "until the whole group is there");
    let mut repair = Repair::new(gaps[0]);
    repair.accepted(at(1, 0));
    repair.finished(&mut track);
    assert_eq!(track.insert(now, ALICE, &datagram(1, 2)), Insert::Absent, "the answer said there is none");
}

#[test]
fn an_end_that_is_marked_leaves_no_question() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &datagram(1, 0));
    track.insert(now, ALICE, &Object { ends_group: true, ..datagram(1, 1) });
    track.insert(now, ALICE, &datagram(2, 0));
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), []);
}

#[test]
fn audio_misses_whole_groups_and_never_their_ends() {
    let (now, mut track) = (Instant::now(), track());
    for group in [100, 101, 104, 105] {
        track.insert(now, ALICE, &datagram(group, 0));
    }
    track.insert(now + MS, ALICE, &datagram(103, 0));
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), [(at(102, 0), at(102, 0))]);
}

#[test]
fn a_publisher_that_starts_anew_has_lost_nothing() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &datagram(1, 1));
    track.insert(now, ALICE, &datagram(1_700_000_000_000, 0));
    track.insert(now, MALLORY, &datagram(1_700_000_000_005, 3));
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), []);
}

#[test]
fn what_two_publishers_lost_is_asked_of_one() {
    let (now, mut track) = (Instant::now(), track());
    for object in [0, 4, 8] {
        track.insert(now, ALICE, &datagram(1, object));
    }
    let gaps = track.gaps(now + 5 * MS);
    assert_eq!(ranges(&gaps), [(at(1, 1), at(1, 8))]);
    track.insert(now, MALLORY, &datagram(1, 9));
    track.remove_publisher(MALLORY);
    track.insert(now, MALLORY, &datagram(1, 2));
    track.insert(now, MALLORY, &datagram(1, 11));
    let gaps = track.gaps(now + 5 * MS);
    assert_eq!(ranges(&gaps), [(at(1, 10), at(1, 11))], "the rest has been asked for");
    assert_eq!(gaps[0].publisher, MALLORY);
}

#[test]
fn objects_on_streams_are_never_missed() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &Object::stream(at(1, 0), vec![1]));
    for object in [1, 5] {
        track.insert(now, ALICE, &datagram(1, object));
    }
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), []);
    track.insert(now, ALICE, &datagram(2, 0));
    track.insert(now, ALICE, &datagram(2, 2));
    track.insert(now, ALICE, &Object::stream(at(2, 1), vec![1]));
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), []);
}

#[test]
fn a_question_without_an_answer_is_asked_twice_and_then_given_up() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &datagram(1, 0));
    track.insert(now, ALICE, &datagram(1, 2));
    let gap = track.gaps(now + 5 * MS)[0];
    Repair::new(gap).failed(now + 6 * MS, &mut track);
    assert_eq!(ranges(&track.gaps(now + 6 * MS)), [], "not at once");
    assert_eq!(track.gaps(now + 100 * MS).len(), 1);
    assert_eq!(ranges(&track.gaps(now + 601 * MS)), [], "no answer in time");
    assert_eq!(track.poll_timeout(), None);
    assert_eq!(track.counters().gaps_given_up, 1);
}

#[test]
fn a_publisher_that_does_not_answer_fetch_is_not_asked() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &datagram(1, 0));
    track.insert(now, ALICE, &datagram(1, 2));
    track.stop_repairs(ALICE);
    track.insert(now, ALICE, &datagram(1, 4));
    assert_eq!(ranges(&track.gaps(now + 5 * MS)), []);
}

#[test]
fn a_fetch_waits_for_a_repair_until_its_patience_is_over() {
    let (now, mut track) = (Instant::now(), track());
    for object in [0, 2, 3] {
        track.insert(now, ALICE, &datagram(1, object));
    }
    let patience = now + 50 * MS;
    let begin = |track: &Track| {
        let mut fetch = track.fetch(at(1, 0), at(1, 4), GroupOrder::Ascending, patience).unwrap();
        assert!(matches!(track.next(&mut fetch.cursor, now), Step::Item(FetchItem::Object(_))));
        fetch.cursor
    };
    let (mut repaired, mut given_up) = (begin(&track), begin(&track));
    assert_eq!(track.next(&mut given_up, now), Step::Wait(patience));
    assert_eq!(track.next(&mut given_up, patience), Step::Item(FetchItem::Unknown(at(1, 1))));

    assert_eq!(track.next(&mut repaired, now), Step::Wait(patience));
    track.insert(now, ALICE, &datagram(1, 1));
    let Step::Item(FetchItem::Object(object)) = track.next(&mut repaired, now) else { panic!() };
    assert_eq!(object.location, at(1, 1));
}

#[test]
fn fetch_ranges_are_resolved_as_the_draft_says() {
    let (now, mut track) = (Instant::now(), track());
    let fetch =
        |track: &Track, start, end| track.fetch(start, end, GroupOrder::Ascending, now).map(|ok| ok.end);
    assert!(fetch(&track, at(0, 0), at(9, 0)).is_err(), "nothing has been published");
    track.insert(now, ALICE, &datagram(5, 0));
    track.insert(now, ALICE, &datagram(5, 1));
    assert_eq!(fetch(&track, at(4, 3), at(5, 1)), Ok(at(5, 1)));
    assert_eq!(fetch(&track, at(4, 3), at(4, 0)), Ok(at(4, 0)), "a whole group");
    assert_eq!(
        fetch(&track, at(5, 1), at(5, 0)),
        Ok(at(5, 2)),
        "the group at hand goes to the largest object"
    );
    assert_eq!(fetch(&track, at(5, 1), at(9, 7)), Ok(at(5, 2)));
    assert!(fetch(&track, at(5, 2), at(9, 0)).is_err(), "beyond the largest object");
    assert!(fetch(&track, at(5, 1), at(5, 1)).is_err(), "ends before it starts");
    assert!(fetch(&track, at(5, 0), at(4, 0)).is_err());
}

#[test]
fn the_end_of_the_track_is_told() {
    let (now, mut track) = (Instant::now(), track());
    track.insert(now, ALICE, &datagram(5, 0));
    let end = Object { status: Status::EndOfTrack, ..Object::datagram(at(6, 0), vec![]) };
    track.insert(now, ALICE, &end);
    let fetch = |track: &Track| track.fetch(at(5, 0), at(9, 0), GroupOrder::Ascending, now).unwrap();
    assert!(!fetch(&track).end_of_track, "the end of the last group is not known");
    track.end_group(now, ALICE, at(5, 0)).unwrap();
    assert!(fetch(&track).end_of_track);
    assert_eq!(track.largest(), Some(at(5, 0)), "a status is no object");
}

#[test]
fn objects_past_max_cache_duration_are_unknown() {
    let now = Instant::now();
    let terms = Terms { cache_duration_max: Some(100 * MS), ..Terms::default() };
    let mut track = Track::new(CacheLimits::default(), &Budget::new(1 << 24), terms);
    track.insert(now, ALICE, &datagram(1, 0));
    track.insert(now + 60 * MS, ALICE, &datagram(1, 1));
    let expected =
        [FetchItem::Unknown(at(1, 0)), FetchItem::Object(Object { priority: Some(128), ..datagram(1, 1) })];
    assert_eq!(items(&track, at(1, 0), at(1, 0), now + 100 * MS), expected);
    track.evict(now + 100 * MS);
    assert!(!track.has(at(1, 0)) && track.has(at(1, 1)));
    assert_eq!(items(&track, at(1, 0), at(1, 0), now + 100 * MS), expected);
    assert_eq!(track.insert(now, ALICE, &datagram(1, 0)), Insert::TooOld);
}

#[test]
fn old_groups_go_whole_and_the_newest_stays() {
    let (now, mut track) = (Instant::now(), track());
    for (group, object) in [(1, 0), (1, 1), (2, 0), (3, 0)] {
        track.insert(now, ALICE, &datagram(group, object));
    }
    track.insert(now + 20_000 * MS, ALICE, &datagram(2, 1));
    track.evict(now + 40_000 * MS);
    assert!(!track.has(at(1, 0)) && !track.has(at(1, 1)));
    assert!(track.has(at(2, 0)) && track.has(at(2, 1)) && track.has(at(3, 0)));
    track.evict(now + 90_000 * MS);
    assert!(!track.has(at(2, 1)) && track.has(at(3, 0)));
    assert_eq!(track.counters().groups_evicted, 2);
}

#[test]
fn a_joiner_learns_whether_the_start_of_the_group_is_here() {
    let now = Instant::now();
    let limits = CacheLimits { newest_group_bytes_max: 100_000, ..CacheLimits::default() };
    let mut track = Track::new(limits, &Budget::new(1 << 24), Terms::default());
    let object = |id| Object::datagram(at(1, id), vec![0; 1000]);
    track.insert(now, ALICE, &object(0));
    track.insert(now, ALICE, &object(1));
    assert_eq!(track.join_bytes(1), Some(2000));
    assert_eq!(track.join_bytes(2), None);
    (2..200).for_each(|id| assert_eq!(track.insert(now, ALICE, &object(id)), Insert::New));
    assert_eq!(track.join_bytes(1), None, "its start was given up");
    assert!(track.has(at(1, 199)), "its end is still good for repairs");
}

#[test]
fn tracks_that_share_a_budget_keep_their_share() {
    let now = Instant::now();
    let budget = Budget::new(100_000);
    let mut tracks: Vec<_> =
        (0..4).map(|_| Track::new(CacheLimits::default(), &budget, Terms::default())).collect();
    let object = |group| Object::datagram(at(group, 0), vec![0; 1000]);
    (0..1000).for_each(|group| assert_eq!(tracks[0].insert(now, ALICE, &object(group)), Insert::New));
    assert!((90_000..=100_000).contains(&budget.bytes()), "one may have all while nobody else wants any");
    for group in 0..15 {
        tracks[1].insert(now, ALICE, &object(group));
    }
    assert!((0..15).all(|group| tracks[1].has(at(group, 0))));
    tracks[0].evict(now);
    assert!(budget.bytes() <= 100_000);
    tracks.clear();
    assert_eq!(budget.bytes(), 0);
}
