//! Lost packets are fine: what is recorded is whole all the same.

use std::time::Duration;

use super::*;
use roundtable_tests::{
    harness::{Clip, subscriber},
    link::{Direction, Impairment, Settings},
};

/// 20 ms round trip, every twentieth datagram lost each way.
fn lossy() -> Settings {
    Settings::both(Impairment::delay(Duration::from_millis(10)).with_loss(0.05))
}

#[derive(Clone, Copy, PartialEq)]
enum Leg {
    Publisher,
    Subscriber,
}

/// Records a film whose way in or out is lossy.
#[track_caller]
fn is_recorded_whole(leg: Leg, raw: bool) {
    let relay = Relay::start();
    let link = relay.link(lossy(), 7);
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(3.0).make(folder.path(), "film.webm");
    let url = |is_lossy: bool| {
        let address = if is_lossy { link.address() } else { relay.quic() };
        format!("{}://{address}/cinema", if raw { "moqt" } else { "https" })
    };
    let recording = folder.path().join("recording");
    let recorder = relay.record(&url(leg == Leg::Subscriber), &recording, &["--until-empty"]);
    publish(&url(leg == Leg::Publisher), "ann", &film, &[]).wait().expect_success();
    recorder.wait().expect_success();
    let towards = if leg == Leg::Publisher { Direction::Up } else { Direction::Down };
    let counters = link.counters(towards);
    assert!(counters.lost > 10, "the link had nothing to lose: {counters:?}");
    assert_eq!(counters.overrun, 0);
    assert_recorded(&film, &recording, "ann");
}

#[test]
fn loss_on_the_publishers_way_is_repaired_through_webtransport() {
    is_recorded_whole(Leg::Publisher, false);
}

#[test]
fn loss_on_the_publishers_way_is_repaired_through_raw_quic() {
    is_recorded_whole(Leg::Publisher, true);
}

#[test]
fn loss_on_the_subscribers_way_is_repaired_through_webtransport() {
    is_recorded_whole(Leg::Subscriber, false);
}

#[test]
fn loss_on_the_subscribers_way_is_repaired_through_raw_quic() {
    is_recorded_whole(Leg::Subscriber, true);
}

#[test]
fn bursts_reordering_and_duplicates_leave_no_trace() {
    let relay = Relay::start();
    let bad = "delay=10ms,jitter=5ms,burst=3%x4,reorder=5%/8ms,duplicate=3%".parse().unwrap();
    let (up, down) = (relay.link(Settings::both(bad), 1), relay.link(Settings::both(bad), 2));
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&H264, &OPUS).seconds(3.0).make(folder.path(), "film.mkv");
    let recording = folder.path().join("recording");
    let url = |address| format!("https://{address}/cinema");
    let recorder = relay.record(&url(down.address()), &recording, &["--until-empty"]);
    publish(&url(up.address()), "ann", &film, &[]).wait().expect_success();
    recorder.wait().expect_success();
    assert!(up.counters(Direction::Up).duplicated > 0 && down.counters(Direction::Down).held_back > 0);
    assert_recorded(&film, &recording, "ann");
}

#[test]
fn clients_whose_address_changes_stay_in_the_room() {
    let relay = Relay::start();
    let link = relay.link(Settings::default(), 1);
    let folder = tempfile::tempdir().unwrap();
    let film = Clip::new(&VP8, &OPUS).seconds(4.0).make(folder.path(), "film.webm");
    let recording = folder.path().join("recording");
    let url = format!("https://{}/cinema", link.address());
    let recorder = relay.record(&url, &recording, &["--until-empty"]);
    let film_plays = publish(&url, "ann", &film, &[]);
    recorder.wait_json("figures", |line| line["track"] == "camera" && line["frames"].as_u64() > Some(20));
    link.rebind();
    film_plays.wait().expect_success();
    recorder.wait().expect_success();
    assert_eq!(relay.joined(), 2, "nobody had to come again");
    assert_recorded(&film, &recording, "ann");
}

#[test]
fn a_room_can_be_entered_though_every_fifth_packet_is_lost() {
    let relay = Relay::start();
    let bad = Settings::both(Impairment::delay(Duration::from_millis(25)).with_loss(0.2));
    let attempts = (0..16).map(|seed| {
        let link = relay.link(bad, seed);
        let scheme = if seed % 2 == 0 { "https" } else { "moqt" };
        let mut command = subscriber(&format!("{scheme}://{}/room", link.address()));
        (seed, Process::start("subscriber", command.args(["--duration", "100ms"])), link)
    });
    let attempts: Vec<_> = attempts.collect();
    let ended = attempts.into_iter().map(|(seed, process, _link)| (seed, process.wait()));
    let failed: Vec<_> = ended.filter(|(_, finished)| !finished.status.success()).collect();
    let said: Vec<_> = failed.iter().map(|(seed, finished)| format!("{seed}: {}", finished.said())).collect();
    assert!(said.is_empty(), "{said:#?}");
}
