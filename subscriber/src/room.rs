//! A room as a subscriber sees it: an [`App`] that follows participants, their catalogs and their tracks.

mod fetching;
mod track;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_media::{
    catalog::{self, Catalog, CatalogTrack},
    gaps::Ask,
    names::{RELAY_NAMESPACE, TrackName},
};
use roundtable_moqt::{
    Event, FullTrackName, Namespace, Object, ObjectDatagram, Parameters, RequestErrorCode, SessionError,
    StreamResetCode,
    fetch_stream::FetchItem,
    message::{Fetch, FetchRange, NamespaceRequest, RequestId, Subscribe},
    object::Location,
    session::CallError,
};
use roundtable_transport::{App, Io};
use tokio::sync::mpsc;

use self::{
    fetching::Fetching,
    track::{State, Track, earliest},
};
use crate::{
    event::{Consumer, RoomEvent, TrackFigures, TrackLabel},
    filter::TrackFilter,
};

/// Participants followed at once; more are ignored.
const PARTICIPANTS_MAX: usize = 1024;
/// Tracks subscribed to at once; more are ignored.
const TRACKS_MAX: usize = 4096;
/// A namespace that is announced this soon after ours was asked for has been there before.
const THERE_BEFORE: Duration = Duration::from_millis(250);
/// How long the relay may wait for a publisher before it refuses a SUBSCRIBE.
const RENDEZVOUS: Duration = Duration::from_secs(10);
/// Time until a refused SUBSCRIBE is tried again, doubled every time up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(250);
/// See [`RETRY`].
const RETRY_MAX: Duration = Duration::from_secs(8);
/// How long the rest of the tracks may take when the room is left.
const LEAVE_WAIT: Duration = Duration::from_secs(3);

/// What the frames are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// To be kept: repair has time, nothing may be late.
    Record,
    /// To be seen at once: a frame waits no longer than this for one before it.
    Live {
        /// See above.
        wait: Duration,
    },
}

/// Settings of a room.
#[derive(Debug, Clone)]
pub struct RoomConfig {
    /// What the frames are for.
    pub mode: Mode,
    /// Which tracks.
    pub filter: TrackFilter,
    /// Leave when the last participant has gone, after at least one was there.
    pub until_empty: bool,
    /// Leave after so long.
    pub duration: Option<Duration>,
}

/// Ends a room from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leave(mpsc::Sender<()>);

impl Leave {
    /// Leaves: what has arrived is handed out, what is missing is asked for a little longer, the session closes.
    pub fn leave(&self) {
        // One request is enough: a full channel holds it already, a closed one has no room to leave.
        let _ = self.0.try_send(());
    }
}

/// Called from time to time with the figures of all tracks.
pub type Report = Box<dyn FnMut(Instant, &[TrackFigures]) + Send>;

/// The room.
pub struct Room<C> {
    config: RoomConfig,
    consumer: C,
    leave: Leave,
    leave_asked: mpsc::Receiver<()>,
    report: Option<(Duration, Report)>,
    report_at: Option<Instant>,
    participants: BTreeMap<Namespace, Participant>,
    tracks: BTreeMap<TrackId, Track>,
    requests: HashMap<RequestId, Purpose>,
    next_track: u64,
    next_epoch: u64,
    /// Since when NAMESPACEs tell of somebody new.
    namespaces_since: Option<Instant>,
    has_told_following: bool,
    began: Option<Instant>,
    anybody_was_there: bool,
    leaving_until: Option<Instant>,
    wake_at: Option<Instant>,
    failure: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TrackId(u64);

#[derive(Debug)]
struct Participant {
    label: Arc<str>,
    /// Came after us: everything of it may be asked for, not only the present group.
    is_new: bool,
    catalog: CatalogState,
    /// Group of the catalog that holds.
    catalog_group: Option<u64>,
    track_properties: Bytes,
    wanted: Vec<CatalogTrack>,
    failures: u32,
    is_gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CatalogState {
    Waiting(Instant),
    Subscribed(RequestId),
}

/// What a request of ours is for.
#[derive(Debug)]
enum Purpose {
    Namespaces,
    Catalog(Namespace),
    CatalogJoin(Namespace),
    Track(TrackId),
    Join(TrackId, Fetching),
    Repair(TrackId, Ask, Fetching),
}

impl<C: Consumer> Room<C> {
    /// A room whose events go to `consumer`.
    pub fn new(config: RoomConfig, consumer: C) -> Self {
        let (leave, leave_asked) = mpsc::channel(1);
        Room {
            config,
            consumer,
            leave: Leave(leave),
            leave_asked,
            report: None,
            report_at: None,
            participants: BTreeMap::new(),
            tracks: BTreeMap::new(),
            requests: HashMap::new(),
            next_track: 0,
            next_epoch: 0,
            namespaces_since: None,
            has_told_following: false,
            began: None,
            anybody_was_there: false,
            leaving_until: None,
            wake_at: None,
            failure: None,
        }
    }

    /// Has figures reported every so often.
    pub fn report_every(&mut self, interval: Duration, report: Report) {
        self.report = Some((interval, report));
    }

    /// Where the events go.
    pub fn consumer_mut(&mut self) -> &mut C {
        &mut self.consumer
    }

    /// What ends the room from outside.
    pub fn leave_handle(&self) -> Leave {
        self.leave.clone()
    }

    /// Why the room could not be followed, when it was the relay's answer.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Ends what the session's end has left open, and gives the consumer back.
    pub fn finish(mut self, now: Instant) -> C {
        for track in self.tracks.values_mut() {
            track.finish(now, &mut self.next_epoch, &mut self.consumer);
        }
        for participant in self.participants.values() {
            self.consumer.handle(RoomEvent::Left { participant: participant.label.clone(), at: now });
        }
        self.consumer
    }

    fn begin(&mut self, io: &mut Io<'_>) {
        self.began = Some(io.now);
        self.report_at = self.report.as_ref().map(|(interval, _)| io.now + *interval);
        let request = NamespaceRequest { namespace: Namespace::default(), parameters: Parameters::default() };
        match io.session.subscribe_namespace(request) {
            Ok(id) => {
                self.requests.insert(id, Purpose::Namespaces);
            }
            Err(error) => self.fail(io, format!("the room cannot be listed: {error}")),
        }
    }

    fn fail(&mut self, io: &mut Io<'_>, why: String) {
        self.failure.get_or_insert(why);
        self.start_leaving(io.now);
    }

    // ---- participants

    fn join(&mut self, now: Instant, namespace: Namespace) {
        let is_relay =
            namespace.fields().first().is_none_or(|field| field.as_ref() == RELAY_NAMESPACE.as_bytes());
        if is_relay {
            return;
        }
        if let Some(participant) = self.participants.get_mut(&namespace) {
            participant.is_gone = false;
            return;
        }
        if self.participants.len() >= PARTICIPANTS_MAX {
            tracing::warn!("more participants than can be followed");
            return;
        }
        let fields: Vec<_> = namespace.fields().iter().map(|field| String::from_utf8_lossy(field)).collect();
        let participant = Participant {
            label: fields.join("/").into(),
            is_new: self.namespaces_since.is_some_and(|since| now >= since + THERE_BEFORE),
            catalog: CatalogState::Waiting(now),
            catalog_group: None,
            track_properties: Bytes::new(),
            wanted: Vec::new(),
            failures: 0,
            is_gone: false,
        };
        self.anybody_was_there = true;
        self.consumer.handle(RoomEvent::Joined { participant: participant.label.clone(), at: now });
        self.participants.insert(namespace, participant);
    }

    fn part(&mut self, now: Instant, namespace: &Namespace) {
        let Some(participant) = self.participants.get_mut(namespace) else { return };
        participant.is_gone = true;
        participant.wanted.clear();
        for track in self.tracks.values_mut().filter(|track| track.name.namespace() == namespace) {
            track.close(now, "the participant left");
        }
    }

    fn apply_catalog(&mut self, now: Instant, namespace: &Namespace, object: &Object) {
        let Some(participant) = self.participants.get_mut(namespace) else { return };
        let is_old = participant.catalog_group.is_some_and(|group| object.location.group <= group);
        if is_old || object.location.object != 0 || object.payload.is_empty() {
            return;
        }
        let compression = catalog::compression(&participant.track_properties, &object.properties);
        let catalog = match Catalog::decode(&object.payload, compression) {
            Ok(catalog) => catalog,
            Err(error) => {
                tracing::warn!(participant = %participant.label, %error, "a catalog is not usable");
                return;
            }
        };
        for ignored in &catalog.ignored {
            let (track, reason) = (&ignored.name, &ignored.reason);
            tracing::debug!(participant = %participant.label, track, reason, "a track is not understood");
        }
        participant.catalog_group = Some(object.location.group);
        participant.failures = 0;
        let label = participant.label.clone();
        participant.wanted = catalog
            .tracks
            .into_iter()
            .filter(|track| track.namespace.is_none() && self.config.filter.wants(&label, &track.name))
            .collect();
        let wanted = participant.wanted.clone();
        for track in self.tracks.values_mut().filter(|track| track.name.namespace() == namespace) {
            match wanted.iter().find(|entry| entry.name.as_bytes() == track.name.name().as_ref()) {
                Some(entry) => track.change(entry.clone()),
                None => track.close(now, "the track left the catalog"),
            }
        }
        self.add_wanted(now, namespace);
    }

    /// Subscribes to what the catalog lists and is not subscribed to.
    fn add_wanted(&mut self, now: Instant, namespace: &Namespace) {
        let Some(participant) = self.participants.get(namespace) else { return };
        for entry in participant.wanted.clone() {
            let is_there = self.tracks.values().any(|track| {
                track.name.namespace() == namespace
                    && track.name.name().as_ref() == entry.name.as_bytes()
                    && track.state != State::Closed
            });
            if is_there || self.tracks.len() >= TRACKS_MAX {
                continue;
            }
            let Ok(name) = FullTrackName::new(namespace.clone(), entry.name.clone()) else { continue };
            let label =
                TrackLabel { participant: participant.label.clone(), track: entry.name.as_str().into() };
            let id = TrackId(self.next_track);
            self.next_track += 1;
            self.tracks.insert(id, Track::new(label, name, entry, self.config.mode, now));
        }
    }

    // ---- requests

    /// Sends what is due, and forgets what is over.
    fn turn(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        self.wake_at = None;
        self.tell_following(now);
        if self.leaving_until.is_none() {
            self.subscribe_due(io);
        }
        let round_trip = io.datagrams.stats().rtt;
        let can_ask = !io.session.is_closed() && self.leaving_until.is_none_or(|until| now < until);
        let mut closed = Vec::new();
        for (id, track) in &mut self.tracks {
            let wants = track.turn(now, round_trip, can_ask, &mut self.next_epoch, &mut self.consumer);
            self.wake_at = earliest(self.wake_at, wants.wake_at);
            for ask in wants.asks {
                let fetching = Fetching::from(Some(ask.start));
                match io.session.fetch(repair_request(track.name.clone(), &ask, self.config.mode)) {
                    Ok(request) => {
                        self.requests.insert(request, Purpose::Repair(*id, ask, fetching));
                    }
                    Err(_) => track.fetch_refused(now, Some(&ask), false),
                }
            }
            if track.state == State::Closed {
                closed.push(*id);
            }
        }
        for id in closed {
            self.forget_track(io, id);
        }
        self.forget_gone(io);
        let is_empty = self.config.until_empty && self.anybody_was_there && self.participants.is_empty();
        if is_empty {
            self.start_leaving(now);
        }
    }

    fn tell_following(&mut self, now: Instant) {
        let Some(since) = self.namespaces_since.filter(|_| !self.has_told_following) else { return };
        if now >= since + THERE_BEFORE {
            self.has_told_following = true;
            self.consumer.handle(RoomEvent::Following { at: now });
        } else {
            self.wake_at = Some(since + THERE_BEFORE);
        }
    }

    fn subscribe_due(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let mut wake_at = None;
        for (namespace, participant) in &mut self.participants {
            let CatalogState::Waiting(at) = participant.catalog else { continue };
            if participant.is_gone {
                continue;
            }
            if at > now {
                wake_at = earliest(wake_at, Some(at));
                continue;
            }
            let name = TrackName::Catalog.as_str();
            let Ok(name) = FullTrackName::new(namespace.clone(), name) else { continue };
            let Ok(request) = io.session.subscribe(subscribe_request(name, 1, Mode::Record)) else {
                participant.catalog = CatalogState::Waiting(now + RETRY_MAX);
                continue;
            };
            participant.catalog = CatalogState::Subscribed(request);
            self.requests.insert(request, Purpose::Catalog(namespace.clone()));
            if let Ok(join) = join_request(io, request, false) {
                self.requests.insert(join, Purpose::CatalogJoin(namespace.clone()));
            }
        }
        for (id, track) in &mut self.tracks {
            let State::Waiting(at) = track.state else { continue };
            if at > now {
                wake_at = earliest(wake_at, Some(at));
                continue;
            }
            let Ok(request) =
                io.session.subscribe(subscribe_request(track.name.clone(), 128, self.config.mode))
            else {
                track.state = State::Waiting(now + RETRY_MAX);
                continue;
            };
            track.state = State::Subscribed(request);
            self.requests.insert(request, Purpose::Track(*id));
            let is_new =
                self.participants.get(track.name.namespace()).is_some_and(|participant| participant.is_new);
            if let Ok(join) = join_request(io, request, is_new && self.config.mode == Mode::Record) {
                track.joining(now);
                self.requests.insert(join, Purpose::Join(*id, Fetching::from(None)));
            }
        }
        self.wake_at = earliest(self.wake_at, wake_at);
    }

    fn forget_track(&mut self, io: &mut Io<'_>, id: TrackId) {
        let Some(track) = self.tracks.remove(&id) else { return };
        let mut over = Vec::new();
        for (request, purpose) in &self.requests {
            let is_of_track = match purpose {
                Purpose::Track(other) | Purpose::Join(other, _) | Purpose::Repair(other, ..) => *other == id,
                Purpose::Namespaces | Purpose::Catalog(_) | Purpose::CatalogJoin(_) => false,
            };
            if is_of_track {
                over.push(*request);
            }
        }
        for request in over {
            self.requests.remove(&request);
            let _ = io.session.cancel(request, StreamResetCode::Cancelled);
        }
        // Listed still, so it may be published again.
        let (namespace, failures) = (track.name.namespace().clone(), track.failures);
        let is_listed = self.participants.get(&namespace).is_some_and(|participant| {
            participant.wanted.iter().any(|entry| entry.name.as_bytes() == track.name.name().as_ref())
        });
        if is_listed && self.leaving_until.is_none() {
            self.add_wanted(io.now + retry_after(failures), &namespace);
            let again = self.tracks.values_mut().next_back();
            if let Some(again) = again.filter(|again| again.name == track.name) {
                again.failures = failures + 1;
                again.not_before = track.position();
                if let State::Waiting(at) = again.state {
                    self.wake_at = earliest(self.wake_at, Some(at));
                }
            }
        }
    }

    /// Participants who have left, once their tracks are over.
    fn forget_gone(&mut self, io: &mut Io<'_>) {
        let gone: Vec<Namespace> = self
            .participants
            .iter()
            .filter(|(namespace, participant)| {
                participant.is_gone && !self.tracks.values().any(|track| track.name.namespace() == *namespace)
            })
            .map(|(namespace, _)| namespace.clone())
            .collect();
        for namespace in gone {
            let Some(participant) = self.participants.remove(&namespace) else { continue };
            if let CatalogState::Subscribed(request) = participant.catalog {
                self.requests.remove(&request);
                let _ = io.session.cancel(request, StreamResetCode::Cancelled);
            }
            self.consumer.handle(RoomEvent::Left { participant: participant.label, at: io.now });
        }
    }

    fn start_leaving(&mut self, now: Instant) {
        if self.leaving_until.is_some() {
            return;
        }
        self.leaving_until = Some(now + LEAVE_WAIT);
        for track in self.tracks.values_mut() {
            track.close(now, "the room was left");
        }
        self.wake_at = Some(now);
    }

    /// A subscription of ours is over, by the publisher or by refusal.
    fn subscription_over(&mut self, now: Instant, purpose: Purpose, reason: &'static str, refused: bool) {
        match purpose {
            Purpose::Catalog(namespace) => {
                let Some(participant) = self.participants.get_mut(&namespace) else { return };
                participant.failures += 1;
                participant.catalog = CatalogState::Waiting(now + retry_after(participant.failures));
            }
            Purpose::Track(id) => {
                let Some(track) = self.tracks.get_mut(&id) else { return };
                track.failures += u32::from(refused);
                track.close(now, reason);
            }
            _ => {}
        }
    }

    // ---- objects

    fn object(&mut self, now: Instant, request: RequestId, object: &Object) {
        match self.requests.get(&request) {
            Some(Purpose::Track(id)) => {
                if let Some(track) = self.tracks.get_mut(id) {
                    track.live_object(now, object);
                }
            }
            Some(Purpose::Catalog(namespace)) => {
                let namespace = namespace.clone();
                self.apply_catalog(now, &namespace, object);
            }
            _ => {}
        }
    }

    fn fetch_item(&mut self, now: Instant, request: RequestId, item: &FetchItem) {
        match self.requests.get_mut(&request) {
            Some(Purpose::CatalogJoin(namespace)) => {
                let namespace = namespace.clone();
                if let FetchItem::Object(object) = item {
                    self.apply_catalog(now, &namespace, object);
                }
            }
            Some(Purpose::Join(id, fetching) | Purpose::Repair(id, _, fetching)) => {
                if let Some(track) = self.tracks.get_mut(id) {
                    track.fetched(now, fetching, item);
                }
            }
            _ => {}
        }
    }

    fn fetch_over(&mut self, now: Instant, request: RequestId, end: FetchEnd) {
        let (id, ask, fetching) = match self.requests.remove(&request) {
            Some(Purpose::Join(id, fetching)) => (id, None, fetching),
            Some(Purpose::Repair(id, ask, fetching)) => (id, Some(ask), fetching),
            _ => return,
        };
        let Some(track) = self.tracks.get_mut(&id) else { return };
        match end {
            FetchEnd::Whole => track.fetch_ended(now, &fetching, ask.as_ref(), true),
            FetchEnd::Broken => track.fetch_ended(now, &fetching, ask.as_ref(), false),
            FetchEnd::Refused(code) => {
                let nothing_there = code == RequestErrorCode::InvalidRange;
                track.fetch_refused(now, ask.as_ref(), nothing_there);
            }
        }
    }

    fn make_report(&mut self, now: Instant) {
        let Some((interval, report)) = &mut self.report else { return };
        let figures: Vec<TrackFigures> = self
            .tracks
            .values()
            .filter(|track| track.state != State::Closed)
            .map(|track| TrackFigures {
                label: track.label.clone(),
                codec: track.entry().map(|entry| entry.format.codec_string.clone()).unwrap_or_default(),
                figures: track.stats.figures(now, track.counters()),
            })
            .collect();
        report(now, &figures);
        self.report_at = Some(now + *interval);
    }
}

/// How a FETCH ended.
enum FetchEnd {
    Whole,
    Broken,
    Refused(RequestErrorCode),
}

fn retry_after(failures: u32) -> Duration {
    (RETRY * 2_u32.saturating_pow(failures.min(8))).min(RETRY_MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn subscribe_request(track: FullTrackName, priority: u8, mode: Mode) -> Subscribe {
    let object_delivery_timeout_ms = match mode {
        Mode::Record => None,
        Mode::Live { wait } => Some(millis(wait + Duration::from_millis(500))),
    };
    let parameters = Parameters {
        subscriber_priority: Some(priority),
        rendezvous_timeout_ms: Some(millis(RENDEZVOUS)),
        object_delivery_timeout_ms,
        ..Parameters::default()
    };
    Subscribe { track, parameters }
}

/// The joining FETCH of a subscription: of the present group, or of all that there is.
fn join_request(
    io: &mut Io<'_>,
    subscription: RequestId,
    from_the_start: bool,
) -> Result<RequestId, CallError> {
    let range = match from_the_start {
        true => FetchRange::AbsoluteJoining { subscription, group: 0 },
        false => FetchRange::RelativeJoining { subscription, groups_back: 0 },
    };
    let parameters = Parameters { fill_timeout_ms: Some(500), ..Parameters::default() };
    io.session.fetch(Fetch { range, parameters })
}

fn repair_request(track: FullTrackName, ask: &Ask, mode: Mode) -> Fetch {
    let fill_timeout_ms = match mode {
        Mode::Record => 1000,
        Mode::Live { wait } => millis(wait),
    };
    Fetch {
        range: FetchRange::Standalone { track, start: ask.start, end: ask.wire_end() },
        parameters: Parameters { fill_timeout_ms: Some(fill_timeout_ms), ..Parameters::default() },
    }
}

impl<C: Consumer> App for Room<C> {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        let now = io.now;
        match event {
            Event::Namespace(_, namespace) => self.join(now, namespace),
            Event::NamespaceDone(_, namespace) => self.part(now, &namespace),
            Event::Accepted(request, _) => {
                if matches!(self.requests.get(&request), Some(Purpose::Namespaces)) {
                    self.namespaces_since = Some(now);
                }
            }
            Event::SubscribeAccepted(request, ok) => {
                if let Some(Purpose::Catalog(namespace)) = self.requests.get(&request) {
                    let participant = self.participants.get_mut(namespace);
                    if let Some(participant) = participant {
                        // Somebody who has not even published a catalog has just come.
                        participant.is_new |= ok.parameters.largest_object.is_none();
                        participant.track_properties = ok.track_properties;
                    }
                }
            }
            Event::FetchAccepted(request, ok) => {
                if let Some(Purpose::Join(_, fetching) | Purpose::Repair(_, _, fetching)) =
                    self.requests.get_mut(&request)
                {
                    fetching.accepted(&ok);
                }
            }
            Event::Object { request, object, .. } => self.object(now, request, &object),
            Event::Datagram(request, datagram) => self.object(now, request, &datagram.object),
            Event::FetchItem(request, item) => self.fetch_item(now, request, &item),
            Event::FetchEnded { request, reset } => {
                let end = if reset.is_none() { FetchEnd::Whole } else { FetchEnd::Broken };
                self.fetch_over(now, request, end);
            }
            Event::Refused(request, error) => match self.requests.get(&request) {
                Some(Purpose::Namespaces) => {
                    let why =
                        format!("the relay does not list the room: {} ({:?})", error.reason, error.code);
                    self.fail(io, why);
                }
                Some(Purpose::Catalog(_) | Purpose::Track(_)) => {
                    if let Some(purpose) = self.requests.remove(&request) {
                        self.subscription_over(now, purpose, "the track is not to be had", true);
                    }
                }
                _ => self.fetch_over(now, request, FetchEnd::Refused(error.code)),
            },
            Event::PublishDone(request, _) | Event::Cancelled { request, .. } => {
                if let Some(purpose) = self.requests.remove(&request) {
                    self.subscription_over(now, purpose, "the track ended", false);
                }
            }
            Event::Publish(request, _) => {
                let refusal = roundtable_moqt::message::RequestError::new(
                    RequestErrorCode::Uninterested,
                    "subscribed to by name",
                );
                let _ = io.session.reject(request, refusal);
            }
            Event::Subscribe(request, _) | Event::TrackStatus(request, _) | Event::Fetch(request, _) => {
                let refusal = roundtable_moqt::message::RequestError::new(
                    RequestErrorCode::DoesNotExist,
                    "a subscriber has no tracks",
                );
                let _ = io.session.reject(request, refusal);
            }
            _ => {}
        }
        self.wake_at = Some(now);
    }

    fn handle_datagram(&mut self, io: &mut Io<'_>, request: RequestId, datagram: ObjectDatagram) {
        self.object(io.now, request, &datagram.object);
    }

    fn datagrams_drained(&mut self, io: &mut Io<'_>) {
        self.turn(io);
    }

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        if self.began.is_none() {
            self.begin(io);
        }
        if self.leave_asked.poll_recv(cx).is_ready() {
            self.start_leaving(io.now);
        }
        if self.wake_at.is_some_and(|at| at <= io.now) {
            self.turn(io);
        }
        let is_over = self.leaving_until.is_some_and(|until| io.now >= until || self.tracks.is_empty());
        if is_over {
            io.session.close(SessionError::NoError, "");
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let ends_at = self.began.zip(self.config.duration).map(|(began, duration)| began + duration);
        let ends_at = ends_at.filter(|_| self.leaving_until.is_none());
        let times = [self.wake_at, ends_at, self.report_at, self.leaving_until];
        times.into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now;
        let is_time_up =
            self.began.zip(self.config.duration).is_some_and(|(began, duration)| began + duration <= now);
        if is_time_up {
            self.start_leaving(now);
        }
        if self.report_at.is_some_and(|at| at <= now) {
            self.make_report(now);
        }
        self.turn(io);
    }
}

/// For the end of a range that a person reads.
pub(crate) fn location_text(location: Location) -> String {
    format!("{}.{}", location.group, location.object)
}
