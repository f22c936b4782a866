//! Matrices against the sequences that they hold.

use super::*;
use proptest::prelude::*;

fn sizes() -> impl Strategy<Value = usize> {
    prop_oneof![
        Just(0usize),
        Just(1),
        Just(2),
        Just(63),
        Just(64),
        Just(65),
        Just(447),
        Just(448),
        Just(449),
        Just(1023),
        Just(1024),
        Just(1025),
        0usize..700
    ]
}

fn sequence() -> impl Strategy<Value = (Vec<u32>, u32)> {
    prop_oneof![
        // A permutation, as a segment's.
        sizes()
            .prop_flat_map(|n| Just((0..n as u32).collect::<Vec<_>>()).prop_shuffle())
            .prop_map(|values| {
                let bound = values.len() as u32;
                (values, bound)
            }),
        // Some values of a larger range, as a dead index's.
        (1u32..5000, sizes())
            .prop_flat_map(|(bound, n)| { (prop::collection::vec(0..bound, n), Just(bound)) }),
    ]
}

proptest! {
    #[test]
    fn rectangles_count_and_list_as_a_naive_filter_does(
        (values, bound) in sequence(),
        corners: [u32; 4],
        limit in 0usize..40,
    ) {
        let matrix = WaveletMatrix::new(values.iter().copied().collect(), bound);
        let n = values.len() as u32 + 1;
        let positions = (corners[0] % n).min(corners[1] % n)..(corners[0] % n).max(corners[1] % n);
        let edge = bound + 2;
        let wanted = (corners[2] % edge).min(corners[3] % edge)..(corners[2] % edge).max(corners[3] % edge);
        let all = values[positions.start as usize..positions.end as usize].to_vec();
        let mut naive: Vec<u32> = values[positions.start as usize..positions.end as usize]
            .iter().copied().filter(|value| wanted.contains(value)).collect();
        naive.sort_unstable();
        prop_assert_eq!(matrix.count(positions.clone(), wanted.clone()) as usize, naive.len());
        let mut found = vec![7];
        let complete = matrix.first(positions.clone(), wanted.clone(), limit, |_, _| false, &mut found);
        let found = &found[1..];
        prop_assert_eq!(found, &naive[..found.len()]);
        prop_assert!(found.len() >= naive.len().min(limit));
        prop_assert!(!complete || found.len() == naive.len());
        // Every range of values is void whose values are all odd or beyond those at hand.
        let mut kept = Vec::new();
        let void = |range: Range<u32>, count: u32| {
            let held = all.iter().filter(|value| range.contains(value));
            assert_eq!(held.clone().count(), count as usize);
            held.clone().all(|value| value % 2 == 1)
        };
        let complete = matrix.first(positions, wanted, 10_000, void, &mut kept);
        prop_assert!(complete);
        naive.retain(|value| value % 2 == 0);
        kept.retain(|value| value % 2 == 0);
        prop_assert_eq!(kept, naive);
    }
}

proptest! {
    #[test]
    fn an_ascent_counts_and_finds_as_a_naive_filter_does(
        (values, bound) in sequence(),
        corners: [u32; 2],
        bounds in prop::collection::vec((any::<prop::sample::Index>(), 0..9_u32), 1..40),
        is_ascending: bool,
    ) {
        let matrix = WaveletMatrix::new(values.iter().copied().collect(), bound);
        let n = values.len() as u32 + 1;
        let positions = (corners[0] % n).min(corners[1] % n)..(corners[0] % n).max(corners[1] % n);
        let mut naive = values[positions.start as usize..positions.end as usize].to_vec();
        naive.sort_unstable();
        // Bounds at and close to values, and beyond all.
        let mut bounds: Vec<u32> = bounds.iter().map(|(at, by)| match naive.len() {
            0 => at.index(bound as usize + 300) as u32,
            len if *by < 4 => naive[at.index(len)] + by,
            _ => at.index(bound as usize + 300) as u32,
        }).collect();
        if is_ascending {
            bounds.sort_unstable();
        }
        let mut ascent = matrix.ascent(positions);
        for bound in bounds {
            let below = naive.partition_point(|value| *value < bound);
            let expected = Reached { below: below as u32, next: naive.get(below).copied() };
            prop_assert_eq!(ascent.to(bound).0, expected, "at {}", bound);
            // What is known is not looked for again.
            prop_assert_eq!(ascent.to(bound), (expected, 0));
            if let Some(next) = expected.next {
                prop_assert_eq!(ascent.to(next), (expected, 0));
            }
        }
        // From one to the next, all are met.
        let mut at = 0;
        for (below, value) in (0..).zip(&naive) {
            if *value >= at {
                let (reached, looks) = ascent.to(at);
                prop_assert_eq!(reached, Reached { below, next: Some(*value) });
                prop_assert!(looks <= 2 * (matrix.zeros.len() as u32 + 1));
                at = value + 1;
            }
        }
        prop_assert_eq!(ascent.to(at).0.next, None);
    }
}

#[test]
fn a_look_close_by_is_at_few_nodes() {
    let count = 1 << 20;
    let values = (0..count).map(|at: u32| at.wrapping_mul(0x9e37_79b1) % count);
    let matrix = WaveletMatrix::new(values.collect(), count);
    let mut ascent = matrix.ascent(0..count / 2);
    let looks: u32 = (0..1000).map(|step| ascent.to(step * 1000).1).sum();
    assert!(looks < 8 * 1000, "{looks} nodes");
}
