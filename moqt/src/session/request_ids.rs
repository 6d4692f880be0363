//! Which request ids the peer has used (draft 10.1).
//!
//! Ids come on separate streams, so they arrive out of order, and one whose stream was reset never arrives.
//! Kept as the gaps below the highest, so that a well-behaved peer costs next to nothing.

use std::collections::BTreeMap;

use super::config::{REQUEST_ID_GAPS_MAX, Role};
use crate::{
    error::{SessionError, Violation},
    message::RequestId,
};

/// Counts in halves of an id: parity is checked and then left out.
#[derive(Debug)]
pub(super) struct RequestIds {
    parity: u64,
    /// One above the highest used.
    next: u64,
    /// Runs of unused ones below `next`: first to last.
    gaps: BTreeMap<u64, u64>,
}

impl RequestIds {
    pub(super) fn of(role: Role) -> Self {
        RequestIds { parity: role.parity(), next: 0, gaps: BTreeMap::new() }
    }

    /// The smallest id above all that were used.
    pub(super) fn next(&self) -> RequestId {
        RequestId(self.next.saturating_mul(2).saturating_add(self.parity))
    }

    /// Notes an id; an error when it is not the peer's to use, or was used before.
    pub(super) fn insert(&mut self, id: RequestId) -> Result<(), Violation> {
        const REUSED: Violation =
            Violation { code: SessionError::InvalidRequestId, reason: "a request id was used twice" };
        if id.0 % 2 != self.parity {
            return Err(Violation {
                code: SessionError::InvalidRequestId,
                reason: "a request id has the wrong parity",
            });
        }
        let number = id.0 / 2;
        if number >= self.next {
            if number > self.next {
                self.gaps.insert(self.next, number - 1);
            }
            self.next = number + 1;
        } else {
            let (&first, &last) =
                self.gaps.range(..=number).next_back().filter(|(_, last)| **last >= number).ok_or(REUSED)?;
            self.gaps.remove(&first);
            if first < number {
                self.gaps.insert(first, number - 1);
            }
            if number < last {
                self.gaps.insert(number + 1, last);
            }
        }
        if self.gaps.len() > REQUEST_ID_GAPS_MAX {
            self.gaps.pop_first();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_come_in_any_order_but_only_once() {
        let mut ids = RequestIds::of(Role::Server);
        for id in [1, 9, 5, 3, 7, 11] {
            ids.insert(RequestId(id)).unwrap();
        }
        assert!(ids.gaps.is_empty());
        assert_eq!(ids.next(), RequestId(13));
        for id in [1, 3, 5, 7, 9, 11] {
            assert_eq!(ids.insert(RequestId(id)).unwrap_err().code, SessionError::InvalidRequestId);
        }
    }

    #[test]
    fn an_id_of_the_other_side_is_refused() {
        let mut ids = RequestIds::of(Role::Client);
        assert_eq!(ids.insert(RequestId(1)).unwrap_err().code, SessionError::InvalidRequestId);
        assert_eq!(ids.next(), RequestId(0));
    }

    #[test]
    fn a_peer_that_leaves_gaps_costs_a_bounded_amount() {
        let mut ids = RequestIds::of(Role::Client);
        for number in 0..100_000 {
            ids.insert(RequestId(number * 4 + 2)).unwrap();
        }
        assert_eq!(ids.gaps.len(), REQUEST_ID_GAPS_MAX);
        assert!(ids.insert(RequestId(0)).is_err(), "the oldest gap counts as used");
        ids.insert(RequestId(99_999 * 4)).unwrap();
    }

    #[test]
    fn the_largest_id_is_an_id_like_any_other() {
        let mut ids = RequestIds::of(Role::Server);
        ids.insert(RequestId(u64::MAX)).unwrap();
        assert!(ids.insert(RequestId(u64::MAX)).is_err());
        ids.insert(RequestId(u64::MAX - 2)).unwrap();
    }
}
