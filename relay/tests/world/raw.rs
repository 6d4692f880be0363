//! A peer without a session state machine, and a wire that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use roundtable_moqt::{
    Parameters, codec,
    message::{Message, Publish, Request, RequestId, Setup, Subscribe, TrackAlias},
};

use super::{Aborted, World, name, soon};

/// Writes what it likes on raw QUIC.
pub struct Raw {
    pub quic: quinn::Connection,
    /// Ends the connection's packets when it is dropped.
    _endpoint: quinn::Endpoint,
}

impl Raw {
    pub async fn connect(world: &World, change: impl FnOnce(&mut quinn::TransportConfig)) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(world.certificates().chain()[0].clone()).unwrap();
        let mut tls =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
        tls.alpn_protocols = vec![b"moqt-18".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        change(&mut transport);
        config.transport_config(Arc::new(transport));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, address(world), "localhost").unwrap();
        Raw { quic: soon("a handshake", connecting).await.unwrap(), _endpoint: endpoint }
    }

    /// With a control stream that has said SETUP.
    pub async fn set_up(world: &World) -> (Self, quinn::SendStream) {
        let raw = Self::connect(world, |_| {}).await;
        let control = raw.uni(&setup("/room")).await;
        (raw, control)
    }

    pub async fn uni(&self, bytes: &[u8]) -> quinn::SendStream {
        let mut stream = soon("a stream", self.quic.open_uni()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    pub async fn bi(&self, bytes: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, receive) = soon("a stream", self.quic.open_bi()).await.unwrap();
        send.write_all(bytes).await.unwrap();
        (send, receive)
    }

    /// The code with which the relay ends the session.
    pub async fn verdict(&self) -> u64 {
        match soon("the relay's verdict", self.quic.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
            other => panic!("{other:?}"),
        }
    }
}

pub fn address(world: &World) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], world.port))
}

pub fn wire(message: &Message) -> Bytes {
    codec::encode(message).unwrap()
}

pub fn setup(path: &'static str) -> Bytes {
    wire(&Message::Setup(Setup { path: Some(path.into()), ..Setup::default() }))
}

pub fn subscribe(id: u64, text: &str, parameters: Parameters) -> Bytes {
    let subscribe = Subscribe { track: name(text), parameters };
    wire(&Message::Request(RequestId(id), Request::Subscribe(subscribe)))
}

pub fn publish(id: u64, text: &str, alias: u64) -> Bytes {
    let publish = Publish {
        track: name(text),
        alias: TrackAlias(alias),
        parameters: Parameters::default(),
        track_properties: Bytes::new(),
    };
    wire(&Message::Request(RequestId(id), Request::Publish(publish)))
}

/// Carries packets between one client and the relay, until it is dropped: then the client is gone without a word.
pub struct Wire {
    pub port: u16,
    is_paused: Arc<AtomicBool>,
    _carrying: Aborted,
}

impl Wire {
    pub async fn to(world: &World) -> Self {
        let outside = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let inside = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        inside.connect(address(world)).await.unwrap();
        let port = outside.local_addr().unwrap().port();
        let is_paused = Arc::new(AtomicBool::new(false));
        let is_down = Arc::clone(&is_paused);
        let carrying = tokio::spawn(async move {
            let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((len, from)) = outside.recv_from(&mut up) => {
                        client = Some(from);
                        let _ = inside.send(&up[..len]).await;
                    }
                    Ok(len) = inside.recv(&mut down) => {
                        if let Some(client) = client.filter(|_| !is_down.load(Ordering::Relaxed)) {
                            let _ = outside.send_to(&down[..len], client).await;
                        }
                    }
                }
            }
        });
        Wire { port, is_paused, _carrying: Aborted::new(carrying) }
    }

    /// While paused, nothing that the relay sends arrives.
    pub fn pause(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Relaxed);
    }
}
