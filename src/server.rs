//! The server as a value: bound to its address, then run until it is told to stop.
//!
//! # Stopping
//! `SIGTERM` makes the server unready and lets it serve on for the drain period, while it tells
//! clients to reconnect elsewhere. Then, and on `SIGINT` at once, it takes no more connections,
//! waits until every request is answered, and only then lets the workers go, since each takes its
//! shards along. A second signal stops at once.

use crate::clock::Clock;
use crate::config::Config;
use crate::descriptors::Places;
use crate::durable::{Directory, DirectoryError, LogError, Purpose, SystemFiles};
use crate::http::{self, Buffers, ConnectionLimits, Connections, Reception, State, Watchers};
use crate::lifecycle::{Lifecycle, Stage};
use crate::metrics::{Metrics, Refusal};
use crate::model::ContentTypes;
use crate::reload::{self, Source};
use crate::store::{DurableOptions, OpenError, RemoteOptions, Store, StoreOptions};
use crate::valkey::Engine;
use actix_http::error::DispatchError;
use actix_http::{HttpService, Protocol as HttpProtocol};
use actix_server::{GracefulShutdownSignal, ServerHandle};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_service, map_config,
};
use actix_web::dev::AppConfig;
use actix_web::rt::{self, net::TcpStream};
use actix_web_prom::PrometheusMetrics;
use log::{info, warn};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Connections that the system holds until a worker takes them.
const BACKLOG: i32 = 1024;

/// How often the end of a request is looked for while stopping.
const STOP_POLL: Duration = Duration::from_millis(5);

/// How long a client may take to end a connection that we ended.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last words of a stop may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why the server could not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads, signals or random numbers.
    #[error("the system refuses what the server needs: {0}")]
    System(#[from] io::Error),
    /// It ended, though no signal had come.
    #[error("the HTTP server ended ({0}); the process ends with it, start it again")]
    Ended(String),
    /// The engine cannot be used without a change of the configuration.
    #[error("the engine at {address} cannot be used: {source}")]
    Engine {
        /// Where it is.
        address: String,
        /// Why not.
        source: OpenError,
    },
    /// The data directory cannot be used as it is.
    #[error("the data directory is not used: {0}")]
    Directory(#[from] DirectoryError),
    /// What is in the data directory is not what was acknowledged.
    #[error("the data is not served: {0}")]
    Data(OpenError),
    /// The log of the data directory cannot be begun.
    #[error("the data is not served: {0}")]
    Log(Arc<LogError>),
    /// The metrics do not fit together.
    #[error("the metrics do not fit together: {0}")]
    Metrics(String),
}

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

/// Listens at an address. That which stands for all of IPv6 stands for all of IPv4 too, also where the
/// machine has no IPv6.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let is_all = address.ip() == Ipv6Addr::UNSPECIFIED;
    match listen_at(address) {
        Err(error) if is_all && lacks_ipv6(&error) => {
            listen_at((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        listening => listening,
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let lacks = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    lacks
        .iter()
        .any(|lack| error.raw_os_error() == Some(lack.raw_os_error()))
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        // Whatever net.ipv6.bindv6only says.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What serves the connections of a worker: the framework's HTTP over our streams. As
/// `actix_web::HttpServer` would, which takes sockets only.
fn connections(
    state: Arc<State>,
    metrics: PrometheusMetrics,
    limits: ConnectionLimits,
    (keep_alive, head_timeout): (Duration, Duration),
    stopping: GracefulShutdownSignal,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
{
    let refusals = state.metrics.clone();
    let reception = Rc::new(Reception {
        limits,
        buffers: state.buffers.clone(),
        metrics: state.metrics.clone(),
        tls: state.tls.clone(),
        stopping: stopping.clone(),
    });
    let app = http::app(state, metrics).into_factory();
    let app = app.map_err(|error: actix_web::Error| error.error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        })
        .keep_alive(keep_alive)
        .client_request_timeout(head_timeout)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .on_connect_ext(http::on_connect)
        .finish(map_config(app, |()| AppConfig::default()))
        .map_err(move |error| {
            if matches!(error, DispatchError::Parse(_)) {
                refusals.refused(Refusal::Head);
            }
            error
        });
    fn_service(move |socket: TcpStream| {
        let reception = reception.clone();
        async move {
            let peer = socket.peer_addr().ok();
            let stream = reception.receive(socket).await;
            let stream = stream.map_err(DispatchError::Io)?;
            Ok::<_, DispatchError>((stream, HttpProtocol::Http1, peer))
        }
    })
    .and_then(http)
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

/// What handlers work with, by a configuration. The store has no shards yet.
///
/// # Errors
/// Where the system gives no threads or random numbers.
pub fn state(config: &Config, lifecycle: Arc<Lifecycle>) -> Result<State, ServerError> {
    let random = || getrandom::u64().map_err(io::Error::other);
    let metrics = Metrics::new().map_err(|error| ServerError::Metrics(error.to_string()))?;
    let remote = match &config.engine {
        None => None,
        Some(engine) => {
            let observer = metrics.engine();
            let observer = observer.map_err(|error| ServerError::Metrics(error.to_string()))?;
            let link = engine.link.clone();
            let opened = Engine::new(link, &engine.namespace, observer);
            Some(RemoteOptions {
                engine: Arc::new(opened.map_err(io::Error::other)?),
                scrub_interval: engine.scrub_interval,
                unready_after: engine.unready_after,
                logging: engine.logging,
            })
        }
    };
    let durable = match &config.data {
        None => None,
        Some(data) => Some(DurableOptions {
            directory: Arc::new(Directory::open(
                Arc::new(SystemFiles),
                &data.directory,
                Purpose::Serve {
                    shards: u32::try_from(config.shards).unwrap_or(u32::MAX),
                    asked: config.shards_asked,
                },
            )?),
            sync: data.sync,
            observer: metrics
                .data()
                .map_err(|error| ServerError::Metrics(error.to_string()))?,
            log_bytes_max: data.log_bytes_max,
            changes_log_bytes: data.changes_log_bytes,
        }),
    };
    let clock = match remote {
        None => Clock::running(),
        Some(_) => Clock::wall(),
    };
    let options = StoreOptions {
        shards: config.shards,
        messages_in_flight_max: config.messages_in_flight_max,
        store_bytes_max: config.store_bytes_max,
        changes_bytes_max: config.changes_bytes_max,
        request_timeout: config.request_timeout,
        hash_key: [random()?, random()?],
        remote,
        durable,
        clock,
    };
    Ok(State {
        store: Store::new(options, lifecycle.clone())?,
        limits: config.limits.clone(),
        auth: config.auth.clone(),
        tls: config.tls.clone(),
        buffers: Buffers::new(config.limits.buffers_bytes_max, config.limits.body_timeout),
        content_types: ContentTypes::default(),
        metrics,
        watchers: Watchers::new(config.watchers_max),
        lifecycle,
        access_log: config.access_log,
        slow_ms: config.slow_request.map(|limit| limit.as_millis() as u64),
    })
}

/// Begins to look over the connections of this worker.
fn watch_connections(limits: &ConnectionLimits, metrics: &Metrics) {
    rt::spawn(Connections::watch(limits.clone(), metrics.clone()));
}

/// How a stop came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// All requests were answered, and the workers have ended.
    Whole,
    /// Time was up before.
    CutOff,
}

/// Goes through the stages of a stop, once a signal has come: the drain, and then all within one
/// shutdown timeout.
async fn stop_on_signal(
    mut signals: Signals,
    config: &Config,
    state: &State,
    server: ServerHandle,
) -> Stopped {
    let first = signals.next().await;
    let lifecycle = &state.lifecycle;
    lifecycle.advance(Stage::Draining);
    let drain = match first {
        Stop::Terminate => config.drain,
        Stop::Interrupt => Duration::ZERO,
    };
    info!(
        "stopping: unready from now on, serving for {} ms",
        drain.as_millis()
    );
    rt::spawn(async move {
        let second = signals.next().await;
        warn!("a second signal: stopping at once");
        std::process::exit(second.exit_code());
    });
    rt::time::sleep(drain).await;
    server.pause().await;
    let deadline = Instant::now() + config.shutdown_timeout;
    while lifecycle.in_flight() > 0 && Instant::now() < deadline {
        rt::time::sleep(STOP_POLL).await;
    }
    let cut_off = lifecycle.in_flight();
    if cut_off > 0 {
        warn!(
            "{cut_off} requests are cut off after {} ms (setting shutdown_timeout_ms)",
            config.shutdown_timeout.as_millis()
        );
    }
    let lost = what_is_lost(state, config).await;
    state.store.close(deadline).await;
    lifecycle.advance(Stage::Stopping);
    let is_whole = cut_off == 0;
    let left = if is_whole {
        deadline.saturating_duration_since(Instant::now())
    } else {
        LAST_WORDS
    };
    let ended = tokio::time::timeout(left.max(LAST_WORDS), server.stop(is_whole)).await;
    info!("stopped; {lost}");
    match ended {
        Ok(()) => Stopped::Whole,
        Err(_) => Stopped::CutOff,
    }
}

/// What becomes of the data at the end.
async fn what_is_lost(state: &State, config: &Config) -> String {
    if let Some(engine) = &config.engine {
        return format!("the data stays in the engine at {}", engine.link.address);
    }
    if let Some(data) = &config.data {
        return format!("the data is kept in {}", data.directory.display());
    }
    match state.store.stats(LAST_WORDS).await {
        Ok(stats) => format!(
            "the {} keys that were in its memory are gone",
            stats.counted.keys
        ),
        Err(_) => "the keys that were in its memory are gone".into(),
    }
}

/// The signals that stop the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Terminate,
    Interrupt,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::Terminate,
            _ = self.interrupt.recv() => Stop::Interrupt,
        }
    }
}

impl Stop {
    /// What a shell reports of a process that the signal ended.
    fn exit_code(self) -> i32 {
        match self {
            Self::Terminate => 128 + SignalKind::terminate().as_raw_value(),
            Self::Interrupt => 128 + SignalKind::interrupt().as_raw_value(),
        }
    }
}
