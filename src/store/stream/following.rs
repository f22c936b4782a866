//! Whoever follows the changes: from a place on, a turn at a time.

use super::{ChangeView, Kept, Place, Stream};
use crate::durable::{Append, LogFiles, LogRead, LogReader, Position, RecordViews};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;

/// How much of the log is read at a time, in bytes, where turns are no larger.
const LOG_BYTES: usize = 64 * 1024;

/// A place in the stream of whoever follows it. It holds nothing that was changed but what it has read from the
/// log.
#[derive(Debug)]
pub struct Following {
    stream: Arc<Stream>,
    /// All before this was given.
    next: Position,
    /// Of a turn that was looked at in part: the position after it, and the byte of its next record.
    within: Option<(Position, usize)>,
    end: watch::Receiver<Position>,
    /// How it goes on in the log, where that is what it reads.
    behind: Option<Box<Behind>>,
    /// Up to which start of a process what it has is known, where that is not this one's past for certain.
    last_start: Option<u64>,
}

/// Somebody who reads from the log.
#[derive(Debug)]
struct Behind {
    /// `None` before it has begun to.
    reader: Option<LogReader>,
    /// What was read and not given, each with the position after it.
    turns: VecDeque<(Position, Arc<Append>)>,
    /// How much is read next, in bytes.
    bytes: usize,
}

/// What came of looking at the changes that come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Those of a turn were, or some of them; there may be more.
    Some,
    /// There are none yet.
    Nothing,
    /// They are to be read from the log, which takes about so many bytes until they were looked at.
    Logged(usize),
    /// They are not kept any more.
    Gone,
}

/// That what comes next is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Why nobody can follow from a place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowError {
    /// The engine outside of this process does not log updates.
    Off,
    /// The data is not loaded yet, or the engine's logs not followed.
    Starting,
    /// What comes next is not kept any more, or never was here.
    Gone,
}

/// Where the turn is that comes next.
enum Next {
    Turn(Position, Arc<Append>),
    Nothing,
    Logged,
    Gone,
}

impl Stream {
    /// Follows from here on: all changes that are made after this are given.
    ///
    /// # Errors
    /// `Starting`.
    pub(in crate::store) fn follow(self: &Arc<Self>) -> Result<Following, FollowError> {
        self.origin.get().ok_or(FollowError::Starting)?;
        let mut kept = self.lock();
        self.join(&mut kept);
        Ok(self.following(kept.end))
    }

    /// Follows from a place on that somebody was given.
    ///
    /// # Errors
    /// `Starting`, and `Gone` where what comes behind it is not to be had.
    pub(in crate::store) async fn follow_after(
        self: &Arc<Self>,
        place: Place,
    ) -> Result<Following, FollowError> {
        let mut following = self.join_at(place)?;
        match (following.find(), following.last_start) {
            (Next::Turn(..) | Next::Nothing, None) => Ok(following),
            (Next::Turn(..) | Next::Nothing, Some(_)) | (Next::Logged, _) => {
                let opened = following.open_log().await;
                opened.map_err(|Gone| FollowError::Gone)?;
                Ok(following)
            }
            (Next::Gone, _) => Err(FollowError::Gone),
        }
    }

    fn join_at(self: &Arc<Self>, place: Place) -> Result<Following, FollowError> {
        let origin = self.origin.get().ok_or(FollowError::Starting)?;
        let mut kept = self.lock();
        // What the start before this one had told of may be lost in part, and what was not is what this one
        // found. Of those before that the log knows.
        let is_current = place.start == origin.start;
        let known_end = match is_current {
            true => kept.end,
            false => origin.first,
        };
        if place.incarnation != origin.incarnation
            || place.start > origin.start
            || place.position > known_end
        {
            return Err(FollowError::Gone);
        }
        self.join(&mut kept);
        drop(kept);
        let mut following = self.following(place.position);
        let is_known = is_current || place.start + 1 == origin.start;
        following.last_start = (!is_known).then_some(place.start);
        Ok(following)
    }

    pub(super) fn following(self: &Arc<Self>, next: Position) -> Following {
        Following {
            stream: self.clone(),
            next,
            within: None,
            end: self.end.subscribe(),
            behind: None,
            last_start: None,
        }
    }

    pub(super) fn place(&self, position: Position) -> Place {
        let origin = self.origin.get();
        // Without a lock where there are none.
        let mark = match self.has_marks.load(Ordering::Acquire) {
            true => self.lock().mark(position),
            false => None,
        };
        Place {
            incarnation: origin.map_or(0, |origin| origin.incarnation),
            start: origin.map_or(0, |origin| origin.start),
            position,
            mark,
        }
    }
}

impl Kept {
    /// The turn that holds what comes behind a position.
    fn after(&self, position: Position) -> Next {
        let at = self.turns.partition_point(|turn| turn.end <= position);
        match self.turns.get(at) {
            Some(turn) => Next::Turn(turn.end, turn.append.clone()),
            None => Next::Nothing,
        }
    }
}

impl Following {
    /// Looks at the changes of one turn that come next, in their order, each once. One that breaks off comes again
    /// the next time, and those behind it.
    pub fn look(&mut self, mut change: impl FnMut(ChangeView<'_>) -> ControlFlow<()>) -> Seen {
        let (end, append) = match self.find() {
            Next::Turn(end, append) => (end, append),
            Next::Nothing => return Seen::Nothing,
            Next::Logged => return Seen::Logged(self.log_bytes()),
            Next::Gone => return Seen::Gone,
        };
        let begin = self
            .stream
            .place(Position(end.0 - u64::from(append.records)));
        let (mut position, at) = self.within(end, begin.position);
        let mut views = RecordViews::new(&append.content, at);
        loop {
            let at = views.at();
            let Some(record) = views.next() else { break };
            position.0 += 1;
            if position <= self.next {
                continue;
            }
            let place = Place { position, ..begin };
            if change(ChangeView { place, record }).is_break() {
                self.within = Some((end, at));
                return Seen::Some;
            }
            self.next = position;
        }
        self.within = None;
        self.next = end;
        Seen::Some
    }

    /// Has the one change that comes next looked at on another thread, where that takes long, and goes past it. `None`
    /// where it is not there to be looked at: looking says why.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub async fn look_apart<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(ChangeView<'_>) -> T + Send + 'static,
    ) -> Result<Option<T>, Gone> {
        let Next::Turn(end, append) = self.find() else {
            return Ok(None);
        };
        let begin = Position(end.0 - u64::from(append.records));
        let (mut position, at) = self.within(end, begin);
        let (begin, next) = (self.stream.place(begin), self.next);
        let looked = self.stream.apart.run(move || {
            let mut views = RecordViews::new(&append.content, at);
            loop {
                let record = views.next()?;
                position.0 += 1;
                if position > next {
                    let place = Place { position, ..begin };
                    let looked = look(ChangeView { place, record });
                    return Some((looked, position, views.at()));
                }
            }
        });
        let Some((looked, position, at)) = looked.await? else {
            return Ok(None);
        };
        self.within = (position < end).then_some((end, at));
        self.next = position;
        Ok(Some(looked))
    }

    /// Where in a turn, by the position after it and the one before, it is gone on: at which position and byte.
    fn within(&self, end: Position, begin: Position) -> (Position, usize) {
        match self.within {
            Some((of, at)) if of == end => (self.next, at),
            Some(_) | None => (begin, 0),
        }
    }

    /// Reads from the log what was to be looked at next.
    ///
    /// # Errors
    /// Where it is not there any more.
    pub async fn read_log(&mut self) -> Result<(), Gone> {
        self.open_log().await?;
        let end = self.stream.lock().end;
        let behind = self.behind.get_or_insert_default();
        let (from, bytes) = (self.next, behind.bytes);
        let Some(reader) = behind.reader.take() else {
            return Err(Gone);
        };
        let read = move |reader: &mut LogReader| reader.read(from, end, bytes);
        let (reader, read) = self.stream.apart.read(reader, read).await?;
        let behind = self.behind.get_or_insert_default();
        behind.reader = Some(reader);
        match read {
            LogRead::Turns(turns) => {
                let turns = turns.into_iter();
                behind.turns = turns.map(|(end, append)| (end, Arc::new(append))).collect();
                behind.bytes = LOG_BYTES;
                Ok(())
            }
            LogRead::Longer(bytes) => {
                behind.bytes = bytes;
                Ok(())
            }
            LogRead::Gone => Err(Gone),
        }
    }

    /// Lets go what was read from the log and not looked at.
    pub fn forget_log(&mut self) {
        self.behind = None;
    }

    /// Waits until there is something to be looked at.
    pub async fn arrived(&mut self) {
        let next = self.next;
        // The sender is the stream's, which this holds.
        let _ = self.end.wait_for(|end| *end > next).await;
    }

    /// The place behind all that was looked at.
    pub fn place(&self) -> Place {
        self.stream.place(self.next)
    }

    /// A place that was given by one who follows the same stream, as others know it now: where nothing has come behind
    /// it, they know so of later and later times.
    pub fn renewed(&self, place: Place) -> Place {
        self.stream.place(place.position)
    }

    /// The place behind all that there is.
    pub fn end(&self) -> Place {
        let end = self.stream.lock().end;
        self.stream.place(end)
    }

    /// Goes on at a place that was given by one who follows the same stream.
    pub fn go_to(&mut self, place: Place) {
        self.next = place.position;
        self.within = None;
        self.behind = None;
    }

    /// One more who follows from the same place on.
    pub fn fork(&self) -> Self {
        self.stream.join(&mut self.stream.lock());
        let mut fork = self.stream.following(self.next);
        fork.last_start = self.last_start;
        fork
    }

    /// The next turn's records, once there are some, and the position after them.
    ///
    /// # Errors
    /// Where they are not kept any more.
    #[cfg(test)]
    pub(in crate::store) async fn next(&mut self) -> Result<(Position, Arc<Append>), Gone> {
        loop {
            match self.find() {
                Next::Turn(end, append) => {
                    self.next = end;
                    return Ok((end, append));
                }
                Next::Nothing => self.arrived().await,
                Next::Logged => self.read_log().await?,
                Next::Gone => return Err(Gone),
            }
        }
    }

    fn find(&mut self) -> Next {
        let next = self.next;
        if let Some(behind) = &mut self.behind {
            while behind.turns.front().is_some_and(|(end, _)| *end <= next) {
                behind.turns.pop_front();
            }
            if let Some((end, append)) = behind.turns.front() {
                return Next::Turn(*end, append.clone());
            }
        }
        let kept = self.stream.lock();
        if next >= kept.start {
            let found = kept.after(next);
            drop(kept);
            // Where it goes on in the log may be gone when it is behind again.
            self.behind = None;
            return found;
        }
        match self.stream.log() {
            Some(_) => Next::Logged,
            None => Next::Gone,
        }
    }

    fn log_bytes(&self) -> usize {
        let behind = self.behind.as_ref();
        // As it is read, and as turns.
        2 * behind.map_or(LOG_BYTES, |behind| behind.bytes)
    }

    /// Finds what comes next in the log.
    async fn open_log(&mut self) -> Result<(), Gone> {
        let behind = self.behind.get_or_insert_default();
        if behind.reader.is_some() {
            return Ok(());
        }
        let log = self.stream.log().cloned().ok_or(Gone)?;
        let (from, last_start) = (self.next, self.last_start);
        let open = move |log: &mut LogFiles| log.open(from, last_start);
        let (_, opened) = self.stream.apart.read(log, open).await?;
        let reader = opened.ok_or(Gone)?;
        // What it reads from here on is of the past that this process found.
        self.last_start = None;
        self.behind.get_or_insert_default().reader = Some(reader);
        Ok(())
    }
}

impl Default for Behind {
    fn default() -> Self {
        Self {
            reader: None,
            turns: VecDeque::new(),
            bytes: LOG_BYTES,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stream.leave();
    }
}
