//! What publishers of tracks do: PUBLISH, answers to our SUBSCRIBE, PUBLISH_DONE.

use std::time::Instant;

use roundtable_forward::NewGroupRequests;
use roundtable_moqt::{FullTrackName, PublishDoneCode, RequestErrorCode, message::RequestError};

use crate::refusal::Refusal;

use super::{
    Command, LinkId, Room, SessionId,
    tracks::{Origin, Upstream},
};

/// A PUBLISH of a peer.
#[derive(Debug, Clone)]
pub struct PublishOffer {
    /// The track.
    pub name: FullTrackName,
    /// It starts new groups when asked.
    pub dynamic_groups: bool,
}

/// What to answer to it.
#[derive(Debug, Clone)]
pub struct PublishAccept<T> {
    /// Its name from now on.
    pub link: LinkId,
    /// Where its objects go.
    pub track: T,
    /// Whether anybody wants it now.
    pub forward: bool,
}

impl<T: Clone> Room<T> {
    /// PUBLISH. The answer's forward state is 0 until somebody wants the track (draft 9.5).
    pub fn publish(
        &mut self,
        now: Instant,
        session: SessionId,
        offer: PublishOffer,
    ) -> Result<PublishAccept<T>, Refusal> {
        let PublishOffer { name, dynamic_groups } = offer;
        self.give_up_pending(session, &name)?;
        self.make_track(&name)?;
        self.begin_if_ended(&name);
        let link = self.new_link(session, &name);
        let track = self.tracks.get_mut(&name).ok_or(Refusal::internal())?;
        let was_published = track.is_published();
        track.dynamic_groups |= dynamic_groups;
        track.upstreams.push(Upstream {
            link,
            session,
            origin: Origin::Published,
            is_established: true,
            forward: track.is_wanted(),
            forward_updates: 0,
            new_groups: NewGroupRequests::default(),
        });
        if !was_published {
            self.offer_to_interested(now, &name);
        }
        // Whoever is offered the track wants it too, and its publisher learns that with our answer.
        let track = self.tracks.get_mut(&name).ok_or(Refusal::internal())?;
        let forward = track.is_wanted();
        let data = track.data.clone();
        if let Some(upstream) = track.upstream(link) {
            upstream.forward = forward;
        }
        self.refresh_upstreams(now, &name);
        self.accept_ready(now, &name);
        Ok(PublishAccept { link, track: data, forward })
    }

    /// A publisher sends PUBLISH for what we asked it for: our SUBSCRIBE must be over first, or the PUBLISH is
    /// one too many (draft 5.1).
    fn give_up_pending(&mut self, session: SessionId, name: &FullTrackName) -> Result<(), Refusal> {
        let Some(track) = self.tracks.get_mut(name) else { return Ok(()) };
        let Some(index) = track.upstreams.iter().position(|upstream| upstream.session == session) else {
            return Ok(());
        };
        if track.upstreams.get(index).is_some_and(|upstream| upstream.is_established) {
            return Err(Refusal::new(
                RequestErrorCode::DuplicateSubscription,
                "you publish this track already",
            ));
        }
        let link = track.upstreams.remove(index).link;
        self.forget_link(session, link);
        self.act(session, Command::CancelUpstream { link });
        Ok(())
    }

    /// Asks a publisher of the namespace for a track, unless it has been asked or publishes it anyway.
    pub(super) fn subscribe_upstream(
        &mut self,
        session: SessionId,
        name: &FullTrackName,
        new_group: Option<u64>,
    ) {
        if self.tracks.get(name).is_none_or(|track| track.is_upstream(session)) {
            return;
        }
        self.begin_if_ended(name);
        let link = self.new_link(session, name);
        let Some(track) = self.tracks.get_mut(name) else { return };
        let mut new_groups = NewGroupRequests::default();
        if let Some(value) = new_group {
            new_groups.request(value, None);
        }
        // Forward is 1 whatever the subscribers said (draft 9.2).
        track.upstreams.push(Upstream {
            link,
            session,
            origin: Origin::Subscribed,
            is_established: false,
            forward: true,
            forward_updates: 0,
            new_groups,
        });
        let command =
            Command::SubscribeUpstream { link, name: name.clone(), track: track.data.clone(), new_group };
        self.act(session, command);
    }

    /// SUBSCRIBE_OK of a publisher.
    pub fn upstream_accepted(&mut self, now: Instant, link: LinkId, dynamic_groups: bool) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        track.dynamic_groups |= dynamic_groups;
        if let Some(upstream) = track.upstream(link) {
            upstream.is_established = true;
        }
        self.accept_ready(now, &name);
    }

    /// REQUEST_ERROR of a publisher to our SUBSCRIBE. When it was the last that could be asked, those who wait
    /// and do not want to wait for another publisher get the same answer.
    pub fn upstream_refused(&mut self, now: Instant, link: LinkId, error: &RequestError) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        let Some(index) = track.upstreams.iter().position(|upstream| upstream.link == link) else { return };
        let session = track.upstreams.remove(index).session;
        let is_last = track.upstreams.is_empty();
        self.forget_link(session, link);
        if is_last {
            self.refuse_waiting(now, &name, error);
            self.upstream_gone(now, &name, PublishDoneCode::TrackEnded);
        }
    }

    /// A publisher's PUBLISH_DONE, or the end of its request or session.
    pub fn remove_upstream(&mut self, now: Instant, link: LinkId, code: PublishDoneCode) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(track) = self.tracks.get_mut(&name) else { return };
        let Some(index) = track.upstreams.iter().position(|upstream| upstream.link == link) else { return };
        let session = track.upstreams.remove(index).session;
        self.forget_link(session, link);
        self.upstream_gone(now, &name, code);
        // The others may know where they stand.
        self.accept_ready(now, &name);
    }

    /// One of several publishers is not believed any more: the relay ends its subscription to it.
    pub fn expel_upstream(&mut self, now: Instant, link: LinkId) {
        if let Some(session) = self.session_of(link) {
            self.remove_upstream(now, link, PublishDoneCode::TrackEnded);
            self.act(session, Command::CancelUpstream { link });
        }
    }

    /// A publisher answered a REQUEST_UPDATE that changed its forward state.
    pub fn upstream_updated(&mut self, now: Instant, link: LinkId) {
        let Some(name) = self.track_by_link.get(&link).cloned() else { return };
        let Some(upstream) = self.tracks.get_mut(&name).and_then(|track| track.upstream(link)) else {
            return;
        };
        upstream.forward_updates = upstream.forward_updates.saturating_sub(1);
        self.accept_ready(now, &name);
    }

    /// Tells publishers whether anybody wants the track, where that changed. Those we asked ourselves are let
    /// go with the last subscriber.
    pub(super) fn refresh_upstreams(&mut self, now: Instant, name: &FullTrackName) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        let is_wanted = track.is_wanted();
        let mut commands = Vec::new();
        if track.downstreams.is_empty() {
            for upstream in track.upstreams.extract_if(.., |upstream| upstream.origin == Origin::Subscribed) {
                commands.push((upstream.session, Command::CancelUpstream { link: upstream.link }));
            }
        }
        for upstream in &mut track.upstreams {
            if upstream.is_established && upstream.forward != is_wanted {
                upstream.forward = is_wanted;
                upstream.forward_updates += 1;
                let link = upstream.link;
                let command = Command::UpdateUpstream { link, forward: Some(is_wanted), new_group: None };
                commands.push((upstream.session, command));
            }
        }
        for (session, command) in commands {
            if let Command::CancelUpstream { link } = command {
                self.forget_link(session, link);
            }
            self.act(session, command);
        }
        self.bury_if_unused(now, name);
    }

    /// NEW_GROUP_REQUEST of a subscriber of an established track: sent on to all its publishers unless one is
    /// under way that asks for as much (draft 10.2.13). `largest` is the largest group now.
    pub(super) fn request_new_group(&mut self, name: &FullTrackName, value: u64, largest: Option<u64>) {
        let Some(track) = self.tracks.get_mut(name) else { return };
        if !track.dynamic_groups {
            return;
        }
        let links: Vec<(SessionId, LinkId)> = track
            .upstreams
            .iter_mut()
            .filter(|upstream| upstream.is_established)
            .filter_map(|upstream| {
                let is_news = upstream.new_groups.request(value, largest);
                is_news.then_some((upstream.session, upstream.link))
            })
            .collect();
        for (session, link) in links {
            self.act(session, Command::UpdateUpstream { link, forward: None, new_group: Some(value) });
        }
    }
}
