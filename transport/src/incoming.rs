//! A client at the door: it has finished its handshake and waits to be let in.

use std::net::{IpAddr, SocketAddr};

use quinn::crypto::rustls::HandshakeData;
use roundtable_moqt::SessionError;
use web_transport_proto::http::{StatusCode, header};

use crate::{
    MOQT_PROTOCOL,
    codes::{CodeSpace, http3},
    connection::Connection,
    quic::StreamLimits,
    tls::H3_PROTOCOL,
    web_transport::{self, RequestError},
};

/// A client that wants a session. Dropping it turns the client away without a word.
#[derive(Debug)]
pub struct Incoming {
    connection: quinn::Connection,
    kind: IncomingKind,
    request: Option<RequestHolder>,
    stream_limits: StreamLimits,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncomingKind {
    /// WebTransport.
    WebTransport(ConnectRequest),
    /// Raw QUIC; path and authority will stand in the client's SETUP.
    Quic,
}

/// What stood in a WebTransport client's CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Path, not percent-decoded, dot segments resolved, never empty. The scope follows its first `/`.
    pub path: String,
    /// What follows `?`, as it came. May hold a token: not for logs.
    pub query: Option<String>,
    /// `:authority`; a port of 443 is left out.
    pub authority: String,
    /// Every Origin header, in order. Browsers send exactly one; other clients none. One that is no text is empty.
    pub origins: Vec<String>,
    /// Sub-protocols offered, best first.
    pub protocols: Vec<String>,
}

/// Why a client was not let in.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It does not offer the version we speak, and was told so.
    #[error("the client does not offer {MOQT_PROTOCOL}")]
    Version,
    /// It is gone.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl Incoming {
    /// What it asks for.
    pub fn kind(&self) -> &IncomingKind {
        &self.kind
    }

    /// Where it is.
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The address of ours it sent to, where the system tells.
    pub fn local_ip(&self) -> Option<IpAddr> {
        self.connection.local_ip()
    }

    /// Lets it in. A WebTransport client that does not offer [`MOQT_PROTOCOL`] is refused with 400.
    pub async fn accept(self) -> Result<Connection, AcceptError> {
        let Some(RequestHolder(request)) = self.request else {
            return Ok(Connection::quic_served(self.connection, self.stream_limits));
        };
        if !request.connect.protocols.iter().any(|protocol| protocol == MOQT_PROTOCOL) {
            request.refuse(StatusCode::BAD_REQUEST).await;
            return Err(AcceptError::Version);
        }
        match request.accept(MOQT_PROTOCOL).await {
            Ok(session) => Ok(Connection::served(session, self.stream_limits)),
            Err(error) => Err(AcceptError::Lost(error.to_string())),
        }
    }

    /// Turns it away: an HTTP status for WebTransport, the draft's code nearest to it for raw QUIC. Waits, but not
    /// for long, until the client has read it.
    pub async fn reject(self, status: u16) {
        match self.request {
            Some(RequestHolder(request)) => {
                request
                    .refuse(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
                    .await;
            }
            None => {
                let code = match status {
                    401 | 403 => SessionError::Unauthorized,
                    404 => SessionError::InvalidPath,
                    _ => SessionError::InternalError,
                };
                self.connection.close(CodeSpace::Quic.write(code.code()), b"refused");
            }
        }
    }
}

struct RequestHolder(Box<web_transport::Request>);

impl std::fmt::Debug for RequestHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CONNECT")
    }
}

/// Why a client never got as far as [`Incoming`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("QUIC: {0}")]
    Quic(#[from] quinn::ConnectionError),
    #[error("no common protocol")]
    Protocol,
    #[error("HTTP/3: {0}")]
    Http(#[from] RequestError),
}

/// QUIC's handshake, and for WebTransport SETTINGS and the CONNECT request.
pub(crate) async fn handshake(
    connecting: quinn::Incoming,
    stream_limits: StreamLimits,
) -> Result<Incoming, HandshakeError> {
    let connection = connecting.accept()?.await?;
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    match protocol.as_deref() {
        Some(protocol) if protocol == MOQT_PROTOCOL.as_bytes() => {
            Ok(Incoming { connection, kind: IncomingKind::Quic, request: None, stream_limits })
        }
        Some(protocol) if protocol == H3_PROTOCOL.as_bytes() => {
            web_transport(connection, stream_limits).await
        }
        _ => {
            connection.close(quinn::VarInt::from_u32(0), b"no common protocol");
            Err(HandshakeError::Protocol)
        }
    }
}

async fn web_transport(
    connection: quinn::Connection,
    stream_limits: StreamLimits,
) -> Result<Incoming, HandshakeError> {
    let close_on_drop = CloseOnDrop(Some(connection.clone()));
    let request = web_transport::read_request(connection.clone()).await;
    close_on_drop.disarm();
    let request = request?;
    let kind = IncomingKind::WebTransport(ConnectRequest::read(&request.connect));
    Ok(Incoming { connection, kind, request: Some(RequestHolder(Box::new(request))), stream_limits })
}

impl ConnectRequest {
    fn read(request: &web_transport_proto::ConnectRequest) -> Self {
        let url = &request.url;
        ConnectRequest {
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            authority: url.authority().to_owned(),
            origins: request
                .headers
                .get_all(header::ORIGIN)
                .iter()
                .map(|origin| origin.to_str().unwrap_or_default().to_owned())
                .collect(),
            protocols: request.protocols.clone(),
        }
    }
}

/// A handshake that is given up closes its connection, and says why.
struct CloseOnDrop(Option<quinn::Connection>);

impl CloseOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.close(http3::EXCESSIVE_LOAD, b"handshake timed out");
        }
    }
}
