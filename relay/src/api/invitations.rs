//! Links that let guests into a room.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Api,
    input::{At, Body},
    problem::{Problem, Problems},
    who::Moderator,
};
use crate::{
    clock::UnixMs,
    id::{InvitationId, RoomId},
    store::invitations::Invitation,
};

/// An invitation is good this long when nobody says otherwise.
const SPAN_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest that it can be good.
const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Invitations of one room that are good at once.
const INVITATIONS_MAX: usize = 100;

/// A new invitation; everything may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct Invite {
    /// Seconds that it is good for, at most a year; a week if left out.
    expires_in_s: Option<u64>,
    /// Guests that may use it; any number if left out.
    uses: Option<u32>,
}

/// An invitation that is good.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvitationInfo {
    #[schema(value_type = String)]
    id: InvitationId,
    made_at: UnixMs,
    ends_at: UnixMs,
    uses_left: Option<i64>,
}

/// An invitation and what lets guests in, told this once.
#[derive(Debug, Serialize, ToSchema)]
pub struct Invited {
    #[serde(flatten)]
    info: InvitationInfo,
    /// For the link: guests sign in with it.
    secret: String,
}

impl From<Invitation> for InvitationInfo {
    fn from(invitation: Invitation) -> Self {
        let Invitation { id, made_at, ends_at, uses_left, .. } = invitation;
        InvitationInfo { id, made_at, ends_at, uses_left }
    }
}

/// The invitations of a room that are good.
#[utoipa::path(get, path = "/api/rooms/{room}/invitations", tag = "rooms", security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room")),
    responses((status = 200, body = Vec<InvitationInfo>), Problems))]
pub async fn invitations(State(api): State<Arc<Api>>, moderator: Moderator) -> Answer<Vec<InvitationInfo>> {
    let invitations = api.store.invitations(UnixMs::now(), &moderator.room).await?;
    Ok(Json(invitations.into_iter().map(InvitationInfo::from).collect()))
}

/// Makes an invitation into a room that lasts.
#[utoipa::path(post, path = "/api/rooms/{room}/invitations", tag = "rooms", security(("api" = []), ("media" = [])),
    request_body = Invite, params(("room" = String, Path, description = "The room")),
    responses((status = 201, body = Invited), Problems))]
pub async fn invite(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    Body(form): Body<Invite>,
) -> Result<(StatusCode, Json<Invited>), Problem> {
    if moderator.kept.is_none() {
        return Err(Problem::not_found("guests can be invited into a room that was made"));
    }
    let now = UnixMs::now();
    if api.store.invitations(now, &moderator.room).await?.len() >= INVITATIONS_MAX {
        let title = "this room has 100 invitations; take some back first";
        return Err(Problem::new(StatusCode::CONFLICT, "urn:roundtable:too-many", title));
    }
    let span = form.expires_in_s.map_or(SPAN_DEFAULT, Duration::from_secs).min(SPAN_MAX);
    let uses = form.uses.map(i64::from);
    let made = api
        .store
        .insert_invitation(now, &moderator.room, moderator.user.as_ref(), now.after(span), uses)
        .await?;
    let (invitation, secret) = made;
    Ok((StatusCode::CREATED, Json(Invited { info: invitation.into(), secret })))
}

/// Takes an invitation back. Who used it stays.
#[utoipa::path(delete, path = "/api/rooms/{room}/invitations/{id}", tag = "rooms",
    security(("api" = []), ("media" = [])),
    params(("room" = String, Path, description = "The room"), ("id" = String, Path, description = "The invitation")),
    responses((status = 204), Problems))]
pub async fn take_back(
    State(api): State<Arc<Api>>,
    moderator: Moderator,
    At((_, id)): At<(RoomId, InvitationId)>,
) -> Result<StatusCode, Problem> {
    if !api.store.delete_invitation(&moderator.room, &id).await? {
        return Err(Problem::not_found("there is no such invitation"));
    }
    Ok(StatusCode::NO_CONTENT)
}
