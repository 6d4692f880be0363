//! One session's QUIC connection, whatever carries it.
//!
//! The streams of all three kinds are quinn's in the end, and the driver reads and writes them as such. They differ
//! in how they come to be: raw QUIC has nothing in front; served WebTransport streams begin with a type and the
//! session's id; wtransport, which dials, reads and writes that header itself and hands over streams past it.

use std::{future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use quinn::VarInt;
use roundtable_moqt::{SessionError, StreamKind, session::Carrier};
use web_transport_proto as proto;

use crate::{
    codes::{CodeSpace, http3},
    datagrams::DatagramSender,
    quic::StreamLimits,
    web_transport::{self, Farewell},
};

/// One session's connection. Dropping it closes the connection.
pub struct Connection {
    quic: quinn::Connection,
    kind: Kind,
    stream_limits: StreamLimits,
}

enum Kind {
    /// Raw QUIC, either side. A client's endpoint stays, to say goodbye before the process ends.
    Quic { dialled: Option<(quinn::Endpoint, SetupTarget)> },
    /// WebTransport, accepted. Holds the CONNECT stream.
    Served(Box<web_transport::Session>),
    /// WebTransport, dialled.
    Dialled(Arc<Dialled>),
}

/// Path and authority of a `moqt://` URL, for SETUP's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupTarget {
    /// Path and query.
    pub path: Bytes,
    /// Host, and port when it is not the usual one.
    pub authority: Bytes,
}

pub(crate) struct Dialled {
    pub(crate) connection: wtransport::Connection,
    pub(crate) endpoint: wtransport::Endpoint<wtransport::endpoint::endpoint_side::Client>,
}

/// How long the end of a connection may take: the peer has to hear of it, but nobody waits for one that is gone.
const WAIT_MAX: Duration = Duration::from_millis(1500);

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The connection is gone; [`Connection::end`] says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

/// How a session ended, as the transport saw it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// The peer closed it; else it was lost.
    pub(crate) by_peer: bool,
    pub(crate) code: Option<SessionError>,
    pub(crate) reason: String,
}

impl Connection {
    pub(crate) fn quic_served(quic: quinn::Connection, stream_limits: StreamLimits) -> Self {
        Connection { quic, kind: Kind::Quic { dialled: None }, stream_limits }
    }

    pub(crate) fn quic_dialled(
        quic: quinn::Connection,
        endpoint: quinn::Endpoint,
        setup_target: SetupTarget,
        stream_limits: StreamLimits,
    ) -> Self {
        Connection { quic, kind: Kind::Quic { dialled: Some((endpoint, setup_target)) }, stream_limits }
    }

    pub(crate) fn served(session: web_transport::Session, stream_limits: StreamLimits) -> Self {
        Connection { quic: session.quic().clone(), kind: Kind::Served(Box::new(session)), stream_limits }
    }

    pub(crate) fn dialled(dialled: Dialled, stream_limits: StreamLimits) -> Self {
        Connection {
            quic: dialled.connection.quic_connection().clone(),
            kind: Kind::Dialled(Arc::new(dialled)),
            stream_limits,
        }
    }

    /// What carries the session: on raw QUIC, a client's SETUP must name path and authority.
    pub fn carrier(&self) -> Carrier {
        match self.kind {
            Kind::Quic { .. } => Carrier::Quic,
            Kind::Served(_) | Kind::Dialled(_) => Carrier::WebTransport,
        }
    }

    /// What a client's SETUP must say on raw QUIC (draft 3.1); `None` on WebTransport, and for servers.
    pub fn setup_target(&self) -> Option<&SetupTarget> {
        match &self.kind {
            Kind::Quic { dialled } => dialled.as_ref().map(|(_, setup_target)| setup_target),
            Kind::Served(_) | Kind::Dialled(_) => None,
        }
    }

    /// The peer's present address; it may move.
    pub fn remote_address(&self) -> SocketAddr {
        self.quic.remote_address()
    }

    /// Sends this connection's datagrams.
    pub fn datagrams(&self) -> DatagramSender {
        DatagramSender::new(self.quic.clone(), self.datagram_prefix())
    }

    /// A connection carries one session, and it is the first: its CONNECT is stream 0, a quarter of which is 0.
    fn datagram_prefix(&self) -> &'static [u8] {
        match self.carrier() {
            Carrier::Quic => &[],
            Carrier::WebTransport => &[0],
        }
    }

    /// What the peer may have open at first.
    pub(crate) fn stream_limits(&self) -> StreamLimits {
        self.stream_limits
    }

    /// Lets the peer have so many streams of a kind open from now on.
    pub(crate) fn allow_streams(&self, kind: StreamKind, count: u32) {
        let count = VarInt::from_u32(count);
        match kind {
            StreamKind::Uni => self.quic.set_max_concurrent_uni_streams(count),
            StreamKind::Bi => self.quic.set_max_concurrent_bi_streams(count),
        }
    }

    pub(crate) fn quinn(&self) -> &quinn::Connection {
        &self.quic
    }

    pub(crate) fn code_space(&self) -> CodeSpace {
        match self.carrier() {
            Carrier::Quic => CodeSpace::Quic,
            Carrier::WebTransport => CodeSpace::WebTransport,
        }
    }

    /// True when a stream's first bytes are WebTransport's, in both directions.
    pub(crate) fn streams_have_headers(&self) -> bool {
        matches!(self.kind, Kind::Served(_))
    }

    /// The next stream of the peer.
    pub(crate) fn accept(&self, kind: StreamKind) -> BoxFuture<Result<Streams, Gone>> {
        match (&self.kind, kind) {
            (Kind::Dialled(dialled), StreamKind::Uni) => {
                let dialled = dialled.clone();
                Box::pin(async move {
                    let receive = dialled.connection.accept_uni().await.map_err(|_| Gone)?;
                    Ok(Streams::receive(ReceiveStream::Dialled(receive)))
                })
            }
            (Kind::Dialled(dialled), StreamKind::Bi) => {
                let dialled = dialled.clone();
                Box::pin(async move {
                    let (send, receive) = dialled.connection.accept_bi().await.map_err(|_| Gone)?;
                    Ok(Streams::both(SendStream::Dialled(send), ReceiveStream::Dialled(receive)))
                })
            }
            (_, StreamKind::Uni) => {
                let quic = self.quic.clone();
                Box::pin(async move {
                    let receive = quic.accept_uni().await.map_err(|_| Gone)?;
                    Ok(Streams::receive(ReceiveStream::Quic(receive)))
                })
            }
            (_, StreamKind::Bi) => {
                let quic = self.quic.clone();
                Box::pin(async move {
                    let (send, receive) = quic.accept_bi().await.map_err(|_| Gone)?;
                    Ok(Streams::both(SendStream::Quic(send), ReceiveStream::Quic(receive)))
                })
            }
        }
    }

    /// A stream of ours; waits while the peer allows no more of them.
    pub(crate) fn open(&self, kind: StreamKind) -> BoxFuture<Result<Streams, Gone>> {
        match (&self.kind, kind) {
            (Kind::Dialled(dialled), StreamKind::Uni) => {
                let dialled = dialled.clone();
                Box::pin(async move {
                    let opening = dialled.connection.open_uni().await.map_err(|_| Gone)?;
                    let send = opening.await.map_err(|_| Gone)?;
                    Ok(Streams::send(SendStream::Dialled(send)))
                })
            }
            (Kind::Dialled(dialled), StreamKind::Bi) => {
                let dialled = dialled.clone();
                Box::pin(async move {
                    let opening = dialled.connection.open_bi().await.map_err(|_| Gone)?;
                    let (send, receive) = opening.await.map_err(|_| Gone)?;
                    Ok(Streams::both(SendStream::Dialled(send), ReceiveStream::Dialled(receive)))
                })
            }
            (_, StreamKind::Uni) => {
                let quic = self.quic.clone();
                Box::pin(async move {
                    let send = quic.open_uni().await.map_err(|_| Gone)?;
                    Ok(Streams::send(SendStream::Quic(send)))
                })
            }
            (_, StreamKind::Bi) => {
                let quic = self.quic.clone();
                Box::pin(async move {
                    let (send, receive) = quic.open_bi().await.map_err(|_| Gone)?;
                    Ok(Streams::both(SendStream::Quic(send), ReceiveStream::Quic(receive)))
                })
            }
        }
    }

    /// wtransport's own task reads datagrams as well: one that it caught, prefix stripped. `None` for other kinds,
    /// whose datagrams all come from quinn.
    pub(crate) fn caught_datagram(&self) -> Option<BoxFuture<Result<Bytes, Gone>>> {
        let Kind::Dialled(dialled) = &self.kind else { return None };
        let dialled = dialled.clone();
        Some(Box::pin(async move {
            dialled.connection.receive_datagram().await.map(|datagram| datagram.payload()).map_err(|_| Gone)
        }))
    }

    /// Completes when the peer of a served WebTransport session ends it on the CONNECT stream. `None` for other
    /// kinds, and the second time.
    pub(crate) fn farewell(&self) -> Option<BoxFuture<Farewell>> {
        match &self.kind {
            Kind::Served(session) => session.farewell().map(|farewell| Box::pin(farewell) as BoxFuture<_>),
            Kind::Quic { .. } | Kind::Dialled(_) => None,
        }
    }

    /// Closes the session with the draft's code, and waits, but not for long, until the peer knows.
    pub(crate) async fn close(&self, code: SessionError, reason: &str) {
        let closed = async {
            let quic_code = self.code_space().write(code.code());
            match &self.kind {
                Kind::Served(session) => session.close(code, reason).await,
                Kind::Quic { dialled: Some((endpoint, _)) } => {
                    self.quic.close(quic_code, reason.as_bytes());
                    endpoint.wait_idle().await;
                }
                Kind::Quic { dialled: None } => self.quic.close(quic_code, reason.as_bytes()),
                Kind::Dialled(dialled) => {
                    self.quic.close(quic_code, reason.as_bytes());
                    dialled.endpoint.wait_idle().await;
                }
            }
        };
        let _ = tokio::time::timeout(WAIT_MAX, closed).await;
    }

    /// Why the connection is gone. Waits until it is.
    pub(crate) async fn end(&self) -> End {
        match &self.kind {
            Kind::Quic { .. } | Kind::Served(_) => self.quic_end(self.quic.closed().await),
            Kind::Dialled(dialled) => {
                let error = self.quic.closed().await;
                if !matches!(error, quinn::ConnectionError::LocallyClosed) {
                    return self.quic_end(error);
                }
                // wtransport closed it, because the server ended the session on the CONNECT stream; only its own
                // calls say with which code.
                match tokio::time::timeout(WAIT_MAX, dialled.connection.accept_uni()).await {
                    Ok(Err(wtransport::error::ConnectionError::ApplicationClosed(close))) => End {
                        by_peer: true,
                        code: Some(SessionError::from_code(close.code().into_inner())),
                        reason: String::from_utf8_lossy(close.reason()).into_owned(),
                    },
                    Ok(Err(error)) => End { by_peer: false, code: None, reason: error.to_string() },
                    Ok(Ok(_)) | Err(_) => End { by_peer: false, code: None, reason: String::new() },
                }
            }
        }
    }

    fn quic_end(&self, error: quinn::ConnectionError) -> End {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => End {
                by_peer: true,
                code: self.code_space().session_error(close.error_code),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            quinn::ConnectionError::ConnectionClosed(close) => {
                End { by_peer: true, code: None, reason: close.to_string() }
            }
            other => End { by_peer: false, code: None, reason: other.to_string() },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Senders of datagrams hold clones of the QUIC connection; without this they would keep it open.
        let code = match self.carrier() {
            Carrier::Quic => VarInt::from_u32(0),
            Carrier::WebTransport => http3::NO_ERROR,
        };
        self.quic.close(code, b"");
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("carrier", &self.carrier())
            .field("remote_address", &self.remote_address())
            .finish()
    }
}

/// A new stream: one half, or both.
pub(crate) struct Streams {
    pub(crate) send: Option<SendStream>,
    pub(crate) receive: Option<ReceiveStream>,
}

impl Streams {
    fn send(send: SendStream) -> Self {
        Streams { send: Some(send), receive: None }
    }

    fn receive(receive: ReceiveStream) -> Self {
        Streams { send: None, receive: Some(receive) }
    }

    fn both(send: SendStream, receive: ReceiveStream) -> Self {
        Streams { send: Some(send), receive: Some(receive) }
    }
}

/// The sending half of a stream.
pub(crate) enum SendStream {
    Quic(quinn::SendStream),
    Dialled(wtransport::SendStream),
}

impl SendStream {
    pub(crate) fn quinn(&mut self) -> &mut quinn::SendStream {
        match self {
            SendStream::Quic(stream) => stream,
            SendStream::Dialled(stream) => stream.quic_stream_mut(),
        }
    }
}

/// The receiving half of a stream.
pub(crate) enum ReceiveStream {
    Quic(quinn::RecvStream),
    Dialled(wtransport::RecvStream),
}

impl ReceiveStream {
    pub(crate) fn quinn(&mut self) -> &mut quinn::RecvStream {
        match self {
            ReceiveStream::Quic(stream) => stream,
            ReceiveStream::Dialled(stream) => stream.quic_stream_mut(),
        }
    }
}

/// What stands in front of a served WebTransport stream (draft-ietf-webtrans-http3, section 4): its type, and the
/// session's id, which is stream 0.
pub(crate) mod stream_header {
    use super::{Bytes, StreamKind, proto};

    /// What the first bytes of a peer's stream say.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum Header {
        /// More bytes are needed.
        Partial,
        /// A stream of the session; so many bytes belong to the header.
        Session(usize),
        /// A stream of another session.
        OtherSession,
        /// Not WebTransport's: HTTP/3's own, or unknown.
        Other,
    }

    /// The header of a stream of ours. Both types are below 16384 and so take two bytes.
    pub(crate) fn ours(kind: StreamKind) -> Bytes {
        match kind {
            StreamKind::Uni => Bytes::from_static(&[0x40, 0x54, 0x00]),
            StreamKind::Bi => Bytes::from_static(&[0x40, 0x41, 0x00]),
        }
    }

    /// Reads the header of a stream of the peer.
    pub(crate) fn read(kind: StreamKind, bytes: &[u8]) -> Header {
        let mut rest = bytes;
        let expected = match kind {
            StreamKind::Uni => proto::StreamUni::WEBTRANSPORT.0,
            StreamKind::Bi => proto::Frame::WEBTRANSPORT.0,
        };
        match proto::VarInt::decode(&mut rest) {
            Err(_) => return Header::Partial,
            Ok(stream_type) if stream_type != expected => return Header::Other,
            Ok(_) => {}
        }
        match proto::VarInt::decode(&mut rest) {
            Err(_) => Header::Partial,
            Ok(session) if session.into_inner() == 0 => Header::Session(bytes.len() - rest.len()),
            Ok(_) => Header::OtherSession,
        }
    }
}

/// Takes the quarter session id off a WebTransport datagram. `None` when it names another session, or nothing.
pub(crate) fn strip_quarter_session_id(mut datagram: Bytes) -> Option<Bytes> {
    // Nearly always the one byte 0, but an integer may be written longer than it must be.
    let session = proto::VarInt::decode(&mut datagram).ok()?;
    (session.into_inner() == 0).then_some(datagram)
}

#[cfg(test)]
mod tests {
    use super::{stream_header::Header, *};

    #[test]
    fn a_streams_header_is_read_however_it_is_cut() {
        for kind in [StreamKind::Uni, StreamKind::Bi] {
            let ours = stream_header::ours(kind);
            for cut in 0..ours.len() {
                assert_eq!(stream_header::read(kind, &ours[..cut]), Header::Partial);
            }
            assert_eq!(stream_header::read(kind, &ours), Header::Session(3));
            let more = [&ours[..], b"payload"].concat();
            assert_eq!(stream_header::read(kind, &more), Header::Session(3));
            assert_eq!(stream_header::read(kind, &[ours[0], ours[1], 4]), Header::OtherSession);
        }
        assert_eq!(stream_header::read(StreamKind::Uni, &[0x02]), Header::Other);
        assert_eq!(stream_header::read(StreamKind::Bi, &[0x01, 0x00]), Header::Other);
        assert_eq!(stream_header::read(StreamKind::Bi, &[0x40, 0x41, 0x40, 0x00]), Header::Session(4));
    }

    #[test]
    fn only_the_sessions_own_datagrams_pass() {
        let strip = |bytes: &'static [u8]| strip_quarter_session_id(Bytes::from_static(bytes));
        assert_eq!(strip(&[0, 1, 2]).as_deref(), Some(&[1, 2][..]));
        assert_eq!(strip(&[0x40, 0, 1, 2]).as_deref(), Some(&[1, 2][..]));
        assert_eq!(strip(&[0]).as_deref(), Some(&[][..]));
        for wrong in [&[][..], &[1, 1, 2], &[0x40], &[0xff, 0xff]] {
            assert_eq!(strip(wrong), None);
        }
    }
}
