//! The memory engine's actor: one share of the keys, on the thread that it was started on.
//!
//! Messages of clients join its [`Turn`], whose end works them off in order. It works at most about
//! 200 µs on each.
//!
//! # Layout
//! - `share`: the keys, and what messages do; `expiry`: values that end; `erasing`: a removal by filter
//! - `unsynced`: what is not on disk yet, and the answers that wait for it
//! - `held`: changes that wait for room; `jobs`: merges and compaction; `alarm`: when something ends that nobody asks for

mod alarm;
mod erasing;
mod expiry;
mod held;
mod jobs;
mod share;
mod unsynced;

use super::StoreError;
use super::journal::Journal;
use super::message::{
    Admitted, Change, ChangeMany, Count, Counted, Erase, Get, GetMany, Group, Reached, Search, Snap,
};
use super::shared::{HEARTBEAT, Shared};
use super::turn::{Ask, Asked, Asker, First, Joining, Turn};
use crate::durable::LoadedShard;
use crate::keymap::AHEAD_MAX;
use actix::{Actor, ActorFuture, AsyncContext, Context, Handler, Message, WrapFuture};
use alarm::Alarm;
use expiry::there_at;
use jobs::Compaction;
use share::{Share, Wanted, caught};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use unsynced::{Answer, BATCH_BYTES, Unsynced, Wait};

/// For how long an actor works off searches, what changes or reads many keys before it lets the
/// connections of its thread have a turn.
const TURN: Duration = Duration::from_micros(250);

/// Owns one share of the keys.
#[derive(Debug)]
pub(super) struct ShardActor {
    shard: usize,
    share: Share,
    turn: Turn,
    compaction: Compaction,
    alarm: Alarm,
    shared: Arc<Shared>,
}

/// The future that works the queue off at the end of each turn. It never ends.
struct EndTurn;

impl ShardActor {
    /// A share of what was loaded, and the log that its changes go to, if there is one.
    ///
    /// # Errors
    /// Where the system gives no random number.
    pub(super) fn new(
        shard: usize,
        shared: Arc<Shared>,
        loaded: LoadedShard,
        journal: Option<Arc<Journal>>,
    ) -> Result<Self, getrandom::Error> {
        let unsynced = journal.map(|journal| Unsynced::new(shard, journal));
        Ok(Self {
            shard,
            share: Share::new(shared.clone(), loaded, unsynced)?,
            turn: Turn::default(),
            compaction: Compaction::Idle,
            alarm: Alarm::default(),
            shared,
        })
    }

    /// Works off what was asked, in order, and hands the records of what was changed over.
    fn work_off(&mut self, context: &mut Context<Self>) {
        self.work_off_turn(context);
        self.share.hand_over(self.shard);
        self.set_alarm(context);
    }

    /// Works off what was asked, in order. Where what may take long has, others have their turn before the
    /// rest.
    fn work_off_turn(&mut self, context: &mut Context<Self>) {
        let mut began = None;
        while let Some(first) = self.turn.first(AHEAD_MAX) {
            match first {
                First::Gets(count) => self.answer_gets(count),
                First::Changes(count) => {
                    if count > 1 {
                        let keys = self.turn.keys().take(count);
                        // Were there a panic, it would be in each of the changes too.
                        let _ahead = caught(|| Ok(self.share.map.look_ahead(keys)));
                    }
                    (0..count).for_each(|_| self.carry_out_next());
                    self.follow_up(context);
                }
                First::Long => {
                    let began = *began.get_or_insert_with(Instant::now);
                    // So that a total leaves out what has ended.
                    self.expire();
                    self.carry_out_next();
                    self.follow_up(context);
                    if began.elapsed() > TURN {
                        return self.pause(context);
                    }
                }
            }
        }
        self.go_on_with_held(context);
    }

    /// Answers so many reads together. A single one fetches ahead by itself what it reads.
    fn answer_gets(&mut self, count: usize) {
        let Share { map, unsynced, .. } = &mut self.share;
        let map = &*map;
        let ahead = match count {
            1 => None,
            _ => caught(|| Ok(map.look_ahead(self.turn.keys().take(count)))).ok(),
        };
        for at in 0..count {
            let Some(Ask { message, asker }) = self.turn.take_get() else {
                break;
            };
            if asker.is_abandoned() {
                continue;
            }
            let answer = caught(|| match &ahead {
                Some(ahead) => Ok(ahead.get(at, &message.key)),
                None => Ok(map.get(&message.key)),
            });
            let answer = answer.map(|value| there_at(value, &self.shared.clock));
            match unsynced {
                None => asker.answer(answer),
                Some(unsynced) => match unsynced.of_key(&message.key) {
                    None => asker.answer(answer),
                    Some(wait) => unsynced.wait(wait, Answer::Get(asker, answer)),
                },
            }
        }
    }

    /// Carries out what is first in the queue. A change that finds no room is held.
    fn carry_out_next(&mut self) {
        match self.turn.take() {
            None => {}
            Some(Asked::Get(ask)) => self.get(ask),
            Some(Asked::GetMany(ask)) => self.get_many(ask),
            Some(Asked::Search(ask)) => self.search(ask),
            Some(Asked::Group(ask)) => self.group(ask),
            Some(Asked::Change(ask)) => {
                let wanted = self.share.wanted(&ask.message.mutation);
                // A removal goes past those that wait.
                let is_next = self.turn.held.is_empty() || wanted == Wanted::NOTHING;
                if is_next && self.may_write(wanted) {
                    self.change(ask);
                } else {
                    self.turn.held.push_back(ask);
                }
            }
            Some(Asked::ChangeMany(ask)) => {
                let wanted = Share::wanted_in_bulk(&ask.message.mutations);
                if self.turn.held_bulk.is_empty() && self.may_write(wanted) {
                    self.change_many(ask);
                } else {
                    self.turn.held_bulk.push_back(ask);
                }
            }
            // It goes past those that wait for room.
            Some(Asked::Erase(ask)) => {
                if self.may_write(Wanted::NOTHING) {
                    self.erase(ask);
                } else {
                    self.turn.held_erase.push_back(ask);
                }
            }
        }
    }

    fn get(&mut self, Ask { message, asker }: Ask<Get>) {
        let answer = caught(|| Ok(self.share.map.get(&message.key)));
        let answer = answer.map(|value| there_at(value, &self.shared.clock));
        let wait = self.share.wait_for_key(&message.key);
        self.answer(wait, asker, answer, Answer::Get);
    }

    fn get_many(&mut self, Ask { message, asker }: Ask<GetMany>) {
        if asker.is_abandoned() {
            return;
        }
        let answer = self.share.get_many(&message);
        let unsynced = self.share.unsynced.as_ref();
        let wait = unsynced.and_then(|unsynced| unsynced.of_keys(&message.keys));
        self.answer(wait, asker, answer, Answer::GetMany);
    }

    fn search(&mut self, Ask { message, asker }: Ask<Search>) {
        let answer = self.share.search(&message);
        let unsynced = self.share.unsynced.as_ref();
        let wait = unsynced.and_then(|unsynced| unsynced.of_filter(&message.filter));
        self.answer(wait, asker, answer, Answer::Search);
    }

    fn group(&mut self, Ask { message, asker }: Ask<Group>) {
        let answer = self.share.group(&message);
        let unsynced = self.share.unsynced.as_ref();
        let wait = unsynced.and_then(|unsynced| unsynced.of_filter(&message.grouping.filter));
        self.answer(wait, asker, answer, Answer::Group);
    }

    fn change(&mut self, Ask { message, asker }: Ask<Change>) {
        if asker.is_abandoned() {
            return;
        }
        let key = match self.share.unsynced {
            None => None,
            Some(_) => Some(message.mutation.key.clone()),
        };
        let changed = self.share.change(message.mutation);
        self.recount();
        // That of a change which was not made may rest on another.
        let wait = key.and_then(|key| self.share.wait_for_key(&key));
        self.answer(wait, asker, changed, Answer::Change);
        self.hand_over_if(Unsynced::is_large);
    }

    /// Answers at once, though what was changed is not on disk: who asks for many changes waits for the
    /// log once, at the end.
    fn change_many(&mut self, Ask { message, asker }: Ask<ChangeMany>) {
        if !asker.is_abandoned() {
            let changed = self.share.change_many(message.mutations);
            self.recount();
            self.hand_over_if(|_| true);
            asker.answer(Ok(changed));
        }
    }

    /// As [`change_many`](Self::change_many), of keys that a filter names.
    fn erase(&mut self, Ask { message, asker }: Ask<Erase>) {
        if !asker.is_abandoned() {
            let erased = self.share.erase(message);
            self.recount();
            self.hand_over_if(|_| true);
            asker.answer(Ok(erased));
        }
    }

    /// Gives an answer, or has it wait for the disk.
    fn answer<T>(
        &mut self,
        wait: Option<Wait>,
        asker: Asker<T>,
        answer: T,
        waiting: fn(Asker<T>, T) -> Answer,
    ) {
        match (wait, &mut self.share.unsynced) {
            (Some(wait), Some(unsynced)) => unsynced.wait(wait, waiting(asker, answer)),
            (_, None) | (None, _) => asker.answer(answer),
        }
    }

    fn hand_over_if(&mut self, is_due: impl FnOnce(&Unsynced) -> bool) {
        let is_due = match &self.share.unsynced {
            Some(unsynced) => is_due(unsynced),
            None => self.share.followed.bytes() >= BATCH_BYTES,
        };
        if is_due {
            self.share.hand_over(self.shard);
        }
    }

    /// Gives others of the thread a turn before the next message. An actor works off all that is in its
    /// mailbox otherwise, and with searches of many connections that is milliseconds in which none of
    /// them is answered.
    fn pause(&self, context: &mut Context<Self>) {
        // Turns that end so leave time for one of the actor's futures only, which may not be the one
        // that shows that it is alive.
        self.shared.beat(self.shard);
        context.wait(tokio::task::yield_now().into_actor(self));
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.beat(self.shard);
        if let Some(unsynced) = &self.share.unsynced {
            let this = context.address();
            let (reached, snap) = (this.clone().recipient(), this.recipient());
            unsynced.journal().tell(self.shard, reached, snap);
        }
        context.spawn(EndTurn);
        // What was loaded may have merges to be done.
        self.follow_up(context);
        context.run_interval(HEARTBEAT, |shard, context| {
            shard.shared.beat(shard.shard);
            shard.turn.drop_abandoned();
            // What made room, or what wants some, may have happened in another shard.
            shard.work_off(context);
            if shard.share.map.look_again() {
                shard.hand_out_jobs(context);
            }
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

impl ActorFuture<ShardActor> for EndTurn {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        shard: &mut ShardActor,
        context: &mut Context<ShardActor>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<()> {
        shard.work_off(context);
        Poll::Pending
    }
}

impl<M> Handler<Admitted<M>> for ShardActor
where
    M: Message + 'static,
    Asked: From<Ask<M>>,
{
    type Result = Joining<M>;

    fn handle(&mut self, message: Admitted<M>, context: &mut Self::Context) -> Self::Result {
        // As many as are looked up at once: those that come while a mailbox never empties wait no longer.
        if self.turn.arrived() >= AHEAD_MAX {
            self.work_off(context);
        }
        self.turn.join(message)
    }
}

impl Handler<Count> for ShardActor {
    type Result = Result<Counted, StoreError>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        self.expire();
        self.share.count()
    }
}

impl Handler<Reached> for ShardActor {
    type Result = ();

    fn handle(&mut self, reached: Reached, context: &mut Self::Context) {
        let Some(unsynced) = &mut self.share.unsynced else {
            return;
        };
        match reached {
            // What is left has a turn of its own.
            Reached::Position(position) if unsynced.reached(position) => context.notify(reached),
            Reached::Position(_) => {}
            Reached::Nothing => unsynced.fail(),
        }
    }
}

impl Handler<Snap> for ShardActor {
    type Result = ();

    fn handle(&mut self, snap: Snap, context: &mut Self::Context) {
        // Who asked may have gone away, and hears of a panic by no answer.
        match snap {
            Snap::Image(reply) => {
                if let Ok(image) = caught(|| Ok(self.share.image())) {
                    let _ = reply.send(image);
                }
                self.follow_up(context);
            }
            Snap::Values(slots, reply) => {
                if let Ok(values) = caught(|| Ok(self.share.copy_values(slots))) {
                    let _ = reply.send(values);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
