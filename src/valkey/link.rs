//! One thread's connections to the engine: to a node, to the master that Sentinels name, or to a
//! cluster.
//!
//! **Invariant: a write is sent again only after an answer that proves that it did not run.** The
//! cluster client would send again whatever it did not hear of, so writes have a client of their
//! own without retries; reads have one with few. On one node they are apart as well, since a master
//! that pauses writes lets what comes behind them wait.
//!
//! # Layout
//! - `ways`: connections by what they are for; `cluster_writes`: those to each master for writes that replicas confirm
//! - `masters`: where the masters of a cluster are

mod cluster_writes;
mod masters;
mod ways;

use super::address::Topology;
use super::call::{Access, Call, Confirmation};
use super::confirmed::Groups;
use super::connection::{LinkSettings, Master, Nodes, Reconnecting};
use super::error::EngineError;
use super::layout::{PARTITIONS, partition_near, slot};
use super::{confirmed, plain};
use cluster_writes::Confirmed;
use futures_util::future::join_all;
use masters::Masters;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, RedisError, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use ways::Ways;

/// How long to wait before a request is sent again, at first and at the most.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// A thread's connections. Not to be shared between threads, since each answer would wake another.
#[derive(Debug)]
pub struct Link {
    kind: Kind,
    confirmation: Option<Confirmation>,
    /// Where the masters of a cluster were, so that what is asked of many goes to each at once.
    masters: RefCell<Option<Rc<Masters>>>,
}

enum Kind {
    Single {
        ways: Ways<Master>,
        confirmed: Option<Rc<Groups>>,
    },
    Cluster {
        ways: Ways<Nodes>,
        confirmed: Option<Box<Confirmed>>,
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
                let confirmed = settings.confirmation.map(|confirmation| {
                    let groups = Groups::new(settings, confirmation, reconnects)?;
                    Ok::<_, RedisError>(Rc::new(groups))
                });
                Kind::Single {
                    ways: Ways::new(reconnects, |_| Master::new(settings))?,
                    confirmed: confirmed.transpose()?,
                }
            }
            Topology::Cluster => {
                let confirmed = settings.confirmation.map(|confirmation| {
                    let confirmed = Confirmed::new(settings, confirmation, reconnects)?;
                    Ok::<_, RedisError>(Box::new(confirmed))
                });
                Kind::Cluster {
                    ways: Ways::new(reconnects, |retries| Nodes::new(settings, retries))?,
                    confirmed: confirmed.transpose()?,
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
            let error = match self.ask_once(access, call, deadline).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.is_outage() && !matches!(error, EngineError::Unreplicated | EngineError::Full)
            {
                self.masters.take();
            }
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
        match (&self.kind, access) {
            (Kind::Cluster { ways, .. }, Access::Read) => {
                self.grouped(&ways.reads, calls, deadline).await
            }
            (Kind::Single { ways, .. }, Access::Read) => {
                let calls: Vec<&Call> = calls.iter().collect();
                plain::pipelined(&ways.reads, &calls, deadline).await
            }
            (Kind::Single { ways, confirmed }, _)
                if access == Access::Write || confirmed.is_none() =>
            {
                let small: Vec<&Call> = calls.iter().filter(|call| !call.is_large).collect();
                let small = plain::pipelined(&ways.writes, &small, deadline).await;
                let mut small = small.into_iter();
                let mut answers = Vec::with_capacity(calls.len());
                for call in calls {
                    answers.push(match call.is_large {
                        true => self.ask_once(access, call, deadline).await,
                        false => small.next().unwrap_or(Err(EngineError::Unanswered)),
                    });
                }
                answers
            }
            _ => {
                let asked = calls
                    .iter()
                    .map(|call| self.ask_once(access, call, deadline));
                join_all(asked).await
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
        match &self.kind {
            Kind::Single { ways, .. } => {
                let master = match access {
                    Access::Read => &ways.reads,
                    Access::Write | Access::ConfirmedWrite => &ways.writes,
                };
                plain::single(master, command, deadline).await
            }
            Kind::Cluster { ways, .. } => {
                let nodes = match access {
                    Access::Read => &ways.reads,
                    Access::Write | Access::ConfirmedWrite => &ways.writes,
                };
                let route = Route::with_key(key, SlotAddr::Master);
                let near = partition_near(key);
                plain::routed(nodes, route, near, command, deadline).await
            }
        }
    }

    /// Asks every master that has some of these partitions, as far as is known. What each answers, and which partitions
    /// it has.
    pub async fn ask_masters(
        &self,
        partitions: Range<usize>,
        command: &Cmd,
        deadline: Instant,
    ) -> Vec<(Vec<usize>, Result<Value, EngineError>)> {
        let mut of_masters: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let masters = match &self.kind {
            Kind::Single { .. } => None,
            Kind::Cluster { ways, .. } => self.masters(&ways.reads, deadline).await,
        };
        match (masters, self.is_single()) {
            (None, true) => {
                of_masters.insert(0, partitions.collect());
            }
            // Whose others are is not known.
            (None, false) => {
                of_masters.insert(0, vec![partitions.start]);
            }
            (Some(masters), _) => {
                for partition in partitions {
                    let master = masters.numbers[partition];
                    of_masters.entry(master).or_default().push(partition);
                }
            }
        }
        let asked = of_masters.into_values().map(|partitions| async move {
            let call = Call::new(partitions[0], command.clone());
            let answer = self.ask_once(Access::Read, &call, deadline).await;
            (partitions, answer)
        });
        join_all(asked).await
    }

    /// The partitions whose master is this one's, as far as is known.
    pub async fn of_same_master(&self, partition: usize, deadline: Instant) -> Vec<usize> {
        let Kind::Cluster { ways, .. } = &self.kind else {
            return (0..PARTITIONS).collect();
        };
        let Some(masters) = self.masters(&ways.reads, deadline).await else {
            return vec![partition];
        };
        let numbers = &masters.numbers;
        let is_same = |other: &usize| numbers[*other] == numbers[partition];
        (0..PARTITIONS).filter(is_same).collect()
    }

    async fn ask_once(
        &self,
        access: Access,
        call: &Call,
        deadline: Instant,
    ) -> Result<Value, EngineError> {
        // All but the smallest are boxed, so that no request pays for the largest.
        if call.is_large && access != Access::Read {
            return Box::pin(self.ask_large(access, call, deadline)).await;
        }
        match (&self.kind, access) {
            (Kind::Single { ways, .. }, Access::Read) => {
                plain::single(&ways.reads, &call.command, deadline).await
            }
            (
                Kind::Single {
                    confirmed: Some(groups),
                    ..
                },
                Access::ConfirmedWrite,
            ) => {
                let asked = timeout_at(deadline, groups.ask(call.clone()));
                Box::pin(asked)
                    .await
                    .unwrap_or(Err(EngineError::Unanswered))
            }
            (Kind::Single { ways, .. }, _) => {
                plain::single(&ways.writes, &call.command, deadline).await
            }
            (
                Kind::Cluster {
                    ways,
                    confirmed: Some(confirmed),
                },
                Access::ConfirmedWrite,
            ) => {
                let asked = async {
                    let masters = self.masters(&ways.reads, deadline).await;
                    let host = masters.map(|masters| masters.host(call.partition));
                    let moved = || drop(self.masters.take());
                    confirmed.ask(call, host, deadline, moved).await
                };
                Box::pin(asked).await
            }
            (Kind::Cluster { ways, .. }, _) => {
                let nodes = match access {
                    Access::Read => &ways.reads,
                    Access::Write | Access::ConfirmedWrite => &ways.writes,
                };
                Box::pin(plain::partition(nodes, call, deadline)).await
            }
        }
    }

    async fn ask_large(
        &self,
        access: Access,
        call: &Call,
        deadline: Instant,
    ) -> Result<Value, EngineError> {
        let confirmation = self
            .confirmation
            .filter(|_| access == Access::ConfirmedWrite);
        match (&self.kind, confirmation) {
            (Kind::Single { ways, .. }, None) => {
                plain::single(&*ways.large(deadline).await?, &call.command, deadline).await
            }
            (Kind::Single { ways, .. }, Some(confirmation)) => {
                let large = ways.large(deadline).await?;
                let calls = std::slice::from_ref(call);
                let mut answers = confirmed::single(&large, calls, confirmation, deadline).await;
                answers.pop().unwrap_or(Err(EngineError::Unanswered))
            }
            (Kind::Cluster { ways, .. }, None) => {
                plain::partition(&*ways.large(deadline).await?, call, deadline).await
            }
            (Kind::Cluster { ways, .. }, Some(confirmation)) => {
                let large = ways.large(deadline).await?;
                confirmed::routed(&large, call, confirmation, deadline).await
            }
        }
    }

    /// Reads of many partitions: a pipeline for each master, and what that does not answer one by
    /// one.
    async fn grouped(
        &self,
        reads: &Reconnecting<Nodes>,
        calls: &[Call],
        deadline: Instant,
    ) -> Vec<Result<Value, EngineError>> {
        let mut answers: Vec<Option<Value>> = vec![None; calls.len()];
        if let Some(masters) = self.masters(reads, deadline).await {
            let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (index, call) in calls.iter().enumerate() {
                groups
                    .entry(masters.numbers[call.partition])
                    .or_default()
                    .push(index);
            }
            let asked = groups.into_values().map(|indices| async move {
                let mut pipeline = Pipeline::with_capacity(indices.len());
                for index in &indices {
                    pipeline.add_command(calls[*index].command.clone());
                }
                let partition = calls[indices[0]].partition;
                let ask = async |mut connection: redis::cluster_async::ClusterConnection| {
                    let to = SingleNodeRoutingInfo::SpecificNode(route(partition));
                    let asked = connection.route_pipeline(pipeline.clone(), 0, indices.len(), to);
                    asked.await
                };
                let values = reads.ask(partition, deadline, ask).await?;
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
                None => self.ask_once(Access::Read, call, deadline).await,
            }
        });
        join_all(asked).await
    }

    /// Where the masters are. `None` where that is not known.
    async fn masters(&self, reads: &Reconnecting<Nodes>, deadline: Instant) -> Option<Rc<Masters>> {
        if let Some(known) = self.masters.borrow().clone() {
            return Some(known);
        }
        let ask = async |mut connection: redis::cluster_async::ClusterConnection| {
            let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            connection.route_command(command, routing).await
        };
        let answer = reads.ask(0, deadline, ask).await.ok()?;
        let masters = Rc::new(Masters::read(&answer, reads.connector().hosts())?);
        if let Kind::Cluster {
            confirmed: Some(confirmed),
            ..
        } = &self.kind
        {
            confirmed.retain(&masters.hosts);
        }
        self.masters.replace(Some(masters.clone()));
        Some(masters)
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
