//! The messages without a request id: answers, notices and GOAWAY.

use bytes::{BufMut, Bytes, BytesMut};

use super::{MessageContext, URI_BYTES_MAX, kind::Kind, parameters, scope::Scope, wire};
use crate::{
    error::{PublishDoneCode, RequestErrorCode, Violation},
    message::{
        FetchOk, GoAway, Message, PublishDone, Redirect, RequestError, RequestId, RequestOk, SubscribeOk,
        TrackAlias,
    },
    properties, vi64,
};

/// Appends the message's payload; its type is the answer. `None` also for a message that is none of these.
pub(super) fn encode(message: &Message, out: &mut BytesMut) -> Option<Kind> {
    match message {
        Message::GoAway(body) => put_go_away(body, out).map(|()| Kind::GoAway),
        Message::SubscribeOk(body) => {
            vi64::put(out, body.alias.0);
            parameters::encode(&body.parameters, Scope::SubscribeOk, out)?;
            put_track_properties(&body.track_properties, out)?;
            Some(Kind::SubscribeOk)
        }
        Message::RequestOk(body) => {
            parameters::encode(&body.parameters, Scope::AnyOk, out)?;
            put_track_properties(&body.track_properties, out)?;
            Some(Kind::RequestOk)
        }
        Message::RequestError(body) => put_error(body, out).map(|()| Kind::RequestError),
        Message::FetchOk(body) => {
            out.put_u8(body.end_of_track.into());
            wire::put_location(out, body.end)?;
            parameters::encode(&body.parameters, Scope::FetchOk, out)?;
            put_track_properties(&body.track_properties, out)?;
            Some(Kind::FetchOk)
        }
        Message::PublishDone(body) => {
            vi64::put(out, body.code.code());
            vi64::put(out, body.stream_count);
            wire::put_reason(out, &body.reason)?;
            Some(Kind::PublishDone)
        }
        Message::Namespace(suffix) => wire::put_namespace(out, suffix).map(|()| Kind::Namespace),
        Message::NamespaceDone(suffix) => wire::put_namespace(out, suffix).map(|()| Kind::NamespaceDone),
        Message::PublishBlocked(track) => wire::put_track(out, track).map(|()| Kind::PublishBlocked),
        Message::Setup(_) | Message::Request(..) | Message::RequestUpdate(..) => None,
    }
}

pub(super) fn decode(kind: Kind, context: MessageContext, buf: &mut Bytes) -> Result<Message, Violation> {
    Ok(match kind {
        Kind::GoAway => Message::GoAway(go_away(buf, context)?),
        Kind::SubscribeOk => Message::SubscribeOk(SubscribeOk {
            alias: TrackAlias(wire::integer(buf)?),
            parameters: parameters::decode(buf, Scope::SubscribeOk)?,
            track_properties: track_properties(buf)?,
        }),
        Kind::RequestOk | Kind::PublishOk => {
            let scope = if kind == Kind::PublishOk { Scope::PublishOk } else { Scope::AnyOk };
            Message::RequestOk(RequestOk {
                parameters: parameters::decode(buf, scope)?,
                track_properties: track_properties(buf)?,
            })
        }
        Kind::RequestError => Message::RequestError(error(buf)?),
        Kind::FetchOk => Message::FetchOk(FetchOk {
            end_of_track: match wire::byte(buf)? {
                0 => false,
                1 => true,
                _ => return Err(Violation::protocol("End Of Track is neither 0 nor 1")),
            },
            end: wire::location(buf)?,
            parameters: parameters::decode(buf, Scope::FetchOk)?,
            track_properties: track_properties(buf)?,
        }),
        Kind::PublishDone => Message::PublishDone(PublishDone {
            code: PublishDoneCode::from_code(wire::integer(buf)?),
            stream_count: wire::integer(buf)?,
            reason: wire::reason(buf)?,
        }),
        Kind::Namespace => Message::Namespace(wire::namespace(buf)?),
        Kind::NamespaceDone => Message::NamespaceDone(wire::namespace(buf)?),
        Kind::PublishBlocked => Message::PublishBlocked(wire::track(buf)?),
        _ => return Err(Violation::protocol("no response")),
    })
}

fn put_go_away(body: &GoAway, out: &mut BytesMut) -> Option<()> {
    if body.uri.len() > URI_BYTES_MAX {
        return None;
    }
    wire::put_prefixed(out, &body.uri);
    vi64::put(out, body.timeout_ms);
    if let Some(request) = body.request_id {
        vi64::put(out, request.0);
    }
    Some(())
}

fn go_away(buf: &mut Bytes, context: MessageContext) -> Result<GoAway, Violation> {
    let uri = wire::prefixed(buf)?;
    if uri.len() > URI_BYTES_MAX {
        return Err(Violation::protocol("a GOAWAY's URI is longer than 8192 bytes"));
    }
    let timeout_ms = wire::integer(buf)?;
    // On a request stream nothing follows; what does is found to be too long by the caller.
    let request_id = match context {
        MessageContext::Control if !buf.is_empty() => Some(RequestId(wire::integer(buf)?)),
        _ => None,
    };
    Ok(GoAway { uri: Bytes::copy_from_slice(&uri), timeout_ms, request_id })
}

fn put_error(body: &RequestError, out: &mut BytesMut) -> Option<()> {
    if (body.code == RequestErrorCode::Redirect) != body.redirect.is_some() {
        return None;
    }
    vi64::put(out, body.code.code());
    vi64::put(out, body.retry_after_ms.map_or(0, |after| after.saturating_add(1)));
    wire::put_reason(out, &body.reason)?;
    if let Some(redirect) = &body.redirect {
        wire::put_prefixed(out, &redirect.uri);
        wire::put_track(out, &redirect.track)?;
    }
    Some(())
}

fn error(buf: &mut Bytes) -> Result<RequestError, Violation> {
    let code = RequestErrorCode::from_code(wire::integer(buf)?);
    let retry_after_ms = wire::integer(buf)?.checked_sub(1);
    let reason = wire::reason(buf)?;
    let redirect = match code {
        RequestErrorCode::Redirect => {
            let uri = Bytes::copy_from_slice(&wire::prefixed(buf)?);
            Some(Redirect { uri, track: wire::track(buf)? })
        }
        _ => None,
    };
    Ok(RequestError { code, retry_after_ms, reason, redirect })
}

/// Track properties are the rest of the message.
pub(super) fn track_properties(buf: &mut Bytes) -> Result<Bytes, Violation> {
    properties::check_track(buf)?;
    Ok(Bytes::copy_from_slice(&buf.split_off(0)))
}

pub(super) fn put_track_properties(bytes: &[u8], out: &mut BytesMut) -> Option<()> {
    properties::check_track(bytes).ok()?;
    out.put_slice(bytes);
    Some(())
}
