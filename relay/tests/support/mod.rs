//! The real binary on free ports, and a client that speaks HTTP byte by byte.
#![allow(dead_code, unreachable_pub)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// Long enough for a busy machine, short enough to fail a test rather than hang it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, told nothing by the environment.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roundtable-relay"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROUNDTABLE_") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end, which must come.
pub fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).output().unwrap()
}

/// What it said on standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A relay that runs, killed when dropped.
pub struct Running {
    child: Child,
    pub addresses: serde_json::Value,
}

impl Running {
    /// On free ports of 127.0.0.1, with its data in `data`, and whatever else is said.
    pub fn start(data: &Path, arguments: &[&str]) -> Self {
        let mut command = binary();
        command.args(["--print-addresses", "--data"]).arg(data);
        let has = |flag: &str| arguments.iter().any(|argument| argument.starts_with(flag));
        for flag in ["--listen", "--http", "--metrics"] {
            if !has(flag) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the relay ended before it was up: {:?}", child.wait());
        Running { child, addresses: serde_json::from_str(&line).unwrap() }
    }

    pub fn http(&self) -> SocketAddr {
        let url = self.addresses["http"][0].as_str().unwrap();
        url.split_once("://").unwrap().1.parse().unwrap()
    }

    pub fn metrics(&self) -> SocketAddr {
        let url = self.addresses["metrics"][0].as_str().unwrap();
        url.split_once("://").unwrap().1.parse().unwrap()
    }

    pub fn quic(&self) -> SocketAddr {
        self.addresses["quic"][0].as_str().unwrap().parse().unwrap()
    }

    pub fn hashes(&self) -> Vec<String> {
        let hashes = self.addresses["certificate_sha256"].as_array().unwrap();
        hashes.iter().map(|hash| hash.as_str().unwrap().to_owned()).collect()
    }

    /// Sends a signal, waits for the end and returns its code.
    pub fn stop(mut self, signal: &str) -> Option<i32> {
        let kill = Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the relay does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `GET path` as a browser at this relay would send it.
    pub fn get(&self, path: &str) -> Answer {
        let address = self.http();
        ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, taken apart just enough.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// Sends these bytes and reads to the end.
pub fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A certificate and its key in PEM files named `cert.pem` and `key.pem`.
pub fn write_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

/// TLS of a client that trusts everybody.
pub fn trusting(protocols: &[&[u8]], is_quic: bool) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] =
        if is_quic { &[&rustls::version::TLS13] } else { rustls::DEFAULT_VERSIONS };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    tls
}

#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Trusting {
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
        unreachable!("everybody here speaks TLS 1.3")
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
