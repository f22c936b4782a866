//! A store that clients fill in every way that there is, in a control group of twice its bound, where this machine lets
//! us make one; elsewhere the most that the process had is held to the same. What is full is refused, nothing is
//! killed, and once there is room, all is as before.

use crate::server::{Server, until};
use crate::wire::{Connection, Response, exchange};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// The bound on keys and values, and what the process may have.
const STORE_BYTES_MAX: u64 = 64 << 20;
const LIMIT_BYTES: u64 = 2 * STORE_BYTES_MAX;

/// How long a bulk body is, about, in bytes.
const BODY_BYTES: usize = 1 << 20;

/// So many bodies fill the store, whatever little of them is kept.
const BODIES_MAX: usize = 2_000;

/// Clients at once that take nothing of what they asked for.
const SILENT: usize = 32;

/// A way to fill the store: the line of a number.
struct Way {
    name: &'static str,
    line: fn(usize) -> String,
}

const WAYS: [Way; 6] = [
    Way {
        name: "values",
        line: |number| {
            let body = "v".repeat(50_000);
            format!("{{\"key\":\"values/{number}\",\"value\":\"{body}\"}}\n")
        },
    },
    Way {
        name: "keys",
        line: |number| {
            let key = "k".repeat(900);
            format!("{{\"key\":\"keys/{number}{key}\",\"value\":1}}\n")
        },
    },
    Way {
        name: "types",
        line: |number| {
            let name = "t".repeat(200);
            format!(
                "{{\"key\":\"types/{number}\",\"content_type\":\"x/{name}{number}\",\"base64\":\"\"}}\n"
            )
        },
    },
    Way {
        name: "deadlines",
        line: |number| {
            let (ttl_ms, body) = (86_400_000 + number, "d".repeat(200));
            format!("{{\"key\":\"deadlines/{number}\",\"value\":\"{body}\",\"ttl_ms\":{ttl_ms}}}\n")
        },
    },
    Way {
        name: "groups",
        line: |number| {
            let body = "g".repeat(200);
            format!("{{\"key\":\"groups/{number}/x\",\"value\":\"{body}\"}}\n")
        },
    },
    Way {
        name: "conditions",
        line: |number| {
            let body = "c".repeat(200);
            format!(
                "{{\"key\":\"conditions/{number}\",\"value\":\"{body}\",\"if_none_match\":\"*\"}}\n"
            )
        },
    },
];

#[test]
fn a_store_that_is_filled_in_any_way_refuses_more_and_is_not_killed() {
    let group = Group::make();
    let settings = [
        ("store_bytes_max", STORE_BYTES_MAX.to_string()),
        ("buffers_bytes_max", (16 << 20).to_string()),
        ("changes_bytes_max", (8 << 20).to_string()),
        // So that those who take nothing hold what they do not for long, and others are told soon.
        ("write_timeout_ms", "2000".into()),
        ("body_timeout_ms", "5000".into()),
    ];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut server = Server::start_by(&settings, |command| match &group {
        Some(group) => group.run(command),
        None => command,
    });
    let address = server.address();
    for way in &WAYS {
        // From here on they take nothing of what is changed, and have it held for them.
        let watchers =
            ask_and_read_nothing(address, "GET", "/watch?prefix=&values=true&from=start", "");
        fill(address, way);
        server.assert_runs();
        check_full(address, way);
        drop(watchers);
        check_emptied(address, way);
        server.assert_runs();
    }
    until("no client is left", || {
        (server.metric("kvstore_watchers") == 0.0).then_some(())
    });
    let peak = match &group {
        Some(group) => group.peak_bytes(),
        None => server.peak_bytes(),
    };
    assert!(peak <= LIMIT_BYTES, "{peak} bytes");
    let log = server.log();
    assert!(!log.contains("ERROR"), "{log}");
    assert!(server.stop().success());
    let how = match group {
        Some(_) => "in a control group",
        None => "without a control group, which this machine does not let us make",
    };
    let share = peak as f64 / STORE_BYTES_MAX as f64;
    let figure = format!("{share:.2} times store_bytes_max at the most, {how}");
    crate::say("memory", &figure, "2");
}

/// Sends bulk bodies until there is no room.
fn fill(address: SocketAddr, way: &Way) {
    let mut number = 0;
    for _ in 0..BODIES_MAX {
        let mut body = String::new();
        while body.len() < BODY_BYTES {
            body += &(way.line)(number);
            number += 1;
        }
        let answer = ask(address, "POST", "/set", &body);
        match answer.status {
            200 => {}
            507 => {
                assert!(
                    shown(&answer).contains("\"store_full\""),
                    "{}",
                    shown(&answer)
                );
                return;
            }
            _ => panic!("{}: {}", way.name, shown(&answer)),
        }
    }
    panic!("{} do not fill the store", way.name);
}

/// A store that is full is read, by many at once who take nothing of it too, and in it what does not grow it is done.
fn check_full(address: SocketAddr, way: &Way) {
    let name = way.name;
    let first = (way.line)(0);
    let first: serde_json::Value = serde_json::from_str(&first).unwrap();
    let key = first["key"].as_str().unwrap();
    let get = format!("/get/{key}");
    until("a value is read", || {
        let read = ask(address, "GET", &get, "");
        // Watchers may hold all that answers may take, until they are cut off.
        assert!(matches!(read.status, 200 | 503), "{}", shown(&read));
        (read.status == 200).then_some(())
    });
    let keys: Vec<String> = (0..2_000)
        .map(|number| {
            let line: serde_json::Value = serde_json::from_str(&(way.line)(number)).unwrap();
            line["key"].to_string()
        })
        .collect();
    let many = format!("{{\"keys\":[{}]}}", keys.join(","));
    let groups = format!("/search?prefix={name}/&delimiter=/&limit=1000");
    until("groups are found", || {
        let found = ask(address, "GET", &groups, "");
        assert!(matches!(found.status, 200 | 503), "{}", shown(&found));
        (found.status == 200).then_some(())
    });
    // They may have all that answers may take, and others wait; not so health, and what is small.
    let silent = [
        ask_and_read_nothing(address, "POST", "/get", &many),
        ask_and_read_nothing(
            address,
            "GET",
            &format!("/search?prefix={name}/&values=true"),
            "",
        ),
    ];
    assert_eq!(ask(address, "GET", "/livez", "").status, 200);
    drop(silent);
    let deleted = ask(address, "DELETE", &format!("/delete/{key}"), "");
    assert_eq!(deleted.status, 204, "{}", shown(&deleted));
}

/// Once all is deleted there is room again.
fn check_emptied(address: SocketAddr, way: &Way) {
    let erase = format!("/delete?prefix={}/", way.name);
    let erased = until("the keys are deleted", || {
        let erased = ask(address, "DELETE", &erase, "");
        // Bodies that were not taken may hold what it needs.
        (erased.status != 503).then_some(erased)
    });
    assert_eq!(erased.status, 200, "{}", shown(&erased));
    let value = "v".repeat(500_000);
    let set = format!("{{\"key\":\"again\",\"value\":\"{value}\"}}\n");
    until("there is room again", || {
        (ask(address, "POST", "/set", &set).status == 200).then_some(())
    });
}

fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> Response {
    exchange(address, request(method, path, body).as_bytes()).unwrap()
}

/// Clients that ask the same, and read nothing of the answer.
fn ask_and_read_nothing(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> Vec<Connection> {
    let asked = request(method, path, body);
    let clients = (0..SILENT).map(|_| {
        let mut connection = Connection::connect(address).unwrap();
        // A long body may find no room.
        let _ = connection.send(asked.as_bytes());
        connection
    });
    clients.collect()
}

fn request(method: &str, path: &str, body: &str) -> String {
    let form = match path {
        "/set" => "application/x-ndjson",
        _ => "application/json",
    };
    let framing = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: {form}\r\nContent-Length: {length}\r\n"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: t\r\n{framing}\r\n{body}")
}

fn shown(answer: &Response) -> String {
    let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(1_000)]);
    format!("{} {body}", answer.status)
}

/// A control group (version 2) with the limit, removed when dropped, after the process in it has ended.
struct Group {
    folder: PathBuf,
}

impl Group {
    /// `None` where the system has none that we may make.
    fn make() -> Option<Self> {
        let top = PathBuf::from("/sys/fs/cgroup");
        let controllers = std::fs::read_to_string(top.join("cgroup.subtree_control")).ok()?;
        if !controllers.split_whitespace().any(|name| name == "memory") {
            return None;
        }
        let folder = top.join(format!("kvstore-abuse-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        let group = Self { folder };
        std::fs::write(group.folder.join("memory.max"), LIMIT_BYTES.to_string()).ok()?;
        // What is killed for its memory is not moved to a disk before, where there is one.
        let _ = std::fs::write(group.folder.join("memory.swap.max"), "0");
        Some(group)
    }

    /// The command within it.
    fn run(&self, command: Command) -> Command {
        let mut within = Command::new("sh");
        within
            .args(["-c", "echo $$ > \"$1/cgroup.procs\" && exec \"$0\""])
            .arg(command.get_program())
            .arg(&self.folder);
        within
    }

    /// The most that was in it, kernel memory for sockets included.
    fn peak_bytes(&self) -> u64 {
        let peak = std::fs::read_to_string(self.folder.join("memory.peak"));
        peak.map_or(LIMIT_BYTES, |text| text.trim().parse().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.folder);
    }
}
