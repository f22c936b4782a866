//! A change of one key.

use super::{ContentType, Deadline, Key, Revision};
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
    /// When the value ends that the key names then, if ever.
    pub expires_at: Option<Deadline>,
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
    /// It names what it names; only when that ends is another.
    Expire,
}

/// What must hold for a change to be made. A change without a condition is always made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// Something. Boxed, since most changes have none.
    If(Box<Preconditions>),
}

/// The preconditions of RFC 9110, 13.1, of what a key names: both hold, those that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// It names a value of one of these.
    pub if_match: Option<Revisions>,
    /// It names no value of these.
    pub if_none_match: Option<Revisions>,
}

/// Which values a precondition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revisions {
    /// Any value.
    Any,
    /// Those of these revisions.
    Of(Vec<Revision>),
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
    /// The key names the same value as before, which ends at another time.
    Kept(Revision),
    /// A key was to be removed, or its value to end, that named nothing.
    Absent,
    /// Its condition did not hold, so that nothing was changed. What the key names, if anything.
    Unmet(Option<Revision>),
}

impl Condition {
    /// Whether it holds of a key that names a value of this revision, or none.
    pub fn holds(&self, present: Option<Revision>) -> bool {
        let Self::If(preconditions) = self else {
            return true;
        };
        let Preconditions {
            if_match,
            if_none_match,
        } = &**preconditions;
        if_match.as_ref().is_none_or(|wanted| wanted.has(present))
            && !if_none_match
                .as_ref()
                .is_some_and(|other| other.has(present))
    }
}

impl Revisions {
    /// Whether a value of this revision is among them.
    fn has(&self, present: Option<Revision>) -> bool {
        match (self, present) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Of(revisions), Some(present)) => revisions.contains(&present),
        }
    }
}

impl Changed {
    /// The number of the change, or that of the value that was kept.
    pub fn revision(self) -> Option<Revision> {
        match self {
            Self::Created(revision)
            | Self::Updated(revision)
            | Self::Deleted(revision)
            | Self::Kept(revision) => Some(revision),
            Self::Absent | Self::Unmet(_) => None,
        }
    }
}

impl Mutation {
    /// How long the value is that it sets, in bytes.
    pub fn body_bytes(&self) -> usize {
        match &self.change {
            Change::Set { body, .. } => body.len(),
            Change::Delete | Change::Expire => 0,
        }
    }

    /// An upsert.
    pub fn set(key: Key, content_type: ContentType, body: Bytes) -> Self {
        Self {
            key,
            change: Change::Set { content_type, body },
            condition: Condition::Always,
            expires_at: None,
        }
    }

    /// The same, to be made only if a condition holds.
    pub fn only(self, condition: Condition) -> Self {
        Self { condition, ..self }
    }

    /// The same, of a value that ends.
    pub fn until(self, expires_at: Option<Deadline>) -> Self {
        Self { expires_at, ..self }
    }

    /// A change of when a value ends; never, where that is nothing.
    pub fn expire(key: Key, expires_at: Option<Deadline>) -> Self {
        Self {
            key,
            change: Change::Expire,
            condition: Condition::Always,
            expires_at,
        }
    }

    /// A removal.
    pub fn delete(key: Key) -> Self {
        Self {
            key,
            change: Change::Delete,
            condition: Condition::Always,
            expires_at: None,
        }
    }
}
