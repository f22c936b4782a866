//! A list of entries that grows without copying what is there, but for its last block.

use super::Entry;

/// Entries of a block.
const BLOCK: usize = 512;

/// Entries, the last in first out.
#[derive(Debug, Default)]
pub(super) struct List {
    /// All but the last are full.
    blocks: Vec<Vec<Entry>>,
}

impl List {
    pub(super) fn push(&mut self, entry: Entry) {
        match self.blocks.last_mut() {
            Some(last) if last.len() < BLOCK => last.push(entry),
            _ => self.blocks.push(vec![entry]),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Entry> {
        let last = self.blocks.last_mut()?;
        let entry = last.pop();
        if last.is_empty() {
            self.blocks.pop();
            if self.blocks.is_empty() {
                self.blocks = Vec::new();
            }
        }
        entry
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }
}
