//! Clients that watch at any server and fold what they are told, and writers who change keys meanwhile.

use crate::audit::Ending;
use crate::client::{State, Watch, state};
use crate::support::{JSON, Server, until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// A watch that goes on behind its last event wherever it is told to, and what it was told, folded.
pub(super) struct Client {
    pub(super) query: &'static str,
    id: Option<String>,
    folded: State,
    /// How often it had to begin anew.
    pub(super) begun: usize,
}

/// What came of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Enough,
    Gone,
    Cut,
}

impl Client {
    pub(super) fn new(query: &'static str) -> Self {
        Self {
            query,
            id: None,
            folded: State::new(),
            begun: 0,
        }
    }

    /// Watches at a server, from the start where it cannot go on, for as long as it is wanted, or until it has to begin
    /// anew.
    pub(super) fn watch(
        &mut self,
        server: &Server,
        mut is_wanted: impl FnMut(&State) -> bool,
    ) -> Ended {
        let query = match &self.id {
            Some(id) => format!("{}&after={id}", self.query),
            None => format!("{}&from=start", self.query),
        };
        let mut connection = server.connect();
        connection.send("GET", &format!("/watch?{query}"), &[], b"");
        let Ok(head) = connection.try_head() else {
            return Ended::Cut;
        };
        match head.status {
            200 => {}
            410 => return self.begin_anew(),
            status => {
                assert!(matches!(status, 503 | 504), "{status}");
                return Ended::Cut;
            }
        }
        if self.id.is_none() {
            self.folded.clear();
            self.begun += 1;
        }
        let mut watch = Watch::of(connection, &head);
        while let Ok(Some(event)) = watch.try_next() {
            let text = |member: &str| event.data[member].as_str().map(str::to_owned);
            match event.name.as_str() {
                "set" => {
                    let tag = text("etag").unwrap();
                    let ends = text("expires_at");
                    self.folded.insert(text("key").unwrap(), (tag, ends));
                }
                "delete" | "expire" => drop(self.folded.remove(&text("key").unwrap())),
                "gone" => return self.begin_anew(),
                "ready" | "bookmark" => {}
                other => panic!("{other}"),
            }
            self.id = event.id.or(self.id.take());
            if self.id.is_some() && !is_wanted(&self.folded) {
                return Ended::Enough;
            }
        }
        Ended::Cut
    }

    fn begin_anew(&mut self) -> Ended {
        self.id = None;
        Ended::Gone
    }

    /// Watches until what it has is what the store has, which nobody changes meanwhile.
    pub(super) fn equals(&mut self, server: &Server, filter: &str) {
        let expected = until("the store can be read", || {
            let found = server.get(&format!("/search?{filter}"));
            (found.status == 200).then(|| state(server, filter))
        });
        // A bookmark comes at once, so that it is looked at in any case.
        until("it has what the store has", || {
            self.watch(server, |folded| *folded != expected);
            (self.folded == expected).then_some(())
        });
        assert_eq!(state(server, filter), expected, "nobody changed it");
    }
}

/// Changes keys that begin with a letter, in all ways there are, until it is over. What fails is left.
fn change(server: &Server, letter: char, is_over: &AtomicBool, turns: &AtomicUsize) {
    let mut connection = server.connect();
    for turn in 0_usize.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{letter}/{}", turn * 7 % 41);
        let (method, path) = match turn % 7 {
            0 | 1 => ("PUT", format!("/set/{key}")),
            2 => ("PUT", format!("/set/{key}?ttl_ms=20")),
            3 => ("PUT", format!("/set/{key}?ttl_ms=86400000")),
            4 => ("DELETE", format!("/delete/{key}")),
            5 => ("POST", format!("/expire/{key}")),
            _ => ("PUT", format!("/set/{letter}/more-{}", turn % 500)),
        };
        let body: &[u8] = match method {
            "POST" => b"{\"ttl_ms\":43200000}",
            "PUT" => b"1",
            _ => b"",
        };
        let headers: &[(&str, &str)] = if method == "POST" { &[JSON] } else { &[] };
        match connection.try_request(method, &path, headers, body) {
            Ok(_) => {
                turns.fetch_add(1, Ordering::Relaxed);
            }
            // The server was killed.
            Err(_) => return,
        }
    }
}

/// Has writers at some servers while something is done.
pub(super) fn changing(servers: &[&Server], during: impl FnOnce(&AtomicUsize)) {
    let (is_over, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let ending = Ending(&is_over);
        for (server, letter) in servers.iter().zip('a'..) {
            let (is_over, turns) = (&is_over, &turns);
            scope.spawn(move || change(server, letter, is_over, turns));
        }
        during(&turns);
        drop(ending);
    });
}

pub(super) fn until_more_turns(turns: &AtomicUsize, more: usize) {
    let begun = turns.load(Ordering::Relaxed);
    until("more is changed", || {
        (turns.load(Ordering::Relaxed) > begun + more).then_some(())
    });
}

/// Waits until what ends within the next hours has ended.
pub(super) fn settled(server: &Server) {
    until("all that ends soon has ended", || {
        let far = server.put("/set/far?ttl_ms=40000000", &[], b"1");
        if far.status != 200 || server.get("/search?prefix=&limit=1").status != 200 {
            return None;
        }
        let found = state(server, "prefix=");
        let far = found.get("far")?.1.clone()?;
        let mut ends = found.values().filter_map(|(_, ends)| ends.as_ref());
        let is_quiet = ends.all(|ends| *ends >= far);
        let listed = server.get("/search?prefix=").total();
        (is_quiet && listed == found.len()).then_some(())
    });
}
