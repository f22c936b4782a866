//! By slot, where its value is: a list that never copies what is there when it grows, in small pieces
//! at first, then in large ones, which lie on huge pages.
//!
//! A free slot is used again, the lowest first, and until then takes four bytes of an array. Where
//! most slots of a piece's array are free it is *packed*, step by step: of 1024 slots each the places
//! of those in use are kept alone, and the bits that say which slots are free lead to them. Such a
//! block goes back into the array once it is mostly in use again: the lowest slots come first there
//! too.
//!
//! Source: a place by the count of bits before it, Bagwell, "Ideal Hash Trees" (2001).

mod piece;

use super::NOWHERE;
use super::numbers::FreeNumbers;
use piece::{BLOCK, Piece};
use prefetch_index::prefetch_index;

/// What it takes to find a place in a packed block: as much as so many in arrays.
const PACKED_LOOKS: usize = 16;

/// Places by slot. Pieces have `SMALL` slots, and from the one on whose number is `SMALL_PIECES`,
/// `LARGE`.
#[derive(Debug, Default)]
pub(super) struct Places<
    const SMALL: usize = { 16 * 1024 },
    const SMALL_PIECES: usize = 64,
    const LARGE: usize = { 4 * 1024 * 1024 },
> {
    pieces: Vec<Piece>,
    free: FreeNumbers,
    len: usize,
    /// Free slots in the arrays that are worth packing.
    spare: usize,
    packing: Option<Packing>,
    /// What pieces take.
    pieces_bytes: usize,
}

/// How far packing is.
#[derive(Clone, Copy, Debug)]
struct Packing {
    /// Pieces from here on are done.
    end: usize,
    /// What was done last with the one before. What was begun to be packed is packed to its end: only
    /// then its array's memory is given back. What was unpacked is not packed again at once.
    last: Todo,
}

/// What there is to do with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Todo {
    /// To pack a block more, and then the others.
    Pack,
    /// To take a block back into the array.
    Unpack,
    Nothing,
}

/// What a walk over all slots finds at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// Its place; [`NOWHERE`] where it is free.
    pub(super) place: u32,
    /// The next slot to visit; those between are free.
    pub(super) next: u32,
    /// As much as looking at so many places in arrays.
    pub(super) looks: usize,
}

impl<const SMALL: usize, const SMALL_PIECES: usize, const LARGE: usize>
    Places<SMALL, SMALL_PIECES, LARGE>
{
    /// Where the large pieces begin.
    const LARGE_START: usize = SMALL * SMALL_PIECES;

    /// So many free slots of an array are not worth packing.
    const SPARE_MIN: usize = SMALL / 2;

    /// How many slots there are, free ones included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether a slot is there and not free. O(1), and never reads its place.
    pub(super) fn is_used(&self, slot: u32) -> bool {
        (slot as usize) < self.len && !self.free.contains(slot)
    }

    /// The slot for the next value: the lowest free one, or one more. `None` where there are as many as
    /// can be.
    pub(super) fn next_slot(&self) -> Option<u32> {
        let slot = self.free.lowest();
        let slot = slot.or_else(|| u32::try_from(self.len).ok());
        slot.filter(|slot| *slot != NOWHERE)
    }

    /// Puts a place into the [`next_slot`](Self::next_slot).
    pub(super) fn fill(&mut self, slot: u32, place: u32) {
        let (number, at) = Self::locate(slot);
        if slot as usize == self.len {
            self.push(number, at, place);
        } else if let Some(there) = self.pieces[number].array_mut().get_mut(at) {
            *there = place;
            self.free.take(slot);
            self.count_free(number, |free| *free -= 1);
        } else {
            let rank = self.rank(slot);
            self.free.take(slot);
            self.change(number, |piece, free| {
                piece.insert(at / BLOCK, rank, place);
                piece.unpack(Self::start(number) as u32, free);
            });
        }
    }

    /// Puts a place where there is one, which is returned.
    pub(super) fn replace(&mut self, slot: u32, place: u32) -> u32 {
        let (number, at) = Self::locate(slot);
        if let Some(there) = self.pieces[number].array_mut().get_mut(at) {
            return std::mem::replace(there, place);
        }
        let rank = self.rank(slot);
        let block = self.pieces[number].block_mut(at / BLOCK);
        std::mem::replace(&mut block[rank], place)
    }

    /// Makes a slot in use free, and returns its place.
    pub(super) fn free(&mut self, slot: u32) -> u32 {
        let (number, at) = Self::locate(slot);
        if let Some(there) = self.pieces[number].array_mut().get_mut(at) {
            let place = std::mem::replace(there, NOWHERE);
            self.free.put(slot);
            self.count_free(number, |free| *free += 1);
            return place;
        }
        let rank = self.rank(slot);
        self.free.put(slot);
        self.change(number, |piece, _| piece.remove(at / BLOCK, rank))
    }

    /// Takes free slots off the end, so many at the most, and returns how many. A piece is given back once it is some way off
    /// the end, so that a list whose length goes up and down by a few asks the system for none.
    pub(super) fn trim(&mut self, count: usize) -> usize {
        for trimmed in 0..count {
            let last = self.len.checked_sub(1);
            let Some(last) = last.filter(|last| self.free.contains(*last as u32)) else {
                return trimmed;
            };
            let (number, at) = Self::locate(last as u32);
            self.len = last;
            if at < self.pieces[number].array().len() {
                self.count_free(number, |free| *free -= 1);
            }
            self.free.take(last as u32);
            self.free.shrink(last);
            if last + SMALL <= Self::start(self.pieces.len() - 1) {
                let piece = self.pieces.pop();
                self.pieces_bytes -= piece.map_or(0, |piece| piece.memory_bytes());
            }
        }
        count
    }

    /// The place of a slot in use.
    #[inline]
    pub(super) fn get(&self, slot: u32) -> u32 {
        let (number, at) = Self::locate(slot);
        let piece = &self.pieces[number];
        match piece.array().get(at) {
            Some(place) => *place,
            None => self.packed(piece, slot, at),
        }
    }

    /// The place of any slot; `None` or [`NOWHERE`] where it has none.
    #[inline]
    pub(super) fn look(&self, slot: u32) -> Option<u32> {
        if slot as usize >= self.len {
            return None;
        }
        let (number, at) = Self::locate(slot);
        let piece = &self.pieces[number];
        match piece.array().get(at) {
            Some(place) => Some(*place),
            None => self.is_used(slot).then(|| self.packed(piece, slot, at)),
        }
    }

    /// What a walk finds at a slot; `None` past the last.
    pub(super) fn visit(&self, slot: u32) -> Option<Visit> {
        if slot as usize >= self.len {
            return None;
        }
        let (number, at) = Self::locate(slot);
        let piece = &self.pieces[number];
        let (place, next, looks) = match piece.array().get(at) {
            Some(place) => (*place, slot + 1, 1),
            None if self.free.contains(slot) => (NOWHERE, self.free.next_missing(slot), 1),
            None => (self.packed(piece, slot, at), slot + 1, PACKED_LOOKS),
        };
        Some(Visit { place, next, looks })
    }

    /// Fetches the place of any slot ahead of its use.
    pub(super) fn prefetch(&self, slot: u32) {
        let (number, at) = Self::locate(slot);
        if let Some(piece) = self.pieces.get(number) {
            prefetch_index(piece.array(), at);
        }
    }

    /// What packing would give back, about, in bytes.
    pub(super) fn spare_bytes(&self) -> usize {
        self.spare * size_of::<u32>()
    }

    /// Whether packing is under way.
    pub(super) fn is_packing(&self) -> bool {
        self.packing.is_some()
    }

    /// Begins to pack all that is worth it.
    pub(super) fn begin_packing(&mut self) {
        self.packing = Some(Packing {
            end: self.pieces.len(),
            last: Todo::Nothing,
        });
    }

    /// Packs some slots, about so many. The last pieces come first: they are filled last.
    pub(super) fn pack(&mut self, slots: usize) {
        let mut left = slots / BLOCK;
        while left > 0
            && let Some(packing) = self.packing
        {
            let Some(number) = packing.end.checked_sub(1) else {
                self.packing = None;
                return;
            };
            let todo = self.todo(number, packing.last);
            let end = self.len.saturating_sub(Self::start(number));
            match todo {
                Todo::Pack => self.change(number, |piece, _| piece.pack(end)),
                Todo::Unpack => self.unpack(number),
                Todo::Nothing => {}
            }
            left -= usize::from(todo != Todo::Nothing);
            self.packing = Some(Packing {
                end: number + usize::from(todo != Todo::Nothing),
                last: todo,
            });
        }
    }

    /// What there is to do with a piece after what was done `last` with it.
    fn todo(&self, number: usize, last: Todo) -> Todo {
        let Some(piece) = self.pieces.get(number) else {
            return Todo::Nothing;
        };
        let slots = self.len.saturating_sub(Self::start(number));
        let slots = slots.min(piece.size());
        // It may be filled again before it is packed to its end.
        let is_sparse = piece.in_use(slots) <= slots / 4 * 3;
        let is_left = !piece.array().is_empty();
        let is_worth = match last {
            Todo::Nothing => self.spare_of(number) > 0,
            Todo::Pack => is_sparse || self.spare_of(number) > 0,
            Todo::Unpack => false,
        };
        if is_left && is_worth {
            Todo::Pack
        } else if piece.can_unpack() {
            Todo::Unpack
        } else {
            Todo::Nothing
        }
    }

    fn unpack(&mut self, number: usize) {
        let first = Self::start(number) as u32;
        self.change(number, |piece, free| piece.unpack(first, free));
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.pieces_bytes + self.free.memory_bytes()
    }

    /// Whether no slot is in a packed block.
    #[cfg(test)]
    pub(super) fn is_plain(&self) -> bool {
        let mut slots = self.pieces.iter().map(|piece| piece.array().len());
        slots.all(|slots| slots == SMALL || slots == LARGE)
    }

    fn push(&mut self, number: usize, at: usize, place: u32) {
        if number == self.pieces.len() {
            let is_small = number < SMALL_PIECES;
            self.pieces
                .push(Piece::new(if is_small { SMALL } else { LARGE }));
        }
        self.len += 1;
        self.change(number, |piece, free| {
            piece.push(at, place);
            piece.unpack(Self::start(number) as u32, free);
        });
    }

    /// The place of a slot in use that is in a packed block.
    #[cold]
    fn packed(&self, piece: &Piece, slot: u32, at: usize) -> u32 {
        piece.block(at / BLOCK)[self.rank(slot)]
    }

    /// How many slots of a slot's block are in use before it.
    fn rank(&self, slot: u32) -> usize {
        let within = slot as usize % BLOCK;
        within - self.free.count(slot - within as u32, slot)
    }

    /// The free slots of a piece's array if it is worth packing, else 0.
    fn spare_of(&self, number: usize) -> usize {
        let piece = &self.pieces[number];
        let slots = self.len.saturating_sub(Self::start(number));
        let slots = slots.min(piece.array().len());
        if piece.free() > slots / 2 && piece.free() >= Self::SPARE_MIN {
            piece.free()
        } else {
            0
        }
    }

    /// Counts more or fewer free slots of a piece's array.
    fn count_free(&mut self, number: usize, count: impl FnOnce(&mut usize)) {
        count(self.pieces[number].free_mut());
        self.count_spare(number);
    }

    /// Changes a piece and what is counted of it.
    fn change<T>(
        &mut self,
        number: usize,
        change: impl FnOnce(&mut Piece, &FreeNumbers) -> T,
    ) -> T {
        let piece = &mut self.pieces[number];
        let before = piece.memory_bytes();
        let changed = change(piece, &self.free);
        self.pieces_bytes = self.pieces_bytes - before + piece.memory_bytes();
        self.count_spare(number);
        changed
    }

    fn count_spare(&mut self, number: usize) {
        let spare = self.spare_of(number);
        let before = std::mem::replace(self.pieces[number].spare_mut(), spare);
        self.spare = self.spare - before + spare;
    }

    /// The piece of a slot, and where in it the slot is.
    #[inline]
    fn locate(slot: u32) -> (usize, usize) {
        let slot = slot as usize;
        match slot.checked_sub(Self::LARGE_START) {
            None => (slot / SMALL, slot % SMALL),
            Some(slot) => (SMALL_PIECES + slot / LARGE, slot % LARGE),
        }
    }

    /// The first slot of a piece.
    fn start(number: usize) -> usize {
        match number.checked_sub(SMALL_PIECES) {
            None => number * SMALL,
            Some(number) => Self::LARGE_START + number * LARGE,
        }
    }
}

#[cfg(test)]
mod tests;
