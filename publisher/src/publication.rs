//! A film as a participant of a room: an [`App`] that publishes its tracks, at their own pace, and answers what
//! the relay asks about them.

mod catalog_track;
mod ending;

use std::{
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use roundtable_media::names::TrackName;
use roundtable_moqt::{
    Event, Forwarding, FullTrackName, Location, Namespace, Object, ObjectDatagram, Parameters,
    RequestErrorCode, Session, SessionError,
    message::{
        NamespaceRequest, Publish, RequestError, RequestId, RequestOk, Subscribe, SubscribeOk, TrackAlias,
    },
    subgroup::SubgroupHeader,
};
use roundtable_transport::{App, DatagramSender, Io, PendingDatagram, SendError};
use tokio::sync::mpsc;

use self::{catalog_track::CatalogTrackState, ending::Ending};
use crate::{
    answers::Answers,
    input::{Input, InputError, InputEvent, InputHeader},
    options::Role,
    pacer::Pacer,
    progress::{Figures, Report, TrackFigures},
    schedule::Schedule,
    track::{MediaTrack, TrackCounters},
};

/// Alias of the catalog; the media tracks' follow.
const CATALOG_ALIAS: TrackAlias = TrackAlias(0);
/// How long the first frames of all tracks are waited for before the clock starts with those that are there.
const FIRST_FRAMES_WAIT: Duration = Duration::from_secs(2);

/// Settings of a publication.
#[derive(Debug, Clone)]
pub struct PublicationConfig {
    /// Who we are in the room.
    pub participant: String,
    /// What the media is to the others.
    pub role: Role,
    /// A name for people, in the catalog.
    pub label: Option<String>,
    /// Figures are reported so often.
    pub report_every: Duration,
}

/// Ends a publication from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(mpsc::Sender<()>);

impl Stop {
    /// Stops: what was read is not played to its end, the tracks end as they do at the end of a film.
    pub fn stop(&self) {
        // One request is enough: a full channel holds it already, a closed one has nothing to stop.
        let _ = self.0.try_send(());
    }
}

/// Why a publication ended before its time.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublicationError {
    /// What was to be published could not be read, or not all of it.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The relay said no.
    #[error("the relay does not take {what}: {reason} ({code:?}){}", refusal_hint(*.code))]
    Refused {
        /// What was offered.
        what: String,
        /// The relay's words.
        reason: String,
        /// The draft's code.
        code: RequestErrorCode,
    },
    /// Nothing of the media has a track of ours.
    #[error("cannot publish it: it has neither picture nor sound that can be sent")]
    NoTrack,
}

fn refusal_hint(code: RequestErrorCode) -> &'static str {
    match code {
        RequestErrorCode::Unauthorized => ".\nThe token (--token-file) may be for another name: see --name",
        RequestErrorCode::DuplicateSubscription => ".\nSomebody else may have the name: try another --name",
        RequestErrorCode::ExcessiveLoad => ".\nThe relay is at one of its limits: try again later",
        _ => "",
    }
}

/// Called with what is worth telling.
pub type Tell = Box<dyn FnMut(Instant, &Report<'_>) + Send>;

/// The publication.
pub struct Publication {
    config: PublicationConfig,
    input: Input,
    stop: Stop,
    stop_asked: mpsc::Receiver<()>,
    namespace: Namespace,
    header: Option<InputHeader>,
    header_at: Option<Instant>,
    input_ended: bool,
    schedule: Schedule,
    /// Track of ours for each track of the input.
    track_by_input: Vec<Option<usize>>,
    tracks: Vec<MediaTrack>,
    catalog: Option<CatalogTrackState>,
    namespace_request: Option<RequestId>,
    /// Whole seconds by which all times are shifted so that none is negative.
    shift_seconds: i64,
    answers: Answers,
    pacer: Pacer,
    pending: Option<PendingDatagram>,
    ending: Option<Ending>,
    failure: Option<PublicationError>,
    report: Option<Tell>,
    report_at: Option<Instant>,
    datagrams_too_large: u64,
    last_media_ns: Option<i128>,
}

impl Publication {
    /// A publication of what `input` reads.
    pub fn new(config: PublicationConfig, input: Input) -> Result<Self, roundtable_moqt::name::NameError> {
        let (stop, stop_asked) = mpsc::channel(1);
        Ok(Publication {
            namespace: Namespace::single(config.participant.clone())?,
            config,
            input,
            stop: Stop(stop),
            stop_asked,
            header: None,
            header_at: None,
            input_ended: false,
            schedule: Schedule::default(),
            track_by_input: Vec::new(),
            tracks: Vec::new(),
            catalog: None,
            namespace_request: None,
            shift_seconds: 0,
            answers: Answers::default(),
            pacer: Pacer::default(),
            pending: None,
            ending: None,
            failure: None,
            report: None,
            report_at: None,
            datagrams_too_large: 0,
            last_media_ns: None,
        })
    }

    /// Has figures and events reported.
    pub fn report_to(&mut self, report: Tell) {
        self.report = Some(report);
    }

    /// What ends it from outside.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Why it did not go to its end, when that was not the connection's fault.
    pub fn failure(&self) -> Option<&PublicationError> {
        self.failure.as_ref()
    }

    /// True when everything was sent and ended properly.
    pub fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(Ending::is_over)
    }

    /// Counts of all media tracks.
    pub fn counters(&self) -> Vec<(TrackName, TrackCounters)> {
        self.tracks.iter().map(|track| (track.name, track.counters)).collect()
    }

    fn tell(&mut self, now: Instant, report: &Report<'_>) {
        if let Some(tell) = &mut self.report {
            tell(now, report);
        }
    }

    // ---- from the input

    /// Takes what has been read, as long as there is room for it.
    fn take_input(&mut self, cx: &mut Context<'_>, now: Instant) {
        while self.schedule.has_room() || self.header.is_none() {
            let Poll::Ready(event) = self.input.poll(cx) else { return };
            match event {
                InputEvent::Header(header) => self.take_header(now, header),
                InputEvent::Frame { track, frame } => {
                    if self.track_by_input.get(track).is_some_and(Option::is_some) && self.ending.is_none() {
                        self.schedule.push(track, frame);
                    }
                }
                InputEvent::End(result) => {
                    self.input_ended = true;
                    if let Err(error) = result
                        && self.failure.is_none()
                    {
                        self.failure = Some(error.into());
                    }
                    return;
                }
            }
        }
    }

    /// The first picture and the first sound are published.
    fn take_header(&mut self, now: Instant, header: InputHeader) {
        self.schedule = Schedule::new(header.tracks.iter().map(|format| format.timescale));
        let names = [self.config.role.video(), self.config.role.audio()];
        let mut taken: Vec<TrackName> = Vec::new();
        for format in &header.tracks {
            let name = names.into_iter().find(|name| name.is_video() == format.codec.is_video());
            let name = name.filter(|name| !taken.contains(name));
            self.track_by_input.push(name.map(|_| taken.len()));
            taken.extend(name);
        }
        self.schedule.ignore(|track| self.track_by_input.get(track).is_none_or(Option::is_none));
        self.header = Some(header);
        self.header_at = Some(now);
    }

    // ---- the tracks

    /// Offers the tracks, once it is known when they begin.
    fn begin(&mut self, io: &mut Io<'_>) {
        let (Some(header), Some(header_at)) = (&self.header, self.header_at) else {
            if self.input_ended && self.ending.is_none() {
                self.start_ending(io.now);
            }
            return;
        };
        let is_ready = self.schedule.has_frames_of_all()
            || !self.schedule.has_room()
            || self.input_ended
            || (!self.schedule.is_empty() && io.now >= header_at + FIRST_FRAMES_WAIT);
        if self.catalog.is_some() || !is_ready || self.ending.is_some() {
            return;
        }
        if self.schedule.is_empty() {
            self.failure.get_or_insert(PublicationError::NoTrack);
            self.start_ending(io.now);
            return;
        }
        let earliest_ns = self.schedule.earliest_ns().unwrap_or(0);
        let shift = (-earliest_ns).max(0).div_euclid(1_000_000_000) + i128::from(earliest_ns < 0);
        self.shift_seconds = i64::try_from(shift).unwrap_or(0);
        self.schedule.start(io.now);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first_group = u64::try_from(unix.as_millis()).unwrap_or(0);
        let formats = header.tracks.iter().zip(&self.track_by_input);
        let formats: Vec<_> =
            formats.filter(|(_, ours)| ours.is_some()).map(|(format, _)| format.clone()).collect();
        for (format, alias) in formats.into_iter().zip(1..) {
            let name =
                if format.codec.is_video() { self.config.role.video() } else { self.config.role.audio() };
            let Some(full_name) = self.full_name(name) else { continue };
            self.tracks.push(MediaTrack::new(name, full_name, TrackAlias(alias), format, first_group));
        }
        let zero_ns = i128::try_from(unix.as_nanos()).unwrap_or(0) - earliest_ns - shift * 1_000_000_000;
        let zero_unix_us = u64::try_from(zero_ns / 1000).ok();
        let duration_and_bytes = header.duration.zip(header.bytes);
        let catalog = catalog_track::describe(
            &self.tracks,
            self.config.label.as_deref(),
            zero_unix_us,
            duration_and_bytes,
            first_group,
        );
        if let Some(full_name) = self.full_name(TrackName::Catalog) {
            self.catalog = Some(CatalogTrackState::new(io.now, full_name, &catalog, first_group));
        }
        self.report_at = Some(io.now + self.config.report_every);
        self.offer(io);
        let header = self.header.take();
        if let Some(header) = &header {
            let report =
                Report::Began { participant: &self.config.participant, tracks: &catalog.tracks, header };
            if let Some(tell) = &mut self.report {
                tell(io.now, &report);
            }
        }
        self.header = header;
    }

    fn full_name(&self, name: TrackName) -> Option<FullTrackName> {
        FullTrackName::new(self.namespace.clone(), name.as_str()).ok()
    }

    /// PUBLISH of everything: the relay asks for what was sent before by FETCH.
    fn offer(&mut self, io: &mut Io<'_>) {
        let offer = |session: &mut Session, track: &FullTrackName, alias, largest| {
            let parameters =
                Parameters { forward: Some(false), largest_object: largest, ..Parameters::default() };
            let track = track.clone();
            // Fails only when the session is over or leaving, which ends it anyhow.
            session.publish(Publish { track, alias, parameters, track_properties: Bytes::new() }).ok()
        };
        if let Some(catalog) = &mut self.catalog {
            let largest = catalog.history.largest();
            catalog.subscription = offer(io.session, &catalog.full_name, CATALOG_ALIAS, largest);
        }
        for track in &mut self.tracks {
            let largest = track.history.largest();
            track.subscription = offer(io.session, &track.full_name, track.alias, largest);
        }
    }

    /// Once every track is known to the relay, everybody may hear of us.
    fn announce(&mut self, io: &mut Io<'_>) {
        let subscriptions = || {
            let catalog = self.catalog.iter().map(|catalog| catalog.subscription);
            catalog.chain(self.tracks.iter().map(|track| track.subscription))
        };
        let is_established = |request: Option<RequestId>| {
            request
                .and_then(|request| io.session.subscription(request))
                .is_some_and(|open| open.is_established)
        };
        if self.namespace_request.is_some() || !subscriptions().all(is_established) {
            return;
        }
        let request =
            NamespaceRequest { namespace: self.namespace.clone(), parameters: Parameters::default() };
        self.namespace_request = io.session.publish_namespace(request).ok();
    }

    /// Cuts what is due into objects.
    fn play(&mut self, now: Instant) {
        let mut has_loaded = false;
        while let Some((input_track, mut frame)) = self.schedule.pop(now) {
            let track = self.track_by_input.get(input_track).copied().flatten();
            let Some(track) = track.and_then(|track| self.tracks.get_mut(track)) else { continue };
            let shift = self.shift_seconds.saturating_mul(i64::from(track.format.timescale));
            frame.pts = frame.pts.saturating_add(shift);
            track.push(now, &frame);
            has_loaded = true;
        }
        if has_loaded {
            self.pacer.load(self.tracks.iter().map(MediaTrack::waiting).sum());
            self.last_media_ns = self.schedule.media_ns(now);
        }
    }

    // ---- sending

    /// Sends what may leave: sound first, pictures in bursts.
    fn send(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) {
        loop {
            if let Some(pending) = &mut self.pending {
                match std::pin::Pin::new(pending).poll(cx) {
                    Poll::Pending => return,
                    Poll::Ready(result) => {
                        self.note_sent(result);
                        self.pending = None;
                    }
                }
            }
            let Some(index) = self.next_track() else { return };
            let Some(track) = self.tracks.get_mut(index) else { return };
            track.drop_late(io.now);
            let Some(object) = track.next() else { continue };
            if track.name.is_video() && !self.pacer.take(io.now) {
                return;
            }
            let forwards = track.subscription.is_some_and(|request| forwards(io.session, request));
            let mut result = Ok(());
            if forwards {
                match object.forwarding {
                    Forwarding::Subgroup(_) => send_on_stream(io.session, track.subscription, object),
                    Forwarding::Datagram => {
                        let bytes = ObjectDatagram::encode(io.datagrams.prefix(), track.alias, object);
                        if bytes.len() + DatagramSender::OVERHEAD_BYTES <= io.datagrams.space() {
                            result = io.datagrams.send(bytes);
                        } else {
                            self.pending = Some(io.datagrams.send_when_possible(bytes));
                        }
                    }
                }
            }
            track.sent(io.now);
            self.note_sent(result);
        }
    }

    /// Sound before pictures, as their priorities say.
    fn next_track(&self) -> Option<usize> {
        let waiting = self.tracks.iter().enumerate().filter(|(_, track)| track.waiting() > 0);
        waiting.min_by_key(|(_, track)| track.name.priorities().base).map(|(index, _)| index)
    }

    fn note_sent(&mut self, result: Result<(), SendError>) {
        // A closed connection is told by the driver.
        if result == Err(SendError::TooLarge) {
            if self.datagrams_too_large == 0 {
                tracing::warn!("the path to the relay is too narrow for our datagrams");
            }
            self.datagrams_too_large += 1;
        }
    }

    // ---- what the relay asks

    /// SUBSCRIBE, though everything was offered by PUBLISH.
    fn subscribed(&mut self, io: &mut Io<'_>, request: RequestId, subscribe: &Subscribe) {
        let Some((alias, history, subscription)) = self.track_of(&subscribe.track) else {
            return refuse(io, request, RequestErrorCode::DoesNotExist, "there is no such track");
        };
        let parameters = Parameters { largest_object: history.largest(), ..Parameters::default() };
        let ok = SubscribeOk { alias, parameters, track_properties: Bytes::new() };
        // Fails only when the request is gone.
        if io.session.accept_subscribe(request, ok).is_ok() {
            *subscription = Some(request);
        }
        self.send_catalog(io);
    }

    fn status_asked(&mut self, io: &mut Io<'_>, request: RequestId, subscribe: &Subscribe) {
        let Some((_, history, _)) = self.track_of(&subscribe.track) else {
            return refuse(io, request, RequestErrorCode::DoesNotExist, "there is no such track");
        };
        let parameters = Parameters { largest_object: history.largest(), ..Parameters::default() };
        // Fails only when the request is gone.
        let _ = io.session.accept(request, RequestOk { parameters, ..RequestOk::default() });
    }

    /// REQUEST_UPDATE: above all, whether anybody wants the track. A request for a new group is accepted, and
    /// fulfilled by the film's next key frame.
    fn updated(&mut self, io: &mut Io<'_>, request: RequestId, update: RequestId, parameters: &Parameters) {
        let largest = match parameters.forward {
            Some(true) => self.history_of(request).and_then(crate::history::History::largest),
            _ => None,
        };
        let parameters = Parameters { largest_object: largest, ..Parameters::default() };
        // Fails only when the request is gone.
        let _ = io.session.accept_update(update, RequestOk { parameters, ..RequestOk::default() });
        self.send_catalog(io);
    }

    fn history_of(&self, request: RequestId) -> Option<&crate::history::History> {
        let of_catalog = self.catalog.as_ref().filter(|catalog| catalog.subscription == Some(request));
        let of_track = || self.tracks.iter().find(|track| track.subscription == Some(request));
        of_catalog.map(|catalog| &catalog.history).or_else(|| Some(&of_track()?.history))
    }

    fn track_of(
        &mut self,
        name: &FullTrackName,
    ) -> Option<(TrackAlias, &mut crate::history::History, &mut Option<RequestId>)> {
        if let Some(catalog) = self.catalog.as_mut().filter(|catalog| catalog.full_name == *name) {
            return Some((CATALOG_ALIAS, &mut catalog.history, &mut catalog.subscription));
        }
        let track = self.tracks.iter_mut().find(|track| track.full_name == *name)?;
        Some((track.alias, &mut track.history, &mut track.subscription))
    }

    fn send_catalog(&mut self, io: &mut Io<'_>) {
        if let Some(catalog) = &mut self.catalog {
            catalog.send(io.now, io.session);
        }
    }

    fn refused(&mut self, io: &mut Io<'_>, request: RequestId, error: &RequestError) {
        if self.ending.as_mut().is_some_and(|ending| ending.answered(request, None)) {
            return;
        }
        let track = self.tracks.iter().find(|track| track.subscription == Some(request));
        let is_catalog = self.catalog.as_ref().is_some_and(|catalog| catalog.subscription == Some(request));
        let what = match track {
            Some(track) => format!("the track {}", track.name.as_str()),
            None if is_catalog => "the catalog".to_owned(),
            None if self.namespace_request == Some(request) => {
                format!("the name {:?}", self.config.participant)
            }
            None => return,
        };
        self.failure.get_or_insert(PublicationError::Refused {
            what,
            reason: error.reason.clone(),
            code: error.code,
        });
        self.forget(request);
        self.schedule.clear();
        self.start_ending(io.now);
    }

    /// A request of ours or the relay's is over.
    fn forget(&mut self, request: RequestId) {
        self.answers.remove(request);
        let of_tracks = self.tracks.iter_mut().map(|track| &mut track.subscription);
        let all = of_tracks.chain(self.catalog.iter_mut().map(|catalog| &mut catalog.subscription));
        for subscription in all.chain([&mut self.namespace_request]).filter(|open| **open == Some(request)) {
            *subscription = None;
        }
    }

    // ---- reports

    fn make_report(&mut self, io: &mut Io<'_>) {
        self.report_at = Some(io.now + self.config.report_every);
        let media = self.last_media_ns.and_then(|ns| u64::try_from(ns).ok()).map(Duration::from_nanos);
        let tracks = self.tracks.iter().map(|track| TrackFigures {
            name: track.name,
            counters: track.counters,
            is_wanted: track.subscription.is_some_and(|request| forwards(io.session, request)),
        });
        let figures = Figures {
            media: media.unwrap_or_default(),
            duration: self.header.as_ref().and_then(|header| header.duration),
            tracks: tracks.collect(),
            path: io.datagrams.stats(),
            repairs: self.answers.count(),
        };
        self.tell(io.now, &Report::Figures(&figures));
    }
}

/// True when somebody wants the track of a subscription.
fn forwards(session: &Session, request: RequestId) -> bool {
    let subscription = session.subscription(request);
    subscription.is_some_and(|open| open.is_established && open.parameters.forward.unwrap_or(true))
}

/// An object that is a group of its own, on a stream of its own.
fn send_on_stream(session: &mut Session, subscription: Option<RequestId>, object: &Object) {
    let Some(request) = subscription else { return };
    let header = SubgroupHeader {
        alias: TrackAlias(0),
        group: object.location.group,
        subgroup: Some(0),
        priority: object.priority,
        ends_group: true,
        first_object: true,
        has_properties: !object.properties.is_empty(),
    };
    // These fail only when the subscription is over, which an event tells.
    let Ok(stream) = session.open_subgroup(request, header) else { return };
    let _ = session.write_object(stream, object);
    let _ = session.finish_stream(stream);
}

fn refuse(io: &mut Io<'_>, request: RequestId, code: RequestErrorCode, reason: &str) {
    // Fails only when the request is gone.
    let _ = io.session.reject(request, RequestError::new(code, reason));
}

impl App for Publication {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        match event {
            Event::Accepted(request, ok) => {
                let largest = ok.parameters.largest_object;
                if !self.ending.as_mut().is_some_and(|ending| ending.answered(request, largest)) {
                    self.announce(io);
                    self.send_catalog(io);
                }
            }
            Event::Refused(request, error) => self.refused(io, request, &error),
            Event::Update { request, update, parameters } => self.updated(io, request, update, &parameters),
            Event::Subscribe(request, subscribe) => self.subscribed(io, request, &subscribe),
            Event::TrackStatus(request, subscribe) => self.status_asked(io, request, &subscribe),
            Event::Fetch(request, fetch) => {
                let catalog = self.catalog.as_ref().filter(|catalog| catalog.full_name == fetch.track);
                let track = self.tracks.iter().find(|track| track.full_name == fetch.track);
                let history = catalog.map(|catalog| &catalog.history).or(track.map(|track| &track.history));
                match history {
                    Some(history) => self.answers.asked(io, request, &fetch, history),
                    None => refuse(io, request, RequestErrorCode::DoesNotExist, "there is no such track"),
                }
            }
            Event::Cancelled { request, .. } | Event::StreamStopped { request, .. } => {
                let is_stream_only = matches!(event, Event::StreamStopped { .. });
                self.answers.remove(request);
                if !is_stream_only {
                    self.forget(request);
                }
            }
            Event::Publish(request, _) => {
                refuse(io, request, RequestErrorCode::Uninterested, "a publisher takes no tracks");
            }
            Event::SubscribeNamespace(request, _)
            | Event::SubscribeTracks(request, _)
            | Event::PublishNamespace(request, _) => {
                refuse(
                    io,
                    request,
                    RequestErrorCode::NotSupported,
                    "a publisher offers its tracks by itself",
                );
            }
            _ => {}
        }
    }

    fn handle_datagram(&mut self, _io: &mut Io<'_>, _request: RequestId, _datagram: ObjectDatagram) {}

    fn datagrams_drained(&mut self, _io: &mut Io<'_>) {}

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        if self.stop_asked.poll_recv(cx).is_ready() {
            self.schedule.clear();
            self.start_ending(io.now);
        }
        self.take_input(cx, io.now);
        self.begin(io);
        self.play(io.now);
        // What has just been played has made room; once is enough, since a turn follows at the next frame.
        self.take_input(cx, io.now);
        if self.input_ended && self.schedule.is_empty() && self.catalog.is_some() {
            self.start_ending(io.now);
        }
        self.send(cx, io);
        self.answers.write(io);
        if self.report_at.is_some_and(|at| at <= io.now) {
            self.make_report(io);
        }
        if self.end(io) {
            io.session.close(SessionError::NoError, "");
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let next_frame = self.schedule.poll_timeout();
        let has_waiting = self.pending.is_none() && self.tracks.iter().any(|track| track.waiting() > 0);
        let next_burst = self.pacer.poll_timeout().filter(|_| has_waiting);
        let first_frames = self.header_at.filter(|_| self.catalog.is_none()).map(|at| at + FIRST_FRAMES_WAIT);
        let ending = self.ending.as_ref().and_then(Ending::poll_timeout);
        [next_frame, next_burst, first_frames, self.report_at, ending].into_iter().flatten().min()
    }

    /// Whatever is due is done in [`App::poll`], which follows in every turn.
    fn handle_timeout(&mut self, _io: &mut Io<'_>) {}
}

/// Where the last object of a track stands, for the relay to confirm.
fn last_sent(track: &MediaTrack) -> Option<Location> {
    track.history.largest()
}
