//! What commands say to people, on standard error.
//!
//! What a server said may be in it, so characters that a terminal would obey are escaped. That nobody reads it is no
//! failure: what a command does, and ends with, is the same.

use std::fmt::Display;
use std::io::{self, Write};

/// Says something, in a line or more.
pub fn say(what: impl Display) {
    let mut text = plain(&what.to_string());
    text.push('\n');
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether a character shows what it is. Those that turn the direction of text or take no room do not.
pub fn is_shown(letter: char) -> bool {
    let hides = matches!(
        letter,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !hides && !letter.is_control()
}

/// A text with its lines and tabs, and what else does not show what it is escaped.
fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 1);
    for letter in text.chars() {
        match matches!(letter, '\n' | '\t') || is_shown(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_default()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (text, expected) in [
            ("a é 日\n\tb", "a é 日\n\tb"),
            ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
            ("a\r\u{9b}2J", "a\\r\\u{9b}2J"),
            ("\u{202e}\u{61c}\u{e0041}", "\\u{202e}\\u{61c}\\u{e0041}"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }
}
