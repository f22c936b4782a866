//! Why no connection is made, where the client's error does not tell: each address is asked as if it
//! were one node.

use super::EngineError;
use super::address::Topology;
use super::connection::LinkSettings;
use redis::{AsyncConnectionConfig, Client, RedisError, cmd};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What is asked, and how.
#[derive(Debug)]
pub(super) struct Diagnosis {
    clients: Vec<Client>,
    hosts: Vec<String>,
    endpoints: Vec<(String, u16)>,
    is_cluster: bool,
    is_tls: bool,
    patience: Duration,
    config: Config,
}

/// As the client's, which shows nothing of itself.
struct Config(AsyncConnectionConfig);

impl Diagnosis {
    pub(super) fn new(
        settings: &LinkSettings,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let address = &settings.address;
        let clients = match address.topology() {
            // Sentinels are no nodes.
            Topology::Sentinel(_) => Vec::new(),
            Topology::Node | Topology::Cluster => clients(settings)?,
        };
        let endpoints = address.hosts().to_vec();
        let mut hosts: Vec<String> = endpoints.iter().map(|(host, _)| host.clone()).collect();
        hosts.dedup();
        Ok(Self {
            clients,
            hosts,
            endpoints,
            is_cluster: *address.topology() == Topology::Cluster,
            is_tls: address.is_tls(),
            patience: settings.connect_timeout,
            config: Config(config),
        })
    }

    /// The hosts that the setting names.
    pub(super) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// What is known of the reason, or more than that.
    pub(super) async fn why(&self, known: EngineError) -> EngineError {
        let says_little = |error| {
            matches!(
                error,
                EngineError::Unreachable | EngineError::HungUp | EngineError::Other
            )
        };
        if !says_little(known) {
            return known;
        }
        let mut said = None;
        if self.is_cluster {
            for client in &self.clients {
                match self.ask(client).await {
                    Err(error) if !says_little(error) => return error,
                    Err(error) => {
                        said.get_or_insert(error);
                    }
                    Ok(()) => {}
                }
            }
        }
        if self.is_tls {
            for endpoint in &self.endpoints {
                if let Ok(Some(true)) = timeout(self.patience, speaks_plainly(endpoint)).await {
                    return EngineError::NotTls;
                }
            }
        }
        said.unwrap_or(known)
    }

    /// Whether a node can be connected to, and is one of a cluster.
    async fn ask(&self, client: &Client) -> Result<(), EngineError> {
        let connected = client.get_multiplexed_async_connection_with_config(&self.config.0);
        let mut connection = connected
            .await
            .map_err(|error| EngineError::of_connecting(&error))?;
        let asked = connection
            .send_packed_command(cmd("CLUSTER").arg("SLOTS"))
            .await;
        let answer = asked.and_then(redis::Value::extract_error);
        answer.map(drop).map_err(|error| EngineError::of(&error))
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Config")
    }
}

/// A client for each node that the setting names.
pub(super) fn clients(settings: &LinkSettings) -> Result<Vec<Client>, RedisError> {
    let client = |connection| match &settings.certificate {
        Some(certificate) => Client::build_with_tls(connection, certificate.for_client()),
        None => Client::open(connection),
    };
    let connections = settings.address.connections()?.into_iter();
    connections.map(client).collect()
}

/// Whether a port answers the engine's protocol without TLS; `None` where it says nothing.
async fn speaks_plainly((host, port): &(String, u16)) -> Option<bool> {
    let mut stream = TcpStream::connect((host.as_str(), *port)).await.ok()?;
    stream.write_all(b"PING\r\n").await.ok()?;
    let mut first = [0];
    let read = stream.read(&mut first).await.ok()?;
    Some(read == 1 && matches!(first[0], b'+' | b'-'))
}
