//! The WebTransport port as the independent HTTP/3 crate sees it, and as nonsense does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{future::poll_fn, time::Duration};

use bytes::Buf as _;
use h3::ext::Protocol;
use roundtable_transport::IncomingKind;
use support::{Server, quinn_client, server, server_with, soon};
use web_transport_proto::http::{self, Method, Request, StatusCode};

type Sender = h3::client::SendRequest<h3_quinn::OpenStreams, bytes::Bytes>;

/// An HTTP/3 client; its connection is driven by a task until it is closed.
async fn http3(server: &Server) -> (Sender, tokio::task::JoinHandle<h3::error::ConnectionError>) {
    let quic = quinn_client(server, "h3").await.unwrap();
    let (mut connection, sender) = h3::client::builder()
        .enable_extended_connect(true)
        .enable_datagram(true)
        .build(h3_quinn::Connection::new(quic))
        .await
        .unwrap();
    (sender, tokio::spawn(async move { poll_fn(|cx| connection.poll_close(cx)).await }))
}

async fn ask(server: &Server, request: http::request::Builder) -> (StatusCode, String) {
    let (mut sender, _driver) = http3(server).await;
    let mut stream = sender.send_request(request.body(()).unwrap()).await.unwrap();
    let response = soon("the answer", stream.recv_response()).await.unwrap();
    let mut body = Vec::new();
    while let Ok(Some(mut data)) = stream.recv_data().await {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    (response.status(), String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_plain_get_is_told_that_there_is_no_page() {
    let server = server();
    let (status, body) = ask(&server, Request::get(server.url("https", "/my-room"))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("WebTransport"), "{body}");
    let (status, body) = ask(&server, Request::head(server.url("https", "/"))).await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, ""));
    let (status, _) = ask(&server, Request::post(server.url("https", "/"))).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    // Counted when the client has gone, which the server waits for.
    let counted = async {
        while server.endpoint.counters().handshakes_failed < 3 {
            tokio::task::yield_now().await;
        }
    };
    soon("the count", counted).await;
}

#[tokio::test]
async fn a_connect_for_something_else_is_not_implemented() {
    let server = server();
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(server.url("https", "/masque"))
        .extension(Protocol::CONNECT_UDP);
    assert_eq!(ask(&server, request).await.0, StatusCode::NOT_IMPLEMENTED);
}

fn connect_request(server: &Server, path: &str) -> http::request::Builder {
    Request::builder()
        .method(Method::CONNECT)
        .uri(server.url("https", path))
        .extension(Protocol::WEB_TRANSPORT)
        .header("wt-available-protocols", "\"moqt-17\", \"moqt-18\"")
}

#[tokio::test]
async fn a_connect_to_an_unknown_scope_gets_the_servers_status() {
    let server = server();
    let request = connect_request(&server, "/no-such-room?token=t").header("origin", "https://evil.example");
    let serving = async {
        let incoming = server.endpoint.accept().await.unwrap();
        let kind = incoming.kind().clone();
        incoming.reject(404).await;
        kind
    };
    let ((status, _), kind) =
        soon("both", async { tokio::join!(Box::pin(ask(&server, request)), serving) }).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let IncomingKind::WebTransport(request) = kind else { panic!("{kind:?}") };
    assert_eq!(request.path, "/no-such-room");
    assert_eq!(request.query.as_deref(), Some("token=t"));
    assert_eq!(request.origins, ["https://evil.example"]);
    assert_eq!(request.protocols, ["moqt-17", "moqt-18"]);
}

#[tokio::test]
async fn a_connect_that_is_accepted_names_the_version() {
    let server = server();
    let (mut sender, _driver) = http3(&server).await;
    let request = connect_request(&server, "/my-room").body(()).unwrap();
    let asking = async {
        let mut stream = sender.send_request(request).await.unwrap();
        let response = stream.recv_response().await.unwrap();
        (response, stream)
    };
    let serving = async { server.endpoint.accept().await.unwrap().accept().await.unwrap() };
    let ((response, _stream), _connection) = soon("both", async { tokio::join!(asking, serving) }).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["wt-protocol"], "\"moqt-18\"");
}

/// Sends bytes as the control stream and as the first request, and returns HTTP/3's error code, if any.
async fn nonsense(server: &Server, control: &[u8], request: &[u8]) -> Option<u64> {
    let quic = quinn_client(server, "h3").await.unwrap();
    let mut uni = quic.open_uni().await.unwrap();
    uni.write_all(control).await.unwrap();
    let (mut send, _receive) = quic.open_bi().await.unwrap();
    let _ = send.write_all(request).await;
    let _ = send.finish();
    match soon("the server's verdict", quic.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nonsense_ends_in_http3s_own_codes() {
    const SETTINGS: &[u8] = &[0x00, 0x04, 0x00];
    let server = server_with(|config| config.handshake_timeout = Duration::from_millis(500));
    // A DATA frame before any request, HEADERS that are no QPACK, a frame of 2^62 bytes.
    assert_eq!(nonsense(&server, SETTINGS, &[0x00, 0x03, 1, 2, 3]).await, Some(0x105));
    assert_eq!(nonsense(&server, SETTINGS, &[0x01, 0x04, 0xff, 0xff, 0xff, 0xff]).await, Some(0x200));
    assert_eq!(
        nonsense(&server, SETTINGS, &[0x00, 0xff, 255, 255, 255, 255, 255, 255, 255]).await,
        Some(0x106)
    );
    // A request that ends in the middle, and an empty one.
    assert_eq!(nonsense(&server, SETTINGS, &[0x01, 0x20, 0]).await, Some(0x106));
    assert_eq!(nonsense(&server, SETTINGS, &[]).await, Some(0x106));
    // A control stream without SETTINGS, and one with half of them.
    assert_eq!(nonsense(&server, &[0x00, 0x07, 0x01, 0x00], &[0x01]).await, Some(0x10a));
    // Nothing at all: patience ends.
    assert_eq!(nonsense(&server, &[0x00], &[0x01]).await, Some(0x107));
    // And the server still serves.
    assert_eq!(ask(&server, Request::get(server.url("https", "/"))).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_control_stream_need_not_be_the_clients_first() {
    let server = server();
    let quic = quinn_client(&server, "h3").await.unwrap();
    let mut streams = Vec::new();
    // QPACK's encoder and decoder, then GREASE, then control with SETTINGS.
    for bytes in [&[0x02][..], &[0x03], &[0x21, 7, 7], &[0x00, 0x04, 0x00]] {
        let mut stream = quic.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        streams.push(stream);
    }
    let (mut send, mut receive) = quic.open_bi().await.unwrap();
    let url = server.url("https", "/my-room").parse::<url::Url>().unwrap();
    let request = web_transport_proto::ConnectRequest::new(url).with_protocol("moqt-18");
    request.write(&mut send).await.unwrap();
    let serving = async { server.endpoint.accept().await.unwrap().accept().await.unwrap() };
    let answer = web_transport_proto::ConnectResponse::read(&mut receive);
    let (_connection, answer) = soon("both", async { tokio::join!(serving, answer) }).await;
    assert_eq!(answer.unwrap().protocol.as_deref(), Some("moqt-18"));
}
