//! When a shard looks next for values that have ended, where nobody asks it to.

use super::ShardActor;
use super::expiry::Expiry;
use crate::model::Deadline;
use crate::store::shared::HEARTBEAT;
use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use std::time::Duration;

/// How long to wait where there is something to be done that has to wait for the disk.
const RETRY: Duration = Duration::from_millis(100);

/// The one alarm of a shard.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    set: Option<(Deadline, SpawnHandle)>,
}

impl ShardActor {
    /// Takes keys out whose values have ended, for about 150 µs.
    pub(super) fn expire(&mut self) -> Expiry {
        let before = self.share.expired();
        let expiry = self.share.expire();
        if self.share.expired() != before {
            self.recount();
        }
        expiry
    }

    /// Sets the alarm to the earliest moment at which there may be something to do.
    pub(super) fn set_alarm(&mut self, context: &mut Context<Self>) {
        let Some(next) = self.share.map.next_expiry() else {
            return;
        };
        match self.alarm.set {
            Some((at, _)) if at <= next => return,
            Some((_, handle)) => drop(context.cancel_future(handle)),
            None => {}
        }
        let now = self.share.now();
        let wait = Duration::from_millis(next.as_millis().saturating_sub(now.as_millis()));
        // A clock that is set goes on in leaps.
        self.ring(
            next,
            wait.clamp(Duration::from_millis(1), HEARTBEAT),
            context,
        );
    }

    /// Has the alarm ring after some time; at once, but after others of the thread, where that is zero.
    fn ring(&mut self, at: Deadline, wait: Duration, context: &mut Context<Self>) {
        let wait = async move {
            match wait.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(wait).await,
            }
        };
        let rung = wait.into_actor(self).map(|(), shard, context| {
            shard.alarm.set = None;
            let wait = match shard.expire() {
                Expiry::Done => None,
                Expiry::Partial => Some(Duration::ZERO),
                Expiry::Held => Some(RETRY),
            };
            shard.follow_up(context);
            if let Some(wait) = wait {
                // Earlier than anything that comes meanwhile.
                shard.ring(Deadline::from_millis(0), wait, context);
            }
            shard.work_off(context);
        });
        let handle = context.spawn(rung);
        self.alarm.set = Some((at, handle));
    }
}
