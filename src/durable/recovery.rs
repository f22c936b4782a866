//! What of the log is there, after whatever ended the process that wrote it.
//!
//! What was written since the last sync reaches the disk in any order, so behind a torn frame there may
//! be whole ones: that alone is no damage. A frame that is none is *damage* if anything proves that it
//! was synced: a frame behind it that says so, a later file, or a position that the caller knows to have
//! been synced. Otherwise it is the end of the log, and nothing behind it was ever acknowledged.
//!
//! Nothing is written until all was read. Then the end is cut and what is before it is synced: what a
//! process that was killed has written may still be in memory only, and must not go once more was written
//! after it.

use super::segment::{self, Frames, SegmentHead};
use super::{Files, Position};
use std::io;
use std::path::{Path, PathBuf};

/// Frames of the log, as they are found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The position of the first record.
    pub position: Position,
    /// How many records there are.
    pub records: u32,
    /// Whose they are.
    pub shard: u32,
    /// Their bytes.
    pub content: &'a [u8],
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The position after the last record.
    pub end: Position,
    /// Which start of a process the next is.
    pub start: u64,
    /// Where the end is: in which file, at which byte.
    last: Option<(PathBuf, u64)>,
    /// Bytes behind it that are to be cut, which were never acknowledged; 0 where they are zeros.
    pub torn_bytes: u64,
    /// How long all frames are that were needed, in bytes.
    pub bytes: u64,
}

/// Why a log is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// What was synced is not what is there.
    #[error(
        "{file} is damaged at byte {offset}: {what}; nothing was changed, restore a backup or see what \
         can be saved"
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file is not there that another names.
    #[error(
        "{0} is missing, which the checkpoint beside it names; nothing was changed, restore a backup or \
         see what can be saved"
    )]
    MissingFile(PathBuf),
    /// A file is not there.
    #[error(
        "the log's file with the record at position {} is missing in {directory}; nothing was changed, \
         restore a backup or see what can be saved", position.0
    )]
    Missing {
        /// Where it should be.
        directory: PathBuf,
        /// What it should hold.
        position: Position,
    },
}

/// Reads the log from a position on, which is the first that is needed. Up to `synced` the log is known
/// to have been on disk.
///
/// # Errors
/// Where what was synced is not there or not whole, or a file cannot be read. Nothing is changed.
pub fn recover(
    files: &dyn Files,
    directory: &Path,
    store: [u8; 16],
    from: Position,
    synced: Position,
    mut found: impl FnMut(Found<'_>) -> bool,
) -> Result<Recovered, RecoveryError> {
    let names = files.list(directory);
    let names = names.map_err(|error| RecoveryError::Read(directory.to_owned(), error))?;
    let mut firsts: Vec<Position> = names
        .iter()
        .filter_map(|name| segment::position(name))
        .collect();
    firsts.sort_unstable();
    // Those before hold nothing that is needed.
    let needed = firsts
        .partition_point(|first| *first <= from)
        .saturating_sub(1);
    let firsts = &firsts[needed..];
    let missing = |position| RecoveryError::Missing {
        directory: directory.to_owned(),
        position,
    };
    let mut recovered = Recovered {
        end: from,
        start: 1,
        last: None,
        torn_bytes: 0,
        bytes: 0,
    };
    match firsts.first() {
        None if from.max(synced) == Position(0) => return Ok(recovered),
        Some(first) if *first <= from => {}
        None | Some(_) => return Err(missing(from)),
    }
    for (at, first) in firsts.iter().enumerate() {
        let path = segment::path(directory, *first);
        let file = files.read(&path);
        let file = file.map_err(|error| RecoveryError::Read(path.clone(), error))?;
        let damaged = |offset: usize, what| RecoveryError::Damaged {
            file: path.clone(),
            offset: offset as u64,
            what,
        };
        let head = SegmentHead::read(&file, &store).filter(|head| head.first == *first);
        let head = head.ok_or_else(|| damaged(0, "it does not begin as a file of this log"))?;
        recovered.start = recovered.start.max(head.start + 1);
        let mut frames = Frames::new(&file, &head, store);
        loop {
            let offset = frames.at();
            let Some(frame) = frames.next() else { break };
            let is_needed = frame.head.end() > from;
            let frame = Found {
                position: frame.head.position,
                records: frame.head.records,
                shard: frame.head.shard,
                content: frame.content,
            };
            if is_needed {
                recovered.bytes += (frames.at() - offset) as u64;
            }
            if is_needed && !found(frame) {
                return Err(damaged(offset, "what the frame holds is no records"));
            }
        }
        recovered.end = frames.position();
        let rest = &file[frames.at().min(file.len())..];
        match firsts.get(at + 1) {
            Some(next) if *next > recovered.end => {
                return Err(match segment::used(rest) == 0 {
                    true => missing(recovered.end),
                    false => damaged(frames.at(), "a frame is not whole that was synced"),
                });
            }
            Some(next) if *next < recovered.end => {
                return Err(damaged(
                    frames.at(),
                    "it goes on past where the next file begins",
                ));
            }
            Some(_) => {}
            None => {
                let proved = frames.synced_behind().unwrap_or_default().max(synced);
                if proved > recovered.end {
                    return Err(damaged(frames.at(), "a frame is not whole that was synced"));
                }
                recovered.torn_bytes = segment::used(rest) as u64;
                recovered.last = Some((path, frames.at() as u64));
            }
        }
    }
    Ok(recovered)
}

/// Removes the files of the log all of whose records are before a position.
///
/// # Errors
/// As the system has them. What was removed until then is of no use to anybody.
pub fn trim(files: &dyn Files, directory: &Path, before: Position) -> io::Result<()> {
    let mut firsts: Vec<Position> = files
        .list(directory)?
        .iter()
        .filter_map(|name| segment::position(name))
        .collect();
    firsts.sort_unstable();
    // From the oldest on, so that no crash leaves a gap. One ends where the next begins.
    let ends = firsts.iter().skip(1);
    for (first, _) in firsts
        .iter()
        .zip(ends)
        .take_while(|(_, end)| **end <= before)
    {
        files.remove(&segment::path(directory, *first))?;
    }
    Ok(())
}

impl Recovered {
    /// Makes what was found last: cuts the end off that was never acknowledged, and syncs what is before
    /// it, and the names. To be done before anything is written after it.
    ///
    /// # Errors
    /// As the system has them.
    pub fn settle(&self, files: &dyn Files) -> io::Result<()> {
        let Some((path, at)) = &self.last else {
            return Ok(());
        };
        files.cut(path, *at)?;
        match path.parent() {
            Some(directory) => files.sync_directory(directory),
            None => Ok(()),
        }
    }
}
