//! The people of one room as a value: who has a seat, who waits, who may do what. Calls come from the API, from
//! sessions and from the clock; each leaves [`Change`]s to be carried out. No lock, no clock, no task.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use crate::{
    clock::UnixMs,
    id::{ParticipantId, SignInId, UserId},
    rights::{Rights, SeatRights},
    token::{MediaToken, Signer, Source, Sources},
};

use super::{Ask, AskKind, Cut, Role, Settings, bans::Bans};

/// A seat without a session is kept this long, for who comes back.
pub const EMPTY_SEAT_SPAN: Duration = Duration::from_secs(20);
/// A seat that was taken over the API waits this long for its first session.
pub const FIRST_SESSION_SPAN: Duration = Duration::from_secs(60);
/// Requests to one participant that are told to whoever comes back.
const ASKS_MAX: usize = 8;
/// Seats that a room has at most, those of people who wait included.
const SEATS_MAX: usize = 10_000;

/// Who wants a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user, if there is one behind it.
    pub user: Option<UserId>,
    /// Where they signed in.
    pub sign_in: Option<SignInId>,
    /// What others see.
    pub name: String,
}

/// Somebody in the room, or before its door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Who.
    pub person: Person,
    /// What they are to the others.
    pub role: Role,
    /// Not let in yet.
    pub is_waiting: bool,
    /// What they may send.
    pub publish: Sources,
    /// They may see and hear the others.
    pub subscribe: bool,
    /// They may record.
    pub record: bool,
    /// When their token ends.
    pub until: UnixMs,
    /// When their newest token was made.
    pub made_at: UnixMs,
    /// Their place among the others.
    pub number: u64,
    /// When they came.
    pub since: UnixMs,
    /// Sessions of theirs.
    pub sessions: usize,
    /// Since when there is none.
    pub empty_since: Option<UnixMs>,
    /// They have had a session, and been told of as being there.
    pub is_there: bool,
    /// What they were asked to do, the latest last.
    pub asks: VecDeque<Ask>,
}

/// Something to carry out after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The roster for everybody has changed.
    Roster,
    /// Who waits has changed.
    Lobby,
    /// What one participant is told about itself has changed, its rights perhaps too.
    Seat(ParticipantId),
    /// A seat is gone: its sessions are cut, unless it went without one.
    Cut(ParticipantId, Cut),
    /// Somebody is there.
    Joined(ParticipantId, Person),
    /// Somebody is there no more, since then.
    Left(ParticipantId, UnixMs),
}

/// Why there is no seat for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NoSeat {
    /// They were removed.
    #[error("you were removed from this room")]
    Banned,
    /// It was ended, and their token is from before.
    #[error("this meeting was ended for everybody")]
    Over,
    /// Nobody new comes in.
    #[error("this room is locked")]
    Locked,
    /// As many as it holds.
    #[error("this room is full")]
    Full,
    /// Not their seat.
    #[error("this seat is somebody else's")]
    NotYours,
}

/// What somebody gets who asks for a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seated {
    /// Their seat.
    pub participant: ParticipantId,
    /// They wait to be let in.
    pub is_waiting: bool,
    /// What they are.
    pub role: Role,
}

/// The people of one room.
#[derive(Debug)]
pub struct Roster {
    settings: Settings,
    seats: BTreeMap<ParticipantId, Seat>,
    seats_made: u64,
    asks_made: u64,
    /// Since when it is recorded.
    recording: Option<UnixMs>,
    changes: VecDeque<Change>,
}

impl Roster {
    /// Nobody is here.
    pub fn new(settings: Settings) -> Self {
        Roster {
            settings,
            seats: BTreeMap::new(),
            seats_made: 0,
            asks_made: 0,
            recording: None,
            changes: VecDeque::new(),
        }
    }

    /// How the room is set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All seats.
    pub fn seats(&self) -> &BTreeMap<ParticipantId, Seat> {
        &self.seats
    }

    /// One seat.
    pub fn seat(&self, participant: &ParticipantId) -> Option<&Seat> {
        self.seats.get(participant)
    }

    /// Since when it is recorded.
    pub fn recording(&self) -> Option<UnixMs> {
        self.recording
    }

    /// People who are let in, in the order they came.
    pub fn seated(&self) -> Vec<(&ParticipantId, &Seat)> {
        let mut seated: Vec<_> =
            self.seats.iter().filter(|(_, seat)| !seat.is_waiting && seat.is_there).collect();
        seated.sort_by_key(|(_, seat)| seat.number);
        seated
    }

    /// People who are not, in the order they came.
    pub fn waiting(&self) -> Vec<(&ParticipantId, &Seat)> {
        let mut waiting: Vec<_> = self.seats.iter().filter(|(_, seat)| seat.is_waiting).collect();
        waiting.sort_by_key(|(_, seat)| seat.number);
        waiting
    }

    /// What to do next because of the calls so far.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    // ---- coming and going

    /// Somebody asks for a seat over the API, `back` being one they had.
    pub fn take_seat(
        &mut self,
        now: UnixMs,
        person: Person,
        back: Option<&ParticipantId>,
        bans: &Bans,
        fresh: ParticipantId,
    ) -> Result<Seated, NoSeat> {
        if bans.is_user_banned(person.user.as_ref()) {
            return Err(NoSeat::Banned);
        }
        if let Some(participant) = back
            && let Some(seat) = self.seats.get_mut(participant)
        {
            let is_same = seat.person.sign_in.is_some() && seat.person.sign_in == person.sign_in;
            if !is_same {
                return Err(NoSeat::NotYours);
            }
            let is_renamed = seat.person.name != person.name;
            seat.person = person;
            let seated =
                Seated { participant: participant.clone(), is_waiting: seat.is_waiting, role: seat.role };
            if is_renamed {
                self.tell(participant.clone());
            }
            return Ok(seated);
        }
        let role = self.role_of(&person);
        if role != Role::Host {
            if self.settings.is_locked {
                return Err(NoSeat::Locked);
            }
            if self.people_len() >= self.settings.capacity {
                return Err(NoSeat::Full);
            }
        }
        if self.seats.len() >= SEATS_MAX {
            return Err(NoSeat::Full);
        }
        let participant = fresh;
        let is_waiting = self.settings.has_lobby && role == Role::Member;
        let seat = Seat {
            person,
            role,
            is_waiting,
            publish: Sources::USUAL,
            subscribe: true,
            record: role != Role::Member,
            until: now.after(FIRST_SESSION_SPAN),
            made_at: now,
            number: self.seats_made,
            since: now,
            sessions: 0,
            empty_since: Some(now),
            is_there: false,
            asks: VecDeque::new(),
        };
        self.seats_made += 1;
        self.seats.insert(participant.clone(), seat);
        Ok(Seated { participant, is_waiting, role })
    }

    /// A session shows a token that is good. What it may do from now on.
    pub fn admit(
        &mut self,
        now: UnixMs,
        token: &MediaToken,
        signer: Signer,
        bans: &Bans,
    ) -> Result<Rights, NoSeat> {
        let made_at = token.made_at();
        if bans.is_user_banned(token.user.as_ref()) {
            return Err(NoSeat::Banned);
        }
        if let Some(seat) = self.seats.get_mut(&token.sub) {
            seat.until = seat.until.max(token.ends_at());
            // What the relay signed it has changed since; what an application signs is the newest word.
            if signer == Signer::Application && made_at >= seat.made_at {
                let before = seat.clone();
                seat.made_at = made_at;
                seat.grant(token);
                if *seat != before {
                    self.tell(token.sub.clone());
                }
            }
            return self.rights(&token.sub).ok_or(NoSeat::Banned);
        }
        // A seat that is not known: the relay has been started again, the seat was given up for want of a session,
        // or an application sends somebody.
        if bans.is_seat_void(&token.sub, made_at) {
            return Err(NoSeat::Banned);
        }
        if bans.is_over(made_at) {
            return Err(NoSeat::Over);
        }
        if signer == Signer::Application && self.settings.is_locked && !token.moderate {
            return Err(NoSeat::Locked);
        }
        if self.seats.len() >= SEATS_MAX || (!token.moderate && self.people_len() >= self.settings.capacity) {
            return Err(NoSeat::Full);
        }
        let person =
            Person { user: token.user.clone(), sign_in: token.sign_in.clone(), name: token.name.clone() };
        let mut seat = Seat {
            role: Role::Member,
            person,
            is_waiting: token.waiting,
            publish: Sources::NONE,
            subscribe: false,
            record: false,
            until: token.ends_at(),
            made_at,
            number: self.seats_made,
            since: now,
            sessions: 0,
            empty_since: Some(now),
            is_there: false,
            asks: VecDeque::new(),
        };
        seat.grant(token);
        if seat.role != Role::Member && self.role_of(&seat.person) == Role::Host {
            seat.role = Role::Host;
        }
        self.seats_made += 1;
        self.seats.insert(token.sub.clone(), seat);
        self.rights(&token.sub).ok_or(NoSeat::Banned)
    }

    /// A session of the participant is in. False when the seat was taken away in the meantime.
    pub fn entered(&mut self, participant: &ParticipantId) -> bool {
        let Some(seat) = self.seats.get_mut(participant) else { return false };
        seat.sessions += 1;
        seat.empty_since = None;
        if seat.is_there {
            if seat.sessions == 1 {
                // They are back.
                self.changes.push_back(if seat.is_waiting { Change::Lobby } else { Change::Roster });
            }
            return true;
        }
        seat.is_there = true;
        if seat.is_waiting {
            self.changes.push_back(Change::Lobby);
        } else {
            let person = seat.person.clone();
            self.changes.push_back(Change::Joined(participant.clone(), person));
            self.changes.push_back(Change::Roster);
        }
        self.changes.push_back(Change::Seat(participant.clone()));
        true
    }

    /// A session of the participant is gone. The seat is kept for a while.
    pub fn left(&mut self, now: UnixMs, participant: &ParticipantId) {
        let Some(seat) = self.seats.get_mut(participant) else { return };
        seat.sessions = seat.sessions.saturating_sub(1);
        if seat.sessions == 0 {
            seat.empty_since = Some(now);
            self.changes.push_back(if seat.is_waiting { Change::Lobby } else { Change::Roster });
        }
    }

    /// A new token was made for the seat.
    pub fn extend(&mut self, participant: &ParticipantId, made_at: UnixMs, until: UnixMs) -> Option<&Seat> {
        let seat = self.seats.get_mut(participant)?;
        seat.until = seat.until.max(until);
        seat.made_at = seat.made_at.max(made_at);
        Some(seat)
    }

    /// Gives up seats whose time is over, and those that nobody sits on.
    pub fn tick(&mut self, now: UnixMs) {
        let over: Vec<(ParticipantId, Cut, UnixMs)> = self
            .seats
            .iter()
            .filter_map(|(participant, seat)| {
                let span = if seat.is_there { EMPTY_SEAT_SPAN } else { FIRST_SESSION_SPAN };
                match seat.empty_since {
                    Some(since) if now >= since.after(span) => Some((participant.clone(), Cut::Left, since)),
                    _ if now >= seat.until && (seat.is_there || seat.sessions > 0) => {
                        Some((participant.clone(), Cut::Expired, seat.empty_since.unwrap_or(now)))
                    }
                    _ => None,
                }
            })
            .collect();
        for (participant, cut, at) in over {
            self.give_up(&participant, cut, at);
        }
    }

    /// When [`Roster::tick`] has something to do.
    pub fn poll_timeout(&self) -> Option<UnixMs> {
        self.seats
            .values()
            .map(|seat| {
                let span = if seat.is_there { EMPTY_SEAT_SPAN } else { FIRST_SESSION_SPAN };
                let empty = seat.empty_since.map(|since| since.after(span));
                let ends = (seat.is_there || seat.sessions > 0).then_some(seat.until);
                empty.into_iter().chain(ends).min().unwrap_or(UnixMs::NEVER)
            })
            .min()
    }

    /// Takes a seat away. False when there is none.
    pub fn remove(&mut self, now: UnixMs, participant: &ParticipantId, cut: Cut) -> bool {
        let Some(seat) = self.seats.get(participant) else { return false };
        let at = seat.empty_since.unwrap_or(now);
        self.give_up(participant, cut, at);
        true
    }

    /// Takes every seat away that `is_meant`.
    pub fn remove_all(&mut self, now: UnixMs, cut: Cut, is_meant: impl Fn(&Seat) -> bool) {
        let meant: Vec<ParticipantId> =
            self.seats.iter().filter(|(_, seat)| is_meant(seat)).map(|(id, _)| id.clone()).collect();
        for participant in meant {
            self.remove(now, &participant, cut);
        }
    }

    fn give_up(&mut self, participant: &ParticipantId, cut: Cut, at: UnixMs) {
        let Some(seat) = self.seats.remove(participant) else { return };
        if seat.is_waiting {
            self.changes.push_back(Change::Lobby);
        } else if seat.is_there {
            self.changes.push_back(Change::Left(participant.clone(), at));
            self.changes.push_back(Change::Roster);
        }
        self.changes.push_back(Change::Cut(participant.clone(), cut));
        if seat.role == Role::Host {
            self.find_host();
        }
    }

    // ---- what moderators do

    /// Lets somebody in who waits. False when they do not.
    pub fn let_in(&mut self, now: UnixMs, participant: &ParticipantId) -> bool {
        let Some(seat) = self.seats.get_mut(participant).filter(|seat| seat.is_waiting) else { return false };
        seat.is_waiting = false;
        seat.since = now;
        let person = seat.person.clone();
        if seat.is_there {
            self.changes.push_back(Change::Joined(participant.clone(), person));
        }
        self.changes.push_back(Change::Lobby);
        self.tell(participant.clone());
        // Whoever looked after the room may have left while they waited.
        self.find_host();
        true
    }

    /// Lets everybody in who waits. Returns how many.
    pub fn let_all_in(&mut self, now: UnixMs) -> usize {
        let waiting: Vec<ParticipantId> = self.waiting().into_iter().map(|(id, _)| id.clone()).collect();
        waiting.iter().filter(|participant| self.let_in(now, participant)).count()
    }

    /// Changes what somebody may do. False when they are not here.
    pub fn grant(&mut self, participant: &ParticipantId, grant: Grant) -> bool {
        let Some(seat) = self.seats.get_mut(participant) else { return false };
        let before = seat.clone();
        seat.publish = grant.publish.unwrap_or(seat.publish);
        seat.role = grant.role.unwrap_or(seat.role);
        seat.record =
            grant.record.unwrap_or(seat.record && seat.role == before.role || seat.role != Role::Member);
        if *seat != before {
            self.tell(participant.clone());
        }
        true
    }

    /// Asks a participant to do something itself. False when they are not here.
    pub fn ask(
        &mut self,
        now: UnixMs,
        participant: &ParticipantId,
        kind: AskKind,
        by: &ParticipantId,
    ) -> bool {
        let Some(seat) = self.seats.get_mut(participant).filter(|seat| !seat.is_waiting) else {
            return false;
        };
        self.asks_made += 1;
        seat.asks.push_back(Ask { number: self.asks_made, kind, by: by.clone(), at: now });
        while seat.asks.len() > ASKS_MAX {
            seat.asks.pop_front();
        }
        self.changes.push_back(Change::Seat(participant.clone()));
        true
    }

    /// Changes how the room is set. Who waits is let in when nobody has to wait any more.
    pub fn set(&mut self, now: UnixMs, settings: Settings) {
        if settings == self.settings {
            return;
        }
        let had_lobby = self.settings.has_lobby;
        self.settings = settings;
        if had_lobby && !self.settings.has_lobby {
            self.let_all_in(now);
        }
        self.changes.push_back(Change::Roster);
    }

    /// Makes a user a host whenever they come, or no longer.
    pub fn set_host(&mut self, now: UnixMs, user: UserId, is_host: bool) {
        let mut settings = self.settings.clone();
        if is_host {
            settings.hosts.insert(user);
        } else {
            settings.hosts.remove(&user);
        }
        self.set(now, settings);
    }

    /// It is recorded since then, or not any more.
    pub fn set_recording(&mut self, since: Option<UnixMs>) {
        if self.recording != since {
            self.recording = since;
            self.changes.push_back(Change::Roster);
        }
    }

    // ---- what follows

    /// What a seat gives to its sessions.
    pub fn rights(&self, participant: &ParticipantId) -> Option<Rights> {
        let seat = self.seats.get(participant)?;
        Some(Rights::Seat(SeatRights {
            participant: participant.clone(),
            is_waiting: seat.is_waiting,
            publish: seat.publish,
            subscribe: seat.subscribe,
            moderate: seat.role != Role::Member,
            record: seat.record,
        }))
    }

    /// What a new token of a seat says.
    pub fn token(
        &self,
        participant: &ParticipantId,
        scope: String,
        made_at: UnixMs,
        until: UnixMs,
    ) -> Option<MediaToken> {
        let seat = self.seats.get(participant)?;
        Some(MediaToken {
            scope,
            sub: participant.clone(),
            name: seat.person.name.clone(),
            user: seat.person.user.clone(),
            sign_in: seat.person.sign_in.clone(),
            publish: seat.publish,
            subscribe: seat.subscribe,
            moderate: seat.role != Role::Member,
            record: seat.record,
            waiting: seat.is_waiting,
            iat: made_at.seconds(),
            exp: until.seconds(),
        })
    }

    /// Nobody is here, or expected.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    fn people_len(&self) -> usize {
        self.seats.values().filter(|seat| !seat.is_waiting).count()
    }

    fn is_host(&self, user: Option<&UserId>) -> bool {
        user.is_some_and(|user| {
            self.settings.owner.as_ref() == Some(user) || self.settings.hosts.contains(user)
        })
    }

    fn role_of(&self, person: &Person) -> Role {
        let has_host = self.seats.values().any(|seat| seat.role == Role::Host);
        if self.is_host(person.user.as_ref()) || (self.settings.owner.is_none() && !has_host) {
            Role::Host
        } else {
            Role::Member
        }
    }

    /// A room that is nobody's is looked after by whoever has been there longest.
    fn find_host(&mut self) {
        if self.settings.owner.is_some() || self.seats.values().any(|seat| seat.role == Role::Host) {
            return;
        }
        let next = self.seats.iter().filter(|(_, seat)| !seat.is_waiting).min_by_key(|(_, seat)| seat.number);
        let Some(next) = next.map(|(participant, _)| participant.clone()) else { return };
        self.grant(&next, Grant { role: Some(Role::Host), ..Grant::default() });
    }

    /// Everybody and the participant itself are told what it is now.
    fn tell(&mut self, participant: ParticipantId) {
        self.changes.push_back(Change::Roster);
        self.changes.push_back(Change::Seat(participant));
    }

    /// Who is a host whenever they come.
    pub fn hosts(&self) -> &BTreeSet<UserId> {
        &self.settings.hosts
    }
}

impl Seat {
    fn grant(&mut self, token: &MediaToken) {
        self.person.name.clone_from(&token.name);
        self.publish = token.publish;
        self.subscribe = token.subscribe;
        self.record = token.record;
        self.role = match (token.moderate, self.role) {
            (true, Role::Member) => Role::CoHost,
            (true, role) => role,
            (false, _) => Role::Member,
        };
    }

    /// May send this.
    pub fn has(&self, source: Source) -> bool {
        self.publish.has(source)
    }
}

/// What to change about somebody; `None` leaves it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grant {
    /// What they are to the others.
    pub role: Option<Role>,
    /// What they may send.
    pub publish: Option<Sources>,
    /// Whether they may record.
    pub record: Option<bool>,
}
