//! One thread's connections to the engine: to a node, to the master that Sentinels name, or to a
//! cluster.
//!
//! **Invariant: a write is sent again only after an answer that proves that it did not run.** The
//! cluster client would send again whatever it did not hear of, so writes have a client of their
//! own without retries; reads have one with few.

use super::address::{Address, Topology};
use super::error::EngineError;
use super::layout::slot;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How often the cluster client sends a read again.
const READ_RETRIES: u32 = 2;

/// How long to wait before a request is sent again, at first and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How long after a failed attempt to connect no other is made.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);

/// How long a cluster's client is kept at the least.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// How a link is set up.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Where the engine is.
    pub address: Address,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long an answer may take.
    pub response_timeout: Duration,
}

/// What links count, over all threads.
#[derive(Debug, Default)]
pub struct LinkCounts {
    /// Connections that were made after the first of each link.
    pub reconnects: AtomicU64,
}

/// A command for a partition.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which partition all its keys are of.
    pub partition: usize,
    /// The command.
    pub command: Cmd,
}

/// Whether a request may be sent again where it is not known whether it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may: it changes nothing.
    Read,
    /// It may not.
    Write,
}

/// A thread's connections. Not to be shared between threads, since each answer would wake another.
#[derive(Debug)]
pub struct Link {
    kind: Kind,
    /// Where each partition's master was, in a cluster, so that reads of many go to each at once.
    masters: RefCell<Option<Arc<Vec<usize>>>>,
}

enum Kind {
    Single(Box<Slot<MultiplexedConnection>>),
    Cluster {
        reads: Box<Slot<ClusterConnection>>,
        writes: Box<Slot<ClusterConnection>>,
    },
}

/// A connection, made when it is needed and again when it is lost.
struct Slot<C> {
    connector: Connector,
    connection: RefCell<Option<(u64, C)>>,
    /// Held while one is made.
    connecting: Mutex<()>,
    /// How many were made.
    made: Cell<u64>,
    /// When the last one was.
    made_at: Cell<Option<Instant>>,
    /// When and how the last attempt failed.
    failed: Cell<Option<(Instant, EngineError)>>,
    counts: Arc<LinkCounts>,
}

enum Connector {
    Node(Client, AsyncConnectionConfig),
    Sentinel(Box<Mutex<SentinelClient>>, AsyncConnectionConfig),
    Cluster(redis::cluster::ClusterClient),
}

impl Link {
    /// A link that is not connected yet.
    ///
    /// # Errors
    /// Where the client takes the address for none.
    pub fn new(settings: &LinkSettings, counts: &Arc<LinkCounts>) -> Result<Self, RedisError> {
        let address = &settings.address;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        let kind = match address.topology() {
            Topology::Node => {
                let info = address.connections()?.swap_remove(0);
                let client = Client::open(info)?;
                Kind::Single(Box::new(Slot::new(Connector::Node(client, config), counts)))
            }
            Topology::Sentinel(master) => {
                let client = Box::new(Mutex::new(sentinel(address, master)?));
                Kind::Single(Box::new(Slot::new(
                    Connector::Sentinel(client, config),
                    counts,
                )))
            }
            Topology::Cluster => Kind::Cluster {
                reads: Box::new(Slot::new(cluster(settings, READ_RETRIES)?, counts)),
                writes: Box::new(Slot::new(cluster(settings, 0)?, counts)),
            },
        };
        Ok(Self {
            kind,
            masters: RefCell::new(None),
        })
    }

    /// Whether all partitions are at one node.
    pub fn is_single(&self) -> bool {
        matches!(self.kind, Kind::Single(_))
    }

    /// Asks until `deadline`. What passes by itself is asked again after a pause.
    ///
    /// # Errors
    /// As [`EngineError`] says. After [`EngineError::Unanswered`] a write may have been made.
    pub async fn ask(
        &self,
        access: Access,
        call: &Call,
        deadline: Instant,
    ) -> Result<Value, EngineError> {
        let mut pause = PAUSE_MIN;
        loop {
            let asked = tokio::time::timeout_at(deadline, self.ask_once(access, call));
            let error = match asked.await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => {
                    self.reconnect(access);
                    return Err(EngineError::Unanswered);
                }
            };
            let may_repeat =
                error.passes() || (access == Access::Read && error == EngineError::Unanswered);
            if !may_repeat || Instant::now() + pause >= deadline {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks for many things at once. Each has its answer; none is sent again.
    pub async fn ask_many(
        &self,
        access: Access,
        calls: &[Call],
        deadline: Instant,
    ) -> Vec<Result<Value, EngineError>> {
        let asked = async {
            match &self.kind {
                Kind::Single(slot) => pipelined(slot, calls).await,
                Kind::Cluster { reads, .. } if access == Access::Read => {
                    self.grouped(reads, calls).await
                }
                Kind::Cluster { .. } => {
                    join_all(calls.iter().map(|call| self.ask_once(access, call))).await
                }
            }
        };
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(answers) => answers,
            Err(_) => {
                self.reconnect(access);
                vec![Err(EngineError::Unanswered); calls.len()]
            }
        }
    }

    /// Asks the node that has a key outside of all partitions.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn ask_keyed(
        &self,
        access: Access,
        key: &str,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, EngineError> {
        let asked = async {
            let slot = match &self.kind {
                Kind::Single(slot) => return single(slot, command).await,
                Kind::Cluster { reads, .. } if access == Access::Read => reads,
                Kind::Cluster { writes, .. } => writes,
            };
            routed(slot, Route::with_key(key, SlotAddr::Master), command).await
        };
        let asked = tokio::time::timeout_at(deadline, asked).await;
        asked.unwrap_or(Err(EngineError::Unanswered))
    }

    /// Asks every master of the engine: the one there is, or all of a cluster.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn ask_masters(&self, command: &Cmd) -> Result<Vec<Value>, EngineError> {
        match &self.kind {
            Kind::Single(slot) => Ok(vec![single(slot, command).await?]),
            Kind::Cluster { reads, .. } => {
                let (number, mut connection) = reads.get().await?;
                let masters = MultipleNodeRoutingInfo::AllMasters;
                let routing = RoutingInfo::MultiNode((masters, None));
                let answer = connection.route_command(command.clone(), routing).await;
                match reads.checked(number, answer)? {
                    Value::Map(by_node) => {
                        Ok(by_node.into_iter().map(|(_, value)| value).collect())
                    }
                    value => Ok(vec![value]),
                }
            }
        }
    }

    async fn ask_once(&self, access: Access, call: &Call) -> Result<Value, EngineError> {
        match (&self.kind, access) {
            (Kind::Single(slot), _) => single(slot, &call.command).await,
            (Kind::Cluster { reads, .. }, Access::Read) => {
                routed(reads, route(call.partition), &call.command).await
            }
            (Kind::Cluster { writes, .. }, Access::Write) => {
                routed(writes, route(call.partition), &call.command).await
            }
        }
    }

    /// Reads of many partitions: a pipeline for each master, and what that does not answer one by
    /// one.
    async fn grouped(
        &self,
        reads: &Slot<ClusterConnection>,
        calls: &[Call],
    ) -> Vec<Result<Value, EngineError>> {
        let mut answers: Vec<Option<Value>> = vec![None; calls.len()];
        if let Some(masters) = self.masters(reads).await {
            let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (index, call) in calls.iter().enumerate() {
                groups
                    .entry(masters[call.partition])
                    .or_default()
                    .push(index);
            }
            let asked = groups.into_values().map(|indices| async move {
                let mut pipeline = Pipeline::with_capacity(indices.len());
                for index in &indices {
                    pipeline.add_command(calls[*index].command.clone());
                }
                let route = route(calls[indices[0]].partition);
                let route = SingleNodeRoutingInfo::SpecificNode(route);
                let (_, mut connection) = reads.get().await?;
                let asked = connection.route_pipeline(pipeline, 0, indices.len(), route);
                let values = asked.await.map_err(|error| EngineError::of(&error))?;
                Ok::<_, EngineError>((indices, values))
            });
            for (indices, values) in join_all(asked).await.into_iter().flatten() {
                for (index, value) in indices.into_iter().zip(values) {
                    if !matches!(value, Value::ServerError(_)) {
                        answers[index] = Some(value);
                    }
                }
            }
        }
        if answers.iter().any(Option::is_none) {
            self.masters.take();
        }
        let asked = calls.iter().zip(answers).map(|(call, answer)| async move {
            match answer {
                Some(value) => Ok(value),
                None => self.ask_once(Access::Read, call).await,
            }
        });
        join_all(asked).await
    }

    /// For each partition the number of its master. `None` where that is not known.
    async fn masters(&self, reads: &Slot<ClusterConnection>) -> Option<Arc<Vec<usize>>> {
        if let Some(known) = self.masters.borrow().clone() {
            return Some(known);
        }
        let (_, mut connection) = reads.get().await.ok()?;
        let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = connection.route_command(command, routing).await.ok()?;
        let mut masters = vec![0; super::layout::PARTITIONS];
        // [[first, last, [host, port, id], …], …]: two ranges may have one master.
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let Value::Array(ranges) = answer else {
            return None;
        };
        for range in &ranges {
            let Value::Array(range) = range else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), master, ..] = &range[..] else {
                return None;
            };
            let next = numbers.len() + 1;
            let number = *numbers.entry(format!("{master:?}")).or_insert(next);
            for (partition, master) in masters.iter_mut().enumerate() {
                if (*first..=*last).contains(&i64::from(slot(partition))) {
                    *master = number;
                }
            }
        }
        let masters = Arc::new(masters);
        self.masters.replace(Some(masters.clone()));
        Some(masters)
    }

    /// Gives a connection up that did not answer in time.
    fn reconnect(&self, access: Access) {
        match (&self.kind, access) {
            (Kind::Single(slot), _) => slot.forget(slot.made.get()),
            (Kind::Cluster { reads, .. }, Access::Read) => reads.renew(reads.made.get()),
            (Kind::Cluster { writes, .. }, Access::Write) => writes.renew(writes.made.get()),
        }
        self.masters.take();
    }
}

async fn single(slot: &Slot<MultiplexedConnection>, command: &Cmd) -> Result<Value, EngineError> {
    let (number, mut connection) = slot.get().await?;
    let answer = connection.send_packed_command(command).await;
    let answer = answer.and_then(Value::extract_error);
    slot.checked(number, answer)
}

async fn pipelined(
    slot: &Slot<MultiplexedConnection>,
    calls: &[Call],
) -> Vec<Result<Value, EngineError>> {
    let asked = async {
        let (number, mut connection) = slot.get().await?;
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.command.clone());
        }
        let asked = connection.send_packed_commands(&pipeline, 0, calls.len());
        slot.checked(number, asked.await)
    };
    match asked.await {
        Ok(values) => {
            let of = |value: Value| {
                value
                    .extract_error()
                    .map_err(|error| EngineError::of(&error))
            };
            values.into_iter().map(of).collect()
        }
        Err(error) => vec![Err(error); calls.len()],
    }
}

fn route(partition: usize) -> Route {
    Route::new(slot(partition), SlotAddr::Master)
}

async fn routed(
    slot: &Slot<ClusterConnection>,
    route: Route,
    command: &Cmd,
) -> Result<Value, EngineError> {
    let (number, mut connection) = slot.get().await?;
    let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::SpecificNode(route));
    let answer = connection.route_command(command.clone(), routing).await;
    let error = match answer.and_then(Value::extract_error) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    // The slot is on its way and its new master has the keys: it answers if it is told that we
    // were sent.
    if error.code() == Some("ASK")
        && let Some((node, _)) = error.redirect_node()
        && let Some((host, port)) = node.rsplit_once(':')
        && let Ok(port) = port.parse()
    {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(command.clone());
        let host = host.to_owned();
        let to = SingleNodeRoutingInfo::ByAddress { host, port };
        let answer = connection.route_pipeline(pipeline, 1, 1, to).await;
        let answer = answer.and_then(|mut values| match values.pop() {
            Some(value) => value.extract_error(),
            None => Ok(Value::Nil),
        });
        return slot.checked(number, answer);
    }
    slot.checked(number, Err(error))
}

impl<C: Clone> Slot<C>
where
    Connector: Connect<C>,
{
    fn new(connector: Connector, counts: &Arc<LinkCounts>) -> Self {
        Self {
            connector,
            connection: RefCell::new(None),
            connecting: Mutex::new(()),
            made: Cell::new(0),
            made_at: Cell::new(None),
            failed: Cell::new(None),
            counts: counts.clone(),
        }
    }

    /// The connection and its number; a new one where there is none.
    async fn get(&self) -> Result<(u64, C), EngineError> {
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
        match self.connector.connect().await {
            Ok(connection) => {
                let number = self.made.get() + 1;
                self.made.set(number);
                self.made_at.set(Some(Instant::now()));
                if number > 1 {
                    self.counts.reconnects.fetch_add(1, Ordering::Relaxed);
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
    fn checked<T>(&self, number: u64, answer: Result<T, RedisError>) -> Result<T, EngineError> {
        answer.map_err(|error| {
            let kind = EngineError::of(&error);
            let is_lost = match kind {
                EngineError::Unanswered | EngineError::Unreachable => true,
                // A master that became a replica: Sentinels know the new one.
                EngineError::ReadOnly => error.code() == Some("READONLY"),
                EngineError::Denied => true,
                _ => false,
            };
            if is_lost && !self.connector.mends_itself() {
                self.forget(number);
            } else if kind == EngineError::Unanswered {
                self.renew(number);
            }
            kind
        })
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

/// Something that makes connections of a kind.
trait Connect<C> {
    fn connect(&self) -> impl Future<Output = Result<C, RedisError>>;
}

impl Connector {
    fn mends_itself(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }
}

impl Connect<MultiplexedConnection> for Connector {
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        match self {
            Self::Node(client, config) => {
                client
                    .get_multiplexed_async_connection_with_config(config)
                    .await
            }
            Self::Sentinel(client, config) => {
                let mut client = client.lock().await;
                // Sentinels are asked in turn, and each may hang.
                let asked = client.get_async_connection_with_config(config);
                let asked = timeout(SENTINEL_PATIENCE, asked).await;
                asked.unwrap_or_else(|late| Err(std::io::Error::from(late).into()))
            }
            Self::Cluster(_) => unreachable!("a cluster has connections of its own kind"),
        }
    }
}

/// How long all Sentinels and the master may take together.
const SENTINEL_PATIENCE: Duration = Duration::from_secs(3);

impl Connect<ClusterConnection> for Connector {
    async fn connect(&self) -> Result<ClusterConnection, RedisError> {
        match self {
            Self::Cluster(client) => client.get_async_connection().await,
            Self::Node(..) | Self::Sentinel(..) => {
                unreachable!("a node has connections of its own kind")
            }
        }
    }
}

fn sentinel(address: &Address, master: &str) -> Result<SentinelClient, RedisError> {
    let kind = SentinelServerType::Master;
    let mut builder = SentinelClientBuilder::new(address.endpoints(), master, kind)?
        .set_client_to_redis_db(address.database());
    if let Some(username) = address.username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = address.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if address.is_tls() {
        builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
    }
    builder.build()
}

fn cluster(settings: &LinkSettings, retries: u32) -> Result<Connector, RedisError> {
    let client = ClusterClientBuilder::new(settings.address.connections()?)
        .retries(retries)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout)
        .build()?;
    Ok(Connector::Cluster(client))
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Single(_) => "Single",
            Self::Cluster { .. } => "Cluster",
        })
    }
}
