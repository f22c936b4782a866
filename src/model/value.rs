//! What a key names.

use super::{ContentType, Deadline};
use bytes::Bytes;
use std::fmt;

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What the client said that the body is.
    pub content_type: ContentType,
    /// The body, byte for byte as it came.
    pub body: Bytes,
    /// Which change made this value.
    pub revision: Revision,
    /// When it ends, if ever.
    pub expires_at: Option<Deadline>,
}

impl Value {
    /// Whether it is still there at a moment.
    pub fn is_there(&self, now: Deadline) -> bool {
        self.expires_at
            .is_none_or(|deadline| !deadline.is_past(now))
    }
}

/// The number of a change. It never repeats for a key: not after the key is deleted and made
/// anew, nor after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub u64);

/// Sixteen hexadecimal digits: what an entity tag holds between its quotes.
impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}
