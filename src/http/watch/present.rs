//! The keys that there are, with their values, for one who watches from the start.

use super::super::State;
use super::super::buffers::{Charge, PIECE_BYTES, Purpose, SENDING_BYTES};
use super::super::problem::Problem;
use super::events::Form;
use crate::model::{Fetched, Filter, Key, KeyList, Query};
use crate::store::{Manner, Pages, StoreError};
use actix_web::web::Data;

/// How many keys are fetched at a time where there is little room, and where there is more.
const FEW_KEYS: usize = 128;
const MANY_KEYS: usize = 512;

/// The keys that match and are there, in byte order, each with the value that it names when it is looked at. A
/// key that is there throughout is given once.
pub(super) struct Present {
    state: Data<State>,
    /// `None` where no key can match.
    pages: Option<Pages>,
    /// What was fetched.
    keys: KeyList,
    /// The values of those of them that were not given.
    values: std::vec::IntoIter<Fetched>,
    /// What few keys take, with what is being sent, so that those who hold one do not wait for the other.
    _charge: Charge,
    /// What those that were fetched take over that.
    more: Charge,
}

/// Why no more was written.
pub(super) enum Pause {
    /// There is enough for a piece.
    Full,
    /// All that was fetched is written.
    Fetched,
    /// The next value is so long, in bytes, that it is fetched by itself.
    Long(Key, usize),
}

impl Present {
    /// Begins to look for the keys that match.
    ///
    /// # Errors
    /// As a search's.
    pub(super) async fn begin(filter: &Filter, state: &Data<State>) -> Result<Self, Problem> {
        let key_bytes_max = state.limits.key_bytes_max;
        let bytes = bytes_max(FEW_KEYS, state);
        let charge = state.buffers.take(Purpose::Large, bytes).await?;
        let can_match = filter.prefix.len().max(filter.suffix.len()) <= key_bytes_max;
        let pages = match can_match {
            true => Some(state.store.search(all(filter)).await?.pages),
            false => None,
        };
        Ok(Self {
            state: state.clone(),
            pages,
            keys: KeyList::default(),
            values: Vec::new().into_iter(),
            _charge: charge,
            more: Charge::default(),
        })
    }

    /// Writes sets of what was fetched, until there is enough for a piece, and returns how many and why no more. Keys
    /// that have gone meanwhile are left out: that is told of later.
    pub(super) fn write(&mut self, form: Form, text: &mut Vec<u8>) -> (u64, Pause) {
        let mut events = 0;
        while text.len() < PIECE_BYTES {
            let at = self.keys.len() - self.values.len();
            let Some(fetched) = self.values.next() else {
                return (events, Pause::Fetched);
            };
            let key = self.keys.get(at).map(text_of).unwrap_or_default();
            match fetched {
                Fetched::Nothing => {}
                Fetched::Long(bytes) => return (events, Pause::Long(key_of(key), bytes)),
                Fetched::Value(value) => {
                    form.write_set(key, &value, None, text);
                    events += 1;
                }
            }
        }
        (events, Pause::Full)
    }

    /// Fetches more once all is written; `false` at the end.
    ///
    /// # Errors
    /// As of [`Pages::next`].
    pub(super) async fn fetch(&mut self) -> Result<bool, StoreError> {
        self.keys = KeyList::default();
        self.more = Charge::default();
        let Some(pages) = self.pages.as_mut().filter(|pages| !pages.is_done()) else {
            return Ok(false);
        };
        let State { store, buffers, .. } = &**self.state;
        // Nobody waits for room and holds some: few keys have theirs.
        let few_bytes = bytes_max(FEW_KEYS, &self.state);
        let more = buffers.try_take(bytes_max(MANY_KEYS, &self.state) - few_bytes);
        let most = if more.is_some() { MANY_KEYS } else { FEW_KEYS };
        self.more = more.unwrap_or_default();
        self.keys = pages.next(most).await?;
        let keys = self.keys.iter().map(|key| key_of(text_of(key)));
        let values = store.get_short(keys.collect(), Manner::Wait).await?;
        let body_bytes = |fetched: &Fetched| match fetched {
            Fetched::Value(value) => value.body.len(),
            Fetched::Nothing | Fetched::Long(_) => 0,
        };
        let bodies: usize = values.iter().map(body_bytes).sum();
        let taken = pages.memory_bytes()
            + self.keys.memory_bytes()
            + values.capacity() * size_of::<Fetched>()
            + bodies
            + SENDING_BYTES;
        self.more.shrink_to(taken.saturating_sub(few_bytes));
        self.values = values.into_iter();
        Ok(!self.keys.is_empty())
    }
}

/// What fetching so many keys takes at the most, with their values and what is being sent, in bytes.
fn bytes_max(keys: usize, state: &State) -> usize {
    let key_bytes_max = state.limits.key_bytes_max;
    let page = state.store.page_bytes_max(keys, key_bytes_max);
    let short = state.store.short_bytes_max(keys);
    page + keys * key_bytes_max + short + SENDING_BYTES
}

fn all(filter: &Filter) -> Query {
    Query {
        filter: filter.clone(),
        after: Vec::new(),
        limit: None,
    }
}

fn text_of(key: &[u8]) -> &str {
    std::str::from_utf8(key).expect("keys are text by construction")
}

fn key_of(text: &str) -> Key {
    let key = Key::parse(text.into(), usize::MAX);
    key.expect("keys are not empty by construction")
}
