//! The decoders of `roundtable-moqt`: whatever comes, they end, and what they accept can be written and read again
//! as the same, however it is cut into pieces.

use bytes::{Buf, Bytes, BytesMut};
use roundtable_moqt::{
    ObjectDatagram,
    codec::{self, MessageContext},
    fetch_stream::{self, FetchItem},
    message::{GroupOrder, TrackAlias},
    properties::{self, Reader, Value, Writer},
    subgroup::{self, Item},
};

const OBJECT_BYTES_MAX: usize = 256;

/// Control messages; the first byte says where they come.
pub fn control(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let context = match first % 3 {
        0 => MessageContext::Control,
        1 => MessageContext::RequestFirst,
        _ => MessageContext::Request,
    };
    let mut buf = rest;
    loop {
        let before = buf;
        let decoded = codec::decode(&mut buf, context);
        let cut = usize::from(*first).min(before.len());
        let mut pieces = before[..cut].chain(&before[cut..]);
        assert_eq!(codec::decode(&mut pieces, context), decoded, "pieces make no difference");
        match decoded {
            Ok(Some(message)) => {
                let wire = codec::encode(&message).expect("what was read can be written");
                assert_eq!(codec::decode(&mut { wire }, context), Ok(Some(message)));
            }
            Ok(None) => return assert_eq!(buf.len(), before.len(), "nothing is taken"),
            Err(_) => return,
        }
    }
}

/// One datagram.
pub fn datagram(data: &[u8]) {
    let Ok(Some(datagram)) = ObjectDatagram::decode(Bytes::copy_from_slice(data)) else { return };
    let object = &datagram.object;
    let written = ObjectDatagram::encode(&[], datagram.alias, object);
    assert_eq!(written.len(), ObjectDatagram::encoded_len(datagram.alias, object));
    assert!(written.len() <= data.len(), "the smallest type is written");
    let forwarded = datagram.forward(&[7; 3], TrackAlias(300)).split_off(3);
    for (wire, alias) in [(written, datagram.alias), (forwarded, TrackAlias(300))] {
        let again = ObjectDatagram::decode(wire).expect("it is legal").expect("it is no padding");
        assert_eq!((again.alias, &again.object), (alias, object));
    }
}

/// A subgroup stream; the first byte says how it is cut.
pub fn subgroup(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = read_subgroup(stream, stream.len());
    assert_eq!(read_subgroup(stream, usize::from(*cut)), whole, "pieces make no difference");

    let mut out = BytesMut::new();
    let mut items = whole.0.iter();
    let Some(Item::Header(header)) = items.next() else { return };
    let mut encoder = subgroup::Encoder::new(header.clone(), &mut out);
    for item in items {
        let Item::Object(object) = item else { panic!("a second header") };
        let payload = encoder.object(object, &mut out).expect("what was read can be written");
        out.extend_from_slice(&payload);
    }
    assert_eq!(read_subgroup(&out, out.len()), (whole.0, true));
}

/// The items, and whether the stream may end there.
fn read_subgroup(stream: &[u8], piece_len: usize) -> (Vec<Item>, bool) {
    let mut decoder = subgroup::Decoder::new(OBJECT_BYTES_MAX);
    let mut items = Vec::new();
    for piece in stream.chunks(piece_len.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            assert!(decoder.buffered_bytes() <= stream.len());
            match decoder.poll() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return (items, false),
            }
        }
    }
    (items, decoder.finish().is_ok())
}

/// A FETCH stream; the first byte says how it is cut and in which order its groups come.
pub fn fetch(data: &[u8]) {
    let Some((cut, stream)) = data.split_first() else { return };
    let order = if cut & 1 == 0 { GroupOrder::Ascending } else { GroupOrder::Descending };
    let whole = read_fetch(stream, stream.len(), order);
    assert_eq!(read_fetch(stream, usize::from(cut / 2), order), whole, "pieces make no difference");

    let mut decoder = fetch_stream::Decoder::new(OBJECT_BYTES_MAX);
    decoder.push(Bytes::copy_from_slice(stream));
    let Ok(Some(request)) = decoder.request() else { return };
    let mut out = BytesMut::new();
    let mut encoder = fetch_stream::Encoder::new(request, order, &mut out);
    for item in &whole.0 {
        let payload = encoder.item(item, &mut out).expect("what was read can be written");
        out.extend_from_slice(&payload);
    }
    assert_eq!(read_fetch(&out, out.len(), order), (whole.0, true));
}

/// The items, and whether the stream may end there.
fn read_fetch(stream: &[u8], piece_len: usize, order: GroupOrder) -> (Vec<FetchItem>, bool) {
    let mut decoder = fetch_stream::Decoder::new(OBJECT_BYTES_MAX);
    decoder.order(order);
    let mut items = Vec::new();
    for piece in stream.chunks(piece_len.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece));
        loop {
            assert!(decoder.buffered_bytes() <= stream.len());
            match decoder.poll() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(_) => return (items, false),
            }
        }
    }
    (items, decoder.finish().is_ok())
}

/// Key-Value-Pairs.
pub fn properties(data: &[u8]) {
    let pairs: Result<Vec<_>, _> = Reader::new(Bytes::copy_from_slice(data)).collect();
    assert_eq!(properties::check(data).is_ok(), pairs.is_ok(), "both walk the same framing");
    assert!(properties::check_track(data).is_err() || pairs.is_ok());
    let Ok(pairs) = pairs else { return };
    let mut writer = Writer::new();
    for (key, value) in &pairs {
        match value {
            Value::Integer(number) => writer.integer(*key, *number),
            Value::Bytes(bytes) => writer.bytes(*key, bytes),
        };
    }
    let again: Result<Vec<_>, _> = Reader::new(writer.finish()).collect();
    assert_eq!(again, Ok(pairs));
}
