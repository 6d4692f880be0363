//! Signing in: by a name, with an account, as somebody else's browser, and out again. Real HTTP, real sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod person;
mod support;
mod world;

use person::{Person, command, request};
use roundtable_moqt::SessionError;
use serde_json::{Value, json};
use support::{Running, write_certificate};

fn accounts(data: &std::path::Path) -> Running {
    Running::start(data, &["--sign-in", "accounts"])
}

#[test]
fn in_the_open_mode_a_name_is_enough_and_is_the_same_user_everywhere() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let ways = request(relay.http(), "GET", "/api/sign-in", &[], None).good();
    assert_eq!(ways, json!({ "name": true, "password": false, "sign_up": false, "is_first": false }));
    let ada = Person::named(&relay, " Ada ");
    assert_eq!(ada.me["user"]["name"], "Ada");
    assert_eq!(Person::named(&relay, "ada").id(), ada.id());
    assert_ne!(Person::named(&relay, "Bob").id(), ada.id());
    assert_eq!(ada.get("/api/me").good()["id"], ada.id());
    let reply = request(relay.http(), "POST", "/api/sign-in/name", &[], Some(&json!({ "name": " " })));
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid"));
    let form = json!({ "login": "ada", "name": "Ada", "password": "long enough" });
    assert_eq!(request(relay.http(), "POST", "/api/sign-up", &[], Some(&form)).status, 403);
}

#[test]
fn the_first_account_looks_after_the_others_who_come_by_its_hand_or_their_own() {
    let data = tempfile::tempdir().unwrap();
    let relay = accounts(data.path());
    let ways = || request(relay.http(), "GET", "/api/sign-in", &[], None).good();
    assert_eq!((&ways()["is_first"], &ways()["sign_up"]), (&json!(true), &json!(true)));
    let ada = Person::new_account(&relay, "ada");
    assert_eq!(ada.me["is_admin"], true);
    assert_eq!((&ways()["is_first"], &ways()["sign_up"]), (&json!(false), &json!(false)));
    let form = json!({ "login": "eve", "name": "Eve", "password": "long enough" });
    assert_eq!(request(relay.http(), "POST", "/api/sign-up", &[], Some(&form)).status, 403);
    assert_eq!(
        request(relay.http(), "POST", "/api/sign-in/name", &[], Some(&json!({ "name": "Eve" }))).status,
        403
    );

    let form = json!({ "login": "Bob", "name": "Bob", "password": "bob's password" });
    ada.post("/api/users", form.clone()).good();
    assert_eq!(ada.post("/api/users", form).problem(), "taken");
    let bob = Person::account(&relay, "bob");
    assert_eq!(bob.me["is_admin"], false);
    for reply in [
        bob.get("/api/users"),
        bob.post("/api/users", json!({ "login": "x", "name": "x", "password": "12345678" })),
    ] {
        assert_eq!(reply.status, 403);
    }
    let names: Vec<Value> =
        ada.get("/api/users").good().as_array().unwrap().iter().map(|user| user["name"].clone()).collect();
    assert_eq!(names, ["ADA", "Bob"]);
    drop(relay);
    let relay = Running::start(data.path(), &["--sign-in", "accounts", "--sign-up"]);
    assert_eq!(Person::new_account(&relay, "cyd").me["is_admin"], false);
    assert_eq!(Person::account(&relay, "ada").id(), ada.id(), "accounts last");
}

#[test]
fn a_wrong_password_says_nothing_about_the_account_and_too_many_have_to_wait() {
    let data = tempfile::tempdir().unwrap();
    let relay = accounts(data.path());
    Person::new_account(&relay, "ada");
    let attempt = |login: &str| {
        let form = json!({ "login": login, "password": "wrong password" });
        request(relay.http(), "POST", "/api/sign-in/password", &[], Some(&form))
    };
    let (known, unknown) = (attempt("ada"), attempt("nobody"));
    assert_eq!((known.status, known.problem()), (403, "wrong-password".to_owned()));
    assert_eq!(known.json, unknown.json);
    let blocked =
        (0..20).map(|_| attempt("ada")).find(|reply| reply.status == 429).expect("no end of guessing");
    assert_eq!(blocked.problem(), "too-often");
    let seconds: u64 = blocked.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=31).contains(&seconds), "{seconds}");
    let right = json!({ "login": "ada", "password": "ada's password" });
    let reply = request(relay.http(), "POST", "/api/sign-in/password", &[], Some(&right));
    assert_eq!(reply.status, 429, "the right one has to wait as well, or guessing would go on");
    assert_eq!(attempt("nobody").status, 403, "others are not blocked");
}

#[test]
fn a_cookie_gets_a_token_for_our_page_alone_and_is_good_for_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let ada = Person::named(&relay, "Ada");
    assert!(ada.cookie.starts_with("roundtable="), "{}", ada.cookie);
    let token = |headers: &[(&str, &str)]| request(relay.http(), "POST", "/api/sign-in/token", headers, None);
    let cookie = ("Cookie", ada.cookie.as_str());
    let own = format!("http://{}", relay.http());
    let again = token(&[cookie, ("Origin", &own), ("Sec-Fetch-Site", "same-origin")]);
    let attributes = again.header("set-cookie").unwrap().to_owned();
    assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Strict"), "{attributes}");
    assert_eq!(again.good()["user"]["id"], ada.id());
    assert_eq!(token(&[]).status, 401);
    assert_eq!(token(&[("Cookie", "roundtable=guessed")]).status, 401);

    let other_port = format!("http://127.0.0.1:{}", relay.http().port() ^ 1);
    for origin in ["http://evil.example", "null", &other_port] {
        let reply = token(&[cookie, ("Origin", origin)]);
        assert_eq!((reply.status, reply.problem().as_str()), (403, "foreign-page"), "{origin}");
        let bearer = format!("Bearer {}", ada.token());
        let headers = [("Authorization", bearer.as_str()), ("Origin", origin)];
        assert_eq!(request(relay.http(), "GET", "/api/me", &headers, None).status, 403);
        assert_eq!(request(relay.http(), "POST", "/api/rooms", &headers, Some(&json!({}))).status, 403);
    }
    assert_eq!(token(&[cookie, ("Sec-Fetch-Site", "cross-site")]).status, 403);
    assert_eq!(token(&[cookie, ("Sec-Fetch-Site", "same-site")]).status, 403);
    assert_eq!(token(&[cookie, ("Host", "evil.example")]).status, 421);
    for (method, path) in [("GET", "/api/me"), ("POST", "/api/rooms"), ("DELETE", "/api/me")] {
        let reply = request(relay.http(), method, path, &[cookie], Some(&json!({})));
        assert_eq!((reply.status, reply.problem().as_str()), (401, "signed-out"), "{method} {path}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn with_https_the_cookie_is_secure_and_bound_to_its_host() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    // A proxy that ends TLS: this test.
    let arguments =
        ["--sign-in", "accounts", "--trusted-proxy", "127.0.0.1", "--public-url", "https://meet.example.org"];
    let relay = Running::start(&folder.path().join("data"), &arguments);
    let form = json!({ "login": "ada", "name": "Ada", "password": "long enough" });
    let headers = [
        ("Host", "meet.example.org"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "192.0.2.9"),
        ("Origin", "https://meet.example.org"),
    ];
    let reply = request(relay.http(), "POST", "/api/sign-up", &headers, Some(&form));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-roundtable=") && cookie.contains("Secure") && cookie.contains("Path=/;"),
        "{cookie}"
    );
    let attempt = |login: &str, client: &str| {
        let form = json!({ "login": login, "password": "x" });
        let headers = [("Host", "meet.example.org"), ("X-Forwarded-For", client)];
        request(relay.http(), "POST", "/api/sign-in/password", &headers, Some(&form)).status
    };
    // Another account each time, so that it is the address which has to wait.
    let blocked = (0..60).any(|index| attempt(&format!("n{index}"), "192.0.2.9") == 429);
    assert!(blocked, "an address has to wait as well");
    assert_eq!(attempt("somebody", "192.0.2.9"), 429);
    assert_eq!(attempt("somebody", "192.0.2.10"), 403, "and only that address");
    assert_eq!(
        attempt("somebody", "192.0.2.10, 192.0.2.9"),
        429,
        "what a client writes itself does not count"
    );
}

#[tokio::test]
async fn who_signs_out_is_out_of_everything_at_once() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let (here, there) = (Person::named(&relay, "Ada"), Person::named(&relay, "Ada"));
    let devices = here.get("/api/me/sign-ins").good();
    assert_eq!(devices.as_array().unwrap().len(), 2);
    let (inbox, _watched) = here.inbox().await;
    let (mut other_inbox, _watched) = there.inbox().await;
    let seat = here.join("my-room");
    let session = seat.connect().await;
    assert_eq!(here.delete("/api/sign-in/token").status, 204);
    for ended in [inbox.ended().await, session.ended().await] {
        assert_eq!((ended.code, ended.reason.as_str()), (Some(SessionError::Unauthorized), "signed out"));
    }
    assert_eq!(here.get("/api/me").problem(), "signed-out");
    let reply = request(relay.http(), "POST", "/api/sign-in/token", &[("Cookie", &here.cookie)], None);
    assert_eq!(reply.status, 401);
    assert_eq!(seat.command("POST", "/token", Value::Null).problem(), "no-seat");
    assert_eq!(
        seat.stranger().await.ended().await.code,
        Some(SessionError::Unauthorized),
        "the old token is void"
    );
    other_inbox.settle().await;
    // The other browser can be signed out from afar.
    let third = Person::named(&relay, "Ada");
    assert_eq!(third.delete(&format!("/api/me/sign-ins/{}", there.device())).status, 204);
    assert_eq!(other_inbox.ended().await.reason, "signed out");
    assert_eq!(third.delete("/api/me/sign-ins/nothing").status, 404);
    let eve = Person::named(&relay, "Eve");
    assert_eq!(eve.delete(&format!("/api/me/sign-ins/{}", third.device())).status, 404, "only one's own");
}

#[tokio::test]
async fn a_user_who_is_locked_out_is_gone_at_once_and_one_who_is_forgotten_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let relay = accounts(data.path());
    let ada = Person::new_account(&relay, "ada");
    ada.post("/api/users", json!({ "login": "bob", "name": "Bob", "password": "bob's password" })).good();
    let bob = Person::account(&relay, "bob");
    let (inbox, _watched) = bob.inbox().await;
    let path = format!("/api/users/{}", bob.id());
    assert_eq!(ada.patch(&path, json!({ "is_disabled": true })).good()["is_disabled"], true);
    assert_eq!(inbox.ended().await.reason, "signed out");
    assert_eq!(bob.get("/api/me").status, 401);
    let form = json!({ "login": "bob", "password": "bob's password" });
    assert_eq!(request(relay.http(), "POST", "/api/sign-in/password", &[], Some(&form)).status, 403);
    ada.patch(&path, json!({ "is_disabled": false, "password": "another password" })).good();
    let form = json!({ "login": "bob", "password": "another password" });
    let bob = Person::sign_in(&relay, "/api/sign-in/password", form);

    let change = json!({ "password": "wrong", "new_password": "bob's password" });
    assert_eq!(bob.post("/api/me/password", change).status, 403);
    let change = json!({ "password": "another password", "new_password": "bob's password" });
    assert_eq!(bob.post("/api/me/password", change).status, 204);
    assert_eq!(bob.get("/api/me").status, 401, "everybody is signed out by a new password");
    let bob = Person::account(&relay, "bob");
    bob.patch("/api/me", json!({ "name": "Robert" })).good();
    let export = bob.get("/api/me/export").good();
    assert_eq!((&export["me"]["name"], export["sign_ins"].as_array().unwrap().len()), (&json!("Robert"), 1));

    assert_eq!(ada.delete("/api/me").problem(), "last-admin");
    assert_eq!(
        ada.patch(&format!("/api/users/{}", ada.id()), json!({ "is_admin": false })).problem(),
        "last-admin"
    );
    assert_eq!(bob.delete("/api/me").status, 204);
    assert_eq!(bob.get("/api/me").status, 401);
    assert_eq!(ada.delete(&path).status, 404, "there is no bob any more");
}

#[test]
fn tokens_of_one_kind_are_not_good_for_the_other_nor_altered_nor_after_a_new_key() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let ada = Person::named(&relay, "Ada");
    let seat = ada.join("my-room");
    assert_eq!(command(relay.http(), seat.token(), "GET", "/api/me", Value::Null).problem(), "token-invalid");
    let said = command(relay.http(), ada.token(), "GET", "/api/rooms/my-room/chat", Value::Null);
    assert_eq!(said.problem(), "token-invalid");
    let elsewhere = command(relay.http(), seat.token(), "GET", "/api/rooms/another/chat", Value::Null);
    assert_eq!(elsewhere.problem(), "token-invalid");
    let mut altered = ada.token().to_owned();
    let last = altered.pop().unwrap();
    altered.push(if last == 'A' { 'Q' } else { 'A' });
    assert_eq!(command(relay.http(), &altered, "GET", "/api/me", Value::Null).problem(), "token-invalid");
    assert_eq!(command(relay.http(), ada.token(), "GET", "/api/me", Value::Null).status, 200);
    drop(relay);
    std::fs::remove_file(data.path().join("token.key")).unwrap();
    let relay = Running::start(data.path(), &[]);
    assert_eq!(command(relay.http(), ada.token(), "GET", "/api/me", Value::Null).problem(), "token-invalid");
    let reply = request(relay.http(), "POST", "/api/sign-in/token", &[("Cookie", &ada.cookie)], None);
    assert_eq!(reply.good()["user"]["id"], ada.id(), "the cookie still knows the browser");
}

#[test]
fn every_operation_is_described_and_asks_who_one_is() {
    let data = tempfile::tempdir().unwrap();
    let relay = accounts(data.path());
    let description = relay.get("/api/openapi.json");
    assert_eq!(description.header("content-type"), Some("application/json"));
    let description: Value = serde_json::from_str(&description.body).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let open = [
        ("/api/sign-in", "get"),
        ("/api/sign-in/name", "post"),
        ("/api/sign-in/password", "post"),
        ("/api/sign-in/invitation", "post"),
        ("/api/sign-up", "post"),
    ];
    let mut operations = 0;
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
            if open.contains(&(path.as_str(), method.as_str())) {
                continue;
            }
            if (path.as_str(), method.as_str()) != ("/api/sign-in/token", "post") {
                assert!(operation["security"].is_array(), "{method} {path}");
            }
            let concrete = path.replace(['{', '}'], "");
            for headers in
                [&[][..], &[("Authorization", "Bearer nonsense")], &[("Authorization", "Basic YTpi")]]
            {
                let reply =
                    request(relay.http(), &method.to_uppercase(), &concrete, headers, Some(&json!({})));
                assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
                reply.problem();
            }
        }
    }
    assert!(operations > 40, "{operations}");
    assert_eq!(relay.get("/api/nothing").status, 404);
    assert_eq!(request(relay.http(), "PUT", "/api/me", &[], None).status, 405);
}
