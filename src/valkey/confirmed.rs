//! Writes that replicas must have before they are acknowledged.
//!
//! `WAIT` follows the writes on the same connection, since it asks who has what *this* connection
//! wrote, and holds up all that comes behind it there. So what comes while one is under way gathers, and
//! goes out together, with one `WAIT` behind it (group commit). Its answer is a number and never an error,
//! so that number is what counts.
//! Source: <https://redis.io/docs/latest/commands/wait/>.
//!
//! A cluster's client answers a pipeline as a whole where one of its commands is sent elsewhere, so that
//! nobody knows which of the others ran. So groups have connections of their own to each master, and the
//! cluster's client takes what such a master does not have any more, one by one.

use super::call::{Call, Confirmation};
use super::connection::{Care, LinkSettings, Master, Nodes, Reconnecting};
use super::error::EngineError;
use super::layout::slot;
use super::redirect::Redirect;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, RedisError, Value, cmd};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How many writes go out together.
const TOGETHER_MAX: usize = 1024;

/// Writes to a master that gather while others are confirmed.
pub(super) struct Groups {
    master: Reconnecting<Master>,
    confirmation: Confirmation,
    /// How long a group may take.
    patience: Duration,
    waiting: RefCell<VecDeque<Waiting>>,
    is_sending: Cell<bool>,
}

type Waiting = (Call, oneshot::Sender<Result<Value, EngineError>>);

impl Groups {
    /// Groups for the master that the settings' address names.
    ///
    /// # Errors
    /// Where the client takes the address for none.
    pub(super) fn new(
        settings: &LinkSettings,
        confirmation: Confirmation,
        reconnects: &Arc<AtomicU64>,
    ) -> Result<Self, RedisError> {
        Ok(Self {
            master: Reconnecting::new(Master::new(settings)?, Care::Writes, reconnects),
            confirmation,
            patience: settings.connect_timeout + settings.response_timeout,
            waiting: RefCell::default(),
            is_sending: Cell::new(false),
        })
    }

    /// Makes a write with the next group. One whose future is dropped before is not made.
    pub(super) async fn ask(self: &Rc<Self>, call: Call) -> Result<Value, EngineError> {
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().push_back((call, sender));
        if !self.is_sending.replace(true) {
            // A task of its own: who asked may go away, and others wait.
            tokio::task::spawn_local(self.clone().send_groups());
        }
        answer.await.unwrap_or(Err(EngineError::Unanswered))
    }

    /// Sends groups until nothing waits.
    async fn send_groups(self: Rc<Self>) {
        let _ended = Ended(&self);
        loop {
            let (calls, senders): (Vec<_>, Vec<_>) = {
                let mut waiting = self.waiting.borrow_mut();
                waiting.retain(|(_, sender)| !sender.is_closed());
                let count = waiting.len().min(TOGETHER_MAX);
                waiting.drain(..count).unzip()
            };
            if calls.is_empty() {
                return;
            }
            let deadline = Instant::now() + self.patience;
            let asked = single(&self.master, &calls, self.confirmation, deadline);
            for (sender, answer) in senders.into_iter().zip(asked.await) {
                // Whoever asked may have gone away.
                let _ = sender.send(answer);
            }
        }
    }
}

/// Nothing is under way any more, however that has ended. What waits then hears nothing.
struct Ended<'a>(&'a Groups);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().clear();
        self.0.is_sending.set(false);
    }
}

/// Asks a node's master for some things, and then its replicas for all of them.
pub(super) async fn single(
    master: &Reconnecting<Master>,
    calls: &[Call],
    confirmation: Confirmation,
    deadline: Instant,
) -> Vec<Result<Value, EngineError>> {
    let commands = confirmation.after(calls.iter().map(|call| &call.command));
    let ask = async |mut connection: redis::aio::MultiplexedConnection| {
        let asked = connection.send_packed_commands(&commands, 0, calls.len() + 1);
        asked.await.inspect(|answers| master.heed(answers))
    };
    match master.ask(0, deadline, ask).await {
        Ok(values) => {
            let answers = confirmation.check(values).into_iter();
            answers
                .map(|answer| answer.unwrap_or_else(|error| Err(EngineError::of(&error))))
                .collect()
        }
        Err(error) => vec![Err(error); calls.len()],
    }
}

/// Asks the master of a partition for one thing, and then its replicas. It is followed where it says that
/// another node has the slot: the client does not do that for a pipeline.
pub(super) async fn routed(
    nodes: &Reconnecting<Nodes>,
    call: &Call,
    confirmation: Confirmation,
    deadline: Instant,
) -> Result<Value, EngineError> {
    let commands = confirmation.after([&call.command]);
    let route = Route::new(slot(call.partition), SlotAddr::Master);
    let ask = async |mut connection: ClusterConnection| {
        let to = SingleNodeRoutingInfo::SpecificNode(route);
        let asked = connection.route_pipeline(commands.clone(), 0, 2, to).await;
        let asked = asked.map_err(|error| nodes.sent(error));
        let error = match asked.and_then(|values| confirmation.check_one(values)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let Some(redirect) = Redirect::of(&error) else {
            return Err(error);
        };
        if !redirect.is_ask {
            nodes.moved();
        }
        let hosts = nodes.connector().hosts();
        let values = redirect.follow(&mut connection, hosts, &commands, 2).await;
        values.and_then(|values| confirmation.check_one(values))
    };
    nodes.ask(call.partition, deadline, ask).await?
}

impl Confirmation {
    /// Commands, and the question who has what they wrote.
    fn after<'a>(&self, commands: impl IntoIterator<Item = &'a Cmd>) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let mut wait = cmd("WAIT");
        wait.arg(self.replicas).arg(self.timeout.as_millis() as u64);
        pipeline.add_command(wait);
        pipeline
    }

    /// As [`Self::check`], of one command.
    fn check_one(&self, values: Vec<Value>) -> Result<Result<Value, EngineError>, RedisError> {
        let answer = self.check(values).pop();
        answer.unwrap_or(Ok(Err(EngineError::Unanswered)))
    }

    /// The answers to commands by the last of them, which is to the question: what was done is
    /// unreplicated where too few have it.
    fn check(&self, mut values: Vec<Value>) -> Vec<Result<Result<Value, EngineError>, RedisError>> {
        let have = values.pop();
        let is_confirmed = matches!(have, Some(Value::Int(have)) if have >= self.replicas as i64);
        let answer = |value: Value| {
            let value = value.extract_error()?;
            Ok(match is_confirmed {
                true => Ok(value),
                false => Err(EngineError::Unreplicated),
            })
        };
        values.into_iter().map(answer).collect()
    }
}
