use super::*;
use crate::{
    format::{Codec, Format, Frame, Shape},
    names::TrackName,
    packetize::{AudioConfig, AudioPacketizer, Layer, ParityPercent, VideoConfig, VideoPacketizer},
};

const WAIT: Duration = Duration::from_millis(100);

fn frame_of(number: u64, is_key: bool, bytes: usize) -> Frame {
    let data: Vec<u8> = (0..bytes).map(|at| (at as u64 * 7 + number * 13) as u8).collect();
    Frame { pts: number as i64 * 3000, duration: None, is_key, data: data.into() }
}

/// Objects of frames of these sizes, a key frame every `group_frames`, by frame.
fn video(sizes: &[usize], group_frames: usize, parity: u8) -> Vec<Vec<Object>> {
    let config = VideoConfig {
        priorities: TrackName::Camera.priorities(),
        timescale: Some(90_000),
        has_layers: false,
        parity: ParityPercent { base: parity, upper: parity },
    };
    let mut packetizer = VideoPacketizer::new(config, 1000);
    let frames = sizes.iter().enumerate();
    frames
        .map(|(number, size)| {
            let frame = frame_of(number as u64, number % group_frames == 0, *size);
            packetizer.packetize(&frame, Layer::default()).unwrap()
        })
        .collect()
}

fn opus_format() -> Format {
    Format {
        codec: Codec::Opus,
        codec_string: "opus".into(),
        shape: Shape::Audio { samplerate: 48_000, channels: 1 },
        config: Bytes::new(),
        timescale: 48_000,
    }
}

fn audio_objects(frames: u64, depth: usize) -> Vec<Object> {
    let config = AudioConfig {
        priorities: TrackName::Audio.priorities(),
        timescale: Some(48_000),
        frame_length: FrameLength::new(&opus_format()).unwrap(),
        redundancy_depth: depth,
    };
    let mut packetizer = AudioPacketizer::new(config, 500);
    (0..frames)
        .map(|number| {
            let data = vec![0xf8, number as u8, 3, 4];
            let frame = Frame { pts: number as i64 * 960, duration: None, is_key: true, data: data.into() };
            packetizer.packetize(&frame, None).unwrap()
        })
        .collect()
}

/// Everything a track gives out now, frames as their number.
fn drain(track: &mut Reassembler, now: Instant) -> Vec<Result<u64, Gap>> {
    std::iter::from_fn(|| track.poll(now))
        .map(|output| match output {
            Output::Frame(frame) => {
                Ok(frame.timestamp / if frame.timescale == Some(48_000) { 960 } else { 3000 })
            }
            Output::Gap(gap) => Err(gap),
        })
        .collect()
}

fn insert_all<'a>(track: &mut Reassembler, now: Instant, objects: impl IntoIterator<Item = &'a Object>) {
    for object in objects {
        track.insert(now, object, Source::Live);
    }
}

#[test]
fn frames_come_out_in_decode_order_whatever_the_order_of_objects() {
    let frames = video(&[3000, 100, 2500, 4000, 10], 3, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    track.start_at(Location::new(1000, 0));
    insert_all(&mut track, now, frames.iter().flatten().rev());
    assert_eq!(drain(&mut track, now), [Ok(0), Ok(1), Ok(2), Ok(3), Ok(4)]);
    assert_eq!(track.buffered_bytes(), 0);
    assert_eq!(track.counters().frames_lost, 0);
}

#[test]
fn a_missing_frame_holds_the_next_one_back_for_the_wait_and_is_then_a_gap() {
    let frames = video(&[100, 100, 100], 3, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    insert_all(&mut track, now, &frames[0]);
    insert_all(&mut track, now, &frames[2]);
    assert_eq!(drain(&mut track, now), [Ok(0)]);
    assert_eq!(track.poll_timeout(), Some(now + WAIT));
    let gap = Gap { start: Location::new(1000, 1), end: Location::new(1000, 2), frames_at_least: 1 };
    assert_eq!(drain(&mut track, now + WAIT), [Err(gap), Ok(2)]);
    assert_eq!(track.insert(now + WAIT, &frames[1][0], Source::Live), Inserted::Late);
    assert_eq!(track.insert(now + WAIT, &frames[0][0], Source::Live), Inserted::Duplicate);
    assert_eq!(track.counters().frames_lost, 1);
}

#[test]
fn a_frame_that_never_gets_whole_does_not_hold_the_others_forever() {
    let frames = video(&[3000, 3000, 50], 3, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    insert_all(&mut track, now, frames[0].iter().skip(1));
    insert_all(&mut track, now, &frames[2]);
    assert_eq!(drain(&mut track, now), []);
    let outputs = drain(&mut track, now + WAIT);
    // The second frame is missing as a whole, which is known because frames are numbered or counted as one gap.
    assert_eq!(outputs.len(), 3);
    assert_eq!(outputs[2], Ok(2));
    assert_eq!(track.counters().frames_lost, 2);
}

#[test]
fn numbered_frames_tell_later_how_many_were_lost() {
    let frames = video(&[100, 100, 100, 100, 3000], 9, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    insert_all(&mut track, now, frames[0].iter().chain(&frames[4]));
    let outputs = drain(&mut track, now + WAIT);
    assert!(matches!(outputs[..], [Ok(0), Err(Gap { frames_at_least: 1, .. }), Ok(4)]));
    assert_eq!(track.counters().frames_lost, 3);
}

#[test]
fn parity_replaces_lost_fragments() {
    let frames = video(&[9000, 9000], 9, 20);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    insert_all(&mut track, now, frames[0].iter().skip(2));
    insert_all(&mut track, now, frames[1].iter());
    let Some(Output::Frame(frame)) = track.poll(now) else { panic!("no frame") };
    assert_eq!(frame.data, frame_of(0, true, 9000).data);
    assert_eq!(frame.origin, Origin::Parity { fragments_rebuilt: 2 });
    assert_eq!(track.missing(9), []);
}

#[test]
fn what_is_missing_is_listed_as_far_as_it_can_be_known() {
    let frames = video(&[100, 5300, 100, 100, 100], 3, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::recorder());
    assert_eq!(frames[1].len(), 6);
    // Of group 1000: the first frame, and of the second all but two neighbours and one more.
    insert_all(&mut track, now, &frames[0]);
    let kept = [0, 3, 5].map(|at| &frames[1][at]);
    insert_all(&mut track, now, kept);
    let expected = [((1000, 2), (1000, 3)), ((1000, 5), (1000, 5))];
    let ranges = |track: &Reassembler| -> Vec<_> {
        let missing = track.missing(9);
        missing
            .iter()
            .map(|range| ((range.start.group, range.start.object), (range.end.group, range.end.object)))
            .collect()
    };
    let listed = ranges(&track);
    assert_eq!(listed, expected);
    // The next group's second frame: the tail of 1000 is unknown, so is the beginning of 1001.
    insert_all(&mut track, now, &frames[4]);
    let listed = ranges(&track);
    assert!(listed.contains(&((1000, 7), (1000, u64::MAX))), "{listed:?}");
    assert!(listed.contains(&((1001, 0), (1001, 0))), "{listed:?}");
    // Whole groups missing.
    let far = Object { location: Location::new(1004, 0), ..frames[4].last().unwrap().clone() };
    track.insert(now, &far, Source::Live);
    assert!(ranges(&track).contains(&((1001, 2), (1001, u64::MAX))));
    assert!(ranges(&track).contains(&((1002, 0), (1003, u64::MAX))));
}

#[test]
fn what_does_not_exist_is_no_loss() {
    let frames = video(&[100, 100, 100], 2, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::recorder());
    insert_all(&mut track, now, frames[0].iter().chain(&frames[1]));
    // The next group comes without the news that the last one has ended, and without two groups between.
    let object = Object { location: Location::new(1003, 0), ..frames[2][1].clone() };
    track.insert(now, &object, Source::Live);
    assert_eq!(drain(&mut track, now), [Ok(0), Ok(1)]);
    track.note_absent(Location::new(1000, 2), Location::new(1002, u64::MAX));
    assert_eq!(drain(&mut track, now), [Ok(2)]);
    assert_eq!((track.counters().gaps, track.counters().frames_lost), (0, 0));
}

#[test]
fn an_incomplete_frame_is_given_up_when_the_rest_does_not_exist_or_nobody_has_it() {
    for absent in [true, false] {
        let frames = video(&[3000, 100], 9, 0);
        let now = Instant::now();
        let mut track = Reassembler::new(Config::recorder());
        insert_all(&mut track, now, frames[0].iter().skip(1).chain(&frames[1]));
        assert_eq!(drain(&mut track, now), []);
        let first = Location::new(1000, 0);
        if absent {
            track.note_absent(first, first);
        } else {
            track.abandon(first, first);
        }
        let outputs = drain(&mut track, now);
        assert!(matches!(outputs[..], [Err(Gap { frames_at_least: 1, .. }), Ok(1)]), "{outputs:?}");
    }
}

#[test]
fn lost_sound_is_taken_out_of_later_objects() {
    let objects = audio_objects(10, 3);
    let now = Instant::now();
    let config = Config::live(WAIT).with_audio(FrameLength::new(&opus_format()));
    let mut track = Reassembler::new(config);
    insert_all(&mut track, now, objects.iter().take(3).chain(objects.iter().skip(6)));
    assert_eq!(drain(&mut track, now), (0..10).map(Ok).collect::<Vec<_>>());
    assert_eq!(track.counters().frames_from_redundancy, 3);
}

#[test]
fn a_recorder_takes_redundancy_only_when_the_object_itself_will_not_come() {
    let objects = audio_objects(4, 2);
    let now = Instant::now();
    let config = Config::recorder().with_audio(FrameLength::new(&opus_format()));
    let mut track = Reassembler::new(config);
    insert_all(&mut track, now, objects.iter().take(1).chain(objects.iter().skip(2)));
    assert_eq!(drain(&mut track, now), [Ok(0)]);
    let missing = track.missing(9);
    assert_eq!((missing[0].start, missing[0].end), (Location::new(501, 0), Location::new(501, u64::MAX)));
    track.abandon(missing[0].start, missing[0].end);
    assert_eq!(drain(&mut track, now), [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(track.counters().frames_from_redundancy, 1);
}

#[test]
fn lost_sound_without_redundancy_is_counted_by_groups() {
    let objects = audio_objects(10, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    insert_all(&mut track, now, objects.iter().take(3).chain(objects.iter().skip(7)));
    let outputs = drain(&mut track, now + WAIT);
    assert_eq!(
        outputs[3],
        Err(Gap { start: Location::new(503, 0), end: Location::new(507, 0), frames_at_least: 4 })
    );
    assert_eq!(track.counters().frames_lost, 4);
}

#[test]
fn the_end_of_a_film_gives_out_what_is_there() {
    let frames = video(&[100, 3000, 100, 3000], 9, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::recorder());
    insert_all(&mut track, now, frames[0].iter().chain(&frames[2]).chain(frames[3].iter().take(1)));
    let mut outputs = Vec::new();
    while let Some(output) = track.flush(now) {
        outputs.push(output);
    }
    let kinds: Vec<_> = outputs.iter().map(|output| matches!(output, Output::Frame(_))).collect();
    assert_eq!(kinds, [true, false, true, false]);
    assert_eq!(track.counters().frames_lost, 2);
}

#[test]
fn memory_is_bounded_and_the_oldest_gap_goes_first() {
    let now = Instant::now();
    let config = Config { bytes_max: 64 << 10, groups_max: 8, ..Config::recorder() };
    let mut track = Reassembler::new(config);
    // The first frame never comes; all later ones wait behind it until memory is short.
    let frames = video(&[900; 400], 1000, 0);
    let mut given_out = 0;
    for objects in &frames[1..] {
        insert_all(&mut track, now, objects);
        given_out += drain(&mut track, now).iter().flatten().count();
        assert!(track.buffered_bytes() <= 2 * (64 << 10) + 2000);
    }
    assert_eq!(given_out, 399);
    assert_eq!(track.counters().gaps, 1);
    // Without anybody polling it ends at twice the budget.
    let mut track = Reassembler::new(config);
    for objects in &frames[1..] {
        insert_all(&mut track, now, objects);
    }
    assert!(track.buffered_bytes() <= 2 * (64 << 10) + 2000);
    assert!(track.counters().dropped > 0);
}

#[test]
fn a_publisher_that_starts_again_much_later_is_no_loss_of_millions() {
    let objects = audio_objects(2, 0);
    let now = Instant::now();
    let mut track = Reassembler::new(Config::live(WAIT));
    insert_all(&mut track, now, &objects);
    let again = Object { location: Location::new(9_000_000, 0), ..objects[0].clone() };
    insert_all(&mut track, now, [&again]);
    let outputs = drain(&mut track, now + WAIT);
    assert!(matches!(outputs[..], [Ok(0), Ok(1), Err(Gap { frames_at_least: 0, .. }), Ok(0)]), "{outputs:?}");
    assert_eq!(track.counters().frames_lost, 0);
}
