//! Earlier frames of sound inside later ones (docs/wire.md, AUDIO_REDUNDANCY), and how long a frame of sound is.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{
    format::{Codec, Format, Shape},
    loc::{REDUNDANT_FRAMES_MAX, RedundantFrame},
};

/// Samples of an Opus packet at 48 kHz (RFC 6716, 3.1); `None` for no packet.
pub fn opus_samples(packet: &[u8]) -> Option<u32> {
    let (toc, rest) = packet.split_first()?;
    let config = toc >> 3;
    let frame_samples = match config {
        0..=11 => [480, 960, 1920, 2880].get(usize::from(config % 4)).copied()?,
        12..=15 => [480, 960].get(usize::from(config % 2)).copied()?,
        _ => [120, 240, 480, 960].get(usize::from(config % 4)).copied()?,
    };
    let frames = match toc & 0x03 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frame_samples * frames;
    (1..=5760).contains(&samples).then_some(samples)
}

/// Length of frames of one track of sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLength {
    codec: Codec,
    samplerate: u32,
    timescale: u32,
}

impl FrameLength {
    /// For a track of this format; `None` for pictures.
    pub fn new(format: &Format) -> Option<Self> {
        match format.shape {
            Shape::Audio { samplerate, .. } => {
                Some(FrameLength { codec: format.codec, samplerate, timescale: format.timescale })
            }
            Shape::Video { .. } => None,
        }
    }

    /// Samples of a frame, and how many make a second.
    fn samples(&self, payload: &[u8]) -> Option<(u32, u32)> {
        match self.codec {
            Codec::Opus => opus_samples(payload).map(|samples| (samples, 48_000)),
            // AAC-LC; a frame of HE-AAC lasts as long at the core's rate, which is what the catalog carries.
            Codec::Aac => Some((1024, self.samplerate.max(1))),
            _ => None,
        }
    }

    /// Ticks of the track that these frames last together; `None` when one of them is no frame.
    pub fn ticks<'a>(&self, frames: impl IntoIterator<Item = &'a Bytes>) -> Option<u64> {
        let mut total = 0_u64;
        let mut rate = 48_000;
        for payload in frames {
            let (samples, samplerate) = self.samples(payload)?;
            total = total.saturating_add(u64::from(samples));
            rate = samplerate;
        }
        let rate = u64::from(rate);
        Some((total.saturating_mul(u64::from(self.timescale)) + rate / 2) / rate)
    }
}

/// A publisher's memory of its last frames.
#[derive(Debug, Clone, Default)]
pub struct History {
    frames: VecDeque<(u64, Bytes)>,
}

impl History {
    /// Nothing sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a frame sent as `group`.
    pub fn push(&mut self, group: u64, payload: Bytes) {
        self.frames.push_front((group, payload));
        self.frames.truncate(REDUNDANT_FRAMES_MAX);
    }

    /// Forgets everything: after a break in time, since a receiver counts time back from the carrying frame.
    pub fn clear(&mut self) {
        self.frames.clear();
    }

    /// The last `depth` frames before `group`, newest first, as far as they fit into `bytes_max` bytes of
    /// property. Stops at the first that does not fit.
    pub fn redundancy(&self, group: u64, depth: usize, bytes_max: usize) -> Vec<RedundantFrame> {
        let mut bytes_left = bytes_max;
        let mut chosen = Vec::new();
        for (earlier, payload) in self.frames.iter().take(depth) {
            let Some(groups_back) = group.checked_sub(*earlier).filter(|back| *back > 0) else { break };
            // Two integers and the frame.
            let cost = roundtable_moqt::vi64::len(groups_back)
                + roundtable_moqt::vi64::len(payload.len() as u64)
                + payload.len();
            let Some(left) = bytes_left.checked_sub(cost) else { break };
            bytes_left = left;
            chosen.push(RedundantFrame { groups_back, payload: payload.clone() });
        }
        chosen
    }
}

/// An earlier frame as a receiver gets it out of a later object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The group it was sent as.
    pub group: u64,
    /// Its presentation time, counted back from the carrying frame's by the lengths of the frames between.
    pub timestamp: u64,
    /// The frame.
    pub payload: Bytes,
}

/// The frames that an object of `group` with this timestamp carries besides its own. A frame is given only when
/// all between it and the carrier are there as well, or its time would be a guess.
pub fn recover<'a>(
    group: u64,
    timestamp: u64,
    redundancy: &'a [RedundantFrame],
    length: FrameLength,
) -> impl Iterator<Item = Recovered> + 'a {
    (0..redundancy.len()).map_while(move |at| {
        let frame = redundancy.get(at)?;
        if frame.groups_back != at as u64 + 1 {
            return None;
        }
        let ticks = length.ticks(redundancy.get(..=at)?.iter().map(|frame| &frame.payload))?;
        Some(Recovered {
            group: group.checked_sub(frame.groups_back)?,
            timestamp: timestamp.checked_sub(ticks)?,
            payload: frame.payload.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: FrameLength = FrameLength { codec: Codec::Opus, samplerate: 48_000, timescale: 1_000_000 };

    /// 20 ms of CELT, fullband.
    fn frame(number: u8) -> Bytes {
        Bytes::from(vec![0xf8, number, number])
    }

    #[test]
    fn the_length_of_an_opus_packet_stands_in_its_first_byte() {
        assert_eq!(opus_samples(&[0xf8]), Some(960));
        assert_eq!(opus_samples(&[0x18]), Some(2880));
        assert_eq!(opus_samples(&[0x79]), Some(1920));
        assert_eq!(opus_samples(&[0xe3, 0x04]), Some(480));
        assert_eq!(opus_samples(&[0xfb, 0x00]), None);
        assert_eq!(opus_samples(&[]), None);
    }

    #[test]
    fn earlier_frames_come_back_with_their_groups_and_times() {
        let mut history = History::new();
        for group in 10..14_u64 {
            history.push(group, frame(group as u8));
        }
        let redundancy = history.redundancy(14, 3, 1000);
        let recovered: Vec<_> = recover(14, 80_000, &redundancy, LENGTH).collect();
        assert_eq!(
            recovered,
            [(13, 60_000), (12, 40_000), (11, 20_000)].map(|(group, timestamp)| Recovered {
                group,
                timestamp,
                payload: frame(group as u8)
            })
        );
    }

    #[test]
    fn redundancy_stops_where_the_datagram_is_full_or_the_time_unsure() {
        let mut history = History::new();
        history.push(1, frame(1));
        history.push(2, Bytes::from(vec![0xf8; 900]));
        assert_eq!(history.redundancy(3, 4, 500), []);
        let hole = [RedundantFrame { groups_back: 2, payload: frame(1) }];
        assert_eq!(recover(3, 80_000, &hole, LENGTH).count(), 0);
        let before_zero = [RedundantFrame { groups_back: 1, payload: frame(1) }];
        assert_eq!(recover(3, 19_999, &before_zero, LENGTH).count(), 0);
    }
}
