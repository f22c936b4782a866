//! Who is let in: the bound on the messages in flight, a shard.

use super::StoreError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Whether a message that finds no place is refused or waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is refused.
    Refuse,
    /// As `Refuse`, and leaves half of the places to others: an engine that takes no writes for a
    /// while holds them all, and should be read meanwhile.
    RefuseEarly,
    /// It waits.
    Wait,
}

/// The places of all shards.
#[derive(Debug)]
pub(super) struct Admission {
    shards: Vec<Places>,
    messages_in_flight_max: usize,
    refused: AtomicU64,
}

#[derive(Debug)]
struct Places {
    all: Arc<Semaphore>,
    /// Whom bulk bodies ask before: they take half of the places at the most, since they wait for
    /// them, and keep them while they wait for merges.
    bulk: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(shards: usize, messages_in_flight_max: usize) -> Self {
        let places = |_| Places {
            all: Arc::new(Semaphore::new(messages_in_flight_max)),
            bulk: Arc::new(Semaphore::new((messages_in_flight_max / 2).max(1))),
        };
        Self {
            shards: (0..shards).map(places).collect(),
            messages_in_flight_max,
            refused: AtomicU64::new(0),
        }
    }

    /// A place among the messages of a shard.
    ///
    /// # Errors
    /// `Overloaded` where there is none and the message does not wait.
    pub(super) async fn enter(
        &self,
        shard: usize,
        manner: Manner,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let places = self.shards[shard].all.clone();
        let refused = || {
            self.refused.fetch_add(1, Ordering::Relaxed);
            StoreError::Overloaded
        };
        match manner {
            Manner::RefuseEarly
                if places.available_permits() <= self.messages_in_flight_max / 2 =>
            {
                Err(refused())
            }
            Manner::Refuse | Manner::RefuseEarly => {
                places.try_acquire_owned().map_err(|_| refused())
            }
            Manner::Wait => Ok(acquire(places).await),
        }
    }

    /// A place among the bulk messages of a shard.
    ///
    /// # Errors
    /// `Timeout` where there is none for so long.
    pub(super) async fn enter_bulk(
        &self,
        shard: usize,
        patience: Duration,
    ) -> Result<OwnedSemaphorePermit, StoreError> {
        let place = timeout(patience, acquire(self.shards[shard].bulk.clone()));
        place.await.map_err(|_| StoreError::Timeout(patience))
    }

    /// Messages that wait or are being handled.
    pub(super) fn in_flight(&self) -> usize {
        let free = self
            .shards
            .iter()
            .map(|shard| shard.all.available_permits());
        self.messages_in_flight_max * self.shards.len() - free.sum::<usize>()
    }

    /// Messages that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

async fn acquire(places: Arc<Semaphore>) -> OwnedSemaphorePermit {
    let place = places.acquire_owned().await;
    place.expect("the semaphore is never closed")
}
