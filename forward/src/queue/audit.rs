//! What must hold between the parts of a queue, whatever came: for [`replay`](crate::replay).

use crate::queue::{Queue, datagrams::Waiting};

impl Queue {
    /// Panics when the books do not agree. Costs as much as the queue is long.
    pub(crate) fn audit(&self) {
        let (mut datagrams, mut bytes, mut turns) = (0, 0, 0);
        for (key, subscription) in self.subscriptions.iter() {
            datagrams += subscription.waiting.len();
            bytes += subscription.waiting.values().map(Waiting::len).sum::<usize>();
            let first = subscription.waiting.first_key_value().map(|(rank, _)| rank.publisher_priority);
            assert_eq!(subscription.turn.map(|turn| turn.publisher_priority), first, "{key:?}");
            if let Some(turn) = subscription.turn {
                assert!(self.turns.contains(&turn), "{key:?} waits in vain");
                assert_eq!(
                    (turn.subscriber_priority, turn.key),
                    (subscription.settings.subscriber_priority, key)
                );
                turns += 1;
            }
        }
        assert_eq!((datagrams, bytes, turns), (self.datagrams, self.datagram_bytes, self.turns.len()));
        assert!(self.datagrams <= self.limits.datagrams_max);
        assert!(self.datagram_bytes <= self.limits.datagram_bytes_max);
        self.audit_streams();
    }
}
