//! The incoming side.

use bytes::Bytes;

use super::{Kind, SubgroupHeader, SubgroupMode};
use crate::{
    chunks::Chunks,
    error::Violation,
    message::TrackAlias,
    object::{Forwarding, Location, Object, Status},
    properties, vi64,
};

/// Reads one subgroup stream, in whatever pieces it arrives.
#[derive(Debug)]
pub struct Decoder {
    chunks: Chunks,
    object_bytes_max: usize,
    header: Option<SubgroupHeader>,
    /// The last object given out.
    previous: Option<u64>,
    /// A status object has said that none follow.
    is_ended: bool,
    next: Next,
}

/// What a decoder found next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// The stream's header; always first, once.
    Header(SubgroupHeader),
    /// A whole object (possibly a status). Its subgroup is resolved.
    Object(Object),
}

/// The field the decoder waits for.
#[derive(Debug)]
enum Next {
    Header,
    Object,
    Properties { id: u64, len: usize },
    Length { id: u64, properties: Bytes },
    Payload { id: u64, properties: Bytes, len: usize },
}

const TOO_LARGE: Violation = Violation::protocol("an object is larger than this endpoint takes");

impl Decoder {
    /// A decoder that takes the stream from its type on; larger objects than the limit (properties and payload
    /// together, bytes) are a violation.
    pub fn new(object_bytes_max: usize) -> Self {
        Decoder {
            chunks: Chunks::default(),
            object_bytes_max,
            header: None,
            previous: None,
            is_ended: false,
            next: Next::Header,
        }
    }

    /// More bytes of the stream.
    pub fn push(&mut self, bytes: Bytes) {
        self.chunks.push(bytes);
    }

    /// The next item, `None` until more bytes come. After an error the stream is of no more use.
    pub fn poll(&mut self) -> Result<Option<Item>, Violation> {
        loop {
            match self.step() {
                Ok(Step::Item(item)) => return Ok(Some(item)),
                Ok(Step::Next(next)) => self.next = next,
                Ok(Step::Wait) => {
                    self.chunks.settle();
                    return Ok(None);
                }
                Err(violation) => return Err(violation),
            }
        }
    }

    /// The stream's FIN: an error in the middle of the header or of an object.
    ///
    /// A header without objects is legal. When the header says so, [`Self::last_object`] is now the last of the
    /// group.
    pub fn finish(&self) -> Result<(), Violation> {
        if matches!(self.next, Next::Object) && self.chunks.is_empty() {
            return Ok(());
        }
        Err(Violation::protocol("a subgroup stream ends in the middle of an object"))
    }

    /// The header, once it has come; its subgroup is resolved as soon as it can be.
    pub fn header(&self) -> Option<&SubgroupHeader> {
        self.header.as_ref()
    }

    /// Id of the last object given out.
    pub fn last_object(&self) -> Option<u64> {
        self.previous
    }

    /// Bytes held, for limits.
    pub fn buffered_bytes(&self) -> usize {
        let held = match &self.next {
            Next::Header | Next::Object | Next::Properties { .. } => 0,
            Next::Length { properties, .. } | Next::Payload { properties, .. } => properties.len(),
        };
        self.chunks.len() + held
    }

    fn step(&mut self) -> Result<Step, Violation> {
        match std::mem::replace(&mut self.next, Next::Object) {
            Next::Header => match self.chunks.head(|unread| read_header(unread).transpose()).transpose()? {
                Some(header) => {
                    self.header = Some(header.clone());
                    Ok(Step::Item(Item::Header(header)))
                }
                None => Ok(self.wait(Next::Header)),
            },
            Next::Object => self.start_object(),
            Next::Properties { id, len } => match self.chunks.take(len) {
                Some(properties) => {
                    properties::check(&properties)?;
                    Ok(Step::Next(Next::Length { id, properties }))
                }
                None => Ok(self.wait(Next::Properties { id, len })),
            },
            Next::Length { id, properties } => match self.chunks.head(read_length) {
                Some((0, code)) => self.status(id, properties, code),
                Some((len, _)) => {
                    let len = self.bounded(len, properties.len())?;
                    Ok(Step::Next(Next::Payload { id, properties, len }))
                }
                None => Ok(self.wait(Next::Length { id, properties })),
            },
            Next::Payload { id, properties, len } => match self.chunks.take(len) {
                Some(payload) => Ok(Step::Item(self.object(id, Status::Normal, properties, payload))),
                None => Ok(self.wait(Next::Payload { id, properties, len })),
            },
        }
    }

    fn wait(&mut self, next: Next) -> Step {
        self.next = next;
        Step::Wait
    }

    fn start_object(&mut self) -> Result<Step, Violation> {
        if self.is_ended && !self.chunks.is_empty() {
            return Err(Violation::protocol("an object follows the end of its group"));
        }
        let has_properties = self.header.as_ref().is_some_and(|header| header.has_properties);
        let head = self.chunks.head(|unread| {
            let delta = vi64::take(unread)?;
            let properties_len = if has_properties { vi64::take(unread)? } else { 0 };
            Some((delta, properties_len))
        });
        let Some((delta, properties_len)) = head else { return Ok(Step::Wait) };
        let id = match self.previous {
            None => Some(delta),
            Some(previous) => previous.checked_add(delta).and_then(|id| id.checked_add(1)),
        };
        let id = id.ok_or(Violation::protocol("an object id is larger than 64 bits"))?;
        let len = self.bounded(properties_len, 0)?;
        Ok(Step::Next(Next::Properties { id, len }))
    }

    /// A length as the peer announces it, when the object stays within the limit.
    fn bounded(&self, len: u64, already: usize) -> Result<usize, Violation> {
        let len = usize::try_from(len).map_err(|_| TOO_LARGE)?;
        let total = len.checked_add(already).ok_or(TOO_LARGE)?;
        if total > self.object_bytes_max { Err(TOO_LARGE) } else { Ok(len) }
    }

    fn status(&mut self, id: u64, properties: Bytes, code: u64) -> Result<Step, Violation> {
        let status = Status::from_code(code).ok_or(Violation::protocol("unknown object status"))?;
        if status != Status::Normal {
            if !properties.is_empty() {
                return Err(Violation::protocol("a status object has properties"));
            }
            self.is_ended = true;
        }
        Ok(Step::Item(self.object(id, status, properties, Bytes::new())))
    }

    fn object(&mut self, id: u64, status: Status, properties: Bytes, payload: Bytes) -> Item {
        self.previous = Some(id);
        let (group, subgroup, priority) = match &mut self.header {
            Some(header) => (header.group, *header.subgroup.get_or_insert(id), header.priority),
            None => (0, id, None),
        };
        Item::Object(Object {
            location: Location { group, object: id },
            priority,
            forwarding: Forwarding::Subgroup(subgroup),
            status,
            ends_group: false,
            properties,
            payload,
        })
    }
}

enum Step {
    Item(Item),
    Next(Next),
    Wait,
}

/// `None` when the bytes do not reach.
fn read_header(unread: &mut &[u8]) -> Result<Option<SubgroupHeader>, Violation> {
    let Some(code) = vi64::take(unread) else { return Ok(None) };
    let kind = Kind::from_code(code)?;
    let mut fields = || {
        let alias = TrackAlias(vi64::take(unread)?);
        let group = vi64::take(unread)?;
        let subgroup = match kind.mode() {
            SubgroupMode::Zero => Some(0),
            SubgroupMode::FirstObject => None,
            SubgroupMode::Present => Some(vi64::take(unread)?),
        };
        let priority = if kind.has(Kind::DEFAULT_PRIORITY) {
            None
        } else {
            let (priority, after) = unread.split_first()?;
            *unread = after;
            Some(*priority)
        };
        Some(SubgroupHeader {
            alias,
            group,
            subgroup,
            priority,
            ends_group: kind.has(Kind::END_OF_GROUP),
            first_object: kind.has(Kind::FIRST_OBJECT),
            has_properties: kind.has(Kind::PROPERTIES),
        })
    };
    Ok(fields())
}

/// Payload length, and the status that stands in place of an empty payload.
fn read_length(unread: &mut &[u8]) -> Option<(u64, u64)> {
    match vi64::take(unread)? {
        0 => Some((0, vi64::take(unread)?)),
        len => Some((len, 0)),
    }
}
