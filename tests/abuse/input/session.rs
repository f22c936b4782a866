//! One connection after another of a client that has keys of its own, and what became of each request of it.

use super::draft::{Asked, Verdict};
use super::grammar::Grammar;
use super::model::{Counts, Filter, Intent, Kept, Lasts, Line, Model, Present};
use super::random::Random;
use crate::server::until;
use crate::wire::{Connection, Response, exchange};
use serde_json::Value as Json;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Instant;

/// How much of a request and an answer is shown, in bytes.
const SHOWN_BYTES: usize = 2_000;

/// What became of all requests of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub requests: u64,
    /// Answers to these and to what was asked to check them, but those to streams.
    pub answers: u64,
    pub done: u64,
    pub refused: u64,
    /// Requests without an answer, which were perhaps done.
    pub unanswered: u64,
    /// Changes whose condition did not hold.
    pub unmet: u64,
}

pub struct Session<'a> {
    address: SocketAddr,
    /// The description of the interface, which has all codes.
    described: &'a str,
    random: Random,
    /// Of all clients, and which of them this is.
    seed: u64,
    number: usize,
    prefix: String,
    pub model: Model,
    connection: Option<Connection>,
    pub tally: Tally,
}

impl<'a> Session<'a> {
    pub fn new(address: SocketAddr, described: &'a str, seed: u64, number: usize) -> Self {
        Self {
            address,
            described,
            random: Random::new(seed ^ ((number as u64) << 32)),
            seed,
            number,
            prefix: format!("client-{number}/"),
            model: Model::default(),
            connection: None,
            tally: Tally::default(),
        }
    }

    /// Asks until a moment, and then compares all keys with the model.
    pub fn run(&mut self, end: Instant) {
        while Instant::now() < end {
            let mut grammar = Grammar {
                random: &mut self.random,
                model: &self.model,
                prefix: &self.prefix,
            };
            let asked = grammar.ask();
            self.tally.requests += 1;
            let answers = self.send(&asked);
            if let Err(why) = self.take_in(&asked, &answers) {
                let intent = format!("{:?}", asked.intent);
                let answers = answers.iter().map(|answer| {
                    let body = shown(&answer.body);
                    format!("{} {:?} {body}", answer.status, answer.headers)
                });
                let answers: Vec<String> = answers.collect();
                panic!(
                    "{why}, {}\nasked: {}\nfor: {}\nanswered: {}",
                    self.about(),
                    shown(&asked.bytes),
                    shown(intent.as_bytes()),
                    answers.join("\n")
                );
            }
        }
        self.compare_all();
    }

    /// Sends a request, and reads all that answers it, and what is left of its body.
    fn send(&mut self, asked: &Asked) -> Vec<Response> {
        let connection = self.connection.take();
        let mut connection =
            connection.unwrap_or_else(|| Connection::connect(self.address).unwrap());
        // Where the beginning is refused, the rest may not be taken, and the answer is there.
        let _ = connection.send(&asked.bytes);
        if asked.is_last {
            let _ = connection.end_sending();
        }
        let is_watch = matches!(asked.intent, Intent::Watch);
        let mut answers = Vec::new();
        loop {
            let answer = match asked.is_head || is_watch {
                true => connection.read_head(),
                false => connection.read_response(),
            };
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe => break,
                    _ => panic!("{error}, {}: {}", self.about(), shown(&asked.bytes)),
                },
            }
            if asked.is_head || is_watch || !asked.is_last {
                break;
            }
        }
        let is_kept = answers
            .last()
            .is_some_and(|answer| answer.header("connection") != Some("close"));
        if is_kept && !asked.is_last && !is_watch {
            self.connection = Some(connection);
        }
        answers
    }

    /// Compares the answers with what should come, and the model follows.
    fn take_in(&mut self, asked: &Asked, answers: &[Response]) -> Result<(), String> {
        if !matches!(asked.intent, Intent::Watch) {
            self.tally.answers += answers.len() as u64;
        }
        let Some((answer, others)) = answers.split_first() else {
            self.tally.unanswered += 1;
            return self.look_again(&asked.intent);
        };
        let status = answer.status;
        let is_refused = (400..500).contains(&status);
        let is_due = match asked.verdict {
            Verdict::Taken => status == asked.status,
            Verdict::Open => status == asked.status || is_refused,
            Verdict::Refused => is_refused,
        };
        if !is_due && status != 503 {
            return Err(format!(
                "{:?}, {}, not {status}",
                asked.verdict, asked.status
            ));
        }
        if is_refused {
            self.tally.refused += 1;
            let has_body = !asked.is_head && !matches!(asked.intent, Intent::Watch);
            self.check_problem(answer, has_body)?;
        }
        if let Some(other) = others.iter().find(|other| other.status != 400) {
            return Err(format!("what follows is answered by {}", other.status));
        }
        self.tally.unmet += u64::from(status == 412);
        match status {
            503 => self.look_again(&asked.intent),
            400..500 => self.take_in_part(&asked.intent, answer),
            _ => {
                self.tally.done += 1;
                self.take_in_done(&asked.intent, answer, asked.is_head)
            }
        }
    }

    /// Whether an answer that refuses says why: as a problem, or with the parser's bare status.
    fn check_problem(&self, answer: &Response, has_body: bool) -> Result<(), String> {
        let length = answer.header("content-length");
        if answer.status == 400 && length == Some("0") {
            return Ok(());
        }
        if answer.header("content-type") != Some("application/problem+json") {
            return Err("it is no problem".into());
        }
        if !has_body {
            return Ok(());
        }
        let problem = json(answer)?;
        let code = problem["code"].as_str().unwrap_or_default();
        let is_known = self
            .described
            .contains(&format!("\"urn:kvstore:problem:{code}\""));
        let is_whole = problem["status"] == answer.status
            && problem["type"] == format!("urn:kvstore:problem:{code}")
            && problem["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty());
        match is_known && is_whole {
            true => Ok(()),
            false => Err(format!("the problem {code:?} is not one")),
        }
    }

    /// Of a request that was refused, only lines before the one that was bad are done.
    fn take_in_part(&mut self, intent: &Intent, answer: &Response) -> Result<(), String> {
        let Intent::Lines(lines) = intent else {
            return Ok(());
        };
        if answer.header("content-length") == Some("0") {
            return Ok(());
        }
        let problem = json(answer)?;
        let Some(at) = problem["line"].as_u64() else {
            return Ok(());
        };
        let at = usize::try_from(at).unwrap();
        let bad = lines.iter().position(|line| matches!(line, Line::Bad));
        if at == 0 || at > lines.len() + 1 || bad.is_some_and(|bad| at > bad + 1) {
            return Err(format!("line {at} is none, or behind the bad one"));
        }
        let counts = self.model.apply(&lines[..at - 1]);
        self.tally.unmet += counts.unmet;
        compare_counts(&problem, counts)
    }

    fn take_in_done(
        &mut self,
        intent: &Intent,
        answer: &Response,
        is_head: bool,
    ) -> Result<(), String> {
        match intent {
            Intent::Nothing | Intent::Watch => {}
            Intent::Read(_) if answer.status == 304 => {}
            Intent::Read(key) => {
                let present = self.model.keys.get(key).ok_or("it names nothing")?;
                compare(answer, &present.value, is_head)?;
            }
            Intent::ReadMany(keys) => {
                // What was stored may be a number of any size, or nested as deep as can be.
                let entries: Vec<Answered> = serde_json::from_slice(&answer.body)
                    .map_err(|error| format!("it is no list of entries: {error}"))?;
                let found = entries
                    .iter()
                    .map(|entry| (entry.key.as_str(), !entry.missing));
                let expected = keys
                    .iter()
                    .map(|key| (key.as_str(), self.model.keys.contains_key(key)));
                if !found.eq(expected) {
                    return Err("other keys are there".into());
                }
            }
            Intent::Count(filter) => {
                let total = answer.header("x-total-count").unwrap_or("none");
                self.compare_total(filter, total)?;
            }
            Intent::Try(filter) => {
                self.compare_total(filter, &json(answer)?["matched"].to_string())?;
            }
            Intent::Erase(filter) => {
                self.compare_total(filter, &json(answer)?["deleted"].to_string())?;
                for key in self.model.matching(filter) {
                    self.model.keys.remove(&key);
                }
            }
            Intent::Set(key, kept, lasts) => {
                let is_new = !self.model.keys.contains_key(key);
                let said = json(answer)?;
                if said["created"] != is_new || said["key"] != key.as_str() {
                    return Err(format!("created is {is_new}"));
                }
                let etag = answer.header("etag").ok_or("there is no ETag")?;
                let present = Present {
                    value: kept.clone(),
                    etag: Some(etag.into()),
                };
                self.model.keys.insert(key.clone(), present);
                self.lasts(key, *lasts);
            }
            Intent::Delete(key) => {
                self.model.keys.remove(key);
            }
            Intent::Expire(key, lasts) => self.lasts(key, *lasts),
            Intent::Lines(lines) => {
                let counts = self.model.apply(lines);
                self.tally.unmet += counts.unmet;
                compare_counts(&json(answer)?, counts)?;
            }
        }
        Ok(())
    }

    fn compare_total(&self, filter: &Filter, said: &str) -> Result<(), String> {
        let matching = self.model.matching(filter).len();
        match said == matching.to_string() {
            true => Ok(()),
            false => Err(format!("{matching} keys match, not {said}")),
        }
    }

    /// A value lasts so long. What ends within milliseconds is waited for.
    fn lasts(&mut self, key: &str, lasts: Lasts) {
        match lasts {
            Lasts::Endless | Lasts::Long => {
                if let Some(present) = self.model.keys.get_mut(key) {
                    present.value.ends = lasts == Lasts::Long;
                }
            }
            Lasts::Past => {
                until("the value ends", || {
                    (self.get(key).status == 404).then_some(())
                });
                self.model.keys.remove(key);
            }
        }
    }

    /// The model follows the server in what may have been done.
    fn look_again(&mut self, intent: &Intent) -> Result<(), String> {
        for key in intent.changes(&self.model) {
            let before = self.model.keys.get(&key).map(|present| &present.value);
            let outcomes = intent.may_give(&key, before);
            let answer = self.get(&key);
            let etag = answer.header("etag").map(str::to_owned);
            let found = kept(&answer);
            if !outcomes.contains(&found) {
                return Err(format!("{key:?} names {found:?}, not one of {outcomes:?}"));
            }
            match found {
                Some(value) => self.model.keys.insert(key, Present { value, etag }),
                None => self.model.keys.remove(&key),
            };
        }
        Ok(())
    }

    /// Compares all keys with the model, and the list of them.
    fn compare_all(&mut self) {
        let about = self.about();
        let search = format!(
            "GET /search?prefix={} HTTP/1.1\r\nHost: t\r\n\r\n",
            self.prefix
        );
        let listed = exchange(self.address, search.as_bytes()).unwrap();
        self.tally.answers += 1;
        let listed: Vec<String> = serde_json::from_slice(&listed.body).unwrap();
        let keys: Vec<String> = self.model.keys.keys().cloned().collect();
        assert_eq!(listed, keys, "{about}");
        for key in keys {
            let answer = self.get(&key);
            let present = &self.model.keys[&key];
            compare(&answer, &present.value, false)
                .unwrap_or_else(|why| panic!("{key:?}: {why}, {about}"));
        }
    }

    /// What brings all this about again.
    fn about(&self) -> String {
        format!("KVSTORE_TEST_SEED={}, client {}", self.seed, self.number)
    }

    fn get(&mut self, key: &str) -> Response {
        let key: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let get = format!("GET /get/{key} HTTP/1.1\r\nHost: t\r\n\r\n");
        self.tally.answers += 1;
        exchange(self.address, get.as_bytes()).unwrap()
    }
}

/// The beginning of some bytes.
fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(SHOWN_BYTES)];
    cut.escape_ascii().to_string()
}

/// The value that an answer has, if it has one.
fn kept(answer: &Response) -> Option<Kept> {
    (answer.status == 200).then(|| Kept {
        content_type: answer.header("content-type").unwrap_or_default().into(),
        body: answer.body.clone(),
        ends: answer.header("x-expires-at").is_some(),
    })
}

fn compare(answer: &Response, expected: &Kept, is_head: bool) -> Result<(), String> {
    let mut expected = expected.clone();
    if is_head {
        expected.body.clear();
    }
    match kept(answer) {
        Some(found) if found == expected => Ok(()),
        found => Err(format!("it is {found:?}, not {expected:?}")),
    }
}

fn compare_counts(said: &Json, counts: Counts) -> Result<(), String> {
    let of = |name: &str| said[name].as_u64().unwrap_or_default();
    let said = Counts {
        created: of("created"),
        updated: of("updated"),
        unmet: of("unmet"),
    };
    match said == counts {
        true => Ok(()),
        false => Err(format!("it counts {said:?}, not {counts:?}")),
    }
}

/// An entry, as far as it is looked at.
#[derive(serde::Deserialize)]
struct Answered {
    key: String,
    #[serde(default)]
    missing: bool,
}

fn json(answer: &Response) -> Result<Json, String> {
    serde_json::from_slice(&answer.body).map_err(|error| format!("it is no JSON: {error}"))
}
