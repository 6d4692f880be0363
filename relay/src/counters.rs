//! What happened, for metrics: one number per silent decision.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many tasks count on.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// One less, for what can be open or closed.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// For what is counted elsewhere.
    pub fn set(&self, count: u64) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One number with what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// Its name in metrics, without a prefix.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// The number now.
    pub value: u64,
}

macro_rules! counters {
    ($($kind:ident $name:ident: $help:literal,)*) => {
        /// All numbers of the relay.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(#[doc = $help] pub $name: Count,)*
        }

        impl Counters {
            /// Every number with its name and meaning, in a fixed order.
            pub fn figures(&self) -> impl Iterator<Item = Figure> {
                [$(Figure {
                    name: stringify!($name),
                    help: $help,
                    kind: Kind::$kind,
                    value: self.$name.value(),
                },)*].into_iter()
            }
        }
    };
}

counters! {
    Gauge sessions_open: "Sessions that are open",
    Counter sessions_total: "Sessions since the start",
    Counter sessions_refused: "Sessions closed at once because of a limit",
    Gauge scopes_open: "Scopes that somebody is in",
    Gauge tracks_open: "Tracks known, those kept for late FETCHes included",
    Gauge subscriptions_open: "Subscriptions that are being served",
    Counter requests_total: "Requests of peers",
    Counter requests_refused: "Requests refused, for whatever reason",
    Counter objects_received: "Objects received, duplicates included",
    Counter objects_duplicate: "Objects received before, from this or another publisher",
    Counter objects_refused: "Objects that came too late or after their group's end",
    Counter tracks_malformed: "Tracks ended because they broke the draft's rules",
    Counter objects_sent: "Objects sent to subscribers",
    Counter bytes_sent: "Bytes of these objects",
    Counter datagrams_too_large: "Datagrams dropped because they did not fit the subscriber's path",
    Counter datagrams_unknown_alias: "Datagrams dropped because nobody established their alias in time",
    Counter objects_expired: "Objects dropped at a subscriber because their time was over",
    Counter objects_overflowed: "Objects dropped at a subscriber because its queue was full",
    Counter objects_useless: "Objects not sent because others of their frame or group were dropped",
    Counter stream_objects_sent: "Objects of these sent on subgroup streams",
    Counter streams_refused: "Subgroup streams stopped because of a limit",
    Counter fetches_total: "FETCHes of subscribers",
    Counter fetch_items_sent: "Objects and ranges sent in answer to FETCHes",
    Counter fetch_unknown: "Ranges in those answers that nobody could tell about in time",
    Counter repairs_total: "FETCHes sent to publishers",
    Counter objects_repaired: "Objects that came in answer to them",
    Counter journal_retries: "Times that the history could not be written and was kept for later",
    Counter journal_lost: "Entries of the history that could not be written at all",
    Counter sessions_cut: "Sessions ended because of what their people may do no more",
    Counter sessions_overloaded: "Sessions ended because they did not read their control messages",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_carry_the_numbers() {
        let counters = Counters::default();
        counters.sessions_open.increment();
        counters.sessions_open.increment();
        counters.sessions_open.decrement();
        counters.bytes_sent.add(1200);
        let value = |name: &str| counters.figures().find(|figure| figure.name == name).unwrap().value;
        assert_eq!((value("sessions_open"), value("bytes_sent"), value("sessions_total")), (1, 1200, 0));
    }
}
