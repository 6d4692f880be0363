//! Reads the fields of a structure that has arrived whole; a missing one is an error that says where.

use bytes::{Buf, Bytes};

use super::{error::ContainerError, window::len_u64};

/// The unread rest of a structure.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    bytes: Bytes,
    at: u64,
}

impl Fields {
    /// `bytes` lie at offset `at` of the file.
    pub(super) fn new(bytes: Bytes, at: u64) -> Self {
        Fields { bytes, at }
    }

    /// Offset in the file of what is next.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes left.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// An error about what is next.
    pub(super) fn malformed(&self, what: &'static str) -> ContainerError {
        ContainerError::Malformed { at: self.at, what }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, ContainerError> {
        if self.bytes.len() < len {
            return Err(self.malformed("a structure is shorter than what it holds"));
        }
        self.at = self.at.saturating_add(len_u64(len));
        Ok(self.bytes.split_to(len))
    }

    /// Everything left.
    pub(super) fn rest(&mut self) -> Bytes {
        self.at = self.at.saturating_add(len_u64(self.bytes.len()));
        self.bytes.split_off(0)
    }

    /// A big-endian number of at most 8 bytes.
    pub(super) fn uint(&mut self, len: usize) -> Result<u64, ContainerError> {
        if len > 8 {
            return Err(self.malformed("a number has more than 64 bits"));
        }
        let mut bytes = self.take(len)?;
        Ok(if len == 0 { 0 } else { bytes.get_uint(len) })
    }

    pub(super) fn u8(&mut self) -> Result<u8, ContainerError> {
        Ok(self.take(1)?.get_u8())
    }

    pub(super) fn u16(&mut self) -> Result<u16, ContainerError> {
        Ok(self.take(2)?.get_u16())
    }

    pub(super) fn i16(&mut self) -> Result<i16, ContainerError> {
        Ok(self.take(2)?.get_i16())
    }

    pub(super) fn u32(&mut self) -> Result<u32, ContainerError> {
        Ok(self.take(4)?.get_u32())
    }

    pub(super) fn i32(&mut self) -> Result<i32, ContainerError> {
        Ok(self.take(4)?.get_i32())
    }

    pub(super) fn u64(&mut self) -> Result<u64, ContainerError> {
        Ok(self.take(8)?.get_u64())
    }

    pub(super) fn i64(&mut self) -> Result<i64, ContainerError> {
        Ok(self.take(8)?.get_i64())
    }
}
