//! A search over all shards: their pages merged in key order.

use super::admission::Manner;
use super::message::{Search, Total};
use super::{Store, StoreError};
use crate::keymap::Page;
use crate::model::{Filter, KeyList, Query};
use futures_util::future::try_join_all;
use std::sync::Arc;

/// The most keys that one message asks a shard for: so many take about 100 µs.
pub(super) const SHARD_KEYS_MAX: usize = 512;

/// The most that a page of one shard takes, in bytes: it ends once its keys have used its steps up.
pub(super) const SHARD_BYTES_MAX: usize = 576 * 1024;

/// A search that has begun: its exact total and its keys.
#[derive(Debug)]
pub struct Searched {
    /// The number of all matches, whatever the limit and the start, when the search began.
    pub total: usize,
    /// The keys, to be fetched as they are wanted.
    pub pages: Pages,
}

/// The keys of a search in byte order. A key that is present for the whole search appears exactly
/// once; one that is never present never appears.
#[derive(Debug)]
pub struct Pages {
    store: Store,
    filter: Arc<Filter>,
    shares: Vec<Share>,
    /// How many keys are still wanted.
    wanted: usize,
}

/// What of one shard's matches was fetched and not given yet.
#[derive(Debug)]
struct Share {
    keys: KeyList,
    next: usize,
    resume: Option<Box<[u8]>>,
}

impl Store {
    /// What fetching so many keys may take at the most, in bytes: of each shard, and once more
    /// merged.
    pub fn page_bytes_max(&self, keys: usize, key_bytes_max: usize) -> usize {
        let share = share_of(keys, self.shards());
        2 * self.shards() * (share * (key_bytes_max + size_of::<usize>())).min(SHARD_BYTES_MAX)
    }

    /// Begins a search: fetches the total and the first keys of every shard.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full`.
    pub async fn search(&self, query: Query) -> Result<Searched, StoreError> {
        let filter = Arc::new(query.filter);
        let wanted = query.limit.unwrap_or(usize::MAX);
        let limit = share_of(wanted, self.shards());
        let found = try_join_all((0..self.shards()).map(|shard| {
            let search = Search {
                filter: filter.clone(),
                after: query.after.as_slice().into(),
                limit,
                total: Total::Wanted,
            };
            self.search_shard(shard, search, Manner::Refuse)
        }));
        let found = found.await?;
        Ok(Searched {
            total: found.iter().map(|found| found.total).sum(),
            pages: Pages {
                store: self.clone(),
                filter,
                shares: found.into_iter().map(|found| found.page.into()).collect(),
                wanted,
            },
        })
    }
}

impl Pages {
    /// What was fetched and not given yet takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let shares = self.shares.iter();
        shares.map(|share| share.keys.memory_bytes()).sum()
    }

    /// Some more keys, at most `limit`; none at the end. Fetches only from shards that ran dry, and
    /// waits for admission where a new search would be refused.
    ///
    /// # Errors
    /// As [`Store::search`]; the keys given so far are right all the same.
    pub async fn next(&mut self, limit: usize) -> Result<KeyList, StoreError> {
        let limit = limit.min(self.wanted);
        let mut keys = KeyList::default();
        while keys.len() < limit {
            if self.shares.iter().any(Share::is_dry) {
                self.refill(limit - keys.len()).await?;
                continue;
            }
            let heads = self.shares.iter().enumerate();
            let least = heads
                .filter_map(|(index, share)| Some((share.head()?, index)))
                .min();
            let Some((key, index)) = least else { break };
            keys.push(key);
            self.shares[index].next += 1;
        }
        self.wanted -= keys.len();
        Ok(keys)
    }

    /// Whether all keys were given that were asked for and are there.
    pub fn is_done(&self) -> bool {
        let is_empty = |share: &Share| share.head().is_none() && share.resume.is_none();
        self.wanted == 0 || self.shares.iter().all(is_empty)
    }

    /// Fetches more from every shard that ran dry.
    async fn refill(&mut self, wanted: usize) -> Result<(), StoreError> {
        let limit = share_of(wanted, self.shares.len());
        let dry = self
            .shares
            .iter_mut()
            .enumerate()
            .filter_map(|(shard, share)| {
                let after = share.is_dry().then(|| share.resume.clone()).flatten()?;
                let search = Search {
                    filter: self.filter.clone(),
                    after,
                    limit,
                    total: Total::Known,
                };
                let asked = self.store.search_shard(shard, search, Manner::Wait);
                Some(async move {
                    *share = asked.await?.page.into();
                    Ok::<(), StoreError>(())
                })
            });
        try_join_all(dry).await?;
        Ok(())
    }
}

impl Share {
    fn head(&self) -> Option<&[u8]> {
        self.keys.get(self.next)
    }

    /// Whether the shard may have a match that was not fetched and could be next.
    fn is_dry(&self) -> bool {
        self.head().is_none() && self.resume.is_some()
    }
}

impl From<Page> for Share {
    fn from(page: Page) -> Self {
        Self {
            keys: page.keys,
            next: 0,
            resume: page.resume,
        }
    }
}

/// How many keys to ask each of `shards` for, where `wanted` are wanted of all: a fair share and
/// two standard deviations, so that few shards run dry.
pub(super) fn share_of(wanted: usize, shards: usize) -> usize {
    let fair = wanted.div_ceil(shards).min(SHARD_KEYS_MAX);
    let spare = if shards > 1 { 2 * fair.isqrt() + 2 } else { 0 };
    (fair + spare).min(wanted).min(SHARD_KEYS_MAX)
}
