//! Where people are signed in: one row per browser.

use std::time::Duration;

use super::{Column as _, Store, StoreError};
use crate::{
    clock::UnixMs,
    id::{RoomId, SignInId, UserId, secret, secret_hash},
};

/// `seen_at` is written no more often than this.
const SEEN_STEP: Duration = Duration::from_secs(60);

/// A browser that somebody signed in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Its name.
    pub id: SignInId,
    /// Who.
    pub user: UserId,
    /// Guests: the only room they may enter.
    pub room: Option<RoomId>,
    /// What the browser calls itself.
    pub agent: String,
    /// Since when.
    pub made_at: UnixMs,
    /// When it was used last, give or take a minute.
    pub seen_at: UnixMs,
    /// Until when, unless it is used before.
    pub ends_at: UnixMs,
}

impl SignIn {
    fn read(row: &sqlx::any::AnyRow) -> Result<Self, StoreError> {
        Ok(SignIn {
            id: row.column("id")?,
            user: row.column("user_id")?,
            room: row.column("room_id")?,
            agent: row.column("agent")?,
            made_at: row.column("made_at")?,
            seen_at: row.column("seen_at")?,
            ends_at: row.column("ends_at")?,
        })
    }
}

/// A sign-in and the secret that stands for it, told this once.
#[derive(Debug)]
pub struct NewSignIn {
    /// What is kept.
    pub sign_in: SignIn,
    /// What the browser keeps, in its cookie.
    pub secret: String,
}

impl Store {
    /// Signs a browser in.
    pub async fn insert_sign_in(
        &self,
        now: UnixMs,
        user: &UserId,
        room: Option<&RoomId>,
        agent: &str,
        span: Duration,
    ) -> Result<NewSignIn, StoreError> {
        let sign_in = SignIn {
            id: SignInId::random()?,
            user: user.clone(),
            room: room.cloned(),
            agent: agent.to_owned(),
            made_at: now,
            seen_at: now,
            ends_at: now.after(span),
        };
        let secret = secret()?;
        sqlx::query(
            "INSERT INTO sign_ins (id, secret_hash, user_id, room_id, agent, made_at, seen_at, ends_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(sign_in.id.as_str())
        .bind(secret_hash(&secret))
        .bind(user.as_str())
        .bind(room.map(RoomId::as_str))
        .bind(agent)
        .bind(now.0)
        .bind(now.0)
        .bind(sign_in.ends_at.0)
        .execute(&self.pool)
        .await?;
        Ok(NewSignIn { sign_in, secret })
    }

    /// The sign-in of a cookie's secret, if it has not ended. Being used keeps it for another `span`.
    pub async fn use_sign_in(
        &self,
        now: UnixMs,
        secret: &str,
        span: Duration,
    ) -> Result<Option<SignIn>, StoreError> {
        let row = sqlx::query(
            "SELECT id, user_id, room_id, agent, made_at, seen_at, ends_at FROM sign_ins \
             WHERE secret_hash = $1 AND ends_at > $2",
        )
        .bind(secret_hash(secret))
        .bind(now.0)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut sign_in = SignIn::read(&row)?;
        if now.since(sign_in.seen_at) >= SEEN_STEP {
            sign_in.seen_at = now;
            if sign_in.room.is_none() {
                sign_in.ends_at = now.after(span);
            }
            sqlx::query("UPDATE sign_ins SET seen_at = $1, ends_at = $2 WHERE id = $3")
                .bind(now.0)
                .bind(sign_in.ends_at.0)
                .bind(sign_in.id.as_str())
                .execute(&self.pool)
                .await?;
        }
        Ok(Some(sign_in))
    }

    /// A sign-in by its name, if it has not ended.
    pub async fn sign_in(&self, now: UnixMs, id: &SignInId) -> Result<Option<SignIn>, StoreError> {
        let row = sqlx::query(
            "SELECT id, user_id, room_id, agent, made_at, seen_at, ends_at FROM sign_ins \
             WHERE id = $1 AND ends_at > $2",
        )
        .bind(id.as_str())
        .bind(now.0)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(SignIn::read).transpose()
    }

    /// Where somebody is signed in, the latest first.
    pub async fn sign_ins_of(&self, now: UnixMs, user: &UserId) -> Result<Vec<SignIn>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, user_id, room_id, agent, made_at, seen_at, ends_at FROM sign_ins \
             WHERE user_id = $1 AND ends_at > $2 ORDER BY seen_at DESC, id",
        )
        .bind(user.as_str())
        .bind(now.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(SignIn::read).collect()
    }

    /// Signs a browser of this user's out. False when there is no such.
    pub async fn delete_sign_in(&self, user: &UserId, id: &SignInId) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM sign_ins WHERE id = $1 AND user_id = $2")
            .bind(id.as_str())
            .bind(user.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Forgets sign-ins that have ended.
    pub async fn forget_sign_ins(&self, now: UnixMs) -> Result<u64, StoreError> {
        let done =
            sqlx::query("DELETE FROM sign_ins WHERE ends_at <= $1").bind(now.0).execute(&self.pool).await?;
        Ok(done.rows_affected())
    }
}
