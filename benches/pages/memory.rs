//! What keys and values take of the machine's memory, each kind in a process of its own.

use crate::lookups::{filled, parsed, value};
use crate::process;
use crate::redis_server::Redis;
use crate::shapes::{Shape, by_name};
use std::process::Command;

/// In a process of its own: fills a key map, changes all of it, and prints what each step takes.
pub fn measure(name: &str, keys: usize) {
    let shape = by_name(name, keys).expect("the caller had it");
    let resident = || process::resident_bytes(std::process::id());
    let before = resident();
    let mut map = filled(&shape.keys);
    let count = map.len() as f64;
    let per_key = || (resident().saturating_sub(before)) as f64 / count;
    let counted = map.heap_bytes() as f64 / count;
    let full = per_key();
    for key in &shape.keys {
        map.set(&parsed(key), value(LONG));
    }
    let long = per_key();
    for key in &shape.keys {
        map.set(&parsed(key), value("12345678901234567890123456789012"));
    }
    let short_again = per_key();
    for key in &shape.keys {
        map.delete(&parsed(key));
        while let Some(job) = map.next_job() {
            crate::finish(job, |outcome| map.finish(outcome));
        }
    }
    println!(
        "{full:.1} | {counted:.1} | {long:.1} | {short_again:.1} | {:.1}",
        per_key()
    );
}

/// A value of 200 bytes.
const LONG: &str = "12345678901234567890123456789012345678901234567890123456789012345678901234567890\
    12345678901234567890123456789012345678901234567890123456789012345678901234567890\
    1234567890123456789012345678901234567890";

/// A line of the table.
pub fn report(shape: &Shape, name: &str, wanted: usize) {
    let program = std::env::current_exe().expect("this program has a file");
    let output = Command::new(program)
        .args(["memory-of", name, &wanted.to_string()])
        .output();
    let output = output.expect("this program runs");
    let ours = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let redis = Redis::start().map(|mut redis| {
        redis.set_values(&shape.keys);
        let values = redis.resident_bytes();
        redis.add_to_sets(&shape.keys);
        (values, redis.resident_bytes())
    });
    let keys = shape.keys.len() as f64;
    let redis = redis.map_or("- | -".into(), |(values, sets)| {
        format!("{:.0} | {:.0}", values as f64 / keys, sets as f64 / keys)
    });
    println!("| {} {} | {ours} | {redis} |", shape.keys.len(), shape.name);
}
