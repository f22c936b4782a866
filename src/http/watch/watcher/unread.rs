//! Changes that were found and not written yet: over an engine elsewhere those that are told with their values, which are
//! read when they are sent, many at a time; and what was found at once in its log.
//!
//! A value may be a later one by then, and have its own entity tag: that change is told of too. A set whose key names
//! nothing any more is left out, since the removal is told of as well.

use super::super::super::buffers::{Charge, PIECE_BYTES, Purpose, SENDING_BYTES};
use super::super::super::problem::Problem;
use super::super::events::Contents;
use super::super::hub::QUEUED_BYTES_MAX;
use super::long::Takes;
use super::{Broken, Phase, Piece, Watcher, piece};
use crate::model::{Fetched, Key, Value};
use crate::store::{Became, Happened, Manner, Place, StoreError};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How many values are read at a time.
pub(in super::super) const READ_VALUES: usize = 128;

/// How long values may not be read before the answer breaks off, and how long to wait before it is tried again.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Changes that are to be given, each with the place behind it where the client can go on there.
#[derive(Default)]
pub(super) struct Unread {
    changes: VecDeque<(Happened, Option<Place>)>,
    /// The first of them, with what was read of their keys.
    read: VecDeque<(Happened, Option<Place>, Fetched)>,
    /// What that takes, and sending it. Nothing where whoever goes through the past has room for it.
    charge: Charge,
}

impl Unread {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.read.is_empty()
    }

    /// Whether there are as many as are read at a time.
    pub(super) fn is_full(&self) -> bool {
        self.changes.len() >= READ_VALUES
    }

    /// Whether some were read and not given.
    pub(super) fn holds_values(&self) -> bool {
        !self.read.is_empty()
    }

    pub(super) fn add(&mut self, happened: Happened, place: Option<Place>) {
        self.changes.push_back((happened, place));
    }

    /// Lets go what was read and not given, to be read again.
    fn forget(&mut self) {
        while let Some((happened, place, _)) = self.read.pop_back() {
            self.changes.push_front((happened, place));
        }
        self.charge = Charge::default();
    }
}

impl Watcher {
    /// Whether values are to be read before changes are given.
    pub(super) fn reads_values(&self) -> bool {
        self.lacks_values && self.form.contents == Contents::Entries
    }

    /// Gives some of what is to be given, with their values.
    pub(super) async fn give_unread(&mut self) -> Result<Option<Piece>, Broken> {
        if self.unread.read.is_empty() {
            self.read_some().await?;
        }
        let reads_values = self.reads_values();
        let mut text = Vec::new();
        let mut events = 0;
        let mut place = None;
        while text.len() < PIECE_BYTES
            && let Some((happened, at, fetched)) = self.unread.read.pop_front()
        {
            let is_read = reads_values && matches!(happened.became, Became::Set(_));
            match fetched {
                _ if !is_read => self.form.write(&happened, at, &mut text),
                Fetched::Nothing => {
                    place = at;
                    continue;
                }
                Fetched::Value(value) => {
                    let key = happened.key.as_str();
                    self.form.write_set(key, &value, at, &mut text);
                }
                Fetched::Long(_) if !text.is_empty() => {
                    self.unread.read.push_front((happened, at, fetched));
                    break;
                }
                Fetched::Long(bytes) => return self.read_long(happened.key, at, bytes).await,
            }
            events += 1;
            place = at;
        }
        if self.unread.read.is_empty() {
            self.unread.charge = Charge::default();
        }
        self.state.watchers.told(events);
        if text.is_empty() {
            // The client has nothing of it, and all that there is.
            self.given = place.or(self.given);
        }
        Ok(piece(text, place))
    }

    /// Reads the values of the changes that come next.
    async fn read_some(&mut self) -> Result<(), Broken> {
        let count = self.unread.changes.len().min(READ_VALUES);
        let some: Vec<_> = self.unread.changes.drain(..count).collect();
        let is_set = |happened: &Happened| matches!(happened.became, Became::Set(_));
        let mut values = Vec::new().into_iter();
        let reads_values = self.reads_values();
        if reads_values {
            let sets = some.iter().filter(|(happened, _)| is_set(happened));
            let keys: Vec<Key> = sets.map(|(happened, _)| happened.key.clone()).collect();
            if !matches!(self.phase, Phase::Past { .. }) {
                let bytes = self.state.store.short_bytes_max(keys.len());
                self.unread.charge = self.take(bytes + SENDING_BYTES).await;
            }
            values = self.read_short(keys).await?.into_iter();
        }
        for (happened, place) in some {
            let fetched = match reads_values && is_set(&happened) {
                true => values.next().unwrap_or(Fetched::Nothing),
                false => Fetched::Nothing,
            };
            self.unread.read.push_back((happened, place, fetched));
        }
        Ok(())
    }

    async fn read_short(&self, keys: Vec<Key>) -> Result<Vec<Fetched>, Broken> {
        let begun = Instant::now();
        loop {
            match self.state.store.get_short(keys.clone(), Manner::Wait).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => bear(begun, error).await?,
            }
        }
    }

    /// Reads a long value by itself, of about so many bytes.
    async fn read_long(
        &mut self,
        key: Key,
        place: Option<Place>,
        bytes: usize,
    ) -> Result<Option<Piece>, Broken> {
        // Nobody waits for room and holds some.
        self.unread.forget();
        let Some((value, charge)) = self.read_whole(&key, bytes).await? else {
            self.given = place.or(self.given);
            return Ok(None);
        };
        self.state.watchers.told(1);
        if value.body.len() <= QUEUED_BYTES_MAX {
            let mut text = Vec::new();
            self.form.write_set(key.as_str(), &value, place, &mut text);
            return Ok(piece(text, place));
        }
        let takes = Takes::Copied { _charge: charge };
        self.begin_value(&key, (value, takes), place).await;
        Ok(None)
    }

    /// Reads a value of about so many bytes, with what it takes and sending it.
    pub(super) async fn read_whole(
        &mut self,
        key: &Key,
        bytes: usize,
    ) -> Result<Option<(Value, Charge)>, Broken> {
        let mut charge = self.take_for_long(bytes + SENDING_BYTES).await?;
        let begun = Instant::now();
        let value = loop {
            match self.state.store.get_many(vec![key.clone()]).await {
                Ok(mut values) => break values.pop().flatten(),
                Err(error) => bear(begun, error).await?,
            }
        };
        let Some(value) = value else {
            return Ok(None);
        };
        // It may have been replaced by a longer one since.
        let bytes = value.body.len() + SENDING_BYTES;
        let grown = self
            .state
            .buffers
            .grow(&mut charge, Purpose::Large, bytes)
            .await;
        grown.map_err(no_room)?;
        Ok(Some((value, charge)))
    }

    /// Takes so many bytes from the budget. Who is given what there is, or was, holds some already, and others may wait
    /// for that: so it breaks off where there is no room for long.
    async fn take_for_long(&mut self, bytes: usize) -> Result<Charge, Broken> {
        match self.phase {
            Phase::Present(_) | Phase::Past { .. } => {
                let taken = self.state.buffers.take(Purpose::Large, bytes).await;
                taken.map_err(no_room)
            }
            Phase::Behind { .. } | Phase::Live | Phase::Over => Ok(self.take(bytes).await),
        }
    }
}

/// That there was no room for a value.
fn no_room(problem: Problem) -> Broken {
    Broken(problem.detail().into())
}

/// Waits a little, unless it has failed for long.
async fn bear(begun: Instant, error: StoreError) -> Result<(), Broken> {
    if begun.elapsed() > PATIENCE {
        return Err(Broken(error.to_string()));
    }
    sleep(PAUSE).await;
    Ok(())
}
