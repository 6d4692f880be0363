//! A film as a participant of a room: an [`App`] that publishes its tracks, at their own pace, and answers what
//! the relay asks about them.
//!
//! - `begin`: what is read becomes tracks. `offer`: what a session is told of them. `requests`: what the relay says.
//! - `sending`: objects on their way out. `ending`: how it all ends. `catalog_track`: the catalog.

mod begin;
mod catalog_track;
mod ending;
mod offer;
mod requests;
mod sending;

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use roundtable_media::names::TrackName;
use roundtable_moqt::{
    Event, Namespace, ObjectDatagram, RequestErrorCode, SessionError, StreamResetCode, message::RequestId,
    name::NameError,
};
use roundtable_transport::{App, Io, PendingDatagram};
use tokio::sync::mpsc;

pub use self::offer::Left;
use self::{catalog_track::CatalogTrack, ending::Ending, requests::refuse, sending::forwards};
use crate::{
    answers::Answers,
    input::{Input, InputError, InputHeader},
    options::Role,
    pacer::Pacer,
    progress::{Figures, Report, TrackFigures},
    schedule::Schedule,
    track::{MediaTrack, TrackCounters},
};

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
    /// The relay took it, and wants it no more.
    #[error("the relay does not take any track of ours any more ({0:?})")]
    NotWanted(StreamResetCode),
    /// Nothing of the media has a track of ours.
    #[error("cannot publish it: it has neither picture nor sound that can be sent")]
    NoTrack,
}

fn refusal_hint(code: RequestErrorCode) -> &'static str {
    match code {
        RequestErrorCode::Unauthorized => {
            ".\nThe token (--token-file) may be for another name (--name), or not allow this track"
        }
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
    namespace: Namespace,
    stop: Stop,
    stop_asked: mpsc::Receiver<()>,

    input: Input,
    has_input_ended: bool,
    header: Option<InputHeader>,
    /// Track of ours for each track of the input.
    track_by_input: Vec<Option<usize>>,
    /// The first frames of all tracks are waited for until then.
    first_frames_until: Option<Instant>,
    schedule: Schedule,
    /// Whole seconds by which all times are shifted, so that none is negative.
    shift_seconds: i64,

    tracks: Vec<MediaTrack>,
    catalog: Option<CatalogTrack>,
    pacer: Pacer,
    ending: Option<Ending>,
    failure: Option<PublicationError>,

    /// Of the present session: what was offered on it, and what is on its way.
    has_offered: bool,
    namespace_request: Option<RequestId>,
    is_namespace_accepted: bool,
    answers: Answers,
    pending: Option<PendingDatagram>,

    tell: Option<Tell>,
    has_told_beginning: bool,
    report_at: Option<Instant>,
    media_ns: Option<i128>,
    datagrams_too_large: u64,
}

impl Publication {
    /// A publication of what `input` reads.
    pub fn new(config: PublicationConfig, input: Input) -> Result<Self, NameError> {
        let (stop, stop_asked) = mpsc::channel(1);
        Ok(Publication {
            namespace: Namespace::single(config.participant.clone())?,
            config,
            stop: Stop(stop),
            stop_asked,
            input,
            has_input_ended: false,
            header: None,
            track_by_input: Vec::new(),
            first_frames_until: None,
            schedule: Schedule::default(),
            shift_seconds: 0,
            tracks: Vec::new(),
            catalog: None,
            pacer: Pacer::default(),
            ending: None,
            failure: None,
            has_offered: false,
            namespace_request: None,
            is_namespace_accepted: false,
            answers: Answers::default(),
            pending: None,
            tell: None,
            has_told_beginning: false,
            report_at: None,
            media_ns: None,
            datagrams_too_large: 0,
        })
    }

    /// Has figures and events told.
    pub fn tell_to(&mut self, tell: Tell) {
        self.tell = Some(tell);
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

    /// True when nothing more will be played.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Counts of all media tracks; none before the relay knows them.
    pub fn counters(&self) -> Vec<(TrackName, TrackCounters)> {
        self.tracks
            .iter()
            .filter(|_| self.has_told_beginning)
            .map(|track| (track.name, track.counters))
            .collect()
    }

    fn is_wanted(&self, io: &Io<'_>, track: &MediaTrack) -> bool {
        track.subscription.and_then(|request| io.session.subscription(request)).is_some_and(forwards)
    }

    fn report(&mut self, io: &mut Io<'_>) {
        self.report_at = Some(io.now + self.config.report_every);
        let media = self.media_ns.and_then(|ns| u64::try_from(ns).ok()).map(Duration::from_nanos);
        let tracks = self.tracks.iter().map(|track| TrackFigures {
            name: track.name,
            counters: track.counters,
            is_wanted: self.is_wanted(io, track),
        });
        let figures = Figures {
            media: media.unwrap_or_default(),
            duration: self
                .header
                .as_ref()
                .filter(|header| !header.is_endless)
                .and_then(|header| header.duration),
            tracks: tracks.collect(),
            path: io.datagrams.stats(),
            repairs: self.answers.count(),
        };
        if let Some(tell) = &mut self.tell {
            tell(io.now, &Report::Figures(&figures));
        }
    }
}

impl App for Publication {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        match event {
            Event::Accepted(request, ok) => self.accepted(io, request, &ok),
            Event::Refused(request, error) => self.refused(io, request, &error),
            Event::Update { request, update, parameters } => self.updated(io, request, update, &parameters),
            Event::Subscribe(request, subscribe) => self.subscribed(io, request, &subscribe),
            Event::TrackStatus(request, subscribe) => self.status_asked(io, request, &subscribe),
            Event::Fetch(request, fetch) => self.fetch_asked(io, request, &fetch),
            Event::StreamStopped { request, .. } => self.answers.remove(request),
            Event::Cancelled { request, code } => self.cancelled(io, request, code),
            Event::Publish(request, _) => {
                refuse(io, request, RequestErrorCode::Uninterested, "a publisher takes no tracks");
            }
            Event::SubscribeNamespace(request, _)
            | Event::SubscribeTracks(request, _)
            | Event::PublishNamespace(request, _) => {
                let reason = "a publisher offers its tracks by itself";
                refuse(io, request, RequestErrorCode::NotSupported, reason);
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
        self.begin(io.now);
        self.offer(io);
        self.play(io.now);
        // What has just been played has made room, and somebody has to wake us when there is more.
        self.take_input(cx, io.now);
        if self.has_input_ended && self.schedule.is_empty() && self.catalog.is_some() {
            self.start_ending(io.now);
        }
        self.send(cx, io);
        self.answers.write(io);
        if self.report_at.is_some_and(|at| at <= io.now) {
            self.report(io);
        }
        if self.end(io) {
            io.session.close(SessionError::NoError, "");
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let next_frame = self.schedule.poll_timeout();
        let next_burst = self.pacer.poll_timeout().filter(|_| self.waits_for_pacer());
        let ending = self.ending.as_ref().and_then(Ending::poll_timeout);
        let times = [next_frame, next_burst, ending, self.first_frames_until, self.report_at];
        times.into_iter().flatten().min()
    }

    /// Whatever is due is done in [`App::poll`], which follows in every turn.
    fn handle_timeout(&mut self, _io: &mut Io<'_>) {}
}
