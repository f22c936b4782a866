//! Which ranges of slots changed since a copy of them was begun.

/// How many slots are in a range. Tests have several ranges.
pub const RANGE_SLOTS: u32 = if cfg!(test) { 64 } else { 1 << 16 };

/// For each range of slots, how many images had been made when it changed last.
///
/// Nothing is ever reset, so a copy that came to nothing leaves no trace: whether a range is as it was
/// copied depends on the image that it was copied for alone.
#[derive(Clone, Debug, Default)]
pub(in crate::keymap) struct Changes {
    ranges: Vec<u32>,
    images: u32,
}

impl Changes {
    /// Notes that what is in a slot changes.
    pub(super) fn note(&mut self, slot: u32) {
        let range = (slot / RANGE_SLOTS) as usize;
        match self.ranges.get_mut(range) {
            Some(changed) => *changed = self.images,
            None => {
                self.ranges.resize(range, 0);
                self.ranges.push(self.images);
            }
        }
    }

    /// Notes that an image is made, and returns what is known then.
    pub(super) fn begin_image(&mut self) -> Self {
        self.images += 1;
        self.clone()
    }

    /// The number of the last image.
    pub(in crate::keymap) fn image(&self) -> u32 {
        self.images
    }

    /// Whether nothing in a range changed since the image of a number.
    pub(in crate::keymap) fn is_unchanged(&self, range: u32, since_image: u32) -> bool {
        let changed = self.ranges.get(range as usize).copied().unwrap_or(0);
        changed < since_image
    }
}
