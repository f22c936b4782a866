//! A partition's head and log, as the engine gives them.

use super::{EngineError, Place};
use crate::model::Key;
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
    /// All that the engine holds of it.
    pub(super) text: Box<[u8]>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub position: Position,
    /// What happened.
    pub step: Option<Step>,
}

/// A change of the set of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key that was not there is.
    Add(Box<[u8]>),
    /// A key that was there is not.
    Remove(Box<[u8]>),
}

impl Position {
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

    /// Reads what a partition's head holds: `id operation keys`.
    pub(super) fn read(value: Value) -> Result<Self, EngineError> {
        let text = text_or_nil(value)?.unwrap_or_default();
        let mut fields = text.splitn(3, |byte| *byte == b' ');
        let (id, operation, keys) = (fields.next(), fields.next(), fields.next());
        let keys = keys.and_then(|keys| std::str::from_utf8(keys).ok()?.parse().ok());
        // What someone else wrote is no position of any log, but one all the same.
        let position = (!text.is_empty()).then(|| Position {
            id: id.unwrap_or_default().into(),
            operation: operation.unwrap_or_default().into(),
        });
        Ok(Self {
            position,
            keys,
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
        let mut fields = array(fields)?;
        fields.truncate(2);
        let [operation, step] = fixed(fields)?;
        let step = text(step)?;
        let is_own = |key: &[u8]| is_key(key) && Place::of(key).partition == partition;
        let step = match step.split_first() {
            Some((b'+', key)) if is_own(key) => Some(Step::Add(key.into())),
            Some((b'-', key)) if is_own(key) => Some(Step::Remove(key.into())),
            // A repair's entry changes nothing either.
            _ => None,
        };
        let position = Position {
            id: text(id)?.into(),
            operation: text(operation)?.into(),
        };
        Ok(Self { position, step })
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
