//! Bytes in the allocator's memory where they are few, and in a mapping of their own where they are
//! many: a mapping takes memory from the system page by page as it is written, and gives all of it
//! back as soon as it is dropped, whatever the allocator keeps.

use memmap2::{Advice, MmapMut};

/// From so many bytes on they are a mapping of their own.
pub(super) const MAPPED_BYTES_MIN: usize = 32 * 1024;

/// From so many bytes on a mapping asks for huge pages, which take 2 MiB each even where less is
/// written: searches touch it all over, and the addresses of small pages would not fit the
/// processor's cache of these.
const HUGE_BYTES_MIN: usize = 4 * 1024 * 1024;

/// What a huge page takes.
pub(super) const HUGE_PAGE_BYTES: usize = 2 * 1024 * 1024;

/// What a page of the system takes.
pub(super) const PAGE_BYTES: usize = 4096;

/// What the processor fetches at a time, in bytes.
pub(super) const CACHE_LINE_BYTES: usize = 64;

/// What the memory of a mapping of so many bytes is taken from the system by, in bytes.
pub(super) fn page_bytes(mapping_bytes: usize) -> usize {
    if mapping_bytes >= HUGE_BYTES_MIN {
        HUGE_PAGE_BYTES
    } else {
        PAGE_BYTES
    }
}

/// A mapping of so many zeros; `None` where the system gives none.
pub(super) fn map(bytes: usize) -> Option<MmapMut> {
    let mapping = MmapMut::map_anon(bytes).ok()?;
    if page_bytes(bytes) == HUGE_PAGE_BYTES {
        // Where huge pages are turned off, all works as well, only slower.
        let _ = mapping.advise(Advice::HugePage);
    }
    Some(mapping)
}

/// Bytes that can be written to.
#[derive(Debug)]
pub(super) enum Memory {
    Heap(Vec<u8>),
    Mapping(MmapMut),
}

impl Memory {
    /// So many zeros.
    pub(super) fn zeroed(bytes: usize) -> Self {
        let mut memory = Self::with_capacity(bytes);
        memory.reserve(bytes);
        memory
    }

    /// Room for so many bytes: zeros in a mapping, none yet on the heap.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        if bytes < MAPPED_BYTES_MIN {
            return Self::Heap(Vec::with_capacity(bytes));
        }
        // Where the system gives no mapping, the allocator may have memory left.
        match map(bytes) {
            Some(mapping) => Self::Mapping(mapping),
            None => Self::Heap(Vec::with_capacity(bytes)),
        }
    }

    /// Makes sure that there are so many bytes, where there is room for them.
    pub(super) fn reserve(&mut self, bytes: usize) {
        if let Self::Heap(heap) = self {
            heap.resize(bytes.max(heap.len()), 0);
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(heap) => heap,
            Self::Mapping(mapping) => mapping,
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Heap(heap) => heap,
            Self::Mapping(mapping) => mapping,
        }
    }
}
