//! Clients that keep their connections, ask without a pause, and remember what they were told.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::{Agent, Error};

/// Clients for each way in.
const CLIENTS: usize = 3;

/// Keys of each client. It sets them over and over.
const KEYS: usize = 100;

/// What all clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub sent: usize,
    /// What was wrong with each request that was not answered as it should be.
    pub failures: Vec<String>,
    /// Keys whose last acknowledged value was looked for at the end.
    pub audited: usize,
    pub lost: usize,
    latencies: Vec<Duration>,
}

/// Asks until `during` has ended, and then looks for everything that was acknowledged.
pub fn load_during(urls: &[String], during: impl FnOnce()) -> Seen {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS * urls.len())
            .map(|number| {
                let client = Client::new(urls[number % urls.len()].clone(), number);
                let done = &done;
                scope.spawn(move || client.run(done))
            })
            .collect();
        during();
        done.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in clients {
            let seen = client.join().unwrap();
            all.sent += seen.sent;
            all.failures.extend(seen.failures);
            all.audited += seen.audited;
            all.lost += seen.lost;
            all.latencies.extend(seen.latencies);
        }
        all.latencies.sort_unstable();
        all
    })
}

/// A client, and the only one that changes its keys.
struct Client {
    agent: Agent,
    url: String,
    name: String,
    /// The value of each key that was acknowledged; `None` where it is unknown.
    held: BTreeMap<String, Option<String>>,
    seen: Seen,
}

impl Client {
    fn new(url: String, number: usize) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(20)));
        Self {
            agent: config.build().into(),
            url,
            name: format!("client-{number}-"),
            held: BTreeMap::new(),
            seen: Seen::default(),
        }
    }

    fn run(mut self, done: &AtomicBool) -> Seen {
        for turn in 0.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let key = format!("{}{:03}", self.name, turn % KEYS);
            match turn / KEYS % 4 {
                // The first time all are set.
                0 => self.set(&key, &turn.to_string()),
                1 | 2 => self.get(&key),
                _ => self.search(),
            }
        }
        for key in self.held.keys().cloned().collect::<Vec<_>>() {
            self.audit(&key);
        }
        self.seen
    }

    fn set(&mut self, key: &str, value: &str) {
        let request = self.agent.put(format!("{}/set/{key}", self.url));
        let answer = self.timed(|| text(request.send(value)));
        let held = match answer {
            Ok((200, _)) => Some(value.to_owned()),
            other => {
                self.fail("PUT", key, other);
                None
            }
        };
        self.held.insert(key.to_owned(), held);
    }

    fn get(&mut self, key: &str) {
        let request = self.agent.get(format!("{}/get/{key}", self.url));
        let answer = self.timed(|| text(request.call()));
        match (answer, self.held.get(key)) {
            (Ok((200, body)), Some(Some(held))) if body == *held => {}
            (Ok((200 | 404, _)), Some(None)) => {}
            (other, _) => self.fail("GET", key, other),
        }
    }

    /// All of this client's keys are found, and no other.
    fn search(&mut self) {
        let url = format!("{}/search?prefix={}", self.url, self.name);
        let request = self.agent.get(url);
        let answer = self.timed(|| text(request.call()));
        let found = match &answer {
            Ok((200, body)) => serde_json::from_str::<Vec<String>>(body).ok(),
            _ => None,
        };
        let is_right = found.is_some_and(|found| {
            let is_found = |(key, held): (&String, &Option<String>)| {
                held.is_none() || found.binary_search(key).is_ok()
            };
            self.held.iter().all(is_found) && found.iter().all(|key| self.held.contains_key(key))
        });
        if !is_right {
            let name = self.name.clone();
            self.fail("search", &name, answer);
        }
    }

    fn audit(&mut self, key: &str) {
        let Some(Some(held)) = self.held.get(key) else {
            return;
        };
        self.seen.audited += 1;
        let answer = text(self.agent.get(format!("{}/get/{key}", self.url)).call());
        if !matches!(answer, Ok((200, body)) if body == *held) {
            self.seen.lost += 1;
        }
    }

    fn timed<T>(&mut self, ask: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let answer = ask();
        self.seen.latencies.push(begun.elapsed());
        self.seen.sent += 1;
        answer
    }

    fn fail(&mut self, what: &str, key: &str, answer: Result<(u16, String), Error>) {
        self.seen.failures.push(format!("{what} {key}: {answer:?}"));
    }
}

fn text(answer: Result<ureq::http::Response<ureq::Body>, Error>) -> Result<(u16, String), Error> {
    let mut response = answer?;
    let body = response.body_mut().read_to_string()?;
    Ok((response.status().as_u16(), body))
}

impl Display for Seen {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let percentile = |percent: usize| {
            let index = (self.latencies.len() * percent).div_ceil(100);
            self.latencies.get(index.saturating_sub(1))
        };
        write!(
            formatter,
            "{} requests sent, {} failed, {} acknowledged values looked for, {} lost; latency p50 \
             {:?}, p99 {:?}, longest {:?}",
            self.sent,
            self.failures.len(),
            self.audited,
            self.lost,
            percentile(50).unwrap_or(&Duration::ZERO),
            percentile(99).unwrap_or(&Duration::ZERO),
            self.latencies.last().unwrap_or(&Duration::ZERO),
        )
    }
}
