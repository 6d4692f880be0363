//! What a session may do, checked for every request in one place.

use roundtable_moqt::{Namespace, RequestErrorCode, message::Request};

use crate::refusal::Refusal;

/// The first field of the relay's own namespace.
const RELAY_NAMESPACE: &[u8] = b"relay";

/// What a session may do in its scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rights {
    /// Everything but publishing in the relay's own namespace: for a relay that only its own machine reaches.
    Open,
}

impl Rights {
    /// May the peer make this request? FETCHes are checked by [`Rights::may_subscribe`] once their track is known.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        match request {
            Request::Publish(publish) => self.may_publish(publish.track.namespace()),
            Request::PublishNamespace(request) => self.may_publish(&request.namespace),
            Request::Subscribe(subscribe) | Request::TrackStatus(subscribe) => {
                self.may_subscribe(subscribe.track.namespace())
            }
            Request::SubscribeNamespace(request) | Request::SubscribeTracks(request) => {
                self.may_subscribe(&request.namespace)
            }
            Request::Fetch(_) => Ok(()),
        }
    }

    /// May it publish in this namespace? A prefix wider than what one may publish is refused too.
    pub fn may_publish(&self, namespace: &Namespace) -> Result<(), Refusal> {
        exists(namespace)?;
        let first = namespace.fields().first().map(|field| &**field);
        match (self, first) {
            (Rights::Open, None | Some(RELAY_NAMESPACE)) => {
                Err(Refusal::new(RequestErrorCode::Unauthorized, "this namespace is not yours to publish in"))
            }
            (Rights::Open, Some(_)) => Ok(()),
        }
    }

    /// May it see tracks of this namespace, or look for namespaces with this prefix?
    pub fn may_subscribe(&self, namespace: &Namespace) -> Result<(), Refusal> {
        match self {
            Rights::Open => exists(namespace),
        }
    }
}

/// `.` is reserved for nothing, `.session` never leaves a session, and we offer no track there (draft 3.2).
fn exists(namespace: &Namespace) -> Result<(), Refusal> {
    match namespace.fields().first().map(|field| &**field) {
        Some(b"." | b".session") => {
            Err(Refusal::new(RequestErrorCode::DoesNotExist, "nothing exists in a reserved namespace"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<(), Refusal>) -> Option<RequestErrorCode> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn open_mode_keeps_only_the_relays_namespace() {
        let single = |name: &'static str| Namespace::single(name).unwrap();
        assert_eq!(code(Rights::Open.may_publish(&single("ada"))), None);
        assert_eq!(code(Rights::Open.may_publish(&single("relay"))), Some(RequestErrorCode::Unauthorized));
        assert_eq!(
            code(Rights::Open.may_publish(&Namespace::default())),
            Some(RequestErrorCode::Unauthorized),
            "the empty prefix would be the relay's too"
        );
        assert_eq!(code(Rights::Open.may_subscribe(&single("relay"))), None);
        assert_eq!(code(Rights::Open.may_subscribe(&Namespace::default())), None);
    }

    #[test]
    fn reserved_namespaces_do_not_exist() {
        for name in [".", ".session"] {
            let namespace = Namespace::single(name).unwrap();
            assert_eq!(code(Rights::Open.may_publish(&namespace)), Some(RequestErrorCode::DoesNotExist));
            assert_eq!(code(Rights::Open.may_subscribe(&namespace)), Some(RequestErrorCode::DoesNotExist));
        }
    }
}
