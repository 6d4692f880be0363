//! The binary comes up, says why when it cannot, and goes down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{fs, net::TcpListener};

use support::{Running, ask, run, said, write_certificate};

#[test]
fn it_comes_up_serves_and_stops_when_told() {
    for signal in ["TERM", "INT"] {
        let data = tempfile::tempdir().unwrap();
        let relay = Running::start(data.path(), &[]);
        assert_eq!((relay.get("/healthz").status, relay.get("/healthz").body.as_str()), (200, "ok\n"));
        assert_eq!(relay.get("/certificate.sha256").body, format!("{}\n", relay.hashes()[0]));
        assert_eq!(relay.stop(signal), Some(0), "{signal}");
    }
}

#[test]
fn the_certificate_outlives_the_process() {
    let data = tempfile::tempdir().unwrap();
    let first = Running::start(data.path(), &[]);
    let hashes = first.hashes();
    drop(first);
    assert_eq!(Running::start(data.path(), &[]).hashes(), hashes, "even after it was killed");
}

#[test]
fn two_relays_do_not_share_a_data_folder() {
    let data = tempfile::tempdir().unwrap();
    let first = Running::start(data.path(), &[]);
    let path = data.path().to_str().unwrap();
    let second =
        run(&["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics", "off", "--data", path]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains("in use by another relay"), "{}", said(&second));
    assert_eq!(first.get("/healthz").status, 200);
}

#[test]
fn a_port_in_use_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_address = udp.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let path = data.path().to_str().unwrap();
    for (listen, http, metrics, flag) in [
        ("127.0.0.1:0", address.as_str(), "off", "--http"),
        ("127.0.0.1:0", "127.0.0.1:0", address.as_str(), "--metrics"),
        (udp_address.as_str(), "127.0.0.1:0", "off", "--listen"),
    ] {
        let output = run(&["--listen", listen, "--http", http, "--metrics", metrics, "--data", path]);
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(said.contains("is in use") && said.contains(flag), "{said}");
    }
}

#[test]
fn wrong_settings_are_explained_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let path = data.to_str().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(&file, "htttp = \"127.0.0.1:0\"").unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["--listen", "0.0.0.0:0"], "--allow-open-beyond-loopback"),
        (&["--listen", "nonsense"], "--listen"),
        (&["--lisen", "127.0.0.1:0"], "--listen"),
        (&["--tls-cert", "cert.pem"], "--tls-key"),
        (&["--config", file.to_str().unwrap()], "did you mean `http`"),
    ];
    for (arguments, words) in cases {
        let output = run(&[&["--data", path], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(words), "{}", said(&output));
        assert!(!data.exists());
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    for words in
        ["Addresses:", "Security:", "Limits:", "Examples:", "--allow-open-beyond-loopback", "ROUNDTABLE_"]
    {
        assert!(text.contains(words), "{words}");
    }
    let version = run(&["--version"]);
    let expected = format!("roundtable-relay {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);
}

#[test]
fn a_given_certificate_is_used_and_a_wrong_one_explained() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let relay = Running::start(&folder.path().join("data"), &["--tls-cert", cert, "--tls-key", key]);
    assert_eq!(relay.hashes().len(), 1);
    assert!(!folder.path().join("data/certificate").exists(), "none is made");
    assert!(relay.get("/api/relay").body.contains(r#""is_certificate_pinned":false"#), "valid for too long");
    drop(relay);

    let output =
        run(&["--data", folder.path().join("other").to_str().unwrap(), "--tls-cert", key, "--tls-key", key]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("holds no certificate"), "{}", said(&output));
}

#[test]
fn settings_come_from_the_environment_too() {
    let data = tempfile::tempdir().unwrap();
    let output = support::binary()
        .env("ROUNDTABLE_LISTEN", "127.0.0.1:0,0.0.0.0:0")
        .args(["--data", data.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(said(&output).contains("--listen 0.0.0.0:0 can be reached"), "{}", said(&output));
}
#[test]
fn metrics_have_a_listener_of_their_own() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let host = relay.metrics();
    let answer = ask(host, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("# TYPE roundtable_sessions_open gauge"), "{}", answer.body);
    assert_eq!(relay.get("/metrics").status, 404, "and stand nowhere else");
    let foreign = ask(host, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(foreign.status, 421);
}

#[test]
fn a_database_that_is_none_is_explained_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    drop(Running::start(data.path(), &[]));
    let file = data.path().join("roundtable.db");
    assert!(file.exists());
    for name in ["roundtable.db-wal", "roundtable.db-shm"] {
        let _ = fs::remove_file(data.path().join(name));
    }
    let nonsense = "nonsense ".repeat(1000);
    fs::write(&file, &nonsense).unwrap();
    let path = data.path().to_str().unwrap();
    let output =
        run(&["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics", "off", "--data", path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("roundtable.db is damaged"), "{}", said(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), nonsense);
}
