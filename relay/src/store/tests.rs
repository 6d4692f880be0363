//! On real files, and on a real Postgres where there is one (relay/tests/store.rs).

use std::{path::PathBuf, time::Duration};

use super::{
    calls::{Entry, Outcome, Part},
    history::Wanted,
    rooms::{Ban, Banned, Room, RoomKind},
    *,
};
use crate::{
    clock::UnixMs,
    id::{CallId, ParticipantId, RoomId, UserId},
};

struct Home {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Letters that mean something in a URL must mean nothing in a path.
        let path = folder.path().join("a b%20?c#d.db");
        Home { _folder: folder, path }
    }

    async fn open(&self) -> Result<Store, StoreError> {
        Store::open(&Place::File(self.path.clone())).await
    }
}

const T: UnixMs = UnixMs(1_800_000_000_000);

fn later(seconds: u64) -> UnixMs {
    T.after(Duration::from_secs(seconds))
}

fn call(text: &str) -> CallId {
    CallId::new(text).unwrap()
}

fn began(id: &str, caller: Option<&UserId>, at: UnixMs) -> Entry {
    Entry::Began {
        call: call(id),
        room: RoomId::new("room").unwrap(),
        room_name: Some("The Room".to_owned()),
        kind: RoomKind::Call,
        caller: caller.cloned(),
        at,
    }
}

fn joined(id: &str, attendance: &str, user: Option<&UserId>, name: &str, at: UnixMs) -> Entry {
    Entry::Joined {
        attendance: attendance.to_owned(),
        call: call(id),
        participant: ParticipantId::new("p").unwrap(),
        user: user.cloned(),
        name: name.to_owned(),
        at,
    }
}

fn everything() -> Wanted {
    Wanted { limit: 100, ..Wanted::default() }
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart_in_a_file_nobody_else_reads() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.insert_account(T, "ada", "Ada", "hash", false).await.unwrap();
    store.close().await;
    let store = home.open().await.unwrap();
    assert_eq!(store.account("ada").await.unwrap(), Some((ada.clone(), "hash".to_owned())));
    assert_eq!(store.user(&ada.id).await.unwrap(), Some(ada));
    let mode = std::fs::metadata(&home.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn the_first_account_looks_after_the_others_and_is_never_locked_out() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.insert_account(T, "ada", "Ada", "hash", false).await.unwrap();
    let bob = store.insert_account(T, "bob", "Bob", "hash", false).await.unwrap();
    assert!(ada.is_admin && !bob.is_admin);
    assert!(matches!(store.insert_account(T, "ada", "Other", "hash", false).await, Err(StoreError::Taken)));
    assert!(!store.set_user_state(&ada.id, Some(T), true).await.unwrap());
    assert!(!store.set_user_state(&ada.id, None, false).await.unwrap());
    assert!(!store.delete_user(&ada.id).await.unwrap());
    assert!(store.user(&ada.id).await.unwrap().unwrap().is_admin, "nothing happened by half");
    assert!(store.set_user_state(&bob.id, None, true).await.unwrap());
    assert!(store.delete_user(&ada.id).await.unwrap());
}

#[tokio::test]
async fn a_name_is_one_user_in_the_open_mode_and_no_account() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap();
    assert_eq!(store.named_user(T, "ADA").await.unwrap().id, ada.id);
    assert_eq!(store.account("~ada").await.unwrap(), None);
    assert!(!ada.is_admin);
    let who = users::External { issuer: "https://id.example", subject: "7" };
    let first = store.external_user(T, who, "Old Name").await.unwrap();
    let second = store.external_user(T, who, "New Name").await.unwrap();
    assert_eq!((first.id, second.name.as_str()), (second.id, "New Name"));
}

#[tokio::test]
async fn people_are_found_by_any_part_of_their_name_page_by_page() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    for name in ["Ada Lovelace", "Grace Hopper", "Čeněk", "100%", "a_b"] {
        store.named_user(T, name).await.unwrap();
    }
    store.insert_guest(T, "Ada the guest").await.unwrap();
    let names = async |query: &str| {
        let users = store.find_users(query, None, 100).await.unwrap();
        users.into_iter().map(|user| user.name).collect::<Vec<_>>()
    };
    assert_eq!(names("LOVE").await, ["Ada Lovelace"]);
    assert_eq!(names("čeněk").await, ["Čeněk"]);
    assert_eq!(names("%").await, ["100%"]);
    assert_eq!(names("_").await, ["a_b"]);
    let first = store.find_users("", None, 2).await.unwrap();
    let last = first.last().unwrap();
    let second = store.find_users("", Some((&last.name, &last.id)), 100).await.unwrap();
    assert_eq!((first.len(), second.len()), (2, 3));
}

#[tokio::test]
async fn a_sign_in_is_kept_by_use_and_ends_without() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap();
    let span = Duration::from_secs(1000);
    let made = store.insert_sign_in(T, &ada.id, None, "a browser", span).await.unwrap();
    assert!(store.use_sign_in(later(900), &made.secret, span).await.unwrap().is_some());
    assert!(store.use_sign_in(later(1800), &made.secret, span).await.unwrap().is_some());
    assert_eq!(store.use_sign_in(later(2900), &made.secret, span).await.unwrap(), None);
    assert_eq!(store.use_sign_in(T, "another secret", span).await.unwrap(), None);
    let id = &made.sign_in.id;
    assert_eq!(store.use_sign_in(T, id.as_str(), span).await.unwrap(), None, "a name is no secret");
    assert!(!store.delete_sign_in(&UserId::new("bob").unwrap(), id).await.unwrap(), "not theirs");
    assert!(store.delete_sign_in(&ada.id, id).await.unwrap());
    assert_eq!(store.use_sign_in(T, &made.secret, span).await.unwrap(), None);
}

#[tokio::test]
async fn a_new_password_signs_out_everywhere() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.insert_account(T, "ada", "Ada", "old", false).await.unwrap();
    let span = Duration::from_secs(1000);
    let made = store.insert_sign_in(T, &ada.id, None, "", span).await.unwrap();
    store.set_password(&ada.id, "new").await.unwrap();
    assert_eq!(store.use_sign_in(T, &made.secret, span).await.unwrap(), None);
}

#[tokio::test]
async fn an_invitation_lets_in_as_many_as_it_says() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let room = room("room");
    store.insert_room(&room).await.unwrap();
    let (made, secret) = store.insert_invitation(T, &room.id, None, later(100), Some(2)).await.unwrap();
    assert_eq!(store.use_invitation(T, &secret).await.unwrap().unwrap().uses_left, Some(1));
    assert!(store.use_invitation(T, &secret).await.unwrap().is_some());
    assert_eq!(store.use_invitation(T, &secret).await.unwrap(), None);
    assert_eq!(store.invitations(T, &room.id).await.unwrap(), []);
    let (_, unlimited) = store.insert_invitation(T, &room.id, None, later(100), None).await.unwrap();
    for _ in 0..5 {
        assert!(store.use_invitation(T, &unlimited).await.unwrap().is_some());
    }
    assert_eq!(store.use_invitation(later(100), &unlimited).await.unwrap(), None, "it has ended");
    assert!(store.delete_invitation(&room.id, &made.id).await.unwrap());
}

fn room(id: &str) -> Room {
    Room {
        id: RoomId::new(id).unwrap(),
        name: Some("A room".to_owned()),
        kind: RoomKind::Meeting,
        owner: None,
        password: None,
        has_lobby: false,
        is_locked: false,
        capacity: 50,
        chat_kept: Duration::from_secs(60),
        made_at: T,
    }
}

#[tokio::test]
async fn a_room_is_kept_with_hosts_and_bans() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap();
    let mut room = Room { owner: Some(ada.id.clone()), ..room("room") };
    store.insert_room(&room).await.unwrap();
    assert!(matches!(store.insert_room(&room).await, Err(StoreError::Taken)));
    assert_eq!(store.guarded_rooms().await.unwrap(), []);
    room.is_locked = true;
    room.chat_kept = Duration::ZERO;
    store.update_room(&room).await.unwrap();
    assert_eq!(store.room(&room.id).await.unwrap(), Some(room.clone()));
    assert_eq!(store.rooms_of(&ada.id, 10).await.unwrap(), [room.clone()]);
    assert_eq!(store.guarded_rooms().await.unwrap(), [room.id.clone()]);

    store.set_host(&room.id, &ada.id, true).await.unwrap();
    store.set_host(&room.id, &ada.id, true).await.unwrap();
    assert_eq!(store.hosts(&room.id).await.unwrap(), std::slice::from_ref(&ada.id));
    store.set_host(&room.id, &ada.id, false).await.unwrap();
    assert_eq!(store.hosts(&room.id).await.unwrap(), []);

    let seat = Banned::Participant(ParticipantId::new("p").unwrap());
    let user = Banned::User(ada.id.clone());
    let ban = |who: &Banned, until| Entry::Banned { room: room.id.clone(), who: who.clone(), at: T, until };
    store.write(&[ban(&seat, Some(later(10))), ban(&user, None), ban(&user, None)]).await.unwrap();
    store.write(&[ban(&Banned::Everybody, Some(later(10)))]).await.unwrap();
    assert_eq!(store.bans(T).await.unwrap().len(), 3);
    let lasting = Ban { room: room.id.clone(), who: user.clone(), since: T, until: UnixMs::NEVER };
    assert_eq!(store.bans(later(10)).await.unwrap(), [lasting]);
    assert_eq!(store.forget_bans(later(10)).await.unwrap(), 2);
    store.lift_ban(&room.id, &user).await.unwrap();
    assert_eq!(store.bans(T).await.unwrap(), []);
    store.delete_room(&room.id).await.unwrap();
    assert_eq!(store.room(&room.id).await.unwrap(), None);
}

#[tokio::test]
async fn everybody_sees_a_call_as_it_was_for_them() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap().id;
    let bob = store.named_user(T, "Bob").await.unwrap().id;
    let cyd = store.named_user(T, "Cyd").await.unwrap().id;
    let rang = |user: &UserId, at| Entry::Rang { call: call("one"), user: user.clone(), at };
    let answered =
        |user: &UserId, outcome, at| Entry::Answered { call: call("one"), user: user.clone(), outcome, at };
    let entries = [
        began("one", Some(&ada), T),
        rang(&bob, T),
        rang(&cyd, T),
        answered(&bob, Outcome::Accepted, later(3)),
        joined("one", "a", Some(&ada), "Ada", later(3)),
        joined("one", "b", Some(&bob), "Bob", later(4)),
        answered(&cyd, Outcome::NoAnswer, later(30)),
        Entry::Left { attendance: "b".to_owned(), at: later(60) },
        Entry::Ended { call: call("one"), at: later(61) },
    ];
    store.write(&entries).await.unwrap();
    store.write(&entries).await.unwrap();
    let seen = async |user| store.history(user, &everything()).await.unwrap();
    let ada_sees = seen(&ada).await;
    assert_eq!(ada_sees.len(), 1);
    assert_eq!((ada_sees[0].part, ada_sees[0].outcome), (Part::Placed, None));
    assert_eq!(ada_sees[0].people.len(), 2, "writing twice changed nothing");
    assert_eq!(
        ada_sees[0].people[0].left_at,
        Some(later(61)),
        "whoever was still there left with the call's end"
    );
    assert_eq!(ada_sees[0].people[1].left_at, Some(later(60)));
    let rung: Vec<_> = ada_sees[0].rung.iter().map(|rung| (rung.user.name.as_str(), rung.outcome)).collect();
    assert!(
        rung.contains(&("Bob", Outcome::Accepted)) && rung.contains(&("Cyd", Outcome::NoAnswer)),
        "{rung:?}"
    );
    assert_eq!(
        (seen(&bob).await[0].part, seen(&bob).await[0].outcome),
        (Part::Received, Some(Outcome::Accepted))
    );
    assert_eq!(seen(&cyd).await[0].outcome, Some(Outcome::NoAnswer));
    assert_eq!(seen(&cyd).await[0].caller.as_ref().unwrap().name, "Ada");

    let missed = Wanted { only_missed: true, ..everything() };
    assert_eq!(store.history(&cyd, &missed).await.unwrap().len(), 1);
    assert_eq!(store.history(&bob, &missed).await.unwrap(), []);
    let placed = Wanted { part: Some(Part::Placed), ..everything() };
    assert_eq!(store.history(&ada, &placed).await.unwrap().len(), 1);
    assert_eq!(store.history(&bob, &placed).await.unwrap(), []);

    assert!(store.hide_call(T, &bob, &call("one")).await.unwrap());
    assert!(!store.hide_call(T, &bob, &call("one")).await.unwrap());
    assert_eq!(seen(&bob).await, []);
    assert_eq!(seen(&ada).await[0].rung.len(), 2, "what one deletes the others keep");
    let stranger = UserId::new("stranger").unwrap();
    assert_eq!(store.past_call(&stranger, &call("one")).await.unwrap(), None);
}

#[tokio::test]
async fn history_is_searched_and_paged() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap().id;
    let bob = store.named_user(T, "Bob").await.unwrap().id;
    for index in 0..25 {
        let (id, at) = (format!("c{index}"), later(index / 2));
        store.write(&[began(&id, Some(&ada), at)]).await.unwrap();
        if index % 5 == 0 {
            store.write(&[Entry::Rang { call: call(&id), user: bob.clone(), at }]).await.unwrap();
        }
        if index == 7 {
            store.write(&[joined(&id, "x", None, "Zoë the guest", at)]).await.unwrap();
        }
    }
    let found = async |query: &str| {
        let wanted = Wanted { query: query.to_owned(), ..everything() };
        store.history(&ada, &wanted).await.unwrap().len()
    };
    assert_eq!((found("bob").await, found("zoë").await, found("the room").await), (5, 1, 25));
    assert_eq!(found("ada").await, 0, "one's own name is in every call and finds none");
    assert_eq!(found("nobody").await, 0);
    let mut seen = std::collections::BTreeSet::new();
    let mut before = None;
    loop {
        let wanted = Wanted { before: before.clone(), limit: 4, ..Wanted::default() };
        let page = store.history(&ada, &wanted).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.at, last.id.clone()));
        seen.extend(page.into_iter().map(|call| call.id));
    }
    assert_eq!(seen.len(), 25, "every call once, also those of the same moment");
}

#[tokio::test]
async fn after_a_crash_the_history_tells_the_truth() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap().id;
    let bob = store.named_user(T, "Bob").await.unwrap().id;
    store
        .write(&[
            began("one", Some(&ada), T),
            Entry::Rang { call: call("one"), user: bob.clone(), at: T },
            joined("one", "a", Some(&ada), "Ada", T),
        ])
        .await
        .unwrap();
    store.beat(later(40)).await.unwrap();
    store
        .write(&[began("two", Some(&ada), later(45)), joined("two", "b", Some(&ada), "Ada", later(45))])
        .await
        .unwrap();
    drop(store);
    let store = home.open().await.unwrap();
    assert_eq!(store.recover(later(5000)).await.unwrap(), 2);
    assert_eq!(store.recover(later(6000)).await.unwrap(), 0);
    let one = store.past_call(&bob, &call("one")).await.unwrap().unwrap();
    assert!(one.is_interrupted);
    assert_eq!(one.ended_at, Some(later(40)));
    assert_eq!(one.people[0].left_at, Some(later(40)));
    assert_eq!(one.outcome, Some(Outcome::Interrupted));
    let two = store.past_call(&ada, &call("two")).await.unwrap().unwrap();
    assert_eq!(
        (two.ended_at, two.people[0].left_at),
        (Some(later(45)), Some(later(45))),
        "no end before the start"
    );
    assert_eq!(store.rooms_since(later(45)).await.unwrap(), [RoomId::new("room").unwrap()]);
    assert_eq!(store.rooms_since(later(46)).await.unwrap(), []);
}

#[tokio::test]
async fn somebody_who_is_forgotten_leaves_no_name_behind() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap().id;
    let bob = store.named_user(T, "Bob").await.unwrap().id;
    store
        .write(&[
            began("one", Some(&ada), T),
            joined("one", "a", Some(&ada), "Ada", T),
            joined("one", "b", Some(&bob), "Bob", T),
        ])
        .await
        .unwrap();
    let message = |number, user: &UserId| messages::Message {
        number,
        participant: ParticipantId::new("p").unwrap(),
        user: Some(user.clone()),
        name: "somebody".to_owned(),
        text: "hello".to_owned(),
        at: T,
    };
    let room = RoomId::new("room").unwrap();
    for (number, user) in [(1, &ada), (2, &bob)] {
        let said = Entry::Said {
            room: room.clone(),
            call: Some(call("one")),
            message: message(number, user),
            until: later(100),
        };
        store.write(&[said.clone(), said]).await.unwrap();
    }
    assert!(store.delete_user(&ada).await.unwrap());
    let seen = store.past_call(&bob, &call("one")).await.unwrap().unwrap();
    assert_eq!(seen.caller, None);
    assert!(seen.people.iter().any(|person| person.name.is_empty() && person.user.is_none()));
    assert_eq!(store.messages_of_call(T, &call("one")).await.unwrap(), [message(2, &bob)]);
    assert_eq!(store.messages_of_call(later(100), &call("one")).await.unwrap(), [], "its time is over");
    store.write(&[joined("one", "c", Some(&ada), "Ada", T)]).await.unwrap();
    assert_eq!(
        store.history(&ada, &everything()).await.unwrap(),
        [],
        "a user who is gone takes part in nothing"
    );
}

#[tokio::test]
async fn what_is_old_is_forgotten_and_recordings_keep_their_call() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap().id;
    for id in ["old", "recorded", "new"] {
        let at = if id == "new" { later(100) } else { T };
        store.write(&[began(id, Some(&ada), at), Entry::Ended { call: call(id), at }]).await.unwrap();
    }
    let recording = recordings::Recording {
        id: crate::id::RecordingId::new("r").unwrap(),
        call: call("recorded"),
        room: RoomId::new("room").unwrap(),
        started_by: Some(ada.clone()),
        started_at: T,
        ended_at: None,
        state: recordings::RecordingState::Running,
        bytes: 0,
    };
    store.put_recording(&recording).await.unwrap();
    let finished = recordings::Recording {
        ended_at: Some(later(5)),
        state: recordings::RecordingState::Finished,
        bytes: 7,
        ..recording
    };
    store.put_recording(&finished).await.unwrap();
    assert_eq!(store.forget_calls(later(50)).await.unwrap(), 1);
    let kept = store.history(&ada, &everything()).await.unwrap();
    assert_eq!(kept.iter().map(|call| call.id.as_str()).collect::<Vec<_>>(), ["new", "recorded"]);
    assert_eq!(kept[1].recordings, std::slice::from_ref(&finished));
    assert_eq!(store.recordings_of_call(&call("recorded")).await.unwrap(), [finished]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_loses_nothing() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let ada = store.named_user(T, "Ada").await.unwrap();
    // SQLite's own way to have no room: the file may not grow. It holds for a connection, so there must be one only.
    let one = AnyPoolOptions::new().max_connections(1);
    let store = Store { pool: one.connect(&sqlite_url(&home.path)).await.unwrap(), is_sqlite: true };
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.pool).await.unwrap();
    let limit = format!("PRAGMA max_page_count = {}", pages + 2);
    sqlx::query(sqlx::AssertSqlSafe(limit)).execute(&store.pool).await.unwrap();
    let entries: Vec<Entry> = (0..2000).map(|index| began(&format!("c{index}"), Some(&ada.id), T)).collect();
    let error = store.write(&entries).await.unwrap_err();
    assert!(matches!(error, StoreError::Full) && error.is_passing(), "{error}");
    assert_eq!(store.history(&ada.id, &everything()).await.unwrap(), [], "all or nothing");
    sqlx::query("PRAGMA max_page_count = 1000000").execute(&store.pool).await.unwrap();
    store.write(&entries).await.unwrap();
    assert_eq!(store.history(&ada.id, &everything()).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_database_that_cannot_be_used_is_told_and_left_as_it_is() {
    let home = Home::new();
    std::fs::write(&home.path, "this is no database, however one looks at it, and it is long enough")
        .unwrap();
    let before = std::fs::read(&home.path).unwrap();
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("d.db"), "{error}");
    assert_eq!(std::fs::read(&home.path).unwrap(), before);

    let home = Home::new();
    let store = home.open().await.unwrap();
    for index in 0..300 {
        store.named_user(T, &format!("user {index}")).await.unwrap();
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&store.pool).await.unwrap();
    store.close().await;
    let mut bytes = std::fs::read(&home.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::write(&home.path, &bytes).unwrap();
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");

    let missing = Place::File(home.path.join("below-a-file.db"));
    let error = Store::open(&missing).await.unwrap_err();
    assert!(matches!(error, StoreError::File { .. }), "{error}");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_not_touched() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', 1, 'x', 0)",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let error = home.open().await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_another_program_holds_is_told() {
    let home = Home::new();
    let store = home.open().await.unwrap();
    let other = home.open().await.unwrap();
    let mut holding = other.begin().await.unwrap();
    sqlx::query("DELETE FROM heartbeat").execute(&mut *holding).await.unwrap();
    let mut connection = store.pool.acquire().await.unwrap();
    sqlx::query("PRAGMA busy_timeout = 10").execute(&mut *connection).await.unwrap();
    let error = sqlx::query("DELETE FROM heartbeat").execute(&mut *connection).await.unwrap_err();
    let error = StoreError::from(error);
    assert!(matches!(error, StoreError::Locked) && error.is_passing(), "{error}");
}

#[test]
fn a_place_is_told_without_its_password() {
    let place = Place::Postgres("postgres://me:se@cret@db.example:5432/calls?sslmode=require".to_owned());
    assert_eq!(place.to_string(), "postgres://db.example:5432/calls");
    assert_eq!(format!("{place:?}"), "postgres://db.example:5432/calls");
}
