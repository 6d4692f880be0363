//! Random values of our types: small numbers as likely as large ones. What messages are made of is boxed: nested
//! strategies are one value otherwise, too large for a test's stack.

use bytes::Bytes;
use proptest::{collection::vec, option::of, prelude::*};
use roundtable_moqt::{
    FullTrackName, Location, Namespace, Parameters,
    codec::{Parameter, Scope},
    message::{Filter, GroupOrder, Token},
    properties::Writer,
};

pub(crate) fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
}

pub(crate) fn location() -> impl Strategy<Value = Location> {
    (number(), number()).prop_map(|(group, object)| Location { group, object })
}

pub(crate) fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..=len_max).prop_map(Bytes::from)
}

pub(crate) fn namespace() -> BoxedStrategy<Namespace> {
    vec(vec(any::<u8>(), 1..12).prop_map(Bytes::from), 0..5)
        .prop_map(|it| Namespace::new(it).unwrap())
        .boxed()
}

pub(crate) fn track() -> BoxedStrategy<FullTrackName> {
    (namespace(), bytes(20))
        .prop_map(|(namespace, name)| FullTrackName::new(namespace, name).unwrap())
        .boxed()
}

pub(crate) fn order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

pub(crate) fn filter() -> BoxedStrategy<Filter> {
    prop_oneof![
        Just(Filter::NextGroupStart),
        Just(Filter::LargestObject),
        location().prop_map(Filter::AbsoluteStart),
        (location(), number()).prop_map(|(start, delta)| Filter::AbsoluteRange {
            start,
            end_group: start.group.saturating_add(delta)
        }),
    ]
    .boxed()
}

pub(crate) fn setup_token() -> impl Strategy<Value = Token> {
    prop_oneof![
        (number(), number(), bytes(30)).prop_map(|(alias, token_type, value)| Token::Register {
            alias,
            token_type,
            value
        }),
        (number(), bytes(30)).prop_map(|(token_type, value)| Token::UseValue { token_type, value }),
    ]
}

pub(crate) fn token() -> BoxedStrategy<Token> {
    prop_oneof![
        setup_token(),
        number().prop_map(|alias| Token::Delete { alias }),
        number().prop_map(|alias| Token::UseAlias { alias }),
    ]
    .boxed()
}

/// Parameters that the scope allows, each of them half the time.
pub(crate) fn parameters(scope: Scope) -> BoxedStrategy<Parameters> {
    let timeouts = (of(number()), of(number()), of(number()), of(number()), of(number()));
    let flow = (of(any::<bool>()), of(any::<u8>()), of(filter()), of(order()), of(number()));
    (timeouts, flow, vec(token(), 0..3), of(location()), of(namespace()))
        .prop_map(move |(timeouts, flow, tokens, largest, prefix)| {
            let allows = |parameter| scope.allows(parameter);
            Parameters {
                object_delivery_timeout_ms: timeouts.0.filter(|_| allows(Parameter::ObjectDeliveryTimeout)),
                authorization_tokens: if allows(Parameter::AuthorizationToken) { tokens } else { vec![] },
                rendezvous_timeout_ms: timeouts.1.filter(|_| allows(Parameter::RendezvousTimeout)),
                subgroup_delivery_timeout_ms: timeouts
                    .2
                    .filter(|_| allows(Parameter::SubgroupDeliveryTimeout)),
                expires_ms: timeouts.3.filter(|_| allows(Parameter::Expires)),
                largest_object: largest.filter(|_| allows(Parameter::LargestObject)),
                fill_timeout_ms: timeouts.4.filter(|_| allows(Parameter::FillTimeout)),
                forward: flow.0.filter(|_| allows(Parameter::Forward)),
                subscriber_priority: flow.1.filter(|_| allows(Parameter::SubscriberPriority)),
                filter: flow.2.filter(|_| allows(Parameter::SubscriptionFilter)),
                group_order: flow.3.filter(|_| allows(Parameter::GroupOrder)),
                new_group_request: flow.4.filter(|_| allows(Parameter::NewGroupRequest)),
                namespace_prefix: prefix.filter(|_| allows(Parameter::TrackNamespacePrefix)),
            }
        })
        .boxed()
}

/// Properties of numbers that mean nothing to a codec.
pub(crate) fn properties() -> BoxedStrategy<Bytes> {
    vec((number(), number(), bytes(20)), 0..4)
        .prop_map(|mut pairs| {
            pairs.iter_mut().for_each(|(key, ..)| *key = (*key >> 1).saturating_add(0x40));
            pairs.sort_by_key(|(key, ..)| *key);
            let mut writer = Writer::new();
            for (key, number, bytes) in pairs {
                if key.is_multiple_of(2) {
                    writer.integer(key, number)
                } else {
                    writer.bytes(key, &bytes)
                };
            }
            writer.finish()
        })
        .boxed()
}
