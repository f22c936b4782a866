//! The ordered, searchable set of keys, each with a slot number.
//!
//! An index is a *fresh* tree that takes new keys, at most two *frozen* trees on their way to
//! become segments, and immutable *segments*. `jobs` is how keys move between them.
//!
//! **Invariant: a key is alive in exactly one of these parts**, so counts add up. A key that is
//! set again after a delete is dead in its old segment and alive in the fresh tree.

mod groups;
mod image;
mod jobs;

pub(super) use image::{IndexState, SegmentState};
pub use jobs::Finish;

use super::dead::Counting;
use super::fsst::SymbolTable;
use super::hash::Seed;
use super::live::{Live, Matches};
use super::merge::MergeSize;
use super::page::{Asked, Page, Request, SHARE_MAX, Source, merge_page};
use super::policy;
use super::segment::PartBytes;
use super::tree::{FRESH_KEYS, Fresh, Frozen, TREE_ENTRY_BYTES, Tree, TreeBound, scan_tree};
use crate::model::Filter;
use jobs::{Replaced, Running, note_in_journal};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How many times as large as one that is frozen the fresh tree is when every write waits. A suffix scan
/// over so many keys takes 60 µs.
const FRESH_TIMES_MAX: usize = 4;

/// What making a segment of a tree takes besides it for each byte of it: the segment, and the keys once more
/// in their reverse order.
const FREEZE_TIMES: usize = 2;

/// How many frozen trees there are at the most.
const FROZEN_MAX: usize = 2;

/// How often a tree is tried to be made a segment.
const FREEZES_MAX: u32 = 3;

/// From so many segments on writes in bulk wait for merges. Every segment costs a search its share,
/// and at rest there are far fewer.
const SEGMENTS_MAX: usize = 12;

/// An ordered set of keys, searched by prefix, suffix and both.
#[derive(Debug, Default)]
pub struct KeyIndex {
    /// Of the hash by which keys are looked up.
    pub(super) seed: Seed,
    fresh: Fresh,
    tree_bound: TreeBound,
    frozen: Vec<Frozen>,
    /// From the largest on.
    pub(super) segments: Vec<Live>,
    jobs: Vec<Running>,
    /// What a job is to drop.
    replaced: Vec<Replaced>,
    last_id: u64,
    len: usize,
    /// Heap bytes of the frozen trees.
    frozen_bytes: usize,
    /// Heap bytes of the segments, of what running jobs take, and of what they replaced until it is dropped.
    segment_bytes: PartBytes,
    merging_bytes: usize,
    /// What a merge of all segments would take.
    rewriting_bytes: usize,
    /// The symbol table of the last segment that trained one, for those too small to.
    symbols: Option<Arc<SymbolTable>>,
    merges_failed: u64,
    jobs_ended: u64,
    merged_keys: u64,
    merged_for: Duration,
    /// Whether anything changed since there was no job to hand out.
    may_have_job: AtomicBool,
    /// Whether there was none, and less room than all might want.
    is_short_of_room: bool,
}

/// Where a key is, until the index changes.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// The key's slot.
    pub slot: u32,
    part: Part,
}

impl Spot {
    /// That of the key at a rank of the segment of a number.
    pub(super) fn in_segment(slot: u32, at: usize, rank: u32) -> Self {
        let part = Part::Segment(at, rank);
        Self { slot, part }
    }
}

/// The part of an index that a key is in.
#[derive(Clone, Copy, Debug)]
enum Part {
    Fresh,
    /// The frozen tree of this number.
    Frozen(usize),
    /// The segment of this number, at this rank.
    Segment(usize, u32),
}

/// How much room the fresh tree has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// All writes may go on.
    Open,
    /// Writes in bulk should wait for a job to end; single writes may go on.
    Crowded,
    /// All writes that may add a key should wait for a job to end.
    Full,
}

/// What is to be kept free for the next jobs of an index, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upcoming {
    /// To make segments of its trees.
    pub freezing: usize,
    /// To merge all its segments.
    pub rewriting: usize,
}

/// What an index is made of at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Segments.
    pub segments: usize,
    /// Keys in the fresh and frozen trees.
    pub fresh_keys: usize,
    /// Deleted keys that segments still hold.
    pub dead_keys: usize,
    /// Merges under way.
    pub merges_running: usize,
    /// Jobs that came to nothing, by a defect or damaged memory.
    pub merges_failed: u64,
    /// Keys that merges went through.
    pub merged_keys: u64,
    /// How long merges took, all together.
    pub merged_for: Duration,
    /// Bytes of the segments.
    pub segment_bytes: PartBytes,
    /// Bytes of the fresh and frozen trees, estimated.
    pub fresh_bytes: usize,
    /// Bytes that running jobs take, and what they replaced until it is dropped, estimated.
    pub merging_bytes: usize,
}

impl std::ops::AddAssign for IndexStats {
    fn add_assign(&mut self, other: Self) {
        self.segments += other.segments;
        self.fresh_keys += other.fresh_keys;
        self.dead_keys += other.dead_keys;
        self.merges_running += other.merges_running;
        self.merges_failed += other.merges_failed;
        self.merged_keys += other.merged_keys;
        self.merged_for += other.merged_for;
        self.segment_bytes += other.segment_bytes;
        self.fresh_bytes += other.fresh_bytes;
        self.merging_bytes += other.merging_bytes;
    }
}

impl KeyIndex {
    /// An empty index whose hash has a seed of its own.
    pub(super) fn with_seed(seed: Seed) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// Has its trees made segments once their keys take so many bytes, within reason, or 1 MiB where that is less.
    pub fn bound_trees(&mut self, bytes: usize) {
        self.tree_bound = TreeBound::of(bytes);
    }

    /// How many keys there are. O(1).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot of `key`. About 1 µs in a large index, 0.2 µs in a small one.
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.find_with(key, |_| ()).map(|spot| spot.slot)
    }

    /// As [`find`](Self::find). In a segment `ahead` is given the slot as soon as it is likely,
    /// before the key is compared: what is read there overlaps with that.
    pub fn find_with(&self, key: &[u8], mut ahead: impl FnMut(u32)) -> Option<Spot> {
        let hash = self.seed.hash(key);
        // All at once, since each segment's answer is a cache miss and mostly no.
        self.segments
            .iter()
            .for_each(|live| live.segment.prefetch_hash(hash));
        if self.fresh.filter.may_contain(hash)
            && let Some(slot) = self.fresh.keys.get(key)
        {
            let (slot, part) = (*slot, Part::Fresh);
            return Some(Spot { slot, part });
        }
        for (at, frozen) in self.frozen.iter().enumerate() {
            if frozen.filter.may_contain(hash)
                && let Some(slot) = frozen.keys.get(key)
                && !frozen.dead.contains(key)
            {
                let (slot, part) = (*slot, Part::Frozen(at));
                return Some(Spot { slot, part });
            }
        }
        self.segments.iter().enumerate().find_map(|(at, live)| {
            let rank = live.segment.find(key, hash, &mut ahead)?;
            (!live.dead.contains(rank)).then(|| Spot {
                slot: live.segment.slot(rank),
                part: Part::Segment(at, rank),
            })
        })
    }

    /// Adds a key that is not in the index.
    pub fn insert(&mut self, key: &[u8], slot: u32) {
        let before = self.fresh.keys.insert(key.into(), slot);
        debug_assert!(before.is_none(), "a key is added once");
        self.fresh.filter.insert(self.seed.hash(key));
        self.fresh.filtered += 1;
        self.fresh.bytes += key.len() + TREE_ENTRY_BYTES;
        self.len += 1;
        if self.fresh.is_full(self.tree_bound) {
            self.freeze();
        }
    }

    /// Takes a key out and returns its slot. About 1 µs, and 3 µs more in a segment.
    pub fn remove(&mut self, key: &[u8]) -> Option<u32> {
        let spot = self.find_with(key, |_| ())?;
        self.remove_at(spot, key);
        Some(spot.slot)
    }

    /// Takes a key out of where it is.
    pub(super) fn remove_at(&mut self, spot: Spot, key: &[u8]) {
        self.len -= 1;
        match spot.part {
            Part::Fresh => {
                self.fresh.keys.remove(key);
                self.fresh.bytes -= key.len() + TREE_ENTRY_BYTES;
                // Keys that come and go would fill the filter for ever.
                if self.fresh.keys.is_empty() && self.fresh.filtered >= FRESH_KEYS {
                    self.fresh = Fresh::default();
                }
            }
            Part::Frozen(at) => {
                let frozen = &mut self.frozen[at];
                frozen.dead.insert(key.into());
                frozen.bytes += key.len() + TREE_ENTRY_BYTES;
                self.frozen_bytes += key.len() + TREE_ENTRY_BYTES;
                self.merging_bytes += note_in_journal(&mut self.jobs, frozen.job, key);
            }
            Part::Segment(at, rank) => {
                let live = &mut self.segments[at];
                *self.may_have_job.get_mut() = true;
                self.segment_bytes.dead += live.bury(rank, key);
            }
        }
    }

    /// The keys that are in no segment yet, and their slots. A frozen tree may give dead ones too.
    pub(super) fn tree_slots(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let frozen = self.frozen.iter().map(|frozen| &*frozen.keys);
        let trees = std::iter::once(&self.fresh.keys).chain(frozen);
        trees.flatten().map(|(key, slot)| (&**key, *slot))
    }

    /// How many keys match. O(log n) for each segment, exact, and without walking the matches.
    pub fn count(&self, filter: &Filter) -> usize {
        if filter.is_empty() {
            return self.len;
        }
        self.search(filter, b"", 0, Asked::PageAndCount).1
    }

    /// The matches above `after`, at most `limit` of them and within about 200 µs of work. A page
    /// may end early, even without a key: [`Page::resume`] says where to go on.
    pub fn page(&self, filter: &Filter, after: &[u8], limit: usize) -> Page {
        self.search(filter, after, limit, Asked::Page).0
    }

    /// As [`page`](Self::page), and how many keys match in all. Costs less than both apart.
    pub fn page_and_count(&self, filter: &Filter, after: &[u8], limit: usize) -> (Page, usize) {
        self.search(filter, after, limit, Asked::PageAndCount)
    }

    /// A page, and how many keys match in all where that is asked for; else less is counted.
    fn search(&self, filter: &Filter, after: &[u8], limit: usize, asked: Asked) -> (Page, usize) {
        let request = Request {
            filter,
            after,
            asked,
        };
        // One more than the page takes, so that it knows whether it is the last.
        let wanted = if limit == 0 {
            0
        } else {
            limit.saturating_add(1)
        };
        let mut sources = Vec::with_capacity(self.segments.len() + 1 + FROZEN_MAX);
        let mut total = 0;
        for (keys, dead) in self.trees() {
            let (count, found) = scan_tree(keys, dead, &request, wanted);
            total += count;
            if !found.is_empty() {
                sources.push(Source::tree(found));
            }
        }
        let counting = match asked {
            Asked::Page => Counting::Folded,
            Asked::PageAndCount => Counting::Exact,
        };
        let mut matches: Vec<(&Live, usize, Matches)> = Vec::with_capacity(self.segments.len());
        for live in &self.segments {
            let (count, found) = live.matches(filter, counting);
            if count > 0 {
                total += count as usize;
                matches.push((live, count as usize, found));
            }
        }
        if limit == 0 {
            return (Page::default(), total);
        }
        sources.extend(matches.into_iter().map(|(live, count, found)| {
            // The page's keys come from the parts about as all matches do.
            let share = limit
                .min(count)
                .min(limit.saturating_mul(count) / total.max(1))
                .min(SHARE_MAX);
            Source::segment(live, found, after, share, wanted)
        }));
        let page = merge_page(sources, limit, request.steps_left(self.segments.len()));
        self.heed_waste();
        (page, total)
    }

    /// The trees, each with the keys of it that are dead.
    fn trees(&self) -> impl Iterator<Item = (&Tree, Option<&BTreeSet<Box<[u8]>>>)> {
        let fresh = (&self.fresh.keys, None);
        let frozen = self.frozen.iter();
        let frozen = frozen.map(|frozen| (&*frozen.keys, Some(&frozen.dead)));
        std::iter::once(fresh).chain(frozen)
    }

    /// Has it looked for a job where a search met too many dead keys.
    fn heed_waste(&self) {
        if self.segments.iter().any(policy::is_wasteful) {
            self.may_have_job.store(true, Ordering::Relaxed);
        }
    }

    /// Whether writes should wait for a job.
    pub fn room(&self) -> Room {
        if !self.fresh.is_full(self.tree_bound) || self.frozen.len() < FROZEN_MAX {
            // There is something to wait for only while a merge runs.
            let is_merging = self.jobs.iter().any(|job| job.is_merge());
            if self.segments.len() >= SEGMENTS_MAX && is_merging {
                Room::Crowded
            } else {
                Room::Open
            }
        } else if self.fresh.is_full_by(FRESH_TIMES_MAX, self.tree_bound) {
            Room::Full
        } else {
            Room::Crowded
        }
    }

    /// Whether a tree could not be made a segment however often: once there are as many as there may
    /// be, no key can be added any more.
    pub fn is_broken(&self) -> bool {
        let is_stuck = |frozen: &Frozen| frozen.failures >= FREEZES_MAX;
        self.frozen.iter().any(is_stuck)
    }

    /// Bytes on the heap, running jobs included; trees are estimated.
    pub fn heap_bytes(&self) -> usize {
        self.fresh.bytes + self.frozen_bytes + self.segment_bytes.total() + self.merging_bytes
    }

    /// What of [`heap_bytes`](Self::heap_bytes) running jobs take, about, and what they replaced until it is
    /// dropped.
    pub fn merging_bytes(&self) -> usize {
        self.merging_bytes
    }

    /// What is to be kept free for the next jobs.
    pub fn upcoming(&self) -> Upcoming {
        let waiting = self.frozen.iter().filter(|frozen| frozen.job.is_none());
        let waiting: usize = waiting.map(|frozen| frozen.bytes).sum();
        Upcoming {
            freezing: FREEZE_TIMES * (self.fresh.bytes + waiting),
            rewriting: self.rewriting_bytes,
        }
    }

    /// What the index is made of.
    pub fn stats(&self) -> IndexStats {
        let frozen = self.frozen.iter().map(|frozen| frozen.keys.len());
        let dead = self.segments.iter().map(|live| live.dead.len() as usize);
        IndexStats {
            segments: self.segments.len(),
            fresh_keys: self.fresh.keys.len() + frozen.sum::<usize>(),
            dead_keys: dead.sum(),
            merges_running: self.jobs.iter().filter(|job| job.is_merge()).count(),
            merges_failed: self.merges_failed,
            merged_keys: self.merged_keys,
            merged_for: self.merged_for,
            segment_bytes: self.segment_bytes,
            fresh_bytes: self.fresh.bytes + self.frozen_bytes,
            merging_bytes: self.merging_bytes,
        }
    }

    /// Freezes the fresh tree, whatever its size, where there is room for one more frozen tree.
    pub fn freeze(&mut self) {
        if self.fresh.keys.is_empty() || self.frozen.len() == FROZEN_MAX {
            return;
        }
        *self.may_have_job.get_mut() = true;
        let Fresh {
            keys,
            filter,
            filtered: _,
            bytes,
        } = std::mem::take(&mut self.fresh);
        self.frozen_bytes += bytes;
        self.frozen.push(Frozen {
            keys: Arc::new(keys),
            filter,
            bytes,
            dead: BTreeSet::new(),
            job: None,
            failures: 0,
        });
    }

    fn recount(&mut self) {
        self.segment_bytes = PartBytes::default();
        for live in &self.segments {
            self.segment_bytes += PartBytes {
                dead: live.dead.heap_bytes(),
                ..live.segment.heap_bytes()
            };
        }
        let sizes = || self.segments.iter().map(Live::whole_size);
        // One by itself may take more, where it is not so large that it is merged in ranges.
        let most = sizes().map(|size| size.needed_bytes()).max().unwrap_or(0);
        self.rewriting_bytes = sizes().sum::<MergeSize>().needed_bytes().max(most);
    }

    fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}
