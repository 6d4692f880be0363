use bytes::{Bytes, BytesMut};

use super::*;
use crate::{
    error::Violation,
    message::TrackAlias,
    object::{Forwarding, Location, Object, Status},
};

fn read(bytes: &[u8]) -> (Vec<Item>, Result<(), Violation>) {
    let mut decoder = Decoder::new(1000);
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

fn reason(bytes: &[u8]) -> &'static str {
    read(bytes).1.unwrap_err().reason
}

fn object(group: u64, id: u64, subgroup: u64, payload: &'static str) -> Object {
    Object { forwarding: Forwarding::Subgroup(subgroup), ..Object::stream(Location::new(group, id), payload) }
}

fn header() -> SubgroupHeader {
    SubgroupHeader {
        alias: TrackAlias(2),
        group: 0,
        subgroup: Some(0),
        priority: None,
        ends_group: false,
        first_object: false,
        has_properties: false,
    }
}

#[test]
fn the_drafts_first_example_reads() {
    let (items, end) = read(b"\x14\x02\x00\x00\x00\x00\x04abcd\x00\x04efgh");
    let objects = [object(0, 0, 0, "abcd"), object(0, 1, 0, "efgh")];
    let objects = objects.map(|object| Item::Object(Object { priority: Some(0), ..object }));
    assert_eq!(items[0], Item::Header(SubgroupHeader { priority: Some(0), ..header() }));
    assert_eq!(items[1..], objects);
    end.unwrap();
}

#[test]
fn the_drafts_second_example_reads_with_the_lengths_it_means() {
    // The text says type 0x35 (a subgroup id is present), 33 bytes of properties and 21 of the trace id; its own
    // values are 6 and 17 bytes long: { 4: 2186796243 } and { 77: "traceID:123456" }.
    let mut properties = crate::properties::Writer::new();
    properties.integer(4, 2_186_796_243).bytes(77, b"traceID:123456");
    let properties = properties.finish();
    let mut wire = BytesMut::from(&b"\x35\x02\x00\x00\x00"[..]);
    wire.extend_from_slice(&[u8::try_from(properties.len()).unwrap()]);
    wire.extend_from_slice(&properties);
    wire.extend_from_slice(b"\x04abcd\x00\x00\x04efgh");
    let (items, end) = read(&wire);
    assert_eq!(items[0], Item::Header(SubgroupHeader { has_properties: true, ..header() }));
    assert_eq!(items[1], Item::Object(Object { properties, ..object(0, 0, 0, "abcd") }));
    assert_eq!(items[2], Item::Object(object(0, 1, 0, "efgh")));
    end.unwrap();
}

#[test]
fn a_subgroup_named_by_its_first_object_is_resolved_with_it() {
    let mut decoder = Decoder::new(1000);
    decoder.push(Bytes::from_static(b"\x32\x02\x05"));
    let expected = SubgroupHeader { group: 5, subgroup: None, ..header() };
    assert_eq!(decoder.poll(), Ok(Some(Item::Header(expected))));
    decoder.push(Bytes::from_static(b"\x09\x01a\x00\x01b"));
    assert_eq!(decoder.poll(), Ok(Some(Item::Object(object(5, 9, 9, "a")))));
    assert_eq!(decoder.poll(), Ok(Some(Item::Object(object(5, 10, 9, "b")))));
    assert_eq!(decoder.header().unwrap().subgroup, Some(9));
    assert_eq!(decoder.last_object(), Some(10));
}

#[test]
fn every_type_of_the_form_reads_but_the_reserved_ones() {
    for code in 0..=0xFF_u8 {
        let is_legal = code & 0x90 == 0x10 && code & 0x06 != 0x06;
        let head = if code < 0x80 { vec![code] } else { vec![0x80, code] };
        let mut decoder = Decoder::new(1000);
        decoder.push([&head[..], &[0; 4]].concat().into());
        assert_eq!(matches!(decoder.poll(), Ok(Some(Item::Header(_)))), is_legal, "{code:#x}");
    }
}

#[test]
fn what_is_written_reads_the_same_and_a_payload_is_not_copied() {
    let header = SubgroupHeader {
        alias: TrackAlias(1 << 50),
        group: 77,
        subgroup: Some(3),
        priority: Some(9),
        ends_group: true,
        first_object: true,
        has_properties: true,
    };
    let objects = [
        Object { properties: Bytes::from_static(&[0x10, 1]), priority: Some(9), ..object(77, 3, 3, "abc") },
        Object { priority: Some(9), ..object(77, 4, 3, "") },
        Object { priority: Some(9), ..object(77, 90, 3, "x") },
        Object { priority: Some(9), status: Status::EndOfGroup, ..object(77, 91, 3, "") },
    ];
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(header.clone(), &mut out);
    for object in &objects {
        let payload = encoder.object(object, &mut out).unwrap();
        assert!(payload.is_empty() || payload.as_ptr() == object.payload.as_ptr());
        out.extend_from_slice(&payload);
    }
    let (items, end) = read(&out);
    assert_eq!(items[0], Item::Header(header));
    assert_eq!(items[1..], objects.map(Item::Object));
    end.unwrap();
}

#[test]
fn an_object_that_cannot_follow_is_not_written() {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(header(), &mut out);
    assert!(encoder.object(&object(0, 5, 0, "a"), &mut out).is_some());
    let before = out.clone();
    assert!(encoder.object(&object(0, 5, 0, "again"), &mut out).is_none());
    assert!(encoder.object(&object(0, 4, 0, "back"), &mut out).is_none());
    assert!(encoder.object(&object(1, 6, 0, "another group"), &mut out).is_none());
    let with_properties = Object { properties: Bytes::from_static(&[2, 1]), ..object(0, 6, 0, "no room") };
    assert!(encoder.object(&with_properties, &mut out).is_none());
    assert_eq!(out, before);
    let end = Object { status: Status::EndOfGroup, ..object(0, 6, 0, "") };
    assert!(encoder.object(&end, &mut out).is_some());
    assert!(encoder.object(&object(0, 7, 0, "late"), &mut out).is_none());
}

#[test]
fn broken_streams_are_violations() {
    assert_eq!(reason(b"\x38\x02\x00\x00\x00\x01"), "unknown object status");
    assert_eq!(reason(b"\x39\x02\x00\x00\x02\x02\x01\x00\x03"), "a status object has properties");
    assert_eq!(reason(b"\x39\x02\x00\x00\x01\x02\x01a"), "a key-value pair is cut short");
    assert_eq!(reason(b"\x38\x02\x00\x00\x00\x03\x00\x01a"), "an object follows the end of its group");
    assert_eq!(
        reason(b"\x38\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a\x00\x01b"),
        "an object id is larger than 64 bits"
    );
}

#[test]
fn a_stream_may_end_between_objects_only() {
    let whole = b"\x14\x02\x00\x00\x00\x00\x04abcd\x00\x04efgh";
    for cut in 0..=whole.len() {
        let (items, end) = read(&whole[..cut]);
        assert_eq!(end.is_ok(), [5, 11, 17].contains(&cut), "{cut}");
        assert_eq!(items.len(), [5, 11, 17].iter().filter(|at| cut >= **at).count(), "{cut}");
    }
}

#[test]
fn an_object_larger_than_the_limit_is_refused_before_it_comes() {
    for (wire, is_refused) in [
        (&b"\x30\x02\x00\x00\x83\xe8"[..], false),
        (b"\x30\x02\x00\x00\x83\xe9", true),
        (b"\x30\x02\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff", true),
        (b"\x31\x02\x00\x00\x83\xe9", true),
        (b"\x31\x02\x00\x00\x02\x02\x00\x83\xe6", false),
        (b"\x31\x02\x00\x00\x02\x02\x00\x83\xe7", true),
    ] {
        let mut decoder = Decoder::new(1000);
        decoder.push(Bytes::copy_from_slice(wire));
        assert!(matches!(decoder.poll(), Ok(Some(Item::Header(_)))));
        assert_eq!(decoder.poll().is_err(), is_refused, "{wire:?}");
    }
}

#[test]
fn a_payload_inside_one_piece_is_not_copied_and_one_in_many_holds_only_what_came() {
    let mut decoder = Decoder::new(1000);
    let piece = Bytes::from_static(b"\x30\x02\x00\x00\x04abcd\x00\x81\x00xyz");
    decoder.push(piece.clone());
    decoder.poll().unwrap();
    let Ok(Some(Item::Object(object))) = decoder.poll() else { panic!() };
    assert_eq!(object.payload.as_ptr(), piece[5..].as_ptr());
    assert_eq!(decoder.poll(), Ok(None));
    assert_eq!(decoder.buffered_bytes(), 3);
    decoder.push(vec![7; 253].into());
    let Ok(Some(Item::Object(object))) = decoder.poll() else { panic!() };
    assert_eq!((&object.payload[..3], object.payload.len()), (&b"xyz"[..], 256));
    assert_eq!(decoder.buffered_bytes(), 0);
}
