//! Ringing people. Everybody concerned is told on the track `inbox` of their own scope, on every device.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Api,
    input::{At, Body},
    join::Joined,
    problem::{Problem, Problems},
    who::Caller,
};
use crate::{
    call::{
        Placed,
        ringing::{NoRing, RUNG_MAX},
    },
    clock::UnixMs,
    id::{CallId, RoomId, UserId},
    meeting::{CAPACITY_DEFAULT, Roster},
    store::{
        calls::Outcome,
        history::KnownUser,
        rooms::{Room, RoomKind},
        users::UserKind,
    },
};

/// Whom to ring.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Place {
    /// Whom, 1 to 50.
    #[schema(value_type = Vec<String>)]
    users: Vec<UserId>,
    /// Where: a room that one is in; one is made otherwise.
    #[schema(value_type = Option<String>)]
    room: Option<RoomId>,
    /// The caller means to be seen.
    #[serde(default)]
    with_camera: bool,
}

/// More people to ring.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RingMore {
    /// Whom.
    #[schema(value_type = Vec<String>)]
    users: Vec<UserId>,
}

/// A call that was placed, or met.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlacedCall {
    /// The call.
    #[schema(value_type = String)]
    id: CallId,
    /// Whoever was to be rung is ringing the caller at the same time: the two are through to each other.
    is_met: bool,
    /// The caller's own seat.
    seat: Joined,
}

/// A call, while it rings and a minute longer.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallInfo {
    #[schema(value_type = String)]
    id: CallId,
    #[schema(value_type = String)]
    room: RoomId,
    #[schema(value_type = String)]
    caller: UserId,
    placed_at: UnixMs,
    /// What came of ringing each.
    rung: Vec<RungUser>,
}

/// Somebody who was rung.
#[derive(Debug, Serialize, ToSchema)]
pub struct RungUser {
    #[schema(value_type = String)]
    user: UserId,
    outcome: Outcome,
}

fn unknown() -> Problem {
    Problem::not_found("there is no such call, or it does not ring any more")
}

/// Rings people, on every device of theirs, for half a minute. The caller has a seat in the call's room at once.
#[utoipa::path(post, path = "/api/calls", tag = "calls", security(("api" = [])), request_body = Place,
    responses((status = 201, body = PlacedCall), Problems))]
pub async fn place(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(form): Body<Place>,
) -> Result<(StatusCode, Json<PlacedCall>), Problem> {
    let caller = caller.not_a_guest()?;
    api.rates.call(&caller.user.id)?;
    let callees = api.callees(&caller, &form.users).await?;
    let room = match &form.room {
        Some(id) => api.room_of_ones_own(&caller, id).await?,
        None => {
            let room = Room {
                id: RoomId::random()?,
                name: None,
                kind: RoomKind::Call,
                owner: Some(caller.user.id.clone()),
                password: None,
                has_lobby: false,
                is_locked: false,
                capacity: CAPACITY_DEFAULT,
                chat_kept: super::rooms::CHAT_KEPT_DEFAULT,
                made_at: UnixMs::now(),
            };
            api.store.insert_room(&room).await?;
            room
        }
    };
    let meeting = api.meeting_in(&room).await?;
    let known = KnownUser { id: caller.user.id.clone(), name: caller.user.name.clone() };
    let placed = api.calls.place(UnixMs::now(), &meeting, &known, &callees, form.with_camera)??;
    let (id, room, meeting, is_met) = match placed {
        Placed::Rings(id) => (id, room, meeting, false),
        Placed::Met(id, there) => {
            let room = api.room_or_ad_hoc(&there).await?;
            let meeting = api.meeting_in(&room).await?;
            (id, room, meeting, true)
        }
    };
    let seat = api.take_seat(&caller, &room, &meeting, None)?;
    Ok((StatusCode::CREATED, Json(PlacedCall { id, is_met, seat })))
}

/// A call, for those concerned.
#[utoipa::path(get, path = "/api/calls/{call}", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")), responses((status = 200, body = CallInfo), Problems))]
pub async fn call(State(api): State<Arc<Api>>, caller: Caller, At(id): At<CallId>) -> Answer<CallInfo> {
    let call = api.calls.get(&id).filter(|call| call.people().any(|user| *user == caller.user.id));
    let call = call.ok_or_else(unknown)?;
    let rung = call.rings().iter().map(|(user, ring)| RungUser { user: user.clone(), outcome: ring.outcome });
    Ok(Json(CallInfo {
        rung: rung.collect(),
        id: call.id,
        room: call.room,
        caller: call.caller,
        placed_at: call.placed_at,
    }))
}

/// Rings more people for a call: it becomes a meeting of as many as come. For who placed it, and who is there.
#[utoipa::path(post, path = "/api/calls/{call}/ring", tag = "calls", security(("api" = [])), request_body = RingMore,
    params(("call" = String, Path, description = "The call")), responses((status = 204), Problems))]
pub async fn ring(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<CallId>,
    Body(form): Body<RingMore>,
) -> Result<StatusCode, Problem> {
    api.rates.call(&caller.user.id)?;
    let call = api.calls.get(&id).ok_or_else(unknown)?;
    if call.caller != caller.user.id && !api.is_in(&caller, &call.room) {
        return Err(unknown());
    }
    let callees = api.callees(&caller, &form.users).await?;
    let callees: Vec<KnownUser> = callees.into_iter().filter(|callee| callee.id != call.caller).collect();
    api.calls.ring(UnixMs::now(), &id, &callees)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Accepts a call: it stops ringing on every other device, and the answer is a seat in its room.
#[utoipa::path(post, path = "/api/calls/{call}/accept", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")), responses((status = 200, body = Joined), Problems))]
pub async fn accept(State(api): State<Arc<Api>>, caller: Caller, At(id): At<CallId>) -> Answer<Joined> {
    let room = api.calls.accept(UnixMs::now(), &id, &caller.user.id, Some(&caller.sign_in.id))?;
    let room = api.room_or_ad_hoc(&room).await?;
    let meeting = api.meeting_in(&room).await?;
    Ok(Json(api.take_seat(&caller, &room, &meeting, None)?))
}

/// Declines a call, on every device.
#[utoipa::path(post, path = "/api/calls/{call}/decline", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")), responses((status = 204), Problems))]
pub async fn decline(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<CallId>,
) -> Result<StatusCode, Problem> {
    api.calls.decline(UnixMs::now(), &id, &caller.user.id, Some(&caller.sign_in.id))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives up: whoever is still rung is rung no more. For who placed the call.
#[utoipa::path(post, path = "/api/calls/{call}/cancel", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")), responses((status = 204), Problems))]
pub async fn cancel(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<CallId>,
) -> Result<StatusCode, Problem> {
    api.calls.cancel(UnixMs::now(), &id, &caller.user.id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// One's calls as the track `inbox` tells them, for who cannot follow it.
#[utoipa::path(get, path = "/api/inbox", tag = "calls", security(("api" = [])),
    responses((status = 200, body = Object), Problems))]
pub async fn inbox(State(api): State<Arc<Api>>, caller: Caller) -> Json<serde_json::Value> {
    Json(api.calls.inbox(&caller.user.id))
}

impl Api {
    /// People who can be rung, each once.
    async fn callees(&self, caller: &Caller, users: &[UserId]) -> Result<Vec<KnownUser>, Problem> {
        let wanted: BTreeSet<&UserId> = users.iter().filter(|user| **user != caller.user.id).collect();
        if wanted.is_empty() {
            return Err(Problem::invalid("whom?"));
        }
        if wanted.len() > RUNG_MAX {
            return Err(NoRing::TooMany.into());
        }
        let mut callees = Vec::new();
        for id in wanted {
            let user = self.store.user(id).await?.filter(|user| user.disabled_at.is_none());
            let user = user.filter(|user| user.kind != UserKind::Guest);
            let user = user.ok_or_else(|| Problem::not_found("there is no such user"))?;
            callees.push(KnownUser { id: user.id, name: user.name });
        }
        Ok(callees)
    }

    fn is_in(&self, caller: &Caller, room: &RoomId) -> bool {
        let is_theirs = |roster: &Roster| {
            let mut seats = roster.seats().values().filter(|seat| !seat.is_waiting);
            seats.any(|seat| seat.person.sign_in.as_ref() == Some(&caller.sign_in.id))
        };
        self.meetings.meeting(room).is_some_and(|meeting| meeting.read(is_theirs))
    }

    /// A room that the caller is in, or that is theirs.
    async fn room_of_ones_own(&self, caller: &Caller, id: &RoomId) -> Result<Room, Problem> {
        let room = self.room_or_ad_hoc(id).await?;
        if self.is_in(caller, id) || room.owner.as_ref() == Some(&caller.user.id) {
            return Ok(room);
        }
        Err(Problem::forbidden().with_detail("one rings people into a room that one is in"))
    }
}
