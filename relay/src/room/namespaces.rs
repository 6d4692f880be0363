//! PUBLISH_NAMESPACE: whose tracks can be asked for.

use roundtable_moqt::{FullTrackName, Namespace, RequestErrorCode, message::RequestId};

use crate::refusal::Refusal;

use super::{Room, SessionId, interest::prefixes};

impl<T: Clone> Room<T> {
    /// PUBLISH_NAMESPACE. What others want of this namespace is asked of the session (draft 9.5).
    pub fn publish_namespace(
        &mut self,
        session: SessionId,
        request: RequestId,
        namespace: Namespace,
    ) -> Result<(), Refusal> {
        let is_new = !self.publishers_by_namespace.contains_key(&namespace);
        if is_new && self.publishers_by_namespace.len() >= self.limits.namespaces_max {
            return Err(Refusal::new(RequestErrorCode::ExcessiveLoad, "too many namespaces in this room"));
        }
        let Some(member) = self.members.get_mut(&session) else { return Ok(()) };
        member.namespaces.insert(request, namespace.clone());
        self.publishers_by_namespace.entry(namespace.clone()).or_default().push(session);
        if is_new {
            self.tell_of_namespace(&namespace, true);
        }
        for name in self.tracks_below(&namespace) {
            if self.tracks.get(&name).is_some_and(|track| !track.downstreams.is_empty()) {
                self.subscribe_upstream(session, &name, None);
            }
        }
        Ok(())
    }

    /// The namespace is withdrawn by its publisher. Its tracks go on.
    pub fn unpublish_namespace(&mut self, session: SessionId, request: RequestId) {
        let Some(namespace) =
            self.members.get_mut(&session).and_then(|member| member.namespaces.remove(&request))
        else {
            return;
        };
        let Some(publishers) = self.publishers_by_namespace.get_mut(&namespace) else { return };
        if let Some(index) = publishers.iter().position(|publisher| *publisher == session) {
            publishers.remove(index);
        }
        if publishers.is_empty() {
            self.publishers_by_namespace.remove(&namespace);
            self.tell_of_namespace(&namespace, false);
        }
        // What is kept of its tracks cannot be told from what another publisher may make of them.
        for name in self.tracks_below(&namespace) {
            if let Some(track) = self.tracks.get_mut(&name).filter(|track| track.upstreams.is_empty()) {
                track.has_ended = true;
            }
        }
    }

    /// All tracks of a namespace and those below it.
    pub(super) fn tracks_below(&self, prefix: &Namespace) -> Vec<FullTrackName> {
        let Ok(first) = FullTrackName::new(prefix.clone(), "") else { return Vec::new() };
        self.tracks
            .range(first..)
            .map(|(name, _)| name)
            .take_while(|name| name.namespace().starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Sessions that can be asked for a track because of its namespace, each once.
    pub fn publishers_of(&self, namespace: &Namespace) -> Vec<SessionId> {
        let mut publishers = Vec::new();
        for prefix in prefixes(namespace) {
            for publisher in self.publishers_by_namespace.get(&prefix).into_iter().flatten() {
                let is_leaving = self.members.get(publisher).is_none_or(|member| member.is_leaving);
                if !is_leaving && !publishers.contains(publisher) {
                    publishers.push(*publisher);
                }
            }
        }
        publishers
    }
}
