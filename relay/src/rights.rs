//! What a session may do, checked for every request in one place. docs/rights.md is the table of it.

use roundtable_moqt::{FullTrackName, Namespace, RequestErrorCode, message::Request};

use crate::{
    id::ParticipantId,
    refusal::Refusal,
    token::{Source, Sources},
};

/// The first field of the relay's own namespace.
pub const RELAY_NAMESPACE: &[u8] = b"relay";

/// What a session may do in its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rights {
    /// Nothing yet: nobody has said who it is.
    Nothing,
    /// Everything but publishing in the relay's own namespace: for a relay that only its own machine reaches.
    Open,
    /// Somebody in a room.
    Seat(SeatRights),
    /// A user in their own scope: reads what the relay tells them.
    Inbox,
}

/// What somebody may do in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatRights {
    /// Who they are: the namespace they publish in.
    pub participant: ParticipantId,
    /// Not in the room yet: sees nothing of it but where it stands itself.
    pub is_waiting: bool,
    /// What they may send.
    pub publish: Sources,
    /// They may see and hear the others.
    pub subscribe: bool,
    /// They may look after the others.
    pub moderate: bool,
    /// They may record.
    pub record: bool,
}

/// What a track of the relay's own namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnTrack<'a> {
    /// For everybody in the room.
    Public,
    /// For those who look after the others.
    Moderators,
    /// For one participant, and perhaps those who look after it.
    Of { participant: &'a [u8], and_moderators: bool },
    /// In a user's scope.
    Inbox,
}

impl<'a> OwnTrack<'a> {
    fn of(name: &'a [u8]) -> Option<Self> {
        match name {
            b"roster" | b"chat" => Some(OwnTrack::Public),
            b"lobby" => Some(OwnTrack::Moderators),
            b"inbox" => Some(OwnTrack::Inbox),
            name => {
                let of = |prefix: &[u8], and_moderators| {
                    let participant = name.strip_prefix(prefix)?;
                    Some(OwnTrack::Of { participant, and_moderators })
                };
                of(b"seat/", false).or_else(|| of(b"feedback/", true))
            }
        }
    }
}

impl Rights {
    /// May the peer make this request? FETCHes are checked by [`Rights::may_see`] once their track is known.
    pub fn check(&self, request: &Request) -> Result<(), Refusal> {
        match request {
            Request::Publish(publish) => self.may_publish(&publish.track),
            Request::PublishNamespace(request) => self.may_announce(&request.namespace),
            Request::Subscribe(subscribe) | Request::TrackStatus(subscribe) => self.may_see(&subscribe.track),
            Request::SubscribeNamespace(request) | Request::SubscribeTracks(request) => {
                self.may_look(&request.namespace)
            }
            Request::Fetch(_) => Ok(()),
        }
    }

    /// May it say that it publishes in this namespace? A prefix wider than what one may publish is refused too.
    pub fn may_announce(&self, namespace: &Namespace) -> Result<(), Refusal> {
        exists(namespace)?;
        let is_allowed = match (self, namespace.fields()) {
            (Rights::Open, fields) => fields.first().is_some_and(|first| **first != *RELAY_NAMESPACE),
            (Rights::Seat(seat), [only]) => !seat.is_waiting && seat.is_own(only),
            (Rights::Nothing | Rights::Inbox | Rights::Seat(_), _) => false,
        };
        if is_allowed { Ok(()) } else { Err(refused("this namespace is not yours to publish in")) }
    }

    /// May it publish this track, whoever began?
    pub fn may_publish(&self, track: &FullTrackName) -> Result<(), Refusal> {
        self.may_announce(track.namespace())?;
        match self {
            Rights::Seat(seat) => match source(track.name()) {
                Some(source) if !seat.publish.has(source) => Err(refused("you may not publish this")),
                Some(_) | None => Ok(()),
            },
            Rights::Nothing | Rights::Open | Rights::Inbox => Ok(()),
        }
    }

    /// May it see objects of this track, past or to come, or know that there are any?
    pub fn may_see(&self, track: &FullTrackName) -> Result<(), Refusal> {
        exists(track.namespace())?;
        let own = match track.namespace().fields() {
            [only] if **only == *RELAY_NAMESPACE => Some(OwnTrack::of(track.name())),
            _ => None,
        };
        let is_allowed = match (self, own) {
            (Rights::Nothing, _) => false,
            (Rights::Open, _) => true,
            (Rights::Inbox, own) => own == Some(Some(OwnTrack::Inbox)),
            (Rights::Seat(seat), Some(own)) => seat.may_see_own(own),
            // What one receives is the relay's to read.
            (Rights::Seat(seat), None) => !seat.is_waiting && seat.subscribe && **track.name() != *b"report",
        };
        if is_allowed { Ok(()) } else { Err(refused("this track is not for you")) }
    }

    /// May it look for namespaces or tracks with this prefix? What it finds there is for [`Rights::may_see`].
    pub fn may_look(&self, prefix: &Namespace) -> Result<(), Refusal> {
        exists(prefix)?;
        let is_allowed = match self {
            Rights::Nothing => false,
            Rights::Open | Rights::Inbox => true,
            Rights::Seat(seat) => !seat.is_waiting && seat.subscribe,
        };
        if is_allowed { Ok(()) } else { Err(refused("you may not see who is here")) }
    }
}

impl SeatRights {
    fn is_own(&self, field: &[u8]) -> bool {
        field == self.participant.as_str().as_bytes()
    }

    fn may_see_own(&self, track: Option<OwnTrack<'_>>) -> bool {
        match track {
            Some(OwnTrack::Of { participant, and_moderators }) => {
                self.is_own(participant) && (!and_moderators || !self.is_waiting)
                    || and_moderators && self.moderate && !self.is_waiting
            }
            Some(OwnTrack::Public) => !self.is_waiting && self.subscribe,
            Some(OwnTrack::Moderators) => !self.is_waiting && self.moderate,
            Some(OwnTrack::Inbox) | None => false,
        }
    }
}

/// What somebody must be allowed to send to publish a track of this name; `None` for what everybody in a room tells.
fn source(track: &[u8]) -> Option<Source> {
    match track {
        b"catalog" | b"state" | b"report" => None,
        b"audio" => Some(Source::Microphone),
        b"camera" | b"camera-low" => Some(Source::Camera),
        b"screen" => Some(Source::Screen),
        b"screen-audio" => Some(Source::ScreenAudio),
        _ => Some(Source::Other),
    }
}

const fn refused(reason: &'static str) -> Refusal {
    Refusal::new(RequestErrorCode::Unauthorized, reason)
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

    fn single(name: &'static str) -> Namespace {
        Namespace::single(name).unwrap()
    }

    fn track(namespace: &'static str, name: &'static str) -> FullTrackName {
        FullTrackName::new(single(namespace), name).unwrap()
    }

    fn seat() -> SeatRights {
        SeatRights {
            participant: ParticipantId::new("ada").unwrap(),
            is_waiting: false,
            publish: Sources::USUAL,
            subscribe: true,
            moderate: false,
            record: false,
        }
    }

    const DENIED: Option<RequestErrorCode> = Some(RequestErrorCode::Unauthorized);

    #[test]
    fn open_mode_keeps_only_the_relays_namespace() {
        assert_eq!(code(Rights::Open.may_announce(&single("ada"))), None);
        assert_eq!(code(Rights::Open.may_announce(&single("relay"))), DENIED);
        assert_eq!(code(Rights::Open.may_publish(&track("relay", "chat"))), DENIED);
        let empty = Namespace::default();
        assert_eq!(
            code(Rights::Open.may_announce(&empty)),
            DENIED,
            "the empty prefix would be the relay's too"
        );
        assert_eq!(code(Rights::Open.may_see(&track("relay", "lobby"))), None);
        assert_eq!(code(Rights::Open.may_look(&Namespace::default())), None);
    }

    #[test]
    fn reserved_namespaces_do_not_exist() {
        for name in [".", ".session"] {
            for rights in [Rights::Open, Rights::Seat(seat())] {
                let gone = Some(RequestErrorCode::DoesNotExist);
                assert_eq!(code(rights.may_announce(&single(name))), gone);
                assert_eq!(code(rights.may_look(&single(name))), gone);
                assert_eq!(code(rights.may_see(&track(name, "x"))), gone);
            }
        }
    }

    #[test]
    fn somebody_publishes_as_themselves_and_what_they_may() {
        let rights = Rights::Seat(SeatRights { publish: [Source::Camera].into_iter().collect(), ..seat() });
        assert_eq!(code(rights.may_announce(&single("ada"))), None);
        for namespace in [
            single("bob"),
            single("relay"),
            Namespace::default(),
            Namespace::new(["ada", "x"].map(bytes::Bytes::from)).unwrap(),
        ] {
            assert_eq!(code(rights.may_announce(&namespace)), DENIED, "{namespace:?}");
        }
        for name in ["catalog", "state", "report", "camera", "camera-low"] {
            assert_eq!(code(rights.may_publish(&track("ada", name))), None, "{name}");
            assert_eq!(code(rights.may_publish(&track("bob", name))), DENIED, "{name}");
        }
        for name in ["audio", "screen", "screen-audio", "anything"] {
            assert_eq!(code(rights.may_publish(&track("ada", name))), DENIED, "{name}");
        }
    }

    #[test]
    fn what_somebody_sees_depends_on_who_they_are() {
        let member = Rights::Seat(seat());
        let deaf = Rights::Seat(SeatRights { subscribe: false, ..seat() });
        let moderator = Rights::Seat(SeatRights { moderate: true, ..seat() });
        let waiting = Rights::Seat(SeatRights { is_waiting: true, moderate: true, ..seat() });
        // In this order: member, without the right to subscribe, moderator, waiting, in a scope of their own.
        let table = [
            ("bob", "camera", [true, false, true, false, false]),
            ("bob", "catalog", [true, false, true, false, false]),
            ("bob", "report", [false, false, false, false, false]),
            ("relay", "roster", [true, false, true, false, false]),
            ("relay", "chat", [true, false, true, false, false]),
            ("relay", "lobby", [false, false, true, false, false]),
            ("relay", "seat/ada", [true, true, true, true, false]),
            ("relay", "seat/bob", [false, false, false, false, false]),
            ("relay", "feedback/ada", [true, true, true, false, false]),
            ("relay", "feedback/bob", [false, false, true, false, false]),
            ("relay", "inbox", [false, false, false, false, true]),
            ("relay", "anything", [false, false, false, false, false]),
        ];
        for (namespace, name, expected) in table {
            let name = track(namespace, name);
            for (rights, expected) in
                [&member, &deaf, &moderator, &waiting, &Rights::Inbox].into_iter().zip(expected)
            {
                assert_eq!(rights.may_see(&name).is_ok(), expected, "{name:?} {rights:?}");
            }
            assert!(Rights::Nothing.may_see(&name).is_err());
        }
        for (rights, expected) in
            [(&member, true), (&deaf, false), (&waiting, false), (&Rights::Nothing, false)]
        {
            assert_eq!(rights.may_look(&Namespace::default()).is_ok(), expected, "{rights:?}");
        }
    }

    #[test]
    fn who_waits_or_reads_their_inbox_publishes_nothing() {
        let waiting = Rights::Seat(SeatRights { is_waiting: true, ..seat() });
        for rights in [waiting, Rights::Inbox, Rights::Nothing] {
            assert_eq!(code(rights.may_announce(&single("ada"))), DENIED);
            assert_eq!(code(rights.may_publish(&track("ada", "state"))), DENIED);
        }
    }
}
