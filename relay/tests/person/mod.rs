//! Somebody with a browser at a real relay: a cookie, tokens, requests, and sessions over real QUIC.
#![allow(dead_code, unreachable_pub)]

use std::net::SocketAddr;

use roundtable_moqt::Event;
use roundtable_transport::{ClientConfig, Trust, connect};
use serde_json::{Value, json};

use crate::{
    support::{Answer, Running, ask},
    world::{Peer, Watched, soon, use_value},
};

/// An answer of the API.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub json: Value,
}

impl Reply {
    fn new(answer: Answer) -> Self {
        let json = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        Reply { status: answer.status, head: answer.head, json }
    }

    /// The answer, which must be a good one.
    pub fn good(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.json
    }

    /// The word of a problem document, which it must be.
    pub fn problem(&self) -> String {
        assert!(self.head.to_lowercase().contains("content-type: application/problem+json"), "{self:?}");
        assert_eq!(self.json["status"].as_u64(), Some(u64::from(self.status)));
        let kind = self.json["type"].as_str().unwrap();
        kind.strip_prefix("urn:roundtable:").unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// One request, with whatever headers.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        text.push_str(&format!("Host: {address}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.as_deref().unwrap_or_default());
    Reply::new(ask(address, &text))
}

/// The same with a bearer token.
pub fn command(address: SocketAddr, token: &str, method: &str, path: &str, body: Value) -> Reply {
    let bearer = format!("Bearer {token}");
    let body = (!body.is_null()).then_some(body);
    request(address, method, path, &[("Authorization", &bearer)], body.as_ref())
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub http: SocketAddr,
    pub quic: SocketAddr,
    /// What the browser keeps, as it sends it.
    pub cookie: String,
    /// What the API said when they signed in.
    pub me: Value,
}

impl Person {
    /// By a name, in the open mode.
    pub fn named(relay: &Running, name: &str) -> Self {
        Self::sign_in(relay, "/api/sign-in/name", json!({ "name": name }))
    }

    /// Makes an account.
    pub fn new_account(relay: &Running, login: &str) -> Self {
        let form = json!({ "login": login, "name": login.to_uppercase(), "password": format!("{login}'s password") });
        Self::sign_in(relay, "/api/sign-up", form)
    }

    /// Into an account made so.
    pub fn account(relay: &Running, login: &str) -> Self {
        let form = json!({ "login": login, "password": format!("{login}'s password") });
        Self::sign_in(relay, "/api/sign-in/password", form)
    }

    pub fn sign_in(relay: &Running, path: &str, form: Value) -> Self {
        let reply = request(relay.http(), "POST", path, &[], Some(&form));
        let cookie = reply.header("set-cookie").unwrap_or_else(|| panic!("{reply:?}"));
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Person { http: relay.http(), quic: relay.quic(), cookie, me: reply.good() }
    }

    pub fn id(&self) -> &str {
        self.me["user"]["id"].as_str().unwrap()
    }

    pub fn token(&self) -> &str {
        self.me["token"].as_str().unwrap()
    }

    pub fn device(&self) -> &str {
        self.me["sign_in"].as_str().unwrap()
    }

    pub fn get(&self, path: &str) -> Reply {
        command(self.http, self.token(), "GET", path, Value::Null)
    }

    pub fn post(&self, path: &str, body: Value) -> Reply {
        command(self.http, self.token(), "POST", path, body)
    }

    pub fn patch(&self, path: &str, body: Value) -> Reply {
        command(self.http, self.token(), "PATCH", path, body)
    }

    pub fn delete(&self, path: &str) -> Reply {
        command(self.http, self.token(), "DELETE", path, Value::Null)
    }

    /// A room of their own.
    pub fn new_room(&self, form: Value) -> String {
        self.post("/api/rooms", form).good()["id"].as_str().unwrap().to_owned()
    }

    /// Takes a seat.
    pub fn join(&self, room: &str) -> Seat {
        let joined = self.post(&format!("/api/rooms/{room}/join"), json!({})).good();
        self.seat(joined)
    }

    pub fn seat(&self, joined: Value) -> Seat {
        Seat { http: self.http, quic: self.quic, joined }
    }

    /// A session in their own scope, and the track that tells of calls.
    pub async fn inbox(&self) -> (Peer, Watched) {
        let access = &self.me["inbox"];
        let peer =
            session(self.quic, access["path"].as_str().unwrap(), access["token"].as_str().unwrap()).await;
        let mut peer = ready(peer).await;
        let watched = peer.watch("inbox").await;
        (peer, watched)
    }
}

/// A seat in a room.
#[derive(Debug, Clone)]
pub struct Seat {
    pub http: SocketAddr,
    pub quic: SocketAddr,
    pub joined: Value,
}

impl Seat {
    pub fn participant(&self) -> &str {
        self.joined["participant"].as_str().unwrap()
    }

    pub fn token(&self) -> &str {
        self.joined["token"].as_str().unwrap()
    }

    pub fn room(&self) -> &str {
        self.joined["room"]["id"].as_str().unwrap()
    }

    /// A command of this room: `path` follows `/api/rooms/<room>`.
    pub fn command(&self, method: &str, path: &str, body: Value) -> Reply {
        command(self.http, self.token(), method, &format!("/api/rooms/{}{path}", self.room()), body)
    }

    /// A session on this seat.
    pub async fn connect(&self) -> Peer {
        ready(self.stranger().await).await
    }

    /// One whose SETUP may be refused.
    pub async fn stranger(&self) -> Peer {
        session(self.quic, self.joined["path"].as_str().unwrap(), self.token()).await
    }
}

/// A session with a token, whose SETUP has not been answered yet.
pub async fn session(quic: SocketAddr, path: &str, token: &str) -> Peer {
    let url = format!("https://{quic}{path}");
    let config = ClientConfig { trust: Trust::Anyone, ..ClientConfig::default() };
    let connection = soon("a connection", connect(&url, &config)).await.unwrap();
    let mut config = Peer::config(&connection);
    config.setup.authorization_tokens = vec![use_value(token)];
    Peer::run_with(connection, config)
}

async fn ready(mut peer: Peer) -> Peer {
    peer.expect("SETUP", |event| matches!(event, Event::Ready(_)).then_some(())).await;
    peer.settle().await;
    peer
}

/// How many people a roster shows.
pub fn people(roster: &Value) -> usize {
    roster["participants"].as_array().unwrap().len()
}
