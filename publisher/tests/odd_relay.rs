//! What relays may do besides what ours does: taking tracks and giving them back, moving single requests, asking by
//! SUBSCRIBE, wanting only a part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod world;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    task::{Context, Poll},
    time::Instant,
};

use roundtable_moqt::{
    Config, Event, FullTrackName, Location, Namespace, ObjectDatagram, Parameters, Role, Session,
    StreamResetCode,
    message::{Filter, RequestId, RequestOk, Subscribe},
};
use roundtable_publisher::{Origin, publication::PublicationError};
use roundtable_transport::{App, Endpoint, EndpointConfig, Io, drive};
use tokio::sync::mpsc;

use world::{Making, certificates, publication, publish, soon};

type Command = Box<dyn FnOnce(&mut Io<'_>) + Send>;

/// A relay that takes every PUBLISH, and does besides what a test says.
struct OddRelay {
    answer: Parameters,
    commands: mpsc::UnboundedReceiver<Command>,
    seen: mpsc::UnboundedSender<Seen>,
}

#[derive(Debug)]
enum Seen {
    Published(RequestId, FullTrackName),
    Namespace,
    Datagram(RequestId, Location),
    Event(Box<Event>),
}

impl App for OddRelay {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        let seen = match event {
            Event::Publish(request, publish) => {
                let parameters = self.answer.clone();
                io.session.accept(request, RequestOk { parameters, ..RequestOk::default() }).unwrap();
                Seen::Published(request, publish.track)
            }
            Event::PublishNamespace(request, _) => {
                io.session.accept(request, RequestOk::default()).unwrap();
                Seen::Namespace
            }
            Event::Datagram(request, datagram) => Seen::Datagram(request, datagram.location()),
            event => Seen::Event(Box::new(event)),
        };
        let _ = self.seen.send(seen);
    }

    fn handle_datagram(&mut self, _io: &mut Io<'_>, request: RequestId, datagram: ObjectDatagram) {
        let _ = self.seen.send(Seen::Datagram(request, datagram.location()));
    }

    fn datagrams_drained(&mut self, _io: &mut Io<'_>) {}

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            command(io);
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _io: &mut Io<'_>) {}
}

/// A test's view of it.
struct Handle {
    address: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    seen: mpsc::UnboundedReceiver<Seen>,
    datagrams_may_come: bool,
}

impl Handle {
    /// Serves one session by raw QUIC, answering PUBLISH with these parameters.
    fn start(answer: Parameters) -> Self {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let endpoint = Endpoint::bind(EndpointConfig::new(listen, certificates())).unwrap();
        let address = endpoint.local_addresses()[0];
        let (commands, commands_out) = mpsc::unbounded_channel();
        let (seen_in, seen) = mpsc::unbounded_channel();
        let datagrams_may_come = answer.forward == Some(true);
        tokio::spawn(async move {
            let connection = endpoint.accept().await.unwrap().accept().await.unwrap();
            let config = Config::new(Role::Server, connection.carrier());
            let session = Session::new(config, Instant::now());
            let mut relay = OddRelay { answer, commands: commands_out, seen: seen_in };
            drive(connection, session, &mut relay).await;
        });
        Handle { address, commands, seen, datagrams_may_come }
    }

    fn url(&self) -> String {
        format!("moqt://{}/room", self.address)
    }

    fn call(&self, command: impl FnOnce(&mut Io<'_>) + Send + 'static) {
        self.commands.send(Box::new(command)).unwrap();
    }

    async fn next<T>(&mut self, what: &str, mut pick: impl FnMut(Seen) -> Option<T>) -> T {
        soon(what, async {
            loop {
                let seen = self.seen.recv().await.expect("the session has ended");
                if let Some(found) = pick(seen) {
                    return found;
                }
            }
        })
        .await
    }

    /// The next answer to a request or update of ours; `None` is a refusal.
    async fn answer(&mut self) -> Option<Parameters> {
        let datagrams_may_come = self.datagrams_may_come;
        self.next("an answer", |seen| match seen {
            Seen::Event(event) => match *event {
                Event::Accepted(_, ok) => Some(Some(ok.parameters)),
                Event::Refused(..) => Some(None),
                _ => None,
            },
            Seen::Datagram(..) if !datagrams_may_come => panic!("a datagram that nobody wants"),
            _ => None,
        })
        .await
    }

    /// TRACK_STATUS: the largest location, if there is such a track.
    async fn status(&mut self, name: &'static str) -> Option<Option<Location>> {
        let track = FullTrackName::new(Namespace::single("ann").unwrap(), name).unwrap();
        let ask = Subscribe { track, parameters: Parameters::default() };
        self.call(move |io| io.session.track_status(ask).map(drop).unwrap());
        Some(self.answer().await?.largest_object)
    }

    /// The requests of all three tracks, by name.
    async fn tracks(&mut self) -> BTreeMap<String, RequestId> {
        let mut tracks = BTreeMap::new();
        while tracks.len() < 3 {
            let (request, track) = self
                .next("PUBLISH", |seen| match seen {
                    Seen::Published(request, track) => Some((request, track)),
                    _ => None,
                })
                .await;
            tracks.insert(String::from_utf8(track.name().to_vec()).unwrap(), request);
        }
        tracks
    }
}

fn wanted(forward: bool) -> Parameters {
    Parameters { forward: Some(forward), ..Parameters::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_that_nobody_wants_and_everything_from_when_somebody_does() {
    let mut relay = Handle::start(wanted(false));
    let publication = publication("ann", Origin::TestCard, true);
    let stop = publication.stop_handle();
    let url = relay.url();
    let publishing = tokio::spawn(async move { publish(&url, publication).await });
    let tracks = relay.tracks().await;
    relay.next("PUBLISH_NAMESPACE", |seen| matches!(seen, Seen::Namespace).then_some(())).await;
    let camera = tracks["camera"];
    while relay.status("camera").await.unwrap().is_none_or(|largest| largest.object < 5) {}
    relay.call(move |io| io.session.update(camera, wanted(true)).map(drop).unwrap());
    // Datagrams may overtake the answer.
    let (mut largest, mut first) = (None, None);
    while largest.is_none() || first.is_none() {
        let seen = relay.next("an answer and a datagram", Some).await;
        match seen {
            Seen::Datagram(request, location) => first = first.or(Some((request, location))),
            Seen::Event(event) => {
                if let Event::Accepted(_, ok) = *event {
                    largest = ok.parameters.largest_object;
                }
            }
            Seen::Published(..) | Seen::Namespace => {}
        }
    }
    let ((request, location), largest) = (first.unwrap(), largest.unwrap());
    assert_eq!(request, camera, "nobody wants the sound");
    assert_eq!((location.group, location.object), (largest.group, largest.object + 1));
    stop.stop();
    let (publication, _) = soon("the end", publishing).await.unwrap();
    assert!(publication.is_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_gives_all_tracks_back_ends_it_with_the_reason() {
    let mut relay = Handle::start(wanted(true));
    let url = relay.url();
    let publishing =
        tokio::spawn(async move { publish(&url, publication("ann", Origin::TestCard, true)).await });
    let tracks = relay.tracks().await;
    let (camera, audio) = (tracks["camera"], tracks["audio"]);
    relay.call(move |io| io.session.cancel(audio, StreamResetCode::Cancelled).unwrap());
    relay
        .next("pictures without sound", |seen| {
            matches!(seen, Seen::Datagram(request, _) if request == camera).then_some(())
        })
        .await;
    assert!(!publishing.is_finished(), "there is still a track");
    relay.call(move |io| io.session.cancel(camera, StreamResetCode::ExcessiveLoad).unwrap());
    let (publication, _) = soon("the end", publishing).await.unwrap();
    let failure = publication.failure().unwrap();
    assert!(matches!(failure, PublicationError::NotWanted(StreamResetCode::ExcessiveLoad)), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_request_that_has_to_move_is_made_again() {
    let mut relay = Handle::start(wanted(true));
    let publication = publication("ann", Origin::TestCard, true);
    let stop = publication.stop_handle();
    let url = relay.url();
    let publishing = tokio::spawn(async move { publish(&url, publication).await });
    let camera = relay.tracks().await["camera"];
    relay.call(move |io| io.session.cancel(camera, StreamResetCode::GoingAway).unwrap());
    let again = relay
        .next("PUBLISH again", |seen| match seen {
            Seen::Published(request, track) => Some((request, track)),
            _ => None,
        })
        .await;
    assert_eq!(again.1.name(), b"camera".as_slice());
    relay
        .next("pictures", |seen| {
            matches!(seen, Seen::Datagram(request, _) if request == again.0).then_some(())
        })
        .await;
    stop.stop();
    assert!(soon("the end", publishing).await.unwrap().0.is_over());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_kept_to() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("film.webm");
    Making { frames: 30, keys: 10, key_bytes: 5000, frame_bytes: 500 }.write(&file);
    let mut relay = Handle::start(wanted(false));
    let url = relay.url();
    let publishing =
        tokio::spawn(async move { publish(&url, publication("ann", Origin::File(file), false)).await });
    let camera = relay.tracks().await["camera"];
    while relay.status("camera").await.unwrap().is_none_or(|largest| largest.object < 2) {}
    let next_group = Parameters { filter: Some(Filter::NextGroupStart), ..wanted(true) };
    relay.call(move |io| io.session.update(camera, next_group).map(drop).unwrap());
    let first = relay
        .next("a datagram", |seen| match seen {
            Seen::Datagram(_, location) => Some(location),
            _ => None,
        })
        .await;
    assert_eq!(first.object, 0);
    soon("the end", publishing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_tracks_are_answered_and_unknown_ones_refused() {
    let mut relay = Handle::start(wanted(true));
    let publication = publication("ann", Origin::TestCard, true);
    let stop = publication.stop_handle();
    let url = relay.url();
    let publishing = tokio::spawn(async move { publish(&url, publication).await });
    relay.tracks().await;
    relay.next("a datagram", |seen| matches!(seen, Seen::Datagram(..)).then_some(())).await;
    for (name, exists) in [("audio", true), ("catalog", true), ("camera-low", false)] {
        let answer = relay.status(name).await;
        let answer = answer.is_some_and(|largest| largest.is_some());
        assert_eq!(answer, exists, "{name}");
    }
    stop.stop();
    soon("the end", publishing).await.unwrap();
}
