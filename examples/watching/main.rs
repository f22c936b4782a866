//! Measures watches: how soon an event comes, what watchers cost those who set, how many events one stream carries,
//! and how fast all keys come.
//!
//! ```text
//! watching KVSTORE [latency] [sets] [stream] [start]
//! ```
//!
//! Takes the binary to measure, and what of it; all where nothing is named. `ROUNDS` (5), `SECONDS` (30 for the
//! latency, a tenth of that for a round of sets) and `KEYS` (1000000) say how much. Each figure is a median of the
//! rounds with the least and the most, and what is compared has its turn in each round.

mod client;

use client::{Failure, Server};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Clients that set, each one key after the other.
const SETTERS: usize = 32;

/// Changes that are kept, so that nobody is cut off: in bytes.
const KEPT: &str = "1073741824";

/// What is measured, and how much of it.
struct Plan {
    binary: String,
    rounds: usize,
    seconds: f64,
    keys: usize,
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let binary = arguments.next().ok_or("give the binary of kvstore")?;
    let plan = Plan {
        binary,
        rounds: given("ROUNDS", 5.0)? as usize,
        seconds: given("SECONDS", 30.0)?,
        keys: given("KEYS", 1e6)? as usize,
    };
    let wanted: Vec<String> = arguments.collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    if is_wanted("latency") {
        latency(&plan)?;
    }
    if is_wanted("sets") {
        sets(&plan)?;
    }
    if is_wanted("stream") {
        stream(&plan)?;
    }
    if is_wanted("start") {
        start(&plan)?;
    }
    Ok(())
}

fn given(name: &str, default: f64) -> Result<f64, Failure> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(text.parse()?),
        _ => Ok(default),
    }
}

/// From the answer to a SET until its event is there, at a hundred a second. An event may be there before.
fn latency(plan: &Plan) -> Result<(), Failure> {
    const PAUSE: Duration = Duration::from_millis(10);
    let server = Server::start(&plan.binary, &[])?;
    let mut watch = server.lines("/watch?prefix=latency:")?;
    watch.line()?;
    let count = (plan.seconds / PAUSE.as_secs_f64()) as usize;
    let (sender, answered) = mpsc::channel();
    let setting = || -> Result<(), Failure> {
        let mut connection = server.connect()?;
        let begun = Instant::now();
        for number in 0..count {
            let due = begun + PAUSE * number as u32;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let status = connection.request("PUT", &format!("/set/latency:{number}"), b"1")?;
            sender.send(Instant::now())?;
            assert_eq!(status, 200);
        }
        Ok(())
    };
    let mut delays_us = thread::scope(|scope| -> Result<Vec<f64>, Failure> {
        let setter = scope.spawn(setting);
        let mut delays_us = Vec::new();
        while delays_us.len() < count {
            let line = watch.line()?.ok_or("the watch ended")?;
            let came = Instant::now();
            if line.contains("\"bookmark\"") {
                if setter.is_finished() {
                    return Err("an event of a SET did not come".into());
                }
            } else {
                let key = format!("\"latency:{}\"", delays_us.len());
                assert!(line.contains(&key), "{line} has {key}");
                let since = came.saturating_duration_since(answered.recv()?);
                delays_us.push(since.as_secs_f64() * 1e6);
            }
        }
        setter.join().map_err(|_| "the setter panicked")??;
        Ok(delays_us)
    })?;
    delays_us.sort_by(f64::total_cmp);
    let at = |share: f64| delays_us[((count - 1) as f64 * share) as usize];
    println!(
        "\nFrom the answer to a SET until its event came, 100 SETs a second, {count} of them:\n"
    );
    println!("| p50, µs | p99, µs | most, µs |\n|--:|--:|--:|");
    println!("| {:.0} | {:.0} | {:.0} |", at(0.5), at(0.99), at(1.0));
    Ok(())
}

/// Who watches while others set.
#[derive(Clone, Copy, Debug)]
enum Watching {
    Nobody,
    /// Ten who are told of every change.
    Matching,
    /// A thousand whose keys nobody sets.
    Others,
}

/// How many SETs are answered in a second, by who watches.
fn sets(plan: &Plan) -> Result<(), Failure> {
    let kinds = [Watching::Nobody, Watching::Matching, Watching::Others];
    let mut rates: [Vec<f64>; 3] = Default::default();
    for round in 0..plan.rounds {
        for turn in 0..kinds.len() {
            let which = (round + turn) % kinds.len();
            rates[which].push(set_rate(plan, kinds[which])?);
        }
    }
    let base = median(&rates[0]);
    println!(
        "\nSETs a second by {SETTERS} clients, {} rounds:\n",
        plan.rounds
    );
    println!("| who watches | SETs/s | least to most | of nobody |\n|---|--:|--:|--:|");
    for (name, rates) in ["nobody", "10 of these keys", "1,000 of other keys"]
        .iter()
        .zip(&rates)
    {
        let share = median(rates) / base;
        println!("| {name} | {} | {share:.3} |", figure(rates));
    }
    Ok(())
}

fn set_rate(plan: &Plan, watching: Watching) -> Result<f64, Failure> {
    let server = Server::start(&plan.binary, &[])?;
    let mut watches = Vec::new();
    match watching {
        Watching::Nobody => {}
        Watching::Matching => {
            for _ in 0..10 {
                watches.push(server.lines("/watch?prefix=user:")?);
            }
        }
        Watching::Others => {
            for number in 0..1000 {
                watches.push(server.lines(&format!("/watch?prefix=other:{number}:"))?);
            }
        }
    }
    let is_over = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    let begun = Instant::now();
    let setting = |number: usize| -> Result<(), Failure> {
        let mut connection = server.connect()?;
        let mut turn = number;
        while !is_over.load(Ordering::Relaxed) {
            let path = format!("/set/user:{:010}:name", turn % 100_000);
            let status = connection.request("PUT", &path, b"\"012345678901234567890123456789\"")?;
            assert_eq!(status, 200);
            answered.fetch_add(1, Ordering::Relaxed);
            turn += 7919;
        }
        Ok(())
    };
    thread::scope(|scope| -> Result<f64, Failure> {
        let setters: Vec<_> = (0..SETTERS)
            .map(|number| {
                let setting = &setting;
                scope.spawn(move || setting(number))
            })
            .collect();
        if matches!(watching, Watching::Matching) {
            for mut watch in watches {
                // It ends with the server.
                thread::spawn(move || watch.count(usize::MAX));
            }
        }
        thread::sleep(Duration::from_secs_f64(plan.seconds / 10.0));
        let rate = answered.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
        is_over.store(true, Ordering::Relaxed);
        for setter in setters {
            setter.join().map_err(|_| "a setter panicked")??;
        }
        Ok(rate)
    })
}

/// How many events a second one stream carries: beside an import, and to a reader that was away for all of it.
fn stream(plan: &Plan) -> Result<(), Failure> {
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..plan.rounds {
        rates[0].push(beside_import(plan)?);
        rates[1].push(catching_up(plan, "", &["--changes-bytes-max", KEPT])?);
        rates[2].push(catching_up(
            plan,
            "&values=true",
            &["--changes-bytes-max", KEPT],
        )?);
        let directory =
            std::env::temp_dir().join(format!("kvstore-watching-{}", std::process::id()));
        let at = directory.to_str().ok_or("the directory's name is text")?;
        let logged = [
            "--data-dir",
            at,
            "--changes-bytes-max",
            "1000000",
            "--log-bytes-max",
            "4294967296",
        ];
        let rate = catching_up(plan, "", &logged);
        std::fs::remove_dir_all(&directory)?;
        rates[3].push(rate?);
    }
    println!(
        "\nEvents a second that one stream carries, {} keys:\n",
        plan.keys
    );
    println!("| | events/s | least to most |\n|---|--:|--:|");
    let names = [
        "beside the import of the keys",
        "catching up, from memory",
        "catching up, from memory, with values",
        "catching up, from the log",
    ];
    for (name, rates) in names.iter().zip(&rates) {
        println!("| {name} | {} |", figure(rates));
    }
    Ok(())
}

fn beside_import(plan: &Plan) -> Result<f64, Failure> {
    let server = Server::start(&plan.binary, &["--changes-bytes-max", KEPT])?;
    let mut watch = server.lines("/watch?prefix=user:")?;
    watch.line()?;
    thread::scope(|scope| -> Result<f64, Failure> {
        let import = scope.spawn(|| server.import(plan.keys));
        // From the first on.
        watch.line()?;
        let begun = Instant::now();
        // A bookmark more or less is none of the measure.
        let events = watch.count(plan.keys - 1)?;
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        import.join().map_err(|_| "the import panicked")??;
        Ok(rate)
    })
}

fn catching_up(plan: &Plan, query: &str, arguments: &[&str]) -> Result<f64, Failure> {
    let server = Server::start(&plan.binary, arguments)?;
    let path = format!("/watch?prefix=user:{query}");
    let bookmark = server.lines(&path)?.line()?.ok_or("the watch ended")?;
    let (_, id) = bookmark
        .split_once("\"id\":\"")
        .ok_or("a bookmark has an id")?;
    let (id, _) = id.split_once('"').ok_or("an id ends")?;
    server.import(plan.keys)?;
    let begun = Instant::now();
    let mut watch = server.lines(&format!("{path}&after={id}"))?;
    let events = watch.count(plan.keys)?;
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}

/// How long all keys take with their values, by a watch from the start and by a search.
fn start(plan: &Plan) -> Result<(), Failure> {
    let server = Server::start(&plan.binary, &[])?;
    server.import(plan.keys)?;
    let mut rates: [Vec<f64>; 2] = Default::default();
    for round in 0..plan.rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let path = [
                "/search?prefix=&values=true",
                "/watch?prefix=&values=true&from=start",
            ][which];
            let begun = Instant::now();
            let keys = server.lines(path)?.count(plan.keys)?;
            assert_eq!(keys.min(plan.keys), plan.keys);
            rates[which].push(plan.keys as f64 / begun.elapsed().as_secs_f64());
        }
    }
    let base = median(&rates[0]);
    println!("\nAll of {} keys with their values:\n", plan.keys);
    println!("| | keys/s | least to most | of the search |\n|---|--:|--:|--:|");
    for (name, rates) in ["search", "watch from the start"].iter().zip(&rates) {
        println!(
            "| {name} | {} | {:.3} |",
            figure(rates),
            median(rates) / base
        );
    }
    Ok(())
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn figure(rates: &[f64]) -> String {
    let least = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    format!("{:.0} | {least:.0} to {most:.0}", median(rates))
}
