//! How a frame is cut into datagrams, and the parity that replaces lost ones (docs/wire.md, "Media datagrams").
//!
//! A frame of L bytes becomes n = ceil(L / s) data fragments of s bytes, the frame's last one shorter; up to 100
//! of them make a block, more are spread over ceil(n / 100) blocks as evenly as they go, longer blocks first.
//! After each block's data come its m parity fragments of s bytes. So every fragment but a frame's last tells
//! where all the others are: L stands in its header, s is its own length.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use reed_solomon_erasure::galois_8::ReedSolomon;

use crate::loc::{BLOCK_FRAGMENTS_MAX, BLOCK_PARITY_MAX, FragmentHeader};

/// Largest object datagram from its type byte on: what every browser takes.
pub const DATAGRAM_BYTES_MAX: usize = 1024;
/// Bytes kept free for the alias, since the relay's may be longer than the publisher's.
pub const ALIAS_BYTES_RESERVED: usize = 9;
/// Largest frame that is sent or accepted.
pub const FRAME_BYTES_MAX: u32 = 16 << 20;
/// Most data fragments of a frame that are accepted: enough for the largest frame in pieces of 512 bytes.
pub const FRAGMENTS_MAX: u32 = FRAME_BYTES_MAX / 512;

/// Where the fragments of one frame are. Equal for all fragments of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    frame_bytes: u32,
    fragment_bytes: u32,
    parity_count: u8,
}

impl Layout {
    /// The layout of a frame of `frame_bytes` in fragments of `fragment_bytes`, with `parity_count` parity
    /// fragments for each block. `None` beyond the limits above.
    pub fn new(frame_bytes: u32, fragment_bytes: u32, parity_count: u8) -> Option<Self> {
        let layout = Layout { frame_bytes, fragment_bytes, parity_count };
        let is_possible = frame_bytes > 0
            && frame_bytes <= FRAME_BYTES_MAX
            && fragment_bytes > 0
            && parity_count <= BLOCK_PARITY_MAX
            && layout.data_fragments() <= FRAGMENTS_MAX;
        is_possible.then_some(layout)
    }

    /// The layout a publisher uses: as few fragments of at most `fragment_bytes_max` as possible, all of them
    /// about equally long, so that parity is no longer than it must be.
    pub fn balanced(frame_bytes: u32, fragment_bytes_max: u32, parity_count: u8) -> Option<Self> {
        if fragment_bytes_max == 0 {
            return None;
        }
        let fragments = frame_bytes.div_ceil(fragment_bytes_max).max(1);
        Self::new(frame_bytes, frame_bytes.div_ceil(fragments), parity_count)
    }

    /// What a received fragment says about its frame. `Ok(None)`: it is the last of a frame of several blocks,
    /// from which the length of the others does not follow.
    pub fn of_fragment(
        header: &FragmentHeader,
        ends_frame: bool,
        payload_bytes: usize,
    ) -> Result<Option<Self>, Contradiction> {
        let payload_bytes = u32::try_from(payload_bytes).map_err(|_| Contradiction)?;
        let ends_frame = ends_frame && !header.is_parity();
        if payload_bytes == 0
            || payload_bytes > header.frame_bytes
            || (ends_frame && header.index.saturating_add(1) != header.data_count)
        {
            return Err(Contradiction);
        }
        let fragment_bytes = match (ends_frame, header.block) {
            (false, _) => payload_bytes,
            (true, 0) => match u32::from(header.data_count).saturating_sub(1) {
                0 => payload_bytes,
                others => header.frame_bytes.saturating_sub(payload_bytes) / others,
            },
            (true, _) => return Ok(None),
        };
        let layout =
            Self::new(header.frame_bytes, fragment_bytes, header.parity_count).ok_or(Contradiction)?;
        if !layout.holds(header, payload_bytes) {
            return Err(Contradiction);
        }
        Ok(Some(layout))
    }

    /// True when a fragment with this header and length has its place in the layout.
    pub fn holds(&self, header: &FragmentHeader, payload_bytes: u32) -> bool {
        if header.frame_bytes != self.frame_bytes
            || header.parity_count != self.parity_count
            || self.data_count(header.block) != Some(header.data_count)
        {
            return false;
        }
        let bytes_expected = if header.is_parity() {
            Some(self.fragment_bytes)
        } else {
            self.data_start(header.block, header.index)
                .and_then(|start| self.frame_bytes.checked_sub(start))
                .map(|rest| rest.min(self.fragment_bytes))
        };
        bytes_expected == Some(payload_bytes)
    }

    /// Bytes of the frame.
    pub const fn frame_bytes(&self) -> u32 {
        self.frame_bytes
    }

    /// Parity fragments of each block.
    pub const fn parity_count(&self) -> u8 {
        self.parity_count
    }

    /// Data fragments of the frame.
    pub const fn data_fragments(&self) -> u32 {
        self.frame_bytes.div_ceil(self.fragment_bytes)
    }

    /// Blocks of the frame.
    pub const fn blocks(&self) -> u32 {
        self.data_fragments().div_ceil(BLOCK_FRAGMENTS_MAX as u32)
    }

    /// Data fragments of a block.
    pub fn data_count(&self, block: u32) -> Option<u8> {
        let (fragments, blocks) = (self.data_fragments(), self.blocks());
        if block >= blocks {
            return None;
        }
        u8::try_from(fragments / blocks + u32::from(block < fragments % blocks)).ok()
    }

    /// Objects of the frame, data and parity.
    pub const fn object_count(&self) -> u32 {
        self.data_fragments() + self.blocks() * self.parity_count as u32
    }

    /// How many objects of the frame stand before this fragment, which the layout [holds](Self::holds).
    pub fn object_offset(&self, block: u32, index: u8) -> u32 {
        self.fragments_before(block)
            .saturating_add(block.saturating_mul(u32::from(self.parity_count)))
            .saturating_add(u32::from(index))
    }

    /// Block and index of the object that many objects into the frame.
    pub fn fragment_at(&self, object_offset: u32) -> Option<(u32, u8)> {
        let mut rest = object_offset;
        for block in 0..self.blocks() {
            let objects = u32::from(self.data_count(block)?) + u32::from(self.parity_count);
            if rest < objects {
                return Some((block, u8::try_from(rest).ok()?));
            }
            rest -= objects;
        }
        None
    }

    /// Data fragments of all blocks before this one.
    fn fragments_before(&self, block: u32) -> u32 {
        let (fragments, blocks) = (self.data_fragments(), self.blocks());
        block.saturating_mul(fragments / blocks).saturating_add(block.min(fragments % blocks))
    }

    /// Where in the frame a data fragment begins.
    fn data_start(&self, block: u32, index: u8) -> Option<u32> {
        self.fragments_before(block).checked_add(u32::from(index))?.checked_mul(self.fragment_bytes)
    }

    /// Where a block's bytes begin and end in the frame.
    fn block_range(&self, block: u32) -> Option<std::ops::Range<usize>> {
        let start = self.data_start(block, 0)?;
        let end = self.data_start(block, self.data_count(block)?)?.min(self.frame_bytes);
        Some(start as usize..end as usize)
    }
}

/// A fragment whose own numbers contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the numbers of a fragment contradict each other")]
pub struct Contradiction;

/// One fragment as a publisher sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its block.
    pub block: u32,
    /// Its index in the block.
    pub index: u8,
    /// Data fragments of the block.
    pub data_count: u8,
    /// True for the last data fragment of the frame.
    pub ends_frame: bool,
    /// Its bytes: a slice of the frame, or parity.
    pub payload: Bytes,
}

/// Reed-Solomon codecs by their k and m: making one costs k^3 steps, so some are kept.
#[derive(Debug, Default)]
pub struct Erasure {
    codecs: VecDeque<((u8, u8), ReedSolomon)>,
}

/// Codecs kept. Each may grow to some MB when losses fall differently every time.
const CODECS_MAX: usize = 8;

impl Erasure {
    /// No codec yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn codec(&mut self, data_count: u8, parity_count: u8) -> Option<&ReedSolomon> {
        let key = (data_count, parity_count);
        let at = self.codecs.iter().position(|(kept, _)| *kept == key);
        let entry = match at.and_then(|at| self.codecs.remove(at)) {
            Some(entry) => entry,
            None => (key, ReedSolomon::new(usize::from(data_count), usize::from(parity_count)).ok()?),
        };
        self.codecs.truncate(CODECS_MAX - 1);
        self.codecs.push_front(entry);
        self.codecs.front().map(|(_, codec)| codec)
    }

    /// Cuts a frame into its fragments, in the order in which they are sent. `None` when the layout is not that
    /// of this frame.
    pub fn split(&mut self, frame: &Bytes, layout: &Layout) -> Option<Vec<Fragment>> {
        if frame.len() != layout.frame_bytes as usize {
            return None;
        }
        let mut fragments = Vec::with_capacity(layout.object_count() as usize);
        for block in 0..layout.blocks() {
            let data_count = layout.data_count(block)?;
            let mut rest = frame.slice(layout.block_range(block)?);
            let first = fragments.len();
            for index in 0..data_count {
                let payload = rest.split_to(rest.len().min(layout.fragment_bytes as usize));
                let ends_frame = block + 1 == layout.blocks() && index + 1 == data_count;
                fragments.push(Fragment { block, index, data_count, ends_frame, payload });
            }
            let data: Vec<&Bytes> =
                fragments.iter().skip(first).map(|fragment: &Fragment| &fragment.payload).collect();
            let parity = self.parity(&data, layout)?;
            fragments.extend(parity.into_iter().zip(data_count..).map(|(payload, index)| Fragment {
                block,
                index,
                data_count,
                ends_frame: false,
                payload,
            }));
        }
        Some(fragments)
    }

    fn parity(&mut self, data: &[&Bytes], layout: &Layout) -> Option<Vec<Bytes>> {
        if layout.parity_count == 0 {
            return Some(Vec::new());
        }
        let data: Vec<Vec<u8>> = data.iter().map(|payload| padded(payload, layout)).collect();
        let mut parity = vec![vec![0_u8; layout.fragment_bytes as usize]; usize::from(layout.parity_count)];
        let codec = self.codec(u8::try_from(data.len()).ok()?, layout.parity_count)?;
        codec.encode_sep(&data, &mut parity).ok()?;
        Some(parity.into_iter().map(Bytes::from).collect())
    }

    /// Puts the bytes of a block together from what has arrived, by index: data first, then parity. Slices are
    /// those of fragments that the layout [holds](Layout::holds). `None` while fewer than k are there.
    pub fn join(&mut self, layout: &Layout, block: u32, arrived: &[Option<Bytes>]) -> Option<Recovered> {
        let data_count = layout.data_count(block)?;
        let block_bytes = layout.block_range(block)?.len();
        let data = arrived.get(..usize::from(data_count))?;
        let missing = data.iter().filter(|fragment| fragment.is_none()).count();
        if arrived.iter().flatten().count() < usize::from(data_count) {
            return None;
        }
        let mut joined = BytesMut::with_capacity(block_bytes);
        if missing == 0 {
            data.iter().flatten().for_each(|payload| joined.extend_from_slice(payload));
        } else {
            let mut shards: Vec<Option<Vec<u8>>> =
                arrived.iter().map(|fragment| fragment.as_ref().map(|bytes| padded(bytes, layout))).collect();
            self.codec(data_count, layout.parity_count)?.reconstruct_data(&mut shards).ok()?;
            shards
                .iter()
                .take(usize::from(data_count))
                .flatten()
                .for_each(|shard| joined.extend_from_slice(shard));
            joined.truncate(block_bytes);
        }
        (joined.len() == block_bytes).then(|| Recovered {
            bytes: joined.freeze(),
            fragments_rebuilt: u32::try_from(missing).unwrap_or(0),
        })
    }
}

/// A block put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Its part of the frame.
    pub bytes: Bytes,
    /// Data fragments that came out of parity.
    pub fragments_rebuilt: u32,
}

fn padded(payload: &Bytes, layout: &Layout) -> Vec<u8> {
    let mut shard = payload.to_vec();
    shard.resize(layout.fragment_bytes as usize, 0);
    shard
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: usize) -> Bytes {
        (0..len).map(|at| (at * 31 % 251) as u8).collect()
    }

    #[test]
    fn blocks_differ_by_at_most_one_fragment_and_longer_ones_come_first() {
        let layout = Layout::new(2050, 10, 2).unwrap();
        assert_eq!(layout.data_fragments(), 205);
        let counts: Vec<_> = (0..4).map(|block| layout.data_count(block)).collect();
        assert_eq!(counts, [Some(69), Some(68), Some(68), None]);
        assert_eq!(layout.object_count(), 211);
        assert_eq!(layout.object_offset(2, 0), 69 + 2 + 68 + 2);
    }

    #[test]
    fn a_fragment_alone_tells_where_all_the_others_are() {
        for (frame_bytes, parity) in [(1, 1), (2500, 0), (2500, 2), (200_000, 10)] {
            let layout = Layout::balanced(frame_bytes, 970, parity).unwrap();
            let fragments = Erasure::new().split(&bytes(frame_bytes as usize), &layout).unwrap();
            for (offset, fragment) in fragments.iter().enumerate() {
                let header = FragmentHeader {
                    frame: 0,
                    block: fragment.block,
                    index: fragment.index,
                    data_count: fragment.data_count,
                    parity_count: parity,
                    frame_bytes,
                };
                let found = Layout::of_fragment(&header, fragment.ends_frame, fragment.payload.len());
                let expected = if fragment.ends_frame && fragment.block > 0 { None } else { Some(layout) };
                assert_eq!(found, Ok(expected));
                assert_eq!(layout.object_offset(fragment.block, fragment.index) as usize, offset);
                assert_eq!(layout.fragment_at(offset as u32), Some((fragment.block, fragment.index)));
            }
            assert_eq!(layout.fragment_at(fragments.len() as u32), None);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let header = |index, data_count, frame_bytes| FragmentHeader {
            frame: 0,
            block: 0,
            index,
            data_count,
            parity_count: 0,
            frame_bytes,
        };
        assert!(Layout::of_fragment(&header(0, 3, 2500), false, 1000).is_ok());
        assert!(Layout::of_fragment(&header(0, 4, 2500), false, 1000).is_err());
        assert!(Layout::of_fragment(&header(0, 3, 2500), false, 0).is_err());
        assert!(Layout::of_fragment(&header(1, 3, 2500), true, 500).is_err());
        assert!(Layout::of_fragment(&header(0, 1, u32::MAX), false, 1000).is_err());
        assert!(Layout::of_fragment(&header(0, 100, 1 << 24), false, 1).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_k_of_k_plus_m_fragments_give_the_block_back(
            frame_bytes in 1_u32..40_000,
            fragment_bytes in 150_u32..1000,
            parity in 0_u8..8,
            seed in any::<u64>(),
        ) {
            let frame = bytes(frame_bytes as usize);
            let layout = Layout::balanced(frame_bytes, fragment_bytes, parity).unwrap();
            let mut erasure = Erasure::new();
            let fragments = erasure.split(&frame, &layout).unwrap();
            let mut joined = Vec::new();
            let mut random = seed;
            for block in 0..layout.blocks() {
                let mut arrived: Vec<_> = fragments
                    .iter()
                    .filter(|fragment| fragment.block == block)
                    .map(|fragment| Some(fragment.payload.clone()))
                    .collect();
                for _ in 0..parity {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let at = (random >> 33) as usize % arrived.len();
                    arrived[at] = None;
                }
                joined.extend_from_slice(&erasure.join(&layout, block, &arrived).unwrap().bytes);
                arrived.truncate(usize::from(layout.data_count(block).unwrap()));
                arrived[0] = None;
                prop_assert_eq!(erasure.join(&layout, block, &arrived), None);
            }
            prop_assert_eq!(joined, frame);
        }

        #[test]
        fn no_header_makes_a_layout_beyond_the_limits(
            block in any::<u32>(), index in 0_u8..200, data_count in 1_u8..=100, parity_count in 0_u8..=100,
            frame_bytes in any::<u32>(), ends_frame in any::<bool>(), payload in 0_usize..2000,
        ) {
            let header = FragmentHeader { frame: 0, block, index, data_count, parity_count, frame_bytes };
            if let Ok(Some(layout)) = Layout::of_fragment(&header, ends_frame, payload) {
                prop_assert!(layout.data_fragments() <= FRAGMENTS_MAX);
                prop_assert!(block < layout.blocks());
                prop_assert!(layout.object_offset(block, index) < layout.object_count());
            }
        }
    }
}
