//! Media made by ffmpeg at test time, what ffmpeg reads of it, and our demuxer driven as a pipe or a file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use roundtable_media::{
    container::{ContainerError, Demuxer, Header, Source, Step},
    format::Frame,
};

/// A frame as ffmpeg sees it: presentation time in seconds, size, Adler-32.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) pts: f64,
    pub(crate) bytes: usize,
    pub(crate) sum: u32,
}

/// Frames by stream.
pub(crate) type Streams = BTreeMap<usize, Vec<Seen>>;

fn run(arguments: &[&str], stdout: Stdio) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
        .args(arguments)
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .expect("ffmpeg is needed for these tests: `make test` installs it");
    assert!(output.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Encodes 2 seconds of a test picture and a tone with `arguments` into `name`.
pub(crate) fn make(folder: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = folder.join(name);
    let mut all = vec!["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=30:duration=2"];
    all.extend(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=2"]);
    all.extend(arguments.split_whitespace());
    all.push(path.to_str().unwrap());
    run(&all, Stdio::null());
    path
}

/// Repacks a file.
pub(crate) fn remux(input: &Path, name: &str, arguments: &str) -> PathBuf {
    let path = input.with_file_name(name);
    let mut all = vec!["-i", input.to_str().unwrap(), "-map", "0", "-c", "copy"];
    all.extend(arguments.split_whitespace());
    all.push(path.to_str().unwrap());
    run(&all, Stdio::null());
    path
}

/// What ffmpeg reads of a file.
pub(crate) fn frame_hash(path: &Path) -> Streams {
    let arguments = [
        "-copyts",
        "-i",
        path.to_str().unwrap(),
        "-map",
        "0",
        "-c",
        "copy",
        "-f",
        "framehash",
        "-hash",
        "adler32",
        "-",
    ];
    let text = String::from_utf8(run(&arguments, Stdio::piped())).unwrap();
    let mut ticks = BTreeMap::new();
    let mut streams = Streams::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("#tb ") {
            let (stream, base) = rest.split_once(": ").unwrap();
            let (number, per) = base.split_once('/').unwrap();
            let tick = number.parse::<f64>().unwrap() / per.parse::<f64>().unwrap();
            ticks.insert(stream.parse::<usize>().unwrap(), tick);
        } else if !line.starts_with('#') {
            let fields: Vec<&str> = line.split(',').map(str::trim).collect();
            let stream = fields[0].parse().unwrap();
            let seen = Seen {
                pts: fields[2].parse::<f64>().unwrap() * ticks[&stream],
                bytes: fields[4].parse().unwrap(),
                sum: u32::from_str_radix(fields[5], 16).unwrap(),
            };
            streams.entry(stream).or_default().push(seen);
        }
    }
    streams
}

/// The duration ffprobe reports, seconds.
pub(crate) fn probed_duration(path: &Path) -> f64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

pub(crate) fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    b << 16 | a
}

/// What came out of our demuxer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Read {
    pub(crate) header: Option<Header>,
    pub(crate) frames: Vec<(usize, Frame)>,
    pub(crate) error: Option<ContainerError>,
}

impl Read {
    pub(crate) fn header(&self) -> &Header {
        self.header.as_ref().unwrap_or_else(|| panic!("no header: {:?}", self.error))
    }

    /// As ffmpeg would see it.
    pub(crate) fn streams(&self) -> Streams {
        let mut streams = Streams::new();
        for (track, frame) in &self.frames {
            let timescale = f64::from(self.header().tracks[*track].timescale);
            let seen = Seen {
                pts: frame.pts as f64 / timescale,
                bytes: frame.data.len(),
                sum: adler32(&frame.data),
            };
            streams.entry(*track).or_default().push(seen);
        }
        streams
    }
}

/// Reads a pipe that brings `piece` bytes at a time.
pub(crate) fn read_pipe(bytes: &[u8], piece: usize) -> Read {
    let mut demuxer = Demuxer::new(Source::Pipe);
    let (mut read, mut at) = (Read::default(), 0);
    loop {
        match demuxer.poll() {
            Ok(Step::Need { offset, .. }) => {
                assert_eq!(offset, at as u64, "a pipe goes on where it is");
                let end = (at + piece).min(bytes.len());
                if at == end {
                    demuxer.finish();
                } else {
                    demuxer.push(&bytes[at..end]);
                    at = end;
                }
            }
            Ok(Step::Header(header)) => read.header = Some(header),
            Ok(Step::Frame { track, frame }) => read.frames.push((track, frame)),
            Ok(Step::End) => return read,
            Err(error) => read.error = Some(error),
        }
    }
}

/// Reads a file, `piece` bytes or what is asked for at a time.
pub(crate) fn read_file(bytes: &[u8], piece: usize) -> Read {
    let mut demuxer = Demuxer::new(Source::File { bytes: bytes.len() as u64 });
    let mut read = Read::default();
    loop {
        match demuxer.poll() {
            Ok(Step::Need { offset, bytes: wanted }) => {
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                match &rest[..rest.len().min(piece.max(wanted))] {
                    [] => demuxer.finish(),
                    some => demuxer.push(some),
                }
            }
            Ok(Step::Header(header)) => read.header = Some(header),
            Ok(Step::Frame { track, frame }) => read.frames.push((track, frame)),
            Ok(Step::End) => return read,
            Err(error) => read.error = Some(error),
        }
    }
}

/// Both, which must agree.
pub(crate) fn read(path: &Path) -> Read {
    let bytes = fs::read(path).unwrap();
    let file = read_file(&bytes, 65_536);
    assert_eq!(file.error, None);
    assert_eq!(file.header().skipped, []);
    file
}

/// Asserts equal payloads in equal order, and presentation times equal up to one offset, the same for all
/// streams, within `tick` seconds.
pub(crate) fn assert_same(expected: &Streams, actual: &Streams, tick: f64) {
    assert_eq!(expected.keys().collect::<Vec<_>>(), actual.keys().collect::<Vec<_>>(), "streams");
    let offset = actual[&0][0].pts - expected[&0][0].pts;
    for (stream, expected) in expected {
        let actual = &actual[stream];
        assert_eq!(expected.len(), actual.len(), "frames of stream {stream}");
        for (index, (a, b)) in expected.iter().zip(actual).enumerate() {
            assert_eq!((a.bytes, a.sum), (b.bytes, b.sum), "payload {index} of stream {stream}");
            let apart = (b.pts - a.pts - offset).abs();
            assert!(
                apart <= tick,
                "frame {index} of stream {stream}: {} against {} + {offset}",
                b.pts,
                a.pts
            );
        }
    }
}
