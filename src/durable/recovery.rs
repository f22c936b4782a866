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
use super::{Files, Position, RecoveryError};
use std::io;
use std::ops::Range;
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
    /// Which start wrote the first of what is needed.
    pub first_start: u64,
    /// Where the end is: in which file, at which byte.
    last: Option<(PathBuf, u64)>,
    /// Bytes behind it that are to be cut, which were never acknowledged; 0 where they are zeros.
    pub torn_bytes: u64,
    /// How long all frames are that were needed, in bytes.
    pub bytes: u64,
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
    let newest = segment::newest(files, directory, &store)?;
    if let Some(newest) = newest
        && !firsts.contains(&newest.first)
    {
        return Err(RecoveryError::Missing {
            directory: directory.to_owned(),
            position: newest.first,
        });
    }
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
        start: newest.map_or(1, |newest| newest.start + 1),
        first_start: u64::MAX,
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
        recovered.first_start = recovered.first_start.min(head.start);
        let mut frames = Frames::new(&file, &head, store);
        loop {
            let offset = frames.at();
            let Some(frame) = frames.next() else { break };
            // A mark has no records.
            let is_needed = frame.head.records > 0 && frame.head.end() > from;
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

/// What of a log is there, whole or not.
#[derive(Debug, Default)]
pub struct LogInspection {
    /// Files that are needed.
    pub files: u64,
    /// How long all their whole frames are, in bytes.
    pub bytes: u64,
    /// Bytes of a torn end, none of which was acknowledged.
    pub torn_bytes: u64,
    /// What is not as it was written.
    pub damage: Vec<RecoveryError>,
    /// The positions of records that are missing.
    pub missing: Vec<Range<Position>>,
}

/// Reads all of a log that is whole, from the start of a range on, up to whose end it is known to have
/// been synced. Goes on behind damage, and changes nothing.
pub fn inspect(
    files: &dyn Files,
    directory: &Path,
    store: [u8; 16],
    known: Range<Position>,
    mut found: impl FnMut(Found<'_>) -> bool,
) -> LogInspection {
    let mut inspection = LogInspection::default();
    let names = match files.list(directory) {
        Ok(names) => names,
        Err(error) => {
            let unread = RecoveryError::Read(directory.to_owned(), error);
            inspection.damage.push(unread);
            return inspection;
        }
    };
    let mut firsts: Vec<Position> = names
        .iter()
        .filter_map(|name| segment::position(name))
        .collect();
    firsts.sort_unstable();
    let needed = firsts
        .partition_point(|first| *first <= known.start)
        .saturating_sub(1);
    let firsts = &firsts[needed..];
    let mut next = known.start;
    for (at, first) in firsts.iter().enumerate() {
        inspection.skip_to(*first, &mut next, directory);
        inspection.files += 1;
        let path = segment::path(directory, *first);
        let follows = firsts.get(at + 1).copied();
        let read = inspection.read_file(files, &path, *first, store, &mut next, &mut found);
        let Some(end) = read else { continue };
        let is_proved = follows.is_some_and(|follows| follows > next)
            || end.synced.max(known.end) > next && follows.is_none();
        if is_proved && end.used > 0 {
            inspection.damage.push(RecoveryError::Damaged {
                file: path,
                offset: end.at,
                what: "a frame is not whole that was synced",
            });
        } else if follows.is_none() {
            inspection.torn_bytes = end.used;
        }
    }
    inspection.skip_to(known.end, &mut next, directory);
    match segment::newest(files, directory, &store) {
        Err(error) => inspection.damage.push(error),
        Ok(Some(newest)) if firsts.last().is_none_or(|last| *last < newest.first) => {
            inspection.damage.push(RecoveryError::Missing {
                directory: directory.to_owned(),
                position: newest.first,
            });
        }
        Ok(_) => {}
    }
    inspection
}

/// How a file of the log ends.
struct FileEnd {
    /// Where its last whole frame ends.
    at: u64,
    /// How many bytes behind that are no zeros, about.
    used: u64,
    /// Up to where frames behind it say that the log was synced.
    synced: Position,
}

impl LogInspection {
    /// Notes the records that are missing before a position.
    fn skip_to(&mut self, position: Position, next: &mut Position, directory: &Path) {
        if position > *next {
            self.missing.push(*next..position);
            if self.damage.is_empty() {
                self.damage.push(RecoveryError::Missing {
                    directory: directory.to_owned(),
                    position: *next,
                });
            }
            *next = position;
        }
    }

    /// Reads the whole frames of a file, and says how it ends; nothing where none of it can be read.
    fn read_file(
        &mut self,
        files: &dyn Files,
        path: &Path,
        first: Position,
        store: [u8; 16],
        next: &mut Position,
        found: &mut impl FnMut(Found<'_>) -> bool,
    ) -> Option<FileEnd> {
        let file = files.read(path);
        let file = file
            .map_err(|error| {
                self.damage
                    .push(RecoveryError::Read(path.to_owned(), error))
            })
            .ok()?;
        let damaged = |offset: usize, what| RecoveryError::Damaged {
            file: path.to_owned(),
            offset: offset as u64,
            what,
        };
        let head = SegmentHead::read(&file, &store).filter(|head| head.first == first);
        let Some(head) = head else {
            let what = "it does not begin as a file of this log";
            self.damage.push(damaged(0, what));
            return None;
        };
        let mut frames = Frames::new(&file, &head, store);
        loop {
            let at = frames.at();
            if let Some(frame) = frames.next() {
                self.bytes += (frames.at() - at) as u64;
                let is_whole = frame.head.end() <= *next
                    || found(Found {
                        position: frame.head.position,
                        records: frame.head.records,
                        shard: frame.head.shard,
                        content: frame.content,
                    });
                if !is_whole {
                    let what = "what the frame holds is no records";
                    self.damage.push(damaged(at, what));
                }
                *next = (*next).max(frame.head.end());
                continue;
            }
            let end = FileEnd {
                at: at as u64,
                used: segment::used(&file[at.min(file.len())..]) as u64,
                synced: frames.synced_behind().unwrap_or_default(),
            };
            // What follows the end of a log was never acknowledged.
            if end.synced <= *next || !frames.skip_damage() {
                return Some(end);
            }
            self.damage
                .push(damaged(at, "a frame is not whole that was synced"));
            let position = frames.position();
            if position > *next {
                self.missing.push(*next..position);
                *next = position;
            }
        }
    }
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
