//! The actors of an engine, one a shard, each on a thread that took it in.

use super::StoreError;
use super::abort::abort;
use super::shared::Shared;
use crate::lifecycle::Stage;
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, MailboxError, Message};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The addresses, of those that are there.
#[derive(Debug)]
pub(super) struct Actors<A: Actor> {
    addresses: Vec<OnceLock<Addr<A>>>,
    mailbox_capacity: usize,
    shared: Arc<Shared>,
}

impl<A: Actor<Context = Context<A>>> Actors<A> {
    pub(super) fn new(shards: usize, mailbox_capacity: usize, shared: Arc<Shared>) -> Self {
        Self {
            addresses: (0..shards).map(|_| OnceLock::new()).collect(),
            mailbox_capacity,
            shared,
        }
    }

    /// How many there are to be.
    pub(super) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Starts a shard's actor on this thread.
    pub(super) fn host(&self, shard: usize, actor: A) -> Addr<A> {
        // The bound is the admission's; the mailbox must not add a smaller one.
        let mut context = Context::new();
        context.set_mailbox_capacity(self.mailbox_capacity);
        let address = context.run(actor);
        let taken = self.addresses[shard].set(address.clone());
        taken.expect("each host takes other shards");
        address
    }

    /// Whether all are there.
    pub(super) fn are_there(&self) -> bool {
        self.addresses.iter().all(|address| address.get().is_some())
    }

    /// A shard's actor.
    ///
    /// # Errors
    /// `Starting` where it is not there yet.
    pub(super) fn get(&self, shard: usize) -> Result<&Addr<A>, StoreError> {
        self.addresses[shard].get().ok_or(StoreError::Starting)
    }

    /// Asks a shard's actor.
    ///
    /// # Errors
    /// What it answers; `Starting` and `Stopping` where it is not there.
    pub(super) fn ask<M, T>(
        &self,
        shard: usize,
        message: M,
    ) -> impl Future<Output = Result<T, StoreError>>
    where
        M: Message<Result = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let answer = self.send(shard, message);
        async move { answer.await? }
    }

    /// Asks a shard's actor what may be answered in any way.
    ///
    /// # Errors
    /// `Starting` and `Stopping` where it is not there.
    pub(super) fn send<M>(
        &self,
        shard: usize,
        message: M,
    ) -> impl Future<Output = Result<M::Result, StoreError>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let sent = self.get(shard).map(|actor| actor.send(message));
        async move {
            match sent?.await {
                Ok(answer) => Ok(answer),
                Err(MailboxError::Closed) => Err(self.lost(shard)),
                // No message is sent with a time of its own.
                Err(MailboxError::Timeout) => Err(StoreError::Timeout(Duration::ZERO)),
            }
        }
    }

    /// What it means that a shard's mailbox is closed.
    fn lost(&self, shard: usize) -> StoreError {
        if self.shared.lifecycle.stage() >= Stage::Stopping {
            return StoreError::Stopping;
        }
        abort(&format!("shard {shard} was lost with its keys"))
    }
}
