//! One test per rule; that the codec means what others mean is in `tests/oracle`.

use bytes::{BufMut, Bytes, BytesMut};

use super::*;
use crate::{
    error::{RequestErrorCode, SessionError},
    message::*,
    name::{FullTrackName, Namespace},
    object::Location,
};

fn frame(code: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    vi64::put(&mut out, code);
    out.put_u16(payload.len().try_into().unwrap());
    out.put_slice(payload);
    out.freeze()
}

fn decode_as(context: MessageContext, code: u64, payload: &[u8]) -> Result<Message, Violation> {
    decode(&mut frame(code, payload), context).map(|message| message.expect("it is whole"))
}

fn first(code: u64, payload: &[u8]) -> Result<Message, Violation> {
    decode_as(MessageContext::RequestFirst, code, payload)
}

fn later(code: u64, payload: &[u8]) -> Result<Message, Violation> {
    decode_as(MessageContext::Request, code, payload)
}

fn control(code: u64, payload: &[u8]) -> Result<Message, Violation> {
    decode_as(MessageContext::Control, code, payload)
}

#[track_caller]
fn assert_violation(result: Result<Message, Violation>, code: SessionError, reason: &str) {
    let violation = result.unwrap_err();
    assert_eq!((violation.code, violation.reason), (code, reason));
}

#[track_caller]
fn assert_protocol_violation(result: Result<Message, Violation>, reason: &str) {
    assert_violation(result, SessionError::ProtocolViolation, reason);
}

/// SUBSCRIBE of request 0 to track "t" in namespace ("n"), up to its parameters.
const SUBSCRIBE: &[u8] = &[0, 1, 1, b'n', 1, b't'];

fn subscribe(parameters: &[u8]) -> Result<Message, Violation> {
    first(0x03, &[SUBSCRIBE, parameters].concat())
}

fn subscribed(parameters: &[u8]) -> Parameters {
    let Ok(Message::Request(RequestId(0), Request::Subscribe(body))) = subscribe(parameters) else {
        panic!()
    };
    body.parameters
}

mod framing {
    use super::*;

    #[test]
    fn a_message_may_only_come_where_it_belongs() {
        let everywhere = [MessageContext::Control, MessageContext::RequestFirst, MessageContext::Request];
        for code in 0..0x60_u64 {
            let belongs: &[MessageContext] = match code {
                0x10 => &[MessageContext::Control, MessageContext::Request],
                0x03 | 0x06 | 0x0D | 0x16 | 0x1D | 0x50 | 0x51 => &[MessageContext::RequestFirst],
                0x02 | 0x04 | 0x05 | 0x07 | 0x08 | 0x0B | 0x0E | 0x0F | 0x18 | 0x1E => {
                    &[MessageContext::Request]
                }
                _ => &[],
            };
            for context in everywhere {
                let mut header = frame(code, &[0; 9]).slice(..2);
                let result = decode(&mut header, context);
                assert_eq!(result == Ok(None), belongs.contains(&context), "{code:#x} {context:?}");
            }
        }
        assert_protocol_violation(later(0x2F00, &[]), "a message where it may not come");
        assert_eq!(control(0x2F00, &[]), Ok(Message::Setup(Setup::default())));
        assert_protocol_violation(later(0x40, &[]), "unknown message type");
    }

    #[test]
    fn an_unknown_type_is_refused_before_its_length_has_come() {
        let mut buf = Bytes::from_static(&[0x40]);
        assert_eq!(decode(&mut buf, MessageContext::Request).unwrap_err().reason, "unknown message type");
    }

    #[test]
    fn a_length_that_does_not_match_is_a_violation() {
        assert_protocol_violation(subscribe(&[]), "a message is shorter than its fields");
        assert_protocol_violation(subscribe(&[0, 0]), "a message is longer than its fields");
        for cut in 0..SUBSCRIBE.len() {
            assert_protocol_violation(first(0x03, &SUBSCRIBE[..cut]), "a message is shorter than its fields");
        }
    }

    #[test]
    fn a_type_in_more_bytes_than_needed_is_read() {
        let mut buf = BytesMut::from(&[0x80, 0x03][..]);
        buf.put_u16(7);
        buf.put_slice(SUBSCRIBE);
        buf.put_u8(0);
        assert!(decode(&mut buf, MessageContext::RequestFirst).unwrap().is_some());
        assert!(buf.is_empty());
    }

    #[test]
    fn messages_are_taken_one_by_one() {
        let mut buf = BytesMut::new();
        for id in 0..3 {
            let update = Message::RequestUpdate(RequestId(id), Parameters::default());
            buf.put_slice(&encode(&update).unwrap());
        }
        for id in 0..3 {
            let Ok(Some(Message::RequestUpdate(next, _))) = decode(&mut buf, MessageContext::Request) else {
                panic!()
            };
            assert_eq!(next, RequestId(id));
        }
        assert_eq!(decode(&mut buf, MessageContext::Request), Ok(None));
    }

    #[test]
    fn a_message_longer_than_65535_bytes_is_not_written() {
        let setup =
            |len| Message::Setup(Setup { implementation: Some(vec![b'x'; len].into()), ..Setup::default() });
        assert!(encode(&setup(65_000)).is_some());
        assert!(encode(&setup(65_535)).is_none());
        assert!(encode(&setup(65_536)).is_none());
    }

    #[test]
    fn publish_ok_is_read_under_both_its_numbers_and_written_as_request_ok() {
        let expected = RequestOk {
            parameters: Parameters { forward: Some(true), ..Parameters::default() },
            ..RequestOk::default()
        };
        for code in [0x07, 0x1E] {
            assert_eq!(later(code, &[1, 0x10, 1]), Ok(Message::RequestOk(expected.clone())));
        }
        assert_eq!(encode(&Message::RequestOk(expected)).unwrap()[0], 0x07);
    }
}

mod parameter_rules {
    use super::*;

    #[test]
    fn unknown_repeated_and_wrapping_types_are_violations() {
        assert_protocol_violation(subscribe(&[1, 0x05, 0]), "unknown message parameter");
        assert_protocol_violation(subscribe(&[2, 0x02, 1, 0, 1]), "a parameter stands twice in a message");
        let wraps = [&[2, 0x02, 1][..], &[0xff; 9], &[0]].concat();
        assert_protocol_violation(subscribe(&wraps), "a parameter type is larger than 64 bits");
    }

    #[test]
    fn a_count_larger_than_the_message_is_a_violation_and_costs_nothing() {
        let count = [0xff; 9];
        assert_protocol_violation(subscribe(&count), "a message is shorter than its fields");
    }

    #[test]
    fn forward_and_group_order_have_two_values_each() {
        assert_eq!(subscribed(&[1, 0x10, 0]).forward, Some(false));
        assert_eq!(subscribed(&[1, 0x10, 1]).forward, Some(true));
        assert_protocol_violation(subscribe(&[1, 0x10, 2]), "FORWARD is neither 0 nor 1");
        assert_eq!(subscribed(&[1, 0x22, 1]).group_order, Some(GroupOrder::Ascending));
        assert_eq!(subscribed(&[1, 0x22, 2]).group_order, Some(GroupOrder::Descending));
        assert_protocol_violation(subscribe(&[1, 0x22, 0]), "GROUP_ORDER is neither 1 nor 2");
        assert_protocol_violation(subscribe(&[1, 0x22, 3]), "GROUP_ORDER is neither 1 nor 2");
    }

    #[test]
    fn a_priority_is_one_byte_also_above_127() {
        assert_eq!(subscribed(&[1, 0x20, 0xff]).subscriber_priority, Some(255));
    }

    #[test]
    fn filters_are_read_whole() {
        let filter = |bytes: &[u8]| {
            subscribe(&[&[1, 0x21, bytes.len().try_into().unwrap()], bytes].concat()).map(|message| {
                let Message::Request(_, Request::Subscribe(body)) = message else { panic!() };
                body.parameters.filter.unwrap()
            })
        };
        let start = Location::new(5, 6);
        assert_eq!(filter(&[1]), Ok(Filter::NextGroupStart));
        assert_eq!(filter(&[2]), Ok(Filter::LargestObject));
        assert_eq!(filter(&[3, 5, 6]), Ok(Filter::AbsoluteStart(start)));
        assert_eq!(filter(&[4, 5, 6, 7]), Ok(Filter::AbsoluteRange { start, end_group: 12 }));
        let past = [&[4, 5, 6][..], &[0xff; 9]].concat();
        for (bytes, code, reason) in [
            (&[0][..], SessionError::ProtocolViolation, "unknown filter type"),
            (&[5], SessionError::ProtocolViolation, "unknown filter type"),
            (&past, SessionError::ProtocolViolation, "a filter ends after the last group"),
            (&[], SessionError::KeyValueFormattingError, "a subscription filter cannot be decoded"),
            (&[3, 5], SessionError::KeyValueFormattingError, "a subscription filter cannot be decoded"),
            (&[2, 5], SessionError::KeyValueFormattingError, "a subscription filter cannot be decoded"),
        ] {
            assert_eq!(filter(bytes), Err(Violation { code, reason }), "{bytes:?}");
        }
        let backwards = Parameters {
            filter: Some(Filter::AbsoluteRange { start, end_group: 4 }),
            ..Parameters::default()
        };
        assert_eq!(encode(&Message::RequestUpdate(RequestId(0), backwards)), None);
    }

    #[test]
    fn tokens_are_read_whole_and_may_repeat() {
        let token = |bytes: &[u8]| subscribe(&[&[1, 0x03, bytes.len().try_into().unwrap()], bytes].concat());
        for unreadable in [&[][..], &[0], &[0, 1, 2], &[1, 1], &[2], &[2, 1, 0], &[3], &[4, 1, 1], &[0x80]] {
            assert_violation(
                token(unreadable),
                SessionError::KeyValueFormattingError,
                "an authorization token cannot be decoded",
            );
        }
        let tokens = subscribed(&[4, 0x03, 3, 3, 0, b'x', 0, 4, 1, 9, 0, b'y', 0, 2, 2, 9, 0, 2, 0, 9]);
        assert_eq!(
            tokens.authorization_tokens,
            [
                Token::UseValue { token_type: 0, value: Bytes::from_static(b"x") },
                Token::Register { alias: 9, token_type: 0, value: Bytes::from_static(b"y") },
                Token::UseAlias { alias: 9 },
                Token::Delete { alias: 9 },
            ]
        );
        let count = u8::try_from(TOKENS_MAX).unwrap() + 1;
        let mut many = vec![count, 3, 2, 3, 0];
        many.extend([0, 2, 3, 0].repeat(TOKENS_MAX));
        assert_protocol_violation(subscribe(&many), "more authorization tokens than one message needs");
    }

    /// The draft's "MAY appear in", parameter by parameter (10.2.2 to 10.2.14).
    #[test]
    fn each_parameter_stands_where_the_draft_lists_it() {
        use Parameter as P;
        use Scope as S;
        let table: &[(P, &[S])] = &[
            (P::ObjectDeliveryTimeout, &[S::PublishOk, S::Subscribe, S::UpdateSubscription]),
            (
                P::AuthorizationToken,
                &[
                    S::Publish,
                    S::Subscribe,
                    S::UpdateSubscription,
                    S::UpdateFetch,
                    S::UpdatePublishNamespace,
                    S::UpdatePrefix,
                    S::SubscribeNamespace,
                    S::SubscribeTracks,
                    S::PublishNamespace,
                    S::TrackStatus,
                    S::Fetch,
                ],
            ),
            (P::RendezvousTimeout, &[S::Subscribe]),
            (P::SubgroupDeliveryTimeout, &[S::PublishOk, S::Subscribe, S::UpdateSubscription]),
            (P::Expires, &[S::SubscribeOk, S::Publish, S::PublishOk, S::UpdateOk, S::TrackStatusOk]),
            (P::LargestObject, &[S::SubscribeOk, S::Publish, S::UpdateOk, S::TrackStatusOk]),
            (P::FillTimeout, &[S::Fetch]),
            (
                P::Forward,
                &[S::Subscribe, S::UpdateSubscription, S::Publish, S::PublishOk, S::SubscribeTracks],
            ),
            (
                P::SubscriberPriority,
                &[S::Subscribe, S::Fetch, S::UpdateSubscription, S::UpdateFetch, S::PublishOk],
            ),
            (P::SubscriptionFilter, &[S::Subscribe, S::PublishOk, S::UpdateSubscription]),
            (P::GroupOrder, &[S::Subscribe, S::PublishOk, S::Fetch]),
            (P::NewGroupRequest, &[S::PublishOk, S::Subscribe, S::UpdateSubscription]),
            (P::TrackNamespacePrefix, &[S::UpdatePrefix]),
        ];
        let exact = [
            S::Subscribe,
            S::Publish,
            S::Fetch,
            S::TrackStatus,
            S::PublishNamespace,
            S::SubscribeNamespace,
            S::SubscribeTracks,
            S::SubscribeOk,
            S::FetchOk,
            S::UpdateSubscription,
            S::UpdateFetch,
            S::UpdatePublishNamespace,
            S::UpdatePrefix,
            S::PublishOk,
            S::UpdateOk,
            S::TrackStatusOk,
            S::NamespaceOk,
        ];
        assert_eq!(table.len(), P::ALL.len());
        for (parameter, scopes) in table {
            for scope in exact {
                assert_eq!(scope.allows(*parameter), scopes.contains(&scope), "{parameter:?} in {scope:?}");
            }
            let in_any = |scopes: &[S]| scopes.iter().any(|scope| scope.allows(*parameter));
            let updates = [S::UpdateSubscription, S::UpdateFetch, S::UpdatePublishNamespace, S::UpdatePrefix];
            assert_eq!(S::AnyUpdate.allows(*parameter), in_any(&updates), "{parameter:?}");
            let oks = [S::PublishOk, S::UpdateOk, S::TrackStatusOk, S::NamespaceOk];
            assert_eq!(S::AnyOk.allows(*parameter), in_any(&oks), "{parameter:?}");
        }
    }

    #[test]
    fn a_parameter_in_another_message_is_a_violation_and_is_not_written() {
        let misplaced = "a parameter in a message that may not carry it";
        assert_protocol_violation(subscribe(&[1, 0x08, 1]), misplaced);
        assert_protocol_violation(later(0x04, &[0, 1, 0x10, 1]), misplaced);
        assert_protocol_violation(later(0x18, &[0, 1, 1, 1, 0x09, 1, 1]), misplaced);
        assert_protocol_violation(later(0x1E, &[1, 0x09, 1, 1]), misplaced);
        let expires = Parameters { expires_ms: Some(1), ..Parameters::default() };
        assert_eq!(encode(&Message::RequestUpdate(RequestId(0), expires.clone())), None);
        Scope::UpdateOk.check(&expires).unwrap();
        assert_eq!(Scope::NamespaceOk.check(&expires).unwrap_err().reason, misplaced);
    }

    #[test]
    fn a_namespace_prefix_is_a_bare_namespace() {
        let update = later(0x02, &[6, 1, 0x34, 2, 1, b'a', 1, b'b']).unwrap();
        let prefix = Namespace::new([Bytes::from("a"), Bytes::from("b")]).unwrap();
        let parameters = Parameters { namespace_prefix: Some(prefix), ..Parameters::default() };
        assert_eq!(update, Message::RequestUpdate(RequestId(6), parameters));
    }
}

mod names {
    use super::*;

    fn publish_namespace(namespace: &[u8]) -> Result<Message, Violation> {
        first(0x06, &[&[0], namespace, &[0]].concat())
    }

    #[test]
    fn a_namespace_has_0_to_32_fields_of_at_least_a_byte() {
        let fields = |count: u8| [&[count][..], &[1, b'x'].repeat(count.into())].concat();
        for legal in [0, 1, 32] {
            publish_namespace(&fields(legal)).unwrap();
        }
        assert_protocol_violation(publish_namespace(&fields(33)), "a field is larger than the draft allows");
        assert_protocol_violation(publish_namespace(&[1, 0]), "a namespace has an empty field");
    }

    #[test]
    fn a_full_track_name_has_at_most_4096_bytes() {
        let subscribe = |namespace_len: usize, name_len: usize| {
            let mut payload = BytesMut::from(&[0, 1][..]);
            vi64::put(&mut payload, namespace_len as u64);
            payload.put_bytes(b'n', namespace_len);
            vi64::put(&mut payload, name_len as u64);
            payload.put_bytes(b't', name_len);
            payload.put_u8(0);
            first(0x03, &payload)
        };
        subscribe(4000, 96).unwrap();
        assert_protocol_violation(subscribe(4000, 97), "a track name is longer than 4096 bytes");
        assert!(subscribe(4097, 0).is_err());
        assert!(subscribe(1, 4097).is_err());
    }

    #[test]
    fn the_empty_namespace_and_name_are_legal_everywhere() {
        let track = FullTrackName::new(Namespace::default(), "").unwrap();
        let request = Request::Subscribe(Subscribe { track, parameters: Parameters::default() });
        let message = Message::Request(RequestId(2), request);
        let mut wire = encode(&message).unwrap();
        assert_eq!(wire[..], [0x03, 0, 4, 2, 0, 0, 0]);
        assert_eq!(decode(&mut wire, MessageContext::RequestFirst), Ok(Some(message)));
    }
}

mod setup_rules {
    use super::*;
    use crate::properties::Writer;

    fn options(write: impl FnOnce(&mut Writer) -> &mut Writer) -> Result<Message, Violation> {
        let mut writer = Writer::new();
        write(&mut writer);
        control(0x2F00, &writer.finish())
    }

    #[test]
    fn unknown_options_are_ignored_and_may_repeat() {
        let setup = options(|it| {
            it.integer(0x02, 1)
                .integer(0x04, 9)
                .integer(0x9C, 5)
                .integer(0x9C, 6)
                .bytes(0x9D, b"grease")
                .bytes(0x9D, b"")
        });
        let expected = Setup { max_auth_token_cache_size: Some(9), ..Setup::default() };
        assert_eq!(setup, Ok(Message::Setup(expected)));
    }

    #[test]
    fn known_options_but_tokens_stand_once() {
        let twice = "a SETUP option stands twice";
        assert_protocol_violation(options(|it| it.bytes(0x01, b"/a").bytes(0x01, b"/a")), twice);
        assert_protocol_violation(options(|it| it.integer(0x04, 1).integer(0x04, 1)), twice);
        assert_protocol_violation(options(|it| it.bytes(0x05, b"a").bytes(0x05, b"a")), twice);
        assert_protocol_violation(options(|it| it.bytes(0x07, b"").bytes(0x07, b"")), twice);
        let tokens = options(|it| it.bytes(0x03, &[3, 0, b'a']).bytes(0x03, &[1, 5, 0, b'b']));
        let Ok(Message::Setup(setup)) = tokens else { panic!() };
        assert_eq!(setup.authorization_tokens.len(), 2);
    }

    #[test]
    fn a_token_in_setup_refers_to_no_alias() {
        let alias = "a token alias is used in SETUP";
        assert_protocol_violation(options(|it| it.bytes(0x03, &[0, 1])), alias);
        assert_protocol_violation(options(|it| it.bytes(0x03, &[2, 1])), alias);
        let unreadable = options(|it| it.bytes(0x03, &[7]));
        assert_eq!(unreadable.unwrap_err().code, SessionError::KeyValueFormattingError);
    }

    #[test]
    fn path_and_authority_are_what_a_uri_has_there() {
        for legal in ["", "/", "/room", "/a/b?token=x%20y", "?q"] {
            options(|it| it.bytes(0x01, legal.as_bytes())).unwrap();
        }
        for broken in ["room", "/a b", "/%2", "/%zz", "/#", "/\u{e4}"] {
            let result = options(|it| it.bytes(0x01, broken.as_bytes()));
            assert_violation(result, SessionError::MalformedPath, "PATH is no path of a URI");
        }
        for legal in ["example.net", "[::1]:4443", "user@host:1"] {
            options(|it| it.bytes(0x05, legal.as_bytes())).unwrap();
        }
        for broken in ["", "a/b", "a b"] {
            let result = options(|it| it.bytes(0x05, broken.as_bytes()));
            assert_violation(result, SessionError::MalformedAuthority, "AUTHORITY is no authority of a URI");
        }
    }

    #[test]
    fn broken_options_are_violations() {
        assert_protocol_violation(control(0x2F00, &[0x07, 2, b'x']), "a key-value pair is cut short");
    }
}

mod answers {
    use super::*;

    #[test]
    fn a_reason_has_at_most_1024_bytes() {
        let done = |len: usize| {
            let mut payload = BytesMut::from(&[2, 0][..]);
            vi64::put(&mut payload, len as u64);
            payload.put_bytes(b'x', len);
            later(0x0B, &payload)
        };
        done(1024).unwrap();
        assert_protocol_violation(done(1025), "a reason is longer than 1024 bytes");
    }

    #[test]
    fn a_longer_reason_is_cut_between_two_characters() {
        let reason = format!("{}\u{e4}", "x".repeat(1023));
        let error = Message::RequestError(RequestError::new(RequestErrorCode::Timeout, reason));
        let mut wire = encode(&error).unwrap();
        let Ok(Some(Message::RequestError(read))) = decode(&mut wire, MessageContext::Request) else {
            panic!()
        };
        assert_eq!(read.reason, "x".repeat(1023));
    }

    #[test]
    fn a_reason_that_is_no_utf_8_costs_no_session() {
        let Ok(Message::PublishDone(done)) = later(0x0B, &[2, 0, 2, 0xff, b'x']) else { panic!() };
        assert_eq!(done.reason, "\u{fffd}x");
    }

    #[test]
    fn a_redirect_stands_with_its_code_only() {
        let redirect = Redirect {
            uri: Bytes::from_static(b"moqt://b"),
            track: FullTrackName::new(Namespace::single("n").unwrap(), "t").unwrap(),
        };
        let wire = [&[0x34, 1, 0, 8], &b"moqt://b"[..], &[1, 1, b'n', 1, b't']].concat();
        let Ok(Message::RequestError(error)) = later(0x05, &wire) else { panic!() };
        assert_eq!((error.code, error.retry_after_ms), (RequestErrorCode::Redirect, Some(0)));
        assert_eq!(error.redirect, Some(redirect.clone()));
        assert_protocol_violation(later(0x05, &[0x34, 1, 0]), "a message is shorter than its fields");
        let without_its_code = [&[0x10], &wire[1..]].concat();
        assert_protocol_violation(later(0x05, &without_its_code), "a message is longer than its fields");

        let mut misused = RequestError::new(RequestErrorCode::Redirect, "");
        assert_eq!(encode(&Message::RequestError(misused.clone())), None);
        misused.redirect = Some(redirect);
        misused.code = RequestErrorCode::Timeout;
        assert_eq!(encode(&Message::RequestError(misused)), None);
    }

    #[test]
    fn unknown_error_codes_are_kept() {
        let Ok(Message::RequestError(error)) = later(0x05, &[0x80, 0x9D, 0, 0]) else { panic!() };
        assert_eq!((error.code, error.retry_after_ms), (RequestErrorCode::Other(0x9D), None));
    }

    #[test]
    fn a_goaway_names_a_request_on_the_control_stream_only() {
        let wire = [1, b'u', 0x83, 0xe8, 6];
        let expected =
            GoAway { uri: Bytes::from_static(b"u"), timeout_ms: 1000, request_id: Some(RequestId(6)) };
        assert_eq!(control(0x10, &wire), Ok(Message::GoAway(expected.clone())));
        let without = GoAway { request_id: None, ..expected };
        assert_eq!(control(0x10, &wire[..4]), Ok(Message::GoAway(without.clone())));
        assert_eq!(later(0x10, &wire[..4]), Ok(Message::GoAway(without)));
        assert_protocol_violation(later(0x10, &wire), "a message is longer than its fields");
    }

    #[test]
    fn a_goaways_uri_has_at_most_8192_bytes() {
        let go_away = |len| GoAway { uri: vec![b'u'; len].into(), timeout_ms: 0, request_id: None };
        assert!(encode(&Message::GoAway(go_away(8192))).is_some());
        assert!(encode(&Message::GoAway(go_away(8193))).is_none());
        let mut payload = BytesMut::new();
        vi64::put(&mut payload, 8193);
        payload.put_bytes(b'u', 8193);
        payload.put_u8(0);
        assert_protocol_violation(control(0x10, &payload), "a GOAWAY's URI is longer than 8192 bytes");
    }

    #[test]
    fn end_of_track_is_a_flag_and_track_properties_are_checked() {
        let Ok(Message::FetchOk(ok)) = later(0x18, &[1, 5, 6, 0, 0x30, 1]) else { panic!() };
        assert_eq!(
            (ok.end_of_track, ok.end, &ok.track_properties[..]),
            (true, Location::new(5, 6), &[0x30, 1][..])
        );
        assert_protocol_violation(later(0x18, &[2, 5, 6, 0]), "End Of Track is neither 0 nor 1");
        assert_protocol_violation(later(0x18, &[1, 5, 6, 0, 0x30]), "a key-value pair is cut short");
        assert_protocol_violation(later(0x04, &[1, 0, 0x30, 2]), "DYNAMIC_GROUPS is neither 0 nor 1");
        let broken = SubscribeOk {
            alias: TrackAlias(1),
            parameters: Parameters::default(),
            track_properties: Bytes::from_static(&[0x30]),
        };
        assert_eq!(encode(&Message::SubscribeOk(broken)), None);
    }

    #[test]
    fn a_fetch_has_one_of_three_types() {
        let fetch = |bytes: &[u8]| first(0x16, &[&[4], bytes, &[0]].concat());
        let range = |message: Result<Message, Violation>| {
            let Ok(Message::Request(RequestId(4), Request::Fetch(body))) = message else { panic!() };
            body.range
        };
        let subscription = RequestId(2);
        assert_eq!(range(fetch(&[2, 2, 3])), FetchRange::RelativeJoining { subscription, groups_back: 3 });
        assert_eq!(range(fetch(&[3, 2, 3])), FetchRange::AbsoluteJoining { subscription, group: 3 });
        assert!(matches!(range(fetch(&[1, 0, 0, 1, 2, 3, 4])), FetchRange::Standalone { .. }));
        assert_protocol_violation(fetch(&[0, 2, 3]), "unknown FETCH type");
        assert_protocol_violation(fetch(&[4, 2, 3]), "unknown FETCH type");
    }
}
