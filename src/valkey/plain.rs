//! Requests that the master alone answers.

use super::call::Call;
use super::connection::{Master, Nodes, Reconnecting};
use super::error::EngineError;
use super::layout::slot;
use super::redirect::Redirect;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;

/// Asks a node's master.
pub(super) async fn single(
    master: &Reconnecting<Master>,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, EngineError> {
    let ask = async |mut connection: redis::aio::MultiplexedConnection| {
        let answer = connection.send_packed_command(command).await;
        answer.and_then(Value::extract_error)
    };
    master.ask(0, deadline, ask).await
}

/// Asks a node's master for many things.
pub(super) async fn pipelined(
    master: &Reconnecting<Master>,
    calls: &[&Call],
    deadline: Instant,
) -> Vec<Result<Value, EngineError>> {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    for call in calls {
        pipeline.add_command(call.command.clone());
    }
    let ask = async |mut connection: redis::aio::MultiplexedConnection| {
        let asked = connection.send_packed_commands(&pipeline, 0, calls.len());
        asked.await.inspect(|answers| master.heed(answers))
    };
    match master.ask(0, deadline, ask).await {
        Ok(values) => values.into_iter().map(of_node).collect(),
        Err(error) => vec![Err(error); calls.len()],
    }
}

/// An answer of a pipeline to one node, or what it says went wrong.
fn of_node(value: Value) -> Result<Value, EngineError> {
    let value = value.extract_error();
    value.map_err(|error| EngineError::of_node(&error))
}

/// Asks the master of a partition.
pub(super) async fn partition(
    nodes: &Reconnecting<Nodes>,
    call: &Call,
    deadline: Instant,
) -> Result<Value, EngineError> {
    let route = Route::new(slot(call.partition), SlotAddr::Master);
    routed(nodes, route, call.partition, &call.command, deadline).await
}

/// Asks the master of a slot, of which a partition's is near.
pub(super) async fn routed(
    nodes: &Reconnecting<Nodes>,
    route: Route,
    partition: usize,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, EngineError> {
    let ask = async |mut connection: redis::cluster_async::ClusterConnection| {
        let to = SingleNodeRoutingInfo::SpecificNode(route);
        let routing = RoutingInfo::SingleNode(to);
        let answer = connection.route_command(command.clone(), routing).await;
        let answer = answer.map_err(|error| nodes.sent(error));
        let error = match answer.and_then(Value::extract_error) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // The slot is on its way and its new master has the keys: it answers if it is told that we
        // were sent.
        let Some(redirect) = Redirect::of(&error).filter(|redirect| redirect.is_ask) else {
            return Err(error);
        };
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command.clone());
        let hosts = nodes.connector().hosts();
        let followed = redirect.follow(&mut connection, hosts, &commands, 1).await;
        match followed?.pop() {
            Some(value) => value.extract_error(),
            None => Err(error),
        }
    };
    nodes.ask(partition, deadline, ask).await
}
