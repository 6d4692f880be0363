//! Runs the command line tool: open, connect, publish, end.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use roundtable_transport::{Connection, Ended, EndedBy, drive};

use crate::{
    input::{Input, InputConfig, Origin},
    options::Options,
    progress::{Display, Style},
    publication::{Publication, PublicationConfig},
};

/// Publishes as the options say, until the media ends, the relay does, or Ctrl-C.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let origin = options.origin();
    if options.is_loop && origin == Origin::Pipe {
        bail!("--loop needs a file: a pipe cannot be read twice");
    }
    // A test card without an end is what one wants of it.
    let is_loop = options.is_loop || origin == Origin::TestCard;
    // What cannot be read is told before anybody is called.
    let input = Input::start(InputConfig { origin: origin.clone(), is_loop })?;
    let style = Style::of(options.json, &io::stdout());
    let config = PublicationConfig {
        participant: options.participant(),
        role: options.role,
        label: label(&origin),
        report_every: style.interval(),
    };
    let mut publication = Publication::new(config, input).context("the name cannot be used")?;
    let display = Arc::new(Mutex::new(Display::new(io::stdout(), style)));
    let told = Arc::clone(&display);
    publication.report_to(Box::new(move |now, report| {
        // A terminal that is gone is no reason to stop.
        let _ = told.lock().unwrap_or_else(PoisonError::into_inner).tell(now, report);
    }));

    let (connection, session) = options.connect.connect("roundtable-publisher").await?;
    let ended = drive_until_ctrl_c(connection, session, &mut publication).await;
    let _ = display.lock().unwrap_or_else(PoisonError::into_inner).finish(&publication.counters());
    if let Some(failure) = publication.failure() {
        return Err(failure.clone().into());
    }
    if publication.is_over() { Ok(()) } else { how_it_ended(&ended) }
}

/// What people see in a list of tracks.
fn label(origin: &Origin) -> Option<String> {
    match origin {
        Origin::File(path) => Some(path.file_stem()?.to_string_lossy().chars().take(64).collect()),
        Origin::TestCard => Some("test card".to_owned()),
        Origin::Pipe => None,
    }
}

async fn drive_until_ctrl_c(
    connection: Connection,
    session: roundtable_moqt::Session,
    publication: &mut Publication,
) -> Ended {
    let stop = publication.stop_handle();
    let signals = tokio::spawn(async move {
        wait_for_signal().await;
        stop.stop();
        wait_for_signal().await;
        // Asked twice: the relay notices by itself that nobody publishes any more.
        std::process::exit(130);
    });
    let ended = drive(connection, session, publication).await;
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

fn how_it_ended(ended: &Ended) -> anyhow::Result<()> {
    match ended.by {
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
