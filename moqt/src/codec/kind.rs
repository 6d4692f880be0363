//! The message types and where they may stand (draft 10, table of message types).

use super::MessageContext;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// Type of a control message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            pub(super) const fn code(self) -> u64 {
                match self { $(Kind::$variant => $code,)* }
            }

            pub(super) const fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some(Kind::$variant),)* _ => None }
            }
        }
    };
}

kinds! {
    RequestUpdate = 0x02,
    Subscribe = 0x03,
    SubscribeOk = 0x04,
    RequestError = 0x05,
    PublishNamespace = 0x06,
    RequestOk = 0x07,
    Namespace = 0x08,
    PublishDone = 0x0B,
    TrackStatus = 0x0D,
    NamespaceDone = 0x0E,
    PublishBlocked = 0x0F,
    GoAway = 0x10,
    Fetch = 0x16,
    FetchOk = 0x18,
    Publish = 0x1D,
    /// A leftover of the draft's table: section 10.5 and its change log make PUBLISH_OK a REQUEST_OK, which is
    /// what everyone sends. Who sends this number means the same.
    PublishOk = 0x1E,
    SubscribeNamespace = 0x50,
    SubscribeTracks = 0x51,
    Setup = 0x2F00,
}

impl Kind {
    /// True for the messages that open a request stream.
    pub(super) const fn is_request(self) -> bool {
        matches!(
            self,
            Kind::Subscribe
                | Kind::Publish
                | Kind::Fetch
                | Kind::TrackStatus
                | Kind::PublishNamespace
                | Kind::SubscribeNamespace
                | Kind::SubscribeTracks
        )
    }

    pub(super) const fn may_come(self, context: MessageContext) -> bool {
        match context {
            MessageContext::Control => matches!(self, Kind::Setup | Kind::GoAway),
            MessageContext::RequestFirst => self.is_request(),
            MessageContext::Request => !self.is_request() && !matches!(self, Kind::Setup),
        }
    }
}
