//! What a slot leads to, but for large values.
//!
//! ```text
//! offset  bytes
//!      0      1  number of the content type, and of whether the value ends
//!      1      1  length of the body
//!      2      6  revision, counted from the slab's first
//!                then, of a value that ends:
//!             6  its deadline, in milliseconds since the Unix epoch
//!             6  what of its key's hash the key is found by then
//!             n  the body
//! ```
//!
//! All numbers are little-endian.

use super::chunks::GRAIN;
use super::types::{Span, Types};
use crate::keymap::hash::KeyHash;
use crate::model::Deadline;

/// The bytes of a record before the body: type, length, and six of the revision.
const HEAD_BYTES: usize = 8;

/// What a value that ends has more.
const END_BYTES: usize = 12;

/// The revisions that a record can hold, counted from the slab's first.
pub(super) const REVISIONS: u64 = 1 << 48;

/// When a value ends, and how its key is found then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// From when on it is not there.
    pub deadline: Deadline,
    /// Of its key.
    pub hash: KeyHash,
}

/// The first bytes of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHead {
    /// That of the content type.
    pub(super) number: u8,
    /// How long the body is, in bytes.
    pub(super) len: u8,
    /// The revision, counted from the slab's first.
    pub(super) offset: u64,
}

impl RecordHead {
    /// That of the record that some bytes begin with.
    pub(super) fn read(record: &[u8]) -> Self {
        let [number, len, a, b, c, d, e, f] = *array(record, 0);
        Self {
            number,
            len,
            offset: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
        }
    }

    /// How many grains the record takes.
    pub(super) fn grains(self, span: Span) -> usize {
        grains(self.len.into(), span)
    }

    /// The body, in the record that begins with this.
    pub(super) fn body(self, record: &[u8], span: Span) -> &[u8] {
        let begin = body_at(span);
        &record[begin..begin + usize::from(self.len)]
    }

    /// Writes a record that begins with this.
    pub(super) fn write(self, end: Option<End>, body: &[u8], record: &mut [u8]) {
        let [a, b, c, d, e, f, _, _] = self.offset.to_le_bytes();
        record[..HEAD_BYTES].copy_from_slice(&[self.number, self.len, a, b, c, d, e, f]);
        let begin = match end {
            None => HEAD_BYTES,
            Some(End { deadline, hash }) => {
                let begin = HEAD_BYTES + END_BYTES;
                let (at, by) = record[HEAD_BYTES..begin].split_at_mut(END_BYTES / 2);
                at.copy_from_slice(&deadline.as_millis().to_le_bytes()[..END_BYTES / 2]);
                by.copy_from_slice(&hash.to_bytes());
                begin
            }
        };
        record[begin..begin + body.len()].copy_from_slice(body);
    }
}

/// When the value of a record ends, if ever.
pub(super) fn end_of(record: &[u8], types: &Types) -> Option<End> {
    match types.get(RecordHead::read(record).number).span {
        Span::Lasting => None,
        Span::Ending => Some(end(record)),
    }
}

/// When the value of a record ends that has a place for that.
pub(super) fn end(record: &[u8]) -> End {
    let [a, b, c, d, e, f] = *array(record, HEAD_BYTES);
    End {
        deadline: Deadline::from_millis(u64::from_le_bytes([a, b, c, d, e, f, 0, 0])),
        hash: KeyHash::from_bytes(*array(record, HEAD_BYTES + END_BYTES / 2)),
    }
}

/// How many grains the record of a body takes.
pub(super) fn grains(body_bytes: usize, span: Span) -> usize {
    (body_at(span) + body_bytes).div_ceil(GRAIN)
}

fn body_at(span: Span) -> usize {
    match span {
        Span::Lasting => HEAD_BYTES,
        Span::Ending => HEAD_BYTES + END_BYTES,
    }
}

fn array<const N: usize>(record: &[u8], at: usize) -> &[u8; N] {
    let bytes = record[at..].first_chunk();
    bytes.expect("a record is as long as its type says")
}
