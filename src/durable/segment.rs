//! The files of the log.
//!
//! ```text
//! log/00000000000000000000.log
//! offset  bytes
//!      0      8  "kvlog 1\n"
//!      8      8  start: which start of a process wrote it
//!     16      8  position of its first record, which is its name as well
//!     24      8  checksum: XXH3 of what is before it and of the store's id
//!     32      n  frames, one after the other, then zeros
//! ```
//!
//! A process never writes to a file that it found. The head of the newest is also in `log.newest`, beside the
//! directory: else nothing would tell that the last file is missing.

use super::frame::{self, Frame, Seal};
use super::{Files, Position, RecoveryError};
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// The bytes of a file before its first frame.
pub const HEAD_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"kvlog 1\n";

/// How a file of the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// Which start of a process wrote it.
    pub start: u64,
    /// The position of its first record.
    pub first: Position,
}

impl SegmentHead {
    /// The bytes that a file begins with.
    pub fn write(&self, store: &[u8; 16]) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.start.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        let sum = sum(&bytes[..24], store);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// How a file begins; `None` where its beginning is none.
    pub fn read(file: &[u8], store: &[u8; 16]) -> Option<Self> {
        let head: &[u8; HEAD_BYTES] = file.first_chunk()?;
        let long = |at: usize| {
            let bytes = head[at..].first_chunk();
            u64::from_le_bytes(*bytes.expect("a head has all its fields"))
        };
        let is_ours = head.starts_with(MAGIC) && sum(&head[..24], store) == long(24);
        is_ours.then(|| Self {
            start: long(8),
            first: Position(long(16)),
        })
    }
}

/// The path of the file whose first record is at a position.
pub fn path(directory: &Path, first: Position) -> PathBuf {
    directory.join(format!("{:020}.log", first.0))
}

/// The position in the name of a file of the log; `None` where it is no such name.
pub fn position(name: &str) -> Option<Position> {
    let digits = name.strip_suffix(".log")?;
    let is_one = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_one.then(|| digits.parse().ok().map(Position)).flatten()
}

/// Notes which file is the newest, once it has its name.
///
/// # Errors
/// As the system has them.
pub fn note_newest(
    files: &dyn Files,
    directory: &Path,
    head: &SegmentHead,
    store: &[u8; 16],
) -> io::Result<()> {
    let (path, beside) = (
        newest_path(directory),
        directory.with_extension("newest.new"),
    );
    match files.remove(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = files.create(&beside, 0)?;
    file.write_at(&head.write(store), 0)?;
    file.sync()?;
    files.rename(&beside, &path)?;
    match directory.parent() {
        Some(above) => files.sync_directory(above),
        None => Ok(()),
    }
}

/// The head of the newest file, where there ever was one.
///
/// # Errors
/// Where what says so cannot be read, or is damaged.
pub fn newest(
    files: &dyn Files,
    directory: &Path,
    store: &[u8; 16],
) -> Result<Option<SegmentHead>, RecoveryError> {
    let path = newest_path(directory);
    match files.read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RecoveryError::Read(path, error)),
        Ok(bytes) => match SegmentHead::read(&bytes, store) {
            Some(head) if bytes.len() == HEAD_BYTES => Ok(Some(head)),
            Some(_) | None => Err(RecoveryError::Damaged {
                file: path,
                offset: 0,
                what: "it does not say which file of this log is the newest",
            }),
        },
    }
}

fn newest_path(directory: &Path) -> PathBuf {
    directory.with_extension("newest")
}

/// The frames of a file, from the first on.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    file: &'a [u8],
    /// Where the next is.
    at: usize,
    next: Position,
    seal: Seal,
}

impl<'a> Frames<'a> {
    /// The frames after a file's head.
    pub fn new(file: &'a [u8], head: &SegmentHead, store: [u8; 16]) -> Self {
        Self {
            file,
            at: HEAD_BYTES,
            next: head.first,
            seal: Seal {
                store,
                start: head.start,
            },
        }
    }

    /// Where the next frame is, or would be, in the file.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The position of the next record.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Goes on with the next whole frame behind what is none, where there is one of a later position.
    pub fn skip_damage(&mut self) -> bool {
        let end = used(self.file).max(self.at);
        for at in self.at..end {
            if let Some(frame) = frame::read(self.file, at, &self.seal)
                && frame.head.position >= self.next
            {
                self.at = at;
                self.next = frame.head.position;
                return true;
            }
        }
        false
    }

    /// The furthest position that any frame behind this place says was synced, however far behind: what
    /// tells damage from an end.
    pub fn synced_behind(&self) -> Option<Position> {
        // A file is mostly zeros after its end.
        let end = used(self.file).max(self.at);
        let places = self.at..end;
        let frames = places.filter_map(|at| frame::read(self.file, at, &self.seal));
        frames.map(|frame| frame.head.synced).max()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let frame = frame::read(self.file, self.at, &self.seal)?;
        if frame.head.position != self.next {
            return None;
        }
        self.at += frame::HEAD_BYTES + frame.content.len();
        self.next = frame.head.end();
        Some(frame)
    }
}

/// How many bytes there are up to the last that is not zero, and at most a page more. As fast as memory.
pub fn used(file: &[u8]) -> usize {
    const PAGE: usize = 4096;
    let mut pages = file.chunks(PAGE).enumerate().rev();
    let is_used = |page: &[u8]| page.iter().fold(0, |bits, byte| bits | byte) != 0;
    let last = pages.find(|(_, page)| is_used(page));
    last.map_or(0, |(at, page)| at * PAGE + page.len())
}

fn sum(head: &[u8], store: &[u8; 16]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(head);
    hasher.update(store);
    hasher.digest()
}
