//! A film in a room: a real relay, somebody who watches, and the publication as the command line tool has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use roundtable_moqt::RequestErrorCode;
use roundtable_publisher::{
    Origin,
    input::InputError,
    journey::{Way, travel},
    progress::Report,
    publication::PublicationError,
};
use roundtable_tests::link::{Direction, Impairment, Link, Settings};
use tokio::sync::watch;

use world::{
    Making, Watcher, World, assert_whole, connect, connect_options, publication, publish, soon, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_film_arrives_frame_for_frame() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    let film = Making::default().write(&file);
    for scheme in ["https", "moqt"] {
        let world = World::new();
        let watcher = Watcher::enter(&world.url(scheme)).await;
        let film_in = publication("ann", Origin::File(file.clone()), false);
        let (publication, ended) = publish(&world.url(scheme), film_in).await;
        assert!(publication.is_over() && publication.failure().is_none(), "{ended:?}");
        let seen = watcher.stay().await;
        assert_whole(&film, &seen);
        assert_eq!((seen.joined, seen.left), (vec!["ann".to_owned()], vec!["ann".to_owned()]));
        let counters = publication.counters();
        assert_eq!(counters.iter().map(|(_, counters)| counters.frames).collect::<Vec<_>>(), [40, 80]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_frame_of_a_mebibyte_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    let film = Making { frames: 12, keys: 6, key_bytes: 1 << 20, frame_bytes: 2000 }.write(&file);
    let world = World::new();
    let watcher = Watcher::enter(&world.url("https")).await;
    publish(&world.url("https"), publication("ann", Origin::File(file), false)).await;
    assert_whole(&film, &watcher.stay().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_uplink_loses_is_asked_for_again_to_the_very_end() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    let film = Making::default().write(&file);
    for seed in 1..=3 {
        let world = World::new();
        let settings = Settings { up: Impairment::default().with_loss(0.1), down: Impairment::default() };
        let link = Link::start("127.0.0.1:0".parse().unwrap(), world.address, settings, seed).unwrap();
        let watcher = Watcher::enter(&world.url("https")).await;
        let url = format!("https://{}/room", link.address());
        let (publication, _) = publish(&url, publication("ann", Origin::File(file.clone()), false)).await;
        assert!(publication.is_over());
        assert!(link.counters(Direction::Up).lost > 10, "the link loses nothing");
        assert_whole(&film, &watcher.stay().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_gets_the_present_group_though_nobody_had_wanted_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    let film = Making { frames: 100, keys: 1000, ..Making::default() }.write(&file);
    let world = World::new();
    let url = world.url("https");
    let mut film_in = publication("ann", Origin::File(file), false);
    let played_ms = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&played_ms);
    film_in.tell_to(Box::new(move |_, report| {
        if let Report::Figures(figures) = report {
            told.store(figures.media.as_millis() as u64, Ordering::Relaxed);
        }
    }));
    let publishing = tokio::spawn({
        let url = url.clone();
        async move { publish(&url, film_in).await }
    });
    until("the film has begun", || played_ms.load(Ordering::Relaxed) > 1500).await;
    let watcher = Watcher::enter(&url).await;
    soon("the film", publishing).await.unwrap();
    let seen = watcher.stay().await;
    // All pictures depend on the first.
    assert_eq!(seen.frames["camera"].len(), film["camera"].len());
    assert!(seen.frames["audio"].len() < film["audio"].len());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ends_the_tracks_and_the_participant_leaves() {
    let world = World::new();
    let url = world.url("https");
    let watcher = Watcher::enter(&url).await;
    let publication = publication("ann", Origin::TestCard, true);
    let stop = publication.stop_handle();
    let publishing = tokio::spawn(async move { publish(&url, publication).await });
    until("some frames", || watcher.count("camera") > 10 && watcher.count("audio") > 10).await;
    stop.stop();
    let (publication, ended) = soon("the end", publishing).await.unwrap();
    assert!(publication.is_over() && publication.failure().is_none(), "{ended:?}");
    let seen = watcher.stay().await;
    assert_eq!(seen.left, ["ann"]);
    let mut ended = seen.ended;
    ended.sort();
    assert_eq!(ended.iter().map(|(track, _)| track.as_str()).collect::<Vec<_>>(), ["audio", "camera"]);
    assert_eq!(seen.gaps, 0);
    let counters = publication.counters();
    let camera = seen.frames["camera"].len() as u64;
    assert_eq!(counters[0].1.frames, camera, "the last frames were sent and taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_film_that_is_cut_short_is_shown_as_far_as_it_goes_and_called_that() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    let film = Making::default().write(&file);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let world = World::new();
    let watcher = Watcher::enter(&world.url("https")).await;
    let (publication, _) = publish(&world.url("https"), publication("ann", Origin::File(file), false)).await;
    assert!(matches!(
        publication.failure(),
        Some(PublicationError::Input(InputError::Container { frames, .. })) if *frames > 10
    ));
    assert!(publication.is_over());
    let seen = watcher.stay().await;
    let camera = &seen.frames["camera"];
    assert!(camera.len() > 10 && camera.len() < film["camera"].len());
    assert!(camera.iter().zip(&film["camera"]).all(|(got, frame)| got.1 == frame.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_relay_refuses_ends_it_with_the_reason() {
    let world = World::new();
    let (publication, _) = publish(&world.url("https"), publication("relay", Origin::TestCard, true)).await;
    let failure = publication.failure().unwrap();
    assert!(
        matches!(failure, PublicationError::Refused { code: RequestErrorCode::Unauthorized, .. }),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_goes_on_where_the_uplink_is_too_slow_for_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    // About 2.8 Mbit/s of picture and 32 kbit/s of sound over 600 kbit/s.
    let film = Making { frames: 150, keys: 25, key_bytes: 60_000, frame_bytes: 12_000 }.write(&file);
    let world = World::new();
    let up: Impairment = "delay=10ms,rate=600k/200ms".parse().unwrap();
    let settings = Settings { up, down: Impairment::delay(Duration::from_millis(10)) };
    let link = Link::start("127.0.0.1:0".parse().unwrap(), world.address, settings, 1).unwrap();
    let watcher = Watcher::enter(&world.url("https")).await;
    let url = format!("https://{}/room", link.address());
    let (publication, _) = publish(&url, publication("ann", Origin::File(file), false)).await;
    let counters = publication.counters();
    assert!(counters[0].1.frames_dropped > 0, "{counters:?}");
    assert_eq!(counters[1].1.frames_dropped, 0, "{counters:?}");
    let seen = watcher.stay().await;
    // What the link's full queue drops is not all worth asking for again.
    let audio = seen.frames["audio"].len();
    assert!(audio * 100 >= film["audio"].len() * 80, "{audio} frames of sound");
    assert!(seen.frames["camera"].len() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_goes_away_is_followed_without_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    let film = Making { frames: 75, ..Making::default() }.write(&file);
    let (here, there) = (World::new(), World::new());
    let (watcher_here, watcher_there) =
        (Watcher::enter(&here.url("https")).await, Watcher::enter(&there.url("https")).await);
    let first = connect(&here.url("https")).await;
    let film_in = Box::new(publication("ann", Origin::File(file), false));
    let way = Way { connect: connect_options(&here.url("https")), patience: Duration::from_secs(20) };
    let (_stop, stopped) = watch::channel(false);
    let travelling = tokio::spawn(async move { travel(film_in, first, &way, stopped).await });
    until("some frames", || watcher_here.count("camera") > 20).await;
    here.relay.go_away(&there.url("https"), Duration::from_secs(5));
    let arrival = soon("the end of the film", travelling).await.unwrap().unwrap();
    assert!(arrival.publication.is_over() && arrival.publication.failure().is_none());
    let (seen_here, seen_there) = (watcher_here.stay().await, watcher_there.stay().await);
    for (track, frames) in film {
        let number = |data: &bytes::Bytes| frames.iter().position(|(_, frame)| frame == data).unwrap();
        let here: Vec<usize> = seen_here.frames[track].iter().map(|(_, data)| number(data)).collect();
        let there: Vec<usize> = seen_there.frames[track].iter().map(|(_, data)| number(data)).collect();
        assert_eq!(here, (0..here.len()).collect::<Vec<_>>(), "{track}");
        let first = there[0];
        assert_eq!(there, (first..frames.len()).collect::<Vec<_>>(), "{track}");
        assert!(first <= here.len(), "{track}: nothing between {} and {first} was seen", here.len());
    }
}
