//! A Redis server of our own, where `redis-server` is installed: with the values alone, and with
//! two sorted sets for searches, of the keys and of the reversed keys.

use crate::rivals::Answer;
use crate::{PAGE, process};
use kvstore::model::Filter;
use redis::{Commands, Connection};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How many commands are sent at a time.
const PIPELINE: usize = 10_000;

/// How long the server may take to start.
const START_MAX: Duration = Duration::from_secs(10);

/// The sets' names, which no key is like: there are packages of any name.
const FORWARD: &str = "\u{0}forward";
const BACKWARD: &str = "\u{0}backward";

const VALUE: &str = "12345678901234567890123456789012";

pub struct Redis {
    server: Child,
    connection: Connection,
    idle_bytes: usize,
}

impl Redis {
    /// Starts a server that keeps nothing on disk; `None` where there is none to start.
    pub fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let server = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let client =
            redis::Client::open(format!("redis://127.0.0.1:{port}/")).expect("it is a URL");
        let begun = Instant::now();
        let connection = loop {
            match client.get_connection() {
                Ok(connection) => break connection,
                Err(error) => assert!(begun.elapsed() < START_MAX, "{error}"),
            }
        };
        let idle_bytes = process::resident_bytes(server.id());
        Some(Self {
            server,
            connection,
            idle_bytes,
        })
    }

    pub fn set_values(&mut self, keys: &[String]) {
        self.pipeline(keys, |pipe, key| {
            pipe.set(key, VALUE).ignore();
        });
    }

    pub fn add_to_sets(&mut self, keys: &[String]) {
        self.pipeline(keys, |pipe, key| {
            pipe.zadd(FORWARD, key, 0).ignore();
        });
        self.pipeline(keys, |pipe, key| {
            pipe.zadd(BACKWARD, reversed(key.as_bytes()), 0).ignore();
        });
    }

    /// What the server holds more than when it was empty.
    pub fn resident_bytes(&self) -> usize {
        process::resident_bytes(self.server.id()) - self.idle_bytes
    }

    /// The first page and the total. With one filter from its set; with both, all keys of the
    /// longer one are fetched and filtered.
    pub fn search(&mut self, filter: &Filter) -> Answer {
        let backward = filter.suffix.len() > filter.prefix.len();
        let start = if backward {
            reversed(&filter.suffix)
        } else {
            filter.prefix.clone()
        };
        let set = if backward { BACKWARD } else { FORWARD };
        let (low, high) = if start.is_empty() {
            (b"-".to_vec(), b"+".to_vec())
        } else {
            let end = [b"(", &start[..], b"\xff"].concat();
            ([b"[", &start[..]].concat(), end)
        };
        if !backward && filter.suffix.is_empty() {
            let total = redis::cmd("ZLEXCOUNT")
                .arg(set)
                .arg(&low)
                .arg(&high)
                .query(&mut self.connection);
            let keys = self
                .connection
                .zrangebylex_limit(set, low, high, 0, PAGE as isize);
            return (total.expect("it answers"), keys.expect("it answers"));
        }
        let found: Vec<Vec<u8>> = self
            .connection
            .zrangebylex(set, low, high)
            .expect("it answers");
        let mut found: Vec<Vec<u8>> = found
            .into_iter()
            .map(|key| if backward { reversed(&key) } else { key })
            .filter(|key| filter.matches(key))
            .collect();
        let total = found.len();
        found.sort_unstable();
        found.truncate(PAGE);
        (total, found)
    }

    fn pipeline(&mut self, keys: &[String], add: impl Fn(&mut redis::Pipeline, &String)) {
        for keys in keys.chunks(PIPELINE) {
            let mut pipe = redis::pipe();
            keys.iter().for_each(|key| add(&mut pipe, key));
            pipe.query::<()>(&mut self.connection).expect("it answers");
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let stopped = self.server.kill().and_then(|()| self.server.wait());
        stopped.expect("the server is ours");
    }
}

fn reversed(key: &[u8]) -> Vec<u8> {
    key.iter().rev().copied().collect()
}
