//! A partition's head and log, as the engine gives them.

use super::{EngineError, Place};
use crate::model::{Deadline, Key, Revision};
use redis::Value;

/// Where a log ends: the id of its last entry and the operation that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The entry's id, as the engine writes it.
    pub id: Box<[u8]>,
    /// The operation.
    pub operation: Box<[u8]>,
}

/// What a partition says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Where its log ends; `None` where nothing was ever written.
    pub position: Option<Position>,
    /// How many keys it has; `None` where that is not said, or is no number.
    pub keys: Option<usize>,
    /// How updates are logged, where they are.
    pub updates: Option<Updates>,
    /// All that the engine holds of it.
    pub(super) text: Box<[u8]>,
}

/// What a head says of a log that has updates too. Ids are those of entries, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updates {
    /// All with ids above this one are there that were ever made. No other time of logging them has the same.
    pub since: u64,
    /// No entry comes any more with an id up to this one.
    pub promise: u64,
    /// About how many entries the log keeps.
    pub kept: usize,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// What happened.
    pub step: Option<Step>,
    /// What more it says of that, for those who watch.
    pub note: Note,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key that was not there is.
    Add(Box<[u8]>),
    /// A key that was there names another value, or one that ends at another time.
    Update(Box<[u8]>),
    /// A key that was there is not.
    Remove(Box<[u8]>),
}

/// What an entry says besides its step, of a log that has updates too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The revision of the value, where that is not the entry's operation: when only its end was changed.
    pub revision: Option<Revision>,
    /// When the value ends.
    pub expires_at: Option<Deadline>,
    /// The key went since its value had ended.
    pub has_ended: bool,
}

impl Step {
    /// Whether the set of keys is another after it.
    pub fn is_of_keys(&self) -> bool {
        match self {
            Self::Add(_) | Self::Remove(_) => true,
            Self::Update(_) => false,
        }
    }
}

impl Updates {
    /// Reads what stands in a head behind the number of keys: `since promise kept ~`.
    fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix(" ~")?;
        let mut words = text.split(' ');
        let updates = Self {
            since: words.next()?.parse().ok()?,
            promise: words.next()?.parse().ok()?,
            kept: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(updates)
    }
}

impl Note {
    /// Reads what an entry has behind its step: `x` where the value had ended, `e` and a deadline, or `r`, the eight
    /// bytes of a revision and a deadline, if there is one. What is not known is nothing.
    fn read(name: Option<Vec<u8>>, more: Option<Vec<u8>>) -> Self {
        let (name, more) = (name.unwrap_or_default(), more.unwrap_or_default());
        let deadline = |text: &[u8]| {
            let millis = std::str::from_utf8(text).ok()?.parse().ok()?;
            Some(Deadline::from_millis(millis))
        };
        match (&name[..], more.split_first_chunk::<8>()) {
            (b"x", _) => Self {
                has_ended: true,
                ..Self::default()
            },
            (b"e", _) => Self {
                expires_at: deadline(&more),
                ..Self::default()
            },
            (b"r", Some((revision, rest))) => Self {
                revision: Some(Revision(u64::from_be_bytes(*revision))),
                expires_at: deadline(rest),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }
}

impl Position {
    /// The first number of the id, which is all of one that scripts gave.
    pub fn at(&self) -> u64 {
        self.number().map_or(0, |(first, _)| first)
    }

    /// The operation as a revision, where it is one.
    pub fn revision(&self) -> Option<Revision> {
        let text = std::str::from_utf8(&self.operation).ok()?;
        u64::from_str_radix(text, 16).ok().map(Revision)
    }

    /// The id as the numbers that it is ordered by; `None` where it is no id.
    pub fn number(&self) -> Option<(u64, u64)> {
        let (first, second) = std::str::from_utf8(&self.id).ok()?.split_once('-')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    }
}

impl Head {
    /// How many keys the partition says it has.
    pub fn count(&self) -> usize {
        self.keys.unwrap_or(0)
    }

    /// Up to which id all entries are known to whoever has read the log up to this head; `None` where updates are not
    /// logged.
    pub fn until(&self) -> Option<u64> {
        let last = self.position.as_ref()?.at();
        Some(last.max(self.updates?.promise))
    }

    /// Reads what a partition's head holds: `id operation keys`, and of a log that has updates what [`Updates`] says.
    pub(super) fn read(value: Value) -> Result<Self, EngineError> {
        let text = text_or_nil(value)?.unwrap_or_default();
        let mut fields = text.splitn(4, |byte| *byte == b' ');
        let (id, operation, keys) = (fields.next(), fields.next(), fields.next());
        let rest = fields.next();
        let updates = rest.and_then(Updates::read);
        // A head that is not ours altogether says no number.
        let keys = keys.filter(|_| rest.is_none() || updates.is_some());
        let keys = keys.and_then(|keys| std::str::from_utf8(keys).ok()?.parse().ok());
        // What someone else wrote is no position of any log, but one all the same.
        let position = (!text.is_empty()).then(|| Position {
            id: id.unwrap_or_default().into(),
            operation: operation.unwrap_or_default().into(),
        });
        Ok(Self {
            position,
            keys,
            updates,
            text: text.into(),
        })
    }
}

impl Entry {
    /// Reads the answer to `XRANGE` of a partition's log. A key of another partition, or none at all, which
    /// only somebody else's hand can have put there, changes nothing.
    pub(super) fn read_all(value: Value, partition: usize) -> Result<Vec<Self>, EngineError> {
        let entries = array(value)?.into_iter();
        entries.map(|entry| Self::read(entry, partition)).collect()
    }

    fn read(value: Value, partition: usize) -> Result<Self, EngineError> {
        let [id, fields] = fixed(array(value)?)?;
        let mut fields = array(fields)?.into_iter();
        let mut next = || fields.next().ok_or(EngineError::Foreign);
        let (operation, step) = (next()?, text(next()?)?);
        let mut more = || fields.next().and_then(|field| text(field).ok());
        let note = Note::read(more(), more());
        let is_own = |key: &[u8]| is_key(key) && Place::of(key).partition == partition;
        let step = match step.split_first() {
            Some((b'+', key)) if is_own(key) => Some(Step::Add(key.into())),
            Some((b'~', key)) if is_own(key) => Some(Step::Update(key.into())),
            Some((b'-', key)) if is_own(key) => Some(Step::Remove(key.into())),
            // A repair's entry changes nothing either.
            _ => None,
        };
        let position = Position {
            id: text(id)?.into(),
            operation: text(operation)?.into(),
        };
        Ok(Self {
            position,
            step,
            note,
        })
    }
}

/// Whether bytes could be a key of ours, whatever the limit on its length is: every server may have another.
pub(super) fn is_key(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes);
    text.is_ok_and(|text| Key::parse(text.into(), usize::MAX).is_ok())
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, EngineError> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(EngineError::Foreign),
    }
}

pub(super) fn fixed<const N: usize>(values: Vec<Value>) -> Result<[Value; N], EngineError> {
    values.try_into().map_err(|_| EngineError::Foreign)
}

pub(super) fn text(value: Value) -> Result<Vec<u8>, EngineError> {
    text_or_nil(value)?.ok_or(EngineError::Foreign)
}

pub(super) fn number(value: &Value) -> Result<usize, EngineError> {
    match value {
        Value::Int(number) => usize::try_from(*number).map_err(|_| EngineError::Foreign),
        _ => Err(EngineError::Foreign),
    }
}

pub(super) fn text_or_nil(value: Value) -> Result<Option<Vec<u8>>, EngineError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(text) => Ok(Some(text)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        _ => Err(EngineError::Foreign),
    }
}
