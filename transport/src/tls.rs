//! TLS: the server's certificate, which can be replaced while it runs, and whom a client trusts.
//!
//! The crypto provider is named everywhere: another dependency compiles a second one, and rustls panics when it has
//! to choose.

use std::{
    fmt, io,
    str::FromStr,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// ALPN of HTTP/3, on which WebTransport runs.
pub(crate) const H3_PROTOCOL: &str = "h3";

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificate in use. Clones share it, so whoever renews certificates keeps one.
#[derive(Clone)]
pub struct Certificates {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Begins with this chain (end entity first) and its key.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Certificates { current: Arc::new(RwLock::new(certified_key(chain, key)?)) })
    }

    /// Uses another one from now on. Connections that exist stay as they are.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        let next = certified_key(chain, key)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// The chain in use, end entity first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current().cert.clone()
    }

    /// The hash that clients can pin.
    pub fn hash(&self) -> Option<CertificateHash> {
        self.current().end_entity_cert().ok().map(CertificateHash::of)
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server's side of TLS, for both kinds of session; the ALPN tells which one a client wants.
    pub(crate) fn server_config(&self) -> Result<rustls::ServerConfig, rustls::Error> {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![H3_PROTOCOL.into(), crate::MOQT_PROTOCOL.into()];
        // What comes in 0-RTT can be replayed by others, and MoQT's SETUP is not made for that.
        config.max_early_data_size = 0;
        Ok(config)
    }
}

fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, rustls::Error> {
    CertifiedKey::from_der(chain, key, &provider()).map(Arc::new)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("hash", &self.hash()).finish()
    }
}

/// SHA-256 of a certificate's DER: what a browser takes as `serverCertificateHashes`. Written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateHash(pub [u8; 32]);

impl CertificateHash {
    /// Of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        CertificateHash(hash)
    }
}

/// Not a SHA-256 in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate's hash is 64 hex digits, with or without colons")]
pub struct HashSyntax;

impl FromStr for CertificateHash {
    type Err = HashSyntax;

    /// Hex digits of either case; colons between bytes, as other tools print them, are ignored.
    fn from_str(text: &str) -> Result<Self, HashSyntax> {
        let mut digits = text.trim().chars().filter(|c| *c != ':').map(|c| c.to_digit(16).ok_or(HashSyntax));
        let mut hash = [0; 32];
        for byte in &mut hash {
            let high = digits.next().ok_or(HashSyntax)??;
            let low = digits.next().ok_or(HashSyntax)??;
            *byte = u8::try_from(high * 16 + low).map_err(|_| HashSyntax)?;
        }
        match digits.next() {
            None => Ok(CertificateHash(hash)),
            Some(_) => Err(HashSyntax),
        }
    }
}

impl fmt::Display for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which servers a client believes to be who they say.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Those whose certificate is signed by an authority this system trusts.
    #[default]
    System,
    /// Those with one of these certificates, whatever stands in them.
    Pinned(Vec<CertificateHash>),
    /// Every server: for tests, since anybody in between can read and change everything.
    Anyone,
}

impl Trust {
    /// The client's side of TLS for one ALPN. When the server's certificate is
    /// refused, why is left in `refused`.
    pub(crate) fn client_config(
        &self,
        alpn: &str,
        refused: Arc<OnceLock<rustls::Error>>,
    ) -> Result<rustls::ClientConfig, TrustError> {
        let verifier = Verifier { policy: self.policy()?, provider: provider(), refused };
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.into()];
        Ok(config)
    }

    fn policy(&self) -> Result<Policy, TrustError> {
        Ok(match self {
            Trust::System => {
                let mut roots = rustls::RootCertStore::empty();
                let found = rustls_native_certs::load_native_certs();
                let (usable, _) = roots.add_parsable_certificates(found.certs);
                if usable == 0 {
                    return Err(TrustError::NoRoots);
                }
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                    .build()
                    .map_err(|_| TrustError::NoRoots)?;
                Policy::Roots(verifier)
            }
            Trust::Pinned(hashes) => Policy::Pinned(hashes.clone()),
            Trust::Anyone => Policy::Anyone,
        })
    }
}

/// Why no decision about a server's certificate is possible.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// This system has no authorities installed.
    #[error(
        "this system has no root certificates: install them, or pin the server's certificate by its hash"
    )]
    NoRoots,
    /// rustls refuses the settings.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl From<TrustError> for io::Error {
    fn from(error: TrustError) -> Self {
        io::Error::other(error)
    }
}

#[derive(Debug)]
enum Policy {
    Roots(Arc<WebPkiServerVerifier>),
    Pinned(Vec<CertificateHash>),
    Anyone,
}

/// Decides, and remembers why not: the QUIC libraries report only an alert's number.
#[derive(Debug)]
struct Verifier {
    policy: Policy,
    provider: Arc<CryptoProvider>,
    refused: Arc<OnceLock<rustls::Error>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = match &self.policy {
            Policy::Roots(verifier) => {
                verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Policy::Pinned(hashes) if !hashes.contains(&CertificateHash::of(end_entity)) => {
                Err(rustls::CertificateError::ApplicationVerificationFailure.into())
            }
            Policy::Pinned(_) | Policy::Anyone => Ok(ServerCertVerified::assertion()),
        };
        verdict.inspect_err(|error| {
            let _ = self.refused.set(error.clone());
        })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_in_the_forms_tools_print_and_nothing_else() {
        let hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let hash: CertificateHash = hex.parse().unwrap();
        assert_eq!(hash.to_string(), hex);
        assert_eq!(hash.0[..4], [0x01, 0x23, 0x45, 0x67]);
        assert_eq!(hex.to_uppercase().parse(), Ok(hash));
        assert_eq!(hex.replace("ab", "AB:").parse(), Ok(hash));
        for wrong in ["", &hex[1..], &hex[2..], &format!("{hex}0"), &hex.replace('0', "g")] {
            assert_eq!(wrong.parse::<CertificateHash>(), Err(HashSyntax), "{wrong}");
        }
    }
}
