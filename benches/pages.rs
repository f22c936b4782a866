//! What a page of a search costs, at rest and with a large merge under way, and what the index
//! takes, against a tree that is walked and filtered, a hash table that is scanned, and two FSTs.
//!
//! Prints Markdown. Arguments: numbers of keys (default 10000), and shapes of these, `user`, `npm`
//! or `uuid` (default all). Package names are taken from the folder of `make demo` where they are
//! there. As a test it runs the smallest size.

use fst::{IntoStreamer, Streamer};
use kvstore::keymap::{Finish, KeyIndex, Lane, Outcome};
use kvstore::model::Filter;
use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

const PAGE: usize = 100;

/// How long one measurement may take, and how often it is repeated at the most.
const PATIENCE: Duration = Duration::from_millis(300);
const REPEATS_MAX: usize = 1001;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (sizes, words): (Vec<usize>, Vec<&String>) = (
        arguments
            .iter()
            .filter_map(|word| word.parse().ok())
            .collect(),
        arguments
            .iter()
            .filter(|word| word.parse::<usize>().is_err() && !word.starts_with('-'))
            .collect(),
    );
    let sizes = if sizes.is_empty() {
        vec![10_000]
    } else {
        sizes
    };
    let shapes: [(&str, Make); 3] = [("user", user), ("npm", names), ("uuid", identifiers)];
    for size in sizes {
        let wanted = shapes
            .iter()
            .filter(|(name, _)| words.is_empty() || words.iter().any(|word| word == name));
        for shape in wanted.filter_map(|(_, shape)| shape(size)) {
            report(&shape);
        }
    }
}

/// Makes a shape of so many keys, where it can.
type Make = fn(usize) -> Option<Shape>;

/// Keys of one kind, and what to search them for.
struct Shape {
    name: &'static str,
    keys: Vec<String>,
    /// From narrow to broad.
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    /// Both broad, and no key has both.
    disjoint: (String, String),
}

fn user(keys: usize) -> Option<Shape> {
    let fields = ["name", "mail", "created", "visits", "country"];
    let mut next = random();
    let mut name = || {
        let (user, field) = (next() % (keys as u64 * 4), next() as usize % 500);
        let extra = if field == 0 { "_old" } else { "" };
        format!("user:{user:010}:{}{extra}", fields[field % 5])
    };
    let narrow = format!("user:{:07}", keys / 1000);
    let broad = format!("user:{:04}", keys / 1_000_000);
    Some(Shape {
        name: "`user:<10 digits>:<field>`",
        keys: (0..keys).map(|_| name()).collect(),
        prefixes: [narrow.as_str(), &broad, ""].map(String::from).into(),
        suffixes: ["7:name_old", "77:mail", ":mail"].map(String::from).into(),
        disjoint: ("user:0".into(), "_ol".into()),
    })
}

fn names(keys: usize) -> Option<Shape> {
    let folder = std::fs::read_dir("target/demo").ok()?;
    let mut files = folder.flatten().map(|entry| entry.path().join("names.txt"));
    let file = files.find(|path| path.exists())?;
    let text = std::fs::read_to_string(file).ok()?;
    let lines = text.lines().count();
    let step = (lines / keys.min(lines)).max(1);
    Some(Shape {
        name: "npm package names",
        keys: text
            .lines()
            .step_by(step)
            .take(keys)
            .map(String::from)
            .collect(),
        prefixes: ["react-native-", "react", ""].map(String::from).into(),
        suffixes: ["-webpack-plugin", "-cli", "s"].map(String::from).into(),
        disjoint: ("react-".into(), "-vue".into()),
    })
}

fn identifiers(keys: usize) -> Option<Shape> {
    let mut next = random();
    let mut name = || {
        let (a, b) = (next(), next());
        let (c, d) = (a >> 32, b & 0xffff_ffff_ffff);
        format!(
            "{c:08x}-{:04x}-4{:03x}-{:04x}-{d:012x}",
            a & 0xffff,
            a >> 16 & 0xfff,
            b >> 48
        )
    };
    Some(Shape {
        name: "UUIDs",
        keys: (0..keys).map(|_| name()).collect(),
        prefixes: ["00ff", "7", ""].map(String::from).into(),
        suffixes: ["ff00", "7f", "7"].map(String::from).into(),
        disjoint: ("7".into(), "-".into()),
    })
}

/// SplitMix64 (Steele, Lea and Flood 2014), so that every run has the same keys.
fn random() -> impl FnMut() -> u64 {
    let mut state = 0_u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn report(shape: &Shape) {
    let keys: BTreeSet<&[u8]> = shape.keys.iter().map(String::as_bytes).collect();
    println!("\n### {} {}\n", keys.len(), shape.name);
    let at_rest = build(shape, Merges::AllDone);
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
    let merging = build(shape, Merges::LargeHeldBack);
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
    println!(
        "| prefix | suffix | matches | kvstore | merging | tree walk | hash scan | two FSTs |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    let mut worst = (0.0_f64, 0.0_f64);
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
        println!(
            "| {} | {} | {} | {index:.1} | {busy:.1} | {tree:.1} | {scan:.0} | {fsts:.1} |",
            shown(&prefix),
            shown(&suffix),
            expected.0
        );
        worst = (worst.0.max(index), worst.1.max(busy));
    }
    println!(
        "\nWorst mix: {:.0} µs at rest, {:.0} µs while merging.",
        worst.0, worst.1
    );
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
fn build(shape: &Shape, merges: Merges) -> KeyIndex {
    let mut index = KeyIndex::default();
    let mut held: Vec<Outcome> = Vec::new();
    for (slot, key) in (0..).zip(&shape.keys) {
        if index.find(key.as_bytes()).is_some() {
            continue;
        }
        index.insert(key.as_bytes(), slot);
        while let Some(job) = index.next_job() {
            let late = slot as usize > shape.keys.len() * 2 / 3;
            let hold = merges == Merges::LargeHeldBack && late && job.lane() == Lane::Large;
            let outcome = job.run();
            if hold {
                held.push(outcome);
            } else {
                finish(&mut index, outcome);
            }
        }
    }
    index
}

fn finish(index: &mut KeyIndex, mut outcome: Outcome) {
    while let Finish::Again(again) = index.finish(outcome) {
        outcome = again.run();
    }
}

/// The total, and the keys of the first page.
type Answer = (usize, Vec<Vec<u8>>);

fn by_index(index: &KeyIndex, filter: &Filter) -> Answer {
    let total = index.count(filter);
    let (mut found, mut after) = (Vec::new(), Vec::new());
    loop {
        let page = index.page(filter, &after, PAGE - found.len());
        found.extend(page.keys.iter().map(<[u8]>::to_vec));
        match page.resume {
            Some(resume) if found.len() < PAGE => after = resume.into(),
            _ => return (total, found),
        }
    }
}

fn by_walk(keys: &BTreeSet<&[u8]>, filter: &Filter) -> Answer {
    let from = keys.range(filter.prefix.as_slice()..);
    let walked = from.take_while(|key| key.starts_with(&filter.prefix));
    let (mut total, mut found) = (0, Vec::new());
    for key in walked.filter(|key| key.ends_with(&filter.suffix)) {
        total += 1;
        if found.len() < PAGE {
            found.push(key.to_vec());
        }
    }
    (total, found)
}

fn by_scan(keys: &HashSet<&[u8]>, filter: &Filter) -> Answer {
    let mut found: Vec<&[u8]> = keys
        .iter()
        .copied()
        .filter(|key| filter.matches(key))
        .collect();
    let total = found.len();
    found.sort_unstable();
    (
        total,
        found.into_iter().take(PAGE).map(<[u8]>::to_vec).collect(),
    )
}

/// Walks the FST of the longer filter, and tests for the other.
fn by_fsts(forward: &fst::Set<Vec<u8>>, backward: &fst::Set<Vec<u8>>, filter: &Filter) -> Answer {
    let reverse = filter.suffix.len() > filter.prefix.len();
    let (set, start) = if reverse {
        (backward, filter.suffix.iter().rev().copied().collect())
    } else {
        (forward, filter.prefix.clone())
    };
    let mut stream = set.range().ge(&start).into_stream();
    let (mut total, mut found) = (0, Vec::new());
    while let Some(key) = stream.next() {
        if !key.starts_with(&start) {
            break;
        }
        let key: Vec<u8> = if reverse {
            key.iter().rev().copied().collect()
        } else {
            key.to_vec()
        };
        if filter.matches(&key) {
            total += 1;
            if reverse || found.len() < PAGE {
                found.push(key);
            }
        }
    }
    found.sort_unstable();
    found.truncate(PAGE);
    (total, found)
}

/// The median time of some runs, in microseconds. The first is not counted.
fn median_us(run: impl Fn()) -> f64 {
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
