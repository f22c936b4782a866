//! A place in the order of all changes, as those who follow them give it back to go on there.

use crate::durable::Position;
use std::fmt;
use std::str::FromStr;

/// A place: behind so many changes of a store, as one start of its process had them.
///
/// The start is part of it, since a loss of power may take the last changes back that were not synced, and the
/// next start gives their positions to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(super) incarnation: u64,
    pub(super) start: u64,
    pub(super) position: Position,
}

/// That a text is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the id of an event is three hexadecimal numbers such as 0c1f3a5b7d9e2468-3-1a2b; give back one that came \
     with an event, as it came"
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
}

/// What [`Place::from_str`] takes.
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            incarnation,
            start,
            position,
        } = self;
        write!(formatter, "{incarnation:016x}-{start:x}-{:x}", position.0)
    }
}

/// Only what was written is read: no sign, no leading zero that none has, no capitals.
impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut parts = text.split('-');
        let mut number = || {
            let digits = parts.next().ok_or(NoPlace)?;
            u64::from_str_radix(digits, 16).map_err(|_| NoPlace)
        };
        let place = Self {
            incarnation: number()?,
            start: number()?,
            position: Position(number()?),
        };
        match place.to_string() == text {
            true => Ok(place),
            false => Err(NoPlace),
        }
    }
}
