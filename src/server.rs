//! The server as a value: bound to its address, then run until it is told to stop.
//!
//! # Layout
//! - `listen`: the socket that it listens on; `connections`: what serves those who connect
//! - `state`: what handlers work with, by the configuration
//! - `stop`: how it stops, and what becomes of requests and data then
//! - `error`: why it could not start or did not end well

mod connections;
mod error;
mod listen;
mod state;
mod stop;

pub use error::ServerError;
pub use state::state;

use crate::config::Config;
use crate::descriptors::Places;
use crate::http::{ConnectionLimits, State};
use crate::lifecycle::{Lifecycle, Stage};
use crate::reload::{self, Source};
use crate::store::OpenError;
use actix_web::rt;
use connections::{connections, watch_connections};
use listen::listen;
use log::{info, warn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use stop::{Signals, Stopped, stop_on_signal};
use tokio::signal::unix::{SignalKind, signal};

/// A server that is bound to its address and does not serve yet.
#[derive(Debug)]
pub struct Server {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds to the configured address; port 0 picks a free one.
    ///
    /// # Errors
    /// Where the address is taken or not this machine's.
    pub fn bind(config: Config) -> Result<Self, ServerError> {
        let bind_error = |source| ServerError::Bind {
            address: config.listen,
            source,
        };
        let listener = listen(config.listen).map_err(bind_error)?;
        let address = listener.local_addr()?;
        Ok(Self {
            config,
            listener,
            address,
        })
    }

    /// The address that the server is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until a signal stops it.
    ///
    /// # Errors
    /// Where the system gives no threads or signals.
    pub async fn run_until_stopped(self) -> Result<(), ServerError> {
        let lifecycle = Arc::new(Lifecycle::default());
        let result = self.run(lifecycle.clone()).await;
        // Whatever ended the server, its shards end with it now.
        lifecycle.advance(Stage::Stopping);
        result
    }

    async fn run(self, lifecycle: Arc<Lifecycle>) -> Result<(), ServerError> {
        let signals = Signals::new()?;
        let config = self.config;
        watch_files(&config)?;
        let state = Arc::new(state(&config, lifecycle.clone())?);
        let metrics = state.metrics.middleware();
        let metrics = metrics.map_err(|error| ServerError::Metrics(error.to_string()))?;
        let places = Places::find(&config);
        let limits = ConnectionLimits {
            idle: config.keep_alive + config.head_timeout,
            handshake: config.head_timeout,
            write: config.write_timeout,
            open_max: places.open_max,
            spare_max: places.spare_max,
        };
        let workers = config.workers;
        let builder = actix_server::Server::build()
            .workers(workers)
            .max_concurrent_connections(limits.open_max.div_ceil(workers) + limits.spare_max)
            .shutdown_timeout(config.shutdown_timeout.as_secs().max(1))
            .disable_signals();
        let stopping = builder.graceful_shutdown_signal();
        let timeouts = (config.keep_alive, config.head_timeout);
        let factory_state = state.clone();
        let factory = move || {
            let state = factory_state.clone();
            state.store.host(workers);
            watch_connections(&limits, &state.metrics);
            connections(
                state,
                metrics.clone(),
                limits.clone(),
                timeouts,
                stopping.clone(),
            )
        };
        let server = builder.listen("http", self.listener, factory)?.run();
        let handle = server.handle();
        let mut running = rt::spawn(server);
        info!(
            "kvstore {} listens on {}",
            env!("CARGO_PKG_VERSION"),
            self.address
        );
        info!("{}", what_is_served(&config, &state));
        say_who_may(&config, self.address);
        let opened = open(&state, &config);
        let stopped = tokio::select! {
            biased;
            stopped = stop_on_signal(signals, &config, &state, handle.clone()) => stopped,
            refused = opened => {
                lifecycle.advance(Stage::Stopping);
                handle.stop(false).await;
                return Err(refused);
            }
            ended = &mut running => {
                lifecycle.advance(Stage::Stopping);
                return Err(ServerError::Ended(match ended {
                    Ok(Ok(())) => "nobody told it to".into(),
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                }));
            }
        };
        if stopped == Stopped::CutOff {
            return Ok(());
        }
        match running.await {
            Ok(result) => Ok(result?),
            Err(error) => Err(io::Error::other(error).into()),
        }
    }
}

/// Where the data is and whether it outlives the process, and what it is served with.
fn what_is_served(config: &Config, state: &State) -> String {
    let kept = match (&config.engine, &config.data) {
        (None, None) => {
            "the data is in this process' memory and is gone when it ends (setting data_dir)".into()
        }
        (None, Some(data)) => format!(
            "the data is kept in {} and outlives this process",
            data.directory.display()
        ),
        (Some(engine), _) => format!(
            "the data is in the engine at {}, which outlives this process, in the namespace {}",
            engine.link.address, engine.namespace
        ),
    };
    format!(
        "{kept}; {} workers, {} shards, up to {} MiB",
        config.workers,
        state.store.shards(),
        config.store_bytes_max >> 20
    )
}

/// Says who may do what, where that is not as one may think.
fn say_who_may(config: &Config, address: SocketAddr) {
    match &config.tls {
        Some(tls) => info!("TLS is spoken, and nothing else: {}", tls.says()),
        None if config.auth.is_some() && !address.ip().is_loopback() => warn!(
            "tokens come without TLS (settings tls_certificate and tls_key): where no proxy before this server \
             speaks it, whoever reads the network reads them"
        ),
        None => {}
    }
    match &config.auth {
        Some(auth) => info!(
            "requests but those for health take one of {} tokens (setting auth_file)",
            auth.file.tokens().count()
        ),
        None if address.ip().is_loopback() => {}
        None => warn!(
            "whoever reaches {address} may read, change and delete everything: there are no tokens \
             (setting auth_file)"
        ),
    }
}

/// Begins to take files anew when they change, where there are such.
///
/// # Errors
/// Where the system gives no signals.
fn watch_files(config: &Config) -> io::Result<()> {
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    if let Some(auth) = &config.auth {
        sources.push(auth.file.clone());
    }
    if let Some(tls) = &config.tls {
        sources.push(tls.clone());
    }
    if !sources.is_empty() {
        // Without it a process ends with its terminal, as any does.
        let hangups = signal(SignalKind::hangup())?;
        rt::spawn(reload::watch(sources, hangups));
    }
    Ok(())
}

/// Opens the store. Comes to an end only where that cannot be done.
async fn open(state: &State, config: &Config) -> ServerError {
    match (state.store.open().await, &config.engine) {
        (Err(source), Some(engine)) => ServerError::Engine {
            address: engine.link.address.to_string(),
            source,
        },
        (Err(OpenError::Log(error)), None) => ServerError::Log(error),
        (Err(error), None) => ServerError::Data(error),
        (Ok(()), _) => std::future::pending().await,
    }
}
