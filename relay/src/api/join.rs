//! Coming into a room, staying, and leaving.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Api, TOKEN_SPAN,
    input::{At, Body},
    problem::{Problem, Problems},
    rooms::RoomInfo,
    who::{Caller, Client, InRoom},
};
use crate::{
    clock::UnixMs,
    id::{ParticipantId, RoomId},
    meeting::{Cut, Meeting, Role, roster::Person},
    password,
    scope::ScopeName,
    store::rooms::Room,
    token::MediaToken,
};

/// How somebody comes in; everything may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Join {
    /// What must be known, if something must.
    password: Option<String>,
    /// The seat of before, to be back on it: after a reload, or when the token's time was over.
    #[schema(value_type = Option<String>)]
    back: Option<ParticipantId>,
}

/// Whether somebody is in, or before the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SeatState {
    /// Not let in yet: the track `seat/<participant>` will say when.
    Waiting,
    /// In.
    Seated,
}

/// A seat in a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct Joined {
    /// The seat, and the namespace to publish in.
    #[schema(value_type = String)]
    pub participant: ParticipantId,
    /// In, or before the door.
    pub state: SeatState,
    /// What they are to the others.
    pub role: Role,
    /// The path of the MoQ session.
    pub path: String,
    /// For its SETUP, and as the bearer token of commands in the room.
    pub token: String,
    /// When it ends; ask for another at half of its time.
    pub ends_at: UnixMs,
    /// The room.
    pub room: RoomInfo,
}

/// A newer token for a seat.
#[derive(Debug, Serialize, ToSchema)]
pub struct Renewed {
    /// The token.
    token: String,
    /// When it ends.
    ends_at: UnixMs,
}

/// Takes a seat in a room. The first session is to come within a minute.
#[utoipa::path(post, path = "/api/rooms/{room}/join", tag = "rooms", security(("api" = [])), request_body = Join,
    params(("room" = String, Path, description = "The room")), responses((status = 200, body = Joined), Problems))]
pub async fn join(
    State(api): State<Arc<Api>>,
    client: Client,
    caller: Caller,
    At(id): At<RoomId>,
    Body(form): Body<Join>,
) -> Answer<Joined> {
    api.rates.join(client.ip, &id)?;
    api.ensure_guests_room(&caller, &id)?;
    let room = api.room_or_ad_hoc(&id).await?;
    let meeting = api.meeting_in(&room).await?;
    api.ensure_password(&room, &meeting, &caller, &form).await?;
    Ok(Json(api.take_seat(&caller, &room, &meeting, form.back.as_ref())?))
}

/// A newer token for a seat, which lasts as long as its newest token says.
#[utoipa::path(post, path = "/api/rooms/{room}/token", tag = "rooms", security(("media" = [])),
    params(("room" = String, Path, description = "The room")), responses((status = 200, body = Renewed), Problems))]
pub async fn renew(State(api): State<Arc<Api>>, in_room: InRoom) -> Answer<Renewed> {
    // A sign-in that has ended takes its seats with it; this is for those that end by themselves.
    if let Some(sign_in) = &in_room.seat.person.sign_in
        && api.store.sign_in(UnixMs::now(), sign_in).await?.is_none()
    {
        api.meetings.remove(UnixMs::now(), &in_room.meeting, &in_room.participant, Cut::SignedOut, false);
        return Err(Problem::signed_out());
    }
    let (token, claims) = api.seat_token(&in_room.meeting, &in_room.participant)?;
    Ok(Json(Renewed { token, ends_at: claims.ends_at() }))
}

/// Leaves: the seat is free at once, and its sessions end.
#[utoipa::path(post, path = "/api/rooms/{room}/leave", tag = "rooms", security(("media" = [])),
    params(("room" = String, Path, description = "The room")), responses((status = 204), Problems))]
pub async fn leave(State(api): State<Arc<Api>>, in_room: InRoom) -> StatusCode {
    let now = UnixMs::now();
    api.meetings.change(now, &in_room.meeting, |roster| roster.remove(now, &in_room.participant, Cut::Left));
    StatusCode::NO_CONTENT
}

impl Api {
    async fn ensure_password(
        &self,
        room: &Room,
        meeting: &Meeting,
        caller: &Caller,
        form: &Join,
    ) -> Result<(), Problem> {
        let Some(hash) = &room.password else { return Ok(()) };
        let user = &caller.user.id;
        let (is_host, is_back) = meeting.read(|roster| {
            let settings = roster.settings();
            let is_host = settings.owner.as_ref() == Some(user) || settings.hosts.contains(user);
            let seat = form.back.as_ref().and_then(|back| roster.seat(back));
            (is_host, seat.is_some_and(|seat| seat.person.sign_in.as_ref() == Some(&caller.sign_in.id)))
        });
        // An invitation is as good as a password.
        if is_host || is_back || caller.sign_in.room.is_some() {
            return Ok(());
        }
        let problem = |kind, title| Problem::new(StatusCode::FORBIDDEN, kind, title);
        let Some(password) = form.password.clone().filter(|password| !password.is_empty()) else {
            return Err(problem("urn:roundtable:password-needed", "this room asks for a password"));
        };
        self.rates.room_password(&room.id)?;
        if !password::is_right(password, Some(hash.clone())).await {
            return Err(problem("urn:roundtable:wrong-password", "this is not the room's password"));
        }
        self.rates.room_password_was_right(&room.id);
        Ok(())
    }

    /// A seat for a user, and the token for it.
    pub(super) fn take_seat(
        &self,
        caller: &Caller,
        room: &Room,
        meeting: &Arc<Meeting>,
        back: Option<&ParticipantId>,
    ) -> Result<Joined, Problem> {
        let person = Person {
            user: Some(caller.user.id.clone()),
            sign_in: Some(caller.sign_in.id.clone()),
            name: caller.user.name.clone(),
        };
        let seated = self.meetings.take_seat(UnixMs::now(), meeting, person, back)??;
        let (token, claims) = self.seat_token(meeting, &seated.participant)?;
        Ok(Joined {
            participant: seated.participant,
            state: if seated.is_waiting { SeatState::Waiting } else { SeatState::Seated },
            role: seated.role,
            path: ScopeName::Room(room.id.text()).to_string(),
            token,
            ends_at: claims.ends_at(),
            room: self.info(room),
        })
    }

    fn seat_token(
        &self,
        meeting: &Arc<Meeting>,
        participant: &ParticipantId,
    ) -> Result<(String, MediaToken), Problem> {
        let token = self.meetings.token(UnixMs::now(), meeting, participant, TOKEN_SPAN);
        token.ok_or_else(|| {
            Problem::new(StatusCode::FORBIDDEN, "urn:roundtable:no-seat", "you have no seat in this room")
        })
    }
}
