//! What somebody sees of their calls afterwards.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use utoipa::ToSchema;

use super::{
    Column as _, Store, StoreError,
    calls::{Outcome, Part},
    contains,
    recordings::Recording,
    rooms::RoomKind,
};
use crate::{
    clock::UnixMs,
    id::{CallId, ParticipantId, RoomId, UserId},
};

/// A call as one of its people sees it afterwards, or while it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PastCall {
    /// Its name.
    #[schema(value_type = String)]
    pub id: CallId,
    /// Where it was: whoever may still come in can meet there again.
    #[schema(value_type = String)]
    pub room: RoomId,
    /// What people called the room.
    pub room_name: Option<String>,
    /// Rung or met.
    pub kind: RoomKind,
    /// What it is for the one who asks.
    pub part: Part,
    /// Received calls: what came of it. Anything but `accepted` and `ringing` is a missed call, `declined` and `busy`
    /// perhaps on purpose.
    pub outcome: Option<Outcome>,
    /// Who rang.
    pub caller: Option<KnownUser>,
    /// When it became a part of this user's history: for going on to older ones.
    pub at: UnixMs,
    /// When it rang, or the first came.
    pub started_at: UnixMs,
    /// When the last left; nothing while it goes on.
    pub ended_at: Option<UnixMs>,
    /// The relay ended before the call did: the times of its end are when it was last known to go on.
    pub is_interrupted: bool,
    /// Who was rung, and what came of it.
    pub rung: Vec<Rung>,
    /// Who was there, and when, in the order they came.
    pub people: Vec<Attendance>,
    /// Kept messages.
    pub messages: i64,
    /// Its recordings.
    pub recordings: Vec<Recording>,
}

/// A user by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownUser {
    /// Who.
    #[schema(value_type = String)]
    pub id: UserId,
    /// What they are called now.
    pub name: String,
}

/// Somebody who was rung.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rung {
    /// Who.
    pub user: KnownUser,
    /// What came of it.
    pub outcome: Outcome,
    /// When it rang.
    pub at: UnixMs,
    /// When that came of it.
    pub outcome_at: Option<UnixMs>,
}

/// Somebody's being there, from coming to leaving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attendance {
    /// The seat.
    #[schema(value_type = String)]
    pub participant: ParticipantId,
    /// The user behind it, if there is one and they have not been forgotten.
    #[schema(value_type = Option<String>)]
    pub user: Option<UserId>,
    /// What they were called then; empty when they have been forgotten.
    pub name: String,
    /// When they came.
    pub joined_at: UnixMs,
    /// When they left.
    pub left_at: Option<UnixMs>,
}

/// Which calls of somebody.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only calls with somebody, or in a room, whose name holds this.
    pub query: String,
    /// Only these.
    pub part: Option<Part>,
    /// Only received calls that were not accepted.
    pub only_missed: bool,
    /// Only what is older than this.
    pub before: Option<(UnixMs, CallId)>,
    /// At most so many.
    pub limit: i64,
}

impl Store {
    /// Somebody's calls, the latest first.
    pub async fn history(&self, user: &UserId, wanted: &Wanted) -> Result<Vec<PastCall>, StoreError> {
        let (before_at, before_call) =
            wanted.before.as_ref().map_or((i64::MAX, "~"), |(at, call)| (at.0, call.as_str()));
        let rows = sqlx::query(
            "SELECT calls.id, room_id, room_name, calls.kind, caller_id, started_at, ended_at, is_interrupted, \
             part, outcome, call_users.at, users.name AS caller_name \
             FROM call_users JOIN calls ON calls.id = call_users.call_id LEFT JOIN users ON users.id = caller_id \
             WHERE call_users.user_id = $1 AND hidden_at IS NULL \
             AND (call_users.at < $2 OR (call_users.at = $2 AND calls.id < $3)) \
             AND ($4 = '' OR part = $4) \
             AND ($5 = 0 OR (part = 'received' AND outcome NOT IN ('accepted', 'ringing'))) \
             AND ($6 = '%%' OR LOWER(room_name) LIKE $6 ESCAPE '\\' OR EXISTS ( \
                 SELECT 1 FROM attendance WHERE attendance.call_id = calls.id AND name_folded LIKE $6 ESCAPE '\\' \
                 AND (attendance.user_id IS NULL OR attendance.user_id <> $1)) OR EXISTS ( \
                 SELECT 1 FROM call_users AS others JOIN users AS people ON people.id = others.user_id \
                 WHERE others.call_id = calls.id AND others.user_id <> $1 AND people.name_folded LIKE $6 ESCAPE '\\')) \
             ORDER BY call_users.at DESC, calls.id DESC LIMIT $7",
        )
        .bind(user.as_str())
        .bind(before_at)
        .bind(before_call)
        .bind(wanted.part.map_or("", Part::word))
        .bind(i64::from(wanted.only_missed))
        .bind(contains(&wanted.query))
        .bind(wanted.limit)
        .fetch_all(&self.pool)
        .await?;
        let calls = rows.iter().map(read).collect::<Result<Vec<PastCall>, _>>()?;
        self.with_details(calls).await
    }

    /// One call as this user sees it; `None` when they had no part in it, or deleted it.
    pub async fn past_call(&self, user: &UserId, call: &CallId) -> Result<Option<PastCall>, StoreError> {
        let row = sqlx::query(
            "SELECT calls.id, room_id, room_name, calls.kind, caller_id, started_at, ended_at, is_interrupted, \
             part, outcome, call_users.at, users.name AS caller_name \
             FROM call_users JOIN calls ON calls.id = call_users.call_id LEFT JOIN users ON users.id = caller_id \
             WHERE call_users.user_id = $1 AND calls.id = $2 AND hidden_at IS NULL",
        )
        .bind(user.as_str())
        .bind(call.as_str())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(self.with_details(vec![read(&row)?]).await?.pop())
    }

    /// Deletes a call from this user's history, not from that of others. False when it was not in it.
    pub async fn hide_call(&self, now: UnixMs, user: &UserId, call: &CallId) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE call_users SET hidden_at = $1 WHERE user_id = $2 AND call_id = $3 AND hidden_at IS NULL",
        )
        .bind(now.0)
        .bind(user.as_str())
        .bind(call.as_str())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn with_details(&self, mut calls: Vec<PastCall>) -> Result<Vec<PastCall>, StoreError> {
        if calls.is_empty() {
            return Ok(calls);
        }
        let ids: Vec<CallId> = calls.iter().map(|call| call.id.clone()).collect();
        let place: HashMap<CallId, usize> = ids.iter().cloned().zip(0..).collect();
        // Only numbers of parameters are put into the text.
        let list = (1..=ids.len()).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
        let of_calls = async |sql: String| {
            let query = ids.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(id.as_str()));
            query.fetch_all(&self.pool).await
        };
        let rung = of_calls(format!(
            "SELECT call_id, user_id, name, outcome, at, outcome_at FROM call_users JOIN users ON users.id = user_id \
             WHERE part = 'received' AND call_id IN ({list}) ORDER BY at, user_id"
        ));
        for row in rung.await? {
            let user = KnownUser { id: row.column("user_id")?, name: row.column("name")? };
            let rung = Rung {
                user,
                outcome: row.column("outcome")?,
                at: row.column("at")?,
                outcome_at: row.column("outcome_at")?,
            };
            if let Some(call) = at(&mut calls, &place, row.column("call_id")?) {
                call.rung.push(rung);
            }
        }
        let people = of_calls(format!(
            "SELECT call_id, participant_id, user_id, name, joined_at, left_at FROM attendance \
             WHERE call_id IN ({list}) ORDER BY joined_at, id"
        ));
        for row in people.await? {
            let attendance = Attendance {
                participant: row.column("participant_id")?,
                user: row.column("user_id")?,
                name: row.column("name")?,
                joined_at: row.column("joined_at")?,
                left_at: row.column("left_at")?,
            };
            if let Some(call) = at(&mut calls, &place, row.column("call_id")?) {
                call.people.push(attendance);
            }
        }
        let recordings = of_calls(format!(
            "SELECT id, call_id, room_id, started_by, started_at, ended_at, state, bytes FROM recordings \
             WHERE call_id IN ({list}) ORDER BY started_at, id"
        ));
        for row in recordings.await? {
            let recording = Recording::read(&row)?;
            if let Some(call) = at(&mut calls, &place, recording.call.clone()) {
                call.recordings.push(recording);
            }
        }
        let messages = of_calls(format!(
            "SELECT call_id, COUNT(*) AS messages FROM messages WHERE call_id IN ({list}) GROUP BY call_id"
        ));
        for row in messages.await? {
            let messages = row.column("messages")?;
            if let Some(call) = at(&mut calls, &place, row.column("call_id")?) {
                call.messages = messages;
            }
        }
        Ok(calls)
    }
}

fn read(row: &sqlx::any::AnyRow) -> Result<PastCall, StoreError> {
    let caller: Option<UserId> = row.column("caller_id")?;
    let caller_name: Option<String> = row.column("caller_name")?;
    Ok(PastCall {
        id: row.column("id")?,
        room: row.column("room_id")?,
        room_name: row.column("room_name")?,
        kind: row.column("kind")?,
        part: row.column("part")?,
        outcome: row.column("outcome")?,
        caller: caller.zip(caller_name).map(|(id, name)| KnownUser { id, name }),
        at: row.column("at")?,
        started_at: row.column("started_at")?,
        ended_at: row.column("ended_at")?,
        is_interrupted: row.column("is_interrupted")?,
        rung: Vec::new(),
        people: Vec::new(),
        messages: 0,
        recordings: Vec::new(),
    })
}

fn at<'a>(
    calls: &'a mut [PastCall],
    place: &HashMap<CallId, usize>,
    call: CallId,
) -> Option<&'a mut PastCall> {
    calls.get_mut(*place.get(&call)?)
}
