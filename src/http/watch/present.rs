//! The keys that there are, with their values, for one who watches from the start.

use super::super::State;
use super::super::buffers::{Charge, Purpose, SENDING_BYTES};
use super::super::problem::Problem;
use crate::model::{Fetched, Filter, Key, Query};
use crate::store::{Manner, Pages, Store, StoreError};

/// How many keys are fetched at a time.
const FETCHED_KEYS: usize = 128;

/// The keys that match and are there, in byte order, each with the value that it names when it is looked at. A
/// key that is there throughout is given once.
pub(super) struct Present {
    store: Store,
    /// `None` where no key can match.
    pages: Option<Pages>,
    /// What was fetched and not given.
    found: std::vec::IntoIter<(Key, Fetched)>,
    /// With what is being sent, so that those who hold one do not wait for the other.
    _charge: Charge,
}

impl Present {
    /// Begins to look for the keys that match.
    ///
    /// # Errors
    /// As a search's.
    pub(super) async fn begin(filter: &Filter, state: &State) -> Result<Self, Problem> {
        let key_bytes_max = state.limits.key_bytes_max;
        let page = state.store.page_bytes_max(FETCHED_KEYS, key_bytes_max);
        let short = state.store.short_bytes_max(FETCHED_KEYS);
        let bytes = page + FETCHED_KEYS * key_bytes_max + short + SENDING_BYTES;
        let charge = state.buffers.take(Purpose::Large, bytes).await?;
        let can_match = filter.prefix.len().max(filter.suffix.len()) <= key_bytes_max;
        let pages = match can_match {
            true => Some(state.store.search(all(filter)).await?.pages),
            false => None,
        };
        Ok(Self {
            store: state.store.clone(),
            pages,
            found: Vec::new().into_iter(),
            _charge: charge,
        })
    }

    /// The next; `None` at the end. Of a long value that is a copy it is said how long it is, for whoever has room for it
    /// to read it.
    ///
    /// # Errors
    /// As of [`Pages::next`].
    pub(super) async fn next(&mut self) -> Result<Option<(Key, Fetched)>, StoreError> {
        loop {
            if let Some((key, fetched)) = self.found.next() {
                // A long one comes by itself, when it is its turn.
                let fetched = match fetched {
                    Fetched::Long(_) if self.store.shares_values() => {
                        let value = self.store.get(key.clone()).await?;
                        value.map_or(Fetched::Nothing, Fetched::Value)
                    }
                    fetched => fetched,
                };
                match fetched {
                    // What has gone meanwhile is told of later.
                    Fetched::Nothing => continue,
                    Fetched::Value(_) | Fetched::Long(_) => return Ok(Some((key, fetched))),
                }
            }
            let Some(pages) = self.pages.as_mut().filter(|pages| !pages.is_done()) else {
                return Ok(None);
            };
            let keys = pages.next(FETCHED_KEYS).await?;
            if keys.is_empty() {
                return Ok(None);
            }
            let keys: Vec<Key> = keys.iter().map(key_of).collect();
            let values = self.store.get_short(keys.clone(), Manner::Wait).await?;
            let pairs = keys.into_iter().zip(values);
            self.found = pairs.collect::<Vec<_>>().into_iter();
        }
    }
}

fn all(filter: &Filter) -> Query {
    Query {
        filter: filter.clone(),
        after: Vec::new(),
        limit: None,
    }
}

fn key_of(bytes: &[u8]) -> Key {
    let text = std::str::from_utf8(bytes).expect("keys are text by construction");
    let key = Key::parse(text.into(), usize::MAX);
    key.expect("keys are not empty by construction")
}
