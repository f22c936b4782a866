//! How keys move between the parts of an index: the jobs it hands out, and what it does with their
//! outcomes.

use super::{FREEZE_TIMES, FREEZES_MAX, KeyIndex};
use crate::keymap::dead::{Dead, DeadBits};
use crate::keymap::job::{Job, JobResult, Outcome, Retired, Task};
use crate::keymap::live::{DeadRanks, Deaths, Live};
use crate::keymap::merge::{Input, MergeSize, is_trained};
use crate::keymap::policy::{self, Lane, MergeRoom};
use crate::keymap::segment::Segment;
use crate::keymap::tree::Frozen;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many deletes that came during a merge are carried over with the swap, not by a job.
const CARRIED_MAX: usize = 64;

/// What the job takes for each delete that it carries over: its grave, folded, and what that takes.
const CARRIED_BYTES: usize = 40;

/// What a key in a journal takes besides its bytes.
const JOURNAL_ENTRY_BYTES: usize = 32;

/// A job that was handed out.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) kind: JobKind,
    /// Keys that were deleted from its tree since it began, and are not carried over yet. A tree is small.
    journal: Vec<Box<[u8]>>,
    /// What of its segments, by id, was dead when it began, and what is carried over.
    carried: Vec<(u64, DeadBits)>,
    keys: usize,
    bytes: usize,
}

/// What a job replaced.
#[derive(Debug)]
pub(super) struct Replaced {
    retired: Retired,
    bytes: usize,
    /// Where it is dropped.
    lane: Lane,
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
            carried: Vec::new(),
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
    /// It is in place; the next job drops what it replaced.
    Done,
    /// Many keys were deleted meanwhile, which is to be carried over: do this job, and hand in
    /// its outcome.
    Again(Job),
}

impl KeyIndex {
    /// The next job that is worth doing, if any. Call until there is none, after any change.
    pub fn next_job(&mut self) -> Option<Job> {
        self.next_job_within(MergeRoom::UNBOUNDED)
    }

    /// The same, but for jobs that there is no room for. Freezes and what gives memory back need none.
    pub fn next_job_within(&mut self, room: MergeRoom) -> Option<Job> {
        if !self.may_have_job() {
            return None;
        }
        let job = self
            .drop_job()
            .or_else(|| self.freeze_job())
            .or_else(|| self.merge_job(room))
            .or_else(|| self.fold_job(room));
        self.looked(job.is_some(), room);
        job
    }

    /// Whether [`next_job_within`](Self::next_job_within) has one. It changes nothing but that it is not looked again
    /// before there may be one.
    pub fn wants_job(&mut self, room: MergeRoom) -> bool {
        if !self.may_have_job() {
            return false;
        }
        let wants = !self.replaced.is_empty()
            || self.segments.iter().any(is_void)
            || self.frozen.iter().any(is_waiting)
            || self.mergeable(room).is_some()
            || self.foldable(room).is_some();
        self.looked(wants, room);
        wants
    }

    /// Notes whether a job was found with so much room.
    fn looked(&mut self, is_found: bool, room: MergeRoom) {
        *self.may_have_job.get_mut() = is_found;
        if !is_found {
            self.is_short_of_room = self.rewriting_bytes > room.now.min(room.most);
        }
    }

    /// Whether it is worth asking for a job.
    pub fn may_have_job(&self) -> bool {
        self.may_have_job.load(Ordering::Relaxed)
    }

    /// Has it looked again for jobs where there may have been some that there was no room for. Whether there may.
    pub fn look_again(&mut self) -> bool {
        *self.may_have_job.get_mut() |= self.is_short_of_room;
        self.is_short_of_room
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
                self.merged_for += outcome.took;
                let deaths = self.deaths(at);
                let lane = outcome.lane;
                if deaths.len() > CARRIED_MAX {
                    let job = &mut self.jobs[at];
                    let bytes = deaths.len() * CARRIED_BYTES;
                    job.bytes += bytes;
                    self.merging_bytes += bytes;
                    let task = Task::CarryOver {
                        segment,
                        dead,
                        deaths,
                        lane,
                    };
                    let id = job.id;
                    return Finish::Again(Job { id, task });
                }
                let carried = catch_unwind(AssertUnwindSafe(|| {
                    deaths.carry_over(&segment, &mut dead, |_| ());
                }));
                let job = self.end(at);
                if carried.is_err() {
                    self.give_up(&job);
                    let bytes = segment.heap_bytes().total();
                    self.retire(vec![Box::new(segment)], bytes, lane);
                    return Finish::Done;
                }
                self.merged_keys += job.keys as u64;
                self.swap(job.id, segment, dead, lane);
                Finish::Done
            }
            JobResult::Folded { index } => {
                let job = self.end(at);
                let folded = |live: &&mut Live| live.fold == Some(job.id);
                let unneeded = match self.segments.iter_mut().find(folded) {
                    Some(live) => {
                        live.fold = None;
                        live.dead.finish_fold(index)
                    }
                    // The segment was merged away meanwhile.
                    None => Some(index),
                };
                if let Some(unneeded) = unneeded {
                    let bytes = unneeded.heap_bytes();
                    self.retire(vec![Box::new(unneeded)], bytes, outcome.lane);
                }
                self.recount();
                Finish::Done
            }
            JobResult::Dropped => {
                self.end(at);
                Finish::Done
            }
            JobResult::Failed(_) => {
                let job = self.end(at);
                self.give_up(&job);
                Finish::Done
            }
        }
    }

    /// Takes a job out that has come to its end, with what it took.
    fn end(&mut self, at: usize) -> Running {
        let job = self.jobs.swap_remove(at);
        self.merging_bytes -= job.bytes;
        job
    }

    /// What died in the inputs of a merge since that was asked last. O(1) for each piece of the dead that changed.
    fn deaths(&mut self, at: usize) -> Deaths {
        let Running {
            id,
            journal,
            carried,
            ..
        } = &mut self.jobs[at];
        let mut ranks = Vec::new();
        for live in self.segments.iter().filter(|live| live.merge == Some(*id)) {
            let before = carried.iter_mut().find(|(id, _)| *id == live.id);
            let (_, before) = before.expect("what was dead is noted of each input");
            if live.dead.len() > before.len() {
                let now = live.dead.snapshot();
                ranks.push(DeadRanks {
                    segment: live.segment.clone(),
                    before: std::mem::replace(before, now.clone()),
                    now,
                });
            }
        }
        let keys = std::mem::take(journal);
        Deaths { keys, ranks }
    }

    /// Has a job drop what nothing needs any more, since one of a lane replaced it. It counts until that is done.
    fn retire(&mut self, parts: Vec<Box<dyn Any + Send + Sync>>, bytes: usize, lane: Lane) {
        self.merging_bytes += bytes;
        self.replaced.push(Replaced {
            retired: Retired(parts),
            bytes,
            lane: lane.for_drops(),
        });
    }

    /// Drops what was replaced, and the segments all of whose keys are dead and that no merge reads.
    fn drop_job(&mut self) -> Option<Job> {
        let is_void = |live: &mut Live| is_void(live);
        let void: Vec<Live> = self.segments.extract_if(.., is_void).collect();
        if !void.is_empty() {
            let bytes = void.iter().map(Live::heap_bytes).sum();
            let parts = void
                .into_iter()
                .map(|live| Box::new(live) as Box<dyn Any + Send + Sync>);
            self.retire(parts.collect(), bytes, Lane::Small);
            self.recount();
        }
        let Replaced {
            retired,
            bytes,
            lane,
        } = self.replaced.pop()?;
        let id = self.new_id();
        self.jobs.push(Running {
            bytes,
            ..Running::new(id, JobKind::Drop)
        });
        let task = Task::Drop { retired, lane };
        Some(Job { id, task })
    }

    fn freeze_job(&mut self) -> Option<Job> {
        let at = self.frozen.iter().position(is_waiting)?;
        let id = self.new_id();
        let frozen = &mut self.frozen[at];
        frozen.job = Some(id);
        let input = Input::Tree {
            keys: frozen.keys.clone(),
            dead: frozen.dead.clone(),
        };
        let bytes = FREEZE_TIMES * frozen.bytes;
        let running = Running {
            bytes,
            ..Running::new(id, JobKind::Freeze)
        };
        Some(self.start_merge(running, vec![input], Lane::Urgent))
    }

    /// The segments to merge next, by id.
    fn mergeable(&self, room: MergeRoom) -> Option<(Lane, Vec<u64>)> {
        let is_free = |lane: Lane| self.jobs.iter().all(|job| job.kind != JobKind::Merge(lane));
        policy::choose(&self.segments, self.jobs_ended, is_free, room)
    }

    fn merge_job(&mut self, room: MergeRoom) -> Option<Job> {
        let (lane, parts) = self.mergeable(room)?;
        let id = self.new_id();
        let (mut inputs, mut carried, mut size) = (Vec::new(), Vec::new(), MergeSize::default());
        for live in &mut self.segments {
            if parts.contains(&live.id) {
                live.merge = Some(id);
                size = size + live.live_size();
                carried.push((live.id, live.dead.snapshot()));
                inputs.push(Input::Segment {
                    segment: live.segment.clone(),
                    dead: live.dead.snapshot(),
                });
            }
        }
        let running = Running {
            carried,
            bytes: size.needed_bytes(),
            ..Running::new(id, JobKind::Merge(lane))
        };
        Some(self.start_merge(running, inputs, lane))
    }

    /// The number of the segment whose graves to fold next.
    fn foldable(&self, room: MergeRoom) -> Option<usize> {
        self.segments.iter().position(|live| {
            let is_worth_it = live.dead.wants_fold() && live.dead.fold_bytes() <= room.now;
            is_worth_it && live.fold.is_none() && live.may_try(self.jobs_ended)
        })
    }

    fn fold_job(&mut self, room: MergeRoom) -> Option<Job> {
        let at = self.foldable(room)?;
        let id = self.new_id();
        let live = &mut self.segments[at];
        live.fold = Some(id);
        let bytes = live.dead.fold_bytes();
        let (before, graves) = live.dead.fold_input();
        self.merging_bytes += bytes;
        self.jobs.push(Running {
            bytes,
            ..Running::new(id, JobKind::Fold)
        });
        let task = Task::Fold { before, graves };
        Some(Job { id, task })
    }

    fn start_merge(&mut self, running: Running, inputs: Vec<Input>, lane: Lane) -> Job {
        let job = Job {
            id: running.id,
            task: Task::Merge {
                inputs,
                symbols: self.symbols.clone(),
                seed: self.seed,
                lane,
            },
        };
        self.merging_bytes += running.bytes;
        self.jobs.push(Running {
            keys: job.keys(),
            ..running
        });
        job
    }

    /// Puts a merge's result in the place of its inputs.
    fn swap(&mut self, job: u64, segment: Arc<Segment>, dead: Dead, lane: Lane) {
        if is_trained(segment.len()) {
            self.symbols = segment.symbols().cloned();
        }
        let mut retired: Vec<Box<dyn Any + Send + Sync>> = Vec::new();
        let mut bytes = 0;
        for frozen in self.frozen.extract_if(.., |frozen| frozen.job == Some(job)) {
            self.frozen_bytes -= frozen.bytes;
            bytes += frozen.bytes;
            retired.push(Box::new(frozen));
        }
        for live in self.segments.extract_if(.., |live| live.merge == Some(job)) {
            bytes += live.heap_bytes();
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
            bytes += segment.heap_bytes().total() + dead.heap_bytes();
            retired.push(Box::new((segment, dead)));
        }
        self.retire(retired, bytes, lane);
        self.recount();
    }

    /// Lets the parts of a job go that came to nothing. They stay in use and are tried again.
    fn give_up(&mut self, job: &Running) {
        self.merges_failed += 1;
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

/// Whether all keys of a segment are dead, and no merge reads it.
fn is_void(live: &Live) -> bool {
    live.merge.is_none() && live.dead.len() == live.segment.len()
}

/// Whether a tree is to be made a segment, and no job does so.
fn is_waiting(frozen: &Frozen) -> bool {
    frozen.job.is_none() && frozen.failures < FREEZES_MAX
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
