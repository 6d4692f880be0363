//! Dialling: `https://` is WebTransport by wtransport, `moqt://` is raw QUIC.

mod race;
mod refusal;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use quinn::{EndpointConfig, TokioRuntime};
use url::{Host, Url};
use wtransport::{
    config::{DnsLookupFuture, DnsResolver},
    endpoint::ConnectOptions,
    error::{ConnectingError, ConnectionError as DialledError},
};

use crate::{
    MOQT_PROTOCOL,
    connection::{Connection, Dialled, SetupTarget},
    quic::QuicConfig,
    socket,
    tls::{H3_PROTOCOL, Trust, TrustError},
};

/// Handshakes that may break before it is an error.
const ATTEMPTS_MAX: u32 = 2;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Which servers to believe.
    pub trust: Trust,
    /// Of the connection.
    pub quic: QuicConfig,
    /// UDP buffers, bytes, each direction.
    pub socket_buffer_bytes: usize,
    /// For name lookup, handshake and CONNECT together.
    pub timeout: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            trust: Trust::System,
            quic: QuicConfig::default(),
            socket_buffer_bytes: 4 << 20,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no connection: what to look at first. The messages are whole: no source repeats a part of them.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL that can be dialled.
    #[error("cannot use the URL: {0}")]
    Url(String),
    /// The name has no address.
    #[error("cannot find {host}: {reason}")]
    Name {
        /// As in the URL.
        host: String,
        /// The lookup's error.
        reason: io::Error,
    },
    /// Nobody answers.
    #[error(
        "{host} does not answer on UDP port {port}: is the server running, does a firewall let UDP through?"
    )]
    Unreachable {
        /// As in the URL.
        host: String,
        /// As in the URL.
        port: u16,
    },
    /// The server is not trusted.
    #[error("the server's certificate is refused: {0}")]
    Certificate(String),
    /// The server said no to the CONNECT request.
    #[error("the server refused the session{}", .status.map(|s| format!(" with status {s}")).unwrap_or_default())]
    Refused {
        /// HTTP status, when it is known.
        status: Option<u16>,
    },
    /// The server speaks another protocol, or another version of it.
    #[error("the server does not speak {MOQT_PROTOCOL}")]
    Version,
    /// The connection broke before it was of any use.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// No UDP socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(io::Error),
    /// No decision about the server's certificate is possible.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        ConnectError::Socket(error)
    }
}

/// Connects to a MoQT server. `https://` URLs are WebTransport, `moqt://` URLs raw QUIC; both default to port 443.
/// A name with addresses of both families is tried by both, so that it does not matter on which one the server
/// listens. The version is known to fit only when SETUP has been answered.
pub async fn connect(url: &str, config: &ClientConfig) -> Result<Connection, ConnectError> {
    let target = Target::parse(url)?;
    let dialling = async {
        let addresses = target.resolve().await?;
        let mut attempts_left = ATTEMPTS_MAX;
        loop {
            attempts_left -= 1;
            let dial = |address| dial(target.clone(), address, config.clone());
            match race::first_to_connect(addresses.clone(), dial).await {
                // A server gives up a handshake that takes too long, as on a bad path; another one may fare better.
                Some(Err(ConnectError::Lost(why))) if attempts_left > 0 => {
                    tracing::debug!(why, "dialling again");
                }
                Some(result) => return result,
                None => return Err(target.unreachable()),
            }
        }
    };
    tokio::time::timeout(config.timeout, dialling).await.unwrap_or_else(|_| Err(target.unreachable()))
}

/// Where to.
#[derive(Debug, Clone)]
struct Target {
    url: Url,
    is_web_transport: bool,
    /// Without brackets: what stands in SNI and in messages.
    host: String,
    port: u16,
}

impl Target {
    fn parse(url: &str) -> Result<Self, ConnectError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| ConnectError::Url("it must begin with https:// or moqt://".to_owned()))?;
        let is_web_transport = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "moqt" => false,
            other => return Err(ConnectError::Url(format!("{other}:// is neither https:// nor moqt://"))),
        };
        // The rules for hosts, ports and paths are the same, but the parser knows them only for its own schemes.
        let url =
            Url::parse(&format!("https://{rest}")).map_err(|error| ConnectError::Url(error.to_string()))?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(ConnectError::Url("it names no host".to_owned())),
        };
        let port = url.port_or_known_default().unwrap_or(443);
        Ok(Target { url, is_web_transport, host, port })
    }

    /// Addresses to try, at most one of each family, the resolver's favourite first.
    async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        if self.host.eq_ignore_ascii_case("localhost") {
            // Both by definition (RFC 6761), whatever the hosts file knows.
            let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(loopback.map(|address| SocketAddr::new(address, self.port)).to_vec());
        }
        let name_error = |reason| ConnectError::Name { host: self.host.clone(), reason };
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await.map_err(name_error)?.collect();
        let first = *found.first().ok_or_else(|| name_error(io::ErrorKind::NotFound.into()))?;
        let other = found.iter().find(|address| address.is_ipv4() != first.is_ipv4());
        Ok([Some(first), other.copied()].into_iter().flatten().collect())
    }

    fn path_and_query(&self) -> String {
        match self.url.query() {
            Some(query) => format!("{}?{query}", self.url.path()),
            None => self.url.path().to_owned(),
        }
    }

    fn unreachable(&self) -> ConnectError {
        ConnectError::Unreachable { host: self.host.clone(), port: self.port }
    }
}

/// One attempt: everything that differs between the addresses of a name.
struct Attempt {
    target: Target,
    address: SocketAddr,
    config: ClientConfig,
    /// Why the server's certificate was refused, if it was.
    refused: Arc<OnceLock<rustls::Error>>,
}

async fn dial(target: Target, address: SocketAddr, config: ClientConfig) -> Result<Connection, ConnectError> {
    let attempt = Attempt { target, address, config, refused: Arc::default() };
    let dialled = if attempt.target.is_web_transport {
        attempt.web_transport().await
    } else {
        attempt.raw_quic().await
    };
    dialled.map_err(|error| certificate_error(&attempt.refused).unwrap_or(error))
}

/// The QUIC libraries know only that TLS failed; our verifier knows that it was its own verdict, and which.
fn certificate_error(refused: &OnceLock<rustls::Error>) -> Option<ConnectError> {
    let why = match refused.get()? {
        rustls::Error::InvalidCertificate(rustls::CertificateError::ApplicationVerificationFailure) => {
            "its SHA-256 is not one of the pinned".to_owned()
        }
        other => other.to_string(),
    };
    Some(ConnectError::Certificate(why))
}

impl Attempt {
    async fn raw_quic(&self) -> Result<Connection, ConnectError> {
        let (connection, endpoint) = self.quinn(MOQT_PROTOCOL).await?;
        let setup_target = SetupTarget {
            path: self.target.path_and_query().into(),
            authority: self.target.url.authority().to_owned().into(),
        };
        Ok(Connection::quic_dialled(connection, endpoint, setup_target, self.config.quic.stream_limits()))
    }

    async fn web_transport(&self) -> Result<Connection, ConnectError> {
        let config = wtransport::ClientConfig::builder()
            .with_bind_socket(self.socket()?)
            .with_custom_tls_and_transport(self.tls(H3_PROTOCOL)?, self.config.quic.transport())
            .dns_resolver(Resolved(self.address))
            .build();
        let endpoint = wtransport::Endpoint::client(config)?;
        let options = ConnectOptions::builder(self.target.url.as_str())
            // A list of strings as structured fields have them (draft-ietf-webtrans-http3, section 3.3). wtransport
            // does not show the answer; SETUP tells.
            .add_header("wt-available-protocols", format!("\"{MOQT_PROTOCOL}\""))
            .build();
        let error = match endpoint.connect(options).await {
            Ok(connection) => {
                return Ok(Connection::dialled(
                    Dialled { connection, endpoint },
                    self.config.quic.stream_limits(),
                ));
            }
            Err(error) => error,
        };
        Err(match error {
            ConnectingError::InvalidUrl(why) | ConnectingError::InvalidServerName(why) => {
                ConnectError::Url(why)
            }
            // wtransport does not show the status either, and it is all a person has to go by: ask once more.
            ConnectingError::SessionRejected => ConnectError::Refused { status: refusal::status(self).await },
            ConnectingError::ConnectionError(DialledError::TimedOut) => self.target.unreachable(),
            ConnectingError::ConnectionError(DialledError::ConnectionClosed(close))
                if close.to_string().contains(NO_COMMON_ALPN_TEXT) =>
            {
                ConnectError::Version
            }
            other => ConnectError::Lost(other.to_string()),
        })
    }

    async fn quinn(&self, alpn: &str) -> Result<(quinn::Connection, quinn::Endpoint), ConnectError> {
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(self.tls(alpn)?)
            .map_err(|error| TrustError::Tls(rustls::Error::General(error.to_string())))?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(self.config.quic.transport()));
        let endpoint =
            quinn::Endpoint::new(EndpointConfig::default(), None, self.socket()?, Arc::new(TokioRuntime))?;
        let connecting = endpoint
            .connect_with(client, self.address, &self.target.host)
            .map_err(|error| ConnectError::Url(error.to_string()))?;
        let connection = connecting.await.map_err(|error| match error {
            quinn::ConnectionError::TimedOut => self.target.unreachable(),
            quinn::ConnectionError::VersionMismatch => ConnectError::Version,
            quinn::ConnectionError::ConnectionClosed(close)
                if u64::from(close.error_code) == NO_COMMON_ALPN =>
            {
                ConnectError::Version
            }
            other => ConnectError::Lost(other.to_string()),
        })?;
        Ok((connection, endpoint))
    }

    fn socket(&self) -> io::Result<std::net::UdpSocket> {
        let unspecified = match self.address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        socket::bind(unspecified, self.config.socket_buffer_bytes)
    }

    fn tls(&self, alpn: &str) -> Result<rustls::ClientConfig, TrustError> {
        self.config.trust.client_config(alpn, self.refused.clone())
    }
}

/// TLS's alert no_application_protocol, as QUIC carries it (RFC 9001, section 4.8).
const NO_COMMON_ALPN: u64 = 0x100 + 120;
/// The same as quinn prints it; wtransport keeps the number to itself.
const NO_COMMON_ALPN_TEXT: &str = "error 120";

/// The address is known already: the one of this attempt.
#[derive(Debug)]
struct Resolved(SocketAddr);

impl DnsResolver for Resolved {
    fn resolve(&self, _host: &str) -> Pin<Box<dyn DnsLookupFuture>> {
        let address = self.0;
        Box::pin(std::future::ready(Ok(Some(address))))
    }
}
