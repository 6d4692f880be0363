//! Why a request of a peer is refused.

use roundtable_moqt::{RequestErrorCode, message::RequestError};

/// A REQUEST_ERROR of ours, as small as it can be: code and fixed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code:?})")]
pub struct Refusal {
    /// The draft's code.
    pub code: RequestErrorCode,
    /// For people.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with this code.
    pub const fn new(code: RequestErrorCode, reason: &'static str) -> Self {
        Refusal { code, reason }
    }

    /// Our own mistake, told as such.
    pub const fn internal() -> Self {
        Refusal::new(RequestErrorCode::InternalError, "the relay lost track of this")
    }

    /// Over a limit; worth trying again later.
    pub const fn overload(reason: &'static str) -> Self {
        Refusal::new(RequestErrorCode::ExcessiveLoad, reason)
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        let retry_after_ms = (refusal.code == RequestErrorCode::ExcessiveLoad).then_some(RETRY_AFTER_MS);
        RequestError { retry_after_ms, ..RequestError::new(refusal.code, refusal.reason) }
    }
}

/// When whoever met a limit may try again.
const RETRY_AFTER_MS: u64 = 1000;
