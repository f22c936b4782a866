//! A change, as those who follow are told of it.

use super::Place;
use crate::durable::{NoRecord, Record, RecordView, State};
use crate::model::{ContentTypes, Key, Value};

/// A change, as it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct ChangeView<'a> {
    /// The place behind it.
    pub place: Place,
    pub(super) record: RecordView<'a>,
}

/// A change, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Of which key.
    pub key: Key,
    /// What became of it.
    pub became: Became,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It names this value.
    Set(Value),
    /// It was removed.
    Deleted,
    /// Its value ended.
    Expired,
}

impl ChangeView<'_> {
    /// Which key was changed.
    pub fn key(&self) -> &[u8] {
        self.record.key
    }

    /// How much it is, in bytes: more than its key and its value take.
    pub fn bytes(&self) -> usize {
        self.record.bytes.len()
    }

    /// The change itself.
    ///
    /// # Panics
    /// Where it is none, which nobody has written.
    pub fn read(&self, content_types: &ContentTypes) -> Happened {
        happened(self.record.read(content_types))
    }

    /// The change itself, without the body of a value, which is empty.
    ///
    /// # Panics
    /// As [`Self::read`].
    pub fn read_without_body(&self, content_types: &ContentTypes) -> Happened {
        happened(self.record.read_without_body(content_types))
    }
}

fn happened(record: Result<Record, NoRecord>) -> Happened {
    let record = record.expect("what shards hand over is records");
    Happened {
        key: record.key,
        became: match record.state {
            State::Set(value) => Became::Set(value),
            State::Removed(_) => Became::Deleted,
            State::Expired(_) => Became::Expired,
        },
    }
}
