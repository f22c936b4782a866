//! What was changed, in one order and with one position: the records that shards hand over at the end of
//! their turns, for whoever follows them.
//!
//! Where there is a log it is the first to take them, and they come here once they are as safe as answers
//! need. Without one they come at once. While nobody follows nothing is kept, and without a log nothing is
//! recorded: that costs a change one look at a number.

use crate::durable::{Append, Position};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// What is kept for those who follow, at the most, in bytes. Who falls further behind has to begin anew.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a turn's records take besides their bytes.
const TURN_BYTES: usize = 64;

/// The stream of a store.
#[derive(Debug)]
pub(super) struct Stream {
    kept: Mutex<Kept>,
    /// Up to where records are here.
    end: watch::Sender<Position>,
    followers: AtomicUsize,
}

#[derive(Debug, Default)]
struct Kept {
    /// By the position after each.
    turns: VecDeque<(Position, Arc<Append>)>,
    bytes: usize,
    /// The position before the first of them, and after the last.
    start: Position,
    end: Position,
}

/// A place in the stream of whoever follows it.
#[derive(Debug)]
pub struct Following {
    stream: Arc<Stream>,
    next: Position,
    end: watch::Receiver<Position>,
}

/// That what comes next is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            kept: Mutex::default(),
            end: watch::Sender::new(Position(0)),
            followers: AtomicUsize::new(0),
        }
    }

    /// Whether anybody follows.
    pub(super) fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// Takes records that no log has taken, and gives them their position.
    pub(super) fn append(&self, append: Append) {
        let mut kept = self.lock();
        let end = Position(kept.end.0 + u64::from(append.records));
        self.keep(&mut kept, end, append);
    }

    /// Takes records that the log has taken, which has told of all up to a position.
    pub(super) fn pass(&self, end: Position, turns: Vec<Append>) {
        let mut kept = self.lock();
        if !self.is_followed() {
            *kept = Kept {
                start: end,
                end,
                ..Kept::default()
            };
            return;
        }
        let records: u64 = turns.iter().map(|turn| u64::from(turn.records)).sum();
        let mut at = end.0 - records;
        for turn in turns {
            at += u64::from(turn.records);
            self.keep(&mut kept, Position(at), turn);
        }
    }

    /// Follows from here on: all changes that are made after this are given.
    pub(super) fn follow(self: &Arc<Self>) -> Following {
        self.followers.fetch_add(1, Ordering::Relaxed);
        let kept = self.lock();
        Following {
            next: kept.end,
            end: self.end.subscribe(),
            stream: self.clone(),
        }
    }

    fn keep(&self, kept: &mut Kept, end: Position, turn: Append) {
        kept.bytes += turn.content.len() + TURN_BYTES;
        kept.end = end;
        kept.turns.push_back((end, Arc::new(turn)));
        while kept.bytes > KEPT_BYTES_MAX
            && let Some((end, turn)) = kept.turns.pop_front()
        {
            kept.bytes -= turn.content.len() + TURN_BYTES;
            kept.start = end;
        }
        self.end.send_replace(end);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    /// The next turn's records, once there are some, and the position after them.
    ///
    /// # Errors
    /// Where they are not kept any more.
    pub async fn next(&mut self) -> Result<(Position, Arc<Append>), Gone> {
        loop {
            {
                let kept = self.stream.lock();
                if self.next < kept.start {
                    return Err(Gone);
                }
                let at = kept.turns.partition_point(|(end, _)| *end <= self.next);
                if let Some((end, turn)) = kept.turns.get(at) {
                    self.next = *end;
                    return Ok((*end, turn.clone()));
                }
            }
            let next = self.next;
            // The sender is the stream's, which this holds.
            let _ = self.end.wait_for(|end| *end > next).await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let before = self.stream.followers.fetch_sub(1, Ordering::Relaxed);
        if before == 1 {
            let mut kept = self.stream.lock();
            kept.turns = VecDeque::new();
            kept.bytes = 0;
            kept.start = kept.end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn turn(records: u32, bytes: usize) -> Append {
        Append {
            shard: 0,
            records,
            content: vec![7; bytes],
        }
    }

    fn next(following: &mut Following) -> Option<Result<u64, Gone>> {
        let next = following.next().now_or_never()?;
        Some(next.map(|(end, _)| end.0))
    }

    #[test]
    fn who_follows_gets_all_that_comes_later_until_too_much_has() {
        let stream = Arc::new(Stream::new());
        assert!(!stream.is_followed());
        stream.pass(Position(40), vec![turn(3, 10)]);
        let mut first = stream.follow();
        assert!(stream.is_followed());
        assert_eq!(next(&mut first), None);
        stream.pass(Position(45), vec![turn(2, 10), turn(3, 10)]);
        let mut second = stream.follow();
        stream.append(turn(1, 10));
        assert_eq!(next(&mut first), Some(Ok(42)));
        assert_eq!(next(&mut first), Some(Ok(45)));
        assert_eq!(next(&mut first), Some(Ok(46)));
        assert_eq!(next(&mut second), Some(Ok(46)));
        assert_eq!(next(&mut second), None);
        for _ in 0..20 {
            stream.append(turn(1, KEPT_BYTES_MAX / 10));
            assert_eq!(next(&mut first).map(|next| next.is_ok()), Some(true));
            assert!(stream.lock().bytes <= KEPT_BYTES_MAX);
        }
        assert_eq!(next(&mut second), Some(Err(Gone)));
        drop((first, second));
        assert!(!stream.is_followed());
        assert_eq!(stream.lock().bytes, 0);
    }
}
