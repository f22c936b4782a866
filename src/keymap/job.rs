//! Work that an index hands out, to be done on another thread while the index goes on.

use super::dead::{DeadIndex, Grave};
use super::fsst::SymbolTable;
use super::merge::{Input, merge};
use super::policy::Lane;
use super::segment::Segment;
use std::any::Any;
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
        table: Option<Arc<SymbolTable>>,
    },
    /// Index the graves of a segment.
    Fold {
        before: Option<Arc<DeadIndex>>,
        graves: Vec<Grave>,
    },
}

/// What became of a [`Job`].
#[derive(Debug)]
pub struct Outcome {
    pub(super) id: u64,
    pub(super) result: JobResult,
    pub(super) keys: usize,
    pub(super) took: Duration,
}

#[derive(Debug)]
pub(super) enum JobResult {
    Merged(Arc<Segment>),
    Folded {
        index: Arc<DeadIndex>,
        graves: usize,
    },
    Panicked,
}

/// Parts that no index needs any more. Dropping it may take milliseconds, so it is best dropped
/// on another thread.
#[derive(Default)]
#[expect(dead_code, reason = "held only to be dropped elsewhere")]
pub struct Retired(pub(super) Vec<Box<dyn Any + Send>>);

impl Job {
    /// How many keys the job goes through.
    pub fn keys(&self) -> usize {
        match &self.task {
            Task::Merge { inputs, .. } => inputs.iter().map(Input::len).sum(),
            Task::Fold { graves, .. } => graves.len(),
        }
    }

    /// Which queue the job belongs in, so that it does not wait behind much larger ones.
    pub fn lane(&self) -> Lane {
        match &self.task {
            Task::Merge { inputs, .. } if inputs.iter().all(Input::is_segment) => {
                Lane::of(self.keys() as u64)
            }
            Task::Merge { .. } | Task::Fold { .. } => Lane::Urgent,
        }
    }

    /// Does the work: about 1 µs for each key. A panic is caught and leaves everything as it was.
    pub fn run(self) -> Outcome {
        let begun = Instant::now();
        let keys = self.keys();
        let Self { id, task } = self;
        let work = AssertUnwindSafe(|| match &task {
            Task::Merge { inputs, table } => {
                JobResult::Merged(Arc::new(merge(inputs, table.clone())))
            }
            Task::Fold { before, graves } => JobResult::Folded {
                index: Arc::new(DeadIndex::fold(before.as_deref(), graves)),
                graves: graves.len(),
            },
        });
        let result = catch_unwind(work).unwrap_or(JobResult::Panicked);
        Outcome {
            id,
            result,
            keys,
            took: begun.elapsed(),
        }
    }
}

impl Outcome {
    /// Whether the work came to nothing, by a defect of the merge: its inputs stay in use.
    pub fn panicked(&self) -> bool {
        matches!(self.result, JobResult::Panicked)
    }
}
