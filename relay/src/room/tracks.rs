//! One track of the room: its publishers, its subscribers, and its beginning and end.

use std::time::Instant;

use roundtable_forward::NewGroupRequests;
use roundtable_moqt::{
    FullTrackName, PublishDoneCode, RequestErrorCode,
    message::{RequestError, RequestId},
};

use crate::refusal::Refusal;

use super::{Command, LinkId, Room, SessionId, Timer, interest::InterestKind};

/// A track that somebody publishes or wants, or that ended a short while ago.
pub(super) struct Track<T> {
    /// The data path's part. A track that begins again after its end gets a new one.
    pub(super) data: T,
    /// Its last publisher is gone; `data` is kept for late FETCHes.
    pub(super) has_ended: bool,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) downstreams: Vec<Downstream>,
    /// Publishers start new groups when asked.
    pub(super) dynamic_groups: bool,
    /// When it is forgotten, once it ended.
    pub(super) forgotten_at: Option<Instant>,
}

/// A publisher of the track.
pub(super) struct Upstream {
    pub(super) link: LinkId,
    pub(super) session: SessionId,
    pub(super) origin: Origin,
    /// PUBLISH or SUBSCRIBE_OK has come.
    pub(super) is_established: bool,
    /// What we asked for last.
    pub(super) forward: bool,
    /// REQUEST_UPDATEs of `forward` that are not answered.
    pub(super) forward_updates: usize,
    /// What it has been asked for and not begun yet.
    pub(super) new_groups: NewGroupRequests,
}

/// Who began an upstream subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The publisher, by PUBLISH.
    Published,
    /// We, by SUBSCRIBE, because it publishes the namespace.
    Subscribed,
}

/// A subscriber of the track.
pub(super) struct Downstream {
    pub(super) link: LinkId,
    pub(super) session: SessionId,
    pub(super) forward: bool,
    pub(super) state: DownstreamState,
    /// It came as an answer to SUBSCRIBE_TRACKS, not as a SUBSCRIBE.
    pub(super) is_offer: bool,
    pub(super) asked_at: Instant,
    /// Until then it wants to wait for a publisher to come.
    pub(super) rendezvous_until: Option<Instant>,
    /// It waits for a publisher to say where its track stands, now that somebody wants it.
    pub(super) waits_for_flow: bool,
    /// The timer that is set for it.
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DownstreamState {
    /// Not answered, or not offered, yet: no publisher, or where it stands is not known.
    Waiting,
    /// Answered, or offered and not refused.
    Established,
}

impl<T> Track<T> {
    /// Somebody has sent PUBLISH for it, and it has not ended.
    pub(super) fn is_published(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.origin == Origin::Published)
    }

    pub(super) fn has_established_upstream(&self) -> bool {
        self.upstreams.iter().any(|upstream| upstream.is_established)
    }

    /// Some subscriber wants objects, or will once it is answered.
    pub(super) fn is_wanted(&self) -> bool {
        self.downstreams.iter().any(|downstream| downstream.forward)
    }

    /// Some publisher sends objects, and has said from where on.
    pub(super) fn is_flowing(&self) -> bool {
        self.upstreams
            .iter()
            .any(|upstream| upstream.is_established && upstream.forward && upstream.forward_updates == 0)
    }

    pub(super) fn is_upstream(&self, session: SessionId) -> bool {
        self.upstreams.iter().any(|upstream| upstream.session == session)
    }

    pub(super) fn upstream(&mut self, link: LinkId) -> Option<&mut Upstream> {
        self.upstreams.iter_mut().find(|upstream| upstream.link == link)
    }

    pub(super) fn downstream(&mut self, link: LinkId) -> Option<&mut Downstream> {
        self.downstreams.iter_mut().find(|downstream| downstream.link == link)
    }
}

impl<T: Clone> Room<T> {
    /// What the data path keeps of a track, also for a while after its end.
    pub fn track(&self, name: &FullTrackName) -> Option<T> {
        self.tracks.get(name).map(|track| track.data.clone())
    }

    /// The track has a publisher that sends or would send objects.
    pub fn is_live(&self, name: &FullTrackName) -> bool {
        self.tracks.get(name).is_some_and(Track::has_established_upstream)
    }

    /// Sessions that a FETCH of the track can be sent to, the best first.
    pub fn fetch_sources(&self, name: &FullTrackName) -> Vec<SessionId> {
        let established = self.tracks.get(name).into_iter().flat_map(|track| {
            track.upstreams.iter().filter(|upstream| upstream.is_established).map(|upstream| upstream.session)
        });
        let mut sources: Vec<SessionId> = established
            .filter(|session| self.members.get(session).is_some_and(|member| !member.is_leaving))
            .collect();
        for session in self.publishers_of(name.namespace()) {
            if !sources.contains(&session) {
                sources.push(session);
            }
        }
        sources
    }

    /// The track, made if there is none, for a FETCH of objects that only a publisher has.
    pub fn track_to_fetch(&mut self, now: Instant, name: &FullTrackName) -> Result<T, Refusal> {
        self.make_track(name)?;
        self.bury_if_unused(now, name);
        self.track(name).ok_or(Refusal::internal())
    }

    /// Makes the track unless it is there. One that has ended stays as it is.
    pub(super) fn make_track(&mut self, name: &FullTrackName) -> Result<(), Refusal> {
        if !self.tracks.contains_key(name) {
            if self.tracks.len() >= self.limits.tracks_max && !self.forget_oldest_ended() {
                return Err(Refusal::new(RequestErrorCode::ExcessiveLoad, "too many tracks in this room"));
            }
            let track = Track {
                data: (self.new_track)(name),
                has_ended: false,
                upstreams: Vec::new(),
                downstreams: Vec::new(),
                dynamic_groups: false,
                forgotten_at: None,
            };
            self.tracks.insert(name.clone(), track);
        }
        Ok(())
    }

    /// A publisher has come: a track that had ended begins anew, with nothing of what it was.
    pub(super) fn begin_if_ended(&mut self, name: &FullTrackName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if let Some(at) = track.forgotten_at.take() {
            self.timers.remove(&(at, Timer::Ended(name.clone())));
        }
        if track.has_ended {
            track.has_ended = false;
            track.dynamic_groups = false;
            track.data = (self.new_track)(name);
        }
    }

    /// A publisher of the track is gone. The track ends for its subscribers only with the last one.
    pub(super) fn upstream_gone(&mut self, now: Instant, name: &FullTrackName, code: PublishDoneCode) {
        let Some(track) = self.tracks.get(name) else { return };
        if !track.upstreams.is_empty() {
            return;
        }
        let Some(track) = self.tracks.get_mut(name) else { return };
        track.has_ended = true;
        let ended: Vec<Downstream> = track
            .downstreams
            .extract_if(.., |downstream| {
                downstream.is_offer || downstream.state == DownstreamState::Established
            })
            .collect();
        for downstream in ended {
            self.forget_downstream(&downstream);
            if downstream.state == DownstreamState::Established {
                let link = downstream.link;
                self.act(downstream.session, Command::EndSubscription { link, code });
            }
        }
        let error = RequestError::new(RequestErrorCode::DoesNotExist, "nobody publishes this track");
        self.refuse_waiting(now, name, &error);
    }

    /// A track that nobody publishes or wants is kept for a while, for late FETCHes, and then forgotten.
    pub(super) fn bury_if_unused(&mut self, now: Instant, name: &FullTrackName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if !track.upstreams.is_empty() || !track.downstreams.is_empty() || track.forgotten_at.is_some() {
            return;
        }
        let at = now + self.limits.ended_track_age_max;
        track.forgotten_at = Some(at);
        self.timers.insert((at, Timer::Ended(name.clone())));
    }

    pub(super) fn forget_ended(&mut self, name: &FullTrackName, at: Instant) {
        if self.tracks.get(name).is_some_and(|track| track.forgotten_at == Some(at)) {
            self.tracks.remove(name);
            for (session, request) in self.interested_in(name.namespace()) {
                let interest =
                    self.members.get_mut(&session).and_then(|member| member.interests.get_mut(&request));
                if let Some(InterestKind::Tracks { blocked, .. }) =
                    interest.map(|interest| &mut interest.kind)
                {
                    blocked.remove(name);
                }
            }
        }
    }

    /// Makes room for a new track.
    fn forget_oldest_ended(&mut self) -> bool {
        let oldest = self.timers.iter().find_map(|(at, timer)| match timer {
            Timer::Ended(name) => Some((*at, name.clone())),
            Timer::Waiting(_) => None,
        });
        let Some((at, name)) = oldest else { return false };
        self.timers.remove(&(at, Timer::Ended(name.clone())));
        self.forget_ended(&name, at);
        true
    }

    /// The track broke the draft's rules: it ends for everybody at once (draft 2.4.2).
    pub fn malformed(&mut self, now: Instant, name: &FullTrackName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let upstreams: Vec<(SessionId, LinkId)> =
            track.upstreams.drain(..).map(|upstream| (upstream.session, upstream.link)).collect();
        let downstreams: Vec<Downstream> = track.downstreams.drain(..).collect();
        track.has_ended = true;
        for (session, link) in upstreams {
            self.forget_link(session, link);
            self.act(session, Command::CancelUpstream { link });
        }
        for downstream in downstreams {
            self.forget_downstream(&downstream);
            let Downstream { session, link, state, is_offer, .. } = downstream;
            if state == DownstreamState::Established {
                self.act(session, Command::EndSubscription { link, code: PublishDoneCode::MalformedTrack });
            } else if !is_offer {
                let error = RequestError::new(RequestErrorCode::MalformedTrack, "the track is malformed");
                self.act(session, Command::RefuseSubscribe { link, error });
            }
        }
        self.bury_if_unused(now, name);
    }

    /// One side of a session is gone: whatever the link was, it is over.
    pub(super) fn drop_link(&mut self, now: Instant, link: LinkId) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        if track.upstream(link).is_some() {
            self.remove_upstream(now, link, PublishDoneCode::TrackEnded);
        } else {
            self.unsubscribe(now, link);
        }
    }

    pub(super) fn forget_downstream(&mut self, downstream: &Downstream) {
        if let Some(at) = downstream.deadline {
            self.timers.remove(&(at, Timer::Waiting(downstream.link)));
        }
        if downstream.is_offer
            && let Some(member) = self.members.get_mut(&downstream.session)
        {
            member.offers = member.offers.saturating_sub(1);
        }
        self.forget_link(downstream.session, downstream.link);
    }

    /// The SUBSCRIBE_TRACKS behind an offer that cannot be made: the peer is told, once.
    pub(super) fn block_offer(&mut self, session: SessionId, request: RequestId, name: &FullTrackName) {
        let interest = self.members.get_mut(&session).and_then(|member| member.interests.get_mut(&request));
        let Some(InterestKind::Tracks { blocked, .. }) = interest.map(|interest| &mut interest.kind) else {
            return;
        };
        if blocked.insert(name.clone()) {
            self.act(session, Command::PublishBlocked { request, name: name.clone() });
        }
    }
}
