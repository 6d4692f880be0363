//! Subgroup streams.

use bytes::{Bytes, BytesMut};
use moqtap_codec::draft18::data_stream::{SubgroupHeader as TheirHeader, SubgroupObjectReader};
use proptest::{collection::vec, option::of, prelude::*};
use roundtable_moqt::{
    Forwarding, Location, Object, Status,
    message::TrackAlias,
    subgroup::{Decoder, Encoder, Item, SubgroupHeader},
};

use super::strategy::*;

fn header() -> impl Strategy<Value = SubgroupHeader> {
    (number(), number(), of(number()), of(any::<u8>()), any::<[bool; 3]>()).prop_map(
        |(alias, group, subgroup, priority, [ends_group, first_object, has_properties])| SubgroupHeader {
            alias: TrackAlias(alias),
            group,
            subgroup,
            priority,
            ends_group,
            first_object,
            has_properties,
        },
    )
}

/// A header, and objects that may follow it; their ids stay below 2^62, past which the independent codec stops.
fn stream() -> impl Strategy<Value = (SubgroupHeader, Vec<Object>)> {
    let object = (0..1_u64 << 50, properties(), bytes(60));
    (header(), vec(object, 0..6), any::<bool>()).prop_map(|(header, parts, ends)| {
        let mut objects = Vec::new();
        let mut next = 0;
        let count = parts.len();
        for (index, (delta, properties, payload)) in parts.into_iter().enumerate() {
            let id = next + (delta >> (delta % 50));
            next = id + 1;
            let is_end = ends && index + 1 == count;
            let subgroup = header
                .subgroup
                .unwrap_or_else(|| objects.first().map_or(id, |it: &Object| it.location.object));
            objects.push(Object {
                location: Location::new(header.group, id),
                priority: header.priority,
                forwarding: Forwarding::Subgroup(subgroup),
                status: if is_end { Status::EndOfGroup } else { Status::Normal },
                ends_group: false,
                properties: if header.has_properties && !is_end { properties } else { Bytes::new() },
                payload: if is_end { Bytes::new() } else { payload },
            });
        }
        (header, objects)
    })
}

fn write(header: &SubgroupHeader, objects: &[Object]) -> Bytes {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(header.clone(), &mut out);
    for object in objects {
        let payload = encoder.object(object, &mut out).expect("it follows");
        out.extend_from_slice(&payload);
    }
    out.freeze()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn they_read_what_we_write_and_write_the_same((header, objects) in stream()) {
        let wire = write(&header, &objects);
        let mut buf = wire.clone();
        let theirs = TheirHeader::decode(&mut buf).unwrap();
        prop_assert_eq!(theirs.track_alias.into_inner(), header.alias.0);
        prop_assert_eq!(theirs.group_id.into_inner(), header.group);
        prop_assert_eq!(theirs.publisher_priority, header.priority);
        prop_assert_eq!(theirs.is_end_of_group(), header.ends_group);
        prop_assert_eq!(theirs.is_first_object(), header.first_object);
        prop_assert_eq!(theirs.has_properties(), header.has_properties);
        let subgroup = (theirs.subgroup_id_mode() != 1).then_some(theirs.subgroup_id.into_inner());
        prop_assert_eq!(subgroup, header.subgroup);

        let mut again = Vec::new();
        theirs.encode_checked(&mut again).unwrap();
        let (mut reader, mut writer) = (SubgroupObjectReader::new(&theirs), SubgroupObjectReader::new(&theirs));
        for ours in &objects {
            let object = reader.read_object(&mut buf).unwrap();
            prop_assert_eq!(object.object_id.into_inner(), ours.location.object);
            prop_assert_eq!(&object.extension_headers[..], &ours.properties[..]);
            prop_assert_eq!(&object.payload[..], &ours.payload[..]);
            prop_assert_eq!(object.status().as_u64(), ours.status.code());
            writer.write_object(&object, &mut again).unwrap();
        }
        prop_assert!(buf.is_empty());
        prop_assert_eq!(&again[..], &wire[..]);
    }

    #[test]
    fn a_stream_reads_the_same_in_any_pieces(
        (header, objects) in stream(), sizes in vec(1..30_usize, 1..8), polls_late in any::<bool>(),
    ) {
        let mut rest = write(&header, &objects);
        let mut decoder = Decoder::new(1000);
        let mut items = Vec::new();
        for size in sizes.iter().cycle() {
            decoder.push(rest.split_to(rest.len().min(*size)));
            if !polls_late || rest.is_empty() {
                while let Some(item) = decoder.poll().unwrap() {
                    items.push(item);
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        let expected: Vec<_> =
            std::iter::once(Item::Header(header)).chain(objects.into_iter().map(Item::Object)).collect();
        prop_assert_eq!(items, expected);
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(decoder.buffered_bytes(), 0);
    }

    #[test]
    fn a_stream_cut_short_never_ends_well_inside_an_object(
        (header, objects) in stream(), cut in any::<prop::sample::Index>(),
    ) {
        let wire = write(&header, &objects);
        let ends: Vec<usize> = (0..=objects.len()).map(|count| write(&header, &objects[..count]).len()).collect();
        let cut = cut.index(wire.len());
        let mut decoder = Decoder::new(1000);
        decoder.push(wire.slice(..cut));
        while decoder.poll().unwrap().is_some() {}
        prop_assert_eq!(decoder.finish().is_ok(), ends.contains(&cut));
    }
}
