//! The commands for a shell: what they write, and what they end with.

use crate::engine::is_memory;
use crate::gateway::{Gateway, Reply};
use crate::support::{Server, kvstore, until};
use rustix::process::Signal;
use serde_json::Value as Json;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// What a command ended with and wrote. No test has a terminal.
struct Ran {
    code: Option<i32>,
    output: Vec<u8>,
    said: String,
}

impl Ran {
    /// Asserts that the command did it, and returns what it wrote.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.said);
        assert_eq!(self.said, "");
        String::from_utf8(self.output).unwrap()
    }

    /// Asserts that the command failed, wrote nothing and said something.
    #[track_caller]
    fn failed(self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        assert!(self.output.is_empty(), "{:?}", self.output);
        assert!(self.said.contains(says), "{:?} says {says:?}", self.said);
    }
}

fn run(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Not all of them read it.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        output: output.stdout,
        said: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command against a server.
fn ask(server: &Server, words: &[&str]) -> Ran {
    ask_with(server, words, b"")
}

fn ask_with(server: &Server, words: &[&str], input: &[u8]) -> Ran {
    let mut command = kvstore();
    run(command.args(words).env("KVSTORE_URL", server.url()), input)
}

/// A server whose own memory has the data, once it is ready.
fn ready(server: Server) -> Server {
    until("the server is ready", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    server
}

#[test]
fn a_value_comes_back_byte_for_byte() {
    let server = Server::start();
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("value");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    fs::write(&file, &bytes).unwrap();
    let from_file = format!("@{}", file.display());
    ask(&server, &["set", "file", &from_file]).done();
    ask_with(&server, &["set", "input", "-"], &bytes).done();
    for key in ["file", "input"] {
        let ran = ask(&server, &["get", key]);
        assert_eq!((ran.code, ran.output == bytes), (Some(0), true), "{key}");
    }
    for (value, content_type) in [
        ("{\"a\": 1}", "application/json"),
        ("-5", "application/json"),
        ("any text", "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
    ] {
        assert_eq!(ask(&server, &["set", "k", value]).done(), "");
        assert_eq!(ask(&server, &["get", "k"]).done(), value);
        let read = server.get("/get/k");
        assert_eq!(read.header("content-type"), Some(content_type), "{value}");
    }
    ask(&server, &["set", "k", "1", "--content-type", "text/x-mine"]).done();
    let read = server.get("/get/k");
    assert_eq!(read.header("content-type"), Some("text/x-mine"));
    ask(&server, &["set", "k", "@/nonexistent"]).failed(74, "/nonexistent");
    assert_eq!(server.get("/get/k").text(), "1");
}

#[test]
fn any_key_is_one_key() {
    let server = Server::start();
    for key in [
        " ",
        "a b",
        "a/b",
        "/",
        "//",
        "100%",
        "%41",
        "?",
        "a?b=c&d",
        "#",
        "+",
        "é",
        ".",
        "..",
        "../x",
        "a\nb",
        "-k",
        "--yes",
        "@k",
        "\"",
        "\u{10ffff}",
    ] {
        ask(&server, &["set", "--", key, "v"]).done();
        assert_eq!(server.get("/search?prefix=").keys(), [key]);
        assert_eq!(ask(&server, &["get", "--", key]).done(), "v", "{key:?}");
        ask(&server, &["expire", "--ttl", "1h", "--", key]).done();
        assert_eq!(ask(&server, &["search"]).done(), format!("{key}\n"));
        let prefix = format!("--prefix={key}");
        assert_eq!(ask(&server, &["search", "--count", &prefix]).done(), "1\n");
        ask(&server, &["delete", "--", key]).done();
        assert_eq!(server.get("/search?prefix=").total(), 0, "{key:?}");
    }
}

#[test]
fn what_is_not_there_or_does_not_hold_ends_with_one() {
    let server = Server::start();
    for words in [
        &["get", "none"][..],
        &["delete", "none"],
        &["expire", "none", "--never"],
    ] {
        ask(&server, words).failed(1, "names no value");
    }
    ask(&server, &["set", "none", "1", "--if-match", "*"]).failed(1, "condition");
    ask(&server, &["set", "k", "1", "--create"]).done();
    ask(&server, &["set", "k", "2", "--create"]).failed(1, "condition does not hold");
    let tag = ask(&server, &["get", "k", "--etag"]).done();
    assert_eq!(
        format!("\"{}\"", tag.trim_end()),
        server.get("/get/k").etag()
    );
    ask(&server, &["set", "k", "3", "--if-match", tag.trim_end()]).done();
    ask(&server, &["set", "k", "4", "--if-match", tag.trim_end()]).failed(1, "does not hold");
    assert_eq!(server.get("/get/k").text(), "3");
    let long = "k".repeat(2000);
    ask(&server, &["get", &long]).failed(1, "413");
    ask(&server, &["search", "--limit", "0"]).failed(1, "limit");
    ask(&server, &["expire", "k", "--at", "tomorrow"]).failed(1, "expires_at");
}

#[test]
fn wrong_usage_ends_with_two() {
    let server = Server::start();
    server.fill(["k"]);
    for words in [
        &["get"][..],
        &["set", "k"],
        &["set", "k", "2", "--ttl", "soon"],
        &["set", "k", "2", "--if-match", "a b"],
        &["set", "k", "2", "--if-match", "a", "--create"],
        &["set", "k", "2", "--content-type", "a\nb"],
        &["delete"],
        &["delete", "--dry-run"],
        &["delete", "k", "--prefix", ""],
        &["delete", "k", "--yes"],
        &["expire", "k"],
        &["expire", "k", "--never", "--ttl", "1s"],
        &["search", "k"],
        &["search", "--count", "--values"],
        &["get", "k", "--url", "ftp://x"],
    ] {
        ask(&server, words).failed(2, "");
    }
    assert_eq!(server.get("/get/k").text(), "1");
}

#[test]
fn wrong_usage_is_named_by_what_is_wrong() {
    let server = Server::start();
    server.fill(["k"]);
    for (words, says) in [
        (&["set", "k", "2", "--ttl", "-5s"][..], "'-5s' for '--ttl"),
        (&["expire", "k", "--ttl", "-5"], "'-5' for '--ttl"),
        (&["expire", "k", "--ttl", "--never"], "'--never' for '--ttl"),
        (
            &["get", "k", "--url", ""],
            "KVSTORE_URL (or --url) is empty",
        ),
    ] {
        ask(&server, words).failed(2, says);
    }
    let ran = run(kvstore().args(["get", "k"]).env("KVSTORE_URL", ""), b"");
    ran.failed(
        2,
        "KVSTORE_URL (or --url) is empty: give a server's address",
    );
    assert_eq!(server.get("/get/k").text(), "1");
}

#[test]
fn what_is_no_text_is_wrong_usage_too() {
    let odd = OsStr::from_bytes(b"a\xff");
    run(kvstore().arg("get").arg(odd), b"").failed(2, "error: ");
    run(kvstore().arg("get").env("LABEL", odd), b"").failed(2, "error: ");
}

#[test]
fn no_terminal_obeys_what_a_server_says() {
    let server = Server::start();
    let body = r#"{"code":"odd","detail":"\u001b]0;title\u0007no"}"#;
    let answer = format!(
        "HTTP/1.1 400 Bad\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let gateway = Gateway::start(server.address(), move |_| Reply::Say(answer.clone()));
    let ran = run(kvstore().args(["get", "k", "--url", &gateway.url()]), b"");
    ran.failed(1, "\\u{1b}]0;title\\u{7}no");
}

#[test]
fn without_a_server_all_of_them_end_with_74() {
    for words in [
        &["get", "k"][..],
        &["set", "k", "secret"],
        &["delete", "k"],
        &["delete", "--prefix", "", "--yes"],
        &["search"],
        &["expire", "k", "--never"],
        &["watch"],
    ] {
        let mut command = kvstore();
        let ran = run(
            command.args(words).args(["--url", "http://127.0.0.1:1"]),
            b"",
        );
        assert!(!ran.said.contains("secret"), "{}", ran.said);
        ran.failed(74, "does not answer");
    }
}

#[test]
fn what_another_server_says_is_no_success() {
    let server = Server::start();
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhello";
    let gateway = Gateway::start(server.address(), move |_| Reply::Say(answer.into()));
    for words in [
        &["set", "k", "v"][..],
        &["delete", "k"],
        &["delete", "--prefix", "", "--yes"],
        &["search"],
        &["search", "--values"],
        &["search", "--groups", "/"],
        &["search", "--count"],
        &["search", "--json"],
        &["expire", "k", "--never"],
        &["get", "k", "--json"],
    ] {
        let mut command = kvstore();
        let ran = run(command.args(words).args(["--url", &gateway.url()]), b"");
        ran.failed(74, "is it a kvstore?");
    }
}

#[test]
fn values_end_when_they_are_told_to() {
    let server = Server::start();
    let ends = || {
        server
            .get("/get/k")
            .header("x-expires-at")
            .map(String::from)
    };
    ask(&server, &["set", "k", "1", "--ttl", "60s"]).done();
    assert!(ends().is_some());
    ask(&server, &["expire", "k", "--never"]).done();
    assert_eq!(ends(), None);
    ask(&server, &["expire", "k", "--at", "2090-01-31T12:00:00Z"]).done();
    assert_eq!(ends().as_deref(), Some("2090-01-31T12:00:00.000Z"));
    ask(&server, &["expire", "k", "--ttl", "1"]).done();
    until("the value ends", || {
        (ask(&server, &["get", "k"]).code == Some(1)).then_some(())
    });
}

#[test]
fn deleting_by_filter_takes_a_yes() {
    let server = Server::start();
    server.fill(["a1", "a2", "b1"]);
    ask(&server, &["delete", "--prefix", "a"]).failed(2, "--yes");
    assert_eq!(server.get("/search?prefix=").total(), 3);
    let dry = ["delete", "--suffix", "1", "--dry-run"];
    assert_eq!(ask(&server, &dry).done(), "2\n");
    assert_eq!(server.get("/search?prefix=").total(), 3);
    let both = ["delete", "--prefix", "a", "--suffix", "1", "--yes"];
    assert_eq!(ask(&server, &both).done(), "1\n");
    assert_eq!(server.get("/search?prefix=").keys(), ["a2", "b1"]);
    let all = ["delete", "--prefix", "", "--yes"];
    assert_eq!(ask(&server, &all).done(), "2\n");
    assert_eq!(ask(&server, &all).done(), "0\n");
}

#[test]
fn searches_give_keys_totals_entries_and_groups() {
    let server = Server::start();
    let keys: Vec<String> = (0..30_000).map(|number| format!("n/{number:05}")).collect();
    server.fill(&keys);
    server.fill(["a", "a\nb"]);
    let listed = ask(&server, &["search", "--prefix", "n/"]).done();
    assert!(listed.lines().eq(keys.iter().map(String::as_str)));
    assert_eq!(ask(&server, &["search", "--count"]).done(), "30002\n");
    let some = [
        "search", "--suffix", "9", "--limit", "2", "--after", "n/00010",
    ];
    assert_eq!(ask(&server, &some).done(), "n/00019\nn/00029\n");
    let json = ["search", "--prefix", "a", "--json"];
    assert_eq!(ask(&server, &json).done(), "\"a\"\n\"a\\nb\"\n");
    let groups = ["search", "--prefix", "", "--groups", "/"];
    let groups = ask(&server, &groups).done();
    assert_eq!(
        groups.lines().next_back(),
        Some(r#"{"group":"n/","keys":30000}"#)
    );
    let values = ask(&server, &["search", "--prefix", "n/", "--values"]).done();
    assert_eq!(values.lines().count(), keys.len());
    let first: Json = serde_json::from_str(values.lines().next().unwrap()).unwrap();
    assert_eq!(first["key"], "n/00000");
    assert_eq!(first["value"], 1);
    // Whoever reads may have had enough.
    let mut child = kvstore()
        .args(["search", "--url", &server.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    drop(output);
    assert_eq!(line, "a\n");
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_token_is_sent_and_never_shown() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut drawing = kvstore();
    let drawing = drawing.args([
        "token", "--name", "a", "--access", "write", "--prefix", "t/",
    ]);
    let drawn = drawing.output().unwrap();
    let token = String::from_utf8(drawn.stdout).unwrap();
    let token = token.trim_end();
    let (auth, kept) = (folder.path().join("auth"), folder.path().join("token"));
    fs::write(&auth, drawn.stderr).unwrap();
    fs::write(&kept, format!("{token}\n")).unwrap();
    let server = Server::start_with(&["--auth-file", auth.to_str().unwrap()]);
    let known = |words: &[&str]| {
        let mut command = kvstore();
        let command = command.args(words).env("KVSTORE_TOKEN", token);
        let ran = run(command.args(["--url", &server.url()]), b"");
        assert!(!ran.said.contains(token), "{}", ran.said);
        ran
    };
    known(&["set", "t/k", "1"]).done();
    let kept = ["get", "t/k", "--token-file", kept.to_str().unwrap()];
    assert_eq!(ask(&server, &kept).done(), "1");
    assert_eq!(known(&["search", "--prefix", "t/"]).done(), "t/k\n");
    known(&["search"]).failed(1, "403");
    known(&["set", "k", "secret"]).failed(1, "403");
    known(&["delete", "t/k"]).done();
    ask(&server, &["get", "t/k"]).failed(1, "--token-file");
}

/// A watch under way, killed when dropped.
struct Watching {
    child: Child,
    /// What it writes, for as long as somebody reads that.
    lines: Option<BufReader<ChildStdout>>,
}

impl Watching {
    fn begin(url: &str, words: &[&str]) -> Self {
        let mut child = kvstore()
            .arg("watch")
            .args(words)
            .args(["--url", url])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = child.stdout.take().map(BufReader::new);
        Self { child, lines }
    }

    /// Asserts what the next event is, and of which key.
    #[track_caller]
    fn gives(&mut self, name: &str, key: Option<&str>) -> Json {
        let mut line = String::new();
        let lines = self.lines.as_mut().unwrap();
        lines.read_line(&mut line).unwrap();
        let event: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], name, "{line}");
        assert_eq!(event["data"]["key"].as_str(), key, "{line}");
        event
    }

    /// Kills it, and returns what it said.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watch_gives_what_is_there_and_what_happens() {
    let server = ready(Server::in_memory(&[]));
    server.fill(["k1", "other"]);
    let words = ["--prefix", "k", "--values", "--from-start"];
    let mut watching = Watching::begin(&server.url(), &words);
    let set = watching.gives("set", Some("k1"));
    assert_eq!(set["data"]["value"], 1);
    watching.gives("ready", None);
    ask(&server, &["set", "k2", "2"]).done();
    let set = watching.gives("set", Some("k2"));
    assert_eq!(set["data"]["value"], 2);
    assert!(set["id"].is_string());
    ask(&server, &["delete", "k1"]).done();
    watching.gives("delete", Some("k1"));
    assert_eq!(watching.end(), "");
}

#[test]
fn a_watch_ends_when_nobody_reads_it_though_nothing_happens() {
    let server = ready(Server::in_memory(&[]));
    let mut watching = Watching::begin(&server.url(), &["--from-start"]);
    watching.gives("ready", None);
    watching.lines = None;
    let status = until("it ends", || watching.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_watch_goes_on_where_the_server_was_restarted() {
    if !is_memory() {
        return;
    }
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = folder.path().join("data");
    let start = |listen: &str| {
        let mut command = kvstore();
        command.args(["--listen", listen, "--workers", "2", "--drain-ms", "0"]);
        ready(Server::spawn(command.arg("--data-dir").arg(&data)))
    };
    let mut server = start("127.0.0.1:0");
    server.fill(["k1"]);
    let mut watching = Watching::begin(&server.url(), &["--from-start"]);
    watching.gives("set", Some("k1"));
    watching.gives("ready", None);
    let address = server.address().to_string();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    server = start(&address);
    server.fill(["k2"]);
    watching.gives("set", Some("k2"));
    let said = watching.end();
    assert!(said.contains("the watch goes on"), "{said}");
}
