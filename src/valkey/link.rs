//! One thread's connections to the engine: to a node, to the master that Sentinels name, or to a
//! cluster.
//!
//! **Invariant: a write is sent again only after an answer that proves that it did not run.** The
//! cluster client would send again whatever it did not hear of, so writes have a client of their
//! own without retries; reads have one with few.

use super::address::Topology;
use super::call::{Access, Call, Confirmation};
use super::connection::{LinkSettings, Master, Nodes, Reconnecting};
use super::error::EngineError;
use super::layout::slot;
use super::{confirmed, plain};
use futures_util::future::join_all;
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{Cmd, Pipeline, RedisError, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How often the cluster client sends a read again.
const READ_RETRIES: u32 = 2;

/// How long to wait before a request is sent again, at first and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A thread's connections. Not to be shared between threads, since each answer would wake another.
#[derive(Debug)]
pub struct Link {
    kind: Kind,
    confirmation: Option<Confirmation>,
    /// Where each partition's master was, in a cluster, so that reads of many go to each at once.
    masters: RefCell<Option<Arc<Vec<usize>>>>,
}

enum Kind {
    Single {
        master: Box<Reconnecting<Master>>,
        /// What replicas confirm goes here, since nothing else gets through while they are waited
        /// for.
        confirmed: Box<Reconnecting<Master>>,
    },
    Cluster {
        reads: Box<Reconnecting<Nodes>>,
        writes: Box<Reconnecting<Nodes>>,
    },
}

impl Link {
    /// A link that is not connected yet.
    ///
    /// # Errors
    /// Where the client takes the address for none.
    pub fn new(settings: &LinkSettings, reconnects: &Arc<AtomicU64>) -> Result<Self, RedisError> {
        let kind = match settings.address.topology() {
            Topology::Node | Topology::Sentinel(_) => {
                let master = || {
                    let master = Reconnecting::new(Master::new(settings)?, reconnects);
                    Ok::<_, RedisError>(Box::new(master))
                };
                Kind::Single {
                    master: master()?,
                    confirmed: master()?,
                }
            }
            Topology::Cluster => {
                let nodes = |retries| {
                    let nodes = Reconnecting::new(Nodes::new(settings, retries)?, reconnects);
                    Ok::<_, RedisError>(Box::new(nodes))
                };
                Kind::Cluster {
                    reads: nodes(READ_RETRIES)?,
                    writes: nodes(0)?,
                }
            }
        };
        Ok(Self {
            kind,
            confirmation: settings.confirmation,
            masters: RefCell::new(None),
        })
    }

    /// Whether all partitions are at one node.
    pub fn is_single(&self) -> bool {
        matches!(self.kind, Kind::Single { .. })
    }

    /// Asks until `deadline`. What passes by itself is asked again after a pause.
    ///
    /// # Errors
    /// As [`EngineError`] says. After [`EngineError::Unanswered`] a write may have been made, after
    /// [`EngineError::Unreplicated`] it was.
    pub async fn ask(
        &self,
        access: Access,
        call: &Call,
        deadline: Instant,
    ) -> Result<Value, EngineError> {
        let mut pause = PAUSE_MIN;
        loop {
            let asked = timeout_at(deadline, self.ask_once(access, call));
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
            sleep(pause).await;
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
            match (&self.kind, self.confirmation(access)) {
                (Kind::Single { master, .. }, None) => plain::pipelined(master, calls).await,
                (Kind::Single { confirmed, .. }, Some(confirmation)) => {
                    confirmed::pipelined(confirmed, calls, confirmation).await
                }
                (Kind::Cluster { reads, .. }, _) if access == Access::Read => {
                    self.grouped(reads, calls).await
                }
                (Kind::Cluster { .. }, _) => {
                    join_all(calls.iter().map(|call| self.ask_once(access, call))).await
                }
            }
        };
        match timeout_at(deadline, asked).await {
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
            let nodes = match &self.kind {
                Kind::Single { master, .. } => return plain::single(master, command).await,
                Kind::Cluster { reads, .. } if access == Access::Read => reads,
                Kind::Cluster { writes, .. } => writes,
            };
            plain::routed(nodes, Route::with_key(key, SlotAddr::Master), command).await
        };
        let asked = timeout_at(deadline, asked).await;
        asked.unwrap_or(Err(EngineError::Unanswered))
    }

    /// Asks every master of the engine: the one there is, or all of a cluster.
    ///
    /// # Errors
    /// As [`Link::ask`].
    pub async fn ask_masters(&self, command: &Cmd) -> Result<Vec<Value>, EngineError> {
        match &self.kind {
            Kind::Single { master, .. } => Ok(vec![plain::single(master, command).await?]),
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
        let command = &call.command;
        match (&self.kind, self.confirmation(access)) {
            // All but the smallest are boxed, so that no request pays for the largest.
            (Kind::Single { master, .. }, None) => plain::single(master, command).await,
            (Kind::Single { confirmed, .. }, Some(confirmation)) => {
                Box::pin(confirmed::single(confirmed, command, confirmation)).await
            }
            (Kind::Cluster { reads, .. }, _) if access == Access::Read => {
                Box::pin(plain::routed(reads, route(call.partition), command)).await
            }
            (Kind::Cluster { writes, .. }, None) => {
                Box::pin(plain::routed(writes, route(call.partition), command)).await
            }
            (Kind::Cluster { writes, .. }, Some(confirmation)) => {
                let asked = confirmed::routed(writes, route(call.partition), command, confirmation);
                Box::pin(asked).await
            }
        }
    }

    /// Who must confirm what is asked with this access.
    fn confirmation(&self, access: Access) -> Option<Confirmation> {
        match access {
            Access::Read | Access::Write => None,
            Access::ConfirmedWrite => self.confirmation,
        }
    }

    /// Reads of many partitions: a pipeline for each master, and what that does not answer one by
    /// one.
    async fn grouped(
        &self,
        reads: &Reconnecting<Nodes>,
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
    async fn masters(&self, reads: &Reconnecting<Nodes>) -> Option<Arc<Vec<usize>>> {
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
        match (&self.kind, self.confirmation(access)) {
            (Kind::Single { master, .. }, None) => master.unanswered(),
            (Kind::Single { confirmed, .. }, Some(_)) => confirmed.unanswered(),
            (Kind::Cluster { reads, .. }, _) if access == Access::Read => reads.unanswered(),
            (Kind::Cluster { writes, .. }, _) => writes.unanswered(),
        }
        self.masters.take();
    }
}

fn route(partition: usize) -> Route {
    Route::new(slot(partition), SlotAddr::Master)
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Single { .. } => "Single",
            Self::Cluster { .. } => "Cluster",
        })
    }
}
