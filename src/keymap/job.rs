//! Work that an index hands out, to be done on another thread while the index goes on.

use super::dead::{Dead, DeadIndex, Grave};
use super::fsst::SymbolTable;
use super::hash::Seed;
use super::live::Deaths;
use super::merge::{Input, merge};
use super::policy::Lane;
use super::segment::Segment;
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Work for another thread. Whatever becomes of it, its [`Outcome`] goes back to the index.
#[derive(Debug)]
pub struct Job {
    pub(super) id: u64,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) enum Task {
    /// Make one segment of several parts.
    Merge {
        inputs: Vec<Input>,
        /// For a segment too small to train one.
        symbols: Option<Arc<SymbolTable>>,
        /// Of the hash that the index looks keys up by.
        seed: Seed,
        lane: Lane,
    },
    /// Bury in a merge's result the keys that were deleted from its inputs while it ran.
    CarryOver {
        segment: Arc<Segment>,
        dead: Dead,
        deaths: Deaths,
        /// That of the merge.
        lane: Lane,
    },
    /// Give memory back.
    Drop { retired: Retired, lane: Lane },
    /// Index the graves of a segment.
    Fold {
        before: Option<Arc<DeadIndex>>,
        graves: Arc<Vec<Grave>>,
    },
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Outcome {
    pub(super) id: u64,
    pub(super) result: JobResult,
    pub(super) took: Duration,
    pub(super) lane: Lane,
}

#[derive(Debug)]
pub(super) enum JobResult {
    Merged {
        segment: Arc<Segment>,
        dead: Dead,
    },
    Folded {
        index: Arc<DeadIndex>,
    },
    Dropped,
    /// It came to nothing, and why.
    Failed(String),
}

/// Parts that no index needs any more. Dropping it may take milliseconds, so it is best dropped
/// on another thread.
#[derive(Default)]
pub(super) struct Retired(pub(super) Vec<Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Retired {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Retired({})", self.0.len())
    }
}

impl Job {
    /// How many keys the job goes through.
    pub fn keys(&self) -> usize {
        match &self.task {
            Task::Merge { inputs, .. } => inputs.iter().map(Input::len).sum(),
            Task::CarryOver { deaths, .. } => deaths.len(),
            Task::Drop { .. } => 0,
            Task::Fold { graves, .. } => graves.len(),
        }
    }

    /// Which queue the job belongs in, so that it does not wait behind much larger ones.
    pub fn lane(&self) -> Lane {
        match &self.task {
            Task::Merge { lane, .. } | Task::CarryOver { lane, .. } | Task::Drop { lane, .. } => {
                *lane
            }
            // Not behind a large merge: until it is done, every count goes through the graves.
            Task::Fold { .. } => Lane::Small,
        }
    }

    /// Does the work: about 1 µs for each key. A panic is caught and leaves everything as it was.
    pub fn run(self) -> Outcome {
        let begun = Instant::now();
        let lane = self.lane();
        let Self { id, task } = self;
        let work = AssertUnwindSafe(|| match task {
            Task::Merge {
                inputs,
                symbols,
                seed,
                lane: _,
            } => match merge(&inputs, symbols, seed) {
                Ok(segment) => JobResult::Merged {
                    segment: Arc::new(segment),
                    dead: Dead::default(),
                },
                Err(error) => JobResult::Failed(error.to_string()),
            },
            Task::CarryOver {
                segment,
                mut dead,
                deaths,
                lane: _,
            } => {
                deaths.carry_over(&segment, &mut dead, Dead::fold);
                JobResult::Merged { segment, dead }
            }
            Task::Drop { retired, lane: _ } => {
                drop(retired);
                JobResult::Dropped
            }
            Task::Fold { before, graves } => JobResult::Folded {
                index: Arc::new(DeadIndex::fold(before.as_deref(), &graves)),
            },
        });
        let failed = |_| JobResult::Failed("it panicked, which is a defect".into());
        let result = catch_unwind(work).unwrap_or_else(failed);
        Outcome {
            id,
            result,
            took: begun.elapsed(),
            lane,
        }
    }
}

impl Outcome {
    /// Why the work came to nothing, if it did: a defect, or damaged memory. Its inputs stay in use.
    pub fn failure(&self) -> Option<&str> {
        match &self.result {
            JobResult::Merged { .. } | JobResult::Folded { .. } | JobResult::Dropped => None,
            JobResult::Failed(why) => Some(why),
        }
    }
}
