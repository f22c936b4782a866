//! What of a shard is not on disk yet, and who waits for it.
//!
//! Changes are gathered in batches, of a turn each. Whoever asked for a change, and whoever read what it
//! made, is answered once its batch is on disk: nobody sees what a crash takes back.
//!
//! ```text
//! batches:  handed over ── handed over ── open
//!           answers        answers        answers, records
//!              ▲ Reached: all up to a position are answered
//! ```

use super::super::journal::Journal;
use super::super::turn::Asker;
use crate::durable::{Append, Position, write_expired, write_removed, write_set};
use crate::model::{Changed, Fetched, Filter, Key, Revision, Value};
use crate::store::StoreError;
use crate::store::message::{Found, FoundGroups};
use crate::store::stream::Recording;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// A batch is handed over before its turn's end once it has so many bytes.
pub(super) const BATCH_BYTES: usize = 256 * 1024;

/// So many keys are compared with a filter; where there are more, a search waits for all.
const LOOKS_MAX: usize = 1024;

/// So many changes are let go in a step, which takes some 50 µs.
const STEP: usize = 1024;

/// Records of changes that were made and not handed over.
#[derive(Debug, Default)]
pub(super) struct TurnRecords {
    count: u32,
    content: Vec<u8>,
    /// To which recording they belong, where no log takes them.
    recording: Recording,
}

/// What is not on disk yet.
#[derive(Debug)]
pub(super) struct Unsynced {
    shard: u32,
    journal: Arc<Journal>,
    /// Of each key that has changed, by its hash, the number of the batch of its last change. Where two
    /// keys have one hash, a read waits without need.
    last: HashMap<u64, u64>,
    /// What was handed over, the oldest first.
    sent: VecDeque<Batch>,
    /// What was not yet.
    open: Batch,
    /// The number of `open`.
    number: u64,
}

/// Changes that reach the disk together.
#[derive(Debug, Default)]
struct Batch {
    /// The position after them, once they were handed over.
    end: Position,
    records: TurnRecords,
    /// The hashes of their keys.
    hashes: Vec<u64>,
    /// The keys that came or went with them.
    moved: Vec<Key>,
    answers: Vec<Answer>,
}

/// An answer that waits for the disk.
pub(super) enum Answer {
    Get(
        Asker<Result<Option<Value>, StoreError>>,
        Result<Option<Value>, StoreError>,
    ),
    GetMany(
        Asker<Result<Vec<Fetched>, StoreError>>,
        Result<Vec<Fetched>, StoreError>,
    ),
    Change(
        Asker<Result<Changed, StoreError>>,
        Result<Changed, StoreError>,
    ),
    Search(Asker<Result<Found, StoreError>>, Result<Found, StoreError>),
    Group(
        Asker<Result<FoundGroups, StoreError>>,
        Result<FoundGroups, StoreError>,
    ),
}

/// What answers wait for: the number of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wait(u64);

/// A place among records, to go back to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    count: u32,
    bytes: usize,
    recording: Recording,
}

impl TurnRecords {
    /// Where they end.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            count: self.count,
            bytes: self.content.len(),
            recording: self.recording,
        }
    }

    /// Takes back what was written since: the change was not made.
    pub(super) fn undo(&mut self, mark: Mark) {
        // All of a recording that began after it was written since.
        let mark = match mark.recording == self.recording {
            true => mark,
            false => Mark::default(),
        };
        self.count = mark.count;
        self.content.truncate(mark.bytes);
    }

    /// The records of a recording, if there is one: those of another are of no use any more.
    pub(super) fn within(&mut self, recording: Option<Recording>) -> Option<&mut Self> {
        let recording = recording?;
        if self.recording != recording {
            *self = Self {
                recording,
                ..Self::default()
            };
        }
        Some(self)
    }

    /// How many bytes they are.
    pub(super) fn bytes(&self) -> usize {
        self.content.len()
    }

    /// Writes the record of a change that is about to be made.
    pub(super) fn write_set(&mut self, key: &Key, value: &Value) {
        write_set(key, value, &mut self.content);
        self.count += 1;
    }

    /// As [`write_set`](Self::write_set), of the end of a key's value.
    pub(super) fn write_expired(&mut self, key: &[u8], revision: Revision) {
        write_expired(key, revision, &mut self.content);
        self.count += 1;
    }

    /// As [`write_set`](Self::write_set), of a removal.
    pub(super) fn write_removed(&mut self, key: &Key, revision: Revision) {
        write_removed(key, revision, &mut self.content);
        self.count += 1;
    }

    /// What there is, to be handed over; nothing where there is none.
    pub(super) fn take(&mut self, shard: u32) -> Option<Append> {
        let Self { count, content, .. } = std::mem::take(self);
        (count > 0).then_some(Append {
            shard,
            records: count,
            content,
        })
    }

    /// The same, and the recording to which they belong.
    pub(super) fn take_recorded(&mut self, shard: u32) -> Option<(Append, Recording)> {
        let recording = self.recording;
        Some((self.take(shard)?, recording))
    }
}

impl Unsynced {
    pub(super) fn new(shard: usize, journal: Arc<Journal>) -> Self {
        Self {
            shard: u32::try_from(shard).expect("there are 1024 shards at the most"),
            journal,
            last: HashMap::new(),
            sent: VecDeque::new(),
            open: Batch::default(),
            number: 0,
        }
    }

    pub(super) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Where changes are recorded.
    pub(super) fn records(&mut self) -> &mut TurnRecords {
        &mut self.open.records
    }

    /// Notes a change that was made.
    pub(super) fn note(&mut self, key: &Key, changed: Changed) {
        match changed {
            Changed::Created(_) | Changed::Deleted(_) => self.note_moved(key),
            Changed::Updated(_) | Changed::Kept(_) => self.note_changed(key),
            Changed::Absent | Changed::Unmet(_) => {}
        }
    }

    /// Notes a change by which searches may find another key more or less.
    pub(super) fn note_moved(&mut self, key: &Key) {
        self.open.moved.push(key.clone());
        self.note_changed(key);
    }

    fn note_changed(&mut self, key: &Key) {
        let hash = xxh3_64(key.as_bytes());
        self.last.insert(hash, self.number);
        self.open.hashes.push(hash);
    }

    /// What the state of a key waits for.
    pub(super) fn of_key(&self, key: &Key) -> Option<Wait> {
        // Most often nothing waits, and nothing is to be looked up.
        if self.last.is_empty() {
            return None;
        }
        self.last.get(&xxh3_64(key.as_bytes())).copied().map(Wait)
    }

    /// What the states of many keys wait for: the latest of what each does.
    pub(super) fn of_keys(&self, keys: &[Key]) -> Option<Wait> {
        keys.iter().filter_map(|key| self.of_key(key)).max()
    }

    /// What the keys that match a filter wait for.
    pub(super) fn of_filter(&self, filter: &Filter) -> Option<Wait> {
        let mut looks = 0;
        let batches = std::iter::once(&self.open).chain(self.sent.iter().rev());
        for (batch, number) in batches.zip((0..=self.number).rev()) {
            for key in &batch.moved {
                looks += 1;
                if looks > LOOKS_MAX || matches(filter, key) {
                    return Some(Wait(number));
                }
            }
        }
        None
    }

    /// Has an answer wait.
    pub(super) fn wait(&mut self, wait: Wait, answer: Answer) {
        let back = self.number - wait.0;
        let batch = match usize::try_from(back) {
            Ok(0) => Some(&mut self.open),
            Ok(back) => {
                let at = self.sent.len().checked_sub(back);
                at.and_then(|at| self.sent.get_mut(at))
            }
            Err(_) => None,
        };
        match batch {
            Some(batch) => batch.answers.push(answer),
            None => answer.give(),
        }
    }

    /// Whether the open batch is to be handed over though its turn goes on.
    pub(super) fn is_large(&self) -> bool {
        self.open.records.bytes() >= BATCH_BYTES
    }

    /// Hands the open batch over.
    pub(super) fn hand_over(&mut self) {
        let Some(append) = self.open.records.take(self.shard) else {
            debug_assert!(self.open.answers.is_empty(), "answers wait for records");
            return;
        };
        let mut batch = std::mem::take(&mut self.open);
        batch.end = self.journal.append(append);
        self.sent.push_back(batch);
        self.number += 1;
    }

    /// Gives the answers that wait for nothing past a position, and says whether there may be more: a
    /// step is bounded.
    pub(super) fn reached(&mut self, position: Position) -> bool {
        let mut left = STEP;
        while let Some(batch) = self.sent.front_mut().filter(|batch| batch.end <= position) {
            // Answers are first: they are fewer, and somebody waits for them.
            let answers = batch.answers.len();
            for answer in batch.answers.drain(..) {
                answer.give();
            }
            let number = self.number - self.sent.len() as u64;
            let Some(batch) = self.sent.front_mut() else {
                break;
            };
            let some = batch.hashes.len().saturating_sub(left);
            left = left.saturating_sub(answers + batch.hashes.len() - some);
            for hash in batch.hashes.drain(some..) {
                if self.last.get(&hash) == Some(&number) {
                    self.last.remove(&hash);
                }
            }
            if !batch.hashes.is_empty() {
                return true;
            }
            self.sent.pop_front();
            if left == 0 {
                return self.sent.front().is_some_and(|batch| batch.end <= position);
            }
        }
        false
    }

    /// Says to all who wait that nobody knows.
    pub(super) fn fail(&mut self) {
        let open = std::iter::once(&mut self.open);
        for batch in self.sent.iter_mut().chain(open) {
            for answer in batch.answers.drain(..) {
                answer.fail();
            }
        }
    }
}

impl Answer {
    fn give(self) {
        match self {
            Self::Get(asker, answer) => asker.answer(answer),
            Self::GetMany(asker, answer) => asker.answer(answer),
            Self::Change(asker, answer) => asker.answer(answer),
            Self::Search(asker, answer) => asker.answer(answer),
            Self::Group(asker, answer) => asker.answer(answer),
        }
    }

    fn fail(self) {
        match self {
            Self::Get(asker, _) => asker.answer(Err(StoreError::DiskFailed)),
            Self::GetMany(asker, _) => asker.answer(Err(StoreError::DiskFailed)),
            Self::Change(asker, _) => asker.answer(Err(StoreError::DiskFailed)),
            Self::Search(asker, _) => asker.answer(Err(StoreError::DiskFailed)),
            Self::Group(asker, _) => asker.answer(Err(StoreError::DiskFailed)),
        }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Get(..) => "Get",
            Self::GetMany(..) => "GetMany",
            Self::Change(..) => "Change",
            Self::Search(..) => "Search",
            Self::Group(..) => "Group",
        })
    }
}

fn matches(filter: &Filter, key: &Key) -> bool {
    let key = key.as_bytes();
    key.starts_with(&filter.prefix) && key.ends_with(&filter.suffix)
}
