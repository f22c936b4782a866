//! What the store's actors are asked, in bare verbs, and what they answer.

use super::StoreError;
use crate::keymap::{IndexStats, Page};
use crate::model::{Filter, Mutation, Revision, Value, Written};
use actix::Message;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A message that was let in, with the permit that it gives back once it was handled. The permit
/// travels with the message, not with its sender, so that senders who go away do not let in more
/// than the bound.
#[derive(Debug)]
pub struct Admitted<M> {
    /// The message.
    pub message: M,
    /// Its place among the messages in flight; health and metrics need none.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl<M: Message> Message for Admitted<M> {
    type Result = M::Result;
}

/// Asks for the value of a key.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Value>, StoreError>")]
pub struct Get {
    /// The key.
    pub key: crate::model::Key,
}

/// Asks to make a change that sets a key.
#[derive(Debug, Message)]
#[rtype(result = "Result<Written, StoreError>")]
pub struct Set {
    /// The change.
    pub mutation: Mutation,
}

/// Asks to make many changes that set keys, in their order.
#[derive(Debug, Message)]
#[rtype(result = "Result<ManyWritten, StoreError>")]
pub struct SetMany {
    /// The changes.
    pub mutations: Vec<Mutation>,
}

/// Asks to make a change that removes a key. The answer is the number of the change, or `None`
/// where the key named nothing.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Revision>, StoreError>")]
pub struct Delete {
    /// The change.
    pub mutation: Mutation,
}

/// Asks for some of the keys that match.
#[derive(Debug, Message)]
#[rtype(result = "Result<Found, StoreError>")]
pub struct Search {
    /// Which keys.
    pub filter: Arc<Filter>,
    /// Only keys above this one; all where it is empty.
    pub after: Box<[u8]>,
    /// At most so many.
    pub limit: usize,
    /// Whether the total is asked for too, from the same moment as the keys.
    pub total: Total,
}

/// Asks how many keys there are, and what the shard is made of.
#[derive(Debug, Message)]
#[rtype(result = "Result<Counted, StoreError>")]
pub struct Count;

/// Whether a search needs the number of all matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// It does.
    Wanted,
    /// It does not.
    Known,
}

/// What became of a [`SetMany`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManyWritten {
    /// Changes that made a key.
    pub created: u64,
    /// Changes of a key that there was.
    pub updated: u64,
    /// What ended it early.
    pub stopped: Option<Stopped>,
}

/// Why a [`SetMany`] ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The first change that was not made, from 0 on. Of those after it the memory engine made
    /// none, another engine perhaps some.
    pub at: usize,
    /// Why it was not.
    pub error: StoreError,
}

/// What a [`Search`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Keys, and where to go on.
    pub page: Page,
    /// The number of all matches of the shard, where it was asked for.
    pub total: usize,
}

/// What a [`Count`] answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Keys.
    pub keys: usize,
    /// What the key index is made of.
    pub index: IndexStats,
}
