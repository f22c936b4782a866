//! The commands that are clients, against a server that takes those with a certificate only.

use super::{NAMES, shows, start};
use crate::authority::Authority;
use crate::support::{Server, kvstore};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A server that asks for a certificate, and who vouches for it and for its clients.
struct Mutual {
    authority: Authority,
    server: Server,
    folder: tempfile::TempDir,
}

impl Mutual {
    fn start() -> Self {
        let authority = Authority::new(NAMES);
        let mut words = shows(&authority);
        words.extend(["--tls-client-ca".into(), authority.text("ca.crt")]);
        let server = start(&words, &[]);
        let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self {
            authority,
            server,
            folder,
        }
    }

    /// A command that trusts the server, and shows nothing.
    fn command(&self, words: &[&str]) -> Command {
        let url = format!("https://localhost:{}", self.server.address().port());
        let mut command = kvstore();
        command.args(words).args(["--url", &url, "--tls-ca"]);
        command.arg(self.authority.path("ca.crt"));
        command
    }

    /// One that shows the certificate of an authority as well.
    fn command_of(&self, client: &Authority, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.args(["--tls-certificate", &client.text("client.crt")]);
        command.args(["--tls-key", &client.text("client.key")]);
        command
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// What a command ended with, wrote and said.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn every_command_shows_the_certificate_that_it_is_given() {
    let mutual = Mutual::start();
    let line = "{\"key\":\"imported\",\"value\":1}\n";
    let (lines, kept) = (mutual.file("lines", line), mutual.file("kept", ""));
    let (lines, kept) = (lines.to_str().unwrap(), kept.to_str().unwrap());
    let commands: [(&[&str], &str); 8] = [
        (&["import", lines], ""),
        (&["export", kept], ""),
        (&["set", "k", "[1]"], ""),
        (&["get", "k"], "[1]"),
        (&["expire", "k", "--never"], ""),
        (&["search", "--prefix", ""], "imported\nk\n"),
        (&["delete", "k"], ""),
        (&["delete", "--prefix", "none", "--yes"], "0\n"),
    ];
    for (words, written) in commands {
        let (code, output, said) = run(&mut mutual.command_of(&mutual.authority, words));
        assert_eq!(code, Some(0), "{words:?}: {said}");
        assert_eq!(output, written, "{words:?}");
    }
    assert_eq!(fs::read_to_string(kept).unwrap(), line);
    let mut watch = mutual.command_of(&mutual.authority, &["watch", "--from-start"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut events = BufReader::new(watch.stdout.take().unwrap());
    events.read_line(&mut first).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(first.contains("\"imported\""), "{first}");
}

#[test]
fn the_certificate_may_come_from_the_environment() {
    let mutual = Mutual::start();
    let url = format!("https://localhost:{}", mutual.server.address().port());
    let variables = [
        ("KVSTORE_URL", url),
        ("KVSTORE_CLIENT_TLS_CA", mutual.authority.text("ca.crt")),
        (
            "KVSTORE_CLIENT_TLS_CERTIFICATE",
            mutual.authority.text("client.crt"),
        ),
        (
            "KVSTORE_CLIENT_TLS_KEY",
            mutual.authority.text("client.key"),
        ),
    ];
    let mut command = kvstore();
    let command = command.args(["search", "--prefix", ""]);
    let (code, _, said) = run(command.envs(variables));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn who_shows_none_or_another_is_not_answered() {
    let (mutual, stranger) = (Mutual::start(), Authority::new(NAMES));
    let long = "x".repeat(100_000);
    // Both begin their requests before they hear why they are denied, and the second is still at it then.
    for words in [&["get", "k"][..], &["set", "k", &long]] {
        for (mut command, says) in [
            (mutual.command(words), "with a certificate only"),
            (
                mutual.command_of(&stranger, words),
                "does not take the certificate",
            ),
        ] {
            let (code, output, said) = run(&mut command);
            assert_eq!(code, Some(74), "{said}");
            assert!(said.contains("does not answer"), "{said}");
            assert!(said.contains(says), "{said}");
            assert!(output.is_empty(), "{output}");
        }
    }
}

#[test]
fn files_that_cannot_be_used_are_said_to_be_that_before_anything_is_asked() {
    let (mutual, stranger) = (Mutual::start(), Authority::new(NAMES));
    let certificate = mutual.authority.text("client.crt");
    let key = mutual.authority.text("client.key");
    let other_key = stranger.text("client.key");
    let half = mutual.file("half.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
    let half = half.to_str().unwrap();
    let refused: [(&[&str], i32, &str); 8] = [
        (&[&certificate], 2, "--tls-key"),
        (&["", &key], 2, "--tls-certificate"),
        (
            &["/nonexistent", &key],
            74,
            "certificates from /nonexistent",
        ),
        (
            &[&certificate, "/nonexistent"],
            74,
            "a key from /nonexistent",
        ),
        (
            &[&certificate, &other_key],
            74,
            "is not that of the certificate in",
        ),
        (&[&key, &key], 74, "there is no certificate in it"),
        (&[&certificate, &certificate], 74, "there is no key in it"),
        (&[&certificate, half], 74, "there is no key in it"),
    ];
    for (files, code, says) in refused {
        for words in [&["get", "k"][..], &["export", "-"]] {
            let mut command = mutual.command(words);
            let flags = ["--tls-certificate", "--tls-key"];
            for (flag, file) in flags.iter().zip(files).filter(|(_, file)| !file.is_empty()) {
                command.args([flag, file]);
            }
            let (ended, output, said) = run(&mut command);
            assert_eq!(ended, Some(code), "{files:?}: {said}");
            assert!(said.contains(says), "{files:?}: {said}");
            assert!(!said.contains("PRIVATE") && output.is_empty(), "{said}");
        }
    }
}

#[test]
fn who_speaks_http_to_it_is_told_of_https() {
    let authority = Authority::new(NAMES);
    let server = start(&shows(&authority), &[]);
    let url = format!("http://localhost:{}", server.address().port());
    let (code, output, said) = run(kvstore().args(["get", "k", "--url", &url]));
    assert_eq!(code, Some(74), "{said}");
    assert!(
        said.contains("; maybe it speaks https only: try https://"),
        "{said}"
    );
    assert!(output.is_empty(), "{output}");
}
