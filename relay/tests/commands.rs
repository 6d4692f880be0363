//! What the binary does besides running a relay.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod person;
mod support;
mod world;

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use person::{Person, session};
use roundtable_moqt::SessionError;
use support::{Running, binary, said};

fn run_with(arguments: &[&str], input: &str) -> Output {
    let mut child = binary()
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn accounts_are_made_on_the_command_line_while_the_relay_runs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let user =
        |arguments: &[&str], input: &str| run_with(&[&["--data", data, "user"], arguments].concat(), input);
    let first = user(&["add", "Ada", "--name", "Ada Lovelace"], "ada's password\n");
    assert_eq!(printed(&first), "Ada Lovelace (ada) has an administrator now.\n");
    let relay = Running::start(folder.path(), &["--sign-in", "accounts"]);
    assert_eq!(Person::account(&relay, "ada").me["is_admin"], true);
    printed(&user(&["add", "bob"], "bob's password\n"));
    assert_eq!(Person::account(&relay, "bob").me["is_admin"], false);
    assert_eq!(
        printed(&user(&["list"], "")),
        "ada\tAda Lovelace\taccount\tadministrator\nbob\tbob\taccount\n"
    );
    printed(&user(&["password", "bob"], "another password\n"));
    let form = serde_json::json!({ "login": "bob", "password": "another password" });
    Person::sign_in(&relay, "/api/sign-in/password", form);
    for (arguments, input, words) in [
        (&["add", "bob"][..], "long enough\n", "there is an account `bob` already"),
        (&["add", "cyd"], "short\n", "8 to 256"),
        (&["add", "c y d"], "long enough\n", "a login is"),
        (&["password", "nobody"], "long enough\n", "no account `nobody`"),
    ] {
        let output = user(arguments, input);
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains(words), "{}", said(&output));
    }
}

#[tokio::test]
async fn a_token_made_on_the_command_line_lets_a_tool_in_and_one_made_by_an_application_too() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").unwrap();
    let other = folder.path().join("other");
    std::fs::write(&other, "fedcba9876543210fedcba9876543210\n").unwrap();
    let data = folder.path().join("data");
    let (data, secret, other) = (data.to_str().unwrap(), secret.to_str().unwrap(), other.to_str().unwrap());
    let relay = Running::start(data.as_ref(), &["--sign-in", "accounts", "--token-secret", secret]);
    let token = |arguments: &[&str]| {
        let all =
            [&["token", "--data", data, "--room", "my-room", "--participant", "film"], arguments].concat();
        printed(&run_with(&all, "")).trim().to_owned()
    };
    for token in [token(&[]), token(&["--secret", secret])] {
        let mut peer = session(relay.quic(), "/my-room", &token).await;
        peer.publish_namespace("film").await;
        peer.publish("film/camera", 1, true).await;
        peer.vanish().await;
    }
    let foreign = session(relay.quic(), "/my-room", &token(&["--secret", other])).await;
    assert_eq!(foreign.ended().await.code, Some(SessionError::Unauthorized));
    let mut silent =
        session(relay.quic(), "/my-room", &token(&["--publish", "none", "--no-subscribe"])).await;
    let request = world::publish("film/camera", 1, true);
    let id = silent.call(move |session| session.publish(request)).await;
    silent.refused(id).await;
    let output = run_with(&["token", "--data", data, "--room", "a/b", "--participant", "x"], "");
    assert_eq!(output.status.code(), Some(2));
    let output =
        run_with(&["token", "--data", data, "--room", "a", "--participant", "x", "--good-for", "25h"], "");
    assert!(said(&output).contains("a day at most"), "{}", said(&output));
}
