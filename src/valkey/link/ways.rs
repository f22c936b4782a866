//! The connections of a thread, by what they are for.

use crate::valkey::connection::{Care, Connect, Reconnecting};
use crate::valkey::error::EngineError;
use redis::RedisError;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

/// How often the cluster client sends a read again.
const READ_RETRIES: u32 = 2;

/// Connections for all purposes but writes that replicas confirm, each made when it is needed.
pub(super) struct Ways<C: Connect> {
    pub(super) reads: Box<Reconnecting<C>>,
    pub(super) writes: Box<Reconnecting<C>>,
    /// What the engine may end the connection for goes here, one at a time, since it would take others'
    /// answers along.
    large: Mutex<Box<Reconnecting<C>>>,
}

impl<C: Connect> Ways<C> {
    /// Ways that are not connected yet, each by a connector of its own that sends again what may be so
    /// often.
    pub(super) fn new(
        reconnects: &Arc<AtomicU64>,
        connector: impl Fn(u32) -> Result<C, RedisError>,
    ) -> Result<Self, RedisError> {
        let way = |care| {
            let retries = match care {
                Care::Reads => READ_RETRIES,
                Care::Writes => 0,
            };
            let way = Reconnecting::new(connector(retries)?, care, reconnects);
            Ok::<_, RedisError>(Box::new(way))
        };
        Ok(Self {
            reads: way(Care::Reads)?,
            writes: way(Care::Writes)?,
            large: Mutex::new(way(Care::Writes)?),
        })
    }

    /// The way for large things, once it is free.
    pub(super) async fn large(
        &self,
        deadline: Instant,
    ) -> Result<MutexGuard<'_, Box<Reconnecting<C>>>, EngineError> {
        let turn = timeout_at(deadline, self.large.lock()).await;
        turn.map_err(|_| EngineError::Queued)
    }
}
