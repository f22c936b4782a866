//! Bodies that are no part of a record, one after the other in blocks.
//!
//! ```text
//! block  | body | gone | body | body | gone | gone | not written yet        |
//! ```
//!
//! A block is one allocation, which its bodies share with those who read them. It is written once,
//! from its start to its end, and given back when the last of its bodies is gone and nobody reads one.
//! Blocks grow sparse so. What is left of the sparsest is copied to where the next body would go, as
//! in log-structured memory (Rumble, Kejriwal and Ousterhout, FAST 2014). Bodies that are allocated
//! each by itself cannot be moved together: an allocator keeps a page while one of them is in it.

use super::numbers::FreeNumbers;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// The size of a block, in bytes.
const BLOCK_BYTES: usize = 1024 * 1024;

/// The longest body that is in a block with others, in bytes. Longer ones have pages of their own.
const PACKED_MAX: usize = BLOCK_BYTES / 8;

/// What the allocator adds to a body of its own, and what sharing it takes, in bytes.
const ALONE_BYTES: usize = 16;

/// A block is sparse where one part of so many of what was written is gone. It is not worth copying
/// what is left of others.
const SPARSE_PARTS: usize = 16;

/// What is copied before the blocks are free that it is copied from: one part of so many of what all
/// blocks take, and so many bytes at least.
const LEAVING_PARTS: usize = 16;
const LEAVING_BYTES_MIN: usize = 4 * BLOCK_BYTES;

/// How many blocks that are still read are looked at each time.
const READ_STEPS: usize = 16;

/// Where a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In an allocation of its own.
    Alone,
    /// In the block of this number.
    Block(u32),
}

/// The blocks.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    blocks: Vec<Option<Block>>,
    free: FreeNumbers,
    /// The number of the block that is being written.
    open: Option<u32>,
    /// Blocks without a body that somebody still reads.
    read: VecDeque<Read>,
    /// What was written of all blocks, those that are still read included, in bytes.
    written_bytes: usize,
    /// What is gone of the sparse ones, in bytes.
    spare_bytes: usize,
    /// What bodies of their own take, in bytes.
    alone_bytes: usize,
    leaving: usize,
}

#[derive(Debug)]
struct Block {
    /// Where the next body goes.
    rest: BytesMut,
    /// What was written, in bytes.
    written: usize,
    /// What is not gone of that, in bytes.
    live: usize,
    /// Whether what is left is being copied.
    is_leaving: bool,
    is_open: bool,
}

#[derive(Debug)]
struct Read {
    /// What keeps count of the readers.
    handle: Bytes,
    written: usize,
}

impl Block {
    fn new() -> Self {
        Self {
            rest: BytesMut::with_capacity(BLOCK_BYTES),
            written: 0,
            live: 0,
            is_leaving: false,
            is_open: true,
        }
    }

    /// What copying the rest would give back, in bytes, where it is worth it.
    fn spare_bytes(&self) -> usize {
        let gone = self.written - self.live;
        if gone > 0 && gone >= self.written / SPARSE_PARTS {
            gone
        } else {
            0
        }
    }

    /// In how many parts of [`SPARSE_PARTS`] it is in use.
    fn fill(&self) -> usize {
        self.live * SPARSE_PARTS / self.written.max(1)
    }
}

impl Bodies {
    /// Keeps a body, and says where.
    pub(super) fn put(&mut self, body: Bytes) -> (Bytes, Home) {
        self.forget_read();
        let len = body.len();
        if len == 0 || len > PACKED_MAX {
            self.alone_bytes += len + ALONE_BYTES;
            return (body, Home::Alone);
        }
        let number = self.open_for(len);
        let packed = self.change(number, |block| {
            block.rest.extend_from_slice(&body);
            block.written += len;
            block.live += len;
            block.rest.split().freeze()
        });
        self.written_bytes += len;
        (packed, Home::Block(number))
    }

    /// Lets a body go of which this is the length; the store's own share of it is dropped already.
    pub(super) fn remove(&mut self, len: usize, home: Home) {
        match home {
            Home::Alone => self.alone_bytes -= len + ALONE_BYTES,
            Home::Block(number) => {
                self.change(number, |block| block.live -= len);
                self.end_if_empty(number);
            }
        }
        self.forget_read();
    }

    /// Whether a body is to be copied.
    pub(super) fn is_leaving(&self, home: Home) -> bool {
        match home {
            Home::Alone => false,
            Home::Block(number) => self.blocks[number as usize]
                .as_ref()
                .is_some_and(|block| block.is_leaving),
        }
    }

    /// Whether any body is to be copied.
    pub(super) fn has_leaving(&self) -> bool {
        self.leaving > 0
    }

    /// Marks the sparsest blocks: what is left of them is to be copied.
    pub(super) fn close_sparse(&mut self) {
        if let Some(number) = self.open
            && self.block(number).spare_bytes() > 0
        {
            self.close_open();
        }
        let mut left = LEAVING_BYTES_MIN.max(self.written_bytes / LEAVING_PARTS);
        let mut live_by_fill = [0; SPARSE_PARTS + 1];
        let is_sparse = |block: &&mut Block| block.spare_bytes() > 0 && !block.is_leaving;
        for block in self.blocks.iter_mut().flatten().filter(is_sparse) {
            live_by_fill[block.fill()] += block.live;
        }
        // Blocks that are as full as this one or less can all be copied, and some of the next.
        let mut sum = 0;
        let whole = live_by_fill.iter().position(|live| {
            sum += live;
            sum > left
        });
        let fill_max = whole.unwrap_or(SPARSE_PARTS);
        left -= live_by_fill[..fill_max].iter().sum::<usize>();
        for block in self.blocks.iter_mut().flatten().filter(is_sparse) {
            if block.fill() > fill_max {
                continue;
            }
            if block.fill() == fill_max {
                let Some(rest) = left.checked_sub(block.live) else {
                    continue;
                };
                left = rest;
            }
            block.is_leaving = true;
            self.leaving += 1;
        }
    }

    /// What copying would give back, in bytes.
    pub(super) fn spare_bytes(&self) -> usize {
        self.spare_bytes
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.written_bytes + self.alone_bytes
    }

    /// Whether there is memory to give back at once.
    pub(super) fn has_ended(&self) -> bool {
        let mut looked_at = self.read.iter().take(READ_STEPS);
        looked_at.any(|read| read.handle.is_unique())
    }

    /// Gives back some of the blocks that are not read any more.
    pub(super) fn forget_read(&mut self) {
        for _ in 0..self.read.len().min(READ_STEPS) {
            let Some(read) = self.read.pop_front() else {
                return;
            };
            if read.handle.is_unique() {
                self.written_bytes -= read.written;
            } else {
                self.read.push_back(read);
            }
        }
    }

    /// Gives back the block that is being written, where no body is left in any.
    pub(super) fn end_all(&mut self) {
        self.close_open();
        self.blocks = Vec::new();
        self.free = FreeNumbers::default();
    }

    /// The number of a block with room for so many bytes.
    fn open_for(&mut self, len: usize) -> u32 {
        if let Some(number) = self.open
            && self.block(number).rest.capacity() >= len
        {
            return number;
        }
        self.close_open();
        let number = match self.free.lowest() {
            Some(number) => {
                self.free.take(number);
                self.blocks[number as usize] = Some(Block::new());
                number
            }
            None => {
                self.blocks.push(Some(Block::new()));
                self.blocks.len() as u32 - 1
            }
        };
        self.open = Some(number);
        number
    }

    /// Has the next body go to another block.
    fn close_open(&mut self) {
        if let Some(number) = self.open.take() {
            self.block(number).is_open = false;
            self.end_if_empty(number);
        }
    }

    fn block(&mut self, number: u32) -> &mut Block {
        let block = self.blocks[number as usize].as_mut();
        block.expect("a body's block is there")
    }

    /// Changes a block and what is counted of it.
    fn change<T>(&mut self, number: u32, change: impl FnOnce(&mut Block) -> T) -> T {
        let block = self.block(number);
        let before = block.spare_bytes();
        let changed = change(block);
        let now = block.spare_bytes();
        self.spare_bytes = self.spare_bytes - before + now;
        changed
    }

    /// Gives a block back in which no body is left, once nobody reads it.
    fn end_if_empty(&mut self, number: u32) {
        let block = self.block(number);
        if block.live > 0 || block.is_open {
            return;
        }
        let Some(block) = self.blocks[number as usize].take() else {
            unreachable!("it was just there");
        };
        self.free.put(number);
        self.spare_bytes -= block.spare_bytes();
        self.leaving -= usize::from(block.is_leaving);
        let read = Read {
            written: block.written,
            handle: block.rest.freeze(),
        };
        if read.handle.is_unique() {
            self.written_bytes -= read.written;
        } else {
            self.read.push_back(read);
        }
    }
}
