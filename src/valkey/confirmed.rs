//! Writes that replicas must have before they are acknowledged.
//!
//! `WAIT` follows the write on the same connection, since it asks who has what *this* connection
//! wrote, and holds up all that comes behind it there. Its answer is a number and never an error,
//! so that number is what counts.
//! Source: <https://redis.io/docs/latest/commands/wait/>.

use super::call::{Call, Confirmation};
use super::connection::{Master, Nodes, Reconnecting};
use super::error::EngineError;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo};
use redis::{Cmd, Pipeline, RedisError, Value, cmd};

/// Asks a node's master, and then its replicas.
pub(super) async fn single(
    master: &Reconnecting<Master>,
    command: &Cmd,
    confirmation: Confirmation,
) -> Result<Value, EngineError> {
    let (number, mut connection) = master.get().await?;
    let asked = confirmation.after([command]);
    let answer = connection.send_packed_commands(&asked, 0, 2).await;
    let answer = answer.and_then(|values| confirmation.check_one(values));
    master.checked(number, answer)?
}

/// Asks a node's master for many things, and then its replicas for all of them.
pub(super) async fn pipelined(
    master: &Reconnecting<Master>,
    calls: &[Call],
    confirmation: Confirmation,
) -> Vec<Result<Value, EngineError>> {
    let asked = async {
        let (number, mut connection) = master.get().await?;
        let asked = confirmation.after(calls.iter().map(|call| &call.command));
        let answer = connection.send_packed_commands(&asked, 0, calls.len() + 1);
        master.checked(number, answer.await)
    };
    match asked.await {
        Ok(values) => {
            let answers = confirmation.check(values).into_iter();
            answers
                .map(|answer| answer.unwrap_or_else(|error| Err(EngineError::of(&error))))
                .collect()
        }
        Err(error) => vec![Err(error); calls.len()],
    }
}

/// Asks the master of a slot, and then its replicas. It is followed where it says that another node
/// has the slot: the client does not look for that in a pipeline.
pub(super) async fn routed(
    nodes: &Reconnecting<Nodes>,
    route: Route,
    command: &Cmd,
    confirmation: Confirmation,
) -> Result<Value, EngineError> {
    let (number, mut connection) = nodes.get().await?;
    let to = SingleNodeRoutingInfo::SpecificNode(route);
    let asked = confirmation.after([command]);
    let answer = connection.route_pipeline(asked, 0, 2, to).await;
    let error = match answer.and_then(|values| confirmation.check_one(values)) {
        Ok(answer) => return answer,
        Err(error) => error,
    };
    let Some((host, port)) = redirect(&error) else {
        return nodes.checked(number, Err(error))?;
    };
    let mut asked = Pipeline::with_capacity(3);
    let mut first = 0;
    if error.code() == Some("ASK") {
        asked.cmd("ASKING");
        first = 1;
    } else {
        nodes.unanswered();
    }
    asked.add_command(command.clone());
    asked.add_command(confirmation.command());
    let to = SingleNodeRoutingInfo::ByAddress { host, port };
    let answer = connection.route_pipeline(asked, first, 2, to).await;
    let answer = answer.and_then(|values| confirmation.check_one(values));
    nodes.checked(number, answer)?
}

impl Confirmation {
    /// Commands, and the question who has what they wrote.
    fn after<'a>(&self, commands: impl IntoIterator<Item = &'a Cmd>) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command.clone());
        }
        pipeline.add_command(self.command());
        pipeline
    }

    fn command(&self) -> Cmd {
        let mut wait = cmd("WAIT");
        wait.arg(self.replicas).arg(self.timeout.as_millis() as u64);
        wait
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

/// The node that an answer names instead.
fn redirect(error: &RedisError) -> Option<(String, u16)> {
    let (node, _) = error.redirect_node()?;
    let (host, port) = node.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}
