//! The certificate that QUIC and HTTPS show.
//!
//! Browsers accept a certificate that no authority signed when its SHA-256 is told beforehand, it is ECDSA
//! P-256 and valid for at most 14 days (WebTransport's `serverCertificateHashes`). So without one given we make
//! such a certificate ([`own`]), renew it while running and announce the next one's hash before it is shown.
//! A given one ([`given`]) is read again when its files change. Either is shown through the [`Store`].

pub mod given;
pub mod own;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    pki_types::CertificateDer,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Longest validity that browsers accept for a certificate known by its hash.
pub const PINNABLE_VALIDITY_MAX: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// SHA-256 of a certificate's DER form; displayed in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateHash([u8; 32]);

impl CertificateHash {
    /// The hash of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        CertificateHash(hash)
    }
}

impl fmt::Display for CertificateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is shown and announced at a moment.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What a TLS handshake gets.
    pub key: Arc<CertifiedKey>,
    /// The hash of `key`'s certificate, and of the one that will follow when that is known.
    pub hashes: Vec<CertificateHash>,
    /// True when a browser accepts it by its hash.
    pub is_pinnable: bool,
    /// When it ends.
    pub not_after: SystemTime,
}

/// The certificate in use. Handshakes read it, whoever renews it writes it.
#[derive(Debug)]
pub struct Store {
    shown: RwLock<Arc<Shown>>,
}

impl Store {
    /// Begins with this one.
    pub fn new(shown: Shown) -> Self {
        Store { shown: RwLock::new(Arc::new(shown)) }
    }

    /// New handshakes get this one; connections that stand are not touched.
    pub fn show(&self, shown: Shown) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }

    /// What is shown now.
    pub fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown().key))
    }
}
