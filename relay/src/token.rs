//! Signed tokens: who somebody is and what they may do, for minutes. JSON Web Tokens (RFC 7519), HMAC with SHA-256
//! and nothing else.
//!
//! - [`MediaToken`] lets a session into one scope, as one participant, with its rights. The relay makes them for who
//!   joins over the API; an application that shares a secret with the relay may make its own.
//! - [`ApiToken`] stands for a sign-in in requests to the API.

pub mod claims;
mod jwt;

use std::{fmt, io::Write as _, path::Path, time::Duration};

use ring::hmac;

pub use self::{
    claims::{ApiToken, MediaToken, Source, Sources},
    jwt::TokenError,
};
use crate::clock::UnixMs;

/// Bytes of a key that is made here.
const KEY_BYTES: usize = 32;
/// Shorter secrets of applications could be found by trying.
const SECRET_BYTES_MIN: usize = 32;
/// A token that is good for longer is refused: nobody could take back what it says.
pub const TOKEN_SPAN_MAX: Duration = Duration::from_secs(24 * 3600);

/// Who signed a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// This relay.
    Relay,
    /// An application that shares a secret with it.
    Application,
}

/// The key file cannot be used. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not to be read or made.
    #[error("the key for tokens in {path} cannot be {what}: {source}")]
    File {
        /// Which.
        path: String,
        /// `read` or `made`.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Too short to be safe.
    #[error(
        "{0} holds no key for tokens: it must be at least 32 bytes long; `openssl rand -base64 48` makes one"
    )]
    TooShort(String),
    /// No randomness.
    #[error(transparent)]
    NoRandomness(#[from] crate::id::NoRandomness),
}

/// Signs tokens, and knows its own.
#[derive(Clone)]
pub struct TokenKey(hmac::Key);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A key of its own.
    pub fn random() -> Result<Self, KeyError> {
        Ok(Self::from_bytes(&crate::id::random_bytes::<KEY_BYTES>()?))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        TokenKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key of this file; made, for its owner alone, if there is none.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        match std::fs::read(path) {
            Ok(bytes) if bytes.len() >= KEY_BYTES => return Ok(Self::from_bytes(&bytes)),
            Ok(_) => return Err(KeyError::TooShort(path.display().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(KeyError::File { path: path.display().to_string(), what: "read", source });
            }
        }
        let made = |source| KeyError::File { path: path.display().to_string(), what: "made", source };
        let bytes = crate::id::random_bytes::<KEY_BYTES>()?;
        // Whole or not at all: half a key would lock everybody out.
        let draft = path.with_extension("new");
        let _ = std::fs::remove_file(&draft);
        let mut file =
            std::fs::File::options().write(true).create_new(true).mode(0o600).open(&draft).map_err(made)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(made)?;
        std::fs::rename(&draft, path).map_err(made)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// A key of the same folder for tokens that are made by hand: good like an application's, whose newest token says
    /// what a participant may do.
    pub fn by_hand(&self) -> Self {
        Self::from_bytes(hmac::sign(&self.0, b"tokens made by hand").as_ref())
    }

    /// The secret that an application shares with the relay: what the file holds, without space around it.
    pub fn of_application(path: &Path) -> Result<Self, KeyError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| KeyError::File {
            path: name.clone(),
            what: "read",
            source,
        })?;
        let secret = bytes.trim_ascii();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::TooShort(name));
        }
        Ok(Self::from_bytes(secret))
    }

    /// A signed token.
    pub fn sign<T: claims::Claims>(&self, claims: &T) -> String {
        jwt::sign(&self.0, T::AUDIENCE, claims)
    }
}

/// The keys that are believed.
#[derive(Debug, Clone)]
pub struct Keys {
    own: TokenKey,
    applications: Vec<TokenKey>,
}

impl Keys {
    /// The relay's own, and those shared with applications.
    pub fn new(own: TokenKey, mut applications: Vec<TokenKey>) -> Self {
        applications.push(own.by_hand());
        Keys { own, applications }
    }

    /// Signs as the relay.
    pub fn sign<T: claims::Claims>(&self, claims: &T) -> String {
        self.own.sign(claims)
    }

    /// What a token says, if it is one of ours and its time has come and is not over.
    pub fn read<T: claims::Claims>(&self, token: &str, now: UnixMs) -> Result<(T, Signer), TokenError> {
        let signed = jwt::take_apart(token)?;
        let signer = if signed.is_by(&self.own.0) {
            Signer::Relay
        } else if self.applications.iter().any(|key| signed.is_by(&key.0)) {
            Signer::Application
        } else {
            return Err(TokenError::Signature);
        };
        Ok((signed.claims(now, T::AUDIENCE)?, signer))
    }
}

#[cfg(test)]
mod tests;
