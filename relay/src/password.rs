//! Passwords: argon2id, slow on purpose, a few at once.

use std::sync::LazyLock;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::id::{NoRandomness, random_bytes};

/// Bytes of salt.
const SALT_BYTES: usize = 16;
/// Each takes a core for a while and 19 MiB; more wait.
static AT_ONCE: Semaphore = Semaphore::const_new(2);
/// Compared with when there is no such account, so that it takes as long.
static NOBODYS: LazyLock<String> =
    LazyLock::new(|| hash_now("nobody's", &[0; SALT_BYTES]).unwrap_or_default());

/// The hash to keep of a password.
pub async fn hash(password: String) -> Result<String, NoRandomness> {
    let salt = random_bytes::<SALT_BYTES>()?;
    slowly(move || hash_now(&password, &salt)).await.flatten().ok_or(NoRandomness)
}

/// Whether a password is the one of this hash. Without a hash it takes as long, and is not.
pub async fn is_right(password: String, hash: Option<String>) -> bool {
    let verify = move || {
        let is_somebodys = hash.is_some();
        let hash = hash.unwrap_or_else(|| NOBODYS.clone());
        let is_right = PasswordHash::new(&hash)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
        is_right && is_somebodys
    };
    slowly(verify).await.unwrap_or(false)
}

fn hash_now(password: &str, salt: &[u8]) -> Option<String> {
    // argon2id with 19 MiB and two passes, as OWASP has it.
    Argon2::default().hash_password_with_salt(password.as_bytes(), salt).ok().map(|hash| hash.to_string())
}

/// Off the threads that carry calls.
async fn slowly<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // Closed never.
    let permit = AT_ONCE.acquire().await.ok()?;
    let done = tokio::task::spawn_blocking(work).await.ok();
    drop(permit);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_right_or_not() {
        let kept = hash("correct horse".to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{kept}");
        assert_ne!(hash("correct horse".to_owned()).await.unwrap(), kept, "salted");
        assert!(is_right("correct horse".to_owned(), Some(kept.clone())).await);
        assert!(!is_right("battery staple".to_owned(), Some(kept)).await);
        assert!(!is_right("nobody's".to_owned(), None).await);
        assert!(!is_right("x".to_owned(), Some("no hash".to_owned())).await);
    }
}
