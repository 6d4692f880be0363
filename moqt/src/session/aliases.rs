//! The peer's track aliases: the look-up that every datagram goes through (draft 11.1).

use std::{collections::BTreeMap, time::Instant};

use crate::{
    message::{RequestId, TrackAlias},
    name::FullTrackName,
};

/// Aliases below are found by index. Peers number their tracks from small integers up.
const DIRECT_MAX: usize = 1024;

/// What an alias means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A subscription's objects.
    Of(RequestId),
    /// The subscription was cancelled or refused; what still comes is thrown away.
    Discard,
}

/// An alias whose subscription is over.
#[derive(Debug)]
struct Late {
    track: FullTrackName,
    until: Instant,
}

/// Aliases and what they mean. No hashing: a peer that picks its aliases cunningly gains nothing.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    direct: Vec<Option<Meaning>>,
    others: BTreeMap<TrackAlias, Meaning>,
    late: BTreeMap<TrackAlias, Late>,
}

impl Aliases {
    pub(super) fn meaning(&self, alias: TrackAlias) -> Option<Meaning> {
        match direct(alias) {
            Some(index) => self.direct.get(index).copied().flatten(),
            None => self.others.get(&alias).copied(),
        }
    }

    /// Sets the alias of a live subscription. Returns when it was to be forgotten, if it was.
    pub(super) fn set(&mut self, alias: TrackAlias, request: RequestId) -> Option<Instant> {
        self.put(alias, Some(Meaning::Of(request)));
        self.late.remove(&alias).map(|late| late.until)
    }

    /// The subscription is over: its alias stays known until then. Returns the time it replaces, if any.
    pub(super) fn retire(
        &mut self,
        alias: TrackAlias,
        meaning: Meaning,
        track: FullTrackName,
        until: Instant,
    ) -> Option<Instant> {
        self.put(alias, Some(meaning));
        self.late.insert(alias, Late { track, until }).map(|late| late.until)
    }

    /// Forgets an alias that is late. Returns when it was to be forgotten.
    pub(super) fn forget(&mut self, alias: TrackAlias) -> Option<Instant> {
        let late = self.late.remove(&alias)?;
        self.put(alias, None);
        Some(late.until)
    }

    /// The late aliases of a track.
    pub(super) fn late_of(&self, track: &FullTrackName) -> Vec<TrackAlias> {
        self.late.iter().filter(|(_, late)| late.track == *track).map(|(alias, _)| *alias).collect()
    }

    pub(super) fn late_len(&self) -> usize {
        self.late.len()
    }

    /// The late alias that ends first.
    pub(super) fn first_late(&self) -> Option<TrackAlias> {
        self.late.iter().min_by_key(|(_, late)| late.until).map(|(alias, _)| *alias)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn put(&mut self, alias: TrackAlias, meaning: Option<Meaning>) {
        let Some(index) = direct(alias) else {
            match meaning {
                Some(meaning) => self.others.insert(alias, meaning),
                None => self.others.remove(&alias),
            };
            return;
        };
        if self.direct.len() <= index && meaning.is_some() {
            self.direct.resize(index + 1, None);
        }
        if let Some(slot) = self.direct.get_mut(index) {
            *slot = meaning;
        }
    }
}

fn direct(alias: TrackAlias) -> Option<usize> {
    usize::try_from(alias.0).ok().filter(|index| *index < DIRECT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Namespace;

    #[test]
    fn small_and_large_aliases_mean_what_was_set() {
        let mut aliases = Aliases::default();
        for alias in [0, 7, 1023, 1024, u64::MAX] {
            assert_eq!(aliases.meaning(TrackAlias(alias)), None);
            aliases.set(TrackAlias(alias), RequestId(alias));
        }
        for alias in [0, 7, 1023, 1024, u64::MAX] {
            assert_eq!(aliases.meaning(TrackAlias(alias)), Some(Meaning::Of(RequestId(alias))));
        }
        assert_eq!(aliases.meaning(TrackAlias(8)), None);
    }

    #[test]
    fn a_late_alias_is_known_until_it_is_forgotten_or_used_again() {
        let now = Instant::now();
        let track = FullTrackName::new(Namespace::single("a").unwrap(), "t").unwrap();
        let mut aliases = Aliases::default();
        for alias in [TrackAlias(3), TrackAlias(5000)] {
            aliases.set(alias, RequestId(0));
            aliases.retire(alias, Meaning::Discard, track.clone(), now);
            assert_eq!(aliases.meaning(alias), Some(Meaning::Discard));
            assert!(aliases.late_of(&track).contains(&alias));
            assert_eq!(aliases.forget(alias), Some(now));
            assert_eq!(aliases.meaning(alias), None);
            aliases.retire(alias, Meaning::Discard, track.clone(), now);
            assert_eq!(aliases.set(alias, RequestId(2)), Some(now));
            assert_eq!(aliases.forget(alias), None, "it is live");
            assert_eq!(aliases.meaning(alias), Some(Meaning::Of(RequestId(2))));
        }
    }
}
