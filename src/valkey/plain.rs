//! Requests that the master alone answers.

use super::call::Call;
use super::connection::{Master, Nodes, Reconnecting};
use super::error::EngineError;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, Pipeline, Value};

/// Asks a node's master.
pub(super) async fn single(
    master: &Reconnecting<Master>,
    command: &Cmd,
) -> Result<Value, EngineError> {
    let (number, mut connection) = master.get().await?;
    let answer = connection.send_packed_command(command).await;
    let answer = answer.and_then(Value::extract_error);
    master.checked(number, answer)
}

/// Asks a node's master for many things.
pub(super) async fn pipelined(
    master: &Reconnecting<Master>,
    calls: &[Call],
) -> Vec<Result<Value, EngineError>> {
    let asked = async {
        let (number, mut connection) = master.get().await?;
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.command.clone());
        }
        let asked = connection.send_packed_commands(&pipeline, 0, calls.len());
        master.checked(number, asked.await)
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

/// Asks the master of a slot.
pub(super) async fn routed(
    nodes: &Reconnecting<Nodes>,
    route: Route,
    command: &Cmd,
) -> Result<Value, EngineError> {
    let (number, mut connection) = nodes.get().await?;
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
        return nodes.checked(number, answer);
    }
    nodes.checked(number, Err(error))
}
