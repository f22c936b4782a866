//! Answers that name another node of a cluster. The client follows one that a single command has, unless
//! the slot is under way (`ASK`), and none of a pipeline.

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{ErrorKind, Pipeline, RedisError, Value};

/// The node that has a slot instead.
pub(super) struct Redirect {
    /// Whether it has it only for those who say that they were sent.
    pub(super) is_ask: bool,
    /// `None` where that is the host that we know the one by who answered
    /// (`cluster-preferred-endpoint-type unknown-endpoint`).
    host: Option<String>,
    port: u16,
}

impl Redirect {
    /// The node that an answer names, if it names one.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        let (node, _) = error.redirect_node()?;
        let (host, port) = node.rsplit_once(':')?;
        Some(Self {
            is_ask: error.code() == Some("ASK"),
            host: Some(host.to_owned()).filter(|host| !host.is_empty() && host != "?"),
            port: port.parse().ok()?,
        })
    }

    /// Asks that node for some commands; `known` are the hosts that the setting names.
    pub(super) async fn follow(
        self,
        connection: &mut ClusterConnection,
        known: &[String],
        commands: &Pipeline,
        answers: usize,
    ) -> Result<Vec<Value>, RedisError> {
        let mut asked = Pipeline::with_capacity(answers + 1);
        if self.is_ask {
            asked.cmd("ASKING");
        }
        for command in commands.cmd_iter() {
            asked.add_command(command.clone());
        }
        let first = usize::from(self.is_ask);
        let mut hosts = match self.host {
            Some(host) => vec![host],
            None => known.to_vec(),
        };
        let last = hosts.pop().unwrap_or_default();
        for host in hosts {
            let to = by_address(host, self.port);
            match connection
                .route_pipeline(asked.clone(), first, answers, to)
                .await
            {
                Err(error) if error.kind() == ErrorKind::ClusterConnectionNotFound => {}
                answer => return answer,
            }
        }
        let to = by_address(last, self.port);
        connection.route_pipeline(asked, first, answers, to).await
    }
}

fn by_address(host: String, port: u16) -> SingleNodeRoutingInfo {
    SingleNodeRoutingInfo::ByAddress { host, port }
}
