//! The memory of a segment: byte strings, each under a header with its kind, version and checksum.
//!
//! What is in memory is what can be written to disk as it stands: numbers are little-endian, and
//! there are no pointers. A [`Buffer`] takes the bytes of a part, which then is sealed and never
//! changes again. Large ones lie in mappings of their own, so that their memory is back with the
//! system as soon as they are dropped, whatever the allocator keeps.

use super::memory::{MAPPED_BYTES_MIN, Memory, page_bytes};
use bytes::Bytes;
use memmap2::MmapMut;
use std::fmt;
use std::io::{self, Write};
use std::ops::Deref;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// Bytes before the content: a cache line, so that the content is aligned to one in a mapping.
const HEADER_BYTES: usize = 64;

/// What each header begins with.
const MAGIC: [u8; 4] = *b"kvix";

/// The layout of all parts. To be raised with every change of one.
const VERSION: u16 = 1;

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum PartKind {
    Keys = 1,
    Starts = 2,
    Symbols = 3,
    Separators = 4,
    ReverseSeparators = 5,
    Permutation = 6,
    Matrix = 7,
    Slots = 8,
    Table = 9,
}

/// An immutable byte string with a header.
#[derive(Clone)]
pub(super) struct Part {
    /// Header and content.
    stored: Bytes,
    content: Bytes,
    place: Place,
}

/// Where the bytes of a part lie.
#[derive(Clone, Copy, Debug)]
enum Place {
    Heap,
    /// A mapping of their own, with pages of so many bytes.
    Mapping {
        page_bytes: usize,
    },
}

/// Why a byte string is not a part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PartError {
    /// It is of another length than its header says, or too short for one.
    #[error("the part has {found} bytes and should have {expected}; it was cut or written over")]
    Length {
        /// Bytes that there are.
        found: u64,
        /// Bytes that there should be.
        expected: u64,
    },
    /// Its header is not that of such a part.
    #[error("the header is not one of a {0:?} part; it is another part, or damaged")]
    Header(PartKind),
    /// It was written by another version of this program.
    #[error("the part has version {0}, but only {VERSION} can be read; build the index anew")]
    Version(u16),
    /// Its bytes are not those that were written.
    #[error("the checksum of a {0:?} part does not hold; memory or disk is damaged")]
    Checksum(PartKind),
}

impl Part {
    /// Takes a stored part of so many bytes back, which are read into the memory where they stay.
    ///
    /// # Errors
    /// Where they cannot be read, or are not a whole and undamaged part of this kind and version.
    pub(super) fn read<E: From<PartError>>(
        kind: PartKind,
        bytes: usize,
        read: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut storage = Memory::zeroed(bytes);
        read(&mut storage.bytes_mut()[..bytes])?;
        verify(kind, &storage.bytes()[..bytes])?;
        Ok(Self::of(storage, bytes))
    }

    /// Takes a stored part back.
    #[cfg(test)]
    pub(super) fn open(kind: PartKind, stored: &[u8]) -> Result<Self, PartError> {
        Self::read(kind, stored.len(), |bytes| {
            bytes.copy_from_slice(stored);
            Ok(())
        })
    }

    /// The part that the first bytes of some memory are, its header included.
    fn of(storage: Memory, len: usize) -> Self {
        let (stored, place) = match storage {
            Memory::Heap(mut bytes) => {
                bytes.truncate(len);
                bytes.shrink_to_fit();
                (Bytes::from(bytes), Place::Heap)
            }
            Memory::Mapping(mapping) => {
                let page_bytes = page_bytes(mapping.len());
                let owner = Sealed { mapping, len };
                (Bytes::from_owner(owner), Place::Mapping { page_bytes })
            }
        };
        Self {
            content: stored.slice(HEADER_BYTES..),
            stored,
            place,
        }
    }

    /// A part of stored bytes, whatever they are.
    #[cfg(test)]
    pub(super) fn unchecked(stored: Vec<u8>) -> Self {
        let stored = Bytes::from(stored);
        Self {
            content: stored.slice(HEADER_BYTES..),
            stored,
            place: Place::Heap,
        }
    }

    /// Checks that the bytes are still those that were sealed. About 0.1 ns a byte.
    ///
    /// # Errors
    /// Where they are not.
    pub(super) fn verify(&self, kind: PartKind) -> Result<(), PartError> {
        verify(kind, &self.stored)
    }

    /// Header and content, as they are to be stored.
    pub(super) fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Bytes of memory.
    pub(super) fn heap_bytes(&self) -> usize {
        match self.place {
            Place::Mapping { page_bytes } => self.stored.len().next_multiple_of(page_bytes),
            Place::Heap => self.stored.len(),
        }
    }

    /// The number at an index, in a content of 32-bit numbers.
    pub(super) fn number(&self, index: u32) -> u32 {
        let at = index as usize * size_of::<u32>();
        let bytes = self.content[at..].first_chunk();
        u32::from_le_bytes(*bytes.expect("numbers are stored whole"))
    }
}

impl Deref for Part {
    type Target = [u8];

    /// The content.
    fn deref(&self) -> &[u8] {
        &self.content
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Part({} bytes)", self.content.len())
    }
}

/// The bytes of a part while they are written.
#[derive(Debug)]
pub(super) struct Buffer {
    storage: Memory,
    /// Bytes written, the header's included.
    len: usize,
}

impl Buffer {
    /// An empty buffer for about so many bytes. Memory that is never written is never taken from
    /// the system where they are many, so that an upper bound costs nothing.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Self {
            storage: Memory::with_capacity(HEADER_BYTES + bytes),
            len: HEADER_BYTES,
        };
        buffer.grow_to(HEADER_BYTES);
        buffer
    }

    /// A buffer of so many zeros.
    pub(super) fn zeroed(bytes: usize) -> Self {
        let mut buffer = Self::with_capacity(bytes);
        buffer.grow_to(HEADER_BYTES + bytes);
        buffer.len = HEADER_BYTES + bytes;
        buffer
    }

    /// Bytes written, without the header.
    pub(super) fn len(&self) -> usize {
        self.len - HEADER_BYTES
    }

    /// Appends bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.grow_to(end);
        self.storage.bytes_mut()[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// What was written.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.storage.bytes_mut()[HEADER_BYTES..self.len]
    }

    /// What was written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.storage.bytes()[HEADER_BYTES..self.len]
    }

    /// Ends the part: writes its header.
    pub(super) fn seal(mut self, kind: PartKind) -> Part {
        let header = header(kind, self.bytes());
        self.storage.bytes_mut()[..HEADER_BYTES].copy_from_slice(&header);
        Part::of(self.storage, self.len)
    }

    /// Makes sure that there are so many bytes to write to, the header's included.
    fn grow_to(&mut self, bytes: usize) {
        if bytes <= self.storage.bytes().len() {
            return;
        }
        match &mut self.storage {
            Memory::Heap(heap) if bytes <= heap.capacity() || bytes < MAPPED_BYTES_MIN => {
                heap.resize(bytes.max(heap.capacity()), 0);
            }
            storage => {
                let mut larger = Memory::with_capacity(bytes * 2);
                larger.reserve(bytes);
                larger.bytes_mut()[..self.len].copy_from_slice(&storage.bytes()[..self.len]);
                *storage = larger;
            }
        }
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The written bytes of a mapping.
struct Sealed {
    mapping: MmapMut,
    len: usize,
}

impl AsRef<[u8]> for Sealed {
    fn as_ref(&self) -> &[u8] {
        &self.mapping[..self.len]
    }
}

/// Magic, version, kind, length and checksum. The checksum covers all of these.
fn header(kind: PartKind, content: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&(kind as u16).to_le_bytes());
    header[8..16].copy_from_slice(&(content.len() as u64).to_le_bytes());
    let checksum = xxh3_64_with_seed(content, xxh3_64(&header[..16]));
    header[16..24].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn verify(kind: PartKind, stored: &[u8]) -> Result<(), PartError> {
    let found = stored.len() as u64;
    let Some((written, content)) = stored.split_first_chunk::<HEADER_BYTES>() else {
        let expected = HEADER_BYTES as u64;
        return Err(PartError::Length { found, expected });
    };
    let number = |at: usize| u16::from_le_bytes([written[at], written[at + 1]]);
    if written[..4] != MAGIC || number(6) != kind as u16 {
        return Err(PartError::Header(kind));
    }
    if number(4) != VERSION {
        return Err(PartError::Version(number(4)));
    }
    let length = written[8..]
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if length != content.len() as u64 {
        let expected = length.saturating_add(HEADER_BYTES as u64);
        return Err(PartError::Length { found, expected });
    }
    if *written != header(kind, content) {
        return Err(PartError::Checksum(kind));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_sealed_opens_again_and_any_flipped_bit_shows(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            flip: prop::sample::Index,
            bit in 0u8..8,
            cut: prop::sample::Index,
        ) {
            let mut buffer = Buffer::with_capacity(16);
            pieces.iter().for_each(|piece| buffer.extend(piece));
            let part = buffer.seal(PartKind::Keys);
            prop_assert_eq!(&part[..], &pieces.concat()[..]);
            let opened = Part::open(PartKind::Keys, part.stored()).unwrap();
            prop_assert_eq!(&opened[..], &part[..]);
            prop_assert!(Part::open(PartKind::Slots, part.stored()).is_err());
            let mut damaged = part.stored().to_vec();
            prop_assert!(Part::open(PartKind::Keys, &damaged[..cut.index(damaged.len())]).is_err());
            let at = flip.index(damaged.len());
            damaged[at] ^= 1 << bit;
            prop_assert!(Part::open(PartKind::Keys, &damaged).is_err());
        }
    }

    #[test]
    fn a_buffer_outgrows_what_it_was_made_for() {
        let mut buffer = Buffer::with_capacity(100);
        let mut expected = Vec::new();
        for number in 0..100_000_u32 {
            buffer.extend(&number.to_le_bytes());
            expected.extend(number.to_le_bytes());
        }
        assert_eq!(buffer.bytes(), expected);
        let part = buffer.seal(PartKind::Slots);
        assert_eq!(&part[..], expected);
        assert_eq!(part.number(77_777), 77_777);
        assert!(part.heap_bytes() >= part.stored().len());
        assert_eq!(Buffer::zeroed(500_000).bytes(), vec![0; 500_000]);
        assert_eq!(Buffer::zeroed(500).bytes(), [0; 500]);
    }
}
