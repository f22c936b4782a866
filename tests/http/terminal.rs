//! What the commands show to people: a real terminal is on the other side.

use crate::support::{Server, kvstore};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

/// A command at a terminal, killed when dropped.
struct Screen {
    child: Child,
    terminal: File,
    raw: Vec<u8>,
    /// All that was shown, its lines ended as usual.
    shown: String,
}

impl Screen {
    /// Runs a command against a server, at a terminal of so many columns that knows colours.
    fn begin(server: &Server, columns: u16, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size).unwrap();
        let side = ioctl_tiocgptpeer(&terminal, flags).unwrap();
        let mut command = kvstore();
        command
            .args(words)
            .env("KVSTORE_URL", server.url())
            .env("TERM", "xterm")
            .envs(variables.iter().copied())
            .stdin(Stdio::from(side.try_clone().unwrap()))
            .stdout(Stdio::from(side.try_clone().unwrap()))
            .stderr(Stdio::from(side));
        let child = command.spawn().unwrap();
        // The terminal ends once nobody else has its other side.
        drop(command);
        Self {
            child,
            terminal: terminal.into(),
            raw: Vec::new(),
            shown: String::new(),
        }
    }

    /// Reads on; `false` at the end.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.terminal.read(&mut bytes) {
            Ok(some) if some > 0 => {
                self.raw.extend_from_slice(&bytes[..some]);
                self.shown = String::from_utf8_lossy(&self.raw).replace('\r', "");
                true
            }
            // A terminal whose other side was closed fails.
            Ok(_) | Err(_) => false,
        }
    }

    /// Reads on until a text is shown.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        while !self.shown.contains(text) {
            assert!(self.read(), "{:?} shows {text:?}", self.shown);
        }
    }

    fn types(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// The code that it ends with, and all that it showed.
    fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        let status = self.child.wait().unwrap();
        (status.code(), std::mem::take(&mut self.shown))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asserts that a command did it, and returns what it showed without colours.
#[track_caller]
fn shown(server: &Server, words: &[&str]) -> String {
    let screen = Screen::begin(server, 40, words, &[("NO_COLOR", "1")]);
    let (code, shown) = screen.end();
    assert_eq!(code, Some(0), "{shown}");
    shown
}

/// What a command writes to a pipe.
fn piped(server: &Server, words: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvstore"));
    let command = command
        .args(words)
        .env_clear()
        .env("KVSTORE_URL", server.url());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}");
    output.stdout
}

#[test]
fn no_terminal_obeys_what_is_in_keys_and_values() {
    let server = Server::in_memory(&[]);
    let odd = "\u{1b}[2J\u{7}\u{9b}31m\u{202e}x";
    let escaped = "\\u{1b}[2J\\u{7}\\u{9b}31m\\u{202e}x";
    piped(&server, &["set", odd, odd]);
    assert_eq!(shown(&server, &["get", odd]), format!("{escaped}\n"));
    assert_eq!(piped(&server, &["get", odd]), odd.as_bytes());
    let found = shown(&server, &["search"]);
    assert_eq!(found, format!("{escaped}\n1 keys match\n"));
    assert_eq!(piped(&server, &["search"]), format!("{odd}\n").as_bytes());
    let json = ["search", "--json"];
    let read: String = serde_json::from_str(shown(&server, &json).trim_end()).unwrap();
    assert_eq!(read, odd);
    for words in [
        &["search", "--values"][..],
        &["search", "--groups", "J"],
        &["search", "--json", "--values"],
        &["get", odd, "--json"],
    ] {
        let shown = shown(&server, words);
        let is_escaped = shown.contains("\\u{1b}") || shown.contains("\\u001b");
        assert!(is_escaped, "{shown:?}");
        let is_obeyed = |letter: char| letter.is_control() && letter != '\n';
        assert!(!shown.contains(is_obeyed), "{shown:?}");
    }
    let bytes: Vec<u8> = (0..=255).collect();
    let put = server.put("/set/bytes", &[("Content-Type", "a/b")], &bytes);
    assert_eq!(put.status, 200);
    let read = shown(&server, &["get", "bytes"]);
    assert!(
        read.contains("\\u{1b}") && read.contains("\\xff"),
        "{read:?}"
    );
    assert_eq!(piped(&server, &["get", "bytes"]), bytes);
}

#[test]
fn values_and_groups_stand_in_columns_that_fit() {
    let server = Server::in_memory(&[]);
    let long = format!("\"{}\"", "v".repeat(100));
    for (key, value) in [
        ("a", "1"),
        ("long-key", &long),
        ("n/1", "{\"n\": 1}"),
        ("n/2", "2"),
    ] {
        piped(&server, &["set", key, value]);
    }
    let values = shown(&server, &["search", "--values"]);
    let expected = format!(
        "a         1\nlong-key  \"{}…\nn/1       {{\"n\": 1}}\nn/2       2\n4 keys match\n",
        "v".repeat(28)
    );
    assert_eq!(values, expected);
    let groups = shown(&server, &["search", "--groups", "/"]);
    let expected = "            a\n            long-key\n         2  n/\n4 keys match\n";
    assert_eq!(groups, expected);
    // For programs nothing of this is there.
    let lines = piped(&server, &["search", "--groups", "/"]);
    assert_eq!(
        lines,
        b"\"a\"\n\"long-key\"\n{\"group\":\"n/\",\"keys\":2}\n"
    );
    let at_terminal = shown(&server, &["search", "--groups", "/", "--json"]);
    assert_eq!(at_terminal.as_bytes(), lines);
}

#[test]
fn colours_are_shown_unless_somebody_wants_none() {
    let server = Server::in_memory(&[]);
    piped(&server, &["set", "n/1", "1"]);
    for (variables, has_colours) in [
        (&[][..], true),
        (&[("NO_COLOR", "")], true),
        (&[("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let words = ["search", "--groups", "/"];
        let (code, shown) = Screen::begin(&server, 80, &words, variables).end();
        assert_eq!(code, Some(0), "{shown}");
        assert_eq!(
            shown.contains('\u{1b}'),
            has_colours,
            "{variables:?}: {shown:?}"
        );
    }
}

#[test]
fn what_was_done_is_said_and_what_is_dear_is_asked_back() {
    let server = Server::in_memory(&[]);
    assert_eq!(shown(&server, &["set", "a/1", "1"]), "created\n");
    assert_eq!(shown(&server, &["set", "a/1", "2"]), "updated\n");
    assert_eq!(shown(&server, &["set", "a/2", "1"]), "created\n");
    assert_eq!(shown(&server, &["set", "b", "1"]), "created\n");
    assert_eq!(shown(&server, &["expire", "b", "--never"]), "never\n");
    assert_eq!(shown(&server, &["delete", "b"]), "deleted\n");
    let dry = ["delete", "--prefix", "a/", "--dry-run"];
    assert_eq!(shown(&server, &dry), "2 keys matched\n");
    for (answer, code, says, left) in [
        ("n\n", 1, "nothing was deleted", 2),
        ("y\n", 0, "2 keys deleted", 0),
    ] {
        let words = ["delete", "--prefix", "a/"];
        let mut screen = Screen::begin(&server, 80, &words, &[]);
        screen.shows("delete 2 keys? [y/N] ");
        screen.types(answer);
        let (ended, shown) = screen.end();
        assert_eq!(ended, Some(code), "{shown}");
        assert!(shown.contains(says), "{shown}");
        assert_eq!(server.get("/search?prefix=").total(), left);
    }
}

#[test]
fn json_is_the_same_for_people_and_programs() {
    let server = Server::in_memory(&[]);
    let end = "2090-01-31T12:00:00.000Z";
    for (words, expected) in [
        (
            &["set", "k", "{\"n\": 1}"][..],
            "{\"key\":\"k\",\"created\":true}\n",
        ),
        (
            &["set", "k", "{\"n\": 1}"],
            "{\"key\":\"k\",\"created\":false}\n",
        ),
        (
            &["expire", "k", "--at", end],
            "{\"key\":\"k\",\"expires_at\":\"2090-01-31T12:00:00.000Z\"}\n",
        ),
        (&["search", "--count"], "{\"total\":1}\n"),
        (&["search"], "\"k\"\n"),
        (
            &["delete", "--prefix", "", "--dry-run"],
            "{\"matched\":1}\n",
        ),
        (&["delete", "--prefix", "x", "--yes"], "{\"deleted\":0}\n"),
        (&["delete", "k"], "{\"deleted\":1}\n"),
    ] {
        let words = [words, &["--json"]].concat();
        // Only the first of two changes something.
        let is_change = matches!(words[0], "set" | "delete");
        let written = match is_change {
            true => String::from_utf8(piped(&server, &words)).unwrap(),
            false => shown(&server, &words),
        };
        let written = written.replace("1 keys match\n", "");
        assert_eq!(written, expected, "{words:?}");
    }
    piped(&server, &["set", "k", "{\"n\": 1}", "--ttl", "1h"]);
    let entry = shown(&server, &["get", "k", "--json"]);
    let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
    assert_eq!(entry["value"]["n"], 1);
    assert!(
        entry["expires_at"].is_string() && entry["etag"].is_string(),
        "{entry}"
    );
    let screen = Screen::begin(&server, 80, &["get", "none", "--json"], &[]);
    let (code, said) = screen.end();
    assert_eq!(code, Some(1));
    assert!(said.contains("names no value"), "{said}");
}

#[test]
fn a_watch_shows_what_happens_in_columns() {
    let server = Server::in_memory(&[]);
    piped(&server, &["set", "a\u{1b}", "1"]);
    let words = ["watch", "--values", "--from-start"];
    let mut screen = Screen::begin(&server, 80, &words, &[("NO_COLOR", "1")]);
    screen.shows("set     a\\u{1b}  1\nready\n");
    piped(&server, &["delete", "a\u{1b}"]);
    screen.shows("delete  a\\u{1b}\n");
    kill_process(Pid::from_child(&screen.child), Signal::TERM).unwrap();
    assert_eq!(screen.end().0, None);
}
