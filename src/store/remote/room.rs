//! The room that the index of an engine's keys has for what is changed.

use super::Remote;
use crate::model::{Change, Mutation};
use crate::store::StoreError;
use crate::store::replica::CountKnown;
use crate::store::shared::Fit;
use crate::valkey::EngineError;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// What a new key takes in the index besides its own bytes, about, until a merge, with the room that is kept for making
/// a segment of it: in bytes.
const INDEX_ENTRY_BYTES: usize = 120;

/// How often a new key's own bytes are counted: in the tree, and twice while a segment is made of that.
const KEY_TIMES: usize = 3;

/// How long to wait before the index is looked at again, whose merges leave no room.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

impl Remote {
    /// How many of some changes of a shard come before the first that its index has no room for. It
    /// always has for a key that there is, and for a removal. What others add is indexed all the same.
    pub(super) async fn that_fit(
        &self,
        shard: usize,
        some: &[Mutation],
        deadline: Instant,
    ) -> Result<usize, StoreError> {
        // What merges take for a while is no reason to refuse: bulk bodies have waited for it.
        let bytes = index_bytes(some);
        if bytes == 0 || self.shared.fit(bytes) != Fit::Never {
            return Ok(some.len());
        }
        let sets: Vec<usize> = (0..some.len()).filter(|at| is_set(&some[*at])).collect();
        let keys = sets.iter().map(|at| some[*at].key.clone()).collect();
        let patience = deadline.saturating_duration_since(Instant::now());
        let known = timeout(patience, self.actors.ask(shard, CountKnown { keys })).await;
        // Nothing was asked of the engine yet.
        let known = known.unwrap_or(Err(StoreError::Engine(EngineError::Behind)))?;
        Ok(sets.get(known).copied().unwrap_or(some.len()))
    }

    /// Waits while it is merges that leave no room for some changes.
    pub(super) async fn wait_for_merges(&self, some: &[Mutation], patience: Duration) {
        let bytes = index_bytes(some);
        let patience = Instant::now() + patience;
        // Removals wait for none.
        let is_for_merges = || bytes > 0 && self.shared.fit(bytes) == Fit::AfterMerges;
        while is_for_merges() && Instant::now() < patience {
            sleep(ROOM_PAUSE).await;
        }
    }
}

/// What the index takes of some keys, were all of them new, in bytes.
fn index_bytes(some: &[Mutation]) -> usize {
    let bytes = |mutation: &Mutation| KEY_TIMES * mutation.key.as_bytes().len() + INDEX_ENTRY_BYTES;
    some.iter()
        .filter(|mutation| is_set(mutation))
        .map(bytes)
        .sum()
}

fn is_set(mutation: &Mutation) -> bool {
    matches!(mutation.change, Change::Set { .. })
}
