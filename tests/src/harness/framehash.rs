//! What is in a file as ffmpeg sees it: payloads by their hash, and times.

use std::path::Path;

use super::media::ffmpeg;

/// A stream of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// `video` or `audio`.
    pub media: String,
    /// ffmpeg's name of the codec.
    pub codec: String,
    /// Seconds of a tick.
    pub tick: f64,
    /// In the order of the file.
    pub frames: Vec<Frame>,
}

/// A frame of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Presentation time, seconds.
    pub pts: f64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the payload.
    pub hash: String,
}

/// All streams of a file: `ffmpeg -i X -map 0 -c copy -f framehash -`.
#[track_caller]
pub fn streams_of(path: &Path) -> Vec<Stream> {
    let path = path.to_str().unwrap();
    let text = ffmpeg(["-i", path, "-map", "0", "-c", "copy", "-f", "framehash", "-"]);
    parse(&String::from_utf8(text).unwrap())
}

/// The frames of a file of one stream.
#[track_caller]
pub fn frames_of(path: &Path) -> Vec<Frame> {
    let mut streams = streams_of(path);
    assert_eq!(streams.len(), 1, "{}", path.display());
    streams.remove(0).frames
}

fn parse(text: &str) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('#') {
            let Some((key, value)) = header.split_once(':') else { continue };
            let Some((name, number)) = key.split_once(' ') else { continue };
            let Ok(number) = number.trim().parse::<usize>() else { continue };
            if streams.len() <= number {
                let none =
                    Stream { media: String::new(), codec: String::new(), tick: 0.0, frames: Vec::new() };
                streams.resize(number + 1, none);
            }
            let value = value.trim();
            match name {
                "tb" => {
                    let (over, under) = value.split_once('/').unwrap();
                    streams[number].tick = over.parse::<f64>().unwrap() / under.parse::<f64>().unwrap();
                }
                "media_type" => streams[number].media = value.to_owned(),
                "codec_id" => streams[number].codec = value.to_owned(),
                _ => {}
            }
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let [stream, _dts, pts, _duration, size, hash, ..] = fields[..] else { continue };
        let stream = &mut streams[stream.parse::<usize>().unwrap()];
        stream.frames.push(Frame {
            pts: pts.parse::<f64>().unwrap() * stream.tick,
            size: size.parse().unwrap(),
            hash: hash.to_owned(),
        });
    }
    streams
}

/// Payloads agree, and presentation times up to one offset and the containers' ticks.
#[track_caller]
pub fn assert_same(input: &Stream, recording: &Stream) {
    assert_eq!((&input.media, &input.codec), (&recording.media, &recording.codec));
    assert_same_payloads(&input.frames, &recording.frames);
    let offset = recording.frames[0].pts - input.frames[0].pts;
    let tolerance = input.tick.max(recording.tick) * 1.001;
    for (number, (sent, kept)) in input.frames.iter().zip(&recording.frames).enumerate() {
        let difference = kept.pts - sent.pts - offset;
        assert!(
            difference.abs() <= tolerance,
            "frame {number} of {} is {:.3} ms off (a tick is {:.3} ms): {} became {}, the first {} became {}",
            input.frames.len(),
            difference * 1e3,
            tolerance * 1e3,
            sent.pts,
            kept.pts,
            input.frames[0].pts,
            recording.frames[0].pts
        );
    }
}

/// The same payloads in the same order.
#[track_caller]
pub fn assert_same_payloads(input: &[Frame], recording: &[Frame]) {
    let first = input.iter().zip(recording).position(|(sent, kept)| sent.hash != kept.hash);
    if let Some(first) = first {
        let (sent, kept) = (&input[first], &recording[first]);
        let elsewhere = input.iter().position(|frame| frame.hash == kept.hash);
        panic!(
            "frame {first} of {} differs: {} bytes at {:.3} s sent, {} bytes at {:.3} s recorded (sent as {elsewhere:?})",
            input.len(),
            sent.size,
            sent.pts,
            kept.size,
            kept.pts
        );
    }
    assert_eq!(input.len(), recording.len(), "frames sent and recorded");
    assert!(!input.is_empty(), "no frames at all");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#format: frame checksums\n#version: 2\n#hash: SHA256\n#software: Lavf59.27.100\n\
        #tb 0: 1/1000\n#media_type 0: video\n#codec_id 0: vp8\n#dimensions 0: 320x180\n#sar 0: 1/1\n\
        #tb 1: 1/48000\n#media_type 1: audio\n#codec_id 1: opus\n\
        #stream#, dts,        pts, duration,     size, hash\n\
        0,          0,          0,       33,     6187, aa\n\
        1,       -312,       -312,      960,      224, bb\n\
        0,         33,         67,       33,      187, cc\n";

    #[test]
    fn streams_and_times_are_read() {
        let streams = parse(TEXT);
        assert_eq!(streams.len(), 2);
        assert_eq!((streams[0].media.as_str(), streams[0].codec.as_str()), ("video", "vp8"));
        assert_eq!(streams[0].frames.len(), 2);
        assert_eq!(streams[0].frames[1], Frame { pts: 0.067, size: 187, hash: "cc".into() });
        assert!((streams[1].frames[0].pts + 0.0065).abs() < 1e-9);
    }

    #[test]
    fn a_difference_beyond_a_tick_or_in_a_payload_is_seen() {
        let sent = parse(TEXT).remove(0);
        let mut kept = sent.clone();
        kept.frames.iter_mut().for_each(|frame| frame.pts += 5.0);
        kept.frames[1].pts += 0.001;
        assert_same(&sent, &kept);
        kept.frames[1].pts += 0.001;
        let differs = |kept: Stream| {
            let sent = sent.clone();
            std::panic::catch_unwind(move || assert_same(&sent, &kept)).is_err()
        };
        assert!(differs(kept));
        let mut kept = sent.clone();
        kept.frames.pop();
        assert!(differs(kept));
        let mut kept = sent.clone();
        kept.frames[0].hash = "dd".into();
        assert!(differs(kept));
    }
}
