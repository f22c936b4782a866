//! Room for writes: how much there is, which wait for it, and compaction, which makes some.

use super::{ShardActor, StoreError};
use crate::keymap::{Need, Room};
use crate::model::{Change, Key, Mutation};
use crate::store::parked::{Answer, ParkedWrites};
use crate::store::shared::Fit;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use std::time::Duration;

/// What a new key takes besides its own bytes and its value's body, about, in bytes.
const ENTRY_BYTES: usize = 100;

/// What room a message of a bulk body is given at least, in bytes.
const BULK_BYTES: usize = 64 * 1024;

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

/// What a write waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The least room in the map that it goes on with.
    pub(super) room: Room,
    /// What it adds to the store, about, in bytes.
    pub(super) bytes: usize,
}

impl ShardActor {
    /// Whether the store has room for a value of `body_bytes`. What does not grow it always fits.
    pub(super) fn check_room_for(&self, key: &Key, body_bytes: usize) -> Result<(), StoreError> {
        let bytes_max = self.shared.bytes_max;
        let held = self.shared.bytes();
        let new = entry_bytes(key, body_bytes);
        if held.saturating_add(new) <= bytes_max {
            return Ok(());
        }
        // Near the bound it is worth looking what the value replaces.
        let grows = match self.map.get(key) {
            Some(old) => body_bytes.saturating_sub(old.body.len()),
            None => new,
        };
        if grows == 0 || held.saturating_add(grows) <= bytes_max {
            return Ok(());
        }
        Err(StoreError::Full { bytes_max })
    }

    /// What a change waits for where the store is full: nothing where it fits as it is.
    pub(super) fn wanted_bytes(&mut self, mutation: &Mutation) -> usize {
        let Change::Set { body, .. } = &mutation.change else {
            return 0;
        };
        match self.guard(|shard| shard.check_room_for(&mutation.key, body.len())) {
            Err(StoreError::Full { .. }) => entry_bytes(&mutation.key, body.len()),
            _ => 0,
        }
    }

    /// What room a message of a bulk body waits for.
    pub(super) fn wanted_in_bulk(mutations: &[Mutation]) -> Wanted {
        let bytes: usize = mutations.iter().map(new_bytes).sum();
        Wanted {
            room: Room::Open,
            bytes: bytes.max(BULK_BYTES),
        }
    }

    /// How much room there is for writes of so many bytes. They wait where the store would have room but
    /// for merges under way, or has after compaction.
    fn room(&self, bytes: usize) -> Room {
        let fit = match bytes {
            // What does not grow the store always fits.
            0 => Fit::Now,
            _ => self.shared.fit(bytes),
        };
        match (self.map.room(), fit) {
            (_, Fit::AfterMerges | Fit::AfterCompaction) => Room::Full,
            (room, Fit::Now | Fit::Never) => room,
        }
    }

    /// Makes a write now, or, where the fresh part of the map is too full for it, once a job has
    /// ended. Writes that need as much room stay in their order.
    pub(super) fn write<T: 'static>(
        &mut self,
        wanted: Wanted,
        context: &mut Context<Self>,
        run: impl FnOnce(&mut Self) -> Result<T, StoreError> + 'static,
    ) -> Answer<T> {
        let Wanted { room, bytes } = wanted;
        let has_room = self.room(bytes) <= room;
        let parked = match room {
            Room::Open => &mut self.parked_bulk,
            Room::Crowded | Room::Full => &mut self.parked_single,
        };
        if has_room && parked.is_empty() {
            let result = self.guard(run);
            self.changed(context);
            return Answer::Now(result);
        }
        let answer = parked.park(bytes, run);
        self.want_room();
        self.changed(context);
        answer
    }

    /// Makes one parked write and comes back for the next once others had their turn.
    pub(super) fn unpark(&mut self, context: &mut Context<Self>) {
        if self.is_unparking {
            return;
        }
        let (parked, most) = match self.parked_single.is_empty() {
            true => (&self.parked_bulk, Room::Open),
            false => (&self.parked_single, Room::Crowded),
        };
        if parked.is_empty() || self.room(parked.bytes()) > most {
            return;
        }
        let next = match most {
            Room::Open => self.parked_bulk.next(),
            Room::Crowded | Room::Full => self.parked_single.next(),
        };
        if let Some(make) = next {
            self.answer_gets();
            make(self);
            self.changed(context);
            self.is_unparking = true;
            let turn = tokio::task::yield_now().into_actor(self);
            context.spawn(turn.map(|(), shard, context| {
                shard.is_unparking = false;
                shard.unpark(context);
            }));
        }
    }

    /// Asks all shards for memory, where parked writes wait for that.
    pub(super) fn want_room(&self) {
        let wait = |parked: &ParkedWrites| {
            !parked.is_empty() && self.shared.fit(parked.bytes()) == Fit::AfterCompaction
        };
        if wait(&self.parked_single) || wait(&self.parked_bulk) {
            self.shared.want_room();
        }
    }

    /// What the memory is wanted for that compaction gives back.
    fn need(&self) -> Need {
        if self.shared.fit(BULK_BYTES) != Fit::Now || self.shared.is_room_wanted() {
            Need::Room
        } else {
            Need::Thrift
        }
    }

    /// Takes the next step of compaction in a turn of its own, where it is worth it.
    pub(super) fn compact(&mut self, context: &mut Context<Self>) {
        // Less is asked for room, and most often there is nothing to do for either.
        if self.compaction != Compaction::Idle || !self.map.wants_compaction(Need::Room) {
            return;
        }
        let need = self.need();
        if !self.map.wants_compaction(need) {
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
            shard.answer_gets();
            let compacted = shard.guard(|shard| Ok(shard.map.compact(need)));
            shard.compaction = match compacted {
                Ok(_) => Compaction::Idle,
                Err(_) => Compaction::Failed,
            };
            shard.changed(context);
            shard.unpark(context);
        }));
    }
}

/// What a change adds to the store that sets a new key, about, in bytes.
fn new_bytes(mutation: &Mutation) -> usize {
    match &mutation.change {
        Change::Set { body, .. } => entry_bytes(&mutation.key, body.len()),
        Change::Delete => 0,
    }
}

/// What a new key adds to the store, about, in bytes.
fn entry_bytes(key: &Key, body_bytes: usize) -> usize {
    key.as_bytes().len() + body_bytes + ENTRY_BYTES
}
