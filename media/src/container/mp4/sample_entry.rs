//! Sample descriptions (stsd): codec, size or sound, configuration.

use bytes::Bytes;

use super::boxes::{self, Kind};
use crate::{
    container::{codec_config, error::ContainerError, fields::Fields},
    format::{Codec, Shape},
};

/// What a sample description says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    pub(super) codec: Codec,
    pub(super) codec_string: String,
    pub(super) shape: Shape,
    pub(super) config: Bytes,
    pub(super) nal_length_bytes: usize,
    /// False while the first frame still has to say what the description did not.
    pub(super) is_settled: bool,
}

/// A track that is not delivered: its codec's name and why.
pub(super) type Refusal = (String, &'static str);

/// Reads the first entry of an stsd. A second one would be a change of format in the middle, which real files
/// do not have.
pub(super) fn parse(mut stsd: Fields) -> Result<Result<Description, Refusal>, ContainerError> {
    boxes::full(&mut stsd)?;
    stsd.u32()?;
    let Some(entry) = boxes::child(&mut stsd)? else { return Ok(Err(("?".into(), "it has no description"))) };
    let name: String = entry.kind.iter().map(|byte| char::from(*byte)).filter(|c| !c.is_control()).collect();
    Ok(describe(entry.kind, entry.data)?.map_err(|reason| (name, reason)))
}

fn describe(kind: Kind, mut data: Fields) -> Result<Result<Description, &'static str>, ContainerError> {
    let codec = match &kind {
        b"avc1" | b"avc3" => Codec::H264,
        b"av01" => Codec::Av1,
        b"vp08" => Codec::Vp8,
        b"vp09" => Codec::Vp9,
        b"Opus" => Codec::Opus,
        b"mp4a" => Codec::Aac,
        b"encv" | b"enca" => return Ok(Err("it is encrypted")),
        _ => return Ok(Err("its codec is not carried")),
    };
    data.take(8)?;
    let shape = if codec.is_video() { video(&mut data)? } else { audio(&mut data)? };
    let config = |kind: &Kind| boxes::find(&data, kind).map(|found| found.map(|mut data| data.rest()));
    let mut described = Description {
        codec,
        codec_string: String::new(),
        shape,
        config: Bytes::new(),
        nal_length_bytes: 4,
        is_settled: true,
    };
    let obstacle = match codec {
        Codec::H264 => {
            described.config = config(b"avcC")?.unwrap_or_default();
            codec_config::avc(&described.config)
                .map(|(string, nal_length)| {
                    (described.codec_string, described.nal_length_bytes) = (string, nal_length);
                })
                .ok_or("its avcC is missing or broken")
        }
        // Written before the first frame was encoded, both may be missing.
        Codec::Av1 => {
            described.config = config(b"av1C")?.unwrap_or_default();
            let string = codec_config::av1(&described.config);
            described.is_settled = string.is_some();
            described.codec_string = string.unwrap_or_else(|| codec_config::AV1_UNSETTLED.into());
            Ok(())
        }
        Codec::Vp9 => {
            let string = codec_config::vp9_mp4(&config(b"vpcC")?.unwrap_or_default());
            described.is_settled = string.is_some();
            described.codec_string = string.unwrap_or_else(|| codec_config::VP9_UNSETTLED.into());
            Ok(())
        }
        Codec::Vp8 => {
            described.codec_string = "vp8".into();
            Ok(())
        }
        Codec::Opus => codec_config::opus_from_dops(&config(b"dOps")?.unwrap_or_default())
            .and_then(|head| {
                let channels = u32::from(codec_config::opus(&head)?.channels);
                described.codec_string = "opus".into();
                described.shape = Shape::Audio { samplerate: 48_000, channels };
                described.config = head;
                Some(())
            })
            .ok_or("its dOps is missing or broken"),
        Codec::Aac => {
            let esds = match boxes::find(&data, b"esds")? {
                // QuickTime wraps it once more.
                None => boxes::find(&data, b"wave")?
                    .map(|wave| boxes::find(&wave, b"esds"))
                    .transpose()?
                    .flatten(),
                found => found,
            };
            match esds.map(audio_specific_config).transpose()?.flatten() {
                None => Err("it is not AAC, or its esds is missing or broken"),
                Some(config) => codec_config::aac(&config)
                    .map(|aac| {
                        let counted = match described.shape {
                            Shape::Audio { channels, .. } => channels,
                            Shape::Video { .. } => 2,
                        };
                        let channels = aac.channels.unwrap_or(counted);
                        described.shape = Shape::Audio { samplerate: aac.samplerate, channels };
                        described.codec_string = aac.codec_string;
                        described.config = config;
                    })
                    .ok_or("its AudioSpecificConfig is broken"),
            }
        }
    };
    Ok(obstacle.map(|()| described))
}

fn video(data: &mut Fields) -> Result<Shape, ContainerError> {
    data.take(16)?;
    let (width, height) = (u32::from(data.u16()?), u32::from(data.u16()?));
    data.take(50)?;
    Ok(Shape::Video { width, height, framerate: None })
}

fn audio(data: &mut Fields) -> Result<Shape, ContainerError> {
    let version = data.u16()?;
    data.take(6)?;
    let channels = u32::from(data.u16()?).max(1);
    data.take(6)?;
    let samplerate = (data.u32()? >> 16).max(1);
    // QuickTime's longer forms.
    data.take(match version {
        1 => 16,
        2 => 36,
        _ => 0,
    })?;
    Ok(Shape::Audio { samplerate, channels })
}

/// The AudioSpecificConfig inside the descriptors of an esds (ISO 14496-1 section 7.2.6); `None` when it is no
/// AAC.
fn audio_specific_config(mut esds: Fields) -> Result<Option<Bytes>, ContainerError> {
    const ES: u8 = 3;
    const DECODER: u8 = 4;
    const SPECIFIC: u8 = 5;
    const AAC_KINDS: [u8; 4] = [0x40, 0x66, 0x67, 0x68];
    boxes::full(&mut esds)?;
    while !esds.is_empty() {
        let tag = esds.u8()?;
        let mut length = 0_usize;
        for _ in 0..4 {
            let byte = esds.u8()?;
            length = length << 7 | usize::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                break;
            }
        }
        match tag {
            ES => {
                esds.u16()?;
                let flags = esds.u8()?;
                if flags & 0x80 != 0 {
                    esds.u16()?;
                }
                if flags & 0x40 != 0 {
                    let url = usize::from(esds.u8()?);
                    esds.take(url)?;
                }
                if flags & 0x20 != 0 {
                    esds.u16()?;
                }
            }
            DECODER => {
                if !AAC_KINDS.contains(&esds.u8()?) {
                    return Ok(None);
                }
                esds.take(12)?;
            }
            SPECIFIC => return Ok(Some(esds.take(length)?)),
            _ => {
                esds.take(length)?;
            }
        }
    }
    Ok(None)
}
