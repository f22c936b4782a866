//! Which segments to merge next.
//!
//! From the smallest on: while the next larger segment is at most [`RATIO`] times the sum of those
//! taken, take it in. Where it is larger and nothing was taken but one segment, begin again with it:
//! a small segment that finds no peer must not keep the larger ones from merging. A segment counts
//! as a fresh tree at least, so that small ones, whatever left them, join the next.
//!
//! So at rest each segment is more than [`RATIO`] times the one before: there are at most
//! log₃(n / 4096) + 2 of them, and after inserts alone about log₄(n / 4096) + 1. Lanes keep small work
//! from waiting behind large. While a large merge runs the others go on, and stop at what only the
//! large lane could take: one segment more for each million keys that come meanwhile, at the most.
//!
//! Long keys count for several, by what a fresh tree takes of them.
//!
//! A merge writes its result beside its inputs, so it is begun only where there is [`MergeRoom`] for it, and
//! none is larger than that ever gives: no segment comes of one that there might not be room to rewrite.

use super::live::Live;
use super::merge::MergeSize;
use super::tree::{FRESH_BYTES, FRESH_KEYS};

/// How much larger than all smaller ones together a segment may be and still be merged with them.
const RATIO: u64 = 3;

/// Merges of more keys than this are middling, and of more than that large.
const SMALL_MERGE_KEYS_MAX: u64 = 256 * 1024;
const MIDDLE_MERGE_KEYS_MAX: u64 = 16 * SMALL_MERGE_KEYS_MAX;

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

/// What jobs may take besides what there is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeRoom {
    /// What one more may take now.
    pub now: usize,
    /// What a merge of several segments may take, whatever there is now.
    pub most: usize,
    /// Whether no other runs, so that there will never be more than now.
    pub is_alone: bool,
}

impl MergeRoom {
    /// As much as they like.
    pub const UNBOUNDED: Self = Self {
        now: usize::MAX,
        most: usize::MAX,
        is_alone: false,
    };

    /// None: for drops and freezes alone.
    pub const NONE: Self = Self {
        now: 0,
        most: 0,
        is_alone: false,
    };
}

/// A queue of jobs. An index has at most one merge in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Jobs of a few thousand keys, for which writes may be waiting.
    Urgent,
    /// Merges that take milliseconds.
    Small,
    /// Merges that take seconds.
    Middle,
    /// Merges that take longer.
    Large,
}

impl Lane {
    /// The lane of a merge of so many keys.
    pub(super) fn of(keys: u64) -> Self {
        if keys <= SMALL_MERGE_KEYS_MAX {
            Self::Small
        } else if keys <= MIDDLE_MERGE_KEYS_MAX {
            Self::Middle
        } else {
            Self::Large
        }
    }

    /// Where what a job of this lane replaced is dropped: that takes far less than the job did, and is not to wait
    /// for another of its kind.
    pub(super) fn for_drops(self) -> Self {
        match self {
            Self::Urgent => Self::Urgent,
            Self::Small | Self::Middle => Self::Small,
            Self::Large => Self::Middle,
        }
    }
}

/// The segments to merge now, by id, if any. Segments that are being merged already are left out,
/// and so are merges whose lane is taken.
pub(super) fn choose(
    segments: &[Live],
    jobs_ended: u64,
    is_free: impl Fn(Lane) -> bool,
    room: MergeRoom,
) -> Option<(Lane, Vec<u64>)> {
    let idle = segments
        .iter()
        .filter(|live| live.merge.is_none() && live.may_try(jobs_ended));
    let mut idle: Vec<(Size, &Live)> = idle.map(|live| (Size::of(live), live)).collect();
    idle.sort_by_key(|(size, _)| size.keys);
    let sizes: Vec<Size> = idle.iter().map(|(size, _)| *size).collect();
    if let Some(run) = choose_run(&sizes, &is_free, room) {
        return Some(run);
    }
    idle.iter().find_map(|(size, live)| {
        let keys = live.segment.len();
        let is_dying = live.dead.len() >= (keys / DEAD_SHARE).max(1);
        // What is over its bound, since that was larger, has no room, and still is to come down by deletes.
        let must_fit = !room.is_alone || live.dead.len() < keys / 2;
        let fits = !must_fit || size.live.needed_bytes() <= room.now;
        let lane = Lane::of(size.keys);
        let is_due = is_dying || is_wasteful(live);
        (is_due && fits && is_free(lane)).then(|| (lane, vec![live.id]))
    })
}

/// What there is to know of a segment that may be merged with others.
#[derive(Clone, Copy, Debug)]
struct Size {
    id: u64,
    /// Keys, of which long ones count for several.
    keys: u64,
    key_bytes: u64,
    live: MergeSize,
}

impl Size {
    fn of(live: &Live) -> Self {
        let key_bytes = live.segment.key_bytes();
        let as_short = key_bytes / (FRESH_BYTES / FRESH_KEYS) as u64;
        Self {
            id: live.id,
            keys: as_short.max(live.segment.len().into()),
            key_bytes,
            live: live.live_size(),
        }
    }
}

/// The segments to merge with one another, of some from the smallest on.
fn choose_run(
    sizes: &[Size],
    is_free: impl Fn(Lane) -> bool,
    room: MergeRoom,
) -> Option<(Lane, Vec<u64>)> {
    let mut chosen = Vec::new();
    let (mut keys, mut key_bytes, mut live) = (0, 0, MergeSize::default());
    for size in sizes {
        let size_keys = size.keys.max(FRESH_KEYS as u64);
        let too_large = !chosen.is_empty() && size_keys > RATIO * keys;
        let too_long = key_bytes + size.key_bytes > KEY_BYTES_MAX;
        // A smaller merge goes ahead while a lane is taken, or its room; what it leaves comes later.
        let lane = Lane::of(keys + size_keys);
        let outgrows_lane = lane != Lane::Small && !is_free(lane);
        let outgrows_room = (live + size.live).needed_bytes() > room.now.min(room.most);
        if too_large || too_long || outgrows_lane || outgrows_room {
            if chosen.len() > 1 {
                break;
            }
            chosen.clear();
            (keys, key_bytes, live) = (0, 0, MergeSize::default());
        }
        chosen.push(size.id);
        keys += size_keys;
        key_bytes += size.key_bytes;
        live = live + size.live;
    }
    let lane = Lane::of(keys);
    (chosen.len() > 1 && is_free(lane)).then_some((lane, chosen))
}

/// Whether searches meet too many dead keys in a segment.
pub(super) fn is_wasteful(live: &Live) -> bool {
    let keys = live.segment.len();
    live.wasted() >= WASTE_MIN.max(keys / WASTE_SHARE)
        && live.dead.len() >= keys / WASTED_DEAD_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges under way: their lanes, what they make, and how many more keys come until they end.
    type Running = Vec<(Lane, u64, u64)>;

    /// Starts all merges that are worth it. A small one is done at once, a middling one once as many
    /// keys came as it has, and a large one never.
    fn merge(idle: &mut Vec<Size>, running: &mut Running) {
        loop {
            idle.sort_by_key(|size| size.keys);
            let is_free = |lane| running.iter().all(|(taken, ..)| *taken != lane);
            let Some((lane, chosen)) = choose_run(idle, is_free, MergeRoom::UNBOUNDED) else {
                return;
            };
            let inputs = idle.extract_if(.., |size| chosen.contains(&size.id));
            let keys = inputs.map(|size| size.keys).sum();
            match lane {
                Lane::Urgent => unreachable!("it is for trees"),
                Lane::Small => idle.push(size(chosen[0], keys)),
                Lane::Middle => running.push((lane, keys, keys)),
                Lane::Large => running.push((lane, keys, u64::MAX)),
            }
        }
    }

    fn size(id: u64, keys: u64) -> Size {
        Size {
            id,
            keys,
            key_bytes: 0,
            live: MergeSize {
                keys: keys as usize,
                key_bytes: 0,
                result_bytes: 33 * keys as usize,
            },
        }
    }

    #[test]
    fn merges_take_no_more_room_than_there_is() {
        let idle: Vec<Size> = (1..=10).map(|id| size(id, FRESH_KEYS as u64)).collect();
        let needed = |segments: &[Size]| {
            let sum: MergeSize = segments.iter().map(|size| size.live).sum();
            sum.needed_bytes()
        };
        let choose = |room: MergeRoom| {
            let run = choose_run(&idle, |_| true, room)?;
            Some(run.1.len())
        };
        assert_eq!(choose(MergeRoom::UNBOUNDED), Some(10));
        for segments in 1..10 {
            let bytes = needed(&idle[..segments]);
            let expected = Some(segments).filter(|segments| *segments > 1);
            for room in [
                MergeRoom {
                    now: bytes,
                    ..MergeRoom::UNBOUNDED
                },
                MergeRoom {
                    most: bytes,
                    ..MergeRoom::UNBOUNDED
                },
            ] {
                assert_eq!(choose(room), expected, "{room:?}");
            }
        }
    }

    #[test]
    fn there_are_few_segments_while_a_large_merge_runs() {
        let (mut idle, mut running): (Vec<Size>, Running) = Default::default();
        let mut written = 0;
        for id in 0..8_000 {
            idle.push(size(id, FRESH_KEYS as u64));
            for (.., left) in &mut running {
                *left = left.saturating_sub(FRESH_KEYS as u64);
            }
            let ended = running.extract_if(.., |(.., left)| *left == 0);
            idle.extend(ended.map(|(_, keys, _)| size(id + 100_000, keys)));
            merge(&mut idle, &mut running);
            if running.iter().any(|(lane, ..)| *lane == Lane::Large) {
                written += FRESH_KEYS as u64;
                let middling = written / (MIDDLE_MERGE_KEYS_MAX / (RATIO + 1));
                assert!(idle.len() as u64 <= 16 + middling, "{written}: {idle:?}");
            }
        }
        assert!(written > 16_000_000);
    }
}
