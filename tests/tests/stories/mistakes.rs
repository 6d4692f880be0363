//! What goes wrong is said so that a person can do something about it, and the exit code tells a script.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    process::Command,
};

use super::*;
use roundtable_tests::harness::{Clip, subscriber, tool};

/// Runs a tool that must fail by itself; what it said.
#[track_caller]
fn fails(command: &mut Command) -> String {
    Process::start("tool", command).wait().expect_failure()
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

const TOOLS: [fn(&str) -> Command; 2] = [subscriber, publisher];

#[test]
fn a_url_that_cannot_be_dialled_is_explained() {
    for start in TOOLS {
        assert_says(&fails(&mut start("127.0.0.1:4443/room")), &["https://", "moqt://"]);
        assert_says(&fails(&mut start("http://127.0.0.1:4443/room")), &["http://", "https://"]);
        assert_says(
            &fails(&mut start("https://no.such.host.invalid/room")),
            &["cannot find no.such.host.invalid"],
        );
    }
}

#[test]
fn flags_that_do_not_exist_or_contradict_each_other_are_explained() {
    for start in TOOLS {
        assert_says(&fails(start("https://127.0.0.1/room").arg("--lop")), &["--lop", "--help"]);
        assert_says(&fails(start("https://127.0.0.1/room").args(["--tls-sha256", "abc"])), &["--tls-sha256"]);
    }
    let url = "https://127.0.0.1/room";
    assert_says(
        &fails(subscriber(url).args(["--record", "x", "-o", "-"])),
        &["--record", "cannot be used with"],
    );
    assert_says(&fails(subscriber(url).args(["--duration", "5 days"])), &["5 days", "ms, s, m or h"]);
    assert_says(&fails(subscriber(url).args(["--tracks", "ann/"])), &["--tracks"]);
    assert_says(&fails(publisher(url).args(["--as", "window"])), &["--as", "camera", "screen"]);
    assert_says(&fails(publisher(url).args(["--name", "a b"])), &["--name", "letters"]);
    assert_says(&fails(publisher(url).args(["--loop", "-"])), &["loop"]);
    for name in ["roundtable-subscriber", "roundtable-publisher"] {
        assert_says(&fails(&mut tool(name)), &["--url"]);
    }
}

#[test]
fn nobody_there_is_said_with_the_port() {
    // A port of ours that nobody answers on.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for start in TOOLS {
        for scheme in ["https", "moqt"] {
            let said = fails(&mut start(&format!("{scheme}://127.0.0.1:{port}/room")));
            assert_says(&said, &["127.0.0.1 does not answer on UDP port", &port.to_string()]);
        }
    }
}

#[test]
fn the_pages_port_is_not_the_calls_port() {
    // A person takes the port out of the browser's address bar: TCP answers there, UDP does not.
    let page = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/room", page.local_addr().unwrap());
    assert_says(&fails(&mut subscriber(&url)), &["UDP port"]);
}

#[test]
fn a_room_whose_name_is_not_allowed_is_refused_with_the_rule() {
    let relay = Relay::start();
    for start in TOOLS {
        for path in ["a%20room", "room/", "a/b", ""] {
            let said = fails(&mut start(&relay.url(path)));
            assert_says(&said, &["404", "names a room"]);
        }
    }
    let said = fails(&mut subscriber(&relay.raw_url("a/b")));
    assert_says(&said, &["room"]);
}

#[test]
fn a_relay_that_is_not_the_pinned_one_is_refused() {
    let relay = Relay::start();
    for start in TOOLS {
        let said = fails(start(&relay.url("room")).args(["--tls-sha256", &"0".repeat(64)]));
        assert_says(&said, &["certificate", "pinned", "/certificate.sha256"]);
    }
    let mut pinned = subscriber(&relay.url("room"));
    let finished = Process::start("tool", pinned.args(["--tls-sha256", relay.hash(), "--duration", "100ms"]));
    finished.wait().expect_success();
}

#[test]
fn a_token_file_that_is_none_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("token");
    fs::write(&empty, "\n").unwrap();
    for start in TOOLS {
        let said = fails(start("https://127.0.0.1/room").args(["--token-file", "/nonexistent/token"]));
        assert_says(&said, &["/nonexistent/token", "No such file"]);
        let said = fails(start("https://127.0.0.1/room").arg("--token-file").arg(&empty));
        assert_says(&said, &["holds no token"]);
    }
}

#[test]
fn a_folder_that_cannot_hold_a_recording_is_said_before_anything_is_dialled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let said = fails(subscriber("https://127.0.0.1/room").arg("--record").arg(&file));
    assert_says(&said, &["cannot record into", file.to_str().unwrap()]);

    let relay = Relay::start();
    let into = folder.path().join("recording");
    let _first = relay.record(&relay.url("room"), &into, &[]);
    let said = fails(subscriber(&relay.url("room")).arg("--record").arg(&into));
    assert_says(&said, &["another recorder", into.to_str().unwrap()]);
}

#[test]
fn a_file_that_cannot_be_published_is_said_with_what_would_work() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let publish = |file: &Path| fails(publisher(&relay.url("room")).arg(file));

    assert_says(&publish(Path::new("/nonexistent/film.webm")), &["/nonexistent/film.webm", "No such file"]);
    assert_says(&publish(folder.path()), &["directory"]);

    let text = folder.path().join("notes.txt");
    fs::write(&text, "No film at all.\n".repeat(1000)).unwrap();
    assert_says(&publish(&text), &["notes.txt", "WebM", "MP4"]);
    let empty = folder.path().join("empty.webm");
    fs::write(&empty, "").unwrap();
    assert_says(&publish(&empty), &["empty.webm"]);

    // A container that we read with codecs that we do not carry.
    let old = Clip::new(&["-c:v", "mpeg4"], &["-c:a", "libmp3lame"]).make(folder.path(), "old.mkv");
    assert_says(&publish(&old), &["old.mkv", "VP8", "Opus"]);
    // And a container that we do not read.
    let avi = Clip::new(&["-c:v", "mpeg4"], &[]).make(folder.path(), "old.avi");
    assert_says(&publish(&avi), &["old.avi", "WebM", "MP4"]);
}

#[test]
fn a_file_that_is_cut_short_is_sent_as_far_as_it_goes_and_said() {
    for (video, name) in [(&VP8[..], "film.webm"), (&H264[..], "film.mp4")] {
        let relay = Relay::start();
        let folder = tempfile::tempdir().unwrap();
        // The index first, so that the MP4 can be read as far as it goes.
        let mux: &[&str] = if name.ends_with("mp4") { &["-movflags", "+faststart"] } else { &[] };
        let whole = Clip::new(video, &OPUS).mux(mux).make(folder.path(), name);
        let bytes = fs::read(&whole).unwrap();
        let cut = folder.path().join(format!("cut-{name}"));
        fs::write(&cut, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let into = folder.path().join("recording");
        let recorder = relay.record(&relay.url("room"), &into, &["--until-empty"]);
        let said = publish(&relay.url("room"), "ann", &cut, &[]).wait().expect_failure();
        assert_says(&said, &["cut", name]);
        recorder.wait().expect_success();
        let sent = streams_of(&whole);
        let files = files_of(&into, "ann");
        for stream in &sent {
            let (_, kept) = with_stream(&files, stream);
            assert!(kept.frames.len() * 2 > stream.frames.len(), "{name}: {}", kept.frames.len());
            assert!(kept.frames.iter().zip(&stream.frames).all(|(kept, sent)| kept.hash == sent.hash));
        }
    }
}

#[test]
fn an_mp4_without_its_index_is_said_to_be_cut() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let whole = Clip::new(&H264, &OPUS).make(folder.path(), "film.mp4");
    let bytes = fs::read(&whole).unwrap();
    let cut = folder.path().join("cut.mp4");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let said = fails(publisher(&relay.url("room")).arg(&cut));
    assert_says(&said, &["cut.mp4", "cut short"]);
}

#[test]
fn a_pipe_that_carries_nothing_usable_is_said() {
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let from = |file: &Path| {
        let mut command = publisher(&relay.url("room"));
        fails(command.arg("-").stdin(fs::File::open(file).unwrap()))
    };
    // Its index comes last, and a pipe cannot be read backwards.
    let film = Clip::new(&H264, &OPUS).make(folder.path(), "film.mp4");
    assert_says(&from(&film), &["standard input", "moov", "frag_keyframe"]);
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert_says(&from(&empty), &["standard input"]);
    let text = folder.path().join("text");
    fs::write(&text, "words ".repeat(10_000)).unwrap();
    assert_says(&from(&text), &["standard input", "WebM"]);
}

#[test]
fn a_server_of_another_protocol_is_told_apart_from_none() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    tls.alpn_protocols = vec![b"doq".to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let config = quinn::ServerConfig::with_crypto(std::sync::Arc::new(crypto));
    let server = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = server.local_addr().unwrap();
    runtime.spawn(async move {
        while let Some(incoming) = server.accept().await {
            let _ = incoming.await;
        }
    });
    for start in TOOLS {
        for scheme in ["https", "moqt"] {
            let said = fails(&mut start(&format!("{scheme}://{address}/room")));
            assert_says(&said, &["does not speak moqt-18"]);
        }
    }
}

#[test]
fn the_name_of_somebody_else_is_no_crash() {
    // Two publishers of one name: in the open mode the draft lets both publish.
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&[], &OPUS).make(folder.path(), "song.webm");
    let one = publish(&relay.url("room"), "ann", &film, &[]);
    let other = publish(&relay.url("room"), "ann", &film, &[]);
    one.wait().expect_success();
    other.wait().expect_success();
}
