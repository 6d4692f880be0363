//! A certificate that somebody gave us: two PEM files, checked with an explanation, read again when they change.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use roundtable_transport::CertificateHash;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::{prelude::FromDer as _, public_key::PublicKey};

use super::{Identity, PINNABLE_VALIDITY_MAX, Shown, own::system_time};

/// Why a given certificate cannot be used. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum GivenCertificateError {
    /// Not there, or not ours to read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No certificate in it.
    #[error(
        "{} holds no certificate: a PEM file with -----BEGIN CERTIFICATE----- is wanted, the relay's own first, \
         those that signed it after it",
        .0.display()
    )]
    NoCertificate(PathBuf),
    /// No key in it.
    #[error(
        "{} holds no private key: a PEM file with -----BEGIN PRIVATE KEY----- is wanted, without a passphrase",
        .0.display()
    )]
    NoKey(PathBuf),
    /// Not X.509.
    #[error("the first certificate in {} is damaged", .0.display())]
    Damaged(PathBuf),
    /// Two halves of two things.
    #[error(
        "the key in {} does not belong to the first certificate in {}: give the pair that was issued together, \
         with the relay's own certificate before those that signed it",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// Of a kind we cannot sign with.
    #[error("the key in {} is of a kind that is not supported: ECDSA (P-256, P-384), Ed25519 and RSA are", .0.display())]
    KeyKind(PathBuf),
    /// Over.
    #[error("the certificate in {} expired {}: renew it", path.display(), days_ago(*not_after, *now))]
    Expired {
        /// Which file.
        path: PathBuf,
        /// When it ended.
        not_after: SystemTime,
        /// When we looked.
        now: SystemTime,
    },
    /// Not yet.
    #[error("the certificate in {} is not valid yet: is this machine's clock right?", .0.display())]
    NotYet(PathBuf),
}

fn days_ago(then: SystemTime, now: SystemTime) -> String {
    match now.duration_since(then).map_or(0, |past| past.as_secs() / 86_400) {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days ago"),
    }
}

/// The two files, and how they looked when they were read.
#[derive(Debug)]
pub struct GivenCertificate {
    certificate: PathBuf,
    key: PathBuf,
    looks: Option<Looks>,
}

/// What changes when a file is replaced or rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looks([(u64, Option<SystemTime>); 2]);

impl GivenCertificate {
    /// Names the files; nothing is read yet.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        GivenCertificate { certificate, key, looks: None }
    }

    /// Reads and checks both.
    pub fn read(&mut self, now: SystemTime) -> Result<Shown, GivenCertificateError> {
        // Before the content: what changes in between is then seen as changed next time.
        self.looks = self.look();
        check(&self.certificate, &self.key, now)
    }

    /// Reads both again if a file has changed since it was last read.
    pub fn read_if_changed(&mut self, now: SystemTime) -> Option<Result<Shown, GivenCertificateError>> {
        let looks = self.look();
        (looks.is_some() && looks != self.looks).then(|| self.read(now))
    }

    fn look(&self) -> Option<Looks> {
        let of =
            |path: &Path| fs::metadata(path).map(|metadata| (metadata.len(), metadata.modified().ok())).ok();
        Some(Looks([of(&self.certificate)?, of(&self.key)?]))
    }
}

fn check(certificate: &Path, key: &Path, now: SystemTime) -> Result<Shown, GivenCertificateError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| GivenCertificateError::Unreadable { path: path.to_owned(), source })
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|_| GivenCertificateError::NoCertificate(certificate.to_owned()))?;
    let leaf =
        chain.first().ok_or_else(|| GivenCertificateError::NoCertificate(certificate.to_owned()))?.clone();
    let private = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|_| GivenCertificateError::NoKey(key.to_owned()))?;
    let damaged = || GivenCertificateError::Damaged(certificate.to_owned());
    let (_, x509) = x509_parser::certificate::X509Certificate::from_der(&leaf).map_err(|_| damaged())?;
    let not_before = system_time(x509.validity().not_before).ok_or_else(damaged)?;
    let not_after = system_time(x509.validity().not_after).ok_or_else(damaged)?;
    if now < not_before {
        return Err(GivenCertificateError::NotYet(certificate.to_owned()));
    }
    if now > not_after {
        return Err(GivenCertificateError::Expired { path: certificate.to_owned(), not_after, now });
    }
    let is_p256 = matches!(x509.public_key().parsed(), Ok(PublicKey::EC(point)) if point.key_size() == 256);
    let is_short =
        not_after.duration_since(not_before).is_ok_and(|validity| validity <= PINNABLE_VALIDITY_MAX);
    let identity = Identity::new(chain, private).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            GivenCertificateError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned() }
        }
        _ => GivenCertificateError::KeyKind(key.to_owned()),
    })?;
    Ok(Shown {
        identity: Arc::new(identity),
        hashes: vec![CertificateHash::of(&leaf)],
        is_pinnable: is_p256 && is_short,
        not_after,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    struct Pair {
        folder: tempfile::TempDir,
        given: GivenCertificate,
    }

    /// A pair in a folder, valid from a day ago for `days` days.
    fn pair(days: u32) -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let given = GivenCertificate::new(folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let pair = Pair { folder, given };
        pair.issue(days);
        pair
    }

    impl Pair {
        fn issue(&self, days: u32) {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_before = (SystemTime::now() - DAY).into();
            params.not_after = (SystemTime::now() - DAY + DAY * days).into();
            let key = KeyPair::generate().unwrap();
            fs::write(self.folder.path().join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
            fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
        }

        fn write(&self, file: &str, text: &str) {
            fs::write(self.folder.path().join(file), text).unwrap();
        }

        fn error(&mut self, now: SystemTime) -> String {
            self.given.read(now).unwrap_err().to_string()
        }
    }

    #[test]
    fn a_short_one_on_p256_can_be_pinned_and_a_long_one_cannot() {
        assert!(pair(14).given.read(SystemTime::now()).unwrap().is_pinnable);
        assert!(!pair(90).given.read(SystemTime::now()).unwrap().is_pinnable);
    }

    #[test]
    fn it_is_read_again_when_its_files_change() {
        let mut pair = pair(10);
        let now = SystemTime::now();
        let first = pair.given.read(now).unwrap();
        assert!(pair.given.read_if_changed(now).is_none());
        pair.issue(90);
        // Written within one tick of the file system's clock, both would look the same.
        let file = fs::File::options().write(true).open(pair.folder.path().join("key.pem")).unwrap();
        file.set_modified(now + DAY).unwrap();
        let second = pair.given.read_if_changed(now).unwrap().unwrap();
        assert_ne!(first.hashes, second.hashes);
        assert!(pair.given.read_if_changed(now).is_none());
    }

    #[test]
    fn what_is_wrong_is_explained() {
        let now = SystemTime::now();
        assert!(pair(10).error(now + DAY * 12).contains("expired 3 days ago"));
        assert!(pair(10).error(now - DAY * 2).contains("clock"));

        let mut mixed = pair(10);
        mixed.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
        assert!(mixed.error(now).contains("does not belong to"));

        let mut swapped = pair(10);
        swapped.write("cert.pem", &KeyPair::generate().unwrap().serialize_pem());
        assert!(swapped.error(now).contains("holds no certificate"));

        let mut keyless = pair(10);
        keyless.write("key.pem", "nothing");
        assert!(keyless.error(now).contains("holds no private key"));

        let mut damaged = pair(10);
        damaged.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(damaged.error(now).contains("damaged"));

        let mut missing =
            GivenCertificate::new("/nonexistent/cert.pem".into(), "/nonexistent/key.pem".into());
        assert!(missing.read(now).unwrap_err().to_string().contains("/nonexistent/cert.pem"));
    }
}
