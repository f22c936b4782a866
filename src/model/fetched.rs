//! What is known of a key once many were looked up.

use super::{Deadline, Value};

/// What a key names, as far as it was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Nothing.
    Nothing,
    /// This value.
    Value(Value),
    /// A value that is longer than was asked for, and how long its body is at the most, in bytes.
    Long(usize),
}

impl Fetched {
    /// A value, which is wanted if its body has at most so many bytes.
    pub fn of(value: Option<Value>, body_bytes_max: usize) -> Self {
        match value {
            None => Self::Nothing,
            Some(value) if value.body.len() > body_bytes_max => Self::Long(value.body.len()),
            Some(value) => Self::Value(value),
        }
    }

    /// The same, without a value that is not there any more.
    pub fn there_at(self, now: impl FnOnce() -> Deadline) -> Self {
        match self {
            Self::Value(value) if value.expires_at.is_some() && !value.is_there(now()) => {
                Self::Nothing
            }
            fetched @ (Self::Nothing | Self::Value(_) | Self::Long(_)) => fetched,
        }
    }

    /// The value, if it was fetched.
    pub fn value(self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Nothing | Self::Long(_) => None,
        }
    }
}
