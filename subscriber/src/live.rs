//! What arrives, for people: a table that is drawn again and again on a terminal, plain lines elsewhere, or JSON.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::event::{Consumer, RoomEvent, TrackFigures, WallClock};

/// Plain lines come this often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Rows of the table; what does not fit is counted below it.
const ROWS_MAX: usize = 40;

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Redrawn in place.
    Table,
    /// A line for each track now and then.
    Plain,
    /// One JSON object a line.
    Json,
}

impl Style {
    /// What suits a stream: a table on a terminal.
    pub fn of(json: bool, stream: &impl IsTerminal) -> Self {
        match (json, stream.is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Table,
            (false, false) => Style::Plain,
        }
    }
}

/// Writes figures to a stream.
pub struct Display<W> {
    out: W,
    style: Style,
    clock: WallClock,
    lines_drawn: usize,
    plain_at: Option<Instant>,
}

#[derive(Serialize)]
struct FiguresLine<'a> {
    r#type: &'static str,
    at_unix_us: i64,
    participant: &'a str,
    track: &'a str,
    codec: &'a str,
    kbit_per_s: f64,
    frames_per_s: f64,
    loss: f64,
    jitter_ms: f64,
    lateness_ms: f64,
    lateness_max_ms: f64,
    bytes: u64,
    frames: u64,
    frames_lost: u64,
    frames_from_parity: u64,
    frames_from_redundancy: u64,
    objects: u64,
    objects_fetched: u64,
    objects_late: u64,
    objects_bad: u64,
}

impl<W: Write> Display<W> {
    /// A display on a stream.
    pub fn new(out: W, style: Style) -> Self {
        Display { out, style, clock: WallClock::now(), lines_drawn: 0, plain_at: None }
    }

    /// The figures of this moment.
    pub fn show(&mut self, now: Instant, tracks: &[TrackFigures]) -> io::Result<()> {
        match self.style {
            Style::Table => self.draw(tracks)?,
            Style::Plain => {
                if self.plain_at.is_some_and(|at| now < at) {
                    return Ok(());
                }
                self.plain_at = Some(now + PLAIN_EVERY);
                for track in tracks {
                    writeln!(self.out, "{}", row(track))?;
                }
            }
            Style::Json => {
                let at_unix_us = self.clock.unix_us(now);
                for track in tracks {
                    serde_json::to_writer(&mut self.out, &figures_line(at_unix_us, track))?;
                    self.out.write_all(b"\n")?;
                }
            }
        }
        self.out.flush()
    }

    fn draw(&mut self, tracks: &[TrackFigures]) -> io::Result<()> {
        let mut lines = vec![format!(
            "{:<32} {:<14} {:>8} {:>6} {:>7} {:>8} {:>8} {:>9}",
            "track", "codec", "kbit/s", "fps", "loss %", "jitter", "late", "repaired"
        )];
        lines.extend(tracks.iter().take(ROWS_MAX).map(row));
        if tracks.is_empty() {
            lines.push("nobody is here yet".to_owned());
        }
        if tracks.len() > ROWS_MAX {
            lines.push(format!("and {} more", tracks.len() - ROWS_MAX));
        }
        if self.lines_drawn > 0 {
            // Up to where the last table began, and clear to the end of the screen.
            write!(self.out, "\x1b[{}F\x1b[J", self.lines_drawn)?;
        }
        for line in &lines {
            writeln!(self.out, "{line}")?;
        }
        self.lines_drawn = lines.len();
        Ok(())
    }
}

fn row(track: &TrackFigures) -> String {
    let figures = &track.figures;
    let counters = &figures.counters;
    let repaired = counters.frames_from_parity + counters.frames_from_redundancy + counters.objects_fetched;
    format!(
        "{:<32} {:<14} {:>8.0} {:>6.1} {:>7.2} {:>6.1}ms {:>6.1}ms {:>9}",
        shortened(&track.label.to_string(), 32),
        shortened(&track.codec, 14),
        figures.kbit_per_s,
        figures.frames_per_s,
        figures.loss * 100.0,
        figures.jitter_ms,
        figures.lateness_max_ms,
        repaired
    )
}

/// Names come from the network: nothing that moves the cursor gets to the terminal.
fn shortened(text: &str, width: usize) -> String {
    let printable = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    let mut short: String = text.chars().map(printable).take(width).collect();
    if text.chars().count() > width {
        short.pop();
        short.push('\u{2026}');
    }
    short
}

fn figures_line(at_unix_us: i64, track: &TrackFigures) -> FiguresLine<'_> {
    let figures = &track.figures;
    let counters = &figures.counters;
    FiguresLine {
        r#type: "figures",
        at_unix_us,
        participant: &track.label.participant,
        track: &track.label.track,
        codec: &track.codec,
        kbit_per_s: figures.kbit_per_s,
        frames_per_s: figures.frames_per_s,
        loss: figures.loss,
        jitter_ms: figures.jitter_ms,
        lateness_ms: figures.lateness_ms,
        lateness_max_ms: figures.lateness_max_ms,
        bytes: figures.bytes,
        frames: counters.frames,
        frames_lost: counters.frames_lost,
        frames_from_parity: counters.frames_from_parity,
        frames_from_redundancy: counters.frames_from_redundancy,
        objects: counters.objects,
        objects_fetched: counters.objects_fetched,
        objects_late: counters.late,
        objects_bad: counters.bad,
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum EventLine<'a> {
    Following { at_unix_us: i64 },
    Joined { participant: &'a str, at_unix_us: i64 },
    Left { participant: &'a str, at_unix_us: i64 },
    Began { participant: &'a str, track: &'a str, codec: &'a str },
    Gap { epoch: u64, start: String, end: String, frames_at_least: u64 },
    Ended { epoch: u64, reason: &'a str },
}

/// Says who comes and goes, and passes everything on.
pub struct Announcer<C, W> {
    inner: C,
    out: Option<W>,
    is_json: bool,
    clock: WallClock,
}

impl<C, W: Write> Announcer<C, W> {
    /// Says it to `out`, as JSON or for people; `None` says nothing.
    pub fn new(inner: C, out: Option<W>, is_json: bool) -> Self {
        Announcer { inner, out, is_json, clock: WallClock::now() }
    }

    /// Passes everything on to this one from now on.
    pub fn replace(&mut self, inner: C) {
        self.inner = inner;
    }

    /// What everything was passed on to.
    pub fn into_inner(self) -> C {
        self.inner
    }

    fn line<'a>(&self, event: &'a RoomEvent) -> Option<EventLine<'a>> {
        Some(match event {
            RoomEvent::Following { at } => EventLine::Following { at_unix_us: self.clock.unix_us(*at) },
            RoomEvent::Joined { participant, at } => {
                EventLine::Joined { participant, at_unix_us: self.clock.unix_us(*at) }
            }
            RoomEvent::Left { participant, at } => {
                EventLine::Left { participant, at_unix_us: self.clock.unix_us(*at) }
            }
            RoomEvent::Began { label, format, .. } => EventLine::Began {
                participant: &label.participant,
                track: &label.track,
                codec: &format.codec_string,
            },
            RoomEvent::Gap { epoch, gap } => EventLine::Gap {
                epoch: epoch.0,
                start: crate::room::location_text(gap.start),
                end: crate::room::location_text(gap.end),
                frames_at_least: gap.frames_at_least,
            },
            RoomEvent::Ended { epoch, reason, .. } => EventLine::Ended { epoch: epoch.0, reason },
            RoomEvent::Frame { .. } => return None,
        })
    }
}

fn text(line: &EventLine<'_>) -> Option<String> {
    Some(match line {
        EventLine::Following { .. } => "in the room".to_owned(),
        EventLine::Joined { participant, .. } => format!("{} is here", shortened(participant, 64)),
        EventLine::Left { participant, .. } => format!("{} has left", shortened(participant, 64)),
        EventLine::Began { participant, track, codec } => {
            let (participant, track) = (shortened(participant, 64), shortened(track, 64));
            format!("{participant}/{track} begins ({})", shortened(codec, 32))
        }
        EventLine::Gap { frames_at_least, .. } if *frames_at_least > 0 => {
            format!("{frames_at_least} frames are lost")
        }
        EventLine::Gap { .. } | EventLine::Ended { .. } => return None,
    })
}

impl<C: Consumer, W: Write + Send> Consumer for Announcer<C, W> {
    fn handle(&mut self, event: RoomEvent) {
        let said = self.line(&event).and_then(|line| match self.is_json {
            true => serde_json::to_string(&line).ok(),
            false => text(&line),
        });
        if let (Some(out), Some(said)) = (&mut self.out, said) {
            // A terminal that is gone is no reason to stop.
            let _ = writeln!(out, "{said}");
        }
        self.inner.handle(event);
    }
}

/// Takes everything and keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Consumer for Nobody {
    fn handle(&mut self, _event: RoomEvent) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TrackLabel;
    use roundtable_media::stats::Figures;

    fn track() -> TrackFigures {
        let label = TrackLabel { participant: "ev\x1b[2Jil".into(), track: "camera".into() };
        TrackFigures {
            label,
            codec: "vp8".into(),
            figures: Figures { kbit_per_s: 1234.4, ..Figures::default() },
        }
    }

    fn shown(style: Style) -> String {
        let mut display = Display::new(Vec::new(), style);
        display.show(Instant::now(), &[track()]).unwrap();
        display.show(Instant::now(), &[track()]).unwrap();
        String::from_utf8(display.out).unwrap()
    }

    #[test]
    fn a_table_is_drawn_in_place_and_names_cannot_move_the_cursor() {
        let table = shown(Style::Table);
        assert_eq!(table.matches("\x1b[").count(), 2, "{table:?}");
        assert!(table.contains("\x1b[2F\x1b[J"));
        assert!(table.contains("ev\u{fffd}[2Jil/camera") && table.contains(" 1234 "));
    }

    #[test]
    fn plain_lines_come_now_and_then_and_json_always() {
        assert_eq!(shown(Style::Plain).lines().count(), 1);
        let json = shown(Style::Json);
        let lines: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["type"], &lines[0]["track"]), (&"figures".into(), &"camera".into()));
    }
}
