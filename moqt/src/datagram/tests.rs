use super::*;
use crate::error::SessionError;

fn decode(bytes: &[u8]) -> Result<Option<ObjectDatagram>, Violation> {
    ObjectDatagram::decode(Bytes::copy_from_slice(bytes))
}

fn reason(bytes: &[u8]) -> &'static str {
    let violation = decode(bytes).unwrap_err();
    assert_eq!(violation.code, SessionError::ProtocolViolation);
    violation.reason
}

#[test]
fn every_field_is_read_where_its_flag_says() {
    // PROPERTIES: alias 7, group 300, object 5, priority 64, properties { 0x10: 9 }, payload "hi".
    let datagram = decode(&[0x01, 7, 0x81, 0x2c, 5, 64, 2, 0x10, 9, b'h', b'i']).unwrap().unwrap();
    assert_eq!(datagram.alias, TrackAlias(7));
    assert_eq!(
        datagram.object,
        Object {
            location: Location::new(300, 5),
            priority: Some(64),
            forwarding: Forwarding::Datagram,
            status: Status::Normal,
            ends_group: false,
            properties: Bytes::from_static(&[0x10, 9]),
            payload: Bytes::from_static(b"hi"),
        }
    );
    // END_OF_GROUP | ZERO_OBJECT_ID | DEFAULT_PRIORITY: alias 7, group 1, nothing else.
    let datagram = decode(&[0x0E, 7, 1]).unwrap().unwrap();
    assert_eq!(
        datagram.object,
        Object { ends_group: true, ..Object::datagram(Location::new(1, 0), Bytes::new()) }
    );
    // STATUS | DEFAULT_PRIORITY: end of track at (1, 2).
    let datagram = decode(&[0x28, 7, 1, 2, 4]).unwrap().unwrap();
    assert_eq!(
        datagram.object,
        Object { status: Status::EndOfTrack, ..Object::datagram(Location::new(1, 2), Bytes::new()) }
    );
}

#[test]
fn properties_and_payload_share_the_datagrams_memory() {
    let bytes = Bytes::from(vec![0x0D, 7, 1, 2, 0x10, 9, b'h', b'i']);
    let datagram = ObjectDatagram::decode(bytes.clone()).unwrap().unwrap();
    assert_eq!(datagram.object.properties.as_ptr(), bytes[4..].as_ptr());
    assert_eq!(datagram.object.payload.as_ptr(), bytes[6..].as_ptr());
}

#[test]
fn only_the_drafts_28_types_are_datagrams() {
    let is_known =
        |code: u8| matches!(code, 0x00..=0x0F | 0x20 | 0x21 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2C | 0x2D);
    for code in 0..=0x7F_u8 {
        let result = decode(&[code, 0, 0, 0, 1, 0, 0]);
        let is_refused_for_its_type = result.as_ref().is_err_and(|violation| {
            violation.reason.contains("type") || violation.reason.contains("end a group")
        });
        assert_eq!(is_refused_for_its_type, !is_known(code), "{code:#x}: {result:?}");
    }
    assert_eq!(reason(&[0x80, 0x80, 0, 0]), "unknown datagram type");
    assert_eq!(reason(&[0xf0, 0x13, 0x2b, 0x3e, 0x28]), "unknown datagram type");
}

#[test]
fn padding_is_nothing() {
    assert!(decode(&[0xf0, 0x13, 0x2b, 0x3e, 0x29]).unwrap().is_none());
    assert!(decode(&[0xf0, 0x13, 0x2b, 0x3e, 0x29, 0, 0, 0]).unwrap().is_none());
}

#[test]
fn a_type_and_alias_in_more_bytes_than_needed_are_read_and_forwarded_in_the_fewest() {
    let datagram = decode(&[0x80, 0x0C, 0xc0, 0x00, 0x07, 1, b'x']).unwrap().unwrap();
    assert_eq!((datagram.alias, datagram.location()), (TrackAlias(7), Location::new(1, 0)));
    assert_eq!(&datagram.forward(&[], TrackAlias(9))[..], &[0x0C, 9, 1, b'x']);
}

#[test]
fn forwarding_keeps_what_follows_the_alias_byte_for_byte() {
    // Group 1 in two bytes, priority 3, properties, payload.
    let rest = [0x80, 1, 2, 3, 2, 0x10, 9, b'x'];
    let datagram = decode(&[&[0x01, 0x80, 0x05], &rest[..]].concat()).unwrap().unwrap();
    let forwarded = datagram.forward(&[0xAA, 0xBB], TrackAlias(1 << 40));
    let expected = [&[0xAA, 0xBB, 0x01, 0xf9, 0, 0, 0, 0, 0][..], &rest[..]].concat();
    assert_eq!(forwarded[..], expected);
    let again = ObjectDatagram::decode(forwarded.slice(2..)).unwrap().unwrap();
    assert_eq!((again.alias, again.object), (TrackAlias(1 << 40), datagram.object));
}

#[test]
fn every_cut_in_the_header_is_a_violation() {
    let whole = [0x01, 7, 0x81, 0x2c, 5, 64, 2, 0x10, 9];
    for cut in 0..whole.len() {
        assert!(decode(&whole[..cut]).is_err(), "{cut}");
    }
    assert!(decode(&whole).unwrap().unwrap().object.payload.is_empty());
}

#[test]
fn announced_properties_must_be_there_and_hold_together() {
    assert_eq!(reason(&[0x0D, 7, 1, 0]), "a datagram announces properties and has none");
    assert_eq!(reason(&[0x0D, 7, 1, 9, 0x10, 9]), "a datagram is shorter than its fields");
    assert_eq!(reason(&[0x0D, 7, 1, 0xff, 255, 255, 255, 255, 255, 255, 255, 255]), CUT.reason);
    assert_eq!(reason(&[0x0D, 7, 1, 1, 0x10, 9]), "a key-value pair is cut short");
    assert_eq!(reason(&[0x0D, 7, 1, 2, 0x11, 1, 0]), "a key-value pair is cut short");
}

#[test]
fn a_status_is_known_alone_and_without_properties() {
    assert_eq!(reason(&[0x2C, 7, 1, 1]), "unknown object status");
    assert_eq!(reason(&[0x2C, 7, 1, 3, 0]), "a status datagram has a payload");
    assert_eq!(reason(&[0x2D, 7, 1, 2, 0x10, 9, 3]), "a status object has properties");
    let normal = decode(&[0x2D, 7, 1, 2, 0x10, 9, 0]).unwrap().unwrap().object;
    assert_eq!((normal.status, normal.properties.len(), normal.payload.len()), (Status::Normal, 2, 0));
}

#[test]
fn the_smallest_type_is_written() {
    let kind_of = |object: &Object| ObjectDatagram::encode(&[], TrackAlias(0), object)[0];
    let plain = Object::datagram(Location::new(1, 0), "x");
    assert_eq!(kind_of(&plain), 0x0C);
    assert_eq!(kind_of(&Object { location: Location::new(1, 1), ..plain.clone() }), 0x08);
    assert_eq!(kind_of(&Object { priority: Some(128), ..plain.clone() }), 0x04);
    assert_eq!(kind_of(&Object { ends_group: true, ..plain.clone() }), 0x0E);
    assert_eq!(kind_of(&Object { properties: Bytes::from_static(&[0x10, 9]), ..plain.clone() }), 0x0D);
    assert_eq!(kind_of(&Object { status: Status::EndOfGroup, ..plain }), 0x2C);
}

/// Not a benchmark: prints what a datagram costs. `cargo test -p roundtable-moqt --release -- --ignored --nocapture`
#[test]
#[ignore = "prints a measurement"]
fn cost_of_decoding_and_forwarding() {
    let mut properties = crate::properties::Writer::new();
    properties
        .bytes(0x09, &[0xC0, 1, 0])
        .integer(0x10, 1_795_000_000_123_456)
        .bytes(0x3801, &[9, 0, 3, 8, 4, 0x80]);
    let object = Object {
        priority: Some(80),
        properties: properties.finish(),
        ..Object::datagram(Location::new(1_795_000_000_123, 37), vec![7_u8; 1000])
    };
    let bytes = ObjectDatagram::encode(&[], TrackAlias(3), &object);
    let rounds = 2_000_000_u32;
    let mut total = 0_usize;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        let datagram = ObjectDatagram::decode(std::hint::black_box(bytes.clone())).unwrap().unwrap();
        total += datagram.object.payload.len();
    }
    let decode = start.elapsed() / rounds;
    let datagram = ObjectDatagram::decode(bytes).unwrap().unwrap();
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        total += std::hint::black_box(&datagram).forward(&[0], TrackAlias(300)).len();
    }
    println!("decode {decode:?}, forward {:?} ({total})", start.elapsed() / rounds);
}
