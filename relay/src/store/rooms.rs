//! Rooms that last, their hosts, and who may not come back.

use std::time::Duration;

use super::{Column as _, Store, StoreError, words};
use crate::{
    clock::UnixMs,
    id::{ParticipantId, RoomId, UserId},
};

words! {
    /// Why a room, or a call in it, is there.
    RoomKind {
        /// To meet in.
        Meeting = "meeting",
        /// Because somebody was rung.
        Call = "call",
    }
}

/// A room as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its path, without the slash.
    pub id: RoomId,
    /// What people call it.
    pub name: Option<String>,
    /// Why it is there.
    pub kind: RoomKind,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// The hash of what has to be known to come in.
    pub password: Option<String>,
    /// People wait until somebody admits them.
    pub has_lobby: bool,
    /// Nobody new comes in.
    pub is_locked: bool,
    /// Participants at once.
    pub capacity: u32,
    /// How long chat is kept; zero: for as long as somebody is there.
    pub chat_kept: Duration,
    /// Since when.
    pub made_at: UnixMs,
}

impl Room {
    fn read(row: &sqlx::any::AnyRow) -> Result<Self, StoreError> {
        let capacity: i64 = row.column("capacity")?;
        let chat_kept_ms: i64 = row.column("chat_kept_ms")?;
        Ok(Room {
            id: row.column("id")?,
            name: row.column("name")?,
            kind: row.column("kind")?,
            owner: row.column("owner_id")?,
            password: row.column("password")?,
            has_lobby: row.column("has_lobby")?,
            is_locked: row.column("is_locked")?,
            capacity: u32::try_from(capacity).unwrap_or(0),
            chat_kept: Duration::from_millis(u64::try_from(chat_kept_ms).unwrap_or(0)),
            made_at: row.column("made_at")?,
        })
    }
}

/// Somebody who may not come back to a room.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Banned {
    /// A seat that was taken away, whatever token names it.
    Participant(ParticipantId),
    /// Somebody, on every seat.
    User(UserId),
    /// Whoever has a token of before: the meeting was ended.
    Everybody,
}

/// A [`Banned`] with all there is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Where.
    pub room: RoomId,
    /// Who.
    pub who: Banned,
    /// Since when.
    pub since: UnixMs,
    /// Until when.
    pub until: UnixMs,
}

impl Banned {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Banned::Participant(id) => ("participant", id.as_str()),
            Banned::User(id) => ("user", id.as_str()),
            Banned::Everybody => ("everybody", ""),
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, kind, owner_id, password, has_lobby, is_locked, capacity, chat_kept_ms, made_at FROM rooms ",
            $rest
        )
    };
}

fn milliseconds(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

impl Store {
    /// A new room. [`StoreError::Taken`] when there is one of this id.
    pub async fn insert_room(&self, room: &Room) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO rooms (id, name, kind, owner_id, password, has_lobby, is_locked, capacity, chat_kept_ms, made_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(room.id.as_str())
        .bind(room.name.as_deref())
        .bind(room.kind.word())
        .bind(room.owner.as_ref().map(UserId::as_str))
        .bind(room.password.as_deref())
        .bind(i64::from(room.has_lobby))
        .bind(i64::from(room.is_locked))
        .bind(i64::from(room.capacity))
        .bind(milliseconds(room.chat_kept))
        .bind(room.made_at.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Changes everything but id, kind, owner and age.
    pub async fn update_room(&self, room: &Room) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE rooms SET name = $1, password = $2, has_lobby = $3, is_locked = $4, capacity = $5, \
             chat_kept_ms = $6 WHERE id = $7",
        )
        .bind(room.name.as_deref())
        .bind(room.password.as_deref())
        .bind(i64::from(room.has_lobby))
        .bind(i64::from(room.is_locked))
        .bind(i64::from(room.capacity))
        .bind(milliseconds(room.chat_kept))
        .bind(room.id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// One room.
    pub async fn room(&self, id: &RoomId) -> Result<Option<Room>, StoreError> {
        let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(Room::read).transpose()
    }

    /// The rooms that somebody made to meet in, the latest first.
    pub async fn rooms_of(&self, owner: &UserId, limit: i64) -> Result<Vec<Room>, StoreError> {
        let rows = sqlx::query(select!(
            "WHERE owner_id = $1 AND kind = 'meeting' ORDER BY made_at DESC, id LIMIT $2"
        ))
        .bind(owner.as_str())
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(Room::read).collect()
    }

    /// Rooms that not everybody may come into who knows their name.
    pub async fn guarded_rooms(&self) -> Result<Vec<RoomId>, StoreError> {
        let rows =
            sqlx::query("SELECT id FROM rooms WHERE password IS NOT NULL OR has_lobby = 1 OR is_locked = 1")
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(|row| row.column("id")).collect()
    }

    /// A room is no more. Its calls stay in the history.
    pub async fn delete_room(&self, id: &RoomId) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for statement in [
            "DELETE FROM messages WHERE room_id = $1 AND call_id IS NULL",
            "DELETE FROM room_bans WHERE room_id = $1",
            "DELETE FROM rooms WHERE id = $1",
        ] {
            sqlx::query(statement).bind(id.as_str()).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Makes a user a host whenever they come, or no longer.
    pub async fn set_host(&self, room: &RoomId, user: &UserId, is_host: bool) -> Result<(), StoreError> {
        let statement = if is_host {
            "INSERT INTO room_hosts (room_id, user_id) VALUES ($1, $2) ON CONFLICT (room_id, user_id) DO NOTHING"
        } else {
            "DELETE FROM room_hosts WHERE room_id = $1 AND user_id = $2"
        };
        sqlx::query(statement).bind(room.as_str()).bind(user.as_str()).execute(&self.pool).await?;
        Ok(())
    }

    /// Users who are hosts whenever they come, beside the owner.
    pub async fn hosts(&self, room: &RoomId) -> Result<Vec<UserId>, StoreError> {
        let rows = sqlx::query("SELECT user_id FROM room_hosts WHERE room_id = $1")
            .bind(room.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| row.column("user_id")).collect()
    }

    /// Who may not come back to which room, since when and until when, all of them.
    pub async fn bans(&self, now: UnixMs) -> Result<Vec<Ban>, StoreError> {
        let rows = sqlx::query(
            "SELECT room_id, kind, subject, banned_at, ends_at FROM room_bans WHERE ends_at = 0 OR ends_at > $1",
        )
        .bind(now.0)
        .fetch_all(&self.pool)
        .await?;
        let mut bans = Vec::new();
        for row in &rows {
            let (kind, subject): (String, String) = (row.column("kind")?, row.column("subject")?);
            let who = match kind.as_str() {
                "user" => UserId::new(&subject).map(Banned::User),
                "everybody" => Some(Banned::Everybody),
                _ => ParticipantId::new(&subject).map(Banned::Participant),
            };
            let ends_at: UnixMs = row.column("ends_at")?;
            bans.push(Ban {
                room: row.column("room_id")?,
                who: who.ok_or(StoreError::Unreadable { column: "subject" })?,
                since: row.column("banned_at")?,
                until: if ends_at.0 == 0 { UnixMs::NEVER } else { ends_at },
            });
        }
        Ok(bans)
    }

    /// Lets somebody come back.
    pub async fn lift_ban(&self, room: &RoomId, banned: &Banned) -> Result<(), StoreError> {
        let (kind, subject) = banned.words();
        sqlx::query("DELETE FROM room_bans WHERE room_id = $1 AND kind = $2 AND subject = $3")
            .bind(room.as_str())
            .bind(kind)
            .bind(subject)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Forgets bans that have ended.
    pub async fn forget_bans(&self, now: UnixMs) -> Result<u64, StoreError> {
        let done = sqlx::query("DELETE FROM room_bans WHERE ends_at <> 0 AND ends_at <= $1")
            .bind(now.0)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }
}

/// Keeps somebody out until then; `None` for good.
pub(super) async fn insert_ban(
    connection: &mut sqlx::AnyConnection,
    now: UnixMs,
    room: &RoomId,
    banned: &Banned,
    until: Option<UnixMs>,
) -> Result<(), StoreError> {
    let (kind, subject) = banned.words();
    sqlx::query(
        "INSERT INTO room_bans (room_id, kind, subject, banned_at, ends_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (room_id, kind, subject) DO UPDATE SET banned_at = excluded.banned_at, ends_at = excluded.ends_at",
    )
    .bind(room.as_str())
    .bind(kind)
    .bind(subject)
    .bind(now.0)
    .bind(until.map_or(0, |at| at.0))
    .execute(connection)
    .await?;
    Ok(())
}
