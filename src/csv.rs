//! Records of fields between commas (RFC 4180): read strictly and in bounded memory, and written.
//!
//! What is not by the RFC is refused with its line and column, where most readers guess: a quote that is never closed
//! would take the rest of a file for one field. Lines may end with a line feed alone, empty ones are passed over, and
//! the last need not end. Columns are counted in bytes, from 1 on.

use std::borrow::Cow;
use std::io::{self, BufRead};

/// A record: its fields one after the other, and where each is.
#[derive(Debug, Default)]
pub(crate) struct Record {
    text: Vec<u8>,
    fields: Vec<Field>,
    /// Where it ends.
    end: Place,
}

/// A place in an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1 on.
    pub(crate) line: u64,
    /// From 1 on, in bytes.
    pub(crate) column: usize,
}

#[derive(Clone, Copy, Debug)]
struct Field {
    /// Where it begins in the record's text. It ends where the next does.
    start: usize,
    place: Place,
}

/// What came next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Record,
    End,
    Bad(Fault),
}

/// What is not as it should be, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    pub(crate) found: Cow<'static, str>,
    pub(crate) expected: Cow<'static, str>,
}

impl Record {
    /// How many fields it has.
    pub(crate) fn width(&self) -> usize {
        self.fields.len()
    }

    /// The bytes of a field.
    pub(crate) fn bytes(&self, field: usize) -> &[u8] {
        let start = self.fields[field].start;
        let next = self.fields.get(field + 1);
        &self.text[start..next.map_or(self.text.len(), |next| next.start)]
    }

    /// The text of a field.
    ///
    /// # Errors
    /// Where it is not UTF-8.
    pub(crate) fn text(&self, field: usize) -> Result<&str, Fault> {
        std::str::from_utf8(self.bytes(field)).map_err(|_| Fault {
            place: self.place(field),
            found: "a field that is not UTF-8".into(),
            expected:
                "UTF-8 is expected; what has another encoding is made UTF-8 by iconv -f ENCODING -t UTF-8"
                    .into(),
        })
    }

    /// Where a field begins; behind the last, where the record ends.
    pub(crate) fn place(&self, field: usize) -> Place {
        self.fields.get(field).map_or(self.end, |field| field.place)
    }

    fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
    }

    fn begin_field(&mut self, place: Place) {
        let start = self.text.len();
        self.fields.push(Field { start, place });
    }
}

/// The records of an input.
pub(crate) struct Records<R> {
    input: R,
    parser: Parser,
}

impl<R: BufRead> Records<R> {
    /// Reads records of at most so many bytes.
    pub(crate) fn new(input: R, bytes_max: usize) -> Self {
        let parser = Parser {
            bytes_max,
            bytes: 0,
            state: State::Start,
            place: Place { line: 1, column: 1 },
            opened: Place::default(),
        };
        Self { input, parser }
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// As reading has them.
    pub(crate) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        record.clear();
        self.parser.bytes = 0;
        self.parser.state = State::Start;
        loop {
            let bytes = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(self.parser.end(record));
            }
            let mut taken = 0;
            let mut next = None;
            for &byte in bytes {
                next = self.parser.take(byte, record);
                taken += 1;
                if next.is_some() {
                    break;
                }
            }
            self.input.consume(taken);
            if let Some(next) = next {
                return Ok(next);
            }
        }
    }
}

/// What stands before the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of its field.
    Start,
    /// Some of a field without quotes.
    Plain,
    /// Some of a field within quotes.
    Quoted,
    /// A quote within such a field, which ends it unless another follows.
    Closed,
    /// A carriage return, which a line feed must follow.
    Return,
}

struct Parser {
    bytes_max: usize,
    /// Bytes of the record.
    bytes: usize,
    state: State,
    /// Where the next byte is.
    place: Place,
    /// Where the last quote is that opened a field.
    opened: Place,
}

impl Parser {
    /// Takes a byte in, and says what it ends.
    fn take(&mut self, byte: u8, record: &mut Record) -> Option<Next> {
        let at = self.place;
        match byte {
            b'\n' => {
                self.place = Place {
                    line: at.line + 1,
                    column: 1,
                }
            }
            _ => self.place.column += 1,
        }
        self.bytes += 1;
        if self.bytes > self.bytes_max {
            return Some(self.too_long(at));
        }
        let is_blank = self.state == State::Start && record.fields.is_empty();
        match (self.state, byte) {
            (State::Quoted, b'"') => self.state = State::Closed,
            (State::Quoted, _) => record.text.push(byte),
            (State::Closed, b'"') => {
                record.text.push(b'"');
                self.state = State::Quoted;
            }
            (State::Start, b'"') => {
                record.begin_field(at);
                self.opened = at;
                self.state = State::Quoted;
            }
            (State::Start | State::Plain | State::Closed, b',') => {
                if self.state == State::Start {
                    record.begin_field(at);
                }
                self.state = State::Start;
            }
            (State::Start | State::Plain | State::Closed, b'\r') => {
                if self.state == State::Start && !is_blank {
                    record.begin_field(at);
                }
                record.end = at;
                self.state = State::Return;
            }
            (State::Start, b'\n') if is_blank => self.bytes = 0,
            (State::Start | State::Plain | State::Closed, b'\n') => {
                if self.state == State::Start {
                    record.begin_field(at);
                }
                record.end = at;
                return Some(Next::Record);
            }
            (State::Return, b'\n') => {
                if !record.fields.is_empty() {
                    return Some(Next::Record);
                }
                self.bytes = 0;
                self.state = State::Start;
            }
            (State::Return, _) => return Some(lone_return(record.end)),
            (State::Plain, b'"') => {
                let expected = "a field with quotes is expected to stand in quotes, with each of its own twice";
                return Some(bad(at, "a quote", expected));
            }
            (State::Closed, _) => {
                let expected =
                    "a comma, the end of the line or another quote is expected behind a quote";
                return Some(bad(at, "another character", expected));
            }
            (State::Start, _) => {
                record.begin_field(at);
                record.text.push(byte);
                self.state = State::Plain;
            }
            (State::Plain, _) => record.text.push(byte),
        }
        None
    }

    /// What the end of the input ends.
    fn end(&mut self, record: &mut Record) -> Next {
        let at = self.place;
        match self.state {
            State::Start if record.fields.is_empty() => return Next::End,
            State::Start => record.begin_field(at),
            State::Plain | State::Closed => {}
            State::Quoted => {
                let expected = "another that closes it is expected before the input ends";
                return bad(self.opened, "a quote that opens a field", expected);
            }
            State::Return => return lone_return(record.end),
        }
        record.end = at;
        Next::Record
    }

    fn too_long(&self, at: Place) -> Next {
        let (place, found) = match self.state {
            State::Quoted => (self.opened, "a quote that opens a field"),
            State::Start | State::Plain | State::Closed | State::Return => (at, "more of a record"),
        };
        let bytes_max = self.bytes_max;
        Next::Bad(Fault {
            place,
            found: found.into(),
            expected: format!(
                "the end of the record is expected within {bytes_max} bytes; for longer ones give --line-bytes-max"
            )
            .into(),
        })
    }
}

fn lone_return(place: Place) -> Next {
    let expected = "a line feed is expected behind it, or quotes around the field";
    bad(place, "a carriage return", expected)
}

fn bad(place: Place, found: &'static str, expected: &'static str) -> Next {
    Next::Bad(Fault {
        place,
        found: found.into(),
        expected: expected.into(),
    })
}

/// Writes a record, which ends with a line feed. A record of one empty field would be an empty line: there is none.
pub(crate) fn write_record<'a>(fields: impl IntoIterator<Item = &'a [u8]>, text: &mut Vec<u8>) {
    for (number, field) in fields.into_iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        let is_plain = |byte: &u8| !matches!(byte, b'"' | b',' | b'\r' | b'\n');
        if field.iter().all(is_plain) {
            text.extend_from_slice(field);
            continue;
        }
        text.push(b'"');
        for piece in field.split_inclusive(|&byte| byte == b'"') {
            text.extend_from_slice(piece);
            if piece.ends_with(b"\"") {
                text.push(b'"');
            }
        }
        text.push(b'"');
    }
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    /// Reads all records through a buffer of some bytes.
    fn read(text: &[u8], buffer_bytes: usize) -> Result<Vec<Vec<Vec<u8>>>, Fault> {
        let input = BufReader::with_capacity(buffer_bytes, text);
        let mut records = Records::new(input, 1000);
        let (mut record, mut all) = (Record::default(), Vec::new());
        loop {
            match records.next(&mut record).unwrap() {
                Next::Record => {
                    let fields = (0..record.width()).map(|field| record.bytes(field).to_vec());
                    all.push(fields.collect());
                }
                Next::End => return Ok(all),
                Next::Bad(fault) => return Err(fault),
            }
        }
    }

    fn texts(text: &str) -> Vec<Vec<String>> {
        let records = read(text.as_bytes(), 64).unwrap();
        let text = |field: Vec<u8>| String::from_utf8(field).unwrap();
        records
            .into_iter()
            .map(|record| record.into_iter().map(text).collect())
            .collect()
    }

    #[test]
    fn records_are_read_as_the_rfc_has_them() {
        let cases: [(&str, &[&[&str]]); 11] = [
            ("", &[]),
            ("\n\r\n\n", &[]),
            ("a,b\n", &[&["a", "b"]]),
            ("a,b\r\nc,d", &[&["a", "b"], &["c", "d"]]),
            ("a,\n,b\n", &[&["a", ""], &["", "b"]]),
            ("a,", &[&["a", ""]]),
            (",\r\n\r\n,", &[&["", ""], &["", ""]]),
            ("\"a,b\",\"c\"\"d\"\n", &[&["a,b", "c\"d"]]),
            ("\"\"\n\"\"\"\"\n", &[&[""], &["\""]]),
            ("\"a\r\nb\n\",c\n", &[&["a\r\nb\n", "c"]]),
            (" a , b ", &[&[" a ", " b "]]),
        ];
        for (text, expected) in cases {
            assert_eq!(texts(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_the_rfc_has_not_is_named_with_line_and_column() {
        for (text, line, column, found) in [
            ("a,b\nc,d\"e\n", 2, 4, "a quote"),
            ("a\n\"b\" ,c\n", 2, 4, "another character"),
            ("a,b\n\n1,\"2\n3,4\n", 3, 3, "a quote that opens a field"),
            ("\"a\nb\",c\"\n", 2, 5, "a quote"),
            ("a\rb\n", 1, 2, "a carriage return"),
            ("a,\r", 1, 3, "a carriage return"),
        ] {
            let fault = read(text.as_bytes(), 64).unwrap_err();
            assert_eq!(fault.place, Place { line, column }, "{text:?}: {fault:?}");
            assert_eq!(fault.found, found, "{text:?}");
        }
        let long = format!("a\n{}\n", "b".repeat(1000));
        let fault = read(long.as_bytes(), 64).unwrap_err();
        assert_eq!(fault.place.line, 2);
        let unclosed = format!("a\nb,\"{}", "b\n".repeat(1000));
        let fault = read(unclosed.as_bytes(), 64).unwrap_err();
        assert_eq!(fault.place, Place { line: 2, column: 3 });
        assert!(fault.expected.contains("1000 bytes"), "{fault:?}");
    }

    #[test]
    fn fields_know_where_they_are_and_whether_they_are_text() {
        let mut records = Records::new(&b"\"a\nb\",cd,\xff\nx\n"[..], 100);
        let mut record = Record::default();
        assert_eq!(records.next(&mut record).unwrap(), Next::Record);
        let places = (0..4).map(|field| record.place(field));
        let expected =
            [(1, 1), (2, 4), (2, 7), (2, 8)].map(|(line, column)| Place { line, column });
        assert!(places.eq(expected), "{record:?}");
        assert_eq!(record.text(1), Ok("cd"));
        assert_eq!(
            record.text(2).unwrap_err().place,
            Place { line: 2, column: 7 }
        );
    }

    /// Fields with what has to be quoted in many of them.
    fn fields() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
        let field = prop_oneof![
            "[a\",\r\n ]{0,6}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        (2_usize..5).prop_flat_map(move |width| {
            let record = prop::collection::vec(field.clone(), width);
            prop::collection::vec(record, 0..6)
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_here_and_elsewhere(all in fields(), buffer_bytes in 1_usize..20) {
            let mut text = Vec::new();
            for record in &all {
                write_record(record.iter().map(Vec::as_slice), &mut text);
            }
            prop_assert_eq!(read(&text, buffer_bytes).unwrap(), all.clone());
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(&text[..]);
            let elsewhere = reader.byte_records().map(|record| {
                record.unwrap().iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
            });
            prop_assert_eq!(elsewhere.collect::<Vec<_>>(), all);
        }

        #[test]
        fn what_is_written_elsewhere_is_read(all in fields(), buffer_bytes in 1_usize..20) {
            let mut writer = csv::WriterBuilder::new()
                .terminator(csv::Terminator::CRLF)
                .from_writer(Vec::new());
            for record in &all {
                writer.write_record(record).unwrap();
            }
            let text = writer.into_inner().unwrap();
            prop_assert_eq!(read(&text, buffer_bytes).unwrap(), all);
        }

        #[test]
        fn no_text_is_too_odd_to_be_read_or_refused(
            text in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[a\",\r\n]{0,40}".prop_map(String::into_bytes),
            ],
            buffer_bytes in 1_usize..20,
        ) {
            prop_assert_eq!(read(&text, buffer_bytes), read(&text, 64));
        }
    }
}
