//! Clients that write, read and search without pause, and remember what they were told.

use crate::support::{Connection, Response, Server, until};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What writers saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Keys whose setting was acknowledged.
    pub acknowledged: BTreeSet<String>,
    /// Keys whose setting was answered by 504, so that it is unknown.
    pub unknown: BTreeSet<String>,
    /// Requests that were refused with 503.
    pub refused: usize,
    /// The longest that any request took.
    pub longest: Duration,
    /// The longest that one writer tried until it was told of success.
    pub gap: Duration,
}

/// Whether what was acknowledged may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Never,
    /// By a failover: replication is asynchronous.
    Possible,
}

/// Writes keys that begin with `name` until `during` has ended, each once, reads each
/// and searches for each.
pub fn write_during(server: &Server, name: &str, loss: Loss, during: impl FnOnce()) -> Seen {
    let done = AtomicBool::new(false);
    let address = server.address();
    std::thread::scope(|scope| {
        // Where `during` fails, the writers must end too: the scope waits for them.
        let ending = Ending(&done);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let done = &done;
                scope.spawn(move || write(address, &format!("{name}-{writer}"), loss, done))
            })
            .collect();
        during();
        drop(ending);
        let mut all = Seen::default();
        for writer in writers {
            let seen = writer.join().unwrap();
            all.acknowledged.extend(seen.acknowledged);
            all.unknown.extend(seen.unknown);
            all.refused += seen.refused;
            all.longest = all.longest.max(seen.longest);
            all.gap = all.gap.max(seen.gap);
        }
        all
    })
}

/// Tells other threads to end when it is dropped.
pub struct Ending<'a>(pub &'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets the writers go on until a hundred more keys are there, as a server off that link sees it.
pub fn until_more(server: &Server) {
    let before = total(server);
    until("a hundred keys are written", || {
        (total(server) >= before + 100).then_some(())
    });
}

fn total(server: &Server) -> usize {
    let found = until("the search is answered", || {
        let found = server.get("/search?prefix=&limit=1");
        (found.status == 200).then_some(found)
    });
    found.total()
}

fn write(address: SocketAddr, name: &str, loss: Loss, done: &AtomicBool) -> Seen {
    let mut connection = Connection::to(address);
    let mut seen = Seen::default();
    let mut tried_since = None;
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{name}-{number:06}");
        let since = *tried_since.get_or_insert_with(Instant::now);
        let set =
            seen.timed(|| connection.request("PUT", &format!("/set/{key}"), &[], key.as_bytes()));
        match set.status {
            200 => {
                seen.gap = seen.gap.max(since.elapsed());
                tried_since = None;
                seen.check(&mut connection, &key, loss);
                seen.acknowledged.insert(key);
            }
            503 => seen.refused += 1,
            504 => {
                seen.unknown.insert(key);
            }
            status => panic!("{status}: {}", set.text()),
        }
    }
    seen
}

impl Seen {
    fn timed(&mut self, ask: impl FnOnce() -> Response) -> Response {
        let begun = Instant::now();
        let response = ask();
        self.longest = self.longest.max(begun.elapsed());
        response
    }

    /// Reads a key that was acknowledged, whose value is the key, and searches for it. It may be
    /// lost, but is never another.
    fn check(&mut self, connection: &mut Connection, key: &str, loss: Loss) {
        let mut ask = |path: String| self.timed(|| connection.request("GET", &path, &[], b""));
        let read = ask(format!("/get/{key}"));
        match read.status {
            200 => assert_eq!(read.body, key.as_bytes()),
            404 => assert_eq!(loss, Loss::Possible, "{key} is lost"),
            503 | 504 => {}
            status => panic!("{status}: {}", read.text()),
        }
        let found = ask(format!("/search?prefix={key}"));
        match found.status {
            200 if found.total() == 0 => assert_eq!(loss, Loss::Possible, "{key} is not found"),
            200 => assert_eq!(found.keys(), [key]),
            503 | 504 => {}
            status => panic!("{status}: {}", found.text()),
        }
    }
}

/// Waits until searches at all servers give just the keys that can be read, and returns how many
/// acknowledged ones were lost. Nothing else is ever there.
pub fn settle(servers: &[&Server], seen: &Seen) -> usize {
    let mut connection = servers[0].connect();
    let mut held = BTreeSet::new();
    for key in seen.acknowledged.union(&seen.unknown) {
        let read = until("a read is answered", || {
            let read = connection.request("GET", &format!("/get/{key}"), &[], b"");
            matches!(read.status, 200 | 404).then_some(read)
        });
        if read.status == 200 {
            assert_eq!(read.body, key.as_bytes());
            held.insert(key.clone());
        }
    }
    let held_keys: Vec<String> = held.iter().cloned().collect();
    for server in servers {
        crate::until_keys(server, &held_keys);
    }
    seen.acknowledged.difference(&held).count()
}
