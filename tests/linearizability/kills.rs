//! Histories that go on through the end of the process: it is killed in their midst and started again on its
//! data directory. What was under way then has no answer, and was done or not.

use crate::client::{Http, Place};
use crate::histories;
use crate::history::{AT_ONCE, History};
use crate::plan::Random;
use crate::support::Server;
use crate::tally::Tally;
use rustix::process::Signal;
use std::path::Path;
use std::thread;
use tempfile::TempDir;

/// After how many answers at the least and at the most the process is killed. All histories together have half as
/// many again.
const ANSWERS_MIN: usize = 100;
const ANSWERS_MAX: usize = 1_000;

/// Histories at once, of a process that is killed once clients had so many answers.
fn through_a_kill(directory: &Path, answers: usize) -> Vec<History> {
    let mut server = start(directory);
    let place = Place::of(&server);
    thread::scope(|scope| {
        let recording = scope.spawn(|| History::record_many(&|| Http::to(&place)));
        place.until_answers(answers);
        server.signal(Signal::KILL);
        server.wait();
        server = start(directory);
        place.move_to(&server);
        recording.join().unwrap()
    })
}

/// A server whose answers show what is on disk, and nothing else.
fn start(directory: &Path) -> Server {
    let directory = directory.to_str().unwrap();
    Server::start_as(&[
        "--data-dir",
        directory,
        "--sync",
        "always",
        "--drain-ms",
        "1",
    ])
}

#[test]
fn what_clients_are_told_through_kills_has_an_order() {
    let directory = TempDir::new().unwrap();
    let mut random = Random::fresh();
    let mut tally = Tally::default();
    for _ in 0..histories().div_ceil(2 * AT_ONCE) {
        let answers = ANSWERS_MIN + random.below(ANSWERS_MAX - ANSWERS_MIN);
        for history in through_a_kill(directory.path(), answers) {
            history.assert_linearizable();
            tally.add(&history);
        }
    }
    println!("{tally}");
    tally.assert_some(&["created", "unmet", "at once", "not answered"]);
}
