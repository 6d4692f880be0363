//! Brings everything up in order, and down again.

mod sockets;
mod welcome;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use roundtable_transport::{Endpoint, EndpointConfig, endpoint::BindError};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{
    accept::{self, Addresses},
    certificate::{
        Shown, Store,
        given::GivenCertificate,
        own::{self, OwnCertificate},
    },
    config::{CertificateSource, Config, Log, options::LogFormat},
    counters::Counters,
    data::DataFolder,
    doors::{Doors, PageListener},
    http::{metrics, page, server},
};

/// How often the files of a given certificate are looked at.
const CERTIFICATE_FILES_LOOK: Duration = Duration::from_secs(10);

/// Runs the relay until it is told to stop.
pub fn run(config: Config) -> anyhow::Result<()> {
    log(&config.log)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
    runtime.block_on(serve(config))
}

/// The start-up order, with its reasons.
async fn serve(config: Config) -> anyhow::Result<()> {
    // 1. Signals, before anything could be left half done by one.
    let stop = stop_signal()?;
    // 2. The data folder and its lock: whatever follows may write into it.
    let data = DataFolder::open(&config.data)?;
    // 3. The certificate: a wrong one is told before a port is taken.
    let (certificate, renewal) = certificate(&config, &data)?;
    // 4. All sockets, before anything is announced: a port that is taken must not leave half a relay.
    let pages = sockets::tcp("--http", &config.http)?;
    let page_listeners: Vec<PageListener> = pages
        .iter()
        .map(|socket| {
            let address = socket.local_addr()?;
            Ok(PageListener { ip: address.ip(), port: address.port(), is_https: is_https(&config, address) })
        })
        .collect::<std::io::Result<_>>()?;
    let endpoints = sockets::bind_all("--listen", "UDP", &config.quic, |address| {
        let certificates = certificate.certificates();
        Endpoint::bind(EndpointConfig::new(vec![address], certificates)).map_err(|error| match error {
            BindError::Socket { source, .. } => source,
            BindError::Tls(error) => std::io::Error::other(error),
        })
    })?;
    let quic: Vec<SocketAddr> = endpoints.iter().flat_map(Endpoint::local_addresses).collect();
    let metrics_sockets = match &config.metrics {
        Some(listen) => sockets::spare_tcp("--metrics", listen)?,
        None => Vec::new(),
    };
    let metrics_addresses: Vec<SocketAddr> =
        metrics_sockets.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?;
    // 5. The doors, which know the real ports.
    let quic_ips: Vec<IpAddr> = quic.iter().map(SocketAddr::ip).collect();
    let doors = Arc::new(Doors::new(&quic_ips, &page_listeners, &config.public_urls));
    // 6. Service: from here on people are let in.
    let mut tasks = JoinSet::new();
    tasks.spawn(renewal.keep(Arc::clone(&certificate), stop.clone()));
    let site = Arc::new(page::Site {
        doors: Arc::clone(&doors),
        certificate: Arc::clone(&certificate),
        quic: quic.clone(),
    });
    let router = page::router(site);
    for (socket, listener) in pages.into_iter().zip(&page_listeners) {
        let manner = manner(&config, SocketAddr::new(listener.ip, listener.port), &doors, &certificate)?;
        tasks.spawn(server::serve(socket, manner, router.clone(), stop.clone()));
    }
    let counters = Arc::new(Counters::default());
    let metrics_router = metrics::router(Arc::clone(&doors), Arc::clone(&counters));
    for (socket, &address) in metrics_sockets.into_iter().zip(&metrics_addresses) {
        let manner = manner(&config, address, &doors, &certificate)?;
        tasks.spawn(server::serve(socket, manner, metrics_router.clone(), stop.clone()));
    }
    let addresses = Addresses::new(config.sessions_per_address_max);
    for endpoint in endpoints {
        tasks.spawn(accept::run(endpoint, Arc::clone(&doors), addresses.clone(), stop.clone()));
    }
    // 7. Last: tell where.
    welcome::tell(&config, &quic, &page_listeners, &metrics_addresses, &certificate.shown());

    let mut stopping = stop.clone();
    let _ = stopping.wait_for(|stop| *stop).await;
    tracing::info!("stopping");
    while tasks.join_next().await.is_some() {}
    Ok(())
}

fn log(log: &Log) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        Ok(_) | Err(_) => log.filter.clone(),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .with_context(|| format!("`{filter}` is no log filter; try --log info"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}

/// Turns true at the first SIGINT or SIGTERM; the second ends the process at once.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        for has_been_told in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if has_been_told {
                std::process::exit(130);
            }
            let _ = told.send(true);
        }
    });
    Ok(stop)
}

/// Loopback needs no HTTPS: browsers trust it, and nobody is in between. A trusted proxy does it for us.
fn is_https(config: &Config, address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback() && config.trusted_proxies.is_empty()
}

fn manner(
    config: &Config,
    address: SocketAddr,
    doors: &Arc<Doors>,
    certificate: &Arc<Store>,
) -> anyhow::Result<server::Manner> {
    if is_https(config, address) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificate.certificates()));
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        return Ok(server::Manner::Tls { acceptor, redirects: page::redirects(Arc::clone(doors)) });
    }
    Ok(if address.ip().to_canonical().is_loopback() {
        server::Manner::Plain
    } else {
        server::Manner::BehindProxy(config.trusted_proxies.clone().into())
    })
}

/// Keeps the certificate good while the relay runs.
enum Renewal {
    Own(OwnCertificate),
    Given(GivenCertificate),
}

fn certificate(config: &Config, data: &DataFolder) -> anyhow::Result<(Arc<Store>, Renewal)> {
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
    let mut seen = std::collections::HashSet::new();
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
    async fn keep(mut self, store: Arc<Store>, mut stop: watch::Receiver<bool>) {
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
