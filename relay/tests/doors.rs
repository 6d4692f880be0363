//! Who gets in, over real HTTP and with real CONNECTs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;

use support::{PATIENCE, Running, ask, trusting};
use web_transport_quinn::{
    ClientError, ConnectError,
    http::{HeaderValue, header},
    proto::{ConnectError as ProtocolError, ConnectRequest},
};

#[test]
fn a_request_that_does_not_name_us_is_turned_away() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &["--public-url", "https://meet.example.org"]);
    let port = relay.http().port();
    let cases = [
        (format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"), 200),
        (format!("GET / HTTP/1.1\r\nHost: localhost:{port}\r\n"), 200),
        ("GET / HTTP/1.1\r\nHost: meet.example.org\r\n".to_owned(), 200),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n".to_owned(), 421),
        (format!("GET / HTTP/1.1\r\nHost: evil.example:{port}\r\n"), 421),
        (format!("GET http://evil.example/ HTTP/1.1\r\nHost: localhost:{port}\r\n"), 421),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n".to_owned(), 400),
        ("GET / HTTP/1.0\r\n".to_owned(), 400),
    ];
    for (request, status) in cases {
        let answer = ask(relay.http(), &format!("{request}Connection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{request}");
        assert!(
            answer.header("content-security-policy").unwrap().starts_with("default-src 'none'"),
            "{request}"
        );
    }
}

#[test]
fn other_pages_cannot_read_the_hash_and_nobody_can_frame_the_page() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let host = relay.http();
    let request = format!(
        "GET /certificate.sha256 HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n"
    );
    let answer = ask(host, &request);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));

    let page = relay.get("/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(policy.contains(&format!("connect-src 'self' https://{};", relay.quic())), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(relay.get("/room/my-room").status, page.status, "a room has an address of its own");
    assert_eq!(relay.get("/nothing").status, 404);
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let long = "a".repeat(64 * 1024);
    let host = relay.http();
    let answer = ask(host, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Long: {long}\r\n\r\n"));
    assert_eq!(answer.status, 431);
    assert_eq!(relay.get("/healthz").status, 200);
}

#[tokio::test]
async fn a_call_from_a_foreign_page_or_for_a_foreign_name_is_turned_away() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &["--public-url", "https://meet.example.org"]);
    let (quic, page) = (relay.quic(), relay.http());
    let ours = quic.to_string();
    let own_page = format!("http://{page}");
    let tunnelled = format!("http://127.0.0.1:{}", page.port().wrapping_add(1).max(1));
    let cases: [(&str, &[&str], u16); 9] = [
        (&ours, &[], 200),
        (&ours, &[&own_page], 200),
        (&ours, &["https://meet.example.org"], 200),
        ("meet.example.org:4443", &["https://meet.example.org"], 200),
        (&ours, &["http://evil.example"], 403),
        (&ours, &["null"], 403),
        (&ours, &[&tunnelled], 403),
        (&ours, &[&own_page, "http://evil.example"], 403),
        ("evil.example:4443", &[&own_page], 421),
    ];
    for (authority, origins, status) in cases {
        let found = tokio::time::timeout(PATIENCE, connect(quic, authority, origins)).await.unwrap();
        assert_eq!(found, status, "{authority} {origins:?}");
    }
}

/// The status of a CONNECT with this :authority and these origins.
async fn connect(address: std::net::SocketAddr, authority: &str, origins: &[&str]) -> u16 {
    let url = format!("https://{authority}/my-room");
    let mut request = ConnectRequest::new(url.parse::<url::Url>().unwrap()).with_protocol("moqt-18");
    for origin in origins {
        request.headers.append(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
    }
    let connection = quic_client().connect(address, "localhost").unwrap().await.unwrap();
    match web_transport_quinn::Session::connect(connection, request).await {
        Ok(_) => 200,
        Err(ClientError::HttpError(ConnectError::ProtoError(ProtocolError::WrongStatus(Some(status))))) => {
            status.as_u16()
        }
        Err(error) => panic!("{error}"),
    }
}

/// A client that trusts everybody.
fn quic_client() -> quinn::Endpoint {
    let tls = trusting(&[b"h3"], true);
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
    endpoint
}
