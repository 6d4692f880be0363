//! The bytes that all caches of a relay together may hold.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A byte budget shared by the caches of many tracks. Clones count into the same budget.
///
/// It is a promise kept by every track on its own: a track that finds the budget overdrawn gives up its oldest
/// objects until it holds no more than an equal share. So the total stays within the budget once every track has
/// been inserted into or [evicted](crate::Track::evict), and no track can starve another.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    bytes: AtomicUsize,
    tracks: AtomicUsize,
}

impl Budget {
    /// A budget of `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Budget(Arc::new(Shared { bytes_max, bytes: AtomicUsize::new(0), tracks: AtomicUsize::new(0) }))
    }

    /// Bytes held by all tracks now.
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Tracks that share the budget now.
    pub fn tracks(&self) -> usize {
        self.0.tracks.load(Ordering::Relaxed)
    }

    pub(crate) fn is_overdrawn(&self) -> bool {
        self.bytes() > self.0.bytes_max
    }

    /// What a track may hold however much the others hold.
    pub(crate) fn share(&self) -> usize {
        self.0.bytes_max / self.tracks().max(1)
    }

    pub(crate) fn open(&self) -> Account {
        self.0.tracks.fetch_add(1, Ordering::Relaxed);
        Account { budget: self.clone(), bytes: 0 }
    }
}

/// One track's part of a budget; returned when dropped.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) budget: Budget,
    bytes: usize,
}

impl Account {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.bytes, "nothing is given back twice");
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.budget.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.subtract(self.bytes);
        self.budget.0.tracks.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_that_goes_gives_everything_back() {
        let budget = Budget::new(100);
        let mut one = budget.open();
        let mut two = budget.open();
        one.add(70);
        two.add(40);
        assert!(budget.is_overdrawn());
        assert_eq!(budget.share(), 50);
        two.subtract(10);
        drop(one);
        assert_eq!((budget.bytes(), budget.tracks()), (30, 1));
    }
}
