//! The others: finding them, and for administrators looking after them.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Api,
    input::{Asked, At, Body, Login, NewPassword, PersonName},
    problem::{Problem, Problems},
    sign_in::Person,
    who::Caller,
};
use crate::{
    clock::UnixMs,
    id::UserId,
    password,
    store::users::{User, UserKind},
};

/// Users on one page.
const PAGE: i64 = 50;
/// Users that an administrator sees at once.
const ALL_MAX: i64 = 10_000;

/// Whom to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Find {
    /// Part of a name.
    #[serde(default)]
    query: String,
    /// The last user of the page before.
    #[param(value_type = Option<String>)]
    after: Option<UserId>,
}

/// Where somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// In a meeting or a call.
    InACall,
    /// Reachable: a call would ring.
    Here,
    /// Not signed in anywhere just now.
    Away,
}

/// Somebody who can be rung.
#[derive(Debug, Serialize, ToSchema)]
pub struct Contact {
    #[serde(flatten)]
    user: Person,
    presence: Presence,
}

/// A user as an administrator sees them.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManagedUser {
    #[serde(flatten)]
    user: Person,
    /// What they type to sign in.
    login: Option<String>,
    /// They look after other users.
    is_admin: bool,
    /// They may not sign in.
    is_disabled: bool,
    /// Since when there is the user.
    made_at: UnixMs,
}

impl From<User> for ManagedUser {
    fn from(user: User) -> Self {
        ManagedUser {
            user: Person::from(&user),
            is_admin: user.is_admin,
            is_disabled: user.disabled_at.is_some(),
            made_at: user.made_at,
            login: user.login.filter(|_| user.kind == UserKind::Account),
        }
    }
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MakeUser {
    /// What is typed to sign in.
    #[schema(value_type = String)]
    login: Login,
    /// What others see.
    #[schema(value_type = String)]
    name: PersonName,
    /// 8 to 256 characters.
    #[schema(value_type = String)]
    password: NewPassword,
    /// They look after other users.
    #[serde(default)]
    is_admin: bool,
}

/// What to change about a user; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ChangeUser {
    /// What others see.
    #[schema(value_type = Option<String>)]
    name: Option<PersonName>,
    /// A new password; they are signed out everywhere.
    #[schema(value_type = Option<String>)]
    password: Option<NewPassword>,
    /// They look after other users.
    is_admin: Option<bool>,
    /// They may not sign in; their sessions end at once.
    is_disabled: Option<bool>,
}

/// Finds people by a part of their name.
#[utoipa::path(get, path = "/api/people", tag = "people", security(("api" = [])), params(Find),
    responses((status = 200, body = Vec<Contact>), Problems))]
pub async fn find(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(find): Asked<Find>,
) -> Answer<Vec<Contact>> {
    let caller = caller.not_a_guest()?;
    let after = match &find.after {
        Some(id) => api.store.user(id).await?,
        None => None,
    };
    let after = after.as_ref().map(|user| (user.name.as_str(), &user.id));
    let mut users = api.store.find_users(&find.query, after, PAGE).await?;
    users.retain(|user| user.id != caller.user.id);
    let ids: Vec<UserId> = users.iter().map(|user| user.id.clone()).collect();
    let in_meetings = api.meetings.in_meetings(&ids);
    let contact = |user: User| {
        let presence = if in_meetings.contains(&user.id) {
            Presence::InACall
        } else if api.meetings.is_reachable(&user.id) {
            Presence::Here
        } else {
            Presence::Away
        };
        Contact { user: Person::from(&user), presence }
    };
    Ok(Json(users.into_iter().map(contact).collect()))
}

/// All users, for administrators.
#[utoipa::path(get, path = "/api/users", tag = "people", security(("api" = [])),
    responses((status = 200, body = Vec<ManagedUser>), Problems))]
pub async fn all(State(api): State<Arc<Api>>, caller: Caller) -> Answer<Vec<ManagedUser>> {
    caller.admin()?;
    let users = api.store.all_users(ALL_MAX).await?;
    Ok(Json(users.into_iter().map(ManagedUser::from).collect()))
}

/// Makes an account for somebody, for administrators.
#[utoipa::path(post, path = "/api/users", tag = "people", security(("api" = [])), request_body = MakeUser,
    responses((status = 200, body = ManagedUser), Problems))]
pub async fn make(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Body(form): Body<MakeUser>,
) -> Answer<ManagedUser> {
    caller.admin()?;
    let hash = password::hash(form.password.0).await?;
    let user =
        api.store.insert_account(UnixMs::now(), &form.login.0, &form.name.0, &hash, form.is_admin).await?;
    Ok(Json(user.into()))
}

/// Changes a user, for administrators.
#[utoipa::path(patch, path = "/api/users/{user}", tag = "people", security(("api" = [])), request_body = ChangeUser,
    params(("user" = String, Path, description = "The user")), responses((status = 200, body = ManagedUser), Problems))]
pub async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<UserId>,
    Body(form): Body<ChangeUser>,
) -> Answer<ManagedUser> {
    caller.admin()?;
    let unknown = || Problem::not_found("there is no such user");
    let user = api.store.user(&id).await?.ok_or_else(unknown)?;
    if let Some(name) = &form.name {
        api.store.set_user_name(&id, &name.0).await?;
    }
    if let Some(password) = form.password {
        let hash = password::hash(password.0).await?;
        api.store.set_password(&id, &hash).await?;
        api.meetings.sign_out(UnixMs::now(), &id, None);
    }
    if form.is_admin.is_some() || form.is_disabled.is_some() {
        let now = UnixMs::now();
        let disabled_at = match form.is_disabled {
            Some(true) => user.disabled_at.or(Some(now)),
            Some(false) => None,
            None => user.disabled_at,
        };
        let is_admin = form.is_admin.unwrap_or(user.is_admin);
        if !api.store.set_user_state(&id, disabled_at, is_admin).await? {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "urn:roundtable:last-admin",
                "nobody would be left to look after the others",
            ));
        }
        if disabled_at.is_some() {
            api.meetings.sign_out(now, &id, None);
        }
    }
    let user = api.store.user(&id).await?.ok_or_else(unknown)?;
    Ok(Json(user.into()))
}

/// Forgets a user, for administrators: what is kept about them goes, and their name from the history of others.
#[utoipa::path(delete, path = "/api/users/{user}", tag = "people", security(("api" = [])),
    params(("user" = String, Path, description = "The user")), responses((status = 204), Problems))]
pub async fn forget(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<UserId>,
) -> Result<StatusCode, Problem> {
    caller.admin()?;
    api.store.user(&id).await?.ok_or_else(|| Problem::not_found("there is no such user"))?;
    api.forget(&id).await
}
