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

impl Revision {
    /// Sixteen hexadecimal digits: what an entity tag holds between its quotes. By hand, since every read
    /// and set has one, and formatting takes several hundred instructions.
    pub fn digits(self) -> [u8; 16] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 16];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        digits
    }
}

/// Its digits.
impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_written_alike_in_both_ways() {
        for number in [0, 1, 0x00c4_f0e2_d1b3_a596, u64::MAX] {
            let digits = Revision(number).digits();
            assert_eq!(digits, Revision(number).to_string().as_bytes());
        }
    }
}
