//! When a shard looks next for values that have ended, where nobody asks it to.

use super::ShardActor;
use crate::model::Deadline;
use crate::store::shared::HEARTBEAT;
use actix::{ActorFutureExt, AsyncContext, Context, SpawnHandle, WrapFuture};
use std::time::Duration;

/// How long to wait where there is something to be done that cannot be, since the disk is full.
const RETRY: Duration = Duration::from_millis(100);

/// The one alarm of a shard.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    set: Option<(Deadline, SpawnHandle)>,
}

impl ShardActor {
    /// Takes keys out whose values have ended, for about 150 µs, and says whether there may be more.
    pub(super) fn expire(&mut self) -> bool {
        let before = self.share.expired();
        let is_partial = self.share.expire();
        if self.share.expired() != before {
            self.recount();
        }
        is_partial
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
            let is_partial = shard.expire();
            shard.follow_up(context);
            let next = shard.share.map.next_expiry();
            if let Some(next) = next.filter(|next| next.is_past(shard.share.now())) {
                let wait = match is_partial {
                    true => Duration::ZERO,
                    false => RETRY,
                };
                shard.ring(next, wait, context);
            }
            shard.work_off(context);
        });
        let handle = context.spawn(rung);
        self.alarm.set = Some((at, handle));
    }
}
