//! A schedule against a list, and against the deadlines that it is to tell of.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Moments near and far, at the ends of digits and within.
fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..100,
        4000_u64..4200,
        (0_u32..47).prop_map(|bits| (1 << bits) - 1),
        (0_u32..47).prop_map(|bits| 1 << bits),
        0_u64..1 << 47,
    ]
}

proptest! {
    #[test]
    fn what_is_due_is_given_once_and_nothing_else(
        steps in prop::collection::vec((moment(), 0_u8..8, 1_usize..50), 1..300),
    ) {
        let mut schedule = Schedule::default();
        let mut model: Vec<(u32, u64)> = Vec::new();
        let mut now = 0;
        for (number, (at, kind, work)) in (0_u32..).zip(steps) {
            if kind > 1 {
                schedule.push(number, at);
                model.push((number, at));
                continue;
            }
            // Forward by little mostly, and now and then by much.
            now += if kind == 0 { at % 5000 } else { at };
            let mut left = work;
            while let Some(entry) = schedule.pop(now, &mut left) {
                let at = model.iter().position(|one| *one == (entry.slot, entry.at()));
                prop_assert!(entry.at() <= now);
                model.swap_remove(at.expect("it is given once"));
            }
            while left == 0 {
                left = work;
                while let Some(entry) = schedule.pop(now, &mut left) {
                    let at = model.iter().position(|one| *one == (entry.slot, entry.at()));
                    model.swap_remove(at.expect("it is given once"));
                }
            }
            prop_assert!(model.iter().all(|(_, at)| *at > now), "all that was due was given");
            prop_assert!(schedule.next_moment().is_none_or(|next| next > now));
            let first = model.iter().map(|(_, at)| *at).min();
            prop_assert!(schedule.next_moment() <= first);
            prop_assert_eq!(schedule.next_moment().is_some(), first.is_some());
            prop_assert_eq!(schedule.len, model.len());
        }
    }

    #[test]
    fn a_sweep_keeps_what_is_of_use_and_little_more(
        steps in prop::collection::vec((0_u32..20, 1_u64..1 << 20, 0_u8..10), 1..800),
        swept in 1_usize..6,
    ) {
        let mut schedule = Schedule::default();
        let mut deadlines: BTreeMap<u32, u64> = BTreeMap::new();
        let mut now = 0;
        for (slot, ahead, kind) in steps {
            match kind {
                0 => drop(deadlines.remove(&slot)),
                1 => {
                    now += ahead / 64;
                    while let Some(entry) = schedule.pop(now, &mut usize::MAX.clone()) {
                        match deadlines.get(&entry.slot) {
                            Some(deadline) if *deadline > now => schedule.push(entry.slot, *deadline),
                            _ => drop(deadlines.remove(&entry.slot)),
                        }
                    }
                    prop_assert!(!deadlines.values().any(|at| *at <= now), "what is due is given");
                    let first = deadlines.values().min();
                    prop_assert!(first.is_none() || schedule.next_moment() <= first.copied());
                    prop_assert_eq!(schedule.next_moment().is_some(), schedule.len > 0);
                }
                _ => {
                    let at = now + ahead;
                    let before = deadlines.insert(slot, at);
                    if before.is_none_or(|before| at < before) {
                        schedule.push(slot, at);
                    }
                }
            }
            if schedule.wants_sweep(deadlines.len()) {
                schedule.sweep(20, swept, |slot| deadlines.get(&slot).copied());
            }
        }
        while schedule.wants_sweep(deadlines.len()) {
            schedule.sweep(20, 100, |slot| deadlines.get(&slot).copied());
        }
        prop_assert!(schedule.len <= 2 * deadlines.len() + 16);
        // All that have a deadline are looked at no later than that.
        let mut left = deadlines.clone();
        for (slot, deadline) in deadlines {
            let mut work = usize::MAX;
            while let Some(entry) = schedule.pop(deadline, &mut work) {
                match left.get(&entry.slot) {
                    Some(later) if *later > deadline => schedule.push(entry.slot, *later),
                    _ => drop(left.remove(&entry.slot)),
                }
            }
            prop_assert!(!left.contains_key(&slot));
        }
    }
}

#[test]
fn an_entry_takes_twelve_bytes() {
    assert_eq!(size_of::<Entry>(), 12);
    let mut schedule = Schedule::default();
    for slot in 0..100_000 {
        schedule.push(slot, 1_700_000_000_000 + u64::from(slot));
    }
    assert!(schedule.heap_bytes() <= 16 * 100_000);
}
