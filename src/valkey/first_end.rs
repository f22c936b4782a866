//! When the first value of a partition ends, so that the engine is asked what has ended when something has.

use crate::model::Deadline;
use std::sync::atomic::{AtomicU64, Ordering};

/// The first deadline of a partition, as far as is known: as the last look found it, or as one was set here since.
#[derive(Debug)]
pub(super) struct FirstEnd {
    /// In ms since 1970.
    millis: AtomicU64,
}

impl FirstEnd {
    const NEVER: u64 = u64::MAX;

    /// That of a partition without deadlines.
    pub(super) const fn none() -> Self {
        let millis = AtomicU64::new(Self::NEVER);
        Self { millis }
    }

    pub(super) fn get(&self) -> Option<Deadline> {
        let millis = self.millis.load(Ordering::Relaxed);
        (millis != Self::NEVER).then(|| Deadline::from_millis(millis))
    }

    /// One more is being set.
    pub(super) fn is_set(&self, end: Deadline) {
        self.millis.fetch_min(end.as_millis(), Ordering::Relaxed);
    }

    /// A look found this one. What is set at that moment may be overlooked, until the next look.
    pub(super) fn is_found(&self, first: Option<Deadline>) {
        let millis = first.map_or(Self::NEVER, Deadline::as_millis);
        self.millis.store(millis, Ordering::Relaxed);
    }
}
