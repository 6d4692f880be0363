//! The fields that control messages are made of. Names, locations, filters, ranges and reasons come from the
//! crate moq-transport, whose limits are the draft's; this is the only file that knows it.
//!
//! The crate's message structs are not used: its responses still carry a request id, its GOAWAY and
//! REQUEST_ERROR lack fields, its requests refuse the empty namespace that draft 2.4.1 allows, and its
//! parameters let unknown types pass. Reasons are read here, since the crate refuses what is not UTF-8, and a
//! diagnostic text is no reason to lose a session.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use moq_transport::{
    coding::{self, Decode, DecodeError, Encode, ReasonPhrase, TrackName, TrackNamespacePrefix, TupleField},
    message::{FetchType, FilterType, JoiningFetch, SubscriptionFilter},
};

use super::REASON_BYTES_MAX;
use crate::{
    error::Violation,
    message::{FetchRange, Filter, RequestId},
    name::{FullTrackName, NameError, Namespace},
    object::Location,
    vi64,
};

const CUT: Violation = Violation::protocol("a message is shorter than its fields");

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::More(_) => CUT,
            DecodeError::EmptyNamespaceField => NameError::EmptyField.into(),
            DecodeError::TrackNameTooLong => NameError::TooLong.into(),
            DecodeError::FieldBoundsExceeded(_) => {
                Violation::protocol("a field is larger than the draft allows")
            }
            DecodeError::InvalidFilterType => Violation::protocol("unknown filter type"),
            DecodeError::InvalidFetchType => Violation::protocol("unknown FETCH type"),
            _ => Violation::protocol("a field cannot be decoded"),
        }
    }
}

impl From<NameError> for Violation {
    fn from(error: NameError) -> Self {
        Violation::protocol(match error {
            NameError::TooManyFields => "a namespace has more than 32 fields",
            NameError::EmptyField => "a namespace has an empty field",
            NameError::TooLong => "a track name is longer than 4096 bytes",
        })
    }
}

pub(super) fn integer(buf: &mut Bytes) -> Result<u64, Violation> {
    vi64::take(buf).ok_or(CUT)
}

pub(super) fn byte(buf: &mut Bytes) -> Result<u8, Violation> {
    if buf.has_remaining() { Ok(buf.get_u8()) } else { Err(CUT) }
}

/// Length and that many bytes, still shared with the message.
pub(super) fn prefixed(buf: &mut Bytes) -> Result<Bytes, Violation> {
    let len = usize::try_from(integer(buf)?).ok().filter(|len| *len <= buf.len()).ok_or(CUT)?;
    Ok(buf.split_to(len))
}

pub(super) fn put_prefixed(out: &mut BytesMut, bytes: &[u8]) {
    vi64::put(out, bytes.len() as u64);
    out.put_slice(bytes);
}

pub(super) fn namespace(buf: &mut Bytes) -> Result<Namespace, Violation> {
    let TrackNamespacePrefix { fields } = Decode::decode(buf)?;
    Ok(Namespace::new(fields.into_iter().map(|field| Bytes::from(field.value)))?)
}

pub(super) fn put_namespace(out: &mut BytesMut, namespace: &Namespace) -> Option<()> {
    let fields = namespace.fields().iter().map(|field| TupleField { value: field.to_vec() }).collect();
    TrackNamespacePrefix { fields }.encode(out).ok()
}

pub(super) fn track(buf: &mut Bytes) -> Result<FullTrackName, Violation> {
    let namespace = namespace(buf)?;
    let name = TrackName::decode(buf)?;
    Ok(FullTrackName::new(namespace, Bytes::copy_from_slice(name.as_bytes()))?)
}

pub(super) fn put_track(out: &mut BytesMut, track: &FullTrackName) -> Option<()> {
    put_namespace(out, track.namespace())?;
    put_prefixed(out, track.name());
    Some(())
}

pub(super) fn location(buf: &mut Bytes) -> Result<Location, Violation> {
    let coding::Location { group_id, object_id } = Decode::decode(buf)?;
    Ok(Location::new(group_id, object_id))
}

pub(super) fn put_location(out: &mut BytesMut, location: Location) -> Option<()> {
    coding::Location::new(location.group, location.object).encode(out).ok()
}

pub(super) fn reason(buf: &mut Bytes) -> Result<String, Violation> {
    let bytes = prefixed(buf)?;
    if bytes.len() > REASON_BYTES_MAX {
        return Err(Violation::protocol("a reason is longer than 1024 bytes"));
    }
    Ok(ReasonPhrase::new(String::from_utf8_lossy(&bytes)).0)
}

/// Cuts what is longer than [`REASON_BYTES_MAX`] between two characters.
pub(super) fn put_reason(out: &mut BytesMut, reason: &str) -> Option<()> {
    ReasonPhrase::new(reason).encode(out).ok()
}

/// Decodes the whole of `bytes` as a filter (draft 5.1.2).
pub(super) fn filter(mut bytes: Bytes) -> Result<Filter, Violation> {
    const UNREADABLE: Violation = Violation::key_value("a subscription filter cannot be decoded");
    let filter = SubscriptionFilter::decode(&mut bytes).map_err(|error| match error {
        DecodeError::More(_) => UNREADABLE,
        other => other.into(),
    })?;
    if !bytes.is_empty() {
        return Err(UNREADABLE);
    }
    let start = filter.start_location.map(|start| Location::new(start.group_id, start.object_id));
    match (filter.filter_type, start, filter.end_group_id) {
        (FilterType::NextGroupStart, ..) => Ok(Filter::NextGroupStart),
        (FilterType::LargestObject, ..) => Ok(Filter::LargestObject),
        (FilterType::AbsoluteStart, Some(start), _) => Ok(Filter::AbsoluteStart(start)),
        (FilterType::AbsoluteRange, Some(start), Some(delta)) => {
            let end_group = start.group.checked_add(delta);
            let end_group = end_group.ok_or(Violation::protocol("a filter ends after the last group"))?;
            Ok(Filter::AbsoluteRange { start, end_group })
        }
        (FilterType::AbsoluteStart | FilterType::AbsoluteRange, ..) => Err(UNREADABLE),
    }
}

/// `None` when the filter ends before it starts.
pub(super) fn filter_bytes(filter: Filter) -> Option<BytesMut> {
    let location = |start: Location| coding::Location::new(start.group, start.object);
    let (filter_type, start_location, end_group_id) = match filter {
        Filter::NextGroupStart => (FilterType::NextGroupStart, None, None),
        Filter::LargestObject => (FilterType::LargestObject, None, None),
        Filter::AbsoluteStart(start) => (FilterType::AbsoluteStart, Some(location(start)), None),
        Filter::AbsoluteRange { start, end_group } => {
            let delta = end_group.checked_sub(start.group)?;
            (FilterType::AbsoluteRange, Some(location(start)), Some(delta))
        }
    };
    let mut out = BytesMut::new();
    SubscriptionFilter { filter_type, start_location, end_group_id }.encode(&mut out).ok()?;
    Some(out)
}

/// What a FETCH asks for, from its type on (draft 10.12). Whether a range is empty is the request's business.
pub(super) fn fetch_range(buf: &mut Bytes) -> Result<FetchRange, Violation> {
    let joining = |buf: &mut Bytes| JoiningFetch::decode(buf);
    Ok(match FetchType::decode(buf)? {
        FetchType::Standalone => {
            FetchRange::Standalone { track: track(buf)?, start: location(buf)?, end: location(buf)? }
        }
        FetchType::RelativeJoining => {
            let JoiningFetch { joining_request_id, joining_start } = joining(buf)?;
            let subscription = RequestId(joining_request_id);
            FetchRange::RelativeJoining { subscription, groups_back: joining_start }
        }
        FetchType::AbsoluteJoining => {
            let JoiningFetch { joining_request_id, joining_start } = joining(buf)?;
            FetchRange::AbsoluteJoining { subscription: RequestId(joining_request_id), group: joining_start }
        }
    })
}

pub(super) fn put_fetch_range(out: &mut BytesMut, range: &FetchRange) -> Option<()> {
    let joining = |out: &mut BytesMut, subscription: &RequestId, joining_start: u64| {
        JoiningFetch { joining_request_id: subscription.0, joining_start }.encode(out).ok()
    };
    match range {
        FetchRange::Standalone { track, start, end } => {
            FetchType::Standalone.encode(out).ok()?;
            put_track(out, track)?;
            put_location(out, *start)?;
            put_location(out, *end)
        }
        FetchRange::RelativeJoining { subscription, groups_back } => {
            FetchType::RelativeJoining.encode(out).ok()?;
            joining(out, subscription, *groups_back)
        }
        FetchRange::AbsoluteJoining { subscription, group } => {
            FetchType::AbsoluteJoining.encode(out).ok()?;
            joining(out, subscription, *group)
        }
    }
}
