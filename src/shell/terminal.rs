//! What people at a terminal are shown, where programs get what there is: columns, colours, and no character that a
//! terminal would obey.

use crate::client::notice::is_shown;
use crate::config::terminal::wants_colours;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How wide a terminal is that does not say it.
const COLUMNS: usize = 80;

/// How wide the column of names gets; what is longer sticks out.
const NAME_COLUMNS_MAX: usize = 48;

/// How wide the column of numbers is.
const NUMBER_COLUMNS: usize = 10;

/// The terminal that standard output is.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    has_colours: bool,
    columns: usize,
}

/// What a text is, by which it is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A key.
    Key,
    /// A group of keys.
    Group,
    /// What is said in passing.
    Aside,
    /// What is gone.
    Gone,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub name: String,
    /// How many keys it stands for, where it is a group.
    pub keys: Option<u64>,
    /// What is to say of it, if anything.
    pub about: Option<String>,
}

impl Terminal {
    /// That of standard output; `None` where it is another thing, which is for programs.
    pub fn of_output() -> Option<Self> {
        let output = io::stdout();
        if !output.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&output);
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        Some(Self {
            has_colours: wants_colours(),
            columns: if columns == 0 { COLUMNS } else { columns },
        })
    }

    /// What is left of each line behind so many columns.
    pub fn narrower(self, columns: usize) -> Self {
        let columns = self.columns.saturating_sub(columns);
        Self { columns, ..self }
    }

    /// A text in its colour.
    pub fn painted(self, kind: Kind, text: &str) -> String {
        let code = match kind {
            Kind::Key => return text.to_owned(),
            Kind::Group => "1;34",
            Kind::Aside => "2",
            Kind::Gone => "31",
        };
        match self.has_colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Rows with their columns below each other; each is a line.
    pub fn table(self, rows: &[Row]) -> String {
        let has_keys = rows.iter().any(|row| row.keys.is_some());
        let names: Vec<_> = rows.iter().map(|row| plain(&row.name)).collect();
        let has_about = rows.iter().any(|row| row.about.is_some());
        let widths = names.iter().map(|name| name.width());
        let widest = match has_about {
            true => widths.max().unwrap_or_default().min(NAME_COLUMNS_MAX),
            false => 0,
        };
        let mut text = String::new();
        for (row, name) in rows.iter().zip(&names) {
            let mut taken = 0;
            if has_keys {
                let number = row.keys.map_or_else(String::new, |keys| keys.to_string());
                let column = format!("{number:>NUMBER_COLUMNS$}  ");
                taken += column.len();
                text += &self.painted(Kind::Aside, &column);
            }
            text += &self.painted(row.kind, name);
            if let Some(about) = &row.about {
                let gap = widest.saturating_sub(name.width()) + 2;
                taken += name.width() + gap;
                text.extend(std::iter::repeat_n(' ', gap));
                text += &fitted(&plain(about), self.columns.saturating_sub(taken));
            }
            text.push('\n');
        }
        text
    }
}

/// A text without characters that a terminal obeys, or that hide what there is: they are escaped.
pub fn plain(text: &str) -> Cow<'_, str> {
    match text.chars().all(is_shown) {
        true => text.into(),
        false => {
            let mut shown = String::with_capacity(text.len() + 8);
            text.chars().for_each(|letter| push(letter, &mut shown));
            shown.into()
        }
    }
}

/// JSON for standard output: the same JSON, and where that is a terminal without characters that it obeys.
pub fn json(text: &[u8]) -> Cow<'_, [u8]> {
    match io::stdout().is_terminal() {
        true => plain_json(text),
        false => text.into(),
    }
}

/// JSON whose texts have no characters that a terminal obeys: they are escaped as JSON has it.
fn plain_json(text: &[u8]) -> Cow<'_, [u8]> {
    // Those two are white space here: within a text JSON has them escaped already.
    let is_plain = |letter: char| matches!(letter, '\n' | '\t') || is_shown(letter);
    let json = String::from_utf8_lossy(text);
    if json.chars().all(is_plain) {
        return match json {
            Cow::Borrowed(json) => json.as_bytes().into(),
            Cow::Owned(json) => json.into_bytes().into(),
        };
    }
    let mut shown = String::with_capacity(json.len() + 8);
    for letter in json.chars() {
        if is_plain(letter) {
            shown.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            write!(shown, "\\u{unit:04x}").expect("memory takes what is written");
        }
    }
    shown.into_bytes().into()
}

fn push(letter: char, shown: &mut String) {
    match is_shown(letter) {
        true => shown.push(letter),
        false => shown.extend(letter.escape_default()),
    }
}

/// As much of a text as fits some columns, with a sign where that is not all.
fn fitted(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut taken = 0;
    let fits = text.chars().take_while(|letter| {
        taken += letter.width().unwrap_or_default();
        // The sign takes one.
        taken < columns
    });
    fits.chain(std::iter::once('…')).collect()
}

/// An output that passes text on as [`plain`] does, but with its lines and tabs, and bytes that are no text escaped.
pub struct PlainText<W> {
    output: W,
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl<W: Write> PlainText<W> {
    /// Passes on to an output.
    pub fn new(output: W) -> Self {
        let begun = Vec::new();
        Self { output, begun }
    }

    /// Nothing comes any more.
    ///
    /// # Errors
    /// As writing has them.
    pub fn end(mut self) -> io::Result<()> {
        let mut shown = String::new();
        push_bytes(&self.begun, &mut shown);
        self.output.write_all(shown.as_bytes())?;
        self.output.flush()
    }
}

impl<W: Write> Write for PlainText<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let mut shown = String::with_capacity(text.len());
        let mut chunks = text.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for letter in chunk.valid().chars() {
                match letter {
                    '\n' | '\t' => shown.push(letter),
                    letter => push(letter, &mut shown),
                }
            }
            let invalid = chunk.invalid();
            let is_begun =
                std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            match is_begun && chunks.peek().is_none() {
                true => self.begun = invalid.to_vec(),
                false => push_bytes(invalid, &mut shown),
            }
        }
        self.output.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn push_bytes(bytes: &[u8], shown: &mut String) {
    for byte in bytes {
        write!(shown, "\\x{byte:02x}").expect("memory takes what is written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMINAL: Terminal = Terminal {
        has_colours: false,
        columns: 24,
    };

    fn row(name: &str, keys: Option<u64>, about: Option<&str>) -> Row {
        Row {
            kind: Kind::Key,
            name: name.into(),
            keys,
            about: about.map(String::from),
        }
    }

    #[test]
    fn columns_stand_below_each_other_and_fit() {
        let rows = [
            row("a", None, Some("1")),
            row("日本", None, Some("a value that is too long for this")),
            row("a\nb", None, None),
        ];
        let expected = "a     1\n日本  a value that is t…\na\\nb\n";
        assert_eq!(TERMINAL.table(&rows), expected);
        let rows = [row("a", None, None), row("b/", Some(12), None)];
        let expected = "            a\n        12  b/\n";
        assert_eq!(TERMINAL.table(&rows), expected);
        let painted = Terminal {
            has_colours: true,
            ..TERMINAL
        };
        assert_eq!(painted.painted(Kind::Gone, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(TERMINAL.painted(Kind::Gone, "x"), "x");
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        for (text, expected) in [
            ("a b é 日", "a b é 日"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"key": "\u{7f}\u{9b}31m\u{202e}é", "value": ["\u{1b}"]});
        let text = value.to_string().replace(':', ":\t");
        let shown = plain_json(text.as_bytes());
        assert!(
            shown.starts_with(b"{\"key\":\t\"\\u007f\\u009b31m\\u202e\xc3\xa9\""),
            "{shown:?}"
        );
        let read: serde_json::Value = serde_json::from_slice(&shown).unwrap();
        assert_eq!(read, value);
        assert!(matches!(plain_json(b"{\"a\": 1}\n"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn bytes_in_any_pieces_are_shown_alike_and_obeyed_by_nothing(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[a\u{1b}\n\t\ré日\u{10ffff}]{0,12}".prop_map(String::into_bytes),
            ],
            pieces in 1_usize..5,
        ) {
            let shown = |pieces: usize| {
                let mut shown = Vec::new();
                let mut output = PlainText::new(&mut shown);
                bytes.chunks(pieces).for_each(|piece| output.write_all(piece).unwrap());
                output.end().unwrap();
                String::from_utf8(shown).unwrap()
            };
            let whole = shown(100);
            prop_assert_eq!(shown(pieces), whole.clone());
            let is_plain = |letter: char| matches!(letter, '\n' | '\t') || is_shown(letter);
            prop_assert!(whole.chars().all(is_plain), "{:?}", whole);
        }
    }
}
