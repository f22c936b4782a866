//! The ordered, searchable set of keys, each with a slot number.
//!
//! An index is a *fresh* tree that takes new keys, at most two *frozen* trees on their way to
//! become segments, and immutable *segments*.
//!
//! **Invariant: a key is alive in exactly one of these parts**, so counts add up. A key that is
//! set again after a delete is dead in its old segment and alive in the fresh tree.

use super::bloom::hash;
use super::dead::{Dead, Grave};
use super::job::{Job, JobResult, Outcome, Retired, Task};
use super::merge::{Input, Tree};
use super::page::{Page, Source, merge_page, tree_range};
use super::policy::{self, Lane};
use super::segment::Segment;
use crate::model::Filter;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys in the fresh tree before it is frozen. A suffix scan over so many takes about 14 µs.
pub(super) const FRESH_KEYS: usize = 4096;

/// Keys in the fresh tree past which every write waits. A suffix scan over so many takes 60 µs.
const FRESH_KEYS_MAX: usize = 16_384;

/// How many frozen trees there are at the most.
const FROZEN_MAX: usize = 2;

/// How many deletes that came during a merge are carried over in one step.
const JOURNAL_STEP: usize = 64;

/// For how many changes no job is handed out after one that panicked, so that a defect does not
/// keep a processor busy.
const COOLDOWN_CALLS: u32 = 10_000;

/// What a key of a tree takes on the heap besides its bytes: its share of a B-tree node.
const TREE_ENTRY_BYTES: usize = 40;

/// What a merge takes for each key while it runs, besides the keys themselves.
const MERGE_ENTRY_BYTES: usize = 24;

/// An ordered set of keys, searched by prefix, suffix and both.
#[derive(Debug, Default)]
pub struct KeyIndex {
    fresh: Tree,
    frozen: Vec<Frozen>,
    segments: Vec<Live>,
    jobs: Vec<Running>,
    last_id: u64,
    len: usize,
    /// Heap bytes of the fresh tree and of the frozen ones.
    fresh_bytes: usize,
    frozen_bytes: usize,
    /// Heap bytes of the segments, and of what running merges take.
    segment_bytes: usize,
    merging_bytes: usize,
    merges_failed: u64,
    /// Whether anything changed since there was no job to hand out.
    may_have_job: bool,
    /// For how many more calls no job is handed out, since one came to nothing.
    cooldown: u32,
}

/// A tree that takes no more keys.
#[derive(Debug)]
struct Frozen {
    keys: Arc<Tree>,
    bytes: usize,
    dead: BTreeSet<Box<[u8]>>,
    job: Option<u64>,
}

/// A segment in use.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) dead: Dead,
    /// The merge that reads it.
    pub(super) merge: Option<u64>,
    /// The fold of its graves.
    fold: Option<u64>,
}

/// A job that was handed out.
#[derive(Debug)]
struct Running {
    id: u64,
    kind: JobKind,
    /// Keys that were deleted from its inputs since it began.
    journal: Vec<Box<[u8]>>,
    /// What of the journal was carried over to its result.
    dead: Dead,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobKind {
    Freeze,
    Merge(Lane),
    Fold,
}

/// How much room the fresh tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// All writes may go on.
    Open,
    /// Writes in bulk should wait for a job to end; single writes may go on.
    Crowded,
    /// All writes that may add a key should wait for a job to end.
    Full,
}

/// What an index is made of at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Segments.
    pub segments: usize,
    /// Keys in the fresh and frozen trees.
    pub fresh_keys: usize,
    /// Deleted keys that segments still hold.
    pub dead_keys: usize,
    /// Merges under way.
    pub merges_running: usize,
    /// Merges that came to nothing, by a defect.
    pub merges_failed: u64,
}

impl std::ops::AddAssign for IndexStats {
    fn add_assign(&mut self, other: Self) {
        self.segments += other.segments;
        self.fresh_keys += other.fresh_keys;
        self.dead_keys += other.dead_keys;
        self.merges_running += other.merges_running;
        self.merges_failed += other.merges_failed;
    }
}

/// What became of an outcome.
pub enum Finish {
    /// It is in place; what it replaced is to be dropped.
    Done(Retired),
    /// Some deletes are still to be carried over: hand it in again.
    Again(Outcome),
}

impl KeyIndex {
    /// How many keys there are. O(1).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot of `key`. About 1 µs in a large index, 0.2 µs in a small one.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        if let Some(slot) = self.fresh.get(key) {
            return Some(*slot);
        }
        for frozen in &self.frozen {
            if let Some(slot) = frozen.keys.get(key)
                && !frozen.dead.contains(key)
            {
                return Some(*slot);
            }
        }
        if self.segments.is_empty() {
            return None;
        }
        let hash = hash(key);
        self.segments.iter().find_map(|live| {
            let rank = live.segment.find(key, hash)?;
            (!live.dead.contains(rank)).then(|| live.segment.slot(rank))
        })
    }

    /// Adds a key that is not in the index.
    pub fn insert(&mut self, key: &[u8], slot: u32) {
        let before = self.fresh.insert(key.into(), slot);
        debug_assert!(before.is_none(), "a key is added once");
        self.fresh_bytes += key.len() + TREE_ENTRY_BYTES;
        self.len += 1;
        if self.fresh.len() >= FRESH_KEYS && self.can_freeze() {
            self.freeze();
        }
    }

    /// Takes a key out and returns its slot. About 1 µs, and 3 µs more in a segment.
    pub fn remove(&mut self, key: &[u8]) -> Option<u32> {
        let slot = self.remove_from_parts(key)?;
        self.len -= 1;
        Some(slot)
    }

    /// How many keys match. O(log n) for each segment, exact, and without walking the matches.
    pub fn count(&self, filter: &Filter) -> usize {
        if filter.is_empty() {
            return self.len;
        }
        let frozen = self.frozen.iter().map(|frozen| {
            tree_range(&frozen.keys, filter, b"")
                .filter(|(key, _)| key.ends_with(&filter.suffix) && !frozen.dead.contains(*key))
                .count()
        });
        let segments = self.segments.iter().map(|live| {
            let ranks = live.segment.prefix_ranks(&filter.prefix);
            if ranks.is_empty() {
                return 0;
            }
            let reverse_ranks = live.segment.suffix_ranks(&filter.suffix);
            let all = live.segment.count(&ranks, &reverse_ranks);
            (all - live.dead.count(&ranks, &reverse_ranks)) as usize
        });
        let fresh = tree_range(&self.fresh, filter, b"")
            .filter(|(key, _)| key.ends_with(&filter.suffix))
            .count();
        fresh + frozen.sum::<usize>() + segments.sum::<usize>()
    }

    /// The matches above `after`, at most `limit` of them and within about 200 µs of work. A page
    /// may end early, even without a key: [`Page::resume`] says where to go on.
    pub fn page(&self, filter: &Filter, after: &[u8], limit: usize) -> Page {
        let mut sources = vec![Source::tree(&self.fresh, None, filter, after)];
        sources.extend(
            self.frozen
                .iter()
                .map(|frozen| Source::tree(&frozen.keys, Some(&frozen.dead), filter, after)),
        );
        sources.extend(
            self.segments
                .iter()
                .filter_map(|live| Source::segment(&live.segment, &live.dead, filter, after)),
        );
        merge_page(sources, limit)
    }

    /// Whether writes should wait for a job.
    pub fn room(&self) -> Room {
        if self.fresh.len() < FRESH_KEYS || self.frozen.len() < FROZEN_MAX {
            Room::Open
        } else if self.fresh.len() < FRESH_KEYS_MAX {
            Room::Crowded
        } else {
            Room::Full
        }
    }

    /// The next job that is worth doing, if any. Call until there is none, after any change.
    pub fn next_job(&mut self) -> Option<Job> {
        if !self.may_have_job {
            return None;
        }
        if self.cooldown > 0 {
            self.cooldown -= 1;
            return None;
        }
        let job = self
            .freeze_job()
            .or_else(|| self.merge_job())
            .or_else(|| self.fold_job());
        self.may_have_job = job.is_some();
        job
    }

    /// Puts the outcome of a job in place. Takes at most about 200 µs: where many keys were
    /// deleted from a merge's inputs meanwhile, they are carried over in several calls.
    pub fn finish(&mut self, outcome: Outcome) -> Finish {
        self.may_have_job = true;
        let at = self.jobs.iter().position(|job| job.id == outcome.id);
        let at = at.expect("an outcome belongs to a job of this index");
        match outcome.result {
            JobResult::Merged(ref segment) => {
                let job = &mut self.jobs[at];
                for _ in 0..JOURNAL_STEP {
                    let Some(key) = job.journal.pop() else { break };
                    let rank = segment.find(&key, hash(&key));
                    let rank = rank.expect("a key that was alive in an input is in the result");
                    let reverse_rank = segment.reverse_rank(&key);
                    job.dead.bury(Grave { rank, reverse_rank }, segment.len());
                }
                if !job.journal.is_empty() {
                    return Finish::Again(outcome);
                }
                let job = self.jobs.swap_remove(at);
                let segment = segment.clone();
                Finish::Done(self.swap(job, segment))
            }
            JobResult::Folded { index, graves } => {
                let job = self.jobs.swap_remove(at);
                // The segment may have been merged away meanwhile; then the fold is of no use.
                let folded = |live: &&mut Live| live.fold == Some(job.id);
                let live = self.segments.iter_mut().find(folded);
                let replaced = live.and_then(|live| {
                    live.fold = None;
                    live.dead.finish_fold(index, graves)
                });
                self.recount();
                Finish::Done(Retired(vec![Box::new(replaced)]))
            }
            JobResult::Panicked => {
                let job = self.jobs.swap_remove(at);
                self.release(&job);
                self.merges_failed += 1;
                self.cooldown = COOLDOWN_CALLS;
                Finish::Done(Retired::default())
            }
        }
    }

    /// Bytes on the heap, running merges included; trees are estimated.
    pub fn heap_bytes(&self) -> usize {
        self.fresh_bytes + self.frozen_bytes + self.segment_bytes + self.merging_bytes
    }

    /// What the index is made of.
    pub fn stats(&self) -> IndexStats {
        let frozen = self.frozen.iter().map(|frozen| frozen.keys.len());
        let dead = self.segments.iter().map(|live| live.dead.len() as usize);
        IndexStats {
            segments: self.segments.len(),
            fresh_keys: self.fresh.len() + frozen.sum::<usize>(),
            dead_keys: dead.sum(),
            merges_running: self
                .jobs
                .iter()
                .filter(|job| job.kind != JobKind::Fold)
                .count(),
            merges_failed: self.merges_failed,
        }
    }

    /// Freezes the fresh tree, whatever its size.
    pub(super) fn freeze(&mut self) {
        self.may_have_job = true;
        let bytes = std::mem::take(&mut self.fresh_bytes);
        self.frozen_bytes += bytes;
        self.frozen.push(Frozen {
            keys: Arc::new(std::mem::take(&mut self.fresh)),
            bytes,
            dead: BTreeSet::new(),
            job: None,
        });
    }

    /// Whether one more tree may be frozen.
    pub(super) fn can_freeze(&self) -> bool {
        !self.fresh.is_empty() && self.frozen.len() < FROZEN_MAX
    }

    fn remove_from_parts(&mut self, key: &[u8]) -> Option<u32> {
        if let Some(slot) = self.fresh.remove(key) {
            self.fresh_bytes -= key.len() + TREE_ENTRY_BYTES;
            return Some(slot);
        }
        for frozen in &mut self.frozen {
            if let Some(slot) = frozen.keys.get(key)
                && frozen.dead.insert(key.into())
            {
                let slot = *slot;
                note_in_journal(&mut self.jobs, frozen.job, key);
                return Some(slot);
            }
        }
        if self.segments.is_empty() {
            return None;
        }
        let hash = hash(key);
        for live in &mut self.segments {
            let Some(rank) = live.segment.find(key, hash) else {
                continue;
            };
            if !live.dead.contains(rank) {
                let slot = live.segment.slot(rank);
                let reverse_rank = live.segment.reverse_rank(key);
                self.may_have_job = true;
                live.dead
                    .bury(Grave { rank, reverse_rank }, live.segment.len());
                note_in_journal(&mut self.jobs, live.merge, key);
                return Some(slot);
            }
        }
        None
    }

    fn freeze_job(&mut self) -> Option<Job> {
        let at = self.frozen.iter().position(|frozen| frozen.job.is_none())?;
        let id = self.new_id();
        let frozen = &mut self.frozen[at];
        frozen.job = Some(id);
        let input = Input::Tree {
            keys: frozen.keys.clone(),
            dead: frozen.dead.clone(),
        };
        Some(self.start_merge(id, JobKind::Freeze, vec![input]))
    }

    fn merge_job(&mut self) -> Option<Job> {
        let is_free = |lane: Lane| self.jobs.iter().all(|job| job.kind != JobKind::Merge(lane));
        let (lane, parts) = policy::choose(&self.segments, is_free)?;
        let id = self.new_id();
        let mut inputs = Vec::new();
        for live in &mut self.segments {
            if parts.contains(&live.id) {
                live.merge = Some(id);
                inputs.push(Input::Segment {
                    segment: live.segment.clone(),
                    dead: live.dead.snapshot(),
                });
            }
        }
        Some(self.start_merge(id, JobKind::Merge(lane), inputs))
    }

    fn fold_job(&mut self) -> Option<Job> {
        let wanted = |live: &Live| live.dead.wants_fold() && live.fold.is_none();
        let at = self.segments.iter().position(wanted)?;
        let id = self.new_id();
        let live = &mut self.segments[at];
        live.fold = Some(id);
        let (before, graves) = live.dead.fold_input();
        self.jobs.push(Running {
            id,
            kind: JobKind::Fold,
            journal: Vec::new(),
            dead: Dead::default(),
            bytes: 0,
        });
        let task = Task::Fold { before, graves };
        Some(Job { id, task })
    }

    fn start_merge(&mut self, id: u64, kind: JobKind, inputs: Vec<Input>) -> Job {
        let key_bytes: usize = inputs.iter().map(Input::key_bytes).sum();
        let job = Job {
            id,
            task: Task::Merge(inputs),
        };
        let bytes = key_bytes + job.keys() * MERGE_ENTRY_BYTES;
        self.merging_bytes += bytes;
        self.jobs.push(Running {
            id,
            kind,
            journal: Vec::new(),
            dead: Dead::default(),
            bytes,
        });
        job
    }

    /// Puts a merge's result in the place of its inputs.
    fn swap(&mut self, job: Running, segment: Arc<Segment>) -> Retired {
        self.merging_bytes -= job.bytes;
        let mut retired: Vec<Box<dyn std::any::Any + Send>> = Vec::new();
        for frozen in self
            .frozen
            .extract_if(.., |frozen| frozen.job == Some(job.id))
        {
            self.frozen_bytes -= frozen.bytes;
            retired.push(Box::new(frozen.keys));
        }
        for live in self
            .segments
            .extract_if(.., |live| live.merge == Some(job.id))
        {
            retired.push(Box::new((live.segment, live.dead)));
        }
        let id = self.new_id();
        if job.dead.len() < segment.len() {
            self.segments.push(Live {
                id,
                segment,
                dead: job.dead,
                merge: None,
                fold: None,
            });
        } else {
            retired.push(Box::new(segment));
        }
        self.recount();
        Retired(retired)
    }

    /// Lets the parts of a job go that came to nothing.
    fn release(&mut self, job: &Running) {
        self.merging_bytes -= job.bytes;
        for frozen in &mut self.frozen {
            frozen.job.take_if(|id| *id == job.id);
        }
        for live in &mut self.segments {
            live.merge.take_if(|id| *id == job.id);
            live.fold.take_if(|id| *id == job.id);
        }
    }

    fn recount(&mut self) {
        let bytes = |live: &Live| live.segment.heap_bytes() + live.dead.heap_bytes();
        self.segment_bytes = self.segments.iter().map(bytes).sum();
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// Notes a delete for the merge that reads the key's part, if any.
fn note_in_journal(jobs: &mut [Running], id: Option<u64>, key: &[u8]) {
    for job in jobs.iter_mut().filter(|job| Some(job.id) == id) {
        job.journal.push(key.into());
    }
}
