//! One value after the other of those at some positions, ascending: how many are below a bound, and which
//! is the next. A bound close to the one before shares most of the path down to it, of which the nodes are
//! kept; so each look costs no more than the distance between the two asks for.
//!
//! Source: range next value in a wavelet tree, Gagie, Navarro and Puglisi, "New algorithms on wavelet trees
//! and applications to information retrieval" (2012); the path kept is a finger, as in Guibas, McCreight,
//! Plass and Roberts, "A new representation for linear lists" (1977).

use super::{LOW_BITS, WaveletMatrix};

/// So many bytes are compared at once: as many as a byte can count.
const COMPARED: usize = u8::MAX as usize;

/// The values at some positions of a matrix, and the path down to one of them.
#[derive(Clone, Debug)]
pub(in crate::keymap) struct Ascent<'a> {
    matrix: &'a WaveletMatrix,
    /// From the root on: each is a child of the one before.
    path: Vec<Rung>,
    /// A value that has the bits of the last of these.
    value: u32,
    /// The last bound, and what was found there.
    bound: u32,
    reached: Reached,
}

/// What there is at a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::keymap) struct Reached {
    /// How many values are below.
    pub(in crate::keymap) below: u32,
    /// The least of the others.
    pub(in crate::keymap) next: Option<u32>,
}

/// A node of a path.
#[derive(Clone, Copy, Debug)]
struct Rung {
    start: u32,
    end: u32,
    /// How many of the values are below all that such a node can hold.
    below: u32,
}

impl WaveletMatrix {
    /// An ascent over the values at `positions`.
    pub(in crate::keymap) fn ascent(&self, positions: std::ops::Range<u32>) -> Ascent<'_> {
        let root = Rung {
            start: positions.start,
            end: positions.end.max(positions.start),
            below: 0,
        };
        let mut path = Vec::with_capacity(self.zeros.len() + 1);
        path.push(root);
        let mut ascent = Ascent {
            matrix: self,
            path,
            value: 0,
            bound: 0,
            reached: Reached::default(),
        };
        (ascent.reached, _) = ascent.look(0);
        ascent
    }
}

impl Ascent<'_> {
    /// What there is at `bound`, and how many nodes were looked at: none where that is known from the bound
    /// before, and about twice as many at most as the lowest bits are that differ from it or from what was
    /// found there.
    pub(in crate::keymap) fn to(&mut self, bound: u32) -> (Reached, u32) {
        let next = self.reached.next;
        if bound >= self.bound && next.is_none_or(|next| bound <= next) {
            return (self.reached, 0);
        }
        let (reached, looks) = self.look(bound);
        (self.bound, self.reached) = (bound, reached);
        (reached, looks)
    }

    fn look(&mut self, bound: u32) -> (Reached, u32) {
        let root = self.path[0];
        if bound >= self.matrix.bound {
            let (below, next) = (root.end - root.start, None);
            return (Reached { below, next }, 0);
        }
        let levels = self.matrix.zeros.len();
        let differ = (bound ^ self.value) >> LOW_BITS;
        let shared = levels - (u32::BITS - differ.leading_zeros()) as usize;
        self.path.truncate(shared + 1);
        self.value = bound;
        let mut looks = 1 + self.descend(bound);
        let last = self.path[self.path.len() - 1];
        let mut below = last.below;
        if self.path.len() == levels + 1 {
            let low = bound as u8;
            let bytes = self.matrix.low(last.start, last.end);
            below += smaller(bytes, low);
            if let Some(next) = least_from(bytes, low) {
                let next = Some(with_low(bound, next));
                return (Reached { below, next }, looks);
            }
        }
        if !self.climb(below) {
            let next = None;
            return (Reached { below, next }, looks);
        }
        looks += 1 + self.descend_to_least();
        let last = self.path[self.path.len() - 1];
        let next = least_from(self.matrix.low(last.start, last.end), 0);
        let next = next.map(|low| with_low(self.value, low));
        (Reached { below, next }, looks)
    }

    /// Goes down towards `bound` as far as there are values.
    fn descend(&mut self, bound: u32) -> u32 {
        let mut looks = 0;
        while let Some((zeros, ones, shift)) = self.children() {
            looks += 1;
            self.path
                .push(if bound >> shift & 1 == 0 { zeros } else { ones });
        }
        looks
    }

    /// Goes down to the least value of the last node, which has one.
    fn descend_to_least(&mut self) -> u32 {
        let mut looks = 0;
        while let Some((zeros, ones, shift)) = self.children() {
            looks += 1;
            if zeros.start < zeros.end {
                self.path.push(zeros);
            } else {
                self.path.push(ones);
                self.value |= 1 << shift;
            }
        }
        looks
    }

    /// Goes up to the next node of greater values that has some, and says whether there is one. `below` is
    /// how many are below these.
    fn climb(&mut self, below: u32) -> bool {
        while self.path.len() > 1 {
            let Some(child) = self.path.pop() else {
                return false;
            };
            let level = self.path.len() - 1;
            let parent = self.path[level];
            let shift = self.shift(level);
            if self.value >> shift & 1 == 0 {
                // The zeros are the parent's without its ones.
                let zeros = self.matrix.zeros[level];
                let start = zeros + (parent.start - child.start);
                let end = zeros + (parent.end - child.end);
                if start < end {
                    self.path.push(Rung { start, end, below });
                    self.value = (self.value >> shift | 1) << shift;
                    return true;
                }
            }
        }
        false
    }

    /// The children of the last node, and of what bit: `None` where it is at the bottom or empty.
    fn children(&self) -> Option<(Rung, Rung, u32)> {
        let level = self.path.len() - 1;
        let Rung { start, end, below } = self.path[level];
        let zeros = *self.matrix.zeros.get(level)?;
        if start == end {
            return None;
        }
        let bits = self.matrix.level(level as u32);
        let (start_ones, end_ones) = bits.ones_before_both(start, end);
        let low = Rung {
            start: start - start_ones,
            end: end - end_ones,
            below,
        };
        let high = Rung {
            start: zeros + start_ones,
            end: zeros + end_ones,
            below: below + (low.end - low.start),
        };
        Some((low, high, self.shift(level)))
    }

    /// Which bit of a value is decided at a level.
    fn shift(&self, level: usize) -> u32 {
        (self.matrix.zeros.len() - 1 - level) as u32 + LOW_BITS
    }
}

/// A value with other low bits.
fn with_low(value: u32, low: u8) -> u32 {
    value >> LOW_BITS << LOW_BITS | u32::from(low)
}

/// How many of some bytes are below `bound`.
fn smaller(bytes: &[u8], bound: u8) -> u32 {
    let compared = bytes.chunks(COMPARED).map(|chunk| {
        let smaller = chunk.iter().map(|byte| u8::from(*byte < bound));
        u32::from(smaller.sum::<u8>())
    });
    compared.sum()
}

/// The least of some bytes that is not below `bound`.
fn least_from(bytes: &[u8], bound: u8) -> Option<u8> {
    // Those that are below wrap to more than there is above it.
    let over = bytes.iter().map(|byte| byte.wrapping_sub(bound));
    let least = over.min()?;
    bound.checked_add(least)
}
