//! Places against a list of them, packed and unpacked in between.

use super::*;
use crate::keymap::memory::HUGE_PAGE_BYTES;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// So small that a few thousand slots are pieces of both kinds.
type Few = Places<{ 2 * BLOCK }, 2, { 8 * BLOCK }>;

/// What happens to many slots.
#[derive(Clone, Debug)]
enum Step {
    /// So many values come.
    Fill(usize),
    /// Of the slots in a range, in thousandths of all, those are freed of which one in so many stays.
    Free(usize, usize, usize),
    /// So many slots get another place.
    Replace(usize),
    /// All that is worth it begins to be packed.
    Begin,
    /// So many blocks are packed.
    Pack(usize),
    Trim(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let thousandth = 0..=1000_usize;
    prop_oneof![
        4 => prop_oneof![0..50_usize, 0..2 * BLOCK, 0..16 * BLOCK].prop_map(Step::Fill),
        4 => (thousandth.clone(), thousandth, prop::sample::select(vec![1, 2, 3, 10, 50, 1000]))
            .prop_map(|(from, to, stays)| Step::Free(from, to, stays)),
        1 => (0..500_usize).prop_map(Step::Replace),
        2 => Just(Step::Begin),
        4 => (0..20_usize).prop_map(Step::Pack),
        1 => (0..3 * BLOCK).prop_map(Step::Trim),
    ]
}

/// Places, and what they are to be.
#[derive(Default)]
struct Pair {
    places: Few,
    model: Vec<Option<u32>>,
    free: BTreeSet<usize>,
    made: u32,
}

impl Pair {
    fn next_place(&mut self) -> u32 {
        self.made += 1;
        self.made.wrapping_mul(0x9e37_79b9) >> 1
    }

    fn fill(&mut self) {
        let place = self.next_place();
        let lowest = self.free.pop_first();
        let slot = lowest.unwrap_or(self.model.len());
        assert_eq!(self.places.next_slot(), Some(slot as u32));
        self.places.fill(slot as u32, place);
        match lowest {
            Some(_) => self.model[slot] = Some(place),
            None => self.model.push(Some(place)),
        }
    }

    fn take(&mut self, step: &Step) {
        let len = self.model.len();
        match *step {
            Step::Fill(count) => (0..count).for_each(|_| self.fill()),
            Step::Free(from, to, stays) => {
                for slot in from * len / 1000..to * len / 1000 {
                    let is_left = (slot * 7919 + 13) % 1009 % stays == stays - 1 && stays > 1;
                    if !is_left && let Some(place) = self.model[slot].take() {
                        assert_eq!(self.places.free(slot as u32), place);
                        self.free.insert(slot);
                    }
                }
            }
            Step::Replace(count) => {
                for slot in (0..count).map(|number| number * 7919) {
                    let place = self.next_place();
                    if let Some(Some(there)) = self.model.get_mut(slot) {
                        let old = std::mem::replace(there, place);
                        assert_eq!(self.places.replace(slot as u32, place), old);
                    }
                }
            }
            Step::Begin => self.places.begin_packing(),
            Step::Pack(blocks) => self.places.pack(blocks * BLOCK),
            Step::Trim(count) => {
                self.places.trim(count);
                for _ in 0..count {
                    self.model.pop_if(|last| last.is_none());
                }
                self.free.split_off(&self.model.len());
            }
        }
    }

    fn check(&self) {
        let places = &self.places;
        assert_eq!(places.len(), self.model.len());
        for (slot, place) in (0..).zip(&self.model) {
            assert_eq!(places.is_used(slot), place.is_some(), "slot {slot}");
            let looked = places.look(slot).filter(|place| *place != NOWHERE);
            assert_eq!(looked, *place, "slot {slot}");
            if let Some(place) = place {
                assert_eq!(places.get(slot), *place, "slot {slot}");
            }
            places.prefetch(slot);
        }
        let end = self.model.len() as u32;
        assert!(!places.is_used(end) && places.look(end).is_none());
        self.check_walk();
        self.check_counts();
    }

    /// A walk finds all places once.
    fn check_walk(&self) {
        let (mut slot, mut found) = (0, Vec::new());
        while let Some(visit) = self.places.visit(slot) {
            if visit.place != NOWHERE {
                found.push((slot as usize, visit.place));
            }
            assert!(visit.next > slot);
            slot = visit.next;
        }
        let in_use = self.model.iter().enumerate();
        let in_use = in_use.filter_map(|(slot, place)| place.map(|place| (slot, place)));
        assert!(found.into_iter().eq(in_use));
    }

    /// What is counted on the way is what there is.
    fn check_counts(&self) {
        let places = &self.places;
        let bytes = places.pieces.iter().map(Piece::memory_bytes);
        assert_eq!(places.pieces_bytes, bytes.sum::<usize>());
        for (number, piece) in places.pieces.iter().enumerate() {
            let start = Few::start(number);
            let slots = self.model.iter().skip(start).take(piece.array().len());
            assert_eq!(piece.free(), slots.filter(|place| place.is_none()).count());
            piece.check();
        }
    }

    /// Packs all that is worth it.
    fn pack_all(&mut self) {
        self.places.begin_packing();
        while self.places.is_packing() {
            self.places.pack(BLOCK);
        }
    }

    /// Packed, all is at most twice what the places take that are in use, and half as much again where a
    /// piece was filled while it was packed, but for what is too little.
    fn check_bytes(&self) {
        let in_use = self.model.len() - self.free.len();
        let pieces = self.places.pieces.len();
        let slots = Few::start(pieces);
        let spare = pieces * Few::SPARE_MIN * size_of::<u32>() + BLOCK * size_of::<u32>();
        let bound = in_use * 5 / 2 * size_of::<u32>() + slots / 1024 * 180 + spare;
        let held = self.places.pieces_bytes;
        assert!(
            held <= bound,
            "{held} bytes, {bound} for {in_use} of {slots}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn places_are_what_a_list_holds_however_they_are_packed(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut pair = Pair::default();
        for step in &steps {
            pair.take(step);
            pair.check_counts();
        }
        pair.check();
        pair.pack_all();
        pair.check();
        pair.check_bytes();
        // Filled again, all is in arrays, but for the last block at the most.
        (0..pair.free.len() + 1).for_each(|_| pair.fill());
        pair.check();
        pair.pack_all();
        pair.check();
        for (number, piece) in pair.places.pieces.iter().enumerate() {
            let slots = pair.model.len().saturating_sub(Few::start(number));
            prop_assert!(piece.array().len() + BLOCK > slots.min(piece.size()));
        }
    }
}

#[test]
fn places_are_read_back_on_both_sides_of_every_seam() {
    let mut places: Places = Places::default();
    let large_start = <Places>::LARGE_START as u32;
    let count = large_start + 4 * 1024 * 1024 + 2;
    (0..count).for_each(|slot| places.fill(slot, !slot >> 1));
    assert_eq!(places.len(), count as usize);
    assert!((0..count).all(|slot| places.get(slot) == !slot >> 1));
    assert_eq!(places.look(count - 1), Some(!(count - 1) >> 1));
    assert_eq!(places.look(count), None);
    assert_eq!(places.replace(large_start, 7), !large_start >> 1);
    assert_eq!(places.get(large_start), 7);
    let full = places.pieces_bytes;
    let bytes = count as usize * size_of::<u32>();
    assert!(
        (bytes..bytes + HUGE_PAGE_BYTES).contains(&full),
        "{full} of {bytes}"
    );
    let free = |places: &mut Places, slot| assert_ne!(places.free(slot), NOWHERE);
    (count - 3..count).for_each(|slot| free(&mut places, slot));
    places.trim(3);
    assert_eq!(places.pieces_bytes, full, "it may grow again");
    (count - 20_000..count - 3).for_each(|slot| free(&mut places, slot));
    places.trim(20_000);
    assert!(places.pieces_bytes < full, "a piece was given back");
    assert_eq!(places.len(), count as usize - 20_000);
    // Nine of ten are free: the large piece is packed with the others.
    for slot in (0..count - 20_000).filter(|slot| slot % 10 != 3) {
        places.free(slot);
    }
    let before = places.memory_bytes();
    places.begin_packing();
    while places.is_packing() {
        assert!(places.pieces_bytes < full + full / 8);
        places.pack(32 * 1024);
    }
    let after = places.memory_bytes();
    assert!(after < before / 6, "{after} bytes of {before}");
    for slot in (0..count - 20_000).filter(|slot| slot % 10 == 3) {
        assert!(places.is_used(slot) && !places.is_used(slot + 1));
        let place = if slot == large_start { 7 } else { !slot >> 1 };
        assert_eq!(places.get(slot), place);
    }
    for slot in (0..count - 20_000).filter(|slot| slot % 10 == 3) {
        places.free(slot);
    }
    places.trim(count as usize);
    assert_eq!((places.len(), places.next_slot()), (0, Some(0)));
    assert!(places.pieces_bytes <= 2 * 16 * 1024 * size_of::<u32>());
    places.fill(0, 3);
    assert_eq!((places.get(0), places.len()), (3, 1));
}
