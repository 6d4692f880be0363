//! One's own account.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Api,
    input::{At, Body, Login, NewPassword, PersonName},
    problem::{Problem, Problems},
    sign_in::Person,
    who::Caller,
};
use crate::{
    clock::UnixMs,
    id::SignInId,
    password,
    store::{
        history::{PastCall, Wanted},
        messages::Message,
        sign_ins::SignIn,
        users::UserKind,
    },
};

/// One's own account.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    #[serde(flatten)]
    user: Person,
    /// What is typed to sign in.
    login: Option<String>,
    /// They look after other users.
    is_admin: bool,
    /// Since when.
    made_at: UnixMs,
}

/// What to change about oneself.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangeMe {
    /// What others see.
    #[schema(value_type = String)]
    name: PersonName,
}

/// A new password.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangePassword {
    /// The one of now.
    password: String,
    /// The next: 8 to 256 characters.
    #[schema(value_type = String)]
    new_password: NewPassword,
}

/// A browser that one is signed in with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Device {
    #[schema(value_type = String)]
    id: SignInId,
    /// What the browser calls itself.
    agent: String,
    /// Since when.
    made_at: UnixMs,
    /// When it was used last.
    seen_at: UnixMs,
    /// It is the one that asks.
    is_this: bool,
}

/// Everything that is kept about somebody.
#[derive(Debug, Serialize, ToSchema)]
pub struct Everything {
    me: Me,
    sign_ins: Vec<Device>,
    calls: Vec<PastCall>,
    messages: Vec<Message>,
}

fn me_of(caller: &Caller) -> Me {
    Me {
        user: Person::from(&caller.user),
        login: caller.user.login.clone().filter(|_| caller.user.kind == UserKind::Account),
        is_admin: caller.user.is_admin,
        made_at: caller.user.made_at,
    }
}

fn device(sign_in: SignIn, caller: &Caller) -> Device {
    let is_this = sign_in.id == caller.sign_in.id;
    let SignIn { id, agent, made_at, seen_at, .. } = sign_in;
    Device { id, agent, made_at, seen_at, is_this }
}

/// Who one is.
#[utoipa::path(get, path = "/api/me", tag = "people", security(("api" = [])),
    responses((status = 200, body = Me), Problems))]
pub async fn me(caller: Caller) -> Json<Me> {
    Json(me_of(&caller))
}

/// Changes what others see.
#[utoipa::path(patch, path = "/api/me", tag = "people", security(("api" = [])), request_body = ChangeMe,
    responses((status = 200, body = Me), Problems))]
pub async fn change(
    State(api): State<Arc<Api>>,
    mut caller: Caller,
    Body(form): Body<ChangeMe>,
) -> Answer<Me> {
    if caller.user.kind == UserKind::Named {
        return Err(
            Problem::forbidden().with_detail("in the open mode the name is the user: sign in by another")
        );
    }
    api.store.set_user_name(&caller.user.id, &form.name.0).await?;
    caller.user.name = form.name.0;
    Ok(Json(me_of(&caller)))
}

/// Changes the password. Every browser is signed out, this one too.
#[utoipa::path(post, path = "/api/me/password", tag = "people", security(("api" = [])),
    request_body = ChangePassword, responses((status = 204), Problems))]
pub async fn change_password(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(form): Body<ChangePassword>,
) -> Result<StatusCode, Problem> {
    let login = caller.user.login.as_deref().and_then(Login::new).ok_or_else(Problem::forbidden)?;
    let user = api.password_of(&login, form.password).await?;
    let hash = password::hash(form.new_password.0).await?;
    api.store.set_password(&user.id, &hash).await?;
    api.meetings.sign_out(UnixMs::now(), &user.id, None);
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets oneself: account, sign-ins, one's own history and messages go, one's name goes from the history of others.
#[utoipa::path(delete, path = "/api/me", tag = "people", security(("api" = [])),
    responses((status = 204), Problems))]
pub async fn forget(State(api): State<Arc<Api>>, caller: Caller) -> Result<StatusCode, Problem> {
    api.forget(&caller.user.id).await
}

/// Everything that is kept about oneself.
#[utoipa::path(get, path = "/api/me/export", tag = "people", security(("api" = [])),
    responses((status = 200, body = Everything), Problems))]
pub async fn export(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Everything> {
    const CALLS_MAX: i64 = 100_000;
    const PAGE: i64 = 200;
    api.meetings.journal().flushed().await;
    let sign_ins = api.store.sign_ins_of(UnixMs::now(), &caller.user.id).await?;
    let mut calls: Vec<PastCall> = Vec::new();
    loop {
        let before = calls.last().map(|call| (call.at, call.id.clone()));
        let wanted = Wanted { before, limit: PAGE, ..Wanted::default() };
        let page = api.store.history(&caller.user.id, &wanted).await?;
        let is_last = (page.len() as i64) < PAGE || calls.len() as i64 >= CALLS_MAX;
        calls.extend(page);
        if is_last {
            break;
        }
    }
    Ok(Json(Everything {
        me: me_of(&caller),
        sign_ins: sign_ins.into_iter().map(|sign_in| device(sign_in, &caller)).collect(),
        calls,
        messages: api.store.messages_of_user(&caller.user.id).await?,
    }))
}

/// Where one is signed in.
#[utoipa::path(get, path = "/api/me/sign-ins", tag = "people", security(("api" = [])),
    responses((status = 200, body = Vec<Device>), Problems))]
pub async fn sign_ins(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Vec<Device>> {
    let sign_ins = api.store.sign_ins_of(UnixMs::now(), &caller.user.id).await?;
    Ok(Json(sign_ins.into_iter().map(|sign_in| device(sign_in, &caller)).collect()))
}

/// Signs another browser of one's own out: its sessions end at once.
#[utoipa::path(delete, path = "/api/me/sign-ins/{id}", tag = "people", security(("api" = [])),
    params(("id" = String, Path, description = "The sign-in")), responses((status = 204), Problems))]
pub async fn end_sign_in(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<SignInId>,
) -> Result<StatusCode, Problem> {
    api.end_sign_in(&caller.user.id, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    pub(super) async fn forget(&self, user: &crate::id::UserId) -> Result<StatusCode, Problem> {
        if !self.store.delete_user(user).await? {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "urn:roundtable:last-admin",
                "nobody would be left to look after the others",
            ));
        }
        self.meetings.sign_out(UnixMs::now(), user, None);
        Ok(StatusCode::NO_CONTENT)
    }
}
