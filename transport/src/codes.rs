//! Error codes on their way between MoQT and QUIC.
//!
//! Raw QUIC carries the draft's numbers as they are. WebTransport shares its streams with HTTP/3 and moves
//! application codes (32 bits) into a range of their own (draft-ietf-webtrans-http3, section 4.4).

use quinn::VarInt;
use roundtable_moqt::SessionError;
use web_transport_proto::{error_from_http3, error_to_http3};

/// How a session's codes stand on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeSpace {
    /// As they are.
    Quic,
    /// Moved into WebTransport's range of HTTP/3's.
    WebTransport,
}

impl CodeSpace {
    /// A code of ours for RESET_STREAM, STOP_SENDING or CONNECTION_CLOSE. Codes that do not fit become the largest
    /// one that does.
    pub(crate) fn write(self, code: u64) -> VarInt {
        let code = match self {
            CodeSpace::Quic => code,
            CodeSpace::WebTransport => error_to_http3(u32::try_from(code).unwrap_or(u32::MAX)),
        };
        VarInt::from_u64(code).unwrap_or(VarInt::MAX)
    }

    /// The peer's code. Some WebTransport libraries send theirs unmoved; nothing else uses such small numbers, so
    /// they pass as they are.
    pub(crate) fn read(self, code: VarInt) -> u64 {
        match self {
            CodeSpace::Quic => code.into_inner(),
            CodeSpace::WebTransport => {
                error_from_http3(code.into_inner()).map_or(code.into_inner(), u64::from)
            }
        }
    }

    /// The session's code in a CONNECTION_CLOSE of the peer; `None` when it is not the session's but HTTP/3's.
    pub(crate) fn session_error(self, code: VarInt) -> Option<SessionError> {
        match self {
            CodeSpace::Quic => Some(SessionError::from_code(code.into_inner())),
            CodeSpace::WebTransport => {
                error_from_http3(code.into_inner()).map(|code| SessionError::from_code(code.into()))
            }
        }
    }
}

/// HTTP/3's own codes (RFC 9114, section 8.1; draft-ietf-webtrans-http3, section 9.5).
pub(crate) mod http3 {
    use quinn::VarInt;

    /// H3_NO_ERROR.
    pub(crate) const NO_ERROR: VarInt = VarInt::from_u32(0x100);
    /// H3_STREAM_CREATION_ERROR.
    pub(crate) const STREAM_CREATION: VarInt = VarInt::from_u32(0x103);
    /// H3_FRAME_UNEXPECTED.
    pub(crate) const FRAME_UNEXPECTED: VarInt = VarInt::from_u32(0x105);
    /// H3_FRAME_ERROR.
    pub(crate) const FRAME_ERROR: VarInt = VarInt::from_u32(0x106);
    /// H3_EXCESSIVE_LOAD.
    pub(crate) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(0x107);
    /// H3_SETTINGS_ERROR.
    pub(crate) const SETTINGS_ERROR: VarInt = VarInt::from_u32(0x109);
    /// H3_MISSING_SETTINGS.
    pub(crate) const MISSING_SETTINGS: VarInt = VarInt::from_u32(0x10a);
    /// H3_REQUEST_REJECTED.
    pub(crate) const REQUEST_REJECTED: VarInt = VarInt::from_u32(0x10b);
    /// QPACK_DECOMPRESSION_FAILED.
    pub(crate) const QPACK_FAILED: VarInt = VarInt::from_u32(0x200);
    /// WEBTRANSPORT_BUFFERED_STREAM_REJECTED: a stream of a session that does not exist.
    pub(crate) const UNKNOWN_SESSION: VarInt = VarInt::from_u32(0x3994_bd84);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_as_they_went() {
        for code in [0_u64, 1, 0x1d, 0x1e, 0x1f, 0x12, 0xffff_ffff] {
            for space in [CodeSpace::Quic, CodeSpace::WebTransport] {
                assert_eq!(space.read(space.write(code)), code);
                assert_eq!(space.session_error(space.write(code)), Some(SessionError::from_code(code)));
            }
        }
        assert_eq!(CodeSpace::WebTransport.write(0).into_inner(), 0x52e4_a40f_a8db);
    }

    #[test]
    fn codes_outside_webtransports_range_are_the_sessions_only_for_streams() {
        assert_eq!(CodeSpace::WebTransport.read(VarInt::from_u32(1)), 1);
        assert_eq!(CodeSpace::WebTransport.session_error(http3::NO_ERROR), None);
        assert_eq!(CodeSpace::Quic.write(u64::MAX), VarInt::MAX);
    }
}
