//! Walks over the keys of blocks: one by one, or past all that begin alike, of which none is decoded.
//!
//! Where keys that begin alike end is seen by what entries share with the one before them, without a look
//! at the rest. Where that is not in the block at hand, it is looked for by the first keys of the blocks
//! that follow, from about as far on as the last keys that began alike went: close by first, then in
//! strides that double, then between the last two.
//!
//! Source: Bentley and Yao, "An Almost Optimal Algorithm for Unbounded Searching" (1976).

use super::{BLOCK_KEYS, Blocks, Entry, KeyBuffer};

/// Where keys that begin alike go on for so many blocks, the next are looked for beyond the block at hand first.
const FAR_BLOCKS: u32 = 4;

/// A forward walk over [`Blocks`].
#[derive(Debug)]
pub(in crate::keymap) struct Walk<'a> {
    blocks: &'a Blocks,
    /// The rank that the next call of `advance` yields.
    next: u32,
    /// Where its entry is.
    at: usize,
    /// Of the key before that, what its entry shares.
    key: KeyBuffer,
    /// How many blocks begin with keys of those that began alike and were passed last.
    span: u32,
}

impl Blocks {
    /// A walk over the keys from `rank` on; an exhausted one where `rank` is past the end.
    pub(in crate::keymap) fn walk(&self, rank: u32) -> Walk<'_> {
        let mut walk = Walk {
            blocks: self,
            next: 0,
            at: 0,
            key: KeyBuffer::default(),
            span: 0,
        };
        walk.skip_to(rank);
        walk
    }
}

impl Walk<'_> {
    /// The next key, or `None` at the end. About 10 ns.
    pub(in crate::keymap) fn advance(&mut self) -> Option<&[u8]> {
        if self.next == self.blocks.len {
            return None;
        }
        let entry = Entry::read(&self.blocks.entries, &mut self.at);
        let symbols = self.blocks.symbols.as_deref();
        self.key.set(entry.shared, entry.rest, symbols);
        self.next += 1;
        Some(self.key.as_slice())
    }

    /// The key that `advance` yielded last.
    pub(in crate::keymap) fn key(&self) -> &[u8] {
        self.key.as_slice()
    }

    /// The rank that `advance` will yield.
    pub(in crate::keymap) fn next_rank(&self) -> u32 {
        self.next
    }

    /// Moves on to `rank`, which must not be behind, without decoding whole blocks in between. What
    /// [`key`](Self::key) gives then is of no use until the next call of `advance`.
    pub(in crate::keymap) fn skip_to(&mut self, rank: u32) {
        let rank = rank.min(self.blocks.len);
        if rank <= self.next {
            return;
        }
        if rank / BLOCK_KEYS != self.next / BLOCK_KEYS {
            self.next = rank - rank % BLOCK_KEYS;
            if self.next == self.blocks.len {
                return;
            }
            self.at = self.blocks.starts.number(rank / BLOCK_KEYS) as usize;
        }
        let between = rank - self.next;
        if between > 0 {
            let (at, key) = (&mut self.at, &mut self.key);
            self.blocks.decode_run(between, at, key);
            self.next = rank;
        }
    }

    /// Moves on past the keys that begin with the first `bytes` bytes of the one that `advance` yielded
    /// last, which stays what [`key`](Self::key) gives. Returns how many blocks were looked into besides
    /// the one at hand: O(log d), d how many more or fewer blocks they go on for than those that were
    /// passed last did.
    pub(in crate::keymap) fn pass_alike(&mut self, bytes: usize) -> u32 {
        // Where the last ones ended close by, these most likely do.
        if self.span < FAR_BLOCKS {
            self.pass_alike_in_block(bytes);
            if !self.next.is_multiple_of(BLOCK_KEYS) {
                return 0;
            }
        }
        let first = self.next.div_ceil(BLOCK_KEYS);
        let (unlike, looks) = self.first_unlike(first, bytes);
        self.span = unlike - first;
        if self.span > 0 {
            let last = unlike - 1;
            self.at = self.blocks.starts.number(last) as usize;
            // Its first key begins alike, and shares nothing with the one before.
            Entry::read(&self.blocks.entries, &mut self.at);
            self.next = last * BLOCK_KEYS + 1;
        }
        // Where no block begins alike, the one at hand may not have been looked through.
        self.pass_alike_in_block(bytes);
        looks
    }

    /// As [`pass_alike`](Self::pass_alike), up to the end of the block that the last key is in.
    fn pass_alike_in_block(&mut self, bytes: usize) {
        let entries = &self.blocks.entries[..];
        let left = self.next.wrapping_neg() % BLOCK_KEYS;
        for _ in 0..left.min(self.blocks.len - self.next) {
            let mut at = self.at;
            if Entry::skip(entries, &mut at) < bytes {
                return;
            }
            self.at = at;
            self.next += 1;
        }
    }

    /// The first block from `first` on whose first key does not begin as the last did, which may be past
    /// the last block, and how many were looked into.
    fn first_unlike(&self, first: u32, bytes: usize) -> (u32, u32) {
        let blocks = self.blocks.len.div_ceil(BLOCK_KEYS);
        if first == blocks {
            return (first, 0);
        }
        // All below `low` begin alike, and none from `high` on.
        let (mut low, mut high) = (first, blocks);
        let mut looks = 0;
        let mut look = |block: u32, low: &mut u32, high: &mut u32| {
            looks += 1;
            let is_alike = self.blocks.begins_as(block, &self.key, bytes);
            if is_alike {
                *low = block + 1;
            } else {
                *high = block;
            }
            is_alike
        };
        // Random parts of groups that are alike differ by the root of their size.
        let mut stride = 1 + self.span.isqrt() / 4;
        let guess = first.saturating_add(self.span).min(blocks - 1);
        if look(guess, &mut low, &mut high) {
            while low.saturating_add(stride) <= high
                && look(low + (stride - 1), &mut low, &mut high)
            {
                stride = stride.saturating_mul(2);
            }
        } else {
            while high - low >= stride && !look(high - stride, &mut low, &mut high) {
                stride = stride.saturating_mul(2);
            }
        }
        while low < high {
            look(low + (high - low) / 2, &mut low, &mut high);
        }
        (low, looks)
    }
}
