//! What a page of a search costs, at rest and with a large merge under way, and what the index
//! takes, against a tree that is walked and filtered, a hash table that is scanned, two FSTs, and
//! Redis; what a lookup costs against a hash table; what mass deletes leave behind.
//!
//! Prints Markdown. Arguments: numbers of keys (default 10000); shapes of these, `user`, `npm` or
//! `uuid` (default all); and parts of the report, `pages`, `lookups`, `groups`, `deletes` or `memory`
//! (default the first two). `redis` adds Redis to the pages, `plot` writes `docs/pages.svg`. Package
//! names are taken from the folder of `make demo` where they are there. As a test it runs the
//! smallest size.

mod deletes;
mod groups;
mod lookups;
mod memory;
mod plot;
mod process;
mod redis_server;
mod rivals;
mod shapes;
mod store;

use kvstore::keymap::{Finish, Job, KeyIndex, Lane, Outcome};
use kvstore::model::Filter;
use plot::Series;
use redis_server::Redis;
use rivals::{by_fsts, by_index, by_scan, by_walk};
use shapes::Shape;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use store::Hosted;

/// The server's, since what it keeps of memory that was freed is part of what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PAGE: usize = 100;

/// How long one measurement may take, and how often it is repeated at the most.
const PATIENCE: Duration = Duration::from_millis(300);
const REPEATS_MAX: usize = 1001;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [command, keys] = &words[..]
        && command == "memory-of"
    {
        memory::measure(keys.parse().expect("a number of keys"));
        return;
    }
    let asks = |word: &str| words.iter().any(|asked| asked == word);
    let sizes: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let sizes = if sizes.is_empty() {
        vec![10_000]
    } else {
        sizes
    };
    let any_shape = shapes::NAMES.iter().any(|name| asks(name));
    let wanted: Vec<&str> = shapes::NAMES
        .into_iter()
        .filter(|name| !any_shape || asks(name))
        .collect();
    let any_part = ["pages", "lookups", "groups", "deletes", "memory"]
        .iter()
        .any(|part| asks(part));
    let each = |title: &str, head: &str, report: &dyn Fn(&Shape)| {
        println!("\n## {title}\n\n{head}");
        for size in &sizes {
            for name in &wanted {
                if let Some(shape) = shapes::by_name(name, *size) {
                    report(&shape);
                }
            }
        }
    };
    if !any_part || asks("pages") {
        println!("## Pages");
        let mut drawn: Vec<Series> = Vec::new();
        for name in &wanted {
            let mut points = Vec::new();
            for shape in sizes.iter().filter_map(|size| shapes::by_name(name, *size)) {
                let redis = if asks("redis") { Redis::start() } else { None };
                let (ours, tree) = report(&shape, redis);
                points.push((shape.keys.len() as f64, ours, tree));
            }
            drawn.push(Series { name, points });
        }
        if asks("plot") {
            plot::draw(Path::new("docs/pages.svg"), &drawn);
        }
    }
    if !any_part || asks("lookups") {
        let head = "| keys | | kvstore µs | hash table µs | ratio | as few blocks as can be, % |\n\
                    |---|---|--:|--:|--:|--:|";
        each("Lookups", head, &lookups::report);
    }
    if asks("groups") {
        let head = "| keys | prefix | suffix | delimiter | groups | keys in these | groups, µs \
                    | keys, µs | ratio |\n|---|---|---|---|--:|--:|--:|--:|--:|";
        each("Groups", head, &groups::report);
    }
    if asks("deletes") {
        let head = "| keys | deleted | settled, µs | never held them, µs | ratio |\n\
                    |---|---|--:|--:|--:|";
        each("Deletes", head, &deletes::report);
    }
    if asks("memory") {
        let head = "| keys | kvstore | as it counts | values of 200 B | of 32 B again | all deleted \
                    | Redis, values | and two sorted sets |\n|---|--:|--:|--:|--:|--:|--:|--:|";
        each("Memory", head, &memory::report);
    }
}

/// Prints the pages of a shape, and returns the worst mix of the key index and of the tree.
fn report(shape: &Shape, mut redis: Option<Redis>) -> (f64, f64) {
    let keys: BTreeSet<&[u8]> = shape.keys.iter().map(String::as_bytes).collect();
    println!("\n### {} {}\n", keys.len(), shape.name);
    let at_rest = build(&shape.keys, Merges::AllDone);
    let stats = at_rest.stats();
    let per_key = |bytes: usize| bytes as f64 / keys.len() as f64;
    let parts: Vec<String> = stats
        .segment_bytes
        .by_part()
        .iter()
        .map(|(part, bytes)| format!("{part} {:.2}", per_key(*bytes)))
        .collect();
    let merged_us = stats.merged_for.as_secs_f64() * 1e6;
    println!(
        "{:.1} bytes a key at rest ({}); {} segments; merges took {:.2} µs a key.\n",
        per_key(at_rest.heap_bytes()),
        parts.join(", "),
        stats.segments,
        merged_us / keys.len() as f64,
    );
    let merging = build(&shape.keys, Merges::LargeHeldBack);
    let hash: HashSet<&[u8]> = keys.iter().copied().collect();
    let forward = fst::Set::from_iter(&keys).expect("a set is sorted");
    let mut reversed: Vec<Vec<u8>> = keys
        .iter()
        .map(|key| key.iter().rev().copied().collect())
        .collect();
    reversed.sort_unstable();
    let backward = fst::Set::from_iter(&reversed).expect("it was sorted");
    println!(
        "Two FSTs of whole keys: {:.1} bytes a key. Median µs of a page of {PAGE} with the exact \
         total; {} segments while a large merge is under way.\n",
        per_key(forward.as_fst().size() + backward.as_fst().size()),
        merging.stats().segments,
    );
    let hosted = Hosted::filled(&shape.keys);
    if let Some(redis) = &mut redis {
        redis.add_to_sets(&shape.keys);
    }
    println!(
        "| prefix | suffix | matches | kvstore | merging | 2 shards | tree walk | hash scan \
         | two FSTs | Redis |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut worst = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (prefix, suffix) in mixes(shape) {
        let filter = Filter {
            prefix: prefix.clone().into(),
            suffix: suffix.clone().into(),
        };
        let expected = by_walk(&keys, &filter);
        let index = median_us(|| assert_eq!(by_index(&at_rest, &filter), expected));
        let busy = median_us(|| assert_eq!(by_index(&merging, &filter), expected));
        let tree = median_us(|| assert_eq!(by_walk(&keys, &filter), expected));
        let scan = median_us(|| assert_eq!(by_scan(&hash, &filter), expected));
        let fsts = median_us(|| assert_eq!(by_fsts(&forward, &backward, &filter), expected));
        let shards = median_us(|| assert_eq!(hosted.search(&filter), expected));
        let redis = redis.as_mut().map_or("-".into(), |redis| {
            let took = median_us(|| assert_eq!(redis.search(&filter), expected));
            format!("{took:.0}")
        });
        println!(
            "| {} | {} | {} | {index:.1} | {busy:.1} | {shards:.1} | {tree:.1} | {scan:.0} | {fsts:.1} | {redis} |",
            shown(&prefix),
            shown(&suffix),
            expected.0
        );
        worst = (
            worst.0.max(index),
            worst.1.max(busy),
            worst.2.max(shards),
            worst.3.max(tree),
        );
    }
    println!(
        "\nWorst mix: {:.0} µs at rest, {:.0} µs while merging, {:.0} µs in a store of 2 shards.",
        worst.0, worst.1, worst.2
    );
    (worst.0, worst.3)
}

/// A filter as a table shows it.
fn shown(filter: &str) -> String {
    if filter.is_empty() {
        "any".into()
    } else {
        format!("`{filter}`")
    }
}

fn mixes(shape: &Shape) -> Vec<(String, String)> {
    let none = String::new();
    let mut mixes = Vec::new();
    for prefix in &shape.prefixes {
        mixes.push((prefix.clone(), none.clone()));
        mixes.extend(
            shape
                .suffixes
                .iter()
                .map(|suffix| (prefix.clone(), suffix.clone())),
        );
    }
    mixes.push(shape.disjoint.clone());
    mixes
}

/// Which merges are done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Merges {
    AllDone,
    LargeHeldBack,
}

/// An index of the keys. Where large merges are held back, those of the last third are begun and
/// not ended, as while they run.
fn build(keys: &[String], merges: Merges) -> KeyIndex {
    let mut index = KeyIndex::default();
    let mut held: Vec<Job> = Vec::new();
    for (slot, key) in (0..).zip(keys) {
        if index.find(key.as_bytes()).is_some() {
            continue;
        }
        index.insert(key.as_bytes(), slot);
        while let Some(job) = index.next_job() {
            let late = slot as usize > keys.len() * 2 / 3;
            if merges == Merges::LargeHeldBack
                && late
                && matches!(job.lane(), Lane::Middle | Lane::Large)
            {
                held.push(job);
            } else {
                finish(job, |outcome| index.finish(outcome));
            }
        }
    }
    index
}

/// Does a job, and whatever it takes to put its outcome in place.
fn finish(job: Job, mut finish: impl FnMut(Outcome) -> Finish) {
    let mut outcome = job.run();
    while let Finish::Again(job) = finish(outcome) {
        outcome = job.run();
    }
}

/// The median time of some runs, in microseconds. The first is not counted.
fn median_us(mut run: impl FnMut()) -> f64 {
    let begun = Instant::now();
    let mut times = Vec::new();
    run();
    while times.len() < REPEATS_MAX && (times.is_empty() || begun.elapsed() < PATIENCE) {
        let start = Instant::now();
        run();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}
