//! Runs the command line tool: open, connect, publish, end.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, anyhow, bail};
use roundtable_moqt::SessionError;
use roundtable_transport::{Ended, EndedBy};
use tokio::sync::watch;

use crate::{
    input::{Input, InputConfig, Origin},
    journey::{Arrival, NAME, Way, travel},
    options::Options,
    progress::{Display, Style},
    publication::{Publication, PublicationConfig, Stop},
};

/// Publishes as the options say, until the media ends, the relay does, or Ctrl-C.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let origin = options.origin();
    // A test card without an end is what one wants of it.
    let is_loop = options.is_loop || origin == Origin::TestCard;
    // What cannot be read is told before anybody is called.
    let input = Input::start(InputConfig { origin: origin.clone(), is_loop })?;
    let style = Style::of(options.json, &io::stdout());
    let config = PublicationConfig {
        participant: options.participant()?,
        role: options.role,
        label: label(&origin),
        report_every: style.interval(),
    };
    let mut publication = Publication::new(config, input).context("the name cannot be used")?;
    let display = Arc::new(Mutex::new(Display::new(io::stdout(), style)));
    let told = Arc::clone(&display);
    publication.tell_to(Box::new(move |now, report| {
        // A terminal that is gone is no reason to stop.
        let _ = told.lock().unwrap_or_else(PoisonError::into_inner).tell(now, report);
    }));

    let mut stopped = stop_at_ctrl_c(publication.stop_handle());
    let first = tokio::select! {
        first = options.connect.connect(NAME) => first?,
        _ = stopped.wait_for(|stopped| *stopped) => bail!("stopped before the relay answered"),
    };
    let way = Way { connect: options.connect, patience: options.reconnect };
    let arrival = travel(Box::new(publication), first, &way, stopped.clone()).await?;
    let result = outcome(&arrival, *stopped.borrow());
    let error = result.as_ref().err().map(|error| format!("{error:#}"));
    let mut display = display.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = display.finish(&arrival.publication.counters(), error.as_deref());
    result
}

/// What people see in a list of tracks.
fn label(origin: &Origin) -> Option<String> {
    match origin {
        Origin::File(path) => Some(path.file_stem()?.to_string_lossy().chars().take(64).collect()),
        Origin::TestCard => Some("test card".to_owned()),
        Origin::Pipe => None,
    }
}

/// Stops at the first Ctrl-C; the second ends the process as it is.
fn stop_at_ctrl_c(stop: Stop) -> watch::Receiver<bool> {
    let (sender, stopped) = watch::channel(false);
    tokio::spawn(async move {
        wait_for_signal().await;
        stop.stop();
        sender.send_replace(true);
        wait_for_signal().await;
        // The relay notices by itself that nobody publishes any more.
        std::process::exit(130);
    });
    stopped
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

fn outcome(arrival: &Arrival, was_stopped: bool) -> anyhow::Result<()> {
    let Arrival { publication, ended, search } = arrival;
    if let Some(failure) = publication.failure() {
        return Err(failure.clone().into());
    }
    if publication.is_over() {
        return Ok(());
    }
    let mut how = how_it_ended(ended);
    if let Some(error) = search {
        how = format!("{how}; looked for it again in vain: {error:#}");
    } else if was_stopped {
        how = format!("{how}; stopped while there was no relay");
    }
    Err(anyhow!(how))
}

fn how_it_ended(ended: &Ended) -> String {
    let reason = if ended.reason.is_empty() { String::new() } else { format!(": {}", ended.reason) };
    match (ended.by, ended.code) {
        (EndedBy::Us, _) => format!("the relay broke the protocol{reason}"),
        (EndedBy::Peer, Some(SessionError::NoError)) => format!("the relay closed the session{reason}"),
        (EndedBy::Peer, Some(code)) => format!("the relay closed the session{reason} ({code:?})"),
        (EndedBy::Peer, None) => format!("the relay closed the connection{reason}"),
        (EndedBy::Network, _) => format!("the connection to the relay was lost{reason}"),
    }
}
