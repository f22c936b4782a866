//! The files of the log that no checkpoint needs any more: how many of them are kept all the same, for whoever reads
//! the log from further back.
//!
//! They are the first to go: the oldest once they are more than was set, and as many as it takes before a disk is
//! called full. One goes only once all before it have gone, so that those that are left hold all that was changed
//! since some position.

use super::{Files, Position, segment};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The files of a log that are not needed, by whoever removes them.
#[derive(Debug)]
pub(super) struct KeptFiles {
    files: Arc<dyn Files>,
    directory: PathBuf,
    /// How long they may be together, in bytes.
    bytes_max: u64,
    /// All before this position checkpoints have. It is held while some are removed: by one at a time.
    needed: Mutex<Position>,
    /// How long they were together when it was looked last, in bytes.
    bytes: AtomicU64,
}

/// A file that is not needed.
struct Kept {
    path: PathBuf,
    bytes: u64,
}

impl KeptFiles {
    /// Those of a directory, where checkpoints have all before a position.
    pub(super) fn new(
        files: Arc<dyn Files>,
        directory: PathBuf,
        bytes_max: u64,
        needed: Position,
    ) -> Self {
        Self {
            files,
            directory,
            bytes_max,
            needed: Mutex::new(needed),
            bytes: AtomicU64::new(0),
        }
    }

    /// Removes the oldest until the rest is no longer than was set, now that checkpoints have all before a position.
    ///
    /// # Errors
    /// As the system has them. What was removed until then is of no use to anybody.
    pub(super) fn trim(&self, needed: Position) -> io::Result<()> {
        let mut known = self.lock();
        *known = needed.max(*known);
        self.remove(*known, |left| Ok(left > self.bytes_max))?;
        Ok(())
    }

    /// Removes the oldest until so many bytes of the disk are free, or none is left.
    ///
    /// # Errors
    /// As the system has them.
    pub(super) fn give_way(&self, free_bytes: u64) -> io::Result<()> {
        if self.files.free_bytes(&self.directory)? >= free_bytes {
            return Ok(());
        }
        self.remove(*self.lock(), |_| {
            Ok(self.files.free_bytes(&self.directory)? < free_bytes)
        })?;
        Ok(())
    }

    /// Removes the oldest, and says whether there was one.
    ///
    /// # Errors
    /// As the system has them.
    pub(super) fn remove_oldest(&self) -> io::Result<bool> {
        let mut is_first = true;
        let removed = self.remove(*self.lock(), |_| Ok(std::mem::take(&mut is_first)))?;
        Ok(removed > 0)
    }

    /// How long they are together, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Removes the oldest for as long as one is to go, by how long all that are left are, and says how many went.
    fn remove(
        &self,
        needed: Position,
        mut is_to_go: impl FnMut(u64) -> io::Result<bool>,
    ) -> io::Result<usize> {
        let kept = self.list(needed)?;
        let mut left: u64 = kept.iter().map(|kept| kept.bytes).sum();
        self.bytes.store(left, Ordering::Relaxed);
        let mut removed = 0;
        for Kept { path, bytes } in kept {
            if !is_to_go(left)? {
                break;
            }
            self.files.remove(&path)?;
            removed += 1;
            left -= bytes;
            self.bytes.store(left, Ordering::Relaxed);
        }
        Ok(removed)
    }

    /// Those all of whose records are before a position, the oldest first.
    fn list(&self, needed: Position) -> io::Result<Vec<Kept>> {
        let names = self.files.list(&self.directory)?;
        let mut firsts: Vec<Position> = names
            .iter()
            .filter_map(|name| segment::position(name))
            .collect();
        firsts.sort_unstable();
        // One ends where the next begins.
        let ends = firsts.iter().skip(1);
        let whole = firsts
            .iter()
            .zip(ends)
            .take_while(|(_, end)| **end <= needed);
        let kept = whole.map(|(first, _)| {
            let path = segment::path(&self.directory, *first);
            let bytes = self.files.len(&path)?;
            Ok(Kept { path, bytes })
        });
        kept.collect()
    }

    fn lock(&self) -> MutexGuard<'_, Position> {
        self.needed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
