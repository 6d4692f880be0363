//! One room while somebody is there or was a short while ago.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Cut, Settings,
    bans::Bans,
    chat::Chat,
    roster::{Change, NoSeat, Roster},
};
use crate::{
    clock::UnixMs,
    counters::Counters,
    id::{CallId, NoRandomness, ParticipantId, RoomId, UserId},
    journal::Journal,
    rights::Rights,
    scope::{Keeps, OwnTrack, Scope},
    session::{Handle, Order},
    store::{calls::Entry, messages::Message, rooms::RoomKind},
    token::{MediaToken, Signer},
};

/// The roster is told at once, and then no more often than this for every so many people: everybody gets all of it.
const ROSTER_PAUSE: Duration = Duration::from_millis(50);
/// See [`ROSTER_PAUSE`].
const ROSTER_PAUSE_PEOPLE: usize = 50;
/// A call whose last participant has left is over after this time, unless somebody comes back.
const EMPTY_CALL_SPAN: Duration = Duration::from_secs(10);
/// Sessions of one seat at once; the oldest goes.
const SESSIONS_PER_SEAT_MAX: usize = 8;

/// A room and the people in it.
#[derive(Debug)]
pub struct Meeting {
    /// The room.
    pub id: RoomId,
    journal: Arc<Journal>,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) roster: Roster,
    scope: Weak<Scope>,
    handles: HashMap<ParticipantId, Vec<Arc<Handle>>>,
    chat: Chat,
    /// The call that goes on here.
    call: Option<Call>,
    /// Who is there, by what the history calls their being there.
    attendance: HashMap<ParticipantId, String>,
    attendances_made: u64,
    /// The roster has changed since it was told.
    is_roster_stale: bool,
    roster_told_at: Option<UnixMs>,
    /// How the room is set has been read from the database.
    pub(super) is_loaded: bool,
    /// Somebody has been here.
    touched_at: UnixMs,
}

/// What the history says about the present.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    /// Its name.
    pub id: CallId,
    /// Somebody rings: it goes on although nobody is there.
    pub is_ringing: bool,
    /// Nobody is there since then.
    pub empty_since: Option<UnixMs>,
}

fn own(name: impl Into<String>, priority: u8, keeps: Keeps) -> OwnTrack {
    OwnTrack { name: name.into(), priority, keeps }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Structs of texts and numbers: nothing in them can fail.
    serde_json::to_vec(value).unwrap_or_default()
}

impl Meeting {
    pub(super) fn new(
        id: RoomId,
        is_loaded: bool,
        journal: Arc<Journal>,
        counters: Arc<Counters>,
        now: UnixMs,
    ) -> Self {
        let state = State {
            roster: Roster::new(Settings::default()),
            scope: Weak::new(),
            handles: HashMap::new(),
            chat: Chat::default(),
            call: None,
            attendance: HashMap::new(),
            attendances_made: 0,
            is_roster_stale: false,
            roster_told_at: None,
            is_loaded,
            touched_at: now,
        };
        Meeting { id, journal, counters, state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the room is set has been read.
    pub fn is_loaded(&self) -> bool {
        self.state().is_loaded
    }

    /// Reads the roster.
    pub fn read<R>(&self, read: impl FnOnce(&Roster) -> R) -> R {
        read(&self.state().roster)
    }

    /// Changes the roster, and carries out what follows from it.
    pub(super) fn change<R>(&self, now: UnixMs, change: impl FnOnce(&mut Roster) -> R) -> R {
        let mut state = self.state();
        let result = change(&mut state.roster);
        self.carry_out(&mut state, now);
        result
    }

    // ---- sessions

    pub(super) fn admit(
        &self,
        now: UnixMs,
        token: &MediaToken,
        signer: Signer,
        bans: &Bans,
    ) -> Result<Rights, NoSeat> {
        self.change(now, |roster| roster.admit(now, token, signer, bans))
    }

    /// A session of the participant has come into the scope.
    pub(super) fn entered(
        &self,
        now: UnixMs,
        participant: &ParticipantId,
        scope: &Arc<Scope>,
        handle: &Arc<Handle>,
    ) {
        let mut state = self.state();
        state.touched_at = now;
        let is_other_scope = !std::ptr::eq(state.scope.as_ptr(), Arc::as_ptr(scope));
        state.scope = Arc::downgrade(scope);
        if !state.roster.entered(participant) {
            // The seat was taken away between the token and now.
            self.cut(handle, Cut::Removed);
            return;
        }
        let handles = state.handles.entry(participant.clone()).or_default();
        handles.push(Arc::clone(handle));
        let oldest = (handles.len() > SESSIONS_PER_SEAT_MAX).then(|| handles.remove(0));
        if let Some(oldest) = oldest {
            self.counters.sessions_cut.increment();
            oldest.send(Order::Close {
                code: roundtable_moqt::SessionError::NoError,
                reason: "too many sessions of one participant",
            });
            state.roster.left(now, participant);
        }
        // The rights may have changed as well.
        if let Some(rights) = state.roster.rights(participant) {
            handle.set_rights(rights);
        }
        if is_other_scope {
            state.tell_all(now);
        }
        self.carry_out(&mut state, now);
    }

    pub(super) fn left(&self, now: UnixMs, participant: &ParticipantId, handle: &Handle) {
        let mut state = self.state();
        let Some(handles) = state.handles.get_mut(participant) else { return };
        let before = handles.len();
        handles.retain(|other| other.id != handle.id);
        let has_gone = handles.len() < before;
        if handles.is_empty() {
            state.handles.remove(participant);
        }
        if has_gone {
            state.roster.left(now, participant);
            self.carry_out(&mut state, now);
        }
    }

    fn cut(&self, handle: &Handle, cut: Cut) {
        self.counters.sessions_cut.increment();
        handle.set_rights(Rights::Nothing);
        handle.send(Order::Close { code: cut.code(), reason: cut.reason() });
    }

    // ---- chat

    /// Somebody says something. It is everybody's at once.
    pub fn say(
        &self,
        now: UnixMs,
        participant: &ParticipantId,
        text: String,
    ) -> Option<(Message, Option<CallId>)> {
        let mut state = self.state();
        let seat = state.roster.seat(participant).filter(|seat| !seat.is_waiting)?;
        let (user, name) = (seat.person.user.clone(), seat.person.name.clone());
        let number = state.chat.next_number(now);
        let message = Message { number, participant: participant.clone(), user, name, text, at: now };
        state.chat.push(message.clone());
        state.tell_message(&message);
        Some((message, state.call.as_ref().map(|call| call.id.clone())))
    }

    /// What was said after that number and is remembered.
    pub fn said_after(&self, number: i64) -> Vec<Message> {
        self.state().chat.after(number)
    }

    /// What was kept of before.
    pub(super) fn load(&self, now: UnixMs, settings: Settings, messages: Vec<Message>) {
        let mut state = self.state();
        if state.is_loaded {
            return;
        }
        state.is_loaded = true;
        state.chat.load(messages);
        let told: Vec<Message> = state.chat.messages().cloned().collect();
        for message in &told {
            state.tell_message(message);
        }
        state.roster.set(now, settings);
        self.carry_out(&mut state, now);
    }

    // ---- the call

    /// The call that goes on here; begun if there is none.
    pub fn begin_call(
        &self,
        now: UnixMs,
        kind: RoomKind,
        caller: Option<&UserId>,
    ) -> Result<CallId, NoRandomness> {
        let mut state = self.state();
        let call = self.ensure_call(&mut state, now, kind, caller)?;
        if kind == RoomKind::Call
            && let Some(call) = &mut state.call
        {
            call.is_ringing = true;
        }
        Ok(call)
    }

    /// Nobody is rung any more: the call goes on only if somebody is there, or comes now.
    pub fn stop_ringing(&self, now: UnixMs, call: &CallId, is_answered: bool) {
        let mut state = self.state();
        let State { call: present, attendance, .. } = &mut *state;
        if let Some(present) = present.as_mut().filter(|present| present.id == *call) {
            present.is_ringing = false;
            if attendance.is_empty() {
                present.empty_since = Some(now);
            }
        }
        self.end_call_if_over(&mut state, now, !is_answered);
    }

    /// The call that goes on here.
    pub fn call(&self) -> Option<CallId> {
        self.state().call.as_ref().map(|call| call.id.clone())
    }

    fn ensure_call(
        &self,
        state: &mut State,
        now: UnixMs,
        kind: RoomKind,
        caller: Option<&UserId>,
    ) -> Result<CallId, NoRandomness> {
        if let Some(call) = &mut state.call {
            return Ok(call.id.clone());
        }
        let id = CallId::random()?;
        self.journal.note(Entry::Began {
            call: id.clone(),
            room: self.id.clone(),
            room_name: state.roster.settings().name.clone(),
            kind,
            caller: caller.cloned(),
            at: now,
        });
        state.call = Some(Call { id: id.clone(), is_ringing: false, empty_since: Some(now) });
        Ok(id)
    }

    /// `at_once`: nobody is expected back.
    fn end_call_if_over(&self, state: &mut State, now: UnixMs, at_once: bool) {
        let is_over =
            if at_once { state.is_nobody_there() } else { state.call_over_at().is_some_and(|at| at <= now) };
        let Some(Call { id, empty_since: Some(at), .. }) = state.call.as_ref().filter(|_| is_over) else {
            return;
        };
        self.journal.note(Entry::Ended { call: id.clone(), at: *at });
        state.call = None;
        if state.roster.settings().chat_kept.is_zero() {
            state.forget_chat();
        }
    }

    // ---- what follows

    /// What is due by time alone.
    pub(super) fn tick(&self, now: UnixMs) {
        let mut state = self.state();
        state.roster.tick(now);
        let kept = state.roster.settings().chat_kept;
        if !kept.is_zero() {
            state.chat.forget_before(now.before(kept));
        }
        self.carry_out(&mut state, now);
        self.end_call_if_over(&mut state, now, false);
    }

    /// Takes every seat away, and ends the call.
    pub(super) fn end(&self, now: UnixMs) {
        let mut state = self.state();
        state.roster.remove_all(now, Cut::Ended, |_| true);
        self.carry_out(&mut state, now);
        self.end_call_if_over(&mut state, now, true);
    }

    /// The relay ends, and with it the call.
    pub(super) fn close(&self, now: UnixMs) {
        if let Some(call) = self.state().call.take() {
            self.journal.note(Entry::Ended { call: call.id, at: call.empty_since.unwrap_or(now) });
        }
    }

    /// When [`Meeting::tick`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<UnixMs> {
        let state = self.state();
        let roster_due = (state.is_roster_stale && state.scope.strong_count() > 0)
            .then(|| state.roster_told_at.map_or(state.touched_at, |at| at.after(state.pause())));
        [state.roster.poll_timeout(), roster_due, state.call_over_at()].into_iter().flatten().min()
    }

    /// Nothing would be lost by forgetting it: nobody has been here since then.
    pub(super) fn is_idle_since(&self, at: UnixMs) -> bool {
        let state = self.state();
        state.roster.is_empty() && state.call.is_none() && state.touched_at <= at
    }

    fn carry_out(&self, state: &mut State, now: UnixMs) {
        while let Some(change) = state.roster.poll_change() {
            state.touched_at = now;
            match change {
                Change::Roster => state.is_roster_stale = true,
                Change::Lobby => state.tell_lobby(),
                Change::Seat(participant) => state.seat_changed(&participant),
                Change::Cut(participant, cut) => {
                    for handle in state.handles.remove(&participant).unwrap_or_default() {
                        self.cut(&handle, cut);
                    }
                    if let Some(scope) = state.scope.upgrade() {
                        scope.stop_telling(Instant::now(), &format!("seat/{participant}"));
                    }
                }
                Change::Joined(participant, person) => {
                    // Without randomness there is no name for the call, and no history of it.
                    let Ok(call) = self.ensure_call(state, now, RoomKind::Meeting, None) else { continue };
                    if let Some(call) = &mut state.call {
                        call.empty_since = None;
                    }
                    state.attendances_made += 1;
                    let attendance = format!("{call}-{}", state.attendances_made);
                    state.attendance.insert(participant.clone(), attendance.clone());
                    self.journal.note(Entry::Joined {
                        attendance,
                        call,
                        participant,
                        user: person.user,
                        name: person.name,
                        at: now,
                    });
                }
                Change::Left(participant, at) => {
                    if let Some(attendance) = state.attendance.remove(&participant) {
                        self.journal.note(Entry::Left { attendance, at });
                    }
                    if state.attendance.is_empty()
                        && let Some(call) = &mut state.call
                    {
                        call.empty_since = Some(at);
                    }
                }
            }
        }
        state.tell_roster(now);
    }
}

impl State {
    /// When the call is over, if nobody comes before then.
    fn call_over_at(&self) -> Option<UnixMs> {
        let call = self.call.as_ref().filter(|_| self.is_nobody_there())?;
        // Whoever has a seat is still expected; seats end by themselves.
        let is_expected = self.roster.seats().values().any(|seat| !seat.is_waiting);
        call.empty_since.filter(|_| !is_expected).map(|since| since.after(EMPTY_CALL_SPAN))
    }

    /// Nobody is there, and nobody is rung.
    fn is_nobody_there(&self) -> bool {
        self.call.as_ref().is_some_and(|call| !call.is_ringing) && self.attendance.is_empty()
    }

    fn pause(&self) -> Duration {
        let people = u32::try_from(self.roster.seats().len() / ROSTER_PAUSE_PEOPLE).unwrap_or(u32::MAX);
        ROSTER_PAUSE * people.saturating_add(1)
    }

    /// Sends on what the participant itself is told, and what it may do.
    fn seat_changed(&mut self, participant: &ParticipantId) {
        let (Some(rights), Some(scope)) = (self.roster.rights(participant), self.scope.upgrade()) else {
            return;
        };
        // First the rights: who reads that it may do something must be able to.
        for handle in self.handles.get(participant).into_iter().flatten() {
            if handle.rights() != rights {
                handle.set_rights(rights.clone());
                scope.rights_changed(Instant::now(), handle.id);
                handle.send(Order::RightsChanged);
            }
        }
        if let Some(snapshot) = self.roster.seat_snapshot(participant) {
            let track = own(format!("seat/{participant}"), 8, Keeps::Latest);
            scope.tell(Instant::now(), &track, None, json(&snapshot));
        }
    }

    fn tell_roster(&mut self, now: UnixMs) {
        let Some(scope) = self.scope.upgrade() else { return };
        let is_due = self.roster_told_at.is_none_or(|at| now < at || now.since(at) >= self.pause());
        if self.is_roster_stale && is_due {
            self.is_roster_stale = false;
            self.roster_told_at = Some(now);
            scope.tell(Instant::now(), &own("roster", 8, Keeps::Latest), None, json(&self.roster.snapshot()));
        }
    }

    fn tell_lobby(&self) {
        if let Some(scope) = self.scope.upgrade() {
            let lobby = json(&self.roster.lobby_snapshot());
            scope.tell(Instant::now(), &own("lobby", 8, Keeps::Latest), None, lobby);
        }
    }

    fn tell_message(&self, message: &Message) {
        if let Some(scope) = self.scope.upgrade() {
            let group = u64::try_from(message.number).ok();
            scope.tell(Instant::now(), &self.chat_track(), group, json(message));
        }
    }

    fn chat_track(&self) -> OwnTrack {
        let kept = self.roster.settings().chat_kept;
        own("chat", 24, Keeps::All(Some(kept).filter(|kept| !kept.is_zero())))
    }

    /// A scope in which nothing has been told yet.
    fn tell_all(&mut self, now: UnixMs) {
        self.is_roster_stale = true;
        self.roster_told_at = None;
        self.tell_roster(now);
        self.tell_lobby();
        if let Some(scope) = self.scope.upgrade() {
            scope.announce(Instant::now(), &self.chat_track());
        }
        let messages: Vec<Message> = self.chat.messages().cloned().collect();
        for message in &messages {
            self.tell_message(message);
        }
        let participants: Vec<ParticipantId> = self.roster.seats().keys().cloned().collect();
        for participant in participants {
            self.seat_changed(&participant);
        }
    }

    fn forget_chat(&mut self) {
        self.chat.forget_before(UnixMs::NEVER);
        if let Some(scope) = self.scope.upgrade() {
            scope.stop_telling(Instant::now(), "chat");
            scope.announce(Instant::now(), &self.chat_track());
        }
    }
}
