//! The command: its settings, its exit codes and `kvstore import`.

use crate::support::{Server, kvstore};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a command to its end.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).unwrap())
}

/// A file of the given content, unlike any other test's.
fn file(name: &str, content: &str) -> std::path::PathBuf {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn the_help_is_the_reference() {
    let (code, help) = run(kvstore().arg("--help"));
    assert_eq!(code, Some(0));
    for part in [
        "--listen",
        "KVSTORE_LISTEN",
        "127.0.0.1:8000",
        "--store-bytes-max",
        "60 %",
        "import",
    ] {
        assert!(help.contains(part), "{part}");
    }
}

#[test]
fn a_wrong_flag_is_a_usage_error() {
    let (code, text) = run(kvstore().arg("--lisen"));
    assert_eq!(code, Some(2));
    assert!(text.contains("--listen"), "{text}");
    assert_eq!(run(kvstore().args(["--workers", "many"])).0, Some(2));
}

#[test]
fn a_wrong_setting_is_a_configuration_error_that_names_it() {
    let unknown = file("unknown.toml", "workers = 1\nlisten_on = \"x\"\n");
    let absent = file("gone.toml", "").with_file_name("absent.toml");
    for (arguments, says) in [
        (vec!["--workers", "0"], "workers = 0"),
        (vec!["--engine", "etcd"], "engine = …"),
        (vec!["--engine", "redis://:secret@a,b"], "one address"),
        (vec!["--config", unknown.to_str().unwrap()], "listen_on"),
        (vec!["--config", absent.to_str().unwrap()], "absent.toml"),
    ] {
        let (code, text) = run(kvstore().args(&arguments));
        assert_eq!(code, Some(78), "{text}");
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_taken_port_is_an_io_error_that_names_it() {
    let server = Server::start();
    let address = server.address().to_string();
    let (code, text) = run(kvstore().args(["--listen", &address]));
    assert_eq!(code, Some(74), "{text}");
    assert!(
        text.contains(&address) && text.contains("--listen"),
        "{text}"
    );
}

#[test]
fn flags_come_before_variables_and_variables_before_the_file() {
    let path = file(
        "order.toml",
        "listen = \"127.0.0.1:0\"\nkey_bytes_max = 1\nvalue_bytes_max = 1\npage_keys_max = 1\nworkers = 1\n",
    );
    let server = Server::spawn(
        kvstore()
            .env("KVSTORE_CONFIG", &path)
            .env("KVSTORE_KEY_BYTES_MAX", "2")
            .env("KVSTORE_VALUE_BYTES_MAX", "2")
            .args(["--key-bytes-max", "3"]),
    );
    server
        .get("/get/four")
        .assert_problem(413, "key_too_large", &["limit of 3"]);
    server
        .put("/set/k", &[], b"333")
        .assert_problem(413, "value_too_large", &["2 bytes"]);
    server
        .get("/search?limit=2")
        .assert_problem(400, "invalid_limit", &["1 to 1"]);
}

#[test]
fn keys_and_values_are_not_logged() {
    for access_log in ["false", "true"] {
        let server = Server::spawn(kvstore().env("KVSTORE_ACCESS_LOG", access_log).args([
            "--listen",
            "127.0.0.1:0",
            "--workers",
            "2",
        ]));
        server.put("/set/secret-key", &[], b"secret-value");
        server.get("/get/secret-key");
        server.get("/secret-path");
        server.bulk("{\"key\":\"secret\"}");
        server.get("/search?prefix=secret");
        if access_log == "true" {
            crate::support::until("the requests are logged", || {
                server.log().contains("GET /search 200").then_some(())
            });
        }
        assert!(!server.log().contains("secret"), "{}", server.log());
    }
}

#[test]
fn import_sets_every_line_of_a_file() {
    let server = Server::start();
    let lines: String = (0..50_000)
        .map(|n| format!("{{\"key\":\"key-{n}\",\"value\":{n}}}\n"))
        .collect();
    let path = file("import.ndjson", &lines);
    let (code, text) = run(kvstore()
        .arg("import")
        .arg(&path)
        .args(["--url", &server.url()]));
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("50000 lines: 50000 keys created, 0 updated"),
        "{text}"
    );
    assert_eq!(server.get("/search?prefix=key-&limit=1").total(), 50_000);
    assert_eq!(server.get("/get/key-49999").text(), "49999");
}

#[test]
fn import_reads_standard_input() {
    let server = Server::start();
    let mut child = kvstore()
        .args(["import", "-", "--url", &server.url()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"{\"key\":\"k\",\"value\":1}")
        .unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(server.get("/get/k").text(), "1");
}

#[test]
fn import_says_which_line_failed_and_how_many_were_applied() {
    let server = Server::start();
    let padding = "x".repeat(100);
    let mut lines: String = (0..20_000)
        .map(|n| format!("{{\"key\":\"{n}\",\"value\":\"{padding}\"}}\n"))
        .collect();
    lines += "\n{\"key\":\"bad\"}\n{\"key\":\"after\",\"value\":1}\n";
    let path = file("bad.ndjson", &lines);
    let (code, text) = run(kvstore()
        .arg("import")
        .arg(&path)
        .args(["--url", &server.url()]));
    assert_eq!(code, Some(74), "{text}");
    assert!(
        text.contains("line 20002") && text.contains("422"),
        "{text}"
    );
    assert!(
        text.contains("20000 lines were applied (20000 keys created, 0 updated)"),
        "{text}"
    );
    assert_eq!(server.get("/get/after").status, 404);
}

#[test]
fn import_without_a_server_says_so() {
    let path = file("one.ndjson", "{\"key\":\"k\",\"value\":1}\n");
    let import = |url: &str| run(kvstore().arg("import").arg(&path).args(["--url", url]));
    let (code, text) = import("http://127.0.0.1:1");
    assert_eq!(code, Some(74));
    assert!(
        text.contains("does not answer")
            && text.contains("0 lines were applied")
            && !text.contains("unknown"),
        "{text}"
    );
    let (code, text) = import("ftp://x");
    assert_eq!(code, Some(2));
    assert!(text.contains("http://127.0.0.1:8000"), "{text}");
    let (code, text) = run(kvstore().args(["import", "/nonexistent"]));
    assert_eq!(code, Some(74));
    assert!(text.contains("/nonexistent"), "{text}");
}

#[test]
fn what_is_exported_is_imported_byte_for_byte() {
    let from = Server::start();
    let every_byte: Vec<u8> = (0..=255).collect();
    let values: [(&str, &str, &[u8]); 14] = [
        ("%2E", "application/json", b"1"),
        ("%2E%2E", "application/json", b"{\"a\": 1}"),
        ("a//b", "application/json", b"\"v\""),
        ("pretty", "application/json", b"{\n  \"a\": 1\n}"),
        ("spaced", "application/json", b" 1 "),
        ("no-json", "application/json", b"{"),
        ("charset", "application/json; charset=utf-8", b"1"),
        ("bytes", "application/octet-stream", &every_byte),
        ("empty", "text/plain", b""),
        ("%C3%A9%25%22%0A", "text/x-mine;a=\"b\"", b"\xff"),
        ("not-utf8", "application/json", b"\"\xff\""),
        ("null", "application/json", b"null"),
        (
            "tag",
            "application/json",
            br#"{"a":1,"etag":"\"00c4f0e2d1b3a596\""}"#,
        ),
        (
            "no-tag",
            "text/plain",
            br#"","etag":"\"00c4f0e2d1b3a596\""}"#,
        ),
    ];
    for (key, content_type, body) in values {
        let header = [("Content-Type", content_type)];
        assert_eq!(from.put(&format!("/set/{key}"), &header, body).status, 200);
    }
    from.fill((0..3_000).map(|number| format!("many-{number}")));
    let path = file("export.ndjson", "");
    let (code, said) = run(kvstore().args(["export", "--url", &from.url()]).arg(&path));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("3014 keys exported"), "{said}");
    // A tag in a line would be a condition.
    for line in std::fs::read_to_string(&path).unwrap().lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let members = entry.as_object().unwrap();
        assert!(!members.contains_key("etag"), "{line}");
        assert_eq!(
            members.len(),
            if members.contains_key("value") { 2 } else { 3 }
        );
    }
    let to = Server::start();
    let (code, said) = run(kvstore().args(["import", "--url", &to.url()]).arg(&path));
    assert_eq!(code, Some(0), "{said}");
    let all = from.get("/search?prefix=").keys();
    assert_eq!(to.get("/search?prefix=").keys(), all);
    for (key, content_type, body) in values {
        let read = to.get(&format!("/get/{key}"));
        assert_eq!(read.header("content-type"), Some(content_type), "{key}");
        assert_eq!(read.body, body, "{key}");
    }
    let (code, said) = run(kvstore().args(["export", "--url", "http://127.0.0.1:1"]));
    assert_eq!(code, Some(74), "{said}");
    assert!(said.contains("does not answer"), "{said}");
}
