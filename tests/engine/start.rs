//! Starting: what an engine must be, and what is said of one that is not.

use crate::redis::{Redis, Sentinels, free_port};
use crate::server;
use crate::support::{DEADLINE, Server, kvstore, pause, until};
use std::io::Read;
use std::process::Stdio;
use std::time::Instant;

/// Runs a server that should refuse to start.
pub fn refused(arguments: &[&str]) -> String {
    refused_with(&[], arguments)
}

/// As [`refused`], with variables.
pub fn refused_with(variables: &[(&str, String)], arguments: &[&str]) -> String {
    let mut command = kvstore();
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > DEADLINE {
            child.kill().unwrap();
            break None;
        }
        pause();
    };
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    let code = status.and_then(|status| status.code());
    assert_eq!(code, Some(78), "{arguments:?}: {said}");
    said
}

#[test]
fn another_layout_is_refused_and_named() {
    let redis = Redis::start(&[]);
    redis.run(&["hset", "kv:layout", "version", "99"]);
    let said = refused(&["--engine", &redis.url()]);
    assert!(
        said.contains("another layout") && said.contains(&redis.url()),
        "{said}"
    );
    // Another namespace is none of that data's.
    let server = server(&redis.url(), &["--namespace", "mine"]);
    assert_eq!(server.put("/set/a", &[], b"1").status, 200);
}

#[test]
fn an_engine_that_drops_keys_is_refused() {
    let redis = Redis::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let said = refused(&["--engine", &redis.url()]);
    assert!(said.contains("noeviction"), "{said}");
}

#[test]
fn a_password_is_taken_from_the_url_a_variable_or_a_file_and_never_said() {
    let redis = Redis::start(&["--requirepass", "geheim"]);
    for arguments in [
        vec!["--engine".to_owned(), redis.url()],
        vec![
            "--engine".to_owned(),
            redis.url().replace("//", "//:falsch@"),
        ],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let said = refused(&arguments);
        assert!(
            said.contains("credentials") && !said.contains("falsch"),
            "{said}"
        );
    }
    let with_url = server(
        &redis.url().replace("//", "//:geheim@"),
        &["--log", "trace"],
    );
    assert_eq!(with_url.put("/set/a", &[], b"1").status, 200);
    assert!(!with_url.log().contains("geheim"));
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("password");
    std::fs::write(&file, "geheim\n").unwrap();
    let with_file = server(
        &redis.url(),
        &["--engine-password-file", file.to_str().unwrap()],
    );
    assert_eq!(with_file.get("/get/a").text(), "1");
    let mut command = kvstore();
    command.env("KVSTORE_ENGINE_PASSWORD", "geheim");
    command.args(["--listen", "127.0.0.1:0", "--engine", &redis.url()]);
    let with_variable = Server::spawn(&mut command);
    until("the variable is taken", || {
        (with_variable.get("/readyz").status == 200).then_some(())
    });
}

#[test]
fn sentinels_are_told_the_password_that_is_theirs() {
    let sentinels = Sentinels::start_with(Some("wache"));
    let said = refused(&["--engine", &sentinels.url()]);
    assert!(said.contains("credentials"), "{said}");
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("sentinel-password");
    std::fs::write(&file, "wache\n").unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["--engine-sentinel-password-file", file, "--log", "trace"];
    let with_file = server(&sentinels.url(), &arguments);
    assert_eq!(with_file.put("/set/a", &[], b"1").status, 200);
    assert!(!with_file.log().contains("wache"));
    let mut command = kvstore();
    command.env("KVSTORE_ENGINE_SENTINEL_PASSWORD", "wache");
    command.args(["--listen", "127.0.0.1:0", "--engine", &sentinels.url()]);
    let with_variable = Server::spawn(&mut command);
    until("the variable is taken", || {
        (with_variable.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(with_variable.get("/get/a").text(), "1");
}

#[test]
fn an_engine_that_is_not_there_yet_is_waited_for() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{port}");
    let server = Server::launch(&["--engine", &url]);
    assert_eq!(server.get("/livez").status, 200);
    let unready = server.get("/readyz");
    assert_eq!(unready.status, 503);
    let refused = server.get("/get/a");
    refused.assert_problem(503, "engine_unavailable", &["cannot be reached"]);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.get("/search?prefix=").status, 503);
    let _redis = Redis::start_at(port, &[]);
    until("the server is ready", || {
        (server.get("/readyz").status == 200).then_some(())
    });
    assert_eq!(server.put("/set/a", &[], b"1").status, 200);
    assert_eq!(server.get("/search?prefix=").keys(), ["a"]);
}

#[test]
fn what_was_stored_is_found_after_a_start() {
    let redis = Redis::start(&[]);
    let first = server(&redis.url(), &[]);
    let keys: Vec<String> = (0..5_000).map(|number| format!("{number:05}")).collect();
    first.fill(&keys);
    let etag = first.get("/get/00042").etag();
    drop(first);
    // Another number of shares finds the same.
    let second = server(&redis.url(), &["--workers", "1", "--shards", "5"]);
    assert_eq!(second.get("/search?prefix=").keys(), keys);
    assert_eq!(second.get("/get/00042").etag(), etag);
    assert!(second.log().contains("256 of 256 partitions"));
}
