//! The golden wire bytes that Rust and TypeScript share. Their form: `tests/vectors/README.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::{Bytes, BytesMut};
use roundtable_moqt::{
    Forwarding, FullTrackName, Location, Namespace, Object, ObjectDatagram, Parameters, SessionError, Status,
    codec::{self, MessageContext},
    error::Violation,
    fetch_stream::{self, FetchItem},
    message::*,
    subgroup, vi64,
};
use serde_json::{Map, Value, json};

#[derive(Debug, PartialEq)]
enum Failure {
    Incomplete,
    Violation(Violation),
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Failure::Violation(violation)
    }
}

/// What the bytes mean, and the bytes written from that.
type Outcome = Result<(Value, Bytes), Failure>;

#[test]
fn golden_bytes_mean_what_they_say_and_are_written_the_same() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/moqt.json");
    let vectors: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(vectors.len() >= 144);
    let mut wrong = Vec::new();
    for vector in &vectors {
        let name = vector["name"].as_str().unwrap();
        let wire = unhex(vector["hex"].as_str().unwrap());
        let outcome = match vector["kind"].as_str().unwrap() {
            "varint" => varint(&wire),
            "datagram" => datagram(&wire),
            "subgroup" => subgroup_stream(&wire),
            "fetch" => fetch(&wire, vector["value"]["order"].as_str().or(vector["order"].as_str()).unwrap()),
            "control" => control(&wire, vector["context"].as_str().unwrap()),
            other => panic!("{name}: kind {other}"),
        };
        let is_canonical = vector["canonical"] != json!(false);
        let is_as_expected = match (&outcome, vector["error"].as_str()) {
            (Ok((value, written)), None) => *value == vector["value"] && (*written == wire) == is_canonical,
            (Err(Failure::Incomplete), expected) => expected == Some("incomplete"),
            (Err(Failure::Violation(violation)), expected) => expected == Some(code_name(violation.code)),
            (Ok(_), Some(_)) => false,
        };
        if !is_as_expected {
            wrong.push(format!("{vector}\n  gave {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn varint(wire: &Bytes) -> Outcome {
    let mut buf = wire.clone();
    let value = vi64::take(&mut buf).ok_or(Failure::Incomplete)?;
    assert!(buf.is_empty());
    let mut out = BytesMut::new();
    vi64::put(&mut out, value);
    Ok((number(value), out.freeze()))
}

fn datagram(wire: &Bytes) -> Outcome {
    let Some(datagram) = ObjectDatagram::decode(wire.clone())? else {
        return Ok((Value::Null, Bytes::new()));
    };
    let object = &datagram.object;
    let value = json!({
        "alias": number(datagram.alias.0),
        "group": number(object.location.group),
        "object": number(object.location.object),
        "priority": object.priority,
        "status": status(object.status),
        "endsGroup": object.ends_group,
        "properties": hex(&object.properties),
        "payload": hex(&object.payload),
    });
    Ok((value, ObjectDatagram::encode(&[], datagram.alias, object)))
}

fn subgroup_stream(wire: &Bytes) -> Outcome {
    let mut decoder = subgroup::Decoder::new(1000);
    let mut out = BytesMut::new();
    let mut encoder = None;
    let (mut header_value, mut objects) = (Value::Null, Vec::new());
    decoder.push(wire.clone());
    while let Some(item) = decoder.poll()? {
        match item {
            subgroup::Item::Header(header) => {
                header_value = json!({
                    "alias": number(header.alias.0),
                    "group": number(header.group),
                    "subgroup": header.subgroup.map(number),
                    "priority": header.priority,
                    "endsGroup": header.ends_group,
                    "firstObject": header.first_object,
                    "hasProperties": header.has_properties,
                });
                encoder = Some(subgroup::Encoder::new(header, &mut out));
            }
            subgroup::Item::Object(object) => {
                objects.push(json!({
                    "group": number(object.location.group),
                    "object": number(object.location.object),
                    "subgroup": subgroup_of(&object),
                    "priority": object.priority,
                    "status": status(object.status),
                    "properties": hex(&object.properties),
                    "payload": hex(&object.payload),
                }));
                let payload = encoder.as_mut().unwrap().object(&object, &mut out).unwrap();
                out.extend_from_slice(&payload);
            }
        }
    }
    decoder.finish()?;
    Ok((json!({ "header": header_value, "objects": objects }), out.freeze()))
}

fn fetch(wire: &Bytes, order_name: &str) -> Outcome {
    let order = match order_name {
        "ascending" => GroupOrder::Ascending,
        "descending" => GroupOrder::Descending,
        other => panic!("order {other}"),
    };
    let mut decoder = fetch_stream::Decoder::new(1000);
    decoder.order(order);
    decoder.push(wire.clone());
    let request = decoder.request()?.unwrap();
    let mut out = BytesMut::new();
    let mut encoder = fetch_stream::Encoder::new(request, order, &mut out);
    let mut items = Vec::new();
    while let Some(item) = decoder.poll()? {
        let range = |kind: &str, end: &Location| json!({ "type": kind, "group": number(end.group), "object": number(end.object) });
        items.push(match &item {
            FetchItem::NonExistent(end) => range("nonexistent", end),
            FetchItem::Unknown(end) => range("unknown", end),
            FetchItem::Object(object) => json!({
                "type": "object",
                "group": number(object.location.group),
                "object": number(object.location.object),
                "subgroup": subgroup_of(object),
                "priority": object.priority,
                "properties": hex(&object.properties),
                "payload": hex(&object.payload),
            }),
        });
        let payload = encoder.item(&item, &mut out).unwrap();
        out.extend_from_slice(&payload);
    }
    decoder.finish()?;
    Ok((json!({ "request": number(request.0), "order": order_name, "items": items }), out.freeze()))
}

fn control(wire: &Bytes, context: &str) -> Outcome {
    let context = match context {
        "control" => MessageContext::Control,
        "first" => MessageContext::RequestFirst,
        "request" => MessageContext::Request,
        other => panic!("context {other}"),
    };
    let mut buf = wire.clone();
    let message = codec::decode(&mut buf, context)?.ok_or(Failure::Incomplete)?;
    assert!(buf.is_empty());
    let written = codec::encode(&message).unwrap();
    Ok((message_value(&message), written))
}

fn message_value(message: &Message) -> Value {
    match message {
        Message::Setup(setup) => setup_value(setup),
        Message::Request(RequestId(id), request) => {
            let mut value = request_value(request);
            value["request"] = number(*id);
            value
        }
        Message::RequestUpdate(RequestId(id), update) => {
            json!({ "type": "request-update", "request": number(*id), "parameters": parameters(update) })
        }
        Message::SubscribeOk(ok) => json!({
            "type": "subscribe-ok",
            "alias": number(ok.alias.0),
            "parameters": parameters(&ok.parameters),
            "trackProperties": hex(&ok.track_properties),
        }),
        Message::RequestOk(ok) => json!({
            "type": "request-ok",
            "parameters": parameters(&ok.parameters),
            "trackProperties": hex(&ok.track_properties),
        }),
        Message::RequestError(error) => json!({
            "type": "request-error",
            "code": error.code.code(),
            "retryAfterMs": error.retry_after_ms.map(number),
            "reason": error.reason,
            "redirect": error.redirect.as_ref().map(|to| json!({ "uri": hex(&to.uri), "track": track(&to.track) })),
        }),
        Message::FetchOk(ok) => json!({
            "type": "fetch-ok",
            "endOfTrack": ok.end_of_track,
            "end": location(ok.end),
            "parameters": parameters(&ok.parameters),
            "trackProperties": hex(&ok.track_properties),
        }),
        Message::PublishDone(done) => json!({
            "type": "publish-done",
            "code": done.code.code(),
            "streamCount": number(done.stream_count),
            "reason": done.reason,
        }),
        Message::Namespace(suffix) => json!({ "type": "namespace", "namespace": namespace(suffix) }),
        Message::NamespaceDone(suffix) => json!({ "type": "namespace-done", "namespace": namespace(suffix) }),
        Message::PublishBlocked(blocked) => json!({ "type": "publish-blocked", "track": track(blocked) }),
        Message::GoAway(go_away) => json!({
            "type": "goaway",
            "uri": hex(&go_away.uri),
            "timeoutMs": number(go_away.timeout_ms),
            "request": go_away.request_id.map(|id| number(id.0)),
        }),
    }
}

fn request_value(request: &Request) -> Value {
    let subscribe = |kind: &str, body: &Subscribe| json!({ "type": kind, "track": track(&body.track), "parameters": parameters(&body.parameters) });
    let namespaced = |kind: &str, body: &NamespaceRequest| json!({ "type": kind, "namespace": namespace(&body.namespace), "parameters": parameters(&body.parameters) });
    match request {
        Request::Subscribe(body) => subscribe("subscribe", body),
        Request::TrackStatus(body) => subscribe("track-status", body),
        Request::Publish(body) => json!({
            "type": "publish",
            "track": track(&body.track),
            "alias": number(body.alias.0),
            "parameters": parameters(&body.parameters),
            "trackProperties": hex(&body.track_properties),
        }),
        Request::Fetch(body) => {
            json!({ "type": "fetch", "range": range(&body.range), "parameters": parameters(&body.parameters) })
        }
        Request::PublishNamespace(body) => namespaced("publish-namespace", body),
        Request::SubscribeNamespace(body) => namespaced("subscribe-namespace", body),
        Request::SubscribeTracks(body) => namespaced("subscribe-tracks", body),
    }
}

fn range(range: &FetchRange) -> Value {
    match range {
        FetchRange::Standalone { track: name, start, end } => {
            json!({ "type": "standalone", "track": track(name), "start": location(*start), "end": location(*end) })
        }
        FetchRange::RelativeJoining { subscription, groups_back } => json!({
            "type": "relative-joining",
            "subscription": number(subscription.0),
            "groupsBack": number(*groups_back),
        }),
        FetchRange::AbsoluteJoining { subscription, group } => json!({
            "type": "absolute-joining",
            "subscription": number(subscription.0),
            "group": number(*group),
        }),
    }
}

/// Only what is there.
fn parameters(of: &Parameters) -> Value {
    let mut value = Map::new();
    let mut put = |name: &str, one: Option<Value>| one.map(|one| value.insert(name.to_owned(), one));
    put("objectDeliveryTimeoutMs", of.object_delivery_timeout_ms.map(number));
    put("authorizationTokens", tokens(&of.authorization_tokens));
    put("rendezvousTimeoutMs", of.rendezvous_timeout_ms.map(number));
    put("subgroupDeliveryTimeoutMs", of.subgroup_delivery_timeout_ms.map(number));
    put("expiresMs", of.expires_ms.map(number));
    put("largestObject", of.largest_object.map(location));
    put("fillTimeoutMs", of.fill_timeout_ms.map(number));
    put("forward", of.forward.map(Value::from));
    put("subscriberPriority", of.subscriber_priority.map(Value::from));
    put("filter", of.filter.map(filter));
    put(
        "groupOrder",
        of.group_order.map(|order| {
            json!(match order {
                GroupOrder::Ascending => "ascending",
                GroupOrder::Descending => "descending",
            })
        }),
    );
    put("newGroupRequest", of.new_group_request.map(number));
    put("namespacePrefix", of.namespace_prefix.as_ref().map(namespace));
    Value::Object(value)
}

fn setup_value(of: &Setup) -> Value {
    let mut value = Map::from_iter([("type".to_owned(), json!("setup"))]);
    let mut put = |name: &str, one: Option<Value>| one.map(|one| value.insert(name.to_owned(), one));
    put("path", of.path.as_ref().map(|bytes| json!(hex(bytes))));
    put("authorizationTokens", tokens(&of.authorization_tokens));
    put("maxAuthTokenCacheSize", of.max_auth_token_cache_size.map(number));
    put("authority", of.authority.as_ref().map(|bytes| json!(hex(bytes))));
    put("implementation", of.implementation.as_ref().map(|bytes| json!(hex(bytes))));
    Value::Object(value)
}

fn tokens(tokens: &[Token]) -> Option<Value> {
    let one = |token: &Token| {
        let (name, alias, token_type, value) = match token {
            Token::Delete { alias } => ("delete", Some(*alias), None, Bytes::new()),
            Token::Register { alias, token_type, value } => {
                ("register", Some(*alias), Some(*token_type), value.clone())
            }
            Token::UseAlias { alias } => ("alias", Some(*alias), None, Bytes::new()),
            Token::UseValue { token_type, value } => ("value", None, Some(*token_type), value.clone()),
        };
        json!({ "use": name, "alias": alias.map(number), "tokenType": token_type.map(number), "value": hex(&value) })
    };
    (!tokens.is_empty()).then(|| tokens.iter().map(one).collect())
}

fn filter(filter: Filter) -> Value {
    match filter {
        Filter::NextGroupStart => json!({ "type": "next-group-start" }),
        Filter::LargestObject => json!({ "type": "largest-object" }),
        Filter::AbsoluteStart(start) => json!({ "type": "absolute-start", "start": location(start) }),
        Filter::AbsoluteRange { start, end_group } => {
            json!({ "type": "absolute-range", "start": location(start), "endGroup": number(end_group) })
        }
    }
}

fn track(track: &FullTrackName) -> Value {
    json!({ "namespace": namespace(track.namespace()), "name": hex(track.name()) })
}

fn namespace(namespace: &Namespace) -> Value {
    namespace.fields().iter().map(|field| hex(field)).collect()
}

fn location(location: Location) -> Value {
    json!([number(location.group), number(location.object)])
}

fn subgroup_of(object: &Object) -> Value {
    match object.forwarding {
        Forwarding::Datagram => Value::Null,
        Forwarding::Subgroup(subgroup) => number(subgroup),
    }
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Normal => "normal",
        Status::EndOfGroup => "end-of-group",
        Status::EndOfTrack => "end-of-track",
    }
}

fn code_name(code: SessionError) -> &'static str {
    match code {
        SessionError::ProtocolViolation => "PROTOCOL_VIOLATION",
        SessionError::KeyValueFormattingError => "KEY_VALUE_FORMATTING_ERROR",
        SessionError::MalformedPath => "MALFORMED_PATH",
        other => panic!("{other:?}"),
    }
}

/// A JSON number only where every language reads it exactly.
fn number(value: u64) -> Value {
    if value < 1 << 53 { json!(value) } else { json!(value.to_string()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap().try_into().unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
