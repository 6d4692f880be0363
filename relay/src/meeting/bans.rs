//! Who may not come back to a room.

use std::collections::HashMap;

use crate::{
    clock::UnixMs,
    id::{ParticipantId, UserId},
    store::rooms::Banned,
};

/// Of one room.
#[derive(Debug, Default)]
pub struct Bans {
    /// Since when, and until when.
    spans: HashMap<Banned, (UnixMs, UnixMs)>,
}

impl Bans {
    /// Keeps somebody out from now on.
    pub fn insert(&mut self, who: Banned, since: UnixMs, until: UnixMs) {
        self.spans.insert(who, (since, until));
    }

    /// Lets somebody come back.
    pub fn remove(&mut self, who: &Banned) {
        self.spans.remove(who);
    }

    /// A user is kept out on every seat, whatever token they have.
    pub fn is_user_banned(&self, user: Option<&UserId>) -> bool {
        user.is_some_and(|user| self.spans.contains_key(&Banned::User(user.clone())))
    }

    /// A token of a seat that was taken away is good no more.
    pub fn is_seat_void(&self, participant: &ParticipantId, made_at: UnixMs) -> bool {
        self.is_before(&Banned::Participant(participant.clone()), made_at)
    }

    /// Nor is one from before the meeting was ended.
    pub fn is_over(&self, made_at: UnixMs) -> bool {
        self.is_before(&Banned::Everybody, made_at)
    }

    fn is_before(&self, who: &Banned, made_at: UnixMs) -> bool {
        self.spans.get(who).is_some_and(|(since, _)| made_at <= *since)
    }

    /// Users who are kept out, and since when.
    pub fn users(&self) -> Vec<(UserId, UnixMs)> {
        let users = self.spans.iter().filter_map(|(who, (since, _))| match who {
            Banned::User(user) => Some((user.clone(), *since)),
            Banned::Participant(_) | Banned::Everybody => None,
        });
        users.collect()
    }

    /// Forgets what has ended.
    pub fn tick(&mut self, now: UnixMs) {
        self.spans.retain(|_, (_, until)| *until > now);
    }

    /// Everybody may come.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}
