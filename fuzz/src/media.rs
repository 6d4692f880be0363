//! The decoders of `roundtable-media`: containers, catalogs, and frames out of objects. Whatever comes, they end,
//! and hold no more than their limits say.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roundtable_media::{
    audio::FrameLength,
    catalog::{Catalog, Compression},
    container,
    format::{Codec, Format, Shape},
    gaps::{self, Answer, Ask, Planner},
    loc::Properties,
    reassemble::{Config, Output, Reassembler, Source},
};
use roundtable_moqt::{Location, Object, Status, properties::Writer, vi64};

/// A file of any container, in pieces, from a pipe and with seeking, and mended.
pub fn container(data: &[u8]) {
    container::fuzz::fuzz_demux(data);
}

/// A catalog; the first byte says whether it is compressed.
pub fn catalog(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let compression = if first & 1 == 0 { Compression::None } else { Compression::Gzip };
    let Ok(catalog) = Catalog::decode(rest, compression) else { return };
    assert!(catalog.tracks.len() + catalog.ignored.len() <= 128);
    let written = catalog.encode();
    let again = Catalog::decode(&written, Compression::None).expect("what was read can be written");
    assert_eq!(again.tracks, catalog.tracks);
    assert_eq!(again.ignored, [], "what was understood is understood again");
}

/// The properties of a media object.
pub fn properties(data: &[u8]) {
    let Ok(properties) = Properties::decode(&Bytes::copy_from_slice(data)) else { return };
    let written = properties.encode();
    assert_eq!(Properties::decode(&written), Ok(properties), "what was read can be written");
}

const BYTES_MAX: usize = 1 << 17;
const GROUPS_MAX: usize = 16;

/// Objects to frames, with somebody who asks for what is missing.
pub fn objects(data: &[u8]) {
    let mut input = Input(data);
    let wait = Duration::from_millis(input.byte().into());
    let config = if input.flag() { Config::live(wait) } else { Config { wait, ..Config::recorder() } };
    let config = Config { bytes_max: BYTES_MAX, groups_max: GROUPS_MAX, ..config };
    let sound = Format {
        codec: Codec::Opus,
        codec_string: "opus".into(),
        shape: Shape::Audio { samplerate: 48_000, channels: 2 },
        config: Bytes::new(),
        timescale: 48_000,
    };
    let mut track = Reassembler::new(match input.flag() {
        true => config.with_audio(FrameLength::new(&sound)),
        false => config,
    });
    let mut planner = Planner::new(gaps::Config::live(wait));
    let mut asked: Vec<Ask> = Vec::new();
    let (mut now, mut base) = (Instant::now(), 0_u64);
    let mut position = None;
    let mut check = |output: Output, from: Option<Location>, to: Option<Location>| {
        let at = match output {
            Output::Frame(frame) => frame.location,
            Output::Gap(gap) => {
                assert!(gap.start < gap.end, "{gap:?}");
                gap.start
            }
        };
        assert!(position <= Some(at), "the track goes backwards");
        assert!(
            from <= Some(at) && to > Some(at),
            "the cursor goes from {from:?} to {to:?} by what is at {at:?}"
        );
        position = Some(at);
    };
    while !input.0.is_empty() {
        match input.byte() % 12 {
            0..7 => {
                let source = if input.flag() { Source::Live } else { Source::Fetch };
                track.insert(now, &object(&mut input, base), source);
            }
            7 => now += Duration::from_millis(input.byte().into()),
            8 => base += u64::from(input.byte() % 4),
            9 => {
                let (start, end) = (input.location(base), input.location(base));
                if input.flag() { track.note_absent(start, end) } else { track.abandon(start, end) }
            }
            10 => {
                let missing = track.missing(20);
                assert!(missing.len() <= 20);
                assert!(missing.iter().all(|range| range.start <= range.end), "{missing:?}");
                let plan = planner.plan(now, &missing, Duration::ZERO);
                asked.extend(&plan.asks);
                assert_eq!(asked.len(), planner.in_flight());
                for (start, end) in plan.hopeless {
                    track.abandon(start, end);
                }
            }
            _ => {
                if let Some(ask) = asked.pop() {
                    let answer = if input.flag() { Answer::Complete } else { Answer::Incomplete };
                    planner.answered(now, &ask, answer);
                }
            }
        }
        if input.flag() {
            loop {
                let from = track.position();
                let Some(output) = track.poll(now) else { break };
                check(output, from, track.position());
            }
        }
        // One object more than twice the limit, and the frame that it completes.
        assert!(track.buffered_bytes() <= 3 * BYTES_MAX + (1 << 17), "{} bytes", track.buffered_bytes());
    }
    loop {
        let from = track.position();
        let Some(output) = track.flush(now) else { break };
        check(output, from, track.position());
    }
    assert_eq!((track.missing(1), track.flush(now)), (Vec::new(), None));
}

fn object(input: &mut Input<'_>, base: u64) -> Object {
    let location = input.location(base);
    let mut writer = Writer::new();
    if input.flag() {
        writer.bytes(0x09, &[input.byte(), 0, 0]);
    }
    writer.integer(0x10, input.number());
    let kind = input.byte() % 16;
    if kind < 10 {
        let mut fragment = bytes::BytesMut::new();
        (0..6).for_each(|_| vi64::put(&mut fragment, input.number()));
        writer.bytes(0x3801, &fragment);
    } else if kind < 12 {
        let mut redundancy = bytes::BytesMut::new();
        for _ in 0..input.byte() % 4 {
            let len = input.byte() % 20;
            vi64::put(&mut redundancy, input.number());
            vi64::put(&mut redundancy, len.into());
            redundancy.extend((0..len).map(|_| input.byte()));
        }
        writer.bytes(0x3803, &redundancy);
    }
    let len = usize::from(input.byte()) * if input.flag() { 1 } else { 16 };
    let object =
        Object { properties: writer.finish(), ..Object::datagram(location, vec![input.byte(); len]) };
    match kind {
        14 => Object { status: Status::EndOfGroup, payload: Bytes::new(), ..object },
        15 => Object { ends_group: true, ..object },
        _ => object,
    }
}

/// Numbers out of the input; zeros when it has ended.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Mostly small, sometimes anything.
    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..224 => u64::from(small % 12),
            medium @ 224..250 => u64::from(medium - 224) << (self.byte() % 12),
            _ => u64::MAX >> (self.byte() % 64),
        }
    }

    fn location(&mut self, base: u64) -> Location {
        let group = self.number();
        Location::new(group.saturating_add(base), self.number())
    }
}
