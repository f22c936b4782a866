//! Items as the text of an answer, piece by piece, so that a page takes no more memory as text than the
//! piece that is being sent.

use super::buffers::PIECE_BYTES;
use super::buffers::{Charge, Held};
use super::format::{Format, Frame};
use super::items::Items;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Items that take no more than this are less than a piece as text, six bytes for each of theirs at the
/// most.
const SMALL_BYTES: usize = PIECE_BYTES / 8;

/// Items that are being written. As a body it is one whole answer, of known length.
#[derive(Debug)]
pub(super) struct Listing<I> {
    frame: Frame,
    items: I,
    /// The next item.
    next: usize,
    /// How long the whole answer is, in bytes, where these are all of its items.
    len: u64,
}

impl<I: Items> Listing<I> {
    /// A whole answer, which holds `charge` until it is handed over.
    pub(super) fn whole(format: Format, items: I, charge: Charge) -> BoxBody {
        let mut listing = Self::begun(format, items);
        if listing.items.bytes() <= SMALL_BYTES {
            // Written at once rather than counted first.
            let mut text: Vec<u8> = listing.next_piece().unwrap_or_default().into();
            listing.frame.end(&mut text);
            return BoxBody::new(Bytes::from(text));
        }
        listing.len = listing.text_bytes();
        BoxBody::new(Held::new(listing, charge))
    }

    /// The first items of an answer.
    pub(super) fn begun(format: Format, items: I) -> Self {
        Self {
            frame: Frame::new(format),
            items,
            next: 0,
            len: 0,
        }
    }

    /// Goes on with more items, once all before were written.
    pub(super) fn go_on(&mut self, items: I) {
        self.items = items;
        self.next = 0;
    }

    /// The next of the text; `None` once all items are written.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        if self.next == self.items.count() {
            return None;
        }
        // Quotes and a comma for each item, and brackets.
        let left = self.items.bytes() + 3 * (self.items.count() - self.next) + 2;
        let mut piece = Vec::with_capacity(left.min(PIECE_BYTES + PIECE_BYTES / 8));
        while piece.len() < PIECE_BYTES
            && let Some(item) = self.items.item(self.next)
        {
            self.frame.before(&mut piece);
            item.write(&mut piece);
            self.frame.after(&mut piece);
            self.next += 1;
        }
        Some(piece.into())
    }

    /// What comes after the last item; `None` where nothing does, or it was given.
    pub(super) fn end(&mut self) -> Option<Bytes> {
        let mut text = Vec::new();
        self.frame.end(&mut text);
        (!text.is_empty()).then(|| text.into())
    }

    fn text_bytes(&self) -> u64 {
        let mut counted = Counted(0);
        let count = self.items.count();
        for item in (0..count).filter_map(|at| self.items.item(at)) {
            item.write(&mut counted);
        }
        counted.0 + self.frame.bytes(count as u64)
    }
}

impl<I: Items> MessageBody for Listing<I> {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.len)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        let piece = this.next_piece().or_else(|| this.end());
        Poll::Ready(piece.map(Ok))
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
