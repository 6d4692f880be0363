//! What a unidirectional stream carries, told by its first integer (draft 3.4).

use crate::{error::Violation, fetch_stream::FETCH_HEADER, vi64};

/// Type of the first message on a control stream, which is also the stream's type (draft 10.3).
pub const SETUP: u64 = 0x2F00;
/// Type of a padding stream (draft 11.6.1).
pub const PADDING: u64 = 0x132B_3E28;

/// Kind of a unidirectional stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// A control stream: [`crate::codec`] reads it, from its type on.
    Control,
    /// A FETCH response: [`crate::fetch_stream::Decoder`] reads it, from its type on.
    Fetch,
    /// A subgroup: [`crate::subgroup::Decoder`] reads it, from its type on.
    Subgroup,
    /// To be read and discarded.
    Padding,
}

impl StreamType {
    /// The type of a stream that begins with `bytes`, of which none are taken. `None` until it has arrived
    /// whole, after 9 bytes at the latest; an unknown one ends the session.
    pub fn peek(mut bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let Some(code) = vi64::take(&mut bytes) else { return Ok(None) };
        match code {
            SETUP => Ok(Some(StreamType::Control)),
            FETCH_HEADER => Ok(Some(StreamType::Fetch)),
            PADDING => Ok(Some(StreamType::Padding)),
            0x10..=0x1F | 0x30..=0x3F | 0x50..=0x5F | 0x70..=0x7F => Ok(Some(StreamType::Subgroup)),
            _ => Err(Violation::protocol("unknown stream type")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_integer_tells_what_a_stream_carries() {
        assert_eq!(StreamType::peek(&[]), Ok(None));
        assert_eq!(StreamType::peek(&[0xaf]), Ok(None));
        assert_eq!(StreamType::peek(&[0xaf, 0x00]), Ok(Some(StreamType::Control)));
        assert_eq!(StreamType::peek(&[0x05, 0xff]), Ok(Some(StreamType::Fetch)));
        assert_eq!(StreamType::peek(&[0x7d]), Ok(Some(StreamType::Subgroup)));
        assert_eq!(StreamType::peek(&[0x80, 0x10]), Ok(Some(StreamType::Subgroup)));
        assert_eq!(StreamType::peek(&[0xf0, 0x13, 0x2b, 0x3e, 0x28]), Ok(Some(StreamType::Padding)));
        for unknown in [0x00, 0x04, 0x06, 0x20, 0x40, 0x60] {
            assert!(StreamType::peek(&[unknown]).is_err(), "{unknown:#x}");
        }
    }
}
