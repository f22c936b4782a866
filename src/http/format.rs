//! In which format an answer lists its items, and what stands around them: one array, or a line each.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, Accept, Header, Quality};

/// The media types of an array, and of an item a line.
pub(super) const JSON: &str = "application/json";
pub(super) const LINES: &str = "application/x-ndjson";

/// How the items of an answer are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One array.
    Json,
    /// An item a line.
    Lines,
}

impl Format {
    /// Lines where the client prefers them to an array (RFC 9110, 12.5.1).
    pub(super) fn of(request: &HttpRequest) -> Self {
        if prefers(request, LINES, JSON) {
            Self::Lines
        } else {
            Self::Json
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Lines => LINES,
        }
    }
}

/// Whether a client prefers a media type to another, or names it and wants both as much.
pub(super) fn prefers(request: &HttpRequest, name: &str, other: &str) -> bool {
    if !request.headers().contains_key(ACCEPT) {
        return false;
    }
    let Ok(Accept(accepted)) = Accept::parse(request) else {
        return false;
    };
    // The most specific range that takes a type says how much it is wanted.
    let quality = |name: &str| {
        let kind = name.split('/').next().unwrap_or_default();
        [name, &format!("{kind}/*"), "*/*"]
            .iter()
            .enumerate()
            .find_map(|(rank, range)| {
                let items = accepted
                    .iter()
                    .filter(|item| item.item.essence_str() == *range);
                let most = items.map(|item| item.quality).max()?;
                Some((most, rank == 0))
            })
            .unwrap_or((Quality::ZERO, false))
    };
    let (wanted, is_named) = quality(name);
    let (other, _) = quality(other);
    wanted > other || wanted == other && wanted > Quality::ZERO && is_named
}

/// What stands around the items of an answer.
#[derive(Debug)]
pub(super) struct Frame {
    format: Format,
    place: Place,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Start,
    /// Behind an item.
    Items,
    End,
}

impl Frame {
    /// That of an answer without items yet.
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            place: Place::Start,
        }
    }

    /// Writes what stands before the next item.
    pub(super) fn before(&mut self, text: &mut Vec<u8>) {
        match (self.format, self.place) {
            (Format::Json, Place::Start) => text.push(b'['),
            (Format::Json, Place::Items) => text.push(b','),
            (Format::Json, Place::End) | (Format::Lines, _) => {}
        }
        self.place = Place::Items;
    }

    /// Writes what stands behind an item.
    pub(super) fn after(&self, text: &mut Vec<u8>) {
        match self.format {
            Format::Json => {}
            Format::Lines => text.push(b'\n'),
        }
    }

    /// Writes what ends the answer; nothing where it has ended.
    pub(super) fn end(&mut self, text: &mut Vec<u8>) {
        text.extend_from_slice(match (self.format, self.place) {
            (Format::Json, Place::Start) => b"[]",
            (Format::Json, Place::Items) => b"]",
            (Format::Json, Place::End) | (Format::Lines, _) => b"",
        });
        self.place = Place::End;
    }

    /// Whether the answer has ended.
    pub(super) fn is_ended(&self) -> bool {
        self.place == Place::End
    }

    /// What stands around so many items altogether, in bytes.
    pub(super) fn bytes(&self, items: u64) -> u64 {
        match self.format {
            // Brackets, and a comma between each two.
            Format::Json => 2 + items.saturating_sub(1),
            Format::Lines => items,
        }
    }
}
