//! The log: its forms, slow requests, and by what requests are known.

use crate::disk::with_failing;
use crate::durable::metric;
use crate::support::{Connection, JSON, LINES, Response, Server, kvstore, until};
use rustix::process::Signal;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REQUEST_ID: &str = "X-Request-Id";

/// What every line of JSON has.
const OF_EACH: [&str; 4] = ["time", "level", "target", "message"];

/// What the line of a slow request has besides.
const OF_SLOW: [&str; 7] = [
    "method",
    "endpoint",
    "status",
    "total_ms",
    "queue_ms",
    "store_ms",
    "request_id",
];

/// All lines of a log, which are JSON.
#[track_caller]
fn objects(log: &str) -> Vec<Json> {
    let parsed = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("JSON, not {line}"));
    log.lines().map(parsed).collect()
}

/// The names of an object's members.
fn members(line: &Json) -> BTreeSet<&str> {
    let members = line.as_object().unwrap();
    members.keys().map(String::as_str).collect()
}

/// The line that a log of JSON has of a slow request to an endpoint, once it has it.
fn slow_line(server: &Server, endpoint: &str) -> Json {
    until("the slow request is logged", || {
        let mut lines = objects(&server.log()).into_iter();
        lines.find(|line| line["target"] == "slow" && line["endpoint"] == endpoint)
    })
}

/// Waits until the server works on so many requests.
fn under_way(server: &Server, requests: usize) {
    until("the requests are under way", || {
        // The scrape is one too.
        let in_flight = metric(server, "kvstore_http_requests_in_flight");
        (in_flight == requests as f64 + 1.0).then_some(())
    });
}

/// Begins a request whose body lacks its end.
fn begin(server: &Server) -> Connection {
    let mut connection = server.connect();
    connection.raw("PUT /set/secret-key HTTP/1.1\r\nHost: t\r\nContent-Length: 12\r\n\r\nsecret");
    connection
}

/// Lets time go by, which is what is tested.
fn wait(ms: u64) {
    let begun = Instant::now();
    until("time has gone by", || {
        (begun.elapsed() > Duration::from_millis(ms)).then_some(())
    });
}

fn finish(connection: &mut Connection) -> Response {
    connection.raw("-value");
    let response = connection.response("PUT");
    assert_eq!(response.status, 200);
    response
}

/// All that a server logged until it ended.
fn log_to_the_end(mut server: Server) -> String {
    server.signal(Signal::INT);
    server.wait();
    until("the end is logged", || {
        server.log().contains("stopped; ").then_some(())
    });
    server.log()
}

#[test]
fn lines_of_json_are_objects_of_known_members() {
    let server = Server::in_memory(&["--log-format", "json", "--access-log", "true"]);
    server.put("/set/secret-key", &[], b"secret-value");
    let response = server.get_with("/get/secret-key", &[(REQUEST_ID, "a\"b\\c")]);
    assert_eq!(response.header("x-request-id"), Some("a\"b\\c"));
    until("the requests are logged", || {
        let lines = objects(&server.log());
        let access = lines.iter().filter(|line| line["target"] == "access");
        (access.count() == 2).then_some(())
    });
    let log = log_to_the_end(server);
    assert!(!log.contains("secret"), "{log}");
    let lines = objects(&log);
    for line in &lines {
        let members = members(line);
        assert!(OF_EACH.iter().all(|name| members.contains(name)), "{line}");
        let time = line["time"].as_str().unwrap();
        let form: String = time
            .chars()
            .map(|sign| if sign.is_ascii_digit() { '0' } else { sign })
            .collect();
        assert_eq!(form, "0000-00-00T00:00:00.000Z");
        let level = line["level"].as_str().unwrap();
        assert!(matches!(level, "info" | "warn"), "{line}");
    }
    let is_first = |line: &&Json| line["message"].as_str().unwrap().contains("listens on");
    let begun = lines.iter().find(is_first).unwrap();
    assert_eq!(members(begun), BTreeSet::from(OF_EACH));
    assert_eq!(begun["target"], "kvstore::server");
    let access = |endpoint: &str| {
        let is_of = |line: &&Json| line["target"] == "access" && line["endpoint"] == endpoint;
        lines.iter().find(is_of).unwrap()
    };
    let mut expected = BTreeSet::from(OF_EACH);
    expected.extend([
        "peer",
        "method",
        "endpoint",
        "status",
        "total_ms",
        "request_id",
    ]);
    let (set, get) = (access("/set"), access("/get"));
    assert_eq!((members(set), members(get)), (expected.clone(), expected));
    assert_eq!(
        (&set["method"], &get["method"]),
        (&"PUT".into(), &"GET".into())
    );
    assert_eq!(get["status"], 200);
    assert_eq!(get["peer"], "127.0.0.1");
    assert_eq!(get["request_id"], "a\"b\\c");
    assert!(get["total_ms"].is_f64());
}

#[test]
fn text_is_what_it_was_and_says_fields_behind_the_message() {
    let server = Server::in_memory(&["--slow-request-ms", "20"]);
    let mut slow = begin(&server);
    under_way(&server, 1);
    wait(60);
    let response = finish(&mut slow);
    let id = response.header("x-request-id").unwrap();
    let line = until("the slow request is logged", || {
        let log = server.log();
        let mut lines = log.lines().map(String::from);
        lines.find(|line| line.contains("endpoint=/set"))
    });
    let (time, rest) = line.split_once(' ').unwrap();
    assert!(time.starts_with('[') && time.ends_with('Z'), "{line}");
    let says = "WARN  slow] a request was slow method=PUT endpoint=/set status=200 total_ms=";
    assert!(rest.starts_with(says), "{line}");
    assert!(line.ends_with(&format!(" request_id={id}")), "{line}");
    let log = server.log();
    let first = log
        .lines()
        .find(|line| line.contains("listens on"))
        .unwrap();
    assert!(
        first.contains("Z INFO  kvstore::server] kvstore "),
        "{first}"
    );
    assert!(first.ends_with(&server.address().to_string()), "{first}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_slow_request_is_logged_with_what_it_took_and_without_its_key() {
    let server = Server::in_memory(&["--slow-request-ms", "20", "--log-format", "json"]);
    let mut slow = begin(&server);
    under_way(&server, 1);
    wait(60);
    let response = finish(&mut slow);
    let line = slow_line(&server, "/set");
    let mut expected = BTreeSet::from(OF_EACH);
    expected.extend(OF_SLOW);
    assert_eq!(members(&line), expected);
    assert_eq!(line["level"], "warn");
    assert_eq!(line["message"], "a request was slow");
    assert_eq!(line["method"], "PUT");
    assert_eq!(line["status"], 200);
    assert_eq!(line["request_id"].as_str(), response.header("x-request-id"));
    let ms = |name: &str| line[name].as_u64().unwrap();
    assert!(ms("total_ms") >= 20, "{line}");
    assert!(ms("queue_ms") + ms("store_ms") <= ms("total_ms"), "{line}");
    assert!(!server.log().contains("secret"), "{}", server.log());
}

#[test]
fn what_a_disk_takes_is_time_in_the_store() {
    let directory = TempDir::new().unwrap();
    let settings = ["--slow-request-ms", "200", "--log-format", "json"];
    let server = with_failing("fdatasync:delay_enter=300000", directory.path(), &settings);
    let id = [(REQUEST_ID, "mine")];
    assert_eq!(server.put("/set/k", &id, b"1").status, 200);
    let line = slow_line(&server, "/set");
    assert_eq!(line["request_id"], "mine");
    let ms = |name: &str| line[name].as_u64().unwrap();
    assert!(ms("store_ms") >= 200, "{line}");
    assert!(ms("queue_ms") + ms("store_ms") <= ms("total_ms"), "{line}");
}

#[test]
fn what_lasts_is_not_slow_for_lasting() {
    let server = Server::in_memory(&["--log-format", "json"]);
    let mut bulk = server.connect();
    let (name, value) = LINES;
    bulk.raw(format!(
        "POST /set HTTP/1.1\r\nHost: t\r\n{name}: {value}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let mut watch = server.connect();
    watch.send("GET", "/watch?prefix=", &[][..], b"");
    assert_eq!(watch.head().status, 200);
    let mut slow = begin(&server);
    under_way(&server, 3);
    wait(1_100);
    finish(&mut slow);
    let line = "{\"key\":\"k\",\"value\":1}\n";
    bulk.raw(format!("{:x}\r\n{line}\r\n0\r\n\r\n", line.len()));
    assert_eq!(bulk.response("POST").json()["created"], 1);
    let line = slow_line(&server, "/set");
    assert_eq!(line["method"], "PUT");
    drop(watch);
    let lines = objects(&log_to_the_end(server));
    let slow = lines.iter().filter(|line| line["target"] == "slow");
    let slow: Vec<&Json> = slow.collect();
    assert!(slow.iter().all(|line| line["method"] == "PUT"), "{slow:?}");
}

#[test]
fn zero_is_no_bound_on_what_is_slow() {
    let server = Server::in_memory(&["--slow-request-ms", "0"]);
    let mut slow = begin(&server);
    under_way(&server, 1);
    wait(60);
    assert_eq!(finish(&mut slow).header("x-request-id"), None);
    let log = log_to_the_end(server);
    assert!(!log.contains("a request was slow"), "{log}");
}

#[test]
fn a_flood_of_slow_requests_does_not_flood_the_log() {
    const REQUESTS: usize = 60;
    let settings = ["--slow-request-ms", "20", "--log-format", "json"];
    let begun = Instant::now();
    let server = Server::in_memory(&[&settings[..], &["--workers", "1"]].concat());
    let mut slow: Vec<Connection> = (0..REQUESTS).map(|_| begin(&server)).collect();
    under_way(&server, REQUESTS);
    wait(60);
    for connection in &mut slow {
        finish(connection);
    }
    let (lines, left_out) = until("all are logged or counted", || {
        let lines = objects(&server.log());
        let slow = lines.iter().filter(|line| line["target"] == "slow");
        let (told, left_out): (Vec<&Json>, Vec<&Json>) =
            slow.partition(|line| line["left_out"].is_null());
        let left_out = left_out
            .iter()
            .map(|line| line["left_out"].as_u64().unwrap());
        let left_out = left_out.sum::<u64>() as usize;
        (told.len() + left_out >= REQUESTS).then_some((told.len(), left_out))
    });
    // In each second that one began in, ten.
    let most = 10 * (begun.elapsed().as_secs() as usize + 2);
    assert!(lines <= most, "{lines} lines, {left_out} left out");
    assert!(left_out > 0, "{lines} lines");
}

#[test]
fn the_id_that_a_request_came_with_is_in_its_answer() {
    let server = Server::start();
    let mine = (REQUEST_ID, "0af7651916cd43dd8448eb211c80319c/{}~!");
    server.put("/set/k", &[], b"1");
    for (method, path, headers, status) in [
        ("GET", "/get/k", &[][..], 200),
        ("HEAD", "/get/k", &[][..], 200),
        ("GET", "/get/k", &[("If-None-Match", "*")][..], 304),
        ("GET", "/get/none", &[][..], 404),
        ("GET", "/nowhere", &[][..], 404),
        ("GET", "/search?limit=0", &[][..], 400),
        ("GET", "/search?prefix=", &[][..], 200),
        ("POST", "/nowhere", &[][..], 404),
        ("BREW", "/get/k", &[][..], 405),
        ("POST", "/set", &[JSON][..], 400),
        ("GET", "/get/k#", &[][..], 400),
        ("GET", "/metrics", &[][..], 200),
        ("DELETE", "/delete/k", &[][..], 204),
    ] {
        let headers = [headers, &[mine]].concat();
        let response = server.send(method, path, &headers, b"");
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.header("x-request-id"),
            Some(mine.1),
            "{method} {path}"
        );
    }
}

/// Whether a header says an id that the server has given.
fn is_given(response: &Response) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let id = response.header("x-request-id");
    id.is_some_and(|id| id.len() == 16 && id.bytes().all(is_digit))
}

#[test]
fn answers_that_somebody_may_ask_about_have_an_id() {
    let server = Server::start();
    server.put("/set/k", &[], b"1");
    for (method, path) in [
        ("GET", "/get/k"),
        ("GET", "/livez"),
        ("GET", "/search?prefix=&limit=1"),
        ("DELETE", "/delete?prefix=none"),
    ] {
        let response = server.send(method, path, &[], b"");
        assert_eq!(
            (response.status, response.header("x-request-id")),
            (200, None)
        );
    }
    let mut given = BTreeSet::new();
    for (method, path, status) in [
        ("GET", "/get/none", 404),
        ("GET", "/nowhere", 404),
        ("BREW", "/get/k", 405),
        ("GET", "/get/k#", 400),
        ("GET", "/search?limit=0", 400),
    ] {
        let response = server.send(method, path, &[], b"");
        assert_eq!(response.status, status, "{method} {path}");
        assert!(is_given(&response), "{:?}", response.headers);
        given.insert(response.header("x-request-id").unwrap().to_owned());
    }
    assert_eq!(given.len(), 5);
    // The log may have lines of it for as long as it lasts.
    let mut watch = server.connect();
    watch.send("GET", "/watch?prefix=", &[], b"");
    assert!(is_given(&watch.head()));
}

#[test]
fn what_is_no_id_is_answered_with_a_new_one() {
    let server = Server::start();
    server.put("/set/k", &[], b"1");
    let longest = "x".repeat(128);
    let response = server.get_with("/get/k", &[(REQUEST_ID, &longest)]);
    assert_eq!(response.header("x-request-id"), Some(longest.as_str()));
    let longer = "x".repeat(129);
    for id in ["", "two words", "a\ttab", "é", &longer] {
        let response = server.get_with("/get/k", &[(REQUEST_ID, id)]);
        assert_eq!(response.status, 200);
        assert!(is_given(&response), "{id:?}: {:?}", response.headers);
    }
    let twice = [(REQUEST_ID, "one"), (REQUEST_ID, "two")];
    assert!(is_given(&server.get_with("/get/k", &twice)));
}

#[test]
fn a_server_that_does_not_serve_says_so_in_the_form_of_its_log() {
    let server = Server::in_memory(&[]);
    let address = server.address().to_string();
    let mut command = kvstore();
    command.args(["--log-format", "json", "--listen", &address]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let lines = objects(std::str::from_utf8(&output.stderr).unwrap());
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "error");
    assert!(
        last["message"].as_str().unwrap().contains(&address),
        "{last}"
    );
    // A log that has no such lines hides it from nobody.
    let output = command.args(["--log", "off"]).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&address), "{said}");
}
