//! Chat that is kept.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Column as _, Store, StoreError};
use crate::{
    clock::UnixMs,
    id::{CallId, ParticipantId, RoomId, UserId},
};

/// A message of a room's chat: an object of the `chat` track, and an answer of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its place in the one order for all: ascending, not dense. The group on the track.
    pub number: i64,
    /// Who wrote it.
    #[schema(value_type = String)]
    pub participant: ParticipantId,
    /// The user behind that seat, if there is one.
    #[schema(value_type = Option<String>)]
    pub user: Option<UserId>,
    /// What they were called then.
    pub name: String,
    /// Plain text.
    pub text: String,
    /// When the relay took it.
    pub at: UnixMs,
}

impl Message {
    fn read(row: &sqlx::any::AnyRow) -> Result<Self, StoreError> {
        Ok(Message {
            number: row.column("number")?,
            participant: row.column("participant_id")?,
            user: row.column("user_id")?,
            name: row.column("name")?,
            text: row.column("text")?,
            at: row.column("sent_at")?,
        })
    }
}

impl Store {
    /// The latest kept messages of a room, in their order.
    pub async fn latest_messages(
        &self,
        now: UnixMs,
        room: &RoomId,
        limit: i64,
    ) -> Result<Vec<Message>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, participant_id, user_id, name, text, sent_at FROM messages \
             WHERE room_id = $1 AND ends_at > $2 ORDER BY number DESC LIMIT $3",
        )
        .bind(room.as_str())
        .bind(now.0)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().rev().map(Message::read).collect()
    }

    /// The kept messages of a call, in their order.
    pub async fn messages_of_call(&self, now: UnixMs, call: &CallId) -> Result<Vec<Message>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, participant_id, user_id, name, text, sent_at FROM messages \
             WHERE call_id = $1 AND ends_at > $2 ORDER BY number",
        )
        .bind(call.as_str())
        .bind(now.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Message::read).collect()
    }

    /// What somebody wrote and is kept.
    pub async fn messages_of_user(&self, user: &UserId) -> Result<Vec<Message>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, participant_id, user_id, name, text, sent_at FROM messages \
             WHERE user_id = $1 ORDER BY sent_at, number",
        )
        .bind(user.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Message::read).collect()
    }

    /// Forgets messages whose time is over.
    pub async fn forget_messages(&self, now: UnixMs) -> Result<u64, StoreError> {
        let done =
            sqlx::query("DELETE FROM messages WHERE ends_at <= $1").bind(now.0).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }
}

/// Keeps a message until then. Nothing happens when it is kept already.
pub(super) async fn insert_message(
    connection: &mut sqlx::AnyConnection,
    room: &RoomId,
    call: Option<&CallId>,
    message: &Message,
    ends_at: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO messages (room_id, number, call_id, participant_id, user_id, name, text, sent_at, ends_at) \
         VALUES ($1, $2, $3, $4, (SELECT id FROM users WHERE id = $5), $6, $7, $8, $9) \
         ON CONFLICT (room_id, number) DO NOTHING",
    )
    .bind(room.as_str())
    .bind(message.number)
    .bind(call.map(CallId::as_str))
    .bind(message.participant.as_str())
    .bind(message.user.as_ref().map(UserId::as_str))
    .bind(&message.name)
    .bind(&message.text)
    .bind(message.at.0)
    .bind(ends_at.0)
    .execute(connection)
    .await?;
    Ok(())
}
