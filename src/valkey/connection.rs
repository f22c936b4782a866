//! Connections that are made when they are needed, and again when they are lost.
//!
//! A connection that ended while nobody used it is found out before something is sent on it that may
//! not be sent twice: it is asked whether it answers (`PING`) where it was not used for a while.

use super::EngineError;
use super::address::{Address, Credentials, Topology};
use super::call::Confirmation;
use super::diagnosis::{self, Diagnosis};
use super::layout::{PARTITIONS, slot};
use super::tls::ClientCertificate;
use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RetryMethod, TlsMode, Value, cmd,
};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long after a failed attempt to connect no other is made.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How long a cluster's client is kept at the least.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// How long all Sentinels and the master may take together.
const SENTINEL_PATIENCE: Duration = Duration::from_secs(3);

/// After so long without use a connection is asked whether it answers, before anything else is.
const IDLE: Duration = Duration::from_millis(250);

/// How often it is asked, and how much longer each time it has to find its node again by itself.
const PINGS: u32 = 8;
const PING_PAUSE: Duration = Duration::from_millis(8);

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
    /// What we show to an engine that asks who we are.
    pub certificate: Option<ClientCertificate>,
}

/// What connections are made to.
pub(super) trait Connect {
    /// The connection. Clones share it.
    type Connection: Clone;

    /// Whether it finds its nodes again when they are lost.
    const MENDS_ITSELF: bool;

    /// How many ways there are on which it may have ended: each partition's, or one for all.
    const WAYS: usize;

    fn connect(&self) -> impl Future<Output = Result<Self::Connection, RedisError>>;

    /// Asks the node of a partition whether it answers.
    fn ping(
        connection: Self::Connection,
        partition: usize,
    ) -> impl Future<Output = Result<(), RedisError>>;

    /// Why no connection is made, where the error that says so may not tell.
    fn diagnosis(&self) -> &Diagnosis;
}

/// Whether what is asked on a connection may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// It may, so that it is found out by asking whether the connection is still one.
    Reads,
    /// It may not.
    Writes,
}

/// A connection, made when it is needed and again when it is lost.
pub(super) struct Reconnecting<C: Connect> {
    connector: C,
    care: Care,
    connection: RefCell<Option<(u64, C::Connection)>>,
    /// Held while one is made.
    connecting: Mutex<()>,
    /// How many were made.
    made: Cell<u64>,
    /// When the last one was.
    made_at: Cell<Option<Instant>>,
    /// When each way was last known to be one.
    used: RefCell<Vec<Option<Instant>>>,
    /// When and how the last attempt failed.
    failed: Cell<Option<(Instant, EngineError)>>,
    reconnects: Arc<AtomicU64>,
}

/// The one node that has all keys.
pub(super) struct Master {
    kind: MasterKind,
    config: AsyncConnectionConfig,
    diagnosis: Diagnosis,
}

enum MasterKind {
    Known(Box<Client>),
    /// Sentinels know it.
    Named(Box<Mutex<SentinelClient>>),
}

/// The nodes of a cluster.
pub(super) struct Nodes {
    client: ClusterClient,
    diagnosis: Diagnosis,
}

impl<C: Connect> Reconnecting<C> {
    /// No connection yet; those after the first count as `reconnects`.
    pub(super) fn new(connector: C, care: Care, reconnects: &Arc<AtomicU64>) -> Self {
        Self {
            connector,
            care,
            connection: RefCell::new(None),
            connecting: Mutex::new(()),
            made: Cell::new(0),
            made_at: Cell::new(None),
            used: RefCell::new(vec![None; C::WAYS]),
            failed: Cell::new(None),
            reconnects: reconnects.clone(),
        }
    }

    /// Asks something of a partition's node until `deadline`. A connection that does not answer by then
    /// is given up.
    ///
    /// # Errors
    /// As [`EngineError`] says. After [`EngineError::Unanswered`] what was asked may have been done.
    pub(super) async fn ask<T>(
        &self,
        partition: usize,
        deadline: Instant,
        ask: impl AsyncFn(C::Connection) -> Result<T, RedisError>,
    ) -> Result<T, EngineError> {
        loop {
            let ready = timeout_at(deadline, self.ready(partition)).await;
            let (number, connection) = ready.unwrap_or(Err(EngineError::Unreachable))?;
            let mut asked = pin!(ask(connection));
            let at_once = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context))).await;
            let answer = match at_once {
                // Its driver runs on this thread, and did not since: it had ended before, and nothing was
                // sent.
                Poll::Ready(Err(error)) if error.is_connection_dropped() && !C::MENDS_ITSELF => {
                    self.forget(number);
                    continue;
                }
                Poll::Ready(answer) => Ok(answer),
                Poll::Pending => timeout_at(deadline, asked).await,
            };
            return match answer {
                Ok(answer) => {
                    if answer.is_ok() {
                        self.is_used(partition);
                    }
                    self.checked(number, answer)
                }
                Err(_) => {
                    self.unanswered(number);
                    Err(EngineError::Unanswered)
                }
            };
        }
    }

    /// The connection and its number; a new one where there is none, or where it has ended while it was
    /// idle and that matters.
    async fn ready(&self, partition: usize) -> Result<(u64, C::Connection), EngineError> {
        let (mut number, mut connection) = self.get().await?;
        if self.care == Care::Reads {
            return Ok((number, connection));
        }
        for ping in 0..PINGS {
            if !self.is_idle(partition) {
                return Ok((number, connection));
            }
            match C::ping(connection.clone(), partition).await {
                Err(error) if !is_answer(&error) => {
                    log::debug!("a connection to the engine has ended: {error}");
                    self.unanswered(number);
                    if C::MENDS_ITSELF {
                        sleep(PING_PAUSE * ping).await;
                    }
                    (number, connection) = self.get().await?;
                }
                // An answer that refuses is one as well.
                Ok(()) | Err(_) => self.is_used(partition),
            }
        }
        match self.is_idle(partition) {
            true => Err(EngineError::Unreachable),
            false => Ok((number, connection)),
        }
    }

    fn is_idle(&self, partition: usize) -> bool {
        let used = self.used.borrow()[partition % C::WAYS];
        used.is_none_or(|at| at.elapsed() > IDLE)
    }

    fn is_used(&self, partition: usize) {
        if self.care == Care::Writes {
            self.used.borrow_mut()[partition % C::WAYS] = Some(Instant::now());
        }
    }

    /// The connection and its number; a new one where there is none.
    async fn get(&self) -> Result<(u64, C::Connection), EngineError> {
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
                let now = Instant::now();
                self.made.set(number);
                self.made_at.set(Some(now));
                if !C::MENDS_ITSELF {
                    self.used.borrow_mut().fill(Some(now));
                }
                if number > 1 {
                    self.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                self.failed.set(None);
                self.connection.replace(Some((number, connection.clone())));
                Ok((number, connection))
            }
            Err(error) => {
                log::debug!("no connection to the engine: {error}");
                let known = EngineError::of_connecting(&error);
                let why = Box::pin(self.connector.diagnosis().why(known)).await;
                self.failed.set(Some((Instant::now(), why)));
                Err(why)
            }
        }
    }

    /// What an answer is, as ours. One that shows that the connection is of no use ends it.
    fn checked<T>(&self, number: u64, answer: Result<T, RedisError>) -> Result<T, EngineError> {
        answer.map_err(|error| {
            let kind = match C::MENDS_ITSELF {
                true => EngineError::of(&error),
                false => EngineError::of_node(&error),
            };
            let is_lost = match kind {
                EngineError::Unanswered | EngineError::Unreachable | EngineError::TooLarge => true,
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

    /// Gives a connection up that did not answer.
    fn unanswered(&self, number: u64) {
        if C::MENDS_ITSELF {
            self.renew(number);
        } else {
            self.forget(number);
        }
    }

    /// Has a cluster's slots looked up anew, or a master, where an answer says that it is another.
    pub(super) fn moved(&self) {
        self.unanswered(self.made.get());
    }

    /// Gives the connection up where one of a pipeline's answers shows that it is of no use.
    pub(super) fn heed(&self, answers: &[Value]) {
        let is_of_no_use = |answer: &Value| match answer {
            Value::ServerError(error) => matches!(error.code(), "READONLY" | "NOAUTH"),
            _ => false,
        };
        if answers.iter().any(is_of_no_use) {
            self.moved();
        }
    }

    /// What an error of what was sent means where it may not be sent twice. The client also gives what is
    /// under way the error of something else, a look at the slots: that proves nothing.
    pub(super) fn sent(&self, error: RedisError) -> RedisError {
        let is_own = matches!(
            error.retry_method(),
            RetryMethod::MovedRedirect
                | RetryMethod::AskRedirect
                | RetryMethod::WaitAndRetry
                | RetryMethod::RefreshSlotsAndRetry
                | RetryMethod::ReconnectFromInitialConnections
        );
        match self.care == Care::Reads || is_own {
            true => error,
            false => io::Error::from(io::ErrorKind::BrokenPipe).into(),
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

    /// What it connects to.
    pub(super) fn connector(&self) -> &C {
        &self.connector
    }
}

/// Whether it is the engine that says so.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

impl Master {
    pub(super) fn new(settings: &LinkSettings) -> Result<Self, RedisError> {
        let address = &settings.address;
        let kind = match address.topology() {
            Topology::Sentinel(name) => {
                MasterKind::Named(Box::new(Mutex::new(sentinel(settings, name)?)))
            }
            Topology::Node | Topology::Cluster => {
                let client = diagnosis::clients(settings)?.swap_remove(0);
                MasterKind::Known(Box::new(client))
            }
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        Ok(Self {
            kind,
            diagnosis: Diagnosis::new(settings, config.clone())?,
            config,
        })
    }
}

impl Connect for Master {
    type Connection = MultiplexedConnection;

    const MENDS_ITSELF: bool = false;

    const WAYS: usize = 1;

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

    async fn ping(mut connection: MultiplexedConnection, _: usize) -> Result<(), RedisError> {
        connection.send_packed_command(&cmd("PING")).await?;
        Ok(())
    }

    fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }
}

impl Nodes {
    /// A client that sends again what it did not hear of at most so many times.
    pub(super) fn new(settings: &LinkSettings, retries: u32) -> Result<Self, RedisError> {
        let mut builder = ClusterClientBuilder::new(settings.address.connections()?)
            .retries(retries)
            .connection_timeout(settings.connect_timeout)
            .response_timeout(settings.response_timeout);
        if let Some(certificate) = &settings.certificate {
            builder = builder.certs(certificate.for_client());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        Ok(Self {
            client: builder.build()?,
            diagnosis: Diagnosis::new(settings, config)?,
        })
    }

    /// The hosts by which we know them.
    pub(super) fn hosts(&self) -> &[String] {
        self.diagnosis.hosts()
    }
}

impl Connect for Nodes {
    type Connection = ClusterConnection;

    const MENDS_ITSELF: bool = true;

    const WAYS: usize = PARTITIONS;

    async fn connect(&self) -> Result<ClusterConnection, RedisError> {
        self.client.get_async_connection().await
    }

    async fn ping(mut connection: ClusterConnection, partition: usize) -> Result<(), RedisError> {
        let route = Route::new(slot(partition), SlotAddr::Master);
        let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
        connection.route_command(cmd("PING"), routing).await?;
        Ok(())
    }

    fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }
}

fn sentinel(settings: &LinkSettings, master: &str) -> Result<SentinelClient, RedisError> {
    let address = &settings.address;
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
    if let Some(certificate) = &settings.certificate {
        builder = builder
            .set_client_to_redis_certificates(certificate.for_client())
            .set_client_to_sentinel_certificates(certificate.for_client());
    }
    builder.build()
}
