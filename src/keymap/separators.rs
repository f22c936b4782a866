//! Which block a key belongs to: the shortest string that separates each block from the one
//! before it, in an `fst` map from separator to block number.
//!
//! Source of the shortest separators: Bayer and Unterauer, "Prefix B-trees" (1977). The map is an
//! FST because glob, regular-expression and fuzzy searches can walk one by `fst`'s `Automaton`.

use super::blocks::shared_prefix;
use super::part::{Buffer, Part, PartKind};
use fst::raw::{CompiledAddr, Fst, Node, Output};
use std::cmp::Ordering;
use std::fmt;

/// What a separator takes in ordinary maps, to begin with, in bytes.
const BYTES_PER_SEPARATOR: usize = 16;

/// An ordered map from separators to the blocks that they open. Block 0 has no separator.
#[derive(Clone)]
pub(super) struct Separators {
    fst: Fst<Part>,
    /// What all separators begin with: compared at once, where a walk takes 8 ns a byte.
    trunk: Box<[u8]>,
    /// Where that leads to, and what it gives.
    crown: (CompiledAddr, Output),
}

/// Builds [`Separators`] from the two keys around each boundary.
pub(super) struct SeparatorsBuilder {
    builder: fst::raw::Builder<Buffer>,
    blocks: u64,
}

impl SeparatorsBuilder {
    /// A builder for about so many blocks.
    pub(super) fn with_capacity(blocks: usize) -> Self {
        let buffer = Buffer::with_capacity(blocks * BYTES_PER_SEPARATOR);
        Self {
            builder: fst::raw::Builder::new(buffer).expect("memory does not fail to be written"),
            blocks: 1,
        }
    }

    /// Opens the next block, whose first key is `first`, after one whose last key is `last`.
    pub(super) fn push(&mut self, last: &[u8], first: &[u8]) {
        let separator = &first[..shared_prefix(last, first) + 1];
        self.builder
            .insert(separator, self.blocks)
            .expect("separators ascend as the keys do, and memory does not fail to be written");
        self.blocks += 1;
    }

    pub(super) fn finish(self, kind: PartKind) -> Separators {
        let written = self.builder.into_inner();
        Separators::open(
            written
                .expect("memory does not fail to be written")
                .seal(kind),
        )
    }
}

impl fmt::Debug for Separators {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Separators({})", self.fst.len())
    }
}

impl Separators {
    /// The separators that a part holds.
    pub(super) fn open(part: Part) -> Self {
        let fst = Fst::new(part).expect("a part whose checksum holds is what was written");
        let mut trunk = Vec::new();
        let mut node = fst.root();
        let mut output = Output::zero();
        while node.len() == 1 && !node.is_final() {
            let transition = node.transition(0);
            trunk.push(transition.inp);
            output = output.cat(transition.out);
            node = fst.node(transition.addr);
        }
        let crown = (node.addr(), output);
        Self {
            fst,
            trunk: trunk.into(),
            crown,
        }
    }

    /// The part that holds the separators.
    pub(super) fn part(&self) -> &Part {
        self.fst.as_inner()
    }

    /// The only block that can hold `key`: the one with the greatest separator not above it.
    /// O(length of the key); what all separators begin with costs next to nothing.
    pub(super) fn floor(&self, key: &[u8]) -> u32 {
        let block = match self.successor(key) {
            Some(block) => block - 1,
            None => self.fst.len() as u64,
        };
        u32::try_from(block).expect("a segment has fewer blocks than keys, which fit 32 bits")
    }

    /// The value of the smallest separator strictly above `key`: walks down along `key` and
    /// remembers the last turn to a greater byte.
    fn successor(&self, key: &[u8]) -> Option<u64> {
        let (trunk, rest) = key.split_at(self.trunk.len().min(key.len()));
        match trunk.cmp(&self.trunk) {
            Ordering::Less => return Some(self.leftmost(self.crown)),
            Ordering::Equal => (),
            Ordering::Greater => return None,
        }
        let (address, mut output) = self.crown;
        let mut node = self.fst.node(address);
        let mut turn = None;
        for &byte in rest {
            let (same, greater) = match node.find_input(byte) {
                Some(index) => (Some(index), index + 1),
                None => (None, first_greater(&node, byte)),
            };
            if greater < node.len() {
                let transition = node.transition(greater);
                turn = Some((transition.addr, output.cat(transition.out)));
            }
            let Some(same) = same else {
                return turn.map(|turn| self.leftmost(turn));
            };
            let transition = node.transition(same);
            output = output.cat(transition.out);
            node = self.fst.node(transition.addr);
        }
        if !node.is_empty() {
            let transition = node.transition(0);
            turn = Some((transition.addr, output.cat(transition.out)));
        }
        turn.map(|turn| self.leftmost(turn))
    }

    /// The value of the smallest key in the subtree at an address.
    fn leftmost(&self, (address, mut output): (CompiledAddr, Output)) -> u64 {
        let mut node = self.fst.node(address);
        while !node.is_final() {
            let transition = node.transition(0);
            output = output.cat(transition.out);
            node = self.fst.node(transition.addr);
        }
        output.cat(node.final_output()).value()
    }
}

/// The index of the first transition on a byte greater than `byte`.
fn first_greater(node: &Node<'_>, byte: u8) -> usize {
    node.transitions()
        .take_while(|transition| transition.inp < byte)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn floor_names_the_block_that_a_sorted_list_names(
            keys in prop::collection::btree_set(prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..6), 1..60),
            probes in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff), any::<u8>()], 0..6), 20),
            trunk in prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0xff)], 0..6),
        ) {
            let keys: Vec<Vec<u8>> = keys.iter().map(|key| [&trunk[..], key].concat()).collect();
            let on_trunk = probes.iter().map(|probe| [&trunk[..], probe].concat());
            let probes: Vec<Vec<u8>> = on_trunk.chain(probes.iter().cloned()).collect();
            let mut builder = SeparatorsBuilder::with_capacity(keys.len());
            keys.windows(2).for_each(|pair| builder.push(&pair[0], &pair[1]));
            let separators = builder.finish(PartKind::Separators);
            for (block, key) in keys.iter().enumerate() {
                prop_assert_eq!(separators.floor(key) as usize, block);
            }
            for probe in probes {
                let block = separators.floor(&probe) as usize;
                // Every key of an earlier block is below the probe, every key of a later above.
                prop_assert!(block == 0 || keys[block - 1] < probe);
                prop_assert!(keys.get(block + 1).is_none_or(|next| *next > probe));
            }
        }
    }
}
