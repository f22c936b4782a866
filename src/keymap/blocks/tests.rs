//! Blocks against the lists of keys that they hold.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let key = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        prop::collection::vec(prop_oneof![Just(0), Just(0xff), Just(b'a')], 0..40),
        (0usize..1025).prop_map(|n| vec![b'x'; n]),
    ];
    prop::collection::btree_set(key, 0..100)
        .prop_map(|keys: BTreeSet<Vec<u8>>| keys.into_iter().collect())
}

fn table(keys: &[Vec<u8>], compressed: bool) -> Option<Arc<SymbolTable>> {
    let sample = keys.iter().map(Vec::as_slice);
    compressed.then(|| Arc::new(SymbolTable::train(sample)))
}

proptest! {
    #[test]
    fn every_key_reads_back_by_rank_by_walk_and_by_search(keys in keys(), probe: Vec<u8>, compressed: bool) {
        let mut builder = BlocksBuilder::new(keys.len(), 0, table(&keys, compressed));
        keys.iter().for_each(|key| builder.push(key));
        let blocks = builder.finish();
        prop_assert_eq!(blocks.len() as usize, keys.len());
        let mut walk = blocks.walk(0);
        for (rank, key) in (0..).zip(&keys) {
            let mut found = KeyBuffer::default();
            blocks.key_at(rank, &mut found);
            prop_assert_eq!(found.as_slice(), key);
            prop_assert_eq!(walk.advance(), Some(key.as_slice()));
            prop_assert_eq!(blocks.lower_bound(rank / BLOCK_KEYS, key), (rank, true));
        }
        prop_assert_eq!(walk.advance(), None);
        if !keys.is_empty() {
            let first = &keys[..keys.len().min(16)];
            for probe in first.iter().flat_map(|key| [[key, &[0][..]].concat(), key[..key.len() / 2].into()]).chain([probe]) {
                let naive = first.partition_point(|key| *key < probe) as u32;
                prop_assert_eq!(blocks.lower_bound(0, &probe), (naive, first.contains(&probe)));
            }
        }
    }

    #[test]
    fn a_walk_skips_to_any_rank_ahead(keys in keys(), from in 0u32..100, by in 0u32..100, compressed: bool) {
        let mut builder = BlocksBuilder::new(keys.len(), 0, table(&keys, compressed));
        keys.iter().for_each(|key| builder.push(key));
        let blocks = builder.finish();
        let mut walk = blocks.walk(from);
        walk.skip_to(from.saturating_add(by).max(walk.next_rank()));
        let expected = keys.get((from + by).max(from) as usize).map(Vec::as_slice);
        prop_assert_eq!(walk.advance(), expected);
    }
}

/// Keys in groups of few and of many, some of which have long beginnings, and the lengths that groups
/// begin alike for.
fn grouped_keys() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let sizes = prop_oneof![
        4 => 1..4_usize,
        2 => 10..40_usize,
        1 => 100..900_usize
    ];
    let group = (sizes, prop_oneof![4 => Just(0), 1 => 25..300_usize]);
    prop::collection::vec(group, 1..30).prop_map(|groups| {
        let mut keys = BTreeSet::new();
        for (group, (size, filler)) in groups.into_iter().enumerate() {
            // Some groups are within others.
            let text = [
                format!("{:02}", group / 2).into_bytes(),
                vec![b'x'; filler],
                vec![b'/'; group % 2],
            ];
            for key in 0..size {
                let rest = format!("{:04}", key * 7919 % 10_000).into_bytes();
                keys.insert([text.concat(), rest].concat());
            }
        }
        keys.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_walk_passes_all_that_begin_alike_and_no_more(
        keys in grouped_keys(),
        lengths in prop::collection::vec(1..8_usize, 1..8),
        skips in prop::collection::vec(0..40_u32, 1..8),
        compressed: bool,
    ) {
        let mut builder = BlocksBuilder::new(keys.len(), 0, table(&keys, compressed));
        keys.iter().for_each(|key| builder.push(key));
        let blocks = builder.finish();
        let mut walk = blocks.walk(0);
        let mut turns = lengths.iter().cycle().zip(skips.iter().cycle());
        let mut at = 0;
        while let Some(key) = keys.get(at) {
            prop_assert_eq!(walk.advance(), Some(key.as_slice()));
            let (length, skip) = turns.next().unwrap();
            // A key is mostly shorter than what it shares with those that follow where it begins with fillers.
            let text = &key[..key.len().saturating_sub(*length).max(1)];
            let looks = walk.pass_alike(text.len());
            prop_assert!(looks < 24, "{} looks", looks);
            prop_assert_eq!(walk.key(), key.as_slice());
            at += keys[at..].iter().take_while(|key| key.starts_with(text)).count();
            prop_assert_eq!(walk.next_rank() as usize, at);
            if skip % 3 == 0 {
                at = keys.len().min(at + *skip as usize);
                walk.skip_to(at as u32);
                prop_assert_eq!(walk.next_rank() as usize, at);
            }
        }
        prop_assert_eq!(walk.advance(), None);
    }
}

#[test]
fn groups_of_one_size_take_few_looks_each() {
    let mut builder = BlocksBuilder::new(0, 0, None);
    for number in 0..200_000 {
        builder.push(format!("{:03}/{number:06}", number / 2000).as_bytes());
    }
    let blocks = builder.finish();
    let mut walk = blocks.walk(0);
    let mut looks = Vec::new();
    while walk.advance().is_some() {
        looks.push(walk.pass_alike(4));
    }
    assert_eq!(looks.len(), 100);
    assert!(looks[1..].iter().all(|looks| *looks <= 5), "{looks:?}");
}
