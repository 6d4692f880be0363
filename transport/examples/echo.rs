//! What the driver costs: datagrams echoed by a server in one thread, through a session and an app, beside the same
//! by plain quinn. Prints echoes per second and the server thread's CPU time per echoed datagram.
//!
//! `cargo run --release -p roundtable-transport --example echo -- [seconds]`, on Linux.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{
    Event, FullTrackName, Location, Namespace, Object, ObjectDatagram, Parameters, Session,
    message::{Publish, RequestId, RequestOk, Subscribe, SubscribeOk, TrackAlias},
    session::{Config, Role},
};
use roundtable_transport::{
    App, Certificates, ClientConfig, DatagramSender, Endpoint, EndpointConfig, Io, Trust, connect, drive,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

const PAYLOAD_BYTES: usize = 1000;
/// Datagrams on their way at once; they move in bursts, as media does.
const IN_FLIGHT: u64 = 64;
const ALIAS: TrackAlias = TrackAlias(1);

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let duration = Duration::from_secs(seconds);
    for round in 1..=3 {
        let report = |name, measured: Measured| {
            let per_second = measured.echoed as f64 / duration.as_secs_f64();
            let cpu_us = measured.server_cpu.as_secs_f64() * 1e6 / measured.echoed.max(1) as f64;
            println!("round {round} | {name:13} | {per_second:7.0} echoes/s | {cpu_us:5.2} us of CPU each");
        };
        report("plain quinn", measure(duration, plain_server, plain_client));
        report("driver, moqt", measure(duration, driver_server, |url| driver_client("moqt", url)));
        report("driver, https", measure(duration, driver_server, |url| driver_client("https", url)));
    }
}

struct Measured {
    echoed: u64,
    server_cpu: Duration,
}

/// What both threads share.
#[derive(Default)]
struct Run {
    stop: AtomicBool,
    echoed: AtomicU64,
}

/// Port and certificate of the server.
type Address = (u16, CertificateDer<'static>);

fn measure<S, C>(
    duration: Duration,
    server: fn(Arc<Run>, mpsc::Sender<Address>) -> S,
    client: impl Fn((Address, Arc<Run>)) -> C + Send + 'static,
) -> Measured
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()>,
{
    let run = Arc::new(Run::default());
    let (tell, told) = mpsc::channel();
    let serving = {
        let run = run.clone();
        std::thread::spawn(move || {
            runtime().block_on(server(run, tell));
            thread_cpu()
        })
    };
    let address = told.recv().unwrap();
    let asking = {
        let run = run.clone();
        std::thread::spawn(move || runtime().block_on(client((address, run))))
    };
    std::thread::sleep(duration);
    let echoed = run.echoed.load(Ordering::Relaxed);
    run.stop.store(true, Ordering::Relaxed);
    asking.join().unwrap();
    Measured { echoed, server_cpu: serving.join().unwrap() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.der().clone(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into())
}

// ---- through the driver

async fn driver_server(run: Arc<Run>, tell: mpsc::Sender<Address>) {
    let (certificate, key) = certificate();
    let certificates = Certificates::new(vec![certificate.clone()], key).unwrap();
    let config = EndpointConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificates);
    let endpoint = Endpoint::bind(config).unwrap();
    tell.send((endpoint.local_addresses().first().unwrap().port(), certificate)).unwrap();
    let connection = endpoint.accept().await.unwrap().accept().await.unwrap();
    let session = Session::new(Config::new(Role::Server, connection.carrier()), Instant::now());
    Box::pin(drive(connection, session, &mut EchoServer { run })).await;
}

/// Sends every datagram back as the relay forwards it: header rebuilt under another alias.
struct EchoServer {
    run: Arc<Run>,
}

impl App for EchoServer {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        match event {
            Event::Publish(request, _) => io.session.accept(request, RequestOk::default()).unwrap(),
            Event::Subscribe(request, _) => {
                let parameters = Parameters::default();
                let answer = SubscribeOk { alias: ALIAS, parameters, track_properties: Bytes::new() };
                io.session.accept_subscribe(request, answer).unwrap();
            }
            _ => {}
        }
    }

    fn handle_datagram(&mut self, io: &mut Io<'_>, _request: RequestId, datagram: ObjectDatagram) {
        // Fails when the client has left.
        let _ = io.datagrams.send(datagram.forward(io.datagrams.prefix(), ALIAS));
        self.run.echoed.fetch_add(1, Ordering::Relaxed);
    }

    fn datagrams_drained(&mut self, _io: &mut Io<'_>) {}

    fn poll(&mut self, _cx: &mut Context<'_>, _io: &mut Io<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _io: &mut Io<'_>) {}
}

async fn driver_client(scheme: &'static str, ((port, certificate), run): (Address, Arc<Run>)) {
    let hash = roundtable_transport::CertificateHash::of(&certificate);
    let config = ClientConfig { trust: Trust::Pinned(vec![hash]), ..ClientConfig::default() };
    let connection = Box::pin(connect(&format!("{scheme}://127.0.0.1:{port}/"), &config)).await.unwrap();
    let mut config = Config::new(Role::Client, connection.carrier());
    if let Some(target) = connection.setup_target() {
        config.setup.path = Some(target.path.clone());
        config.setup.authority = Some(target.authority.clone());
    }
    let mut session = Session::new(config, Instant::now());
    let namespace = Namespace::single("bench").unwrap();
    let there = FullTrackName::new(namespace.clone(), "there").unwrap();
    let back = FullTrackName::new(namespace, "back").unwrap();
    let parameters = Parameters::default;
    session
        .publish(Publish {
            track: there,
            alias: ALIAS,
            parameters: parameters(),
            track_properties: Bytes::new(),
        })
        .unwrap();
    session.subscribe(Subscribe { track: back, parameters: parameters() }).unwrap();
    let mut app = EchoClient { run, next: 0, heard: 0, is_silent: false, wake_at: Instant::now() };
    Box::pin(drive(connection, session, &mut app)).await;
}

/// Keeps [`IN_FLIGHT`] datagrams on their way.
struct EchoClient {
    run: Arc<Run>,
    next: u64,
    heard: u64,
    is_silent: bool,
    wake_at: Instant,
}

impl EchoClient {
    fn send(&mut self, datagrams: &DatagramSender, count: u64) {
        for _ in 0..count {
            let object = Object::datagram(Location::new(0, self.next), vec![0; PAYLOAD_BYTES]);
            let _ = datagrams.send(ObjectDatagram::encode(datagrams.prefix(), ALIAS, &object));
            self.next += 1;
        }
    }
}

impl App for EchoClient {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        if let Event::SubscribeAccepted(..) = event {
            self.send(io.datagrams, IN_FLIGHT);
        }
    }

    fn handle_datagram(&mut self, _io: &mut Io<'_>, _request: RequestId, _datagram: ObjectDatagram) {
        self.heard += 1;
    }

    fn datagrams_drained(&mut self, io: &mut Io<'_>) {
        let heard = std::mem::take(&mut self.heard);
        self.is_silent = false;
        self.send(io.datagrams, heard);
    }

    fn poll(&mut self, _cx: &mut Context<'_>, _io: &mut Io<'_>) -> Poll<()> {
        if self.run.stop.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.wake_at)
    }

    fn handle_timeout(&mut self, io: &mut Io<'_>) {
        // Whatever was on its way is lost.
        if std::mem::replace(&mut self.is_silent, true) && self.next > 0 {
            self.send(io.datagrams, IN_FLIGHT);
        }
        self.wake_at = io.now + Duration::from_millis(50);
    }
}

// ---- plain quinn

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

async fn plain_server(run: Arc<Run>, tell: mpsc::Sender<Address>) {
    let (certificate, key) = certificate();
    let tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    tell.send((endpoint.local_addr().unwrap().port(), certificate)).unwrap();
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    while let Ok(datagram) = connection.read_datagram().await {
        // Rebuilt, since whoever forwards has another header to write.
        let _ = connection.send_datagram(Bytes::copy_from_slice(&datagram));
        run.echoed.fetch_add(1, Ordering::Relaxed);
    }
}

async fn plain_client(((port, certificate), run): (Address, Arc<Run>)) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(
        quinn::ClientConfig::new(Arc::new(crypto)),
        ([127, 0, 0, 1], port).into(),
        "localhost",
    );
    let connection = connecting.unwrap().await.unwrap();
    let send = || connection.send_datagram(vec![0; PAYLOAD_BYTES].into()).unwrap();
    (0..IN_FLIGHT).for_each(|_| send());
    while !run.stop.load(Ordering::Relaxed) {
        match tokio::time::timeout(Duration::from_millis(50), connection.read_datagram()).await {
            Ok(Ok(_)) => send(),
            Ok(Err(error)) => panic!("{error}"),
            Err(_) => (0..IN_FLIGHT).for_each(|_| send()),
        }
    }
    connection.close(0_u32.into(), b"");
    endpoint.wait_idle().await;
}
