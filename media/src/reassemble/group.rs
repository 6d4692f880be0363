//! What has arrived of one group: whole frames, frames in pieces, and where the group ends.

use std::{collections::BTreeMap, time::Instant};

use bytes::{Bytes, BytesMut};

use crate::{
    fragment::{Erasure, Layout},
    loc::{FragmentHeader, Properties},
};

/// Last fragments of frames nothing else is known of; with more, the newest is dropped.
const ORPHANS_MAX: usize = 16;
/// What an object costs of the memory budget besides its payload, and the place of one that has not come yet.
const OBJECT_COST: usize = 96;
/// See [`OBJECT_COST`].
const PLACE_COST: usize = size_of::<Option<Bytes>>();

/// One object on its way into a group.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) object: u64,
    pub(super) properties: Properties,
    pub(super) payload: Bytes,
    pub(super) arrived: Instant,
}

impl Piece {
    fn cost(&self) -> usize {
        self.payload.len() + OBJECT_COST
    }

    fn ends_frame(&self) -> bool {
        self.properties.marking.is_some_and(|marking| marking.ends_frame)
    }
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Kept.
    New,
    /// Was there already.
    Duplicate,
    /// Of a frame that began before the point from which frames are still wanted.
    TooLate,
    /// Contradicts itself or what is there.
    Contradiction,
}

/// One frame of a group, whole or in pieces.
#[derive(Debug)]
pub(super) struct Unit {
    /// Properties of the object that came first.
    pub(super) properties: Properties,
    pub(super) arrived: Instant,
    /// Memory held.
    bytes: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Whole(Bytes),
    Pieces(Pieces),
}

#[derive(Debug)]
struct Pieces {
    layout: Layout,
    blocks: Vec<Block>,
    blocks_joined: u32,
    fragments_rebuilt: u32,
}

#[derive(Debug, Clone)]
enum Block {
    /// By index; empty until the first comes.
    Open(Vec<Option<Bytes>>),
    Joined(Bytes),
}

impl Unit {
    /// Objects of the frame, data and parity.
    pub(super) fn object_count(&self) -> u64 {
        match &self.body {
            Body::Whole(_) => 1,
            Body::Pieces(pieces) => u64::from(pieces.layout.object_count()),
        }
    }

    /// Number of the frame in its group, where an object says so.
    pub(super) fn number(&self) -> Option<u64> {
        self.properties.fragment.map(|fragment| fragment.frame)
    }

    /// The whole frame and how many of its fragments came out of parity; `None` while pieces are missing.
    pub(super) fn frame(&self) -> Option<(Bytes, u32)> {
        match &self.body {
            Body::Whole(payload) => Some((payload.clone(), 0)),
            Body::Pieces(pieces) => pieces.frame().map(|frame| (frame, pieces.fragments_rebuilt)),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        match &self.body {
            Body::Whole(_) => true,
            Body::Pieces(pieces) => pieces.blocks_joined == pieces.layout.blocks(),
        }
    }

    /// Offsets of objects whose arrival would complete the frame: of each open block, the first missing ones, as
    /// many as are needed. `is_wanted` says which can still come.
    pub(super) fn missing(&self, is_wanted: impl Fn(u64) -> bool) -> Missing {
        let Body::Pieces(pieces) = &self.body else { return Missing::Offsets(Vec::new()) };
        let mut offsets = Vec::new();
        for (number, block) in (0..).zip(&pieces.blocks) {
            let Block::Open(slots) = block else { continue };
            let data_count = usize::from(pieces.layout.data_count(number).unwrap_or(0));
            let needed = data_count.saturating_sub(slots.iter().flatten().count());
            let objects = data_count + usize::from(pieces.layout.parity_count());
            let before = offsets.len();
            let missing = (0..objects).filter(|index| slots.get(*index).is_none_or(Option::is_none));
            let wanted = missing
                .filter_map(|index| u8::try_from(index).ok())
                .map(|index| u64::from(pieces.layout.object_offset(number, index)))
                .filter(|offset| is_wanted(*offset));
            offsets.extend(wanted.take(needed));
            if offsets.len() - before < needed {
                return Missing::Hopeless;
            }
        }
        Missing::Offsets(offsets)
    }
}

/// See [`Unit::missing`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// These objects, counted from the frame's first.
    Offsets(Vec<u64>),
    /// Too many of the frame's objects do not exist.
    Hopeless,
}

impl Pieces {
    fn frame(&self) -> Option<Bytes> {
        if self.blocks_joined != self.layout.blocks() {
            return None;
        }
        if let [Block::Joined(bytes)] = self.blocks.as_slice() {
            return Some(bytes.clone());
        }
        let mut frame = BytesMut::with_capacity(self.layout.frame_bytes() as usize);
        for block in &self.blocks {
            let Block::Joined(bytes) = block else { return None };
            frame.extend_from_slice(bytes);
        }
        Some(frame.freeze())
    }

    /// Puts a fragment in its place, and the block together once it can be.
    fn place(&mut self, header: &FragmentHeader, payload: Bytes, erasure: &mut Erasure) -> Placed {
        let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if !self.layout.holds(header, payload_bytes) {
            return Placed::Contradiction;
        }
        let Some(block) = self.blocks.get_mut(header.block as usize) else { return Placed::Contradiction };
        let Block::Open(slots) = block else { return Placed::Duplicate };
        if slots.is_empty() {
            slots.resize(usize::from(header.data_count) + usize::from(header.parity_count), None);
        }
        match slots.get_mut(usize::from(header.index)) {
            Some(slot @ None) => *slot = Some(payload),
            Some(Some(_)) => return Placed::Duplicate,
            None => return Placed::Contradiction,
        }
        if let Some(joined) = erasure.join(&self.layout, header.block, slots) {
            self.blocks_joined += 1;
            self.fragments_rebuilt = self.fragments_rebuilt.saturating_add(joined.fragments_rebuilt);
            *block = Block::Joined(joined.bytes);
        }
        Placed::New
    }
}

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Frames by their first object. They do not overlap.
    units: BTreeMap<u64, Unit>,
    /// Fragments that do not tell which frame they belong to, by object.
    orphans: BTreeMap<u64, Piece>,
    /// Number of objects, once known.
    pub(super) end: Option<u64>,
    /// When the first object came.
    pub(super) arrived: Option<Instant>,
    /// Largest object that came, plus one.
    pub(super) seen_end: u64,
    /// Memory held.
    pub(super) bytes: usize,
}

impl Group {
    /// Takes an object. Frames that begin before `wanted_from` are too late.
    pub(super) fn place(&mut self, piece: Piece, wanted_from: u64, erasure: &mut Erasure) -> Placed {
        let (arrived, object) = (piece.arrived, piece.object);
        let placed = match piece.properties.fragment {
            None => self.place_whole(piece),
            Some(header) => self.place_fragment(piece, header, wanted_from, erasure),
        };
        if placed == Placed::New {
            self.arrived.get_or_insert(arrived);
            self.seen_end = self.seen_end.max(object.saturating_add(1));
        }
        placed
    }

    fn place_whole(&mut self, piece: Piece) -> Placed {
        if self.units.contains_key(&piece.object) {
            return Placed::Duplicate;
        }
        if self.unit_over(piece.object).is_some() {
            return Placed::Contradiction;
        }
        let unit = Unit {
            arrived: piece.arrived,
            bytes: piece.cost(),
            properties: piece.properties,
            body: Body::Whole(piece.payload),
        };
        self.bytes += unit.bytes;
        self.units.insert(piece.object, unit);
        Placed::New
    }

    fn place_fragment(
        &mut self,
        piece: Piece,
        header: FragmentHeader,
        wanted_from: u64,
        erasure: &mut Erasure,
    ) -> Placed {
        let own_layout = match Layout::of_fragment(&header, piece.ends_frame(), piece.payload.len()) {
            Ok(layout) => layout,
            Err(_) => return Placed::Contradiction,
        };
        if let Some(first) = self.unit_over(piece.object) {
            return self.place_in(first, piece, &header, erasure);
        }
        let Some(layout) = own_layout else { return self.keep_orphan(piece) };
        let offset = u64::from(layout.object_offset(header.block, header.index));
        let Some(first) = piece.object.checked_sub(offset) else { return Placed::Contradiction };
        if first < wanted_from {
            return Placed::TooLate;
        }
        let Some(end) = first.checked_add(u64::from(layout.object_count())) else {
            return Placed::Contradiction;
        };
        if self.unit_over(first).is_some() || self.units.range(first..end).next().is_some() {
            return Placed::Contradiction;
        }
        let blocks = vec![Block::Open(Vec::new()); layout.blocks() as usize];
        let unit = Unit {
            properties: piece.properties.clone(),
            arrived: piece.arrived,
            bytes: layout.object_count() as usize * PLACE_COST,
            body: Body::Pieces(Pieces { layout, blocks, blocks_joined: 0, fragments_rebuilt: 0 }),
        };
        self.bytes += unit.bytes;
        self.units.insert(first, unit);
        let placed = self.place_in(first, piece, &header, erasure);
        self.adopt_orphans(first, end, erasure);
        placed
    }

    fn place_in(
        &mut self,
        first: u64,
        piece: Piece,
        header: &FragmentHeader,
        erasure: &mut Erasure,
    ) -> Placed {
        let Some(unit) = self.units.get_mut(&first) else { return Placed::Contradiction };
        let Body::Pieces(pieces) = &mut unit.body else { return Placed::Contradiction };
        let offset = u64::from(pieces.layout.object_offset(header.block, header.index));
        let is_of_frame = first.checked_add(offset) == Some(piece.object)
            && unit.properties.fragment.is_some_and(|other| other.frame == header.frame)
            && unit.properties.timestamp == piece.properties.timestamp;
        if !is_of_frame {
            return Placed::Contradiction;
        }
        unit.arrived = unit.arrived.min(piece.arrived);
        let cost = piece.cost();
        let placed = pieces.place(header, piece.payload, erasure);
        if placed == Placed::New {
            unit.bytes += cost;
            self.bytes += cost;
        }
        placed
    }

    fn keep_orphan(&mut self, piece: Piece) -> Placed {
        if self.orphans.contains_key(&piece.object) {
            return Placed::Duplicate;
        }
        if self.orphans.len() >= ORPHANS_MAX {
            return Placed::Contradiction;
        }
        self.bytes += piece.cost();
        self.orphans.insert(piece.object, piece);
        Placed::New
    }

    fn adopt_orphans(&mut self, first: u64, end: u64, erasure: &mut Erasure) {
        let adopted: Vec<u64> = self.orphans.range(first..end).map(|(object, _)| *object).collect();
        for object in adopted {
            let Some(piece) = self.orphans.remove(&object) else { continue };
            self.bytes = self.bytes.saturating_sub(piece.cost());
            let Some(header) = piece.properties.fragment else { continue };
            self.place_in(first, piece, &header, erasure);
        }
    }

    /// First object of the frame that this object belongs to.
    fn unit_over(&self, object: u64) -> Option<u64> {
        let (first, unit) = self.units.range(..=object).next_back()?;
        (object - first < unit.object_count()).then_some(*first)
    }

    /// The frame that begins with this object.
    pub(super) fn unit(&self, object: u64) -> Option<&Unit> {
        self.units.get(&object)
    }

    /// The first frame that begins at this object or later.
    pub(super) fn next_unit(&self, object: u64) -> Option<(u64, &Unit)> {
        self.units.range(object..).next().map(|(first, unit)| (*first, unit))
    }

    /// Drops the frames before this object.
    pub(super) fn forget_before(&mut self, object: u64) {
        let kept = self.units.split_off(&object);
        let passed = std::mem::replace(&mut self.units, kept);
        let orphans_kept = self.orphans.split_off(&object);
        let orphans_passed = std::mem::replace(&mut self.orphans, orphans_kept);
        let freed: usize =
            passed.values().map(|unit| unit.bytes).chain(orphans_passed.values().map(Piece::cost)).sum();
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// True when nothing is known of the group.
    pub(super) fn is_empty(&self) -> bool {
        self.arrived.is_none()
    }
}
