//! How often something may be done: the generic cell rate algorithm (ITU-T I.371), which is a leaky bucket in one
//! number. Our own, since that is all there is to it, and one bucket for all threads is one atomic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may be done at once is what may be done in so long, in nanoseconds.
const BURST_NS: u64 = 1_000_000_000;

/// A bound on how often something is done.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    begun: Instant,
    /// When the next would come if all came evenly, in nanoseconds since the beginning.
    next_ns: AtomicU64,
}

impl Rate {
    /// So often in each second, however that is spread over it.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second: per_second.max(1),
            begun: Instant::now(),
            next_ns: AtomicU64::new(0),
        }
    }

    /// How often in each second.
    pub(super) fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Counts one more now.
    ///
    /// # Errors
    /// Where there were too many: how long until there is room. Then it is not counted.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let now_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX / 2);
        self.take_at(now_ns)
    }

    fn take_at(&self, now_ns: u64) -> Result<(), Duration> {
        let interval_ns = BURST_NS / u64::from(self.per_second);
        let ahead_max_ns = BURST_NS - interval_ns;
        let mut next_ns = self.next_ns.load(Ordering::Relaxed);
        loop {
            let due_ns = next_ns.max(now_ns);
            let ahead_ns = due_ns - now_ns;
            if ahead_ns > ahead_max_ns {
                return Err(Duration::from_nanos(ahead_ns - ahead_max_ns));
            }
            // Nothing else hangs on this number, so that no order with other memory is needed.
            match self.next_ns.compare_exchange_weak(
                next_ns,
                due_ns + interval_ns,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(other) => next_ns = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_second_has_its_number_at_once_and_then_one_each_interval() {
        let rate = Rate::new(4);
        let begin = 10 * BURST_NS;
        for _ in 0..4 {
            assert_eq!(rate.take_at(begin), Ok(()));
        }
        let wait = Duration::from_millis(250);
        assert_eq!(rate.take_at(begin), Err(wait));
        assert_eq!(rate.take_at(begin), Err(wait), "a refusal is not counted");
        assert_eq!(rate.take_at(begin + BURST_NS / 4), Ok(()));
        assert!(rate.take_at(begin + BURST_NS / 4).is_err());
        let single = Rate::new(1);
        assert_eq!(single.take_at(0), Ok(()));
        assert_eq!(single.take_at(0), Err(Duration::from_secs(1)));
        assert_eq!(single.take_at(BURST_NS), Ok(()));
    }

    proptest! {
        #[test]
        fn no_time_sees_more_than_its_share_and_a_second_ahead(
            per_second in 1u32..50,
            gaps_ns in prop::collection::vec(0u64..400_000_000, 1..200),
        ) {
            let rate = Rate::new(per_second);
            let (mut now_ns, mut taken) = (0, 0u64);
            for gap_ns in gaps_ns {
                now_ns += gap_ns;
                taken += u64::from(rate.take_at(now_ns).is_ok());
                let interval_ns = BURST_NS / u64::from(per_second);
                let share = now_ns / interval_ns + u64::from(per_second) + 1;
                prop_assert!(taken <= share, "{} of {}", taken, share);
            }
        }
    }
}
