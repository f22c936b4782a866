//! Requests by the grammar of the interface, changed here and there, on several connections at once for some time.
//! Each client has keys of its own, so that what it was told tells what these name. At the end the server's counters
//! and keys are what they were told, and nothing of the process is the worse for it.

mod draft;
mod grammar;
mod model;
mod parts;
mod random;
mod samples;
mod session;

use crate::server::{Server, until};
use crate::wire::exchange;
use session::{Session, Tally};
use std::time::{Duration, Instant};

const CLIENTS: usize = 6;

/// What the server is set to, so that what is too long is short.
const VALUE_BYTES_MAX: usize = 65_536;
const KEY_BYTES_MAX: usize = 1_024;

/// How long the short form takes, and the long one.
const SHORT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(600);

#[test]
fn what_is_asked_by_a_grammar_is_done_or_refused_and_counted() {
    let seed = std::env::var("KVSTORE_TEST_SEED");
    let seed = seed.map_or_else(|_| getrandom::u64().unwrap(), |text| text.parse().unwrap());
    let server = Server::start(&[
        ("value_bytes_max", "65536"),
        ("line_bytes_max", "65536"),
        ("body_bytes_max", "131072"),
        ("key_bytes_max", "1024"),
    ]);
    let described = exchange(
        server.address(),
        b"GET /openapi.json HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    let described = String::from_utf8(described.unwrap().body).unwrap();
    let before = counted(&server);
    let end = Instant::now() + if crate::is_long() { LONG } else { SHORT };
    let address = server.address();
    let sessions: Vec<Session<'_>> = std::thread::scope(|scope| {
        let described = described.as_str();
        let clients = (0..CLIENTS).map(|number| {
            scope.spawn(move || {
                let mut session = Session::new(address, described, seed, number);
                session.run(end);
                session
            })
        });
        let clients: Vec<_> = clients.collect();
        let joined = clients.into_iter().map(|client| match client.join() {
            Ok(session) => session,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        joined.collect()
    });
    let tally = sessions
        .iter()
        .fold(Tally::default(), |all, session| add(all, session.tally));
    check_counters(&server, &sessions, tally, before);
    let log = server.log();
    assert!(!log.contains("ERROR"), "{seed}: {log}");
    assert!(server.stop().success());
    let Tally {
        requests,
        done,
        refused,
        unanswered,
        ..
    } = tally;
    // The grammar is worth something where both are many, and answers are hardly ever lost.
    assert!(done > requests / 4 && refused > requests / 10 && unanswered < 10 + requests / 50);
    let figure = format!(
        "0 of {requests} requests answered wrongly, {done} done, {refused} refused, {unanswered} without an answer, \
         seed {seed}"
    );
    crate::say("input", &figure, "0");
}

/// Waits until the counters are what clients were told, and nothing is in flight.
fn check_counters(server: &Server, sessions: &[Session<'_>], tally: Tally, before: u64) {
    let keys: usize = sessions
        .iter()
        .map(|session| session.model.keys.len())
        .sum();
    let values = sessions
        .iter()
        .flat_map(|session| session.model.keys.values());
    let ending = values.filter(|present| present.value.ends).count();
    until("all that was answered is counted once", || {
        let counted = counted(server) - before;
        let most = tally.answers + tally.unanswered;
        (tally.answers..=most).contains(&counted).then_some(())
    });
    for (metric, expected) in [
        ("kvstore_keys", keys as f64),
        ("kvstore_deadlines", ending as f64),
        // The scrape itself.
        ("kvstore_http_requests_in_flight", 1.0),
        ("kvstore_messages_in_flight", 0.0),
        ("kvstore_buffers_bytes", 0.0),
        ("kvstore_watchers", 0.0),
    ] {
        until(metric, || (server.metric(metric) == expected).then_some(()));
    }
    if tally.unanswered == 0 {
        let unmet = server.metric("kvstore_conditions_unmet_total");
        assert_eq!(unmet, tally.unmet as f64);
    }
}

/// How many requests were answered, but streams and what only the test asks.
fn counted(server: &Server) -> u64 {
    let text = server.metrics();
    let counters = text.lines().filter(|line| {
        let is_answered = line.starts_with("kvstore_http_requests_total{");
        let is_refused = line.starts_with("kvstore_http_requests_refused_total{");
        let is_other = ["/watch", "/metrics", "/readyz", "/openapi.json"]
            .iter()
            .any(|path| line.contains(&format!("endpoint=\"{path}\"")));
        (is_answered || is_refused) && !is_other
    });
    let values = counters.filter_map(|line| line.rsplit_once(' '));
    values.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

fn add(one: Tally, other: Tally) -> Tally {
    Tally {
        requests: one.requests + other.requests,
        answers: one.answers + other.answers,
        done: one.done + other.done,
        refused: one.refused + other.refused,
        unanswered: one.unanswered + other.unanswered,
        unmet: one.unmet + other.unmet,
    }
}
