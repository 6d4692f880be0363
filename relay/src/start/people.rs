//! The people of before: what the database and the keys say about them.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    api::Api,
    clock::UnixMs,
    config::{Config, options::SignIn},
    counters::Counters,
    data::DataFolder,
    journal::Journal,
    meeting::{Meetings, Policy},
    store::Store,
    token::{Keys, TokenKey},
};

/// What the relay knows of people before it lets any in.
pub(super) struct People {
    pub(super) counters: Arc<Counters>,
    pub(super) meetings: Arc<Meetings>,
}

/// Reads keys and bans, and ends what a relay before this one left open.
pub(super) async fn begin(config: &Config, data: &DataFolder, store: Store) -> anyhow::Result<People> {
    let now = UnixMs::now();
    let own = TokenKey::open(&data.token_key())?;
    let applications =
        config.token_secrets.iter().map(|path| TokenKey::of_application(path)).collect::<Result<_, _>>()?;
    let interrupted = store.recover(now).await?;
    if interrupted > 0 {
        tracing::warn!(
            calls = interrupted,
            "the relay did not end properly the last time; calls of then were ended"
        );
    }
    let bans = store.bans(now).await?;
    let guarded = store.guarded_rooms().await?;
    let counters = Arc::<Counters>::default();
    let policy = match config.sign_in {
        SignIn::Open => Policy::Open,
        SignIn::Accounts => Policy::Tokens,
    };
    let journal = Arc::new(Journal::new(Some(store), Arc::clone(&counters)));
    let meetings = Meetings::new(policy, Keys::new(own, applications), journal, Arc::clone(&counters));
    meetings.load_bans(bans);
    for room in guarded {
        meetings.set_guarded(&room, true);
    }
    Ok(People { counters, meetings: Arc::new(meetings) })
}

/// What goes on by itself about people; ends when dropped.
pub(super) fn tend(api: &Arc<Api>) -> JoinSet<()> {
    const TIDY_INTERVAL: Duration = Duration::from_secs(3600);
    let (unread, to_read) = mpsc::unbounded_channel();
    api.meetings.on_unread(unread);
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&api.meetings).tend());
    tasks.spawn(Arc::clone(&api.calls).tend());
    tasks.spawn(Arc::clone(api).load_unread(to_read));
    let api = Arc::clone(api);
    tasks.spawn(async move {
        let mut interval = tokio::time::interval(TIDY_INTERVAL);
        loop {
            interval.tick().await;
            api.tidy().await;
        }
    });
    tasks
}
