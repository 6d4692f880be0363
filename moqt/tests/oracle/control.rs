//! Every control message.

use bytes::Bytes;
use moqtap_codec::{
    auth_token::{AuthorizationToken, TokenAliasType},
    draft18::message::{ControlMessage, FetchPayload, FetchType},
    kvp::{KeyValuePair, KvpValue},
    subscription_filter::{FilterEnd, SubscriptionFilter},
    types::{FilterType, TrackNamespace},
    varint::{Moqt18, VarInt},
};
use proptest::{collection::vec, option::of, prelude::*};
use roundtable_moqt::{
    FullTrackName, Location, Namespace, Parameters, PublishDoneCode, RequestErrorCode,
    codec::{self, MessageContext, Scope},
    message::*,
    properties::{Reader, Value, Writer},
};

use super::{strategy::*, vi};

fn request() -> BoxedStrategy<Request> {
    let subscribe =
        |scope| (track(), parameters(scope)).prop_map(|(track, parameters)| Subscribe { track, parameters });
    let namespace_request = |scope| {
        (namespace(), parameters(scope))
            .prop_map(|(namespace, parameters)| NamespaceRequest { namespace, parameters })
    };
    prop_oneof![
        subscribe(Scope::Subscribe).prop_map(Request::Subscribe),
        subscribe(Scope::TrackStatus).prop_map(Request::TrackStatus),
        (track(), number(), parameters(Scope::Publish), properties()).prop_map(
            |(track, alias, parameters, track_properties)| {
                Request::Publish(Publish { track, alias: TrackAlias(alias), parameters, track_properties })
            }
        ),
        (fetch_range(), parameters(Scope::Fetch))
            .prop_map(|(range, parameters)| Request::Fetch(Fetch { range, parameters })),
        namespace_request(Scope::PublishNamespace).prop_map(Request::PublishNamespace),
        namespace_request(Scope::SubscribeNamespace).prop_map(Request::SubscribeNamespace),
        namespace_request(Scope::SubscribeTracks).prop_map(Request::SubscribeTracks),
    ]
    .boxed()
}

fn fetch_range() -> BoxedStrategy<FetchRange> {
    prop_oneof![
        (track(), location(), location()).prop_map(|(track, a, b)| {
            // The independent codec refuses a range that ends before it starts; we leave that to the answer.
            let (start, end) = (a.min(b), a.max(b));
            let end = if start == end { Location::new(end.group, 0) } else { end };
            FetchRange::Standalone { track, start, end }
        }),
        (number(), number()).prop_map(|(id, groups_back)| FetchRange::RelativeJoining {
            subscription: RequestId(id),
            groups_back
        }),
        (number(), number())
            .prop_map(|(id, group)| FetchRange::AbsoluteJoining { subscription: RequestId(id), group }),
    ]
    .boxed()
}

fn setup() -> BoxedStrategy<Setup> {
    (
        of("(/[a-z0-9._~%-]{0,8}(%[0-9A-F]{2})?){0,3}(\\?[a-z=&]{0,9})?"),
        vec(setup_token(), 0..3),
        of(number()),
    )
        .prop_flat_map(|(path, authorization_tokens, max_auth_token_cache_size)| {
            (of("[a-z0-9.]{1,9}(:[0-9]{1,5})?"), of(bytes(20))).prop_map(
                move |(authority, implementation)| Setup {
                    path: path.clone().map(|path| Bytes::from(path.replace('%', "%25"))),
                    authorization_tokens: authorization_tokens.clone(),
                    max_auth_token_cache_size,
                    authority: authority.map(Bytes::from),
                    implementation,
                },
            )
        })
        .boxed()
}

fn request_error() -> BoxedStrategy<RequestError> {
    let redirect = (bytes(30), track()).prop_map(|(uri, track)| Redirect { uri, track });
    (number(), of(0..u64::MAX), "\\PC{0,40}", of(redirect))
        .prop_map(|(code, retry_after_ms, reason, redirect)| RequestError {
            code: match (&redirect, RequestErrorCode::from_code(code)) {
                (Some(_), _) => RequestErrorCode::Redirect,
                (None, RequestErrorCode::Redirect) => RequestErrorCode::InternalError,
                (None, code) => code,
            },
            retry_after_ms,
            reason,
            redirect,
        })
        .boxed()
}

fn message() -> BoxedStrategy<(Message, MessageContext)> {
    let request_stream = prop_oneof![
        (number(), parameters(Scope::AnyUpdate))
            .prop_map(|(id, parameters)| Message::RequestUpdate(RequestId(id), parameters)),
        (number(), parameters(Scope::SubscribeOk), properties()).prop_map(
            |(alias, parameters, track_properties)| {
                Message::SubscribeOk(SubscribeOk { alias: TrackAlias(alias), parameters, track_properties })
            }
        ),
        (parameters(Scope::AnyOk), properties()).prop_map(|(parameters, track_properties)| {
            Message::RequestOk(RequestOk { parameters, track_properties })
        }),
        request_error().prop_map(Message::RequestError),
        (any::<bool>(), location(), properties()).prop_map(|(end_of_track, end, track_properties)| {
            Message::FetchOk(FetchOk {
                end_of_track,
                end,
                parameters: Parameters::default(),
                track_properties,
            })
        }),
        (number(), number(), "\\PC{0,40}").prop_map(|(code, stream_count, reason)| {
            Message::PublishDone(PublishDone { code: PublishDoneCode::from_code(code), stream_count, reason })
        }),
        namespace().prop_map(Message::Namespace),
        namespace().prop_map(Message::NamespaceDone),
        track().prop_map(Message::PublishBlocked),
        (bytes(40), number()).prop_map(|(uri, timeout_ms)| Message::GoAway(GoAway {
            uri,
            timeout_ms,
            request_id: None
        })),
    ];
    prop_oneof![
        3 => (number(), request())
            .prop_map(|(id, request)| (Message::Request(RequestId(id), request), MessageContext::RequestFirst)),
        4 => request_stream.prop_map(|message| (message, MessageContext::Request)),
        1 => setup().prop_map(|setup| (Message::Setup(setup), MessageContext::Control)),
        1 => (bytes(40), number(), of(number().prop_map(RequestId))).prop_map(|(uri, timeout_ms, request_id)| {
            (Message::GoAway(GoAway { uri, timeout_ms, request_id }), MessageContext::Control)
        }),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_codecs_mean_the_same_by_a_control_message((ours, context) in message()) {
        let wire = codec::encode(&ours).expect("a legal message");
        let theirs = ControlMessage::decode(&mut wire.clone()).expect("they read what we write");
        prop_assert_eq!(&meaning(&theirs), &ours);
        let mut again = Vec::new();
        theirs.encode(&mut again).expect("they write what they read");
        prop_assert_eq!(&again[..], &wire[..]);
        prop_assert_eq!(codec::decode(&mut {wire}, context), Ok(Some(ours)));
    }

    #[test]
    fn a_message_in_pieces_waits_until_it_is_whole((ours, context) in message(), cut in any::<prop::sample::Index>()) {
        let wire = codec::encode(&ours).expect("a legal message");
        let cut = cut.index(wire.len());
        let mut part = wire.slice(..cut);
        prop_assert_eq!(codec::decode(&mut part, context), Ok(None));
        prop_assert_eq!(part.len(), cut);
        let mut pieces = bytes::Buf::chain(wire.slice(..cut), wire.slice(cut..));
        prop_assert_eq!(codec::decode(&mut pieces, context), Ok(Some(ours)));
    }
}

/// What the independent codec understood, in our types.
fn meaning(theirs: &ControlMessage) -> Message {
    use ControlMessage as Theirs;
    let request = |id: &VarInt, request| Message::Request(RequestId(id.into_inner()), request);
    let subscribe = |namespace, name: &[u8], params: &[KeyValuePair]| Subscribe {
        track: track_of(namespace, name),
        parameters: parameters_of(params),
    };
    let namespace_request = |namespace, params: &[KeyValuePair]| NamespaceRequest {
        namespace: namespace_of(namespace),
        parameters: parameters_of(params),
    };
    match theirs {
        Theirs::Setup(m) => Message::Setup(setup_of(&m.options)),
        Theirs::GoAway(m) => Message::GoAway(GoAway {
            uri: Bytes::copy_from_slice(&m.new_session_uri),
            timeout_ms: m.timeout.into_inner(),
            request_id: m.request_id.map(|id| RequestId(id.into_inner())),
        }),
        Theirs::RequestOk(m) => Message::RequestOk(RequestOk {
            parameters: parameters_of(&m.parameters),
            track_properties: properties_of(&m.track_properties),
        }),
        Theirs::RequestError(m) => Message::RequestError(RequestError {
            code: RequestErrorCode::from_code(m.error_code.into_inner()),
            retry_after_ms: m.retry_interval.into_inner().checked_sub(1),
            reason: String::from_utf8(m.reason_phrase.clone()).unwrap(),
            redirect: m.redirect.as_ref().map(|redirect| Redirect {
                uri: Bytes::copy_from_slice(&redirect.connect_uri),
                track: track_of(&redirect.track_namespace, &redirect.track_name),
            }),
        }),
        Theirs::Subscribe(m) => request(
            &m.request_id,
            Request::Subscribe(subscribe(&m.track_namespace, &m.track_name, &m.parameters)),
        ),
        Theirs::TrackStatus(m) => request(
            &m.request_id,
            Request::TrackStatus(subscribe(&m.track_namespace, &m.track_name, &m.parameters)),
        ),
        Theirs::SubscribeOk(m) => Message::SubscribeOk(SubscribeOk {
            alias: TrackAlias(m.track_alias.into_inner()),
            parameters: parameters_of(&m.parameters),
            track_properties: properties_of(&m.track_properties),
        }),
        Theirs::RequestUpdate(m) => {
            Message::RequestUpdate(RequestId(m.request_id.into_inner()), parameters_of(&m.parameters))
        }
        Theirs::Publish(m) => request(
            &m.request_id,
            Request::Publish(Publish {
                track: track_of(&m.track_namespace, &m.track_name),
                alias: TrackAlias(m.track_alias.into_inner()),
                parameters: parameters_of(&m.parameters),
                track_properties: properties_of(&m.track_properties),
            }),
        ),
        Theirs::PublishDone(m) => Message::PublishDone(PublishDone {
            code: PublishDoneCode::from_code(m.status_code.into_inner()),
            stream_count: m.stream_count.into_inner(),
            reason: String::from_utf8(m.reason_phrase.clone()).unwrap(),
        }),
        Theirs::PublishNamespace(m) => request(
            &m.request_id,
            Request::PublishNamespace(namespace_request(&m.track_namespace, &m.parameters)),
        ),
        Theirs::SubscribeNamespace(m) => request(
            &m.request_id,
            Request::SubscribeNamespace(namespace_request(&m.namespace_prefix, &m.parameters)),
        ),
        Theirs::SubscribeTracks(m) => request(
            &m.request_id,
            Request::SubscribeTracks(namespace_request(&m.namespace_prefix, &m.parameters)),
        ),
        Theirs::Namespace(m) => Message::Namespace(namespace_of(&m.namespace_suffix)),
        Theirs::NamespaceDone(m) => Message::NamespaceDone(namespace_of(&m.namespace_suffix)),
        Theirs::PublishBlocked(m) => Message::PublishBlocked(track_of(&m.namespace_suffix, &m.track_name)),
        Theirs::Fetch(m) => request(
            &m.request_id,
            Request::Fetch(Fetch {
                range: range_of(m.fetch_type, &m.fetch_payload),
                parameters: parameters_of(&m.parameters),
            }),
        ),
        Theirs::FetchOk(m) => Message::FetchOk(FetchOk {
            end_of_track: m.end_of_track == 1,
            end: Location::new(m.end_group.into_inner(), m.end_object.into_inner()),
            parameters: parameters_of(&m.parameters),
            track_properties: properties_of(&m.track_properties),
        }),
    }
}

fn range_of(fetch_type: FetchType, payload: &FetchPayload) -> FetchRange {
    match payload {
        FetchPayload::Standalone {
            track_namespace,
            track_name,
            start_group,
            start_object,
            end_group,
            end_object,
        } => FetchRange::Standalone {
            track: track_of(track_namespace, track_name),
            start: Location::new(start_group.into_inner(), start_object.into_inner()),
            end: Location::new(end_group.into_inner(), end_object.into_inner()),
        },
        FetchPayload::Joining { joining_request_id, joining_start } => {
            let subscription = RequestId(joining_request_id.into_inner());
            let start = joining_start.into_inner();
            match fetch_type {
                FetchType::RelativeJoining => {
                    FetchRange::RelativeJoining { subscription, groups_back: start }
                }
                _ => FetchRange::AbsoluteJoining { subscription, group: start },
            }
        }
    }
}

fn namespace_of(theirs: &TrackNamespace) -> Namespace {
    Namespace::new(theirs.0.iter().map(|field| Bytes::copy_from_slice(field))).unwrap()
}

fn track_of(namespace: &TrackNamespace, name: &[u8]) -> FullTrackName {
    FullTrackName::new(namespace_of(namespace), Bytes::copy_from_slice(name)).unwrap()
}

fn properties_of(theirs: &[KeyValuePair]) -> Bytes {
    let mut writer = Writer::new();
    for pair in theirs {
        match &pair.value {
            KvpValue::Varint(value) => writer.integer(pair.key.into_inner(), value.into_inner()),
            KvpValue::Bytes(bytes) => writer.bytes(pair.key.into_inner(), bytes),
        };
    }
    writer.finish()
}

fn token_of(bytes: &[u8]) -> Token {
    let theirs = AuthorizationToken::decode_moqt::<Moqt18>(3, bytes).unwrap();
    let value = Bytes::from(theirs.value);
    match (theirs.alias_type, theirs.alias, theirs.token_type) {
        (TokenAliasType::Delete, Some(alias), None) => Token::Delete { alias },
        (TokenAliasType::Register, Some(alias), Some(token_type)) => {
            Token::Register { alias, token_type, value }
        }
        (TokenAliasType::UseAlias, Some(alias), None) => Token::UseAlias { alias },
        (TokenAliasType::UseValue, None, Some(token_type)) => Token::UseValue { token_type, value },
        other => panic!("{other:?}"),
    }
}

fn filter_of(bytes: &[u8]) -> Filter {
    let theirs = SubscriptionFilter::decode_moqt::<Moqt18>(bytes).unwrap();
    let start =
        theirs.start_location.map(|start| Location::new(start.group.into_inner(), start.object.into_inner()));
    match (theirs.filter_type, start, theirs.end_group) {
        (FilterType::NextGroupStart, None, None) => Filter::NextGroupStart,
        (FilterType::AbsoluteStart, Some(start), None) => Filter::AbsoluteStart(start),
        (FilterType::AbsoluteRange, Some(start), Some(FilterEnd::GroupDelta(delta))) => {
            Filter::AbsoluteRange { start, end_group: start.group + delta }
        }
        (_, None, None) => Filter::LargestObject,
        other => panic!("{other:?}"),
    }
}

fn parameters_of(theirs: &[KeyValuePair]) -> Parameters {
    let mut ours = Parameters::default();
    for KeyValuePair { key, value } in theirs {
        match (key.into_inner(), value) {
            (0x02, KvpValue::Varint(value)) => ours.object_delivery_timeout_ms = Some(value.into_inner()),
            (0x03, KvpValue::Bytes(value)) => ours.authorization_tokens.push(token_of(value)),
            (0x04, KvpValue::Varint(value)) => ours.rendezvous_timeout_ms = Some(value.into_inner()),
            (0x06, KvpValue::Varint(value)) => ours.subgroup_delivery_timeout_ms = Some(value.into_inner()),
            (0x08, KvpValue::Varint(value)) => ours.expires_ms = Some(value.into_inner()),
            (0x09, KvpValue::Bytes(value)) => {
                let mut buf = &value[..];
                let mut part = || VarInt::decode_moqt::<Moqt18>(&mut buf).unwrap().into_inner();
                ours.largest_object = Some(Location::new(part(), part()));
            }
            (0x0A, KvpValue::Varint(value)) => ours.fill_timeout_ms = Some(value.into_inner()),
            (0x10, KvpValue::Varint(value)) => ours.forward = Some(*value == vi(1)),
            (0x20, KvpValue::Varint(value)) => {
                ours.subscriber_priority = Some(value.into_inner().try_into().unwrap());
            }
            (0x21, KvpValue::Bytes(value)) => ours.filter = Some(filter_of(value)),
            (0x22, KvpValue::Varint(value)) => {
                let is_descending = *value == vi(2);
                let order = if is_descending { GroupOrder::Descending } else { GroupOrder::Ascending };
                ours.group_order = Some(order);
            }
            (0x32, KvpValue::Varint(value)) => ours.new_group_request = Some(value.into_inner()),
            (0x34, KvpValue::Bytes(value)) => {
                let namespace = TrackNamespace::decode_moqt::<Moqt18>(&mut &value[..]).unwrap();
                ours.namespace_prefix = Some(namespace_of(&namespace));
            }
            other => panic!("{other:?}"),
        }
    }
    ours
}

fn setup_of(theirs: &[KeyValuePair]) -> Setup {
    let mut ours = Setup::default();
    for pair in Reader::new(properties_of(theirs)) {
        match pair.unwrap() {
            (1, Value::Bytes(path)) => ours.path = Some(path),
            (3, Value::Bytes(token)) => ours.authorization_tokens.push(token_of(&token)),
            (4, Value::Integer(size)) => ours.max_auth_token_cache_size = Some(size),
            (5, Value::Bytes(authority)) => ours.authority = Some(authority),
            (7, Value::Bytes(name)) => ours.implementation = Some(name),
            other => panic!("{other:?}"),
        }
    }
    ours
}
