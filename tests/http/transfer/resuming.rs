//! An import that failed, and goes on: what it says to pass over was applied, and all else is sent.

use super::{folder, run};
use crate::gateway::{Framing, Gateway, Part, Reply, Then};
use crate::support::{Server, kvstore};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lines of keys that repeat, so that their order matters, in about four requests; and the same as a CSV.
fn inputs() -> [(&'static str, String); 2] {
    let rows = (0..40_000).map(|number| (number * 7919 % 10_007, number));
    let lines = rows
        .clone()
        .map(|(key, value)| format!("{{\"key\":\"{key}\",\"value\":\"{value:080}\"}}\n"));
    let records = rows.map(|(key, value)| format!("{key},\"{value:080}\n\"\n"));
    let records = std::iter::once("id,text\n".to_owned()).chain(records);
    [
        ("all.ndjson", lines.collect()),
        ("all.csv", records.collect()),
    ]
}

fn import(url: &str, file: &Path, skip_lines: &str) -> (Option<i32>, String) {
    let mut command = kvstore();
    command.args(["import", "--url", url, "--skip-lines", skip_lines]);
    if file.extension().is_some_and(|end| end == "csv") {
        command.args(["--csv", "--key-column", "id", "--value-column", "text"]);
    }
    run(command.arg(file))
}

/// All keys and values, as an export has them.
fn all(server: &Server) -> String {
    let (code, said) = run(kvstore().args(["export", "-", "--url", &server.url()]));
    assert_eq!(code, Some(0), "{said}");
    let is_entry = |line: &&str| line.starts_with('{');
    said.lines().filter(is_entry).collect::<Vec<_>>().join("\n")
}

/// What a failed import says to give to `--skip-lines`.
#[track_caller]
fn said_to_skip(said: &str) -> String {
    let Some((_, rest)) = said.split_once("--skip-lines ") else {
        return "0".into();
    };
    rest.split(|letter: char| !letter.is_ascii_digit())
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn an_import_that_goes_on_ends_as_one_that_never_failed() {
    let (server, whole) = (Server::start(), Server::start());
    let folder = folder("resuming");
    for (name, text) in inputs() {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        for server in [&server, &whole] {
            assert_eq!(server.delete("/delete?prefix=").status, 200);
        }
        let (code, said) = import(&whole.url(), &file, "0");
        assert_eq!(code, Some(0), "{said}");
        // Of each four requests two come through, one is lost and one is applied without an answer.
        let count = AtomicUsize::new(0);
        let gateway = Gateway::start(server.address(), move |asked| {
            match count.fetch_add(1, Ordering::SeqCst) % 4 {
                0 | 2 => Reply::Pass(asked.target),
                1 => Reply::Close,
                _ => Reply::Part(Part {
                    target: asked.target,
                    bytes: 0,
                    framing: Framing::Chunks,
                    then: Then::End,
                }),
            }
        });
        let mut skip_lines = "0".to_owned();
        let mut tries = 0;
        loop {
            let (code, said) = import(&gateway.url(), &file, &skip_lines);
            tries += 1;
            if code == Some(0) {
                break;
            }
            assert_eq!(code, Some(74), "{said}");
            let next = said_to_skip(&said);
            let (had, has): (u64, u64) = (skip_lines.parse().unwrap(), next.parse().unwrap());
            assert!(has >= had && tries < 20, "{had} to {has}: {said}");
            skip_lines = next;
        }
        assert!(tries > 2, "{tries} tries");
        assert!(all(&server) == all(&whole), "{name}");
    }
}

#[test]
fn a_mended_line_is_where_an_import_goes_on() {
    let server = Server::start();
    let folder = folder("mended");
    for (name, head, bad, mended, at) in [
        (
            "a.ndjson",
            "",
            "[]\n",
            "{\"key\":\"c\",\"value\":3}\n",
            "line 3, column 1",
        ),
        (
            "a.csv",
            "id,text\n",
            "c,\"3\"x\n",
            "c,3\n",
            "line 4 (record 3), column 6",
        ),
    ] {
        assert_eq!(server.delete("/delete?prefix=").status, 200);
        let is_csv = name.ends_with("csv");
        let line = |key: &str| match is_csv {
            true => format!("{key},1\n"),
            false => format!("{{\"key\":\"{key}\",\"value\":1}}\n"),
        };
        let text = |third: &str| [head, &line("a"), &line("b"), third, &line("d")].concat();
        let file = folder.join(name);
        fs::write(&file, text(bad)).unwrap();
        let (code, said) = import(&server.url(), &file, "0");
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(at), "{said}");
        assert!(
            said.contains("mend it and go on from it (--skip-lines 2)"),
            "{said}"
        );
        assert_eq!(server.get("/search?prefix=").keys(), ["a", "b"]);
        fs::write(&file, text(mended)).unwrap();
        let (code, said) = import(&server.url(), &file, "2");
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("behind 2 that were passed over: 2 keys created"),
            "{said}"
        );
        assert_eq!(server.get("/search?prefix=").keys(), ["a", "b", "c", "d"]);
        assert_eq!(server.get("/get/c").text(), "3");
    }
}

#[test]
fn programs_are_told_where_a_failed_import_goes_on() {
    let server = Server::start();
    let file = folder("programs").join("a.ndjson");
    let left = |url: &str, skip_lines: &str| {
        let mut command = kvstore();
        command.args(["import", "--json", "--url", url, "--skip-lines", skip_lines]);
        let output = command.arg(&file).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str::<Json>(&text).unwrap()
    };
    let expected = |lines: u64, created: u64, skip_lines: u64| {
        json!({
            "lines": lines, "created": created, "updated": 0, "unmet": 0, "unmet_lines": [],
            "skip_lines": skip_lines,
        })
    };
    let line = |key: &str| format!("{{\"key\":\"{key}\",\"value\":1}}\n");
    // A line that is none, behind a blank one.
    fs::write(&file, line("a") + "\n[]\n" + &line("c")).unwrap();
    assert_eq!(left(&server.url(), "0"), expected(2, 1, 2));
    // One that the server refuses.
    fs::write(&file, line("a") + &line("b") + &line("") + &line("c")).unwrap();
    assert_eq!(left(&server.url(), "1"), expected(1, 1, 2));
    // No server.
    assert_eq!(left("http://127.0.0.1:1", "1"), expected(0, 0, 1));
    assert_eq!(server.get("/search?prefix=").keys(), ["a", "b"]);
}

#[test]
fn nothing_is_left_where_all_is_passed_over_and_more_there_is_not() {
    let server = Server::start();
    let folder = folder("passed-over");
    for (name, text) in [
        (
            "a.ndjson",
            "{\"key\":\"a\",\"value\":1}\n\n{\"key\":\"b\",\"value\":1}",
        ),
        ("a.csv", "id,text\na,1\n\nb,\"1\n2\"\n\nc,1"),
    ] {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        let (code, said) = import(&server.url(), &file, "3");
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("0 "), "{said}");
        let (code, said) = import(&server.url(), &file, "4");
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("there are only 3; nothing was sent"),
            "{said}"
        );
        assert_eq!(server.get("/search?prefix=").total(), 0, "{name}");
    }
}

#[test]
fn the_largest_numbers_are_numbers_too() {
    let server = Server::start();
    let file = folder("numbers").join("a.ndjson");
    fs::write(&file, "{\"key\":\"a\",\"value\":1}\n").unwrap();
    let most = u64::MAX.to_string();
    let (code, said) = import(&server.url(), &file, &most);
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = import(&server.url(), &file.with_file_name("none"), &most);
    assert_eq!(code, Some(74), "{said}");
    let (code, said) = run(kvstore()
        .args(["import", "--url", &server.url(), "--line-bytes-max", &most])
        .arg(&file));
    assert_eq!(code, Some(0), "{said}");
}
