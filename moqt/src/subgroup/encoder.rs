//! The outgoing side.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Kind, SubgroupHeader};
use crate::{
    object::{Object, Status},
    vi64,
};

/// Writes one subgroup stream.
#[derive(Debug)]
pub struct Encoder {
    header: SubgroupHeader,
    /// The object before.
    previous: Option<u64>,
    /// A status object has said that none follow.
    is_ended: bool,
}

impl Encoder {
    /// Appends the header to `out`. `header.subgroup` is `Some`, or `None` for the id of the first object.
    pub fn new(header: SubgroupHeader, out: &mut BytesMut) -> Self {
        let kind = Kind::of(&header);
        out.put_u8(kind.0);
        vi64::put(out, header.alias.0);
        vi64::put(out, header.group);
        if let Some(subgroup) = header.subgroup.filter(|subgroup| *subgroup != 0) {
            vi64::put(out, subgroup);
        }
        if let Some(priority) = header.priority {
            out.put_u8(priority);
        }
        Encoder { header, previous: None, is_ended: false }
    }

    /// Appends the object's header to `out` and returns the payload that follows it, not copied.
    ///
    /// `None`, and nothing written, when the object cannot follow: another group, an id that does not ascend,
    /// anything after the end of group or track, properties where the header announces none.
    #[must_use]
    pub fn object(&mut self, object: &Object, out: &mut BytesMut) -> Option<Bytes> {
        let is_normal = object.status == Status::Normal;
        let properties = if is_normal { &object.properties[..] } else { &[] };
        if object.location.group != self.header.group
            || self.is_ended
            || (!properties.is_empty() && !self.header.has_properties)
        {
            return None;
        }
        let id = object.location.object;
        let delta = match self.previous {
            None => id,
            Some(previous) => id.checked_sub(previous)?.checked_sub(1)?,
        };
        vi64::put(out, delta);
        if self.header.has_properties {
            vi64::put(out, properties.len() as u64);
            out.put_slice(properties);
        }
        let payload = if is_normal { object.payload.clone() } else { Bytes::new() };
        vi64::put(out, payload.len() as u64);
        if payload.is_empty() {
            vi64::put(out, object.status.code());
        }
        self.previous = Some(id);
        self.is_ended = !is_normal;
        Some(payload)
    }
}
