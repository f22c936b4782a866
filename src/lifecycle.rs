//! Where the process is on its way from start to stop, and how many requests it owes an answer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// A stage of the process's life. They follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Serving.
    Running,
    /// Told to stop: not ready, but serving on until load balancers have noticed.
    Draining,
    /// Finishing what is in flight; actors may end at any moment.
    Stopping,
}

/// The stage of the process, shared by all its threads.
#[derive(Debug, Default)]
pub struct Lifecycle {
    stage: AtomicU8,
    in_flight: AtomicUsize,
    advanced: Notify,
}

/// One request that was not wholly answered yet.
#[derive(Debug)]
pub struct InFlight(Arc<Lifecycle>);

impl Lifecycle {
    /// The stage that the process is in.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Running,
            1 => Stage::Draining,
            _ => Stage::Stopping,
        }
    }

    /// Goes on to `stage`; never goes back.
    pub fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.advanced.notify_waiters();
    }

    /// Waits until the process is in a stage or a later one.
    pub async fn reached(&self, stage: Stage) {
        loop {
            let mut advanced = pin!(self.advanced.notified());
            // Before the stage is looked at, so that none comes between.
            advanced.as_mut().enable();
            if self.stage() >= stage {
                return;
            }
            advanced.await;
        }
    }

    /// Counts a request until the guard is dropped.
    pub fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        InFlight(self.clone())
    }

    /// How many requests are not wholly answered yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}
