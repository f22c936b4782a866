//! How much memory segments take, part by part.

use crate::keymap::part::PartKind;

/// Bytes that segments take on the heap, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartBytes {
    /// The compressed keys.
    pub keys: usize,
    /// Which block a key is in, in both orders.
    pub separators: usize,
    /// The reverse order.
    pub permutation: usize,
    /// Rectangles.
    pub matrix: usize,
    /// Where the values are.
    pub slots: usize,
    /// Which rank a key has, by hash.
    pub table: usize,
    /// Which keys are deleted.
    pub dead: usize,
}

impl PartBytes {
    /// Each part's name and bytes.
    pub fn by_part(&self) -> [(&'static str, usize); 7] {
        [
            ("keys", self.keys),
            ("separators", self.separators),
            ("permutation", self.permutation),
            ("matrix", self.matrix),
            ("slots", self.slots),
            ("table", self.table),
            ("dead", self.dead),
        ]
    }

    /// The bytes of a kind of part.
    pub(super) fn of(&mut self, kind: PartKind) -> &mut usize {
        match kind {
            PartKind::Keys | PartKind::Starts | PartKind::Symbols => &mut self.keys,
            PartKind::Separators | PartKind::ReverseSeparators => &mut self.separators,
            PartKind::Permutation => &mut self.permutation,
            PartKind::Matrix => &mut self.matrix,
            PartKind::Slots => &mut self.slots,
            PartKind::Table => &mut self.table,
        }
    }

    /// All parts together.
    pub fn total(&self) -> usize {
        self.by_part().iter().map(|(_, bytes)| bytes).sum()
    }
}

impl std::ops::AddAssign for PartBytes {
    fn add_assign(&mut self, other: Self) {
        self.keys += other.keys;
        self.separators += other.separators;
        self.permutation += other.permutation;
        self.matrix += other.matrix;
        self.slots += other.slots;
        self.table += other.table;
        self.dead += other.dead;
    }
}
