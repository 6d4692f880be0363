//! Which parameter may stand in which message (draft 10.2).

use crate::{error::Violation, message::Parameters};

macro_rules! parameters {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// Type of a message parameter (draft 15.7). Messages carry them in this order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Parameter {
            $($(#[$doc])* $variant,)*
        }

        impl Parameter {
            pub(super) const ALL: &[Parameter] = &[$(Parameter::$variant,)*];

            /// The number on the wire.
            pub const fn code(self) -> u64 {
                match self { $(Parameter::$variant => $code,)* }
            }

            /// The parameter of a number on the wire; `None` closes the session with PROTOCOL_VIOLATION.
            pub const fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Parameter::$variant),)* _ => None }
            }
        }
    };
}

parameters! {
    /// 10.2.4
    ObjectDeliveryTimeout = 0x02,
    /// 10.2.2
    AuthorizationToken = 0x03,
    /// 10.2.6
    RendezvousTimeout = 0x04,
    /// 10.2.3
    SubgroupDeliveryTimeout = 0x06,
    /// 10.2.10
    Expires = 0x08,
    /// 10.2.11
    LargestObject = 0x09,
    /// 10.2.5
    FillTimeout = 0x0A,
    /// 10.2.12
    Forward = 0x10,
    /// 10.2.7
    SubscriberPriority = 0x20,
    /// 10.2.9
    SubscriptionFilter = 0x21,
    /// 10.2.8
    GroupOrder = 0x22,
    /// 10.2.13
    NewGroupRequest = 0x32,
    /// 10.2.14
    TrackNamespacePrefix = 0x34,
}

/// What carries parameters. The codec itself knows only a message's type, so it lets through what *some*
/// REQUEST_OK or REQUEST_UPDATE may carry; who knows which request it belongs to asks again with the exact one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// SUBSCRIBE.
    Subscribe,
    /// PUBLISH.
    Publish,
    /// FETCH.
    Fetch,
    /// TRACK_STATUS.
    TrackStatus,
    /// PUBLISH_NAMESPACE.
    PublishNamespace,
    /// SUBSCRIBE_NAMESPACE.
    SubscribeNamespace,
    /// SUBSCRIBE_TRACKS.
    SubscribeTracks,
    /// SUBSCRIBE_OK.
    SubscribeOk,
    /// FETCH_OK, for which no parameter is defined.
    FetchOk,
    /// Any REQUEST_UPDATE.
    AnyUpdate,
    /// REQUEST_UPDATE of a subscription, however it was established.
    UpdateSubscription,
    /// REQUEST_UPDATE of a FETCH.
    UpdateFetch,
    /// REQUEST_UPDATE of a PUBLISH_NAMESPACE.
    UpdatePublishNamespace,
    /// REQUEST_UPDATE of a SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS.
    UpdatePrefix,
    /// Any REQUEST_OK.
    AnyOk,
    /// REQUEST_OK that answers PUBLISH.
    PublishOk,
    /// REQUEST_OK that answers REQUEST_UPDATE.
    UpdateOk,
    /// REQUEST_OK that answers TRACK_STATUS: what a SUBSCRIBE_OK would carry (draft 10.14).
    TrackStatusOk,
    /// REQUEST_OK that answers PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS.
    NamespaceOk,
}

impl Scope {
    /// True when the draft lists the parameter for this message.
    pub const fn allows(self, parameter: Parameter) -> bool {
        use Parameter as P;
        match self {
            Scope::Subscribe => matches!(
                parameter,
                P::ObjectDeliveryTimeout
                    | P::AuthorizationToken
                    | P::RendezvousTimeout
                    | P::SubgroupDeliveryTimeout
                    | P::Forward
                    | P::SubscriberPriority
                    | P::SubscriptionFilter
                    | P::GroupOrder
                    | P::NewGroupRequest
            ),
            Scope::Publish => {
                matches!(parameter, P::AuthorizationToken | P::Expires | P::LargestObject | P::Forward)
            }
            Scope::Fetch => matches!(
                parameter,
                P::AuthorizationToken | P::FillTimeout | P::SubscriberPriority | P::GroupOrder
            ),
            Scope::TrackStatus
            | Scope::PublishNamespace
            | Scope::SubscribeNamespace
            | Scope::UpdatePublishNamespace => matches!(parameter, P::AuthorizationToken),
            Scope::SubscribeTracks => matches!(parameter, P::AuthorizationToken | P::Forward),
            Scope::SubscribeOk | Scope::TrackStatusOk | Scope::UpdateOk => {
                matches!(parameter, P::Expires | P::LargestObject)
            }
            Scope::FetchOk | Scope::NamespaceOk => false,
            Scope::AnyUpdate => {
                Scope::UpdateSubscription.allows(parameter) || Scope::UpdatePrefix.allows(parameter)
            }
            Scope::UpdateSubscription => matches!(
                parameter,
                P::ObjectDeliveryTimeout
                    | P::AuthorizationToken
                    | P::SubgroupDeliveryTimeout
                    | P::Forward
                    | P::SubscriberPriority
                    | P::SubscriptionFilter
                    | P::NewGroupRequest
            ),
            Scope::UpdateFetch => matches!(parameter, P::AuthorizationToken | P::SubscriberPriority),
            Scope::UpdatePrefix => matches!(parameter, P::AuthorizationToken | P::TrackNamespacePrefix),
            Scope::AnyOk => Scope::PublishOk.allows(parameter) || Scope::UpdateOk.allows(parameter),
            Scope::PublishOk => matches!(
                parameter,
                P::ObjectDeliveryTimeout
                    | P::SubgroupDeliveryTimeout
                    | P::Expires
                    | P::Forward
                    | P::SubscriberPriority
                    | P::SubscriptionFilter
                    | P::GroupOrder
                    | P::NewGroupRequest
            ),
        }
    }

    /// A PROTOCOL_VIOLATION when a parameter is set that the draft does not list for this message.
    pub fn check(self, parameters: &Parameters) -> Result<(), Violation> {
        let misplaced = Parameter::ALL.iter().any(|one| parameters.has(*one) && !self.allows(*one));
        if misplaced { Err(MISPLACED) } else { Ok(()) }
    }
}

pub(super) const MISPLACED: Violation = Violation::protocol("a parameter in a message that may not carry it");

impl Parameters {
    fn has(&self, parameter: Parameter) -> bool {
        match parameter {
            Parameter::ObjectDeliveryTimeout => self.object_delivery_timeout_ms.is_some(),
            Parameter::AuthorizationToken => !self.authorization_tokens.is_empty(),
            Parameter::RendezvousTimeout => self.rendezvous_timeout_ms.is_some(),
            Parameter::SubgroupDeliveryTimeout => self.subgroup_delivery_timeout_ms.is_some(),
            Parameter::Expires => self.expires_ms.is_some(),
            Parameter::LargestObject => self.largest_object.is_some(),
            Parameter::FillTimeout => self.fill_timeout_ms.is_some(),
            Parameter::Forward => self.forward.is_some(),
            Parameter::SubscriberPriority => self.subscriber_priority.is_some(),
            Parameter::SubscriptionFilter => self.filter.is_some(),
            Parameter::GroupOrder => self.group_order.is_some(),
            Parameter::NewGroupRequest => self.new_group_request.is_some(),
            Parameter::TrackNamespacePrefix => self.namespace_prefix.is_some(),
        }
    }
}
