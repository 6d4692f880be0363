//! One QUIC connection on its own UDP socket, without a task: bytes move when the crowd's loop says so.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Endpoint, EndpointConfig, IdleTimeout,
    TransportConfig, VarInt, crypto::rustls::QuicClientConfig,
};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustls::crypto::{CryptoProvider, ring as provider};
use socket2::{Domain, Protocol, Socket, Type};

/// Segments in one UDP send, as quinn has it.
const SEGMENTS_MAX: usize = 10;
/// Receive buffers handed to the kernel at once, each for a whole GRO batch.
const RECEIVE_BATCH: usize = 8;
const RECEIVE_BYTES: usize = 64 << 10;
/// For each socket: about 100 ms of 80 Mbit/s.
const SOCKET_BYTES: usize = 1 << 20;

/// What all connections of a run have in common.
#[derive(Debug, Clone)]
pub struct Dialling {
    endpoint: Arc<EndpointConfig>,
    client: ClientConfig,
}

impl Dialling {
    /// For this ALPN, trusting whoever answers: what is sent is noise. AES-128 first, as browsers have it.
    pub fn new(alpn: &str) -> anyhow::Result<Self> {
        let mut ciphers = provider::default_provider();
        ciphers
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
        let ciphers = Arc::new(ciphers);
        let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&ciphers))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(ciphers)))
            .with_no_client_auth();
        tls.alpn_protocols = vec![alpn.into()];
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let mut transport = TransportConfig::default();
        transport
            .max_idle_timeout(Some(IdleTimeout::try_from(Duration::from_secs(10))?))
            .keep_alive_interval(Some(Duration::from_secs(3)))
            .datagram_receive_buffer_size(Some(4 << 20))
            .datagram_send_buffer_size(1 << 20)
            .max_concurrent_bidi_streams(VarInt::from_u32(1024))
            .max_concurrent_uni_streams(VarInt::from_u32(1024));
        client.transport_config(Arc::new(transport));
        Ok(Dialling { endpoint: Arc::new(EndpointConfig::default()), client })
    }
}

/// Memory for what the kernel hands over, shared by all connections of a thread.
#[derive(Debug)]
pub struct Buffers {
    memory: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Buffers { memory: vec![0; RECEIVE_BATCH * RECEIVE_BYTES] }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    socket: UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    /// The connection itself.
    pub quic: Connection,
    /// Packets that the kernel would not take yet.
    unsent: Option<(quinn_proto::Transmit, Vec<u8>)>,
    out: Vec<u8>,
}

impl Link {
    /// Begins a handshake.
    pub fn connect(now: Instant, dialling: &Dialling, remote: SocketAddr) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(remote), Type::DGRAM, Some(Protocol::UDP))?;
        // What the kernel does not give is seen in its overflow counter.
        let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
        let _ = socket.set_send_buffer_size(SOCKET_BYTES);
        let unspecified = match remote {
            SocketAddr::V4(_) => SocketAddr::from(([0; 4], 0)),
            SocketAddr::V6(_) => SocketAddr::from(([0_u16; 8], 0)),
        };
        socket.bind(&unspecified.into()).context("no UDP port is free")?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from(socket);
        let state = UdpSocketState::new((&socket).into())?;
        let mut endpoint = Endpoint::new(Arc::clone(&dialling.endpoint), None, true, None);
        let (handle, quic) = endpoint.connect(now, dialling.client.clone(), remote, "localhost")?;
        Ok(Link { socket, state, endpoint, handle, quic, unsent: None, out: Vec::new() })
    }

    /// To wait on.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Takes in what has arrived, up to a batch.
    pub fn receive(&mut self, now: Instant, buffers: &mut Buffers) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); RECEIVE_BATCH];
        let mut slices = buffers.memory.chunks_mut(RECEIVE_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; RECEIVE_BATCH] =
            std::array::from_fn(|_| slices.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
        let count = match self.state.recv((&self.socket).into(), &mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let mut bytes = BytesMut::from(slice.get(..meta.len).unwrap_or_default());
            while !bytes.is_empty() {
                let packet = bytes.split_to(meta.stride.clamp(1, bytes.len()));
                self.packet(now, meta, packet);
            }
        }
        Ok(())
    }

    fn packet(&mut self, now: Instant, meta: &RecvMeta, packet: BytesMut) {
        let ecn = meta.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
        match self.endpoint.handle(now, meta.addr, meta.dst_ip, ecn, packet, &mut self.out) {
            Some(DatagramEvent::ConnectionEvent(_, event)) => self.quic.handle_event(event),
            // A client answers nobody else.
            Some(DatagramEvent::NewConnection(_) | DatagramEvent::Response(_)) | None => {}
        }
    }

    /// Sends what is due.
    pub fn flush(&mut self, now: Instant) -> io::Result<()> {
        while let Some(event) = self.quic.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.quic.handle_event(event);
            }
        }
        if let Some((transmit, bytes)) = self.unsent.take()
            && !self.send(&transmit, &bytes)?
        {
            self.unsent = Some((transmit, bytes));
            return Ok(());
        }
        loop {
            self.out.clear();
            let mut out = std::mem::take(&mut self.out);
            let segments_max = self.state.max_gso_segments().min(SEGMENTS_MAX);
            let Some(transmit) = self.quic.poll_transmit(now, segments_max, &mut out) else {
                self.out = out;
                return Ok(());
            };
            if !self.send(&transmit, &out)? {
                self.unsent = Some((transmit, out));
                return Ok(());
            }
            self.out = out;
        }
    }

    /// False when the kernel takes no more now.
    fn send(&self, transmit: &quinn_proto::Transmit, bytes: &[u8]) -> io::Result<bool> {
        let transmit = Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: bytes.get(..transmit.size).unwrap_or_default(),
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        match self.state.send((&self.socket).into(), &transmit) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// When it wants to be called, for sending again at the latest.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.quic.poll_timeout()
    }

    /// Closes the connection.
    pub fn close(&mut self, now: Instant) {
        self.quic.close(now, VarInt::from_u32(0), Bytes::new());
        // It is as well if the kernel does not take it: the relay notices by time.
        let _ = self.flush(now);
    }
}

#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls13RequiredForQuic.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
