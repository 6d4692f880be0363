//! OBJECT_DATAGRAM, decoded in place (draft 11.3.1), and padding datagrams (11.6.2).

use bytes::{BufMut, Bytes};

use crate::{
    error::Violation,
    message::TrackAlias,
    object::{Forwarding, Location, Object, Status},
    properties, vi64,
};

/// Type of a padding datagram (draft 11.6.2).
pub const PADDING: u64 = 0x132B_3E29;

const CUT: Violation = Violation::protocol("a datagram is shorter than its fields");

/// A datagram of the peer, its header decoded, its bytes shared with the packet.
#[derive(Debug, Clone)]
pub struct ObjectDatagram {
    /// The sender's name for the track.
    pub alias: TrackAlias,
    /// The object; properties and payload are slices of the datagram.
    pub object: Object,
    /// The type byte, needed to forward the datagram.
    kind: Kind,
    /// Everything after the alias, which a relay forwards as it stands.
    rest: Bytes,
}

impl ObjectDatagram {
    /// Decodes a datagram. `Ok(None)` is padding. An error ends the session with its code.
    pub fn decode(bytes: Bytes) -> Result<Option<Self>, Violation> {
        let mut unread: &[u8] = &bytes;
        let code = vi64::take(&mut unread).ok_or(CUT)?;
        if code == PADDING {
            return Ok(None);
        }
        let kind = Kind::from_code(code)?;
        let alias = TrackAlias(vi64::take(&mut unread).ok_or(CUT)?);
        let rest_at = bytes.len() - unread.len();
        let group = vi64::take(&mut unread).ok_or(CUT)?;
        let object = if kind.has(Kind::ZERO_OBJECT_ID) { 0 } else { vi64::take(&mut unread).ok_or(CUT)? };
        let priority = if kind.has(Kind::DEFAULT_PRIORITY) {
            None
        } else {
            let (priority, after) = unread.split_first().ok_or(CUT)?;
            unread = after;
            Some(*priority)
        };
        let properties = if kind.has(Kind::PROPERTIES) { take_properties(&mut unread)? } else { &[] };
        let status = if kind.has(Kind::STATUS) { take_status(&mut unread)? } else { Status::Normal };
        if status != Status::Normal && !properties.is_empty() {
            return Err(Violation::protocol("a status object has properties"));
        }
        let object = Object {
            location: Location { group, object },
            priority,
            forwarding: Forwarding::Datagram,
            status,
            ends_group: kind.has(Kind::END_OF_GROUP),
            properties: bytes.slice_ref(properties),
            payload: bytes.slice_ref(unread),
        };
        Ok(Some(ObjectDatagram { alias, object, kind, rest: bytes.slice(rest_at..) }))
    }

    /// Encodes an object. `prefix` (a WebTransport session's quarter id, or nothing) stands in front.
    ///
    /// A status that is not normal leaves out properties and payload: such an object has none.
    pub fn encode(prefix: &[u8], alias: TrackAlias, object: &Object) -> Bytes {
        let kind = Kind::of(object);
        let mut out = Vec::with_capacity(prefix.len() + Self::encoded_len(alias, object));
        out.put_slice(prefix);
        out.put_u8(kind.0);
        vi64::put(&mut out, alias.0);
        vi64::put(&mut out, object.location.group);
        if !kind.has(Kind::ZERO_OBJECT_ID) {
            vi64::put(&mut out, object.location.object);
        }
        if let Some(priority) = object.priority {
            out.put_u8(priority);
        }
        if kind.has(Kind::PROPERTIES) {
            vi64::put(&mut out, object.properties.len() as u64);
            out.put_slice(&object.properties);
        }
        if kind.has(Kind::STATUS) {
            vi64::put(&mut out, object.status.code());
        } else {
            out.put_slice(&object.payload);
        }
        out.into()
    }

    /// The same datagram under another alias: type and everything after the alias stay as they are.
    /// One allocation, one copy; meant to be done once per track and shared by all receivers.
    pub fn forward(&self, prefix: &[u8], alias: TrackAlias) -> Bytes {
        let mut out = Vec::with_capacity(prefix.len() + 1 + vi64::len(alias.0) + self.rest.len());
        out.put_slice(prefix);
        out.put_u8(self.kind.0);
        vi64::put(&mut out, alias.0);
        out.put_slice(&self.rest);
        out.into()
    }

    /// Bytes of the header and payload that [`Self::encode`] makes with this alias, without prefix.
    pub fn encoded_len(alias: TrackAlias, object: &Object) -> usize {
        let kind = Kind::of(object);
        let mut len = 1 + vi64::len(alias.0) + vi64::len(object.location.group);
        if !kind.has(Kind::ZERO_OBJECT_ID) {
            len += vi64::len(object.location.object);
        }
        if !kind.has(Kind::DEFAULT_PRIORITY) {
            len += 1;
        }
        if kind.has(Kind::PROPERTIES) {
            len += vi64::len(object.properties.len() as u64) + object.properties.len();
        }
        len + if kind.has(Kind::STATUS) { vi64::len(object.status.code()) } else { object.payload.len() }
    }

    /// Where the object stands.
    pub fn location(&self) -> Location {
        self.object.location
    }
}

fn take_properties<'a>(unread: &mut &'a [u8]) -> Result<&'a [u8], Violation> {
    let len = usize::try_from(vi64::take(unread).ok_or(CUT)?).map_err(|_| CUT)?;
    if len == 0 {
        return Err(Violation::protocol("a datagram announces properties and has none"));
    }
    let (properties, after) = unread.split_at_checked(len).ok_or(CUT)?;
    *unread = after;
    properties::check(properties)?;
    Ok(properties)
}

fn take_status(unread: &mut &[u8]) -> Result<Status, Violation> {
    let code = vi64::take(unread).ok_or(CUT)?;
    if !unread.is_empty() {
        return Err(Violation::protocol("a status datagram has a payload"));
    }
    Status::from_code(code).ok_or(Violation::protocol("unknown object status"))
}

/// The type of an object datagram: flags that say which fields stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind(u8);

impl Kind {
    const PROPERTIES: u8 = 0x01;
    const END_OF_GROUP: u8 = 0x02;
    const ZERO_OBJECT_ID: u8 = 0x04;
    const DEFAULT_PRIORITY: u8 = 0x08;
    const STATUS: u8 = 0x20;
    const ALL: u8 = 0x2F;

    fn from_code(code: u64) -> Result<Self, Violation> {
        let bits = u8::try_from(code).ok().filter(|bits| bits & !Self::ALL == 0);
        let kind = Kind(bits.ok_or(Violation::protocol("unknown datagram type"))?);
        if kind.has(Self::STATUS) && kind.has(Self::END_OF_GROUP) {
            return Err(Violation::protocol("a status datagram cannot end a group"));
        }
        Ok(kind)
    }

    /// The smallest type that says all of `object`.
    fn of(object: &Object) -> Self {
        let is_normal = object.status == Status::Normal;
        let flags = [
            (Self::PROPERTIES, is_normal && !object.properties.is_empty()),
            (Self::END_OF_GROUP, is_normal && object.ends_group),
            (Self::ZERO_OBJECT_ID, object.location.object == 0),
            (Self::DEFAULT_PRIORITY, object.priority.is_none()),
            (Self::STATUS, !is_normal),
        ];
        Kind(flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| flag).sum())
    }

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

#[cfg(test)]
mod tests;
