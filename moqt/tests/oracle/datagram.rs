//! Object datagrams.

use bytes::Bytes;
use moqtap_codec::draft18::{data_stream::DatagramHeader, types::ObjectStatus};
use proptest::{option::of, prelude::*};
use roundtable_moqt::{Forwarding, Object, ObjectDatagram, Status, message::TrackAlias};

use super::{strategy::*, vi};

fn object() -> impl Strategy<Value = Object> {
    let status =
        prop_oneof![6 => Just(Status::Normal), 1 => Just(Status::EndOfGroup), 1 => Just(Status::EndOfTrack)];
    (location(), of(any::<u8>()), status, any::<bool>(), properties(), bytes(60)).prop_map(
        |(location, priority, status, ends_group, properties, payload)| {
            let is_normal = status == Status::Normal;
            let only = |bytes: Bytes| if is_normal { bytes } else { Bytes::new() };
            Object {
                location,
                priority,
                forwarding: Forwarding::Datagram,
                status,
                ends_group: ends_group && is_normal,
                properties: only(properties),
                payload: only(payload),
            }
        },
    )
}

fn meaning(header: &DatagramHeader, payload: Vec<u8>) -> Object {
    Object {
        location: roundtable_moqt::Location::new(header.group_id.into_inner(), header.object_id.into_inner()),
        priority: header.publisher_priority,
        forwarding: Forwarding::Datagram,
        status: Status::from_code(header.status().as_u64()).unwrap(),
        ends_group: header.is_end_of_group(),
        properties: header.properties.clone().into(),
        payload: payload.into(),
    }
}

/// Every type the draft allows.
fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![0..=0x0F_u8, (0x20..=0x2D_u8).prop_map(|kind| kind & !0x02)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn they_read_what_we_write_and_the_same_comes_back(alias in number(), ours in object(), prefix in bytes(3)) {
        let wire = ObjectDatagram::encode(&prefix, TrackAlias(alias), &ours);
        prop_assert_eq!(&wire[..prefix.len()], &prefix[..]);
        let wire = wire.slice(prefix.len()..);
        prop_assert_eq!(wire.len(), ObjectDatagram::encoded_len(TrackAlias(alias), &ours));
        let (header, payload) = DatagramHeader::decode_object(&mut wire.clone()).unwrap();
        prop_assert_eq!(header.track_alias.into_inner(), alias);
        prop_assert_eq!(&meaning(&header, payload), &ours);
        let back = ObjectDatagram::decode(wire).unwrap().unwrap();
        prop_assert_eq!(back.alias, TrackAlias(alias));
        prop_assert_eq!(back.object, ours);
    }

    #[test]
    fn we_read_every_type_they_write(
        kind in kind(), alias in number(), location in location(), priority in any::<u8>(),
        properties in properties().prop_filter("some", |it| !it.is_empty()), payload in bytes(60),
    ) {
        let has = |bit: u8| kind & bit != 0;
        let header = DatagramHeader {
            datagram_type: kind,
            track_alias: vi(alias),
            group_id: vi(location.group),
            object_id: vi(if has(0x04) { 0 } else { location.object }),
            publisher_priority: (!has(0x08)).then_some(priority),
            properties: if has(0x01) { properties.to_vec() } else { vec![] },
            object_status: has(0x20)
                .then_some(if has(0x01) { ObjectStatus::Normal } else { ObjectStatus::EndOfGroup }),
        };
        let mut wire = Vec::new();
        header.encode_checked(&mut wire).unwrap();
        let payload = if has(0x20) { Bytes::new() } else { payload };
        wire.extend_from_slice(&payload);
        let ours = ObjectDatagram::decode(wire.into()).unwrap().unwrap();
        prop_assert_eq!(ours.alias, TrackAlias(alias));
        prop_assert_eq!(ours.object, meaning(&header, payload.to_vec()));
    }

    #[test]
    fn a_forwarded_datagram_differs_in_its_alias_alone(first in number(), second in number(), object in object()) {
        let ours = ObjectDatagram::decode(ObjectDatagram::encode(&[], TrackAlias(first), &object)).unwrap().unwrap();
        let forwarded = ours.forward(&[0], TrackAlias(second));
        prop_assert_eq!(forwarded, ObjectDatagram::encode(&[0], TrackAlias(second), &object));
    }

    #[test]
    fn both_agree_on_which_bytes_are_a_datagram(mut wire in proptest::collection::vec(any::<u8>(), 1..40)) {
        wire[0] &= 0x2F;
        let ours = ObjectDatagram::decode(wire.clone().into());
        match DatagramHeader::decode_object(&mut &wire[..]) {
            Ok((header, payload)) => {
                let ours = ours.unwrap().unwrap();
                prop_assert_eq!(ours.object, meaning(&header, payload));
            }
            // They also look into Immutable Properties, which make a track malformed and no session.
            Err(_) if wire[0] & 0x01 != 0 => {}
            // They read a status as one byte, the draft has it as an integer.
            Err(_) if wire[0] & 0x20 != 0 => {}
            Err(error) => prop_assert!(ours.is_err(), "{error}: {ours:?}"),
        }
    }
}
