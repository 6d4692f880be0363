//! What is told: a line that is renewed on a terminal, plain lines elsewhere, or JSON.

use std::{
    collections::VecDeque,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use roundtable_media::{catalog::CatalogTrack, format::Shape, names::TrackName};
use roundtable_transport::PathStats;
use serde_json::json;

use crate::{input::InputHeader, track::TrackCounters};

/// Plain lines come this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Rates are those of so long.
const WINDOW: Duration = Duration::from_secs(2);

/// Something to tell.
#[derive(Debug)]
pub enum Report<'a> {
    /// The tracks have been offered.
    Began {
        /// Who we are.
        participant: &'a str,
        /// What is published.
        tracks: &'a [CatalogTrack],
        /// What was found.
        header: &'a InputHeader,
    },
    /// How it goes.
    Figures(&'a Figures),
}

/// How it goes.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Time of the media.
    pub media: Duration,
    /// Of all of it, when it has an end that is known.
    pub duration: Option<Duration>,
    /// Each track.
    pub tracks: Vec<TrackFigures>,
    /// The connection.
    pub path: PathStats,
    /// FETCHes answered: what the relay had to ask for again.
    pub repairs: u64,
}

/// One track.
#[derive(Debug, Clone, Copy)]
pub struct TrackFigures {
    /// Which.
    pub name: TrackName,
    /// Since the beginning.
    pub counters: TrackCounters,
    /// Somebody takes it.
    pub is_wanted: bool,
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line, renewed in place.
    Line,
    /// A line now and then.
    Plain,
    /// One JSON object a line.
    Json,
}

impl Style {
    /// What suits a stream: a renewed line on a terminal.
    pub fn of(json: bool, stream: &impl IsTerminal) -> Self {
        match (json, stream.is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Line,
            (false, false) => Style::Plain,
        }
    }

    /// How often figures are worth making.
    pub fn interval(self) -> Duration {
        match self {
            Style::Line => Duration::from_millis(500),
            Style::Plain | Style::Json => Duration::from_secs(1),
        }
    }
}

/// Tells.
#[derive(Debug)]
pub struct Display<W> {
    out: W,
    style: Style,
    samples: VecDeque<Sample>,
    plain_at: Option<Instant>,
    has_line: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    frames: u64,
    bytes_sent: u64,
}

/// Figures of the last seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    frames_per_s: f64,
    kbit_per_s: f64,
}

impl<W: Write> Display<W> {
    /// Tells on a stream.
    pub fn new(out: W, style: Style) -> Self {
        Display { out, style, samples: VecDeque::new(), plain_at: None, has_line: false }
    }

    /// Tells one thing.
    pub fn tell(&mut self, now: Instant, report: &Report<'_>) -> io::Result<()> {
        match report {
            Report::Began { participant, tracks, header } => self.began(now, participant, tracks, header)?,
            Report::Figures(figures) => {
                let rates = self.rates(now, figures);
                self.figures(now, figures, rates)?;
            }
        }
        self.out.flush()
    }

    /// The last word; `error` is told elsewhere as well, except to programs.
    pub fn finish(&mut self, tracks: &[(TrackName, TrackCounters)], error: Option<&str>) -> io::Result<()> {
        self.end_line()?;
        match self.style {
            Style::Json => {
                let line = json!({ "type": "finished", "error": error, "tracks": counters_json(tracks) });
                writeln!(self.out, "{line}")?;
            }
            Style::Line | Style::Plain => {
                let said = tracks.iter().map(|(name, counters)| {
                    let dropped = counters.frames_dropped + counters.frames_unfit;
                    let dropped = if dropped > 0 { format!(", {dropped} left out") } else { String::new() };
                    format!("{}: {} frames{dropped}", name.as_str(), counters.frames)
                });
                let said: Vec<String> = said.collect();
                if !said.is_empty() {
                    writeln!(self.out, "published {}", said.join("; "))?;
                }
            }
        }
        self.out.flush()
    }

    fn began(
        &mut self,
        now: Instant,
        participant: &str,
        tracks: &[CatalogTrack],
        header: &InputHeader,
    ) -> io::Result<()> {
        self.samples.push_back(Sample { at: now, frames: 0, bytes_sent: 0 });
        self.plain_at = Some(now + PLAIN_EVERY);
        if self.style == Style::Json {
            let tracks: Vec<_> = tracks.iter().map(track_json).collect();
            let skipped = left_out(header).map(|(codec, reason)| json!({ "codec": codec, "reason": reason }));
            let skipped: Vec<_> = skipped.collect();
            let line = json!({
                "type": "began", "participant": participant, "tracks": tracks, "skipped": skipped,
                "duration_s": header.duration.map(|duration| duration.as_secs_f64()),
            });
            return writeln!(self.out, "{line}");
        }
        let names: Vec<String> = tracks.iter().map(track_text).collect();
        writeln!(self.out, "in the room as {participant}: {}", names.join(", "))?;
        for (codec, reason) in left_out(header) {
            writeln!(self.out, "left out: {codec} ({reason})")?;
        }
        Ok(())
    }

    fn rates(&mut self, now: Instant, figures: &Figures) -> Rates {
        // Pictures, if there are any.
        let has_video = figures.tracks.iter().any(|track| track.name.is_video());
        let counted = figures.tracks.iter().filter(|track| track.name.is_video() == has_video);
        let frames = counted.map(|track| track.counters.frames).sum::<u64>();
        self.samples.push_back(Sample { at: now, frames, bytes_sent: figures.path.bytes_sent });
        while self.samples.len() > 2
            && self.samples.get(1).is_some_and(|second| now.duration_since(second.at) >= WINDOW)
        {
            self.samples.pop_front();
        }
        let Some(first) = self.samples.front().filter(|first| first.at < now) else {
            return Rates::default();
        };
        let seconds = now.duration_since(first.at).as_secs_f64();
        Rates {
            frames_per_s: frames.saturating_sub(first.frames) as f64 / seconds,
            kbit_per_s: figures.path.bytes_sent.saturating_sub(first.bytes_sent) as f64 * 0.008 / seconds,
        }
    }

    fn figures(&mut self, now: Instant, figures: &Figures, rates: Rates) -> io::Result<()> {
        match self.style {
            Style::Line => {
                self.has_line = true;
                write!(self.out, "\r\x1b[K{}", text(figures, rates))
            }
            Style::Plain => {
                if self.plain_at.is_some_and(|at| now < at) {
                    return Ok(());
                }
                self.plain_at = Some(now + PLAIN_EVERY);
                writeln!(self.out, "{}", text(figures, rates))
            }
            Style::Json => {
                let tracks: Vec<_> =
                    figures.tracks.iter().map(|track| (track.name, track.counters)).collect();
                let line = json!({
                    "type": "figures",
                    "media_s": figures.media.as_secs_f64(),
                    "frames_per_s": rates.frames_per_s,
                    "kbit_per_s": rates.kbit_per_s,
                    "rtt_ms": figures.path.rtt.as_secs_f64() * 1000.0,
                    "packets_sent": figures.path.packets_sent,
                    "packets_lost": figures.path.packets_lost,
                    "repairs": figures.repairs,
                    "wanted": wanted(figures),
                    "tracks": counters_json(&tracks),
                });
                writeln!(self.out, "{line}")
            }
        }
    }

    fn end_line(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.has_line) { writeln!(self.out) } else { Ok(()) }
    }
}

fn wanted(figures: &Figures) -> Vec<&'static str> {
    figures.tracks.iter().filter(|track| track.is_wanted).map(|track| track.name.as_str()).collect()
}

fn text(figures: &Figures, rates: Rates) -> String {
    let of = figures.duration.map(|duration| format!(" of {}", clock(duration))).unwrap_or_default();
    let path = &figures.path;
    let lost = if path.packets_sent > 0 { path.packets_lost as f64 / path.packets_sent as f64 } else { 0.0 };
    let dropped: u64 = figures.tracks.iter().map(|track| track.counters.frames_dropped).sum();
    let dropped = if dropped > 0 { format!("  {dropped} frames dropped") } else { String::new() };
    let nobody = if wanted(figures).is_empty() { "  nobody is watching" } else { "" };
    format!(
        "{}{of}  {:.1} fps  {:.0} kbit/s  RTT {:.1} ms  lost {} ({:.2} %){dropped}{nobody}",
        clock(figures.media),
        rates.frames_per_s,
        rates.kbit_per_s,
        path.rtt.as_secs_f64() * 1000.0,
        path.packets_lost,
        lost * 100.0,
    )
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn track_text(track: &CatalogTrack) -> String {
    let shape = match track.format.shape {
        Shape::Video { width, height, framerate: Some(rate) } => format!("{width}x{height}, {rate:.4} fps"),
        Shape::Video { width, height, framerate: None } => format!("{width}x{height}"),
        Shape::Audio { samplerate, channels } => format!("{samplerate} Hz, {channels} channels"),
    };
    format!("{} ({}, {shape})", track.name, track.format.codec_string)
}

/// Codecs of the tracks that are not published, and why.
fn left_out(header: &InputHeader) -> impl Iterator<Item = (&str, &str)> {
    let skipped = header.skipped.iter().map(|skipped| (skipped.codec.as_str(), skipped.reason));
    let of_kind =
        |is_video: bool| header.tracks.iter().filter(move |format| format.codec.is_video() == is_video);
    let second = of_kind(true).skip(1).chain(of_kind(false).skip(1));
    skipped
        .chain(second.map(|format| (format.codec_string.as_str(), "only the first of its kind is published")))
}

fn track_json(track: &CatalogTrack) -> serde_json::Value {
    let mut line = json!({ "name": track.name, "codec": track.format.codec_string });
    let shape = match track.format.shape {
        Shape::Video { width, height, framerate } => {
            json!({ "width": width, "height": height, "frames_per_s": framerate })
        }
        Shape::Audio { samplerate, channels } => json!({ "samplerate": samplerate, "channels": channels }),
    };
    if let (Some(line), serde_json::Value::Object(shape)) = (line.as_object_mut(), shape) {
        line.extend(shape);
    }
    line
}

fn counters_json(tracks: &[(TrackName, TrackCounters)]) -> serde_json::Value {
    let tracks = tracks.iter().map(|(name, counters)| {
        let TrackCounters { frames, frame_bytes, frames_dropped, frames_unfit, objects } = *counters;
        json!({
            "name": name.as_str(), "frames": frames, "frame_bytes": frame_bytes,
            "frames_dropped": frames_dropped, "frames_unfit": frames_unfit, "objects": objects,
        })
    });
    tracks.collect()
}
