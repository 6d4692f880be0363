//! What subscribers of tracks do: SUBSCRIBE, updates, and the offers made to SUBSCRIBE_TRACKS.

use std::time::{Duration, Instant};

use roundtable_moqt::{
    FullTrackName, RequestErrorCode,
    message::{RequestError, RequestId},
};

use crate::refusal::Refusal;

use super::{
    Command, LinkId, Room, SessionId, Timer,
    interest::InterestKind,
    tracks::{Downstream, DownstreamState},
};

/// A SUBSCRIBE of a peer.
#[derive(Debug, Clone)]
pub struct SubscribeOffer {
    /// The track.
    pub name: FullTrackName,
    /// Whether it wants objects now.
    pub forward: bool,
    /// RENDEZVOUS_TIMEOUT.
    pub rendezvous: Duration,
    /// NEW_GROUP_REQUEST.
    pub new_group: Option<u64>,
    /// The track's largest group, as the data path knows it.
    pub largest_group: Option<u64>,
}

/// A REQUEST_UPDATE of a subscription, or the answer to a PUBLISH of ours.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpdateOffer {
    /// Whether it wants objects now, if that is said.
    pub forward: Option<bool>,
    /// NEW_GROUP_REQUEST.
    pub new_group: Option<u64>,
    /// The track's largest group, as the data path knows it.
    pub largest_group: Option<u64>,
}

impl<T: Clone> Room<T> {
    /// SUBSCRIBE. Its answer is an action: at once, when a publisher answers, or when it has waited enough.
    pub fn subscribe(
        &mut self,
        now: Instant,
        session: SessionId,
        offer: SubscribeOffer,
    ) -> Result<LinkId, Refusal> {
        let SubscribeOffer { name, forward, rendezvous, new_group, largest_group } = offer;
        if self.subscriber_link(session, &name).is_some() {
            return Err(Refusal::new(
                RequestErrorCode::DuplicateSubscription,
                "you have a subscription to this track already",
            ));
        }
        let publishers = self.publishers_of(name.namespace());
        let has_upstream = self.tracks.get(&name).is_some_and(|track| !track.upstreams.is_empty());
        if !has_upstream && publishers.is_empty() && rendezvous.is_zero() {
            return Err(Refusal::new(RequestErrorCode::DoesNotExist, "nobody publishes this track"));
        }
        self.make_track(&name)?;
        let link = self.new_link(session, &name);
        let track = self.tracks.get_mut(&name).ok_or(Refusal::internal())?;
        let is_first = track.downstreams.is_empty();
        let is_established = track.has_established_upstream();
        let rendezvous = rendezvous.min(self.limits.rendezvous_max);
        track.downstreams.push(Downstream {
            link,
            session,
            forward,
            state: DownstreamState::Waiting,
            is_offer: false,
            asked_at: now,
            rendezvous_until: (!rendezvous.is_zero()).then(|| now + rendezvous),
            waits_for_flow: false,
            deadline: None,
        });
        if let Some(at) = track.forgotten_at.take() {
            self.timers.remove(&(at, Timer::Ended(name.clone())));
        }
        let wait =
            if has_upstream || !publishers.is_empty() { self.limits.upstream_wait_max } else { rendezvous };
        self.set_timer(&name, link, now + wait);
        if is_first || !is_established {
            for publisher in publishers {
                self.subscribe_upstream(publisher, &name, new_group);
            }
        }
        if let (true, Some(value)) = (is_established, new_group) {
            self.request_new_group(&name, value, largest_group);
        }
        self.refresh_upstreams(now, &name);
        self.accept_ready(now, &name);
        Ok(link)
    }

    /// REQUEST_UPDATE of a subscription. Applies to one that is not answered yet as well.
    pub fn update_subscription(&mut self, now: Instant, link: LinkId, update: UpdateOffer) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        if let (Some(forward), Some(downstream)) = (update.forward, track.downstream(link)) {
            downstream.forward = forward;
        }
        if let Some(value) = update.new_group
            && track.has_established_upstream()
        {
            self.request_new_group(&name, value, update.largest_group);
        }
        self.refresh_upstreams(now, &name);
        self.accept_ready(now, &name);
    }

    /// The subscriber does not want the track any more: it cancelled, refused our PUBLISH, or is gone.
    pub fn unsubscribe(&mut self, now: Instant, link: LinkId) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        let Some(index) = track.downstreams.iter().position(|downstream| downstream.link == link) else {
            return;
        };
        let downstream = track.downstreams.remove(index);
        self.forget_downstream(&downstream);
        self.refresh_upstreams(now, &name);
    }

    /// The subscription a session has to a track, in any state.
    pub fn subscriber_link(&self, session: SessionId, name: &FullTrackName) -> Option<LinkId> {
        let track = self.tracks.get(name)?;
        let mine = track.downstreams.iter().find(|downstream| downstream.session == session)?;
        Some(mine.link)
    }

    /// Offers a track to a session that asked for all of a prefix: not its own tracks, nor those it has.
    pub(super) fn offer(
        &mut self,
        now: Instant,
        session: SessionId,
        request: RequestId,
        name: &FullTrackName,
    ) {
        if self.tracks.get(name).is_none_or(|track| track.is_upstream(session))
            || self.subscriber_link(session, name).is_some()
        {
            return;
        }
        let Some(member) = self.members.get_mut(&session) else { return };
        let kind = member.interests.get(&request).map(|interest| &interest.kind);
        let Some(InterestKind::Tracks { forward, blocked }) = kind else { return };
        let forward = *forward;
        if member.is_leaving || blocked.contains(name) {
            return;
        }
        if member.offers >= self.limits.offers_per_session_max {
            self.block_offer(session, request, name);
            return;
        }
        member.offers += 1;
        let link = self.new_link(session, name);
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.downstreams.push(Downstream {
            link,
            session,
            forward,
            state: DownstreamState::Waiting,
            is_offer: true,
            asked_at: now,
            rendezvous_until: None,
            waits_for_flow: false,
            deadline: None,
        });
    }

    /// Answers everybody who can be answered now: a publisher is there, and has said where its track stands if
    /// it began to send only now. Otherwise the largest location, where a joining FETCH ends, would be stale
    /// (draft 10.2.9).
    pub(super) fn accept_ready(&mut self, now: Instant, name: &FullTrackName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if !track.has_established_upstream() {
            return;
        }
        let is_flowing = track.is_flowing();
        let mut ready = Vec::new();
        let mut waiting = Vec::new();
        for downstream in &mut track.downstreams {
            if downstream.state == DownstreamState::Established {
                continue;
            }
            if is_flowing || !downstream.forward {
                ready.push(downstream.link);
            } else if !downstream.waits_for_flow {
                downstream.waits_for_flow = true;
                waiting.push(downstream.link);
            }
        }
        for link in waiting {
            self.set_timer(name, link, now + self.limits.forward_wait_max);
        }
        for link in ready {
            self.accept_subscription(name, link);
        }
    }

    fn accept_subscription(&mut self, name: &FullTrackName, link: LinkId) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let data = track.data.clone();
        let Some(downstream) = track.downstream(link) else { return };
        downstream.state = DownstreamState::Established;
        let Downstream { session, forward, is_offer, .. } = *downstream;
        if let Some(at) = downstream.deadline.take() {
            self.timers.remove(&(at, Timer::Waiting(link)));
        }
        let command = match is_offer {
            true => Command::Offer { link, name: name.clone(), track: data, forward },
            false => Command::AcceptSubscribe { link, track: data },
        };
        self.act(session, command);
    }

    /// The time of somebody who waits has come.
    pub(super) fn waited_long_enough(&mut self, now: Instant, link: LinkId) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let upstream_wait_max = self.limits.upstream_wait_max;
        let Some(track) = self.tracks.get_mut(&name) else { return };
        let is_established = track.has_established_upstream();
        let is_pending = !track.upstreams.is_empty();
        let Some(downstream) = track.downstream(link) else { return };
        downstream.deadline = None;
        let pending_until = is_pending.then(|| downstream.asked_at + upstream_wait_max);
        let later = pending_until.max(downstream.rendezvous_until).filter(|at| *at > now);
        if is_established {
            self.accept_subscription(&name, link);
        } else if let Some(at) = later {
            self.set_timer(&name, link, at);
        } else {
            let error = RequestError::new(RequestErrorCode::Timeout, "no publisher came in time");
            self.refuse_subscribe(&name, link, error);
            self.refresh_upstreams(now, &name);
        }
    }

    /// Nobody can be asked for the track: refuses those who do not want to wait for another publisher.
    pub(super) fn refuse_waiting(&mut self, now: Instant, name: &FullTrackName, error: &RequestError) {
        let Some(track) = self.tracks.get(name) else { return };
        let waiting: Vec<(LinkId, Option<Instant>)> = track
            .downstreams
            .iter()
            .filter(|downstream| downstream.state == DownstreamState::Waiting && !downstream.is_offer)
            .map(|downstream| (downstream.link, downstream.rendezvous_until.filter(|at| *at > now)))
            .collect();
        for (link, rendezvous_until) in waiting {
            match rendezvous_until {
                Some(at) => self.set_timer(name, link, at),
                None => self.refuse_subscribe(name, link, error.clone()),
            }
        }
        self.bury_if_unused(now, name);
    }

    fn refuse_subscribe(&mut self, name: &FullTrackName, link: LinkId, error: RequestError) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let Some(index) = track.downstreams.iter().position(|downstream| downstream.link == link) else {
            return;
        };
        let downstream = track.downstreams.remove(index);
        self.forget_downstream(&downstream);
        self.act(downstream.session, Command::RefuseSubscribe { link, error });
    }

    fn set_timer(&mut self, name: &FullTrackName, link: LinkId, at: Instant) {
        let Some(downstream) = self.tracks.get_mut(name).and_then(|track| track.downstream(link)) else {
            return;
        };
        if let Some(before) = downstream.deadline.replace(at) {
            self.timers.remove(&(before, Timer::Waiting(link)));
        }
        self.timers.insert((at, Timer::Waiting(link)));
    }
}
