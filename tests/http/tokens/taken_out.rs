//! Tokens that are taken out while something of theirs is under way: it ends before it goes any further.

use super::{Guarded, drawn};
use crate::engine::is_memory;
use crate::support::until;
use rustix::process::Signal;
use std::{fs, io};

/// What the file has to say of one of its tokens.
fn table_of(guarded: &Guarded, name: &str) -> String {
    const TABLE: &str = "[[token]]";
    let text = fs::read_to_string(guarded.file()).unwrap();
    let named = format!("name = \"{name}\"");
    let table = text.split(TABLE).find(|table| table.contains(&named));
    TABLE.to_owned() + table.unwrap()
}

#[test]
fn a_token_that_is_taken_out_ends_a_body_at_the_first_line_that_is_not_applied() {
    let guarded = Guarded::start(&[]);
    let authorization = guarded.authorization("write").unwrap();
    let mut connection = guarded.server.connect();
    connection.raw(format!(
        "POST /set HTTP/1.1\r\nHost: test\r\nAuthorization: {authorization}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let lines = |keys: &[&str]| {
        let line = |key: &&str| format!("{{\"key\":\"{key}\",\"value\":1}}\n");
        let lines: String = keys.iter().map(line).collect();
        format!("{:x}\r\n{lines}\r\n", lines.len())
    };
    connection.raw(lines(&["a"]));
    until("the first line applies", || {
        (guarded.get("admin", "/get/a").status == 200).then_some(())
    });
    let (token, table) = drawn("other", &["--access", "read"]);
    fs::write(guarded.file(), table).unwrap();
    until("the token is not known any more", || {
        (guarded.get("write", "/get/a").status == 401).then_some(())
    });
    connection.raw(lines(&["b", "c", "d"]));
    let response = connection.response("POST");
    let problem = response.assert_problem(403, "forbidden", &["what was before is applied"]);
    assert_eq!(
        (&problem["line"], &problem["created"]),
        (&2.into(), &1.into())
    );
    let other = format!("Bearer {token}");
    let search = guarded
        .server
        .get_with("/search?prefix=", &[("Authorization", &other)]);
    assert_eq!(search.keys(), ["a"]);
}

#[test]
fn a_token_that_is_taken_out_ends_a_watch_before_it_hears_of_anything_more() {
    let guarded = Guarded::start(&[]);
    let authorization = guarded.authorization("read").unwrap();
    let open = |values: bool| {
        let mut connection = guarded.server.connect();
        let path = format!("/watch?prefix=&values={values}");
        connection.send("GET", &path, &[("Authorization", &authorization)], b"");
        assert_eq!(connection.head().status, 200);
        // The place at which it begins.
        assert!(connection.chunk().unwrap().is_some());
        connection
    };
    let watches = [open(false), open(true)];
    fs::write(guarded.file(), table_of(&guarded, "admin")).unwrap();
    until("the token is not known any more", || {
        (guarded.get("read", "/get/a").status == 401).then_some(())
    });
    let long = format!("\"{}\"", "x".repeat(100_000));
    for body in ["1", long.as_str()] {
        assert_eq!(guarded.send("admin", ("PUT", "/set/a"), body).status, 200);
    }
    for mut watch in watches {
        let rest = String::from_utf8(watch.rest()).unwrap();
        assert!(!rest.contains("event: set"), "{rest}");
    }
}

#[test]
fn a_token_that_is_taken_out_ends_a_search_that_is_being_sent() {
    let guarded = Guarded::start(&[]);
    let value = format!("\"{}\"", "x".repeat(1_000_000));
    // More than the system holds for a client that does not read.
    for number in 0..50 {
        let path = format!("/set/{number}");
        assert_eq!(
            guarded.send("write", ("PUT", path.as_str()), &value).status,
            200
        );
    }
    let authorization = guarded.authorization("read").unwrap();
    let mut connection = guarded.server.connect();
    let headers = [("Authorization", authorization.as_str())];
    connection.send("GET", "/search?prefix=&values=true", &headers, b"");
    assert_eq!(connection.head().status, 200);
    fs::write(guarded.file(), table_of(&guarded, "admin")).unwrap();
    until("the token is not known any more", || {
        (guarded.get("read", "/get/0").status == 401).then_some(())
    });
    let cut = loop {
        match connection.chunk() {
            Ok(Some(_)) => {}
            Ok(None) => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    assert!(
        cut.is_some_and(|kind| kind != io::ErrorKind::WouldBlock),
        "{cut:?}"
    );
    assert_eq!(guarded.metric("kvstore_searches_aborted_total"), 1.0);
}

#[test]
fn a_token_that_is_taken_out_ends_a_delete_by_filter() {
    let guarded = Guarded::start(&[]);
    let keys = if is_memory() { 200_000 } else { 20_000 };
    let line = |number: usize| format!("{{\"key\":\"{number:06}\",\"value\":1}}\n");
    let lines: String = (0..keys).map(line).collect();
    let filled = guarded.send("write", ("POST", "/set"), &lines);
    assert_eq!(filled.status, 200, "{}", filled.text());
    let total = || guarded.get("admin", "/search?prefix=&limit=1").total();
    let authorization = guarded.authorization("write").unwrap();
    let mut client = guarded.server.connect();
    let headers = [("Authorization", authorization.as_str())];
    client.send("DELETE", "/delete?prefix=", &headers, b"");
    until("some keys are gone", || (total() < keys).then_some(()));
    fs::write(guarded.file(), table_of(&guarded, "admin")).unwrap();
    guarded.server.signal(Signal::HUP);
    let says = ["taken out of auth_file", "stays deleted"];
    let response = client.response("DELETE");
    let problem = response.assert_problem(403, "forbidden", &says);
    let deleted = problem["deleted"].as_u64().unwrap() as usize;
    assert!(deleted > 0 && deleted < keys, "{deleted}");
    assert_eq!(total(), keys - deleted);
}
