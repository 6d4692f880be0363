//! What a congestion controller makes of loss and of a bottleneck: a server sends datagrams to clients through the
//! lossy link, as a relay does to its subscribers. `cargo bench -p roundtable-tests --bench congestion`
//!
//! Random loss: 400 datagrams/s of 1000 bytes (3.2 Mbit/s) offered over a round trip of 50 ms. Bottleneck: the same
//! offered over 1 Mbit/s with a queue of one second; and by two connections at once, which come one after the other.

#![allow(missing_docs, clippy::print_stderr, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::{BufMut as _, BytesMut};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, ServerConfig, TransportConfig,
    congestion::{BbrConfig, ControllerFactory, CubicConfig},
};
use roundtable_tests::link::{Impairment, Link, Rate, Settings};
use roundtable_transport::congestion::RealTime;

const SECONDS: u64 = 8;
const PER_SECOND: u64 = 400;
const BYTES: usize = 1000;

type Factory = Arc<dyn ControllerFactory + Send + Sync>;

fn controllers() -> [(&'static str, Factory); 3] {
    [
        ("Cubic", Arc::new(CubicConfig::default())),
        ("BBR", Arc::new(BbrConfig::default())),
        ("real time", Arc::new(RealTime)),
    ]
}

/// What one connection got.
struct Got {
    per_second: f64,
    delay_p50: Duration,
    delay_p99: Duration,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let delay = Impairment::delay(Duration::from_millis(25));
    println!(
        "Random loss, {PER_SECOND} datagrams/s offered, 50 ms round trip: datagrams/s that arrive, delay p50/p99 ms"
    );
    for loss in [0.0, 0.02, 0.05, 0.1, 0.2] {
        print!("{:>4.0} % ", loss * 100.0);
        for (name, factory) in controllers() {
            let got = run(factory, delay.with_loss(loss), 1).await?;
            print!("  {name}: {}", show(&got[0]));
        }
        println!();
    }
    println!("1 Mbit/s (about 120 datagrams/s) with a queue of a second, the same offered:");
    let narrow =
        Impairment { rate: Some(Rate { bits_per_s: 1_000_000, queue: Duration::from_secs(1) }), ..delay };
    for (name, factory) in controllers() {
        let alone = run(Arc::clone(&factory), narrow, 1).await?;
        let two = run(factory, narrow, 2).await?;
        println!("  {name}: alone {}; two {} and {}", show(&alone[0]), show(&two[0]), show(&two[1]));
    }
    Ok(())
}

fn show(got: &Got) -> String {
    format!("{:.0} ({}/{})", got.per_second, got.delay_p50.as_millis(), got.delay_p99.as_millis())
}

/// So many connections through one bottleneck, two seconds apart; measured while all are there, after two seconds.
async fn run(factory: Factory, down: Impairment, connections: u64) -> anyhow::Result<Vec<Got>> {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let mut transport = TransportConfig::default();
    transport.congestion_controller_factory(factory).datagram_send_buffer_size(8 << 10);
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key)?;
    tls.alpn_protocols = vec![b"bench".to_vec()];
    let mut server =
        ServerConfig::with_crypto(Arc::new(quinn::crypto::rustls::QuicServerConfig::try_from(tls)?));
    server.transport_config(Arc::new(transport));
    let server = Endpoint::server(server, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;

    let up = Impairment { rate: None, ..down };
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let link = Link::start(loopback, server.local_addr()?, Settings { up, down }, 7)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.cert.der().clone())?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"bench".to_vec()];
    let config = ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls)?));
    // One socket for all of them: the link gives each client's socket a queue of its own.
    let socket = std::net::UdpSocket::bind(loopback)?;
    let client = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime))?;

    let epoch = Instant::now();
    let measured_from = epoch + Duration::from_secs(2 * connections);
    let until = measured_from + Duration::from_secs(SECONDS);
    let mut receivers = Vec::new();
    for _ in 0..connections {
        let connecting = client.connect_with(config.clone(), link.address(), "localhost")?;
        let incoming = server.accept().await.context("the endpoint ended")?;
        let (sender, receiver) = tokio::try_join!(async { incoming.accept()?.await }, connecting)?;
        tokio::spawn(send(sender, epoch, until));
        receivers.push(tokio::spawn(receive(receiver, epoch, measured_from, until)));
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let mut results = Vec::new();
    for receiver in receivers {
        results.push(receiver.await??);
    }
    Ok(results)
}

async fn send(connection: Connection, epoch: Instant, until: Instant) {
    let mut every = tokio::time::interval(Duration::from_secs(1) / u32::try_from(PER_SECOND).unwrap_or(1));
    while Instant::now() < until {
        every.tick().await;
        let mut datagram = BytesMut::zeroed(BYTES - 8);
        datagram.put_u64(u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX));
        if connection.send_datagram(datagram.freeze()).is_err() {
            return;
        }
    }
}

async fn receive(
    connection: Connection,
    epoch: Instant,
    from: Instant,
    until: Instant,
) -> anyhow::Result<Got> {
    let mut delays = Vec::new();
    let until = tokio::time::Instant::from_std(until);
    while let Ok(datagram) = tokio::time::timeout_at(until, connection.read_datagram()).await {
        let datagram = datagram?;
        let sent = datagram.last_chunk::<8>().map_or(0, |sent| u64::from_be_bytes(*sent));
        if Instant::now() >= from {
            delays.push(epoch.elapsed().saturating_sub(Duration::from_micros(sent)));
        }
    }
    delays.sort_unstable();
    let at = |percent: usize| delays.get(delays.len() * percent / 100).copied().unwrap_or_default();
    Ok(Got { per_second: delays.len() as f64 / SECONDS as f64, delay_p50: at(50), delay_p99: at(99) })
}
