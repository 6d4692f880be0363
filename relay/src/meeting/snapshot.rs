//! What the tracks say that the relay publishes in a room: JSON, a whole snapshot in every object.

use serde::Serialize;

use super::{Ask, Role, roster::Roster};
use crate::{
    clock::UnixMs,
    id::{ParticipantId, UserId},
    token::Sources,
};

/// The track `roster`.
#[derive(Debug, Serialize)]
pub struct RosterSnapshot<'a> {
    name: Option<&'a str>,
    is_locked: bool,
    has_lobby: bool,
    recording: Option<Recording>,
    participants: Vec<Participant<'a>>,
}

#[derive(Debug, Serialize)]
struct Recording {
    since: UnixMs,
}

#[derive(Debug, Serialize)]
struct Participant<'a> {
    id: &'a ParticipantId,
    user: Option<&'a UserId>,
    name: &'a str,
    role: Role,
    publish: Sources,
    since: UnixMs,
    /// False while their connection is lost and may come back.
    is_connected: bool,
}

/// The track `lobby`.
#[derive(Debug, Serialize)]
pub struct LobbySnapshot<'a> {
    waiting: Vec<Waiting<'a>>,
}

#[derive(Debug, Serialize)]
struct Waiting<'a> {
    id: &'a ParticipantId,
    user: Option<&'a UserId>,
    name: &'a str,
    since: UnixMs,
}

/// The track `seat/<participant>`.
#[derive(Debug, Serialize)]
pub struct SeatSnapshot<'a> {
    state: SeatState,
    role: Role,
    publish: Sources,
    subscribe: bool,
    moderate: bool,
    record: bool,
    asks: Vec<&'a Ask>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum SeatState {
    Waiting,
    Seated,
}

impl Roster {
    /// For everybody.
    pub fn snapshot(&self) -> RosterSnapshot<'_> {
        let settings = self.settings();
        let participants = self.seated().into_iter().map(|(id, seat)| Participant {
            id,
            user: seat.person.user.as_ref(),
            name: &seat.person.name,
            role: seat.role,
            publish: seat.publish,
            since: seat.since,
            is_connected: seat.sessions > 0,
        });
        RosterSnapshot {
            name: settings.name.as_deref(),
            is_locked: settings.is_locked,
            has_lobby: settings.has_lobby,
            recording: self.recording().map(|since| Recording { since }),
            participants: participants.collect(),
        }
    }

    /// For moderators.
    pub fn lobby_snapshot(&self) -> LobbySnapshot<'_> {
        let waiting = self.waiting().into_iter().filter(|(_, seat)| seat.sessions > 0).map(|(id, seat)| {
            Waiting { id, user: seat.person.user.as_ref(), name: &seat.person.name, since: seat.since }
        });
        LobbySnapshot { waiting: waiting.collect() }
    }

    /// For one participant.
    pub fn seat_snapshot(&self, participant: &ParticipantId) -> Option<SeatSnapshot<'_>> {
        let seat = self.seat(participant)?;
        Some(SeatSnapshot {
            state: if seat.is_waiting { SeatState::Waiting } else { SeatState::Seated },
            role: seat.role,
            publish: seat.publish,
            subscribe: seat.subscribe,
            moderate: seat.role != Role::Member,
            record: seat.record,
            asks: seat.asks.iter().collect(),
        })
    }
}
