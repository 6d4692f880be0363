//! The messages that carry a request id: the seven requests and REQUEST_UPDATE.

use bytes::{Bytes, BytesMut};

use super::{kind::Kind, parameters, response, scope::Scope, wire};
use crate::{
    error::Violation,
    message::{
        Fetch, Message, NamespaceRequest, Parameters, Publish, Request, RequestId, Subscribe, TrackAlias,
    },
    vi64,
};

/// Appends the request's payload; its type is the answer.
pub(super) fn encode(id: RequestId, request: &Request, out: &mut BytesMut) -> Option<Kind> {
    vi64::put(out, id.0);
    match request {
        Request::Subscribe(body) => put_subscribe(body, Scope::Subscribe, out).map(|()| Kind::Subscribe),
        Request::TrackStatus(body) => {
            put_subscribe(body, Scope::TrackStatus, out).map(|()| Kind::TrackStatus)
        }
        Request::Publish(body) => put_publish(body, out).map(|()| Kind::Publish),
        Request::Fetch(body) => {
            wire::put_fetch_range(out, &body.range)?;
            parameters::encode(&body.parameters, Scope::Fetch, out)?;
            Some(Kind::Fetch)
        }
        Request::PublishNamespace(body) => {
            put_namespace(body, Scope::PublishNamespace, out).map(|()| Kind::PublishNamespace)
        }
        Request::SubscribeNamespace(body) => {
            put_namespace(body, Scope::SubscribeNamespace, out).map(|()| Kind::SubscribeNamespace)
        }
        Request::SubscribeTracks(body) => {
            put_namespace(body, Scope::SubscribeTracks, out).map(|()| Kind::SubscribeTracks)
        }
    }
}

fn put_subscribe(body: &Subscribe, scope: Scope, out: &mut BytesMut) -> Option<()> {
    wire::put_track(out, &body.track)?;
    parameters::encode(&body.parameters, scope, out)
}

fn put_publish(body: &Publish, out: &mut BytesMut) -> Option<()> {
    wire::put_track(out, &body.track)?;
    vi64::put(out, body.alias.0);
    parameters::encode(&body.parameters, Scope::Publish, out)?;
    response::put_track_properties(&body.track_properties, out)
}

fn put_namespace(body: &NamespaceRequest, scope: Scope, out: &mut BytesMut) -> Option<()> {
    wire::put_namespace(out, &body.namespace)?;
    parameters::encode(&body.parameters, scope, out)
}

pub(super) fn decode(kind: Kind, buf: &mut Bytes) -> Result<Message, Violation> {
    let id = RequestId(wire::integer(buf)?);
    let request = match kind {
        Kind::Subscribe => Request::Subscribe(subscribe(buf, Scope::Subscribe)?),
        Kind::TrackStatus => Request::TrackStatus(subscribe(buf, Scope::TrackStatus)?),
        Kind::Publish => Request::Publish(Publish {
            track: wire::track(buf)?,
            alias: TrackAlias(wire::integer(buf)?),
            parameters: parameters::decode(buf, Scope::Publish)?,
            track_properties: response::track_properties(buf)?,
        }),
        Kind::Fetch => Request::Fetch(Fetch {
            range: wire::fetch_range(buf)?,
            parameters: parameters::decode(buf, Scope::Fetch)?,
        }),
        Kind::PublishNamespace => Request::PublishNamespace(namespace(buf, Scope::PublishNamespace)?),
        Kind::SubscribeNamespace => Request::SubscribeNamespace(namespace(buf, Scope::SubscribeNamespace)?),
        Kind::SubscribeTracks => Request::SubscribeTracks(namespace(buf, Scope::SubscribeTracks)?),
        _ => return Err(Violation::protocol("no request")),
    };
    Ok(Message::Request(id, request))
}

fn subscribe(buf: &mut Bytes, scope: Scope) -> Result<Subscribe, Violation> {
    Ok(Subscribe { track: wire::track(buf)?, parameters: parameters::decode(buf, scope)? })
}

fn namespace(buf: &mut Bytes, scope: Scope) -> Result<NamespaceRequest, Violation> {
    Ok(NamespaceRequest { namespace: wire::namespace(buf)?, parameters: parameters::decode(buf, scope)? })
}

pub(super) fn encode_update(id: RequestId, update: &Parameters, out: &mut BytesMut) -> Option<()> {
    vi64::put(out, id.0);
    parameters::encode(update, Scope::AnyUpdate, out)
}

pub(super) fn decode_update(buf: &mut Bytes) -> Result<Message, Violation> {
    let id = RequestId(wire::integer(buf)?);
    Ok(Message::RequestUpdate(id, parameters::decode(buf, Scope::AnyUpdate)?))
}
