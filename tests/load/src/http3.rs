//! WebTransport as a client needs it: SETTINGS, one CONNECT, and the headers of streams.

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use roundtable_moqt::StreamKind;
use roundtable_transport::MOQT_PROTOCOL;
use url::Url;
use web_transport_proto::{
    ConnectError, ConnectRequest, ConnectResponse, Frame, Settings, StreamUni, VarInt,
};

/// In front of every datagram of a connection's first session.
pub const DATAGRAM_PREFIX: &[u8] = &[0];

/// The control stream's bytes.
pub fn settings() -> Bytes {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut out = Vec::new();
    settings.encode(&mut out);
    out.into()
}

/// The CONNECT request's bytes.
pub fn connect(url: &Url) -> anyhow::Result<Bytes> {
    let mut out = Vec::new();
    let request = ConnectRequest::new(url.clone()).with_protocol(MOQT_PROTOCOL);
    request.encode(&mut out).context("the URL does not fit a CONNECT")?;
    Ok(out.into())
}

/// Whether the answer to the CONNECT has come whole; an error when it is a refusal.
pub fn is_accepted(answer: &[u8]) -> anyhow::Result<bool> {
    let mut answer = answer;
    match ConnectResponse::decode(&mut answer) {
        Ok(_) => Ok(true),
        Err(ConnectError::UnexpectedEnd) => Ok(false),
        Err(error) => Err(error).context("the relay refuses the session"),
    }
}

/// In front of a stream of ours. Both types take two bytes.
pub fn stream_header(kind: StreamKind) -> Bytes {
    match kind {
        StreamKind::Uni => Bytes::from_static(&[0x40, 0x54, 0x00]),
        StreamKind::Bi => Bytes::from_static(&[0x40, 0x41, 0x00]),
    }
}

/// What a stream of the relay is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Purpose {
    /// More bytes are needed to tell.
    Unknown,
    /// Of the session: what follows the header.
    Session(Bytes),
    /// HTTP/3's own.
    Http3,
}

/// Reads the header of a stream of the relay.
pub fn purpose(kind: StreamKind, bytes: &Bytes) -> Purpose {
    let expected = match kind {
        StreamKind::Uni => StreamUni::WEBTRANSPORT.0,
        StreamKind::Bi => Frame::WEBTRANSPORT.0,
    };
    let mut rest = bytes.clone();
    match VarInt::decode(&mut rest) {
        Err(_) => Purpose::Unknown,
        Ok(stream_type) if stream_type != expected => Purpose::Http3,
        Ok(_) => match VarInt::decode(&mut rest) {
            Err(_) => Purpose::Unknown,
            Ok(_) => Purpose::Session(rest.copy_to_bytes(rest.remaining())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_streams_purpose_is_known_when_its_header_is_whole() {
        for kind in [StreamKind::Uni, StreamKind::Bi] {
            let header = stream_header(kind);
            assert_eq!(purpose(kind, &header.slice(..2)), Purpose::Unknown);
            let stream = Bytes::from([&header[..], b"moqt"].concat());
            assert_eq!(purpose(kind, &stream), Purpose::Session(Bytes::from_static(b"moqt")));
        }
        assert_eq!(purpose(StreamKind::Uni, &settings()), Purpose::Http3);
    }
}
