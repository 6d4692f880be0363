//! All calls that ring, or did a short while ago.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::Notify;

use super::ringing::{Change, NoRing, Ringing};
use crate::{
    clock::UnixMs,
    id::{CallId, NoRandomness, RoomId, SignInId, UserId},
    meeting::{Meeting, Meetings},
    store::{
        calls::{Entry, Outcome},
        history::KnownUser,
        rooms::RoomKind,
    },
};

/// Nothing is due for longer than this.
const NAP_MAX: Duration = Duration::from_secs(60);

/// All of them.
#[derive(Debug)]
pub struct Calls {
    meetings: Arc<Meetings>,
    state: Mutex<State>,
    is_due_earlier: Notify,
}

#[derive(Debug, Default)]
struct State {
    by_id: HashMap<CallId, Ringing>,
    by_user: HashMap<UserId, BTreeSet<CallId>>,
    /// What people in these calls are called.
    names: HashMap<UserId, String>,
}

/// What came of placing a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It rings.
    Rings(CallId),
    /// Whoever was to be rung is ringing the caller at the same time: that call is accepted instead.
    Met(CallId, RoomId),
}

/// What a user is told of their calls, on every device: the track `inbox`.
#[derive(Debug, Serialize)]
struct InboxSnapshot<'a> {
    calls: Vec<InboxCall<'a>>,
}

#[derive(Debug, Serialize)]
struct InboxCall<'a> {
    id: &'a CallId,
    room: &'a RoomId,
    direction: &'static str,
    /// For the one who is told: of a call they placed, `ringing` until the last has answered, and then the best
    /// that came of it.
    state: Outcome,
    caller: Person<'a>,
    with_camera: bool,
    since: UnixMs,
    /// The device on which they answered: the others stop ringing.
    answered_on: Option<&'a SignInId>,
    people: Vec<RungPerson<'a>>,
}

#[derive(Debug, Serialize)]
struct Person<'a> {
    id: &'a UserId,
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct RungPerson<'a> {
    id: &'a UserId,
    name: &'a str,
    state: Outcome,
}

impl Calls {
    /// Nobody rings.
    pub fn new(meetings: Arc<Meetings>) -> Self {
        Calls { meetings, state: Mutex::default(), is_due_earlier: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rings people for a call in the meeting's room.
    pub fn place(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        caller: &KnownUser,
        callees: &[KnownUser],
        with_camera: bool,
    ) -> Result<Result<Placed, NoRing>, NoRandomness> {
        let mut state = self.state();
        if let [callee] = callees
            && let Some(call) = state.rings_from(&callee.id, &caller.id)
        {
            let room = call.room.clone();
            let id = call.id.clone();
            // It rings, so it can be accepted.
            let met =
                state.by_id.get_mut(&id).map_or(Err(NoRing::Over), |call| call.accept(now, &caller.id, None));
            self.carry_out(&mut state, now, &id);
            return Ok(met.map(|()| Placed::Met(id, room)));
        }
        let id = self.meetings.begin_call(now, meeting, RoomKind::Call, Some(&caller.id))?;
        if !state.by_id.contains_key(&id) {
            let call = Ringing::new(id.clone(), meeting.id.clone(), caller.id.clone(), with_camera, now);
            state.by_id.insert(id.clone(), call);
        }
        state.names.insert(caller.id.clone(), caller.name.clone());
        let result = self.ring_all(&mut state, now, &id, callees);
        if result.is_err() && state.by_id.get(&id).is_none_or(|call| !call.is_ringing()) {
            self.meetings.stop_ringing(now, meeting, &id, false);
        }
        Ok(result.map(|()| Placed::Rings(id)))
    }

    /// Rings more people for a call that is known.
    pub fn ring(&self, now: UnixMs, id: &CallId, callees: &[KnownUser]) -> Result<(), NoRing> {
        let mut state = self.state();
        self.ring_all(&mut state, now, id, callees)
    }

    fn ring_all(
        &self,
        state: &mut State,
        now: UnixMs,
        id: &CallId,
        callees: &[KnownUser],
    ) -> Result<(), NoRing> {
        let mut result = Ok(());
        for callee in callees {
            let is_busy = self.meetings.is_in_a_meeting(&callee.id);
            state.names.insert(callee.id.clone(), callee.name.clone());
            let Some(call) = state.by_id.get_mut(id) else { return Err(NoRing::Over) };
            result = call.ring(now, &callee.id, is_busy);
            if result.is_err() {
                break;
            }
        }
        self.carry_out(state, now, id);
        result
    }

    /// Somebody comes.
    pub fn accept(
        &self,
        now: UnixMs,
        id: &CallId,
        user: &UserId,
        device: Option<&SignInId>,
    ) -> Result<RoomId, NoRing> {
        self.change(now, id, |call| call.accept(now, user, device).map(|()| call.room.clone()))
    }

    /// Somebody does not want to.
    pub fn decline(
        &self,
        now: UnixMs,
        id: &CallId,
        user: &UserId,
        device: Option<&SignInId>,
    ) -> Result<(), NoRing> {
        self.change(now, id, |call| call.decline(now, user, device))
    }

    /// The caller gives up.
    pub fn cancel(&self, now: UnixMs, id: &CallId, user: &UserId) -> Result<(), NoRing> {
        self.change(now, id, |call| call.cancel(now, user))
    }

    /// A call, while it rings and a little longer.
    pub fn get(&self, id: &CallId) -> Option<Ringing> {
        self.state().by_id.get(id).cloned()
    }

    /// What a user is told of their calls now.
    pub fn inbox(&self, user: &UserId) -> serde_json::Value {
        serde_json::to_value(self.state().snapshot(user)).unwrap_or_default()
    }

    fn change<R>(
        &self,
        now: UnixMs,
        id: &CallId,
        change: impl FnOnce(&mut Ringing) -> Result<R, NoRing>,
    ) -> Result<R, NoRing> {
        let mut state = self.state();
        let call = state.by_id.get_mut(id).ok_or(NoRing::Over)?;
        let result = change(call);
        self.carry_out(&mut state, now, id);
        result
    }

    fn carry_out(&self, state: &mut State, now: UnixMs, id: &CallId) {
        let Some(call) = state.by_id.get_mut(id) else { return };
        let mut has_changed = false;
        while let Some(change) = call.poll_change() {
            has_changed = true;
            match change {
                Change::Rang(user) => {
                    self.meetings.journal().note(Entry::Rang { call: id.clone(), user, at: now });
                }
                Change::Answered(user, outcome) => {
                    let entry = Entry::Answered { call: id.clone(), user, outcome, at: now };
                    self.meetings.journal().note(entry);
                }
                Change::Over { is_answered } => {
                    if let Some(meeting) = self.meetings.meeting(&call.room) {
                        self.meetings.stop_ringing(now, &meeting, id, is_answered);
                    }
                }
            }
        }
        let people: Vec<UserId> = call.people().cloned().collect();
        for user in &people {
            state.by_user.entry(user.clone()).or_default().insert(id.clone());
        }
        if has_changed {
            for user in &people {
                self.tell(state, user);
            }
            self.is_due_earlier.notify_one();
        }
    }

    fn tell(&self, state: &State, user: &UserId) {
        let snapshot = state.snapshot(user);
        let text =
            (!snapshot.calls.is_empty()).then(|| serde_json::to_vec(&snapshot).unwrap_or_default().into());
        self.meetings.tell_user(user, text);
    }

    /// Does what is due by time alone, for as long as the relay runs.
    pub async fn tend(self: Arc<Self>) {
        loop {
            let now = UnixMs::now();
            let due = self.state().by_id.values().map(Ringing::poll_timeout).min();
            let nap = due.map_or(NAP_MAX, |at| at.since(now)).min(NAP_MAX);
            tokio::select! {
                () = tokio::time::sleep(nap) => self.tick(UnixMs::now()),
                () = self.is_due_earlier.notified() => {}
            }
        }
    }

    /// Does what is due by then.
    pub fn tick(&self, now: UnixMs) {
        let mut state = self.state();
        let ids: Vec<CallId> = state.by_id.keys().cloned().collect();
        for id in ids {
            let Some(call) = state.by_id.get_mut(&id) else { continue };
            call.tick(now);
            let is_forgotten = call.forgotten_at() <= now;
            self.carry_out(&mut state, now, &id);
            if is_forgotten {
                for user in state.forget(&id) {
                    self.tell(&state, &user);
                }
            }
        }
    }
}

impl State {
    /// A call with which `caller` rings `callee`.
    fn rings_from(&self, caller: &UserId, callee: &UserId) -> Option<&Ringing> {
        let calls = self.by_user.get(caller)?;
        calls.iter().filter_map(|id| self.by_id.get(id)).find(|call| {
            call.caller == *caller
                && call.rings().get(callee).is_some_and(|ring| ring.outcome == Outcome::Ringing)
        })
    }

    /// Returns whose call it was.
    fn forget(&mut self, id: &CallId) -> Vec<UserId> {
        let Some(call) = self.by_id.remove(id) else { return Vec::new() };
        let people: Vec<UserId> = call.people().cloned().collect();
        for user in &people {
            if let Some(calls) = self.by_user.get_mut(user) {
                calls.remove(id);
                if calls.is_empty() {
                    self.by_user.remove(user);
                    self.names.remove(user);
                }
            }
        }
        people
    }

    fn name(&self, user: &UserId) -> &str {
        self.names.get(user).map_or("", String::as_str)
    }

    fn snapshot<'a>(&'a self, user: &'a UserId) -> InboxSnapshot<'a> {
        let calls = self.by_user.get(user).into_iter().flatten().filter_map(|id| self.by_id.get(id));
        let mut calls: Vec<InboxCall<'a>> = calls.map(|call| self.as_seen_by(user, call)).collect();
        calls.sort_by_key(|call| call.since);
        InboxSnapshot { calls }
    }

    fn as_seen_by<'a>(&'a self, user: &UserId, call: &'a Ringing) -> InboxCall<'a> {
        let ring = call.rings().get(user);
        let (direction, state) = match ring {
            Some(ring) => ("in", ring.outcome),
            None => ("out", best(call)),
        };
        let people =
            call.rings().iter().map(|(id, ring)| RungPerson { id, name: self.name(id), state: ring.outcome });
        InboxCall {
            id: &call.id,
            room: &call.room,
            direction,
            state,
            caller: Person { id: &call.caller, name: self.name(&call.caller) },
            with_camera: call.with_camera,
            since: ring.map_or(call.placed_at, |ring| ring.rung_at),
            answered_on: ring.and_then(|ring| ring.answered_on.as_ref()),
            people: people.collect(),
        }
    }
}

/// What a call came to, for the one who placed it.
fn best(call: &Ringing) -> Outcome {
    const BEST_FIRST: [Outcome; 6] = [
        Outcome::Accepted,
        Outcome::Ringing,
        Outcome::Declined,
        Outcome::Busy,
        Outcome::NoAnswer,
        Outcome::Cancelled,
    ];
    let came = |outcome: &Outcome| call.rings().values().any(|ring| ring.outcome == *outcome);
    BEST_FIRST.into_iter().find(came).unwrap_or(Outcome::Cancelled)
}
