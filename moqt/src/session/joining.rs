//! Joining FETCHes of the peer: held back until their subscription can tell the range (draft 10.12.2).

use super::{Event, ResolvedFetch, Session, request::Kind};
use crate::{
    error::RequestErrorCode,
    message::{FetchRange, RequestId},
    object::Location,
};

impl Session {
    /// The FETCHes that wait for a subscription.
    pub(super) fn joins_of(&self, subscription: RequestId) -> Vec<RequestId> {
        let joins = self.requests.iter().filter(|(_, request)| match &request.kind {
            Kind::Fetch(fetched) => {
                fetched.waits.as_ref().and_then(|(range, _)| joined(range)) == Some(subscription)
            }
            _ => false,
        });
        joins.map(|(id, _)| *id).collect()
    }

    /// Resolves the FETCHes that wait for a subscription, if that is established and has no unanswered update.
    ///
    /// A subscription made by PUBLISH is waited for too: the FETCH may overtake PUBLISH_OK on its own stream.
    pub(super) fn resolve_joins(&mut self, subscription: RequestId) {
        let Some(request) = self.requests.get(&subscription) else { return };
        let Some(subscribed) = request.subscribed() else { return };
        if !request.is_accepted || !request.updates_received.is_empty() {
            return;
        }
        let track = subscribed.view.track.clone();
        let joining = subscribed.view.joining.filter(|_| subscribed.forwards());
        for id in self.joins_of(subscription) {
            let Some(fetched) = self.requests.get_mut(&id).and_then(|request| request.fetched_mut()) else {
                continue;
            };
            let Some((range, parameters)) = fetched.waits.take() else { continue };
            let Some((start, end)) = joining.and_then(|joining| resolve(&range, joining)) else {
                let reason = "nothing to join: no objects, not forwarding, or a start after the end";
                self.refuse_request(id, RequestErrorCode::InvalidRange, reason);
                continue;
            };
            fetched.start = Some(start);
            let track = track.clone();
            self.events
                .push_back(Event::Fetch(id, ResolvedFetch { track, start, end, joining: true, parameters }));
        }
    }
}

fn joined(range: &FetchRange) -> Option<RequestId> {
    match range {
        FetchRange::Standalone { .. } => None,
        FetchRange::RelativeJoining { subscription, .. }
        | FetchRange::AbsoluteJoining { subscription, .. } => Some(*subscription),
    }
}

/// Start and end, the end in the wire's encoding; `None` when nothing lies between.
pub(super) fn resolve(range: &FetchRange, joining: Location) -> Option<(Location, Location)> {
    let group = match range {
        FetchRange::Standalone { start, end, .. } => return Some((*start, *end)),
        FetchRange::RelativeJoining { groups_back, .. } => joining.group.saturating_sub(*groups_back),
        FetchRange::AbsoluteJoining { group, .. } => *group,
    };
    if group > joining.group {
        return None;
    }
    // The last object there can be has no next one; its whole group is the same range.
    let end = Location::new(joining.group, joining.object.checked_add(1).unwrap_or(0));
    Some((Location::new(group, 0), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: RequestId = RequestId(0);

    #[test]
    fn a_relative_join_starts_so_many_groups_before_the_joining_location() {
        let range = |groups_back| FetchRange::RelativeJoining { subscription: SUBSCRIPTION, groups_back };
        let joining = Location::new(7, 4);
        assert_eq!(resolve(&range(0), joining), Some((Location::new(7, 0), Location::new(7, 5))));
        assert_eq!(resolve(&range(3), joining), Some((Location::new(4, 0), Location::new(7, 5))));
        assert_eq!(resolve(&range(99), joining), Some((Location::new(0, 0), Location::new(7, 5))));
    }

    #[test]
    fn an_absolute_join_starts_at_its_group_if_that_has_begun() {
        let range = |group| FetchRange::AbsoluteJoining { subscription: SUBSCRIPTION, group };
        let joining = Location::new(7, u64::MAX);
        assert_eq!(resolve(&range(7), joining), Some((Location::new(7, 0), Location::new(7, 0))));
        assert_eq!(resolve(&range(8), joining), None);
    }
}
