//! Connections that are made when they are needed, and again when they are lost.

use super::address::{Address, Credentials, Topology};
use super::call::Confirmation;
use super::error::EngineError;
use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, RedisError, TlsMode};
use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long after a failed attempt to connect no other is made.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How long a cluster's client is kept at the least.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// How long all Sentinels and the master may take together.
const SENTINEL_PATIENCE: Duration = Duration::from_secs(3);

/// How a link is set up.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Where the engine is.
    pub address: Address,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
    /// Who must confirm a change besides the master.
    pub confirmation: Option<Confirmation>,
}

/// What connections are made to.
pub(super) trait Connect {
    /// The connection. Clones share it.
    type Connection: Clone;

    /// Whether it finds its nodes again when they are lost.
    const MENDS_ITSELF: bool;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, RedisError>>;
}

/// A connection, made when it is needed and again when it is lost.
pub(super) struct Reconnecting<C: Connect> {
    connector: C,
    connection: RefCell<Option<(u64, C::Connection)>>,
    /// Held while one is made.
    connecting: Mutex<()>,
    /// How many were made.
    made: Cell<u64>,
    /// When the last one was.
    made_at: Cell<Option<Instant>>,
    /// When and how the last attempt failed.
    failed: Cell<Option<(Instant, EngineError)>>,
    reconnects: Arc<AtomicU64>,
}

/// The one node that has all keys.
pub(super) struct Master {
    kind: MasterKind,
    config: AsyncConnectionConfig,
}

enum MasterKind {
    Known(Box<Client>),
    /// Sentinels know it.
    Named(Box<Mutex<SentinelClient>>),
}

/// The nodes of a cluster.
pub(super) struct Nodes(ClusterClient);

impl<C: Connect> Reconnecting<C> {
    /// No connection yet; those after the first count as `reconnects`.
    pub(super) fn new(connector: C, reconnects: &Arc<AtomicU64>) -> Self {
        Self {
            connector,
            connection: RefCell::new(None),
            connecting: Mutex::new(()),
            made: Cell::new(0),
            made_at: Cell::new(None),
            failed: Cell::new(None),
            reconnects: reconnects.clone(),
        }
    }

    /// The connection and its number; a new one where there is none.
    pub(super) async fn get(&self) -> Result<(u64, C::Connection), EngineError> {
        if let Some(connection) = self.connection.borrow().clone() {
            return Ok(connection);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(connection) = self.connection.borrow().clone() {
            return Ok(connection);
        }
        if let Some((when, error)) = self.failed.get()
            && when.elapsed() < CONNECT_PAUSE
        {
            return Err(error);
        }
        // Boxed, since it is of kilobytes, and every request has a place for it.
        match Box::pin(self.connector.connect()).await {
            Ok(connection) => {
                let number = self.made.get() + 1;
                self.made.set(number);
                self.made_at.set(Some(Instant::now()));
                if number > 1 {
                    self.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                self.failed.set(None);
                self.connection.replace(Some((number, connection.clone())));
                Ok((number, connection))
            }
            Err(error) => {
                log::debug!("no connection to the engine: {error}");
                // Nothing was sent, whatever went wrong.
                let error = match EngineError::of(&error) {
                    EngineError::Unanswered | EngineError::Other => EngineError::Unreachable,
                    error => error,
                };
                self.failed.set(Some((Instant::now(), error)));
                Err(error)
            }
        }
    }

    /// What an answer is, as ours. One that shows that the connection is of no use ends it.
    pub(super) fn checked<T>(
        &self,
        number: u64,
        answer: Result<T, RedisError>,
    ) -> Result<T, EngineError> {
        answer.map_err(|error| {
            let kind = EngineError::of(&error);
            let is_lost = match kind {
                EngineError::Unanswered | EngineError::Unreachable => true,
                // A master that became a replica: Sentinels know the new one.
                EngineError::ReadOnly => error.code() == Some("READONLY"),
                EngineError::Denied => true,
                _ => false,
            };
            if is_lost && !C::MENDS_ITSELF {
                self.forget(number);
            } else if kind == EngineError::Unanswered {
                self.renew(number);
            }
            kind
        })
    }

    /// Gives the connection up where a request was not answered by its deadline.
    pub(super) fn unanswered(&self) {
        if C::MENDS_ITSELF {
            self.renew(self.made.get());
        } else {
            self.forget(self.made.get());
        }
    }

    /// Gives a cluster's client up that was not answered: it goes on asking a node that hangs and
    /// never asks another who is master now. Not too often, since its nodes' connections are lost
    /// with it.
    fn renew(&self, number: u64) {
        let is_old = |at: Instant| at.elapsed() > RENEWAL_PAUSE;
        if self.made_at.get().is_some_and(is_old) {
            self.forget(number);
        }
    }

    fn forget(&self, number: u64) {
        let mut connection = self.connection.borrow_mut();
        if connection.as_ref().is_some_and(|(made, _)| *made == number) {
            *connection = None;
        }
    }
}

impl Master {
    pub(super) fn new(settings: &LinkSettings) -> Result<Self, RedisError> {
        let address = &settings.address;
        let kind = match address.topology() {
            Topology::Sentinel(name) => {
                MasterKind::Named(Box::new(Mutex::new(sentinel(address, name)?)))
            }
            Topology::Node | Topology::Cluster => {
                let client = Client::open(address.connections()?.swap_remove(0))?;
                MasterKind::Known(Box::new(client))
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        Ok(Self { kind, config })
    }
}

impl Connect for Master {
    type Connection = MultiplexedConnection;

    const MENDS_ITSELF: bool = false;

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        match &self.kind {
            MasterKind::Known(client) => {
                let made = client.get_multiplexed_async_connection_with_config(&self.config);
                made.await
            }
            MasterKind::Named(sentinels) => {
                let mut sentinels = sentinels.lock().await;
                // They are asked in turn, and each may hang.
                let made = sentinels.get_async_connection_with_config(&self.config);
                let made = timeout(SENTINEL_PATIENCE, made).await;
                made.unwrap_or_else(|late| Err(io::Error::from(late).into()))
            }
        }
    }
}

impl Nodes {
    /// A client that sends again what it did not hear of at most so many times.
    pub(super) fn new(settings: &LinkSettings, retries: u32) -> Result<Self, RedisError> {
        let client = ClusterClientBuilder::new(settings.address.connections()?)
            .retries(retries)
            .connection_timeout(settings.connect_timeout)
            .response_timeout(settings.response_timeout)
            .build()?;
        Ok(Self(client))
    }
}

impl Connect for Nodes {
    type Connection = ClusterConnection;

    const MENDS_ITSELF: bool = true;

    async fn connect(&self) -> Result<ClusterConnection, RedisError> {
        self.0.get_async_connection().await
    }
}

fn sentinel(address: &Address, master: &str) -> Result<SentinelClient, RedisError> {
    let kind = SentinelServerType::Master;
    let mut builder = SentinelClientBuilder::new(address.endpoints(), master, kind)?
        .set_client_to_redis_db(address.database());
    let Credentials { username, password } = address.credentials();
    if let Some(username) = username {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_redis_password(password);
    }
    let Credentials { username, password } = address.sentinel_credentials();
    if let Some(username) = username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if address.is_tls() {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    builder.build()
}
