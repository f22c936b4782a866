//! The file of the values of a range of slots.
//!
//! ```text
//! <number>.values
//! offset  bytes
//!      0      8  "kvval 1\n"
//!      8      8  number, which is its name as well
//!     16      4  range: the first slot is 65,536 times as much
//!     20      4  zeros
//!     24      n  blocks of about a MiB, one after the other:
//!             4  length of the content, in bytes
//!             4  values in it
//!             8  checksum: XXH3 of the store's id, the seed, the shard, the head of the file, the place of
//!                the block in it, the 8 bytes before, and the content
//!             n  the content: values by ascending slot, each
//!                4  slot
//!                8  revision
//!                4  length of the body
//!                1  1 where the value ends, and then come
//!                   8  its deadline, in milliseconds since the Unix epoch
//!                   6  what of its key's hash the key is found by then
//!                   1  what stands here where it does not end:
//!                1  length of the content type, which is 3 at the least; 0 for application/json
//!                n  the content type
//!                n  the body
//! ```
//!
//! The checksum in the checkpoint is of the heads of file and blocks. A slot without a value had none, or
//! none any more, when it was copied.

use super::contents::NamedRange;
use super::{Fields, Kind, Named, ShardFiles, unread};
use crate::durable::{RecoveryError, Written};
use crate::keymap::{End, Flaw, KeyHash, SlotValue};
use crate::model::{ContentType, ContentTypes, Deadline, Revision};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"kvval 1\n";

/// The bytes before the first block, and of a block before its content.
const HEAD_BYTES: usize = 24;
const BLOCK_HEAD_BYTES: usize = 16;

/// Where the length of a content type stands: that the value ends.
const ENDS: u8 = 1;

/// From so many bytes on a block is written. Tests have several in a file.
const BLOCK_BYTES: usize = if cfg!(test) { 2048 } else { 1 << 20 };

/// Writes the values of a range.
pub(super) struct ValuesWriter {
    file: Box<dyn Written>,
    number: u64,
    /// The block that is not written yet, with room for its head.
    block: Vec<u8>,
    values: u32,
    /// Where it goes.
    at: u64,
    /// Of the heads.
    sum: Xxh3,
    /// What block checksums begin with.
    hasher: Xxh3,
    /// The shard's last revision at the moment of the image, and how far behind it the oldest is.
    last: Revision,
    age: i64,
}

impl fmt::Debug for ValuesWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ValuesWriter({} at {})", self.number, self.at)
    }
}

impl ValuesWriter {
    /// Begins the file of a range.
    pub(super) fn begin(
        place: &ShardFiles,
        number: u64,
        range: u32,
        last: Revision,
    ) -> io::Result<Self> {
        let mut file = place.files.create(&place.path(Kind::Values, number), 0)?;
        let head = head(number, range);
        file.write_at(&head, 0)?;
        let mut hasher = place.hasher();
        hasher.update(&head);
        Ok(Self {
            file,
            number,
            block: vec![0; BLOCK_HEAD_BYTES],
            values: 0,
            at: HEAD_BYTES as u64,
            sum: hasher.clone(),
            hasher,
            last,
            age: 0,
        })
    }

    /// Appends a value of a slot above those before.
    pub(super) fn push(&mut self, value: &SlotValue<'_>) -> io::Result<()> {
        let content_type = match *value.content_type == ContentType::JSON {
            true => "",
            false => value.content_type.as_str(),
        };
        let body_len = u32::try_from(value.body.len()).expect("a value has less than 4 GiB");
        let type_len = u8::try_from(content_type.len()).expect("it has 255 bytes at the most");
        self.block.extend_from_slice(&value.slot.to_le_bytes());
        self.block
            .extend_from_slice(&value.revision.0.to_le_bytes());
        self.block.extend_from_slice(&body_len.to_le_bytes());
        if let Some(End { deadline, hash }) = value.end {
            self.block.push(ENDS);
            self.block
                .extend_from_slice(&deadline.as_millis().to_le_bytes());
            self.block.extend_from_slice(&hash.to_bytes());
        }
        self.block.push(type_len);
        self.block.extend_from_slice(content_type.as_bytes());
        self.block.extend_from_slice(value.body);
        self.values += 1;
        // Revisions begin anywhere, so that which is older is seen by their distance alone.
        let age = self.last.0.wrapping_sub(value.revision.0) as i64;
        self.age = self.age.max(age);
        match self.block.len() >= BLOCK_BYTES {
            true => self.write_block(),
            false => Ok(()),
        }
    }

    /// Ends the file, and syncs it.
    pub(super) fn end(mut self) -> io::Result<NamedRange> {
        if self.values > 0 {
            self.write_block()?;
        }
        self.file.sync()?;
        let file = Named {
            number: self.number,
            bytes: self.at,
            sum: self.sum.digest(),
        };
        let oldest = Revision(self.last.0.wrapping_sub(self.age as u64));
        Ok(NamedRange { file, oldest })
    }

    fn write_block(&mut self) -> io::Result<()> {
        let content = &self.block[BLOCK_HEAD_BYTES..];
        let len = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut head = [0; BLOCK_HEAD_BYTES];
        head[..4].copy_from_slice(&len.to_le_bytes());
        head[4..8].copy_from_slice(&self.values.to_le_bytes());
        let sum = block_sum(&self.hasher, self.at, &head, content);
        head[8..].copy_from_slice(&sum.to_le_bytes());
        self.sum.update(&head);
        self.block[..BLOCK_HEAD_BYTES].copy_from_slice(&head);
        self.file.write_at(&self.block, self.at)?;
        self.at += self.block.len() as u64;
        self.block.truncate(BLOCK_HEAD_BYTES);
        self.block.shrink_to(2 * BLOCK_BYTES);
        self.values = 0;
        Ok(())
    }
}

/// Reads the values of a range, block by block.
pub(super) struct ValuesReader<'a> {
    place: &'a ShardFiles,
    path: PathBuf,
    named: Named,
    at: u64,
    block: Vec<u8>,
    values: u32,
    sum: Xxh3,
    hasher: Xxh3,
}

impl<'a> ValuesReader<'a> {
    pub(super) fn open(
        place: &'a ShardFiles,
        range: u32,
        named: Named,
    ) -> Result<Self, RecoveryError> {
        let path = place.path(Kind::Values, named.number);
        let len = place.files.len(&path);
        let len = len.map_err(|error| unread(path.clone(), error))?;
        if len != named.bytes || len < HEAD_BYTES as u64 {
            let what = "it has not the length that the checkpoint says";
            return Err(damaged(&path, len, what));
        }
        let expected = head(named.number, range);
        let mut found = [0; HEAD_BYTES];
        let read = place.files.read_into(&path, 0, &mut found);
        read.map_err(|error| unread(path.clone(), error))?;
        if found != expected {
            let what = "its head is not that of this range of values";
            return Err(damaged(&path, 0, what));
        }
        let mut hasher = place.hasher();
        hasher.update(&expected);
        Ok(Self {
            place,
            path,
            named,
            at: HEAD_BYTES as u64,
            block: Vec::new(),
            values: 0,
            sum: hasher.clone(),
            hasher,
        })
    }

    /// Reads the next block; `false` at the end. After one whose content is damaged it may go on with the
    /// next.
    pub(super) fn next_block(&mut self) -> Result<bool, RecoveryError> {
        let at = self.at;
        if at == self.named.bytes {
            return match self.sum.digest() == self.named.sum {
                true => Ok(false),
                false => Err(self.damaged(0, "it is not the file that the checkpoint names")),
            };
        }
        let cut_off = "a block is cut off";
        let left = self.named.bytes - at;
        let Some(left) = left.checked_sub(BLOCK_HEAD_BYTES as u64) else {
            return Err(self.damaged(at, cut_off));
        };
        let mut head = [0; BLOCK_HEAD_BYTES];
        self.read(at, &mut head)?;
        let [len, values] = [0, 4].map(|at| {
            let field = head[at..].first_chunk();
            u32::from_le_bytes(*field.expect("a head has all its fields"))
        });
        if u64::from(len) > left {
            return Err(self.damaged(at, cut_off));
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(len as usize, 0);
        self.read(at + BLOCK_HEAD_BYTES as u64, &mut block)?;
        let sum = block_sum(&self.hasher, at, &head, &block);
        self.at += BLOCK_HEAD_BYTES as u64 + u64::from(len);
        self.sum.update(&head);
        if head[8..] != sum.to_le_bytes() {
            return Err(self.damaged(at, "the checksum of a block does not hold"));
        }
        self.block = block;
        self.values = values;
        Ok(true)
    }

    /// Gives the values of the block that was read.
    pub(super) fn values(
        &self,
        types: &mut KnownType<'_>,
        mut each: impl FnMut(&SlotValue<'_>) -> Result<(), Flaw>,
    ) -> Result<(), RecoveryError> {
        let mut fields = Fields::new(&self.block);
        for _ in 0..self.values {
            let begun = fields.at;
            let value = read(&mut fields, types).ok_or(Flaw("what a block holds is no value"));
            if let Err(Flaw(what)) = value.and_then(|value| each(&value)) {
                return Err(self.damaged(self.place_of(begun), what));
            }
        }
        match fields.is_at_end() {
            true => Ok(()),
            false => Err(self.damaged(self.place_of(fields.at), "a block goes on past its end")),
        }
    }

    /// Where the next block is.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    fn place_of(&self, within: usize) -> u64 {
        self.at - self.block.len() as u64 + within as u64
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), RecoveryError> {
        let read = self.place.files.read_into(&self.path, at, bytes);
        read.map_err(|error| unread(self.path.clone(), error))
    }

    fn damaged(&self, offset: u64, what: &'static str) -> RecoveryError {
        damaged(&self.path, offset, what)
    }
}

/// The content type of the value before: mostly it is the next one's.
#[derive(Debug)]
pub(super) struct KnownType<'a> {
    all: &'a ContentTypes,
    last: ContentType,
}

impl<'a> KnownType<'a> {
    pub(super) fn new(all: &'a ContentTypes) -> Self {
        Self {
            all,
            last: ContentType::JSON,
        }
    }

    /// Takes up the content type of a text.
    fn parse(&mut self, text: &[u8]) -> Option<()> {
        if text.is_empty() {
            self.last = ContentType::JSON;
        } else if text != self.last.as_str().as_bytes() {
            self.last = self.all.parse(str::from_utf8(text).ok()?).ok()?;
        }
        Some(())
    }
}

fn read<'v, 'b: 'v>(
    fields: &mut Fields<'b>,
    types: &'v mut KnownType<'_>,
) -> Option<SlotValue<'v>> {
    let slot = fields.number()?;
    let revision = Revision(fields.long()?);
    let body_len = fields.number()?;
    let mut type_len = fields.byte()?;
    let mut end = None;
    if type_len == ENDS {
        end = Some(End {
            deadline: Deadline::from_millis(fields.long()?),
            hash: KeyHash::from_bytes(fields.array()?),
        });
        type_len = fields.byte()?;
    }
    types.parse(fields.take(type_len.into())?)?;
    Some(SlotValue {
        slot,
        revision,
        body: fields.take(body_len as usize)?,
        content_type: &types.last,
        end,
    })
}

fn head(number: u64, range: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(MAGIC);
    head[8..16].copy_from_slice(&number.to_le_bytes());
    head[16..20].copy_from_slice(&range.to_le_bytes());
    head
}

fn block_sum(hasher: &Xxh3, at: u64, head: &[u8; BLOCK_HEAD_BYTES], content: &[u8]) -> u64 {
    let mut hasher = hasher.clone();
    hasher.update(&at.to_le_bytes());
    hasher.update(&head[..8]);
    hasher.update(content);
    hasher.digest()
}

fn damaged(path: &Path, offset: u64, what: &'static str) -> RecoveryError {
    RecoveryError::Damaged {
        file: path.to_owned(),
        offset,
        what,
    }
}
