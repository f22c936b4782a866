//! What a request is known by in the log, and where its time goes until its answer is there.
//!
//! A request is worked on by one thread, and while it is, its [`Trace`] is the one of that thread. So the store, which
//! knows no requests, can say here how long it was waited for, and the log finds out which request a line is of.
//!
//! Every request pays for this. So it allocates once, and reads a coarse clock, whenever the request is gone on with; what
//! happens meanwhile happens at that moment.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

thread_local! {
    /// That of the request which this thread works on.
    static CURRENT: Cell<Option<Box<Trace>>> = const { Cell::new(None) };
    /// Where this thread's ids go on.
    static NEXT_ID: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// A moment of a clock that all threads share and that only goes forward, in milliseconds. It is exact to a tick of the
/// kernel's, which is 1 to 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The first.
    pub const START: Self = Self(0);

    /// This one.
    #[cfg(target_os = "linux")]
    pub fn now() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let time = clock_gettime(ClockId::MonotonicCoarse);
        Self(time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
    }

    /// This one.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Self {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Self(START.elapsed().as_millis() as u64)
    }

    /// How many milliseconds after another it is.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many milliseconds after this one.
    #[cfg(test)]
    pub fn after(self, ms: u64) -> Self {
        Self(self.0 + ms)
    }
}

/// Where the time of a request went, in milliseconds. What is neither in the queue nor in the store was waited for its
/// client, or for room for its body or answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// All of it.
    pub total_ms: u64,
    /// Until it was let in among what is in flight, and until an actor took it up.
    pub queue_ms: u64,
    /// From there on: at work, waiting for room, for the disk or for an engine elsewhere.
    pub store_ms: u64,
}

/// A request under way.
#[derive(Debug, Default)]
pub struct Trace {
    id: Option<Box<str>>,
    /// From how many milliseconds on it is slow, where that is measured.
    slow_ms: Option<u64>,
    begun: Tick,
    /// When it was gone on with last.
    now: Tick,
    /// Up to when its time in the store was counted: where several shards are asked at once, no moment counts twice.
    counted: Tick,
    queue_ms: u64,
    store_ms: u64,
    /// The longest single wait for the store.
    longest_ms: u64,
    /// Whether it is by that wait that it is slow.
    is_lasting: bool,
}

impl Trace {
    /// A request that begins, with the id that it came with.
    pub fn begin(id: Option<Box<str>>, slow_ms: Option<u64>) -> Box<Self> {
        let mut trace = Box::new(Self {
            id,
            slow_ms,
            ..Self::default()
        });
        trace.go_on();
        trace.begun = trace.now;
        trace
    }

    /// Works on a request, which is the one of this thread meanwhile.
    pub fn within<T>(trace: &mut Option<Box<Self>>, work: impl FnOnce() -> T) -> T {
        let _scope = Scope::enter(trace);
        work()
    }

    /// What it is known by: what it came with, else what it is given now.
    pub fn id(&mut self) -> &str {
        self.id.get_or_insert_with(new_id)
    }

    /// Whether it has an id, of its client's or by a line of the log.
    pub fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// What it took until now, where it was slow.
    pub fn slow(&mut self) -> Option<Spent> {
        let slow_ms = self.slow_ms?;
        self.go_on();
        let total_ms = self.now.since(self.begun);
        let took_ms = match self.is_lasting {
            true => self.longest_ms,
            false => total_ms,
        };
        (took_ms >= slow_ms).then_some(Spent {
            total_ms,
            queue_ms: self.queue_ms,
            store_ms: self.store_ms,
        })
    }

    /// Has time go by.
    fn go_on(&mut self) {
        if self.slow_ms.is_some() {
            self.now = Tick::now();
        }
    }

    /// Counts a wait for the store that ends now.
    fn count(&mut self, asked: Tick, taken: Option<Tick>) {
        let until = self.now;
        self.longest_ms = self.longest_ms.max(until.since(asked));
        let from = asked.max(self.counted).min(until);
        let taken = taken.unwrap_or(until).max(from).min(until);
        self.queue_ms += taken.since(from);
        self.store_ms += until.since(taken);
        self.counted = until;
    }
}

/// While it is there, a trace is the one of this thread.
struct Scope<'a>(&'a mut Option<Box<Trace>>);

impl<'a> Scope<'a> {
    fn enter(trace: &'a mut Option<Box<Trace>>) -> Self {
        if let Some(trace) = trace {
            trace.go_on();
        }
        CURRENT.set(trace.take());
        Self(trace)
    }
}

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        *self.0 = CURRENT.take();
    }
}

/// Looks at the request that this thread works on, if it does.
fn current<T>(look: impl FnOnce(&mut Trace) -> T) -> Option<T> {
    // Lines are logged where a thread ends, too.
    let seen = CURRENT.try_with(|current| {
        let mut trace = current.take()?;
        let seen = look(&mut trace);
        current.set(Some(trace));
        Some(seen)
    });
    seen.ok().flatten()
}

/// The id of the request that this thread works on, if it does.
pub fn current_id() -> Option<Box<str>> {
    current(|trace| trace.id().into())
}

/// Has the request that this thread works on be slow by its longest wait for the store alone: what it asks for may be as
/// much as its client likes.
pub fn is_lasting() {
    current(|trace| trace.is_lasting = true);
}

/// A wait for the store, from now on until it is dropped. It counts for the request that this thread works on.
#[derive(Debug)]
pub struct Wait {
    asked: Tick,
    /// When the queue was left.
    taken: Cell<Option<Tick>>,
}

impl Wait {
    /// Begins to wait, in the queue.
    pub fn begin() -> Self {
        Self {
            asked: now(),
            taken: Cell::new(None),
        }
    }

    /// Begins to wait where there is no queue.
    pub fn in_store() -> Self {
        let wait = Self::begin();
        wait.let_in();
        wait
    }

    /// What is asked is in the store now, unless somebody says when he took it up.
    pub fn let_in(&self) {
        self.taken.set(Some(now()));
    }

    /// What is asked was taken up at a moment.
    pub fn taken_up(&self, at: Tick) {
        self.taken.set(Some(at));
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        current(|trace| trace.count(self.asked, self.taken.get()));
    }
}

/// When the request that this thread works on was gone on with.
fn now() -> Tick {
    current(|trace| trace.now).unwrap_or_default()
}

/// An id that no other request has: this thread's numbers one by one, from a random one on, each mapped to one of which
/// the next cannot be told.
pub fn new_id() -> Box<str> {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let number = NEXT_ID.get();
    NEXT_ID.set(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let mixed = mixed(number);
    let digits = (0..16).rev().map(|digit| (mixed >> (4 * digit)) & 15);
    digits
        .map(|digit| char::from(DIGITS[digit as usize]))
        .collect::<String>()
        .into_boxed_str()
}

/// One of as many numbers, each by one other: the last step of SplitMix64 (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// A trace at a moment.
    fn at(ms: u64) -> Trace {
        Trace {
            slow_ms: Some(1),
            now: Tick(ms),
            ..Trace::default()
        }
    }

    fn spent(trace: &Trace) -> (u64, u64) {
        (trace.queue_ms, trace.store_ms)
    }

    #[test]
    fn a_wait_is_in_the_queue_until_it_is_taken_up() {
        let mut trace = at(100);
        trace.count(Tick(10), Some(Tick(40)));
        assert_eq!(spent(&trace), (30, 60));
        trace.now = Tick(150);
        trace.count(Tick(120), None);
        assert_eq!(spent(&trace), (60, 60));
        assert_eq!(trace.longest_ms, 90);
    }

    #[test]
    fn waits_beside_each_other_count_no_moment_twice() {
        let mut trace = at(50);
        trace.count(Tick(10), Some(Tick(20)));
        trace.now = Tick(60);
        // It was taken up before the first ended, and after.
        trace.count(Tick(10), Some(Tick(30)));
        assert_eq!(spent(&trace), (10, 40));
        trace.now = Tick(100);
        trace.count(Tick(10), Some(Tick(80)));
        assert_eq!(spent(&trace), (30, 60));
        assert_eq!(trace.longest_ms, 90);
    }

    #[test]
    fn clocks_that_are_a_tick_apart_do_no_harm() {
        let mut trace = at(50);
        trace.count(Tick(60), Some(Tick(70)));
        trace.count(Tick(40), Some(Tick(30)));
        assert_eq!(spent(&trace), (0, 0));
    }

    #[test]
    fn a_thread_has_the_trace_of_what_it_works_on_and_no_other() {
        assert_eq!(current_id(), None);
        let mut trace = Some(Trace::begin(Some("mine".into()), None));
        let seen = Trace::within(&mut trace, current_id);
        assert_eq!(seen.as_deref(), Some("mine"));
        assert_eq!(current_id(), None);
        assert_eq!(trace.as_mut().map(|trace| trace.id()), Some("mine"));
        let mut other = Some(Trace::begin(None, None));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Trace::within::<()>(&mut other, || panic!("on purpose"));
        }));
        assert!(panicked.is_err() && current_id().is_none());
        assert!(other.is_some_and(|other| !other.has_id()));
    }

    #[test]
    fn what_lasts_is_slow_by_its_longest_wait_alone() {
        let mut trace = Trace::begin(None, Some(u64::MAX));
        assert_eq!(trace.slow(), None);
        trace.slow_ms = Some(0);
        assert!(trace.slow().is_some());
        trace.slow_ms = Some(1);
        trace.is_lasting = true;
        trace.begun = Tick(0);
        assert_eq!(trace.slow(), None);
        trace.longest_ms = 1;
        let spent = trace.slow().unwrap();
        assert_eq!(spent.total_ms, trace.now.since(Tick(0)));
    }

    #[test]
    fn ids_are_sixteen_digits_and_never_the_same() {
        let ids: HashSet<Box<str>> = (0..10_000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 10_000);
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        assert!(
            ids.iter()
                .all(|id| id.len() == 16 && id.bytes().all(is_digit))
        );
    }
}
