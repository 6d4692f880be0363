//! Links that let guests into one room.

use super::{Column as _, Store, StoreError};
use crate::{
    clock::UnixMs,
    id::{InvitationId, RoomId, UserId, secret, secret_hash},
};

/// An invitation as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its name; not what lets anybody in.
    pub id: InvitationId,
    /// The room it is for.
    pub room: RoomId,
    /// Since when.
    pub made_at: UnixMs,
    /// Until when.
    pub ends_at: UnixMs,
    /// How many guests may still use it; `None`: any number.
    pub uses_left: Option<i64>,
}

impl Invitation {
    fn read(row: &sqlx::any::AnyRow) -> Result<Self, StoreError> {
        Ok(Invitation {
            id: row.column("id")?,
            room: row.column("room_id")?,
            made_at: row.column("made_at")?,
            ends_at: row.column("ends_at")?,
            uses_left: row.column("uses_left")?,
        })
    }
}

impl Store {
    /// Makes an invitation; the secret is told this once.
    pub async fn insert_invitation(
        &self,
        now: UnixMs,
        room: &RoomId,
        made_by: Option<&UserId>,
        ends_at: UnixMs,
        uses: Option<i64>,
    ) -> Result<(Invitation, String), StoreError> {
        let invitation = Invitation {
            id: InvitationId::random()?,
            room: room.clone(),
            made_at: now,
            ends_at,
            uses_left: uses,
        };
        let secret = secret()?;
        sqlx::query(
            "INSERT INTO invitations (id, secret_hash, room_id, made_by, made_at, ends_at, uses_left) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(invitation.id.as_str())
        .bind(secret_hash(&secret))
        .bind(room.as_str())
        .bind(made_by.map(UserId::as_str))
        .bind(now.0)
        .bind(ends_at.0)
        .bind(uses)
        .execute(&self.pool)
        .await?;
        Ok((invitation, secret))
    }

    /// Uses an invitation up by one, if it is good.
    pub async fn use_invitation(&self, now: UnixMs, secret: &str) -> Result<Option<Invitation>, StoreError> {
        let row = sqlx::query(
            "UPDATE invitations SET uses_left = uses_left - 1 \
             WHERE secret_hash = $1 AND ends_at > $2 AND (uses_left IS NULL OR uses_left > 0) \
             RETURNING id, room_id, made_at, ends_at, uses_left",
        )
        .bind(secret_hash(secret))
        .bind(now.0)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(Invitation::read).transpose()
    }

    /// The room's invitations that are good.
    pub async fn invitations(&self, now: UnixMs, room: &RoomId) -> Result<Vec<Invitation>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, room_id, made_at, ends_at, uses_left FROM invitations \
             WHERE room_id = $1 AND ends_at > $2 AND (uses_left IS NULL OR uses_left > 0) ORDER BY made_at, id",
        )
        .bind(room.as_str())
        .bind(now.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Invitation::read).collect()
    }

    /// Takes an invitation back. Whoever used it stays. False when there is no such.
    pub async fn delete_invitation(&self, room: &RoomId, id: &InvitationId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM invitations WHERE id = $1 AND room_id = $2")
            .bind(id.as_str())
            .bind(room.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets invitations that have ended.
    pub async fn forget_invitations(&self, now: UnixMs) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM invitations WHERE ends_at <= $1 OR uses_left = 0")
            .bind(now.0)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}
