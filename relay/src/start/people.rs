//! The people of before: what the database and the keys say about them.

use std::sync::Arc;

use crate::{
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
