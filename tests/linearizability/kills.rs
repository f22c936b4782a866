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

/// What is in the directory when the process is started again.
pub enum Disk<'a> {
    /// What was written to it.
    Honest,
    /// What had been written when there were half as many answers. That is kept in another directory.
    Forgetful(&'a Path),
}

/// Histories at once, of a process that is killed once clients had so many answers.
pub fn through_a_kill(directory: &Path, disk: Disk<'_>, answers: usize) -> Vec<History> {
    let mut server = start(directory);
    let place = Place::of(&server);
    thread::scope(|scope| {
        let recording = scope.spawn(|| History::record_many(&|| Http::to(&place)));
        let found = match disk {
            Disk::Honest => directory,
            Disk::Forgetful(former) => {
                place.until_answers(answers / 2);
                // All at one moment, as a kill would leave it.
                server.signal(Signal::STOP);
                copy(directory, former);
                server.signal(Signal::CONT);
                former
            }
        };
        place.until_answers(answers);
        server.signal(Signal::KILL);
        server.wait();
        server = start(found);
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

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn what_clients_are_told_through_kills_has_an_order() {
    let directory = TempDir::new().unwrap();
    let mut random = Random::fresh();
    let mut tally = Tally::default();
    for _ in 0..histories().div_ceil(2 * AT_ONCE) {
        let answers = ANSWERS_MIN + random.below(ANSWERS_MAX - ANSWERS_MIN);
        for history in through_a_kill(directory.path(), Disk::Honest, answers) {
            history.assert_linearizable();
            tally.add(&history);
        }
    }
    println!("{tally}");
    tally.assert_some(&["created", "unmet", "at once", "not answered"]);
}
