//! What is measured, beside what the metrics middleware counts of each request.
//!
//! A metric is a row of the table of its subject, with its help and where its value is at a scrape; what
//! happens between scrapes is counted as it does.

mod data;
mod engine;
mod http;
mod store;
mod table;

pub use http::{Cut, Denial, Refusal, ServerStats};

use crate::store::{StoreStats, SyncObserver};
use crate::valkey::Observer;
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use data::DataMetrics;
use engine::EngineMetrics;
use http::{SERVER, ServerEvents};
use prometheus::core::Collector;
use prometheus::{Encoder, Error, Gauge, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use store::STORE;
use table::Table;

/// The prefix of all names.
const NAMESPACE: &str = "kvstore";

/// The label of requests whose path no route takes.
const UNMATCHED: &str = "unmatched";

/// The upper bounds of the latency histogram, in seconds.
const BUCKETS_S: [f64; 9] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.01, 0.05, 0.25, 1.0,
];

/// The server's own metrics and the registry of all. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    store: Arc<Table<StoreStats>>,
    server: Arc<Table<ServerStats>>,
    events: ServerEvents,
    engine: Arc<OnceLock<Arc<EngineMetrics>>>,
    data: Arc<OnceLock<Arc<DataMetrics>>>,
    /// Held for a scrape, so that two at once do not add the same difference twice.
    scraping: Arc<Mutex<()>>,
}

impl Metrics {
    /// The metrics, registered in a registry of their own.
    ///
    /// # Errors
    /// Where a name is not one or is there twice.
    pub fn new() -> Result<Self, Error> {
        let registry = Registry::new();
        let info = options("build_info", "Always 1; the label says what runs");
        let info = info.const_label("version", env!("CARGO_PKG_VERSION"));
        registered(&registry, IntGauge::with_opts(info))?.set(1);
        let start = options(
            "start_time_seconds",
            "When the process started, in seconds since 1970",
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        registered(&registry, Gauge::with_opts(start))?.set(now.unwrap_or_default().as_secs_f64());
        Ok(Self {
            store: Arc::new(Table::register(&registry, STORE)?),
            server: Arc::new(Table::register(&registry, SERVER)?),
            events: ServerEvents::new(&registry)?,
            engine: Arc::default(),
            data: Arc::default(),
            scraping: Arc::default(),
            registry,
        })
    }

    /// Begins to measure an engine outside of this process.
    ///
    /// # Errors
    /// Where that was begun before, since its names are then taken.
    pub fn engine(&self) -> Result<Arc<dyn Observer>, Error> {
        let metrics = Arc::new(EngineMetrics::new(&self.registry)?);
        self.engine.get_or_init(|| metrics.clone());
        Ok(metrics)
    }

    /// Begins to measure a data directory.
    ///
    /// # Errors
    /// Where that was begun before, since its names are then taken.
    pub fn data(&self) -> Result<Arc<dyn SyncObserver>, Error> {
        let metrics = Arc::new(DataMetrics::new(&self.registry)?);
        self.data.get_or_init(|| metrics.clone());
        Ok(metrics)
    }

    /// The middleware that counts and times each request, by endpoint, method and status.
    ///
    /// # Errors
    /// Where it was made before, since its names are then taken.
    pub fn middleware(
        &self,
    ) -> Result<PrometheusMetrics, Box<dyn std::error::Error + Send + Sync>> {
        PrometheusMetricsBuilder::new(NAMESPACE)
            .registry(self.registry.clone())
            .buckets(&BUCKETS_S)
            .mask_unmatched_patterns(UNMATCHED)
            .build()
    }

    /// Everything in Prometheus' text format, with what the store says of itself now.
    pub fn scrape(&self, stats: &StoreStats, server: &ServerStats) -> String {
        let _one_at_a_time = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        self.store.set(stats);
        self.server.set(server);
        if let (Some(engine), Some(replica)) = (self.engine.get(), &stats.replica) {
            engine.set(replica);
        }
        if let (Some(metrics), Some(data)) = (self.data.get(), &stats.data) {
            metrics.set(data);
        }
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("memory does not fail to be written");
        String::from_utf8(text).expect("the text format is UTF-8")
    }

    /// The gauge of open connections.
    pub fn connections(&self) -> IntGauge {
        self.events.connections.clone()
    }

    /// Counts a connection that was cut.
    pub fn connection_cut(&self, cut: Cut) {
        self.events.cut(cut);
    }

    /// Counts changes whose condition did not hold.
    pub fn unmet(&self, changes: u64) {
        self.events.conditions_unmet.inc_by(changes);
    }

    /// Counts a request that was denied.
    pub fn denied(&self, denial: Denial) {
        self.events.denied(denial);
    }

    /// Counts a request that was refused before routing.
    pub fn refused(&self, refusal: Refusal) {
        self.events.refused(refusal);
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

/// A metric that is in the registry too.
fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, Error>,
) -> Result<M, Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, Error> {
    registered(registry, IntGauge::with_opts(options(name, help)))
}

/// A counter with one label from a closed set, all of whose series are there from the start.
fn counter_by_reason<const N: usize>(
    registry: &Registry,
    name: &str,
    help: &str,
    reasons: [&str; N],
) -> Result<IntCounterVec, Error> {
    let counter = IntCounterVec::new(options(name, help), &["reason"]);
    let counter = registered(registry, counter)?;
    for reason in reasons {
        counter.with_label_values(&[reason]);
    }
    Ok(counter)
}
