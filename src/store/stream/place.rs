//! A place in the order of all changes, as those who follow them give it back to go on there.

use crate::durable::Position;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A place: behind so many changes of a store, as one start of its process had them.
///
/// The start is part of it, since a loss of power may take the last changes back that were not synced, and the
/// next start gives their positions to others.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(super) incarnation: u64,
    pub(super) start: u64,
    pub(super) position: Position,
    /// Where that is in the order of an engine outside of this process, which other servers know too.
    pub(super) mark: Option<Mark>,
}

/// A place in the order of an engine outside of this process: all entries of its logs with ids up to one are behind it,
/// and some with ids above may be. Whoever goes on there may hear of these again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Tells what the engine went through from what it did where it lost changes, or was another.
    pub(in crate::store) history: u64,
    /// The id.
    pub(in crate::store) at: u64,
}

/// That a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of an event is three or five hexadecimal numbers such as 0c1f3a5b7d9e2468-3-1a2b; give back one that \
     came with an event, as it came"
)]
pub struct NoPlace;

impl Place {
    /// The place before the change that this one is behind.
    pub fn before(self) -> Self {
        Self {
            position: Position(self.position.0.saturating_sub(1)),
            ..self
        }
    }

    /// A place that no process has, but in the order of an engine.
    pub(in crate::store) fn of_mark(mark: Mark) -> Self {
        Self {
            incarnation: 0,
            start: 0,
            position: Position(0),
            mark: Some(mark),
        }
    }

    /// Where that is in the order of an engine, if it is.
    pub(in crate::store) fn mark(self) -> Option<Mark> {
        self.mark
    }

    fn order(&self) -> (u64, u64, Position) {
        (self.incarnation, self.start, self.position)
    }
}

/// By what a process itself has: the mark of a place rises while nothing is changed.
impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

/// What [`Place::from_str`] takes.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            incarnation,
            start,
            position,
            mark,
        } = self;
        write!(formatter, "{incarnation:016x}-{start:x}-{:x}", position.0)?;
        match mark {
            None => Ok(()),
            Some(Mark { history, at }) => write!(formatter, "-{history:016x}-{at:x}"),
        }
    }
}

/// Only what was written is read: no sign, no leading zero that none has, no capitals.
impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let parts = text.split('-');
        let numbers = parts.map(|digits| u64::from_str_radix(digits, 16).map_err(|_| NoPlace));
        // More than these are none, however long the text is.
        let numbers: Vec<u64> = numbers.take(6).collect::<Result<_, _>>()?;
        let (incarnation, start, position, mark) = match numbers[..] {
            [incarnation, start, position] => (incarnation, start, position, None),
            [incarnation, start, position, history, at] => {
                (incarnation, start, position, Some(Mark { history, at }))
            }
            _ => return Err(NoPlace),
        };
        let place = Self {
            incarnation,
            start,
            position: Position(position),
            mark,
        };
        match place.to_string() == text {
            true => Ok(place),
            false => Err(NoPlace),
        }
    }
}
