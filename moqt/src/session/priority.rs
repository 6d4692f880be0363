//! The order in which streams are sent, as one number (draft 7.2). Higher goes first.

use crate::message::GroupOrder;

/// The control stream.
pub(super) const CONTROL: i32 = i32::MAX;

/// Where an object or request without a priority stands (draft 10.2.8, 12.4).
pub(super) const DEFAULT: u8 = 128;

/// Above every data stream.
const REQUESTS: i32 = 1 << 30;

/// A request stream.
pub(super) fn request(subscriber: u8) -> i32 {
    REQUESTS + i32::from(u8::MAX - subscriber)
}

/// A data stream, by subscriber priority, publisher priority, group and subgroup.
///
/// Groups are compared by their last ten bits: streams of groups further apart are hardly ever open together,
/// and where the count turns over, one pair of groups changes places.
pub(super) fn data(subscriber: u8, publisher: u8, order: GroupOrder, group: u64, subgroup: u64) -> i32 {
    const GROUP_MASK: u64 = 0x3ff;
    const SUBGROUP_MAX: u64 = 0xf;
    let group = match order {
        GroupOrder::Ascending => GROUP_MASK - (group & GROUP_MASK),
        GroupOrder::Descending => group & GROUP_MASK,
    };
    let within = (group << 4) | (SUBGROUP_MAX - subgroup.min(SUBGROUP_MAX));
    // 14 bits, so it always fits.
    let within = i32::try_from(within).unwrap_or(0);
    (i32::from(u8::MAX - subscriber) << 22) | (i32::from(u8::MAX - publisher) << 14) | within
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_sent_in_the_drafts_order() {
        use GroupOrder::{Ascending, Descending};
        let descending = [
            CONTROL,
            request(0),
            request(255),
            data(0, 255, Ascending, 1023, 99),
            data(1, 0, Ascending, 5, 0),
            data(1, 0, Ascending, 5, 1),
            data(1, 0, Ascending, 6, 0),
            data(1, 1, Descending, 6, 0),
            data(1, 1, Descending, 6, 1),
            data(1, 1, Descending, 5, 0),
            data(255, 255, Ascending, 1023, u64::MAX),
        ];
        assert!(descending.windows(2).all(|pair| pair[0] > pair[1]), "{descending:?}");
        assert!(data(255, 255, Ascending, 1023, u64::MAX) >= 0);
    }
}
