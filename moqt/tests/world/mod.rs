//! A world in virtual time: two sessions, one clock, and a link that delays, reorders and loses.
//!
//! Nothing here sleeps or asks the time; everything random comes from one seed, so that the same seed gives the
//! same result. [`World`] joins two sessions; [`peer::Peer`] stands opposite one session and says whatever it is
//! told to, right or wrong.
#![allow(dead_code, unreachable_pub, reason = "several test programs use a part of it each")]

pub mod chaos;
pub mod events;
pub mod peer;

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{
    Config, Event, ObjectDatagram, Role, Session, SessionError, StreamId, StreamKind, StreamResetCode,
    Transmit, message::RequestId, session::Carrier,
};

/// Numbers from a seed (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the link does to what it carries.
#[derive(Debug, Clone)]
pub struct Link {
    pub delay: Duration,
    /// Up to this much more, for each thing on its own: streams and datagrams overtake each other.
    pub jitter: Duration,
    /// Of datagrams.
    pub loss_percent: u64,
    /// Stream bytes arrive in pieces of 1 to so many bytes.
    pub piece_max: u64,
}

impl Default for Link {
    fn default() -> Self {
        Link { delay: Duration::from_millis(10), jitter: Duration::ZERO, loss_percent: 0, piece_max: 1 << 20 }
    }
}

impl Link {
    /// Everything that a link can do wrong.
    pub fn rough() -> Self {
        Link {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(40),
            loss_percent: 10,
            piece_max: 7,
        }
    }
}

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

#[derive(Debug)]
enum Parcel {
    Bytes(Bytes),
    Finished,
    Reset(StreamResetCode),
    Stopped(StreamResetCode),
}

#[derive(Debug)]
enum Arrival {
    Stream { wire: usize, parcel: Parcel },
    Datagram(Bytes),
    Closed(SessionError, String),
}

#[derive(Debug)]
struct Wire {
    kind: StreamKind,
    /// The stream's name on either side.
    names: [Option<StreamId>; 2],
    /// When the last thing sent toward a side arrives there.
    last: [Instant; 2],
    /// True when nothing more is delivered toward a side.
    is_over: [bool; 2],
    /// Reset toward a side: undelivered bytes are lost.
    is_cut: [bool; 2],
}

pub struct Side {
    pub session: Session,
    /// Everything the session has reported and no test has taken.
    pub events: VecDeque<Event>,
    /// Datagrams whose subscription was known at once.
    pub datagrams: VecDeque<(RequestId, ObjectDatagram)>,
    wires: BTreeMap<StreamId, usize>,
    /// Priorities as last set, by stream.
    pub priorities: BTreeMap<StreamId, i32>,
    pub closed: Option<(SessionError, String)>,
}

pub struct World {
    pub now: Instant,
    pub start: Instant,
    pub random: Random,
    pub link: Link,
    pub sides: [Side; 2],
    wires: Vec<Wire>,
    /// In flight, by time of arrival and order of sending; with the side it arrives at.
    flights: BTreeMap<(Instant, u64), (usize, Arrival)>,
    sent: u64,
}

impl World {
    /// A client and a server on raw QUIC that have exchanged SETUP; the events of that are taken.
    pub fn new(seed: u64, link: Link) -> Self {
        let mut world = Self::with(seed, link, config(Role::Client), config(Role::Server));
        world.settle();
        for side in &mut world.sides {
            side.events.clear();
        }
        world
    }

    pub fn with(seed: u64, link: Link, client: Config, server: Config) -> Self {
        let now = Instant::now();
        let side = |config| Side {
            session: Session::new(config, now),
            events: VecDeque::new(),
            datagrams: VecDeque::new(),
            wires: BTreeMap::new(),
            priorities: BTreeMap::new(),
            closed: None,
        };
        World {
            now,
            start: now,
            random: Random::new(seed),
            link,
            sides: [side(client), side(server)],
            wires: Vec::new(),
            flights: BTreeMap::new(),
            sent: 0,
        }
    }

    pub fn client(&mut self) -> &mut Session {
        &mut self.sides[CLIENT].session
    }

    pub fn server(&mut self) -> &mut Session {
        &mut self.sides[SERVER].session
    }

    /// Sends a datagram from a side.
    pub fn send_datagram(&mut self, from: usize, bytes: Bytes) {
        if !self.random.chance(self.link.loss_percent) {
            let at = self.arrival();
            self.fly(at, 1 - from, Arrival::Datagram(bytes));
        }
    }

    /// Lets time pass until nothing is in flight. Timers that are due on the way go off.
    pub fn settle(&mut self) {
        self.collect();
        while let Some((&(at, _), _)) = self.flights.first_key_value() {
            self.step(at);
        }
    }

    /// Lets so much time pass, whatever happens.
    pub fn advance(&mut self, by: Duration) {
        let until = self.now + by;
        self.collect();
        loop {
            let flight = self.flights.first_key_value().map(|((at, _), _)| *at);
            let timer = self.sides.iter().filter_map(|side| side.session.poll_timeout()).min();
            match [flight, timer].into_iter().flatten().min() {
                Some(next) if next <= until => self.step(next),
                _ => break,
            }
        }
        self.now = until;
    }

    /// The next event of a side; panics when there is none.
    pub fn event(&mut self, side: usize) -> Event {
        self.sides[side].events.pop_front().expect("an event")
    }

    /// All events of a side that nobody has taken.
    pub fn events(&mut self, side: usize) -> Vec<Event> {
        self.sides[side].events.drain(..).collect()
    }

    /// Takes what the sessions want sent, and their events.
    fn collect(&mut self) {
        for from in [CLIENT, SERVER] {
            loop {
                let events: Vec<_> = std::iter::from_fn(|| self.sides[from].session.poll_event()).collect();
                self.sides[from].events.extend(events);
                let Some(transmit) = self.sides[from].session.poll_transmit() else { break };
                self.transmit(from, transmit);
            }
        }
    }

    fn step(&mut self, at: Instant) {
        self.now = self.now.max(at);
        for side in &mut self.sides {
            if side.session.poll_timeout().is_some_and(|due| due <= self.now) {
                side.session.handle_timeout(self.now);
            }
        }
        if let Some(entry) = self.flights.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, arrival) = entry.remove();
            self.deliver(to, arrival);
        }
        self.collect();
    }

    fn transmit(&mut self, from: usize, transmit: Transmit) {
        let to = 1 - from;
        match transmit {
            Transmit::Open { stream, kind, priority } => {
                let mut names = [None, None];
                names[from] = Some(stream);
                let is_over = [false, false];
                self.sides[from].wires.insert(stream, self.wires.len());
                self.sides[from].priorities.insert(stream, priority);
                self.wires.push(Wire { kind, names, last: [self.now; 2], is_over, is_cut: [false; 2] });
            }
            Transmit::Data { stream, mut bytes } => {
                assert!(!bytes.is_empty(), "empty data");
                while !bytes.is_empty() {
                    let piece = 1 + self.random.below(self.link.piece_max.min(bytes.len() as u64)) as usize;
                    self.send(from, stream, Parcel::Bytes(bytes.split_to(piece.min(bytes.len()))));
                }
            }
            Transmit::Finish { stream, .. } => self.send(from, stream, Parcel::Finished),
            Transmit::Reset { stream, code } => {
                let wire = self.sides[from].wires[&stream];
                self.wires[wire].is_cut[to] = self.random.chance(50);
                self.send(from, stream, Parcel::Reset(code));
            }
            Transmit::Stop { stream, code } => {
                let wire = self.sides[from].wires[&stream];
                let at = self.arrival();
                self.fly(at, to, Arrival::Stream { wire, parcel: Parcel::Stopped(code) });
            }
            Transmit::Priority { stream, priority } => {
                self.sides[from].priorities.insert(stream, priority);
            }
            Transmit::Close { code, reason } => {
                self.sides[from].closed = Some((code, reason.clone()));
                let at = self.arrival();
                self.fly(at, to, Arrival::Closed(code, reason));
            }
        }
    }

    /// Within a stream, order is kept.
    fn send(&mut self, from: usize, stream: StreamId, parcel: Parcel) {
        let to = 1 - from;
        let wire = *self.sides[from].wires.get(&stream).expect("the stream was opened");
        let at = self.arrival().max(self.wires[wire].last[to]);
        self.wires[wire].last[to] = at;
        self.fly(at, to, Arrival::Stream { wire, parcel });
    }

    fn arrival(&mut self) -> Instant {
        let jitter = self.random.below(self.link.jitter.as_micros() as u64 + 1);
        self.now + self.link.delay + Duration::from_micros(jitter)
    }

    fn fly(&mut self, at: Instant, to: usize, arrival: Arrival) {
        self.sent += 1;
        self.flights.insert((at, self.sent), (to, arrival));
    }

    fn deliver(&mut self, to: usize, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Datagram(bytes) => {
                let side = &mut self.sides[to];
                if let Some(found) = side.session.handle_datagram(now, bytes) {
                    side.datagrams.push_back(found);
                }
            }
            Arrival::Closed(code, reason) => self.sides[to].session.handle_closed(Some(code), &reason),
            Arrival::Stream { wire, parcel } => {
                let (index, wire) = (wire, &mut self.wires[wire]);
                let side = &mut self.sides[to];
                let stream = *wire.names[to].get_or_insert_with(|| {
                    let stream = side.session.accept_stream(wire.kind);
                    side.wires.insert(stream, index);
                    stream
                });
                match parcel {
                    Parcel::Stopped(code) => side.session.handle_stream_stopped(now, stream, code.code()),
                    _ if wire.is_over[to] => {}
                    Parcel::Bytes(_) if wire.is_cut[to] => {}
                    Parcel::Bytes(bytes) => side.session.handle_stream(now, stream, bytes),
                    Parcel::Finished => {
                        wire.is_over[to] = true;
                        side.session.handle_stream_finished(now, stream);
                    }
                    Parcel::Reset(code) => {
                        wire.is_over[to] = true;
                        side.session.handle_stream_reset(now, stream, code.code());
                    }
                }
            }
        }
    }
}

/// A configuration on raw QUIC.
pub fn config(role: Role) -> Config {
    Config::new(role, Carrier::Quic)
}
