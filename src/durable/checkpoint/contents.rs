//! The checkpoint: what it is made of.
//!
//! ```text
//! offset  bytes
//!      0      8  "kvchk 1\n"
//!      8      4  shard
//!     12      4  slots
//!     16      8  position of the log
//!     24      8  the shard's last revision
//!     32      8  keys
//!     40      4  segments
//!     44      4  keys that are in none
//!     48      n  for each segment:
//!            24  its file: number, length, checksum
//!             4  keys in it, the dead included
//!             4  dead of these
//!             n  their ranks, ascending, 4 each
//!                for each 65,536 slots:
//!            24  the file of their values: number, length, checksum
//!             8  the oldest revision in it
//!                for each key that is in no segment:
//!             4  slot
//!             2  length
//!             n  the key
//!  end-8      8  checksum: XXH3 of the store's id, the seed, the shard and all that is before it
//! ```

use super::{Fields, Moment, Named, ShardFiles};
use crate::durable::Position;
use crate::keymap::RANGE_SLOTS;
use crate::model::Revision;

const MAGIC: &[u8; 8] = b"kvchk 1\n";

/// The checksum's bytes.
const SUM_BYTES: usize = 8;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) moment: Moment,
    pub(super) slots: u32,
    pub(super) keys: u64,
    pub(super) segments: Vec<NamedSegment>,
    /// One for each range of slots.
    pub(super) ranges: Vec<NamedRange>,
    pub(super) tree_keys: Vec<(Box<[u8]>, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedSegment {
    pub(super) file: Named,
    pub(super) keys: u32,
    pub(super) dead: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NamedRange {
    pub(super) file: Named,
    pub(super) oldest: Revision,
}

/// What of a checkpoint is not as it was written: where, and what is wrong.
pub(super) type Wrong = (usize, &'static str);

impl Contents {
    pub(super) fn write(&self, place: &ShardFiles) -> Vec<u8> {
        let mut to = MAGIC.to_vec();
        number(place.shard, &mut to);
        number(self.slots, &mut to);
        long(self.moment.position.0, &mut to);
        long(self.moment.revision.0, &mut to);
        long(self.keys, &mut to);
        count(self.segments.len(), &mut to);
        count(self.tree_keys.len(), &mut to);
        for segment in &self.segments {
            segment.file.write(&mut to);
            number(segment.keys, &mut to);
            count(segment.dead.len(), &mut to);
            segment.dead.iter().for_each(|rank| number(*rank, &mut to));
        }
        for range in &self.ranges {
            range.file.write(&mut to);
            long(range.oldest.0, &mut to);
        }
        for (key, slot) in &self.tree_keys {
            number(*slot, &mut to);
            let len = u16::try_from(key.len()).expect("a key has 32 KiB at the most");
            to.extend_from_slice(&len.to_le_bytes());
            to.extend_from_slice(key);
        }
        let sum = sum(&to, place);
        long(sum, &mut to);
        to
    }

    pub(super) fn read(bytes: &[u8], place: &ShardFiles) -> Result<Self, Wrong> {
        let Some((written, stored)) = bytes.split_last_chunk::<SUM_BYTES>() else {
            return Err((0, "it is too short for a checkpoint"));
        };
        if !written.starts_with(MAGIC) {
            return Err((0, "it does not begin as a checkpoint of this version"));
        }
        if sum(written, place) != u64::from_le_bytes(*stored) {
            return Err((0, "the checksum does not hold, or it is another store's"));
        }
        let mut fields = Fields::new(&written[MAGIC.len()..]);
        let contents = Self::fields(&mut fields, place);
        let at = MAGIC.len() + fields.at;
        let contents = contents.ok_or((at, "it is cut off, or another shard's"))?;
        match fields.is_at_end() {
            true => Ok(contents),
            false => Err((at, "it goes on past its end")),
        }
    }

    fn fields(fields: &mut Fields<'_>, place: &ShardFiles) -> Option<Self> {
        if fields.number()? != place.shard {
            return None;
        }
        let slots = fields.number()?;
        let moment = Moment {
            position: Position(fields.long()?),
            revision: Revision(fields.long()?),
        };
        let keys = fields.long()?;
        let (segments, tree_keys) = (fields.number()?, fields.number()?);
        // No list is made for a number that was read alone: it ends with the bytes.
        let segment = |fields: &mut Fields<'_>| {
            let file = Named::read(fields)?;
            let keys = fields.number()?;
            let dead = fields.number()?;
            let dead = (0..dead).map(|_| fields.number()).collect::<Option<_>>()?;
            Some(NamedSegment { file, keys, dead })
        };
        let segments = (0..segments)
            .map(|_| segment(fields))
            .collect::<Option<_>>()?;
        let range = |fields: &mut Fields<'_>| {
            let file = Named::read(fields)?;
            let oldest = Revision(fields.long()?);
            Some(NamedRange { file, oldest })
        };
        let ranges = (0..ranges(slots))
            .map(|_| range(fields))
            .collect::<Option<_>>()?;
        let key = |fields: &mut Fields<'_>| {
            let slot = fields.number()?;
            let len = fields.short()?;
            Some((fields.take(len.into())?.into(), slot))
        };
        let tree_keys = (0..tree_keys).map(|_| key(fields)).collect::<Option<_>>()?;
        Some(Self {
            moment,
            slots,
            keys,
            segments,
            ranges,
            tree_keys,
        })
    }
}

/// How many ranges so many slots are.
pub(super) fn ranges(slots: u32) -> u32 {
    slots.div_ceil(RANGE_SLOTS)
}

impl Named {
    fn write(&self, to: &mut Vec<u8>) {
        long(self.number, to);
        long(self.bytes, to);
        long(self.sum, to);
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            number: fields.long()?,
            bytes: fields.long()?,
            sum: fields.long()?,
        })
    }
}

fn number(number: u32, to: &mut Vec<u8>) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn long(number: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn count(count: usize, to: &mut Vec<u8>) {
    number(
        u32::try_from(count).expect("a shard has fewer than 2^32 keys"),
        to,
    );
}

pub(super) fn sum(written: &[u8], place: &ShardFiles) -> u64 {
    let mut hasher = place.hasher();
    hasher.update(written);
    hasher.digest()
}
