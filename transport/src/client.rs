//! Dialling: `https://` is WebTransport by wtransport, `moqt://` is raw QUIC.

mod race;

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

/// Why there is no connection: what to look at first.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not a URL that can be dialled.
    #[error("cannot use the URL: {0}")]
    Url(String),
    /// The name has no address.
    #[error("cannot find {host}: {source}")]
    Name {
        /// As in the URL.
        host: String,
        /// The lookup's error.
        source: io::Error,
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
    Socket(#[from] io::Error),
    /// No decision about the server's certificate is possible.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Connects to a MoQT server. `https://` URLs are WebTransport, `moqt://` URLs raw QUIC; both default to port 443.
/// A name with addresses of both families is tried by both, so that it does not matter on which one the server
/// listens. The version is known to fit only when SETUP has been answered.
pub async fn connect(url: &str, config: &ClientConfig) -> Result<Connection, ConnectError> {
    let target = Target::parse(url)?;
    let dialling = async {
        let addresses = target.resolve().await?;
        let dial = |address| dial(target.clone(), address, config.clone());
        race::first_to_connect(addresses, dial).await.unwrap_or_else(|| Err(target.unreachable()))
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
        let name_error = |source| ConnectError::Name { host: self.host.clone(), source };
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

async fn dial(target: Target, address: SocketAddr, config: ClientConfig) -> Result<Connection, ConnectError> {
    let unspecified = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = socket::bind(unspecified, config.socket_buffer_bytes)?;
    let alpn = if target.is_web_transport { H3_PROTOCOL } else { MOQT_PROTOCOL };
    let (tls, refused) = config.trust.client_config(alpn)?;
    let dialled = if target.is_web_transport {
        dial_web_transport(&target, address, socket, tls, &config.quic).await
    } else {
        dial_quic(&target, address, socket, tls, &config.quic).await
    };
    dialled.map_err(|error| certificate_error(&refused).unwrap_or(error))
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

async fn dial_quic(
    target: &Target,
    address: SocketAddr,
    socket: std::net::UdpSocket,
    tls: rustls::ClientConfig,
    quic: &QuicConfig,
) -> Result<Connection, ConnectError> {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls)
        .map_err(|error| TrustError::Tls(rustls::Error::General(error.to_string())))?;
    let mut client = quinn::ClientConfig::new(Arc::new(crypto));
    client.transport_config(Arc::new(quic.transport()));
    let endpoint = quinn::Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    let connecting = endpoint
        .connect_with(client, address, &target.host)
        .map_err(|error| ConnectError::Url(error.to_string()))?;
    let connection = connecting.await.map_err(|error| match error {
        quinn::ConnectionError::TimedOut => target.unreachable(),
        quinn::ConnectionError::ConnectionClosed(close) if is_no_common_alpn(u64::from(close.error_code)) => {
            ConnectError::Version
        }
        quinn::ConnectionError::VersionMismatch => ConnectError::Version,
        other => ConnectError::Lost(other.to_string()),
    })?;
    let setup_target = SetupTarget {
        path: target.path_and_query().into(),
        authority: target.url.authority().to_owned().into(),
    };
    Ok(Connection::quic_dialled(connection, endpoint, setup_target))
}

/// TLS's alert no_application_protocol, as QUIC carries it (RFC 9001, section 4.8).
fn is_no_common_alpn(code: u64) -> bool {
    code == 0x100 + 120
}

async fn dial_web_transport(
    target: &Target,
    address: SocketAddr,
    socket: std::net::UdpSocket,
    tls: rustls::ClientConfig,
    quic: &QuicConfig,
) -> Result<Connection, ConnectError> {
    let config = wtransport::ClientConfig::builder()
        .with_bind_socket(socket)
        .with_custom_tls_and_transport(tls, quic.transport())
        .dns_resolver(Resolved(address))
        .build();
    let endpoint = wtransport::Endpoint::client(config)?;
    let options = ConnectOptions::builder(target.url.as_str())
        // A list of strings as structured fields have them (draft-ietf-webtrans-http3, section 3.3). wtransport does
        // not show the answer; SETUP tells.
        .add_header("wt-available-protocols", format!("\"{MOQT_PROTOCOL}\""))
        .build();
    let connection = endpoint.connect(options).await.map_err(|error| match error {
        ConnectingError::InvalidUrl(why) | ConnectingError::InvalidServerName(why) => ConnectError::Url(why),
        ConnectingError::SessionRejected => ConnectError::Refused { status: None },
        ConnectingError::ConnectionError(DialledError::TimedOut) => target.unreachable(),
        ConnectingError::ConnectionError(DialledError::ConnectionClosed(close))
            if close.to_string().contains(NO_COMMON_ALPN) =>
        {
            ConnectError::Version
        }
        other => ConnectError::Lost(other.to_string()),
    })?;
    Ok(Connection::dialled(Dialled { connection, endpoint }))
}

/// As quinn prints it; wtransport keeps the number to itself.
const NO_COMMON_ALPN: &str = "error 120";

/// The address is known already: the one of this attempt.
#[derive(Debug)]
struct Resolved(SocketAddr);

impl DnsResolver for Resolved {
    fn resolve(&self, _host: &str) -> Pin<Box<dyn DnsLookupFuture>> {
        let address = self.0;
        Box::pin(std::future::ready(Ok(Some(address))))
    }
}
