//! What a room wants done after what happened in it: values in, actions out.

use std::time::{Duration, Instant};

use bytes::Bytes;
use roundtable_moqt::{
    FullTrackName, Namespace, PublishDoneCode, RequestErrorCode,
    message::{RequestError, RequestId},
};

use super::*;

const ANN: SessionId = SessionId(1);
const BOB: SessionId = SessionId(2);
const EVE: SessionId = SessionId(3);

/// A room whose tracks are numbered as they begin.
struct World {
    room: Room<u32>,
    now: Instant,
}

fn namespace(text: &str) -> Namespace {
    let fields = text.split('/').filter(|field| !field.is_empty());
    Namespace::new(fields.map(|field| Bytes::copy_from_slice(field.as_bytes()))).unwrap()
}

/// `ann/camera`: the last part is the track's own name.
fn track(text: &str) -> FullTrackName {
    let (prefix, name) = text.rsplit_once('/').unwrap();
    FullTrackName::new(namespace(prefix), name.as_bytes().to_vec()).unwrap()
}

fn limits() -> RoomLimits {
    RoomLimits {
        tracks_max: 4,
        namespaces_max: 3,
        offers_per_session_max: 2,
        rendezvous_max: Duration::from_secs(60),
        upstream_wait_max: Duration::from_secs(5),
        forward_wait_max: Duration::from_secs(1),
        ended_track_age_max: Duration::from_secs(30),
    }
}

impl World {
    fn new() -> Self {
        let mut made = 0;
        let mut room = Room::new(limits(), move |_| {
            made += 1;
            made
        });
        for session in [ANN, BOB, EVE] {
            room.join(session);
        }
        World { room, now: Instant::now() }
    }

    fn actions(&mut self) -> Vec<(SessionId, Command<u32>)> {
        std::iter::from_fn(|| self.room.poll_action())
            .map(|action| (action.session, action.command))
            .collect()
    }

    fn wait(&mut self, ms: u64) -> Vec<(SessionId, Command<u32>)> {
        self.now += Duration::from_millis(ms);
        self.room.handle_timeout(self.now);
        self.actions()
    }

    fn publish(&mut self, session: SessionId, name: &str) -> PublishAccept<u32> {
        let offer = PublishOffer { name: track(name), dynamic_groups: true };
        self.room.publish(self.now, session, offer).unwrap()
    }

    fn offer(name: &str) -> SubscribeOffer {
        SubscribeOffer {
            name: track(name),
            forward: true,
            rendezvous: Duration::ZERO,
            new_group: None,
            largest_group: None,
        }
    }

    fn subscribe(&mut self, session: SessionId, name: &str) -> Result<LinkId, RequestErrorCode> {
        self.room.subscribe(self.now, session, Self::offer(name)).map_err(|error| error.code)
    }

    fn subscribe_waiting(&mut self, session: SessionId, name: &str, ms: u64) -> LinkId {
        let offer = SubscribeOffer { rendezvous: Duration::from_millis(ms), ..Self::offer(name) };
        self.room.subscribe(self.now, session, offer).unwrap()
    }

    fn publish_namespace(&mut self, session: SessionId, request: u64, name: &str) {
        self.room.publish_namespace(session, RequestId(request), namespace(name)).unwrap();
    }
}

fn forward(link: LinkId, forward: bool) -> Command<u32> {
    Command::UpdateUpstream { link, forward: Some(forward), new_group: None }
}

fn refused(actions: &[(SessionId, Command<u32>)]) -> Vec<(SessionId, RequestErrorCode)> {
    let refusals = actions.iter().filter_map(|(session, command)| match command {
        Command::RefuseSubscribe { error, .. } => Some((*session, error.code)),
        _ => None,
    });
    refusals.collect()
}

#[test]
fn a_published_track_is_not_sent_until_somebody_wants_it_and_not_after() {
    let mut world = World::new();
    let published = world.publish(ANN, "ann/camera");
    assert!(!published.forward);
    assert_eq!(world.actions(), []);

    let bobs = world.subscribe(BOB, "ann/camera").unwrap();
    assert_eq!(world.actions(), [(ANN, forward(published.link, true))]);
    world.room.upstream_updated(world.now, published.link);
    assert_eq!(world.actions(), [(BOB, Command::AcceptSubscribe { link: bobs, track: 1 })]);

    let eves = world.subscribe(EVE, "ann/camera").unwrap();
    assert_eq!(world.actions(), [(EVE, Command::AcceptSubscribe { link: eves, track: 1 })]);
    world.room.unsubscribe(world.now, bobs);
    assert_eq!(world.actions(), []);
    world.room.unsubscribe(world.now, eves);
    assert_eq!(world.actions(), [(ANN, forward(published.link, false))]);
}

#[test]
fn a_publisher_that_does_not_say_where_it_stands_holds_nobody_up_for_long() {
    let mut world = World::new();
    world.publish(ANN, "ann/camera");
    let link = world.subscribe(BOB, "ann/camera").unwrap();
    assert_eq!(world.actions().len(), 1);
    assert_eq!(world.wait(999), []);
    assert_eq!(world.wait(1), [(BOB, Command::AcceptSubscribe { link, track: 1 })]);
}

#[test]
fn a_subscriber_that_wants_nothing_yet_is_answered_at_once_and_wakes_nobody() {
    let mut world = World::new();
    let published = world.publish(ANN, "ann/camera");
    let offer = SubscribeOffer { forward: false, ..World::offer("ann/camera") };
    let link = world.room.subscribe(world.now, BOB, offer).unwrap();
    assert_eq!(world.actions(), [(BOB, Command::AcceptSubscribe { link, track: 1 })]);
    let update = UpdateOffer { forward: Some(true), ..UpdateOffer::default() };
    world.room.update_subscription(world.now, link, update);
    assert_eq!(world.actions(), [(ANN, forward(published.link, true))]);
}

#[test]
fn a_track_that_nobody_publishes_does_not_exist() {
    let mut world = World::new();
    assert_eq!(world.subscribe(BOB, "ann/camera"), Err(RequestErrorCode::DoesNotExist));
    assert_eq!((world.actions(), world.room.tracks_len()), (vec![], 0));
}

#[test]
fn a_subscriber_that_came_first_is_answered_when_the_publisher_comes() {
    let mut world = World::new();
    let link = world.subscribe_waiting(BOB, "ann/camera", 10_000);
    assert_eq!(world.wait(9_000), []);
    assert!(world.publish(ANN, "ann/camera").forward);
    assert_eq!(world.actions(), [(BOB, Command::AcceptSubscribe { link, track: 1 })]);
    assert_eq!(world.wait(60_000), []);
}

#[test]
fn a_subscriber_that_came_first_gets_a_timeout_when_nobody_comes() {
    let mut world = World::new();
    world.subscribe_waiting(BOB, "ann/camera", 10_000);
    assert_eq!(world.wait(9_999), []);
    let actions = world.wait(1);
    assert_eq!(refused(&actions), [(BOB, RequestErrorCode::Timeout)]);
    assert_eq!(world.room.subscriber_link(BOB, &track("ann/camera")), None);
}

#[test]
fn nobody_waits_longer_than_the_relay_allows() {
    let mut world = World::new();
    world.subscribe_waiting(BOB, "ann/camera", u64::MAX / 2);
    let actions = world.wait(60_000);
    assert_eq!(refused(&actions), [(BOB, RequestErrorCode::Timeout)]);
}

#[test]
fn a_publisher_of_the_namespace_or_a_prefix_of_it_is_asked_and_its_answer_passed_on() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "foo");
    let link = world.subscribe(BOB, "foo/bar/x").unwrap();
    let actions = world.actions();
    let [(ANN, Command::SubscribeUpstream { link: upstream, name, track: 1, new_group: None })] =
        &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(*name, track("foo/bar/x"));
    // A second subscriber shares the subscription.
    let eves = world.subscribe(EVE, "foo/bar/x").unwrap();
    assert_eq!(world.actions(), []);
    world.room.upstream_accepted(world.now, *upstream, false);
    assert_eq!(
        world.actions(),
        [
            (BOB, Command::AcceptSubscribe { link, track: 1 }),
            (EVE, Command::AcceptSubscribe { link: eves, track: 1 })
        ]
    );
    world.room.unsubscribe(world.now, link);
    world.room.unsubscribe(world.now, eves);
    assert_eq!(world.actions(), [(ANN, Command::CancelUpstream { link: *upstream })]);
}

#[test]
fn fields_match_whole() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "foobar");
    assert_eq!(world.subscribe(BOB, "foo/x"), Err(RequestErrorCode::DoesNotExist));
    assert_eq!(world.subscribe(BOB, "foo/bar/x"), Err(RequestErrorCode::DoesNotExist));
}

#[test]
fn the_publishers_refusal_is_the_subscribers() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    world.publish_namespace(EVE, 0, "ann");
    world.subscribe(BOB, "ann/x").unwrap();
    let links: Vec<LinkId> = world
        .actions()
        .into_iter()
        .map(|(_, command)| match command {
            Command::SubscribeUpstream { link, .. } => link,
            other => panic!("{other:?}"),
        })
        .collect();
    let error = RequestError::new(RequestErrorCode::Unauthorized, "no");
    world.room.upstream_refused(world.now, links[0], &error);
    assert_eq!(world.actions(), [], "the other publisher has not answered");
    world.room.upstream_refused(world.now, links[1], &error);
    let actions = world.actions();
    assert_eq!(refused(&actions), [(BOB, RequestErrorCode::Unauthorized)]);
}

#[test]
fn a_publisher_that_never_answers_is_a_timeout() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    world.subscribe(BOB, "ann/x").unwrap();
    world.actions();
    assert_eq!(world.wait(4_999), []);
    let actions = world.wait(1);
    assert_eq!(refused(&actions), [(BOB, RequestErrorCode::Timeout)]);
    assert!(matches!(actions[..], [_, (ANN, Command::CancelUpstream { .. })]), "{actions:?}");
}

#[test]
fn whoever_publishes_the_namespace_later_is_asked_for_what_is_wanted() {
    let mut world = World::new();
    let link = world.subscribe_waiting(BOB, "ann/x", 10_000);
    world.publish_namespace(ANN, 0, "ann");
    let actions = world.actions();
    let [(ANN, Command::SubscribeUpstream { link: upstream, .. })] = actions[..] else {
        panic!("{actions:?}")
    };
    world.room.upstream_accepted(world.now, upstream, false);
    assert_eq!(world.actions(), [(BOB, Command::AcceptSubscribe { link, track: 1 })]);
    world.publish_namespace(EVE, 0, "ann");
    assert!(matches!(world.actions()[..], [(EVE, Command::SubscribeUpstream { .. })]));
}

#[test]
fn a_track_goes_on_until_its_last_publisher_is_gone() {
    let mut world = World::new();
    let link = world.subscribe_waiting(BOB, "ann/camera", 1_000);
    let first = world.publish(ANN, "ann/camera");
    let second = world.publish(EVE, "ann/camera");
    assert_eq!((first.track, second.track), (1, 1));
    world.actions();
    world.room.remove_upstream(world.now, first.link, PublishDoneCode::TrackEnded);
    assert_eq!(world.actions(), []);
    world.room.leave(world.now, EVE);
    assert_eq!(
        world.actions(),
        [(BOB, Command::EndSubscription { link, code: PublishDoneCode::TrackEnded })]
    );
}

#[test]
fn a_track_published_anew_after_its_end_is_another_one() {
    let mut world = World::new();
    let first = world.publish(ANN, "ann/camera");
    world.room.remove_upstream(world.now, first.link, PublishDoneCode::TrackEnded);
    assert_eq!(world.room.track(&track("ann/camera")), Some(1), "kept for late FETCHes");
    assert_eq!(world.publish(ANN, "ann/camera").track, 2);
    assert_eq!(world.wait(60_000), []);
    assert_eq!(world.room.track(&track("ann/camera")), Some(2));
}

#[test]
fn an_ended_track_is_forgotten_after_a_while() {
    let mut world = World::new();
    let first = world.publish(ANN, "ann/camera");
    world.room.remove_upstream(world.now, first.link, PublishDoneCode::TrackEnded);
    world.wait(29_999);
    assert_eq!(world.room.tracks_len(), 1);
    world.wait(1);
    assert_eq!((world.room.tracks_len(), world.room.poll_timeout()), (0, None));
}

#[test]
fn one_subscription_per_track_and_role() {
    let mut world = World::new();
    world.publish(ANN, "ann/camera");
    let again = PublishOffer { name: track("ann/camera"), dynamic_groups: false };
    let error = world.room.publish(world.now, ANN, again).unwrap_err();
    assert_eq!(error.code, RequestErrorCode::DuplicateSubscription);
    world.subscribe(BOB, "ann/camera").unwrap();
    assert_eq!(world.subscribe(BOB, "ann/camera"), Err(RequestErrorCode::DuplicateSubscription));
    world.subscribe(ANN, "ann/camera").unwrap();
}

#[test]
fn our_subscribe_gives_way_to_the_publishers_publish() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    let link = world.subscribe(BOB, "ann/x").unwrap();
    let actions = world.actions();
    let [(ANN, Command::SubscribeUpstream { link: ours, .. })] = actions[..] else { panic!("{actions:?}") };
    assert!(world.publish(ANN, "ann/x").forward);
    assert_eq!(
        world.actions(),
        [(ANN, Command::CancelUpstream { link: ours }), (BOB, Command::AcceptSubscribe { link, track: 1 })]
    );
}

#[test]
fn namespaces_are_told_once_from_their_first_publisher_to_their_last() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    world.room.subscribe_namespace(BOB, RequestId(0), namespace("")).unwrap();
    let told = |request: u64, name: &str| Command::Namespace {
        request: RequestId(request),
        namespace: namespace(name),
    };
    let done = |request: u64, name: &str| Command::NamespaceDone {
        request: RequestId(request),
        namespace: namespace(name),
    };
    assert_eq!(world.actions(), [(BOB, told(0, "ann"))]);
    world.publish_namespace(EVE, 0, "ann");
    assert_eq!(world.actions(), []);
    world.publish_namespace(BOB, 2, "bob/x");
    assert_eq!(world.actions(), [(BOB, told(0, "bob/x"))], "one's own are echoed");
    world.room.unpublish_namespace(ANN, RequestId(0));
    assert_eq!(world.actions(), []);
    world.room.leave(world.now, EVE);
    assert_eq!(world.actions(), [(BOB, done(0, "ann"))]);
    world.room.unsubscribe_interest(BOB, RequestId(0));
    world.publish_namespace(ANN, 2, "ann");
    assert_eq!(world.actions(), []);
}

#[test]
fn prefixes_of_one_kind_must_not_overlap() {
    let mut world = World::new();
    world.room.subscribe_namespace(BOB, RequestId(0), namespace("a/b")).unwrap();
    for prefix in ["", "a", "a/b", "a/b/c"] {
        let error = world.room.subscribe_namespace(BOB, RequestId(2), namespace(prefix)).unwrap_err();
        assert_eq!(error.code, RequestErrorCode::PrefixOverlap, "{prefix}");
    }
    world.room.subscribe_namespace(BOB, RequestId(2), namespace("a/c")).unwrap();
    world.room.subscribe_tracks(world.now, BOB, RequestId(4), namespace("a/b"), true).unwrap();
    world.room.subscribe_namespace(EVE, RequestId(0), namespace("")).unwrap();
    let moved = world.room.update_interest(world.now, BOB, RequestId(2), Some(namespace("a")), None);
    assert_eq!(moved.unwrap_err().code, RequestErrorCode::PrefixOverlap);
}

#[test]
fn a_moved_prefix_is_told_what_it_has_not_been_told() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "a/b");
    world.publish_namespace(ANN, 2, "a/c");
    world.room.subscribe_namespace(BOB, RequestId(0), namespace("a/b")).unwrap();
    assert_eq!(world.actions().len(), 1);
    world.room.update_interest(world.now, BOB, RequestId(0), Some(namespace("a")), None).unwrap();
    let expected = Command::Namespace { request: RequestId(0), namespace: namespace("a/c") };
    assert_eq!(world.actions(), [(BOB, expected)]);
}

#[test]
fn all_tracks_of_a_prefix_are_offered_but_not_ones_own() {
    let mut world = World::new();
    let anns = world.publish(ANN, "ann/camera");
    world.publish(BOB, "bob/camera");
    world.room.subscribe_tracks(world.now, BOB, RequestId(0), namespace(""), true).unwrap();
    assert_eq!(world.actions(), [(ANN, forward(anns.link, true))]);
    world.room.upstream_updated(world.now, anns.link);
    let actions = world.actions();
    let [(BOB, Command::Offer { name, forward: true, track: 1, .. })] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(*name, track("ann/camera"));
    // A later one is offered with its publisher's answer.
    assert!(world.publish(EVE, "eve/audio").forward);
    assert!(matches!(world.actions()[..], [(BOB, Command::Offer { .. })]));
}

#[test]
fn offers_without_forward_wake_nobody() {
    let mut world = World::new();
    world.room.subscribe_tracks(world.now, BOB, RequestId(0), namespace(""), false).unwrap();
    assert!(!world.publish(ANN, "ann/camera").forward);
    assert!(matches!(world.actions()[..], [(BOB, Command::Offer { forward: false, .. })]));
}

#[test]
fn a_held_subscribe_is_answered_and_the_track_not_offered_as_well() {
    let mut world = World::new();
    world.room.subscribe_tracks(world.now, BOB, RequestId(0), namespace(""), true).unwrap();
    let link = world.subscribe_waiting(BOB, "ann/camera", 1_000);
    world.publish(ANN, "ann/camera");
    assert_eq!(world.actions(), [(BOB, Command::AcceptSubscribe { link, track: 1 })]);
}

#[test]
fn more_tracks_than_a_session_is_offered_are_blocked_once() {
    let mut world = World::new();
    world.room.subscribe_tracks(world.now, BOB, RequestId(0), namespace(""), true).unwrap();
    world.publish(ANN, "ann/1");
    world.publish(ANN, "ann/2");
    world.actions();
    world.publish(ANN, "ann/3");
    let blocked = Command::PublishBlocked { request: RequestId(0), name: track("ann/3") };
    assert_eq!(world.actions(), [(BOB, blocked)]);
    world.publish(EVE, "ann/3");
    assert_eq!(world.actions(), []);
    let error = world.room.subscribe_tracks(world.now, EVE, RequestId(0), namespace(""), true).unwrap_err();
    assert_eq!(error.code, RequestErrorCode::NamespaceTooLarge);
}

#[test]
fn new_group_requests_are_merged_and_stale_ones_dropped() {
    let mut world = World::new();
    let published = world.publish(ANN, "ann/camera");
    let link = world.subscribe(BOB, "ann/camera").unwrap();
    world.room.upstream_updated(world.now, published.link);
    world.actions();
    let ask = |world: &mut World, value: u64, largest: u64| {
        let update = UpdateOffer { forward: None, new_group: Some(value), largest_group: Some(largest) };
        world.room.update_subscription(world.now, link, update);
        world.actions().len()
    };
    assert_eq!(ask(&mut world, 5, 5), 0, "that group has begun");
    assert_eq!(ask(&mut world, 6, 5), 1);
    assert_eq!(ask(&mut world, 6, 5), 0, "it is under way");
    assert_eq!(ask(&mut world, 0, 5), 0, "so is any new group");
    assert_eq!(ask(&mut world, 7, 6), 1, "the one before has come");
}

#[test]
fn a_new_group_request_travels_with_our_first_subscribe() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    let offer = SubscribeOffer { new_group: Some(0), ..World::offer("ann/x") };
    world.room.subscribe(world.now, BOB, offer).unwrap();
    assert!(matches!(world.actions()[..], [(ANN, Command::SubscribeUpstream { new_group: Some(0), .. })]));
}

#[test]
fn a_malformed_track_ends_for_everybody() {
    let mut world = World::new();
    let link = world.subscribe_waiting(BOB, "ann/camera", 1_000);
    let anns = world.publish(ANN, "ann/camera");
    world.actions();
    world.room.malformed(world.now, &track("ann/camera"));
    assert_eq!(
        world.actions(),
        [
            (ANN, Command::CancelUpstream { link: anns.link }),
            (BOB, Command::EndSubscription { link, code: PublishDoneCode::MalformedTrack })
        ]
    );
    assert!(!world.room.is_live(&track("ann/camera")));
}

#[test]
fn a_leaving_publisher_is_asked_for_nothing_new() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    world.room.leaving(ANN);
    assert_eq!(world.subscribe(BOB, "ann/x"), Err(RequestErrorCode::DoesNotExist));
}

#[test]
fn limits_are_kept() {
    let mut world = World::new();
    for index in 0..3 {
        world.publish_namespace(ANN, 2 * index, &format!("n{index}"));
    }
    let error = world.room.publish_namespace(ANN, RequestId(8), namespace("n3")).unwrap_err();
    assert_eq!(error.code, RequestErrorCode::ExcessiveLoad);
    for index in 0..4 {
        world.publish(BOB, &format!("b/{index}"));
    }
    let fifth = PublishOffer { name: track("b/4"), dynamic_groups: false };
    let error = world.room.publish(world.now, BOB, fifth.clone()).unwrap_err();
    assert_eq!(error.code, RequestErrorCode::ExcessiveLoad);
    // An ended track gives way.
    let link = world.room.subscriber_link(BOB, &track("b/0"));
    assert_eq!(link, None);
    world.room.leave(world.now, BOB);
    world.room.join(BOB);
    world.room.publish(world.now, BOB, fifth).unwrap();
    assert_eq!(world.room.tracks_len(), 4);
}

#[test]
fn whoever_leaves_leaves_nothing_behind() {
    let mut world = World::new();
    world.publish_namespace(ANN, 0, "ann");
    world.publish(ANN, "ann/camera");
    world.room.subscribe_namespace(ANN, RequestId(2), namespace("")).unwrap();
    world.room.subscribe_tracks(world.now, ANN, RequestId(4), namespace("bob"), true).unwrap();
    world.subscribe_waiting(ANN, "eve/x", 1_000);
    world.subscribe(BOB, "ann/camera").unwrap();
    world.room.leave(world.now, ANN);
    world.room.leave(world.now, BOB);
    world.room.leave(world.now, EVE);
    world.wait(120_000);
    assert!(world.room.is_empty());
    assert!(world.room.track_by_link.is_empty() && world.room.interested_by_prefix.is_empty());
    assert_eq!(world.room.poll_timeout(), None);
}
