//! What handlers work with, made of a configuration.

use super::error::ServerError;
use crate::clock::Clock;
use crate::config::Config;
use crate::durable::{Directory, Purpose, SystemFiles};
use crate::http::{Buffers, State, Watchers};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::model::ContentTypes;
use crate::store::{DurableOptions, RemoteOptions, Store, StoreOptions};
use crate::valkey::Engine;
use std::io;
use std::sync::Arc;

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
