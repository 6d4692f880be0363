//! A certificate of our own: made when there is none, kept in the data folder across restarts, followed by the
//! next one in time.
//!
//! ```text
//! made                      next is made            next takes over        not_after
//!  |--- shown, announced ---|--- both announced ----|                       |
//!  0                        day 10                  day 11                  day 13
//! ```

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use roundtable_transport::CertificateHash;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _};

use super::{Identity, Shown};

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Clocks differ: it is valid a little before it is made.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// With [`BACKDATED`] still below [`super::PINNABLE_VALIDITY_MAX`].
const VALID: Duration = Duration::from_secs(13 * DAY_SECONDS);
/// The next one is announced when the present one has this left.
const ANNOUNCE_AT: Duration = Duration::from_secs(3 * DAY_SECONDS);
/// The next one takes over when the present one has this left.
const SWITCH_AT: Duration = Duration::from_secs(2 * DAY_SECONDS);

const PRESENT_FILE: &str = "present.pem";
const NEXT_FILE: &str = "next.pem";

/// Why there is no certificate of our own.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// The data folder does not take it.
    #[error("the certificate cannot be kept in {}: {source}", path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be made.
    #[error("no certificate can be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It was made wrong: our bug.
    #[error("the certificate just made cannot be used: {0}")]
    Unusable(&'static str),
}

/// The present certificate and, while it changes, the next.
#[derive(Debug)]
pub struct OwnCertificate {
    folder: PathBuf,
    names: Vec<String>,
    present: Made,
    next: Option<Made>,
}

#[derive(Debug)]
struct Made {
    identity: Arc<Identity>,
    hash: CertificateHash,
    names: Vec<String>,
    not_before: SystemTime,
    not_after: SystemTime,
}

impl OwnCertificate {
    /// Takes what `folder` keeps, as far as it is good at `now` and for `names` (DNS names and addresses), and
    /// makes the rest.
    pub fn open(folder: &Path, names: Vec<String>, now: SystemTime) -> Result<Self, OwnCertificateError> {
        create_private_folder(folder)
            .map_err(|source| OwnCertificateError::Store { path: folder.to_owned(), source })?;
        let is_good =
            |made: &Made| made.not_before <= now && names.iter().all(|name| made.names.contains(name));
        let kept = |file| read(&folder.join(file)).filter(is_good);
        let present = match kept(PRESENT_FILE) {
            Some(made) => made,
            None => make(&folder.join(PRESENT_FILE), &names, now)?,
        };
        let next = kept(NEXT_FILE).filter(|next| next.not_after > present.not_after);
        let mut own = OwnCertificate { folder: folder.to_owned(), names, present, next };
        own.renew(now)?;
        Ok(own)
    }

    /// Does what is due at `now`. True when what is shown or announced has changed.
    pub fn renew(&mut self, now: SystemTime) -> Result<bool, OwnCertificateError> {
        let mut has_changed = false;
        if left(&self.present, now) <= SWITCH_AT {
            self.present = match self.next.take().filter(|next| left(next, now) > SWITCH_AT) {
                Some(next) => {
                    let path = self.folder.join(PRESENT_FILE);
                    fs::rename(self.folder.join(NEXT_FILE), &path)
                        .map_err(|source| OwnCertificateError::Store { path, source })?;
                    next
                }
                // Nobody was told of another one, for the relay did not run: clients ask again for the hash.
                None => make(&self.folder.join(PRESENT_FILE), &self.names, now)?,
            };
            has_changed = true;
        }
        if left(&self.present, now) <= ANNOUNCE_AT && self.next.is_none() {
            self.next = Some(make(&self.folder.join(NEXT_FILE), &self.names, now)?);
            has_changed = true;
        }
        Ok(has_changed)
    }

    /// When [`OwnCertificate::renew`] wants to be called.
    pub fn renewal_due(&self) -> SystemTime {
        self.present.not_after - if self.next.is_some() { SWITCH_AT } else { ANNOUNCE_AT }
    }

    /// What to show and announce.
    pub fn shown(&self) -> Shown {
        Shown {
            identity: Arc::clone(&self.present.identity),
            hashes: [Some(&self.present), self.next.as_ref()]
                .into_iter()
                .flatten()
                .map(|made| made.hash)
                .collect(),
            is_pinnable: true,
            not_after: self.present.not_after,
        }
    }
}

fn left(made: &Made, now: SystemTime) -> Duration {
    made.not_after.duration_since(now).unwrap_or_default()
}

/// Makes one and keeps it: key and certificate in one file, so that they cannot get apart.
fn make(path: &Path, names: &[String], now: SystemTime) -> Result<Made, OwnCertificateError> {
    let mut params = CertificateParams::new(names)?;
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + VALID).into();
    params.distinguished_name.push(DnType::CommonName, "Roundtable relay");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    let pem = format!("{}{}", key.serialize_pem(), certificate.pem());
    write_private(path, pem.as_bytes())
        .map_err(|source| OwnCertificateError::Store { path: path.to_owned(), source })?;
    parse(pem.as_bytes()).map_err(OwnCertificateError::Unusable)
}

/// What a file keeps. One that cannot be used is no loss: another is made.
fn read(path: &Path) -> Option<Made> {
    let pem = match fs::read(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "the kept certificate cannot be read; making another");
            return None;
        }
    };
    match parse(&pem) {
        Ok(made) => Some(made),
        Err(reason) => {
            tracing::warn!(file = %path.display(), reason, "the kept certificate cannot be used; making another");
            None
        }
    }
}

fn parse(pem: &[u8]) -> Result<Made, &'static str> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "no private key")?;
    let certificate = CertificateDer::from_pem_slice(pem).map_err(|_| "no certificate")?;
    let hash = CertificateHash::of(&certificate);
    let (_, x509) = x509_parser::certificate::X509Certificate::from_der(&certificate)
        .map_err(|_| "not an X.509 certificate")?;
    let not_before = system_time(x509.validity().not_before).ok_or("a validity before 1970")?;
    let not_after = system_time(x509.validity().not_after).ok_or("a validity before 1970")?;
    let names = match x509.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(name).collect(),
        Ok(None) | Err(_) => Vec::new(),
    };
    let identity =
        Identity::new(vec![certificate], key).map_err(|_| "key and certificate do not belong together")?;
    Ok(Made { identity: Arc::new(identity), hash, names, not_before, not_after })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let ip = <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                .ok()?;
            Some(ip.to_string())
        }
        _ => None,
    }
}

/// A point in time of X.509.
pub(super) fn system_time(time: x509_parser::time::ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(time.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn create_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Written beside and renamed, so that a crash leaves the old file or the new one; readable by its owner alone
/// from its first byte.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// How long to sleep until `due`: never for long in one piece, since a suspended machine's timers stand still.
pub fn nap(due: SystemTime, now: SystemTime) -> Duration {
    const NAP_MAX: Duration = Duration::from_secs(60 * 60);
    // After a renewal that failed there is no hurry either: days are left.
    const NAP_MIN: Duration = Duration::from_secs(60);
    due.duration_since(now).unwrap_or_default().clamp(NAP_MIN, NAP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<String> {
        ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec()
    }

    fn day(number: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(DAY_SECONDS) * (20_000 + number)
    }

    fn hashes(own: &OwnCertificate) -> Vec<CertificateHash> {
        own.shown().hashes
    }

    #[test]
    fn a_browser_accepts_it_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let own = OwnCertificate::open(folder.path(), names(), day(0)).unwrap();
        let shown = own.shown();
        let (_, x509) =
            x509_parser::certificate::X509Certificate::from_der(&shown.identity.chain[0]).unwrap();
        let validity = own.present.not_after.duration_since(own.present.not_before).unwrap();
        assert!(validity <= super::super::PINNABLE_VALIDITY_MAX, "{validity:?}");
        let key = x509.public_key().parsed().unwrap();
        assert!(matches!(key, x509_parser::public_key::PublicKey::EC(point) if point.key_size() == 256));
        assert_eq!(own.present.names, names());
        assert_eq!(shown.hashes.len(), 1);
        assert_eq!(shown.hashes[0].to_string().len(), 64);
    }

    #[test]
    fn a_restart_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = OwnCertificate::open(folder.path(), names(), day(0)).unwrap();
        let second = OwnCertificate::open(folder.path(), names(), day(9)).unwrap();
        assert_eq!(hashes(&first), hashes(&second));
    }

    #[test]
    fn old_and_next_are_both_announced_before_the_switch() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = OwnCertificate::open(folder.path(), names(), day(0)).unwrap();
        let old = hashes(&own)[0];
        assert_eq!(own.renewal_due(), day(10));
        assert!(!own.renew(day(9)).unwrap());
        assert!(own.renew(day(10)).unwrap());
        let both = hashes(&own);
        assert_eq!((both.len(), both[0]), (2, old));
        assert_eq!(own.renewal_due(), day(11));

        let reopened = OwnCertificate::open(folder.path(), names(), day(10)).unwrap();
        assert_eq!(hashes(&reopened), both, "a restart in between changes nothing");

        assert!(own.renew(day(11)).unwrap());
        assert_eq!(hashes(&own), [both[1]], "the announced one took over");
        let reopened = OwnCertificate::open(folder.path(), names(), day(11)).unwrap();
        assert_eq!(hashes(&reopened), [both[1]]);
    }

    #[test]
    fn it_is_renewed_for_ever_and_never_shown_outside_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut own = OwnCertificate::open(folder.path(), names(), day(0)).unwrap();
        let mut now = day(0);
        for _ in 0..20 {
            now = own.renewal_due().max(now);
            let before = hashes(&own);
            assert!(own.renew(now).unwrap());
            assert!(own.present.not_before <= now && now < own.present.not_after);
            assert!(before.contains(&hashes(&own)[0]), "what is shown was announced");
        }
    }

    #[test]
    fn after_a_long_rest_a_new_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let old = hashes(&OwnCertificate::open(folder.path(), names(), day(0)).unwrap());
        let own = OwnCertificate::open(folder.path(), names(), day(30)).unwrap();
        assert_ne!(hashes(&own), old);
        assert!(own.present.not_after > day(40));
        let clock_went_back = OwnCertificate::open(folder.path(), names(), day(1)).unwrap();
        assert!(clock_went_back.present.not_before <= day(1));
    }

    #[test]
    fn a_new_name_needs_a_new_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let old = hashes(&OwnCertificate::open(folder.path(), names(), day(0)).unwrap());
        let mut more = names();
        more.push("meet.example.org".into());
        let own = OwnCertificate::open(folder.path(), more, day(0)).unwrap();
        assert_ne!(hashes(&own), old);
        let fewer = OwnCertificate::open(folder.path(), names(), day(0)).unwrap();
        assert_eq!(hashes(&fewer), hashes(&own), "one name less does not matter");
    }

    #[test]
    fn a_damaged_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(PRESENT_FILE), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
        let own = OwnCertificate::open(folder.path(), names(), day(0)).unwrap();
        assert_eq!(hashes(&own).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn the_key_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("certificate");
        OwnCertificate::open(&inner, names(), day(0)).unwrap();
        assert_eq!(fs::metadata(inner.join(PRESENT_FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_takes_nothing_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs::write(&file, "").unwrap();
        let error = OwnCertificate::open(&file.join("certificate"), names(), day(0)).unwrap_err();
        assert!(error.to_string().contains("a-file"), "{error}");
    }

    #[test]
    fn sleep_is_cut_into_naps() {
        assert_eq!(nap(day(9), day(0)), Duration::from_secs(3600));
        assert_eq!(nap(day(0), day(9)), Duration::from_secs(60));
    }
}
