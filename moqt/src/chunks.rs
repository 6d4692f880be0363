//! The unread bytes of a stream, in the pieces in which they arrived.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Longest run of small fields that a stream decoder reads at once: five integers and a byte, rounded up.
pub(crate) const HEAD_BYTES_MAX: usize = 64;

/// A queue of pieces. Small fields are read across its pieces; a long field is handed out as a slice of the
/// piece that holds all of it, and is assembled otherwise.
///
/// Pieces are slices of received packets and keep those alive, so what has to wait is copied: however small the
/// pieces of a stream are, what is held here is at most twice what was received.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    pieces: VecDeque<Bytes>,
    len: usize,
    /// What has come of the field that [`Self::take`] was last asked for.
    assembled: Vec<u8>,
}

impl Chunks {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.pieces.push_back(bytes);
        }
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.len + self.assembled.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads small fields: `read` takes from the front of what it is given and answers `None` when that does
    /// not reach; then nothing is taken.
    pub(crate) fn head<T>(&mut self, read: impl FnOnce(&mut &[u8]) -> Option<T>) -> Option<T> {
        let mut scratch = [0; HEAD_BYTES_MAX];
        let front = match self.pieces.front() {
            Some(front) if front.len() >= HEAD_BYTES_MAX || front.len() == self.len => &**front,
            _ => {
                let bytes = self.pieces.iter().flat_map(|piece| piece.iter());
                let filled = scratch.iter_mut().zip(bytes).map(|(to, from)| *to = *from).count();
                scratch.get(..filled).unwrap_or_default()
            }
        };
        let mut unread = front;
        let value = read(&mut unread)?;
        let taken = front.len() - unread.len();
        self.skip(taken);
        Some(value)
    }

    /// Takes `len` bytes once all of them have come. Until then the same `len` has to be asked for again.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        if self.assembled.is_empty() {
            if len == 0 {
                return Some(Bytes::new());
            }
            if let Some(front) = self.pieces.front_mut().filter(|front| front.len() >= len) {
                let bytes = front.split_to(len);
                self.len -= len;
                if front.is_empty() {
                    self.pieces.pop_front();
                }
                return Some(bytes);
            }
        }
        while let Some(mut piece) = self.pieces.pop_front() {
            let missing = len - self.assembled.len();
            let part = piece.split_to(missing.min(piece.len()));
            self.len -= part.len();
            self.assemble(&part, len);
            if !piece.is_empty() {
                self.pieces.push_front(piece);
            }
            if self.assembled.len() == len {
                return Some(std::mem::take(&mut self.assembled).into());
            }
        }
        None
    }

    /// Grows by what has come, not by what was announced, and ends at exactly `len`.
    fn assemble(&mut self, part: &[u8], len: usize) {
        let needed = self.assembled.len() + part.len();
        if needed > self.assembled.capacity() {
            let capacity = needed.max(self.assembled.capacity().saturating_mul(2)).min(len);
            self.assembled.reserve_exact(capacity - self.assembled.len());
        }
        self.assembled.extend_from_slice(part);
    }

    /// To be called when the next field has not come whole: lets go of the packets that hold its beginning.
    pub(crate) fn settle(&mut self) {
        if self.len > 0 && self.len < HEAD_BYTES_MAX {
            let mut rest = Vec::with_capacity(self.len);
            self.pieces.iter().for_each(|piece| rest.extend_from_slice(piece));
            self.pieces.clear();
            self.pieces.push_back(rest.into());
        }
    }

    fn skip(&mut self, mut count: usize) {
        self.len -= count;
        while let Some(front) = self.pieces.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if !front.is_empty() {
                break;
            }
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vi64;

    #[test]
    fn a_field_inside_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![7; 1000]);
        let mut chunks = Chunks::default();
        chunks.push(piece.clone());
        assert_eq!(chunks.take(400).unwrap().as_ptr(), piece.as_ptr());
        assert_eq!(chunks.take(600).unwrap().as_ptr(), piece[400..].as_ptr());
        assert!(chunks.is_empty());
    }

    #[test]
    fn a_field_in_many_pieces_is_assembled_to_its_exact_size() {
        let mut chunks = Chunks::default();
        let all: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        for piece in all.chunks(7) {
            assert_eq!(chunks.take(10_000), None);
            chunks.push(Bytes::copy_from_slice(piece));
        }
        assert!(chunks.assembled.capacity() <= 2 * chunks.len());
        assert_eq!(chunks.take(10_000).unwrap(), all);
        assert!(chunks.is_empty());
    }

    #[test]
    fn an_announced_length_alone_allocates_nothing() {
        let mut chunks = Chunks::default();
        chunks.push(Bytes::from_static(&[1, 2, 3]));
        assert_eq!(chunks.take(usize::MAX), None);
        assert_eq!((chunks.len(), chunks.assembled.capacity()), (3, 3));
    }

    #[test]
    fn small_fields_are_read_across_pieces_and_an_incomplete_one_takes_nothing() {
        let mut chunks = Chunks::default();
        for byte in [0xed, 0x7f, 0x3e] {
            chunks.push(Bytes::copy_from_slice(&[byte]));
            assert_eq!(chunks.head(|unread| vi64::take(unread)), None);
            chunks.settle();
        }
        assert_eq!(chunks.pieces.len(), 1, "the packets are let go");
        chunks.push(Bytes::from_static(&[0x7d, 0x25]));
        assert_eq!(chunks.head(|unread| vi64::take(unread)), Some(226_442_877));
        assert_eq!(chunks.head(|unread| vi64::take(unread)), Some(37));
        assert!(chunks.is_empty());
    }
}
