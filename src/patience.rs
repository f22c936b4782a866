//! How long is waited for an answer, where thousands wait at once, each for a moment.
//!
//! A timer of the runtime's is put into a wheel and taken out of it again, behind a lock, for every request, and hardly
//! any goes off. Here those who wait are in one list of their thread, and a single timer sleeps until the first of them
//! has waited long enough. What it finds then it wakes, and sleeps on.

use pin_project_lite::pin_project;
use slab::Slab;
use std::cell::RefCell;
use std::marker::PhantomData;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long the timer sleeps at the least, so that many who have waited long enough one after another are found at once.
const PAUSE: Duration = Duration::from_millis(2);

thread_local! {
    static WAITING: RefCell<Waiting> = const { RefCell::new(Waiting::none()) };
}

/// It was waited for long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Waits for something, so long and some milliseconds more at the most, on a thread of actix'. Takes a constant time; the
/// timer takes one that grows with how many wait.
pub fn patiently<F: Future>(patience: Duration, awaited: F) -> Patiently<F> {
    Patiently {
        awaited,
        patience,
        place: None,
    }
}

pin_project! {
    /// What [`patiently`] gives.
    pub struct Patiently<F> {
        #[pin]
        awaited: F,
        patience: Duration,
        place: Option<Place>,
    }
}

impl<F: Future> Future for Patiently<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(awaited) = this.awaited.poll(context) {
            return Poll::Ready(Ok(awaited));
        }
        match this.place {
            None => *this.place = Some(Place::take(*this.patience, context.waker())),
            Some(place) if place.is_over(context.waker()) => return Poll::Ready(Err(Elapsed)),
            Some(_) => {}
        }
        Poll::Pending
    }
}

/// Those of a thread who wait.
#[derive(Debug)]
struct Waiting {
    all: Slab<Waiter>,
    /// Until when the timer sleeps, where there is one.
    timer: Option<Instant>,
}

/// One of them.
#[derive(Debug)]
struct Waiter {
    until: Instant,
    waker: Waker,
    is_over: bool,
}

impl Waiting {
    const fn none() -> Self {
        Self {
            all: Slab::new(),
            timer: None,
        }
    }

    /// Wakes those who have waited long enough, and says until when others wait at the least.
    fn wake(&mut self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (_, waiter) in &mut self.all {
            if waiter.is_over {
                continue;
            }
            if waiter.until <= now {
                waiter.is_over = true;
                waiter.waker.wake_by_ref();
            } else {
                next = Some(next.map_or(waiter.until, |next: Instant| next.min(waiter.until)));
            }
        }
        next
    }
}

/// A place among those of this thread who wait, given back when dropped.
#[derive(Debug)]
struct Place {
    number: usize,
    /// The thread is this one.
    here: PhantomData<*const ()>,
}

/// Wakers are dropped when the list is free again: one may hold others who wait, and so their places.
impl Place {
    fn take(patience: Duration, waker: &Waker) -> Self {
        let until = Instant::now() + patience;
        let (number, is_first) = WAITING.with_borrow_mut(|waiting| {
            let number = waiting.all.insert(Waiter {
                until,
                waker: waker.clone(),
                is_over: false,
            });
            let is_first = waiting.timer.is_none_or(|timer| until < timer);
            if is_first {
                waiting.timer = Some(until);
            }
            (number, is_first)
        });
        if is_first {
            actix::spawn(Timer { until }.run());
        }
        Self {
            number,
            here: PhantomData,
        }
    }

    /// Whether it was waited for long enough; this waker is woken once it was.
    fn is_over(&self, waker: &Waker) -> bool {
        let (is_over, _before) = WAITING.with_borrow_mut(|waiting| {
            let waiter = &mut waiting.all[self.number];
            let is_other = !waiter.waker.will_wake(waker);
            let before = is_other.then(|| mem::replace(&mut waiter.waker, waker.clone()));
            (waiter.is_over, before)
        });
        is_over
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left where a thread ends goes with it.
        let _ = WAITING.try_with(|waiting| {
            let _waiter = waiting.borrow_mut().all.try_remove(self.number);
        });
    }
}

/// The timer of a thread, unless another sleeps less long.
#[derive(Debug)]
struct Timer {
    until: Instant,
}

impl Timer {
    async fn run(mut self) {
        loop {
            tokio::time::sleep_until(self.until.into()).await;
            let now = Instant::now();
            let next = WAITING.with_borrow_mut(|waiting| {
                let next = waiting.wake(now);
                if waiting.timer != Some(self.until) {
                    return None;
                }
                waiting.timer = next.map(|next| next.max(now + PAUSE));
                waiting.timer
            });
            let Some(next) = next else { return };
            self.until = next;
        }
    }
}

impl Drop for Timer {
    /// Where the runtime ends, the next has one of its own.
    fn drop(&mut self) {
        let _ = WAITING.try_with(|waiting| {
            let mut waiting = waiting.borrow_mut();
            if waiting.timer == Some(self.until) {
                waiting.timer = None;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::rt;
    use futures_util::future::{join_all, pending, ready};
    use tokio::sync::oneshot;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(5);

    /// How many of this thread wait.
    fn waiting() -> usize {
        WAITING.with_borrow(|waiting| waiting.all.len())
    }

    #[actix_web::test]
    async fn what_is_there_is_not_waited_for() {
        assert_eq!(patiently(Duration::ZERO, ready(1)).await, Ok(1));
        assert_eq!(WAITING.with_borrow(|waiting| waiting.timer), None);
    }

    #[actix_web::test]
    async fn what_comes_in_time_is_given_and_what_does_not_is_not() {
        let (sender, receiver) = oneshot::channel();
        let begun = Instant::now();
        let answered = rt::spawn(patiently(LONG, receiver));
        tokio::task::yield_now().await;
        assert_eq!(waiting(), 1);
        // Begun later and over sooner than what the timer sleeps for.
        assert_eq!(patiently(SHORT, pending::<()>()).await, Err(Elapsed));
        assert!(begun.elapsed() < LONG);
        assert_eq!(waiting(), 1);
        sender.send(3).unwrap();
        assert_eq!(answered.await.unwrap(), Ok(Ok(3)));
        assert_eq!(waiting(), 0);
    }

    #[actix_web::test]
    async fn all_who_wait_are_told_in_time_and_give_their_places_back() {
        let all = (0..500u32).map(|number| async move {
            let patience = Duration::from_millis(u64::from(number * 7 % 50));
            let begun = Instant::now();
            let waited = patiently(patience, pending::<()>()).await;
            (waited, begun.elapsed() >= patience)
        });
        let told = join_all(all.map(rt::spawn)).await;
        assert!(
            told.into_iter()
                .all(|told| told.unwrap() == (Err(Elapsed), true))
        );
        assert_eq!(waiting(), 0);
    }

    #[actix_web::test]
    async fn who_is_moved_to_another_task_is_woken_there() {
        let mut moved = Box::pin(patiently(SHORT, pending::<()>()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(moved.as_mut().poll(&mut context).is_pending());
        assert_eq!(rt::spawn(moved).await.unwrap(), Err(Elapsed));
    }

    #[test]
    fn each_runtime_of_a_thread_has_a_timer() {
        for _ in 0..3 {
            rt::System::new().block_on(async {
                let begun = rt::spawn(patiently(SHORT, pending::<()>()));
                tokio::task::yield_now().await;
                assert_eq!(waiting(), 1);
                // The runtime ends with it.
                drop(begun);
            });
            assert_eq!(waiting(), 0);
        }
        let waited = rt::System::new().block_on(patiently(SHORT, pending::<()>()));
        assert_eq!(waited, Err(Elapsed));
    }
}
