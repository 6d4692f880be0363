//! The people of a room as a value, in whatever order things happen.

use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::{
    AskKind, Cut, Role, Settings,
    bans::Bans,
    roster::{Change, EMPTY_SEAT_SPAN, FIRST_SESSION_SPAN, Grant, NoSeat, Person, Roster, Seated},
};
use crate::{
    clock::UnixMs,
    id::{ParticipantId, SignInId, UserId},
    rights::Rights,
    store::rooms::Banned,
    token::{MediaToken, Signer, Source, Sources},
};

const T: UnixMs = UnixMs(1_800_000_000_000);

fn later(span: Duration) -> UnixMs {
    T.after(span)
}

fn id(text: &str) -> ParticipantId {
    ParticipantId::new(text).unwrap()
}

fn person(name: &str) -> Person {
    Person { user: UserId::new(name), sign_in: SignInId::new(name), name: name.to_owned() }
}

fn sit(roster: &mut Roster, now: UnixMs, name: &str) -> Result<Seated, NoSeat> {
    roster.take_seat(now, person(name), None, &Bans::default(), id(name))
}

fn token(name: &str, made_at: UnixMs) -> MediaToken {
    MediaToken {
        scope: "/room".to_owned(),
        sub: id(name),
        name: name.to_owned(),
        user: UserId::new(name),
        sign_in: None,
        publish: Sources::USUAL,
        subscribe: true,
        moderate: false,
        record: false,
        waiting: false,
        iat: made_at.seconds(),
        exp: made_at.seconds() + 600,
    }
}

fn changes(roster: &mut Roster) -> Vec<Change> {
    std::iter::from_fn(|| roster.poll_change()).collect()
}

fn owned_by(owner: &str) -> Settings {
    Settings { owner: UserId::new(owner), ..Settings::default() }
}

#[test]
fn a_seat_without_a_session_is_kept_for_a_while_and_then_free() {
    let mut roster = Roster::new(Settings::default());
    sit(&mut roster, T, "ada").unwrap();
    roster.tick(later(FIRST_SESSION_SPAN - Duration::from_millis(1)));
    assert!(roster.seat(&id("ada")).is_some());
    assert!(roster.seated().is_empty(), "nobody is told of who has not come yet");
    roster.extend(&id("ada"), T, later(Duration::from_secs(600)));
    assert!(roster.entered(&id("ada")));
    assert!(matches!(&changes(&mut roster)[..], [Change::Joined(..), Change::Roster, Change::Seat(_)]));
    roster.left(T, &id("ada"));
    assert_eq!(roster.poll_timeout(), Some(later(EMPTY_SEAT_SPAN)));
    roster.tick(later(EMPTY_SEAT_SPAN - Duration::from_millis(1)));
    assert!(roster.entered(&id("ada")), "back in time");
    roster.left(T, &id("ada"));
    changes(&mut roster);
    roster.tick(later(EMPTY_SEAT_SPAN));
    assert_eq!(
        changes(&mut roster),
        [Change::Left(id("ada"), T), Change::Roster, Change::Cut(id("ada"), Cut::Left)],
        "gone since the last session went"
    );
    assert!(!roster.entered(&id("ada")));
}

#[test]
fn the_owner_is_host_and_a_room_of_nobodys_has_the_one_who_is_there_longest() {
    let mut roster = Roster::new(owned_by("ada"));
    assert_eq!(sit(&mut roster, T, "bob").unwrap().role, Role::Member);
    assert_eq!(sit(&mut roster, T, "ada").unwrap().role, Role::Host);
    roster.remove(T, &id("ada"), Cut::Left);
    assert_eq!(roster.seat(&id("bob")).unwrap().role, Role::Member, "the owner's absence makes nobody host");

    let mut roster = Roster::new(Settings::default());
    assert_eq!(sit(&mut roster, T, "ada").unwrap().role, Role::Host);
    for name in ["cyd", "bob"] {
        assert_eq!(sit(&mut roster, T, name).unwrap().role, Role::Member);
    }
    roster.remove(T, &id("ada"), Cut::Left);
    assert_eq!(roster.seat(&id("cyd")).unwrap().role, Role::Host);
    assert_eq!(roster.seat(&id("bob")).unwrap().role, Role::Member);
}

#[test]
fn a_locked_or_full_room_takes_its_hosts_and_nobody_else() {
    let mut roster = Roster::new(Settings { is_locked: true, ..owned_by("ada") });
    assert_eq!(sit(&mut roster, T, "bob"), Err(NoSeat::Locked));
    assert!(sit(&mut roster, T, "ada").is_ok());
    roster.set(T, Settings { capacity: 1, ..owned_by("ada") });
    assert_eq!(sit(&mut roster, T, "bob"), Err(NoSeat::Full));
}

#[test]
fn who_waits_is_let_in_one_by_one_or_when_the_lobby_ends() {
    let mut roster = Roster::new(Settings { has_lobby: true, ..owned_by("ada") });
    assert!(!sit(&mut roster, T, "ada").unwrap().is_waiting);
    for name in ["bob", "cyd", "dan"] {
        assert!(sit(&mut roster, T, name).unwrap().is_waiting);
        roster.entered(&id(name));
    }
    assert!(!changes(&mut roster).iter().any(|change| matches!(change, Change::Roster | Change::Joined(..))));
    assert!(roster.let_in(T, &id("bob")));
    assert!(!roster.let_in(T, &id("bob")) && !roster.let_in(T, &id("ada")));
    assert!(changes(&mut roster).contains(&Change::Joined(id("bob"), person("bob"))));
    roster.set(T, owned_by("ada"));
    assert!(roster.waiting().is_empty());
}

#[test]
fn who_is_let_in_after_the_host_has_left_finds_a_host_in_a_room_of_nobodys() {
    let mut roster = Roster::new(Settings { has_lobby: true, ..Settings::default() });
    for name in ["ada", "bob", "cyd"] {
        sit(&mut roster, T, name).unwrap();
    }
    roster.remove(T, &id("ada"), Cut::Left);
    roster.set(T, Settings::default());
    assert_eq!(roster.seat(&id("bob")).unwrap().role, Role::Host);
    assert_eq!(roster.seat(&id("cyd")).unwrap().role, Role::Member);
}

#[test]
fn a_user_who_is_banned_and_a_seat_that_was_taken_away_stay_out() {
    let mut bans = Bans::default();
    bans.insert(Banned::User(UserId::new("eve").unwrap()), T, UnixMs::NEVER);
    bans.insert(Banned::Participant(id("bob")), T, UnixMs::NEVER);
    let mut roster = Roster::new(Settings::default());
    let seat = roster.take_seat(T, person("eve"), None, &bans, id("fresh"));
    assert_eq!(seat, Err(NoSeat::Banned));
    let newer = later(Duration::from_secs(5));
    for signer in [Signer::Relay, Signer::Application] {
        assert_eq!(roster.admit(newer, &token("eve", newer), signer, &bans), Err(NoSeat::Banned));
        assert_eq!(roster.admit(newer, &token("bob", T), signer, &bans), Err(NoSeat::Banned));
    }
    assert!(roster.admit(newer, &token("bob", newer), Signer::Application, &bans).is_ok(), "asked back");
    let mut over = Bans::default();
    over.insert(Banned::Everybody, T, UnixMs::NEVER);
    assert_eq!(roster.admit(newer, &token("cyd", T), Signer::Relay, &over), Err(NoSeat::Over));
}

#[test]
fn the_relay_remembers_what_was_changed_and_an_application_has_the_newest_word() {
    let mut roster = Roster::new(Settings::default());
    let bans = Bans::default();
    roster.admit(T, &token("ada", T), Signer::Application, &bans).unwrap();
    let microphone: Sources = [Source::Microphone].into_iter().collect();
    assert!(roster.grant(&id("ada"), Grant { publish: Some(microphone), ..Grant::default() }));
    let publish = |rights: Result<Rights, NoSeat>| match rights.unwrap() {
        Rights::Seat(seat) => seat.publish,
        other => panic!("{other:?}"),
    };
    assert_eq!(publish(roster.admit(T, &token("ada", T), Signer::Relay, &bans)), microphone);
    let older = T.before(Duration::from_secs(60));
    assert_eq!(publish(roster.admit(T, &token("ada", older), Signer::Application, &bans)), microphone);
    let newer = later(Duration::from_secs(60));
    assert_eq!(
        publish(roster.admit(newer, &token("ada", newer), Signer::Application, &bans)),
        Sources::USUAL
    );
}

#[test]
fn what_somebody_is_asked_is_told_a_few_times_and_numbered() {
    let mut roster = Roster::new(Settings::default());
    sit(&mut roster, T, "ada").unwrap();
    for _ in 0..20 {
        assert!(roster.ask(T, &id("ada"), AskKind::LowerHand, &id("bob")));
    }
    assert!(!roster.ask(T, &id("nobody"), AskKind::LowerHand, &id("bob")));
    let numbers: Vec<u64> = roster.seat(&id("ada")).unwrap().asks.iter().map(|ask| ask.number).collect();
    assert_eq!(numbers, (13..=20).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    Sit(u8),
    Enter(u8),
    Leave(u8),
    Remove(u8),
    LetIn(u8),
    Lobby(bool),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..5).prop_map(Step::Sit),
        (0u8..5).prop_map(Step::Enter),
        (0u8..5).prop_map(Step::Leave),
        (0u8..5).prop_map(Step::Remove),
        (0u8..5).prop_map(Step::LetIn),
        any::<bool>().prop_map(Step::Lobby),
        (0u16..40_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens in whatever order: everybody who joined leaves once, and who is told of as joined is exactly
    /// who is there.
    #[test]
    fn comings_and_goings_add_up(steps in proptest::collection::vec(step(), 0..80)) {
        let mut roster = Roster::new(Settings::default());
        let mut now = T;
        let mut there = BTreeSet::new();
        let name = |index: u8| ["ada", "bob", "cyd", "dan", "eve"][usize::from(index)];
        for step in steps {
            match step {
                Step::Sit(who) if roster.seat(&id(name(who))).is_none() => {
                    let _ = sit(&mut roster, now, name(who));
                    roster.extend(&id(name(who)), now, now.after(Duration::from_secs(600)));
                }
                Step::Sit(_) => {}
                Step::Enter(who) => {
                    let has_seat = roster.seat(&id(name(who))).is_some();
                    prop_assert_eq!(roster.entered(&id(name(who))), has_seat);
                }
                Step::Leave(who) => {
                    if roster.seat(&id(name(who))).is_some_and(|seat| seat.sessions > 0) {
                        roster.left(now, &id(name(who)));
                    }
                }
                Step::Remove(who) => {
                    let has_seat = roster.seat(&id(name(who))).is_some();
                    prop_assert_eq!(roster.remove(now, &id(name(who)), Cut::Removed), has_seat);
                }
                Step::LetIn(who) => {
                    let waits = roster.seat(&id(name(who))).is_some_and(|seat| seat.is_waiting);
                    prop_assert_eq!(roster.let_in(now, &id(name(who))), waits);
                }
                Step::Lobby(has_lobby) => roster.set(now, Settings { has_lobby, ..Settings::default() }),
                Step::Wait(ms) => {
                    now = now.after(Duration::from_millis(u64::from(ms)));
                    roster.tick(now);
                    prop_assert!(roster.poll_timeout().is_none_or(|at| at > now), "nothing is overdue");
                }
            }
            while let Some(change) = roster.poll_change() {
                match change {
                    Change::Joined(participant, _) => prop_assert!(there.insert(participant), "joined twice"),
                    Change::Left(participant, _) => prop_assert!(there.remove(&participant), "left without joining"),
                    Change::Roster | Change::Lobby | Change::Seat(_) | Change::Cut(..) => {}
                }
            }
            let seated: BTreeSet<ParticipantId> = roster.seated().into_iter().map(|(id, _)| id.clone()).collect();
            prop_assert_eq!(&seated, &there);
            let has_people = roster.seats().values().any(|seat| !seat.is_waiting);
            prop_assert!(!has_people || roster.seats().values().any(|seat| seat.role == Role::Host), "nobody looks after it");
        }
    }
}
