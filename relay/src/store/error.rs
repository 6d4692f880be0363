//! What can go wrong with the database, sorted by who must act.

use sqlx::migrate::MigrateError;

use super::Place;

/// Why a statement did not happen. What did happen before stays.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be made.
    #[error("the database {place} cannot be made: {source}. --data names another folder")]
    File {
        /// Where.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not there, or not for us.
    #[error("the database {place} cannot be opened: {source}")]
    Open {
        /// Where.
        place: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Broken.
    #[error(
        "the database {place} is damaged ({reason}). It has not been touched: move it away, with the files next to it \
         that begin with its name, and put a copy of better days in its place"
    )]
    Damaged {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// From the future.
    #[error(
        "the database {place} was written by a newer version of Roundtable and has not been touched: run that version, \
         or name another folder with --data"
    )]
    Newer {
        /// Where.
        place: String,
    },
    /// Its form cannot be brought up to date.
    #[error("the database {place} cannot be brought to this version's form: {reason}")]
    Migrate {
        /// Where.
        place: String,
        /// Why.
        reason: String,
    },
    /// The file system is full.
    #[error("the disk with the database is full: nothing was written, and nothing lost. Make room on it")]
    Full,
    /// No right to write.
    #[error("the database cannot be written to: its file or folder is read-only for this process")]
    ReadOnly,
    /// Another program holds it.
    #[error("the database is locked by another program")]
    Locked,
    /// A name that somebody has.
    #[error("that is taken")]
    Taken,
    /// Something refers to what is gone.
    #[error("something this refers to is gone")]
    Gone,
    /// A value that we never wrote.
    #[error("the database holds something unreadable in {column}")]
    Unreadable {
        /// Where.
        column: &'static str,
    },
    /// No randomness, no ids.
    #[error(transparent)]
    NoRandomness(#[from] crate::id::NoRandomness),
    /// Anything else.
    #[error("the database: {0}")]
    Other(#[source] sqlx::Error),
}

impl StoreError {
    pub(super) fn opening(place: &Place, source: sqlx::Error) -> Self {
        match StoreError::from(source) {
            StoreError::Other(source) => StoreError::Open { place: place.to_string(), source },
            known => known.at(place),
        }
    }

    /// Says where, if the message has a place for that.
    pub(super) fn at(mut self, at: &Place) -> Self {
        if let StoreError::Damaged { place, .. }
        | StoreError::Newer { place }
        | StoreError::Migrate { place, .. } = &mut self
        {
            *place = at.to_string();
        }
        self
    }

    /// Worth trying again later: nothing is wrong with what was asked for.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            StoreError::Full
                | StoreError::ReadOnly
                | StoreError::Locked
                | StoreError::Open { .. }
                | StoreError::Other(_)
        )
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(of_database) = &error else { return StoreError::Other(error) };
        if of_database.is_unique_violation() {
            return StoreError::Taken;
        }
        if of_database.is_foreign_key_violation() {
            return StoreError::Gone;
        }
        let code = of_database.code().unwrap_or_default();
        // SQLite's codes are numbers with the kind in the lowest byte, Postgres' have five characters.
        let kind = (code.len() < 5).then(|| code.parse::<u32>().ok()).flatten().map(|code| code & 0xff);
        match (kind, &*code) {
            (Some(13), _) | (_, "53100") => StoreError::Full,
            (Some(8), _) | (_, "25006") => StoreError::ReadOnly,
            (Some(5 | 6), _) | (_, "55P03") => StoreError::Locked,
            (Some(11 | 26), _) | (_, "XX001" | "XX002") => {
                StoreError::Damaged { place: String::new(), reason: of_database.message().to_owned() }
            }
            _ => StoreError::Other(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
                StoreError::Newer { place: String::new() }
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                match StoreError::from(error) {
                    StoreError::Other(error) => {
                        StoreError::Migrate { place: String::new(), reason: error.to_string() }
                    }
                    known => known,
                }
            }
            other => StoreError::Migrate { place: String::new(), reason: other.to_string() },
        }
    }
}
