//! A client that watches, and what a store holds, to be compared with what it was told.

use crate::support::{Connection, DEADLINE, Response, Server, until};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

/// Of each key its entity tag, and when its value ends.
pub type State = BTreeMap<String, (String, Option<String>)>;

/// An event as it came.
#[derive(Debug)]
pub struct Event {
    pub name: String,
    pub id: Option<String>,
    pub data: Json,
}

/// A server whose own memory has the data, once it has all shards.
pub fn in_memory(arguments: &[&str]) -> Server {
    let server = Server::in_memory(arguments);
    until("the server is ready", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    server
}

/// A watch under way.
pub struct Watch {
    connection: Connection,
    /// What came and was not taken.
    came: Vec<u8>,
    has_lines: bool,
    last_id: Option<String>,
}

impl Watch {
    /// Watches by a query.
    pub fn open(server: &Server, query: &str) -> Self {
        Self::with(server, query, &[])
    }

    pub fn with(server: &Server, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = server.connect();
        connection.send("GET", &format!("/watch?{query}"), headers, b"");
        let head = connection.head();
        assert_eq!(head.status, 200, "{query}");
        Self::of(connection, &head)
    }

    /// Goes on with an answer of which the head was read.
    pub fn of(connection: Connection, head: &Response) -> Self {
        Self {
            connection,
            came: Vec::new(),
            has_lines: head.header("content-type") == Some("application/x-ndjson"),
            last_id: None,
        }
    }

    /// The id of the last event that was taken and has one.
    pub fn last_id(&self) -> Option<String> {
        self.last_id.clone()
    }

    /// The next event; `None` at the end.
    pub fn next(&mut self) -> Option<Event> {
        self.try_next().expect("the watch does not break off")
    }

    /// The next event; `Ok(None)` at the end, `Err` where the answer broke off.
    pub fn try_next(&mut self) -> io::Result<Option<Event>> {
        let end: &[u8] = if self.has_lines { b"\n" } else { b"\n\n" };
        let mut looked = 0;
        loop {
            let rest = &self.came[looked..];
            let found = rest.windows(end.len()).position(|some| some == end);
            if let Some(at) = found {
                let whole: Vec<u8> = self.came.drain(..looked + at + end.len()).collect();
                let event = self.parse(std::str::from_utf8(&whole).unwrap());
                self.last_id = event.id.clone().or(self.last_id.take());
                return Ok(Some(event));
            }
            looked = self.came.len().saturating_sub(1);
            match self.connection.chunk()? {
                Some(chunk) => self.came.extend(chunk),
                None => {
                    assert!(self.came.is_empty(), "no event is given in part");
                    return Ok(None);
                }
            }
        }
    }

    /// The next event that is no bookmark.
    pub fn next_change(&mut self) -> Event {
        loop {
            let event = self.next().expect("the watch goes on");
            if event.name != "bookmark" {
                return event;
            }
        }
    }

    /// Applies the next event, and says whether it was that of which all was given.
    pub fn fold(&mut self, state: &mut State) -> bool {
        let event = self.next().expect("the watch goes on");
        let text = |member: &str| event.data[member].as_str().map(str::to_owned);
        match event.name.as_str() {
            "set" => {
                let tag = text("etag").unwrap();
                state.insert(text("key").unwrap(), (tag, text("expires_at")));
            }
            "delete" | "expire" => {
                state.remove(&text("key").unwrap());
            }
            "bookmark" => {}
            "ready" => return true,
            other => panic!("{other}"),
        }
        false
    }

    /// Ends this side, and reads on.
    pub fn end_sending(&mut self) {
        self.connection.end_sending();
    }

    /// Whether the server ends the connection too.
    pub fn closes(&mut self) -> bool {
        self.connection.ends()
    }

    fn parse(&self, text: &str) -> Event {
        if self.has_lines {
            let event: Json = serde_json::from_str(text).unwrap();
            return Event {
                name: event["event"].as_str().unwrap().into(),
                id: event["id"].as_str().map(str::to_owned),
                data: event["data"].clone(),
            };
        }
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Event {
            name: field("event").unwrap().into(),
            id: field("id").map(str::to_owned),
            data: serde_json::from_str(field("data").unwrap()).unwrap(),
        }
    }
}

/// What the store has of the keys that match.
pub fn state(server: &Server, filter: &str) -> State {
    let found = server.get(&format!("/search?{filter}&values=true"));
    assert_eq!(found.status, 200, "{}", found.text());
    let entries: Vec<Json> = serde_json::from_slice(&found.body).unwrap();
    let text = |entry: &Json, member: &str| entry[member].as_str().map(str::to_owned);
    let found = entries.iter().map(|entry| {
        let (key, tag) = (text(entry, "key"), text(entry, "etag"));
        (key.unwrap(), (tag.unwrap(), text(entry, "expires_at")))
    });
    found.collect()
}

/// Asserts that what a watch gives comes to what the store has, which nobody changes meanwhile.
pub fn equals_the_store(server: &Server, filter: &str, watch: &mut Watch, folded: &mut State) {
    let expected = state(server, filter);
    let deadline = Instant::now() + DEADLINE;
    while *folded != expected {
        assert!(
            Instant::now() < deadline,
            "{filter}: {folded:?} is not {expected:?}"
        );
        watch.fold(folded);
    }
    assert_eq!(state(server, filter), expected, "nobody changed it");
}
