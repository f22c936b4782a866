//! `kvstore import` and `kvstore export` over links, servers and files that are not as they should be.

mod archives;
mod csv;
mod resuming;
mod waiting;

use crate::gateway::{Framing, Gateway, Part, Reply, Then};
use crate::support::{Server, kvstore, until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, thread};

/// An empty folder, unlike any other test's.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("transfer-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn export(url: &str, file: &Path) -> (Option<i32>, String) {
    run(kvstore().args(["export", "--url", url]).arg(file))
}

fn import(url: &str, file: &Path) -> (Option<i32>, String) {
    run(kvstore().args(["import", "--url", url]).arg(file))
}

/// What a child takes, in bytes; nothing once it has ended.
fn resident_bytes(child: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// The code of a child that a signal was sent to, and what it said.
fn stopped(mut child: Child, signal: Signal) -> (Option<i32>, String) {
    kill_process(Pid::from_child(&child), signal).unwrap();
    let status = until("the command ends", || child.try_wait().unwrap());
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    (status.code(), said)
}

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
    let child = kvstore()
        .args(["import", "--url", &gateway.url()])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the second request is sent", || {
        (count.load(Ordering::SeqCst) == 2).then_some(())
    });
    let (code, said) = stopped(child, Signal::INT);
    assert_eq!(code, Some(130), "{said}");
    let applied = server.get("/search?prefix=&limit=1").total();
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
    fs::write(&file, "{\"key\":\"a\",\"value\":1,\"ttl_ms\":0}\n").unwrap();
    let (code, said) = import(&server.url(), &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("line 1 with 422: ttl_ms"), "{said}");
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
fn a_server_below_a_path_is_reached_and_credentials_are_sent_but_not_shown() {
    let server = Server::start();
    let gateway = Gateway::start(server.address(), |asked| {
        let is_known = asked.header("authorization") == Some("Basic dTpzZWNyZXQ=");
        match asked.target.strip_prefix("/kv") {
            Some(target) if is_known => Reply::Pass(target.to_owned()),
            _ => Reply::Say("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n".into()),
        }
    });
    let file = folder("path").join("file");
    fs::write(&file, "{\"key\":\"k\",\"value\":1}\n").unwrap();
    let url = format!("http://u:secret@{}/kv/", gateway.address);
    let (code, said) = import(&url, &file);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = export(&url, &file);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "{\"key\":\"k\",\"value\":1}\n"
    );
    for (url, says) in [
        (format!("{url}set"), "/kv"),
        (format!("{url}search"), "/kv"),
        (format!("{url}get/x"), "/kv"),
        (format!("{url}?a=secret"), "query"),
        (format!("{url}#secret"), "fragment"),
        ("http://u:secret@127.0.0.1:1".into(), "does not answer"),
        ("http://u:secret@h:x".into(), "127.0.0.1:8000"),
    ] {
        for (code, said) in [import(&url, &file), export(&url, &file)] {
            let ends_with = if says == "does not answer" { 74 } else { 2 };
            assert_eq!(code, Some(ends_with), "{said}");
            let shown = said.split("a=secret").next().unwrap();
            assert!(said.contains(says) && !shown.contains("u:"), "{said}");
        }
    }
}

#[test]
fn proxies_are_not_for_this_machine_and_are_named_elsewhere() {
    let server = Server::start();
    server.fill(["k"]);
    for variable in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "HTTPS_PROXY"] {
        let with = |url: &str| {
            let mut command = kvstore();
            let proxy = "http://u:secret@127.0.0.1:1";
            run(command.env(variable, proxy).args(["export", "--url", url]))
        };
        let (code, said) = with(&server.url());
        assert_eq!(code, Some(0), "{said}");
        let scheme = if variable == "HTTPS_PROXY" {
            "https"
        } else {
            "http"
        };
        let (code, said) = with(&format!("{scheme}://kv.example"));
        assert_eq!(code, Some(74), "{said}");
        assert!(
            said.contains("proxy http://127.0.0.1:1")
                && said.contains(variable)
                && !said.contains("secret"),
            "{said}"
        );
    }
}

#[test]
fn https_is_spoken_with_the_certificates_that_are_given() {
    let folder = folder("tls");
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(&folder);
        let output = command.output().expect("openssl is installed (make tools)");
        assert!(output.status.success(), "{arguments}");
    };
    fs::write(
        folder.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=ca");
    openssl("req -newkey rsa:2048 -nodes -keyout s.key -out s.csr -subj /CN=localhost");
    openssl("x509 -req -in s.csr -CA ca.crt -CAkey ca.key -out s.crt -days 2 -extfile names");
    openssl("rsa -in s.key -outform DER -traditional -out s.key.der");
    openssl("x509 -in s.crt -outform DER -out s.der");
    let chain = vec![fs::read(folder.join("s.der")).unwrap().into()];
    let key =
        rustls::pki_types::PrivatePkcs1KeyDer::from(fs::read(folder.join("s.key.der")).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    let config = Arc::new(config);
    let server = Server::start();
    let gateway = Gateway::with(
        server.address(),
        |asked| Reply::Pass(asked.target),
        move |stream| {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            Ok(rustls::StreamOwned::new(session, stream))
        },
    );
    let file = folder.join("file");
    fs::write(&file, "{\"key\":\"k\",\"value\":1}\n").unwrap();
    let url = format!("https://localhost:{}", gateway.address.port());
    let ca = folder.join("ca.crt");
    let (code, said) = run(kvstore()
        .args(["import", "--url", &url, "--ca-file"])
        .arg(&ca)
        .arg(&file));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(kvstore()
        .env("SSL_CERT_FILE", &ca)
        .args(["export", "--url", &url]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("{\"key\":\"k\",\"value\":1}"), "{said}");
    let (code, said) = export(&url, &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("--ca-file"), "{said}");
    let (code, said) = export(&format!("https://{}", server.address()), &file);
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("http://"), "{said}");
}
