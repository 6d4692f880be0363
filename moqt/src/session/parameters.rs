//! What a request keeps of its parameters, and what updates and answers change (draft 10.2).

use crate::message::Parameters;

/// What a subscription keeps of the message that began it: no tokens, and nothing that matters only once.
pub(super) fn lasting(parameters: &Parameters) -> Parameters {
    Parameters {
        authorization_tokens: Vec::new(),
        rendezvous_timeout_ms: None,
        new_group_request: None,
        namespace_prefix: None,
        forward: Some(parameters.forward.unwrap_or(true)),
        ..parameters.clone()
    }
}

/// What has to be kept of an update until it is answered.
pub(super) fn of_update(parameters: &Parameters) -> Parameters {
    Parameters { authorization_tokens: Vec::new(), new_group_request: None, ..parameters.clone() }
}

/// Applies an update, or an answer, to what stands: what it does not say stays.
pub(super) fn apply(current: &mut Parameters, change: &Parameters) {
    fn set<T: Clone>(current: &mut Option<T>, change: &Option<T>) {
        if change.is_some() {
            current.clone_from(change);
        }
    }
    set(&mut current.object_delivery_timeout_ms, &change.object_delivery_timeout_ms);
    set(&mut current.subgroup_delivery_timeout_ms, &change.subgroup_delivery_timeout_ms);
    set(&mut current.expires_ms, &change.expires_ms);
    set(&mut current.largest_object, &change.largest_object);
    set(&mut current.forward, &change.forward);
    set(&mut current.subscriber_priority, &change.subscriber_priority);
    set(&mut current.filter, &change.filter);
    set(&mut current.group_order, &change.group_order);
}

/// Applies PUBLISH_OK: a parameter that it leaves out has its default, FORWARD being 1 (draft 10.2.12).
pub(super) fn apply_publish_ok(current: &mut Parameters, answer: &Parameters) {
    apply(current, answer);
    current.forward = Some(answer.forward.unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Filter;

    #[test]
    fn an_update_changes_only_what_it_says() {
        let mut current = lasting(&Parameters {
            subscriber_priority: Some(7),
            filter: Some(Filter::LargestObject),
            new_group_request: Some(3),
            ..Parameters::default()
        });
        assert_eq!((current.forward, current.new_group_request), (Some(true), None));
        apply(&mut current, &Parameters { forward: Some(false), ..Parameters::default() });
        assert_eq!(current.forward, Some(false));
        assert_eq!(current.subscriber_priority, Some(7));
        assert_eq!(current.filter, Some(Filter::LargestObject));
    }

    #[test]
    fn publish_ok_without_forward_means_forward() {
        let mut current = lasting(&Parameters { forward: Some(false), ..Parameters::default() });
        apply_publish_ok(&mut current, &Parameters::default());
        assert_eq!(current.forward, Some(true));
    }
}
