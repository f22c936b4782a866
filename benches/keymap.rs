//! The key map against what one would use instead: a hash table that is scanned for a search, and
//! a tree that is walked and filtered. Every loop asserts its result.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kvstore::keymap::KeyMap;
use kvstore::model::{ContentType, Filter, Key, Revision, Value};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

const SIZES: [u32; 2] = [10_000, 100_000];
const PAGE: usize = 100;

fn name(number: u32) -> String {
    let fields = ["name", "mail", "created", "id"];
    format!("user:{:010}:{}", number / 4, fields[number as usize % 4])
}

fn key(number: u32) -> Key {
    Key::parse(name(number).into(), 1024).expect("the names are keys")
}

fn value() -> Value {
    Value {
        content_type: ContentType::JSON,
        body: "12345678901234567890123456789012".into(),
        revision: Revision(1),
        expires_at: None,
    }
}

fn filled(keys: u32) -> KeyMap {
    let mut map = KeyMap::default();
    for number in 0..keys {
        map.set(&key(number), value());
        map.settle();
    }
    map
}

fn get(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get");
    for keys in SIZES {
        let probes: Vec<Key> = (0..1024).map(|n| key(n * 7919 % keys)).collect();
        let map = filled(keys);
        group.bench_function(BenchmarkId::new("KeyMap", keys), |bencher| {
            let mut next = probes.iter().cycle();
            bencher.iter(|| {
                map.get(next.next().expect("a cycle has no end"))
                    .expect("it is there")
            });
        });
        let hash: HashMap<Key, Value> = (0..keys).map(|n| (key(n), value())).collect();
        group.bench_function(BenchmarkId::new("HashMap", keys), |bencher| {
            let mut next = probes.iter().cycle();
            bencher.iter(|| hash[next.next().expect("a cycle has no end")].clone());
        });
        let tree: BTreeMap<Key, Value> = (0..keys).map(|n| (key(n), value())).collect();
        group.bench_function(BenchmarkId::new("BTreeMap", keys), |bencher| {
            let mut next = probes.iter().cycle();
            bencher.iter(|| tree[next.next().expect("a cycle has no end")].clone());
        });
    }
    group.finish();
}

fn set(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set 10,000 new keys, merges included");
    group.sample_size(10);
    group.bench_function("KeyMap", |bencher| {
        bencher.iter(|| assert_eq!(filled(10_000).len(), 10_000));
    });
    group.bench_function("HashMap", |bencher| {
        bencher.iter(|| {
            let map: HashMap<Key, Value> = (0..10_000).map(|n| (key(n), value())).collect();
            assert_eq!(map.len(), 10_000);
        });
    });
    group.bench_function("BTreeMap", |bencher| {
        bencher.iter(|| {
            let map: BTreeMap<Key, Value> = (0..10_000).map(|n| (key(n), value())).collect();
            assert_eq!(map.len(), 10_000);
        });
    });
    group.finish();
}

/// The first page and the exact total.
fn search(criterion: &mut Criterion) {
    for (mix, prefix, suffix) in [
        ("prefix", "user:00000012", ""),
        ("suffix", "", ":mail"),
        ("both", "user:00000012", ":mail"),
    ] {
        let mut group = criterion.benchmark_group(format!("search by {mix}"));
        for keys in SIZES {
            let filter = Filter {
                prefix: prefix.into(),
                suffix: suffix.into(),
            };
            let matches = |key: &Key| filter.matches(key.as_bytes());
            let total = (0..keys).filter(|n| matches(&key(*n))).count();
            let map = filled(keys);
            group.bench_function(BenchmarkId::new("KeyMap", keys), |bencher| {
                bencher.iter(|| {
                    assert_eq!(map.count(&filter), total);
                    map.page(&filter, b"", PAGE)
                });
            });
            let hash: HashMap<Key, Value> = (0..keys).map(|n| (key(n), value())).collect();
            group.bench_function(BenchmarkId::new("HashMap scan", keys), |bencher| {
                bencher.iter(|| {
                    let mut found: Vec<&Key> = hash.keys().filter(|key| matches(key)).collect();
                    assert_eq!(found.len(), total);
                    found.sort_unstable();
                    found.truncate(PAGE);
                    black_box(found)
                });
            });
            let tree: BTreeMap<Key, Value> = (0..keys).map(|n| (key(n), value())).collect();
            let start = Key::parse(if prefix.is_empty() { "\0" } else { prefix }.into(), 1024);
            let start = start.expect("the prefixes are keys");
            group.bench_function(BenchmarkId::new("BTreeMap walk", keys), |bencher| {
                bencher.iter(|| {
                    let from = tree.range(&start..).map(|(key, _)| key);
                    let walked = from.take_while(|key| key.as_str().starts_with(prefix));
                    let mut found: Vec<&Key> = walked.filter(|key| matches(key)).collect();
                    assert_eq!(found.len(), total);
                    found.truncate(PAGE);
                    black_box(found)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, get, set, search);
criterion_main!(benches);
