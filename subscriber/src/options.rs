//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Parser;
use roundtable_transport::{ConnectOptions, options::parse_duration};

use crate::filter::TrackFilter;

/// Receives a Roundtable room: shows what arrives, records it, or plays one track
#[derive(Debug, Parser)]
#[command(name = "roundtable-subscriber", version)]
pub struct Options {
    /// Where the room is.
    #[command(flatten)]
    pub connect: ConnectOptions,

    /// Record into this folder: one file per track (WebM; MP4 for H.264 and AAC) and manifest.jsonl. Files that an
    /// earlier recorder left unfinished there are repaired first
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    pub record: Option<PathBuf>,

    /// Write one track as WebM to standard output, for a player: `-o - | ffplay -`. The first picture that comes, or
    /// what --tracks says. H.264 and AAC go out as Matroska, which ffplay and mpv play as well
    #[arg(short, long, value_name = "-", value_parser = ["-"])]
    pub output: Option<String>,

    /// Which tracks: TRACK or PARTICIPANT/TRACK between commas, * for any text (audio,alice/camera)
    #[arg(long, value_name = "LIST")]
    pub tracks: Option<TrackFilter>,

    /// Stop after so long: 90, 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Stop when the last participant has left
    #[arg(long)]
    pub until_empty: bool,

    /// Say everything as JSON, one object a line
    #[arg(long, conflicts_with = "output")]
    pub json: bool,

    /// Say more: -v what happens, -vv every detail (RUST_LOG says it finer)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recording_and_playing_exclude_each_other() {
        let parse = |rest: &[&str]| {
            Options::try_parse_from([&["subscriber", "--url", "https://127.0.0.1/room"], rest].concat())
        };
        assert!(parse(&["--record", "x", "--tracks", "alice/*", "--duration", "5m", "--json"]).is_ok());
        assert!(parse(&["-o", "-"]).is_ok());
        assert!(parse(&["-o", "file.webm"]).is_err());
        assert!(parse(&["--record", "x", "-o", "-"]).is_err());
        assert!(parse(&["--tracks", "alice/"]).is_err());
    }
}
