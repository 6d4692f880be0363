use bytes::{Bytes, BytesMut};

use super::*;
use crate::{
    error::Violation,
    message::{GroupOrder, RequestId},
    object::{Forwarding, Location, Object},
};

fn read_in(order: GroupOrder, bytes: &[u8]) -> (Vec<FetchItem>, Result<(), Violation>) {
    let mut decoder = Decoder::new(1000);
    decoder.order(order);
    decoder.push(Bytes::copy_from_slice(bytes));
    let mut items = Vec::new();
    loop {
        match decoder.poll() {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, decoder.finish()),
            Err(violation) => return (items, Err(violation)),
        }
    }
}

fn read(bytes: &[u8]) -> (Vec<FetchItem>, Result<(), Violation>) {
    read_in(GroupOrder::Ascending, bytes)
}

fn reason(bytes: &[u8]) -> &'static str {
    read(bytes).1.unwrap_err().reason
}

fn object(group: u64, id: u64, subgroup: Option<u64>, priority: u8) -> FetchItem {
    FetchItem::Object(Object {
        forwarding: subgroup.map_or(Forwarding::Datagram, Forwarding::Subgroup),
        priority: Some(priority),
        ..Object::datagram(Location::new(group, id), "")
    })
}

/// Header of request 8, then the first object: group 10, subgroup 3, object 5, priority 7, no payload.
const FIRST: &[u8] = &[0x05, 8, 0x1F, 10, 3, 5, 7, 0];

fn after_first(bytes: &[u8]) -> Vec<u8> {
    [FIRST, bytes].concat()
}

#[test]
fn fields_left_out_are_those_of_the_object_before() {
    let (items, end) = read(&after_first(&[
        0x01, 0, // same group, same subgroup, next object, same priority
        0x02, 0, // next subgroup
        0x04, 4, 0, // subgroup 0, four objects on
        0x40, 0, // a datagram
        0x1F, 0, 9, 2, 1, 0, // next group, subgroup 9, object 2, priority 1
        0x09, 1, 0, // two groups on, same subgroup, the object after the last one
    ]));
    let expected = [
        object(10, 5, Some(3), 7),
        object(10, 6, Some(3), 7),
        object(10, 7, Some(4), 7),
        object(10, 11, Some(0), 7),
        object(10, 12, None, 7),
        object(11, 2, Some(9), 1),
        object(13, 3, Some(9), 1),
    ];
    assert_eq!(items, expected);
    end.unwrap();
}

#[test]
fn groups_descend_when_the_fetch_asked_for_it() {
    let (items, end) = read_in(GroupOrder::Descending, &after_first(&[0x0D, 0, 1, 0, 0x0D, 8, 1, 0]));
    assert_eq!(items, [object(10, 5, Some(3), 7), object(9, 1, Some(3), 7), object(0, 1, Some(3), 7)]);
    end.unwrap();
    let below_zero = read_in(GroupOrder::Descending, &after_first(&[0x0D, 10, 1, 0]));
    assert_eq!(below_zero.1.unwrap_err().reason, "a FETCH counts past 64 bits");
}

#[test]
fn the_first_object_may_refer_to_nothing() {
    for flags in 0..=0x7F_u8 {
        let is_legal = flags & 0x1C == 0x1C && (flags & 0x40 != 0 || matches!(flags & 0x03, 0 | 3));
        let (items, end) = read(&[0x05, 8, flags, 0, 0, 0, 0, 0, 0]);
        let is_refused = end.as_ref().is_err_and(|it| it.reason.contains("refers to one before"));
        assert_eq!(is_refused, !is_legal, "{flags:#x}: {items:?} {end:?}");
    }
}

#[test]
fn after_a_range_location_counts_from_it_and_the_rest_from_the_last_object() {
    let (items, end) = read(&after_first(&[0x80, 0x8C, 12, 4, 0x02, 0, 0x81, 0x0C, 12, 9, 0x01, 0]));
    let expected = [
        object(10, 5, Some(3), 7),
        FetchItem::NonExistent(Location::new(12, 4)),
        object(12, 5, Some(4), 7),
        FetchItem::Unknown(Location::new(12, 9)),
        object(12, 10, Some(4), 7),
    ];
    assert_eq!(items, expected);
    end.unwrap();
}

#[test]
fn after_a_range_alone_nothing_but_the_location_can_be_referred_to() {
    let range = [0x05, 8, 0x80, 0x8C, 3, 4];
    let then = |bytes: &[u8]| read(&[&range[..], bytes].concat());
    assert_eq!(then(&[0x10, 7, 0]).0[1], object(3, 5, Some(0), 7));
    for refers in [&[0x00, 0][..], &[0x11, 7, 0], &[0x12, 7, 0]] {
        assert!(then(refers).1.unwrap_err().reason.contains("refers to one before"), "{refers:?}");
    }
}

#[test]
fn items_out_of_order_are_violations() {
    let out_of_order = "objects of a FETCH are out of order";
    assert_eq!(reason(&after_first(&[0x05, 0, 0])), out_of_order, "an object twice");
    assert_eq!(reason(&after_first(&[0x80, 0x8C, 10, 4])), out_of_order, "a range before its object");
    assert_eq!(reason(&after_first(&[0x80, 0x8C, 9, 9])), out_of_order, "a range in an earlier group");
    assert_eq!(read_in(GroupOrder::Descending, &after_first(&[0x80, 0x8C, 9, 9])).1, Ok(()));
}

#[test]
fn counting_past_64_bits_and_unknown_flags_are_violations() {
    const MAX: [u8; 9] = [0xff; 9];
    let past = "a FETCH counts past 64 bits";
    assert_eq!(reason(&after_first(&[&[0x0D][..], &MAX, &[0, 0]].concat())), past);
    assert_eq!(reason(&after_first(&[&[0x05][..], &MAX, &[0]].concat())), past);
    let last_subgroup = after_first(&[&[0x03][..], &MAX, &[0, 0x02, 0]].concat());
    assert_eq!(reason(&last_subgroup), past);
    for flags in [[0x80, 0x80], [0x80, 0x8D], [0x81, 0x0D], [0x82, 0x0C]] {
        assert_eq!(reason(&after_first(&flags)), "unknown Serialization Flags");
    }
    assert_eq!(reason(&[0x06, 0]), "no FETCH stream");
}

#[test]
fn a_second_group_waits_until_the_order_is_known() {
    let mut decoder = Decoder::new(1000);
    decoder.push(after_first(&[0x01, 0, 0x0D, 0, 0, 0]).into());
    assert_eq!(decoder.request(), Ok(Some(RequestId(8))));
    assert_eq!(decoder.poll(), Ok(Some(object(10, 5, Some(3), 7))));
    assert_eq!(decoder.poll(), Ok(Some(object(10, 6, Some(3), 7))));
    assert_eq!(decoder.poll(), Ok(None));
    assert_eq!(decoder.buffered_bytes(), 4);
    decoder.order(GroupOrder::Descending);
    assert_eq!(decoder.poll(), Ok(Some(object(9, 0, Some(3), 7))));
}

#[test]
fn a_stream_may_end_between_items_only() {
    let whole = after_first(&[0x80, 0x8C, 12, 4, 0x21, 2, 2, 9, 1, b'x']);
    let ends = [2, 8, 12, 18];
    for cut in 0..=whole.len() {
        let (items, end) = read(&whole[..cut]);
        assert_eq!(end.is_ok(), ends.contains(&cut), "{cut}");
        assert_eq!(items.len(), ends[1..].iter().filter(|at| cut >= **at).count(), "{cut}");
    }
}

#[test]
fn an_object_larger_than_the_limit_is_refused_before_it_comes() {
    assert_eq!(reason(&after_first(&[0x01, 0x83, 0xe9])), "an object is larger than this endpoint takes");
    assert_eq!(reason(&after_first(&[0x21, 0x83, 0xe9])), "an object is larger than this endpoint takes");
    assert_eq!(
        reason(&after_first(&[0x21, 2, 2, 9, 0x83, 0xe7])),
        "an object is larger than this endpoint takes"
    );
}

#[test]
fn an_object_without_a_priority_is_sent_with_the_tracks() {
    let item = |id| FetchItem::Object(Object::datagram(Location::new(1, id), ""));
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(RequestId(8), GroupOrder::Ascending, &mut out);
    encoder.item(&item(0), &mut out).unwrap();
    encoder.default_priority(64);
    encoder.item(&item(1), &mut out).unwrap();
    assert_eq!(read(&out).0, [object(1, 0, None, 128), object(1, 1, None, 64)]);
}

#[test]
fn nothing_out_of_order_and_no_status_is_written() {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(RequestId(8), GroupOrder::Descending, &mut out);
    encoder.item(&object(5, 5, None, 1), &mut out).unwrap();
    let before = out.clone();
    for (group, id) in [(5, 5), (5, 4), (6, 0)] {
        assert!(encoder.item(&object(group, id, None, 1), &mut out).is_none(), "{group}/{id}");
        assert!(encoder.item(&FetchItem::Unknown(Location::new(group, id)), &mut out).is_none());
    }
    let status = Object { status: crate::Status::EndOfGroup, ..Object::datagram(Location::new(4, 0), "") };
    assert!(encoder.item(&FetchItem::Object(status), &mut out).is_none());
    assert_eq!(out, before);
    encoder.item(&FetchItem::NonExistent(Location::new(4, 0)), &mut out).unwrap();
    let (items, end) = read_in(GroupOrder::Descending, &out);
    assert_eq!(items, [object(5, 5, None, 1), FetchItem::NonExistent(Location::new(4, 0))]);
    end.unwrap();
}

#[test]
fn nothing_refers_to_a_subgroup_across_a_datagram() {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(RequestId(8), GroupOrder::Ascending, &mut out);
    encoder.item(&object(1, 0, Some(3), 1), &mut out).unwrap();
    encoder.item(&object(1, 1, None, 1), &mut out).unwrap();
    let at = out.len();
    encoder.item(&object(1, 2, Some(3), 1), &mut out).unwrap();
    assert_eq!(out[at..], [0x03, 3, 0]);
}
