//! SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS: who wants to hear of what.

use std::{collections::BTreeSet, time::Instant};

use roundtable_moqt::{FullTrackName, Namespace, RequestErrorCode, message::RequestId};

use crate::refusal::Refusal;

use super::{Action, Command, Room, SessionId, tracks::Track};

/// What a session wants to hear of.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) prefix: Namespace,
    pub(super) kind: InterestKind,
}

/// The two kinds have independent overlap spaces (draft 10.19, 10.20).
#[derive(Debug)]
pub(super) enum InterestKind {
    /// SUBSCRIBE_NAMESPACE, with what it has been told.
    Namespaces { told: BTreeSet<Namespace> },
    /// SUBSCRIBE_TRACKS, with the forward state of its PUBLISHes and the tracks it must not be offered any more.
    Tracks { forward: bool, blocked: BTreeSet<FullTrackName> },
}

impl InterestKind {
    fn is_same(&self, other: &InterestKind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// All prefixes of a namespace, the empty one and itself included.
pub(super) fn prefixes(namespace: &Namespace) -> impl Iterator<Item = Namespace> {
    let fields = namespace.fields();
    (0..=fields.len())
        .filter_map(move |len| Namespace::new(fields.get(..len).unwrap_or_default().iter().cloned()).ok())
}

impl<T: Clone> Room<T> {
    /// SUBSCRIBE_NAMESPACE. Accept it before acting: the NAMESPACEs follow the REQUEST_OK.
    pub fn subscribe_namespace(
        &mut self,
        session: SessionId,
        request: RequestId,
        prefix: Namespace,
    ) -> Result<(), Refusal> {
        let kind = InterestKind::Namespaces { told: BTreeSet::new() };
        self.remember_interest(session, request, Interest { prefix, kind })?;
        self.tell_namespaces(session, request);
        Ok(())
    }

    /// SUBSCRIBE_TRACKS. Accept it before acting: the PUBLISHes follow the REQUEST_OK.
    pub fn subscribe_tracks(
        &mut self,
        now: Instant,
        session: SessionId,
        request: RequestId,
        prefix: Namespace,
        forward: bool,
    ) -> Result<(), Refusal> {
        if self.published_below(&prefix).len() > self.limits.offers_per_session_max {
            return Err(Refusal::new(
                RequestErrorCode::NamespaceTooLarge,
                "this prefix has more tracks than one session is offered",
            ));
        }
        let kind = InterestKind::Tracks { forward, blocked: BTreeSet::new() };
        self.remember_interest(session, request, Interest { prefix, kind })?;
        self.offer_tracks(now, session, request);
        Ok(())
    }

    /// REQUEST_UPDATE of either. Namespaces told before and outside the new prefix are no longer spoken of.
    pub fn update_interest(
        &mut self,
        now: Instant,
        session: SessionId,
        request: RequestId,
        new_prefix: Option<Namespace>,
        new_forward: Option<bool>,
    ) -> Result<(), Refusal> {
        let Some(mut interest) = self.forget_interest(session, request) else { return Ok(()) };
        if let (InterestKind::Tracks { forward, .. }, Some(new_forward)) = (&mut interest.kind, new_forward) {
            *forward = new_forward;
        }
        if let Some(prefix) = new_prefix {
            if let InterestKind::Namespaces { told } = &mut interest.kind {
                told.retain(|namespace| namespace.starts_with(&prefix));
            }
            interest.prefix = prefix;
        }
        let is_about_tracks = matches!(interest.kind, InterestKind::Tracks { .. });
        self.remember_interest(session, request, interest)?;
        match is_about_tracks {
            true => self.offer_tracks(now, session, request),
            false => self.tell_namespaces(session, request),
        }
        Ok(())
    }

    /// What a session may see has changed: it is offered what it was not offered before.
    pub fn offer_again(&mut self, now: Instant, session: SessionId) {
        let Some(member) = self.members.get(&session) else { return };
        let about_tracks = member
            .interests
            .iter()
            .filter(|(_, interest)| matches!(interest.kind, InterestKind::Tracks { .. }));
        let requests: Vec<RequestId> = about_tracks.map(|(request, _)| *request).collect();
        for request in requests {
            self.offer_tracks(now, session, request);
        }
    }

    /// What a session wants to hear of, by request.
    pub fn interests_of(&self, session: SessionId) -> Vec<(RequestId, Namespace)> {
        let interests = self.members.get(&session).map(|member| &member.interests);
        interests
            .into_iter()
            .flatten()
            .map(|(request, interest)| (*request, interest.prefix.clone()))
            .collect()
    }

    /// The peer cancelled a SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS. Tracks it got stay.
    pub fn unsubscribe_interest(&mut self, session: SessionId, request: RequestId) {
        self.forget_interest(session, request);
    }

    fn remember_interest(
        &mut self,
        session: SessionId,
        request: RequestId,
        interest: Interest,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get_mut(&session) else { return Ok(()) };
        let overlaps = member
            .interests
            .values()
            .any(|other| other.kind.is_same(&interest.kind) && other.prefix.overlaps(&interest.prefix));
        if overlaps {
            return Err(Refusal::new(
                RequestErrorCode::PrefixOverlap,
                "another request of yours covers this prefix or part of it",
            ));
        }
        self.interested_by_prefix.entry(interest.prefix.clone()).or_default().push((session, request));
        member.interests.insert(request, interest);
        Ok(())
    }

    pub(super) fn forget_interest(&mut self, session: SessionId, request: RequestId) -> Option<Interest> {
        let interest = self.members.get_mut(&session)?.interests.remove(&request)?;
        if let Some(interested) = self.interested_by_prefix.get_mut(&interest.prefix) {
            interested.retain(|entry| *entry != (session, request));
            if interested.is_empty() {
                self.interested_by_prefix.remove(&interest.prefix);
            }
        }
        Some(interest)
    }

    /// Everybody whose prefix `namespace` begins with.
    pub(super) fn interested_in(&self, namespace: &Namespace) -> Vec<(SessionId, RequestId)> {
        prefixes(namespace)
            .filter_map(|prefix| self.interested_by_prefix.get(&prefix))
            .flatten()
            .copied()
            .collect()
    }

    /// The namespaces below a prefix that it has not been told yet.
    fn tell_namespaces(&mut self, session: SessionId, request: RequestId) {
        let Some(Interest { prefix, kind: InterestKind::Namespaces { told } }) =
            self.members.get_mut(&session).and_then(|member| member.interests.get_mut(&request))
        else {
            return;
        };
        for namespace in self.publishers_by_namespace.range(prefix.clone()..).map(|(namespace, _)| namespace)
        {
            if !namespace.starts_with(prefix) {
                break;
            }
            if told.insert(namespace.clone()) {
                let command = Command::Namespace { request, namespace: namespace.clone() };
                self.actions.push_back(Action { session, command });
            }
        }
    }

    /// A namespace has its first publisher, or has lost its last.
    pub(super) fn tell_of_namespace(&mut self, namespace: &Namespace, exists: bool) {
        for (session, request) in self.interested_in(namespace) {
            let interest =
                self.members.get_mut(&session).and_then(|member| member.interests.get_mut(&request));
            let Some(Interest { kind: InterestKind::Namespaces { told }, .. }) = interest else { continue };
            let namespace = namespace.clone();
            if exists && told.insert(namespace.clone()) {
                self.act(session, Command::Namespace { request, namespace });
            } else if !exists && told.remove(&namespace) {
                self.act(session, Command::NamespaceDone { request, namespace });
            }
        }
    }

    /// The tracks below a prefix that the session does not have yet.
    fn offer_tracks(&mut self, now: Instant, session: SessionId, request: RequestId) {
        let Some(interest) = self.members.get(&session).and_then(|member| member.interests.get(&request))
        else {
            return;
        };
        let prefix = interest.prefix.clone();
        for name in self.published_below(&prefix) {
            self.offer(now, session, request, &name);
            self.refresh_upstreams(now, &name);
            self.accept_ready(now, &name);
        }
    }

    fn published_below(&self, prefix: &Namespace) -> Vec<FullTrackName> {
        let mut names = self.tracks_below(prefix);
        names.retain(|name| self.tracks.get(name).is_some_and(Track::is_published));
        names
    }

    /// A track has been published: offered to all who asked for such tracks (draft 9.5).
    pub(super) fn offer_to_interested(&mut self, now: Instant, name: &FullTrackName) {
        for (session, request) in self.interested_in(name.namespace()) {
            self.offer(now, session, request, name);
        }
    }
}
