//! Whether the engine fails, as the log and `/readyz` tell it: once when that begins, and once when it is
//! over.

use super::{EngineError, Operation};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// It is over once it is used again and nothing has failed for so long.
const QUIET: Duration = Duration::from_secs(1);

/// As long where only changes failed, and nobody has made one since.
const QUIET_OF_CHANGES: Duration = Duration::from_secs(60);

/// Watches what comes of requests.
#[derive(Debug)]
pub(super) struct Outages {
    address: String,
    /// Looked at first, for the sake of speed.
    is_open: AtomicBool,
    now: Mutex<Option<Outage>>,
}

#[derive(Debug)]
struct Outage {
    cause: EngineError,
    begun: Instant,
    last: Instant,
    /// How long nothing may fail before it is over: longer where failures take long, and so are rare.
    quiet: Duration,
    /// Changes that failed for a reason that reads do not have, and did not go well since.
    sets: bool,
    deletes: bool,
    /// Whether it was said that it goes on.
    is_said: bool,
    /// Clients' requests that failed, by why.
    refused: BTreeMap<&'static str, u64>,
}

impl Outages {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            is_open: AtomicBool::new(false),
            now: Mutex::new(None),
        }
    }

    /// Takes note of what came of a request, after how long.
    pub(super) fn observed(
        &self,
        operation: Operation,
        took: Duration,
        error: Option<EngineError>,
    ) {
        match error {
            Some(error) if error.is_outage() => self.failed(Some(operation), took, error),
            None if self.is_open.load(Ordering::Relaxed) => self.went_well(operation),
            None | Some(_) => {}
        }
    }

    /// Takes note of a failure: of a request, or of what we asked for ourselves.
    pub(super) fn failed(&self, operation: Option<Operation>, took: Duration, error: EngineError) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = now.is_none();
        let outage = now.get_or_insert_with(|| Outage {
            cause: error,
            begun: Instant::now(),
            last: Instant::now(),
            quiet: QUIET,
            sets: false,
            deletes: false,
            is_said: false,
            refused: BTreeMap::new(),
        });
        if is_new {
            // Whoever reads the log finds it so.
            self.is_open.store(true, Ordering::Relaxed);
            log::warn!("the engine at {} fails: {error}", self.address);
        }
        if error.stays() && !outage.cause.stays() && !outage.is_said {
            log::warn!("the engine at {} goes on failing: {error}", self.address);
            outage.is_said = true;
        }
        outage.cause = error;
        outage.last = Instant::now();
        outage.quiet = outage.quiet.max(took * 2 + QUIET);
        if error.is_of_changes() {
            outage.sets |= matches!(operation, None | Some(Operation::Set));
            outage.deletes |= operation == Some(Operation::Delete);
        }
        if let Some(Operation::Get | Operation::Set | Operation::Delete) = operation {
            *outage.refused.entry(error.label()).or_default() += 1;
        }
    }

    /// Takes note of searches that were refused.
    pub(super) fn refused(&self, searches: usize, error: EngineError) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if searches > 0
            && let Some(outage) = now.as_mut()
        {
            *outage.refused.entry(error.label()).or_default() += searches as u64;
        }
    }

    /// Why the engine fails, if it does.
    pub(super) fn cause(&self) -> Option<EngineError> {
        if !self.is_open.load(Ordering::Relaxed) {
            return None;
        }
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.as_ref().map(|outage| outage.cause)
    }

    fn went_well(&self, operation: Operation) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(outage) = now.as_mut() else {
            return;
        };
        match operation {
            Operation::Set => outage.sets = false,
            Operation::Delete => outage.deletes = false,
            Operation::Get | Operation::Sync | Operation::Reload => {}
        }
        let quiet = match outage.sets || outage.deletes {
            true => QUIET_OF_CHANGES,
            false => outage.quiet,
        };
        if outage.last.elapsed() < quiet {
            return;
        }
        let refused: u64 = outage.refused.values().sum();
        let by_kind = outage.refused.iter();
        let by_kind: Vec<String> = by_kind
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let by_kind = match by_kind.is_empty() {
            true => String::new(),
            false => format!(" ({})", by_kind.join(", ")),
        };
        log::warn!(
            "the engine at {} is back after {:.1} s, in which {refused} requests were refused{by_kind}",
            self.address,
            outage.begun.elapsed().as_secs_f64()
        );
        *now = None;
        self.is_open.store(false, Ordering::Relaxed);
    }
}
