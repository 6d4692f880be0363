//! Message parameters (draft 10.2): a count, then type delta and value for each. The type decides how its value
//! is written, so an unknown one cannot be skipped.

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    TOKENS_MAX,
    scope::{MISPLACED, Parameter, Scope},
    token, wire,
};
use crate::{
    error::Violation,
    message::{GroupOrder, Parameters},
    vi64,
};

pub(super) fn encode(parameters: &Parameters, scope: Scope, out: &mut BytesMut) -> Option<()> {
    scope.check(parameters).ok()?;
    if parameters.authorization_tokens.len() > TOKENS_MAX {
        return None;
    }
    let mut list = List::default();
    list.integer(Parameter::ObjectDeliveryTimeout, parameters.object_delivery_timeout_ms);
    for one in &parameters.authorization_tokens {
        list.prefixed(Parameter::AuthorizationToken, &token::encode(one));
    }
    list.integer(Parameter::RendezvousTimeout, parameters.rendezvous_timeout_ms);
    list.integer(Parameter::SubgroupDeliveryTimeout, parameters.subgroup_delivery_timeout_ms);
    list.integer(Parameter::Expires, parameters.expires_ms);
    if let Some(location) = parameters.largest_object {
        wire::put_location(list.value(Parameter::LargestObject), location)?;
    }
    list.integer(Parameter::FillTimeout, parameters.fill_timeout_ms);
    list.byte(Parameter::Forward, parameters.forward.map(u8::from));
    list.byte(Parameter::SubscriberPriority, parameters.subscriber_priority);
    if let Some(filter) = parameters.filter {
        list.prefixed(Parameter::SubscriptionFilter, &wire::filter_bytes(filter)?);
    }
    list.byte(Parameter::GroupOrder, parameters.group_order.map(order_code));
    list.integer(Parameter::NewGroupRequest, parameters.new_group_request);
    if let Some(prefix) = &parameters.namespace_prefix {
        wire::put_namespace(list.value(Parameter::TrackNamespacePrefix), prefix)?;
    }
    vi64::put(out, list.count);
    out.put_slice(&list.bytes);
    Some(())
}

/// Parameters as they are written: in ascending order of their types.
#[derive(Default)]
struct List {
    bytes: BytesMut,
    count: u64,
    previous: u64,
}

impl List {
    fn value(&mut self, parameter: Parameter) -> &mut BytesMut {
        vi64::put(&mut self.bytes, parameter.code() - self.previous);
        self.previous = parameter.code();
        self.count += 1;
        &mut self.bytes
    }

    fn integer(&mut self, parameter: Parameter, value: Option<u64>) {
        if let Some(value) = value {
            vi64::put(self.value(parameter), value);
        }
    }

    fn byte(&mut self, parameter: Parameter, value: Option<u8>) {
        if let Some(value) = value {
            self.value(parameter).put_u8(value);
        }
    }

    fn prefixed(&mut self, parameter: Parameter, value: &[u8]) {
        wire::put_prefixed(self.value(parameter), value);
    }
}

pub(super) fn decode(buf: &mut Bytes, scope: Scope) -> Result<Parameters, Violation> {
    let mut parameters = Parameters::default();
    let mut previous = None;
    // The count is the peer's word, but each turn takes bytes, so the message's end bounds it.
    for _ in 0..wire::integer(buf)? {
        let delta = wire::integer(buf)?;
        let code = previous
            .unwrap_or(0_u64)
            .checked_add(delta)
            .ok_or(Violation::protocol("a parameter type is larger than 64 bits"))?;
        let parameter = Parameter::from_code(code).ok_or(Violation::protocol("unknown message parameter"))?;
        if previous == Some(code) && parameter != Parameter::AuthorizationToken {
            return Err(Violation::protocol("a parameter stands twice in a message"));
        }
        previous = Some(code);
        if !scope.allows(parameter) {
            return Err(MISPLACED);
        }
        decode_value(parameter, buf, &mut parameters)?;
    }
    Ok(parameters)
}

fn decode_value(parameter: Parameter, buf: &mut Bytes, parameters: &mut Parameters) -> Result<(), Violation> {
    match parameter {
        Parameter::ObjectDeliveryTimeout => {
            parameters.object_delivery_timeout_ms = Some(wire::integer(buf)?);
        }
        Parameter::AuthorizationToken => {
            if parameters.authorization_tokens.len() == TOKENS_MAX {
                return Err(token::TOO_MANY);
            }
            parameters.authorization_tokens.push(token::decode(wire::prefixed(buf)?)?);
        }
        Parameter::RendezvousTimeout => parameters.rendezvous_timeout_ms = Some(wire::integer(buf)?),
        Parameter::SubgroupDeliveryTimeout => {
            parameters.subgroup_delivery_timeout_ms = Some(wire::integer(buf)?);
        }
        Parameter::Expires => parameters.expires_ms = Some(wire::integer(buf)?),
        Parameter::LargestObject => parameters.largest_object = Some(wire::location(buf)?),
        Parameter::FillTimeout => parameters.fill_timeout_ms = Some(wire::integer(buf)?),
        Parameter::Forward => {
            parameters.forward = Some(match wire::byte(buf)? {
                0 => false,
                1 => true,
                _ => return Err(Violation::protocol("FORWARD is neither 0 nor 1")),
            });
        }
        Parameter::SubscriberPriority => parameters.subscriber_priority = Some(wire::byte(buf)?),
        Parameter::SubscriptionFilter => parameters.filter = Some(wire::filter(wire::prefixed(buf)?)?),
        Parameter::GroupOrder => {
            parameters.group_order = Some(match wire::byte(buf)? {
                1 => GroupOrder::Ascending,
                2 => GroupOrder::Descending,
                _ => return Err(Violation::protocol("GROUP_ORDER is neither 1 nor 2")),
            });
        }
        Parameter::NewGroupRequest => parameters.new_group_request = Some(wire::integer(buf)?),
        Parameter::TrackNamespacePrefix => parameters.namespace_prefix = Some(wire::namespace(buf)?),
    }
    Ok(())
}

const fn order_code(order: GroupOrder) -> u8 {
    match order {
        GroupOrder::Ascending => 1,
        GroupOrder::Descending => 2,
    }
}
