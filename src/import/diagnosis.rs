//! What is wrong with a line: where, what is there and what is expected. It never says what the
//! line holds, since that may be secret.

mod value;

use crate::client::Problem;
use crate::csv::Fault;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use value::Misfit;

/// The two forms of a line.
pub const EXPECTED: &str =
    r#"{"key": "…", "value": any JSON} or {"key": "…", "content_type": "…", "base64": "…"}"#;

/// What other files begin with, what they are, and what to do.
const SIGNATURES: [(&[u8], &str, &str); 8] = [
    (
        b"\x1f\x8b",
        "a file compressed by gzip",
        "name it .gz, or gunzip -c FILE | kvstore import -",
    ),
    (
        b"\x28\xb5\x2f\xfd",
        "a file compressed by zstd",
        "name it .zst, or zstd -dc FILE | kvstore import -",
    ),
    (
        b"BZh",
        "a file compressed by bzip2",
        "bunzip2 -c FILE | kvstore import -",
    ),
    (
        b"\xfd7zXZ\x00",
        "a file compressed by xz",
        "xz -dc FILE | kvstore import -",
    ),
    (
        b"PK\x03\x04",
        "a zip archive",
        "unzip -p FILE | kvstore import -",
    ),
    (
        b"\xff\xfe",
        "text in UTF-16",
        "iconv -f UTF-16 -t UTF-8 FILE | kvstore import -",
    ),
    (
        b"\xfe\xff",
        "text in UTF-16",
        "iconv -f UTF-16 -t UTF-8 FILE | kvstore import -",
    ),
    (
        b"{\x00",
        "text in UTF-16",
        "iconv -f UTF-16LE -t UTF-8 FILE | kvstore import -",
    ),
];

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// From 1 on, in bytes.
    column: usize,
    found: Cow<'static, str>,
    expected: Cow<'static, str>,
    hint: Cow<'static, str>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            found,
            expected,
            hint,
        } = self;
        write!(
            formatter,
            "column {column}: {found}, where {expected}{hint}"
        )
    }
}

impl Diagnosis {
    /// What is wrong with a record.
    pub fn of_record(fault: Fault) -> Self {
        Self {
            column: fault.place.column,
            found: fault.found,
            expected: fault.expected,
            hint: "".into(),
        }
    }

    /// What an input is that begins so, where it is of a kind that is neither lines nor records.
    pub fn of_input(beginning: &[u8], expected: &'static str) -> Option<Self> {
        let (what, command) = signature(beginning)?;
        Some(Self {
            column: 1,
            found: what.into(),
            expected: expected.into(),
            hint: format!(": {command}").into(),
        })
    }
}

/// What begins so, where that is known, and what to do with it.
pub fn signature(beginning: &[u8]) -> Option<(&'static str, &'static str)> {
    let mut known = SIGNATURES.iter();
    let (_, what, command) = known.find(|known| beginning.starts_with(known.0))?;
    Some((*what, *command))
}

/// Finds by its beginning what is surely no line. A blank one may be.
pub fn of_beginning(line: &[u8], number: u64) -> Option<Diagnosis> {
    if number == 1
        && let Some((what, command)) = signature(line)
    {
        return Some(no_object(1, what.into(), format!(": {command}").into()));
    }
    let blank = line
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let text = line.trim_ascii();
    let first = *text.first()?;
    let hint = match first {
        b'{' if text.len() > 1 => return None,
        b'{' => "; pretty-printed JSON is not lines: jq -c . FILE | kvstore import -",
        b'[' => "; an array is not lines: jq -c '.[]' FILE | kvstore import -",
        _ if number == 1 && text.iter().any(|byte| b",;\t".contains(byte)) => {
            "; if this is CSV, give --csv, and --key-column for the name of the column that has the keys"
        }
        _ => "",
    };
    let found = match first {
        b'{' => "an object that goes on in the next line",
        b'[' => "a JSON array",
        _ => kind_of(Some(first)),
    };
    Some(no_object(blank + 1, found.into(), hint.into()))
}

/// Finds what is wrong with the JSON of a line or its members, if these are wrong.
pub fn of_line(line: &[u8]) -> Option<Diagnosis> {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(line) {
        return Some(of_syntax(line, &error));
    }
    if line.trim_ascii().first() != Some(&b'{') {
        return of_beginning(line, 0);
    }
    let Members(members) = match serde_json::from_slice(line) {
        Ok(members) => members,
        // Passing over a text does not look at its characters.
        Err(error) => return Some(of_syntax(line, &error)),
    };
    let misfit = |column: usize, found: &'static str, expected: Cow<'static, str>| {
        Some(Diagnosis {
            column,
            found: found.into(),
            expected,
            hint: form(),
        })
    };
    let mut seen = [false; MEMBERS.len()];
    for (name, value) in members {
        let column = column(line, value);
        let Some(place) = MEMBERS.iter().position(|known| *known == name) else {
            let expected = r#"only "key", "value", "content_type", "base64", "ttl_ms", "expires_at", "if_match" and "if_none_match" are expected"#;
            return misfit(column, "the value of another member", expected.into());
        };
        if std::mem::replace(&mut seen[place], true) {
            let found = "a member for the second time";
            return misfit(column, found, "each is expected once".into());
        }
        if let Some(Misfit {
            at,
            found,
            expected,
        }) = value::of_value(MEMBERS[place], value)
        {
            return misfit(column + at, found, expected);
        }
        if matches!(seen, [.., true, true, _, _]) {
            let expected = r#""ttl_ms" or "expires_at" is expected alone"#;
            return misfit(column, "the second of two members", expected.into());
        }
    }
    // What else there is goes with each form.
    let [key, value, content_type, base64, ..] = seen;
    let expected = match [key, value, content_type, base64] {
        [false, ..] => r#"the member "key" is expected"#,
        [true, false, false, false] => r#"the member "value" is expected"#,
        [true, false, false, true] => r#"the member "content_type" is expected beside "base64""#,
        [true, false, true, false] => r#"the member "base64" is expected beside "content_type""#,
        [true, true, false, false] | [true, false, true, true] => return None,
        [true, true, ..] => r#""value" is expected alone, or "content_type" and "base64""#,
    };
    Some(Diagnosis {
        column: line.trim_ascii_end().len(),
        found: "the end of the object".into(),
        expected: expected.into(),
        hint: form(),
    })
}

/// Where in a line is what the server alone knows to be wrong, if what it says tells that.
pub fn column_of(line: &[u8], problem: &Problem) -> Option<usize> {
    let is_meant = |name: &str| match problem.code.as_str() {
        "key_too_large" => name == "key",
        // Else it is the token that is refused, wherever the body was then.
        "forbidden" => name == "key" && problem.detail.contains("this key"),
        "value_too_large" => matches!(name, "value" | "base64"),
        // Of a line of the right form its condition.
        "invalid_line" => {
            matches!(name, "if_match" | "if_none_match") && problem.detail.starts_with(name)
        }
        _ => false,
    };
    let Members(members) = serde_json::from_slice(line).ok()?;
    let (_, value) = members.iter().find(|(name, _)| is_meant(name))?;
    Some(column(line, value))
}

/// Where a value of a line begins.
fn column(line: &[u8], value: &RawValue) -> usize {
    value.get().as_ptr().addr() - line.as_ptr().addr() + 1
}

const MEMBERS: [&str; 8] = [
    "key",
    "value",
    "content_type",
    "base64",
    "ttl_ms",
    "expires_at",
    "if_match",
    "if_none_match",
];

fn form() -> Cow<'static, str> {
    format!("; a line is {EXPECTED}").into()
}

fn no_object(column: usize, found: Cow<'static, str>, hint: Cow<'static, str>) -> Diagnosis {
    Diagnosis {
        column,
        found,
        expected: format!("{EXPECTED} is expected").into(),
        hint,
    }
}

/// What the parser says of syntax, which never quotes the text.
fn of_syntax(line: &[u8], error: &serde_json::Error) -> Diagnosis {
    let column = error.column().max(1);
    let is_end = error.is_eof() || column > line.trim_ascii_end().len();
    let found = match is_end {
        true => "the end of the line",
        false => kind_of(line.get(column - 1).copied()),
    };
    Diagnosis {
        column: if is_end {
            line.trim_ascii_end().len() + 1
        } else {
            column
        },
        found: found.into(),
        expected: format!("JSON is expected ({})", says(error)).into(),
        hint: form(),
    }
}

/// What the parser says, without where.
fn says(error: &serde_json::Error) -> String {
    let says = error.to_string();
    says.split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// What begins with the byte.
fn kind_of(first: Option<u8>) -> &'static str {
    match first {
        None | Some(b'\n' | b'\r') => "the end of the line",
        Some(b'"') => "a text",
        Some(b'\'') => "a single quote",
        Some(b'{') => "an object",
        Some(b'}') => "the end of an object",
        Some(b'[') => "an array",
        Some(b']') => "the end of an array",
        Some(b',') => "a comma",
        Some(b':') => "a colon",
        Some(b'-' | b'0'..=b'9') => "a number",
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => "a word",
        Some(b' ' | b'\t') => "a space",
        Some(b'#') => "a comment",
        Some(0..=31 | 127) => "a control character",
        Some(128..) => "a character that is not ASCII",
        Some(_) => "a sign",
    }
}

/// The members of an object in their order, with those that repeat.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// Text that is borrowed where it holds no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;

        impl<'de> Visitor<'de> for Visit {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Text(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named_by_column_and_kind_without_what_it_holds() {
        for (line, says) in [
            (
                r#"{"key": 12345, "value": 1}"#,
                "column 9: a number, where the text of \"key\"",
            ),
            (
                r#"{"key": "secret"}"#,
                "column 17: the end of the object, where the member \"value\"",
            ),
            (r#"{"value": "secret"}"#, "the member \"key\" is expected"),
            (
                r#"{"key": "secret", "value":"#,
                "column 27: the end of the line",
            ),
            (
                r#"{"key": "secret", "value": secret}"#,
                "a word, where JSON is expected",
            ),
            (
                r#"{"key": "secret", "value": 1,}"#,
                "column 30: the end of an object",
            ),
            (r#"{"key": "secret" "value": 1}"#, "column 18: a text"),
            (r#"{'key': 1}"#, "column 2: a single quote"),
            (
                r#"{"key": "secret", "secret": 1}"#,
                "column 29: the value of another member",
            ),
            (
                r#"{"key": "secret", "key": "b", "value": 1}"#,
                "for the second time",
            ),
            (
                r#"{"key": "secret", "base64": "c2VjcmV0"}"#,
                "\"content_type\" is expected beside",
            ),
            (
                r#"{"key": "k", "content_type": null, "base64": ""}"#,
                "a word, where the text of \"content_type\"",
            ),
            (
                r#"{"key": "secret", "value": 1, "if_match": 1}"#,
                "column 43: a number, where the text of \"if_match\"",
            ),
            (
                r#"{"value": "secret", "key": ""}"#,
                "column 28: nothing, where a key is expected; a line is",
            ),
            (
                r#"{"key": "secret\ud800", "value": 1}"#,
                "column 22: an escape that is no character, where JSON is expected (",
            ),
            (
                r#"{"key": "k", "content_type": "secret", "base64": ""}"#,
                "column 30: a text that is none, where a content type",
            ),
            (
                r#"{"key": "k", "content_type": "a/b", "base64": "secret!"}"#,
                "column 47: a text that is none, where base64",
            ),
            (
                r#"{"key": "k", "value": 1, "ttl_ms": 0}"#,
                "column 36: another number, where ttl_ms takes a number of milliseconds, from 1",
            ),
            (
                r#"{"key": "k", "value": 1, "ttl_ms": "secret"}"#,
                "column 36: a text, where ttl_ms takes",
            ),
            (
                r#"{"key": "k", "value": 1, "expires_at": "secret"}"#,
                "column 40: another text, where expires_at takes a moment of UTC",
            ),
            (
                r#"{"key": "k", "expires_at": null, "ttl_ms": 1, "value": 1}"#,
                "column 44: the second of two members, where \"ttl_ms\" or",
            ),
            (
                r#"{"key": "secret", "ttl_ms": 1}"#,
                "the member \"value\" is expected",
            ),
            (r#"["secret"]"#, "column 1: a JSON array"),
            (
                r#"{"key": "secret", "value": 1} {"#,
                "an object, where JSON",
            ),
        ] {
            let diagnosis = of_line(line.as_bytes()).unwrap().to_string();
            assert!(diagnosis.contains(says), "{line}: {diagnosis}");
            for held in ["secret", "12345"] {
                assert!(!diagnosis.contains(held), "{diagnosis}");
            }
        }
        for line in [
            r#"{"key": "k", "value": null}"#,
            r#" {"base64": "", "content_type": "a/b", "key": "k"} "#,
            // What is wrong with these only the server knows.
            r#"{"key": "k", "value": 1, "expires_at": "2030-01-31T12:00:00Z"}"#,
            r#"{"key": "k", "value": 1, "expires_at": null, "if_none_match": "x"}"#,
        ] {
            assert_eq!(of_line(line.as_bytes()), None);
        }
        let broken = of_line(b"{\"key\": \"secret\xff\", \"value\": 1}");
        let broken = broken.unwrap().to_string();
        assert!(
            broken.contains("not ASCII, where JSON is expected"),
            "{broken}"
        );
        assert!(!broken.contains("secret"), "{broken}");
    }

    #[test]
    fn what_only_the_server_knows_to_be_wrong_has_its_column_too() {
        let line = br#"{"if_none_match": "x", "key": "long", "content_type": "a/b", "base64": "", "if_match": "*"}"#;
        for (code, detail, column) in [
            ("key_too_large", "the key has 4 bytes", Some(31)),
            ("forbidden", "and this key is beyond them", Some(31)),
            ("forbidden", "the token was taken out", None),
            ("value_too_large", "the value is over the limit", Some(72)),
            ("invalid_line", "if_none_match takes \"*\"", Some(19)),
            ("invalid_line", "if_match takes an entity tag", Some(88)),
            ("invalid_line", "something new", None),
            ("line_too_large", "the line is over the limit", None),
        ] {
            let problem = Problem {
                code: code.into(),
                detail: detail.into(),
                ..Problem::default()
            };
            assert_eq!(column_of(line, &problem), column, "{code}: {detail}");
        }
    }

    #[test]
    fn files_of_other_kinds_are_known_by_how_they_begin() {
        for (beginning, says) in [
            (&b"\x1f\x8b\x08"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\x04", "zstd"),
            (b"\xff\xfe{\x00", "UTF-16"),
            (b"{\x00\"\x00", "UTF-16"),
            (b"  [{\"key\"", "array"),
            (b"{\r\n", "pretty-printed"),
            (b"key,value\n", "CSV"),
            (b"\"key\";\"value\"\n", "CSV"),
        ] {
            let diagnosis = of_beginning(beginning, 1).unwrap().to_string();
            assert!(diagnosis.contains(says), "{diagnosis}");
        }
        assert_eq!(of_beginning(b"{\"key", 1), None);
        assert_eq!(of_beginning(b" \t\r\n", 1), None);
    }
}
