//! `manifest.jsonl`: what the files of a folder are, one JSON object a line, appended as things happen.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// The manifest's name in its folder.
pub const FILE_NAME: &str = "manifest.jsonl";
/// Largest manifest that is read back, bytes.
const BYTES_MAX: u64 = 256 << 20;

/// One line. Times are Unix microseconds of the recorder's clock, which is the room's when the relay records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Line {
    /// A recorder has begun.
    Recording {
        /// Of this file format.
        version: u32,
        /// When.
        at_unix_us: i64,
    },
    /// A participant is there.
    Join {
        /// Who, as the network says.
        participant: String,
        /// When.
        at_unix_us: i64,
    },
    /// A participant is gone.
    Leave {
        /// Who, as the network says.
        participant: String,
        /// When.
        at_unix_us: i64,
    },
    /// A file begins: one epoch of one track.
    FileBegin {
        /// Name of the file in this folder.
        file: String,
        /// Whose track, as the network says.
        participant: String,
        /// Which track.
        track: String,
        /// Codec parameter string.
        codec: String,
        /// Ticks per second of every time stamp of this file in the manifest.
        timescale: u32,
        /// The publisher's time stamp at the file's time 0.
        zero_timestamp: i64,
        /// The publisher's Unix time of time stamp 0, if the publisher says: 0 for live capture.
        epoch_unix_us: Option<i64>,
        /// When the first frame arrived.
        first_arrived_unix_us: i64,
    },
    /// Frames are missing between two of the file.
    Gap {
        /// Which file.
        file: String,
        /// First location missing, `group.object`.
        start: String,
        /// First location after.
        end: String,
        /// Frames that are certainly missing.
        frames_at_least: u64,
        /// Time stamp of the last frame before, if there is one.
        after_timestamp: Option<i64>,
        /// What happened.
        reason: GapReason,
    },
    /// A file is finished.
    FileEnd {
        /// Which file.
        file: String,
        /// Why the epoch ended.
        reason: String,
        /// Frames in the file.
        frames_written: u64,
        /// Frames there would be without gaps, as far as is known.
        frames_expected: u64,
        /// Size.
        bytes: u64,
        /// Publisher's time stamps of the first and the last frame, in order of presentation.
        first_timestamp: Option<i64>,
        /// See above.
        last_timestamp: Option<i64>,
        /// Added to the publisher's Unix time, gives the recorder's: the smallest seen, so that it holds the
        /// difference of the clocks and the shortest way. Absent when the publisher's Unix time is unknown.
        clock_offset_us: Option<i64>,
        /// Frames that parity or redundancy gave back, objects fetched again: of the subscription so far.
        frames_from_parity: u64,
        /// See above.
        frames_from_redundancy: u64,
        /// See above.
        objects_fetched: u64,
    },
    /// A file whose recorder died has been made whole.
    FileRepaired {
        /// Which file.
        file: String,
        /// Frames in it.
        frames: u64,
        /// Size.
        bytes: u64,
    },
    /// A file whose recorder died stays as it is.
    RepairFailed {
        /// Which file.
        file: String,
        /// Why.
        message: String,
    },
    /// Something could not be written.
    Error {
        /// Which file, if it is about one.
        file: Option<String>,
        /// What.
        message: String,
    },
    /// The recorder has ended as it should.
    End {
        /// When.
        at_unix_us: i64,
    },
}

/// Why frames are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// They did not arrive, and nobody had them any more.
    Network,
    /// The disk was slower than the network.
    Disk,
    /// The container cannot hold them.
    Container,
}

/// The open manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    file: File,
}

impl Manifest {
    /// Opens the folder's manifest to append to it.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE_NAME);
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        // A line that was cut by the death of its writer is ended, so that the next one begins on its own.
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        Ok(Manifest { file })
    }

    /// Appends a line; on disk when this returns.
    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_data()
    }
}

/// The lines of a folder's manifest. Lines that are cut or of a newer version are left out.
pub fn read(folder: &Path) -> io::Result<Vec<Line>> {
    let file = match File::open(folder.join(FILE_NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_line_costs_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let join = |name: &str| Line::Join { participant: name.into(), at_unix_us: 5 };
        let mut manifest = Manifest::open(folder.path()).unwrap();
        manifest.write(&join("alice")).unwrap();
        manifest.file.write_all(br#"{"type":"leave","parti"#).unwrap();
        drop(manifest);
        Manifest::open(folder.path()).unwrap().write(&join("bob \"\n")).unwrap();
        assert_eq!(read(folder.path()).unwrap(), [join("alice"), join("bob \"\n")]);
    }
}
