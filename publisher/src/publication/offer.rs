//! What one session is told: our tracks by PUBLISH, then our namespace. Everything here is done again on the next
//! session, when there is one.

use std::{pin::Pin, task::Context};

use bytes::Bytes;
use roundtable_moqt::{
    FullTrackName, Location, Parameters, PublishDoneCode, Session, StreamResetCode,
    message::{NamespaceRequest, Publish, RequestId, TrackAlias},
};
use roundtable_transport::{Io, PendingDatagram};

use super::{Publication, catalog_track::CATALOG_ALIAS};
use crate::progress::Report;

/// What is left of a publication on a session that it has moved away from.
#[derive(Debug, Default)]
pub struct Left {
    subscriptions: Vec<RequestId>,
    namespace: Option<RequestId>,
    pending: Option<PendingDatagram>,
}

impl Left {
    /// Sends what was on its way.
    pub fn poll(&mut self, cx: &mut Context<'_>) {
        // Whether it was sent or not, it was the last.
        self.pending.take_if(|pending| Pin::new(pending).poll(cx).is_ready());
    }

    /// Takes the tracks and the namespace back.
    pub fn say_goodbye(self, session: &mut Session, code: PublishDoneCode) {
        for request in self.subscriptions {
            // Fails only when the request is gone.
            let _ = session.publish_done(request, code, "");
        }
        if let Some(request) = self.namespace {
            let _ = session.cancel(request, StreamResetCode::Cancelled);
        }
    }
}

impl Publication {
    /// PUBLISH of everything, once there is something. What was sent before the relay took it can be asked for.
    pub(super) fn offer(&mut self, io: &mut Io<'_>) {
        let Some(catalog) = self.catalog.as_mut().filter(|_| !self.has_offered) else { return };
        self.has_offered = true;
        self.report_at = Some(io.now + self.config.report_every);
        if catalog.subscription.is_none() {
            catalog.subscription =
                publish(io.session, &catalog.full_name, CATALOG_ALIAS, catalog.history.largest());
        }
        for track in self.tracks.iter_mut().filter(|track| track.subscription.is_none()) {
            track.subscription = publish(io.session, &track.full_name, track.alias, track.history.largest());
        }
    }

    /// Once every track is known to the relay, everybody may hear of us.
    pub(super) fn announce(&mut self, io: &mut Io<'_>) {
        let is_established = |request: Option<RequestId>| {
            let subscription = request.and_then(|request| io.session.subscription(request));
            subscription.is_some_and(|open| open.is_established)
        };
        let Some(catalog) = &self.catalog else { return };
        let is_known = is_established(catalog.subscription)
            && self.tracks.iter().all(|track| is_established(track.subscription));
        if self.namespace_request.is_some() || !is_known || self.ending.is_some() {
            return;
        }
        let request =
            NamespaceRequest { namespace: self.namespace.clone(), parameters: Parameters::default() };
        self.namespace_request = io.session.publish_namespace(request).ok();
        if !std::mem::replace(&mut self.has_told_beginning, true)
            && let (Some(tell), Some(header)) = (&mut self.tell, &self.header)
        {
            let participant = &self.config.participant;
            tell(io.now, &Report::Began { participant, tracks: &catalog.content.tracks, header });
        }
    }

    /// True when the relay knows the tracks and the namespace, or there is nothing to be known.
    pub fn is_announced(&self) -> bool {
        self.is_namespace_accepted || self.ending.is_some()
    }

    /// Forgets the session: on the next one, everything is offered again and goes on where it was. Returns what is
    /// to be taken back on this one.
    pub fn detach(&mut self) -> Left {
        let of_tracks = self.tracks.iter_mut().filter_map(|track| track.subscription.take());
        let mut subscriptions: Vec<RequestId> = of_tracks.collect();
        if let Some(catalog) = &mut self.catalog {
            subscriptions.extend(catalog.detach());
        }
        self.answers.clear();
        (self.has_offered, self.is_namespace_accepted) = (false, false);
        if let Some(ending) = &mut self.ending {
            ending.restart();
        }
        Left { subscriptions, namespace: self.namespace_request.take(), pending: self.pending.take() }
    }
}

fn publish(
    session: &mut Session,
    track: &FullTrackName,
    alias: TrackAlias,
    largest_object: Option<Location>,
) -> Option<RequestId> {
    // The answer says whether anybody wants it; until then nothing is sent.
    let parameters = Parameters { forward: Some(false), largest_object, ..Parameters::default() };
    let publish = Publish { track: track.clone(), alias, parameters, track_properties: Bytes::new() };
    // Fails only when the session is over or leaving, which ends it anyhow.
    session.publish(publish).ok()
}
