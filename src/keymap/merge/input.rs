//! What a merge reads, and how: its inputs' live keys in byte order.

use crate::keymap::blocks::Walk;
use crate::keymap::dead::DeadBits;
use crate::keymap::packed::Packed;
use crate::keymap::part::PartError;
use crate::keymap::scratch::Scratch;
use crate::keymap::segment::Segment;
use crate::keymap::tree::Tree;
use std::collections::{BTreeSet, btree_map};
use std::ops::{Bound, Range};
use std::sync::Arc;

/// What a merge reads: immutable, with what was dead when the merge began.
#[derive(Debug)]
pub(in crate::keymap) enum Input {
    Tree {
        keys: Arc<Tree>,
        dead: BTreeSet<Box<[u8]>>,
    },
    Segment {
        segment: Arc<Segment>,
        dead: DeadBits,
    },
}

impl Input {
    /// How many keys there are, the dead included.
    pub(in crate::keymap) fn len(&self) -> usize {
        match self {
            Self::Tree { keys, .. } => keys.len(),
            Self::Segment { segment, .. } => segment.len() as usize,
        }
    }

    /// How many keys are alive.
    pub(in crate::keymap) fn live_len(&self) -> usize {
        match self {
            Self::Tree { keys, dead } => keys.len() - dead.len(),
            Self::Segment { segment, dead } => (segment.len() - dead.len()) as usize,
        }
    }

    /// The bytes of all keys, uncompressed.
    pub(in crate::keymap) fn key_bytes(&self) -> usize {
        match self {
            Self::Tree { keys, .. } => keys.keys().map(|key| key.len()).sum(),
            Self::Segment { segment, .. } => segment.key_bytes() as usize,
        }
    }

    pub(super) fn segment(&self) -> Option<&Segment> {
        match self {
            Self::Tree { .. } => None,
            Self::Segment { segment, .. } => Some(segment),
        }
    }

    pub(super) fn slot_max(&self) -> u32 {
        match self {
            Self::Tree { keys, .. } => keys.values().copied().max().unwrap_or(0),
            Self::Segment { segment, .. } => segment.slot_max(),
        }
    }

    pub(super) fn verify(&self) -> Result<(), PartError> {
        self.segment().map_or(Ok(()), Segment::verify)
    }

    /// The new ranks of the live keys of some reverse ranks, in that order; of a tree in the order
    /// of its keys.
    pub(super) fn ranks_in_result(&self, reverse_ranks: Range<u32>, map: &Packed) -> Scratch {
        let mut found = Scratch::zeroed(reverse_ranks.len());
        let mut len = 0;
        match self {
            Self::Tree { keys, dead } => {
                for (rank, key) in (0..).zip(keys.keys()) {
                    if !dead.contains(key) {
                        found[len] = map.get(rank);
                        len += 1;
                    }
                }
            }
            Self::Segment { segment, dead } => {
                for reverse_rank in reverse_ranks {
                    let rank = segment.rank_at(reverse_rank);
                    if !dead.contains(rank) {
                        found[len] = map.get(rank);
                        len += 1;
                    }
                }
            }
        }
        found.truncate(len);
        found
    }
}

/// The live keys of an input in byte order.
pub(super) enum Stream<'a> {
    Tree {
        keys: btree_map::Range<'a, Box<[u8]>, u32>,
        dead: &'a BTreeSet<Box<[u8]>>,
        current: Option<(&'a [u8], u32)>,
    },
    Segment {
        segment: &'a Segment,
        dead: &'a DeadBits,
        walk: Walk<'a>,
        is_at_key: bool,
    },
}

impl<'a> Stream<'a> {
    pub(super) fn new(input: &'a Input) -> Self {
        Self::from(input, b"")
    }

    /// A stream that is before the first key not below `start`.
    pub(super) fn from(input: &'a Input, start: &[u8]) -> Self {
        match input {
            Input::Tree { keys, dead } => Self::Tree {
                keys: keys.range::<[u8], _>((Bound::Included(start), Bound::Unbounded)),
                dead,
                current: None,
            },
            Input::Segment { segment, dead } => Self::Segment {
                segment,
                dead,
                walk: segment.walk(segment.lower_bound(start)),
                is_at_key: false,
            },
        }
    }

    /// Goes to the next live key and returns how many dead ones were passed.
    pub(super) fn advance(&mut self) -> u32 {
        let mut passed = 0;
        match self {
            Self::Tree {
                keys,
                dead,
                current,
            } => {
                *current = None;
                for (key, slot) in keys.by_ref() {
                    if !dead.contains(key) {
                        *current = Some((key, *slot));
                        break;
                    }
                    passed += 1;
                }
            }
            Self::Segment {
                dead,
                walk,
                is_at_key,
                ..
            } => loop {
                let rank = walk.next_rank();
                *is_at_key = walk.advance().is_some();
                if !*is_at_key || !dead.contains(rank) {
                    break;
                }
                passed += 1;
            },
        }
        passed
    }

    /// The key that the stream is at.
    pub(super) fn key(&self) -> Option<&[u8]> {
        match self {
            Self::Tree { current, .. } => current.map(|(key, _)| key),
            Self::Segment {
                walk, is_at_key, ..
            } => is_at_key.then(|| walk.key()),
        }
    }

    /// The slot of the key that the stream is at.
    pub(super) fn slot(&self) -> u32 {
        match self {
            Self::Tree { current, .. } => current.map_or(0, |(_, slot)| slot),
            Self::Segment { segment, walk, .. } => segment.slot(walk.next_rank() - 1),
        }
    }
}
