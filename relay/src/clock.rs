//! The time of day, as it is kept and told: Unix milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Milliseconds since 1970 (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(example = 1_795_000_000_000_i64)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Never reached.
    pub const NEVER: UnixMs = UnixMs(i64::MAX);

    /// Now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// So much later.
    pub fn after(self, span: Duration) -> Self {
        UnixMs(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// So much earlier.
    pub fn before(self, span: Duration) -> Self {
        UnixMs(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; nothing when it is not.
    pub fn since(self, earlier: UnixMs) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds, as tokens have them.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_do_not_wrap() {
        assert_eq!(UnixMs::NEVER.after(Duration::from_secs(1)), UnixMs::NEVER);
        assert_eq!(UnixMs(5).since(UnixMs(7)), Duration::ZERO);
        assert_eq!(UnixMs(7).since(UnixMs(5)), Duration::from_millis(2));
        assert_eq!(UnixMs(-1).seconds(), -1);
        assert!(UnixMs::now() > UnixMs(1_700_000_000_000));
    }
}
