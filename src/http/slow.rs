//! Slow requests in the log: what each took and where, never of what key.
//!
//! A request is slow by the time until its answer's head is there, whoever kept it waiting: its client with the body
//! too. What may go on for as long as its client likes, a bulk body or a delete by filter, is slow by its longest single
//! wait for the store. So no answer is for being long, nor for being read slowly, and no watch is for lasting.

use super::routes;
use crate::trace::{Spent, Tick, Trace};
use actix_web::dev::ServiceResponse;
use actix_web::rt;
use log::Level;
use std::cell::Cell;
use std::time::Duration;

/// From where these lines are, to filters and readers.
const TARGET: &str = "slow";

/// So many lines a thread logs in a second: clients must not fill the log.
const LINES_MAX: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

thread_local! {
    static BOUND: Bound = const { Bound::new() };
}

/// Logs a request that was slow, once its answer's head is there.
pub(super) fn look<B>(response: &ServiceResponse<B>, trace: &mut Option<Box<Trace>>) {
    let spent = trace.as_mut().and_then(|trace| trace.slow());
    let Some(spent) = spent else { return };
    if !log::log_enabled!(target: TARGET, Level::Warn) {
        return;
    }
    match BOUND.with(|bound| bound.room(Tick::now())) {
        Room::Some => Trace::within(trace, || say(response, spent)),
        Room::FirstTooMany => {
            rt::spawn(async {
                rt::time::sleep(SECOND).await;
                say_left_out(BOUND.with(|bound| bound.left_out.take()));
            });
        }
        Room::None => {}
    }
}

fn say<B>(response: &ServiceResponse<B>, spent: Spent) {
    let request = response.request();
    let Spent {
        total_ms,
        queue_ms,
        store_ms,
    } = spent;
    log::warn!(
        target: TARGET,
        method = request.method().as_str(),
        endpoint = routes::endpoint(request.uri().path()),
        status = response.status().as_u16(),
        total_ms = total_ms,
        queue_ms = queue_ms,
        store_ms = store_ms;
        "a request was slow"
    );
}

fn say_left_out(requests: u64) {
    log::warn!(
        target: TARGET,
        left_out = requests;
        "more requests were slow within a second than are logged"
    );
}

/// How much a thread logs.
struct Bound {
    /// When a second began, and the lines since.
    begun: Cell<Tick>,
    lines: Cell<u32>,
    /// Requests that have no line, since this was last said.
    left_out: Cell<u64>,
}

/// Whether a line may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Some,
    /// It may not, and nor may those that follow it: that is to be said in a second.
    FirstTooMany,
    None,
}

impl Bound {
    const fn new() -> Self {
        Self {
            begun: Cell::new(Tick::START),
            lines: Cell::new(0),
            left_out: Cell::new(0),
        }
    }

    fn room(&self, now: Tick) -> Room {
        if u128::from(now.since(self.begun.get())) >= SECOND.as_millis() {
            self.begun.set(now);
            self.lines.set(0);
        }
        if self.lines.get() < LINES_MAX {
            self.lines.set(self.lines.get() + 1);
            return Room::Some;
        }
        self.left_out.set(self.left_out.get() + 1);
        match self.left_out.get() {
            1 => Room::FirstTooMany,
            _ => Room::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_ten_lines_and_what_is_left_out_is_counted_once() {
        let bound = Bound::new();
        let at = |ms: u64| bound.room(Tick::START.after(10_000 + ms));
        assert!((0..10).all(|ms| at(ms) == Room::Some));
        assert_eq!(at(10), Room::FirstTooMany);
        assert!((11..1000).all(|ms| at(ms) == Room::None));
        assert_eq!(at(1000), Room::Some);
        assert_eq!(bound.left_out.take(), 990);
        assert!((1001..1010).all(|ms| at(ms) == Room::Some));
        assert_eq!(at(1999), Room::FirstTooMany);
    }
}
