//! Folding what watches give comes to the store at every quiet moment, for filters that are drawn: under writers of
//! all kinds at once, through merges, cuts and resumes.

use super::client::{State, Watch, equals_the_store, in_memory, state};
use crate::support::{JSON, LINES, Server, until};
use std::thread;
use tempfile::TempDir;

const ROUNDS: u64 = 3;
const WRITERS: u64 = 3;

/// What each writer does in a round.
const CHANGES: usize = 80;

/// More than a shard holds outside of segments.
const KEYS: usize = 40_000;

/// When values end that do so, but not soon.
const FAR: &str = "2999-12-31T23:59:59.999Z";

/// Numbers that look drawn (xorshift), by a seed that a failure names.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn key(&mut self) -> String {
        let letter = ["a", "b", "c"][self.below(3)];
        let end = ["", "x", "/y"][self.below(3)];
        format!("{letter}/{}{end}", self.below(40))
    }

    /// A filter that some keys match, most of which are of those that writers change one by one.
    fn filter(&mut self) -> String {
        let key = match self.below(5) {
            0 => format!("m/{}/{}", self.below(4), self.below(3000)),
            1 => format!("z/{}", self.below(KEYS)),
            _ => self.key(),
        };
        let prefix = &key[..self.below(key.len() + 1)];
        let suffix = &key[1 + self.below(key.len())..];
        match self.below(3) {
            0 => format!("prefix={prefix}"),
            1 => format!("suffix={suffix}"),
            _ => format!("prefix={prefix}&suffix={suffix}"),
        }
    }

    fn change(&mut self, server: &Server) {
        let key = self.key();
        let put = |query: String| server.put(&format!("/set/{key}{query}"), &[], b"1").status;
        let status = match self.below(12) {
            0..=3 => put(String::new()),
            4 => put(format!("?ttl_ms={}", 1 + self.below(50))),
            5 => put(format!("?expires_at={FAR}")),
            6 | 7 => server.delete(&format!("/delete/{key}")).status,
            8 => {
                let body = format!("{{\"ttl_ms\":{}}}", 1 + self.below(50));
                let path = format!("/expire/{key}");
                server.send("POST", &path, &[JSON], body.as_bytes()).status
            }
            9 => {
                server.fill((0..20).map(|_| self.key()));
                200
            }
            10 => {
                let group = self.below(4);
                server.fill((0..3000).map(|number| format!("m/{group}/{number}")));
                200
            }
            _ => {
                let (group, digit) = (self.below(4), self.below(10));
                let path = format!("/delete?prefix=m/{group}/&suffix={digit}");
                server.delete(&path).status
            }
        };
        assert!(matches!(status, 200 | 204 | 404), "{key}: {status}");
    }
}

/// A watch from the start, and what came of it.
struct Folding {
    filter: String,
    query: String,
    watch: Watch,
    state: State,
    /// Behind which event it goes on.
    id: String,
}

impl Folding {
    fn begin(server: &Server, drawn: &mut Drawn) -> Self {
        let filter = drawn.filter();
        let query = format!("{filter}{}", ["", "&values=true"][drawn.below(2)]);
        let mut watch = Watch::open(server, &format!("{query}&from=start"));
        let mut state = State::new();
        while !watch.fold(&mut state) {}
        let id = watch.last_id().expect("ready has an id");
        Self {
            filter,
            query,
            watch,
            state,
            id,
        }
    }

    /// Ends the connection, whatever is on it, and goes on behind what was folded last.
    fn resume(&mut self, server: &Server) {
        if let Some(id) = self.watch.last_id() {
            self.id = id;
        }
        let query = format!("{}&after={}", self.query, self.id);
        self.watch = Watch::open(server, &query);
    }
}

fn base(server: &Server) {
    let lines: String = (0..KEYS)
        .map(|number| format!("{{\"key\":\"z/{number}\",\"value\":{number}}}\n"))
        .collect();
    let set = server.send("POST", "/set", &[LINES], lines.as_bytes());
    assert_eq!(set.status, 200);
}

fn sample(server: &Server, name: &str) -> f64 {
    let metrics = server.get("/metrics");
    let mut lines = metrics.text().lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// Waits until whatever ends soon has ended.
fn settle(server: &Server) {
    until("all that ends has ended", || {
        let deadlines = sample(server, "kvstore_deadlines");
        let of_letter = |letter: &str| state(server, &format!("prefix={letter}/"));
        let found = ["a", "b", "c"].map(of_letter);
        let ending = found.iter().flat_map(State::values);
        let ending: Vec<&str> = ending.filter_map(|(_, ends)| ends.as_deref()).collect();
        let is_settled = ending.iter().all(|ends| *ends == FAR);
        (is_settled && deadlines == ending.len() as f64).then_some(())
    });
}

fn folds_to_the_store(server: &Server) {
    let seed = getrandom::u64().unwrap() | 1;
    println!("the seed is {seed}");
    let mut drawn = Drawn(seed);
    base(server);
    let mut all: Vec<Folding> = Vec::new();
    for round in 0..ROUNDS {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let mut drawn = Drawn(seed.rotate_left((1 + round * WRITERS + writer) as u32 * 5));
                scope.spawn(move || (0..CHANGES).for_each(|_| drawn.change(server)));
            }
            for _ in 0..5 {
                all.push(Folding::begin(server, &mut drawn));
                let which = drawn.below(all.len());
                all[which].resume(server);
            }
        });
        settle(server);
        // Some have not read a byte since the last quiet moment, and others come back.
        for folding in &mut all {
            if drawn.below(2) == 0 {
                folding.resume(server);
            }
            let Folding {
                filter,
                watch,
                state,
                ..
            } = folding;
            equals_the_store(server, filter, watch, state);
        }
    }
    assert!(sample(server, "kvstore_index_merged_keys_total") > 0.0);
}

#[test]
fn at_every_quiet_moment_every_filter_that_is_drawn_folds_to_the_store() {
    folds_to_the_store(&in_memory(&["--shards", "2"]));
}

#[test]
fn so_it_is_with_a_data_directory_whose_log_is_read_by_those_who_are_behind() {
    let directory = TempDir::new().unwrap();
    let at = directory.path().to_str().unwrap();
    let server = Server::start_as(&[
        "--data-dir",
        at,
        "--sync",
        "50ms",
        "--changes-bytes-max",
        "20000",
    ]);
    folds_to_the_store(&server);
}
