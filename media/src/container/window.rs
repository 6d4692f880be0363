//! The part of a file that is in memory: grows at its end as bytes arrive, shrinks at its start as they are read.

use bytes::{Bytes, BytesMut};

/// Consecutive bytes of a file and where they lie.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: BytesMut,
    /// Offset in the file of the first byte held, or still to be dropped on arrival.
    start: u64,
    /// Bytes to drop as they arrive: what was skipped beyond the end.
    skip: u64,
    /// No bytes follow.
    is_finished: bool,
}

impl Window {
    /// Appends what arrived.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let dropped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        bytes = bytes.get(dropped..).unwrap_or_default();
        self.skip = self.skip.saturating_sub(len_u64(dropped));
        self.bytes.extend_from_slice(bytes);
    }

    /// No bytes follow the present end.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Drops everything and goes on at `offset`.
    pub(super) fn seek(&mut self, offset: u64) {
        *self = Window { start: offset, ..Window::default() };
    }

    /// Offset of the next byte to read.
    pub(super) fn position(&self) -> u64 {
        self.start
    }

    /// Offset of the next byte to push.
    pub(super) fn end(&self) -> u64 {
        if self.skip > 0 {
            self.start.saturating_sub(self.skip)
        } else {
            self.start.saturating_add(len_u64(self.bytes.len()))
        }
    }

    /// True when no byte follows [`Window::end`].
    pub(super) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// What is held, from [`Window::position`] on.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The next `len` bytes, if they have arrived.
    pub(super) fn take(&mut self, len: usize) -> Option<Bytes> {
        if self.bytes.len() < len {
            return None;
        }
        self.start = self.start.saturating_add(len_u64(len));
        Some(self.bytes.split_to(len).freeze())
    }

    /// Where any part can be had: asks for what comes after what was skipped, instead of dropping that.
    pub(super) fn jump(&mut self) {
        self.skip = 0;
    }

    /// Goes on `len` bytes later, dropping what has not arrived yet as it comes.
    pub(super) fn skip(&mut self, len: u64) {
        let held = usize::try_from(len).unwrap_or(usize::MAX).min(self.bytes.len());
        let _ = self.bytes.split_to(held);
        self.start = self.start.saturating_add(len);
        self.skip = self.skip.saturating_add(len.saturating_sub(len_u64(held)));
    }
}

/// A length as an offset.
pub(super) fn len_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
