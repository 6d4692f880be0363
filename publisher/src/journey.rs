//! A publication from its first session to its last: it follows a relay that sends it elsewhere, and comes back
//! when the connection was lost.

use std::time::Duration;

use anyhow::bail;
use roundtable_moqt::{Session, SessionError};
use roundtable_transport::{ConnectOptions, Connection, Ended, EndedBy, OptionsError};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::{
    publication::Publication,
    seat::{News, Seat},
};

/// Time between two attempts, doubled every time up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
/// See [`PAUSE`].
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long sessions that were left may take to end.
const FAREWELL_WAIT: Duration = Duration::from_secs(2);

/// Told to the relay.
pub const NAME: &str = "roundtable-publisher";

/// How a journey ended.
pub struct Arrival {
    /// What was published.
    pub publication: Box<Publication>,
    /// How the last session ended.
    pub ended: Ended,
    /// Why there is no further one, if one was looked for.
    pub search: Option<anyhow::Error>,
}

/// Where the relay is, and how long it is looked for when it is lost.
#[derive(Debug, Clone)]
pub struct Way {
    /// Where it was at first.
    pub connect: ConnectOptions,
    /// Zero gives up at once.
    pub patience: Duration,
}

/// Publishes on a session, and on whatever sessions follow, until the publication is over, the relay does not want
/// it any more or cannot be found again. `stopped` ends the search; the publication itself is stopped by its own
/// handle.
pub async fn travel(
    publication: Box<Publication>,
    (connection, session): (Connection, Session),
    way: &Way,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<Arrival> {
    let mut seat = Seat::take(publication, connection, session);
    let mut search: Option<Search> = None;
    // Those that were left, until the relay knows us on the present one.
    let mut left: Vec<Seat> = Vec::new();
    let arrival = loop {
        match on_seat(&mut seat, &mut search, way, &left).await? {
            Step::Found(found) => {
                let (connection, session) = *found;
                // A seat without publication has ended: it says so next, and the search begins anew.
                if let Some(publication) = seat.hand_over().await {
                    let next = Seat::take(publication, connection, session);
                    left.push(std::mem::replace(&mut seat, next));
                }
            }
            Step::Ended { mut publication, ended, was_sent_away } => {
                let is_wanted =
                    way.patience > Duration::ZERO && !publication.is_ending() && !*stopped.borrow();
                if !is_wanted || !(was_sent_away || is_loss(&ended)) {
                    break Arrival { publication, ended, search: None };
                }
                tracing::warn!(reason = %ended.reason, "the session is lost; looking for the relay");
                publication.detach();
                let mut search = search.take().unwrap_or_else(|| Search::start(way, None));
                let found = tokio::select! {
                    found = search.found() => found.map_err(Some),
                    _ = stopped.wait_for(|stopped| *stopped) => Err(None),
                };
                match found {
                    Ok((connection, session)) => seat = Seat::take(publication, connection, session),
                    Err(search) => break Arrival { publication, ended, search },
                }
            }
        }
    };
    left.iter().for_each(Seat::say_goodbye);
    let ends = async {
        for seat in &mut left {
            while seat.news().await.is_some() {}
        }
    };
    // The relay notices by itself what does not end in time.
    let _ = timeout(FAREWELL_WAIT, ends).await;
    Ok(arrival)
}

/// What ends the stay on a seat.
enum Step {
    /// There is another session.
    Found(Box<(Connection, Session)>),
    /// The session is over.
    Ended { publication: Box<Publication>, ended: Ended, was_sent_away: bool },
}

async fn on_seat(
    seat: &mut Seat,
    search: &mut Option<Search>,
    way: &Way,
    left: &[Seat],
) -> anyhow::Result<Step> {
    let mut was_sent_away = search.is_some();
    loop {
        let news = match search {
            None => seat.news().await,
            Some(running) => tokio::select! {
                news = seat.news() => news,
                found = running.found() => {
                    *search = None;
                    match found {
                        Ok(found) => return Ok(Step::Found(Box::new(found))),
                        Err(error) => tracing::debug!(%error, "no other session"),
                    }
                    continue;
                }
            },
        };
        match news {
            Some(News::Announced) => left.iter().for_each(Seat::say_goodbye),
            Some(News::GoAway(_)) if way.patience.is_zero() => {}
            Some(News::GoAway(uri)) => {
                tracing::info!("the relay is leaving; looking for another session");
                was_sent_away = true;
                *search = Some(Search::start(way, uri));
            }
            Some(News::Ended(Some(publication), ended)) => {
                return Ok(Step::Ended { publication, ended, was_sent_away });
            }
            Some(News::Ended(None, _)) | None => bail!("the session's task died, which is a bug"),
        }
    }
}

/// True when nobody wanted the session to end.
fn is_loss(ended: &Ended) -> bool {
    ended.by == EndedBy::Network
        || (ended.by == EndedBy::Peer && ended.code == Some(SessionError::GoAwayTimeout))
}

/// Looks for a relay, on a task of its own; dropped, it ends.
struct Search(JoinHandle<Result<(Connection, Session), OptionsError>>);

impl Search {
    /// At the URI that the relay named, and at the one we know.
    fn start(way: &Way, uri: Option<String>) -> Self {
        let Way { connect: known, patience } = way.clone();
        let named = uri.map(|url| ConnectOptions { url, ..known.clone() });
        Search(tokio::spawn(async move {
            let deadline = Instant::now() + patience;
            let mut pause = PAUSE;
            let mut attempts = named.iter().chain([&known]).cycle();
            loop {
                let place = attempts.next().unwrap_or(&known);
                match place.connect(NAME).await {
                    Err(error) if Instant::now() + pause < deadline => {
                        tracing::debug!(%error, "not found yet");
                        sleep(pause).await;
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                    result => return result,
                }
            }
        }))
    }

    /// What was found. Cancel-safe.
    async fn found(&mut self) -> anyhow::Result<(Connection, Session)> {
        Ok((&mut self.0).await??)
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.0.abort();
    }
}
