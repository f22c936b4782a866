//! What the log's thread has in common with those who append: what waits to be written, and how far all of it is.

use super::listener::{Append, LogRoom};
use crate::durable::{Position, frame};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What both have.
#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// Something waits, or the log is to end.
    woken: Condvar,
    /// Up to where the log is on disk.
    pub(super) synced: AtomicU64,
    /// Up to where it was told of.
    pub(super) reached: AtomicU64,
    /// The position after what waits, and its bytes: as in the queue, without its lock.
    pub(super) end: AtomicU64,
    pub(super) waiting_bytes: AtomicUsize,
    /// What the disk has room for, as a [`LogRoom`].
    room: AtomicU8,
    /// What is to be left free on the disk, in bytes, besides two files.
    pub(super) reserved_bytes: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) first: Position,
    pub(super) waiting_bytes_max: usize,
}

#[derive(Debug)]
struct Queue {
    appended: Vec<Append>,
    /// The position after what waits.
    end: Position,
    is_ending: bool,
}

impl Shared {
    /// Nothing waits yet.
    pub(super) fn new(first: Position, waiting_bytes_max: usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                appended: Vec::new(),
                end: first,
                is_ending: false,
            }),
            woken: Condvar::new(),
            synced: AtomicU64::new(first.0),
            reached: AtomicU64::new(first.0),
            end: AtomicU64::new(first.0),
            waiting_bytes: AtomicUsize::new(0),
            room: AtomicU8::new(LogRoom::Open as u8),
            reserved_bytes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            first,
            waiting_bytes_max,
        }
    }

    /// Adds records to what waits, and returns the position after them.
    pub(super) fn append(&self, append: Append) -> Position {
        let bytes = frame::HEAD_BYTES + append.content.len();
        let mut queue = self.lock();
        queue.end.0 += u64::from(append.records);
        queue.appended.push(append);
        self.end.store(queue.end.0, Ordering::Release);
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.woken.notify_one();
        queue.end
    }

    /// Has the thread end, once it has written what waits.
    pub(super) fn finish(&self) {
        self.lock().is_ending = true;
        self.woken.notify_one();
    }

    /// What the disk has room for.
    pub(super) fn room(&self) -> LogRoom {
        let room = self.room.load(Ordering::Relaxed);
        let rooms = [
            LogRoom::Open,
            LogRoom::Busy,
            LogRoom::Reserved,
            LogRoom::Full,
        ];
        let room = rooms.into_iter().find(|one| *one as u8 == room);
        room.expect("only rooms are stored")
    }

    pub(super) fn set_room(&self, room: LogRoom) {
        self.room.store(room as u8, Ordering::Relaxed);
    }

    /// Waits until something is to be written, the log is to end (`None`), or a moment has come (nothing).
    pub(super) fn take(&self, until: Option<Instant>) -> Option<Vec<Append>> {
        let mut queue = self.lock();
        loop {
            if !queue.appended.is_empty() {
                self.waiting_bytes.store(0, Ordering::Relaxed);
                return Some(std::mem::take(&mut queue.appended));
            }
            if queue.is_ending {
                return None;
            }
            queue = match until {
                None => {
                    let woken = self.woken.wait(queue);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()) else {
                        return Some(Vec::new());
                    };
                    let woken = self.woken.wait_timeout(queue, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits for a while, and says whether the log is to go on.
    pub(super) fn pause(&self, wait: Duration) -> bool {
        let queue = self.lock();
        let woken = self
            .woken
            .wait_timeout_while(queue, wait, |queue| !queue.is_ending);
        !woken.unwrap_or_else(PoisonError::into_inner).0.is_ending
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
