//! Blocks: a track number, a time relative to the cluster, and one frame or a lace of them (RFC 9559 section 10).

use bytes::Bytes;

use super::ebml;
use crate::container::{error::ContainerError, fields::Fields, window::len_u64};

/// A block taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) track: u64,
    /// Ticks after the cluster's timestamp.
    pub(super) time: i16,
    /// Only means something in a SimpleBlock.
    pub(super) is_key: bool,
    /// In order; at least one.
    pub(super) frames: Vec<Bytes>,
}

/// A number with its marker, from fields.
fn vint(fields: &mut Fields) -> Result<(u64, usize), ContainerError> {
    let mut probe = fields.clone();
    let (value, len) = ebml::vint(&probe.rest()).ok_or(fields.malformed("a block is cut short"))?;
    let value = value.ok_or(fields.malformed("a block holds an unknown number"))?;
    fields.take(len)?;
    Ok((value, len))
}

/// Takes a block apart.
pub(super) fn parse(mut data: Fields) -> Result<Block, ContainerError> {
    let (track, _) = vint(&mut data)?;
    let time = data.i16()?;
    let flags = data.u8()?;
    let frames = match flags >> 1 & 3 {
        0 => vec![data.rest()],
        lacing => {
            let sizes = match lacing {
                1 => xiph_sizes(&mut data)?,
                3 => ebml_sizes(&mut data)?,
                _ => fixed_sizes(&mut data)?,
            };
            let mut frames = sizes.into_iter().map(|size| data.take(size)).collect::<Result<Vec<_>, _>>()?;
            frames.push(data.rest());
            frames
        }
    };
    Ok(Block { track, time, is_key: flags & 0x80 != 0, frames })
}

/// How many frames the lace has before its last.
fn count(data: &mut Fields) -> Result<usize, ContainerError> {
    Ok(usize::from(data.u8()?))
}

/// Sizes as sums of bytes, 255 meaning that another byte follows. The last frame has the rest.
fn xiph_sizes(data: &mut Fields) -> Result<Vec<usize>, ContainerError> {
    (0..count(data)?)
        .map(|_| {
            let mut size = 0;
            loop {
                let byte = data.u8()?;
                size += usize::from(byte);
                if byte < 255 {
                    return Ok(size);
                }
            }
        })
        .collect()
}

/// The first size as a number, the following as signed differences.
fn ebml_sizes(data: &mut Fields) -> Result<Vec<usize>, ContainerError> {
    let count = count(data)?;
    let mut sizes = Vec::with_capacity(count);
    let mut size = 0_i64;
    for index in 0..count {
        let (value, len) = vint(data)?;
        let value = i64::try_from(value).map_err(|_| data.malformed("a lace holds an impossible size"))?;
        // Differences are stored with half their range added.
        let bias = if index == 0 { 0 } else { (1_i64 << (7 * len - 1)) - 1 };
        size += value - bias;
        sizes.push(usize::try_from(size).map_err(|_| data.malformed("a lace holds a negative size"))?);
    }
    Ok(sizes)
}

/// All frames are equal.
fn fixed_sizes(data: &mut Fields) -> Result<Vec<usize>, ContainerError> {
    let count = count(data)?;
    let frames = len_u64(count) + 1;
    if !len_u64(data.len()).is_multiple_of(frames) {
        return Err(data.malformed("a lace of equal frames does not divide evenly"));
    }
    let size = data.len() / (count + 1);
    Ok(vec![size; count])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8]) -> Result<Vec<Vec<u8>>, ContainerError> {
        let block = parse(Fields::new(Bytes::copy_from_slice(bytes), 0))?;
        assert_eq!((block.track, block.time), (1, 2));
        Ok(block.frames.iter().map(|frame| frame.to_vec()).collect())
    }

    #[test]
    fn every_kind_of_lacing_comes_apart() {
        assert_eq!(frames(&[0x81, 0, 2, 0x80, 7, 8]).unwrap(), [vec![7, 8]]);
        let mut xiph = vec![0x81, 0, 2, 0x02, 2, 255, 1, 2];
        xiph.extend([1; 256]);
        xiph.extend([2, 2, 3]);
        assert_eq!(frames(&xiph).unwrap(), [vec![1; 256], vec![2; 2], vec![3]]);
        // 3, then 3 - 1, then the rest.
        assert_eq!(
            frames(&[0x81, 0, 2, 0x06, 2, 0x83, 0x80 | (63 - 1), 1, 1, 1, 2, 2, 3]).unwrap(),
            [vec![1; 3], vec![2; 2], vec![3]]
        );
        assert_eq!(frames(&[0x81, 0, 2, 0x04, 1, 1, 1, 2, 2]).unwrap(), [vec![1; 2], vec![2; 2]]);
    }

    #[test]
    fn a_lace_that_does_not_add_up_is_an_error() {
        assert!(frames(&[0x81, 0, 2, 0x04, 1, 1, 1, 2]).is_err());
        assert!(frames(&[0x81, 0, 2, 0x02, 1, 200, 1]).is_err());
        assert!(frames(&[0x81, 0, 2, 0x06, 2, 0x81, 0x80, 1]).is_err());
        assert!(frames(&[0x81, 0]).is_err());
    }
}
