//! Which segments to merge next.
//!
//! From the smallest on: while the next larger segment is at most [`RATIO`] times the sum of those
//! taken, take it in. Where it is larger and nothing was taken but one segment, begin again with it:
//! a small segment that finds no peer must not keep the larger ones from merging. A segment counts
//! as a fresh tree at least, so that small ones, whatever left them, join the next.
//!
//! So at rest each segment is more than [`RATIO`] times the one before: there are at most
//! log₃(n / 4096) + 2 of them, and after inserts alone about log₄(n / 4096) + 1. Lanes keep small work
//! from waiting behind large.

use super::index::{FRESH_KEYS, Live};

/// How much larger than all smaller ones together a segment may be and still be merged with them.
const RATIO: u64 = 3;

/// Merges of more keys than this are large.
const SMALL_MERGE_KEYS_MAX: u64 = 256 * 1024;

/// A segment is rewritten by itself once one in so many of its keys is dead.
const DEAD_SHARE: u32 = 8;

/// A segment is rewritten as well once searches met so many dead ranks too many, and more than one
/// for so many of its keys: what a rewrite costs is to be in proportion to what it saves.
const WASTE_MIN: u32 = 4096;
const WASTE_SHARE: u32 = 64;

/// And only where one in so many of its keys is dead: searches can be aimed at the dead.
const WASTED_DEAD_SHARE: u32 = 256;

/// The most key data that is merged into a segment, in bytes. It addresses 4 GiB, and what cannot be
/// compressed takes up to two bytes a byte and five a key.
const KEY_BYTES_MAX: u64 = u32::MAX as u64 / 8 * 3;

/// A queue of jobs. An index has at most one merge in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Jobs of a few thousand keys, for which writes may be waiting.
    Urgent,
    /// Merges that take milliseconds.
    Small,
    /// Merges that take seconds.
    Large,
}

impl Lane {
    /// The lane of a merge of so many keys.
    pub(super) fn of(keys: u64) -> Self {
        if keys > SMALL_MERGE_KEYS_MAX {
            Self::Large
        } else {
            Self::Small
        }
    }
}

/// The segments to merge now, by id, if any. Segments that are being merged already are left out,
/// and so are merges whose lane is taken.
pub(super) fn choose(
    segments: &[Live],
    jobs_ended: u64,
    is_free: impl Fn(Lane) -> bool,
) -> Option<(Lane, Vec<u64>)> {
    let mut idle: Vec<&Live> = segments
        .iter()
        .filter(|live| live.merge.is_none() && live.may_try(jobs_ended))
        .collect();
    idle.sort_by_key(|live| live.segment.len());
    let mut chosen = Vec::new();
    let (mut keys, mut key_bytes) = (0, 0);
    for live in &idle {
        let size = u64::from(live.segment.len()).max(FRESH_KEYS as u64);
        let too_large = !chosen.is_empty() && size > RATIO * keys;
        let too_long = key_bytes + live.segment.key_bytes() > KEY_BYTES_MAX;
        // A small merge goes ahead while the large lane is taken; what it leaves comes later.
        let outgrows_lane = Lane::of(keys + size) == Lane::Large && !is_free(Lane::Large);
        if too_large || too_long || outgrows_lane {
            if chosen.len() > 1 {
                break;
            }
            chosen.clear();
            (keys, key_bytes) = (0, 0);
        }
        chosen.push(live.id);
        keys += size;
        key_bytes += live.segment.key_bytes();
    }
    if chosen.len() > 1 && is_free(Lane::of(keys)) {
        return Some((Lane::of(keys), chosen));
    }
    idle.iter()
        .find(|live| {
            let keys = live.segment.len();
            let is_dying = live.dead.len() >= (keys / DEAD_SHARE).max(1);
            (is_dying || is_wasteful(live)) && is_free(Lane::of(keys.into()))
        })
        .map(|live| (Lane::of(live.segment.len().into()), vec![live.id]))
}

/// Whether searches meet too many dead keys in a segment.
pub(super) fn is_wasteful(live: &Live) -> bool {
    let keys = live.segment.len();
    live.wasted() >= WASTE_MIN.max(keys / WASTE_SHARE)
        && live.dead.len() >= keys / WASTED_DEAD_SHARE
}
