//! Rooms and the people in them: made, joined, locked, moderated, left. Real HTTP, real sessions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod person;
mod support;
mod world;

use person::{Person, command, people, request};
use roundtable_moqt::{Parameters, PublishDoneCode, RequestErrorCode, SessionError};
use serde_json::{Value, json};
use support::Running;
use world::waiting;

fn open(data: &std::path::Path) -> Running {
    Running::start(data, &[])
}

#[test]
fn a_room_has_a_link_that_nobody_guesses_or_a_name_of_ones_own() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &["--sign-in", "accounts", "--sign-up"]);
    let ada = Person::new_account(&relay, "ada");
    let made = ada.post("/api/rooms", json!({ "name": "Weekly" }));
    assert_eq!(made.status, 201);
    let room = made.good();
    assert_eq!(room["id"].as_str().unwrap().len(), 20);
    assert_eq!((&room["name"], &room["owner"]), (&json!("Weekly"), &json!(ada.id())));
    assert_eq!(ada.new_room(json!({ "id": "our-room" })), "our-room");
    assert_eq!(ada.post("/api/rooms", json!({ "id": "our-room" })).problem(), "taken");
    for (form, status) in [
        (json!({ "id": "me" }), 400),
        (json!({ "id": "a/b" }), 400),
        (json!({ "capacity": 0 }), 400),
        (json!({ "capacity": 2001 }), 400),
        (json!({ "nonsense": 1, "name": 7 }), 400),
    ] {
        assert_eq!(ada.post("/api/rooms", form.clone()).status, status, "{form}");
    }
    assert_eq!(ada.get("/api/rooms").good().as_array().unwrap().len(), 2);
    let bob = Person::new_account(&relay, "bob");
    assert_eq!(bob.get("/api/rooms/our-room").good()["id"], "our-room");
    assert_eq!(bob.get("/api/rooms/another").problem(), "not-found");
    assert_eq!(bob.post("/api/rooms/another/join", json!({})).problem(), "not-found");
    assert_eq!(bob.patch("/api/rooms/our-room", json!({ "is_locked": true })).status, 403);
    assert_eq!(bob.delete("/api/rooms/our-room").status, 403);
    assert_eq!(ada.delete("/api/rooms/our-room").status, 204);
    assert_eq!(ada.get("/api/rooms/our-room").status, 404);
}

#[tokio::test]
async fn people_meet_and_see_each_other_come_and_go() {
    let data = tempfile::tempdir().unwrap();
    let relay = open(data.path());
    let (ada, bob) = (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"));
    let ada_seat = ada.join("my-room");
    assert_eq!((&ada_seat.joined["role"], &ada_seat.joined["state"]), (&json!("host"), &json!("seated")));
    let mut at_ada = ada_seat.connect().await;
    let mut roster = at_ada.watch("roster").await;
    let bob_seat = bob.join("my-room");
    assert_eq!(bob_seat.joined["role"], "member");
    assert_eq!(bob_seat.joined["path"], "/my-room");
    let mut at_bob = bob_seat.connect().await;
    let both = at_ada.until(&mut roster, "both", |roster| people(roster) == 2).await;
    assert_eq!(both["participants"][0]["user"], ada.id());
    assert_eq!(both["participants"][1]["name"], "Bob");
    assert_eq!(both["participants"][1]["id"], bob_seat.participant());
    assert_eq!(bob.get("/api/rooms/my-room").good()["participants"], 2);
    let listed = bob_seat.command("GET", "/participants", Value::Null).good();
    assert_eq!(listed.as_array().unwrap().len(), 2);

    // A reload takes the same seat again; nobody else can.
    let back = bob.post("/api/rooms/my-room/join", json!({ "back": bob_seat.participant() })).good();
    assert_eq!(back["participant"], bob_seat.participant());
    let stolen = ada.post("/api/rooms/my-room/join", json!({ "back": bob_seat.participant() }));
    assert_eq!(stolen.problem(), "not-your-seat");
    // Renewed, the seat goes on.
    let renewed = bob_seat.command("POST", "/token", Value::Null).good();
    assert!(renewed["ends_at"].as_i64() >= bob_seat.joined["ends_at"].as_i64());

    at_bob.publish_namespace(bob_seat.participant()).await;
    assert_eq!(bob_seat.command("POST", "/leave", Value::Null).status, 204);
    let ended = at_bob.ended().await;
    assert_eq!((ended.code, ended.reason.as_str()), (Some(SessionError::NoError), "left"));
    at_ada.until(&mut roster, "one", |roster| people(roster) == 1).await;
    assert_eq!(bob_seat.command("POST", "/token", Value::Null).problem(), "no-seat");
}

#[tokio::test]
async fn who_waits_in_the_lobby_is_let_in_or_not() {
    let data = tempfile::tempdir().unwrap();
    let relay = open(data.path());
    let ada = Person::named(&relay, "Ada");
    let room = ada.new_room(json!({ "has_lobby": true }));
    let ada_seat = ada.join(&room);
    assert_eq!(ada_seat.joined["state"], "seated", "hosts do not wait");
    let mut at_ada = ada_seat.connect().await;
    let mut lobby = at_ada.watch("lobby").await;
    let mut seats = Vec::new();
    for name in ["Bob", "Cyd", "Dan", "Eve"] {
        let person = Person::named(&relay, name);
        let seat = person.join(&room);
        assert_eq!(seat.joined["state"], "waiting");
        assert_eq!(seat.command("GET", "/chat", Value::Null).status, 403);
        assert_eq!(seat.command("POST", "/chat", json!({ "text": "let me in" })).status, 403);
        assert_eq!(seat.command("GET", "/participants", Value::Null).status, 403);
        assert_eq!(seat.command("POST", "/lobby/admit", Value::Null).status, 403);
        let mut session = seat.connect().await;
        let watched = session.watch(&format!("seat/{}", seat.participant())).await;
        seats.push((seat, session, watched));
    }
    at_ada.until(&mut lobby, "four", |lobby| lobby["waiting"].as_array().unwrap().len() == 4).await;
    let (eve, at_eve, _) = seats.pop().unwrap();
    let path = format!("/participants/{}", eve.participant());
    assert_eq!(ada_seat.command("DELETE", &path, Value::Null).status, 204);
    let ended = at_eve.ended().await;
    assert_eq!((ended.code, ended.reason.as_str()), (Some(SessionError::Unauthorized), "not let in"));
    let (bob, at_bob, watched) = &mut seats[0];
    let path = format!("/participants/{}/admit", bob.participant());
    assert_eq!(ada_seat.command("POST", &path, Value::Null).status, 204);
    at_bob.until(watched, "being let in", |seat| seat["state"] == "seated").await;
    assert_eq!(bob.command("POST", "/chat", json!({ "text": "hello" })).status, 200);
    assert_eq!(ada_seat.command("POST", &path, Value::Null).status, 404, "nobody of that name waits");
    assert_eq!(ada_seat.command("POST", "/lobby/admit", Value::Null).good()["count"], 2);
    for (_, session, watched) in &mut seats[1..] {
        session.until(watched, "being let in", |seat| seat["state"] == "seated").await;
    }
    // Opening the lobby lets in who comes from then on.
    assert_eq!(ada_seat.command("PATCH", "", json!({ "has_lobby": false })).status, 200);
    assert_eq!(Person::named(&relay, "Fay").join(&room).joined["state"], "seated");
}

#[tokio::test]
async fn a_room_is_locked_full_or_asks_for_a_password() {
    let data = tempfile::tempdir().unwrap();
    let relay = open(data.path());
    let (ada, bob, cyd) =
        (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"), Person::named(&relay, "Cyd"));
    let room = ada.new_room(json!({ "capacity": 2, "password": "sesame" }));
    let path = format!("/api/rooms/{room}/join");
    assert_eq!(bob.post(&path, json!({})).problem(), "password-needed");
    assert_eq!(bob.post(&path, json!({ "password": "open" })).problem(), "wrong-password");
    let bob_seat = bob.seat(bob.post(&path, json!({ "password": "sesame" })).good());
    let ada_seat = ada.join(&room);
    assert_eq!(cyd.post(&path, json!({ "password": "sesame" })).problem(), "room-full");
    let back = json!({ "back": bob_seat.participant() });
    assert_eq!(bob.post(&path, back).status, 200, "whoever is back on their seat is asked for nothing");

    ada_seat.command("PATCH", "", json!({ "is_locked": true, "capacity": 10, "password": null })).good();
    assert_eq!(cyd.post(&path, json!({})).problem(), "room-locked");
    let info = cyd.get(&format!("/api/rooms/{room}")).good();
    assert_eq!((&info["is_locked"], &info["has_password"]), (&json!(true), &json!(false)));
    // The open mode lets tools in without a token, but not into a room that is guarded.
    let stranger =
        world::soon("a session", person::session(relay.quic(), &format!("/{room}"), "nonsense")).await;
    assert_eq!(stranger.ended().await.code, Some(SessionError::MalformedAuthToken));
    ada_seat.command("PATCH", "", json!({ "is_locked": false })).good();
    assert_eq!(cyd.post(&path, json!({})).status, 200);
    drop(relay);
    let relay = open(data.path());
    let cyd = Person::named(&relay, "Cyd");
    assert_eq!(cyd.get(&format!("/api/rooms/{room}")).good()["capacity"], 10, "how a room is set lasts");
}

#[tokio::test]
async fn a_moderator_mutes_takes_rights_away_and_removes() {
    let data = tempfile::tempdir().unwrap();
    let relay = open(data.path());
    let (ada, bob, cyd) =
        (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"), Person::named(&relay, "Cyd"));
    let room = ada.new_room(json!({}));
    let (ada_seat, bob_seat, cyd_seat) = (ada.join(&room), bob.join(&room), cyd.join(&room));
    let mut at_ada = ada_seat.connect().await;
    let mut at_bob = bob_seat.connect().await;
    let _at_cyd = cyd_seat.connect().await;
    let mut roster = at_ada.watch("roster").await;
    at_ada.until(&mut roster, "three", |roster| people(roster) == 3).await;
    let bobs = |rest: &str| format!("/participants/{}{rest}", bob_seat.participant());

    // Asked to be quiet.
    let mut seat = at_bob.watch(&format!("seat/{}", bob_seat.participant())).await;
    let mute = json!({ "what": "stop", "source": "microphone" });
    assert_eq!(cyd_seat.command("POST", &bobs("/ask"), mute.clone()).status, 403);
    assert_eq!(ada_seat.command("POST", &bobs("/ask"), mute.clone()).status, 204);
    let asked =
        at_bob.until(&mut seat, "the request", |seat| !seat["asks"].as_array().unwrap().is_empty()).await;
    assert_eq!(
        (&asked["asks"][0]["what"], &asked["asks"][0]["source"]),
        (&json!("stop"), &json!("microphone"))
    );
    assert_eq!(asked["asks"][0]["by"], ada_seat.participant());
    assert_eq!(ada_seat.command("POST", "/ask", json!({ "what": "lower-hand" })).good()["count"], 2);
    at_bob.until(&mut seat, "the second", |seat| seat["asks"].as_array().unwrap().len() == 2).await;

    // Made to.
    let track = format!("{}/audio", bob_seat.participant());
    let (published, _) = at_bob.publish(&track, 1, true).await;
    let heard = at_ada.subscribe(&track, waiting(10_000)).await;
    at_bob.updated(published).await;
    at_ada.subscribed(heard).await;
    assert_eq!(cyd_seat.command("PATCH", &bobs(""), json!({ "publish": [] })).status, 403);
    assert_eq!(ada_seat.command("PATCH", &bobs(""), json!({ "publish": ["chat"] })).status, 204);
    assert_eq!(at_ada.done(heard).await.code, PublishDoneCode::TrackEnded);
    at_ada
        .until(&mut roster, "what is left", |roster| roster["participants"][1]["publish"] == json!(["chat"]))
        .await;
    let again = world::publish(&track, 2, true);
    let id = at_bob.call(move |session| session.publish(again)).await;
    assert_eq!(at_bob.refused(id).await.code, RequestErrorCode::Unauthorized);

    // A co-host looks after members, not after hosts, and makes nobody one.
    let cyds = format!("/participants/{}", cyd_seat.participant());
    assert_eq!(ada_seat.command("PATCH", &cyds, json!({ "role": "co-host" })).status, 204);
    at_ada.until(&mut roster, "the co-host", |roster| roster["participants"][2]["role"] == "co-host").await;
    let adas = format!("/participants/{}", ada_seat.participant());
    assert_eq!(cyd_seat.command("DELETE", &adas, Value::Null).status, 403);
    assert_eq!(cyd_seat.command("PATCH", &bobs(""), json!({ "role": "host" })).status, 403);
    assert_eq!(cyd_seat.command("PATCH", &bobs(""), json!({ "publish": ["microphone"] })).status, 204);
    at_bob.publish(&track, 3, true).await;
    assert_eq!(cyd_seat.command("POST", "/end", Value::Null).status, 403);

    // Out, once and for good.
    assert_eq!(cyd_seat.command("DELETE", &bobs(""), Value::Null).status, 204);
    let ended = at_bob.ended().await;
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Some(SessionError::Unauthorized), "removed from the room")
    );
    assert_eq!(bob_seat.command("GET", "/chat", Value::Null).problem(), "no-seat");
    assert!(bob_seat.stranger().await.ended().await.reason.contains("removed"), "the old token is void");
    let bob_again = bob.join(&room);
    let path = format!("/participants/{}?ban=true", bob_again.participant());
    assert_eq!(ada_seat.command("DELETE", &path, Value::Null).status, 204);
    assert_eq!(bob.post(&format!("/api/rooms/{room}/join"), json!({})).problem(), "removed");
    let bans = ada.get(&format!("/api/rooms/{room}/bans")).good();
    assert_eq!(bans[0]["name"], "Bob");
    drop(relay);
    let relay = open(data.path());
    let (ada, bob) = (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"));
    assert_eq!(
        bob.post(&format!("/api/rooms/{room}/join"), json!({})).problem(),
        "removed",
        "also after a restart"
    );
    assert_eq!(ada.delete(&format!("/api/rooms/{room}/bans/{}", bob.id())).status, 204);
    bob.join(&room);
}

#[tokio::test]
async fn a_meeting_is_ended_for_everybody_and_can_begin_again() {
    let data = tempfile::tempdir().unwrap();
    let relay = open(data.path());
    let (ada, bob) = (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"));
    let room = ada.new_room(json!({}));
    let (ada_seat, bob_seat) = (ada.join(&room), bob.join(&room));
    let (at_ada, at_bob) = (ada_seat.connect().await, bob_seat.connect().await);
    assert_eq!(bob_seat.command("POST", "/end", Value::Null).status, 403);
    assert_eq!(ada_seat.command("POST", "/end", Value::Null).status, 204);
    for ended in [at_ada.ended().await, at_bob.ended().await] {
        assert_eq!(ended.reason, "ended for everybody");
    }
    assert!(bob_seat.stranger().await.ended().await.reason.contains("ended for everybody"));
    let bob_seat = bob.join(&room);
    bob_seat.connect().await.settle().await;
}

#[tokio::test]
async fn a_guest_comes_by_invitation_into_one_room_and_no_further() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &["--sign-in", "accounts"]);
    let ada = Person::new_account(&relay, "ada");
    let room = ada.new_room(json!({ "password": "sesame" }));
    let other = ada.new_room(json!({}));
    let path = format!("/api/rooms/{room}/invitations");
    let made = ada.post(&path, json!({ "uses": 2 })).good();
    let secret = made["secret"].as_str().unwrap();
    let guest = |name: &str| {
        let form = json!({ "invitation": secret, "name": name });
        request(relay.http(), "POST", "/api/sign-in/invitation", &[], Some(&form))
    };
    let form = json!({ "invitation": secret, "name": "Gus" });
    let gus = Person::sign_in(&relay, "/api/sign-in/invitation", form);
    assert_eq!((&gus.me["room"], &gus.me["inbox"]), (&json!(room), &Value::Null));
    let seat = gus.join(&room);
    assert_eq!(seat.joined["role"], "member");
    let mut session = seat.connect().await;
    let mut roster = session.watch("roster").await;
    session.until(&mut roster, "the guest", |roster| roster["participants"][0]["name"] == "Gus").await;
    for reply in [
        gus.post(&format!("/api/rooms/{other}/join"), json!({})),
        gus.get(&format!("/api/rooms/{other}")),
        gus.post("/api/rooms", json!({})),
        gus.post("/api/calls", json!({ "users": [ada.id()] })),
        gus.get("/api/people"),
    ] {
        assert_eq!((reply.status, reply.problem().as_str()), (403, "guest"));
    }
    assert_eq!(seat.command("GET", "/invitations", Value::Null).status, 403);
    assert_eq!(guest("Hal").status, 200);
    assert_eq!(guest("Ivy").problem(), "invitation", "two were invited");
    assert_eq!(ada.get(&path).good(), json!([]));

    let made = ada.post(&path, json!({})).good();
    let listed = ada.get(&path).good();
    assert_eq!(listed[0]["id"], made["id"]);
    assert_eq!(listed[0]["secret"], Value::Null, "told once");
    let taken_back = format!("{path}/{}", made["id"].as_str().unwrap());
    assert_eq!(ada.delete(&taken_back).status, 204);
    assert_eq!(ada.delete(&taken_back).status, 404);
    let form = json!({ "invitation": made["secret"], "name": "Jo" });
    assert_eq!(
        request(relay.http(), "POST", "/api/sign-in/invitation", &[], Some(&form)).problem(),
        "invitation"
    );
    let bob = command(relay.http(), gus.token(), "GET", "/api/me", Value::Null).good();
    assert_eq!(bob["kind"], "guest");
}

#[tokio::test]
async fn chat_is_for_those_who_may_comes_to_everybody_in_one_order_and_is_kept_as_the_room_says() {
    let data = tempfile::tempdir().unwrap();
    let relay = open(data.path());
    let (ada, bob) = (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"));
    let room = ada.new_room(json!({}));
    let (ada_seat, bob_seat) = (ada.join(&room), bob.join(&room));
    let mut at_ada = ada_seat.connect().await;
    let mut at_bob = bob_seat.connect().await;
    let mut chats = [at_ada.watch("chat").await, at_bob.watch("chat").await];
    let said = ada_seat.command("POST", "/chat", json!({ "text": "  hello  " })).good();
    bob_seat.command("POST", "/chat", json!({ "text": "hi 👋" })).good();
    for (peer, chat) in [&mut at_ada, &mut at_bob].into_iter().zip(&mut chats) {
        let first = peer.message_of(chat).await;
        assert_eq!((&first["text"], &first["user"]), (&json!("hello"), &json!(ada.id())));
        assert_eq!(peer.message_of(chat).await["text"], "hi 👋");
    }
    for text in ["", "   ", &"x".repeat(4001)] {
        assert_eq!(ada_seat.command("POST", "/chat", json!({ "text": text })).status, 400);
    }
    let path = format!("/participants/{}", bob_seat.participant());
    ada_seat.command("PATCH", &path, json!({ "publish": ["microphone"] }));
    assert_eq!(bob_seat.command("POST", "/chat", json!({ "text": "no" })).status, 403);
    let after = format!("/chat?after={}", said["number"]);
    let missed = bob_seat.command("GET", &after, Value::Null).good();
    assert_eq!(missed.as_array().unwrap().len(), 1);
    let flood = (0..40).map(|_| ada_seat.command("POST", "/chat", json!({ "text": "x" })).status);
    assert!(flood.collect::<Vec<_>>().contains(&429), "nobody floods the others");
    drop(relay);

    let relay = open(data.path());
    let ada = Person::named(&relay, "Ada");
    let seat = ada.join(&room);
    let mut session = seat.connect().await;
    let texts = seat.command("GET", "/chat", Value::Null).good();
    assert_eq!((&texts[0]["text"], &texts[1]["text"]), (&json!("hello"), &json!("hi 👋")));
    let range = roundtable_moqt::message::FetchRange::Standalone {
        track: world::own("chat"),
        start: world::at(0, 0),
        end: world::at(u64::MAX >> 2, 0),
    };
    let fetch = session.fetch(range, Parameters::default()).await;
    let (_, items) = session.fetched(fetch).await;
    let objects =
        items.iter().filter(|item| matches!(item, roundtable_moqt::fetch_stream::FetchItem::Object(_)));
    assert_eq!(objects.count(), texts.as_array().unwrap().len(), "the track has what was kept");
    let newest = texts.as_array().unwrap().last().unwrap()["number"].as_i64();
    let next = seat.command("POST", "/chat", json!({ "text": "again" })).good();
    assert!(next["number"].as_i64() > newest, "no number is given twice");
}
