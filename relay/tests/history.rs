//! What is remembered of calls: paged, searched, deleted, and true after a crash. Real HTTP, a real database.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod person;
mod support;
mod world;

use person::Person;
use roundtable_relay::{
    clock::UnixMs,
    id::{CallId, RecordingId, RoomId, UserId},
    store::{
        Place, Store,
        recordings::{Recording, RecordingState},
    },
};
use serde_json::{Value, json};
use support::Running;

#[tokio::test]
async fn a_meeting_is_remembered_with_who_was_there_when_and_what_was_said() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let (ada, bob) = (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"));
    let room = ada.new_room(json!({ "name": "Weekly" }));
    let ada_seat = ada.join(&room);
    let at_ada = ada_seat.connect().await;
    let going_on = ada.get("/api/history").good()["calls"][0].clone();
    assert_eq!((&going_on["kind"], &going_on["part"]), (&json!("meeting"), &json!("attended")));
    assert_eq!((&going_on["room_name"], &going_on["ended_at"]), (&json!("Weekly"), &Value::Null));
    let bob_seat = bob.join(&room);
    let at_bob = bob_seat.connect().await;
    bob_seat.command("POST", "/chat", json!({ "text": "hello" })).good();
    bob_seat.command("POST", "/leave", Value::Null);
    at_bob.ended().await;
    ada_seat.command("POST", "/end", Value::Null);
    at_ada.ended().await;
    let of_bob = bob.get("/api/history").good()["calls"][0].clone();
    assert_eq!(of_bob["people"].as_array().unwrap().len(), 2, "{of_bob}");
    assert!(
        of_bob["ended_at"].is_i64() && of_bob["people"][1]["left_at"].as_i64() <= of_bob["ended_at"].as_i64()
    );
    assert_eq!((&of_bob["messages"], &of_bob["is_interrupted"]), (&json!(1), &json!(false)));
    let path = format!("/api/history/{}", of_bob["id"].as_str().unwrap());
    assert_eq!(bob.get(&path).good(), of_bob);
    assert_eq!(bob.get(&format!("{path}/messages")).good()[0]["text"], "hello");
    let eve = Person::named(&relay, "Eve");
    for path in [path.clone(), format!("{path}/messages")] {
        assert_eq!(eve.get(&path).status, 404);
    }
    assert_eq!(eve.delete(&path).status, 404);
    assert_eq!(bob.delete(&path).status, 204);
    assert_eq!(bob.get(&path).status, 404);
    assert_eq!(ada.get(&path).status, 200, "what one deletes the others keep");
}

#[tokio::test]
async fn recordings_of_a_call_stand_beside_it() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let ada = Person::named(&relay, "Ada");
    let seat = ada.join("my-room");
    let session = seat.connect().await;
    let call = ada.get("/api/history").good()["calls"][0].clone();
    // As the recorder writes it.
    let store = Store::open(&Place::File(data.path().join("roundtable.db"))).await.unwrap();
    let recording = Recording {
        id: RecordingId::random().unwrap(),
        call: CallId::new(call["id"].as_str().unwrap()).unwrap(),
        room: RoomId::new("my-room").unwrap(),
        started_by: UserId::new(ada.id()),
        started_at: UnixMs::now(),
        ended_at: None,
        state: RecordingState::Running,
        bytes: 0,
    };
    store.put_recording(&recording).await.unwrap();
    let path = format!("/api/history/{}", call["id"].as_str().unwrap());
    let seen = ada.get(&path).good();
    assert_eq!(
        (&seen["recordings"][0]["id"], &seen["recordings"][0]["state"]),
        (&json!(recording.id), &json!("running"))
    );
    drop(session);
}

#[test]
fn history_is_paged_and_searched() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let ada = Person::named(&relay, "Ada");
    let others: Vec<Person> = (0..7).map(|index| Person::named(&relay, &format!("Callee {index}"))).collect();
    for other in &others {
        let call = ada.post("/api/calls", json!({ "users": [other.id()] })).good();
        ada.post(&format!("/api/calls/{}/cancel", call["id"].as_str().unwrap()), Value::Null);
    }
    let mut seen = Vec::new();
    let mut path = "/api/history?limit=3".to_owned();
    loop {
        let page = ada.get(&path).good();
        seen.extend(
            page["calls"].as_array().unwrap().iter().map(|call| call["rung"][0]["user"]["name"].clone()),
        );
        let Some(at) = page["next_at"].as_i64() else { break };
        path = format!(
            "/api/history?limit=3&before_at={at}&before_call={}",
            page["next_call"].as_str().unwrap()
        );
    }
    let expected: Vec<Value> = (0..7).rev().map(|index| json!(format!("Callee {index}"))).collect();
    assert_eq!(seen, expected, "the latest first, each once");
    let found = ada.get("/api/history?query=callee%203").good();
    assert_eq!(found["calls"].as_array().unwrap().len(), 1);
    let placed =
        |person: &Person| person.get("/api/history?part=placed").good()["calls"].as_array().unwrap().len();
    assert_eq!((placed(&ada), placed(&others[0])), (7, 0));
    assert_eq!(ada.get("/api/history?part=nonsense").problem(), "invalid");
}

#[tokio::test]
async fn after_a_crash_in_the_middle_of_a_call_the_history_tells_the_truth() {
    let data = tempfile::tempdir().unwrap();
    let relay = Running::start(data.path(), &[]);
    let (ada, bob, cyd) =
        (Person::named(&relay, "Ada"), Person::named(&relay, "Bob"), Person::named(&relay, "Cyd"));
    let placed = ada.post("/api/calls", json!({ "users": [bob.id(), cyd.id()] })).good();
    let id = placed["id"].as_str().unwrap();
    let accepted = bob.post(&format!("/api/calls/{id}/accept"), Value::Null).good();
    let at_ada = ada.seat(placed["seat"].clone()).connect().await;
    let at_bob = bob.seat(accepted).connect().await;
    assert_eq!(ada.get(&format!("/api/history/{id}")).good()["people"].as_array().unwrap().len(), 2);
    let before = UnixMs::now();
    // Killed, as `Running` does when it is dropped.
    drop(relay);
    let relay = Running::start(data.path(), &[]);
    let (ada, cyd) = (Person::named(&relay, "Ada"), Person::named(&relay, "Cyd"));
    let call = ada.get(&format!("/api/history/{id}")).good();
    assert_eq!(call["is_interrupted"], true);
    let ended = call["ended_at"].as_i64().unwrap();
    assert!(ended >= call["started_at"].as_i64().unwrap() && ended <= before.0 + 5000, "{call}");
    assert!(call["people"].as_array().unwrap().iter().all(|person| person["left_at"].is_i64()), "{call}");
    let of_cyd = cyd.get(&format!("/api/history/{id}")).good();
    assert_eq!(of_cyd["outcome"], "interrupted", "it does not ring any more");
    assert_eq!(cyd.get("/api/inbox").good()["calls"], json!([]));
    drop((at_ada, at_bob));
}

#[tokio::test]
async fn who_held_a_seat_when_the_relay_was_restarted_is_back_on_it_with_the_same_token() {
    let data = tempfile::tempdir().unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["--listen", &listen, "--sign-in", "accounts", "--sign-up"];
    let relay = Running::start(data.path(), &arguments);
    let ada = Person::new_account(&relay, "ada");
    let room = ada.new_room(json!({ "name": "Weekly" }));
    let seat = ada.join(&room);
    let session = seat.connect().await;
    assert_eq!(relay.stop("TERM"), Some(0));
    session.ended().await;
    let relay = Running::start(data.path(), &arguments);
    let mut session = seat.connect().await;
    let mut roster = session.watch("roster").await;
    let told = session.until(&mut roster, "the room as it is set", |roster| roster["name"] == "Weekly").await;
    assert_eq!(
        (&told["participants"][0]["id"], &told["participants"][0]["role"]),
        (&json!(seat.participant()), &json!("host"))
    );
    let calls = Person::account(&relay, "ada").get("/api/history").good()["calls"].clone();
    assert_eq!(calls[1]["is_interrupted"], false, "it was told to stop: {calls}");
    assert!(calls[1]["ended_at"].is_i64(), "{calls}");
}
