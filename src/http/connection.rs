//! What is known of each connection, and when it is cut.
//!
//! The framework times only the head of a connection's first request. A second head that stays
//! half sent, a client that does not read, or one that says nothing at all would hold a connection
//! for ever. So every worker knows its connections and looks them over from time to time. What is
//! cut sees an error at its next read or write, for which it is woken.

use super::buffers::{Buffers, Charge};
use super::framing::Framing;
use crate::metrics::{Cut, Metrics};
use prometheus::IntGauge;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How far the framework may read ahead of the requests that it has begun, in bytes.
const AHEAD_BYTES: usize = 16 * 1024;

/// The longest head that the framework takes, in bytes. What a head takes over
/// [`AHEAD_BYTES`] comes from the budget.
const HEAD_BYTES: usize = 128 * 1024;

/// How many requests that came at once are answered before more are read.
const PIPELINED_MAX: u64 = 16;

/// Connections over the bound that each worker takes all the same, so that health can be asked for
/// whatever clients hold. Fewer, where there are no descriptors for so many.
pub const SPARE_CONNECTIONS: usize = 64;

/// One in so many of these is kept while it says nothing. The others are for those that came last, which have so long to
/// say something: all that wait to be taken in, 1024 at the most, come and go within a second.
const SPARE_KEPT: usize = 4;
const SPARE_TIME: Duration = Duration::from_millis(50);

/// For how long a body is read that was refused.
const REFUSED_TIME: Duration = Duration::from_secs(4);

/// How long a connection may do nothing, and how many there may be.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Without a request: the keep-alive time and the time for a head.
    pub idle: Duration,
    /// Without having agreed on TLS, where that is spoken.
    pub handshake: Duration,
    /// With an answer that the client does not read.
    pub write: Duration,
    /// How many may be open in the whole process.
    pub open_max: usize,
    /// How many each worker takes over that.
    pub spare_max: usize,
}

impl ConnectionLimits {
    /// How long it is between two looks at the connections.
    fn period(&self) -> Duration {
        let period = self.idle.min(self.write) / 4;
        period.clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The client's: to send a request.
    Request,
    /// Ours.
    Answer,
}

/// One connection of this worker.
#[derive(Debug)]
pub(super) struct Connection {
    turn: Cell<Turn>,
    /// Whether the client does not take what is written to it.
    is_blocked: Cell<bool>,
    /// The look at which the turn was passed, or the last byte left. Counting looks costs a request
    /// nothing; reading the clock would.
    since: Cell<u64>,
    is_cut: Cell<bool>,
    /// Wakes the connection's task.
    waker: RefCell<Option<Waker>>,
    /// Whether it wanted to read and might not.
    is_held_up: Cell<bool>,
    pub(super) framing: RefCell<Framing>,
    /// Requests that began and that ended.
    begun: Cell<u64>,
    ended: Cell<u64>,
    /// Bytes that were read since the last request began or ended, and how many may be.
    ahead: Cell<usize>,
    ahead_max: Cell<usize>,
    buffers: Buffers,
    /// Whether the client has ended its side.
    has_left: Cell<bool>,
    /// What a long head takes of the budget.
    head: RefCell<Option<Charge>>,
    /// What an answer takes of it that is not wholly sent.
    answer: RefCell<Option<Charge>>,
    /// Whether the answer has no end, and takes something only while some of it has not left.
    is_open_ended: Cell<bool>,
    /// Whether it is one within the bound, and counted.
    is_counted: Cell<bool>,
    open: IntGauge,
    open_max: i64,
}

/// The connections of this worker.
#[derive(Debug)]
pub struct Connections;

thread_local! {
    /// How often this worker's connections were looked over.
    static LOOKS: Cell<u64> = const { Cell::new(0) };
    static CONNECTIONS: RefCell<Vec<Weak<Connection>>> = const { RefCell::new(Vec::new()) };
    /// Those over the bound, the oldest first, and since when they are there.
    static SPARE: RefCell<VecDeque<(Weak<Connection>, Instant)>> = const { RefCell::new(VecDeque::new()) };
}

impl Connections {
    /// Looks over this worker's connections for ever, several times in the shorter of the limits.
    pub async fn watch(limits: ConnectionLimits, metrics: Metrics) {
        let period = limits.period();
        loop {
            tokio::time::sleep(period).await;
            LOOKS.set(LOOKS.get() + 1);
            CONNECTIONS.with_borrow_mut(|all| {
                all.retain(|connection| match connection.upgrade() {
                    Some(connection) => {
                        connection.check(&limits, &metrics);
                        true
                    }
                    None => false,
                });
            });
        }
    }
}

impl Connection {
    /// Takes a new connection in, on its worker's thread.
    pub(super) fn begin(
        limits: &ConnectionLimits,
        buffers: Buffers,
        metrics: &Metrics,
    ) -> Rc<Self> {
        let connection = Rc::new(Self {
            turn: Cell::new(Turn::Request),
            is_blocked: Cell::new(false),
            since: Cell::new(LOOKS.get()),
            is_cut: Cell::new(false),
            waker: RefCell::new(None),
            is_held_up: Cell::new(false),
            framing: RefCell::default(),
            begun: Cell::new(0),
            ended: Cell::new(0),
            ahead: Cell::new(0),
            ahead_max: Cell::new(AHEAD_BYTES),
            buffers,
            has_left: Cell::new(false),
            head: RefCell::new(None),
            answer: RefCell::new(None),
            is_open_ended: Cell::new(false),
            is_counted: Cell::new(false),
            open: metrics.connections(),
            open_max: i64::try_from(limits.open_max).unwrap_or(i64::MAX),
        });
        if !connection.is_within_bound() {
            connection.join_spare(limits.spare_max.div_ceil(SPARE_KEPT));
        }
        CONNECTIONS.with_borrow_mut(|all| all.push(Rc::downgrade(&connection)));
        connection
    }

    /// Whether the connection is one of those that may be open; it may become one when others end.
    pub(super) fn is_within_bound(&self) -> bool {
        if !self.is_counted.get() && self.open.get() < self.open_max {
            self.is_counted.set(true);
            self.open.inc();
        }
        self.is_counted.get()
    }

    /// Whether the client has the turn: to send a request, or to take what is written.
    fn is_silent(&self) -> bool {
        self.turn.get() == Turn::Request || self.is_blocked.get()
    }

    /// Takes this one among those over the bound. Where more of them say nothing than are kept, the oldest end,
    /// once they had time to say something: else, while many come at once, none would be answered, and nobody
    /// who asks for health.
    fn join_spare(self: &Rc<Self>, kept: usize) {
        SPARE.with_borrow_mut(|spare| {
            spare.push_back((Rc::downgrade(self), Instant::now()));
            let is_spare = |one: &Rc<Self>| !one.is_counted.get() && !one.is_cut.get();
            spare.retain(|(one, _)| one.upgrade().is_some_and(|one| is_spare(&one)));
            let silent = spare.iter().filter_map(|(one, _)| one.upgrade());
            let mut excess = silent
                .filter(|one| one.is_silent())
                .count()
                .saturating_sub(kept);
            spare.retain(|(one, joined)| match one.upgrade() {
                Some(one) if excess > 0 && one.is_silent() => {
                    excess -= 1;
                    one.gives_way(*joined + SPARE_TIME);
                    false
                }
                Some(_) | None => true,
            });
        });
    }

    /// Ends this one, unless it says something until then.
    fn gives_way(self: &Rc<Self>, until: Instant) {
        if Instant::now() >= until {
            self.end();
            return;
        }
        let one = Rc::downgrade(self);
        actix_web::rt::spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            if let Some(one) = one.upgrade()
                && !one.is_counted.get()
                && one.is_silent()
            {
                one.end();
            }
        });
    }

    fn end(&self) {
        self.is_cut.set(true);
        self.wake();
    }

    /// A request's head came. Returns whether its target held a raw `#`, of which the framework
    /// shows nothing.
    pub(super) fn request_began(&self) -> bool {
        let request = self.begun.get();
        self.begun.set(request + 1);
        self.ahead.set(0);
        self.head.take();
        self.pass(Turn::Answer);
        self.framing.borrow_mut().had_fragment(request)
    }

    /// The body of the request may be read as it comes: there is room for it.
    pub(super) fn reads_body(&self) {
        self.ahead_max.set(usize::MAX);
        self.go_on();
    }

    /// The answer takes so much of the budget until it has left.
    pub(super) fn sends(&self, charge: Charge) {
        self.answer.replace(Some(charge));
    }

    /// The answer has no end: what it takes of the budget is given back whenever all of it has left.
    pub(super) fn sends_without_end(&self) {
        self.is_open_ended.set(true);
    }

    /// Whether the answer takes something of the budget.
    pub(super) fn is_charged(&self) -> bool {
        self.answer.borrow().is_some()
    }

    /// Whether the client does not take what is written to it.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked.get()
    }

    /// The answer was handed over whole.
    pub(super) fn request_ended(&self) {
        self.is_open_ended.set(false);
        self.ended.set(self.ended.get() + 1);
        self.ahead.set(0);
        self.ahead_max.set(AHEAD_BYTES);
        self.pass(Turn::Request);
        self.go_on();
    }

    /// Whether the connection was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    /// Remembers whom to wake.
    pub(super) fn waits(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
    }

    /// How many more requests may be read now; `None` where nothing may. Then whatever ends that
    /// wakes the task.
    pub(super) fn may_read(&self) -> Option<u64> {
        let heads = self.room();
        self.is_held_up.set(heads.is_none());
        heads
    }

    fn room(&self) -> Option<u64> {
        if self.is_blocked.get() {
            return None;
        }
        if self.ahead.get() >= self.ahead_max.get() {
            let is_head = self.turn.get() == Turn::Request;
            if !is_head {
                return None;
            }
            if self.head.borrow().is_none() {
                *self.head.borrow_mut() = Some(self.buffers.try_take(HEAD_BYTES)?);
            }
        }
        let unanswered = self.framing.borrow().heads() - self.ended.get();
        match PIPELINED_MAX.saturating_sub(unanswered) {
            0 if self.turn.get() == Turn::Answer && self.ahead_max.get() == usize::MAX => Some(1),
            0 => None,
            some => Some(some),
        }
    }

    /// So many bytes were read.
    pub(super) fn read(&self, bytes: usize) {
        self.ahead.set(self.ahead.get().saturating_add(bytes));
    }

    /// The client has ended its side: nothing more comes.
    pub(super) fn client_left(&self) {
        self.has_left.set(true);
    }

    /// Whether the client has ended its side. It is gone then, or nobody can tell when it will be. The
    /// framework lets its request go on, since it may still read.
    pub(super) fn has_client_left(&self) -> bool {
        self.has_left.get()
    }

    /// Bytes left.
    pub(super) fn wrote(&self) {
        self.since.set(LOOKS.get());
        if self.is_blocked.replace(false) {
            self.go_on();
        }
    }

    /// The client does not take more at the moment.
    pub(super) fn is_not_read(&self) {
        if !self.is_blocked.replace(true) {
            self.since.set(LOOKS.get());
        }
    }

    /// All that was written has left.
    pub(super) fn flushed(&self) {
        if self.turn.get() == Turn::Request || self.is_open_ended.get() {
            self.answer.take();
        }
    }

    fn pass(&self, turn: Turn) {
        self.turn.set(turn);
        self.since.set(LOOKS.get());
    }

    /// Wakes the task if it wanted to read.
    fn go_on(&self) {
        if self.is_held_up.replace(false) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn check(&self, limits: &ConnectionLimits, metrics: &Metrics) {
        let (limit, cut) = match self.turn.get() {
            _ if self.is_blocked.get() => (limits.write, Cut::Stalled),
            // What is left of a body that was refused is read, so that its client reads the answer,
            // but not for as long as it likes.
            Turn::Request if self.framing.borrow().is_in_body() => (REFUSED_TIME, Cut::Refused),
            Turn::Request => (limits.idle, Cut::Idle),
            Turn::Answer => return,
        };
        // A long head waits for its share of the budget.
        self.go_on();
        let looks = limit.div_duration_f64(limits.period()).ceil() as u64;
        if LOOKS.get() - self.since.get() > looks && !self.is_cut.replace(true) {
            log::debug!("a connection is cut: {}", cut.label());
            metrics.connection_cut(cut);
            self.wake();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_counted.get() {
            self.open.dec();
        }
    }
}
