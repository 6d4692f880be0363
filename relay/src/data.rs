//! The data folder: everything that lasts, and a lock so that no two relays share it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

/// Why the data folder cannot be used. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It cannot be made.
    #[error("the data folder {} cannot be made: {source}. --data names another", path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It takes no files.
    #[error("the data folder {} cannot be written to: {source}. --data names another", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's.
    #[error(
        "the data folder {} is in use by another relay (process {holder}). Stop that one, or give this one a \
         folder of its own with --data",
        path.display()
    )]
    InUse {
        /// Which.
        path: PathBuf,
        /// What it wrote into the lock.
        holder: String,
    },
}

/// The data folder, ours for as long as this lives unless it is shared.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// `None` when another may have it.
    _lock: Option<File>,
}

impl DataFolder {
    /// Makes the folder if need be and takes its lock, which ends with the process however that ends.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        fs::create_dir_all(path).map_err(|source| DataError::Make { path: path.to_owned(), source })?;
        let write = |source| DataError::Write { path: path.to_owned(), source };
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(write)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(DataError::InUse { path: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(write(source)),
        }
        lock.set_len(0).and_then(|()| lock.rewind()).map_err(write)?;
        writeln!(lock, "{}", std::process::id()).map_err(write)?;
        Ok(DataFolder { path: path.to_owned(), _lock: Some(lock) })
    }

    /// The folder, made if need be, for what a running relay need not be stopped for.
    pub fn shared(path: &Path) -> Result<Self, DataError> {
        fs::create_dir_all(path).map_err(|source| DataError::Make { path: path.to_owned(), source })?;
        Ok(DataFolder { path: path.to_owned(), _lock: None })
    }

    /// Where the key of tokens is kept.
    pub fn token_key(&self) -> PathBuf {
        self.path.join("token.key")
    }

    /// Where people, rooms and calls are kept.
    pub fn database(&self) -> PathBuf {
        self.path.join("roundtable.db")
    }

    /// Where the certificate made here is kept.
    pub fn certificate(&self) -> PathBuf {
        self.path.join("certificate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_relays_cannot_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataFolder::open(&path).unwrap();
        let error = DataFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        assert!(DataFolder::open(&path).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs::write(&file, "").unwrap();
        let error = DataFolder::open(&file.join("data")).unwrap_err().to_string();
        assert!(error.contains("a-file") && error.contains("--data"), "{error}");
    }
}
