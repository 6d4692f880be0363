//! A room's chat while somebody is there: one order for all, and how much of it is remembered.

use std::collections::VecDeque;

use crate::{clock::UnixMs, store::messages::Message};

/// Messages remembered.
const MESSAGES_MAX: usize = 2000;
/// Bytes of their text.
const BYTES_MAX: usize = 1 << 20;

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Chat {
    messages: VecDeque<Message>,
    bytes: usize,
    last_number: i64,
}

impl Chat {
    /// The number of a message that comes now. Larger than any before, also than those of a relay before this one;
    /// one after the other from then on.
    pub(super) fn next_number(&mut self, now: UnixMs) -> i64 {
        let known = self.messages.back().map_or(0, |message| message.number).max(self.last_number);
        self.last_number = if self.last_number == 0 { now.0.max(known + 1) } else { known + 1 };
        self.last_number
    }

    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.text.len();
        self.messages.push_back(message);
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let Some(gone) = self.messages.pop_front() else { break };
            self.bytes -= gone.text.len();
        }
    }

    /// What was kept of before, unless something has been said already.
    pub(super) fn load(&mut self, messages: Vec<Message>) {
        if self.messages.is_empty() {
            for message in messages {
                self.push(message);
            }
        }
    }

    /// Forgets what is older than that.
    pub(super) fn forget_before(&mut self, at: UnixMs) {
        while self.messages.front().is_some_and(|message| message.at <= at) {
            if let Some(gone) = self.messages.pop_front() {
                self.bytes -= gone.text.len();
            }
        }
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter()
    }

    pub(super) fn after(&self, number: i64) -> Vec<Message> {
        self.messages.iter().filter(|message| message.number > number).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ParticipantId;

    fn message(number: i64, text: &str) -> Message {
        Message {
            number,
            participant: ParticipantId::new("p").unwrap(),
            user: None,
            name: String::new(),
            text: text.to_owned(),
            at: UnixMs(number),
        }
    }

    #[test]
    fn numbers_begin_beyond_all_before_and_leave_none_out() {
        let mut chat = Chat::default();
        assert_eq!(chat.next_number(UnixMs(1000)), 1000);
        assert_eq!(chat.next_number(UnixMs(9000)), 1001);
        assert_eq!(chat.next_number(UnixMs(10)), 1002, "also when the clock is set back");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut chat = Chat::default();
        for number in 1..=3000 {
            chat.push(message(number, "x"));
        }
        assert_eq!(chat.messages().count(), MESSAGES_MAX);
        assert_eq!(chat.after(2998).len(), 2);
        chat.push(message(3001, &"y".repeat(BYTES_MAX - 10)));
        assert_eq!(chat.messages().count(), 11);
        chat.forget_before(UnixMs(3000));
        assert_eq!(chat.messages().map(|message| message.number).collect::<Vec<_>>(), [3001]);
        chat.forget_before(UnixMs(3001));
        assert_eq!((chat.bytes, chat.messages().count()), (0, 0));
    }
}
