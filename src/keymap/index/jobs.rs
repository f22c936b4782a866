//! How keys move between the parts of an index: the jobs it hands out, and what it does with their
//! outcomes.

use super::{FREEZES_MAX, KeyIndex};
use crate::keymap::dead::Dead;
use crate::keymap::job::{Job, JobResult, Outcome, Retired, Task};
use crate::keymap::live::{Live, carry_over};
use crate::keymap::merge::{Input, is_trained, working_bytes};
use crate::keymap::policy::{self, Lane};
use crate::keymap::segment::Segment;
use crate::keymap::tree::Frozen;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How many deletes that came during a merge are carried over with the swap, not by a job.
const JOURNAL_STEP: usize = 64;

/// What a key in a journal takes besides its bytes.
const JOURNAL_ENTRY_BYTES: usize = 32;

/// A job that was handed out.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) kind: JobKind,
    /// Keys that were deleted from its inputs since it began, and are not carried over yet.
    journal: Vec<Box<[u8]>>,
    keys: usize,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobKind {
    Freeze,
    Merge(Lane),
    Fold,
    Drop,
}

impl Running {
    fn new(id: u64, kind: JobKind) -> Self {
        Self {
            id,
            kind,
            journal: Vec::new(),
            keys: 0,
            bytes: 0,
        }
    }

    /// Whether it makes a segment.
    pub(super) fn is_merge(&self) -> bool {
        match self.kind {
            JobKind::Freeze | JobKind::Merge(_) => true,
            JobKind::Fold | JobKind::Drop => false,
        }
    }
}

/// What became of an outcome.
pub enum Finish {
    /// It is in place; what it replaced is to be dropped.
    Done(Retired),
    /// Many keys were deleted meanwhile, which is to be carried over: do this job, and hand in
    /// its outcome.
    Again(Job),
}

impl KeyIndex {
    /// The next job that is worth doing, if any. Call until there is none, after any change.
    pub fn next_job(&mut self) -> Option<Job> {
        if !*self.may_have_job.get_mut() {
            return None;
        }
        let job = self
            .drop_job()
            .or_else(|| self.freeze_job())
            .or_else(|| self.merge_job())
            .or_else(|| self.fold_job());
        *self.may_have_job.get_mut() = job.is_some();
        job
    }

    /// Puts the outcome of a job in place. Takes at most about 200 µs: where many keys were
    /// deleted from a merge's inputs meanwhile, another job carries them over first.
    pub fn finish(&mut self, outcome: Outcome) -> Finish {
        *self.may_have_job.get_mut() = true;
        self.jobs_ended += 1;
        let at = self.jobs.iter().position(|job| job.id == outcome.id);
        let at = at.expect("an outcome belongs to a job of this index");
        match outcome.result {
            JobResult::Merged { segment, mut dead } => {
                let job = &mut self.jobs[at];
                self.merged_for += outcome.took;
                let mut keys = std::mem::take(&mut job.journal);
                if keys.len() > JOURNAL_STEP {
                    let task = Task::CarryOver {
                        segment,
                        dead,
                        keys,
                        lane: outcome.lane,
                    };
                    let id = job.id;
                    return Finish::Again(Job { id, task });
                }
                let carried = catch_unwind(AssertUnwindSafe(|| {
                    keys.drain(..)
                        .for_each(|key| carry_over(&segment, &mut dead, &key));
                }));
                if carried.is_err() {
                    let job = self.jobs.swap_remove(at);
                    self.give_up(&job);
                    return Finish::Done(Retired(vec![Box::new(segment)]));
                }
                let job = self.jobs.swap_remove(at);
                self.merged_keys += job.keys as u64;
                Finish::Done(self.swap(job, segment, dead))
            }
            JobResult::Folded { index } => {
                let job = self.jobs.swap_remove(at);
                // The segment may have been merged away meanwhile; then the fold is of no use.
                let folded = |live: &&mut Live| live.fold == Some(job.id);
                let live = self.segments.iter_mut().find(folded);
                let replaced = live.and_then(|live| {
                    live.fold = None;
                    live.dead.finish_fold(index)
                });
                self.recount();
                Finish::Done(Retired(vec![Box::new(replaced)]))
            }
            JobResult::Dropped => {
                self.jobs.swap_remove(at);
                Finish::Done(Retired::default())
            }
            JobResult::Failed(_) => {
                let job = self.jobs.swap_remove(at);
                self.give_up(&job);
                Finish::Done(Retired::default())
            }
        }
    }

    /// Takes out the segments all of whose keys are dead and that no merge reads.
    fn drop_job(&mut self) -> Option<Job> {
        let is_void =
            |live: &mut Live| live.merge.is_none() && live.dead.len() == live.segment.len();
        let void: Vec<Live> = self.segments.extract_if(.., is_void).collect();
        if void.is_empty() {
            return None;
        }
        self.recount();
        let id = self.new_id();
        self.jobs.push(Running::new(id, JobKind::Drop));
        let retired = void
            .into_iter()
            .map(|live| Box::new(live) as Box<dyn Any + Send>);
        let task = Task::Drop(Retired(retired.collect()));
        Some(Job { id, task })
    }

    fn freeze_job(&mut self) -> Option<Job> {
        let is_waiting = |frozen: &Frozen| frozen.job.is_none() && frozen.failures < FREEZES_MAX;
        let at = self.frozen.iter().position(is_waiting)?;
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
        let (lane, parts) = policy::choose(&self.segments, self.jobs_ended, is_free)?;
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
        let ended = self.jobs_ended;
        let wanted =
            |live: &Live| live.dead.wants_fold() && live.fold.is_none() && live.may_try(ended);
        let at = self.segments.iter().position(wanted)?;
        let id = self.new_id();
        let live = &mut self.segments[at];
        live.fold = Some(id);
        let (before, graves) = live.dead.fold_input();
        self.jobs.push(Running::new(id, JobKind::Fold));
        let task = Task::Fold { before, graves };
        Some(Job { id, task })
    }

    fn start_merge(&mut self, id: u64, kind: JobKind, inputs: Vec<Input>) -> Job {
        let key_bytes: usize = inputs.iter().map(Input::key_bytes).sum();
        let result_bytes: usize = inputs.iter().map(Input::heap_bytes).sum();
        let job = Job {
            id,
            task: Task::Merge {
                inputs,
                symbols: self.symbols.clone(),
                seed: self.seed,
            },
        };
        let bytes = result_bytes + working_bytes(job.keys(), key_bytes);
        self.merging_bytes += bytes;
        self.jobs.push(Running {
            keys: job.keys(),
            bytes,
            ..Running::new(id, kind)
        });
        job
    }

    /// Puts a merge's result in the place of its inputs.
    fn swap(&mut self, job: Running, segment: Arc<Segment>, dead: Dead) -> Retired {
        self.merging_bytes -= job.bytes;
        if is_trained(segment.len()) {
            self.symbols = segment.symbols().cloned();
        }
        let mut retired: Vec<Box<dyn Any + Send>> = Vec::new();
        for frozen in self
            .frozen
            .extract_if(.., |frozen| frozen.job == Some(job.id))
        {
            self.frozen_bytes -= frozen.bytes;
            retired.push(Box::new(frozen));
        }
        for live in self
            .segments
            .extract_if(.., |live| live.merge == Some(job.id))
        {
            retired.push(Box::new((live.segment, live.dead)));
        }
        let id = self.new_id();
        if dead.len() < segment.len() {
            // The largest first: it has most of the keys that are looked for.
            let is_larger = |live: &Live| live.segment.len() > segment.len();
            let at = self.segments.partition_point(is_larger);
            let live = Live::new(id, segment, dead);
            self.segments.insert(at, live);
        } else {
            retired.push(Box::new(segment));
        }
        self.recount();
        Retired(retired)
    }

    /// Lets the parts of a job go that came to nothing. They stay in use and are tried again.
    fn give_up(&mut self, job: &Running) {
        self.merges_failed += 1;
        self.merging_bytes -= job.bytes;
        for frozen in &mut self.frozen {
            if frozen.job.take_if(|id| *id == job.id).is_some() {
                frozen.failures += 1;
            }
        }
        for live in &mut self.segments {
            let merge = live.merge.take_if(|id| *id == job.id);
            let fold = live.fold.take_if(|id| *id == job.id);
            if fold.is_some() {
                live.dead.give_up_fold();
            }
            if merge.or(fold).is_some() {
                live.failed(self.jobs_ended);
            }
        }
        self.recount();
    }
}

/// Notes a delete for the merge that reads the key's part, if any. Returns what that takes, in bytes.
pub(super) fn note_in_journal(jobs: &mut [Running], id: Option<u64>, key: &[u8]) -> usize {
    let Some(job) = jobs.iter_mut().find(|job| Some(job.id) == id) else {
        return 0;
    };
    job.journal.push(key.into());
    let bytes = key.len() + JOURNAL_ENTRY_BYTES;
    job.bytes += bytes;
    bytes
}
