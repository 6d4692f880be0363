//! What happened in calls, written down in the order it happened: [`Entry`].

use super::{
    Store, StoreError,
    messages::{Message, insert_message},
    rooms::{Banned, RoomKind, insert_ban},
    words,
};
use crate::{
    clock::UnixMs,
    id::{CallId, ParticipantId, RoomId, UserId},
};

words! {
    /// What a call is for somebody.
    Part {
        /// They rang.
        Placed = "placed",
        /// They were rung.
        Received = "received",
        /// They were there.
        Attended = "attended",
    }
}

words! {
    /// What came of ringing somebody.
    Outcome {
        /// It rings.
        Ringing = "ringing",
        /// They came.
        Accepted = "accepted",
        /// They did not want to.
        Declined = "declined",
        /// They were in another call.
        Busy = "busy",
        /// Nobody answered in time.
        NoAnswer = "no-answer",
        /// The caller gave up before.
        Cancelled = "cancelled",
        /// The relay ended while it rang.
        Interrupted = "interrupted",
    }
}

/// Something that happened. Writing one a second time changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A call began.
    Began {
        /// Which.
        call: CallId,
        /// Where.
        room: RoomId,
        /// What people call the room.
        room_name: Option<String>,
        /// Rung or met.
        kind: RoomKind,
        /// Who rang.
        caller: Option<UserId>,
        /// When.
        at: UnixMs,
    },
    /// Somebody was rung.
    Rang {
        /// For which call.
        call: CallId,
        /// Who.
        user: UserId,
        /// When.
        at: UnixMs,
    },
    /// What came of it.
    Answered {
        /// For which call.
        call: CallId,
        /// Who.
        user: UserId,
        /// What.
        outcome: Outcome,
        /// When.
        at: UnixMs,
    },
    /// Somebody is there.
    Joined {
        /// This time of their being there; names it.
        attendance: String,
        /// Which call.
        call: CallId,
        /// The seat.
        participant: ParticipantId,
        /// Who.
        user: Option<UserId>,
        /// What others see.
        name: String,
        /// When.
        at: UnixMs,
    },
    /// Somebody is there no more.
    Left {
        /// See [`Entry::Joined`].
        attendance: String,
        /// When.
        at: UnixMs,
    },
    /// A call is over.
    Ended {
        /// Which.
        call: CallId,
        /// When.
        at: UnixMs,
    },
    /// Somebody said something that is kept.
    Said {
        /// Where.
        room: RoomId,
        /// In which call.
        call: Option<CallId>,
        /// What.
        message: Message,
        /// How long it is kept.
        until: UnixMs,
    },
    /// Somebody may not come back to a room.
    Banned {
        /// The room.
        room: RoomId,
        /// Who.
        who: Banned,
        /// Since when.
        at: UnixMs,
        /// Until when; `None`: for good.
        until: Option<UnixMs>,
    },
}

impl Store {
    /// Writes entries down, all or none.
    pub async fn write(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for entry in entries {
            write(&mut transaction, entry).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The relay runs.
    pub async fn beat(&self, now: UnixMs) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO heartbeat (id, at) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        )
        .bind(now.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Ends what a relay that did not end properly left open: at the time it was last known to run. Returns how
    /// many calls that were.
    pub async fn recover(&self, now: UnixMs) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let beat: Option<i64> = sqlx::query_scalar("SELECT at FROM heartbeat WHERE id = 1")
            .fetch_optional(&mut *transaction)
            .await?;
        let beat = beat.map_or(now.0, |at| at.min(now.0));
        for statement in [
            "UPDATE attendance SET left_at = CASE WHEN joined_at > $1 THEN joined_at ELSE $1 END WHERE left_at IS NULL",
            "UPDATE call_users SET outcome = 'interrupted', outcome_at = CASE WHEN at > $1 THEN at ELSE $1 END \
             WHERE outcome = 'ringing'",
            "UPDATE recordings SET state = 'interrupted', \
             ended_at = CASE WHEN started_at > $1 THEN started_at ELSE $1 END WHERE state = 'running'",
        ] {
            sqlx::query(statement).bind(beat).execute(&mut *transaction).await?;
        }
        let ended = sqlx::query(
            "UPDATE calls SET is_interrupted = 1, \
             ended_at = CASE WHEN started_at > $1 THEN started_at ELSE $1 END WHERE ended_at IS NULL",
        )
        .bind(beat)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ended.rows_affected())
    }

    /// Rooms with calls that went on at that time or later: their people may still hold tokens.
    pub async fn rooms_since(&self, since: UnixMs) -> Result<Vec<RoomId>, StoreError> {
        use super::Column as _;
        let rows = sqlx::query("SELECT DISTINCT room_id FROM calls WHERE ended_at IS NULL OR ended_at >= $1")
            .bind(since.0)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| row.column("room_id")).collect()
    }

    /// Forgets calls that ended before then, with what belongs to them. Those with recordings stay.
    pub async fn forget_calls(&self, before: UnixMs) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM calls WHERE ended_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM recordings WHERE recordings.call_id = calls.id)",
        )
        .bind(before.0)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}

async fn write(connection: &mut sqlx::AnyConnection, entry: &Entry) -> Result<(), StoreError> {
    match entry {
        Entry::Began { call, room, room_name, kind, caller, at } => {
            sqlx::query(
                "INSERT INTO calls (id, room_id, room_name, kind, caller_id, started_at, is_interrupted) \
                 VALUES ($1, $2, COALESCE($3, (SELECT name FROM rooms WHERE id = $2)), $4, (SELECT id FROM users WHERE id = $5), $6, 0) ON CONFLICT (id) DO NOTHING",
            )
            .bind(call.as_str())
            .bind(room.as_str())
            .bind(room_name.as_deref())
            .bind(kind.word())
            .bind(caller.as_ref().map(UserId::as_str))
            .bind(at.0)
            .execute(&mut *connection)
            .await?;
            if let Some(caller) = caller {
                take_part(connection, call, caller, Part::Placed, None, *at).await?;
            }
        }
        Entry::Rang { call, user, at } => {
            take_part(connection, call, user, Part::Received, Some(Outcome::Ringing), *at).await?;
        }
        Entry::Answered { call, user, outcome, at } => {
            sqlx::query(
                "UPDATE call_users SET outcome = $1, outcome_at = $2 \
                 WHERE call_id = $3 AND user_id = $4 AND outcome = 'ringing'",
            )
            .bind(outcome.word())
            .bind(at.0)
            .bind(call.as_str())
            .bind(user.as_str())
            .execute(connection)
            .await?;
        }
        Entry::Joined { attendance, call, participant, user, name, at } => {
            sqlx::query(
                "INSERT INTO attendance (id, call_id, participant_id, user_id, name, name_folded, joined_at) \
                 VALUES ($1, $2, $3, (SELECT id FROM users WHERE id = $4), $5, $6, $7) ON CONFLICT (id) DO NOTHING",
            )
            .bind(attendance)
            .bind(call.as_str())
            .bind(participant.as_str())
            .bind(user.as_ref().map(UserId::as_str))
            .bind(name)
            .bind(name.to_lowercase())
            .bind(at.0)
            .execute(&mut *connection)
            .await?;
            if let Some(user) = user {
                take_part(connection, call, user, Part::Attended, None, *at).await?;
            }
        }
        Entry::Left { attendance, at } => {
            sqlx::query("UPDATE attendance SET left_at = $1 WHERE id = $2 AND left_at IS NULL")
                .bind(at.0)
                .bind(attendance)
                .execute(connection)
                .await?;
        }
        Entry::Ended { call, at } => {
            for statement in [
                "UPDATE calls SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL",
                "UPDATE attendance SET left_at = $1 WHERE call_id = $2 AND left_at IS NULL",
            ] {
                sqlx::query(statement).bind(at.0).bind(call.as_str()).execute(&mut *connection).await?;
            }
        }
        Entry::Said { room, call, message, until } => {
            insert_message(connection, room, call.as_ref(), message, *until).await?;
        }
        Entry::Banned { room, who, at, until } => insert_ban(connection, *at, room, who, *until).await?,
    }
    Ok(())
}

/// The first part that somebody has in a call is the one that counts; being rung again rings again. Nothing happens
/// when the user is gone.
async fn take_part(
    connection: &mut sqlx::AnyConnection,
    call: &CallId,
    user: &UserId,
    part: Part,
    outcome: Option<Outcome>,
    at: UnixMs,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO call_users (call_id, user_id, part, outcome, at) \
         SELECT $1, id, $3, $4, $5 FROM users WHERE id = $2 \
         ON CONFLICT (call_id, user_id) DO UPDATE SET outcome = excluded.outcome, outcome_at = NULL \
         WHERE excluded.outcome IS NOT NULL AND call_users.outcome IS NOT NULL AND call_users.outcome <> 'accepted'",
    )
    .bind(call.as_str())
    .bind(user.as_str())
    .bind(part.word())
    .bind(outcome.map(Outcome::word))
    .bind(at.0)
    .execute(connection)
    .await?;
    Ok(())
}
