//! What an object says about the video frame it belongs to: LOC's frame marking and our FRAGMENT, the only
//! properties of media a relay looks at (docs/wire.md, "Media datagrams").

use crate::pairs::{self, Value};

/// Video Frame Marking of LOC-04 (RFC 9626), and where the object stands in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// S: first data fragment of the frame.
    pub starts_frame: bool,
    /// E: last data fragment of the frame.
    pub ends_frame: bool,
    /// I: decodable without any other frame.
    pub is_independent: bool,
    /// D: no other frame depends on this one.
    pub is_discardable: bool,
    /// B: depends on the base layer only.
    pub depends_on_base_only: bool,
    /// TID: temporal layer, 0 is the base, at most 7.
    pub temporal_layer: u8,
    /// `None` when the object is a whole frame.
    pub fragment: Option<Fragment>,
}

/// FRAGMENT: which piece of which frame an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Number of the frame in its group, from 0.
    pub frame: u32,
    /// Block of the frame, each protected on its own.
    pub block: u16,
    /// Index in the block: data first, then parity.
    pub index: u16,
    /// Data fragments of the block.
    pub data: u16,
    /// Parity fragments of the block.
    pub parity: u16,
}

const FRAME_MARKING: u64 = 0x09;
const FRAGMENT: u64 = 0x3801;

impl Marks {
    /// The marks among an object's properties. `None` when it has no frame marking, or one that is wrong: then
    /// it is an object like any other.
    pub fn new(properties: &[u8]) -> Option<Self> {
        let mut marking = None;
        // The inner `None` is a FRAGMENT that makes no sense.
        let mut fragment = None;
        pairs::walk(properties, &mut |key, value| match (key, value) {
            (FRAME_MARKING, Value::Bytes(value)) => marking = value.first().copied(),
            (FRAGMENT, Value::Bytes(value)) => fragment = Some(Fragment::new(value)),
            _ => {}
        })?;
        let bits = marking?;
        let fragment = match fragment {
            Some(fragment) => Some(fragment?),
            None => None,
        };
        Some(Marks {
            starts_frame: bits & 0x80 != 0,
            ends_frame: bits & 0x40 != 0,
            is_independent: bits & 0x20 != 0,
            is_discardable: bits & 0x10 != 0,
            depends_on_base_only: bits & 0x08 != 0,
            temporal_layer: bits & 0x07,
            fragment,
        })
    }
}

impl Fragment {
    fn new(mut value: &[u8]) -> Option<Self> {
        let mut number = || pairs::take(&mut value);
        let fragment = Fragment {
            frame: number()?.try_into().ok()?,
            block: number()?.try_into().ok()?,
            index: number()?.try_into().ok()?,
            data: number()?.try_into().ok()?,
            parity: number()?.try_into().ok()?,
        };
        let count = fragment.data.checked_add(fragment.parity)?;
        (fragment.data > 0 && fragment.index < count).then_some(fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use roundtable_moqt::{properties::Writer, vi64};

    fn fragment(numbers: [u64; 6]) -> BytesMut {
        let mut bytes = BytesMut::new();
        numbers.into_iter().for_each(|number| vi64::put(&mut bytes, number));
        bytes
    }

    #[test]
    fn marking_and_fragment_are_read() {
        let mut writer = Writer::new();
        writer.bytes(0x09, &[0b1010_1010, 0, 0]).integer(0x10, 1);
        writer.bytes(0x3801, &fragment([7, 1, 4, 3, 2, 3000]));
        let marks = Marks::new(&writer.finish()).unwrap();
        assert_eq!(
            marks,
            Marks {
                starts_frame: true,
                ends_frame: false,
                is_independent: true,
                is_discardable: false,
                depends_on_base_only: true,
                temporal_layer: 2,
                fragment: Some(Fragment { frame: 7, block: 1, index: 4, data: 3, parity: 2 }),
            }
        );
    }

    #[test]
    fn marking_inside_the_immutable_properties_counts() {
        let mut inner = Writer::new();
        inner.bytes(0x09, &[0b1100_0001, 0, 0]);
        let mut writer = Writer::new();
        writer.bytes(0x0B, &inner.finish());
        assert_eq!(Marks::new(&writer.finish()).unwrap().temporal_layer, 1);
    }

    #[test]
    fn an_object_without_marking_or_with_nonsense_has_no_marks() {
        assert_eq!(Marks::new(&[]), None);
        let mut plain = Writer::new();
        plain.integer(0x10, 5);
        assert_eq!(Marks::new(&plain.finish()), None);
        for wrong in
            [[0, 0, 5, 3, 2, 1], [0, 0, 0, 0, 2, 1], [u64::MAX, 0, 0, 1, 0, 1], [0, 0, 0, 65535, 1, 1]]
        {
            let mut writer = Writer::new();
            writer.bytes(0x09, &[0x80, 0, 0]).bytes(0x3801, &fragment(wrong));
            assert_eq!(Marks::new(&writer.finish()), None, "{wrong:?}");
        }
        assert_eq!(Marks::new(&[0x09, 0x05, 0x80]), None, "cut short");
    }
}
