//! What lasts about people, rooms and calls: SQLite in the data folder, or Postgres. The same statements run on both.
//!
//! - [`users`], [`sign_ins`]: who can sign in, and where they did.
//! - [`rooms`], [`invitations`], [`messages`]: rooms, who may come back to them, who is let in by a link, kept chat.
//! - [`calls`], [`history`]: every call, who was rung, who was there, and what each of them sees of it afterwards.
//! - [`recordings`]: which recordings a call has.
//!
//! A statement either happened whole or not at all, also when the power goes: SQLite writes ahead and syncs at every
//! commit.

pub mod calls;
mod error;
pub mod history;
pub mod invitations;
pub mod messages;
pub mod recordings;
pub mod rooms;
pub mod sign_ins;
pub mod users;

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use sqlx::{
    Any, AnyConnection, AnyPool, Connection as _, SqlSafeStr as _, Transaction,
    any::{AnyPoolOptions, AnyRow},
    migrate::{Migration, MigrationType, Migrator},
};

pub use self::error::StoreError;

/// Statements at once. SQLite has one writer anyway; readers do not wait for it.
const CONNECTIONS_MAX: u32 = 8;
/// Longest wait for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger files are not looked through at the start: it would take too long.
const CHECKED_BYTES_MAX: u64 = 256 << 20;

/// In their order. What has been released is never changed, only followed by another.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "people", include_str!("migrations/0001_people.sql"))];

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    /// SQLite, in this file; made if need be.
    File(PathBuf),
    /// Postgres, as `postgres://…`.
    Postgres(String),
}

/// Without user and password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Postgres(url) => {
                let rest = url.split_once("://").map_or("", |(_, rest)| rest);
                let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                write!(f, "postgres://{}", rest.split_once('?').map_or(rest, |(place, _)| place))
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The database, open. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    is_sqlite: bool,
}

impl Store {
    /// Opens the database, checks it, and brings it to this version's form.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        // Fails only when they are there already.
        DRIVERS.call_once(|| {
            let _ = sqlx::any::install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER]);
        });
        let failed = |source| StoreError::opening(place, source);
        let options = AnyPoolOptions::new().max_connections(CONNECTIONS_MAX).acquire_timeout(ACQUIRE_TIMEOUT);
        let store = match place {
            Place::File(path) => {
                make_private(path).map_err(|source| StoreError::File { place: place.to_string(), source })?;
                let url = sqlite_url(path);
                // A pool would try again and again, and not say why; a connection of its own does.
                let mut first = AnyConnection::connect(&url).await.map_err(failed)?;
                if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX) {
                    check(&mut first).await.map_err(|error| error.at(place))?;
                }
                // Lasts with the file. That every commit is synced is SQLite's default.
                sqlx::query("PRAGMA journal_mode = WAL").execute(&mut first).await.map_err(failed)?;
                first.close().await.map_err(failed)?;
                Store { pool: options.connect(&url).await.map_err(failed)?, is_sqlite: true }
            }
            Place::Postgres(url) => {
                let pool = options.connect(url).await.map_err(failed)?;
                Store { pool, is_sqlite: false }
            }
        };
        store.migrate().await.map_err(|error| error.at(place))?;
        Ok(store)
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let migrations = MIGRATIONS.map(|(version, what, sql)| {
            Migration::new(version, Cow::Borrowed(what), MigrationType::Simple, sql.into_sql_str(), false)
        });
        Migrator::with_migrations(migrations.to_vec()).run(&self.pool).await?;
        Ok(())
    }

    /// Waits for running statements and closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Several statements that happen together or not at all.
    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        // A transaction of SQLite that reads first and writes then could find that another has written in between,
        // and could not wait for it.
        Ok(if self.is_sqlite {
            self.pool.begin_with("BEGIN IMMEDIATE").await?
        } else {
            self.pool.begin().await?
        })
    }
}

async fn check(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::Damaged { place: String::new(), reason: verdict }) }
}

/// An empty file that nobody else can read, unless there is one: it will hold password hashes.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match std::fs::File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn sqlite_url(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut url = "sqlite://".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url.push_str("?mode=rw");
    url
}

/// A value of a row as one of our own types.
trait Column<T> {
    fn column(&self, name: &'static str) -> Result<T, StoreError>;
}

macro_rules! id_columns {
    ($($id:ident),*) => {$(
        impl Column<crate::id::$id> for AnyRow {
            fn column(&self, name: &'static str) -> Result<crate::id::$id, StoreError> {
                let text: String = self.column(name)?;
                crate::id::$id::new(&text).ok_or(StoreError::Unreadable { column: name })
            }
        }

        impl Column<Option<crate::id::$id>> for AnyRow {
            fn column(&self, name: &'static str) -> Result<Option<crate::id::$id>, StoreError> {
                let text: Option<String> = self.column(name)?;
                text.map(|text| crate::id::$id::new(&text).ok_or(StoreError::Unreadable { column: name })).transpose()
            }
        }
    )*};
}

id_columns!(UserId, SignInId, RoomId, ParticipantId, InvitationId, CallId, RecordingId);

macro_rules! plain_columns {
    ($($type:ty),*) => {$(
        impl Column<$type> for AnyRow {
            fn column(&self, name: &'static str) -> Result<$type, StoreError> {
                Ok(sqlx::Row::try_get(self, name)?)
            }
        }
    )*};
}

plain_columns!(String, Option<String>, i64, Option<i64>);

impl Column<bool> for AnyRow {
    fn column(&self, name: &'static str) -> Result<bool, StoreError> {
        let number: i64 = self.column(name)?;
        Ok(number != 0)
    }
}

impl Column<crate::clock::UnixMs> for AnyRow {
    fn column(&self, name: &'static str) -> Result<crate::clock::UnixMs, StoreError> {
        Ok(crate::clock::UnixMs(self.column(name)?))
    }
}

impl Column<Option<crate::clock::UnixMs>> for AnyRow {
    fn column(&self, name: &'static str) -> Result<Option<crate::clock::UnixMs>, StoreError> {
        let number: Option<i64> = self.column(name)?;
        Ok(number.map(crate::clock::UnixMs))
    }
}

/// A word of the database and its variant, both ways.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// As it is kept and told.
            pub const fn word(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl crate::store::Column<$name> for sqlx::any::AnyRow {
            fn column(&self, name: &'static str) -> Result<$name, crate::store::StoreError> {
                let word: String = self.column(name)?;
                match word.as_str() {
                    $($word => Ok($name::$variant),)*
                    _ => Err(crate::store::StoreError::Unreadable { column: name }),
                }
            }
        }

        impl crate::store::Column<Option<$name>> for sqlx::any::AnyRow {
            fn column(&self, name: &'static str) -> Result<Option<$name>, crate::store::StoreError> {
                let word: Option<String> = self.column(name)?;
                match word.as_deref() {
                    None => Ok(None),
                    $(Some($word) => Ok(Some($name::$variant)),)*
                    Some(_) => Err(crate::store::StoreError::Unreadable { column: name }),
                }
            }
        }
    };
}
use words;

/// A pattern of LIKE that finds `text` anywhere, whatever it holds.
fn contains(text: &str) -> String {
    let mut pattern = "%".to_owned();
    for letter in text.to_lowercase().chars() {
        if "%_\\".contains(letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests;
