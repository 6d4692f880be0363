//! FETCH streams.

use bytes::{Bytes, BytesMut};
use moqtap_codec::draft18::data_stream::{
    EndOfRange, FetchHeader, FetchObjectReader, GroupOrder as TheirOrder,
};
use proptest::{collection::vec, option::of, prelude::*};
use roundtable_moqt::{
    Forwarding, Location, Object, Status,
    fetch_stream::{Decoder, Encoder, FetchItem},
    message::{GroupOrder, RequestId},
};

use super::strategy::*;

#[derive(Debug, Clone)]
struct Stream {
    request: RequestId,
    order: GroupOrder,
    items: Vec<FetchItem>,
}

fn stream() -> impl Strategy<Value = Stream> {
    let subgroup = prop_oneof![Just(None), (0..3_u64).prop_map(Some), number().prop_map(Some)];
    let object = (subgroup, 0..3_u8, properties(), bytes(40));
    let step = (any::<bool>(), 0..1_u64 << 40, 0..40_u32, 0..6_u8);
    (number(), order(), vec((step, object), 0..8)).prop_map(|(request, order, parts)| {
        let mut items = Vec::new();
        let mut at: Option<Location> = None;
        for ((same_group, distance, shift, kind), (subgroup, priority, properties, payload)) in parts {
            let distance = distance >> shift;
            let location = match at {
                None => Location::new(1 << 60, distance),
                Some(last) if same_group => Location::new(last.group, last.object + 1 + distance),
                Some(last) if order == GroupOrder::Ascending => {
                    Location::new(last.group + 1 + distance, distance)
                }
                Some(last) => Location::new(last.group - 1 - distance, distance),
            };
            at = Some(location);
            items.push(match kind {
                0 => FetchItem::NonExistent(location),
                1 => FetchItem::Unknown(location),
                _ => FetchItem::Object(Object {
                    location,
                    priority: Some(priority),
                    forwarding: subgroup.map_or(Forwarding::Datagram, Forwarding::Subgroup),
                    status: Status::Normal,
                    ends_group: false,
                    properties,
                    payload,
                }),
            });
        }
        Stream { request: RequestId(request), order, items }
    })
}

/// The wire, and where each item's fields begin and end without payload.
fn write(stream: &Stream) -> (Bytes, Vec<std::ops::Range<usize>>) {
    let mut out = BytesMut::new();
    let mut encoder = Encoder::new(stream.request, stream.order, &mut out);
    let mut heads = Vec::new();
    for item in &stream.items {
        let start = out.len();
        let payload = encoder.item(item, &mut out).expect("it follows");
        heads.push(start..out.len());
        out.extend_from_slice(&payload);
    }
    (out.freeze(), heads)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn they_read_what_we_write(stream in stream()) {
        let (wire, heads) = write(&stream);
        let mut buf = wire.clone();
        prop_assert_eq!(FetchHeader::decode(&mut buf).unwrap().request_id.into_inner(), stream.request.0);
        let order = match stream.order {
            GroupOrder::Ascending => TheirOrder::Ascending,
            GroupOrder::Descending => TheirOrder::Descending,
        };
        let mut reader = FetchObjectReader::new(order);
        for (ours, head) in stream.items.iter().zip(heads) {
            // They read a payload length after an End of Range as well; nobody else does.
            let mut fields = wire[head].to_vec();
            if !matches!(ours, FetchItem::Object(_)) {
                fields.push(0);
            }
            let theirs = reader.read_object_header(&mut &fields[..]).unwrap();
            prop_assert_eq!(Location::new(theirs.group_id, theirs.object_id), ours.location());
            match ours {
                FetchItem::NonExistent(_) => prop_assert_eq!(theirs.header.end_of_range(), Some(EndOfRange::NonExistent)),
                FetchItem::Unknown(_) => prop_assert_eq!(theirs.header.end_of_range(), Some(EndOfRange::Unknown)),
                FetchItem::Object(object) => {
                    prop_assert_eq!(theirs.header.end_of_range(), None);
                    prop_assert_eq!(theirs.publisher_priority, object.priority);
                    let forwarding = theirs.subgroup_id.map_or(Forwarding::Datagram, Forwarding::Subgroup);
                    prop_assert_eq!(forwarding, object.forwarding);
                    prop_assert_eq!(theirs.header.is_datagram(), object.forwarding == Forwarding::Datagram);
                    prop_assert_eq!(&theirs.header.properties[..], &object.properties[..]);
                    prop_assert_eq!(theirs.header.payload_length.into_inner(), object.payload.len() as u64);
                }
            }
        }
    }

    #[test]
    fn a_stream_reads_the_same_in_any_pieces(
        stream in stream(), sizes in vec(1..30_usize, 1..8), order_comes_at in 0..10_usize,
    ) {
        let (mut rest, _) = write(&stream);
        let mut decoder = Decoder::new(1000);
        let mut items = Vec::new();
        for (turn, size) in sizes.iter().cycle().enumerate() {
            decoder.push(rest.split_to(rest.len().min(*size)));
            if turn == order_comes_at || rest.is_empty() {
                decoder.order(stream.order);
            }
            while let Some(item) = decoder.poll().unwrap() {
                items.push(item);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoder.request(), Ok(Some(stream.request)));
        prop_assert_eq!(items, stream.items);
        prop_assert_eq!(decoder.finish(), Ok(()));
        prop_assert_eq!(decoder.buffered_bytes(), 0);
    }

    /// Flags and fields at random: what both read, both read alike.
    #[test]
    fn we_read_every_combination_of_flags_they_read(
        parts in vec((0..=0x7F_u64, number(), number(), number(), any::<u8>(), of(properties())), 1..5),
        descending in any::<bool>(),
    ) {
        let put = |out: &mut Vec<u8>, value| roundtable_moqt::vi64::put(out, value);
        let mut wire = vec![0x05, 0x00];
        for (index, (flags, group, subgroup, object, priority, properties)) in parts.iter().enumerate() {
            let flags = if index == 0 { flags | 0x1C } else { *flags };
            put(&mut wire, flags);
            if flags & 0x08 != 0 { put(&mut wire, *group); }
            if flags & 0x43 == 0x03 { put(&mut wire, *subgroup); }
            if flags & 0x04 != 0 { put(&mut wire, *object); }
            if flags & 0x10 != 0 { wire.push(*priority); }
            if flags & 0x20 != 0 {
                let properties = properties.clone().unwrap_or_default();
                put(&mut wire, properties.len() as u64);
                wire.extend_from_slice(&properties);
            }
            put(&mut wire, 0);
        }
        let (order, their_order) = match descending {
            false => (GroupOrder::Ascending, TheirOrder::Ascending),
            true => (GroupOrder::Descending, TheirOrder::Descending),
        };
        let mut decoder = Decoder::new(1000);
        decoder.order(order);
        decoder.push(wire.clone().into());
        let mut reader = FetchObjectReader::new(their_order);
        let mut buf = &wire[2..];
        let mut last: Option<Location> = None;
        for _ in &parts {
            let theirs = reader.read_object_header(&mut buf);
            let Ok(theirs) = theirs else {
                prop_assert!(decoder.poll().is_err());
                return Ok(());
            };
            let location = Location::new(theirs.group_id, theirs.object_id);
            // They let an object stand twice, or a group's objects descend.
            if last.is_some_and(|last| last.group == location.group && last.object >= location.object) {
                prop_assert!(decoder.poll().is_err());
                return Ok(());
            }
            last = Some(location);
            let Ok(Some(FetchItem::Object(ours))) = decoder.poll() else { panic!("{location:?}") };
            prop_assert_eq!(ours.location, location);
            prop_assert_eq!(ours.priority, theirs.publisher_priority);
            prop_assert_eq!(ours.forwarding, theirs.subgroup_id.map_or(Forwarding::Datagram, Forwarding::Subgroup));
            prop_assert_eq!(&ours.properties[..], &theirs.header.properties[..]);
        }
        prop_assert_eq!(decoder.poll(), Ok(None));
    }
}
