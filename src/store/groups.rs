//! A search over all shards that is divided into groups: their pages merged in order.
//!
//! Keys fall on shards by their hash, so that a group of some size is in all of them. Each shard gives
//! its part whole, and an item is given once every shard is at it, above it or at its end: what several
//! of them have is added up.

use super::admission::Manner;
use super::message::{Group, Total};
use super::search::{SHARD_BYTES_MAX, SHARD_KEYS_MAX, share_of};
use super::{Store, StoreError};
use crate::keymap::GroupPage;
use crate::model::{Delimiter, GroupItem, GroupList, Grouping, Query};
use futures_util::future::try_join_all;
use std::sync::Arc;

/// A search that has begun and is divided into groups.
#[derive(Debug)]
pub struct Grouped {
    /// The number of all keys that match, whatever the limit and the start, when the search began.
    pub total: usize,
    /// The keys that belong to no group and the groups, to be fetched as they are wanted.
    pub pages: GroupPages,
}

/// The keys that belong to no group and the groups of a search, in the byte order of their texts. Each
/// group is given once, with as many keys as it had when it was fetched. A key that is present for the
/// whole search is in exactly one item; one that is never present is in none.
#[derive(Debug)]
pub struct GroupPages {
    store: Store,
    grouping: Arc<Grouping>,
    shares: Vec<Share>,
    /// How many items are still wanted.
    wanted: usize,
    /// How many items were given, and how many of shards these were made of.
    given: usize,
    taken: usize,
}

/// What of one shard's items was fetched and not given yet.
#[derive(Debug)]
struct Share {
    items: GroupList,
    next: usize,
    resume: Option<Box<[u8]>>,
}

impl Store {
    /// What fetching so many items may take at the most, in bytes: of each shard, which may have all of
    /// them, and once more merged.
    pub fn group_page_bytes_max(&self, items: usize, key_bytes_max: usize) -> usize {
        let share = items.min(SHARD_KEYS_MAX);
        let item_bytes_max = key_bytes_max + 2 * size_of::<usize>();
        2 * self.shards() * (share * item_bytes_max).min(SHARD_BYTES_MAX)
    }

    /// Begins a search that is divided into groups: fetches the total and the first items of every shard.
    /// The query's limit counts keys and groups, and its start may be the text of either: no key counts
    /// of a group whose text is not above it.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full`.
    pub async fn groups(&self, query: Query, delimiter: Delimiter) -> Result<Grouped, StoreError> {
        let grouping = Arc::new(Grouping {
            filter: query.filter,
            delimiter,
        });
        let wanted = query.limit.unwrap_or(usize::MAX);
        let limit = share_of(wanted, self.shards());
        let found = try_join_all((0..self.shards()).map(|shard| {
            let group = Group {
                grouping: grouping.clone(),
                after: query.after.as_slice().into(),
                limit,
                total: Total::Wanted,
            };
            self.group_shard(shard, group, Manner::Refuse)
        }));
        let found = found.await?;
        Ok(Grouped {
            total: found.iter().map(|found| found.total).sum(),
            pages: GroupPages {
                store: self.clone(),
                grouping,
                shares: found.into_iter().map(|found| found.page.into()).collect(),
                wanted,
                given: 0,
                taken: 0,
            },
        })
    }
}

impl GroupPages {
    /// What was fetched and not given yet takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let shares = self.shares.iter();
        shares.map(|share| share.items.memory_bytes()).sum()
    }

    /// Some more items, at most `limit`; none at the end. Fetches only from shards that ran dry, and
    /// waits for admission where a new search would be refused.
    ///
    /// # Errors
    /// As [`Store::groups`]; the items given so far are right all the same.
    pub async fn next(&mut self, limit: usize) -> Result<GroupList, StoreError> {
        let limit = limit.min(self.wanted);
        let mut items = GroupList::default();
        while items.len() < limit {
            if self.shares.iter().any(Share::is_dry) {
                self.refill(limit - items.len()).await?;
                continue;
            }
            let heads = self.shares.iter().enumerate();
            let least = heads
                .filter_map(|(index, share)| Some((share.head()?.text(), index)))
                .min();
            let Some((_, index)) = least else { break };
            self.give(index, &mut items);
        }
        self.wanted -= items.len();
        Ok(items)
    }

    /// Whether all items were given that were asked for and are there.
    pub fn is_done(&self) -> bool {
        let is_empty = |share: &Share| share.head().is_none() && share.resume.is_none();
        self.wanted == 0 || self.shares.iter().all(is_empty)
    }

    /// Gives the item that a shard is at, which is the least, with what those after it have of its group.
    fn give(&mut self, index: usize, items: &mut GroupList) {
        self.given += 1;
        for (at, share) in self.shares[index..].iter_mut().enumerate() {
            let Some(item) = share.head() else { continue };
            if at == 0 || items.last_text() == Some(item.text()) {
                items.add(item);
                share.next += 1;
                self.taken += 1;
            }
        }
    }

    /// Fetches more from every shard that ran dry.
    async fn refill(&mut self, wanted: usize) -> Result<(), StoreError> {
        // As many as the items so far were made of on average, of which one or more shards have each.
        let parts = (self.taken + self.given / 2) / self.given.max(1);
        let limit = share_of(wanted.saturating_mul(parts.max(1)), self.shares.len()).min(wanted);
        let dry = self
            .shares
            .iter_mut()
            .enumerate()
            .filter_map(|(shard, share)| {
                let after = share.is_dry().then(|| share.resume.clone()).flatten()?;
                let group = Group {
                    grouping: self.grouping.clone(),
                    after,
                    limit,
                    total: Total::Known,
                };
                let asked = self.store.group_shard(shard, group, Manner::Wait);
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
    fn head(&self) -> Option<GroupItem<'_>> {
        self.items.get(self.next)
    }

    /// Whether the shard may have an item that was not fetched and could be next.
    fn is_dry(&self) -> bool {
        self.head().is_none() && self.resume.is_some()
    }
}

impl From<GroupPage> for Share {
    fn from(page: GroupPage) -> Self {
        Self {
            items: page.items,
            next: 0,
            resume: page.resume,
        }
    }
}
