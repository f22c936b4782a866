//! Values that are no records, by place.

use super::bodies::{Bodies, Home};
use super::numbers::FreeNumbers;
use super::record::End;
use super::{Borrowed, Stored};
use crate::model::{ContentType, Revision, Value};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Places are allocated by so many.
const BLOCK: usize = 256;

/// What places of a block take, in bytes.
const BLOCK_BYTES: usize = BLOCK * size_of::<Option<Kept>>();

/// How many free places are taken off the end with each that is freed.
const TRIM_STEPS: usize = 16;

/// What an entry of a tree takes besides, about, in bytes.
const ENTRY_BYTES: usize = 32;

/// A value, and where its body is.
#[derive(Debug)]
struct Kept {
    content_type: ContentType,
    body: Bytes,
    revision: Revision,
    home: Home,
}

/// A list of values of which the lowest free place is used first.
#[derive(Debug, Default)]
pub(super) struct LargeValues {
    /// All but the last are full of places, which may be free.
    blocks: Vec<Vec<Option<Kept>>>,
    free: FreeNumbers,
    len: usize,
    bodies: Bodies,
    /// What content types take that no other value has, in bytes.
    types_bytes: usize,
    /// When those values end that do, by place: a tree, since few large ones do.
    ends: BTreeMap<u32, End>,
}

impl LargeValues {
    /// The value at a place in use. Its body is shared.
    pub(super) fn get(&self, at: u32) -> Value {
        let kept = self.kept(at);
        Value {
            content_type: kept.content_type.clone(),
            body: kept.body.clone(),
            revision: kept.revision,
            expires_at: self.end(at).map(|end| end.deadline),
        }
    }

    /// As [`get`](Self::get), where it is.
    pub(super) fn look(&self, at: u32) -> Borrowed<'_> {
        let kept = self.kept(at);
        Borrowed {
            content_type: &kept.content_type,
            body: &kept.body,
            revision: kept.revision,
            end: self.end(at),
        }
    }

    /// The body of the value at a place in use.
    pub(super) fn body(&self, at: u32) -> Bytes {
        self.kept(at).body.clone()
    }

    /// When the value at a place ends, if ever.
    pub(super) fn end(&self, at: u32) -> Option<End> {
        match self.ends.is_empty() {
            true => None,
            false => self.ends.get(&at).copied(),
        }
    }

    /// Has the value at a place end at another time.
    pub(super) fn set_end(&mut self, at: u32, end: Option<End>) {
        match end {
            None => drop(self.ends.remove(&at)),
            Some(end) => drop(self.ends.insert(at, end)),
        }
    }

    /// Puts a value in a free place, which is below `places_max`.
    ///
    /// # Panics
    /// Where there is none.
    pub(super) fn insert(&mut self, stored: Stored, places_max: u32) -> u32 {
        let lowest = self.free.lowest();
        let at = lowest.or_else(|| u32::try_from(self.places()).ok());
        let at = at.filter(|at| *at < places_max);
        let at = at.expect("a key map holds fewer than 2^31 - 1 large values");
        let end = stored.end();
        let (body, home) = self.bodies.put(stored.value.body);
        self.types_bytes += stored.value.content_type.own_bytes();
        let kept = Some(Kept {
            content_type: stored.value.content_type,
            body,
            revision: stored.value.revision,
            home,
        });
        if lowest.is_some() {
            self.free.take(at);
            *self.place(at) = kept;
        } else {
            if self.places().is_multiple_of(BLOCK) {
                self.blocks.push(Vec::with_capacity(BLOCK));
            }
            let last = self.blocks.last_mut().expect("there is one, or was added");
            last.push(kept);
        }
        if let Some(end) = end {
            self.ends.insert(at, end);
        }
        self.len += 1;
        at
    }

    /// Takes a value out of its place.
    pub(super) fn remove(&mut self, at: u32) {
        let Some(Kept {
            content_type,
            body,
            revision: _,
            home,
        }) = self.place(at).take()
        else {
            unreachable!("a live key's slot holds its value");
        };
        self.types_bytes -= content_type.own_bytes();
        self.let_go(body, home);
        self.ends.remove(&at);
        self.len -= 1;
        self.free.put(at);
        self.trim(TRIM_STEPS);
    }

    /// Moves a value to the lowest free place, where that is lower, and returns its place.
    pub(super) fn lower(&mut self, at: u32) -> u32 {
        let Some(lowest) = self.free.lowest().filter(|lowest| *lowest < at) else {
            return at;
        };
        self.free.take(lowest);
        let value = self.place(at).take();
        *self.place(lowest) = value;
        if let Some(end) = self.ends.remove(&at) {
            self.ends.insert(lowest, end);
        }
        self.free.put(at);
        self.trim(TRIM_STEPS);
        lowest
    }

    /// Copies a value's body out of a block that is to be given back. Returns what was copied, in
    /// bytes.
    pub(super) fn copy_out(&mut self, at: u32) -> usize {
        let Kept { body, home, .. } = self.kept(at);
        let (body, home) = (body.clone(), *home);
        if !self.bodies.is_leaving(home) {
            return 0;
        }
        let len = body.len();
        let (copy, new_home) = self.bodies.put(body.clone());
        if let Some(kept) = self.place(at) {
            kept.body = copy;
            kept.home = new_home;
        }
        self.let_go(body, home);
        len
    }

    /// Whether a value's body is in a block that is to be given back.
    pub(super) fn is_leaving(&self, at: u32) -> bool {
        self.bodies.is_leaving(self.kept(at).home)
    }

    /// Where the values' bodies are.
    pub(super) fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    /// As [`bodies`](Self::bodies).
    pub(super) fn bodies_mut(&mut self) -> &mut Bodies {
        &mut self.bodies
    }

    /// Where places end if all values were in the lowest ones, to the end of a block.
    pub(super) fn packed_end(&self) -> usize {
        self.len.next_multiple_of(BLOCK)
    }

    /// What would be given back were all values in the lowest places, in bytes.
    pub(super) fn spare_bytes(&self) -> usize {
        (self.blocks.len() - self.len.div_ceil(BLOCK)) * BLOCK_BYTES
    }

    /// Bytes of memory; that of bodies with pages of their own is estimated.
    pub(super) fn memory_bytes(&self) -> usize {
        let places = self.blocks.len() * BLOCK_BYTES + self.free.memory_bytes();
        let ends = self.ends.len() * (size_of::<(u32, End)>() + ENTRY_BYTES);
        places + ends + self.types_bytes + self.bodies.memory_bytes()
    }

    /// How many places there are.
    fn places(&self) -> usize {
        match self.blocks.last() {
            Some(last) => (self.blocks.len() - 1) * BLOCK + last.len(),
            None => 0,
        }
    }

    fn kept(&self, at: u32) -> &Kept {
        let at = at as usize;
        let kept = self.blocks[at / BLOCK][at % BLOCK].as_ref();
        kept.expect("a live key's slot holds its value")
    }

    fn place(&mut self, at: u32) -> &mut Option<Kept> {
        let at = at as usize;
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }

    /// Takes free places off the end, so many at the most.
    pub(super) fn trim(&mut self, count: usize) {
        for _ in 0..count {
            let Some(last) = self.blocks.last_mut() else {
                break;
            };
            if !matches!(last.last(), Some(None)) {
                break;
            }
            last.pop();
            let is_empty = last.is_empty();
            let end = self.places() as u32;
            self.free.take(end);
            if is_empty {
                self.blocks.pop();
                self.free.shrink(end as usize);
            }
        }
        if self.len == 0 {
            let mut bodies = std::mem::take(&mut self.bodies);
            bodies.end_all();
            *self = Self {
                bodies,
                ..Self::default()
            };
        }
    }

    /// Lets a body go that is in no place any more.
    fn let_go(&mut self, body: Bytes, home: Home) {
        let len = body.len();
        // Dropped first, so that only readers hold what is left of its block.
        drop(body);
        self.bodies.remove(len, home);
    }
}
