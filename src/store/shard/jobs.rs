//! What a shard does beside what it is asked: it hands out the jobs of its map, and has values moved together.

use super::ShardActor;
use super::share::{BULK_BYTES, caught};
use crate::keymap::Need;
use crate::store::abort::{BROKEN, abort};
use crate::store::merger::JobDone;
use crate::store::shared::Fit;
use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use std::time::Duration;

/// How long others have the thread between two steps of compaction, which take 100 µs or so.
const COMPACTION_PAUSE: Duration = Duration::from_millis(1);

/// Whether values are being moved together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compaction {
    Idle,
    /// A turn was asked for in which the next step is taken.
    Asked,
    /// A step panicked. There is no next one, since that would too.
    Failed,
}

impl ShardActor {
    /// Counts what the share holds after a change.
    pub(super) fn recount(&mut self) {
        self.share.recount(match self.compaction {
            Compaction::Idle | Compaction::Asked => self.share.map.reclaimable_bytes(),
            Compaction::Failed => 0,
        });
    }

    /// What follows changes, and searches, which may ask for a merge: hands out jobs, and has values moved
    /// together.
    pub(super) fn follow_up(&mut self, context: &mut Context<Self>) {
        self.hand_out_jobs(context);
        self.compact(context);
    }

    /// Hands out the jobs that there is room for, one after the other, so that each counts for the next. Most often there
    /// is none, and then it waits for no other shard.
    pub(super) fn hand_out_jobs(&mut self, context: &mut Context<Self>) {
        while self.share.map.may_have_job() && self.share.map.wants_job(self.shared.merge_room()) {
            let shared = self.shared.clone();
            let beginning = shared.begin_jobs();
            let Some(job) = self.share.map.next_job_within(shared.merge_room()) else {
                break;
            };
            self.recount();
            drop(beginning);
            shared.merger.run(job, context.address().recipient());
        }
    }

    /// Takes the next step of compaction in a turn of its own, where it is worth it.
    pub(super) fn compact(&mut self, context: &mut Context<Self>) {
        // Less is asked for room, and most often there is nothing to do for either.
        if self.compaction != Compaction::Idle || !self.share.map.wants_compaction(Need::Room) {
            return;
        }
        let need = if self.shared.fit(BULK_BYTES) != Fit::Now || self.shared.is_room_wanted() {
            Need::Room
        } else {
            Need::Thrift
        };
        if !self.share.map.wants_compaction(need) {
            return;
        }
        self.compaction = Compaction::Asked;
        let pause = async move {
            match need {
                Need::Thrift => tokio::time::sleep(COMPACTION_PAUSE).await,
                Need::Room => tokio::task::yield_now().await,
            }
        };
        context.spawn(pause.into_actor(self).map(move |(), shard, context| {
            let compacted = caught(|| Ok(shard.share.map.compact(need)));
            shard.compaction = match compacted {
                Ok(_) => Compaction::Idle,
                Err(_) => Compaction::Failed,
            };
            shard.recount();
            shard.follow_up(context);
            shard.work_off(context);
        }));
    }
}

impl Handler<JobDone> for ShardActor {
    type Result = ();

    fn handle(&mut self, JobDone(outcome): JobDone, context: &mut Self::Context) {
        self.shared
            .merger
            .end(outcome, context.address().recipient(), |outcome| {
                self.share.map.finish(outcome)
            });
        if self.share.map.is_broken() {
            abort(BROKEN);
        }
        self.recount();
        self.follow_up(context);
    }
}
