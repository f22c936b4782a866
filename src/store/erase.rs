//! A removal of all keys that match a filter, over all shards: a message to each at a time.

use super::message::{Erase, Erased};
use super::{Store, StoreError};
use crate::model::{Filter, Key};
use futures_util::future::join_all;
use std::sync::Arc;

/// A removal under way. It goes through each shard in key order, once: keys that are set behind it stay,
/// so that it comes to an end whatever others do.
#[derive(Debug)]
pub struct Erasing {
    store: Store,
    filter: Arc<Filter>,
    /// By shard, above which key it goes on; `None` where no match is left.
    cursors: Vec<Option<Box<[u8]>>>,
    deleted: u64,
}

impl Store {
    /// Begins to remove all keys that match. None is removed before [`Erasing::go_on`].
    pub fn erase(&self, filter: Filter) -> Erasing {
        Erasing {
            store: self.clone(),
            filter: Arc::new(filter),
            cursors: vec![Some(Box::default()); self.shards()],
            deleted: 0,
        }
    }

    /// What a removal by filter may take at the most, in bytes.
    pub fn erasing_bytes_max(&self, key_bytes_max: usize) -> usize {
        self.shards() * self.0.engine.erasing_keys() * key_bytes_max
    }

    /// Removes some keys of a shard. Waits for admission as a bulk body does.
    async fn erase_some(&self, shard: usize, erase: Erase) -> Result<Erased, StoreError> {
        let _place = self.enter_bulk(shard).await?;
        self.0.engine.erase(shard, erase).await
    }
}

impl Erasing {
    /// Removes some more keys, of all shards at once. They are as safe as single removals after
    /// [`Store::settled`].
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full`. What was removed stays removed; after an error that leaves open
    /// whether a change was made some keys more may be than are counted.
    pub async fn go_on(&mut self) -> Result<(), StoreError> {
        let (store, filter) = (&self.store, &self.filter);
        let cursors = self.cursors.iter_mut().enumerate();
        let asked = cursors.filter_map(|(shard, cursor)| {
            let erase = Erase {
                filter: filter.clone(),
                after: cursor.clone()?,
            };
            Some(async move {
                let erased = store.erase_some(shard, erase).await?;
                if erased.stopped.is_none() {
                    *cursor = erased.resume;
                }
                Ok::<_, StoreError>((erased.deleted, erased.stopped))
            })
        });
        let answers = join_all(asked).await;
        let mut failure = None;
        for answer in answers {
            let (deleted, stopped) = answer.unwrap_or_else(|error| (0, Some(error)));
            self.deleted += deleted;
            failure = failure.or(stopped);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether it has gone through all shards.
    pub fn is_done(&self) -> bool {
        self.cursors.iter().all(Option::is_none)
    }

    /// How many keys it has removed. What others removed meanwhile is not among them.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }
}

/// The key that an index holds as these bytes.
pub(super) fn key_of(bytes: &[u8]) -> Key {
    let text = std::str::from_utf8(bytes).expect("keys are text by construction");
    let key = Key::parse(text.into(), usize::MAX);
    key.expect("keys are not empty by construction")
}
