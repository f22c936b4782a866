//! What time it is, for what has a deadline.
//!
//! Deadlines are moments of the wall clock, which may be set while a process runs. For values in this process
//! it is read once, at the start, and from there on time goes by a clock that only goes forward, while the
//! machine is suspended too. Values elsewhere end by the clock that is there, to which the wall clock is nearest.

use crate::model::Deadline;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock. Cheap to clone, and all clones show the same.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    Running {
        /// What the wall clock showed at the start, less what the other one did, in milliseconds.
        offset_ms: u64,
    },
    Wall,
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the machine, from now on.
    pub fn running() -> Self {
        let offset_ms = wall_ms().saturating_sub(elapsed_ms());
        Self(Source::Running { offset_ms })
    }

    /// The wall clock, as it is set.
    pub fn wall() -> Self {
        Self(Source::Wall)
    }

    /// A clock that shows the milliseconds since the Unix epoch that somebody sets.
    pub fn set_by(millis: Arc<AtomicU64>) -> Self {
        Self(Source::Set(millis))
    }

    /// What it shows.
    pub fn now(&self) -> Deadline {
        Deadline::from_millis(match &self.0 {
            Source::Running { offset_ms } => offset_ms + elapsed_ms(),
            Source::Wall => wall_ms(),
            Source::Set(millis) => millis.load(Ordering::Relaxed),
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now())
    }
}

/// Milliseconds since the Unix epoch.
fn wall_ms() -> u64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    wall.map_or(0, |wall| wall.as_millis() as u64)
}

/// Milliseconds of a clock that only goes forward.
#[cfg(target_os = "linux")]
fn elapsed_ms() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Milliseconds of a clock that only goes forward.
#[cfg(not(target_os = "linux"))]
fn elapsed_ms() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_clock_shows_the_time_and_goes_forward() {
        let clock = Clock::running();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let apart = clock.now().as_millis().abs_diff(wall.as_millis() as u64);
        assert!(apart < 60_000, "{apart} ms");
        let before = clock.now();
        assert!((0..1000).all(|_| clock.now() >= before));
    }
}
