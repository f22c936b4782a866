//! What was changed, in one order and with one position: the records that shards hand over at the end of
//! their turns, for whoever follows them.
//!
//! Where there is a log it is the first to take them, and they come here once they are as safe as answers
//! need. Without one they come at once. What came last is kept, up to a bound, while somebody follows and for a
//! while after the last has left, so that one who comes back can go on; else nothing is, and without a log
//! nothing is recorded, which costs a change one look at a number. Where there is a log, what is not kept is
//! read from its files while they are there.
//!
//! ```text
//! turns ─→ kept: start ─────────── end ─→ those who follow, each at a place of its own
//!          log:  oldest file ─ start  ─→ those who are further behind
//! ```

mod apart;
mod change;
mod following;
mod marks;
mod place;
#[cfg(test)]
mod tests;

pub use change::{Became, ChangeView, Happened};
pub use following::{FollowError, Following, Gone, Seen};
pub(in crate::store) use marks::{Attendance, Before, News, Share};
pub(in crate::store) use place::Mark;
pub use place::{NoPlace, Place};

use crate::durable::{Append, LogFiles, Position};
use apart::Apart;
use marks::Marks;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// For how long it is recorded though nobody follows any more.
const GRACE: Duration = Duration::from_secs(600);

/// What a turn's records take besides their bytes.
const TURN_BYTES: usize = 96;

/// The stream of a store.
#[derive(Debug)]
pub(super) struct Stream {
    /// What is kept, at the most, in bytes, but for the last turn.
    bytes_max: usize,
    grace: Duration,
    origin: OnceLock<Origin>,
    kept: Mutex<Kept>,
    /// Up to where records are here.
    end: watch::Sender<Position>,
    /// The number of the [`Recording`], from 1 on; 0 while there is none.
    recording: AtomicU64,
    /// What is kept, as counted in `kept`, without its lock.
    bytes: AtomicUsize,
    /// Where those who follow wait for the disk.
    apart: Apart,
    /// Whether places have a mark, as `kept` has it.
    has_marks: AtomicBool,
}

/// Whose changes these are, and where those are that are not kept any more.
#[derive(Debug)]
pub(super) struct Origin {
    /// Tells the changes of this store from all others.
    pub(super) incarnation: u64,
    /// Which start of a process this is; 0 without a log.
    pub(super) start: u64,
    /// The position of the first change of this process.
    pub(super) first: Position,
    /// Where the changes are that are not kept, if anywhere.
    pub(super) log: Option<LogFiles>,
}

/// A stretch in which all that changes is recorded. What was recorded in one is never put together with what
/// was in another, since there may be changes between them that nobody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recording(u64);

/// What of the stream is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangesStats {
    /// Bytes.
    pub bytes: usize,
    /// How long ago the oldest of it came.
    pub oldest_age: Duration,
}

#[derive(Debug, Default)]
struct Kept {
    turns: VecDeque<Turn>,
    bytes: usize,
    /// The position before the first of them, and after the last.
    start: Position,
    end: Position,
    followers: usize,
    /// When the last of them left, while it is recorded all the same.
    left: Option<Instant>,
    /// How many recordings there were.
    recordings: u64,
    /// How far those are who tell of an engine's changes, where that has them.
    marks: Option<Marks>,
}

#[derive(Debug)]
struct Turn {
    /// The position after it.
    end: Position,
    came: Instant,
    append: Arc<Append>,
    /// Where it begins in the order of an engine.
    mark: Option<Mark>,
}

impl Stream {
    /// The stream of a store of which it is to be said yet whose changes these are.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            grace: GRACE,
            origin: OnceLock::new(),
            kept: Mutex::default(),
            end: watch::Sender::new(Position(0)),
            recording: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            apart: Apart::default(),
            has_marks: AtomicBool::new(false),
        }
    }

    /// Says whose changes these are, before there are any. Only what is said first counts.
    pub(super) fn begin(&self, origin: Origin) {
        let mut kept = self.lock();
        kept.start = origin.first;
        kept.end = origin.first;
        self.end.send_replace(origin.first);
        self.origin.get_or_init(|| origin);
    }

    /// The recording under way, if there is one.
    pub(super) fn recording(&self) -> Option<Recording> {
        match self.recording.load(Ordering::Acquire) {
            0 => None,
            number => Some(Recording(number)),
        }
    }

    /// Takes records that no log has taken, and gives them their position. Those of a recording that has ended
    /// are of no use to anybody.
    pub(super) fn append(&self, append: Append, recording: Recording) {
        let mut kept = self.lock();
        if self.recording() != Some(recording) {
            return;
        }
        let end = Position(kept.end.0 + u64::from(append.records));
        self.keep(&mut kept, end, append);
        self.end_if_left(&mut kept);
    }

    /// Takes records that the log has taken, which has told of all up to a position.
    pub(super) fn pass(&self, end: Position, turns: Vec<Append>) {
        let mut kept = self.lock();
        if self.recording().is_none() {
            kept.start = end;
            kept.end = end;
            return;
        }
        let records: u64 = turns.iter().map(|turn| u64::from(turn.records)).sum();
        let mut at = end.0 - records;
        for turn in turns {
            at += u64::from(turn.records);
            self.keep(&mut kept, Position(at), turn);
        }
        self.end_if_left(&mut kept);
    }

    /// What is kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What is kept.
    pub(super) fn stats(&self) -> ChangesStats {
        let mut kept = self.lock();
        self.end_if_left(&mut kept);
        let oldest = kept.turns.front();
        ChangesStats {
            bytes: kept.bytes,
            oldest_age: oldest.map_or(Duration::ZERO, |turn| turn.came.elapsed()),
        }
    }

    /// Counts one more who follows: from here on all is recorded.
    fn join(&self, kept: &mut Kept) {
        kept.followers += 1;
        kept.left = None;
        if self.recording().is_none() {
            if let Some(marks) = &mut kept.marks {
                marks.forget();
            }
            kept.recordings += 1;
            self.recording.store(kept.recordings, Ordering::Release);
        }
    }

    /// Counts one less.
    fn leave(&self) {
        let mut kept = self.lock();
        kept.followers -= 1;
        if kept.followers == 0 {
            kept.left = Some(Instant::now());
        }
    }

    /// Ends the recording where nobody has followed for long.
    fn end_if_left(&self, kept: &mut Kept) {
        if kept.left.is_none_or(|left| left.elapsed() < self.grace) {
            return;
        }
        self.recording.store(0, Ordering::Release);
        kept.left = None;
        kept.turns = VecDeque::new();
        self.count(kept, 0);
        if self.log().is_none() {
            // What is changed now has no position, and nobody may go on behind it as if nothing had been.
            kept.end.0 += 1;
            self.end.send_replace(kept.end);
        }
        kept.start = kept.end;
    }

    fn keep(&self, kept: &mut Kept, end: Position, append: Append) {
        let mut bytes = kept.bytes + turn_bytes(&append);
        let mark = kept.marks.as_ref().and_then(Marks::mark);
        kept.end = end;
        kept.turns.push_back(Turn {
            end,
            came: Instant::now(),
            append: Arc::new(append),
            mark,
        });
        // The last stays, whatever it takes: else nobody would get a value over the bound.
        while bytes > self.bytes_max
            && kept.turns.len() > 1
            && let Some(turn) = kept.turns.pop_front()
        {
            bytes -= turn_bytes(&turn.append);
            kept.start = turn.end;
        }
        self.count(kept, bytes);
        self.end.send_replace(end);
    }

    fn count(&self, kept: &mut Kept, bytes: usize) {
        kept.bytes = bytes;
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn log(&self) -> Option<&LogFiles> {
        self.origin.get()?.log.as_ref()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn turn_bytes(append: &Append) -> usize {
    append.content.capacity() + TURN_BYTES
}
