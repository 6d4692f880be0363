//! What happened in calls on its way into the database: in order, all of it, and nobody waits for it. While the
//! database cannot be written to, entries are kept here and tried again.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use crate::{
    clock::UnixMs,
    counters::Counters,
    store::{Store, StoreError, calls::Entry},
};

/// Entries written together.
const BATCH_MAX: usize = 256;
/// Entries that wait. A database that is gone for so long loses the oldest.
const WAITING_MAX: usize = 100_000;
/// The relay says this often that it runs: what a crash costs the times in the history.
const BEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Between two tries, at first and at last.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long somebody waits for what is on its way.
const FLUSH_WAIT: Duration = Duration::from_secs(2);

/// Entries on their way. Without a database they go nowhere.
#[derive(Debug)]
pub struct Journal {
    store: Option<Store>,
    counters: Arc<Counters>,
    waiting: Mutex<Waiting>,
    has_work: Notify,
    /// How many have been dealt with.
    dealt_with: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// How many there have been.
    noted: u64,
}

impl Journal {
    /// A journal for `store`; [`Journal::keep`] writes it.
    pub fn new(store: Option<Store>, counters: Arc<Counters>) -> Self {
        Journal {
            store,
            counters,
            waiting: Mutex::default(),
            has_work: Notify::new(),
            dealt_with: watch::Sender::new(0),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened.
    pub fn note(&self, entry: Entry) {
        if self.store.is_none() {
            return;
        }
        let mut waiting = self.waiting();
        waiting.entries.push_back(entry);
        waiting.noted += 1;
        if waiting.entries.len() > WAITING_MAX {
            waiting.entries.pop_front();
            self.counters.journal_lost.increment();
            self.dealt_with.send_modify(|count| *count += 1);
        }
        drop(waiting);
        self.has_work.notify_one();
    }

    /// Waits, but not for long, until everything noted so far can be read from the database.
    pub async fn flushed(&self) {
        let noted = self.waiting().noted;
        let mut dealt_with = self.dealt_with.subscribe();
        let _ = tokio::time::timeout(FLUSH_WAIT, dealt_with.wait_for(|count| *count >= noted)).await;
    }

    /// Writes, until `stop` turns true and everything is written or cannot be.
    pub async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let Some(store) = &self.store else { return };
        let stopping = stop.clone();
        let mut beat = tokio::time::interval(BEAT_INTERVAL);
        loop {
            let is_beat = tokio::select! {
                () = self.has_work.notified() => false,
                _ = beat.tick() => true,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            if is_beat {
                self.beat(store).await;
            } else {
                self.write_all(store, stopping.clone()).await;
            }
        }
        self.write_all(store, stopping.clone()).await;
        self.beat(store).await;
    }

    async fn beat(&self, store: &Store) {
        if let Err(error) = store.beat(UnixMs::now()).await {
            tracing::debug!(%error, "no heartbeat");
        }
    }

    async fn write_all(&self, store: &Store, mut stop: watch::Receiver<bool>) {
        let mut pause = RETRY_PAUSE.0;
        loop {
            let batch: Vec<Entry> = self.waiting().entries.iter().take(BATCH_MAX).cloned().collect();
            if batch.is_empty() {
                return;
            }
            match store.write(&batch).await {
                Ok(()) => {
                    if pause != RETRY_PAUSE.0 {
                        tracing::info!("the history can be written again; nothing was lost");
                    }
                    pause = RETRY_PAUSE.0;
                    self.forget(batch.len());
                }
                Err(error) if error.is_passing() => {
                    if pause == RETRY_PAUSE.0 {
                        tracing::error!(%error, "the history cannot be written; it is kept in memory and tried again");
                    }
                    self.counters.journal_retries.increment();
                    if *stop.borrow() {
                        return;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    pause = (pause * 2).min(RETRY_PAUSE.1);
                }
                Err(error) => self.write_one_by_one(store, &batch, &error).await,
            }
        }
    }

    /// One of the batch cannot be written, today or tomorrow; the others must not suffer.
    async fn write_one_by_one(&self, store: &Store, batch: &[Entry], error: &StoreError) {
        tracing::debug!(%error, "entries of the history are written one by one");
        for entry in batch {
            match store.write(std::slice::from_ref(entry)).await {
                Ok(()) => {}
                // The rest is tried again.
                Err(error) if error.is_passing() => return,
                Err(error) => {
                    self.counters.journal_lost.increment();
                    tracing::warn!(%error, "an entry of the history was left out");
                }
            }
            self.forget(1);
        }
    }

    fn forget(&self, len: usize) {
        let mut waiting = self.waiting();
        let len = len.min(waiting.entries.len());
        waiting.entries.drain(..len);
        drop(waiting);
        self.dealt_with.send_modify(|count| *count += len as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{CallId, RoomId, UserId},
        store::{Place, history::Wanted, rooms::RoomKind},
    };

    fn began(index: usize, caller: &UserId) -> Entry {
        Entry::Began {
            call: CallId::new(&format!("c{index}")).unwrap(),
            room: RoomId::new("room").unwrap(),
            room_name: None,
            kind: RoomKind::Call,
            caller: Some(caller.clone()),
            at: UnixMs(index as i64),
        }
    }

    #[tokio::test]
    async fn everything_is_written_in_order_and_can_be_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Place::File(folder.path().join("db"))).await.unwrap();
        let ada = store.named_user(UnixMs(0), "Ada").await.unwrap().id;
        let journal = Arc::new(Journal::new(Some(store.clone()), Arc::default()));
        let (told, stop) = watch::channel(false);
        let keeping = tokio::spawn(Arc::clone(&journal).keep(stop));
        for index in 0..700 {
            journal.note(began(index, &ada));
            if index % 2 == 0 {
                journal
                    .note(Entry::Ended { call: CallId::new(&format!("c{index}")).unwrap(), at: UnixMs(900) });
            }
        }
        journal.flushed().await;
        let wanted = Wanted { limit: 1000, ..Wanted::default() };
        let history = store.history(&ada, &wanted).await.unwrap();
        assert_eq!(history.len(), 700);
        assert_eq!(history.iter().filter(|call| call.ended_at.is_some()).count(), 350);
        journal.note(began(700, &ada));
        told.send(true).unwrap();
        keeping.await.unwrap();
        assert_eq!(store.history(&ada, &wanted).await.unwrap().len(), 701, "also what was noted last");
    }

    #[tokio::test]
    async fn an_entry_that_cannot_be_written_does_not_keep_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Place::File(folder.path().join("db"))).await.unwrap();
        let ada = store.named_user(UnixMs(0), "Ada").await.unwrap().id;
        let journal = Arc::new(Journal::new(Some(store.clone()), Arc::default()));
        let (_told, stop) = watch::channel(false);
        tokio::spawn(Arc::clone(&journal).keep(stop));
        let orphan =
            Entry::Rang { call: CallId::new("nobody-began-it").unwrap(), user: ada.clone(), at: UnixMs(0) };
        for entry in [began(1, &ada), orphan, began(2, &ada)] {
            journal.note(entry);
        }
        journal.flushed().await;
        let wanted = Wanted { limit: 1000, ..Wanted::default() };
        assert_eq!(store.history(&ada, &wanted).await.unwrap().len(), 2);
        assert_eq!(journal.counters.journal_lost.value(), 1);
    }
}
