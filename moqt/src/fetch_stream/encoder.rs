//! The outgoing side.

use bytes::{BufMut, Bytes, BytesMut};

use super::{FETCH_HEADER, FetchItem, flags, prior::Prior};
use crate::{
    message::{GroupOrder, RequestId},
    object::{Forwarding, Location, Object, Status},
    vi64,
};

/// Priority of an object without one, on a track without DEFAULT_PUBLISHER_PRIORITY (draft 12.4).
const DEFAULT_PRIORITY: u8 = 128;

/// Writes one FETCH stream.
#[derive(Debug)]
pub struct Encoder {
    order: GroupOrder,
    default_priority: u8,
    prior: Prior,
}

impl Encoder {
    /// Appends the header to `out`.
    pub fn new(request: RequestId, order: GroupOrder, out: &mut BytesMut) -> Self {
        vi64::put(out, FETCH_HEADER);
        vi64::put(out, request.0);
        Encoder { order, default_priority: DEFAULT_PRIORITY, prior: Prior::default() }
    }

    /// What objects without a priority are sent with: here, unlike elsewhere, every object has to say one.
    /// It is 128 unless the track's properties have a DEFAULT_PUBLISHER_PRIORITY.
    pub fn default_priority(&mut self, priority: u8) {
        self.default_priority = priority;
    }

    /// Appends an item's header to `out`, and returns the payload that follows it, not copied (empty for
    /// ranges). `None`, and nothing written, when the item does not follow the one before in the stream's
    /// order, or is a status object.
    #[must_use]
    pub fn item(&mut self, item: &FetchItem, out: &mut BytesMut) -> Option<Bytes> {
        if !self.prior.precedes(item.location(), self.order) {
            return None;
        }
        match item {
            FetchItem::Object(object) => self.object(object, out),
            FetchItem::NonExistent(end) => Some(self.range(flags::NON_EXISTENT, *end, out)),
            FetchItem::Unknown(end) => Some(self.range(flags::UNKNOWN, *end, out)),
        }
    }

    fn range(&mut self, flags: u64, end: Location, out: &mut BytesMut) -> Bytes {
        vi64::put(out, flags);
        vi64::put(out, end.group);
        vi64::put(out, end.object);
        self.prior.range(end);
        Bytes::new()
    }

    fn object(&mut self, object: &Object, out: &mut BytesMut) -> Option<Bytes> {
        if object.status != Status::Normal {
            return None;
        }
        let Location { group, object: id } = object.location;
        let group_delta = match self.prior.location {
            None => Some(group),
            Some(prior) if prior.group == group => None,
            Some(prior) => Some(prior.group.abs_diff(group) - 1),
        };
        // Never left out when the group changes, though the draft would let it be "the prior one plus one": a
        // byte a group is cheaper than to find out who reads that otherwise.
        let object_delta = match (group_delta, self.prior.location) {
            (None, Some(prior)) => Some(id - prior.object).filter(|delta| *delta != 1),
            _ => Some(id),
        };
        let (subgroup_flags, subgroup) = self.subgroup(object.forwarding);
        let priority = object.priority.unwrap_or(self.default_priority);
        let says_priority = self.prior.priority != Some(priority);
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        vi64::put(
            out,
            subgroup_flags
                | flag(object_delta.is_some(), flags::OBJECT_DELTA)
                | flag(group_delta.is_some(), flags::GROUP_DELTA)
                | flag(says_priority, flags::PRIORITY)
                | flag(!object.properties.is_empty(), flags::PROPERTIES),
        );
        for field in [group_delta, subgroup, object_delta].into_iter().flatten() {
            vi64::put(out, field);
        }
        if says_priority {
            out.put_u8(priority);
        }
        if !object.properties.is_empty() {
            vi64::put(out, object.properties.len() as u64);
            out.put_slice(&object.properties);
        }
        vi64::put(out, object.payload.len() as u64);
        self.prior.object(object, priority);
        Some(object.payload.clone())
    }

    /// Flags and field of the subgroup. What a datagram leaves as "the prior subgroup" is read in two ways, so
    /// nothing refers to it right after one.
    fn subgroup(&self, forwarding: Forwarding) -> (u64, Option<u64>) {
        let Forwarding::Subgroup(subgroup) = forwarding else { return (flags::DATAGRAM, None) };
        let prior = self.prior.subgroup.filter(|_| !self.prior.is_datagram);
        match prior {
            _ if subgroup == 0 => (flags::SUBGROUP_ZERO, None),
            Some(prior) if prior == subgroup => (flags::SUBGROUP_PRIOR, None),
            Some(prior) if prior.checked_add(1) == Some(subgroup) => (flags::SUBGROUP_NEXT, None),
            _ => (flags::SUBGROUP_PRESENT, Some(subgroup)),
        }
    }
}
