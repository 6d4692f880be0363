//! What follows from a drop: which frames can no longer be completed, and which cannot be decoded without them.
//!
//! Only drops of this queue count. What the uplink lost may still be repaired, and the subscriber sees it anyway.

use std::time::{Duration, Instant};

use roundtable_moqt::Location;

use crate::{Marks, queue::DropReason};

/// How often a new group is wanted for the same reason.
const NEW_GROUP_INTERVAL: Duration = Duration::from_secs(1);
/// Frames with drops that are remembered.
const LOSSES_MAX: usize = 64;
/// A frame this far behind the newest is over.
const FRAMES_BEHIND_MAX: u32 = 16;

/// One subscription's frames, as far as drops have touched them.
#[derive(Debug, Default)]
pub(super) struct Frames {
    losses: Vec<Loss>,
    /// A frame of the base layer was dropped: nothing up to the end of this group is of use.
    skipped: Option<Skipped>,
    /// A frame of a higher layer was dropped: that layer and those above are of no use in this group.
    broken_layer: Option<BrokenLayer>,
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    group: u64,
    frame: u32,
    block: u16,
    dropped: u16,
    is_lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Skipped {
    group: u64,
    /// Publisher priority of what was dropped: that of the next key frame, most likely.
    priority: u8,
    told: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct BrokenLayer {
    group: u64,
    layer: u8,
}

/// What else has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consequence {
    /// Nothing: the subscriber can do without.
    None,
    /// What [`Frames::allows`] no longer allows.
    Purge,
    /// The same, and a new group is wanted.
    PurgeAndSkip,
}

impl Frames {
    /// True while no drop has any consequences.
    pub(super) fn are_whole(&self) -> bool {
        self.losses.is_empty() && self.skipped.is_none() && self.broken_layer.is_none()
    }

    /// A datagram comes: whether it is of any use. A later group makes up for everything.
    pub(super) fn admit(&mut self, location: Location, marks: &Marks) -> Result<(), DropReason> {
        self.skipped.take_if(|skipped| location.group > skipped.group);
        self.broken_layer.take_if(|broken| location.group > broken.group);
        let frame = marks.fragment.map(|fragment| fragment.frame);
        self.losses.retain(|loss| {
            let is_over = frame.is_some_and(|frame| frame > loss.frame.saturating_add(FRAMES_BEHIND_MAX));
            loss.group > location.group || loss.group == location.group && !is_over
        });
        self.allows(location, marks)?;
        self.broken_layer.take_if(|broken| {
            broken.group == location.group
                && broken.layer == marks.temporal_layer
                && marks.depends_on_base_only
        });
        Ok(())
    }

    /// Whether a datagram is of any use after what was dropped.
    pub(super) fn allows(&self, location: Location, marks: &Marks) -> Result<(), DropReason> {
        if self.skipped.is_some_and(|skipped| location.group <= skipped.group) {
            return Err(DropReason::SkippedGroup);
        }
        if let Some(fragment) = marks.fragment
            && self
                .losses
                .iter()
                .any(|loss| loss.is_lost && loss.group == location.group && loss.frame == fragment.frame)
        {
            return Err(DropReason::IncompleteFrame);
        }
        let needs_what_is_broken = self.broken_layer.is_some_and(|broken| {
            broken.group == location.group
                && marks.temporal_layer >= broken.layer
                && !marks.depends_on_base_only
        });
        if needs_what_is_broken { Err(DropReason::SkippedGroup) } else { Ok(()) }
    }

    /// A datagram that was allowed had to be dropped.
    pub(super) fn dropped(&mut self, location: Location, marks: &Marks, priority: u8) -> Consequence {
        if self.is_completable_without(location, marks) {
            return Consequence::None;
        }
        if marks.is_discardable {
            return Consequence::Purge;
        }
        let group = location.group;
        if marks.temporal_layer == 0 {
            let told = self.skipped.and_then(|skipped| skipped.told);
            self.skipped = Some(Skipped { group, priority, told });
            return Consequence::PurgeAndSkip;
        }
        let layer = match self.broken_layer {
            Some(broken) if broken.group == group => broken.layer.min(marks.temporal_layer),
            _ => marks.temporal_layer,
        };
        self.broken_layer = Some(BrokenLayer { group, layer });
        Consequence::Purge
    }

    /// True while parity makes up for all that was dropped of the frame's block.
    fn is_completable_without(&mut self, location: Location, marks: &Marks) -> bool {
        let Some(fragment) = marks.fragment else { return false };
        let found = self.losses.iter().position(|loss| {
            (loss.group, loss.frame, loss.block) == (location.group, fragment.frame, fragment.block)
        });
        let index = found.unwrap_or_else(|| {
            if self.losses.len() >= LOSSES_MAX {
                self.losses.remove(0);
            }
            let (frame, block) = (fragment.frame, fragment.block);
            self.losses.push(Loss { group: location.group, frame, block, dropped: 0, is_lost: false });
            self.losses.len() - 1
        });
        let Some(loss) = self.losses.get_mut(index) else { return true };
        loss.dropped = loss.dropped.saturating_add(1);
        loss.is_lost = loss.dropped > fragment.parity;
        !loss.is_lost
    }

    /// Publisher priority of the frame whose loss made the subscription skip to the next group.
    pub(super) fn skipping_priority(&self) -> Option<u8> {
        self.skipped.map(|skipped| skipped.priority)
    }

    /// A new group is asked for: true unless it was lately.
    pub(super) fn ask_for_group(&mut self, now: Instant) -> bool {
        let Some(skipped) = &mut self.skipped else { return false };
        if skipped.told.is_some_and(|told| now < told + NEW_GROUP_INTERVAL) {
            return false;
        }
        skipped.told = Some(now);
        true
    }
}
