//! What keys and values take of the machine's memory, each kind in a process of its own.

use crate::lookups::{BODY, parsed, value};
use crate::process;
use crate::redis_server::Redis;
use crate::shapes::Shape;
use kvstore::keymap::KeyMap;
use kvstore::model::Key;
use std::io::{BufRead, BufWriter, Write};
use std::process::{Command, Stdio};

/// How often [`measure`] reads all keys.
const ROUNDS: usize = 4;

/// In a process of its own: reads so many keys a round, fills a key map, changes all of it, and
/// prints what each step takes. It holds nothing but the map.
pub fn measure(count: usize) {
    let resident = || process::resident_bytes(std::process::id());
    let before = resident();
    let per_key = || resident().saturating_sub(before) as f64 / count as f64;
    let mut map = KeyMap::default();
    let (mut input, mut line) = (std::io::stdin().lock(), String::new());
    let mut each = |map: &mut KeyMap, change: &dyn Fn(&mut KeyMap, Key)| {
        for _ in 0..count {
            line.clear();
            input.read_line(&mut line).expect("keys are written to us");
            change(map, parsed(line.trim_end_matches('\n')));
            while let Some(job) = map.next_job() {
                crate::finish(job, |outcome| map.finish(outcome));
            }
        }
        per_key()
    };
    let full = each(&mut map, &|map, key| {
        map.set(&key, value(BODY));
    });
    let counted = map.heap_bytes() as f64 / count as f64;
    let long = each(&mut map, &|map, key| {
        map.set(&key, value(LONG));
    });
    let short_again = each(&mut map, &|map, key| {
        map.set(&key, value(BODY));
    });
    let deleted = each(&mut map, &|map, key| {
        map.delete(&key);
    });
    assert!(map.is_empty(), "every key was written in every round");
    println!("{full:.1} | {counted:.1} | {long:.1} | {short_again:.1} | {deleted:.1}");
}

/// A value of 200 bytes.
const LONG: &str = "12345678901234567890123456789012345678901234567890123456789012345678901234567890\
    12345678901234567890123456789012345678901234567890123456789012345678901234567890\
    1234567890123456789012345678901234567890";

/// A line of the table.
pub fn report(shape: &Shape) {
    let ours = in_a_process_of_its_own(&shape.keys).expect("this program runs");
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

fn in_a_process_of_its_own(keys: &[String]) -> std::io::Result<String> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["memory-of", &keys.len().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = BufWriter::new(child.stdin.take().expect("it is piped"));
    for key in std::iter::repeat_n(keys, ROUNDS).flatten() {
        writeln!(input, "{key}")?;
    }
    input.flush()?;
    drop(input);
    let said = child.wait_with_output()?.stdout;
    Ok(String::from_utf8_lossy(&said).trim().to_owned())
}
