//! Beyond loopback: HTTPS with the calls' own certificate, or plain for a trusted proxy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use roundtable_transport::CertificateHash;
use support::{PATIENCE, Running, ask, trusting};

/// All addresses, of which the tests use loopback.
const BEYOND: [&str; 2] = ["--http=0.0.0.0:0", "--allow-open-beyond-loopback"];

fn reached_by_loopback(relay: &Running) -> std::net::SocketAddr {
    ([127, 0, 0, 1], relay.http().port()).into()
}

#[test]
fn beyond_loopback_the_page_is_https_with_the_certificate_of_the_calls() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &BEYOND);
    let address = reached_by_loopback(&relay);

    let config = trusting(&[b"http/1.1"], false);
    let mut tls = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let shown = CertificateHash::of(&tls.peer_certificates().unwrap()[0]);
    assert_eq!(shown.to_string(), relay.hashes()[0]);
}

#[test]
fn who_speaks_http_to_it_is_sent_to_https() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &BEYOND);
    let address = reached_by_loopback(&relay);
    let answer =
        ask(address, &format!("GET /room/a HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
    assert_eq!(answer.status, 308);
    assert_eq!(answer.header("location"), Some(format!("https://{address}/room/a").as_str()));
    let foreign = ask(address, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(foreign.status, 421, "but nowhere foreign");
}

#[test]
fn a_trusted_proxy_and_nobody_else_may_speak_http() {
    for (proxy, status) in [("127.0.0.1", 200), ("192.0.2.1", 403)] {
        let data = tempfile::tempdir().unwrap();
        let relay = Running::start(data.path(), &[&BEYOND[..], &["--trusted-proxy", proxy]].concat());
        let address = reached_by_loopback(&relay);
        let answer =
            ask(address, &format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{proxy}");
    }
}

#[test]
fn metrics_beyond_loopback_are_not_plain_for_everybody() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &["--metrics=0.0.0.0:0", "--allow-open-beyond-loopback"]);
    let address: std::net::SocketAddr = ([127, 0, 0, 1], relay.metrics().port()).into();
    let answer =
        ask(address, &format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"));
    assert_eq!(answer.status, 308);
}
