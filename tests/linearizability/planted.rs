//! Defects that histories must show. They are planted between client and server, or in what a server finds when it
//! is started again, so that the product knows nothing of them.

use crate::check::Reason;
use crate::client::{Http, Place};
use crate::history::{Face, History};
use crate::kills::{Disk, through_a_kill};
use crate::model::{Answer, Asked, Condition};
use crate::support::Server;
use std::collections::HashMap;
use tempfile::TempDir;

/// So many times histories are made at the most, before a defect counts as one that they do not show.
const TRIES: usize = 20;

/// Every so many reads one is from the cache.
const CACHED_EACH: usize = 4;

/// Looks first whether a condition holds, and then makes the change whatever there is by now.
struct LooksFirst<F>(F);

impl<F: Face> Face for LooksFirst<F> {
    fn ask(&mut self, key: &str, asked: Asked) -> Option<Answer> {
        let unconditional = match asked {
            Asked::Get => Asked::Get,
            Asked::Set(body, _) => Asked::Set(body, Condition::Always),
            Asked::Delete(_) => Asked::Delete(Condition::Always),
        };
        if asked == unconditional {
            return self.0.ask(key, asked);
        }
        let present = match self.0.ask(key, Asked::Get)? {
            Answer::Value(_, tag) => Some(tag),
            Answer::Missing => None,
            refused => return Some(refused),
        };
        if !asked.condition().holds(present) {
            return Some(Answer::Unmet(present));
        }
        // It says what it believes, so that only the order of things can give it away.
        Some(match (self.0.ask(key, unconditional)?, present) {
            (Answer::Created(tag) | Answer::Updated(tag), None) => Answer::Created(tag),
            (Answer::Created(tag) | Answer::Updated(tag), Some(_)) => Answer::Updated(tag),
            (other, _) => other,
        })
    }
}

/// Answers some reads as it did the time before.
struct Caches<F> {
    face: F,
    former: HashMap<String, Answer>,
    reads: usize,
}

impl<F: Face> Face for Caches<F> {
    fn ask(&mut self, key: &str, asked: Asked) -> Option<Answer> {
        if asked != Asked::Get {
            return self.face.ask(key, asked);
        }
        self.reads += 1;
        let former = self.former.get(key).copied();
        if let Some(former) = former.filter(|_| self.reads.is_multiple_of(CACHED_EACH)) {
            return Some(former);
        }
        let answer = self.face.ask(key, asked)?;
        self.former.insert(key.to_owned(), answer);
        Some(answer)
    }
}

/// Whether some of the histories show that things have no order.
fn show_a_defect(histories: &[History]) -> bool {
    histories.iter().any(|history| {
        let checked = history.check();
        checked.is_err_and(|violation| violation.reason == Reason::Order)
    })
}

#[test]
fn a_condition_that_is_looked_at_before_the_change_is_found() {
    let server = Server::start();
    let place = Place::of(&server);
    let record = || History::record_many(&|| LooksFirst(Http::to(&place)));
    assert!((0..TRIES).any(|_| show_a_defect(&record())));
}

#[test]
fn a_stale_read_is_found() {
    let server = Server::start();
    let place = Place::of(&server);
    let face = || Caches {
        face: Http::to(&place),
        former: HashMap::new(),
        reads: 0,
    };
    assert!((0..TRIES).any(|_| show_a_defect(&History::record_many(&face))));
}

#[test]
fn an_acknowledged_change_that_a_kill_loses_is_found() {
    let (directory, former) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let disk = Disk::Forgetful(former.path());
    let histories = through_a_kill(directory.path(), disk, 600);
    assert!(show_a_defect(&histories));
}
