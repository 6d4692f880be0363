//! Calling somebody: every outcome, on both sides, on every device, and in the history afterwards. Real HTTP, real
//! sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod person;
mod support;
mod world;

use std::time::{Duration, Instant};

use person::Person;
use serde_json::{Value, json};
use support::Running;
use world::{Peer, Watched};

struct Line {
    person: Person,
    peer: Peer,
    inbox: Watched,
}

impl Line {
    async fn new(relay: &Running, name: &str) -> Self {
        let person = Person::named(relay, name);
        let (peer, inbox) = person.inbox().await;
        Line { person, peer, inbox }
    }

    /// Waits until this device is told so of its only call.
    async fn told(&mut self, direction: &str, state: &str) -> Value {
        let what = format!("{direction} {state} at {}", self.person.me["user"]["name"]);
        let told = self.peer.until(&mut self.inbox, &what, |inbox| {
            inbox["calls"]
                .as_array()
                .unwrap()
                .iter()
                .any(|call| call["direction"] == direction && call["state"] == state)
        });
        let told = told.await;
        let mut calls = told["calls"].as_array().unwrap().iter();
        calls.rfind(|call| call["direction"] == direction && call["state"] == state).unwrap().clone()
    }

    fn call(&self, others: &[&Line]) -> Value {
        let users: Vec<&str> = others.iter().map(|line| line.person.id()).collect();
        let placed = self.person.post("/api/calls", json!({ "users": users, "with_camera": true }));
        assert_eq!(placed.status, 201, "{placed:?}");
        placed.good()
    }

    fn answer(&self, call: &Value, how: &str) -> person::Reply {
        self.person.post(&format!("/api/calls/{}/{how}", call["id"].as_str().unwrap()), Value::Null)
    }

    /// The latest call of the history.
    fn latest(&self) -> Value {
        self.person.get("/api/history").good()["calls"][0].clone()
    }
}

#[tokio::test]
async fn a_call_rings_on_every_device_is_accepted_on_one_and_connects() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    let mut phone = Line::new(&relay, "Bob").await;
    let mut desk = Line::new(&relay, "Bob").await;
    let people = ada.person.get("/api/people?query=bo").good();
    assert_eq!((&people[0]["name"], &people[0]["presence"]), (&json!("Bob"), &json!("here")));

    let placed = ada.call(&[&phone]);
    assert_eq!((&placed["seat"]["role"], &placed["is_met"]), (&json!("host"), &json!(false)));
    let rings = phone.told("in", "ringing").await;
    assert_eq!((&rings["caller"]["name"], &rings["with_camera"]), (&json!("Ada"), &json!(true)));
    assert_eq!(rings["id"], placed["id"]);
    desk.told("in", "ringing").await;
    ada.told("out", "ringing").await;
    // A device that comes now is rung as well.
    let mut late = Line::new(&relay, "Bob").await;
    late.told("in", "ringing").await;

    let accepted = phone.answer(&placed, "accept").good();
    assert_eq!(accepted["room"]["id"], placed["seat"]["room"]["id"]);
    let device = phone.person.device().to_owned();
    for line in [&mut phone, &mut desk, &mut late] {
        let told = line.told("in", "accepted").await;
        assert_eq!(told["answered_on"], json!(device), "the others know where");
    }
    ada.told("out", "accepted").await;
    assert_eq!(desk.answer(&placed, "accept").problem(), "answered");
    assert_eq!(desk.answer(&placed, "decline").problem(), "answered");

    let ada_seat = ada.person.seat(placed["seat"].clone());
    let bob_seat = phone.person.seat(accepted);
    let mut at_ada = ada_seat.connect().await;
    let mut at_bob = bob_seat.connect().await;
    let mut roster = at_ada.watch("roster").await;
    at_ada.until(&mut roster, "both", |roster| person::people(roster) == 2).await;
    let track = format!("{}/state", ada_seat.participant());
    let (published, _) = at_ada.publish(&track, 1, true).await;
    let seen = at_bob.subscribe(&track, world::waiting(10_000)).await;
    at_ada.updated(published).await;
    at_bob.subscribed(seen).await;
    at_ada.message(published, 1, "hello").await;
    assert_eq!(at_bob.object().await.payload, "hello");
    assert_eq!(ada.person.get("/api/people?query=bob").good()[0]["presence"], "in-a-call");

    for seat in [&ada_seat, &bob_seat] {
        assert_eq!(seat.command("POST", "/leave", Value::Null).status, 204);
    }
    let of_ada = ada.latest();
    let of_bob = phone.latest();
    assert_eq!(
        (&of_ada["id"], &of_ada["part"], &of_ada["kind"]),
        (&placed["id"], &json!("placed"), &json!("call"))
    );
    assert_eq!((&of_bob["part"], &of_bob["outcome"]), (&json!("received"), &json!("accepted")));
    for call in [of_ada, of_bob] {
        assert_eq!(call["caller"]["name"], "Ada");
        assert_eq!(call["rung"][0]["outcome"], "accepted");
        let people = call["people"].as_array().unwrap();
        assert_eq!(people.len(), 2, "{call}");
        assert!(people.iter().all(|person| person["left_at"].is_i64()), "{call}");
    }
}

#[tokio::test]
async fn a_call_is_declined_and_both_sides_know() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    let mut bob = Line::new(&relay, "Bob").await;
    let mut other = Line::new(&relay, "Bob").await;
    let call = ada.call(&[&bob]);
    bob.told("in", "ringing").await;
    assert_eq!(bob.answer(&call, "decline").status, 204);
    ada.told("out", "declined").await;
    other.told("in", "declined").await;
    assert_eq!(bob.answer(&call, "accept").problem(), "call-over");
    assert_eq!(ada.answer(&call, "accept").problem(), "not-rung");
    assert_eq!(bob.latest()["outcome"], "declined");
    assert_eq!(ada.latest()["rung"][0]["outcome"], "declined");
    assert!(bob.person.get("/api/history?only_missed=true").good()["calls"].as_array().unwrap().len() == 1);
}

#[tokio::test]
async fn a_caller_gives_up_and_the_call_was_missed() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    let mut bob = Line::new(&relay, "Bob").await;
    let call = ada.call(&[&bob]);
    bob.told("in", "ringing").await;
    assert_eq!(bob.answer(&call, "cancel").status, 403, "that is the caller's");
    assert_eq!(ada.answer(&call, "cancel").status, 204);
    bob.told("in", "cancelled").await;
    ada.told("out", "cancelled").await;
    assert_eq!(bob.answer(&call, "accept").problem(), "call-over");
    assert_eq!(bob.latest()["outcome"], "cancelled");
    let of_ada = ada.latest();
    assert_eq!(of_ada["people"], json!([]), "nobody was there");
    // The call is back in the history of both with its room, to call back.
    assert_eq!(of_ada["room"], call["seat"]["room"]["id"]);
}

#[tokio::test]
async fn nobody_answers_for_half_a_minute() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    // Who is away is rung all the same: they may come back.
    let bob = Person::named(&relay, "Bob");
    let began = Instant::now();
    let placed = ada.person.post("/api/calls", json!({ "users": [bob.id()] })).good();
    ada.told("out", "ringing").await;
    let deadline = began + Duration::from_secs(40);
    let path = format!("/api/calls/{}", placed["id"].as_str().unwrap());
    while ada.person.get(&path).good()["rung"][0]["outcome"] == "ringing" {
        assert!(Instant::now() < deadline, "it rings for ever");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(began.elapsed() >= Duration::from_secs(29), "{:?}", began.elapsed());
    ada.told("out", "no-answer").await;
    let missed = bob.get("/api/history?only_missed=true").good();
    assert_eq!(missed["calls"][0]["outcome"], "no-answer");
    assert_eq!(missed["calls"][0]["caller"]["name"], "Ada");
    let ended = missed["calls"][0]["ended_at"].as_i64().unwrap_or_else(|| panic!("it goes on: {missed}"));
    let rang = Duration::from_millis((ended - missed["calls"][0]["started_at"].as_i64().unwrap()) as u64);
    assert!((29..40).contains(&rang.as_secs()), "{rang:?}");
}

#[tokio::test]
async fn who_is_in_a_call_is_busy_and_hears_nothing() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    let mut bob = Line::new(&relay, "Bob").await;
    let seat = bob.person.join("another-room");
    let session = seat.connect().await;
    let call = ada.call(&[&bob]);
    ada.told("out", "busy").await;
    assert_eq!(bob.told("in", "busy").await["id"], call["id"], "told afterwards, without ringing");
    assert_eq!(bob.latest()["part"], "received");
    assert_eq!(bob.latest()["outcome"], "busy");
    seat.command("POST", "/leave", Value::Null);
    session.ended().await;
    ada.call(&[&bob]);
    bob.told("in", "ringing").await;
}

#[tokio::test]
async fn two_who_ring_each_other_at_once_are_through() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    let mut bob = Line::new(&relay, "Bob").await;
    let first = ada.call(&[&bob]);
    let second = bob.call(&[&ada]);
    assert_eq!((&second["is_met"], &second["id"]), (&json!(true), &first["id"]));
    assert_eq!(second["seat"]["room"]["id"], first["seat"]["room"]["id"]);
    ada.told("out", "accepted").await;
    bob.told("in", "accepted").await;
}

#[tokio::test]
async fn a_group_is_rung_and_a_call_becomes_a_meeting_by_adding_people() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let mut ada = Line::new(&relay, "Ada").await;
    let mut bob = Line::new(&relay, "Bob").await;
    let mut cyd = Line::new(&relay, "Cyd").await;
    let mut dan = Line::new(&relay, "Dan").await;
    let call = ada.call(&[&bob, &cyd]);
    bob.told("in", "ringing").await;
    let told = cyd.told("in", "ringing").await;
    assert_eq!(told["people"].as_array().unwrap().len(), 2, "who else is rung");
    let bob_seat = bob.person.seat(bob.answer(&call, "accept").good());
    ada.told("out", "accepted").await;
    cyd.told("in", "ringing").await;
    assert_eq!(cyd.answer(&call, "decline").status, 204);
    let _at_bob = bob_seat.connect().await;

    let ring = format!("/api/calls/{}/ring", call["id"].as_str().unwrap());
    let more = json!({ "users": [dan.person.id()] });
    assert_eq!(cyd.person.post(&ring, more.clone()).status, 404, "who is not there rings nobody");
    assert_eq!(bob.person.post(&ring, more).status, 204);
    dan.told("in", "ringing").await;
    let dan_seat = dan.person.seat(dan.answer(&call, "accept").good());
    let mut at_dan = dan_seat.connect().await;
    let mut roster = at_dan.watch("roster").await;
    at_dan.until(&mut roster, "bob and dan", |roster| person::people(roster) == 2).await;
    assert_eq!(dan.latest()["id"], call["id"]);
    assert_eq!(ada.latest()["rung"].as_array().unwrap().len(), 3);
    // From a room that one is in.
    let elsewhere = json!({ "users": [cyd.person.id()], "room": dan_seat.room() });
    assert_eq!(
        ada.person
            .post("/api/calls", json!({ "users": [cyd.person.id()], "room": "no-such-room-of-mine" }))
            .status,
        403
    );
    assert_eq!(dan.person.post("/api/calls", elsewhere).status, 201);
}

#[test]
fn what_cannot_be_rung_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let (ada, bob) = (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"));
    let eve = Person::named(&relay, "Eve");
    for (users, status) in [
        (json!([]), 400),
        (json!([ada.id()]), 400),
        (json!(["nobody"]), 404),
        (json!(["no/body"]), 400),
        (json!("bob"), 400),
    ] {
        assert_eq!(ada.post("/api/calls", json!({ "users": users })).status, status, "{users}");
    }
    let call = ada.post("/api/calls", json!({ "users": [bob.id()] })).good();
    let path = format!("/api/calls/{}", call["id"].as_str().unwrap());
    for how in ["accept", "decline", "cancel"] {
        let reply = eve.post(&format!("{path}/{how}"), Value::Null);
        assert!([403, 404].contains(&reply.status), "{how}: {reply:?}");
    }
    assert_eq!(eve.get(&path).status, 404, "nobody else's business");
    assert_eq!(eve.post(&format!("{path}/ring"), json!({ "users": [bob.id()] })).status, 404);
    assert_eq!(eve.get(&format!("/api/history/{}", call["id"].as_str().unwrap())).status, 404);
    assert_eq!(bob.get("/api/inbox").good()["calls"][0]["state"], "ringing");
    let flood = (0..20).map(|_| eve.post("/api/calls", json!({ "users": [bob.id()] })).status);
    assert!(flood.collect::<Vec<_>>().contains(&429), "nobody rings all the time");
}

#[tokio::test]
async fn from_the_click_to_the_ring_is_a_moment() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let ada = Line::new(&relay, "Ada").await;
    let mut times = Vec::new();
    for index in 0..8 {
        let mut callee = Line::new(&relay, &format!("Callee {index}")).await;
        let began = Instant::now();
        let call = ada.call(&[&callee]);
        callee.told("in", "ringing").await;
        times.push(began.elapsed());
        ada.answer(&call, "cancel");
    }
    times.sort();
    println!("from the click to the ring: {times:?}");
    // Other tests share the machine: a quarter of the tries must be as fast as all are on a quiet one.
    assert!(times[1] < Duration::from_millis(100), "{times:?}");
}
