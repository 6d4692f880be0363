//! Runs the command line tool: connect, receive, finish.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use roundtable_transport::{App, Connection, Ended, EndedBy, drive};

use crate::{
    event::Consumer,
    live::{Announcer, Display, Nobody, Style},
    options::Options,
    pipe::Pipe,
    record::Recorder,
    room::{Mode, Room, RoomConfig},
};

/// How long a frame that is seen at once waits for the one before it.
const LIVE_WAIT: Duration = Duration::from_millis(250);
/// A table is drawn this often.
const TABLE_EVERY: Duration = Duration::from_millis(500);
/// Figures are said this often elsewhere.
const FIGURES_EVERY: Duration = Duration::from_secs(1);

/// What is done with the frames.
enum Sink {
    Record(Recorder),
    Pipe(Option<Box<Pipe>>),
    Nobody(Nobody),
}

impl Consumer for Sink {
    fn handle(&mut self, event: crate::RoomEvent) {
        match self {
            Sink::Record(recorder) => recorder.handle(event),
            Sink::Pipe(Some(pipe)) => pipe.handle(event),
            Sink::Pipe(None) => {}
            Sink::Nobody(nobody) => nobody.handle(event),
        }
    }
}

/// Receives a room as the options say, until it ends, the time is up or Ctrl-C.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut sink = match (&options.record, &options.output) {
        (Some(folder), _) => Sink::Record(Recorder::start(folder)?),
        (None, Some(_)) if io::stdout().is_terminal() => {
            bail!("-o - writes WebM, which a terminal cannot show: pipe it into a player, `-o - | ffplay -`")
        }
        (None, Some(_)) => Sink::Pipe(None),
        (None, None) => Sink::Nobody(Nobody),
    };
    let connected = options.connect.connect("roundtable-subscriber").await;
    let (connection, session) = match connected {
        Ok(connected) => connected,
        Err(error) => {
            if let Sink::Record(recorder) = sink {
                recorder.finish();
            }
            return Err(error.into());
        }
    };
    let is_recording = matches!(sink, Sink::Record(_));
    let config = RoomConfig {
        mode: if is_recording { Mode::Record } else { Mode::Live { wait: LIVE_WAIT } },
        filter: options.tracks.clone().unwrap_or_default(),
        until_empty: options.until_empty,
        duration: options.duration,
    };
    // Standard output belongs to the player; people are told on standard error then.
    let style = Style::of(options.json, &io::stdout());
    let says_events = !matches!(sink, Sink::Pipe(_)) && (is_recording || style != Style::Table);
    let events_to = says_events.then(io::stdout);
    let mut room = Room::new(config, Announcer::new(Sink::Nobody(Nobody), events_to, options.json));
    if let Sink::Pipe(pipe) = &mut sink {
        let takes_sound = options.tracks.is_some();
        let started = Pipe::start(io::stdout(), takes_sound, room.leave_handle()).context("no thread")?;
        *pipe = Some(Box::new(started));
    } else if !is_recording || options.json {
        // A recording shows its figures only where a program reads them.
        let mut display = Display::new(io::stdout(), style);
        let interval = if style == Style::Table { TABLE_EVERY } else { FIGURES_EVERY };
        let report = move |now: Instant, figures: &[crate::event::TrackFigures]| {
            // A terminal that is gone is no reason to stop.
            let _ = display.show(now, figures);
        };
        room.report_every(interval, Box::new(report));
    }
    room.consumer_mut().replace(sink);

    let ended = drive_until_ctrl_c(connection, session, &mut room).await;
    let failure = room.failure().map(str::to_owned);
    let sink = room.finish(Instant::now()).into_inner();
    let finished = finish(sink, options.json).await;
    if let Some(failure) = failure {
        bail!(failure);
    }
    finished?;
    how_it_ended(&ended)
}

async fn drive_until_ctrl_c(
    connection: Connection,
    session: roundtable_moqt::Session,
    room: &mut Room<Announcer<Sink, io::Stdout>>,
) -> Ended {
    let leave = room.leave_handle();
    let signals = tokio::spawn(async move {
        wait_for_signal().await;
        leave.leave();
        wait_for_signal().await;
        // Asked twice: files stay as they are and are repaired by the next recorder.
        std::process::exit(130);
    });
    let room: &mut dyn App = room;
    let ended = drive(connection, session, room).await;
    signals.abort();
    ended
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    let _ = tokio::signal::ctrl_c().await;
}

/// Finishes files off the network's threads.
async fn finish(sink: Sink, is_json: bool) -> anyhow::Result<()> {
    match sink {
        Sink::Record(recorder) => {
            let summary = tokio::task::spawn_blocking(|| recorder.finish()).await.context("no thread")?;
            if is_json {
                println!(
                    "{}",
                    serde_json::json!({
                        "type": "finished", "files": summary.files, "frames": summary.frames,
                        "frames_lost": summary.frames_lost, "errors": summary.errors,
                    })
                );
            } else {
                println!(
                    "{} files with {} frames, {} frames missing",
                    summary.files, summary.frames, summary.frames_lost
                );
            }
            if !summary.errors.is_empty() {
                bail!("the recording is not complete:\n{}", summary.errors.join("\n"));
            }
        }
        Sink::Pipe(Some(pipe)) => {
            let dropped = tokio::task::spawn_blocking(|| pipe.finish()).await.context("no thread")?;
            if dropped > 0 {
                tracing::warn!(frames = dropped, "the player was too slow for some frames");
            }
        }
        Sink::Pipe(None) | Sink::Nobody(_) => {}
    }
    Ok(())
}

fn how_it_ended(ended: &Ended) -> anyhow::Result<()> {
    match ended.by {
        EndedBy::Us if ended.code == Some(roundtable_moqt::SessionError::NoError) => Ok(()),
        EndedBy::Us => bail!("the relay broke the protocol: {}", ended.reason),
        EndedBy::Peer => match ended.code {
            Some(roundtable_moqt::SessionError::NoError) => {
                bail!("the relay closed the session {}", ended.reason)
            }
            Some(code) => bail!("the relay closed the session: {} ({code:?})", ended.reason),
            None => bail!("the relay closed the connection: {}", ended.reason),
        },
        EndedBy::Network => bail!("the connection to the relay was lost: {}", ended.reason),
    }
}
