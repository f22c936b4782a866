//! The key index of an engine outside of this process: each server holds all keys, without values,
//! and keeps up with the engine's log before each search.
//!
//! # Layout
//! - `actor`: owns the index of one share of the partitions, and answers searches
//! - `follower`: reads heads and logs in rounds, which searches wait for; `follower::mend`: puts
//!   what was read in place of what the index held; `follower::tail`: hands what was read to those who watch
//! - `told`: what that is; `past`: the same of a while ago, for one who comes from another server
//! - `lapse`: has keys taken out whose values have ended
//! - `reading`: reads a partition whole, at the start and where an index has diverged
//! - `status`: what the server says of all shares

mod actor;
mod follower;
mod lapse;
mod past;
mod reading;
mod status;
mod told;

pub(super) use actor::{CountKnown, ReplicaActor, Round, Suspect};
pub(super) use follower::{Follower, FollowerOptions, share_of};
pub(super) use lapse::Lapser;
pub use past::{PAST_CHANGES_MAX, Past, PastError};
pub use status::ReplicaStats;
pub(super) use status::ReplicaStatus;

use crate::valkey::EngineError;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// The searches of a share that wait for the next round, and what wakes whom.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    searches: RefCell<Vec<Ticket>>,
    /// A search has come, or a partition is to be read again.
    woken: Notify,
    /// A job has made room in the index.
    room: Notify,
    /// Partitions that someone has found to be wrong.
    suspects: RefCell<Vec<usize>>,
    /// Keys that were taken out since their value had ended.
    lapsed: Cell<u64>,
    /// For how long the value had ended that did so first of those that were found last.
    lag: Cell<Duration>,
}

/// What a search waits for: a round that begins after it came.
type Ticket = oneshot::Sender<Result<(), EngineError>>;

impl Rounds {
    /// Takes a place among those that wait for the next round.
    fn join(&self) -> oneshot::Receiver<Result<(), EngineError>> {
        let (sender, receiver) = oneshot::channel();
        self.searches.borrow_mut().push(sender);
        self.woken.notify_one();
        receiver
    }

    fn is_empty(&self) -> bool {
        self.searches.borrow().is_empty()
    }

    /// All that wait now.
    fn take(&self) -> Vec<Ticket> {
        self.searches.take()
    }

    /// Lets those wait on whose round came to nothing.
    fn put_back(&self, tickets: Vec<Ticket>) {
        let waits = |ticket: &Ticket| !ticket.is_closed();
        self.searches
            .borrow_mut()
            .extend(tickets.into_iter().filter(waits));
    }

    /// Has a partition read again.
    fn suspect(&self, partition: usize) {
        self.suspects.borrow_mut().push(partition);
        self.woken.notify_one();
    }
}
