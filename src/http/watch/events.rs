//! Events as text: server-sent events (WHATWG HTML, 9.2), or a JSON object a line.
//!
//! ```text
//! event: set                                 {"event":"set","id":"…","data":{"key":"a","etag":"\"…\""}}
//! id: 0c1f3a5b7d9e2468-3-1a2b
//! data: {"key":"a","etag":"\"…\""}
//! ```

use super::super::format::{LINES, prefers};
use crate::entry::{EntryText, Etag, LongEntry, ValueForm};
use crate::model::Value;
use crate::store::{Became, Happened, Place};
use actix_web::HttpRequest;
use bytes::Bytes;
use std::io::Write;

/// The media type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";

/// How events follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// As server-sent events.
    Events,
    /// A JSON object a line.
    Lines,
}

/// What is said of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// All: an entry.
    Entries,
    /// Its entity tag, and when it ends.
    Tags,
}

/// How one who watches is told of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) wire: Wire,
    pub(super) contents: Contents,
}

/// What an event is about, but for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// All present keys were given, and all that was changed until they had been.
    Ready,
    /// Where the client may go on.
    Bookmark,
}

/// A set with a long value, piece by piece.
#[derive(Debug)]
pub(super) struct LongEvent {
    head: Option<Bytes>,
    /// `None` once its end was given.
    entry: Option<LongEntry>,
    wire: Wire,
}

impl Wire {
    /// Lines where the client prefers them to server-sent events, which it is sent where it wants both as much and
    /// names both.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let wants_lines = prefers(request, LINES, EVENT_STREAM);
        match wants_lines && !prefers(request, EVENT_STREAM, LINES) {
            true => Self::Lines,
            false => Self::Events,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Events => EVENT_STREAM,
            Self::Lines => LINES,
        }
    }

    /// Writes what stands before the data of an event.
    fn begin(self, name: &str, place: Option<Place>, text: &mut Vec<u8>) {
        let (before, id, data): (&[u8], &[u8], &[u8]) = match self {
            Self::Events => (b"event: ", b"\nid: ", b"\ndata: "),
            Self::Lines => (b"{\"event\":\"", b"\",\"id\":\"", b"\",\"data\":"),
        };
        text.extend_from_slice(before);
        text.extend_from_slice(name.as_bytes());
        if let Some(place) = place {
            text.extend_from_slice(id);
            write!(text, "{place}").expect("memory takes what is written");
        }
        text.extend_from_slice(data);
    }

    /// Writes what stands behind it.
    fn end(self, text: &mut Vec<u8>) {
        text.extend_from_slice(match self {
            Self::Events => b"\n\n",
            Self::Lines => b"}\n",
        });
    }
}

impl Form {
    /// How many forms there are.
    pub(super) const COUNT: usize = 4;

    /// The number of this one.
    pub(super) fn number(self) -> usize {
        match (self.wire, self.contents) {
            (Wire::Events, Contents::Tags) => 0,
            (Wire::Events, Contents::Entries) => 1,
            (Wire::Lines, Contents::Tags) => 2,
            (Wire::Lines, Contents::Entries) => 3,
        }
    }

    /// Writes a change, behind which the place is.
    pub(super) fn write(self, happened: &Happened, place: Option<Place>, text: &mut Vec<u8>) {
        let key = happened.key.as_str();
        let name = match &happened.became {
            Became::Set(value) => return self.write_set(key, value, place, text),
            Became::Deleted => "delete",
            Became::Expired => "expire",
        };
        self.wire.begin(name, place, text);
        write_key(key, text);
        text.push(b'}');
        self.wire.end(text);
    }

    /// Writes a value that a key names. One that does not come from a change has no place.
    pub(super) fn write_set(
        self,
        key: &str,
        value: &Value,
        place: Option<Place>,
        text: &mut Vec<u8>,
    ) {
        self.wire.begin("set", place, text);
        match self.contents {
            Contents::Entries => {
                let form = ValueForm::of(value);
                EntryText { key, value, form }.write(Etag::Written, text);
            }
            Contents::Tags => write_tag(key, value, text),
        }
        self.wire.end(text);
    }

    /// Writes that nothing more comes since what comes next is not kept any more.
    pub(super) fn write_gone(self, text: &mut Vec<u8>) {
        self.wire.begin("gone", None, text);
        let data = serde_json::json!({
            "code": "changes_gone",
            "detail": "what comes next is not kept any more, since the client read more slowly than changes came \
                       (setting changes_bytes_max), or an engine elsewhere may have lost some of it: begin anew with \
                       from=start",
        });
        write!(text, "{data}").expect("memory takes what is written");
        self.wire.end(text);
    }

    /// Writes a mark at a place.
    pub(super) fn write_mark(self, mark: Mark, place: Place, text: &mut Vec<u8>) {
        let name = match mark {
            Mark::Ready => "ready",
            Mark::Bookmark => "bookmark",
        };
        self.wire.begin(name, Some(place), text);
        text.extend_from_slice(b"{}");
        self.wire.end(text);
    }
}

impl LongEvent {
    /// An event as [`Form::write_set`] writes it, with the value.
    pub(super) fn new(entry: EntryText<'_>, place: Option<Place>, wire: Wire) -> Self {
        let mut head = Vec::new();
        wire.begin("set", place, &mut head);
        entry.write_head(&mut head);
        Self {
            head: Some(head.into()),
            entry: Some(LongEntry::new(entry.value.clone(), entry.form)),
            wire,
        }
    }

    /// Whether some of it was given.
    pub(super) fn is_begun(&self) -> bool {
        self.head.is_none()
    }

    /// The next of it, and whether that is its end.
    pub(super) fn next_piece(&mut self) -> Option<(Bytes, Ending)> {
        if let Some(head) = self.head.take() {
            return Some((head, Ending::No));
        }
        if let Some(piece) = self.entry.as_mut()?.next_piece() {
            return Some((piece, Ending::No));
        }
        let entry = self.entry.take()?;
        let mut text = Vec::new();
        entry.write_end(&mut text);
        self.wire.end(&mut text);
        Some((text.into(), Ending::Yes))
    }
}

/// Whether something is the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Yes,
    No,
}

/// Writes how all data begins that has a key.
fn write_key(key: &str, text: &mut Vec<u8>) {
    text.extend_from_slice(b"{\"key\":");
    serde_json::to_writer(&mut *text, key).expect("text is JSON");
}

fn write_tag(key: &str, value: &Value, text: &mut Vec<u8>) {
    write_key(key, text);
    text.extend_from_slice(b",\"etag\":\"\\\"");
    text.extend_from_slice(&value.revision.digits());
    text.extend_from_slice(b"\\\"\"");
    if let Some(deadline) = value.expires_at {
        let written = write!(text, ",\"expires_at\":\"{deadline}\"");
        written.expect("memory takes what is written");
    }
    text.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ContentType, Deadline, Key, Revision};

    fn value(body: &'static str) -> Value {
        Value {
            content_type: ContentType::JSON,
            body: body.into(),
            revision: Revision(0xabc),
            expires_at: Some(Deadline::from_millis(1000)),
        }
    }

    fn place() -> Place {
        "00000000000000ab-3-1f".parse().unwrap()
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut text = Vec::new();
        write(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn events_are_written_in_either_form() {
        let events = Form {
            wire: Wire::Events,
            contents: Contents::Tags,
        };
        let tag = r#""etag":"\"0000000000000abc\"","expires_at":"1970-01-01T00:00:01.000Z"}"#;
        let set = text(|text| events.write_set("a\nb", &value("1"), Some(place()), text));
        let expected =
            format!("event: set\nid: 00000000000000ab-3-1f\ndata: {{\"key\":\"a\\nb\",{tag}\n\n");
        assert_eq!(set, expected);
        let lines = Form {
            wire: Wire::Lines,
            contents: Contents::Entries,
        };
        let set = text(|text| lines.write_set("k", &value("1"), None, text));
        let expected =
            format!("{{\"event\":\"set\",\"data\":{{\"key\":\"k\",\"value\":1,{tag}}}\n");
        assert_eq!(set, expected);
        let deleted = Happened {
            key: Key::parse("k".into(), 9).unwrap(),
            became: Became::Deleted,
        };
        let deleted = text(|text| lines.write(&deleted, Some(place()), text));
        let expected =
            "{\"event\":\"delete\",\"id\":\"00000000000000ab-3-1f\",\"data\":{\"key\":\"k\"}}\n";
        assert_eq!(deleted, expected);
        let mark = text(|text| events.write_mark(Mark::Bookmark, place(), text));
        assert_eq!(
            mark,
            "event: bookmark\nid: 00000000000000ab-3-1f\ndata: {}\n\n"
        );
        let gone = text(|text| events.write_gone(text));
        assert!(gone.starts_with("event: gone\ndata: {\"code\":\"changes_gone\""));
    }

    #[test]
    fn a_long_event_is_the_same_in_pieces() {
        for wire in [Wire::Events, Wire::Lines] {
            let form = Form {
                wire,
                contents: Contents::Entries,
            };
            let whole = text(|text| form.write_set("k", &value("[1, 2]"), Some(place()), text));
            let value = value("[1, 2]");
            let form = ValueForm::of(&value);
            let entry = EntryText {
                key: "k",
                value: &value,
                form,
            };
            let mut long = LongEvent::new(entry, Some(place()), wire);
            let mut joined = Vec::new();
            while let Some((piece, ending)) = long.next_piece() {
                joined.extend_from_slice(&piece);
                assert_eq!(ending == Ending::Yes, joined.len() == whole.len());
            }
            assert_eq!(String::from_utf8(joined).unwrap(), whole);
        }
    }
}
