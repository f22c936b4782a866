//! Keys as the text of an answer: in which format, and piece by piece, so that a page takes no
//! more memory as text than the piece that is being sent.

use super::buffers::PIECE_BYTES;
use super::buffers::{Charge, Held};
use crate::model::KeyList;
use actix_web::HttpRequest;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{ACCEPT, Accept, Header, Quality};
use bytes::Bytes;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

/// How keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One array.
    Json,
    /// A string a line.
    Lines,
}

impl Format {
    /// Lines where the client prefers them to an array (RFC 9110, 12.5.1).
    pub(super) fn of(request: &HttpRequest) -> Self {
        if !request.headers().contains_key(ACCEPT) {
            return Self::Json;
        }
        let Ok(Accept(accepted)) = Accept::parse(request) else {
            return Self::Json;
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
        let (lines, are_named) = quality("application/x-ndjson");
        let (json, _) = quality("application/json");
        if lines > json || lines == json && lines > Quality::ZERO && are_named {
            Self::Lines
        } else {
            Self::Json
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// Keys that take no more than this are less than a piece as text, six bytes for each of theirs at the
/// most.
const SMALL_BYTES: usize = PIECE_BYTES / 8;

/// Keys that are being written. As a body it is one whole answer, of known length.
#[derive(Debug)]
pub(super) struct Listing {
    format: Format,
    keys: KeyList,
    /// The next key.
    next: usize,
    part: Part,
    /// How long the whole answer is, in bytes, where these are all of its keys.
    len: u64,
}

/// Where in an answer the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Start,
    /// Before the first key.
    Opened,
    /// After a key.
    Keys,
    End,
}

impl Listing {
    /// A whole answer, which holds `charge` until it is handed over.
    pub(super) fn whole(format: Format, keys: KeyList, charge: Charge) -> BoxBody {
        let mut listing = Self::begun(format, keys);
        if listing.keys.memory_bytes() <= SMALL_BYTES {
            // Written at once rather than counted first.
            let mut text: Vec<u8> = listing.next_piece().unwrap_or_default().into();
            text.extend_from_slice(&listing.end());
            return BoxBody::new(Bytes::from(text));
        }
        listing.len = listing.text_bytes();
        BoxBody::new(Held::new(listing, charge))
    }

    /// The first keys of an answer.
    pub(super) fn begun(format: Format, keys: KeyList) -> Self {
        Self {
            format,
            keys,
            next: 0,
            part: Part::Start,
            len: 0,
        }
    }

    /// Goes on with more keys, once all before were written.
    pub(super) fn go_on(&mut self, keys: KeyList) {
        self.keys = keys;
        self.next = 0;
    }

    /// The next of the text; `None` once all keys are written.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        if self.next == self.keys.len() && self.part != Part::Start {
            return None;
        }
        // Quotes and a comma for each key, and brackets.
        let left = self.keys.memory_bytes() + 3 * (self.keys.len() - self.next) + 2;
        let mut piece = Vec::with_capacity(left.min(PIECE_BYTES + PIECE_BYTES / 8));
        if self.part == Part::Start {
            self.part = Part::Opened;
            if self.format == Format::Json {
                piece.push(b'[');
            }
        }
        while piece.len() < PIECE_BYTES
            && let Some(key) = self.keys.get(self.next)
        {
            if self.format == Format::Json && self.part == Part::Keys {
                piece.push(b',');
            }
            write_key(key, &mut piece);
            if self.format == Format::Lines {
                piece.push(b'\n');
            }
            self.part = Part::Keys;
            self.next += 1;
        }
        Some(piece.into())
    }

    /// What comes after the last key.
    pub(super) fn end(&mut self) -> Bytes {
        self.part = Part::End;
        match self.format {
            Format::Json => Bytes::from_static(b"]"),
            Format::Lines => Bytes::new(),
        }
    }

    fn text_bytes(&self) -> u64 {
        let mut counted = Counted(0);
        self.keys
            .iter()
            .for_each(|key| write_key(key, &mut counted));
        let keys = self.keys.len() as u64;
        counted.0
            + match self.format {
                // Brackets, and a comma between each two.
                Format::Json => 2 + keys.saturating_sub(1),
                Format::Lines => keys,
            }
    }
}

impl MessageBody for Listing {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.len)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let piece = match this.next_piece() {
            Some(piece) => Some(piece),
            None if this.part == Part::End => None,
            None => Some(this.end()),
        };
        Poll::Ready(piece.filter(|piece| !piece.is_empty()).map(Ok))
    }
}

/// Counts what is written.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_key(key: &[u8], target: &mut impl Write) {
    let text = std::str::from_utf8(key).expect("keys are text by construction");
    serde_json::to_writer(target, text).expect("text is JSON");
}
