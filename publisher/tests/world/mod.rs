//! A relay on loopback, films made here, and somebody who watches.
#![allow(dead_code, unreachable_pub)]

use std::{
    collections::BTreeMap,
    fs,
    future::Future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Parser as _;
use roundtable_media::{
    container::{TrackSpec, webm},
    format::{Codec, Format, Frame, Shape},
};
use roundtable_publisher::{Input, InputConfig, Origin, Publication, PublicationConfig, options::Role};
use roundtable_relay::{
    counters::Counters,
    journal::Journal,
    limits::Limits,
    meeting::{Meetings, Policy},
    relay::{Admission, Relay},
    scope::ScopeName,
    token::{Keys, TokenKey},
};
use roundtable_subscriber::{Consumer, Mode, Room, RoomConfig, RoomEvent, TrackFilter, room::Leave};
use roundtable_transport::{
    Certificates, ConnectOptions, Connection, Ended, Endpoint, EndpointConfig, IncomingKind, drive,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::task::JoinHandle;

/// Long enough for a busy machine, short enough to fail a test rather than hang it.
pub const PATIENCE: Duration = Duration::from_secs(40);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long: {what}"))
}

/// Waits until something is so.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

// ---- the relay

pub struct World {
    pub relay: Arc<Relay>,
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl World {
    pub fn new() -> Self {
        let config = EndpointConfig::new(vec!["127.0.0.1:0".parse().unwrap()], certificates());
        let endpoint = Endpoint::bind(config).unwrap();
        let address = endpoint.local_addresses()[0];
        let counters = Arc::<Counters>::default();
        let journal = Arc::new(Journal::new(None, Arc::clone(&counters)));
        let keys = Keys::new(TokenKey::random().unwrap(), Vec::new());
        let meetings = Arc::new(Meetings::new(Policy::Open, keys, journal, Arc::clone(&counters)));
        let relay = Relay::new(Limits::default(), counters, meetings);
        let accepting = tokio::spawn(accept(endpoint, Arc::clone(&relay)));
        World { relay, address, accepting }
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/room", self.address)
    }
}

pub fn certificates() -> Certificates {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    Certificates::new(vec![made.cert.der().clone()], key).unwrap()
}

async fn accept(endpoint: Endpoint, relay: Arc<Relay>) {
    while let Some(incoming) = endpoint.accept().await {
        let scope = match incoming.kind() {
            IncomingKind::WebTransport(request) => ScopeName::from_path(&request.path),
            IncomingKind::Quic => None,
        };
        let relay = Arc::clone(&relay);
        tokio::spawn(async move {
            if let Ok(connection) = incoming.accept().await {
                relay.serve(connection, Admission { scope, token: None }).await;
            }
        });
    }
}

// ---- who publishes

#[derive(clap::Parser)]
struct Tool {
    #[command(flatten)]
    connect: ConnectOptions,
}

pub fn connect_options(url: &str) -> ConnectOptions {
    Tool::try_parse_from(["tool", "--url", url]).unwrap().connect
}

pub async fn connect(url: &str) -> (Connection, roundtable_moqt::Session) {
    soon("a connection", connect_options(url).connect("test")).await.unwrap()
}

pub fn publication(name: &str, origin: Origin, is_loop: bool) -> Publication {
    let input = Input::start(InputConfig { origin, is_loop }).unwrap();
    let config = PublicationConfig {
        participant: name.to_owned(),
        role: Role::Camera,
        label: None,
        report_every: Duration::from_secs(1),
    };
    Publication::new(config, input).unwrap()
}

/// Publishes to the end.
pub async fn publish(url: &str, mut publication: Publication) -> (Publication, Ended) {
    let (connection, session) = connect(url).await;
    let ended = soon("the end of the film", drive(connection, session, &mut publication)).await;
    (publication, ended)
}

// ---- films

/// Frames by track: payload and time in the file, milliseconds for WebM.
pub type Film = BTreeMap<&'static str, Vec<(i64, Bytes)>>;

/// A film of VP8 at 25 fps and Opus of 20 ms, whose payloads are noise: key frames every `keys` frames.
pub struct Making {
    pub frames: i64,
    pub keys: i64,
    pub key_bytes: usize,
    pub frame_bytes: usize,
}

impl Default for Making {
    fn default() -> Self {
        Making { frames: 40, keys: 20, key_bytes: 60_000, frame_bytes: 3000 }
    }
}

impl Making {
    pub fn write(&self, path: &Path) -> Film {
        let format = |codec, codec_string: &str, shape| Format {
            codec,
            codec_string: codec_string.into(),
            shape,
            config: Bytes::new(),
            timescale: 1000,
        };
        let video = Shape::Video { width: 320, height: 180, framerate: Some(25.0) };
        let formats = [
            format(Codec::Vp8, "vp8", video),
            format(Codec::Opus, "opus", Shape::Audio { samplerate: 48_000, channels: 1 }),
        ];
        let specs = formats.map(|format| TrackSpec { format, zero: 0 });
        let (mut writer, head) = webm::Writer::new(specs.to_vec()).unwrap();
        let mut file = head.to_vec();
        let mut film = Film::new();
        let mut noise = Noise(7);
        for number in 0..self.frames {
            let is_key = number % self.keys == 0;
            let data = noise.bytes(if is_key { self.key_bytes } else { self.frame_bytes });
            let pts = number * 40;
            film.entry("camera").or_default().push((pts, data.clone()));
            let frame = Frame { pts, duration: Some(40), is_key, data };
            file.extend_from_slice(&writer.write(0, &frame).unwrap());
            for pts in [pts, pts + 20] {
                let mut data = noise.bytes(80).to_vec();
                data[0] = 0xf8;
                let data = Bytes::from(data);
                film.entry("audio").or_default().push((pts, data.clone()));
                let frame = Frame { pts, duration: Some(20), is_key: true, data };
                file.extend_from_slice(&writer.write(1, &frame).unwrap());
            }
        }
        let finish = writer.finish();
        file.extend_from_slice(&finish.append);
        for patch in finish.patches {
            let at = usize::try_from(patch.offset).unwrap();
            file[at..at + patch.bytes.len()].copy_from_slice(&patch.bytes);
        }
        fs::write(path, file).unwrap();
        film
    }
}

/// Bytes that look random and are always the same.
pub struct Noise(pub u64);

impl Noise {
    pub fn bytes(&mut self, len: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(self.0 ^ self.0 >> 29).to_le_bytes());
        }
        bytes.truncate(len);
        bytes.into()
    }
}

// ---- who watches

/// What a room has handed out.
#[derive(Debug, Default)]
pub struct Seen {
    pub frames: BTreeMap<String, Vec<(i64, Bytes)>>,
    pub ended: Vec<(String, String)>,
    pub left: Vec<String>,
    pub joined: Vec<String>,
    pub gaps: usize,
    is_following: bool,
    tracks: BTreeMap<u64, String>,
}

#[derive(Clone, Default)]
pub struct Collector(pub Arc<Mutex<Seen>>);

impl Consumer for Collector {
    fn handle(&mut self, event: RoomEvent) {
        let mut seen = self.0.lock().unwrap();
        match event {
            RoomEvent::Began { epoch, label, .. } => {
                seen.tracks.insert(epoch.0, label.track.to_string());
            }
            RoomEvent::Frame { epoch, frame } => {
                let track = seen.tracks[&epoch.0].clone();
                let pts = i64::try_from(frame.timestamp).unwrap();
                seen.frames.entry(track).or_default().push((pts, frame.data));
            }
            RoomEvent::Ended { epoch, reason, .. } => {
                let track = seen.tracks[&epoch.0].clone();
                seen.ended.push((track, reason.to_owned()));
            }
            RoomEvent::Following { .. } => seen.is_following = true,
            RoomEvent::Joined { participant, .. } => seen.joined.push(participant.to_string()),
            RoomEvent::Left { participant, .. } => seen.left.push(participant.to_string()),
            RoomEvent::Gap { .. } => seen.gaps += 1,
        }
    }
}

/// Somebody in the room who keeps everything.
pub struct Watcher {
    pub seen: Arc<Mutex<Seen>>,
    leave: Leave,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Comes into the room: misses nothing of whoever comes after.
    pub async fn enter(url: &str) -> Self {
        let (connection, session) = connect(url).await;
        let collector = Collector::default();
        let seen = Arc::clone(&collector.0);
        let config = RoomConfig {
            mode: Mode::Record,
            filter: TrackFilter::default(),
            until_empty: true,
            duration: None,
        };
        let mut room = Room::new(config, collector);
        let leave = room.leave_handle();
        let task = tokio::spawn(async move {
            drive(connection, session, &mut room).await;
            room.finish(Instant::now());
        });
        let watcher = Watcher { seen, leave, task };
        until("the room is followed", || watcher.seen.lock().unwrap().is_following).await;
        watcher
    }

    pub fn count(&self, track: &str) -> usize {
        self.seen.lock().unwrap().frames.get(track).map_or(0, Vec::len)
    }

    /// Stays until everybody has left, and says what was seen.
    pub async fn stay(self) -> Seen {
        soon("the end of the room", self.task).await.unwrap();
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    pub async fn leave(self) -> Seen {
        self.leave.leave();
        self.stay().await
    }
}

/// Asserts that all of a film was seen: payloads in order, times equal up to one offset.
pub fn assert_whole(film: &Film, seen: &Seen) {
    for (track, frames) in film {
        let got = seen.frames.get(*track).map(Vec::as_slice).unwrap_or_default();
        let numbers: Vec<Option<usize>> =
            got.iter().map(|(_, data)| frames.iter().position(|(_, frame)| frame == data)).collect();
        assert_eq!(numbers, (0..frames.len()).map(Some).collect::<Vec<_>>(), "{track}");
        let offset = got[0].0 - frames[0].0;
        assert!(got.iter().zip(frames).all(|(got, frame)| got.0 - frame.0 == offset), "times of {track}");
    }
    assert_eq!(seen.gaps, 0);
}
