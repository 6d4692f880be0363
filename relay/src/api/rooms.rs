//! Rooms that last, and how they are set.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Api,
    input::{At, Body, Change, RoomName},
    problem::{Problem, Problems},
    who::{Caller, Moderator},
};
use crate::{
    clock::UnixMs,
    config::options::SignIn,
    id::{RoomId, UserId},
    meeting::{CAPACITY_DEFAULT, Meeting, Settings, roster::Roster},
    password,
    store::rooms::{Banned, Room, RoomKind},
};

/// Rooms of one user that are listed.
const ROOMS_MAX: i64 = 1000;
/// The most that a room can be set to hold.
const CAPACITY_MAX: u32 = 2000;
/// Chat is kept this long when nobody says otherwise.
pub(super) const CHAT_KEPT_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest that chat can be kept.
const CHAT_KEPT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Messages that are read back when somebody comes into a room again.
pub(super) const MESSAGES_LOADED: i64 = 2000;

/// A room as one sees it who may come in.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomInfo {
    /// Its path, without the slash.
    #[schema(value_type = String)]
    pub id: RoomId,
    /// What people call it.
    pub name: Option<String>,
    /// Meeting or call.
    pub kind: RoomKind,
    /// Whose it is.
    #[schema(value_type = Option<String>)]
    pub owner: Option<UserId>,
    /// Something must be known to come in.
    pub has_password: bool,
    /// People wait until somebody lets them in.
    pub has_lobby: bool,
    /// Nobody new comes in.
    pub is_locked: bool,
    /// Participants at once.
    pub capacity: usize,
    /// Seconds that chat is kept; 0: as long as somebody is there.
    pub chat_kept_s: u64,
    /// People there now.
    pub participants: usize,
    /// It is recorded now: whoever joins is recorded too.
    pub is_recorded: bool,
}

/// A new room; everything may be left out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MakeRoom {
    /// A name of one's own for the link, which others may guess; one that cannot be guessed is made otherwise.
    #[schema(value_type = Option<String>)]
    id: Option<RoomId>,
    /// What people call it.
    #[schema(value_type = Option<String>)]
    name: Option<RoomName>,
    /// What must be known to come in.
    password: Option<String>,
    /// People wait until somebody lets them in.
    #[serde(default)]
    has_lobby: bool,
    /// Participants at once, at most 2000.
    capacity: Option<u32>,
    /// Seconds that chat is kept; 0: as long as somebody is there.
    chat_kept_s: Option<u64>,
}

/// What to change about a room; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangeRoom {
    /// What people call it; `null`: nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    name: Change<RoomName>,
    /// What must be known to come in; `null`: nothing.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Change<String>,
    /// People wait until somebody lets them in. Who waits is let in when this ends.
    has_lobby: Option<bool>,
    /// Nobody new comes in.
    is_locked: Option<bool>,
    /// Participants at once, at most 2000.
    capacity: Option<u32>,
    /// Seconds that chat is kept; 0: as long as somebody is there. Holds for what is said from now on.
    chat_kept_s: Option<u64>,
}

/// Somebody who may not come back.
#[derive(Debug, Serialize, ToSchema)]
pub struct BannedUser {
    /// Who.
    #[schema(value_type = String)]
    user: UserId,
    /// What they are called now; nothing when they are gone.
    name: Option<String>,
    /// Since when.
    since: UnixMs,
}

pub(super) fn settings(room: &Room, hosts: Vec<UserId>) -> Settings {
    Settings {
        name: room.name.clone(),
        owner: room.owner.clone(),
        hosts: hosts.into_iter().collect(),
        has_password: room.password.is_some(),
        has_lobby: room.has_lobby,
        is_locked: room.is_locked,
        capacity: room.capacity as usize,
        chat_kept: room.chat_kept,
    }
}

fn capacity(asked: Option<u32>) -> Result<Option<u32>, Problem> {
    match asked {
        Some(0) => Err(Problem::invalid("a room holds somebody")),
        Some(capacity) if capacity > CAPACITY_MAX => Err(Problem::invalid("a room holds 2000 at most")),
        other => Ok(other),
    }
}

fn chat_kept(asked: Option<u64>) -> Option<Duration> {
    asked.map(|seconds| Duration::from_secs(seconds).min(CHAT_KEPT_MAX))
}

async fn hashed(password: Option<String>) -> Result<Option<String>, Problem> {
    match password.filter(|password| !password.is_empty()) {
        Some(password) if password.len() > 256 => {
            Err(Problem::invalid("a password has 256 characters at most"))
        }
        Some(password) => Ok(Some(password::hash(password).await?)),
        None => Ok(None),
    }
}

/// One's own rooms, the latest first.
#[utoipa::path(get, path = "/api/rooms", tag = "rooms", security(("api" = [])),
    responses((status = 200, body = Vec<RoomInfo>), Problems))]
pub async fn mine(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Vec<RoomInfo>> {
    let rooms = api.store.rooms_of(&caller.user.id, ROOMS_MAX).await?;
    Ok(Json(rooms.iter().map(|room| api.info(room)).collect()))
}

/// Makes a room.
#[utoipa::path(post, path = "/api/rooms", tag = "rooms", security(("api" = [])), request_body = MakeRoom,
    responses((status = 201, body = RoomInfo), Problems))]
pub async fn make(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(form): Body<MakeRoom>,
) -> Result<(StatusCode, Json<RoomInfo>), Problem> {
    let caller = caller.not_a_guest()?;
    api.rates.make(&caller.user.id)?;
    if form.id.as_ref().is_some_and(|id| id.as_str() == "me") {
        return Err(Problem::invalid("`me` is no room"));
    }
    let room = Room {
        id: form.id.map_or_else(RoomId::random, Ok)?,
        name: form.name.map(|name| name.0),
        kind: RoomKind::Meeting,
        owner: Some(caller.user.id),
        password: hashed(form.password).await?,
        has_lobby: form.has_lobby,
        is_locked: false,
        capacity: capacity(form.capacity)?.unwrap_or(CAPACITY_DEFAULT),
        chat_kept: chat_kept(form.chat_kept_s).unwrap_or(CHAT_KEPT_DEFAULT),
        made_at: UnixMs::now(),
    };
    // Whoever is in a room of this name already, in the open mode, would find it somebody else's.
    if api.meetings.meeting(&room.id).is_some_and(|meeting| !meeting.read(Roster::is_empty)) {
        return Err(Problem::new(StatusCode::CONFLICT, "urn:roundtable:taken", "that is taken"));
    }
    api.store.insert_room(&room).await?;
    api.settle(&room, Vec::new());
    Ok((StatusCode::CREATED, Json(api.info(&room))))
}

/// A room, before one comes in.
#[utoipa::path(get, path = "/api/rooms/{room}", tag = "rooms", security(("api" = [])),
    params(("room" = String, Path, description = "The room")), responses((status = 200, body = RoomInfo), Problems))]
pub async fn room(State(api): State<Arc<Api>>, caller: Caller, At(id): At<RoomId>) -> Answer<RoomInfo> {
    api.ensure_guests_room(&caller, &id)?;
    let room = api.room_or_ad_hoc(&id).await?;
    Ok(Json(api.info(&room)))
}

/// Changes how a room is set. For its hosts, and for who moderates it.
#[utoipa::path(patch, path = "/api/rooms/{room}", tag = "rooms", security(("api" = []), ("media" = [])),
    request_body = ChangeRoom, params(("room" = String, Path, description = "The room")),
    responses((status = 200, body = RoomInfo), Problems))]
pub async fn change(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    Body(form): Body<ChangeRoom>,
) -> Answer<RoomInfo> {
    let now = UnixMs::now();
    let is_kept = moderator.kept.is_some();
    let mut room = match (moderator.kept, &moderator.meeting) {
        (Some(room), _) => room,
        (None, Some(meeting)) => meeting.read(|roster| ad_hoc(&meeting.id, roster.settings())),
        (None, None) => return Err(Problem::not_found("there is no such room")),
    };
    if !is_kept && form.password != Change::Keep {
        return Err(Problem::invalid("only a room that was made can have a password"));
    }
    match form.name {
        Change::Keep => {}
        Change::Clear => room.name = None,
        Change::Set(name) => room.name = Some(name.0),
    }
    match form.password {
        Change::Keep => {}
        Change::Clear => room.password = None,
        Change::Set(password) => room.password = hashed(Some(password)).await?,
    }
    room.has_lobby = form.has_lobby.unwrap_or(room.has_lobby);
    room.is_locked = form.is_locked.unwrap_or(room.is_locked);
    room.capacity = capacity(form.capacity)?.unwrap_or(room.capacity);
    room.chat_kept = chat_kept(form.chat_kept_s).unwrap_or(room.chat_kept);
    if is_kept {
        api.store.update_room(&room).await?;
    }
    if let Some(meeting) = &moderator.meeting {
        let hosts = meeting.read(|roster| roster.settings().hosts.iter().cloned().collect());
        let settings = settings(&room, hosts);
        api.meetings.change(now, meeting, |roster| roster.set(now, settings));
    }
    if is_kept {
        api.meetings.set_guarded(&room.id, settings(&room, Vec::new()).is_guarded());
    }
    Ok(Json(api.info(&room)))
}

/// Deletes a room: whoever is there goes, its link leads nowhere. Its calls stay in the history. For its owner.
#[utoipa::path(delete, path = "/api/rooms/{room}", tag = "rooms", security(("api" = [])),
    params(("room" = String, Path, description = "The room")), responses((status = 204), Problems))]
pub async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<RoomId>,
) -> Result<StatusCode, Problem> {
    let room = api.store.room(&id).await?.ok_or_else(|| Problem::not_found("there is no such room"))?;
    if room.owner.as_ref() != Some(&caller.user.id) && !caller.user.is_admin {
        return Err(Problem::forbidden());
    }
    if let Some(meeting) = api.meetings.meeting(&id) {
        api.meetings.end(UnixMs::now(), &meeting);
    }
    api.store.delete_room(&id).await?;
    api.meetings.set_guarded(&id, false);
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the meeting in a room for everybody. For hosts.
#[utoipa::path(post, path = "/api/rooms/{room}/end", tag = "rooms", security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room")), responses((status = 204), Problems))]
pub async fn end(State(api): State<Arc<Api>>, moderator: Moderator) -> Result<StatusCode, Problem> {
    if !moderator.is_host {
        return Err(Problem::forbidden());
    }
    if let Some(meeting) = &moderator.meeting {
        api.meetings.end(UnixMs::now(), meeting);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who may not come back. For hosts.
#[utoipa::path(get, path = "/api/rooms/{room}/bans", tag = "rooms", security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room")),
    responses((status = 200, body = Vec<BannedUser>), Problems))]
pub async fn bans(State(api): State<Arc<Api>>, moderator: Moderator) -> Answer<Vec<BannedUser>> {
    let mut banned = Vec::new();
    for (user, since) in api.meetings.banned_users(&moderator.room) {
        let name = api.store.user(&user).await?.map(|user| user.name);
        banned.push(BannedUser { user, name, since });
    }
    Ok(Json(banned))
}

/// Lets somebody come back. For hosts.
#[utoipa::path(delete, path = "/api/rooms/{room}/bans/{user}", tag = "rooms", security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room"), ("user" = String, Path, description = "The user")),
    responses((status = 204), Problems))]
pub async fn lift_ban(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    At((_, user)): At<(RoomId, UserId)>,
) -> Result<StatusCode, Problem> {
    let banned = Banned::User(user);
    api.meetings.journal().flushed().await;
    api.store.lift_ban(&moderator.room, &banned).await?;
    api.meetings.lift_ban(&moderator.room, &banned);
    Ok(StatusCode::NO_CONTENT)
}

/// A room that nobody made: it is there because somebody came.
fn ad_hoc(id: &RoomId, settings: &Settings) -> Room {
    Room {
        id: id.clone(),
        name: settings.name.clone(),
        kind: RoomKind::Meeting,
        owner: None,
        password: None,
        has_lobby: settings.has_lobby,
        is_locked: settings.is_locked,
        capacity: u32::try_from(settings.capacity).unwrap_or(CAPACITY_DEFAULT),
        chat_kept: settings.chat_kept,
        made_at: UnixMs(0),
    }
}

impl Api {
    /// Guests have one room.
    pub(super) fn ensure_guests_room(&self, caller: &Caller, room: &RoomId) -> Result<(), Problem> {
        if caller.sign_in.room.as_ref().is_none_or(|only| only == room) {
            return Ok(());
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "urn:roundtable:guest",
            "your invitation is for another room",
        ))
    }

    /// A room by its name; in the open mode every name is one.
    pub(super) async fn room_or_ad_hoc(&self, id: &RoomId) -> Result<Room, Problem> {
        let unknown = || Problem::not_found("there is no such room");
        match self.store.room(id).await? {
            Some(room) => Ok(room),
            None if self.sign_in == SignIn::Open && id.as_str() != "me" => {
                let meeting = self.meetings.meeting(id);
                Ok(meeting.map_or_else(
                    || ad_hoc(id, &Settings::default()),
                    |meeting| meeting.read(|roster| ad_hoc(id, roster.settings())),
                ))
            }
            None => Err(unknown()),
        }
    }

    pub(super) fn info(&self, room: &Room) -> RoomInfo {
        let meeting = self.meetings.meeting(&room.id);
        let (participants, is_recorded) = meeting.map_or((0, false), |meeting| {
            meeting.read(|roster| (roster.seated().len(), roster.recording().is_some()))
        });
        RoomInfo {
            id: room.id.clone(),
            name: room.name.clone(),
            kind: room.kind,
            owner: room.owner.clone(),
            has_password: room.password.is_some(),
            has_lobby: room.has_lobby,
            is_locked: room.is_locked,
            capacity: room.capacity as usize,
            chat_kept_s: room.chat_kept.as_secs(),
            participants,
            is_recorded,
        }
    }

    /// What was decided about a room holds from now on.
    fn settle(&self, room: &Room, hosts: Vec<UserId>) {
        let settings = settings(room, hosts);
        self.meetings.set_guarded(&room.id, settings.is_guarded());
        if let Some(meeting) = self.meetings.meeting(&room.id) {
            let now = UnixMs::now();
            self.meetings.change(now, &meeting, |roster| roster.set(now, settings));
        }
    }

    /// The meeting in a room, as the room is set, with what was said before.
    pub(super) async fn meeting_in(&self, room: &Room) -> Result<Arc<Meeting>, Problem> {
        let now = UnixMs::now();
        let meeting = self.meetings.open_meeting(now, &room.id)?;
        if !meeting.is_loaded() {
            let hosts = self.store.hosts(&room.id).await?;
            let messages = match room.chat_kept.is_zero() {
                true => Vec::new(),
                false => self.store.latest_messages(now, &room.id, MESSAGES_LOADED).await?,
            };
            self.meetings.load(now, &meeting, settings(room, hosts), messages);
        }
        Ok(meeting)
    }

    /// Reads how rooms are set that tokens opened first, for as long as the relay runs.
    pub async fn load_unread(self: Arc<Self>, mut unread: tokio::sync::mpsc::UnboundedReceiver<RoomId>) {
        while let Some(id) = unread.recv().await {
            match self.store.room(&id).await {
                Ok(Some(room)) => {
                    if let Err(problem) = self.meeting_in(&room).await {
                        tracing::warn!(reason = %problem.title, "a room's settings could not be read");
                    }
                }
                Ok(None) => {
                    if let Some(meeting) = self.meetings.meeting(&id) {
                        self.meetings.load(UnixMs::now(), &meeting, Settings::default(), Vec::new());
                    }
                }
                Err(error) => tracing::warn!(%error, "a room's settings could not be read"),
            }
        }
    }
}
