//! Keys of ordinary kinds, the same in every run, and what to search them for.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// What the shapes are called.
pub const NAMES: [&str; 3] = ["user", "npm", "uuid"];

/// A shape of about so many keys, where it can be made.
pub fn by_name(name: &str, keys: usize) -> Option<Shape> {
    match name {
        "user" => user(keys),
        "npm" => names(keys),
        "uuid" => identifiers(keys),
        _ => None,
    }
}

/// Keys of one kind, and what to search them for.
pub struct Shape {
    pub name: &'static str,
    pub keys: Vec<String>,
    /// From narrow to broad.
    pub prefixes: Vec<String>,
    pub suffixes: Vec<String>,
    /// Both broad, and no key has both.
    pub disjoint: (String, String),
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
        keys: distinct((0..keys).map(|_| name()).collect()),
        prefixes: [narrow.as_str(), &broad, ""].map(String::from).into(),
        suffixes: ["7:name_old", "77:mail", ":mail"].map(String::from).into(),
        disjoint: ("user:0".into(), "_ol".into()),
    })
}

fn names(keys: usize) -> Option<Shape> {
    // Beside what cargo built, wherever that is.
    let built = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = std::fs::read_dir(built.with_file_name("demo")).ok()?;
    let mut files = folder.flatten().map(|entry| entry.path().join("names.txt"));
    let file = files.find(|path| path.exists())?;
    let text = std::fs::read_to_string(file).ok()?;
    let lines = text.lines().count();
    let step = (lines / keys.min(lines)).max(1);
    let names = text.lines().step_by(step).take(keys);
    let mut keys: Vec<String> = names.map(String::from).collect();
    shuffle(&mut keys);
    Some(Shape {
        name: "npm package names",
        keys,
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
pub fn random() -> impl FnMut() -> u64 {
    let mut state = 0_u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Names of packages come sorted; a service gets its keys in any order.
fn shuffle(keys: &mut [String]) {
    let mut next = random();
    for last in (1..keys.len()).rev() {
        keys.swap(last, (next() % (last as u64 + 1)) as usize);
    }
}

/// The keys without those that come twice.
fn distinct(mut keys: Vec<String>) -> Vec<String> {
    let mut hashes = HashSet::new();
    let hasher = RandomState::new();
    keys.retain(|key| hashes.insert(hasher.hash_one(key)));
    keys
}
