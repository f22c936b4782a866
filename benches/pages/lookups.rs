//! Key to value, against a hash table in the same loop, and for how many keys the exact table of a
//! segment leads to as few blocks as can be: one where the key is there, and none where it is not.

use crate::shapes::{Shape, random};
use crate::{Merges, REPEATS_MAX, build, median_us};
use kvstore::keymap::{KeyIndex, KeyMap};
use kvstore::model::{ContentType, Key, Revision, Value};
use std::collections::HashMap;

/// How many keys are looked up in a row.
const PROBES: usize = 1000;

/// A value of 32 bytes.
pub const BODY: &str = "12345678901234567890123456789012";

pub fn filled(keys: &[String]) -> KeyMap {
    let mut map = KeyMap::default();
    for key in keys {
        map.set(&parsed(key), value(BODY));
        while let Some(job) = map.next_job() {
            crate::finish(job, |outcome| map.finish(outcome));
        }
    }
    map
}

pub fn parsed(key: &str) -> Key {
    Key::parse(key.to_owned().into(), 1024).expect("the names are keys")
}

pub fn value(body: &'static str) -> Value {
    Value {
        content_type: ContentType::JSON,
        body: bytes::Bytes::from_static(body.as_bytes()),
        revision: Revision(1),
        expires_at: None,
    }
}

pub fn report(shape: &Shape) {
    let map = filled(&shape.keys);
    let boxed = |key: &String| (Box::from(key.as_bytes()), Box::from(BODY.as_bytes()));
    let hash: HashMap<Box<[u8]>, Box<[u8]>> = shape.keys.iter().map(boxed).collect();
    let mut next = random();
    // Other probes every time, so that none is in the processor's cache.
    let mut batches = Vec::new();
    for _ in 0..=REPEATS_MAX {
        let key = |_| shape.keys[next() as usize % shape.keys.len()].clone();
        batches.push((0..PROBES).map(key).collect::<Vec<String>>());
    }
    let changed = |key: &String| {
        let middle = key.len() / 2;
        parsed(&format!("{}\u{1}{}", &key[..middle], &key[middle..]))
    };
    let hits: Vec<Vec<Key>> = batches
        .iter()
        .map(|keys| keys.iter().map(|key| parsed(key)).collect())
        .collect();
    let misses: Vec<Vec<Key>> = batches
        .iter()
        .map(|keys| keys.iter().map(changed).collect())
        .collect();
    let index = build(&shape.keys, Merges::AllDone);
    for (what, probes, found) in [("hit", hits, PROBES), ("miss", misses, 0)] {
        let least = found / PROBES;
        let percent = percent_with(&index, least, probes.iter().flatten());
        let mut turn = probes.iter().cycle();
        let ours = median_us(|| {
            let keys = turn.next().expect("a cycle has no end").iter();
            assert_eq!(
                keys.filter_map(|key| map.get(key))
                    .map(|value| value.body.len())
                    .sum::<usize>(),
                found * BODY.len()
            );
        });
        let mut turn = probes.iter().cycle();
        let theirs = median_us(|| {
            let keys = turn.next().expect("a cycle has no end").iter();
            let bodies = keys.filter_map(|key| hash.get(key.as_bytes()));
            assert_eq!(
                bodies.map(|body| body.len()).sum::<usize>(),
                found * BODY.len()
            );
        });
        println!(
            "| {} {} | {what} | {:.2} | {:.2} | {:.1} | {percent:.1} |",
            map.len(),
            shape.name,
            ours / PROBES as f64,
            theirs / PROBES as f64,
            ours / theirs
        );
    }
}

/// For how many of some keys so many blocks are read, in percent of those that tables decide on.
fn percent_with<'a>(index: &KeyIndex, blocks: usize, keys: impl Iterator<Item = &'a Key>) -> f64 {
    let (mut as_many, mut all) = (0, 0);
    for key in keys {
        let mut read = 0;
        let found = index.find_with(key.as_bytes(), |_| read += 1);
        // A key that was found without was in a tree.
        if found.is_none() || read > 0 {
            as_many += usize::from(read == blocks);
            all += 1;
        }
    }
    as_many as f64 * 100.0 / all as f64
}
