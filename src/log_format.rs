//! The form of the log's lines: for people, or for programs, an object of JSON each.
//!
//! `env_logger` filters and writes, as before. It gives records to these functions, so that no other crate is needed for
//! what is one object a line. Both add the id of the request that a line is of.

use crate::trace;
use env_logger::Builder;
use env_logger::fmt::{ConfigurableFormat, Formatter, TimestampPrecision, default_kv_format};
use log::Record;
use log::kv::{self, Key, Source, Value, VisitSource};
use serde::ser::{SerializeMap, Serializer};
use std::io::{self, Write};

/// Whose lines have their fields in their message as well.
pub(crate) const ACCESS: &str = "access";

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, where from, message and fields.
    Text,
    /// The same as one object of JSON.
    Json,
}

impl LogFormat {
    /// The form that a setting names.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Has a log be written in this form.
    pub fn apply(self, builder: &mut Builder) {
        match self {
            Self::Text => {
                let (whole, in_message) = (text(default_kv_format), text(|_, _| Ok(())));
                builder.format(move |formatter, record| match record.target() {
                    ACCESS => in_message.format(formatter, record),
                    _ => whole.format(formatter, record),
                })
            }
            Self::Json => builder.format(write_json),
        };
    }
}

/// Lines of text, whose fields are written in some way.
fn text(
    fields: impl Fn(&mut Formatter, &dyn Source) -> io::Result<()> + Send + Sync + 'static,
) -> ConfigurableFormat {
    let mut format = ConfigurableFormat::default();
    format
        .timestamp(Some(TimestampPrecision::Millis))
        .key_values(move |formatter, source| {
            fields(formatter, source)?;
            match trace::current_id() {
                Some(id) => write!(formatter, " request_id={id}"),
                None => Ok(()),
            }
        });
    format
}

fn write_json(formatter: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = formatter.timestamp_millis().to_string();
    let mut line = json(&time, record, trace::current_id().as_deref())?;
    line.push(b'\n');
    formatter.write_all(&line)
}

/// A record as JSON, without a line break, whatever it says.
fn json(time: &str, record: &Record<'_>, request_id: Option<&str>) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::new(&mut line);
    let mut members = serializer.serialize_map(None)?;
    members.serialize_entry("time", time)?;
    let level = record.level().as_str().to_ascii_lowercase();
    members.serialize_entry("level", &level)?;
    members.serialize_entry("target", record.target())?;
    members.serialize_entry("message", &record.args().to_string())?;
    let visited = record.key_values().visit(&mut Fields(&mut members));
    visited.map_err(io::Error::other)?;
    if let Some(id) = request_id {
        members.serialize_entry("request_id", id)?;
    }
    members.end()?;
    Ok(line)
}

/// Writes fields as members.
struct Fields<'a, M>(&'a mut M);

impl<'kvs, M: SerializeMap> VisitSource<'kvs> for Fields<'_, M> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let name = key.as_str();
        let written = if let Some(number) = value.to_u64() {
            self.0.serialize_entry(name, &number)
        } else if let Some(number) = value.to_f64() {
            self.0.serialize_entry(name, &number)
        } else if let Some(text) = value.to_borrowed_str() {
            self.0.serialize_entry(name, text)
        } else {
            self.0.serialize_entry(name, &value.to_string())
        };
        written.map_err(|_| kv::Error::msg("a field could not be written"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn a_record_is_an_object_in_one_line() {
        let fields: &[(&str, Value<'_>)] = &[
            ("endpoint", "/get".into()),
            ("status", 504u16.into()),
            ("total_ms", 1.5f64.into()),
        ];
        let line = json(
            "2026-01-02T03:04:05.678Z",
            &Record::builder()
                .level(Level::Warn)
                .target("slow")
                .args(format_args!("two\nlines and a \"quote\""))
                .key_values(&fields)
                .build(),
            Some("a\\b"),
        );
        let line = String::from_utf8(line.unwrap()).unwrap();
        assert_eq!(
            line,
            concat!(
                r#"{"time":"2026-01-02T03:04:05.678Z","level":"warn","target":"slow","#,
                r#""message":"two\nlines and a \"quote\"","endpoint":"/get","status":504,"total_ms":1.5,"#,
                r#""request_id":"a\\b"}"#
            )
        );
    }
}
