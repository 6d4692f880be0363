//! The incoming side.

use bytes::Bytes;

use super::{FETCH_HEADER, FetchItem, flags, prior::Prior};
use crate::{
    chunks::Chunks,
    error::Violation,
    message::{GroupOrder, RequestId},
    object::{Forwarding, Location, Object, Status},
    properties, vi64,
};

/// Reads one FETCH stream, in whatever pieces it arrives.
#[derive(Debug)]
pub struct Decoder {
    chunks: Chunks,
    object_bytes_max: usize,
    request: Option<RequestId>,
    order: Option<GroupOrder>,
    prior: Prior,
    next: Next,
}

/// The field the decoder waits for.
#[derive(Debug)]
enum Next {
    Item,
    Properties { object: Object, len: usize },
    Length { object: Object },
    Payload { object: Object, len: usize },
}

const TOO_LARGE: Violation = Violation::protocol("an object is larger than this endpoint takes");
const NO_PRIOR: Violation = Violation::protocol("the first object of a FETCH refers to one before it");
const OUT_OF_RANGE: Violation = Violation::protocol("a FETCH counts past 64 bits");
const OUT_OF_ORDER: Violation = Violation::protocol("objects of a FETCH are out of order");

impl Decoder {
    /// A decoder that takes the stream from its type on; larger objects than the limit (properties and payload
    /// together, bytes) are a violation. The order is that of the FETCH; it must be given with
    /// [`Self::order`] before the second group can be read.
    pub fn new(object_bytes_max: usize) -> Self {
        Decoder {
            chunks: Chunks::default(),
            object_bytes_max,
            request: None,
            order: None,
            prior: Prior::default(),
            next: Next::Item,
        }
    }

    /// The request of the header, once it has come.
    pub fn request(&mut self) -> Result<Option<RequestId>, Violation> {
        if self.request.is_none() {
            let header = self.chunks.head(|unread| match vi64::take(unread)? {
                FETCH_HEADER => vi64::take(unread).map(|request| Ok(RequestId(request))),
                _ => Some(Err(Violation::protocol("no FETCH stream"))),
            });
            self.request = header.transpose()?;
        }
        Ok(self.request)
    }

    /// The order asked for by the request.
    pub fn order(&mut self, order: GroupOrder) {
        self.order = Some(order);
    }

    /// More bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.chunks.push(bytes);
    }

    /// The next item, `None` until more bytes come, or the order is needed and has not been given. Objects
    /// always have a priority here. After an error the stream is of no more use.
    pub fn poll(&mut self) -> Result<Option<FetchItem>, Violation> {
        if self.request()?.is_none() {
            self.chunks.settle();
            return Ok(None);
        }
        loop {
            match self.step()? {
                Step::Item(item) => return Ok(Some(item)),
                Step::Next(next) => self.next = next,
                Step::Wait => {
                    self.chunks.settle();
                    return Ok(None);
                }
            }
        }
    }

    /// The stream's FIN: an error in the middle of the header or an item. To be asked when [`Self::poll`] has
    /// nothing more.
    pub fn finish(&self) -> Result<(), Violation> {
        if self.request.is_some() && matches!(self.next, Next::Item) && self.chunks.is_empty() {
            return Ok(());
        }
        Err(Violation::protocol("a FETCH stream ends in the middle of an object"))
    }

    /// Bytes held, for limits.
    pub fn buffered_bytes(&self) -> usize {
        let held = match &self.next {
            Next::Item | Next::Properties { .. } => 0,
            Next::Length { object } | Next::Payload { object, .. } => object.properties.len(),
        };
        self.chunks.len() + held
    }

    fn step(&mut self) -> Result<Step, Violation> {
        match std::mem::replace(&mut self.next, Next::Item) {
            Next::Item => self.start_item(),
            Next::Properties { mut object, len } => match self.chunks.take(len) {
                Some(bytes) => {
                    properties::check(&bytes)?;
                    object.properties = bytes;
                    Ok(Step::Next(Next::Length { object }))
                }
                None => Ok(self.wait(Next::Properties { object, len })),
            },
            Next::Length { object } => match self.chunks.head(|unread| vi64::take(unread)) {
                Some(len) => {
                    let len = self.bounded(len, object.properties.len())?;
                    Ok(Step::Next(Next::Payload { object, len }))
                }
                None => Ok(self.wait(Next::Length { object })),
            },
            Next::Payload { mut object, len } => match self.chunks.take(len) {
                Some(payload) => {
                    object.payload = payload;
                    Ok(Step::Item(FetchItem::Object(object)))
                }
                None => Ok(self.wait(Next::Payload { object, len })),
            },
        }
    }

    fn wait(&mut self, next: Next) -> Step {
        self.next = next;
        Step::Wait
    }

    fn start_item(&mut self) -> Result<Step, Violation> {
        let (prior, order) = (self.prior, self.order);
        let read = self.chunks.head(|unread| read_fields(unread, &prior, order).transpose());
        let Some(fields) = read.transpose()? else { return Ok(Step::Wait) };
        match fields {
            Fields::Range(item) => {
                self.prior.range(item.location());
                Ok(Step::Item(item))
            }
            Fields::Object { object, priority, properties_len } => {
                self.prior.object(&object, priority);
                let len = self.bounded(properties_len, 0)?;
                Ok(Step::Next(Next::Properties { object, len }))
            }
        }
    }

    /// A length as the peer announces it, when the object stays within the limit.
    fn bounded(&self, len: u64, already: usize) -> Result<usize, Violation> {
        let len = usize::try_from(len).map_err(|_| TOO_LARGE)?;
        let total = len.checked_add(already).ok_or(TOO_LARGE)?;
        if total > self.object_bytes_max { Err(TOO_LARGE) } else { Ok(len) }
    }
}

enum Step {
    Item(FetchItem),
    Next(Next),
    Wait,
}

/// The small fields at the front of an item, resolved.
enum Fields {
    Range(FetchItem),
    Object { object: Object, priority: u8, properties_len: u64 },
}

/// `None` when the bytes do not reach, or the order decides and is not known.
fn read_fields(
    unread: &mut &[u8],
    prior: &Prior,
    order: Option<GroupOrder>,
) -> Result<Option<Fields>, Violation> {
    let Some(flags) = vi64::take(unread) else { return Ok(None) };
    match flags {
        flags::NON_EXISTENT | flags::UNKNOWN => {
            let Some(group) = vi64::take(unread) else { return Ok(None) };
            let Some(object) = vi64::take(unread) else { return Ok(None) };
            let end = Location { group, object };
            if !may_follow(prior, end, order)? {
                return Ok(None);
            }
            let is_unknown = flags == flags::UNKNOWN;
            let item = if is_unknown { FetchItem::Unknown(end) } else { FetchItem::NonExistent(end) };
            Ok(Some(Fields::Range(item)))
        }
        0..=flags::MAX => read_object(flags, unread, prior, order),
        _ => Err(Violation::protocol("unknown Serialization Flags")),
    }
}

/// False while the order decides and is not known.
fn may_follow(prior: &Prior, next: Location, order: Option<GroupOrder>) -> Result<bool, Violation> {
    let is_same_group = prior.location.is_none_or(|last| last.group == next.group);
    match order {
        None if !is_same_group => Ok(false),
        _ if prior.precedes(next, order.unwrap_or_default()) => Ok(true),
        _ => Err(OUT_OF_ORDER),
    }
}

/// The fields as they stand on the wire.
struct Raw {
    group_delta: Option<u64>,
    subgroup: Option<u64>,
    object_delta: Option<u64>,
    priority: Option<u8>,
    properties_len: u64,
}

impl Raw {
    fn read(flags: u64, unread: &mut &[u8]) -> Option<Self> {
        let has = |flag: u64| flags & flag != 0;
        let says_subgroup = flags & (flags::SUBGROUP | flags::DATAGRAM) == flags::SUBGROUP_PRESENT;
        let mut field = |is_present: bool| match is_present {
            true => vi64::take(unread).map(Some),
            false => Some(None),
        };
        let group_delta = field(has(flags::GROUP_DELTA))?;
        let subgroup = field(says_subgroup)?;
        let object_delta = field(has(flags::OBJECT_DELTA))?;
        let priority = if has(flags::PRIORITY) {
            let (priority, after) = unread.split_first()?;
            *unread = after;
            Some(*priority)
        } else {
            None
        };
        let properties_len = if has(flags::PROPERTIES) { vi64::take(unread)? } else { 0 };
        Some(Raw { group_delta, subgroup, object_delta, priority, properties_len })
    }
}

fn read_object(
    flags: u64,
    unread: &mut &[u8],
    prior: &Prior,
    order: Option<GroupOrder>,
) -> Result<Option<Fields>, Violation> {
    let Some(raw) = Raw::read(flags, unread) else { return Ok(None) };
    let Some(location) = resolve_location(&raw, prior, order)? else { return Ok(None) };
    let forwarding = if flags & flags::DATAGRAM != 0 {
        Forwarding::Datagram
    } else {
        Forwarding::Subgroup(match flags & flags::SUBGROUP {
            flags::SUBGROUP_ZERO => 0,
            flags::SUBGROUP_PRIOR => prior.subgroup.ok_or(NO_PRIOR)?,
            flags::SUBGROUP_NEXT => prior.subgroup.ok_or(NO_PRIOR)?.checked_add(1).ok_or(OUT_OF_RANGE)?,
            _ => raw.subgroup.ok_or(NO_PRIOR)?,
        })
    };
    let priority = raw.priority.or(prior.priority).ok_or(NO_PRIOR)?;
    let object = Object {
        location,
        priority: Some(priority),
        forwarding,
        status: Status::Normal,
        ends_group: false,
        properties: Bytes::new(),
        payload: Bytes::new(),
    };
    Ok(Some(Fields::Object { object, priority, properties_len: raw.properties_len }))
}

/// `None` while the order decides and is not known.
fn resolve_location(
    raw: &Raw,
    prior: &Prior,
    order: Option<GroupOrder>,
) -> Result<Option<Location>, Violation> {
    let Some(last) = prior.location else {
        // Of the first object both are absolute.
        return match (raw.group_delta, raw.object_delta) {
            (Some(group), Some(object)) => Ok(Some(Location { group, object })),
            _ => Err(NO_PRIOR),
        };
    };
    let next_object = || last.object.checked_add(1);
    let (group, object) = match (raw.group_delta, order) {
        (None, _) => {
            let object = match raw.object_delta {
                Some(delta) => last.object.checked_add(delta),
                None => next_object(),
            };
            (Some(last.group), object)
        }
        (Some(_), None) => return Ok(None),
        (Some(delta), Some(order)) => {
            let group = match order {
                GroupOrder::Ascending => last.group.checked_add(delta).and_then(|group| group.checked_add(1)),
                GroupOrder::Descending => {
                    last.group.checked_sub(delta).and_then(|group| group.checked_sub(1))
                }
            };
            (group, raw.object_delta.or_else(next_object))
        }
    };
    let location = Location { group: group.ok_or(OUT_OF_RANGE)?, object: object.ok_or(OUT_OF_RANGE)? };
    Ok(if may_follow(prior, location, order)? { Some(location) } else { None })
}
