//! The file of tokens: what changes with it, what is wrong with it, and what the commands make of one.

use super::{Guarded, drawn};
use crate::support::{Server, kvstore, until};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

#[test]
fn the_file_is_read_again_and_a_broken_one_leaves_the_old_in_force() {
    let guarded = Guarded::start(&["--log", "debug"]);
    let (token, table) = drawn("late", &["--access", "read"]);
    let late = format!("Bearer {token}");
    let ask = || {
        let headers = [("Authorization", late.as_str())];
        guarded.server.get_with("/get/none", &headers).status
    };
    assert_eq!(ask(), 401);
    let before = fs::read_to_string(guarded.file()).unwrap();
    // As an editor writes it, and as Kubernetes swaps it.
    let swapped = guarded.folder.path().join("next.toml");
    fs::write(&swapped, &table).unwrap();
    fs::rename(&swapped, guarded.file()).unwrap();
    until("the new token is known", || (ask() == 404).then_some(()));
    assert_eq!(guarded.get("read", "/get/none").status, 401);
    assert_eq!(guarded.metric("kvstore_auth_file_valid"), 1.0);
    fs::write(guarded.file(), table.replace("access", "acces")).unwrap();
    until("the broken file is told of", || {
        (guarded.metric("kvstore_auth_file_valid") == 0.0).then_some(())
    });
    assert_eq!(ask(), 404, "what was in force stays so");
    let told = || guarded.server.log().matches("is not understood").count();
    until("the log says so", || (told() > 0).then_some(()));
    // Unchanged, it is read again only when that is asked for.
    let times = told();
    guarded.server.signal(Signal::HUP);
    until("a signal has it read again", || {
        (told() > times).then_some(())
    });
    fs::write(guarded.file(), before + &table).unwrap();
    until("all tokens are known", || {
        (guarded.get("read", "/get/none").status == 404).then_some(())
    });
    assert_eq!(ask(), 404);
    assert_eq!(guarded.metric("kvstore_auth_file_valid"), 1.0);
    let log = guarded.server.log();
    for token in guarded.tokens.values().chain([&token]) {
        assert!(!log.contains(token.as_str()), "{log}");
    }
    let hashes = table
        .lines()
        .filter_map(|line| line.strip_prefix("sha256 = "));
    for hash in hashes {
        assert!(!log.contains(&hash[1..20]), "{log}");
    }
}

#[test]
fn a_file_that_cannot_be_used_ends_the_start_with_what_to_do() {
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (_, table) = drawn("a", &["--access", "read"]);
    let path = folder.path().join("tokens.toml");
    for (text, says) in [
        (String::new(), "there are 0 tokens"),
        (table.replace("\"read\"", "\"reed\""), "in line"),
        (table.clone() + &table, "token number 2"),
        (
            table.replace("sha256 = \"", "sha256 = \"x"),
            "64 hexadecimal",
        ),
    ] {
        fs::write(&path, &text).unwrap();
        let mut command = kvstore();
        command.args(["--listen", "127.0.0.1:0", "--auth-file"]);
        let output = command.arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(says) && said.contains("auth_file"), "{said}");
        assert!(!said.contains(table.split('"').nth(3).unwrap()), "{said}");
    }
    for arguments in [
        &["--auth-file", "/nonexistent"][..],
        &["--auth-metrics", "true"],
    ] {
        let output = kvstore().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
    }
    for wrong in [
        &["--name", "a b", "--access", "read"][..],
        &["--name", "a", "--access", "all"],
        &["--name", "a", "--access", "read", "--prefix", ""],
        &["--name", "a"],
    ] {
        let output = kvstore().arg("token").args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_token_is_drawn_with_as_many_prefixes_as_its_file_takes() {
    let draw = |prefixes: usize| {
        let mut command = kvstore();
        command.args(["token", "--name", "a", "--access", "read"]);
        for number in 0..prefixes {
            command.args(["--prefix", &format!("{number}/")]);
        }
        command.output().unwrap()
    };
    let most = draw(100);
    assert_eq!(most.status.code(), Some(0), "{most:?}");
    let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("tokens.toml");
    fs::write(&path, most.stderr).unwrap();
    let server = Server::start_with(&["--auth-file", path.to_str().unwrap()]);
    let token = String::from_utf8(most.stdout).unwrap();
    let authorization = format!("Bearer {}", token.trim_end());
    let headers = [("Authorization", authorization.as_str())];
    for (prefix, status) in [("0/", 200), ("99/", 200), ("100/", 403)] {
        let path = format!("/search?prefix={prefix}");
        assert_eq!(server.get_with(&path, &headers).status, status, "{prefix}");
    }
    let more = draw(101);
    assert_eq!(more.status.code(), Some(2), "{more:?}");
    let said = String::from_utf8(more.stderr).unwrap();
    assert!(said.contains("100 prefixes, and 101"), "{said}");
    assert!(more.stdout.is_empty());
}

#[test]
fn without_tokens_the_start_says_who_may_do_what() {
    let mut command = kvstore();
    let open = Server::spawn(command.args(["--listen", "0.0.0.0:0", "--workers", "1"]));
    until("the start warns", || {
        let log = open.log();
        (log.contains("whoever reaches 0.0.0.0") && log.contains("auth_file")).then_some(())
    });
    let local = Server::in_memory(&[]);
    assert_eq!(local.get("/livez").status, 200);
    assert!(!local.log().contains("whoever reaches"), "{}", local.log());
}

#[test]
fn import_and_export_take_a_token_and_never_show_it() {
    let guarded = Guarded::start(&[]);
    let folder = guarded.folder.path();
    let (lines, kept) = (folder.join("lines"), folder.join("token"));
    fs::write(&lines, "{\"key\":\"t1/a\",\"value\":1}\n").unwrap();
    fs::write(&kept, format!("{}\n", guarded.tokens["write"])).unwrap();
    let url = guarded.server.url();
    let run = |arguments: &[&str], token: Option<&str>| {
        let mut command = kvstore();
        command.args(arguments).args(["--url", &url]).arg(&lines);
        if let Some(token) = token {
            command.env("KVSTORE_TOKEN", token);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for token in guarded.tokens.values() {
            assert!(!said.contains(token.as_str()), "{said}");
        }
        (output.status.code(), said)
    };
    let kept = kept.to_str().unwrap();
    let (code, said) = run(&["import", "--token-file", kept], None);
    assert_eq!(code, Some(0), "{said}");
    let tokens = &guarded.tokens;
    let (code, said) = run(&["import"], Some(&tokens["confined"]));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&["export"], Some(&tokens["read"]));
    assert_eq!(code, Some(0), "{said}");
    let refused: [(&[&str], Option<&str>, i32, &str); 7] = [
        (&["import"], None, 1, "401"),
        (&["export"], None, 1, "--token-file"),
        (
            &["import"],
            Some("kv_unknown"),
            1,
            "not one that this server knows",
        ),
        (&["import"], Some(&tokens["read"]), 1, "the access write"),
        (&["export"], Some(&tokens["confined"]), 1, "403"),
        (
            &["import"],
            Some("with space"),
            2,
            "KVSTORE_TOKEN holds is no token",
        ),
        (
            &["import", "--token-file", "/nonexistent"],
            None,
            74,
            "a token from",
        ),
    ];
    for (arguments, token, ends_with, says) in refused {
        let (code, said) = run(arguments, token);
        assert_eq!(code, Some(ends_with), "{said}");
        assert!(said.contains(says), "{said}");
        // It is known that nothing was taken.
        assert!(!said.contains("is unknown"), "{said}");
    }
    let mut command = kvstore();
    command.args(["get", "t1/a", "--url", &url]);
    command.env("KVSTORE_TOKEN", OsStr::from_bytes(b"kv_\xff"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("KVSTORE_TOKEN holds is no token"), "{said}");
}
