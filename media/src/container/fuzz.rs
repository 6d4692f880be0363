//! What the fuzzers call: anything may come in, nothing may panic, hang or grow.

use super::{Demuxer, Source, Step, mp4, webm};

/// Reads `data` as a pipe in pieces and as a file; the first byte says how large the pieces are.
pub fn fuzz_demux(data: &[u8]) {
    let (piece, data) = data.split_first().map_or((1, data), |(first, rest)| (usize::from(*first) + 1, rest));
    let mut demuxer = Demuxer::new(Source::Pipe);
    let mut pieces = data.chunks(piece);
    while let Ok(step) = demuxer.poll() {
        match (step, pieces.clone().next()) {
            (Step::End, _) => break,
            (Step::Need { .. }, None) => demuxer.finish(),
            (Step::Need { .. }, Some(piece)) => {
                pieces.next();
                demuxer.push(piece);
            }
            _ => {}
        }
    }
    let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let mut demuxer = Demuxer::new(Source::File { bytes });
    let mut budget = 100_000;
    while let Ok(step) = demuxer.poll() {
        budget -= 1;
        match step {
            Step::End => break,
            // A file may name the same bytes over and over.
            _ if budget == 0 => break,
            Step::Need { offset, .. } => {
                let rest =
                    usize::try_from(offset).ok().and_then(|offset| data.get(offset..)).unwrap_or_default();
                match rest.get(..piece.min(rest.len())) {
                    Some(bytes) if !bytes.is_empty() => demuxer.push(bytes),
                    _ => demuxer.finish(),
                }
            }
            _ => {}
        }
    }
    let mut repairer = webm::Repairer::new();
    let _ = data.chunks(piece).try_for_each(|piece| repairer.push(piece)).and_then(|()| repairer.finish());
    let mut repairer = mp4::Repairer::new();
    let _ = data.chunks(piece).try_for_each(|piece| repairer.push(piece)).and_then(|()| repairer.finish());
}
