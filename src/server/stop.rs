//! How the server stops.
//!
//! `SIGTERM` makes the server unready and lets it serve on for the drain period, while it tells
//! clients to reconnect elsewhere. Then, and on `SIGINT` at once, it takes no more connections,
//! waits until every request is answered, and only then lets the workers go, since each takes its
//! shards along. A second signal stops at once.

use crate::config::Config;
use crate::http::State;
use crate::lifecycle::Stage;
use actix_server::ServerHandle;
use actix_web::rt;
use log::{info, warn};
use std::io;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the end of a request is looked for while stopping.
const STOP_POLL: Duration = Duration::from_millis(5);

/// How long the last words of a stop may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How a stop came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// All requests were answered, and the workers have ended.
    Whole,
    /// Time was up before.
    CutOff,
}

/// Goes through the stages of a stop, once a signal has come: the drain, and then all within one
/// shutdown timeout.
pub(super) async fn stop_on_signal(
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
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Terminate,
    Interrupt,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
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
