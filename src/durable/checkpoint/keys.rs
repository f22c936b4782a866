//! The file of a segment: its parts as they are in memory.
//!
//! ```text
//! <number>.segment
//! offset  bytes
//!      0      8  "kvseg 1\n"
//!      8      8  number, which is its name as well
//!     16      4  keys
//!     20      4  zeros
//!     24     56  the lengths of its parts, 8 each; 0 for one that it has not
//!     80      8  checksum: XXH3 of the store's id, the seed, the shard, all that is before it, and the
//!                headers of the parts, which have checksums of their contents
//!     88      n  the parts, one after the other, each with a header of 64 bytes
//! ```

use super::contents::NamedSegment;
use super::{Fields, Kind, Named, ShardFiles, unread};
use crate::durable::RecoveryError;
use crate::keymap::{OpenError, SEGMENT_PARTS, SegmentImage, StoredSegment};
use std::io;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"kvseg 1\n";

/// The bytes before the parts.
const HEAD_BYTES: usize = 88;

/// Where the checksum is.
const SUM_AT: usize = 80;

/// The bytes of a part's header.
const PART_HEAD_BYTES: usize = 64;

/// Writes the file of a segment, and syncs it.
pub(super) fn write(
    place: &ShardFiles,
    number: u64,
    segment: SegmentImage<'_>,
) -> io::Result<Named> {
    let parts = segment.parts();
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&number.to_le_bytes());
    head.extend_from_slice(&segment.keys().to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    for part in parts {
        head.extend_from_slice(&(part.len() as u64).to_le_bytes());
    }
    let mut hasher = place.hasher();
    hasher.update(&head);
    parts.iter().for_each(|part| add_header(part, &mut hasher));
    let sum = hasher.digest();
    head.extend_from_slice(&sum.to_le_bytes());
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>() + HEAD_BYTES;
    let bytes = bytes as u64;
    let path = place.path(Kind::Segment, number);
    let mut file = place.files.create(&path, bytes)?;
    file.write_at(&head, 0)?;
    let mut at = HEAD_BYTES as u64;
    for part in parts.iter().filter(|part| !part.is_empty()) {
        file.write_at(part, at)?;
        at += part.len() as u64;
    }
    file.sync()?;
    Ok(Named { number, bytes, sum })
}

/// Reads the file of a segment.
pub(super) fn read(
    place: &ShardFiles,
    named: &NamedSegment,
) -> Result<StoredSegment, RecoveryError> {
    let path = place.path(Kind::Segment, named.file.number);
    let damaged = |offset: u64, what| RecoveryError::Damaged {
        file: path.clone(),
        offset,
        what,
    };
    let unread = |error| unread(path.clone(), error);
    let len = place.files.len(&path).map_err(unread)?;
    if len != named.file.bytes || len < HEAD_BYTES as u64 {
        return Err(damaged(
            len,
            "it has not the length that the checkpoint says",
        ));
    }
    let mut head = [0; HEAD_BYTES];
    place.files.read_into(&path, 0, &mut head).map_err(unread)?;
    let bytes = parts(&head, named).ok_or(damaged(0, "its head is not that of this segment"))?;
    let mut starts = [HEAD_BYTES as u64; SEGMENT_PARTS];
    for part in 1..SEGMENT_PARTS {
        starts[part] = starts[part - 1] + bytes[part - 1] as u64;
    }
    let mut hasher = place.hasher();
    hasher.update(&head[..SUM_AT]);
    let opened = StoredSegment::open(named.keys, bytes, place.seed, |part, bytes| {
        place.files.read_into(&path, starts[part], bytes)?;
        add_header(bytes, &mut hasher);
        Ok(())
    });
    let opened = opened.map_err(|error| match error {
        OpenError::Read(error) => unread(error),
        OpenError::Damaged { part, what } => damaged(starts[part], what),
    })?;
    match hasher.digest() == named.file.sum {
        true => Ok(opened),
        false => Err(damaged(
            0,
            "its parts are not those that the checkpoint names",
        )),
    }
}

/// The lengths of the parts; `None` where a head is not that of the named file.
fn parts(head: &[u8; HEAD_BYTES], named: &NamedSegment) -> Option<[usize; SEGMENT_PARTS]> {
    let mut fields = Fields::new(head);
    let is_ours = fields.array()? == *MAGIC
        && fields.long()? == named.file.number
        && fields.number()? == named.keys
        && fields.number()? == 0;
    let mut bytes = [0; SEGMENT_PARTS];
    let mut end = HEAD_BYTES as u64;
    for part in &mut bytes {
        let len = fields.long()?;
        end = end.checked_add(len)?;
        *part = usize::try_from(len).ok()?;
    }
    let is_whole = end == named.file.bytes && fields.long()? == named.file.sum;
    let has_keys = named.keys > 0;
    (is_ours && is_whole && has_keys).then_some(bytes)
}

fn add_header(part: &[u8], hasher: &mut Xxh3) {
    hasher.update(&part[..part.len().min(PART_HEAD_BYTES)]);
}
