//! Getting in, and being kept out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use roundtable_moqt::session::Carrier;
use roundtable_transport::{
    AcceptError, CertificateHash, ClientConfig, ConnectError, EndpointConfig, Incoming, IncomingKind, Trust,
    connect,
};
use support::{certificate, quinn_client, server, server_with, soon};

/// Connects while the server does `answer`.
async fn meet<T>(
    server: &support::Server,
    url: &str,
    config: &ClientConfig,
    answer: impl AsyncFnOnce(Incoming) -> T,
) -> (Result<roundtable_transport::Connection, ConnectError>, T) {
    let serving = async {
        let incoming = server.endpoint.accept().await.expect("the endpoint is open");
        answer(incoming).await
    };
    soon("client and server", async { tokio::join!(connect(url, config), serving) }).await
}

#[tokio::test]
async fn a_web_transport_client_brings_path_query_authority_and_protocol() {
    let server = server();
    let url = server.url("https", "/my-room?token=abc");
    let (client, (kind, connection)) = meet(&server, &url, &server.client(), async |incoming| {
        (incoming.kind().clone(), incoming.accept().await.unwrap())
    })
    .await;
    let IncomingKind::WebTransport(request) = kind else { panic!("{kind:?}") };
    assert_eq!(request.path, "/my-room");
    assert_eq!(request.query.as_deref(), Some("token=abc"));
    assert_eq!(request.authority, format!("127.0.0.1:{}", server.port));
    assert_eq!(request.origins, Vec::<String>::new());
    assert_eq!(request.protocols, ["moqt-18"]);
    assert_eq!(connection.carrier(), Carrier::WebTransport);
    let client = client.unwrap();
    assert_eq!(client.carrier(), Carrier::WebTransport);
    assert_eq!(client.setup_target(), None);
    assert_eq!(client.datagrams().prefix(), [0]);
}

#[tokio::test]
async fn a_raw_quic_client_says_path_and_authority_in_setup() {
    let server = server();
    let url = server.url("moqt", "/my-room?token=abc");
    let (client, (kind, connection)) = meet(&server, &url, &server.client(), async |incoming| {
        (incoming.kind().clone(), incoming.accept().await.unwrap())
    })
    .await;
    assert_eq!(kind, IncomingKind::Quic);
    assert_eq!(connection.carrier(), Carrier::Quic);
    assert_eq!(connection.setup_target(), None);
    let client = client.unwrap();
    let target = client.setup_target().unwrap();
    assert_eq!(target.path, "/my-room?token=abc");
    assert_eq!(target.authority, format!("127.0.0.1:{}", server.port));
    assert!(client.datagrams().prefix().is_empty());
    assert!(client.datagrams().bytes_max() >= 1100);
}

#[tokio::test]
async fn a_name_with_two_addresses_works_whichever_the_server_listens_on() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let server = server_with(|config| config.listen = vec![listen.parse().unwrap()]);
        for scheme in ["https", "moqt"] {
            let url = format!("{scheme}://localhost:{}/room", server.port);
            let (client, served) =
                meet(&server, &url, &server.client(), async |incoming| incoming.accept().await).await;
            assert!(client.is_ok() && served.is_ok(), "{url} {listen} {client:?}");
        }
    }
}

#[tokio::test]
async fn an_ipv6_address_works() {
    let server = server_with(|config| config.listen = vec!["[::1]:0".parse().unwrap()]);
    for scheme in ["https", "moqt"] {
        let url = format!("{scheme}://[::1]:{}/room", server.port);
        let (client, served) =
            meet(&server, &url, &server.client(), async |incoming| incoming.accept().await).await;
        assert!(client.is_ok() && served.is_ok(), "{url} {client:?}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_pinned_is_refused_and_the_error_says_so() {
    let server = server();
    let other = CertificateHash([7; 32]);
    for scheme in ["https", "moqt"] {
        let config = ClientConfig { trust: Trust::Pinned(vec![other]), ..ClientConfig::default() };
        let error = soon("refusal", connect(&server.url(scheme, "/room"), &config)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
        let anyone = ClientConfig { trust: Trust::Anyone, ..ClientConfig::default() };
        let url = server.url(scheme, "/room");
        let (client, _) = meet(&server, &url, &anyone, async |incoming| incoming.accept().await).await;
        client.unwrap();
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_used_for_new_connections_only() {
    let server = server();
    let before = server.client();
    let url = server.url("moqt", "/room");
    let (old, _) = meet(&server, &url, &before, async |incoming| incoming.accept().await).await;
    let (chain, key) = certificate();
    server.certificates.replace(chain, key).unwrap();
    let error = soon("refusal", connect(&url, &before)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Certificate(_)), "{error:?}");
    let (new, _) = meet(&server, &url, &server.client(), async |incoming| incoming.accept().await).await;
    assert!(old.is_ok() && new.is_ok());
}

#[tokio::test]
async fn a_refused_session_tells_the_status() {
    let server = server();
    let url = server.url("https", "/nope");
    let config = server.client();
    for wanted in [404, 403] {
        let refusing = async {
            loop {
                server.endpoint.accept().await.unwrap().reject(wanted).await;
            }
        };
        let refused = async {
            tokio::select! {
                client = Box::pin(connect(&url, &config)) => client.unwrap_err(),
                () = refusing => unreachable!("it refuses for ever"),
            }
        };
        let error = soon("refusal", refused).await;
        assert!(matches!(error, ConnectError::Refused { status } if status == Some(wanted)), "{error:?}");
        assert!(error.to_string().contains(&wanted.to_string()), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_an_error_in_time() {
    // Bound, and silent: the port belongs to nobody else for the length of the test.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for scheme in ["https", "moqt"] {
        let config = ClientConfig {
            timeout: Duration::from_millis(300),
            trust: Trust::Anyone,
            ..ClientConfig::default()
        };
        let error = connect(&format!("{scheme}://127.0.0.1:{port}/room"), &config).await.unwrap_err();
        assert!(matches!(&error, ConnectError::Unreachable { port: p, .. } if *p == port), "{error:?}");
    }
}

#[tokio::test]
async fn urls_that_cannot_be_dialled_say_why() {
    for url in ["room", "http://localhost/", "https://", "https://local host/", "moqt://[::1/"] {
        let error = connect(url, &ClientConfig::default()).await.unwrap_err();
        assert!(matches!(error, ConnectError::Url(_)), "{url} {error:?}");
    }
}

#[tokio::test]
async fn an_unknown_alpn_gets_no_connection() {
    let server = server();
    let error = soon("refusal", quinn_client(&server, "moqt-99")).await.unwrap_err();
    // TLS alert 120, no_application_protocol.
    assert!(
        matches!(&error, quinn::ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == 0x178),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_of_another_version_is_told_apart_from_one_that_is_down() {
    let (chain, key) = certificate();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    tls.alpn_protocols = vec!["moqt-99".into()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(std::sync::Arc::new(crypto));
    let other = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let port = other.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Some(incoming) = other.accept().await {
            let _ = incoming.await;
        }
    });
    for scheme in ["https", "moqt"] {
        let config = ClientConfig { trust: Trust::Anyone, ..ClientConfig::default() };
        let url = format!("{scheme}://127.0.0.1:{port}/room");
        let error = soon("refusal", Box::pin(connect(&url, &config))).await.unwrap_err();
        assert!(matches!(error, ConnectError::Version), "{error:?}");
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_given_up_and_delays_nobody() {
    let server =
        server_with(|config: &mut EndpointConfig| config.handshake_timeout = Duration::from_millis(300));
    // HTTP/3 without a word: no SETTINGS, no CONNECT.
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(soon("handshake", quinn_client(&server, "h3")).await.unwrap());
    }
    let url = server.url("https", "/room");
    let (client, _) = meet(&server, &url, &server.client(), async |incoming| incoming.accept().await).await;
    client.unwrap();
    for connection in silent {
        let error = soon("the server's patience", connection.closed()).await;
        assert!(matches!(error, quinn::ConnectionError::ApplicationClosed(_)), "{error:?}");
    }
    assert_eq!(server.endpoint.counters().handshakes_timed_out, 4);
}

#[tokio::test]
async fn under_load_clients_prove_their_address_first_and_still_get_in() {
    let server = server_with(|config| config.handshakes_before_retry = 0);
    let url = server.url("moqt", "/room");
    let (client, _) = meet(&server, &url, &server.client(), async |incoming| incoming.accept().await).await;
    client.unwrap();
    assert_eq!(server.endpoint.counters().handshakes_retried, 1);
}

#[tokio::test]
async fn more_handshakes_than_allowed_are_refused() {
    let server = server_with(|config| config.handshakes_max = 1);
    let _silent = soon("handshake", quinn_client(&server, "h3")).await.unwrap();
    let error = soon("refusal", quinn_client(&server, "moqt-18")).await.unwrap_err();
    assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error:?}");
    assert_eq!(server.endpoint.counters().handshakes_refused, 1);
}

#[tokio::test]
async fn a_stopping_server_lets_nobody_in_and_says_goodbye() {
    let server = server();
    let url = server.url("moqt", "/room");
    let (client, served) =
        meet(&server, &url, &server.client(), async |incoming| incoming.accept().await).await;
    let (client, _served) = (client.unwrap(), served.unwrap());
    server.endpoint.stop_accepting();
    let config = ClientConfig { timeout: Duration::from_secs(2), ..server.client() };
    connect(&url, &config).await.unwrap_err();
    server.endpoint.close().await;
    assert_eq!(
        client.datagrams().send(bytes::Bytes::from_static(b"x")),
        Err(roundtable_transport::SendError::Closed)
    );
}

#[tokio::test]
async fn a_client_without_our_version_is_told() {
    let server = server();
    // A WebTransport client that offers no sub-protocol.
    let config = wtransport::ClientConfig::builder()
        .with_bind_address("127.0.0.1:0".parse().unwrap())
        .with_custom_tls(support::tls_client(&server, "h3"))
        .build();
    let endpoint = wtransport::Endpoint::client(config).unwrap();
    let serving = async { server.endpoint.accept().await.unwrap().accept().await };
    let (client, served) =
        soon("refusal", async { tokio::join!(endpoint.connect(server.url("https", "/room")), serving) })
            .await;
    assert!(matches!(served, Err(AcceptError::Version)), "{served:?}");
    assert!(matches!(client, Err(wtransport::error::ConnectingError::SessionRejected)));
}
