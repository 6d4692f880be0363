//! Brings everything up in order, and down again.

mod people;
mod renewal;
mod sockets;
mod welcome;

use std::{
    io::IsTerminal as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use anyhow::Context as _;
use roundtable_transport::{Endpoint, EndpointConfig, endpoint::BindError};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{
    accept::{self, Addresses},
    api::{self, Api, rates::Rates},
    call::Calls,
    certificate::Store as CertificateStore,
    clock::UnixMs,
    command,
    config::{Config, Log, options::LogFormat},
    data::DataFolder,
    doors::{Doors, PageListener},
    http::{metrics, page, server},
    relay::Relay,
    store::Store,
};

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
    // 3. The database and the keys: what is broken is told before a port is taken.
    let store = Store::open(&command::place(&config, &data)).await?;
    let people = people::begin(&config, &data, store.clone()).await?;
    // 4. The certificate: a wrong one is told before a port is taken.
    let (certificate, renewal) = renewal::begin(&config, &data)?;
    // 5. All sockets, before anything is announced: a port that is taken must not leave half a relay.
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
    // 6. The doors, which know the real ports.
    let quic_ips: Vec<IpAddr> = quic.iter().map(SocketAddr::ip).collect();
    let doors = Arc::new(Doors::new(&quic_ips, &page_listeners, &config.public_urls));
    // 7. Service: from here on people are let in.
    let mut tasks = JoinSet::new();
    tasks.spawn(renewal.keep(Arc::clone(&certificate), stop.clone()));
    let site = Arc::new(page::Site {
        doors: Arc::clone(&doors),
        certificate: Arc::clone(&certificate),
        quic: quic.clone(),
    });
    let api = Arc::new(Api {
        doors: Arc::clone(&doors),
        store: store.clone(),
        meetings: Arc::clone(&people.meetings),
        calls: Arc::new(Calls::new(Arc::clone(&people.meetings))),
        sign_in: config.sign_in,
        sign_up: config.sign_up,
        trusted_proxies: config.trusted_proxies.clone(),
        rates: Rates::default(),
    });
    let router = page::router(site, api::router(Arc::clone(&api)));
    let tending_people = people::tend(&api);
    for (socket, listener) in pages.into_iter().zip(&page_listeners) {
        let manner = manner(&config, SocketAddr::new(listener.ip, listener.port), &doors, &certificate)?;
        tasks.spawn(server::serve(socket, manner, router.clone(), stop.clone()));
    }
    let relay = Relay::new(config.limits.clone(), people.counters, Arc::clone(&people.meetings));
    // Written to the end: what happens while everybody leaves is history too.
    let (last_word, no_more) = watch::channel(false);
    let journal = tokio::spawn(Arc::clone(people.meetings.journal()).keep(no_more));
    let tending = tokio::spawn(Arc::clone(&relay).tend());
    let metrics_router = metrics::router(Arc::clone(&doors), Arc::clone(&relay.counters));
    for (socket, &address) in metrics_sockets.into_iter().zip(&metrics_addresses) {
        let manner = manner(&config, address, &doors, &certificate)?;
        tasks.spawn(server::serve(socket, manner, metrics_router.clone(), stop.clone()));
    }
    let addresses = Addresses::new(config.sessions_per_address_max);
    for endpoint in endpoints {
        tasks.spawn(accept::run(
            endpoint,
            Arc::clone(&doors),
            addresses.clone(),
            Arc::clone(&relay),
            config.stop_timeout,
            stop.clone(),
        ));
    }
    // 8. Last: tell where.
    welcome::tell(&config, &quic, &page_listeners, &metrics_addresses, &certificate.shown());

    let mut stopping = stop.clone();
    tokio::select! {
        _ = stopping.wait_for(|stop| *stop) => {}
        _ = tasks.join_next() => {}
    }
    // Each part runs until it is told to stop; half a relay is worse than none, which gets restarted.
    anyhow::ensure!(*stop.borrow(), "a part of the relay ended by itself, which is a bug");
    tracing::info!("stopping");
    while tasks.join_next().await.is_some() {}
    tending.abort();
    drop(tending_people);
    people.meetings.close(UnixMs::now());
    let _ = last_word.send(true);
    let _ = journal.await;
    store.close().await;
    Ok(())
}

fn log(log: &Log) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        Ok(_) | Err(_) => log.filter.clone(),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .with_context(|| format!("`{filter}` is no log filter; try --log info"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
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
    certificate: &Arc<CertificateStore>,
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
