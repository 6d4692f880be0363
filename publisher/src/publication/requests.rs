//! What the relay asks, and what it answers.

use bytes::Bytes;
use roundtable_moqt::{
    FullTrackName, Parameters, RequestErrorCode, StreamResetCode,
    message::{RequestError, RequestId, RequestOk, Subscribe, SubscribeOk, TrackAlias},
    session::ResolvedFetch,
};
use roundtable_transport::Io;

use super::{Publication, PublicationError, catalog_track::CATALOG_ALIAS};
use crate::history::History;

impl Publication {
    /// SUBSCRIBE, though everything was offered by PUBLISH.
    pub(super) fn subscribed(&mut self, io: &mut Io<'_>, request: RequestId, subscribe: &Subscribe) {
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

    /// TRACK_STATUS.
    pub(super) fn status_asked(&mut self, io: &mut Io<'_>, request: RequestId, subscribe: &Subscribe) {
        let Some((_, history, _)) = self.track_of(&subscribe.track) else {
            return refuse(io, request, RequestErrorCode::DoesNotExist, "there is no such track");
        };
        let parameters = Parameters { largest_object: history.largest(), ..Parameters::default() };
        // Fails only when the request is gone.
        let _ = io.session.accept(request, RequestOk { parameters, ..RequestOk::default() });
    }

    /// FETCH.
    pub(super) fn fetch_asked(&mut self, io: &mut Io<'_>, request: RequestId, fetch: &ResolvedFetch) {
        let catalog = self.catalog.as_ref().filter(|catalog| catalog.full_name == fetch.track);
        let track = self.tracks.iter().find(|track| track.full_name == fetch.track);
        let history = catalog.map(|catalog| &catalog.history).or(track.map(|track| &track.history));
        match history {
            Some(history) => self.answers.asked(io, request, fetch, history),
            None => refuse(io, request, RequestErrorCode::DoesNotExist, "there is no such track"),
        }
    }

    /// REQUEST_UPDATE: above all, whether anybody wants the track. A request for a new group is accepted, and
    /// fulfilled by the film's next key frame.
    pub(super) fn updated(
        &mut self,
        io: &mut Io<'_>,
        request: RequestId,
        update: RequestId,
        asked: &Parameters,
    ) {
        let largest_object = match asked.forward {
            Some(true) => self.history_of(request).and_then(History::largest),
            _ => None,
        };
        let parameters = Parameters { largest_object, ..Parameters::default() };
        // Fails only when the request is gone.
        let _ = io.session.accept_update(update, RequestOk { parameters, ..RequestOk::default() });
        self.send_catalog(io);
    }

    /// REQUEST_OK.
    pub(super) fn accepted(&mut self, io: &mut Io<'_>, request: RequestId, ok: &RequestOk) {
        if self.ending.as_mut().is_some_and(|ending| ending.answered(request, ok.parameters.largest_object)) {
            return;
        }
        self.is_namespace_accepted |= self.namespace_request == Some(request);
        self.announce(io);
        self.send_catalog(io);
    }

    /// REQUEST_ERROR: without a track, there is nothing to do here.
    pub(super) fn refused(&mut self, io: &mut Io<'_>, request: RequestId, error: &RequestError) {
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
        let (reason, code) = (error.reason.clone(), error.code);
        self.failure.get_or_insert(PublicationError::Refused { what, reason, code });
        self.forget(request);
        self.schedule.clear();
        self.start_ending(io.now);
    }

    /// A request of ours or the relay's was cancelled. A track that has to move is offered again; without any track
    /// there is nothing left to do.
    pub(super) fn cancelled(&mut self, io: &mut Io<'_>, request: RequestId, code: StreamResetCode) {
        let is_track = self.tracks.iter().any(|track| track.subscription == Some(request));
        self.forget(request);
        if !is_track || self.ending.is_some() {
            return;
        }
        if code == StreamResetCode::GoingAway && !io.session.is_going_away() {
            self.has_offered = false;
            return;
        }
        tracing::warn!(?code, "the relay does not take one of our tracks any more");
        if self.tracks.iter().all(|track| track.subscription.is_none()) {
            self.failure.get_or_insert(PublicationError::NotWanted(code));
            self.schedule.clear();
            self.start_ending(io.now);
        }
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

    fn send_catalog(&mut self, io: &mut Io<'_>) {
        if let Some(catalog) = &mut self.catalog {
            catalog.send(io.session);
        }
    }

    fn history_of(&self, request: RequestId) -> Option<&History> {
        let catalog = self.catalog.as_ref().filter(|catalog| catalog.subscription == Some(request));
        let track = || self.tracks.iter().find(|track| track.subscription == Some(request));
        catalog.map(|catalog| &catalog.history).or_else(|| Some(&track()?.history))
    }

    fn track_of(
        &mut self,
        name: &FullTrackName,
    ) -> Option<(TrackAlias, &mut History, &mut Option<RequestId>)> {
        if let Some(catalog) = self.catalog.as_mut().filter(|catalog| catalog.full_name == *name) {
            return Some((CATALOG_ALIAS, &mut catalog.history, &mut catalog.subscription));
        }
        let track = self.tracks.iter_mut().find(|track| track.full_name == *name)?;
        Some((track.alias, &mut track.history, &mut track.subscription))
    }
}

/// REQUEST_ERROR of ours.
pub(super) fn refuse(io: &mut Io<'_>, request: RequestId, code: RequestErrorCode, reason: &str) {
    // Fails only when the request is gone.
    let _ = io.session.reject(request, RequestError::new(code, reason));
}
