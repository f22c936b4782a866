//! A change of one key.

use super::{ContentType, Key, Revision};
use bytes::Bytes;

/// One change of one key. Every way to change the store is a list of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Which key.
    pub key: Key,
    /// What becomes of it.
    pub change: Change,
    /// What must hold for the change to be made.
    pub condition: Condition,
    /// How long the value is to live.
    pub expires_at: Expiry,
}

/// What becomes of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It names this value from now on, whether or not it named another.
    Set {
        /// What the client said that the body is.
        content_type: ContentType,
        /// The body.
        body: Bytes,
    },
    /// It names nothing any more.
    Delete,
}

/// What must hold for a change to be made. A change without a condition is always made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
}

/// How long a value is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Until it is changed or deleted.
    Never,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The key named nothing before.
    Created(Revision),
    /// The key named another value before.
    Updated(Revision),
    /// The key named a value before, and names nothing now.
    Deleted(Revision),
    /// A key was to be removed that named nothing.
    Absent,
}

impl Changed {
    /// The number of the change, where one was made.
    pub fn revision(self) -> Option<Revision> {
        match self {
            Self::Created(revision) | Self::Updated(revision) | Self::Deleted(revision) => {
                Some(revision)
            }
            Self::Absent => None,
        }
    }
}

impl Mutation {
    /// How long the value is that it sets, in bytes.
    pub fn body_bytes(&self) -> usize {
        match &self.change {
            Change::Set { body, .. } => body.len(),
            Change::Delete => 0,
        }
    }

    /// An upsert.
    pub fn set(key: Key, content_type: ContentType, body: Bytes) -> Self {
        Self {
            key,
            change: Change::Set { content_type, body },
            condition: Condition::Always,
            expires_at: Expiry::Never,
        }
    }

    /// A removal.
    pub fn delete(key: Key) -> Self {
        Self {
            key,
            change: Change::Delete,
            condition: Condition::Always,
            expires_at: Expiry::Never,
        }
    }
}
