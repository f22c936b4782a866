//! Which ranks of a segment are dead: a bit each, in a tree of two levels whose pieces are made by
//! the first death within them, shared with snapshots, and copied by the first death after one.
//!
//! So no delete allocates, zeroes or copies more than a few KiB, however large the segment is, and
//! a piece all of whose ranks are dead is passed in one step.

use std::ops::Range;
use std::sync::Arc;

/// Words of a leaf, leaves of a branch: 2¹³ ranks and 2²⁰, in about 1 KiB each.
const LEAF_WORDS: usize = 128;
const BRANCH_LEAVES: usize = 128;

const LEAF_RANKS: u32 = LEAF_WORDS as u32 * 64;
const BRANCH_RANKS: u32 = BRANCH_LEAVES as u32 * LEAF_RANKS;

/// A set of dead ranks. A clone is a snapshot: it costs a count for each million ranks.
#[derive(Clone, Debug, Default)]
pub(in crate::keymap) struct DeadBits {
    /// As far as ranks are dead.
    branches: Vec<Option<Arc<Branch>>>,
    count: u32,
    /// What leaves and branches take.
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Branch {
    leaves: [Option<Arc<Leaf>>; BRANCH_LEAVES],
    count: u32,
}

#[derive(Clone, Debug)]
struct Leaf {
    words: [u64; LEAF_WORDS],
    count: u32,
}

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keymap) struct NextAlive {
    /// The first rank that is alive; above the last where there is none.
    pub(in crate::keymap) rank: u32,
    /// How many words and pieces were looked at to find it.
    pub(in crate::keymap) looks: u32,
}

impl DeadBits {
    /// How many are dead.
    pub(in crate::keymap) fn len(&self) -> u32 {
        self.count
    }

    pub(in crate::keymap) fn contains(&self, rank: u32) -> bool {
        let leaf = self.branch(rank).and_then(|branch| branch.leaf(rank));
        leaf.is_some_and(|leaf| leaf.words[word_of(rank)] >> (rank % 64) & 1 == 1)
    }

    /// Adds a rank that is alive. Copies at most the pieces that it is in.
    pub(in crate::keymap) fn insert(&mut self, rank: u32) {
        let at = (rank / BRANCH_RANKS) as usize;
        if at >= self.branches.len() {
            self.branches.resize(at + 1, None);
        }
        let bytes = &mut self.bytes;
        let branch = self.branches[at].get_or_insert_with(|| {
            *bytes += size_of::<Branch>();
            Arc::new(Branch {
                leaves: [const { None }; BRANCH_LEAVES],
                count: 0,
            })
        });
        let branch = Arc::make_mut(branch);
        let leaf = branch.leaves[leaf_of(rank)].get_or_insert_with(|| {
            *bytes += size_of::<Leaf>();
            Arc::new(Leaf {
                words: [0; LEAF_WORDS],
                count: 0,
            })
        });
        let leaf = Arc::make_mut(leaf);
        leaf.words[word_of(rank)] |= 1 << (rank % 64);
        leaf.count += 1;
        branch.count += 1;
        self.count += 1;
    }

    /// The first live rank from `rank` on. Looks at two leaves and two branches at most, and at one
    /// thing for each branch between that is wholly dead.
    pub(super) fn next_alive(&self, rank: u32) -> NextAlive {
        let (mut rank, mut looks) = (rank, 0);
        loop {
            looks += 1;
            let Some(branch) = self.branch(rank) else {
                return NextAlive { rank, looks };
            };
            if branch.count == BRANCH_RANKS {
                rank = (rank / BRANCH_RANKS + 1) * BRANCH_RANKS;
                continue;
            }
            let Some(leaf) = branch.leaf(rank) else {
                return NextAlive { rank, looks };
            };
            let end = (rank / LEAF_RANKS + 1) * LEAF_RANKS;
            if leaf.count < LEAF_RANKS {
                let mut alive = !leaf.words[word_of(rank)] & (u64::MAX << (rank % 64));
                rank -= rank % 64;
                while alive == 0 {
                    rank += 64;
                    if rank == end {
                        break;
                    }
                    looks += 1;
                    alive = !leaf.words[word_of(rank)];
                }
                if alive != 0 {
                    let rank = rank + alive.trailing_zeros();
                    return NextAlive { rank, looks };
                }
            }
            rank = end;
        }
    }

    /// How many of some ranks are dead. Looks at two leaves and two branches, and at each branch below; of
    /// ranks within a leaf, at no more than the words that hold them.
    pub(super) fn count_in(&self, ranks: &Range<u32>) -> u32 {
        if self.count == 0 || ranks.is_empty() {
            return 0;
        }
        let last = ranks.end - 1;
        if ranks.start / LEAF_RANKS == last / LEAF_RANKS {
            let leaf = self.branch(last).and_then(|branch| branch.leaf(last));
            return leaf.map_or(0, |leaf| leaf.count_within(ranks.start, last));
        }
        self.count_below(ranks.end) - self.count_below(ranks.start)
    }

    fn count_below(&self, rank: u32) -> u32 {
        let whole = self.branches.iter().take((rank / BRANCH_RANKS) as usize);
        let whole = whole.flatten().map(|branch| branch.count).sum::<u32>();
        let part = self.branch(rank);
        whole + part.map_or(0, |branch| branch.count_below(rank))
    }

    /// The dead, ascending.
    pub(in crate::keymap) fn ranks(&self) -> impl Iterator<Item = u32> {
        let branches = (0_u32..).step_by(BRANCH_RANKS as usize).zip(&self.branches);
        let leaves = branches.flat_map(|(start, branch)| {
            let leaves = branch.iter().flat_map(|branch| &branch.leaves);
            (start..).step_by(LEAF_RANKS as usize).zip(leaves)
        });
        let words = leaves.flat_map(|(start, leaf)| {
            let words = leaf.iter().flat_map(|leaf| leaf.words);
            (start..).step_by(64).zip(words)
        });
        words.flat_map(|(start, word)| {
            let dead = move |bit: &u32| word >> bit & 1 == 1;
            (0..64).filter(dead).map(move |bit| start + bit)
        })
    }

    /// Tells the ranks that died since a snapshot was taken, ascending. Passes over the pieces that both share:
    /// O(pieces that differ), and a look at each branch.
    pub(in crate::keymap) fn each_since(&self, before: &Self, mut died: impl FnMut(u32)) {
        let starts = (0_u32..).step_by(BRANCH_RANKS as usize);
        for ((start, at), branch) in starts.zip(0_usize..).zip(&self.branches) {
            let Some(branch) = branch else { continue };
            let old = before.branches.get(at).and_then(Option::as_ref);
            if old.is_some_and(|old| Arc::ptr_eq(old, branch)) {
                continue;
            }
            let starts = (start..).step_by(LEAF_RANKS as usize);
            for ((start, at), leaf) in starts.zip(0_usize..).zip(&branch.leaves) {
                let Some(leaf) = leaf else { continue };
                let old = old.and_then(|old| old.leaves[at].as_ref());
                if old.is_some_and(|old| Arc::ptr_eq(old, leaf)) {
                    continue;
                }
                let old = old.map(|old| &old.words);
                for ((start, at), word) in (start..).step_by(64).zip(0_usize..).zip(leaf.words) {
                    let mut new = word & !old.map_or(0, |old| old[at]);
                    while new != 0 {
                        died(start + new.trailing_zeros());
                        new &= new - 1;
                    }
                }
            }
        }
    }

    /// Bytes on the heap, those that snapshots share included.
    pub(super) fn heap_bytes(&self) -> usize {
        self.branches.capacity() * size_of::<Option<Arc<Branch>>>() + self.bytes
    }

    fn branch(&self, rank: u32) -> Option<&Branch> {
        self.branches
            .get((rank / BRANCH_RANKS) as usize)?
            .as_deref()
    }
}

impl Branch {
    fn leaf(&self, rank: u32) -> Option<&Leaf> {
        self.leaves[leaf_of(rank)].as_deref()
    }

    /// How many of its ranks are dead that are below one of them.
    fn count_below(&self, rank: u32) -> u32 {
        let whole = self.leaves[..leaf_of(rank)].iter().flatten();
        let whole = whole.map(|leaf| leaf.count).sum::<u32>();
        let part = self.leaf(rank);
        whole + part.map_or(0, |leaf| leaf.count_below(rank))
    }
}

impl Leaf {
    /// How many of its ranks are dead that are below one of them.
    fn count_below(&self, rank: u32) -> u32 {
        let (whole, rest) = self.words.split_at(word_of(rank));
        let part = rest[0] & ((1_u64 << (rank % 64)) - 1);
        let whole = whole.iter().map(|word| word.count_ones()).sum::<u32>();
        whole + part.count_ones()
    }

    /// How many of its ranks are dead from one to another, both with these.
    fn count_within(&self, first: u32, last: u32) -> u32 {
        let words = &self.words[word_of(first)..=word_of(last)];
        let dead = words.iter().map(|word| word.count_ones()).sum::<u32>();
        let before = words[0] & ((1 << (first % 64)) - 1);
        let after = words[words.len() - 1] & !(u64::MAX >> (63 - last % 64));
        dead - before.count_ones() - after.count_ones()
    }
}

fn leaf_of(rank: u32) -> usize {
    (rank / LEAF_RANKS) as usize % BRANCH_LEAVES
}

fn word_of(rank: u32) -> usize {
    (rank / 64) as usize % LEAF_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(ranks: impl IntoIterator<Item = u32>) -> DeadBits {
        let mut bits = DeadBits::default();
        ranks.into_iter().for_each(|rank| bits.insert(rank));
        bits
    }

    #[test]
    fn what_is_wholly_dead_is_passed_in_few_looks() {
        let (first, last) = (BRANCH_RANKS - 100, 4 * BRANCH_RANKS + 3 * LEAF_RANKS + 70);
        let bits = dead(first..last);
        for (from, expected) in [
            (0, 0),
            (first - 1, first - 1),
            (first, last),
            (2 * BRANCH_RANKS, last),
            (last - 1, last),
            (last, last),
            (9 * BRANCH_RANKS, 9 * BRANCH_RANKS),
        ] {
            let found = bits.next_alive(from);
            assert_eq!(found.rank, expected, "from {from}");
            assert!(found.looks < 16, "{found:?} from {from}");
        }
    }

    #[test]
    fn the_dead_of_any_ranks_are_counted() {
        let whole = LEAF_RANKS..2 * LEAF_RANKS + 1;
        let far = [BRANCH_RANKS - 1, BRANCH_RANKS, 3 * BRANCH_RANKS + 65];
        let ranks = [0, 1, 63, 64, 200].into_iter().chain(whole).chain(far);
        let ranks: Vec<u32> = ranks.collect();
        let bits = dead(ranks.iter().copied());
        let near = |edge: u32| [edge.saturating_sub(1), edge, edge + 1];
        let edges = [0, 2, 64, 201, LEAF_RANKS, 2 * LEAF_RANKS, BRANCH_RANKS];
        let edges = edges
            .into_iter()
            .chain([3 * BRANCH_RANKS + 65, 9 * BRANCH_RANKS]);
        let edges: Vec<u32> = edges.flat_map(near).collect();
        for start in &edges {
            for end in &edges {
                let range = *start..*end;
                let expected = ranks.iter().filter(|rank| range.contains(rank)).count();
                assert_eq!(bits.count_in(&range) as usize, expected, "{range:?}");
            }
        }
        assert_eq!(dead(std::iter::empty()).count_in(&(0..u32::MAX)), 0);
    }

    #[test]
    fn what_died_since_a_snapshot_is_told_once_and_in_order() {
        let since = |bits: &DeadBits, before: &DeadBits| {
            let mut died = Vec::new();
            bits.each_since(before, |rank| died.push(rank));
            died
        };
        let mut bits = dead([5, 64, LEAF_RANKS, 3 * BRANCH_RANKS]);
        let none = DeadBits::default();
        assert_eq!(since(&bits, &none), bits.ranks().collect::<Vec<_>>());
        let before = bits.clone();
        assert_eq!(since(&bits, &before), [0_u32; 0]);
        let new = [
            6,
            63,
            65,
            LEAF_RANKS - 1,
            LEAF_RANKS + 1,
            BRANCH_RANKS,
            3 * BRANCH_RANKS - 1,
            5 * BRANCH_RANKS + 2 * LEAF_RANKS + 7,
        ];
        new.iter().rev().for_each(|rank| bits.insert(*rank));
        assert_eq!(since(&bits, &before), new);
        assert_eq!(since(&bits, &bits.clone()), [0_u32; 0]);
    }

    #[test]
    fn a_snapshot_stays_as_it_was_and_shares_what_nothing_died_in_since() {
        let mut bits = dead([5, LEAF_RANKS, 3 * BRANCH_RANKS]);
        let before = bits.clone();
        bits.insert(6);
        bits.insert(2 * BRANCH_RANKS);
        assert!(bits.contains(6) && bits.contains(2 * BRANCH_RANKS));
        assert!(!before.contains(6) && !before.contains(2 * BRANCH_RANKS));
        assert_eq!((before.len(), bits.len()), (3, 5));
        let leaf =
            |bits: &DeadBits, rank| std::ptr::from_ref(bits.branch(rank)?.leaf(rank)?).into();
        let same = |rank| {
            let leaves: [Option<*const Leaf>; 2] = [leaf(&before, rank), leaf(&bits, rank)];
            leaves[0] == leaves[1]
        };
        assert!(!same(5));
        assert!(same(LEAF_RANKS) && same(3 * BRANCH_RANKS));
    }
}
