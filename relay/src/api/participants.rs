//! What moderators do with the people in a room.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Api,
    input::{Asked, At, Body},
    problem::{Problem, Problems},
    who::{InRoom, Moderator},
};
use crate::{
    clock::UnixMs,
    id::{ParticipantId, RoomId, UserId},
    meeting::{
        AskKind, Cut, Role,
        roster::{Grant, Roster},
    },
    token::{Source, Sources},
};

/// Somebody in a room.
#[derive(Debug, Serialize, ToSchema)]
pub struct Participant {
    #[schema(value_type = String)]
    id: ParticipantId,
    #[schema(value_type = Option<String>)]
    user: Option<UserId>,
    name: String,
    role: Role,
    /// What they may send.
    #[schema(value_type = Vec<Source>)]
    publish: Sources,
    /// They may record.
    record: bool,
    /// Since when.
    since: UnixMs,
    /// False while a lost connection may come back.
    is_connected: bool,
}

/// What to change about somebody; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangeParticipant {
    /// What they are to the others. For hosts.
    role: Option<Role>,
    /// What they may send: everything else of theirs ends at once, and cannot be begun again.
    #[schema(value_type = Option<Vec<Source>>)]
    publish: Option<Sources>,
    /// Whether they may record. For hosts.
    record: Option<bool>,
}

/// How somebody is removed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Remove {
    /// For good: they may not come back into this room.
    #[serde(default)]
    ban: bool,
}

/// How many it was.
#[derive(Debug, Serialize, ToSchema)]
pub struct Count {
    count: usize,
}

type OfParticipant = At<(RoomId, ParticipantId)>;

fn absent() -> Problem {
    Problem::not_found("there is no such participant")
}

/// Who is in the room.
#[utoipa::path(get, path = "/api/rooms/{room}/participants", tag = "rooms", security(("media" = [])),
    params(("room" = String, Path, description = "The room")),
    responses((status = 200, body = Vec<Participant>), Problems))]
pub async fn participants(in_room: InRoom) -> Answer<Vec<Participant>> {
    if in_room.seat.is_waiting || !in_room.seat.subscribe {
        return Err(Problem::forbidden());
    }
    let list = |roster: &Roster| {
        let seated = roster.seated().into_iter();
        let participants = seated.map(|(id, seat)| Participant {
            id: id.clone(),
            user: seat.person.user.clone(),
            name: seat.person.name.clone(),
            role: seat.role,
            publish: seat.publish,
            record: seat.record,
            since: seat.since,
            is_connected: seat.sessions > 0,
        });
        participants.collect()
    };
    Ok(Json(in_room.meeting.read(list)))
}

/// Changes what somebody is, or may do.
#[utoipa::path(patch, path = "/api/rooms/{room}/participants/{participant}", tag = "rooms",
    security(("api" = []), ("media" = [])), request_body = ChangeParticipant,
    params(("room" = String, Path, description = "The room"), ("participant" = String, Path, description = "The seat")),
    responses((status = 204), Problems))]
pub async fn change(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    At((_, participant)): OfParticipant,
    Body(form): Body<ChangeParticipant>,
) -> Result<StatusCode, Problem> {
    if (form.role.is_some() || form.record.is_some()) && !moderator.is_host {
        return Err(
            Problem::forbidden().with_detail("only a host says who looks after the room, or records it")
        );
    }
    moderator.ensure_over(&participant)?;
    let meeting = moderator.meeting()?;
    let grant = Grant { role: form.role, publish: form.publish, record: form.record };
    let user = meeting.read(|roster| roster.seat(&participant).and_then(|seat| seat.person.user.clone()));
    let is_here = api.meetings.change(UnixMs::now(), meeting, |roster| roster.grant(&participant, grant));
    if !is_here {
        return Err(absent());
    }
    // A host stays one, in a room that lasts.
    if let (Some(role), Some(user), Some(_)) = (form.role, user, &moderator.kept) {
        let is_host = role == Role::Host;
        api.store.set_host(&moderator.room, &user, is_host).await?;
        let now = UnixMs::now();
        api.meetings.change(now, meeting, |roster| roster.set_host(now, user, is_host));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Removes somebody, or does not let them in who waits.
#[utoipa::path(delete, path = "/api/rooms/{room}/participants/{participant}", tag = "rooms",
    security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room"), ("participant" = String, Path, description = "The seat"), Remove),
    responses((status = 204), Problems))]
pub async fn remove(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    At((_, participant)): OfParticipant,
    Asked(how): Asked<Remove>,
) -> Result<StatusCode, Problem> {
    moderator.ensure_over(&participant)?;
    let meeting = moderator.meeting()?;
    let is_waiting = meeting.read(|roster| roster.seat(&participant).map(|seat| seat.is_waiting));
    let cut = if is_waiting.ok_or_else(absent)? { Cut::NotLetIn } else { Cut::Removed };
    if !api.meetings.remove(UnixMs::now(), meeting, &participant, cut, how.ban) {
        return Err(absent());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Lets somebody in who waits.
#[utoipa::path(post, path = "/api/rooms/{room}/participants/{participant}/admit", tag = "rooms",
    security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room"), ("participant" = String, Path, description = "The seat")),
    responses((status = 204), Problems))]
pub async fn admit(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    At((_, participant)): OfParticipant,
) -> Result<StatusCode, Problem> {
    let now = UnixMs::now();
    let meeting = moderator.meeting()?;
    if !api.meetings.change(now, meeting, |roster| roster.let_in(now, &participant)) {
        return Err(Problem::not_found("nobody of that name waits"));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Lets everybody in who waits.
#[utoipa::path(post, path = "/api/rooms/{room}/lobby/admit", tag = "rooms",
    security(("api" = []), ("media" = [])), params(("room" = String, Path, description = "The room")),
    responses((status = 200, body = Count), Problems))]
pub async fn admit_all(State(api): State<Arc<Api>>, moderator: Moderator) -> Answer<Count> {
    let now = UnixMs::now();
    let count = api.meetings.change(now, moderator.meeting()?, |roster| roster.let_all_in(now));
    Ok(Json(Count { count }))
}

/// Asks somebody to do something themselves: to stop sending something (mute), to start, to lower their hand. They
/// are told on the track `seat/<participant>`, and their client does it.
#[utoipa::path(post, path = "/api/rooms/{room}/participants/{participant}/ask", tag = "rooms",
    security(("media" = [])), request_body = AskKind,
    params(("room" = String, Path, description = "The room"), ("participant" = String, Path, description = "The seat")),
    responses((status = 204), Problems))]
pub async fn ask(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    At((_, participant)): OfParticipant,
    Body(kind): Body<AskKind>,
) -> Result<StatusCode, Problem> {
    let by = moderator.participant.clone().ok_or_else(Problem::forbidden)?;
    let now = UnixMs::now();
    if !api.meetings.change(now, moderator.meeting()?, |roster| roster.ask(now, &participant, kind, &by)) {
        return Err(absent());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Asks everybody but oneself and the hosts.
#[utoipa::path(post, path = "/api/rooms/{room}/ask", tag = "rooms", security(("media" = [])), request_body = AskKind,
    params(("room" = String, Path, description = "The room")), responses((status = 200, body = Count), Problems))]
pub async fn ask_all(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    Body(kind): Body<AskKind>,
) -> Answer<Count> {
    let by = moderator.participant.clone().ok_or_else(Problem::forbidden)?;
    let now = UnixMs::now();
    let count = api.meetings.change(now, moderator.meeting()?, |roster| {
        let seated = roster.seated().into_iter();
        let others =
            seated.filter(|(id, seat)| **id != by && seat.role != Role::Host).map(|(id, _)| id.clone());
        let others: Vec<ParticipantId> = others.collect();
        others.iter().filter(|participant| roster.ask(now, participant, kind, &by)).count()
    });
    Ok(Json(Count { count }))
}

impl Moderator {
    /// Co-hosts do not decide about hosts.
    fn ensure_over(&self, participant: &ParticipantId) -> Result<(), Problem> {
        let role = self.meeting()?.read(|roster| roster.seat(participant).map(|seat| seat.role));
        match role {
            None => Err(absent()),
            Some(Role::Host) if !self.is_host => {
                Err(Problem::forbidden().with_detail("only a host decides about a host"))
            }
            Some(_) => Ok(()),
        }
    }
}
