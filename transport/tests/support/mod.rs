//! A server on loopback for the tests.
#![allow(dead_code, unreachable_pub)]

pub mod peer;

use std::{future::Future, net::SocketAddr, time::Duration};

use roundtable_transport::{CertificateHash, Certificates, ClientConfig, Endpoint, EndpointConfig, Trust};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// Long enough for a busy machine, short enough to fail a test rather than hang it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long: {what}"))
}

pub fn certificate() -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    (vec![made.cert.der().clone()], key.into())
}

pub fn certificates() -> Certificates {
    let (chain, key) = certificate();
    Certificates::new(chain, key).unwrap()
}

pub struct Server {
    pub endpoint: Endpoint,
    pub certificates: Certificates,
    pub port: u16,
}

pub fn server() -> Server {
    server_with(|_| {})
}

pub fn server_with(change: impl FnOnce(&mut EndpointConfig)) -> Server {
    let certificates = certificates();
    let mut config = EndpointConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificates.clone());
    change(&mut config);
    let endpoint = Endpoint::bind(config).unwrap();
    let port = endpoint.local_addresses()[0].port();
    Server { endpoint, certificates, port }
}

impl Server {
    pub fn url(&self, scheme: &str, path: &str) -> String {
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn hash(&self) -> CertificateHash {
        self.certificates.hash().unwrap()
    }

    /// A client that trusts this server by its hash.
    pub fn client(&self) -> ClientConfig {
        ClientConfig { trust: Trust::Pinned(vec![self.hash()]), ..ClientConfig::default() }
    }
}

/// TLS of a client that trusts this server's certificate as its own root.
pub fn tls_client(server: &Server, alpn: &str) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(server.certificates.chain()[0].clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.into()];
    tls
}

/// A bare quinn client for one ALPN: for peers that are no WebTransport library.
pub async fn quinn_client(server: &Server, alpn: &str) -> Result<quinn::Connection, quinn::ConnectionError> {
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls_client(server, alpn)).unwrap();
    let config = quinn::ClientConfig::new(std::sync::Arc::new(crypto));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.connect_with(config, server.address(), "localhost").unwrap().await
}
