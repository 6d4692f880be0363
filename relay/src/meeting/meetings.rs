//! All meetings: where sessions show their tokens, and the API finds rooms.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::SessionError;
use tokio::sync::{Notify, mpsc};

use super::{
    Cut, Meeting, Settings,
    bans::Bans,
    roster::{NoSeat, Person, Seated},
};
use crate::{
    clock::UnixMs,
    counters::Counters,
    id::{CallId, NoRandomness, ParticipantId, RoomId, SignInId, UserId},
    journal::Journal,
    rights::Rights,
    scope::{Keeps, OwnTrack, Scope, ScopeName},
    session::{Handle, Order},
    store::{
        calls::Entry,
        rooms::{Ban, Banned, RoomKind},
    },
    token::{Keys, MediaToken, TOKEN_SPAN_MAX, TokenError},
};

/// A room in which nobody is any more is remembered this long.
const IDLE_SPAN: Duration = Duration::from_secs(120);
/// Meetings are looked through for what can be forgotten this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);
/// Rooms that are remembered at once. More cannot be opened by tokens.
const MEETINGS_MAX: usize = 50_000;

/// Who may come in without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Whoever reaches the relay, into rooms that are not guarded.
    Open,
    /// Nobody.
    Tokens,
}

/// A session was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// What it may do.
    pub rights: Rights,
    /// Where it is, if it has said who it is.
    pub place: Option<Place>,
}

/// Whose a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A participant's.
    Seat(RoomId, ParticipantId),
    /// A user's, in their own scope.
    Inbox(UserId, Option<SignInId>),
}

/// Why a session is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Denied {
    /// It says nothing about who it is.
    #[error("a token is needed to come in")]
    NoToken,
    /// Its token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its token is good elsewhere.
    #[error("the token is for another room")]
    Elsewhere,
    /// There is no seat for it.
    #[error(transparent)]
    NoSeat(#[from] NoSeat),
    /// Another room cannot be opened.
    #[error("the relay has too many rooms open")]
    TooManyRooms,
}

impl Denied {
    /// How the session ends.
    pub const fn code(self) -> SessionError {
        match self {
            Denied::Token(TokenError::Malformed | TokenError::Algorithm | TokenError::Times) => {
                SessionError::MalformedAuthToken
            }
            Denied::Token(TokenError::Expired) => SessionError::ExpiredAuthToken,
            Denied::TooManyRooms => SessionError::InternalError,
            Denied::NoToken
            | Denied::Token(TokenError::Signature | TokenError::Audience)
            | Denied::Elsewhere
            | Denied::NoSeat(_) => SessionError::Unauthorized,
        }
    }
}

/// All of them.
#[derive(Debug)]
pub struct Meetings {
    policy: Policy,
    keys: Keys,
    journal: Arc<Journal>,
    counters: Arc<Counters>,
    by_room: Mutex<HashMap<RoomId, Arc<Meeting>>>,
    bans_by_room: Mutex<HashMap<RoomId, Bans>>,
    /// Rooms that not everybody may come into although the policy is open.
    guarded: Mutex<HashSet<RoomId>>,
    inboxes: Mutex<HashMap<UserId, Inbox>>,
    /// What users were told last who have something to be told.
    inbox_snapshots: Mutex<HashMap<UserId, Bytes>>,
    /// When meetings have something to do, the first first.
    due: Mutex<BTreeSet<(UnixMs, RoomId)>>,
    due_at: Mutex<HashMap<RoomId, UnixMs>>,
    is_due_earlier: Notify,
    /// Rooms that tokens opened before anybody read how they are set.
    unread: Mutex<Option<mpsc::UnboundedSender<RoomId>>>,
}

/// A user's sessions in their own scope.
#[derive(Debug)]
struct Inbox {
    handles: Vec<(Arc<Handle>, Option<SignInId>)>,
    scope: Arc<Scope>,
}

/// What a user is told who has no calls.
const NO_CALLS: &[u8] = br#"{"calls":[]}"#;

fn inbox_track() -> OwnTrack {
    OwnTrack { name: "inbox".to_owned(), priority: 8, keeps: Keeps::Latest }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meetings {
    /// Nobody meets yet.
    pub fn new(policy: Policy, keys: Keys, journal: Arc<Journal>, counters: Arc<Counters>) -> Self {
        Meetings {
            policy,
            keys,
            journal,
            counters,
            by_room: Mutex::default(),
            bans_by_room: Mutex::default(),
            guarded: Mutex::default(),
            inboxes: Mutex::default(),
            inbox_snapshots: Mutex::default(),
            due: Mutex::default(),
            due_at: Mutex::default(),
            is_due_earlier: Notify::new(),
            unread: Mutex::default(),
        }
    }

    /// Whoever reaches the relay may do everything, and nothing is kept.
    pub fn open(counters: Arc<Counters>) -> Result<Self, crate::token::KeyError> {
        let keys = Keys::new(crate::token::TokenKey::random()?, Vec::new());
        let journal = Arc::new(Journal::new(None, Arc::clone(&counters)));
        Ok(Self::new(Policy::Open, keys, journal, counters))
    }

    /// The keys of tokens.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where what happens is written down.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Who may come in without a token.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Names of rooms that tokens open before anybody has read how they are set go there from now on.
    pub fn on_unread(&self, sender: mpsc::UnboundedSender<RoomId>) {
        *lock(&self.unread) = Some(sender);
    }

    // ---- sessions

    /// Decides on a session that wants into a scope.
    pub fn admit(&self, now: UnixMs, scope: &ScopeName, token: Option<&str>) -> Result<Admitted, Denied> {
        let Some(token) = token else {
            return match (self.policy, scope) {
                (Policy::Open, ScopeName::Room(room)) if self.is_guarded(room) => Err(Denied::NoToken),
                (Policy::Open, _) => Ok(Admitted { rights: Rights::Open, place: None }),
                (Policy::Tokens, _) => Err(Denied::NoToken),
            };
        };
        let (token, signer) = self.keys.read::<MediaToken>(token, now)?;
        if token.scope != scope.to_string() {
            return Err(Denied::Elsewhere);
        }
        match scope {
            ScopeName::Room(room) => {
                let room = RoomId::new(room).ok_or(Denied::Elsewhere)?;
                let meeting = self.open_by_token(now, &room)?;
                let bans = lock(&self.bans_by_room);
                let none = Bans::default();
                let rights = meeting.admit(now, &token, signer, bans.get(&room).unwrap_or(&none))?;
                drop(bans);
                self.schedule(&meeting);
                Ok(Admitted { rights, place: Some(Place::Seat(room, token.sub)) })
            }
            ScopeName::User(user) => {
                let user = UserId::new(user).filter(|user| user.as_str() == token.sub.as_str());
                let user = user.ok_or(Denied::Elsewhere)?;
                Ok(Admitted { rights: Rights::Inbox, place: Some(Place::Inbox(user, token.sign_in)) })
            }
        }
    }

    /// A session that was let in is in its scope.
    pub fn entered(&self, now: UnixMs, place: &Place, scope: &Arc<Scope>, handle: &Arc<Handle>) {
        match place {
            Place::Seat(room, participant) => match self.meeting(room) {
                Some(meeting) => {
                    meeting.entered(now, participant, scope, handle);
                    self.schedule(&meeting);
                }
                None => drop(
                    handle.send(Order::Close { code: Cut::Removed.code(), reason: Cut::Removed.reason() }),
                ),
            },
            Place::Inbox(user, sign_in) => {
                let mut inboxes = lock(&self.inboxes);
                let inbox = inboxes
                    .entry(user.clone())
                    .or_insert_with(|| Inbox { handles: Vec::new(), scope: Arc::clone(scope) });
                let is_other_scope = inbox.handles.is_empty() || !Arc::ptr_eq(&inbox.scope, scope);
                inbox.scope = Arc::clone(scope);
                inbox.handles.push((Arc::clone(handle), sign_in.clone()));
                if is_other_scope {
                    let snapshot = lock(&self.inbox_snapshots).get(user).cloned();
                    let snapshot = snapshot.unwrap_or(Bytes::from_static(NO_CALLS));
                    scope.tell(Instant::now(), &inbox_track(), None, snapshot);
                }
            }
        }
    }

    /// It is gone.
    pub fn left(&self, now: UnixMs, place: &Place, handle: &Handle) {
        match place {
            Place::Seat(room, participant) => {
                if let Some(meeting) = self.meeting(room) {
                    meeting.left(now, participant, handle);
                    self.schedule(&meeting);
                }
            }
            Place::Inbox(user, _) => {
                let mut inboxes = lock(&self.inboxes);
                if let Some(inbox) = inboxes.get_mut(user) {
                    inbox.handles.retain(|(other, _)| other.id != handle.id);
                    if inbox.handles.is_empty() {
                        inboxes.remove(user);
                    }
                }
            }
        }
    }

    /// A session shows a newer token on a request (REQUEST_UPDATE): its seat lasts as long as that says.
    pub fn renew(&self, now: UnixMs, place: &Place, token: &str) -> Result<(), Denied> {
        let scope = match place {
            Place::Seat(room, _) => ScopeName::Room(room.text()),
            Place::Inbox(user, _) => ScopeName::User(user.text()),
        };
        let admitted = self.admit(now, &scope, Some(token))?;
        if admitted.place.as_ref() == Some(place) { Ok(()) } else { Err(Denied::Elsewhere) }
    }

    fn is_guarded(&self, room: &str) -> bool {
        let Some(room) = RoomId::new(room) else { return false };
        match self.meeting(&room) {
            Some(meeting) => meeting.read(|roster| roster.settings().is_guarded()),
            None => lock(&self.guarded).contains(&room),
        }
    }

    // ---- rooms

    /// Rooms that not everybody may come into who knows their name.
    pub fn set_guarded(&self, room: &RoomId, is_guarded: bool) {
        let mut guarded = lock(&self.guarded);
        if is_guarded {
            guarded.insert(room.clone());
        } else {
            guarded.remove(room);
        }
    }

    /// The meeting in a room, if somebody is there or was a short while ago.
    pub fn meeting(&self, room: &RoomId) -> Option<Arc<Meeting>> {
        lock(&self.by_room).get(room).cloned()
    }

    /// How many meetings somebody is in, or was a short while ago.
    pub fn len(&self) -> usize {
        lock(&self.by_room).len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The meeting in a room, begun if there is none. How the room is set may have to be read: [`Meetings::load`].
    pub fn open_meeting(&self, now: UnixMs, room: &RoomId) -> Result<Arc<Meeting>, Denied> {
        self.ensure(now, room, false)
    }

    fn open_by_token(&self, now: UnixMs, room: &RoomId) -> Result<Arc<Meeting>, Denied> {
        let is_known = self.meeting(room).is_some();
        let unread = lock(&self.unread).clone();
        let meeting = self.ensure(now, room, unread.is_none())?;
        if let (false, Some(unread)) = (is_known, unread) {
            // Gone only when the relay ends.
            let _ = unread.send(room.clone());
        }
        Ok(meeting)
    }

    fn ensure(&self, now: UnixMs, room: &RoomId, is_loaded: bool) -> Result<Arc<Meeting>, Denied> {
        let mut by_room = lock(&self.by_room);
        if let Some(meeting) = by_room.get(room) {
            return Ok(Arc::clone(meeting));
        }
        if by_room.len() >= MEETINGS_MAX {
            return Err(Denied::TooManyRooms);
        }
        let (journal, counters) = (Arc::clone(&self.journal), Arc::clone(&self.counters));
        let meeting = Arc::new(Meeting::new(room.clone(), is_loaded, journal, counters, now));
        by_room.insert(room.clone(), Arc::clone(&meeting));
        Ok(meeting)
    }

    /// Changes the people of a meeting, and carries out what follows.
    pub fn change<R>(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        change: impl FnOnce(&mut super::roster::Roster) -> R,
    ) -> R {
        let result = meeting.change(now, change);
        self.schedule(meeting);
        result
    }

    /// What a room is, and what was said in it before, as the database has it.
    pub fn load(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        settings: Settings,
        messages: Vec<crate::store::messages::Message>,
    ) {
        meeting.load(now, settings, messages);
        self.schedule(meeting);
    }

    /// Somebody asks for a seat.
    pub fn take_seat(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        person: Person,
        back: Option<&ParticipantId>,
    ) -> Result<Result<Seated, NoSeat>, NoRandomness> {
        let fresh = ParticipantId::random()?;
        let bans = lock(&self.bans_by_room);
        let none = Bans::default();
        let bans_here = bans.get(&meeting.id).unwrap_or(&none);
        let seated = meeting.change(now, |roster| roster.take_seat(now, person, back, bans_here, fresh));
        drop(bans);
        self.schedule(meeting);
        Ok(seated)
    }

    /// A signed token for a seat, whose time it makes longer.
    pub fn token(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        participant: &ParticipantId,
        span: Duration,
    ) -> Option<(String, MediaToken)> {
        let until = now.after(span);
        let scope = ScopeName::Room(meeting.id.text()).to_string();
        let token = meeting.change(now, |roster| {
            roster.extend(participant, now, until)?;
            roster.token(participant, scope, now, until)
        })?;
        self.schedule(meeting);
        Some((self.keys.sign(&token), token))
    }

    /// Takes a seat away, for good if `is_banned`. False when there is none.
    pub fn remove(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        participant: &ParticipantId,
        cut: Cut,
        is_banned: bool,
    ) -> bool {
        let user = meeting.read(|roster| roster.seat(participant).and_then(|seat| seat.person.user.clone()));
        // First the door, then the seat: nobody must slip in between.
        self.ban(now, &meeting.id, Banned::Participant(participant.clone()), Some(now.after(TOKEN_SPAN_MAX)));
        if let Some(user) = user.filter(|_| is_banned) {
            self.ban(now, &meeting.id, Banned::User(user), None);
        }
        self.change(now, meeting, |roster| roster.remove(now, participant, cut))
    }

    /// The call that goes on in a meeting; begun if there is none.
    pub fn begin_call(
        &self,
        now: UnixMs,
        meeting: &Arc<Meeting>,
        kind: RoomKind,
        caller: Option<&UserId>,
    ) -> Result<CallId, NoRandomness> {
        let call = meeting.begin_call(now, kind, caller)?;
        self.schedule(meeting);
        Ok(call)
    }

    /// Nobody is rung for a call any more.
    pub fn stop_ringing(&self, now: UnixMs, meeting: &Arc<Meeting>, call: &CallId, is_answered: bool) {
        meeting.stop_ringing(now, call, is_answered);
        self.schedule(meeting);
    }

    /// Ends a meeting for everybody: whoever is there goes, and no token of before lets anybody back in.
    pub fn end(&self, now: UnixMs, meeting: &Arc<Meeting>) {
        self.ban(now, &meeting.id, Banned::Everybody, Some(now.after(TOKEN_SPAN_MAX)));
        meeting.end(now);
        self.schedule(meeting);
    }

    /// Keeps somebody out of a room.
    pub fn ban(&self, now: UnixMs, room: &RoomId, who: Banned, until: Option<UnixMs>) {
        let mut bans = lock(&self.bans_by_room);
        bans.entry(room.clone()).or_default().insert(who.clone(), now, until.unwrap_or(UnixMs::NEVER));
        drop(bans);
        self.journal.note(Entry::Banned { room: room.clone(), who, at: now, until });
    }

    /// Lets somebody come back.
    pub fn lift_ban(&self, room: &RoomId, who: &Banned) {
        if let Some(bans) = lock(&self.bans_by_room).get_mut(room) {
            bans.remove(who);
        }
    }

    /// Users who may not come back, and since when.
    pub fn banned_users(&self, room: &RoomId) -> Vec<(UserId, UnixMs)> {
        lock(&self.bans_by_room).get(room).map(Bans::users).unwrap_or_default()
    }

    /// What was decided before this relay was started.
    pub fn load_bans(&self, bans: Vec<Ban>) {
        let mut by_room = lock(&self.bans_by_room);
        for Ban { room, who, since, until } in bans {
            by_room.entry(room).or_default().insert(who, since, until);
        }
    }

    /// The relay ends, and with it every call.
    pub fn close(&self, now: UnixMs) {
        for meeting in lock(&self.by_room).values() {
            meeting.close(now);
        }
    }

    // ---- users

    /// A sign-in has ended, or all of a user's: their sessions and seats go.
    pub fn sign_out(&self, now: UnixMs, user: &UserId, sign_in: Option<&SignInId>) {
        let is_meant = |of: Option<&SignInId>| sign_in.is_none() || of == sign_in;
        if let Some(inbox) = lock(&self.inboxes).get(user) {
            for (handle, _) in inbox.handles.iter().filter(|(_, of)| is_meant(of.as_ref())) {
                self.counters.sessions_cut.increment();
                handle.set_rights(Rights::Nothing);
                handle.send(Order::Close { code: Cut::SignedOut.code(), reason: Cut::SignedOut.reason() });
            }
        }
        let meetings: Vec<Arc<Meeting>> = lock(&self.by_room).values().cloned().collect();
        for meeting in meetings {
            let has_seat = |roster: &super::roster::Roster| {
                roster.seats().iter().find_map(|(participant, seat)| {
                    let is_theirs = seat.person.user.as_ref() == Some(user);
                    (is_theirs && is_meant(seat.person.sign_in.as_ref())).then(|| participant.clone())
                })
            };
            while let Some(participant) = meeting.read(has_seat) {
                self.remove(now, &meeting, &participant, Cut::SignedOut, false);
            }
        }
    }

    /// The user's sessions in their own scope are there.
    pub fn is_reachable(&self, user: &UserId) -> bool {
        lock(&self.inboxes).contains_key(user)
    }

    /// The user has a seat in some meeting, with a session.
    pub fn is_in_a_meeting(&self, user: &UserId) -> bool {
        !self.in_meetings(std::slice::from_ref(user)).is_empty()
    }

    /// Who of these has a seat in some meeting, with a session.
    pub fn in_meetings(&self, users: &[UserId]) -> HashSet<UserId> {
        let meetings: Vec<Arc<Meeting>> = lock(&self.by_room).values().cloned().collect();
        let mut found = HashSet::new();
        for meeting in meetings {
            meeting.read(|roster| {
                let seats = roster.seats().values().filter(|seat| seat.sessions > 0 && !seat.is_waiting);
                let theirs = seats.filter_map(|seat| seat.person.user.as_ref());
                found.extend(theirs.filter(|user| users.contains(user)).cloned());
            });
        }
        found
    }

    /// Tells a user of their calls, on every device, those that come later too: a snapshot on the track `inbox` of
    /// their own scope. `None`: there are none.
    pub fn tell_user(&self, user: &UserId, snapshot: Option<Bytes>) {
        // The order of the snapshots is that of this lock.
        let inboxes = lock(&self.inboxes);
        let mut snapshots = lock(&self.inbox_snapshots);
        match &snapshot {
            Some(snapshot) => drop(snapshots.insert(user.clone(), snapshot.clone())),
            None => drop(snapshots.remove(user)),
        }
        drop(snapshots);
        if let Some(inbox) = inboxes.get(user) {
            let snapshot = snapshot.unwrap_or(Bytes::from_static(NO_CALLS));
            inbox.scope.tell(Instant::now(), &inbox_track(), None, snapshot);
        }
    }

    // ---- time

    fn schedule(&self, meeting: &Meeting) {
        let at = meeting.poll_timeout();
        let mut due = lock(&self.due);
        let mut due_at = lock(&self.due_at);
        let first = due.first().map(|(at, _)| *at);
        if let Some(before) = due_at.remove(&meeting.id) {
            due.remove(&(before, meeting.id.clone()));
        }
        if let Some(at) = at {
            due_at.insert(meeting.id.clone(), at);
            due.insert((at, meeting.id.clone()));
            if first.is_none_or(|first| at < first) {
                self.is_due_earlier.notify_one();
            }
        }
    }

    /// Does what is due by time alone, for as long as the relay runs.
    pub async fn tend(self: Arc<Self>) {
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            let now = UnixMs::now();
            let first = lock(&self.due).first().map(|(at, _)| *at);
            let nap = first.map_or(SWEEP_INTERVAL, |at| at.since(now)).min(SWEEP_INTERVAL);
            tokio::select! {
                () = tokio::time::sleep(nap) => self.tick(UnixMs::now()),
                () = self.is_due_earlier.notified() => {}
                _ = sweep.tick() => self.sweep(UnixMs::now()),
            }
        }
    }

    /// Does what is due by then.
    pub fn tick(&self, now: UnixMs) {
        loop {
            let first = lock(&self.due).first().cloned();
            let Some((_, room)) = first.filter(|(at, _)| *at <= now) else { return };
            match self.meeting(&room) {
                Some(meeting) => {
                    meeting.tick(now);
                    // Whatever is due again at once comes a little later, so that nothing spins.
                    self.schedule(&meeting);
                    self.put_off(&room, now.after(Duration::from_millis(1)));
                }
                None => self.put_off(&room, UnixMs::NEVER),
            }
        }
    }

    fn put_off(&self, room: &RoomId, not_before: UnixMs) {
        let mut due = lock(&self.due);
        let mut due_at = lock(&self.due_at);
        let Some(at) = due_at.get_mut(room).filter(|at| **at < not_before) else { return };
        due.remove(&(*at, room.clone()));
        *at = not_before;
        if not_before == UnixMs::NEVER {
            due_at.remove(room);
        } else {
            due.insert((not_before, room.clone()));
        }
    }

    fn sweep(&self, now: UnixMs) {
        let idle_since = now.before(IDLE_SPAN);
        let mut by_room = lock(&self.by_room);
        // Whoever holds one is about to use it.
        by_room.retain(|_, meeting| Arc::strong_count(meeting) > 1 || !meeting.is_idle_since(idle_since));
        drop(by_room);
        let mut bans = lock(&self.bans_by_room);
        bans.retain(|_, bans| {
            bans.tick(now);
            !bans.is_empty()
        });
    }
}
