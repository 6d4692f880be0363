//! People who can sign in, or did once.

use sqlx::any::AnyRow;

use super::{Column as _, Store, StoreError, contains, words};
use crate::{clock::UnixMs, id::UserId};

words! {
    /// How somebody becomes a user.
    UserKind {
        /// By a name alone, in the open mode.
        Named = "named",
        /// By login and password.
        Account = "account",
        /// By OpenID Connect.
        External = "external",
        /// By an invitation, for one room.
        Guest = "guest",
    }
}

/// Someone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Never changes.
    pub id: UserId,
    /// How they sign in.
    pub kind: UserKind,
    /// What they type to sign in.
    pub login: Option<String>,
    /// What others see.
    pub name: String,
    /// May look after other users.
    pub is_admin: bool,
    /// When they came first.
    pub made_at: UnixMs,
    /// They may not sign in since then.
    pub disabled_at: Option<UnixMs>,
}

impl User {
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(User {
            id: row.column("id")?,
            kind: row.column("kind")?,
            login: row.column("login")?,
            name: row.column("name")?,
            is_admin: row.column("is_admin")?,
            made_at: row.column("made_at")?,
            disabled_at: row.column("disabled_at")?,
        })
    }
}

/// A user as the application that sent them names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External<'a> {
    /// Who says so.
    pub issuer: &'a str,
    /// Who it is, for the issuer.
    pub subject: &'a str,
}

/// A statement over the columns of [`User`].
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, kind, login, name, is_admin, made_at, disabled_at FROM users ", $rest)
    };
}

impl Store {
    /// Makes an account; `password` is the hash. The first one looks after the others.
    pub async fn insert_account(
        &self,
        now: UnixMs,
        login: &str,
        name: &str,
        password: &str,
        is_admin: bool,
    ) -> Result<User, StoreError> {
        let mut transaction = self.begin().await?;
        let accounts: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE kind = 'account'")
            .fetch_one(&mut *transaction)
            .await?;
        let user = User {
            id: UserId::random()?,
            kind: UserKind::Account,
            login: Some(login.to_owned()),
            name: name.to_owned(),
            is_admin: is_admin || accounts == 0,
            made_at: now,
            disabled_at: None,
        };
        insert(&mut transaction, &user, Some(password), None).await?;
        transaction.commit().await?;
        Ok(user)
    }

    /// Whoever has this name in the open mode; made if there is nobody.
    pub async fn named_user(&self, now: UnixMs, name: &str) -> Result<User, StoreError> {
        // Not a login that an account can have.
        let login = format!("~{}", name.to_lowercase());
        let mut transaction = self.begin().await?;
        let found =
            sqlx::query(select!("WHERE login = $1")).bind(&login).fetch_optional(&mut *transaction).await?;
        let user = match found {
            Some(row) => User::read(&row)?,
            None => {
                let user = User { login: Some(login), ..new(now, UserKind::Named, name)? };
                insert(&mut transaction, &user, None, None).await?;
                user
            }
        };
        transaction.commit().await?;
        Ok(user)
    }

    /// Whoever the issuer means; made, or renamed, if need be.
    pub async fn external_user(
        &self,
        now: UnixMs,
        who: External<'_>,
        name: &str,
    ) -> Result<User, StoreError> {
        let mut transaction = self.begin().await?;
        let found = sqlx::query(select!("WHERE issuer = $1 AND subject = $2"))
            .bind(who.issuer)
            .bind(who.subject)
            .fetch_optional(&mut *transaction)
            .await?;
        let user = match found {
            Some(row) => {
                let user = User { name: name.to_owned(), ..User::read(&row)? };
                sqlx::query("UPDATE users SET name = $1, name_folded = $2 WHERE id = $3")
                    .bind(name)
                    .bind(name.to_lowercase())
                    .bind(user.id.as_str())
                    .execute(&mut *transaction)
                    .await?;
                user
            }
            None => {
                let user = new(now, UserKind::External, name)?;
                insert(&mut transaction, &user, None, Some(who)).await?;
                user
            }
        };
        transaction.commit().await?;
        Ok(user)
    }

    /// A guest.
    pub async fn insert_guest(&self, now: UnixMs, name: &str) -> Result<User, StoreError> {
        let user = new(now, UserKind::Guest, name)?;
        let mut transaction = self.begin().await?;
        insert(&mut transaction, &user, None, None).await?;
        transaction.commit().await?;
        Ok(user)
    }

    /// One user.
    pub async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(&self.pool).await?;
        row.as_ref().map(User::read).transpose()
    }

    /// The account of this login, with its password's hash.
    pub async fn account(&self, login: &str) -> Result<Option<(User, String)>, StoreError> {
        let row = sqlx::query(
            "SELECT id, kind, login, name, is_admin, made_at, disabled_at, password FROM users \
             WHERE login = $1 AND kind = 'account'",
        )
        .bind(login)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((User::read(&row)?, row.column("password")?)))
    }

    /// People whose name holds `query`, guests and those who may not sign in left out, by name.
    pub async fn find_users(
        &self,
        query: &str,
        after: Option<(&str, &UserId)>,
        limit: i64,
    ) -> Result<Vec<User>, StoreError> {
        let (after_name, after_id) = after.map_or(("", ""), |(name, id)| (name, id.as_str()));
        let rows = sqlx::query(select!(
            "WHERE kind <> 'guest' AND disabled_at IS NULL AND name_folded LIKE $1 ESCAPE '\\' \
             AND (name_folded > $2 OR (name_folded = $2 AND id > $3)) ORDER BY name_folded, id LIMIT $4"
        ))
        .bind(contains(query))
        .bind(after_name.to_lowercase())
        .bind(after_id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(User::read).collect()
    }

    /// All accounts and other lasting users, for administrators.
    pub async fn all_users(&self, limit: i64) -> Result<Vec<User>, StoreError> {
        let rows = sqlx::query(select!("WHERE kind <> 'guest' ORDER BY name_folded, id LIMIT $1"))
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(User::read).collect()
    }

    /// Changes what others see.
    pub async fn set_user_name(&self, id: &UserId, name: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET name = $1, name_folded = $2 WHERE id = $3")
            .bind(name)
            .bind(name.to_lowercase())
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Changes the password's hash. Whoever is signed in elsewhere is signed out.
    pub async fn set_password(&self, id: &UserId, password: &str) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE users SET password = $1 WHERE id = $2")
            .bind(password)
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM sign_ins WHERE user_id = $1")
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Locks somebody out, or lets them in again. False when it would lock out the last administrator.
    pub async fn set_user_state(
        &self,
        id: &UserId,
        disabled_at: Option<UnixMs>,
        is_admin: bool,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE users SET disabled_at = $1, is_admin = $2 WHERE id = $3")
            .bind(disabled_at.map(|at| at.0))
            .bind(i64::from(is_admin))
            .bind(id.as_str())
            .execute(&mut *transaction)
            .await?;
        if disabled_at.is_some() {
            sqlx::query("DELETE FROM sign_ins WHERE user_id = $1")
                .bind(id.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        if administrators(&mut transaction).await? == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Forgets somebody: what they wrote and their name in the history of others goes as well. False when it would
    /// leave nobody to look after the others.
    pub async fn delete_user(&self, id: &UserId) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let had_administrators = administrators(&mut transaction).await? > 0;
        for statement in [
            "DELETE FROM messages WHERE user_id = $1",
            "UPDATE attendance SET name = '', name_folded = '' WHERE user_id = $1",
            "DELETE FROM users WHERE id = $1",
        ] {
            sqlx::query(statement).bind(id.as_str()).execute(&mut *transaction).await?;
        }
        if had_administrators && administrators(&mut transaction).await? == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Forgets guests who came before `before` and have no sign-in any more. Their names stay in the history.
    pub async fn forget_guests(&self, before: UnixMs) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM users WHERE kind = 'guest' AND made_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM sign_ins WHERE sign_ins.user_id = users.id)",
        )
        .bind(before.0)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// How many accounts there are.
    pub async fn accounts_len(&self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM users WHERE kind = 'account'")
            .fetch_one(&self.pool)
            .await?)
    }
}

fn new(now: UnixMs, kind: UserKind, name: &str) -> Result<User, StoreError> {
    Ok(User {
        id: UserId::random()?,
        kind,
        login: None,
        name: name.to_owned(),
        is_admin: false,
        made_at: now,
        disabled_at: None,
    })
}

async fn insert(
    connection: &mut sqlx::AnyConnection,
    user: &User,
    password: Option<&str>,
    external: Option<External<'_>>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO users (id, kind, login, name, name_folded, password, issuer, subject, is_admin, made_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(user.id.as_str())
    .bind(user.kind.word())
    .bind(user.login.as_deref())
    .bind(&user.name)
    .bind(user.name.to_lowercase())
    .bind(password)
    .bind(external.map(|external| external.issuer))
    .bind(external.map(|external| external.subject))
    .bind(i64::from(user.is_admin))
    .bind(user.made_at.0)
    .execute(connection)
    .await?;
    Ok(())
}

async fn administrators(connection: &mut sqlx::AnyConnection) -> Result<i64, StoreError> {
    let sql = "SELECT COUNT(*) FROM users WHERE is_admin = 1 AND disabled_at IS NULL";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}
