//! The golden values of media objects that Rust and TypeScript share. Their form: `tests/vectors/README.md`.
//!
//! This crate is the model: it makes every value from its input and compares. After a change on purpose, run this test
//! with `ROUNDTABLE_WRITE_VECTORS=1`, look at the difference, and make the TypeScript tests pass again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use roundtable_media::{
    audio::{FrameLength, opus_samples},
    catalog::{Catalog, CatalogTrack, Clock, Compression, Packaging},
    format::{Codec, Format, Frame, Shape},
    fragment::{Erasure, Layout},
    gaps::{self, Answer, Planner},
    loc::{AudioLevel, FragmentHeader, FrameMarking, Properties, RedundantFrame},
    names::TrackName,
    packetize::{AudioConfig, AudioPacketizer, Layer, ParityPercent, VideoConfig, VideoPacketizer},
    reassemble::{Config, MissingRange, Output, Reassembler, Source},
};
use roundtable_moqt::object::{Location, Object, Status};
use serde_json::{Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/media.json");

#[test]
fn the_golden_values_are_what_this_crate_makes() {
    let vectors: Vec<Value> = [
        properties(),
        opus(),
        catalogs(),
        parity(),
        packetized_video(),
        packetized_audio(),
        reassembled_video(),
        reassembled_audio(),
        planned(),
    ]
    .into_iter()
    .flatten()
    .collect();
    let lines: Vec<String> = vectors.iter().map(|vector| format!("  {vector}")).collect();
    let made = format!("[\n{}\n]\n", lines.join(",\n"));
    if std::env::var_os("ROUNDTABLE_WRITE_VECTORS").is_some() {
        std::fs::write(PATH, &made).unwrap();
    }
    let golden = std::fs::read_to_string(PATH).unwrap_or_default();
    for (number, (golden, made)) in golden.lines().zip(made.lines()).enumerate() {
        assert_eq!(golden, made, "line {} of media.json", number + 1);
    }
    assert_eq!(golden.len(), made.len(), "media.json is of another length");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

/// FNV-1a, 32 bits.
fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The bytes that stand for a frame: number and length say all.
fn frame_bytes(number: u64, len: usize) -> Bytes {
    (0..len as u64).map(|at| (at * 7 + number * 13 + at / 251) as u8).collect()
}

/// A small generator, the same in every implementation that should need it.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

// ---- pieces

fn properties_value(properties: &Properties) -> Value {
    json!({
        "timestamp": properties.timestamp,
        "timescale": properties.timescale,
        "marking": properties.marking.map(|marking| json!({
            "startsFrame": marking.starts_frame,
            "endsFrame": marking.ends_frame,
            "isIndependent": marking.is_independent,
            "isDiscardable": marking.is_discardable,
            "isBaseLayerSync": marking.is_base_layer_sync,
            "temporalLayer": marking.temporal_layer,
            "spatialLayer": marking.spatial_layer,
            "baseLayerIndex": marking.base_layer_index,
        })),
        "audioLevel": properties.audio_level.map(|level| json!({
            "isVoice": level.is_voice,
            "belowOverloadDb": level.below_overload_db,
        })),
        "fragment": properties.fragment.map(|fragment| json!({
            "frame": fragment.frame,
            "block": fragment.block,
            "index": fragment.index,
            "dataCount": fragment.data_count,
            "parityCount": fragment.parity_count,
            "frameBytes": fragment.frame_bytes,
        })),
        "redundancy": properties.redundancy.iter().map(|frame| json!({
            "groupsBack": frame.groups_back,
            "payload": hex(&frame.payload),
        })).collect::<Vec<_>>(),
    })
}

fn properties() -> Vec<Value> {
    let marking = FrameMarking { starts_frame: true, is_independent: true, ..FrameMarking::default() };
    let good = [
        ("only a time", Properties { timestamp: 1_790_000_000_000_000, ..Properties::default() }),
        (
            "a key frame's fragment",
            Properties {
                timestamp: 90_000,
                timescale: Some(90_000),
                marking: Some(marking),
                fragment: Some(FragmentHeader {
                    frame: 3,
                    block: 1,
                    index: 101,
                    data_count: 99,
                    parity_count: 20,
                    frame_bytes: 180_000,
                }),
                ..Properties::default()
            },
        ),
        (
            "every mark",
            Properties {
                timestamp: 0,
                marking: Some(FrameMarking {
                    starts_frame: true,
                    ends_frame: true,
                    is_independent: false,
                    is_discardable: true,
                    is_base_layer_sync: true,
                    temporal_layer: 2,
                    spatial_layer: 1,
                    base_layer_index: 255,
                }),
                ..Properties::default()
            },
        ),
        (
            "sound with two earlier frames",
            Properties {
                timestamp: 48_000,
                timescale: Some(48_000),
                audio_level: Some(AudioLevel { is_voice: true, below_overload_db: 37 }),
                redundancy: vec![
                    RedundantFrame { groups_back: 1, payload: unhex("f80102") },
                    RedundantFrame { groups_back: 300, payload: Bytes::new() },
                ],
                ..Properties::default()
            },
        ),
    ];
    let mut vectors: Vec<Value> = good
        .into_iter()
        .map(|(name, properties)| {
            let bytes = properties.encode();
            assert_eq!(Properties::decode(&bytes).unwrap(), properties);
            let value = properties_value(&properties);
            json!({ "name": format!("properties: {name}"), "kind": "properties", "hex": hex(&bytes), "value": value })
        })
        .collect();
    let short = "02070701200705bbf1026869";
    let value = properties_value(&Properties::decode(&unhex(short)).unwrap());
    vectors.push(json!({
        "name": "properties: a short marking and what nobody knows", "kind": "properties", "hex": short,
        "value": value, "canonical": false,
    }));
    let bad = [
        ("no time", "0801"),
        ("a time twice", "10010001"),
        ("a timescale of 0", "08000801"),
        ("a marking without bytes", "09000701"),
        ("a marking of five bytes", "090500000000000701"),
        ("a level beyond 8 bits", "0c81000401"),
        ("a fragment that is parity of nothing", "1001b7f106000002020009"),
        ("pairs that are cut", "1001b7f306"),
        ("an earlier frame that is cut", "1001b7f303010505"),
    ];
    vectors.extend(bad.into_iter().map(|(name, text)| {
        let error = Properties::decode(&unhex(text)).unwrap_err();
        json!({
            "name": format!("properties: {name}"), "kind": "properties", "hex": text, "error": error.to_string(),
        })
    }));
    vectors
}

fn opus() -> Vec<Value> {
    let packets = ["f8", "18", "79", "e304", "fb00", "fb3f", "", "00", "60", "68", "80", "03", "0b06"];
    packets
        .into_iter()
        .map(|packet| {
            let samples = opus_samples(&unhex(packet));
            json!({ "name": format!("opus packet {packet}"), "kind": "opus", "hex": packet, "value": samples })
        })
        .collect()
}

fn opus_format(timescale: u32) -> Format {
    Format {
        codec: Codec::Opus,
        codec_string: "opus".into(),
        shape: Shape::Audio { samplerate: 48_000, channels: 2 },
        config: Bytes::new(),
        timescale,
    }
}

fn catalog_value(catalog: &Catalog) -> Value {
    let tracks: Vec<Value> = catalog
        .tracks
        .iter()
        .map(|track| {
            let shape = match track.format.shape {
                Shape::Video { width, height, framerate } => {
                    json!({ "type": "video", "width": width, "height": height, "framerate": framerate })
                }
                Shape::Audio { samplerate, channels } => {
                    json!({ "type": "audio", "samplerate": samplerate, "channels": channels })
                }
            };
            let clock = match track.clock {
                Clock::Unix => json!({ "type": "unix" }),
                Clock::Media { zero_unix_us } => json!({ "type": "media", "zeroUnixUs": zero_unix_us }),
            };
            json!({
                "name": track.name,
                "packaging": track.packaging.as_str(),
                "isLive": track.is_live,
                "format": {
                    "codec": format!("{:?}", track.format.codec).to_lowercase(),
                    "codecString": track.format.codec_string,
                    "shape": shape,
                    "config": hex(&track.format.config),
                    "timescale": track.format.timescale,
                },
                "bitrate": track.bitrate,
                "altGroup": track.alt_group,
                "renderGroup": track.render_group,
                "temporalLayers": track.temporal_layers,
                "clock": clock,
                "label": track.label,
            })
        })
        .collect();
    json!({
        "generatedAtMs": catalog.generated_at_ms,
        "isComplete": catalog.is_complete,
        "tracks": tracks,
        "ignored": catalog.ignored.iter().map(|ignored| &ignored.name).collect::<Vec<_>>(),
    })
}

fn catalogs() -> Vec<Value> {
    let camera = CatalogTrack {
        name: "camera".into(),
        namespace: None,
        packaging: Packaging::LocFragments,
        is_live: true,
        format: Format {
            codec: Codec::H264,
            codec_string: "avc1.64001f".into(),
            shape: Shape::Video { width: 1280, height: 720, framerate: Some(29.97) },
            config: Bytes::from_static(&[1, 0x64, 0, 0x1f, 0xff]),
            timescale: 90_000,
        },
        bitrate: 2_500_000,
        alt_group: Some(1),
        render_group: Some(1),
        temporal_layers: 2,
        clock: Clock::Media { zero_unix_us: Some(1_790_000_000_000_000) },
        label: Some("K\u{e4}the's film".into()),
    };
    let audio = CatalogTrack {
        name: "audio".into(),
        packaging: Packaging::Loc,
        format: opus_format(1_000_000),
        bitrate: 64_000,
        alt_group: None,
        temporal_layers: 1,
        clock: Clock::Unix,
        label: None,
        ..camera.clone()
    };
    let written = Catalog {
        generated_at_ms: Some(1_790_000_000_000),
        is_complete: true,
        tracks: vec![camera, audio],
        ignored: vec![],
    };
    let written_json = String::from_utf8(written.encode().to_vec()).unwrap();
    let foreign = json!({
        "version": "draft-01",
        "unknown": [1, 2],
        "tracks": [
            { "name": "a", "packaging": "loc", "isLive": true, "codec": "opus", "samplerate": 48000,
              "channelConfig": "stereo", "bitrate": 1.5 },
            { "name": "b", "packaging": "cmaf", "isLive": true, "codec": "vp8", "width": 1, "height": 1 },
            { "name": "c", "packaging": "loc", "isLive": true, "codec": "h265", "width": 1, "height": 1 },
            { "name": "d", "packaging": "loc", "isLive": true, "codec": "vp8", "width": 0, "height": 1 },
            { "name": "e", "packaging": "loc", "codec": "vp8", "width": 1, "height": 1 },
            { "name": "f", "packaging": "loc", "isLive": true, "codec": "avc1.640028", "width": 1, "height": 1 },
            { "name": "g", "packaging": "loc", "isLive": true, "codec": "vp8", "width": 1, "height": 1,
              "timescale": 0 },
            { "name": "h", "packaging": "loc-fragments", "isLive": false, "codec": "av01.0.04M.08", "width": 16384,
              "height": 1, "framerate": -1, "temporalLayers": 99, "timescale": 1000 },
            { "name": "a", "packaging": "loc", "isLive": true, "codec": "vp8", "width": 1, "height": 1 },
            "nonsense",
            { "name": "i", "packaging": "loc", "isLive": true, "codec": "opus", "samplerate": 48000,
              "channelConfig": "2", "initRef": "nowhere" },
        ],
    });
    let good = [("as it is written here", written_json), ("of somebody else", foreign.to_string())];
    let mut vectors: Vec<Value> = good
        .into_iter()
        .map(|(name, text)| {
            let catalog = Catalog::decode(text.as_bytes(), Compression::None).unwrap();
            let is_ours = catalog.encode() == text;
            let value = catalog_value(&catalog);
            let mut vector =
                json!({ "name": format!("catalog: {name}"), "kind": "catalog", "json": text, "value": value });
            if !is_ours {
                vector["canonical"] = json!(false);
            }
            vector
        })
        .collect();
    let bad = ["[", "[]", "{}", r#"{"version":"draft-99"}"#, r#"{"version":"draft-01","deltaUpdate":true}"#];
    vectors.extend(bad.into_iter().enumerate().map(|(number, text)| {
        assert!(Catalog::decode(text.as_bytes(), Compression::None).is_err());
        json!({ "name": format!("catalog: broken {number}"), "kind": "catalog", "json": text, "error": "refused" })
    }));
    vectors
}

fn parity() -> Vec<Value> {
    [(1, 1, 5), (2, 1, 16), (5, 3, 40), (10, 4, 7), (17, 20, 3), (100, 10, 2), (100, 100, 1)]
        .into_iter()
        .map(|(data, parity, len): (u64, u8, usize)| {
            // The last fragment is one byte short, where that leaves any.
            let bytes = data as usize * len - usize::from(len > 1);
            let layout = Layout::new(bytes as u32, len as u32, parity).unwrap();
            let fragments = Erasure::new().split(&frame_bytes(data, bytes), &layout).unwrap();
            let parity_hex: Vec<String> =
                fragments.iter().skip(data as usize).map(|fragment| hex(&fragment.payload)).collect();
            json!({
                "name": format!("parity {data}+{parity}"), "kind": "parity",
                "dataCount": data, "parityCount": parity, "fragmentBytes": len, "frameBytes": bytes,
                "value": parity_hex,
            })
        })
        .collect()
}

// ---- frames to objects

fn object_value(object: &Object) -> Value {
    json!([
        object.location.group,
        object.location.object,
        object.priority,
        match object.status {
            Status::Normal => "normal",
            Status::EndOfGroup => "endOfGroup",
            Status::EndOfTrack => "endOfTrack",
        },
        object.ends_group,
        matches!(object.forwarding, roundtable_moqt::object::Forwarding::Datagram),
        hex(&object.properties),
        object.payload.len(),
        digest(&object.payload),
    ])
}

/// `[pts, is it a key frame, bytes, temporal layer]`.
type VideoFrame = (i64, bool, usize, u8);

fn video_objects(frames: &[VideoFrame], timescale: Option<u32>, parity: (u8, u8)) -> Vec<Vec<Object>> {
    let config = VideoConfig {
        priorities: TrackName::Camera.priorities(),
        timescale,
        has_layers: frames.iter().any(|frame| frame.3 > 0),
        parity: ParityPercent { base: parity.0, upper: parity.1 },
    };
    let mut packetizer = VideoPacketizer::new(config, 1_790_000_000_000);
    let mut objects: Vec<Vec<Object>> = frames
        .iter()
        .enumerate()
        .map(|(number, (pts, is_key, bytes, temporal))| {
            let data = frame_bytes(number as u64, *bytes);
            let layer = Layer {
                temporal: *temporal,
                is_base_layer_sync: *temporal == 1,
                is_discardable: *temporal > 0,
            };
            packetizer.packetize(&Frame { pts: *pts, duration: None, is_key: *is_key, data }, layer).unwrap()
        })
        .collect();
    objects.push(packetizer.finish().into_iter().collect());
    objects
}

fn packetized_video() -> Vec<Value> {
    let plain: Vec<VideoFrame> = vec![
        (0, true, 900, 0),
        (3000, false, 901, 0),
        (6000, false, 2500, 0),
        (9000, true, 100, 0),
        (12_000, false, 0, 0),
    ];
    let layers: Vec<VideoFrame> = vec![
        (1_790_000_000_000_000, true, 6000, 0),
        (1_790_000_000_033_333, false, 1200, 1),
        (1_790_000_000_066_667, false, 3000, 0),
        (1_790_000_000_100_000, false, 20, 2),
    ];
    let large: Vec<VideoFrame> = vec![(1, true, 150_000, 0)];
    [
        ("without parity", plain.clone(), Some(90_000), (0, 0)),
        ("with parity", plain, Some(90_000), (20, 0)),
        ("in layers", layers, None, (25, 10)),
        ("in blocks", large, Some(1000), (5, 0)),
    ]
    .into_iter()
    .map(|(name, frames, timescale, parity)| {
        let objects: Vec<Value> =
            video_objects(&frames, timescale, parity).iter().flatten().map(object_value).collect();
        json!({
            "name": format!("video {name}"), "kind": "packetize-video",
            "timescale": timescale, "parity": parity, "frames": frames, "value": objects,
        })
    })
    .collect()
}

/// `[pts, bytes]`.
type AudioFrame = (i64, usize);

fn audio_objects(frames: &[AudioFrame], timescale: Option<u32>, depth: usize) -> Vec<Object> {
    let config = AudioConfig {
        priorities: TrackName::Audio.priorities(),
        timescale,
        frame_length: FrameLength::new(&opus_format(timescale.unwrap_or(1_000_000))).unwrap(),
        redundancy_depth: depth,
    };
    let mut packetizer = AudioPacketizer::new(config, 1_790_000_000_000);
    frames
        .iter()
        .enumerate()
        .map(|(number, (pts, bytes))| {
            let mut data = frame_bytes(number as u64, *bytes).to_vec();
            data[0] = 0xf8;
            let level = AudioLevel { is_voice: number % 2 == 0, below_overload_db: number as u8 };
            let frame = Frame { pts: *pts, duration: None, is_key: true, data: data.into() };
            packetizer.packetize(&frame, Some(level)).unwrap()
        })
        .collect()
}

fn packetized_audio() -> Vec<Value> {
    let even: Vec<AudioFrame> = (0..6).map(|at| (at * 20_000, 60)).collect();
    let broken: Vec<AudioFrame> = vec![(0, 50), (960, 50), (1920, 50), (9600, 50), (10_562, 50)];
    let large: Vec<AudioFrame> =
        vec![(0, 400), (960, 500), (1920, 600), (2880, 990), (3840, 1100), (4800, 40)];
    [
        ("alone", even.clone(), None, 0),
        ("with two earlier frames", even, None, 2),
        ("after a break", broken, Some(48_000), 4),
        ("of high rate", large, Some(48_000), 4),
    ]
    .into_iter()
    .map(|(name, frames, timescale, depth)| {
        let objects: Vec<Value> = audio_objects(&frames, timescale, depth).iter().map(object_value).collect();
        json!({
            "name": format!("audio {name}"), "kind": "packetize-audio",
            "timescale": timescale, "depth": depth, "frames": frames, "value": objects,
        })
    })
    .collect()
}

// ---- objects to frames

/// What a track does with objects that come as the steps say: `[milliseconds, index of the object]`.
fn run(track: &mut Reassembler, objects: &[Object], steps: &[(u64, usize)], until_ms: u64) -> Value {
    let start = Instant::now();
    let mut outputs = Vec::new();
    let mut poll = |track: &mut Reassembler, at: u64| {
        while let Some(output) = track.poll(start + Duration::from_millis(at)) {
            outputs.push(match output {
                Output::Frame(frame) => json!([
                    at,
                    "frame",
                    frame.location.group,
                    frame.location.object,
                    frame.timestamp,
                    frame.is_key,
                    format!("{:?}", frame.origin).split(' ').next().unwrap().to_lowercase(),
                    digest(&frame.data),
                ]),
                Output::Gap(gap) => json!([
                    at,
                    "gap",
                    gap.start.group,
                    gap.start.object,
                    gap.end.group,
                    gap.end.object,
                    gap.frames_at_least,
                ]),
            });
        }
    };
    let mut missing = Vec::new();
    for (number, (at, index)) in steps.iter().enumerate() {
        track.insert(start + Duration::from_millis(*at), &objects[*index], Source::Live);
        poll(track, *at);
        if number % 20 == 19 {
            let ranges: Vec<Value> = track
                .missing(6)
                .into_iter()
                .map(|range| {
                    let end = (range.end.object != u64::MAX).then_some(range.end.object);
                    let since = range.since.saturating_duration_since(start).as_millis() as u64;
                    json!([range.start.group, range.start.object, range.end.group, end, since])
                })
                .collect();
            missing.push(json!([number, ranges]));
        }
    }
    poll(track, until_ms);
    let counters = track.counters();
    json!({
        "outputs": outputs,
        "missing": missing,
        "counters": {
            "objects": counters.objects, "duplicates": counters.duplicates, "late": counters.late,
            "bad": counters.bad, "dropped": counters.dropped, "frames": counters.frames,
            "framesFromParity": counters.frames_from_parity,
            "framesFromRedundancy": counters.frames_from_redundancy,
            "framesLost": counters.frames_lost, "gaps": counters.gaps,
        },
    })
}

/// Objects as a bad network delivers them.
fn steps(random: &mut Random, count: usize, loss_percent: u64, distance: u64) -> Vec<(u64, usize)> {
    let mut order: Vec<usize> = (0..count).collect();
    order.extend((0..count).filter(|_| random.below(25) == 0).collect::<Vec<_>>());
    order.sort_by_key(|index| *index);
    for at in 0..order.len() {
        let other = at + random.below(distance + 1) as usize;
        if other < order.len() {
            order.swap(at, other);
        }
    }
    order.retain(|_| random.below(100) >= loss_percent);
    (0_u64..).map(|number| number * 2).zip(order).collect()
}

fn reassembled_video() -> Vec<Value> {
    [(1, 0, 0, 0), (2, 0, 12, 0), (3, 30, 12, 0), (4, 30, 25, 9), (5, 60, 40, 30), (6, 0, 3, 60)]
        .into_iter()
        .map(|(seed, parity, loss_percent, distance)| {
            let mut random = Random(seed);
            let frames: Vec<VideoFrame> = (0..18)
                .map(|number| {
                    let is_key = number % 7 == 0;
                    let bytes = 1 + random.below(if is_key { 9000 } else { 3000 }) as usize;
                    (number * 3000, is_key, bytes, 0)
                })
                .collect();
            let objects: Vec<Object> =
                video_objects(&frames, Some(90_000), (parity, parity)).into_iter().flatten().collect();
            let steps = steps(&mut random, objects.len(), loss_percent, distance);
            let mut track = Reassembler::new(Config::live(Duration::from_millis(40)));
            track.start_at(Location::new(1_790_000_000_000, 0));
            let value = run(&mut track, &objects, &steps, 5000);
            json!({
                "name": format!("reassemble video, seed {seed}"), "kind": "reassemble-video",
                "timescale": 90_000, "parity": [parity, parity], "frames": frames,
                "waitMs": 40, "steps": steps, "untilMs": 5000, "value": value,
            })
        })
        .collect()
}

fn reassembled_audio() -> Vec<Value> {
    [(1, 0, 10, 0), (2, 2, 20, 0), (3, 3, 40, 3), (4, 4, 60, 6)]
        .into_iter()
        .map(|(seed, depth, loss_percent, distance)| {
            let mut random = Random(seed);
            let frames: Vec<AudioFrame> =
                (0..60).map(|number| (number * 960, 20 + random.below(30) as usize)).collect();
            let objects = audio_objects(&frames, Some(48_000), depth);
            let steps = steps(&mut random, objects.len(), loss_percent, distance);
            let length = FrameLength::new(&opus_format(48_000));
            let mut track = Reassembler::new(Config::live(Duration::from_millis(10)).with_audio(length));
            let value = run(&mut track, &objects, &steps, 5000);
            json!({
                "name": format!("reassemble audio, seed {seed}"), "kind": "reassemble-audio",
                "timescale": 48_000, "depth": depth, "frames": frames,
                "waitMs": 10, "steps": steps, "untilMs": 5000, "value": value,
            })
        })
        .collect()
}

fn planned() -> Vec<Value> {
    let start = Instant::now();
    let mut random = Random(7);
    let mut planner = Planner::new(gaps::Config::live(Duration::from_millis(400)));
    let mut steps = Vec::new();
    let mut in_flight = Vec::new();
    for number in 0..60_u64 {
        let at = number * 15;
        let now = start + Duration::from_millis(at);
        let missing: Vec<(u64, u64, u64, u64)> = (0..random.below(4))
            .map(|_| {
                let object = random.below(60) * 5;
                (number / 20, object, object + random.below(4), at.saturating_sub(random.below(300)))
            })
            .collect();
        let ranges: Vec<MissingRange> = missing
            .iter()
            .map(|(group, from, to, since)| MissingRange {
                start: Location::new(*group, *from),
                end: Location::new(*group, *to),
                since: start + Duration::from_millis(*since),
            })
            .collect();
        let plan = planner.plan(now, &ranges, Duration::from_millis(50));
        let range =
            |start: Location, end: Location| json!([start.group, start.object, end.group, end.object]);
        let asks: Vec<Value> = plan.asks.iter().map(|ask| range(ask.start, ask.end)).collect();
        let hopeless: Vec<Value> = plan.hopeless.iter().map(|(start, end)| range(*start, *end)).collect();
        let again_at = plan.again_at.map(|again| (again - start).as_millis() as u64);
        in_flight.extend(plan.asks);
        // The oldest FETCH is answered every other time, one in three of them whole.
        let answer = (number % 2 == 1 && !in_flight.is_empty()).then(|| random.below(3) == 0);
        if let Some(is_complete) = answer {
            let ask = in_flight.remove(0);
            planner.answered(now, &ask, if is_complete { Answer::Complete } else { Answer::Incomplete });
        }
        steps.push(json!({
            "at": at, "missing": missing, "asks": asks, "hopeless": hopeless, "againAt": again_at,
            "answer": answer,
        }));
    }
    vec![
        json!({ "name": "repair is planned", "kind": "plan", "waitMs": 400, "roundTripMs": 50, "value": steps }),
    ]
}
