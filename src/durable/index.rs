//! Where in the files of the log some of their frames begin, so that who reads on from the middle of a file need not
//! go through all that is before.
//!
//! Whoever writes a file notes a frame in each stretch of it, and so does whoever reads one that another process has
//! written. It is a hint: a frame is taken for one by its checksum, wherever it was looked for.

use super::Position;
use super::segment::HEAD_BYTES;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// At most one frame is known in so many bytes: who begins to read goes past as much in vain, and a frame.
pub(super) const STRIDE_BYTES: u64 = if cfg!(test) { 256 } else { 256 * 1024 };

/// Frames are known of so many files, those that were used last. With files of 64 MiB all of it takes 1 MiB.
pub(super) const FILES_MAX: usize = if cfg!(test) { 3 } else { 256 };

/// Of files, by the position of their first record, some frames.
#[derive(Debug, Default)]
pub(super) struct LogIndex(Mutex<Indexed>);

#[derive(Debug, Default)]
struct Indexed {
    files: BTreeMap<Position, IndexedFile>,
    /// How often any was used.
    uses: u64,
}

#[derive(Debug, Default)]
struct IndexedFile {
    /// Positions of frames and where these begin, in order.
    frames: Vec<(Position, u64)>,
    /// When it was used last, by that count.
    used: u64,
}

impl LogIndex {
    /// Notes a frame of a file, by its position and where it begins. Nothing where it is in one stretch with the
    /// frame that the same reader or writer noted before, at whose place `noted` is.
    pub(super) fn note(&self, file: Position, frame: (Position, u64), noted: &mut u64) {
        let (_, at) = frame;
        if at < *noted + STRIDE_BYTES {
            return;
        }
        *noted = at;
        let mut indexed = self.lock();
        let frames = &mut indexed.used(file).frames;
        let next = frames.partition_point(|(_, other)| *other < at);
        let before = match next.checked_sub(1) {
            Some(before) => frames[before].1,
            None => HEAD_BYTES as u64,
        };
        let is_far = |after: &(Position, u64)| after.1 >= at + STRIDE_BYTES;
        if at >= before + STRIDE_BYTES && frames.get(next).is_none_or(is_far) {
            frames.insert(next, frame);
        }
        indexed.forget_oldest();
    }

    /// The last frame that is known of a file and does not begin behind a position.
    pub(super) fn find(&self, file: Position, position: Position) -> Option<(Position, u64)> {
        let mut indexed = self.lock();
        // One of which nothing is known takes nobody's place.
        if !indexed.files.contains_key(&file) {
            return None;
        }
        let frames = &indexed.used(file).frames;
        let behind = frames.partition_point(|(frame, _)| *frame <= position);
        frames[..behind].last().copied()
    }

    fn lock(&self) -> MutexGuard<'_, Indexed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Indexed {
    fn used(&mut self, file: Position) -> &mut IndexedFile {
        self.uses += 1;
        let used = self.files.entry(file).or_default();
        used.used = self.uses;
        used
    }

    fn forget_oldest(&mut self) {
        if self.files.len() > FILES_MAX
            && let Some(oldest) = self.files.iter().min_by_key(|(_, file)| file.used)
        {
            let oldest = *oldest.0;
            self.files.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_found_is_a_frame_that_was_noted_and_none_that_is_known_is_nearer(
            steps in prop::collection::vec((0_u64..5, 0_u64..4000, any::<bool>()), 1..200),
        ) {
            let index = LogIndex::default();
            let mut known: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            let mut used: Vec<u64> = Vec::new();
            for (file, at, is_noted) in steps {
                let touch = |used: &mut Vec<u64>| {
                    used.retain(|other| *other != file);
                    used.push(file);
                };
                if is_noted {
                    // A frame is as far in its file as its position says.
                    index.note(Position(file), (Position(at), at), &mut 0);
                    if at < STRIDE_BYTES {
                        continue;
                    }
                    touch(&mut used);
                    let frames = known.entry(file).or_default();
                    let is_near = |other: &u64| other.abs_diff(at) < STRIDE_BYTES;
                    if at >= HEAD_BYTES as u64 + STRIDE_BYTES && !frames.iter().any(is_near) {
                        frames.push(at);
                    }
                    if used.len() > FILES_MAX {
                        known.remove(&used.remove(0));
                    }
                } else {
                    let frames = known.get(&file);
                    let expected = frames.and_then(|frames| {
                        frames.iter().copied().filter(|frame| *frame <= at).max()
                    });
                    let found = index.find(Position(file), Position(at));
                    prop_assert_eq!(found, expected.map(|at| (Position(at), at)));
                    if frames.is_some() {
                        touch(&mut used);
                    }
                }
                prop_assert!(index.lock().files.len() <= FILES_MAX);
            }
        }
    }
}
