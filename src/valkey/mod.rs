//! The engine outside of this process: Valkey or Redis, which holds the values and a log of the
//! keys that came and went.
//!
//! It knows the engine's protocol and where what lies in it; it knows no actors, no HTTP and no key
//! index.
//!
//! # Layout
//! - `client`: a thread's requests, for values, many at a time in `client::many`, and, in
//!   `client::partition`, for what an index needs; `client::updates`: logs that have updates too; `client::fitness`:
//!   whether an engine can be used as it is
//! - `scripts`: what changes the engine's data, each in one step
//! - `layout`: the names of the engine's keys, and how a value is written
//! - `log`: heads and logs as they are read
//! - `link`: who is asked, until when, and what may be sent again
//! - `plain`: requests that the master alone answers
//! - `confirmed`: writes that replicas must have before they are acknowledged
//! - `redirect`: answers that name another node
//! - `connection`: connections, made again when they are lost; `diagnosis`: why none can be made
//! - `outage`: when the engine began to fail, and when that was over
//! - `call`: what is asked; `commands`: which of the engine's commands that needs
//! - `address`: the URL of a node, of Sentinels, of a cluster; `tls`: what we show to it
//! - `error`: what can go wrong; `cause`: what the client's errors mean

mod address;
mod call;
mod cause;
mod client;
mod commands;
mod confirmed;
mod connection;
mod diagnosis;
mod error;
mod first_end;
mod layout;
mod link;
mod log;
mod outage;
mod plain;
mod redirect;
mod scripts;
mod tls;

pub use address::{Address, AddressError, Credentials};
pub use call::Confirmation;
pub use client::{
    BucketKeys, Client, Fitness, LAPSING_KEYS, LOG_ENTRIES, LOG_PAGE, Lapsing, Logging, Repair,
    Scanned, Span,
};
pub use connection::LinkSettings;
pub use error::{EngineError, Lack};
pub use layout::{BLOB_HEAD_BYTES_MAX, BUCKETS, PARTITIONS, Place};
pub use log::{Entry, Head, Note, Position, Step, Updates};
pub use tls::ClientCertificate;

use crate::model::{ContentTypes, Revision};
use first_end::FirstEnd;
use layout::Layout;
use link::Link;
use outage::Outages;
use redis::RedisError;
use scripts::Scripts;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What is counted of the engine.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A request was answered, or not.
    fn observed(&self, operation: Operation, took: Duration, error: Option<EngineError>);
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A value.
    Get,
    /// A change that sets keys.
    Set,
    /// A change that removes a key.
    Delete,
    /// Heads and logs.
    Sync,
    /// The keys of a partition.
    Reload,
}

impl Operation {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 5] = [Self::Get, Self::Set, Self::Delete, Self::Sync, Self::Reload];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Sync => "sync",
            Self::Reload => "reload",
        }
    }
}

/// What all threads' connections to an engine share.
#[derive(Debug)]
pub struct Engine {
    settings: LinkSettings,
    layout: Layout,
    content_types: ContentTypes,
    scripts: Scripts,
    /// The last operation's number. It starts at random and never repeats.
    operations: AtomicU64,
    reconnects: Arc<AtomicU64>,
    outages: Outages,
    /// The first deadline of each partition, as far as is known.
    ends: [FirstEnd; PARTITIONS],
    observer: Arc<dyn Observer>,
}

impl Engine {
    /// An engine at an address, in a namespace.
    ///
    /// # Errors
    /// Where the system gives no random number.
    pub fn new(
        settings: LinkSettings,
        namespace: &str,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, getrandom::Error> {
        if settings.address.is_tls() {
            // The client's TLS takes its cryptography from the process. One that is there is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let outages = Outages::new(settings.address.to_string());
        Ok(Self {
            settings,
            layout: Layout::new(namespace),
            content_types: ContentTypes::default(),
            scripts: Scripts::new(),
            operations: AtomicU64::new(getrandom::u64()?),
            reconnects: Arc::default(),
            outages,
            ends: [const { FirstEnd::none() }; PARTITIONS],
            observer,
        })
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.settings.address
    }

    /// How often a lost connection was made again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Why it fails, if it does.
    pub fn outage(&self) -> Option<EngineError> {
        self.outages.cause()
    }

    /// Takes note that it fails, which was found otherwise than by a client's request.
    pub fn failed(&self, error: EngineError) {
        self.outages.failed(None, Duration::ZERO, error);
    }

    /// Takes note of searches that were refused since it fails.
    pub fn refused(&self, searches: usize, error: EngineError) {
        self.outages.refused(searches, error);
    }

    fn observed(&self, operation: Operation, took: Duration, error: Option<EngineError>) {
        self.outages.observed(operation, took, error);
        self.observer.observed(operation, took, error);
    }

    /// Access for this thread.
    ///
    /// # Errors
    /// Where the client takes the address for none.
    pub fn client(self: &Arc<Self>) -> Result<Client, RedisError> {
        let link = Link::new(&self.settings, &self.reconnects)?;
        Ok(Client::new(self.clone(), link))
    }

    fn next_operation(&self) -> Revision {
        Revision(
            self.operations
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_add(1),
        )
    }
}
