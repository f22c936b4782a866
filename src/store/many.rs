//! Reads of many keys: divided among the shards, and put together in the order of the keys.

use super::admission::Manner;
use super::message::{Bodies, GetMany};
use super::{Store, StoreError};
use crate::model::{Fetched, Key, Value};
use futures_util::future::try_join_all;

/// The most keys that one message asks a shard for: so many take about 100 µs.
const MESSAGE_KEYS_MAX: usize = 128;

/// The longest body that [`Store::get_short`] fetches, in bytes.
const SHORT_BODY_BYTES: usize = 4 * 1024;

/// The longest body that the memory engine copies, in bytes. Others are shared with what is stored.
const COPIED_BODY_BYTES: usize = 255;

/// The keys of a message, and the place of each among all.
#[derive(Debug)]
struct Share {
    shard: usize,
    places: Vec<usize>,
    keys: Vec<Key>,
}

impl Store {
    /// The values of some keys, in the order of the keys, however long they are: what they take together
    /// is for the caller to know before. Waits for admission.
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full` and `Overloaded`.
    pub async fn get_many(&self, keys: Vec<Key>) -> Result<Vec<Option<Value>>, StoreError> {
        let fetched = self.fetch(keys, Bodies::All, Manner::Wait).await?;
        Ok(fetched.into_iter().map(Fetched::value).collect())
    }

    /// The short values of some keys, in the order of the keys, and of others how long they are: so much
    /// that it can be fetched without knowing how long they are, within [`short_bytes_max`].
    ///
    /// # Errors
    /// Any [`StoreError`] but `Full`.
    ///
    /// [`short_bytes_max`]: Self::short_bytes_max
    pub async fn get_short(
        &self,
        keys: Vec<Key>,
        manner: Manner,
    ) -> Result<Vec<Fetched>, StoreError> {
        let bodies = Bodies::UpTo(SHORT_BODY_BYTES);
        self.fetch(keys, bodies, manner).await
    }

    /// What the short values of so many keys take at the most, in bytes.
    pub fn short_bytes_max(&self, keys: usize) -> usize {
        let body_bytes = match self.shares_values() {
            true => COPIED_BODY_BYTES,
            false => SHORT_BODY_BYTES,
        };
        keys * (body_bytes + size_of::<Fetched>())
    }

    async fn fetch(
        &self,
        keys: Vec<Key>,
        bodies: Bodies,
        manner: Manner,
    ) -> Result<Vec<Fetched>, StoreError> {
        let mut all = vec![Fetched::Nothing; keys.len()];
        let asked = self.divide(keys).into_iter().map(|share| {
            let Share {
                shard,
                places,
                keys,
            } = share;
            let asked = self
                .0
                .engine
                .get_many(shard, GetMany { keys, bodies }, manner);
            async move { Ok::<_, StoreError>((places, asked.await?)) }
        });
        for (places, fetched) in try_join_all(asked).await? {
            for (place, fetched) in places.into_iter().zip(fetched) {
                all[place] = fetched;
            }
        }
        Ok(all)
    }

    fn divide(&self, keys: Vec<Key>) -> Vec<Share> {
        let placed = keys.into_iter().enumerate();
        let owned = placed.map(|(place, key)| (self.owner(&key), place, key));
        let mut owned: Vec<(usize, usize, Key)> = owned.collect();
        owned.sort_unstable_by_key(|(shard, place, _)| (*shard, *place));
        let mut shares: Vec<Share> = Vec::new();
        for (shard, place, key) in owned {
            match shares.last_mut() {
                Some(last) if last.shard == shard && last.keys.len() < MESSAGE_KEYS_MAX => {
                    last.places.push(place);
                    last.keys.push(key);
                }
                Some(_) | None => shares.push(Share {
                    shard,
                    places: vec![place],
                    keys: vec![key],
                }),
            }
        }
        shares
    }
}
