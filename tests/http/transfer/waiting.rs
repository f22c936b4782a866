//! `kvstore import` against a server that takes nothing for now, and says so.

use super::{folder, import, run};
use crate::gateway::{Gateway, Reply};
use crate::support::{Server, kvstore, until};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines of two requests and a part of a third.
const LINES: usize = 25_000;

fn lines() -> String {
    let value = "x".repeat(70);
    let line = |number: usize| format!("{{\"key\":\"{number:07}\",\"value\":\"{value}\"}}\n");
    (0..LINES).map(line).collect()
}

fn say(status: &str, more: &str) -> Reply {
    Reply::Say(format!(
        "HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n"
    ))
}

/// What an import ended with and said, through a gateway that answers the requests of these numbers so.
fn through(
    server: &Server,
    name: &str,
    answers: impl Fn(usize) -> Option<(&'static str, &'static str)> + Send + Sync + 'static,
) -> (Option<i32>, String, usize) {
    let file = folder(name).join("lines");
    fs::write(&file, lines()).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let gateway = Gateway::start(server.address(), move |asked| {
        match answers(counted.fetch_add(1, Ordering::SeqCst)) {
            Some((status, more)) => say(status, more),
            None => Reply::Pass(asked.target),
        }
    });
    let (code, said) = import(&gateway.url(), &file);
    (code, said, count.load(Ordering::SeqCst))
}

#[test]
fn an_import_waits_where_it_is_asked_to_and_goes_on_with_every_line_once() {
    let server = Server::start();
    let (code, said, requests) = through(&server, "waits", |number| match number {
        0 | 3 => Some(("429 Slow", "Retry-After: 0\r\n")),
        1 => Some(("503 Busy", "Retry-After: 0\r\n")),
        4 => Some(("429 Slow", "")),
        _ => None,
    });
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(requests, 7, "four of them were refused");
    let counts = format!("{LINES} lines: {LINES} keys created, 0 updated");
    assert!(said.contains(&counts), "{said}");
    assert_eq!(said.matches("asks to wait").count(), 1, "{said}");
    assert!(said.contains("(429: "), "{said}");
    assert_eq!(server.get("/search?prefix=&limit=1").total(), LINES);
}

#[test]
fn an_import_that_is_refused_for_good_ends_at_once() {
    let server = Server::start();
    // The first does not say after how long it may be otherwise.
    for (name, status) in [("denied", "503 Denied"), ("stranger", "401 Who")] {
        let answers = move |number: usize| (number == 1).then_some((status, ""));
        let (code, said, requests) = through(&server, name, answers);
        assert_eq!(code, Some(1), "{said}");
        assert_eq!(requests, 2, "{said}");
        assert!(said.contains("; go on from line "), "{said}");
        assert!(!said.contains("asks to wait"), "{said}");
    }
}

#[test]
fn an_answer_that_counts_nothing_is_no_success() {
    let server = Server::start();
    let file = folder("counts-nothing").join("lines");
    fs::write(&file, "{\"key\":\"a\",\"value\":1}\n").unwrap();
    let gateway = Gateway::start(server.address(), |_| {
        Reply::Say("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"ok\":true}".into())
    });
    let (code, said) = import(&gateway.url(), &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("none of a kvstore's"), "{said}");
    assert!(said.contains("is unknown"), "{said}");
}

#[test]
fn an_import_keeps_to_the_rate_of_its_token() {
    let folder = folder("rate");
    let limited = ["token", "--name", "slow", "--access", "write"];
    let drawn = kvstore()
        .args(limited)
        .args(["--requests-per-second", "1"])
        .output()
        .unwrap();
    let (token, tokens) = (folder.join("token"), folder.join("tokens.toml"));
    fs::write(&token, &drawn.stdout).unwrap();
    fs::write(&tokens, &drawn.stderr).unwrap();
    let server = Server::start_with(&["--auth-file", tokens.to_str().unwrap()]);
    let file = folder.join("lines");
    fs::write(&file, lines()).unwrap();
    let bearer = String::from_utf8(drawn.stdout).unwrap();
    let bearer = format!("Bearer {}", bearer.trim_end());
    let get = || server.get_with("/get/none", &[("Authorization", bearer.as_str())]);
    until("the token is used up for the moment", || {
        (get().status == 429).then_some(())
    });
    let (code, said) = run(kvstore()
        .args(["import", "--url", &server.url(), "--token-file"])
        .arg(&token)
        .arg(&file));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{LINES} keys created")), "{said}");
}
