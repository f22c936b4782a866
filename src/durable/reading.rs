//! What the log has, read by position while it is written.
//!
//! A file may go at any moment, once no checkpoint needs it: what it held is gone then, which whoever reads is
//! told. A name is never another file's later, since it is a position. What is read was written before: who
//! asks says up to where.

use super::frame::{self, Seal};
use super::index::LogIndex;
use super::segment::{self, HEAD_BYTES, SegmentHead};
use super::{Append, Files, Position};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The files of a log.
#[derive(Clone, Debug)]
pub struct LogFiles {
    /// How they are reached.
    pub files: Arc<dyn Files>,
    /// Where they are.
    pub directory: PathBuf,
    /// The store's id.
    pub store: [u8; 16],
    /// What is known of where their frames begin, by all who have these.
    pub(super) index: Arc<LogIndex>,
}

/// A place in them.
#[derive(Debug)]
pub struct LogReader {
    log: LogFiles,
    /// The file that is read, by its first position, and which start wrote it.
    first: Position,
    start: u64,
    /// Where in it the next frame is, and the position of that.
    pub(super) at: u64,
    position: Position,
    /// Up to where in it frames were noted.
    noted: u64,
}

/// What came of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRead {
    /// Turns one after the other, each with the position after it; none where there are none yet.
    Turns(Vec<(Position, Append)>),
    /// The next frame takes so many bytes, which is more than was to be read.
    Longer(usize),
    /// What comes next is not there any more.
    Gone,
}

impl LogFiles {
    /// Files of which nothing is known yet.
    pub fn new(files: Arc<dyn Files>, directory: PathBuf, store: [u8; 16]) -> Self {
        Self {
            files,
            directory,
            store,
            index: Arc::default(),
        }
    }

    /// Begins to read the records from a position on; `None` where they are not there any more. With a start of a
    /// process, the record before that position, if there is one, must be of this one or of one before.
    ///
    /// # Errors
    /// As the system has them.
    pub fn open(&self, from: Position, last_start: Option<u64>) -> io::Result<Option<LogReader>> {
        let last_start = last_start.filter(|_| from > Position(0));
        let names = self.files.list(&self.directory)?;
        let firsts = names.iter().filter_map(|name| segment::position(name));
        let first = firsts.filter(|first| match last_start {
            None => *first <= from,
            // Who wrote what is before is in the file that has it.
            Some(_) => *first < from,
        });
        let Some(first) = first.max() else {
            return Ok(None);
        };
        let mut reader = LogReader {
            log: self.clone(),
            first,
            start: 0,
            at: 0,
            position: first,
            noted: 0,
        };
        if !or_gone(reader.begin(first), false)? {
            return Ok(None);
        }
        reader.skip_to(from);
        let is_known = last_start.is_none_or(|last| reader.start <= last);
        Ok(is_known.then_some(reader))
    }
}

impl LogReader {
    /// Reads some turns that end behind one position and at another at the latest, up to which the log is known
    /// to be written. Up to so many bytes are read at a time.
    ///
    /// # Errors
    /// As the system has them.
    pub fn read(&mut self, from: Position, to: Position, bytes_max: usize) -> io::Result<LogRead> {
        or_gone(self.read_some(from, to, bytes_max), LogRead::Gone)
    }

    fn read_some(&mut self, from: Position, to: Position, bytes_max: usize) -> io::Result<LogRead> {
        let mut bytes = Vec::new();
        while self.position < to {
            let path = segment::path(&self.log.directory, self.first);
            let left = self.log.files.len(&path)?.saturating_sub(self.at);
            bytes.resize(
                usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max)),
                0,
            );
            self.log.files.read_into(&path, self.at, &mut bytes)?;
            let (turns, len) = self.take_turns(&bytes, from, to);
            if !turns.is_empty() {
                return Ok(LogRead::Turns(turns));
            }
            let is_longer = |len: &usize| *len > bytes.len() && *len as u64 <= left;
            if len > 0 {
                continue;
            } else if let Some(len) = frame::len(&bytes).filter(is_longer) {
                return Ok(LogRead::Longer(len));
            }
            // What was written goes on in the next file, which begins where this one ends.
            if self.first == self.position || !self.begin(self.position)? {
                return Ok(LogRead::Gone);
            }
        }
        Ok(LogRead::Turns(Vec::new()))
    }

    /// Goes past the frames that some bytes begin with, and returns how long these are and what of them is
    /// wanted.
    fn take_turns(
        &mut self,
        bytes: &[u8],
        from: Position,
        to: Position,
    ) -> (Vec<(Position, Append)>, usize) {
        let seal = Seal {
            store: self.log.store,
            start: self.start,
        };
        let (begin, mut at) = (self.at, 0);
        let mut turns = Vec::new();
        while self.position < to
            && let Some(frame) = frame::read_part(bytes, at, begin + at as u64, &seal)
            && frame.head.position == self.position
        {
            let place = (self.position, begin + at as u64);
            self.log.index.note(self.first, place, &mut self.noted);
            at += frame::HEAD_BYTES + frame.content.len();
            self.position = frame.head.end();
            // A mark has no records.
            if frame.head.records > 0 && self.position > from {
                let append = Append {
                    shard: frame.head.shard,
                    records: frame.head.records,
                    content: frame.content.to_vec(),
                };
                turns.push((self.position, append));
            }
        }
        self.at = begin + at as u64;
        (turns, at)
    }

    /// Begins a file, and says whether it is there.
    fn begin(&mut self, first: Position) -> io::Result<bool> {
        let path = segment::path(&self.log.directory, first);
        let mut head = [0; HEAD_BYTES];
        self.log.files.read_into(&path, 0, &mut head)?;
        let head = SegmentHead::read(&head, &self.log.store);
        let Some(head) = head.filter(|head| head.first == first) else {
            return Ok(false);
        };
        self.first = first;
        self.start = head.start;
        self.at = HEAD_BYTES as u64;
        self.position = first;
        self.noted = self.at;
        Ok(true)
    }

    /// Goes on with the last frame that is known of and is not behind a position, where that is further.
    fn skip_to(&mut self, position: Position) {
        if let Some((frame, at)) = self.log.index.find(self.first, position) {
            (self.position, self.at, self.noted) = (frame, at, at);
        }
    }
}

/// What came of reading files, of which one that is not there, or is cut, says that what it held is gone.
fn or_gone<T>(read: io::Result<T>, gone: T) -> io::Result<T> {
    use io::ErrorKind::{NotFound, UnexpectedEof};
    match read {
        Err(error) if matches!(error.kind(), NotFound | UnexpectedEof) => Ok(gone),
        read => read,
    }
}
