//! Exports: to files that are there already, from servers that fail or are none, to readers that are slow.

use super::{export, folder, resident_bytes, run, stopped};
use crate::gateway::{Framing, Gateway, Part, Reply, Then};
use crate::support::{Server, kvstore, until};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

#[test]
fn an_export_that_fails_leaves_the_older_file() {
    let folder = folder("fails");
    let file = folder.join("backup.ndjson");
    fs::write(&file, "older\n").unwrap();
    let (code, said) = export("http://127.0.0.1:1", &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    let server = Server::start();
    let value = "v".repeat(100);
    let line = |number: usize| format!("{{\"key\":\"{number:04}\",\"value\":\"{value}\"}}\n");
    let lines: String = (0..3000).map(line).collect();
    assert_eq!(server.bulk(&lines).status, 200);
    let part_file = folder.join("backup.ndjson.part");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let _ = fs::remove_file(&part_file);
        let gateway = Gateway::start(server.address(), |asked| {
            Reply::Part(Part {
                target: asked.target,
                bytes: 300_000,
                framing: Framing::Chunks,
                then: Then::Hold,
            })
        });
        let child = kvstore()
            .args(["export", "--url", &gateway.url()])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("some of it is written", || {
            let known = fs::metadata(&part_file).ok()?;
            (known.len() > 0).then_some(())
        });
        let (ended, said) = stopped(child, signal);
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains("interrupted; "), "{said}");
        assert!(
            said.contains(" of 3000 keys were written") && said.contains(".part"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "older\n");
        let part = fs::read_to_string(&part_file).unwrap();
        assert!(
            part.ends_with('\n') && part.lines().count() < 2048,
            "whole lines"
        );
        assert!(
            said.contains(&format!("{} of 3000", part.lines().count())),
            "{said}"
        );
    }
    // What is left is replaced.
    assert_eq!(export(&server.url(), &file).0, Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), lines);
    assert!(!part_file.exists());
}

#[test]
fn an_export_keeps_links_and_permissions() {
    let folder = folder("links");
    let server = Server::start();
    server.fill(["k"]);
    let line = "{\"key\":\"k\",\"value\":1}\n";
    let (file, link) = (folder.join("file"), folder.join("link"));
    fs::write(&file, "older").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", &link).unwrap();
    let before = fs::metadata(&file).unwrap().ino();
    assert_eq!(export(&server.url(), &link).0, Some(0));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), line);
    let after = fs::metadata(&file).unwrap();
    assert_eq!(after.mode() & 0o777, 0o640);
    assert_ne!(after.ino(), before, "it was replaced, not written over");
    let dangling = folder.join("dangling");
    symlink("made", &dangling).unwrap();
    assert_eq!(export(&server.url(), &dangling).0, Some(0));
    assert_eq!(fs::read_to_string(folder.join("made")).unwrap(), line);
    for straight in ["-", "/dev/stdout"] {
        let (code, said) = export(&server.url(), Path::new(straight));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with(line), "{said}");
    }
    let (code, said) = export(&server.url(), Path::new("/dev/full"));
    assert_eq!(code, Some(74), "{said}");
    let (code, said) = export(&server.url(), &folder);
    assert_eq!(code, Some(74), "{said}");
}

#[test]
fn an_export_goes_on_where_an_answer_breaks_off() {
    let server = Server::start();
    server.fill((0..500).map(|number| format!("k\"&/{number:03}")));
    let (count, resumed) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = resumed.clone();
    let gateway = Gateway::start(server.address(), move |asked| {
        if asked.target.contains("values=true&after=k%22%26%2F") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
        // No answer comes whole but the last, and some not at all.
        let count = count.fetch_add(1, Ordering::SeqCst);
        match count % 5 {
            2 => Reply::Close,
            3 => Reply::Say(
                "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".into(),
            ),
            _ => Reply::Part(Part {
                target: asked.target,
                bytes: 4000,
                framing: [Framing::Chunks, Framing::Connection][count % 2],
                then: [Then::End, Then::Finish][count / 5 % 2],
            }),
        }
    });
    let file = folder("retries").join("file");
    let (code, said) = export(&gateway.url(), &file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("500 keys exported"), "{said}");
    let line = |number: usize| format!("{{\"key\":\"k\\\"&/{number:03}\",\"value\":1}}\n");
    let expected: String = (0..500).map(line).collect();
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert!(resumed.load(Ordering::SeqCst) > 2);
}

#[test]
fn an_export_that_never_comes_to_its_end_is_given_up() {
    let server = Server::start();
    server.fill((0..100).map(|number| format!("{number:03}")));
    let folder = folder("cut");
    let address = server.address();
    let given_up = |name: &str, framing, then, says: &str| {
        let file = folder.join(name);
        fs::write(&file, "older\n").unwrap();
        // Whatever is asked for, there is less than a line of it.
        let gateway = Gateway::start(address, move |asked| {
            Reply::Part(Part {
                target: asked.target,
                bytes: 20,
                framing,
                then,
            })
        });
        let (code, said) = export(&gateway.url(), &file);
        assert_eq!(code, Some(74), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(said.contains("0 of 100 keys were written"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "older\n");
    };
    thread::scope(|scope| {
        scope.spawn(|| given_up("end", Framing::Chunks, Then::End, "does not answer"));
        scope.spawn(|| given_up("finish", Framing::Chunks, Then::Finish, "its last key"));
        scope.spawn(|| given_up("loss", Framing::Connection, Then::End, "its last key"));
    });
}

#[test]
fn an_export_says_to_programs_how_many_keys_it_has() {
    let server = Server::start();
    server.fill(["a", "b"]);
    let file = folder("said").join("file");
    let mut command = kvstore();
    command.args(["export", "--json", "--url", &server.url()]);
    let output = command.arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"{\"keys\":2}\n");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
    // On standard output it would be between the keys.
    for file in ["-", "/dev/stdout"] {
        let (code, said) = run(kvstore().args(["export", "--json", file]));
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("name a file"), "{said}");
    }
}

#[test]
fn an_export_says_of_a_server_that_is_older_or_none_what_it_is() {
    let server = Server::start();
    let file = folder("others").join("file");
    let say = |status: &str, kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let unknown = r#"{"code":"unknown_parameter","detail":"there is no parameter \"values\""}"#;
    for (answer, ends_with, says) in [
        (
            say("400 Bad", "application/problem+json", unknown),
            1,
            "older",
        ),
        (
            say("200 OK", "text/html", "<!DOCTYPE html>"),
            74,
            "is it a kvstore?",
        ),
        (
            say("200 OK", "text/plain", &"x".repeat(200_000)),
            74,
            "is it a kvstore?",
        ),
        (
            say("200 OK", "application/json", "[\"key\"]"),
            74,
            "is it a kvstore?",
        ),
        (
            say(
                "200 OK",
                "application/x-ndjson",
                "{\"key\":\"k\",\"value\":1}\n",
            ),
            74,
            "is it a kvstore?",
        ),
        (say("403 No", "text/plain", "no"), 1, "refused with 403"),
    ] {
        let gateway = Gateway::start(server.address(), move |_| Reply::Say(answer.clone()));
        let (code, said) = export(&gateway.url(), &file);
        assert_eq!(code, Some(ends_with), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(!file.exists());
    }
}

#[test]
fn an_export_to_a_reader_that_is_slow_waits_with_little_in_memory() {
    let server = Server::start();
    let value = "x".repeat(200_000);
    for number in 0..300 {
        server.put(&format!("/set/{number:03}"), &[], value.as_bytes());
    }
    let mut child = kvstore()
        .args(["export", "--url", &server.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut read = 0;
    for line in lines {
        assert!(line.unwrap().len() > 200_000);
        read += 1;
        // All of it would be 80 MB.
        let resident = resident_bytes(&child);
        assert!(resident < 40_000_000, "{resident} bytes after {read} lines");
    }
    assert_eq!(read, 300);
    assert!(child.wait().unwrap().success());
}
