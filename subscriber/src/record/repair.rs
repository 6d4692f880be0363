//! Makes files whole whose recorder died.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use roundtable_media::container::{ContainerError, Repair, mp4, webm};

use super::{
    file::apply_patches,
    manifest::{self, Line},
};

/// Why a file stays as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Container(#[from] ContainerError),
}

/// Files of the folder that were begun and never finished.
pub(super) fn unfinished(folder: &Path) -> io::Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for line in manifest::read(folder)? {
        match line {
            // The manifest may have been written by anybody: only names that this recorder makes are opened.
            Line::FileBegin { file, .. } if is_file_name(&file) => {
                files.insert(file);
            }
            Line::FileEnd { file, .. }
            | Line::FileRepaired { file, .. }
            | Line::RepairFailed { file, .. } => {
                files.remove(&file);
            }
            _ => {}
        }
    }
    Ok(files)
}

fn is_file_name(name: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"_-=.".contains(&byte);
    !name.starts_with('.') && name.len() < 200 && name.bytes().all(is_safe)
}

/// Repairs one file and says what is in it now.
pub(super) fn repair(folder: &Path, name: &str) -> Result<Line, RepairError> {
    let mut file = OpenOptions::new().read(true).write(true).open(folder.join(name))?;
    let repair = if name.ends_with(".mp4") { read_mp4(&mut file)? } else { read_webm(&mut file)? };
    file.set_len(repair.valid_bytes)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(&repair.finish.append)?;
    apply_patches(&mut file, &repair.finish)?;
    file.sync_all()?;
    let bytes = file.metadata()?.len();
    Ok(Line::FileRepaired { file: name.to_owned(), frames: repair.frames, bytes })
}

fn read_webm(file: &mut File) -> Result<Repair, RepairError> {
    let mut repairer = webm::Repairer::new();
    for_pieces(file, |piece| repairer.push(piece))?;
    Ok(repairer.finish()?)
}

fn read_mp4(file: &mut File) -> Result<Repair, RepairError> {
    let mut repairer = mp4::Repairer::new();
    for_pieces(file, |piece| repairer.push(piece))?;
    Ok(repairer.finish()?)
}

fn for_pieces(
    file: &mut File,
    mut push: impl FnMut(&[u8]) -> Result<(), ContainerError>,
) -> Result<(), RepairError> {
    let mut piece = vec![0; 256 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(()),
            len => push(piece.get(..len).unwrap_or_default())?,
        }
    }
}
