//! The certificate that QUIC and HTTPS show.
//!
//! Browsers accept a certificate that no authority signed when its SHA-256 is told beforehand, it is ECDSA
//! P-256 and valid for at most 14 days (WebTransport's `serverCertificateHashes`). So without one given we make
//! such a certificate ([`own`]), renew it while running and announce the next one's hash before it is shown.
//! A given one ([`given`]) is read again when its files change. Either is shown through the [`Store`].

pub mod given;
pub mod own;

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use roundtable_transport::{CertificateHash, Certificates};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Longest validity that browsers accept for a certificate known by its hash.
pub const PINNABLE_VALIDITY_MAX: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate with those that signed it, and its key.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// `chain` begins with our own. Refused when the key is not its key, or of a kind that cannot sign.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let identity = Identity { chain, key };
        Certificates::new(identity.chain.clone(), identity.key.clone_key())?;
        Ok(identity)
    }
}

/// What is shown and announced at a moment.
#[derive(Debug, Clone)]
pub struct Shown {
    /// What a TLS handshake gets.
    pub identity: Arc<Identity>,
    /// The hash of its certificate, and of the one that will follow when that is known.
    pub hashes: Vec<CertificateHash>,
    /// True when a browser accepts it by its hash.
    pub is_pinnable: bool,
    /// When it ends.
    pub not_after: SystemTime,
}

/// The certificate in use. Handshakes read it, whoever renews it writes it.
#[derive(Debug)]
pub struct Store {
    certificates: Certificates,
    shown: RwLock<Arc<Shown>>,
}

impl Store {
    /// Begins with this one.
    pub fn new(shown: Shown) -> Result<Self, rustls::Error> {
        let Identity { chain, key } = &*shown.identity;
        let certificates = Certificates::new(chain.clone(), key.clone_key())?;
        Ok(Store { certificates, shown: RwLock::new(Arc::new(shown)) })
    }

    /// New handshakes get this one; connections that stand are not touched.
    pub fn show(&self, shown: Shown) -> Result<(), rustls::Error> {
        let Identity { chain, key } = &*shown.identity;
        self.certificates.replace(chain.clone(), key.clone_key())?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
        Ok(())
    }

    /// What is shown now.
    pub fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What TLS asks, of QUIC and of HTTPS alike.
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::own::OwnCertificate;

    #[test]
    fn a_renewed_certificate_reaches_the_handshakes() {
        let folder = tempfile::tempdir().unwrap();
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut own = OwnCertificate::open(folder.path(), vec!["localhost".into()], made).unwrap();
        let store = Store::new(own.shown()).unwrap();
        let handshakes = store.certificates();
        let first = handshakes.hash();
        assert_eq!(first, Some(store.shown().hashes[0]));

        own.renew(own.renewal_due()).unwrap();
        store.show(own.shown()).unwrap();
        assert_eq!((store.shown().hashes.len(), handshakes.hash()), (2, first), "announced, not shown yet");

        own.renew(own.renewal_due()).unwrap();
        store.show(own.shown()).unwrap();
        assert_ne!(handshakes.hash(), first);
        assert_eq!(handshakes.hash(), Some(store.shown().hashes[0]));
    }
}
