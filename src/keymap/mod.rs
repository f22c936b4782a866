//! The key map: an ordered map from keys to values that is searched from both ends of its keys.
//!
//! [`KeyMap`] is [`KeyIndex`], the ordered set of keys, and a slab of values. It is plain Rust: it
//! knows no actors and no HTTP, starts no threads and does no I/O. The work that keeps an index
//! fast is handed out as [`Job`]s, which the caller runs wherever it likes and hands back.
//!
//! # Layout
//! - `index`: the parts of an index and the rules by which keys move between them
//! - `ahead`: many lookups at a time
//! - `page`: one page of a search over all parts; `groups`: one that is divided into groups
//! - `policy`: which segments to merge next; `job` and `merge`: how; `descending`: streams in order
//! - `segment`: an immutable set of keys in both orders, made of
//!   - `blocks`: the keys, front-coded, and `fsst`, by which they are compressed
//!   - `separators`: which block a key is in
//!   - `matrix`: rectangles of prefix and suffix
//!   - `table`: which rank a key has, by hash
//!   - `packed`: its arrays of numbers
//!   - `part`: the memory of all these, which is what could be stored
//! - `live`: a segment in use, with its dead keys
//! - `tree`: keys that are in no segment yet
//! - `bloom`: which keys are surely not in a tree; `hash`: of a key
//! - `expiry`: keys whose values have ended
//! - `image`: what a map gives to a checkpoint, and is made of again
//! - `fault`: panics on purpose, in tests
//! - `scratch`: arrays of numbers; `seen`: sets of them; `memory`: what large things lie in
//! - `dead`: the deleted keys of a segment
//! - `slab`: the values
//!
//! # Guarantee for long searches
//! A search of many pages runs beside writes and merges. A key that is present from the first page
//! to the last appears exactly once and in order; one that is never present never appears.

mod ahead;
mod blocks;
mod bloom;
mod dead;
mod descending;
mod expiry;
#[cfg(test)]
pub(crate) mod fault;
mod fsst;
mod groups;
mod hash;
mod image;
mod index;
mod job;
mod live;
mod matrix;
mod memory;
mod merge;
mod packed;
mod page;
mod part;
mod policy;
mod scratch;
mod seen;
mod segment;
mod separators;
mod slab;
mod table;
#[cfg(test)]
mod tests;
mod tree;

pub use ahead::{AHEAD_MAX, LookAhead};
pub use expiry::Expired;
pub use groups::GroupPage;
pub use hash::KeyHash;
pub use image::{Flaw, Image, Loader, SegmentImage, StoredSegment};
pub use index::{Finish, IndexStats, KeyIndex, Room, Spot, Upcoming};
pub use job::{Job, Outcome};
pub use page::Page;
pub use policy::{Lane, MergeRoom};
pub use segment::{OpenError, PartBytes, SEGMENT_PARTS};
pub use slab::{End, Head, Need, RANGE_SLOTS, SlotValue, SlotValues};

use crate::model::{Deadline, Filter, Grouping, Key, Value};
use slab::{Slab, Stored};
use std::convert::Infallible;

/// An ordered map from keys to values.
#[derive(Debug, Default)]
pub struct KeyMap {
    index: KeyIndex,
    values: Slab,
}

/// What a key names before a change.
#[derive(Debug)]
pub struct Present<'a> {
    values: &'a Slab,
    slot: u32,
}

impl Present<'_> {
    /// What is known of the value without its body.
    pub fn head(&self) -> Head {
        self.values.head(self.slot)
    }

    /// The value. A body over 255 bytes is shared, not copied.
    pub fn value(&self) -> Value {
        self.values.get(self.slot)
    }
}

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It names this value.
    Set(Value),
    /// It names the value that it names, if any, which ends at this time, if ever.
    Keep(Option<Deadline>),
    /// It names nothing.
    Remove,
}

impl KeyMap {
    /// How many keys there are. O(1).
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The value of `key`. A body over 255 bytes is shared, not copied.
    pub fn get(&self, key: &Key) -> Option<Value> {
        let spot = self.find(key)?;
        Some(self.values.get(spot.slot))
    }

    /// What is known of the value of `key` without its body.
    pub fn head(&self, key: &Key) -> Option<Head> {
        let spot = self.find(key)?;
        Some(self.values.head(spot.slot))
    }

    /// Makes the change that is decided on once it is known what `key` names now, and returns whether
    /// it named something. Finds the key once.
    ///
    /// # Errors
    /// What is decided; nothing is changed then.
    pub fn change<E>(
        &mut self,
        key: &Key,
        decide: impl FnOnce(Option<Present<'_>>) -> Result<Decision, E>,
    ) -> Result<bool, E> {
        let spot = self.find(key);
        let present = spot.map(|spot| Present {
            values: &self.values,
            slot: spot.slot,
        });
        let decision = decide(present)?;
        #[cfg(test)]
        fault::step();
        match decision {
            Decision::Set(value) => {
                let stored = self.stored(key, value);
                match spot {
                    Some(spot) => self.values.replace(spot.slot, stored),
                    None => {
                        let slot = self.values.insert(stored);
                        self.index.insert(key.as_bytes(), slot);
                    }
                }
            }
            Decision::Keep(expires_at) => {
                if let Some(spot) = spot {
                    let end = expires_at.map(|deadline| End {
                        deadline,
                        hash: self.index.hash(key.as_bytes()),
                    });
                    self.values.set_end(spot.slot, end);
                }
            }
            Decision::Remove => {
                if let Some(spot) = spot {
                    self.index.remove_at(spot, key.as_bytes());
                    self.values.remove(spot.slot);
                }
            }
        }
        Ok(spot.is_some())
    }

    /// Makes `key` name `value` and returns whether it named nothing before.
    pub fn set(&mut self, key: &Key, value: Value) -> bool {
        let Ok(was_there) = self.change(key, |_| Ok::<_, Infallible>(Decision::Set(value)));
        !was_there
    }

    /// Makes `key` name nothing and returns whether it named something before.
    pub fn delete(&mut self, key: &Key) -> bool {
        let Ok(was_there) = self.change(key, |_| Ok::<_, Infallible>(Decision::Remove));
        was_there
    }

    /// A value with what it is kept with.
    fn stored(&self, key: &Key, value: Value) -> Stored {
        let hash = match value.expires_at {
            None => KeyHash::default(),
            Some(_) => self.index.hash(key.as_bytes()),
        };
        Stored { value, hash }
    }

    /// Where a key is; its value is read meanwhile, so that the cache misses overlap.
    fn find(&self, key: &Key) -> Option<Spot> {
        #[cfg(test)]
        fault::step();
        let ahead = |slot| self.values.prefetch(slot);
        self.index.find_with(key.as_bytes(), ahead)
    }

    /// How many keys match. Exact, and without walking the matches.
    pub fn count(&self, filter: &Filter) -> usize {
        #[cfg(test)]
        fault::step();
        self.index.count(filter)
    }

    /// The matches above `after` in byte order, at most `limit` and within about 200 µs of work.
    pub fn page(&self, filter: &Filter, after: &[u8], limit: usize) -> Page {
        #[cfg(test)]
        fault::step();
        self.index.page(filter, after, limit)
    }

    /// As [`page`](Self::page), and how many keys match in all. Costs less than both apart.
    pub fn page_and_count(&self, filter: &Filter, after: &[u8], limit: usize) -> (Page, usize) {
        #[cfg(test)]
        fault::step();
        self.index.page_and_count(filter, after, limit)
    }

    /// The keys that belong to no group and the groups, above `after` in the byte order of their texts, at
    /// most `limit` of both together and within about 200 µs of work. O(log n) for each segment and item:
    /// the keys of a group are not walked. See [`KeyIndex::groups`].
    pub fn groups(&self, grouping: &Grouping, after: &[u8], limit: usize) -> GroupPage {
        #[cfg(test)]
        fault::step();
        self.index.groups(grouping, after, limit)
    }

    /// As [`groups`](Self::groups), and how many keys match in all. Costs less than both apart.
    pub fn groups_and_count(
        &self,
        grouping: &Grouping,
        after: &[u8],
        limit: usize,
    ) -> (GroupPage, usize) {
        #[cfg(test)]
        fault::step();
        self.index.groups_and_count(grouping, after, limit)
    }

    /// Has new keys made segments once they take so many bytes, within reason, or 1 MiB where that is less.
    pub fn bound_trees(&mut self, bytes: usize) {
        self.index.bound_trees(bytes);
    }

    /// Whether writes should wait for a job.
    pub fn room(&self) -> Room {
        self.index.room()
    }

    /// Whether the background work has failed for good, by a defect or damaged memory: all keys are
    /// there, but before long none can be added.
    pub fn is_broken(&self) -> bool {
        self.index.is_broken()
    }

    /// Makes the fresh part ready to become a segment, whatever its size, where there is room for
    /// one more such part. The next job is its freeze.
    pub fn freeze(&mut self) {
        self.index.freeze();
    }

    /// The next job that is worth doing, if any. Call until there is none, after any change.
    pub fn next_job(&mut self) -> Option<Job> {
        self.index.next_job()
    }

    /// The same, but for jobs that there is no room for. Freezes and what gives memory back need none.
    pub fn next_job_within(&mut self, room: MergeRoom) -> Option<Job> {
        self.index.next_job_within(room)
    }

    /// Whether [`next_job_within`](Self::next_job_within) has one.
    pub fn wants_job(&mut self, room: MergeRoom) -> bool {
        self.index.wants_job(room)
    }

    /// Whether it is worth asking for a job. O(1).
    pub fn may_have_job(&self) -> bool {
        self.index.may_have_job()
    }

    /// Has it looked again for jobs where there may have been some that there was no room for. Whether there may.
    pub fn look_again(&mut self) -> bool {
        self.index.look_again()
    }

    /// Puts the outcome of a job in place.
    pub fn finish(&mut self, outcome: Outcome) -> Finish {
        self.index.finish(outcome)
    }

    /// Does all jobs here and now, until there is none.
    pub fn settle(&mut self) {
        while let Some(job) = self.next_job() {
            let mut outcome = job.run();
            while let Finish::Again(again) = self.finish(outcome) {
                outcome = again.run();
            }
        }
    }

    /// Whether [`compact`](Self::compact) has something to do. O(1).
    pub fn wants_compaction(&self, need: Need) -> bool {
        self.values.wants_compaction(need)
    }

    /// Moves values together that deletes and updates left sparse, for about 100 µs, and says whether
    /// there is more to do. What they no longer need goes back to the system.
    pub fn compact(&mut self, need: Need) -> bool {
        self.values.compact(need)
    }

    /// What of [`heap_bytes`](Self::heap_bytes) compaction for [`Need::Room`] would give back, about.
    pub fn reclaimable_bytes(&self) -> usize {
        self.values.reclaimable_bytes()
    }

    /// Bytes on the heap, running jobs included; small allocations are estimated.
    pub fn heap_bytes(&self) -> usize {
        self.index.heap_bytes() + self.values.heap_bytes()
    }

    /// What of [`heap_bytes`](Self::heap_bytes) running jobs take, about, and what they replaced until it is
    /// dropped.
    pub fn merging_bytes(&self) -> usize {
        self.index.merging_bytes()
    }

    /// What is to be kept free for the next jobs.
    pub fn upcoming(&self) -> Upcoming {
        self.index.upcoming()
    }

    /// What the index is made of.
    pub fn stats(&self) -> IndexStats {
        #[cfg(test)]
        fault::step();
        self.index.stats()
    }
}
