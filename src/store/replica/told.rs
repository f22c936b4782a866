//! What an entry of the engine's log tells those who watch.
//!
//! It has no values: of one that was set it says the revision and when it ends.

use crate::durable::{write_expired, write_removed, write_set};
use crate::model::{ContentType, Key, Revision, Value};
use crate::store::stream::{Became, Happened};
use crate::valkey::{Entry, Note, Step};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

/// The longest key that is told of, in bytes: far longer than any server takes.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// What happened by an entry, and the number of that change; `None` where that is nothing, or not of our writing.
pub(super) fn happened(entry: &Entry) -> Option<(Happened, Revision)> {
    let Note {
        revision,
        expires_at,
        has_ended,
    } = entry.note;
    let operation = entry.position.revision()?;
    let (key, became) = match entry.step.as_ref()? {
        Step::Add(key) | Step::Update(key) => {
            let value = Value {
                content_type: ContentType::JSON,
                body: Bytes::new(),
                revision: revision.unwrap_or(operation),
                expires_at,
            };
            (key, Became::Set(value))
        }
        Step::Remove(key) if has_ended => (key, Became::Expired),
        Step::Remove(key) => (key, Became::Deleted),
    };
    let key = std::str::from_utf8(key).ok()?;
    let key = Key::parse(key.into(), KEY_BYTES_MAX).ok()?;
    Some((Happened { key, became }, operation))
}

/// Appends the record of what happened by an entry, if anything did. Whether that is so.
pub(super) fn write(entry: &Entry, to: &mut Vec<u8>) -> bool {
    let Some((Happened { key, became }, revision)) = happened(entry) else {
        return false;
    };
    match became {
        Became::Set(value) => write_set(&key, &value, to),
        Became::Deleted => write_removed(&key, revision, to),
        Became::Expired => write_expired(key.as_bytes(), revision, to),
    }
    true
}

/// What the engine went through in some partitions, from the first on: which masters they have, and since when updates are
/// logged. Together with that of others by exclusive or.
pub(super) fn history(
    namespace: &str,
    first: usize,
    masters: &[u64],
    sinces: impl Iterator<Item = u64>,
) -> u64 {
    let of_partition = |(index, (master, since)): (usize, (&u64, u64))| {
        let text = format!("{namespace} {} {master:x} {since:x}", first + index);
        xxh3_64(text.as_bytes())
    };
    let all = masters.iter().zip(sinces).enumerate().map(of_partition);
    all.fold(0, |sum, one| sum ^ one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{Record, Records, State};
    use crate::model::{ContentTypes, Deadline};
    use crate::valkey::Position;

    fn entry(operation: &str, step: Option<Step>, note: Note) -> Entry {
        Entry {
            position: Position {
                id: Box::from(*b"17-0"),
                operation: operation.as_bytes().into(),
            },
            step,
            note,
        }
    }

    #[test]
    fn entries_become_records_without_values() {
        let key = || Box::from(*b"k");
        let ending = Note {
            expires_at: Some(Deadline::from_millis(5)),
            ..Note::default()
        };
        let of_other = Note {
            revision: Some(Revision(7)),
            ..Note::default()
        };
        let ended = Note {
            has_ended: true,
            ..Note::default()
        };
        let mut bytes = Vec::new();
        for (step, note) in [
            (Step::Add(key()), ending),
            (Step::Update(key()), of_other),
            (Step::Remove(key()), Note::default()),
            (Step::Remove(key()), ended),
        ] {
            assert!(write(
                &entry("00000000000000ff", Some(step), note),
                &mut bytes
            ));
        }
        // A repair's entry, one of somebody else's hand, and a key that is none.
        let long = vec![b'k'; KEY_BYTES_MAX + 1].into_boxed_slice();
        for (operation, step) in [
            ("ff", None),
            ("junk", Some(Step::Add(key()))),
            ("ff", Some(Step::Add(long))),
        ] {
            assert!(!write(&entry(operation, step, Note::default()), &mut bytes));
        }
        let types = ContentTypes::default();
        let records = Records::new(&bytes, &types);
        let states: Vec<State> = records
            .map(|record| {
                let Record { key, state } = record.unwrap();
                assert_eq!(key.as_str(), "k");
                state
            })
            .collect();
        let value = |revision, expires_at| {
            State::Set(Value {
                content_type: ContentType::JSON,
                body: Bytes::new(),
                revision: Revision(revision),
                expires_at,
            })
        };
        assert_eq!(
            states,
            [
                value(0xff, ending.expires_at),
                value(7, None),
                State::Removed(Revision(0xff)),
                State::Expired(Revision(0xff)),
            ]
        );
    }

    #[test]
    fn a_history_is_that_of_its_parts_and_of_nothing_else() {
        let whole = history("kv", 0, &[1, 1, 2], [7, 8, 9].into_iter());
        let first = history("kv", 0, &[1, 1], [7, 8].into_iter());
        let last = history("kv", 2, &[2], [9].into_iter());
        assert_eq!(whole, first ^ last);
        for other in [
            history("other", 0, &[1, 1, 2], [7, 8, 9].into_iter()),
            history("kv", 0, &[1, 1, 3], [7, 8, 9].into_iter()),
            history("kv", 0, &[1, 1, 2], [7, 8, 10].into_iter()),
            history("kv", 0, &[1, 2, 1], [7, 8, 9].into_iter()),
        ] {
            assert_ne!(whole, other);
        }
    }
}
