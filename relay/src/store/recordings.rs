//! Which recordings a call has. The files and their manifests are the recorder's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Column as _, Store, StoreError, words};
use crate::{
    clock::UnixMs,
    id::{CallId, RecordingId, RoomId, UserId},
};

words! {
    /// How a recording stands.
    RecordingState {
        /// It goes on.
        Running = "running",
        /// Whole, with its index.
        Finished = "finished",
        /// It ended before it should have; what is there can be played.
        Interrupted = "interrupted",
    }
}

/// A recording of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    /// Its name.
    #[schema(value_type = String)]
    pub id: RecordingId,
    /// The call.
    #[schema(value_type = String)]
    pub call: CallId,
    /// The call's room.
    #[schema(value_type = String)]
    pub room: RoomId,
    /// Who began it.
    #[schema(value_type = Option<String>)]
    pub started_by: Option<UserId>,
    /// When.
    pub started_at: UnixMs,
    /// Until when.
    pub ended_at: Option<UnixMs>,
    /// How it stands.
    pub state: RecordingState,
    /// All its files.
    pub bytes: i64,
}

impl Recording {
    pub(super) fn read(row: &sqlx::any::AnyRow) -> Result<Self, StoreError> {
        Ok(Recording {
            id: row.column("id")?,
            call: row.column("call_id")?,
            room: row.column("room_id")?,
            started_by: row.column("started_by")?,
            started_at: row.column("started_at")?,
            ended_at: row.column("ended_at")?,
            state: row.column("state")?,
            bytes: row.column("bytes")?,
        })
    }
}

impl Store {
    /// A recording began, or how it stands has changed.
    pub async fn put_recording(&self, recording: &Recording) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO recordings (id, call_id, room_id, started_by, started_at, ended_at, state, bytes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, state = excluded.state, bytes = excluded.bytes",
        )
        .bind(recording.id.as_str())
        .bind(recording.call.as_str())
        .bind(recording.room.as_str())
        .bind(recording.started_by.as_ref().map(UserId::as_str))
        .bind(recording.started_at.0)
        .bind(recording.ended_at.map(|at| at.0))
        .bind(recording.state.word())
        .bind(recording.bytes)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The recordings of a call, in the order they began.
    pub async fn recordings_of_call(&self, call: &CallId) -> Result<Vec<Recording>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, call_id, room_id, started_by, started_at, ended_at, state, bytes FROM recordings \
             WHERE call_id = $1 ORDER BY started_at, id",
        )
        .bind(call.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Recording::read).collect()
    }
}
