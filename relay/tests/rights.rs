//! Who may do what over MoQ: tokens, rights, and what happens to those who lose them. Real sessions of both kinds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use roundtable_moqt::{
    Event, Object, Parameters, PublishDoneCode, RequestErrorCode, SessionError, StreamResetCode,
    fetch_stream::FetchItem,
    message::{Fetch, FetchRange, NamespaceRequest, Subscribe},
};
use roundtable_relay::{
    clock::UnixMs,
    id::{ParticipantId, RoomId},
    meeting::{Cut, Role, Settings, roster::Grant},
    token::{Source, Sources, TokenKey},
};
use world::{BOTH, Peer, Via, World, at, name, namespace, own, publish, use_value, waiting};

fn participant(text: &str) -> ParticipantId {
    ParticipantId::new(text).unwrap()
}

fn meeting(world: &World) -> std::sync::Arc<roundtable_relay::meeting::Meeting> {
    world.relay.meetings.meeting(&RoomId::new("room").unwrap()).unwrap()
}

fn grant(world: &World, who: &str, grant: Grant) {
    let meeting = meeting(world);
    let changed =
        world.relay.meetings.change(UnixMs::now(), &meeting, |roster| roster.grant(&participant(who), grant));
    assert!(changed);
}

#[tokio::test]
async fn who_shows_no_good_token_is_told_why_and_let_in_nowhere() {
    let world = World::guarded();
    let now = UnixMs::now().seconds();
    let forged = {
        let stranger = TokenKey::random().unwrap();
        let good = world.token("eve", |_| {});
        let tail = stranger.sign(&roundtable_relay::token::ApiToken {
            sub: roundtable_relay::id::UserId::new("eve").unwrap(),
            sign_in: roundtable_relay::id::SignInId::new("s").unwrap(),
            iat: now,
            exp: now + 60,
        });
        format!("{}.{}", good.rsplit_once('.').unwrap().0, tail.rsplit_once('.').unwrap().1)
    };
    let cases = [
        (String::new(), SessionError::MalformedAuthToken, "this is no token"),
        ("nonsense".to_owned(), SessionError::MalformedAuthToken, "this is no token"),
        (forged, SessionError::Unauthorized, "not signed"),
        (
            world.token("eve", |token| (token.iat, token.exp) = (now - 60, now)),
            SessionError::ExpiredAuthToken,
            "time is over",
        ),
        (
            world.token("eve", |token| token.scope = "/another".to_owned()),
            SessionError::Unauthorized,
            "for another room",
        ),
        (
            world.token("eve", |token| token.scope = "/me/eve".to_owned()),
            SessionError::Unauthorized,
            "for another room",
        ),
    ];
    for via in BOTH {
        let ended = world.stranger(via, "/room").await.ended().await;
        assert_eq!(
            (ended.code, ended.reason.as_str()),
            (Some(SessionError::Unauthorized), "a token is needed to come in")
        );
        for (token, code, words) in &cases {
            let ended = world.stranger_with(via, "/room", token).await.ended().await;
            assert_eq!(ended.code, Some(*code), "{words}");
            assert!(ended.reason.contains(words), "{}", ended.reason);
        }
        let token = world.token("eve", |token| token.scope = "/me/bob".to_owned());
        let ended = world.stranger_with(via, "/me/bob", &token).await.ended().await;
        assert_eq!(ended.code, Some(SessionError::Unauthorized), "somebody else's inbox");
    }
}

#[tokio::test]
async fn a_token_is_shown_in_setup_or_by_foreign_tools_in_the_path() {
    let world = World::guarded();
    for via in BOTH {
        let mut ada = world.participant(via, "ada").await;
        ada.publish_namespace("ada").await;
        let token = world.token("bob", |_| {});
        let mut bob = world.peer_at(via, &format!("/room?token={token}")).await;
        bob.publish_namespace("bob").await;
        bob.subscribe_namespace("").await;
        let seen = bob.expect("NAMESPACE", |event| match event {
            Event::Namespace(_, namespace) => Some(namespace.clone()),
            _ => None,
        });
        assert_eq!(seen.await, namespace("ada"));
    }
}

/// Tries every verb on a track, and expects to be refused by each.
async fn is_refused_everything(peer: &mut Peer, track: roundtable_moqt::FullTrackName) {
    let subscribe =
        |track: &roundtable_moqt::FullTrackName| Subscribe { track: track.clone(), parameters: waiting(1) };
    let request = subscribe(&track);
    let id = peer.call(move |session| session.subscribe(request)).await;
    assert_eq!(peer.refused(id).await.code, RequestErrorCode::Unauthorized, "SUBSCRIBE {track:?}");
    let request = Subscribe { track: track.clone(), parameters: Parameters::default() };
    let id = peer.call(move |session| session.track_status(request)).await;
    assert_eq!(peer.refused(id).await.code, RequestErrorCode::Unauthorized, "TRACK_STATUS {track:?}");
    let range = FetchRange::Standalone { track: track.clone(), start: at(0, 0), end: at(u64::MAX >> 2, 0) };
    let id =
        peer.call(move |session| session.fetch(Fetch { range, parameters: Parameters::default() })).await;
    assert_eq!(peer.refused(id).await.code, RequestErrorCode::Unauthorized, "FETCH {track:?}");
}

async fn is_refused_to_look(peer: &mut Peer, prefix: &str) {
    let request = || NamespaceRequest { namespace: namespace(prefix), parameters: Parameters::default() };
    let (first, second) = (request(), request());
    let id = peer.call(move |session| session.subscribe_namespace(first)).await;
    assert_eq!(peer.refused(id).await.code, RequestErrorCode::Unauthorized);
    let id = peer.call(move |session| session.subscribe_tracks(second)).await;
    assert_eq!(peer.refused(id).await.code, RequestErrorCode::Unauthorized);
}

#[tokio::test]
async fn somebody_publishes_only_as_themselves_and_only_what_they_may() {
    let world = World::guarded();
    for via in BOTH {
        let token = world.token("ada", |token| token.publish = [Source::Camera].into_iter().collect());
        let mut ada = world.peer_with(via, "/room", &token).await;
        for prefix in ["", "bob", "relay", "ada/x"] {
            let request =
                NamespaceRequest { namespace: namespace(prefix), parameters: Parameters::default() };
            let id = ada.call(move |session| session.publish_namespace(request)).await;
            assert_eq!(ada.refused(id).await.code, RequestErrorCode::Unauthorized, "{prefix}");
        }
        let mut alias = 0;
        for (track, is_allowed) in [
            ("ada/catalog", true),
            ("ada/state", true),
            ("ada/camera", true),
            ("ada/camera-low", true),
            ("ada/audio", false),
            ("ada/screen", false),
            ("ada/screen-audio", false),
            ("ada/anything", false),
            ("bob/camera", false),
            ("relay/roster", false),
        ] {
            alias += 1;
            let request = publish(track, alias, false);
            let id = ada.call(move |session| session.publish(request)).await;
            if is_allowed {
                ada.accepted(id).await;
            } else {
                assert_eq!(ada.refused(id).await.code, RequestErrorCode::Unauthorized, "{track}");
            }
        }
    }
}

#[tokio::test]
async fn a_publisher_is_not_asked_for_what_it_may_not_send() {
    let world = World::guarded();
    let token = world.token("ada", |token| token.publish = Sources::NONE);
    let mut ada = world.peer_with(Via::WebTransport, "/room", &token).await;
    ada.publish_namespace("ada").await;
    let mut bob = world.participant(Via::WebTransport, "bob").await;
    let id = bob.subscribe("ada/camera", Parameters::default()).await;
    assert_eq!(bob.refused(id).await.code, RequestErrorCode::Unauthorized);
    let seen = ada.leftovers().await;
    assert!(!format!("{seen:?}").contains("Subscribe"), "{seen:?}");
    bob.subscribe("ada/state", Parameters::default()).await;
    assert_eq!(ada.asked().await.1.track, name("ada/state"));
}

#[tokio::test]
async fn who_may_not_subscribe_sees_and_hears_nobody() {
    let world = World::guarded();
    let mut ada = world.participant(Via::Quic, "ada").await;
    let mut cyd = world.participant(Via::Quic, "cyd").await;
    cyd.subscribe("ada/catalog", waiting(10_000)).await;
    cyd.settle().await;
    let (published, _) = ada.publish("ada/catalog", 1, true).await;
    ada.message(published, 1, "{}").await;
    cyd.object().await;
    ada.publish_namespace("ada").await;
    for via in BOTH {
        let token = world.token("bob", |token| token.subscribe = false);
        let mut bob = world.peer_with(via, "/room", &token).await;
        for track in [name("ada/catalog"), name("ada/camera"), own("roster"), own("chat"), own("lobby")] {
            is_refused_everything(&mut bob, track).await;
        }
        is_refused_to_look(&mut bob, "").await;
        is_refused_to_look(&mut bob, "ada").await;
        let mut seat = bob.watch("seat/bob").await;
        assert_eq!(bob.message_of(&mut seat).await["subscribe"], false);
    }
}

#[tokio::test]
async fn some_tracks_are_for_moderators_or_for_one_alone() {
    let world = World::guarded();
    let mut ada =
        world.peer_with(Via::Quic, "/room", &world.token("ada", |token| token.moderate = true)).await;
    let mut bob = world.participant(Via::WebTransport, "bob").await;
    for track in [own("lobby"), own("seat/ada"), own("feedback/ada"), own("anything"), name("ada/report")] {
        is_refused_everything(&mut bob, track).await;
    }
    for track in [own("seat/bob"), own("anything"), name("bob/report")] {
        is_refused_everything(&mut ada, track).await;
    }
    let mut lobby = ada.watch("lobby").await;
    assert_eq!(ada.message_of(&mut lobby).await["waiting"], serde_json::json!([]));

    bob.subscribe_tracks("", Parameters::default()).await;
    let mut offered = std::collections::BTreeSet::new();
    for _ in 0..3 {
        offered.insert(String::from_utf8(bob.offered().await.1.track.name().to_vec()).unwrap());
    }
    assert_eq!(offered, ["chat", "roster", "seat/bob"].map(str::to_owned).into());
    let rest = bob.leftovers().await;
    assert!(!format!("{rest:?}").contains("Publish("), "and nothing else: {rest:?}");
    // Being made a moderator shows the rest of what was asked for.
    grant(&world, "bob", Grant { role: Some(Role::CoHost), ..Grant::default() });
    assert_eq!(bob.offered().await.1.track, own("lobby"));
}

#[tokio::test]
async fn who_waits_gets_nothing_of_the_room_until_let_in() {
    let world = World::guarded();
    let mut ada =
        world.peer_with(Via::WebTransport, "/room", &world.token("ada", |token| token.moderate = true)).await;
    let mut cyd = world.participant(Via::Quic, "cyd").await;
    for track in ["ada/catalog", "ada/audio"] {
        cyd.subscribe(track, waiting(10_000)).await;
    }
    cyd.settle().await;
    let (catalog, _) = ada.publish("ada/catalog", 1, true).await;
    ada.message(catalog, 1, "{}").await;
    ada.publish("ada/audio", 2, true).await;
    ada.send(2, &Object::datagram(at(1, 0), "sound"));
    cyd.object().await;
    ada.publish_namespace("ada").await;
    cyd.datagram().await;
    let mut lobby = ada.watch("lobby").await;
    let mut roster = ada.watch("roster").await;

    let mut bob =
        world.peer_with(Via::WebTransport, "/room", &world.token("bob", |token| token.waiting = true)).await;
    for track in [
        name("ada/catalog"),
        name("ada/audio"),
        own("roster"),
        own("chat"),
        own("lobby"),
        own("feedback/bob"),
    ] {
        is_refused_everything(&mut bob, track).await;
    }
    is_refused_to_look(&mut bob, "").await;
    let request = publish("bob/catalog", 1, true);
    let id = bob.call(move |session| session.publish(request)).await;
    assert_eq!(bob.refused(id).await.code, RequestErrorCode::Unauthorized);
    let mut seat = bob.watch("seat/bob").await;
    assert_eq!(bob.message_of(&mut seat).await["state"], "waiting");
    ada.until(&mut lobby, "bob in the lobby", |lobby| lobby["waiting"][0]["name"] == "BOB").await;
    let people = |roster: &serde_json::Value| roster["participants"].as_array().unwrap().len();
    ada.until(&mut roster, "ada and cyd alone", |roster| {
        assert!(!roster.to_string().contains("BOB"), "{roster}");
        people(roster) == 2
    })
    .await;

    let meeting = meeting(&world);
    assert!(
        world
            .relay
            .meetings
            .change(UnixMs::now(), &meeting, |roster| roster.let_in(UnixMs::now(), &participant("bob")))
    );
    bob.until(&mut seat, "the door", |seat| seat["state"] == "seated").await;
    ada.until(&mut lobby, "an empty lobby", |lobby| lobby["waiting"] == serde_json::json!([])).await;
    ada.until(&mut roster, "bob in the roster", |roster| people(roster) == 3).await;
    let id = bob.subscribe("ada/catalog", Parameters::default()).await;
    bob.subscribed(id).await;
    let range = FetchRange::RelativeJoining { subscription: id, groups_back: 0 };
    let fetch = bob.fetch(range, Parameters::default()).await;
    assert!(matches!(&bob.fetched(fetch).await.1[..], [FetchItem::Object(_)]));
    bob.publish("bob/catalog", 2, true).await;
}

#[tokio::test]
async fn who_is_removed_is_gone_at_once_and_their_token_is_void() {
    let world = World::guarded();
    for via in BOTH {
        let token = world.token("bob", |_| {});
        let bob = world.peer_with(via, "/room", &token).await;
        let mut ada = world.participant(via, "ada").await;
        let mut roster = ada.watch("roster").await;
        ada.until(&mut roster, "both", |roster| roster["participants"].as_array().unwrap().len() == 2).await;
        let meeting = meeting(&world);
        assert!(world.relay.meetings.remove(
            UnixMs::now(),
            &meeting,
            &participant("bob"),
            Cut::Removed,
            false
        ));
        let ended = bob.ended().await;
        assert_eq!(
            (ended.code, ended.reason.as_str()),
            (Some(SessionError::Unauthorized), "removed from the room")
        );
        ada.until(&mut roster, "one", |roster| roster["participants"].as_array().unwrap().len() == 1).await;
        let again = world.stranger_with(via, "/room", &token).await.ended().await;
        assert_eq!(again.code, Some(SessionError::Unauthorized));
        assert!(again.reason.contains("removed"), "{}", again.reason);
        world.relay.meetings.lift_ban(
            &RoomId::new("room").unwrap(),
            &roundtable_relay::store::rooms::Banned::Participant(participant("bob")),
        );
    }
}

#[tokio::test]
async fn a_meeting_that_is_ended_is_over_for_everybody() {
    let world = World::guarded();
    let tokens = [world.token("ada", |token| token.moderate = true), world.token("bob", |_| {})];
    let mut ada = world.peer_with(Via::Quic, "/room", &tokens[0]).await;
    let mut bob = world.peer_with(Via::WebTransport, "/room", &tokens[1]).await;
    ada.settle().await;
    bob.settle().await;
    let meeting = meeting(&world);
    world.relay.meetings.end(UnixMs::now(), &meeting);
    for peer in [ada, bob] {
        let ended = peer.ended().await;
        assert_eq!((ended.code, ended.reason.as_str()), (Some(SessionError::NoError), "ended for everybody"));
    }
    for token in tokens {
        let again = world.stranger_with(Via::Quic, "/room", &token).await.ended().await;
        assert_eq!(again.code, Some(SessionError::Unauthorized));
        assert!(again.reason.contains("ended for everybody"), "{}", again.reason);
    }
}

#[tokio::test]
async fn a_token_that_is_not_renewed_ends_the_session_and_one_that_is_does_not() {
    let world = World::guarded();
    let now = UnixMs::now().seconds();
    let short = |who: &str| world.token(who, |token| token.exp = now + 2);
    let mut lasting = world.peer_with(Via::WebTransport, "/room", &short("ada")).await;
    let ending = world.peer_with(Via::Quic, "/room", &short("bob")).await;
    let watched = lasting.watch("roster").await;
    let renewed = Parameters {
        authorization_tokens: vec![use_value(&world.token("ada", |_| {}))],
        ..Parameters::default()
    };
    lasting.update(watched.request, renewed).await;
    let ended = ending.ended().await;
    assert_eq!(
        (ended.code, ended.reason.as_str()),
        (Some(SessionError::ExpiredAuthToken), "the token's time is over")
    );
    assert!(UnixMs::now().seconds() >= now + 2, "not before its time");
    lasting.settle().await;
    // A token for somebody else renews nothing.
    let id = lasting.subscribe_namespace("").await;
    let foreign = Parameters {
        authorization_tokens: vec![use_value(&world.token("eve", |_| {}))],
        ..Parameters::default()
    };
    let update = lasting.call(move |session| session.update(id, foreign)).await;
    assert_eq!(lasting.refused(update).await.code, RequestErrorCode::Unauthorized);
}

#[tokio::test]
async fn a_right_that_is_lost_ends_what_it_allowed() {
    let world = World::guarded();
    for via in BOTH {
        let mut ada = world.participant(via, "ada").await;
        let mut bob = world.participant(via, "bob").await;
        let (camera, _) = ada.publish("ada/camera", 1, true).await;
        let (state, _) = ada.publish("ada/state", 2, true).await;
        let seen = bob.subscribe("ada/camera", waiting(10_000)).await;
        ada.updated(camera).await;
        bob.subscribed(seen).await;
        let kept = bob.subscribe("ada/state", waiting(10_000)).await;
        ada.updated(state).await;
        bob.subscribed(kept).await;
        grant(
            &world,
            "ada",
            Grant { publish: Some([Source::Microphone].into_iter().collect()), ..Grant::default() },
        );
        let gone = ada.expect("the end of the camera", |event| match event {
            Event::Cancelled { request, .. } => Some(*request),
            _ => None,
        });
        assert_eq!(gone.await, camera);
        assert_eq!(bob.done(seen).await.code, PublishDoneCode::TrackEnded);
        let request = publish("ada/camera", 3, true);
        let id = ada.call(move |session| session.publish(request)).await;
        assert_eq!(ada.refused(id).await.code, RequestErrorCode::Unauthorized);
        ada.message(state, 1, "still here").await;
        assert_eq!(bob.object().await.payload, "still here");
        ada.vanish().await;
        bob.vanish().await;
        world.until("sessions_open", |open| open == 0).await;
        // The seats must not carry over.
        let meeting = meeting(&world);
        for who in ["ada", "bob"] {
            world.relay.meetings.change(UnixMs::now(), &meeting, |roster| {
                roster.remove(UnixMs::now(), &participant(who), Cut::Left)
            });
        }
    }
}

#[tokio::test]
async fn who_may_not_see_any_more_loses_subscriptions_and_running_fetches() {
    let world = World::guarded();
    let mut ada = world.participant(Via::WebTransport, "ada").await;
    ada.publish("ada/camera", 1, true).await;
    let mut bob = world.peer_with(Via::WebTransport, "/room", &world.token("bob", |_| {})).await;
    let seen = bob.subscribe("ada/camera", Parameters::default()).await;
    bob.subscribed(seen).await;
    let looked = bob.subscribe_namespace("").await;
    // A FETCH that waits for what nobody has: the publisher does not answer.
    ada.send(1, &Object::datagram(at(1, 0), "x"));
    ada.send(1, &Object::datagram(at(5, 0), "x"));
    bob.datagram().await;
    bob.datagram().await;
    let range = FetchRange::Standalone { track: name("ada/camera"), start: at(1, 0), end: at(5, 1) };
    let parameters = Parameters { fill_timeout_ms: Some(60_000), ..Parameters::default() };
    let fetch = bob.fetch(range, parameters).await;
    bob.expect("FETCH_OK", |event| match event {
        Event::FetchAccepted(id, _) if *id == fetch => Some(()),
        _ => None,
    })
    .await;
    // An application takes the right back with a newer token.
    let lesser = world.token("bob", |token| token.subscribe = false);
    let lesser = Parameters { authorization_tokens: vec![use_value(&lesser)], ..Parameters::default() };
    let update = bob.call(move |session| session.update(looked, lesser)).await;
    assert_eq!(bob.done(seen).await.code, PublishDoneCode::Unauthorized);
    let reset = bob.expect("the end of the FETCH", |event| match event {
        Event::FetchEnded { request, reset } if *request == fetch => Some(*reset),
        _ => None,
    });
    assert_eq!(reset.await, Some(StreamResetCode::Cancelled));
    bob.expect("the end of looking", |event| match event {
        Event::Cancelled { request, .. } if *request == looked => Some(()),
        Event::Refused(request, _) if *request == update => Some(()),
        _ => None,
    })
    .await;
    is_refused_everything(&mut bob, name("ada/camera")).await;
}

#[tokio::test]
async fn the_roster_follows_who_is_there_and_chat_has_one_order_for_all() {
    let world = World::guarded();
    let mut ada =
        world.peer_with(Via::WebTransport, "/room", &world.token("ada", |token| token.moderate = true)).await;
    let mut roster = ada.watch("roster").await;
    let first = ada.message_of(&mut roster).await;
    assert_eq!(first["participants"][0]["id"], "ada");
    assert_eq!(first["participants"][0]["role"], "host", "the room is nobody's, so it is theirs");
    assert_eq!(
        first["participants"][0]["publish"],
        serde_json::json!(["microphone", "camera", "screen", "screen-audio", "chat"])
    );
    let bob = world.participant(Via::Quic, "bob").await;
    ada.until(&mut roster, "bob", |roster| roster["participants"][1]["name"] == "BOB").await;
    bob.vanish().await;
    ada.until(&mut roster, "bob's absence", |roster| roster["participants"][1]["is_connected"] == false)
        .await;
    let mut bob = world.participant(Via::Quic, "bob").await;
    ada.until(&mut roster, "bob again", |roster| roster["participants"][1]["is_connected"] == true).await;

    let meeting = meeting(&world);
    for index in 0..20 {
        let who = participant(if index % 2 == 0 { "ada" } else { "bob" });
        assert!(meeting.say(UnixMs::now(), &who, format!("message {index}")).is_some());
    }
    assert!(meeting.say(UnixMs::now(), &participant("nobody"), "x".to_owned()).is_none());
    for peer in [&mut ada, &mut bob] {
        // Late, so everything comes from the past.
        let range = FetchRange::Standalone { track: own("chat"), start: at(0, 0), end: at(u64::MAX >> 2, 0) };
        let fetch = peer.fetch(range, Parameters::default()).await;
        let (_, items) = peer.fetched(fetch).await;
        let texts: Vec<String> = items
            .iter()
            .filter_map(|item| match item {
                FetchItem::Object(object) => {
                    let message: serde_json::Value = serde_json::from_slice(&object.payload).unwrap();
                    assert_eq!(message["number"].as_u64(), Some(object.location.group));
                    Some(message["text"].as_str().unwrap().to_owned())
                }
                _ => None,
            })
            .collect();
        assert_eq!(texts, (0..20).map(|index| format!("message {index}")).collect::<Vec<_>>());
    }
    let mut chat = ada.watch("chat").await;
    assert_eq!(ada.message_of(&mut chat).await["text"], "message 19");
    meeting.say(UnixMs::now(), &participant("bob"), "live".to_owned()).unwrap();
    let live = ada.message_of(&mut chat).await;
    assert_eq!((live["text"].as_str(), live["participant"].as_str()), (Some("live"), Some("bob")));
}

#[tokio::test]
async fn an_open_relay_keeps_guarded_rooms_for_those_with_tokens() {
    let world = World::new();
    let room = RoomId::new("guarded").unwrap();
    world.peer_at(Via::Quic, "/guarded").await;
    world.relay.meetings.set_guarded(&room, true);
    for via in BOTH {
        let ended = world.stranger(via, "/guarded").await.ended().await;
        assert_eq!(ended.code, Some(SessionError::Unauthorized));
    }
    let token = world.token("ada", |token| token.scope = "/guarded".to_owned());
    let ada = world.peer_with(Via::Quic, "/guarded", &token).await;
    // While somebody is there, what the room is set to counts.
    world.relay.meetings.set_guarded(&room, false);
    let meeting = world.relay.meetings.meeting(&room).unwrap();
    let locked = Settings { is_locked: true, ..Settings::default() };
    world.relay.meetings.change(UnixMs::now(), &meeting, |roster| roster.set(UnixMs::now(), locked));
    assert!(world.stranger(Via::Quic, "/guarded").await.ended().await.code.is_some());
    drop(ada);
}

#[tokio::test]
async fn one_seat_has_a_bounded_number_of_sessions_and_the_newest_stay() {
    let world = World::guarded();
    let token = world.token("ada", |_| {});
    let first = world.peer_with(Via::Quic, "/room", &token).await;
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(world.peer_with(Via::Quic, "/room", &token).await);
    }
    let ended = first.ended().await;
    assert!(ended.reason.contains("too many"), "{}", ended.reason);
    for peer in &mut others {
        peer.settle().await;
    }
    assert_eq!(meeting(&world).read(|roster| roster.seat(&participant("ada")).unwrap().sessions), 8);
}
