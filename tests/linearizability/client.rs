//! A client over HTTP of a server that may be killed and started again elsewhere.

use crate::history::Face;
use crate::model::{Answer, Asked, Body, Condition, Tag};
use crate::support::{Connection, DEADLINE, Response, Server};
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Every so many bodies one is long, and kept apart from the others.
const LONG_EACH: u64 = 8;
const LONG_BYTES: usize = 1_000;

/// Where the server is, and how many answers it gave.
pub struct Place {
    now: Mutex<Now>,
    changed: Condvar,
}

struct Now {
    address: SocketAddr,
    /// How often the server was started.
    starts: usize,
    answers: usize,
}

impl Place {
    /// That of a server that was started for the first time.
    pub fn of(server: &Server) -> Self {
        Self {
            now: Mutex::new(Now {
                address: server.address(),
                starts: 1,
                answers: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Tells clients where the server is that was started again.
    pub fn move_to(&self, server: &Server) {
        let mut now = self.now.lock().unwrap();
        now.address = server.address();
        now.starts += 1;
        self.changed.notify_all();
    }

    /// Waits until clients had so many answers.
    pub fn until_answers(&self, answers: usize) {
        drop(self.wait("clients are answered", |now| now.answers >= answers));
    }

    fn count_answer(&self) {
        self.now.lock().unwrap().answers += 1;
        self.changed.notify_all();
    }

    /// Connects to the server once it was started more often than that.
    fn connect(&self, mut starts: usize) -> (usize, Connection) {
        loop {
            let now = self.wait("the server is there", |now| now.starts > starts);
            let address = now.address;
            starts = now.starts;
            drop(now);
            // Where it was killed meanwhile there will be another.
            if let Ok(connection) = Connection::try_to(address) {
                return (starts, connection);
            }
        }
    }

    fn wait(&self, what: &str, is_so: impl Fn(&Now) -> bool) -> MutexGuard<'_, Now> {
        let now = self.now.lock().unwrap();
        let waited = self
            .changed
            .wait_timeout_while(now, DEADLINE, |now| !is_so(now));
        let (now, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "{what} within {DEADLINE:?}");
        now
    }
}

/// A client with a connection that it keeps.
pub struct Http<'a> {
    place: &'a Place,
    /// Which start of the server it is connected to.
    starts: usize,
    connection: Connection,
}

impl<'a> Http<'a> {
    pub fn to(place: &'a Place) -> Self {
        let (starts, connection) = place.connect(0);
        Self {
            place,
            starts,
            connection,
        }
    }
}

impl Face for Http<'_> {
    fn ask(&mut self, key: &str, asked: Asked) -> Option<Answer> {
        let (method, path, body) = match asked {
            Asked::Get => ("GET", format!("/get/{key}"), String::new()),
            Asked::Set(body, _) => ("PUT", format!("/set/{key}"), text(body)),
            Asked::Delete(_) => ("DELETE", format!("/delete/{key}"), String::new()),
        };
        let header = header(asked.condition());
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answered = self
            .connection
            .try_request(method, &path, &headers, body.as_bytes());
        match answered {
            Ok(response) => {
                self.place.count_answer();
                answer(asked, &response)
            }
            Err(_) => {
                (self.starts, self.connection) = self.place.connect(self.starts);
                None
            }
        }
    }
}

fn header(condition: Condition) -> Option<(&'static str, String)> {
    match condition {
        Condition::Always => None,
        Condition::Absent => Some(("If-None-Match", "*".into())),
        Condition::Is(Tag(tag)) => Some(("If-Match", format!("\"{tag:016x}\""))),
    }
}

/// A body as it is sent: its number, and at times much else.
fn text(Body(number): Body) -> String {
    let width = match number % LONG_EACH {
        0 => LONG_BYTES,
        _ => 0,
    };
    format!("{number:<width$}")
}

/// What an answer says; nothing where it says that nobody knows.
fn answer(asked: Asked, response: &Response) -> Option<Answer> {
    let shown = response.header("etag").map(tag);
    let tag = || shown.expect("an answer that tells of a value has its tag");
    Some(match (response.status, asked) {
        (200, Asked::Get) => {
            let body = response.text().trim_end().parse().unwrap();
            Answer::Value(Body(body), tag())
        }
        (200, Asked::Set(..)) if response.json()["created"] == true => Answer::Created(tag()),
        (200, Asked::Set(..)) => Answer::Updated(tag()),
        (204, Asked::Delete(_)) => Answer::Deleted,
        (404, Asked::Get | Asked::Delete(_)) => Answer::Missing,
        (412, Asked::Set(..) | Asked::Delete(_)) => Answer::Unmet(shown),
        // With this header nothing was done.
        (503, _) if response.header("retry-after").is_some() => Answer::Refused,
        (504, _) => return None,
        (status, _) => panic!("{status} to {asked:?}: {}", response.text()),
    })
}

fn tag(text: &str) -> Tag {
    let digits = text.trim_matches('"');
    Tag(u64::from_str_radix(digits, 16).unwrap())
}
