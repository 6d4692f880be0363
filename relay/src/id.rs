//! Names of users, rooms, participants and the rest: each kind a type of its own, each `[A-Za-z0-9_-]{1,64}`.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::scope::is_id;

/// Letters and digits that are hard to confuse when read out; 32 of them, so five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Characters of an id that is made here: 100 bits, beyond guessing.
const ID_CHARS: usize = 20;
/// Bytes of a secret, such as a cookie's.
const SECRET_BYTES: usize = 32;

/// The system gives no random numbers: nothing that must not be guessed can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// Bytes that nobody can guess.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

/// A text that nobody can guess, for URLs and cookies.
pub fn secret() -> Result<String, NoRandomness> {
    Ok(URL_SAFE_NO_PAD.encode(random_bytes::<SECRET_BYTES>()?))
}

/// What is kept of a secret: SHA-256, in hex. A secret is long and random, so a slow hash would add nothing.
pub fn secret_hash(secret: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_id() -> Result<Arc<str>, NoRandomness> {
    let bytes = random_bytes::<ID_CHARS>()?;
    // 256 is a multiple of 32, so every letter is as likely as every other.
    let letters = bytes.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
    Ok(letters.map(|&letter| char::from(letter)).collect::<String>().into())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// One that nobody has, and nobody can guess.
            pub fn random() -> Result<Self, NoRandomness> {
                random_id().map($name)
            }

            /// `None` when it cannot be one.
            pub fn new(text: &str) -> Option<Self> {
                is_id(text).then(|| $name(text.into()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The text itself, cheap to clone.
            pub fn text(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                $name::new(&text).ok_or_else(|| D::Error::custom("an id is 1 to 64 of A-Z a-z 0-9 _ -"))
            }
        }
    )*};
}

ids! {
    /// Someone who can sign in, or did once.
    UserId;
    /// A browser that somebody signed in with.
    SignInId;
    /// A room; with a slash before it, its scope.
    RoomId;
    /// A seat in a room, and the namespace it publishes in.
    ParticipantId;
    /// A link that lets guests in.
    InvitationId;
    /// A room that was rung or met in.
    CallId;
    /// A recording.
    RecordingId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_made_here_are_valid_and_all_different() {
        let made: std::collections::HashSet<_> =
            (0..1000).map(|_| RoomId::random().unwrap()).inspect(|id| assert!(is_id(id.as_str()))).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| id.as_str().len() == ID_CHARS));
    }

    #[test]
    fn an_id_from_outside_is_checked() {
        assert!(UserId::new("Ada_1-x").is_some());
        for wrong in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(UserId::new(wrong), None, "{wrong}");
        }
        assert!(serde_json::from_str::<RoomId>("\"my-room\"").is_ok());
        assert!(serde_json::from_str::<RoomId>("\"my room\"").is_err());
    }

    #[test]
    fn of_a_secret_only_its_hash_is_kept() {
        let secret = secret().unwrap();
        assert_eq!(secret.len(), 43);
        assert_eq!(secret_hash(&secret).len(), 64);
        assert_ne!(secret_hash(&secret), secret_hash("another"));
    }
}
