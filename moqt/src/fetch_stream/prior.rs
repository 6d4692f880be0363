//! What the fields of an object may refer to (draft 11.4.4.1, 11.4.4.2).

use crate::{
    message::GroupOrder,
    object::{Forwarding, Location, Object},
};

/// The items before, as far as the next one may refer to them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prior {
    /// Of the last object, or the end of the last range.
    pub(super) location: Option<Location>,
    /// Of the last object that had one.
    pub(super) subgroup: Option<u64>,
    /// Of the last object.
    pub(super) priority: Option<u8>,
    /// The last object went as a datagram.
    pub(super) is_datagram: bool,
}

impl Prior {
    pub(super) fn object(&mut self, object: &Object, priority: u8) {
        self.location = Some(object.location);
        self.priority = Some(priority);
        self.is_datagram = object.forwarding == Forwarding::Datagram;
        if let Forwarding::Subgroup(subgroup) = object.forwarding {
            self.subgroup = Some(subgroup);
        }
    }

    pub(super) fn range(&mut self, end: Location) {
        self.location = Some(end);
    }

    /// True when an item at `next` may come now: groups in the order of the FETCH, objects ascending.
    pub(super) fn precedes(&self, next: Location, order: GroupOrder) -> bool {
        let Some(last) = self.location else { return true };
        match order {
            _ if next.group == last.group => next.object > last.object,
            GroupOrder::Ascending => next.group > last.group,
            GroupOrder::Descending => next.group < last.group,
        }
    }
}
