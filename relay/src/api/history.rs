//! What is remembered of one's calls.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Api,
    input::{Asked, At},
    problem::{Problem, Problems},
    who::Caller,
};
use crate::{
    clock::UnixMs,
    id::CallId,
    store::{
        calls::Part,
        history::{PastCall, Wanted},
        messages::Message,
    },
};

/// Calls on one page, unless fewer are asked for.
const PAGE_MAX: i64 = 100;

/// Which calls.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Only calls with somebody, or in a room, whose name holds this.
    #[serde(default)]
    query: String,
    /// Only calls of this kind.
    part: Option<Part>,
    /// Only calls that one missed.
    #[serde(default)]
    only_missed: bool,
    /// Where the page before ended: its `next_at` and `next_call`.
    before_at: Option<i64>,
    /// See `before_at`.
    #[param(value_type = Option<String>)]
    before_call: Option<CallId>,
    /// At most so many, 100 at most.
    limit: Option<i64>,
}

/// One's calls, the latest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    calls: Vec<PastCall>,
    /// There may be more: ask with `before_at` and `before_call`.
    next_at: Option<UnixMs>,
    /// See `next_at`.
    #[schema(value_type = Option<String>)]
    next_call: Option<CallId>,
}

fn unknown() -> Problem {
    Problem::not_found("there is no such call in your history")
}

/// One's calls: placed, received, missed, attended.
#[utoipa::path(get, path = "/api/history", tag = "calls", security(("api" = [])), params(Which),
    responses((status = 200, body = Page), Problems))]
pub async fn history(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Asked(which): Asked<Which>,
) -> Answer<Page> {
    api.meetings.journal().flushed().await;
    let limit = which.limit.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let before_at = which.before_at.map(UnixMs);
    let wanted = Wanted {
        query: which.query,
        part: which.part,
        only_missed: which.only_missed,
        before: before_at.zip(which.before_call),
        limit,
    };
    let calls = api.store.history(&caller.user.id, &wanted).await?;
    let last = calls.last().filter(|_| calls.len() as i64 == limit);
    let (next_at, next_call) = last.map(|call| (call.at, call.id.clone())).unzip();
    Ok(Json(Page { calls, next_at, next_call }))
}

/// One call.
#[utoipa::path(get, path = "/api/history/{call}", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")), responses((status = 200, body = PastCall), Problems))]
pub async fn past_call(State(api): State<Arc<Api>>, caller: Caller, At(id): At<CallId>) -> Answer<PastCall> {
    api.meetings.journal().flushed().await;
    Ok(Json(api.store.past_call(&caller.user.id, &id).await?.ok_or_else(unknown)?))
}

/// Deletes a call from one's own history. The others keep it.
#[utoipa::path(delete, path = "/api/history/{call}", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")), responses((status = 204), Problems))]
pub async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<CallId>,
) -> Result<StatusCode, Problem> {
    api.meetings.journal().flushed().await;
    if !api.store.hide_call(UnixMs::now(), &caller.user.id, &id).await? {
        return Err(unknown());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What was said in a call and is kept, for those who were there.
#[utoipa::path(get, path = "/api/history/{call}/messages", tag = "calls", security(("api" = [])),
    params(("call" = String, Path, description = "The call")),
    responses((status = 200, body = Vec<Message>), Problems))]
pub async fn messages(
    State(api): State<Arc<Api>>,
    caller: Caller,
    At(id): At<CallId>,
) -> Answer<Vec<Message>> {
    api.meetings.journal().flushed().await;
    let call = api.store.past_call(&caller.user.id, &id).await?.ok_or_else(unknown)?;
    if !call.people.iter().any(|person| person.user.as_ref() == Some(&caller.user.id)) {
        return Err(Problem::forbidden().with_detail("you were not there"));
    }
    Ok(Json(api.store.messages_of_call(UnixMs::now(), &id).await?))
}
