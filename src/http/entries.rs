//! Entries on their way to a client: the values of keys, fetched some at a time and written piece by piece.
//!
//! Little of an answer is in memory at once, however many values it has and however long they are. Short
//! values are fetched together; of a long one first comes its length, so that there is room before it does,
//! and it is handed over as it is stored, or encoded a piece at a time.

use super::State;
use super::buffers::{Charge, PIECE_BYTES, Purpose};
use super::door::Caller;
use super::format::{Format, Frame};
use super::items::{FETCHED_ITEMS, Found, Item, Items, Source};
use super::problem::Problem;
use super::streamed::{self, Pieces};
use crate::entry::{self, EntryText, Etag, LongEntry, ValueForm};
use crate::model::{ContentType, Fetched, Key, Value};
use crate::store::Manner;
use actix_web::http::Method;
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many values are asked for at a time, of which the short ones come.
const SHORT_VALUES: usize = 256;

/// Long values are fetched together up to so many bytes, and one that is longer by itself.
const LONG_BYTES: usize = 256 * 1024;

/// A body up to so many bytes is copied into the piece that is being written.
const COPIED_BYTES: usize = PIECE_BYTES / 2;

/// A JSON text over so many bytes is looked through on another thread: that takes 1 ms a MiB or so.
const LOOKED_THROUGH_BYTES: usize = 64 * 1024;

/// Entries that are being sent.
pub(super) struct Entries<S: Source> {
    state: Data<State>,
    frame: Frame,
    absent: Absent,
    found: Found<S>,
    /// The first of the items whose value was not asked for yet.
    next: usize,
    /// What comes next, in order.
    steps: VecDeque<Step>,
    /// The entry whose value is being handed over.
    long: Option<LongEntry>,
    /// What the long values take of the budget that were fetched last.
    long_charges: Vec<Arc<Charge>>,
    /// Before an answer has begun it may be refused.
    manner: Manner,
    /// What a piece is given room for at first, in bytes.
    piece_bytes: usize,
}

/// What becomes of a key that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    LeftOut,
    Said,
}

/// What is to be written of the item of a number.
enum Step {
    Ready(usize, Ready),
    /// A value that is to be fetched yet, and how long its body is at the most, in bytes.
    Long(usize, usize),
}

enum Ready {
    /// The item itself.
    Item,
    Nothing,
    Value(Value, ValueForm),
}

impl<S: Source> Entries<S> {
    /// The entries of items that were found. Keys are left out that name nothing any more.
    pub(super) fn new(found: Found<S>, format: Format, state: &Data<State>) -> Self {
        Self {
            state: state.clone(),
            frame: Frame::new(format),
            absent: Absent::LeftOut,
            found,
            next: 0,
            steps: VecDeque::new(),
            long: None,
            long_charges: Vec::new(),
            manner: Manner::Refuse,
            piece_bytes: PIECE_BYTES / 8,
        }
    }

    /// The same, which say of keys that they name nothing.
    pub(super) fn with_missing(self) -> Self {
        Self {
            absent: Absent::Said,
            ..self
        }
    }

    /// The answer: whole where it is one piece, else sent as it is fetched.
    ///
    /// # Errors
    /// Why there is no first piece.
    pub(super) async fn into_response(
        mut self,
        mut response: HttpResponseBuilder,
        request: &HttpRequest,
    ) -> Result<HttpResponse, Problem> {
        let first = self.next_piece().await?.unwrap_or_default();
        if self.frame.is_ended() {
            return Ok(response.body(first));
        }
        if request.method() == Method::HEAD {
            return Ok(response.body(streamed::nothing()));
        }
        self.piece_bytes = PIECE_BYTES + PIECE_BYTES / 8;
        let state = self.state.clone();
        let caller = Caller::of(request);
        Ok(response.body(streamed::body(first, self, caller, state)))
    }

    /// Takes what is next, unless it is to be fetched yet.
    fn next_ready(&mut self) -> Option<(usize, Ready)> {
        match self.steps.pop_front()? {
            Step::Ready(at, ready) => Some((at, ready)),
            long @ Step::Long(..) => {
                self.steps.push_front(long);
                None
            }
        }
    }

    /// Writes an item; of an entry whose value is long only what stands before that.
    fn write(&mut self, at: usize, ready: Ready, piece: &mut Vec<u8>) {
        let is_left_out = matches!(ready, Ready::Nothing) && self.absent == Absent::LeftOut;
        let Some(item) = self.found.items.item(at).filter(|_| !is_left_out) else {
            return;
        };
        self.frame.before(piece);
        match ready {
            Ready::Item => item.write(piece),
            Ready::Nothing => entry::write_missing(item.text(), piece),
            Ready::Value(value, form) => {
                let entry = EntryText {
                    key: item.text(),
                    value: &value,
                    form,
                };
                if value.body.len() > COPIED_BYTES {
                    entry.write_head(piece);
                    self.long = Some(LongEntry::new(value, form));
                    return;
                }
                entry.write(Etag::Written, piece);
            }
        }
        self.frame.after(piece);
    }

    /// Fetches what comes next; `false` where nothing does.
    async fn fetch(&mut self) -> Result<bool, Problem> {
        // All that was fetched is written, but for what follows a long value that was not.
        self.long_charges.clear();
        if !self.steps.is_empty() {
            self.fetch_long().await?;
        } else if self.next < self.found.items.count() || self.fetch_items().await? {
            self.fetch_short().await?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Fetches more items; `false` where there are none.
    async fn fetch_items(&mut self) -> Result<bool, Problem> {
        let Found {
            items,
            source,
            charge,
        } = &mut self.found;
        let Some(source) = source.as_mut().filter(|source| !source.is_over()) else {
            return Ok(false);
        };
        *items = S::Items::default();
        let bytes = source.bytes() + S::bytes_max(&self.state, FETCHED_ITEMS);
        let buffers = &self.state.buffers;
        buffers.grow(charge, Purpose::Other, bytes).await?;
        *items = source.more(FETCHED_ITEMS).await?;
        charge.shrink_to(items.bytes() + source.bytes());
        self.next = 0;
        Ok(items.count() > 0)
    }

    /// Fetches the short values of the next items, and how long the others are.
    async fn fetch_short(&mut self) -> Result<(), Problem> {
        let State { store, buffers, .. } = &**self.state;
        let Found {
            items,
            source,
            charge,
        } = &mut self.found;
        let range = self.next..items.count().min(self.next + SHORT_VALUES);
        let keys = range.clone().filter_map(|at| key(items.item(at)?));
        let keys: Vec<Key> = keys.collect();
        let held = items.bytes() + source.as_ref().map_or(0, |source| source.bytes());
        let bytes = held + store.short_bytes_max(keys.len());
        buffers.grow(charge, Purpose::Other, bytes).await?;
        let fetched = store.get_short(keys, self.manner).await?;
        let mut fetched = fetched.into_iter();
        let mut bytes = held;
        self.manner = Manner::Wait;
        self.next = range.end;
        for at in range {
            let value = match items.item(at) {
                Some(Item::Key(_)) => fetched.next().unwrap_or(Fetched::Nothing),
                Some(Item::Group { .. }) | None => {
                    self.steps.push_back(Step::Ready(at, Ready::Item));
                    continue;
                }
            };
            bytes += size_of::<Step>();
            self.steps.push_back(match value {
                Fetched::Nothing => Step::Ready(at, Ready::Nothing),
                Fetched::Long(body_bytes) => Step::Long(at, body_bytes),
                Fetched::Value(value) => {
                    bytes += value.body.len();
                    let form = ValueForm::of(&value);
                    Step::Ready(at, Ready::Value(value, form))
                }
            });
        }
        charge.shrink_to(bytes);
        Ok(())
    }

    /// Fetches the long values that are next, as many as there is always room for, and one at the least.
    async fn fetch_long(&mut self) -> Result<(), Problem> {
        let (mut places, mut keys, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (place, step) in self.steps.iter().enumerate() {
            let Step::Long(at, body_bytes) = *step else {
                continue;
            };
            if bytes > 0 && bytes + body_bytes > LONG_BYTES {
                break;
            }
            bytes += body_bytes;
            places.push((place, at));
            keys.extend(self.found.items.item(at).and_then(key));
        }
        let values = self.fetch_whole(keys, bytes).await?;
        for ((place, at), value) in places.into_iter().zip(values) {
            let ready = match value {
                None => Ready::Nothing,
                Some(value) => {
                    let form = form_of(&value).await;
                    Ready::Value(value, form)
                }
            };
            self.steps[place] = Step::Ready(at, ready);
        }
        Ok(())
    }

    /// Fetches values that take so many bytes at the most, and keeps what they take of the budget: before
    /// they come where they are copies, and what they share with others once it is known what that is.
    async fn fetch_whole(
        &mut self,
        keys: Vec<Key>,
        bytes: usize,
    ) -> Result<Vec<Option<Value>>, Problem> {
        let State { store, buffers, .. } = &**self.state;
        if store.shares_values() {
            let values = store.get_many(keys).await?;
            for value in values.iter().flatten() {
                self.long_charges.extend(buffers.share(&value.body).await?);
            }
            return Ok(values);
        }
        let mut charge = buffers.take(Purpose::Large, bytes).await?;
        let values = store.get_many(keys).await?;
        // They may have been replaced by longer ones since.
        let bodies = values.iter().flatten().map(|value| value.body.len());
        let bytes: usize = bodies.sum();
        buffers.grow(&mut charge, Purpose::Large, bytes).await?;
        charge.shrink_to(bytes);
        self.long_charges.push(Arc::new(charge));
        Ok(values)
    }
}

impl<S: Source> Pieces for Entries<S> {
    async fn next_piece(&mut self) -> Result<Option<Bytes>, Problem> {
        let mut piece = Vec::with_capacity(self.piece_bytes);
        while piece.len() < PIECE_BYTES {
            if let Some(long) = &mut self.long {
                // What stands before it goes first.
                if !piece.is_empty() {
                    break;
                }
                if let Some(part) = long.next_piece() {
                    return Ok(Some(part));
                }
                long.write_end(&mut piece);
                self.long = None;
                self.frame.after(&mut piece);
            } else if let Some((at, ready)) = self.next_ready() {
                self.write(at, ready, &mut piece);
            } else if !self.fetch().await? {
                self.frame.end(&mut piece);
                break;
            }
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

/// The key that an item is, whose value is fetched.
fn key(item: Item<'_>) -> Option<Key> {
    match item {
        Item::Key(text) => {
            let key = Key::parse(text.into(), usize::MAX);
            Some(key.expect("what was found or asked for is a key"))
        }
        Item::Group { .. } => None,
    }
}

/// How a value is written.
pub(super) async fn form_of(value: &Value) -> ValueForm {
    let body_bytes = value.body.len();
    if body_bytes <= LOOKED_THROUGH_BYTES || value.content_type != ContentType::JSON {
        return ValueForm::of(value);
    }
    let value = value.clone();
    let form = block(move || ValueForm::of(&value)).await;
    // In base64 any value is right.
    form.unwrap_or(ValueForm::Base64)
}
