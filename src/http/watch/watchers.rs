//! How many watch, and what they were told.

use super::super::problem::{Code, Problem};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// So many at a time have a long value looked through, of those who are given the present keys; the others wait in turn.
const LOOKING_MAX: usize = 8;

/// All who watch, of all workers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Watchers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max: usize,
    open: AtomicUsize,
    events: AtomicU64,
    cut: AtomicU64,
    looking: Semaphore,
}

/// One of them; it counts until it is dropped.
#[derive(Debug)]
pub(super) struct Watching(Watchers);

impl Watchers {
    /// At most so many.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner {
            max,
            open: AtomicUsize::new(0),
            events: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            looking: Semaphore::new(LOOKING_MAX),
        }))
    }

    /// How many there are.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// How many events they were told, each counted for each of them.
    pub fn events(&self) -> u64 {
        self.0.events.load(Ordering::Relaxed)
    }

    /// How many were cut off.
    pub fn cut(&self) -> u64 {
        self.0.cut.load(Ordering::Relaxed)
    }

    /// Takes one more in.
    ///
    /// # Errors
    /// Where there are as many as may be.
    pub(super) fn begin(&self) -> Result<Watching, Problem> {
        let others = self.0.open.fetch_add(1, Ordering::Relaxed);
        let watching = Watching(self.clone());
        if others < self.0.max {
            return Ok(watching);
        }
        let detail = format!(
            "{} clients watch, which is as many as may (setting watchers_max); nothing was done, try again after \
             a pause, or watch more keys by one connection",
            self.0.max
        );
        Err(Problem::new(Code::Overloaded, detail))
    }

    /// Waits until one may have a long value looked through on another thread, which it may until it drops what this
    /// returns.
    pub(super) async fn look_through(&self) -> SemaphorePermit<'_> {
        let permit = self.0.looking.acquire().await;
        permit.expect("nobody closes the semaphore")
    }

    /// Counts what one was told.
    pub(super) fn told(&self, events: u64) {
        self.0.events.fetch_add(events, Ordering::Relaxed);
    }

    /// Counts one that was cut off.
    pub(super) fn was_cut(&self) {
        self.0.cut.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
