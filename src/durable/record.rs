//! A record: the whole state of one key after a change, as the log and checkpoints hold it.
//!
//! ```text
//! offset  bytes
//!      0      1  kind: 1 the key names a value, 2 it names nothing, 3 it names a value that ends, 4 it
//!                names nothing since its value ended
//!      1      2  length of the key, in bytes
//!      3      8  revision
//!     11      n  the key
//!            then, where its value ends:
//!            8  the deadline, in milliseconds since the Unix epoch
//!            and where it names a value:
//!            1  length of the content type; 0 for application/json
//!            n  the content type
//!            4  length of the body
//!            n  the body
//! ```
//!
//! All numbers are little-endian. What is in a record is checked again by what its frame's checksum does
//! not cover: a reader takes no length on trust.

use crate::model::{ContentType, ContentTypes, Deadline, Key, Revision, Value};
use bytes::Bytes;

/// The key names a value.
const SET: u8 = 1;

/// The key names nothing any more.
const REMOVED: u8 = 2;

/// The key names a value that ends.
const SET_ENDING: u8 = 3;

/// The key names nothing any more, since its value ended.
const EXPIRED: u8 = 4;

/// The longest key that a record holds, in bytes.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// Where the key is, and how long a deadline.
const KEY_AT: usize = 11;
const DEADLINE_BYTES: usize = 8;

/// The state of a key after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which key.
    pub key: Key,
    /// What became of it.
    pub state: State,
}

/// What a key names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A value.
    Set(Value),
    /// Nothing, since the change of this number.
    Removed(Revision),
    /// The same, since its value ended.
    Expired(Revision),
}

impl State {
    /// The number of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Set(value) => value.revision,
            Self::Removed(revision) | Self::Expired(revision) => *revision,
        }
    }
}

/// A record as it lies in the bytes of a turn: to see whether it is wanted nothing of it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Which key, which is text where this is a record.
    pub key: &'a [u8],
    /// All of it.
    pub bytes: &'a [u8],
}

/// The records that some bytes hold, as they lie there. After bytes that are none there is nothing.
#[derive(Clone, Debug)]
pub struct RecordViews<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is at byte {0} is no record")]
pub struct NoRecord(pub usize);

/// Appends the record of a key that names a value.
pub fn write_set(key: &Key, value: &Value, to: &mut Vec<u8>) {
    match value.expires_at {
        None => write_head(SET, key.as_bytes(), value.revision, to),
        Some(deadline) => {
            write_head(SET_ENDING, key.as_bytes(), value.revision, to);
            to.extend_from_slice(&deadline.as_millis().to_le_bytes());
        }
    }
    // Exactly: `application/ld+json` is JSON as well.
    let content_type = match value.content_type == ContentType::JSON {
        true => "",
        false => value.content_type.as_str(),
    };
    let len = u8::try_from(content_type.len()).expect("a content type has 255 bytes at the most");
    to.push(len);
    to.extend_from_slice(content_type.as_bytes());
    let len = u32::try_from(value.body.len()).expect("a value has less than 4 GiB");
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(&value.body);
}

/// Appends the record of a key that names nothing any more.
pub fn write_removed(key: &Key, revision: Revision, to: &mut Vec<u8>) {
    write_head(REMOVED, key.as_bytes(), revision, to);
}

/// Appends the record of a key that names nothing since its value ended.
pub fn write_expired(key: &[u8], revision: Revision, to: &mut Vec<u8>) {
    write_head(EXPIRED, key, revision, to);
}

fn write_head(kind: u8, key: &[u8], revision: Revision, to: &mut Vec<u8>) {
    let len = u16::try_from(key.len()).expect("a key has 32 KiB at the most");
    to.push(kind);
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(&revision.0.to_le_bytes());
    to.extend_from_slice(key);
}

impl RecordView<'_> {
    /// The record.
    ///
    /// # Errors
    /// Where the bytes are none all the same.
    pub fn read(self, content_types: &ContentTypes) -> Result<Record, NoRecord> {
        let first = Records::new(self.bytes, content_types).next();
        first.unwrap_or(Err(NoRecord(0)))
    }

    /// The record without the body of its value, which is empty: to copy a long one takes milliseconds.
    ///
    /// # Errors
    /// As of [`Self::read`].
    pub fn read_without_body(self, content_types: &ContentTypes) -> Result<Record, NoRecord> {
        let mut records = Records::new(self.bytes, content_types);
        records.bodies = Bodies::LeftOut;
        records.next().unwrap_or(Err(NoRecord(0)))
    }
}

impl<'a> RecordViews<'a> {
    /// Goes through bytes that are records and nothing else, from the record on that is at a byte.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// The byte at which the next record is.
    pub fn at(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for RecordViews<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let (key, len) = extent(rest)?;
        self.at += len;
        Some(RecordView {
            key,
            bytes: &rest[..len],
        })
    }
}

/// The key of the record that some bytes begin with, and how long that is.
fn extent(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let kind = *bytes.first()?;
    let key_bytes = u16::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
    let key_end = KEY_AT + usize::from(key_bytes);
    let key = bytes.get(KEY_AT..key_end)?;
    let value_at = match kind {
        REMOVED | EXPIRED => return Some((key, key_end)),
        SET => key_end,
        SET_ENDING => key_end + DEADLINE_BYTES,
        _ => return None,
    };
    let body_len_at = value_at + 1 + usize::from(*bytes.get(value_at)?);
    let body_len = u32::from_le_bytes(*bytes.get(body_len_at..)?.first_chunk()?);
    let end = (body_len_at + size_of::<u32>()).checked_add(body_len as usize)?;
    (end <= bytes.len()).then_some((key, end))
}

/// The records that some bytes hold, one after the other.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    content_types: &'a ContentTypes,
    bodies: Bodies,
}

/// What becomes of the bodies of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    Copied,
    LeftOut,
}

impl<'a> Records<'a> {
    /// Reads bytes that are records and nothing else.
    pub fn new(bytes: &'a [u8], content_types: &'a ContentTypes) -> Self {
        Self {
            bytes,
            at: 0,
            content_types,
            bodies: Bodies::Copied,
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let bytes = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn read(&mut self) -> Option<Record> {
        let [kind] = self.array()?;
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let revision = Revision(u64::from_le_bytes(self.array()?));
        let key = std::str::from_utf8(self.take(len)?).ok()?;
        let key = Key::parse(key.into(), KEY_BYTES_MAX).ok()?;
        let state = match kind {
            SET => State::Set(self.value(revision, None)?),
            SET_ENDING => {
                let deadline = Deadline::from_millis(u64::from_le_bytes(self.array()?));
                State::Set(self.value(revision, Some(deadline))?)
            }
            REMOVED => State::Removed(revision),
            EXPIRED => State::Expired(revision),
            _ => return None,
        };
        Some(Record { key, state })
    }

    fn value(&mut self, revision: Revision, expires_at: Option<Deadline>) -> Option<Value> {
        let [len] = self.array()?;
        let content_type = match len {
            0 => ContentType::JSON,
            _ => {
                let text = std::str::from_utf8(self.take(len.into())?).ok()?;
                self.content_types.parse(text).ok()?
            }
        };
        let len = u32::from_le_bytes(self.array()?);
        let body = self.take(len as usize)?;
        let body = match self.bodies {
            Bodies::Copied => Bytes::copy_from_slice(body),
            Bodies::LeftOut => Bytes::new(),
        };
        Some(Value {
            content_type,
            body,
            revision,
            expires_at,
        })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, NoRecord>;

    /// The next record. After bytes that are none there is nothing.
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let begun = self.at;
        let record = self.read().ok_or(NoRecord(begun));
        if record.is_err() {
            self.at = self.bytes.len();
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = Record> {
        let content_type = prop_oneof![
            Just("application/json".to_string()),
            "[a-z]{1,9}/[a-z]{1,9}(\\+json)?(; a=b)?",
            Just(format!("x/{}", "y".repeat(253)))
        ];
        let body = prop::collection::vec(any::<u8>(), 0..400);
        let key = prop_oneof!["\\PC{1,40}", Just("k".repeat(KEY_BYTES_MAX))];
        let expires_at = prop::option::of((0_u64..1 << 47).prop_map(Deadline::from_millis));
        let of_value = (content_type, body, expires_at);
        (key, of_value, any::<u64>(), 0..4).prop_map(
            |(key, (content_type, body, expires_at), revision, kind)| {
                let revision = Revision(revision);
                let state = match kind {
                    0 | 1 => State::Set(Value {
                        content_type: ContentTypes::default().parse(&content_type).unwrap(),
                        body: body.into(),
                        revision,
                        expires_at,
                    }),
                    2 => State::Removed(revision),
                    _ => State::Expired(revision),
                };
                let key = Key::parse(key.into(), KEY_BYTES_MAX).unwrap();
                Record { key, state }
            },
        )
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Record { key, state } in records {
            match state {
                State::Set(value) => write_set(key, value, &mut bytes),
                State::Removed(revision) => write_removed(key, *revision, &mut bytes),
                State::Expired(revision) => write_expired(key.as_bytes(), *revision, &mut bytes),
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(records in prop::collection::vec(record(), 0..20)) {
            let bytes = written(&records);
            let types = ContentTypes::default();
            let read: Result<Vec<Record>, NoRecord> = Records::new(&bytes, &types).collect();
            prop_assert_eq!(read.as_ref(), Ok(&records));
            let mut views = RecordViews::new(&bytes, 0);
            for record in &records {
                let mut again = RecordViews::new(&bytes, views.at());
                let view = views.next();
                prop_assert_eq!(again.next(), view);
                let view = view.unwrap();
                prop_assert_eq!(view.key, record.key.as_bytes());
                prop_assert_eq!(view.read(&types), Ok(record.clone()));
                let mut bodiless = record.clone();
                if let State::Set(value) = &mut bodiless.state {
                    value.body = Bytes::new();
                }
                prop_assert_eq!(view.read_without_body(&types), Ok(bodiless));
            }
            prop_assert_eq!(views.next(), None);
            prop_assert_eq!(views.at(), bytes.len());
        }

        #[test]
        fn what_is_cut_off_is_no_record(records in prop::collection::vec(record(), 1..4), cut: prop::sample::Index) {
            let bytes = written(&records);
            let cut = cut.index(bytes.len());
            let types = ContentTypes::default();
            let mut read = Records::new(&bytes[..cut], &types);
            let whole = read.by_ref().take_while(Result::is_ok).count();
            prop_assert!(whole < records.len());
            prop_assert_eq!(read.next(), None);
            prop_assert_eq!(RecordViews::new(&bytes[..cut], 0).count(), whole);
        }

        #[test]
        fn any_bytes_are_records_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let types = ContentTypes::default();
            Records::new(&bytes, &types).for_each(drop);
            for view in RecordViews::new(&bytes, 0) {
                let _ = view.read(&types);
            }
        }
    }
}
