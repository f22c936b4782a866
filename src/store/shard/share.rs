//! One share of the keys with their values, and what is asked of it.
//!
//! What a message does is here; when it is done is the actor's. What may panic changes the map last,
//! so that no key is lost. Where there is a log, each change writes its record, which is handed over at
//! the end of the turn.

use super::expiry::there_at;
use super::unsynced::{TurnRecords, Unsynced, Wait};
use crate::durable::{LoadedShard, Moment};
use crate::keymap::{AHEAD_MAX, Decision, Head, Image, KeyMap, Present, Room, SlotValues};
use crate::model::{Change, Changed, Condition, Deadline, Fetched, Key, Mutation, Revision, Value};
use crate::store::StoreError;
use crate::store::message::{
    Counted, Found, FoundGroups, GetMany, Group, ManyChanged, Search, Stopped, Total,
};
use crate::store::shared::{Fit, Footprint, Shared};
use std::cell::LazyCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What a new key takes besides its own bytes and its value's body, about, in bytes, with the room that is kept for
/// making a segment of it.
const ENTRY_BYTES: usize = 140;

/// How often a new key's own bytes are counted: in the tree, and twice while a segment is made of that.
const KEY_TIMES: usize = 3;

/// What the deadline of a value takes, about, in bytes.
const ENDING_BYTES: usize = 32;

/// What room a message of a bulk body is given at least, in bytes.
pub(super) const BULK_BYTES: usize = 64 * 1024;

/// What changes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The least room in the map that they go on with.
    room: Room,
    /// What they add to the store, about, in bytes.
    bytes: usize,
}

impl Wanted {
    /// They do not wait.
    pub(super) const NOTHING: Self = Self {
        room: Room::Full,
        bytes: 0,
    };
}

/// One share of the keys.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) map: KeyMap,
    /// What is not on disk yet, where there is a log.
    pub(super) unsynced: Option<Unsynced>,
    /// What was changed in this turn, where there is none but the changes are recorded.
    pub(super) followed: TurnRecords,
    pub(super) last_revision: u64,
    /// Keys that were taken out since their value had ended.
    pub(super) expired: u64,
    /// Until when what had ended was taken out, all of it.
    pub(super) expired_until: Deadline,
    held: Footprint,
    pub(super) shared: Arc<Shared>,
}

impl Share {
    /// A share of what was loaded. Where there never was a change, its revisions start at a random number.
    ///
    /// # Errors
    /// Where the system gives no random number.
    pub(super) fn new(
        shared: Arc<Shared>,
        loaded: LoadedShard,
        unsynced: Option<Unsynced>,
    ) -> Result<Self, getrandom::Error> {
        let LoadedShard {
            map,
            last_revision,
            checkpoint: _,
        } = loaded;
        let last_revision = match last_revision {
            Some(last) => last,
            // In the lower half, so that they do not come to an end.
            None => getrandom::u64()? >> 1,
        };
        let mut share = Self {
            map,
            unsynced,
            followed: TurnRecords::default(),
            last_revision,
            expired: 0,
            expired_until: shared.clock.now(),
            held: Footprint::default(),
            shared,
        };
        share.map.bound_trees(share.shared.tree_bytes());
        share.recount(0);
        Ok(share)
    }

    /// Makes a change, where the store has room for it.
    pub(super) fn change(&mut self, mutation: Mutation) -> Result<Changed, StoreError> {
        let mark = self.records().map(|records| records.mark());
        let changed = caught(|| self.make(mutation));
        if changed.is_err()
            && let Some(records) = self.records()
        {
            // Where nothing was recorded before, somebody may follow since.
            records.undo(mark.unwrap_or_default());
        }
        changed
    }

    /// Where changes are recorded, if they are.
    fn records(&mut self) -> Option<&mut TurnRecords> {
        match &mut self.unsynced {
            Some(unsynced) => Some(unsynced.records()),
            None => self.followed.within(self.shared.stream.recording()),
        }
    }

    /// Hands the records of what was changed over.
    pub(super) fn hand_over(&mut self, shard: usize) {
        match &mut self.unsynced {
            Some(unsynced) => unsynced.hand_over(),
            None => {
                let shard = u32::try_from(shard).expect("there are 1024 shards at the most");
                if let Some((append, recording)) = self.followed.take_recorded(shard) {
                    self.shared.stream.append(append, recording);
                }
            }
        }
    }

    /// All keys of this moment, where no job is to be waited for.
    pub(super) fn image(&mut self) -> Option<(Image, Moment)> {
        let unsynced = self.unsynced.as_mut()?;
        unsynced.hand_over();
        let image = self.map.image()?;
        let moment = Moment {
            position: unsynced.journal().log().end(),
            revision: Revision(self.last_revision),
        };
        Some((image, moment))
    }

    /// The values of the first of some slots.
    pub(super) fn copy_values(&mut self, slots: Range<u32>) -> SlotValues {
        // So that the records of all that is copied have a position.
        if let Some(unsynced) = &mut self.unsynced {
            unsynced.hand_over();
        }
        self.map.copy_values(slots)
    }

    /// What the answer to a read of a key waits for, and that to a change of it.
    pub(super) fn wait_for_key(&self, key: &Key) -> Option<Wait> {
        self.unsynced.as_ref()?.of_key(key)
    }

    /// Makes changes in their order, up to the first that cannot be made.
    pub(super) fn change_many(&mut self, mutations: Vec<Mutation>) -> ManyChanged {
        let mut many = ManyChanged::default();
        for (at, mutation) in mutations.into_iter().enumerate() {
            match self.change(mutation) {
                Ok(changed) => many.add(at, changed),
                Err(error) => {
                    many.stopped = Some(Stopped { at, error });
                    break;
                }
            }
        }
        many
    }

    /// The values of some keys, in their order.
    pub(super) fn get_many(&self, message: &GetMany) -> Result<Vec<Fetched>, StoreError> {
        let GetMany { keys, bodies } = message;
        caught(|| {
            let mut fetched = Vec::with_capacity(keys.len());
            for some in keys.chunks(AHEAD_MAX) {
                let ahead = self.map.look_ahead(some.iter());
                fetched.extend(some.iter().enumerate().map(|(at, key)| {
                    let value = there_at(ahead.get(at, key), &self.shared.clock);
                    Fetched::of(value, bodies.bytes_max())
                }));
            }
            Ok(fetched)
        })
    }

    pub(super) fn search(&self, search: &Search) -> Result<Found, StoreError> {
        let Search {
            filter,
            after,
            limit,
            total,
        } = search;
        caught(|| {
            let (page, total) = match total {
                Total::Wanted => self.map.page_and_count(filter, after, *limit),
                Total::Known => (self.map.page(filter, after, *limit), 0),
            };
            Ok(Found { page, total })
        })
    }

    pub(super) fn group(&self, group: &Group) -> Result<FoundGroups, StoreError> {
        let Group {
            grouping,
            after,
            limit,
            total,
        } = group;
        caught(|| {
            let (page, total) = match total {
                Total::Wanted => self.map.groups_and_count(grouping, after, *limit),
                Total::Known => (self.map.groups(grouping, after, *limit), 0),
            };
            Ok(FoundGroups { page, total })
        })
    }

    pub(super) fn count(&self) -> Result<Counted, StoreError> {
        caught(|| {
            Ok(Counted {
                keys: self.map.len(),
                index: self.map.stats(),
                ending: self.map.ending(),
                expired: self.expired,
                expiry_lag: self.expiry_lag(),
            })
        })
    }

    /// What a change waits for. A removal waits for nothing, and what does not grow the store for no
    /// bytes.
    pub(super) fn wanted(&self, mutation: &Mutation) -> Wanted {
        let key = &mutation.key;
        let present = || self.map.head(key);
        let new = match &mutation.change {
            Change::Set { body, .. } => kept_bytes(body.len(), mutation.expires_at),
            Change::Expire if mutation.expires_at.is_some() => ENDING_BYTES,
            Change::Delete | Change::Expire => return Wanted::NOTHING,
        };
        let room = match &mutation.change {
            Change::Set { .. } => Room::Crowded,
            Change::Delete | Change::Expire => Room::Full,
        };
        let bytes = match caught(|| check_room(&self.shared, key, new, present)) {
            Err(StoreError::Full { .. }) => entry_bytes(key, new),
            Ok(()) | Err(_) => 0,
        };
        Wanted { room, bytes }
    }

    /// What a message of a bulk body waits for.
    pub(super) fn wanted_in_bulk(mutations: &[Mutation]) -> Wanted {
        let bytes: usize = mutations.iter().map(new_bytes).sum();
        Wanted {
            room: Room::Open,
            bytes: bytes.max(BULK_BYTES),
        }
    }

    /// Whether changes may go on. They wait where the store would have room but for merges under way,
    /// or has after compaction.
    pub(super) fn has_room(&self, wanted: Wanted) -> bool {
        let room = match self.fit(wanted) {
            Fit::AfterMerges | Fit::AfterCompaction => Room::Full,
            Fit::Now | Fit::Never => self.map.room(),
        };
        room <= wanted.room
    }

    /// Whether it is compaction that makes the room which changes wait for.
    pub(super) fn waits_for_compaction(&self, wanted: Wanted) -> bool {
        self.fit(wanted) == Fit::AfterCompaction
    }

    /// Counts what the share holds.
    pub(super) fn recount(&mut self, reclaimable_bytes: usize) {
        let now = Footprint {
            bytes: self.map.heap_bytes(),
            merging_bytes: self.map.merging_bytes(),
            reclaimable_bytes,
            upcoming: self.map.upcoming(),
        };
        self.shared.recount(&mut self.held, now);
    }

    fn make(&mut self, mutation: Mutation) -> Result<Changed, StoreError> {
        let Mutation {
            key,
            change,
            condition,
            expires_at,
        } = mutation;
        let now = LazyCell::new(|| self.shared.clock.now());
        let revision = Revision(self.last_revision.wrapping_add(1));
        let is_removal = matches!(change, Change::Delete);
        let shared = &self.shared;
        let records = match &mut self.unsynced {
            Some(unsynced) => {
                unsynced.journal().check_room(is_removal)?;
                Some(unsynced.records())
            }
            None => self.followed.within(shared.stream.recording()),
        };
        let mut changed = Changed::Absent;
        // A search may show then what the other deadline would not let it.
        let mut ends_differ = false;
        let made = self.map.change(&key, |present| {
            let head = present.as_ref().map(Present::head);
            // What has ended is not there; that a value takes its place tells nobody who follows less.
            let head = head.filter(|head| head.expires_at.is_none_or(|end| !end.is_past(*now)));
            if condition != Condition::Always {
                let present = head.map(|head| head.revision);
                if !condition.holds(present) {
                    return Err(NotMade::Unmet(present));
                }
            }
            let value = match (change, head, present) {
                (Change::Set { content_type, body }, head, present) => {
                    let kept = kept_bytes(body.len(), expires_at);
                    check_room(shared, &key, kept, || present.map(|present| present.head()))?;
                    ends_differ = head.is_some_and(|head| head.expires_at != expires_at);
                    changed = match head {
                        None => Changed::Created(revision),
                        Some(_) => Changed::Updated(revision),
                    };
                    Value {
                        content_type,
                        body,
                        revision,
                        expires_at,
                    }
                }
                (Change::Expire, Some(head), Some(present)) => {
                    changed = Changed::Kept(head.revision);
                    if head.expires_at == expires_at {
                        return Ok(Decision::Keep(expires_at));
                    }
                    let kept = kept_bytes(head.body_bytes, expires_at);
                    check_room(shared, &key, kept, || Some(head))?;
                    ends_differ = true;
                    if let Some(records) = records {
                        let value = Value {
                            expires_at,
                            ..present.value()
                        };
                        records.write_set(&key, &value);
                    }
                    return Ok(Decision::Keep(expires_at));
                }
                (Change::Delete, Some(_), _) => {
                    changed = Changed::Deleted(revision);
                    if let Some(records) = records {
                        records.write_removed(&key, revision);
                    }
                    return Ok(Decision::Remove);
                }
                (Change::Delete | Change::Expire, _, _) => return Err(NotMade::Absent),
            };
            if let Some(records) = records {
                records.write_set(&key, &value);
            }
            Ok(Decision::Set(value))
        });
        match made {
            Ok(_) => {}
            Err(NotMade::Absent) => return Ok(Changed::Absent),
            Err(NotMade::Unmet(present)) => return Ok(Changed::Unmet(present)),
            Err(NotMade::Failed(error)) => return Err(error),
        }
        if !matches!(changed, Changed::Kept(_)) {
            self.last_revision = revision.0;
        }
        if let Some(unsynced) = &mut self.unsynced {
            if ends_differ {
                unsynced.note_moved(&key);
            } else if !matches!(changed, Changed::Kept(_)) {
                unsynced.note(&key, changed);
            }
        }
        Ok(changed)
    }

    /// Whether the store has room for so many bytes. What does not grow it always fits.
    fn fit(&self, wanted: Wanted) -> Fit {
        match wanted.bytes {
            0 => Fit::Now,
            bytes => self.shared.fit(bytes),
        }
    }
}

/// Why a change is not made.
enum NotMade {
    /// There is nothing to remove, or to end.
    Absent,
    /// Its condition does not hold. What the key names, if anything.
    Unmet(Option<Revision>),
    Failed(StoreError),
}

impl From<StoreError> for NotMade {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Whether the store has room for a value that takes so many bytes, of a key that names this. What does not
/// grow it always fits.
fn check_room(
    shared: &Shared,
    key: &Key,
    kept: usize,
    present: impl FnOnce() -> Option<Head>,
) -> Result<(), StoreError> {
    let new = entry_bytes(key, kept);
    if shared.has_room(new) {
        return Ok(());
    }
    // Near the bound it is worth looking what the value replaces.
    let grows = present().map_or(new, |present| {
        kept.saturating_sub(kept_bytes(present.body_bytes, present.expires_at))
    });
    if grows == 0 || shared.has_room(grows) {
        return Ok(());
    }
    Err(shared.full())
}

/// What a value takes besides what every key does, about, in bytes.
fn kept_bytes(body_bytes: usize, expires_at: Option<Deadline>) -> usize {
    body_bytes + expires_at.map_or(0, |_| ENDING_BYTES)
}

/// Runs what may panic. The panic hook logs where it was.
pub(super) fn caught<T>(run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(StoreError::Panicked))
}

/// What a change adds to the store that sets a new key, about, in bytes.
fn new_bytes(mutation: &Mutation) -> usize {
    match &mutation.change {
        Change::Set { body, .. } => {
            entry_bytes(&mutation.key, kept_bytes(body.len(), mutation.expires_at))
        }
        Change::Delete | Change::Expire => 0,
    }
}

/// What a new key adds to the store, about, in bytes.
fn entry_bytes(key: &Key, kept: usize) -> usize {
    KEY_TIMES * key.as_bytes().len() + kept + ENTRY_BYTES
}
