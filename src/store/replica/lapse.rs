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

/// How often all partitions are looked at: a command for each.
const INTERVAL: Duration = Duration::from_millis(500);

/// How often those are whose first deadline is known and has come.
const TICK: Duration = Duration::from_millis(20);

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

/// What came of a look.
enum Looked {
    /// All that had ended was taken out.
    All,
    /// Some was; another server may have taken out the rest, or the engine's clock is behind this one.
    Some,
    /// There may be more that can be taken out.
    Partial,
    /// Nothing of what had ended was taken out, or it is not known what had.
    Nothing,
}

impl Lapser {
    /// Does so for ever.
    pub(in crate::store) async fn run(self) {
        self.status.opened().await;
        let all: Vec<usize> = partitions_of(self.share, self.shares).collect();
        let mut lapsed_until = self.clock.now();
        let mut whole_at = Instant::now();
        // Partitions where nothing could be taken out: the engine's clock may be behind this one, or it is not there. Those
        // few milliseconds that clocks differ are no half second: they are left for longer each time until all are looked at.
        let mut left = Vec::new();
        let (mut pause, mut left_until) = (TICK, whole_at);
        loop {
            let is_whole = whole_at <= Instant::now();
            if is_whole {
                whole_at = Instant::now() + INTERVAL;
                pause = TICK;
            }
            if is_whole || left_until <= Instant::now() {
                left.clear();
            }
            let partitions = match is_whole {
                true => all.clone(),
                false => self.due(&all, &left),
            };
            let mut is_partial = false;
            if !partitions.is_empty() && !self.status.is_foreign() {
                let now = self.clock.now();
                let looked = self.look(&partitions, now, lapsed_until).await;
                match looked {
                    Looked::All if is_whole => lapsed_until = now,
                    Looked::All | Looked::Some => {}
                    Looked::Partial => is_partial = true,
                    Looked::Nothing => {
                        left.extend(partitions);
                        pause *= 2;
                        left_until = Instant::now() + pause;
                    }
                }
            }
            if !is_partial {
                sleep(TICK).await;
            }
        }
    }

    /// The partitions in which a value has ended, as far as is known without asking.
    fn due(&self, all: &[usize], left: &[usize]) -> Vec<usize> {
        let now = self.clock.now();
        let is_due = |partition: &usize| {
            let end = self.client.first_end(*partition);
            end.is_some_and(|end| end.is_past(now)) && !left.contains(partition)
        };
        all.iter().copied().filter(is_due).collect()
    }

    /// Takes out what has ended by `now`, as much as is found at once. At `lapsed_until` nothing was left that had ended.
    async fn look(&self, partitions: &[usize], now: Deadline, lapsed_until: Deadline) -> Looked {
        let deadline = Instant::now() + self.patience;
        let Ok(lapsing) = self.client.lapsing(partitions, now, deadline).await else {
            return Looked::Nothing;
        };
        // A deadline may be long past when it is set; the value was not there to be taken out before.
        let oldest = lapsing.iter().map(|one| one.since.max(lapsed_until)).min();
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
        if is_cut && taken > 0 {
            return Looked::Partial;
        }
        if !lapsing.is_empty() {
            // What comes next there.
            let mut partitions: Vec<usize> = lapsing.iter().map(|one| one.partition).collect();
            partitions.dedup();
            let deadline = Instant::now() + self.patience;
            let _ = self.client.first_ends(&partitions, deadline).await;
        }
        match taken {
            taken if taken == lapsing.len() => Looked::All,
            0 => Looked::Nothing,
            _ => Looked::Some,
        }
    }
}
