//! Imports: that are interrupted, of files that are not as they should be, into a store without room.

use super::{folder, import, run, stopped};
use crate::gateway::{Gateway, Reply};
use crate::support::{Server, kvstore, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

#[test]
fn an_import_that_is_interrupted_says_where_to_go_on() {
    let server = Server::start();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let gateway = Gateway::start(server.address(), move |asked| {
        match counted.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Pass(asked.target),
            _ => Reply::Hold,
        }
    });
    let line = |number: usize| {
        format!(
            "{{\"key\":\"{number:07}\",\"value\":\"{}\"}}\n",
            "x".repeat(70)
        )
    };
    let lines: String = (0..30_000).map(line).collect();
    let file = folder("interrupted").join("lines");
    fs::write(&file, lines).unwrap();
    let mut child = kvstore()
        .args(["import", "--json", "--url", &gateway.url()])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the second request is sent", || {
        (count.load(Ordering::SeqCst) == 2).then_some(())
    });
    let mut output = child.stdout.take().unwrap();
    let (code, said) = stopped(child, Signal::INT);
    assert_eq!(code, Some(130), "{said}");
    let applied = server.get("/search?prefix=&limit=1").total();
    let mut left = String::new();
    output.read_to_string(&mut left).unwrap();
    let left: Json = serde_json::from_str(&left).unwrap();
    assert_eq!(left["skip_lines"], applied, "{left}");
    assert_eq!(left["created"], applied, "{left}");
    assert!(
        said.contains(&format!("{applied} lines were applied")),
        "{said}"
    );
    assert!(
        said.contains(&format!("go on from line {}", applied + 1)),
        "{said}"
    );
    assert!(said.contains("is unknown"), "{said}");
}

#[test]
fn an_import_ends_when_it_is_told_to_though_nobody_reads_what_it_says() {
    let server = Server::start();
    let mut child = kvstore()
        .args(["import", "-", "--url", &server.url()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    // More than one request takes; what is left waits for more.
    let line = |number: usize| format!("{{\"key\":\"{number:0100}\",\"value\":1}}\n");
    let lines: String = (0..15_000).map(line).collect();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    until("a request is applied", || {
        (server.get("/search?prefix=&limit=1").total() > 0).then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = until("the command ends", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
    drop(input);
}

#[test]
fn files_that_are_no_lines_are_refused_with_what_they_are() {
    let server = Server::start();
    let file = folder("kinds").join("file");
    for (content, says) in [
        (&b"\x1f\x8b\x08\x00\x00"[..], "gunzip"),
        (b"\x28\xb5\x2f\xfd\x00", "zstd"),
        (b"\xff\xfe{\x00", "UTF-16"),
        (
            b"\n [{\"key\":\"secret\"}]",
            "line 2, column 2: a JSON array",
        ),
        (b"{\n  \"key\": \"secret\"\n}\n", "pretty-printed"),
        (b"key,value\nsecret,1\n", "CSV"),
        (
            b"{\"key\":\"a\",\"value\":1}\n\n{\"key\": 4711, \"value\":1}\n",
            "line 3 with 422: column 9: a number",
        ),
        (
            b"{\"key\":\"a\",\"value\":1}\nsecret\n",
            "line 2, column 1: a word",
        ),
    ] {
        fs::write(&file, content).unwrap();
        let (code, said) = import(&server.url(), &file);
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(says) && said.contains("\"base64\""), "{said}");
        assert!(!said.contains("secret") && !said.contains("4711"), "{said}");
    }
    let long = format!("{{\"value\":1,\"key\":\"{}\"}}\n", "k".repeat(1025));
    for (line, says) in [
        (
            &b"{\"key\":\"a\",\"value\":1,\"ttl_ms\":0}\n"[..],
            "line 1 with 422: column 31: another number, where ttl_ms",
        ),
        (
            b"{\"key\":\"\",\"value\":1}\n",
            "line 1 with 422: column 8: nothing, where a key is expected",
        ),
        (
            b"{\"key\":\"a\",\"value\":\"\xff\"}\n",
            "line 1 with 422: column 21: a character that is not ASCII, where JSON",
        ),
        (
            b"{\"key\":\"a\",\"value\":1,\"if_match\":\"x\"}\n",
            "line 1 with 422: column 33: if_match takes",
        ),
        (
            long.as_bytes(),
            "line 1 with 413: column 18: the key has 1025 bytes",
        ),
    ] {
        fs::write(&file, line).unwrap();
        let (code, said) = import(&server.url(), &file);
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(says), "{said}");
    }
    fs::write(&file, b"\xef\xbb\xbf{\"key\":\"marked\",\"value\":1}\r\n").unwrap();
    assert_eq!(import(&server.url(), &file).0, Some(0));
    assert_eq!(server.get("/get/marked").text(), "1");
}

#[test]
fn a_line_without_an_end_is_not_read_to_its_end() {
    let server = Server::start();
    for (beginning, most) in [("[", 1024 * 1024), ("{\"key\":\"", 18 * 1024 * 1024)] {
        let mut child = kvstore()
            .args(["import", "-", "--url", &server.url()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let written = thread::spawn(move || {
            let part = [b'x'; 4096];
            input.write_all(beginning.as_bytes()).unwrap();
            (0..1_000_000)
                .take_while(|_| input.write_all(&part).is_ok())
                .count()
        });
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(74));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("line 1") && said.contains("\"value\""),
            "{said}"
        );
        let written = written.join().unwrap() * 4096;
        assert!(written < most, "{written} bytes were read");
    }
}

#[test]
fn a_line_that_the_store_has_no_room_for_is_to_be_repeated_from() {
    let server = Server::in_memory(&[
        "--workers",
        "2",
        "--shards",
        "4",
        "--store-bytes-max",
        "8000000",
    ]);
    let line = |number: usize| {
        format!(
            "{{\"key\":\"{number:07}\",\"value\":\"{}\"}}\n",
            "x".repeat(1000)
        )
    };
    let lines: String = (0..20_000).map(line).collect();
    let file = folder("full").join("lines");
    fs::write(&file, lines).unwrap();
    let (code, said) = import(&server.url(), &file);
    assert_eq!(code, Some(74), "{said}");
    let applied = server.get("/search?prefix=&limit=1").total();
    assert!(
        said.contains(&format!("{applied} lines were applied")),
        "{said}"
    );
    let (_, line) = said.split_once("repeating from line ").unwrap();
    let line: usize = line.split(' ').next().unwrap().parse().unwrap();
    assert!(said.contains("lines after it may be"), "{said}");
    for number in 0..line - 1 {
        assert_eq!(server.get(&format!("/get/{number:07}")).status, 200);
    }
}

#[test]
fn lines_whose_condition_did_not_hold_are_named_as_the_file_has_them() {
    let server = Server::start();
    server.fill(["0000003", "0000007", "0024999"]);
    // Of several requests; a blank line is a line too.
    let line = |number: usize| match number {
        5 => "\n".to_owned(),
        _ => format!(
            "{{\"key\":\"{number:07}\",\"value\":\"{}\",\"if_none_match\":\"*\"}}\n",
            "x".repeat(100)
        ),
    };
    let lines: String = (1..=25_000).map(line).collect();
    let file = folder("unmet").join("lines");
    fs::write(&file, lines).unwrap();
    let import = |words: &[&str]| {
        let mut command = kvstore();
        command.args(["import", "--url", &server.url()]).args(words);
        run(command.arg(&file))
    };
    let (code, said) = import(&["--skip-lines", "2"]);
    assert_eq!(code, Some(0), "{said}");
    let named = "3 whose condition did not hold (lines 3, 7, 24999)";
    assert!(said.contains(named), "{said}");
    // The first two lines are new now.
    let (code, said) = import(&["--json"]);
    assert_eq!(code, Some(0), "{said}");
    let counts: Json = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let first: Vec<usize> = (3..=103).filter(|number| *number != 5).collect();
    let expected = json!({
        "lines": 25_000, "created": 2, "updated": 0, "unmet": 24_997, "unmet_lines": first,
    });
    assert_eq!(counts, expected);
    let named = "(lines 3, 4, 6, 7, 8, 9, 10, 11, 12, 13 and 24987 more)";
    assert!(said.contains(named), "{said}");
}
