//! Has keys of a share taken out whose values have ended.
//!
//! Every server does so, since none knows of the others: the engine looks at each value's deadline again by
//! its own clock, so that a key is taken out once, and never too early. It comes to the index by the log, as
//! any removal does.

use super::follower::partitions_of;
use super::{ReplicaStatus, Rounds};
use crate::clock::Clock;
use crate::model::Deadline;
use crate::valkey::{Client, LAPSING_KEYS};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long after a look the next is, unless that left keys over: a command for each partition.
const INTERVAL: Duration = Duration::from_millis(500);

/// Keys that are taken out in one pipeline.
const PIPELINED: usize = 64;

/// Looks after the values of a share that end.
pub(in crate::store) struct Lapser {
    /// This thread's access to the engine.
    pub(in crate::store) client: Rc<Client>,
    /// Where it is told what was done.
    pub(in crate::store) rounds: Rc<Rounds>,
    /// What all shares say of themselves.
    pub(in crate::store) status: Arc<ReplicaStatus>,
    pub(in crate::store) clock: Clock,
    /// Which share.
    pub(in crate::store) share: usize,
    /// How many shares there are.
    pub(in crate::store) shares: usize,
    /// How long the engine may take for one step.
    pub(in crate::store) patience: Duration,
}

impl Lapser {
    /// Does so for ever.
    pub(in crate::store) async fn run(self) {
        self.status.opened().await;
        let mut lapsed_until = self.clock.now();
        loop {
            let is_partial = !self.status.is_foreign() && self.look(&mut lapsed_until).await;
            if !is_partial {
                sleep(INTERVAL).await;
            }
        }
    }

    /// Takes out what has ended, as much as is found at once, and says whether there may be more. At
    /// `lapsed_until` nothing was left that had ended.
    async fn look(&self, lapsed_until: &mut Deadline) -> bool {
        let now = self.clock.now();
        let partitions = partitions_of(self.share, self.shares);
        let deadline = Instant::now() + self.patience;
        let Ok(lapsing) = self.client.lapsing(partitions, now, deadline).await else {
            return false;
        };
        // A deadline may be long past when it is set; the value was not there to be taken out before.
        let oldest = lapsing.iter().map(|one| one.since.max(*lapsed_until)).min();
        let lag = oldest.and_then(|oldest| oldest.past_at(now));
        self.rounds.lag.set(lag.unwrap_or_default());
        let mut taken = 0;
        for some in lapsing.chunks(PIPELINED) {
            let deadline = Instant::now() + self.patience;
            taken += self.client.lapse(some, deadline).await;
        }
        self.rounds
            .lapsed
            .set(self.rounds.lapsed.get() + taken as u64);
        // A partition may have given as many as it does at once.
        let is_cut = lapsing.len() >= LAPSING_KEYS;
        if !is_cut && taken == lapsing.len() {
            *lapsed_until = now;
        }
        taken > 0 && is_cut
    }
}
