//! The memory engine's actor: one share of the keys, on the thread that it was started on.
//!
//! It handles one message at a time and works at most about 200 µs on each. A panic inside a
//! message is caught there: handlers change the map last, so that no key is lost.

mod room;

use super::StoreError;
use super::merger::JobDone;
use super::message::{
    Admitted, Count, Counted, Delete, Found, Get, ManyWritten, Search, Set, SetMany, Stopped, Total,
};
use super::parked::{Answer, ParkedWrites};
use super::shared::{HEARTBEAT, Held, Shared};
use super::waiting::{AnswerGets, Queued, WaitingGet, WaitingGets};
use crate::keymap::{AHEAD_MAX, KeyMap, Room};
use crate::model::{Change, Condition, Expiry, Mutation, Revision, Value, Written};
use actix::{Actor, AsyncContext, Context, Handler, WrapFuture};
use room::{Compaction, Wanted};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long an actor works off searches and bulk writes before it lets the connections of its
/// thread have a turn.
const TURN: Duration = Duration::from_micros(250);

/// Owns one share of the keys.
#[derive(Debug)]
pub(super) struct ShardActor {
    shard: usize,
    map: KeyMap,
    last_revision: u64,
    /// Reads that wait for the end of the turn.
    gets: WaitingGets,
    /// Where they are while they are answered; empty between.
    answering: Vec<WaitingGet>,
    /// When the first search or bulk write of this turn came.
    turn_began: Option<Instant>,
    /// Writes that wait for room in the map, in bulk and single.
    parked_bulk: ParkedWrites,
    parked_single: ParkedWrites,
    /// Whether a turn was asked for in which the next of them is made.
    is_unparking: bool,
    compaction: Compaction,
    held: Held,
    shared: Arc<Shared>,
}

impl ShardActor {
    /// An empty share, whose revisions start at a random number.
    ///
    /// # Errors
    /// Where the system gives no random number.
    pub(super) fn new(shard: usize, shared: Arc<Shared>) -> Result<Self, getrandom::Error> {
        Ok(Self {
            shard,
            map: KeyMap::default(),
            last_revision: getrandom::u64()?,
            gets: WaitingGets::default(),
            answering: Vec::new(),
            turn_began: None,
            parked_bulk: ParkedWrites::default(),
            parked_single: ParkedWrites::default(),
            is_unparking: false,
            compaction: Compaction::Idle,
            held: Held::default(),
            shared,
        })
    }

    /// Ends a turn of the actor: answers the reads that wait.
    pub(super) fn end_turn(&mut self) {
        self.turn_began = None;
        self.answer_gets();
    }

    /// What precedes a message that may take long.
    fn begin_long(&mut self) {
        self.answer_gets();
        self.turn_began.get_or_insert_with(Instant::now);
    }

    /// What follows a message that may take long: where the turn has been long too, others have
    /// theirs before the next message. An actor works off all that is in its mailbox otherwise, and
    /// with searches of many connections that is milliseconds in which none of them is answered.
    fn end_long(&mut self, context: &mut Context<Self>) {
        if self.turn_began.is_some_and(|began| began.elapsed() > TURN) {
            self.turn_began = None;
            // Turns that end so leave time for one of the actor's futures only, which may not be
            // the one that shows that it is alive.
            self.shared.beat(self.shard);
            context.wait(tokio::task::yield_now().into_actor(self));
        }
    }

    /// Answers the reads that wait.
    fn answer_gets(&mut self) {
        if self.gets.len() == 0 {
            return;
        }
        let mut gets = std::mem::take(&mut self.answering);
        self.gets.take(&mut gets);
        // Were there a panic, it would be in each of the reads too, which answer it. A single one
        // fetches ahead by itself what it reads.
        let keys = gets.iter().map(WaitingGet::key);
        let ahead = match gets.len() {
            1 => None,
            _ => caught(|| Ok(self.map.look_ahead(keys))).ok(),
        };
        // Whoever gave up is told nothing, and costs nothing.
        let wanted = gets.drain(..).enumerate();
        for (at, get) in wanted.filter(|(_, get)| !get.is_abandoned()) {
            let answer = caught(|| match &ahead {
                Some(ahead) => Ok(ahead.get(at, get.key())),
                None => Ok(self.map.get(get.key())),
            });
            get.answer(answer);
        }
        self.answering = gets;
    }

    fn set(&mut self, mutation: Mutation) -> Result<Written, StoreError> {
        let Mutation {
            key,
            change,
            condition: Condition::Always,
            expires_at: Expiry::Never,
        } = mutation;
        let Change::Set { content_type, body } = change else {
            unreachable!("`Set` and `SetMany` are made of changes that set");
        };
        self.check_room_for(&key, body.len())?;
        let revision = self.next_revision();
        let value = Value {
            content_type,
            body,
            revision,
        };
        let created = self.map.set(&key, value);
        Ok(Written { revision, created })
    }

    fn set_many(&mut self, mutations: Vec<Mutation>) -> ManyWritten {
        let mut written = ManyWritten::default();
        for mutation in mutations {
            match self.guard(|shard| shard.set(mutation)) {
                Ok(Written { created: true, .. }) => written.created += 1,
                Ok(Written { created: false, .. }) => written.updated += 1,
                Err(error) => {
                    let at = (written.created + written.updated) as usize;
                    written.stopped = Some(Stopped { at, error });
                    break;
                }
            }
        }
        written
    }

    fn delete(&mut self, mutation: &Mutation) -> Option<Revision> {
        let Mutation {
            key,
            change: _,
            condition: Condition::Always,
            expires_at: Expiry::Never,
        } = mutation;
        let revision = self.next_revision();
        self.map.delete(key).then_some(revision)
    }

    fn next_revision(&mut self) -> Revision {
        self.last_revision = self.last_revision.wrapping_add(1);
        Revision(self.last_revision)
    }

    /// Runs a handler; a panic in it becomes an error. The panic hook logs where it was.
    pub(super) fn guard<T>(
        &mut self,
        handler: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        caught(|| handler(self))
    }

    /// What follows every change: count the bytes, and hand out jobs.
    fn changed(&mut self, context: &mut Context<Self>) {
        let now = Held {
            bytes: self.map.heap_bytes(),
            merging_bytes: self.map.merging_bytes(),
            reclaimable_bytes: match self.compaction {
                Compaction::Idle | Compaction::Asked => self.map.reclaimable_bytes(),
                Compaction::Failed => 0,
            },
        };
        self.shared.recount(&mut self.held, now);
        self.hand_out_jobs(context);
        self.compact(context);
    }

    fn hand_out_jobs(&mut self, context: &mut Context<Self>) {
        while let Some(job) = self.map.next_job() {
            self.shared.merger.run(job, context.address().recipient());
        }
    }
}

/// Runs what may panic.
fn caught<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(StoreError::Panicked))
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.beat(self.shard);
        context.spawn(AnswerGets);
        context.run_interval(HEARTBEAT, |shard, context| {
            shard.shared.beat(shard.shard);
            shard.parked_bulk.drop_abandoned();
            shard.parked_single.drop_abandoned();
            shard.want_room();
            // What made room, or what wants some, may have happened in another shard.
            shard.unpark(context);
            shard.compact(context);
        });
    }
}

/// Its keys are gone with it.
impl Drop for ShardActor {
    fn drop(&mut self) {
        self.shared.end(self.shard);
    }
}

impl Handler<Admitted<Get>> for ShardActor {
    type Result = Queued;

    fn handle(&mut self, message: Admitted<Get>, _: &mut Self::Context) -> Self::Result {
        // As many as are fetched at once: those that come while a mailbox never empties wait no longer.
        if self.gets.len() >= AHEAD_MAX {
            self.answer_gets();
        }
        self.gets.queue(message)
    }
}

impl Handler<Admitted<Set>> for ShardActor {
    type Result = Answer<Written>;

    fn handle(&mut self, message: Admitted<Set>, context: &mut Self::Context) -> Self::Result {
        self.answer_gets();
        let bytes = self.wanted_bytes(&message.message.mutation);
        let room = Room::Crowded;
        self.write(Wanted { room, bytes }, context, move |shard| {
            let Admitted {
                message,
                permit: _permit,
            } = message;
            shard.set(message.mutation)
        })
    }
}

impl Handler<Admitted<SetMany>> for ShardActor {
    type Result = Answer<ManyWritten>;

    fn handle(&mut self, message: Admitted<SetMany>, context: &mut Self::Context) -> Self::Result {
        self.begin_long();
        let wanted = Self::wanted_in_bulk(&message.message.mutations);
        let answer = self.write(wanted, context, move |shard| {
            let Admitted {
                message,
                permit: _permit,
            } = message;
            Ok(shard.set_many(message.mutations))
        });
        self.end_long(context);
        answer
    }
}

impl Handler<Admitted<Delete>> for ShardActor {
    type Result = Result<Option<Revision>, StoreError>;

    fn handle(&mut self, message: Admitted<Delete>, context: &mut Self::Context) -> Self::Result {
        self.answer_gets();
        let deleted = self.guard(|shard| Ok(shard.delete(&message.message.mutation)));
        self.changed(context);
        deleted
    }
}

impl Handler<Admitted<Search>> for ShardActor {
    type Result = Result<Found, StoreError>;

    fn handle(&mut self, message: Admitted<Search>, context: &mut Self::Context) -> Self::Result {
        self.begin_long();
        let Search {
            filter,
            after,
            limit,
            total,
        } = &message.message;
        let found = self.guard(|shard| {
            let (page, total) = match total {
                Total::Wanted => shard.map.page_and_count(filter, after, *limit),
                Total::Known => (shard.map.page(filter, after, *limit), 0),
            };
            Ok(Found { page, total })
        });
        // A search that met many deleted keys asks for a merge.
        self.hand_out_jobs(context);
        self.end_long(context);
        found
    }
}

impl Handler<Admitted<Count>> for ShardActor {
    type Result = Result<Counted, StoreError>;

    fn handle(&mut self, _: Admitted<Count>, _: &mut Self::Context) -> Self::Result {
        self.guard(|shard| {
            Ok(Counted {
                keys: shard.map.len(),
                index: shard.map.stats(),
            })
        })
    }
}

impl Handler<JobDone> for ShardActor {
    type Result = ();

    fn handle(&mut self, JobDone(outcome): JobDone, context: &mut Self::Context) {
        self.answer_gets();
        let merger = &self.shared.merger;
        let has_ended = merger.end(outcome, context.address().recipient(), |outcome| {
            self.map.finish(outcome)
        });
        if self.map.is_broken() {
            super::abort(super::BROKEN);
        }
        if has_ended {
            self.unpark(context);
        }
        self.changed(context);
    }
}

#[cfg(test)]
mod tests;
