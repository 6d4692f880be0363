//! The certificate from the start on: made or read, then kept good while the relay runs.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::{
    certificate::{
        Shown, Store,
        given::GivenCertificate,
        own::{self, OwnCertificate},
    },
    config::{CertificateSource, Config},
    data::DataFolder,
};

/// How often the files of a given certificate are looked at.
const CERTIFICATE_FILES_LOOK: Duration = Duration::from_secs(10);

/// Keeps the certificate good while the relay runs.
pub(super) enum Renewal {
    Own(OwnCertificate),
    Given(GivenCertificate),
}

/// The certificate to begin with, and what keeps it good.
pub(super) fn begin(config: &Config, data: &DataFolder) -> anyhow::Result<(Arc<Store>, Renewal)> {
    let now = SystemTime::now();
    let (shown, renewal) = match &config.certificate {
        CertificateSource::Own => {
            let own = OwnCertificate::open(&data.certificate(), names(config), now)?;
            (own.shown(), Renewal::Own(own))
        }
        CertificateSource::Given { certificate, key } => {
            let mut given = GivenCertificate::new(certificate.clone(), key.clone());
            (given.read(now)?, Renewal::Given(given))
        }
    };
    Ok((Arc::new(Store::new(shown)?), renewal))
}

/// What a certificate of our own is for: every name and address that somebody could use.
fn names(config: &Config) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let listened = config.quic.addresses.iter().chain(&config.http.addresses).map(SocketAddr::ip);
    names.extend(listened.filter(|ip| !ip.is_unspecified()).map(|ip| ip.to_string()));
    names.extend(config.public_urls.iter().map(|url| url.host.clone()));
    names.extend(host_name());
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// This machine's name, if it has one that can stand in a certificate.
fn host_name() -> Option<String> {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::env::var("HOSTNAME")).ok()?;
    let name = name.trim().to_ascii_lowercase();
    let is_dns_name = !name.is_empty()
        && name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        });
    is_dns_name.then_some(name)
}

impl Renewal {
    /// Renews, or reads again, until `stop` turns true.
    pub(super) async fn keep(mut self, store: Arc<Store>, mut stop: watch::Receiver<bool>) {
        loop {
            let nap = match &self {
                Renewal::Own(own) => own::nap(own.renewal_due(), SystemTime::now()),
                Renewal::Given(_) => CERTIFICATE_FILES_LOOK,
            };
            tokio::select! {
                () = tokio::time::sleep(nap) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.turn(&store);
        }
    }

    fn turn(&mut self, store: &Store) {
        let now = SystemTime::now();
        match self {
            Renewal::Own(own) => match own.renew(now) {
                Ok(true) => show(store, own.shown(), "certificate renewed"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the certificate could not be renewed; trying again"),
            },
            Renewal::Given(given) => match given.read_if_changed(now) {
                Some(Ok(shown)) => show(store, shown, "the certificate's files changed"),
                Some(Err(error)) => {
                    tracing::error!(%error, "the certificate's files changed for the worse; the old one stays in use");
                }
                None => {}
            },
        }
    }
}

fn show(store: &Store, shown: Shown, why: &'static str) {
    let hashes = shown.hashes.len();
    match store.show(shown) {
        Ok(()) => tracing::info!(hashes, "{why}"),
        Err(error) => tracing::error!(%error, "the certificate cannot be shown; the old one stays in use"),
    }
}
