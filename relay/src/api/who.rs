//! Whom a request is from: a bearer token of a sign-in, or of a seat.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{HeaderMap, StatusCode, header, request::Parts},
};

use super::{Api, problem::Problem};
use crate::{
    clock::UnixMs,
    http::Via,
    id::{ParticipantId, RoomId, UserId},
    meeting::{Meeting, Role, roster::Seat},
    store::{
        rooms::Room,
        sign_ins::SignIn,
        users::{User, UserKind},
    },
    token::{ApiToken, MediaToken, TokenError},
};

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// The address.
    pub ip: IpAddr,
    /// The browser speaks HTTPS.
    pub is_https: bool,
}

impl FromRequestParts<Arc<Api>> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let via = parts.extensions.get::<Via>().copied().ok_or_else(Problem::forbidden)?;
        Ok(Client { ip: api.client(&parts.headers, via), is_https: api.is_https(&parts.headers, via) })
    }
}

/// What the browser calls itself, cut short.
#[derive(Debug)]
pub struct Agent(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Agent {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        const CHARS_MAX: usize = 200;
        let agent = parts.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        Ok(Agent(agent.unwrap_or_default().chars().take(CHARS_MAX).collect()))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A user who is signed in: the bearer token of a sign-in.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub user: User,
    /// Where they signed in.
    pub sign_in: SignIn,
}

impl Caller {
    /// Guests have one room, and no more.
    pub fn not_a_guest(self) -> Result<Self, Problem> {
        if self.user.kind == UserKind::Guest {
            let problem =
                Problem::new(StatusCode::FORBIDDEN, "urn:roundtable:guest", "guests cannot do this");
            return Err(problem);
        }
        Ok(self)
    }

    /// Whoever looks after the others.
    pub fn admin(self) -> Result<Self, Problem> {
        if self.user.is_admin { Ok(self) } else { Err(Problem::forbidden()) }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(Problem::signed_out)?;
        api.caller(token).await
    }
}

/// A participant: the bearer token of a seat in the room of the path.
#[derive(Debug, Clone)]
pub struct InRoom {
    /// The room.
    pub meeting: Arc<Meeting>,
    /// The seat.
    pub participant: ParticipantId,
    /// What it is now.
    pub seat: Seat,
}

impl FromRequestParts<Arc<Api>> for InRoom {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let room = room(parts, api).await?;
        let token = bearer(&parts.headers).ok_or_else(Problem::signed_out)?;
        api.in_room(&room, token)
    }
}

/// Somebody who may look after a room: a participant who moderates it, or a signed-in host of it.
#[derive(Debug, Clone)]
pub struct Moderator {
    /// The room.
    pub room: RoomId,
    /// As it is kept, if it is.
    pub kept: Option<Room>,
    /// The people in it, if there are any.
    pub meeting: Option<Arc<Meeting>>,
    /// The seat they have, if they came with its token.
    pub participant: Option<ParticipantId>,
    /// The user they are, if there is one.
    pub user: Option<UserId>,
    /// They may say who else looks after it.
    pub is_host: bool,
}

impl FromRequestParts<Arc<Api>> for Moderator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let room = room(parts, api).await?;
        let token = bearer(&parts.headers).ok_or_else(Problem::signed_out)?;
        let kept = api.store.room(&room).await?;
        let meeting = api.meetings.meeting(&room);
        match api.in_room(&room, token) {
            Ok(in_room) if in_room.seat.role == Role::Member || in_room.seat.is_waiting => {
                Err(Problem::forbidden())
            }
            Ok(in_room) => Ok(Moderator {
                room,
                kept,
                meeting,
                participant: Some(in_room.participant),
                is_host: in_room.seat.role == Role::Host,
                user: in_room.seat.person.user,
            }),
            Err(_) => {
                let caller = api.caller(token).await?;
                let is_owner = kept.as_ref().is_some_and(|kept| kept.owner.as_ref() == Some(&caller.user.id));
                let is_host = is_owner || api.store.hosts(&room).await?.contains(&caller.user.id);
                if !is_host {
                    return Err(Problem::forbidden());
                }
                Ok(Moderator {
                    room,
                    kept,
                    meeting,
                    participant: None,
                    user: Some(caller.user.id),
                    is_host: true,
                })
            }
        }
    }
}

impl Moderator {
    /// The people in the room.
    pub fn meeting(&self) -> Result<&Arc<Meeting>, Problem> {
        self.meeting.as_ref().ok_or_else(|| Problem::not_found("nobody is in this room"))
    }
}

async fn room(parts: &mut Parts, api: &Arc<Api>) -> Result<RoomId, Problem> {
    let unknown = || Problem::not_found("there is no such room");
    let params = RawPathParams::from_request_parts(parts, api).await.map_err(|_| unknown())?;
    let room = params.iter().find_map(|(name, value)| (name == "room").then(|| RoomId::new(value)));
    room.flatten().ok_or_else(unknown)
}

impl Api {
    async fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let now = UnixMs::now();
        let (token, _) = self.meetings.keys().read::<ApiToken>(token, now)?;
        let ended = || {
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "urn:roundtable:signed-out",
                "you are not signed in any more",
            )
        };
        let sign_in = self.store.sign_in(now, &token.sign_in).await?.ok_or_else(ended)?;
        let user = self.store.user(&sign_in.user).await?.filter(|user| user.disabled_at.is_none());
        Ok(Caller { user: user.ok_or_else(ended)?, sign_in })
    }

    fn in_room(&self, room: &RoomId, token: &str) -> Result<InRoom, Problem> {
        let (token, _) = self.meetings.keys().read::<MediaToken>(token, UnixMs::now())?;
        if token.scope.strip_prefix('/') != Some(room.as_str()) {
            return Err(TokenError::Audience.into());
        }
        let gone =
            || Problem::new(StatusCode::FORBIDDEN, "urn:roundtable:no-seat", "you have no seat in this room");
        let meeting = self.meetings.meeting(room).ok_or_else(gone)?;
        let seat = meeting.read(|roster| roster.seat(&token.sub).cloned()).ok_or_else(gone)?;
        Ok(InRoom { meeting, participant: token.sub, seat })
    }
}
