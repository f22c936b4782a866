//! What an index gives to an image, and is made of again.

use super::{FROZEN_MAX, KeyIndex};
use crate::keymap::dead::{Dead, DeadBits};
use crate::keymap::hash::Seed;
use crate::keymap::live::Live;
use crate::keymap::merge::is_trained;
use crate::keymap::segment::Segment;
use crate::keymap::tree::{Frozen, Tree};
use std::sync::Arc;

/// How many removed keys of a frozen tree are listed, and how many bytes of them: the tree is a segment
/// before long.
const LISTED_MAX: usize = if cfg!(test) { 16 } else { 512 };
const LISTED_BYTES_MAX: usize = 64 * 1024;

/// A segment, with those of its keys that are dead.
#[derive(Clone, Debug)]
pub(in crate::keymap) struct SegmentState {
    pub(in crate::keymap) id: u64,
    pub(in crate::keymap) segment: Arc<Segment>,
    pub(in crate::keymap) dead: DeadBits,
}

/// A tree that takes no more keys, with those that were removed, ascending.
#[derive(Clone, Debug)]
pub(in crate::keymap) struct TreeState {
    pub(in crate::keymap) keys: Arc<Tree>,
    pub(in crate::keymap) dead: Vec<Box<[u8]>>,
}

/// All parts of an index at one moment.
#[derive(Clone, Debug)]
pub(in crate::keymap) struct IndexState {
    pub(in crate::keymap) segments: Vec<SegmentState>,
    pub(in crate::keymap) trees: Vec<TreeState>,
}

impl KeyIndex {
    /// What all parts are now. Freezes the fresh tree; `None` where there is no room for one more frozen
    /// tree, or too many keys were removed from one: after a job there is, or there is none.
    pub(in crate::keymap) fn state(&mut self) -> Option<IndexState> {
        let has_room = self.fresh.keys.is_empty() || self.frozen.len() < FROZEN_MAX;
        let is_listed = |frozen: &Frozen| {
            let bytes = frozen.dead.iter().take(LISTED_MAX).map(|key| key.len());
            frozen.dead.len() <= LISTED_MAX && bytes.sum::<usize>() <= LISTED_BYTES_MAX
        };
        if !has_room || !self.frozen.iter().all(is_listed) {
            return None;
        }
        self.freeze();
        let is_alive = |live: &&Live| live.dead.len() < live.segment.len();
        let segments = self.segments.iter().filter(is_alive);
        let segments = segments.map(|live| SegmentState {
            id: live.id,
            segment: live.segment.clone(),
            dead: live.dead.snapshot(),
        });
        let trees = self.frozen.iter().map(|frozen| TreeState {
            keys: frozen.keys.clone(),
            dead: frozen.dead.iter().cloned().collect(),
        });
        Some(IndexState {
            segments: segments.collect(),
            trees: trees.collect(),
        })
    }

    /// The index of some segments, whose ids are their places in the list, from 1 on.
    pub(in crate::keymap) fn of(seed: Seed, segments: Vec<(Segment, Dead)>) -> Self {
        let mut index = Self::with_seed(seed);
        for (segment, dead) in segments {
            let id = index.new_id();
            index.len += (segment.len() - dead.len()) as usize;
            index.segments.push(Live::new(id, Arc::new(segment), dead));
        }
        // The largest first: it has most of the keys that are looked for.
        index
            .segments
            .sort_by_key(|live| std::cmp::Reverse(live.segment.len()));
        let trained = index.segments.first();
        let trained = trained.filter(|live| is_trained(live.segment.len()));
        index.symbols = trained.and_then(|live| live.segment.symbols().cloned());
        index.recount();
        *index.may_have_job.get_mut() = true;
        index
    }
}
