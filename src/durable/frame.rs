//! Frames, of which the log is made: the records of one turn of one shard each.
//!
//! ```text
//! offset  bytes
//!      0      4  length of the content, in bytes
//!      4      4  records in it
//!      8      8  position: how many records the log had before
//!     16      8  synced: up to which position the log was known to be on disk when this was written
//!     24      4  shard
//!     28      8  checksum
//!     36      n  the content: records
//! ```
//!
//! The checksum is XXH3 of what is before it, the content, and what is not written: the store's id, the
//! number of the process' start, and the frame's place in its file. So what a block of the disk held
//! before, or a frame of an end that was cut, is never taken for one.

use super::Position;
use xxhash_rust::xxh3::Xxh3;

/// The bytes of a frame before its content.
pub const HEAD_BYTES: usize = 36;

const SUM_AT: usize = 28;

/// What a frame must have that is not written in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The store's id.
    pub store: [u8; 16],
    /// Which start of a process wrote it, counted up in the store.
    pub start: u64,
}

/// What a frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// How many records the log had before.
    pub position: Position,
    /// How many are in it.
    pub records: u32,
    /// Up to where the log was known to be on disk when it was written.
    pub synced: Position,
    /// Whose records they are.
    pub shard: u32,
}

/// A frame that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub head: FrameHead,
    pub content: &'a [u8],
}

impl FrameHead {
    /// The position after the frame's last record.
    pub fn end(&self) -> Position {
        Position(self.position.0 + u64::from(self.records))
    }
}

/// Appends a frame that will be at a place in its file.
pub fn write(head: &FrameHead, content: &[u8], seal: &Seal, at: u64, to: &mut Vec<u8>) {
    let begin = to.len();
    let len = u32::try_from(content.len()).expect("a turn's records take less than 4 GiB");
    to.extend_from_slice(&len.to_le_bytes());
    to.extend_from_slice(&head.records.to_le_bytes());
    to.extend_from_slice(&head.position.0.to_le_bytes());
    to.extend_from_slice(&head.synced.0.to_le_bytes());
    to.extend_from_slice(&head.shard.to_le_bytes());
    let sum = sum(&to[begin..], content, seal, at);
    to.extend_from_slice(&sum.to_le_bytes());
    to.extend_from_slice(content);
}

/// The frame at a place of a file's bytes; `None` where there is none.
pub fn read<'a>(file: &'a [u8], at: usize, seal: &Seal) -> Option<Frame<'a>> {
    read_part(file, at, at as u64, seal)
}

/// How long the frame is that some bytes begin with, in bytes, if they are one.
pub fn len(bytes: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(*bytes.first_chunk()?);
    HEAD_BYTES.checked_add(len as usize)
}

/// The frame at a place of some of a file's bytes, which has another place in the file.
pub fn read_part<'a>(file: &'a [u8], at: usize, place: u64, seal: &Seal) -> Option<Frame<'a>> {
    let head = file.get(at..at.checked_add(HEAD_BYTES)?)?;
    let number = |at: usize| u32::from_le_bytes(field(head, at));
    let long = |at: usize| u64::from_le_bytes(field(head, at));
    // Most places that are looked at hold zeros, and no checksum does.
    if long(SUM_AT) == 0 {
        return None;
    }
    let begin = at + HEAD_BYTES;
    let content = file.get(begin..begin.checked_add(number(0) as usize)?)?;
    let is_whole = sum(&head[..SUM_AT], content, seal, place) == long(SUM_AT);
    is_whole.then(|| Frame {
        head: FrameHead {
            records: number(4),
            position: Position(long(8)),
            synced: Position(long(16)),
            shard: number(24),
        },
        content,
    })
}

fn field<const N: usize>(head: &[u8], at: usize) -> [u8; N] {
    *head[at..].first_chunk().expect("a head has all its fields")
}

fn sum(head: &[u8], content: &[u8], seal: &Seal, at: u64) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&seal.store);
    hasher.update(&seal.start.to_le_bytes());
    hasher.update(&at.to_le_bytes());
    hasher.update(head);
    hasher.update(content);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEAL: Seal = Seal {
        store: [7; 16],
        start: 3,
    };

    const HEAD: FrameHead = FrameHead {
        position: Position(1 << 40),
        records: 2,
        synced: Position(5),
        shard: 1,
    };

    fn file(content: &[u8], at: usize) -> Vec<u8> {
        let mut file = vec![0; at];
        write(&HEAD, content, &SEAL, at as u64, &mut file);
        file
    }

    proptest! {
        #[test]
        fn a_frame_is_read_where_it_was_written_and_no_bit_may_differ(
            content in prop::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..100,
            bit: prop::sample::Index,
        ) {
            let mut file = file(&content, at);
            let read = |file: &[u8], seal| read(file, at, &seal).is_some();
            prop_assert_eq!(super::read(&file, at, &SEAL), Some(Frame { head: HEAD, content: &content }));
            let (later, other) = (Seal { start: 4, ..SEAL }, Seal { store: [8; 16], ..SEAL });
            prop_assert!(!read(&file, later) && !read(&file, other));
            let part = read_part(&file[at..], 0, at as u64, &SEAL);
            prop_assert_eq!(part, Some(Frame { head: HEAD, content: &content }));
            prop_assert_eq!(len(&file[at..]), Some(HEAD_BYTES + content.len()));
            prop_assert!(!read(&file[..file.len() - 1], SEAL));
            file.insert(0, 0);
            prop_assert!(super::read(&file, at + 1, &SEAL).is_none(), "it is at another place");
            file.remove(0);
            let bit = bit.index((file.len() - at) * 8);
            file[at + bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!read(&file, SEAL));
        }

        #[test]
        fn any_bytes_are_a_frame_or_not(file in prop::collection::vec(any::<u8>(), 0..100), at in 0_usize..110) {
            prop_assert!(super::read(&file, at, &SEAL).is_none());
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(read(&[0; 4096], 0, &SEAL), None);
    }
}
