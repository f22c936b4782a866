//! Which columns of a CSV make which parts of an entry, and what is wrong with a record whose fields make none.

use crate::csv::{Fault, Record};
use crate::entry::{is_json_line, write_string};
use crate::model::{ContentTypes, Deadline, Lifetime};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::de::IgnoredAny;
use std::borrow::Cow;
use std::collections::HashSet;

/// The columns of an export, in their order.
pub const EXPORTED: [&str; 5] = ["key", "content_type", "value", "base64", "expires_at"];

/// The content type of JSON that stands in a line as it is.
const JSON: &str = "application/json";

/// What a value is where nothing says it.
const TEXT: &str = "text/plain; charset=utf-8";

/// What it is then where it is no text.
const BYTES: &str = "application/octet-stream";

/// Which columns have what. Without any they are those of an export.
#[derive(Args, Clone, Debug)]
pub struct ColumnArguments {
    /// The column that has the keys; without it, columns as kvstore export --csv writes them, or some of them: key, and value
    /// or base64
    #[arg(long, value_name = "NAME", requires = "csv")]
    key_column: Option<String>,
    /// The column that has the values; without it, a value is a JSON object of all columns that have nothing else
    #[arg(long, value_name = "NAME", requires = "key_column")]
    value_column: Option<String>,
    /// What the values of --value-column are, or those of a table without content types [default: text/plain;
    /// charset=utf-8]
    #[arg(long, value_name = "TYPE", requires = "csv", value_parser = parse_content_type)]
    content_type: Option<String>,
    /// The column that has their content types; where it is empty, --content-type counts
    #[arg(long, value_name = "NAME", requires = "value_column")]
    content_type_column: Option<String>,
    /// The column that has how many milliseconds a value lives; where it is empty, it has no end
    #[arg(long, value_name = "NAME", requires = "key_column")]
    ttl_ms_column: Option<String>,
    /// The column that has the moment at which a value ends, such as 2030-01-31T12:00:00Z
    #[arg(long, value_name = "NAME", requires = "key_column")]
    expires_at_column: Option<String>,
}

/// Which fields of a record make which parts of an entry.
#[derive(Debug)]
pub struct Columns {
    width: usize,
    key: usize,
    value: ValueColumns,
    ttl_ms: Option<usize>,
    expires_at: Option<usize>,
    content_types: ContentTypes,
}

#[derive(Debug)]
enum ValueColumns {
    Exported(Exported),
    /// One, of which is known what it is.
    One {
        value: usize,
        content_type: Option<usize>,
        default: String,
    },
    /// The members of a JSON object.
    Members(Vec<(String, usize)>),
}

/// Columns as an export writes them, or some of them: a text, or base64 of what is none.
#[derive(Debug)]
struct Exported {
    content_type: Option<usize>,
    value: Option<usize>,
    base64: Option<usize>,
    /// What values are that do not say it.
    default: Option<String>,
}

impl ColumnArguments {
    /// Whether `--content-type` has values that it is for: those of one column, or of a table of our own.
    pub fn is_typed_in_vain(&self) -> bool {
        self.content_type.is_some() && self.key_column.is_some() && self.value_column.is_none()
    }
}

impl Exported {
    /// The bytes of a record's value, and the field that has them.
    fn value<'a>(&self, record: &'a Record) -> Result<(usize, Cow<'a, [u8]>), Fault> {
        let text = filled(record, self.value)?;
        let Some((at, encoded)) = filled(record, self.base64)? else {
            let at = self.value.or(self.base64);
            let at = at.expect("a header without both is none of ours");
            let text = text.map_or("", |(_, text)| text);
            return Ok((at, Cow::Borrowed(text.as_bytes())));
        };
        if text.is_some() {
            let expected = "nothing is expected beside a value";
            return Err(fault(record, at, "base64", expected));
        }
        let Ok(bytes) = STANDARD.decode(encoded) else {
            let expected = "base64 of the standard alphabet is expected, with its padding";
            return Err(fault(record, at, "a field that is none", expected));
        };
        Ok((at, Cow::Owned(bytes)))
    }
}

impl Columns {
    /// Finds the columns in a header.
    ///
    /// # Errors
    /// Where it is none, or one is missing. What the header says is not told: without a header it is a record.
    pub fn of(header: &Record, arguments: &ColumnArguments) -> Result<Self, Fault> {
        let names = names(header)?;
        let named = |flag: &str, name: &str| {
            let at = names.iter().position(|known| known == name);
            at.ok_or_else(|| {
                fault(
                    header,
                    0,
                    "a header without it",
                    format!("the column of {flag} is expected"),
                )
            })
        };
        let optional = |flag: &str, name: &Option<String>| {
            name.as_deref().map(|name| named(flag, name)).transpose()
        };
        let Some(key) = &arguments.key_column else {
            return Self::exported(header, &names, arguments.content_type.clone());
        };
        let key = named("--key-column", key)?;
        let ttl_ms = optional("--ttl-ms-column", &arguments.ttl_ms_column)?;
        let expires_at = optional("--expires-at-column", &arguments.expires_at_column)?;
        let value = match optional("--value-column", &arguments.value_column)? {
            Some(value) => ValueColumns::One {
                value,
                content_type: optional("--content-type-column", &arguments.content_type_column)?,
                default: arguments
                    .content_type
                    .clone()
                    .unwrap_or_else(|| TEXT.into()),
            },
            None => {
                let taken = [Some(key), ttl_ms, expires_at];
                let members = names.into_iter().enumerate();
                let members = members.filter(|(at, _)| !taken.contains(&Some(*at)));
                ValueColumns::Members(members.map(|(at, name)| (name, at)).collect())
            }
        };
        Ok(Self {
            width: header.width(),
            key,
            value,
            ttl_ms,
            expires_at,
            content_types: ContentTypes::default(),
        })
    }

    fn exported(header: &Record, names: &[String], default: Option<String>) -> Result<Self, Fault> {
        let at = |name: &str| names.iter().position(|known| known == name);
        let (value, base64) = (at("value"), at("base64"));
        let is_ours = names.iter().all(|name| EXPORTED.contains(&name.as_str()));
        let key = at("key").filter(|_| is_ours && (value.is_some() || base64.is_some()));
        let Some(key) = key else {
            let expected = format!(
                "{} is expected, as an export has it, or key with value or base64 and some of the others, or \
                 --key-column for the name of the column that has the keys",
                EXPORTED.join(",")
            );
            return Err(fault(header, 0, "another header", expected));
        };
        Ok(Self {
            width: header.width(),
            key,
            value: ValueColumns::Exported(Exported {
                content_type: at("content_type"),
                value,
                base64,
                default,
            }),
            ttl_ms: None,
            expires_at: at("expires_at"),
            content_types: ContentTypes::default(),
        })
    }

    /// Adds the line that a record makes, with its line feed.
    ///
    /// # Errors
    /// Where it makes none. Then something may have been added.
    pub fn write(&self, record: &Record, line: &mut Vec<u8>) -> Result<(), Fault> {
        if record.width() != self.width {
            return Err(self.of_another_width(record));
        }
        let key = record.text(self.key)?;
        if key.is_empty() {
            return Err(fault(record, self.key, "nothing", "a key is expected"));
        }
        line.extend_from_slice(b"{\"key\":");
        write_string(key, line);
        match &self.value {
            ValueColumns::Exported(columns) => self.write_exported(record, columns, line)?,
            ValueColumns::One {
                value,
                content_type,
                default,
            } => {
                let given = content_type.map(|at| record.text(at).map(|text| (at, text)));
                let given = given.transpose()?;
                let text = record.text(*value)?.as_bytes();
                match given.filter(|(_, given)| !given.is_empty()) {
                    Some((at, given)) => self
                        .check_content_type(record, at, given)?
                        .write(text, line),
                    None => {
                        check_default(record, *value, text, default)?;
                        Typed(default).write(text, line);
                    }
                }
            }
            ValueColumns::Members(members) => write_object(record, members, line)?,
        }
        self.write_end(record, line)?;
        line.extend_from_slice(b"}\n");
        Ok(())
    }

    fn write_exported(
        &self,
        record: &Record,
        columns: &Exported,
        line: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let (field, value) = columns.value(record)?;
        let given = filled(record, columns.content_type)?;
        let default = columns.default.as_deref();
        let typed = match (given, default, columns.content_type) {
            (Some((at, given)), ..) => self.check_content_type(record, at, given)?,
            (None, Some(default), _) => {
                check_default(record, field, &value, default)?;
                Typed(default)
            }
            // An export says it of each value.
            (None, None, Some(at)) => self.check_content_type(record, at, "")?,
            (None, None, None) if std::str::from_utf8(&value).is_ok() => Typed(TEXT),
            (None, None, None) => Typed(BYTES),
        };
        typed.write(&value, line);
        Ok(())
    }

    fn check_content_type<'a>(
        &self,
        record: &Record,
        field: usize,
        text: &'a str,
    ) -> Result<Typed<'a>, Fault> {
        match self.content_types.parse(text) {
            Ok(_) => Ok(Typed(text)),
            Err(_) => {
                let expected = "a content type such as text/plain is expected";
                Err(fault(record, field, "a field that is none", expected))
            }
        }
    }

    /// Writes when the value ends, where it does.
    fn write_end(&self, record: &Record, line: &mut Vec<u8>) -> Result<(), Fault> {
        let given = (
            filled(record, self.ttl_ms)?,
            filled(record, self.expires_at)?,
        );
        match given {
            (None, None) => {}
            (Some((at, ttl_ms)), None) => {
                Lifetime::parse(Some(ttl_ms), None).map_err(|error| {
                    fault(record, at, "a field that is none", error.to_string())
                })?;
                line.extend_from_slice(b",\"ttl_ms\":");
                line.extend_from_slice(ttl_ms.as_bytes());
            }
            (None, Some((at, expires_at))) => {
                Deadline::parse(expires_at).map_err(|error| {
                    fault(record, at, "a field that is none", error.to_string())
                })?;
                line.extend_from_slice(b",\"expires_at\":");
                write_string(expires_at, line);
            }
            (Some(_), Some((at, _))) => {
                let expected = "nothing is expected beside a time to live";
                return Err(fault(record, at, "a moment", expected));
            }
        }
        Ok(())
    }

    fn of_another_width(&self, record: &Record) -> Fault {
        let (has, width) = (record.width(), self.width);
        let expected = format!("{width} fields are expected, as the header has them");
        match has < width {
            true => fault(
                record,
                has,
                format!("the end of the record after {has} fields"),
                expected,
            ),
            false => fault(record, width, "one field more", expected),
        }
    }
}

fn parse_content_type(text: &str) -> Result<String, String> {
    match ContentTypes::default().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A field and what is in it, where there is such a column and something in it.
fn filled(record: &Record, column: Option<usize>) -> Result<Option<(usize, &str)>, Fault> {
    let Some(column) = column else {
        return Ok(None);
    };
    let text = record.text(column)?;
    Ok(Some((column, text)).filter(|(_, text)| !text.is_empty()))
}

/// Refuses a value that is not what `--content-type` says of all of them, as far as that is known.
fn check_default(record: &Record, field: usize, value: &[u8], default: &str) -> Result<(), Fault> {
    if default == JSON && serde_json::from_slice::<IgnoredAny>(value).is_err() {
        let expected = "JSON is expected by --content-type";
        return Err(fault(record, field, "a field that is none", expected));
    }
    Ok(())
}

/// A content type that values have.
struct Typed<'a>(&'a str);

impl Typed<'_> {
    /// Writes a value.
    fn write(&self, value: &[u8], line: &mut Vec<u8>) {
        if self.0 == JSON && is_json_line(value) {
            line.extend_from_slice(b",\"value\":");
            line.extend_from_slice(value);
            return;
        }
        line.extend_from_slice(b",\"content_type\":");
        write_string(self.0, line);
        line.extend_from_slice(b",\"base64\":\"");
        line.extend_from_slice(STANDARD.encode(value).as_bytes());
        line.push(b'"');
    }
}

/// Writes a JSON object of texts.
fn write_object(
    record: &Record,
    members: &[(String, usize)],
    line: &mut Vec<u8>,
) -> Result<(), Fault> {
    line.extend_from_slice(b",\"value\":{");
    for (number, (name, field)) in members.iter().enumerate() {
        if number > 0 {
            line.push(b',');
        }
        write_string(name, line);
        line.push(b':');
        write_string(record.text(*field)?, line);
    }
    line.push(b'}');
    Ok(())
}

/// The names of the columns, each of which is there once.
fn names(header: &Record) -> Result<Vec<String>, Fault> {
    let mut seen = HashSet::new();
    for field in 0..header.width() {
        if !seen.insert(header.text(field)?) {
            let found = "the name of a column for the second time";
            return Err(fault(header, field, found, "each is expected once"));
        }
    }
    let names = (0..header.width()).map(|field| header.text(field).map(str::to_owned));
    names.collect()
}

fn fault(
    record: &Record,
    field: usize,
    found: impl Into<Cow<'static, str>>,
    expected: impl Into<Cow<'static, str>>,
) -> Fault {
    Fault {
        place: record.place(field),
        found: found.into(),
        expected: expected.into(),
    }
}
