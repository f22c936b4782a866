//! What is measured, beside what the metrics middleware counts of each request.

use crate::store::StoreStats;
use crate::valkey::{EngineError, Observer, Operation};
use actix_web_prom::{PrometheusMetrics, PrometheusMetricsBuilder};
use prometheus::core::Collector;
use prometheus::{
    Counter, Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The prefix of all names.
const NAMESPACE: &str = "kvstore";

/// The label of requests whose path no route takes.
const UNMATCHED: &str = "unmatched";

/// The upper bounds of the latency histogram, in seconds.
const BUCKETS_S: [f64; 10] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.01, 0.05, 0.25, 1.0,
];

/// The upper bounds of the engine's latency histogram, in seconds.
const ENGINE_BUCKETS_S: [f64; 6] = [0.000_25, 0.001, 0.004, 0.016, 0.1, 1.0];

/// What is measured of an engine outside of this process. Made only where there is one.
#[derive(Debug)]
struct EngineMetrics {
    /// One for each of [`Operation::ALL`], looked up once: every request has one.
    requests: [Histogram; Operation::ALL.len()],
    errors: IntCounterVec,
    reconnects: IntCounter,
    lag: Gauge,
    reloads: IntCounter,
    repairs: IntCounter,
    partitions_behind: IntGauge,
}

/// Why a request came to no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The parser took its head for none.
    Head,
    /// There was a raw `#` in its target.
    Fragment,
    /// It came by a connection over the bound.
    Connections,
    /// No route takes its method.
    Method,
    /// No route takes its path.
    Path,
}

impl Refusal {
    const ALL: [Self; 5] = [
        Self::Head,
        Self::Fragment,
        Self::Connections,
        Self::Method,
        Self::Path,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Fragment => "fragment",
            Self::Connections => "connections",
            Self::Method => "method",
            Self::Path => "path",
        }
    }
}

/// What the server is and has at a scrape, beside its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerStats {
    /// Bytes of bodies and answers in flight.
    pub buffers_bytes: usize,
    /// The bound on these.
    pub buffers_bytes_max: usize,
    /// Requests that are not wholly answered.
    pub requests_in_flight: usize,
    /// Whether `/readyz` would say so.
    pub is_ready: bool,
}

/// The server's own metrics and the registry of all. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    keys: IntGauge,
    store_bytes: IntGauge,
    store_bytes_max: IntGauge,
    messages_in_flight: IntGauge,
    messages_refused: IntCounter,
    searches_aborted: IntCounter,
    index_segments: IntGauge,
    index_fresh_keys: IntGauge,
    index_dead_keys: IntGauge,
    index_merges_running: IntGauge,
    index_merges_failed: IntCounter,
    index_merged_keys: IntCounter,
    index_merge_seconds: Counter,
    index_bytes: IntGaugeVec,
    buffers_bytes: IntGauge,
    buffers_bytes_max: IntGauge,
    requests_in_flight: IntGauge,
    ready: IntGauge,
    requests_refused: IntCounterVec,
    connections: IntGauge,
    connections_cut: IntCounterVec,
    engine: Arc<OnceLock<Arc<EngineMetrics>>>,
    /// Held for a scrape, so that two at once do not add the same difference twice.
    scraping: Arc<Mutex<()>>,
}

impl Metrics {
    /// The metrics, registered in a registry of their own.
    ///
    /// # Errors
    /// Where a name is not one or is there twice.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            keys: gauge(&registry, "keys", "Keys in the store, exact at the scrape")?,
            store_bytes: gauge(
                &registry,
                "store_bytes",
                "Memory that keys, values and their index take, in bytes",
            )?,
            store_bytes_max: gauge(
                &registry,
                "store_bytes_max",
                "Bound on kvstore_store_bytes, past which sets get 507",
            )?,
            messages_in_flight: gauge(
                &registry,
                "messages_in_flight",
                "Messages that wait for a shard or are being handled",
            )?,
            messages_refused: counter(
                &registry,
                "messages_refused_total",
                "Messages refused with 503 since too many waited for a shard",
            )?,
            searches_aborted: counter(
                &registry,
                "searches_aborted_total",
                "Streamed searches that broke off before their last key",
            )?,
            index_segments: gauge(
                &registry,
                "index_segments",
                "Immutable segments of the key index",
            )?,
            index_fresh_keys: gauge(
                &registry,
                "index_fresh_keys",
                "Keys that no segment holds yet",
            )?,
            index_dead_keys: gauge(
                &registry,
                "index_dead_keys",
                "Deleted keys that a segment still holds",
            )?,
            index_merges_running: gauge(
                &registry,
                "index_merges_running",
                "Merges of the key index under way",
            )?,
            index_merges_failed: counter(
                &registry,
                "index_merges_failed_total",
                "Merges that met a defect and left their inputs in place",
            )?,
            index_merged_keys: counter(
                &registry,
                "index_merged_keys_total",
                "Keys that merges of the key index went through",
            )?,
            index_merge_seconds: registered(
                &registry,
                Counter::with_opts(options(
                    "index_merge_seconds_total",
                    "How long merges of the key index took, in seconds",
                )),
            )?,
            index_bytes: registered(
                &registry,
                IntGaugeVec::new(
                    options("index_bytes", "Memory of the key index by part, in bytes"),
                    &["part"],
                ),
            )?,
            buffers_bytes: gauge(
                &registry,
                "buffers_bytes",
                "Memory set aside for bodies and answers in flight, in bytes",
            )?,
            buffers_bytes_max: gauge(
                &registry,
                "buffers_bytes_max",
                "Bound on kvstore_buffers_bytes, past which requests wait and then get 503",
            )?,
            requests_in_flight: gauge(
                &registry,
                "http_requests_in_flight",
                "Requests not wholly answered, this scrape included",
            )?,
            ready: gauge(&registry, "ready", "Whether /readyz says ready: 1, else 0")?,
            requests_refused: counter_by_reason(
                &registry,
                "http_requests_refused_total",
                "Requests refused before routing, by what was wrong with them: their head, a raw # in \
                 their target (fragment), too many connections, their method, or their path",
                Refusal::ALL.map(Refusal::label),
            )?,
            connections: gauge(&registry, "http_connections", "Open connections")?,
            connections_cut: counter_by_reason(
                &registry,
                "http_connections_cut_total",
                "Connections cut since nothing came (idle), nothing was read (stalled), or a body went on that was refused (refused)",
                ["idle", "stalled", "refused"],
            )?,
            engine: Arc::default(),
            scraping: Arc::default(),
            registry,
        };
        let info = options("build_info", "Always 1; the label says what runs");
        let info = info.const_label("version", env!("CARGO_PKG_VERSION"));
        registered(&metrics.registry, IntGauge::with_opts(info))?.set(1);
        let start = options(
            "start_time_seconds",
            "When the process started, in seconds since 1970",
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        registered(&metrics.registry, Gauge::with_opts(start))?
            .set(now.unwrap_or_default().as_secs_f64());
        Ok(metrics)
    }

    /// Begins to measure an engine outside of this process.
    ///
    /// # Errors
    /// Where that was begun before, since its names are then taken.
    pub fn engine(&self) -> Result<Arc<dyn Observer>, prometheus::Error> {
        let metrics = Arc::new(EngineMetrics::new(&self.registry)?);
        self.engine.get_or_init(|| metrics.clone());
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
    pub fn scrape(&self, stats: &StoreStats, server: ServerStats) -> String {
        let _one_at_a_time = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let index = &stats.counted.index;
        for (gauge, value) in [
            (&self.keys, stats.counted.keys),
            (&self.store_bytes, stats.bytes),
            (&self.store_bytes_max, stats.bytes_max),
            (&self.messages_in_flight, stats.messages_in_flight),
            (&self.index_segments, index.segments),
            (&self.index_fresh_keys, index.fresh_keys),
            (&self.index_dead_keys, index.dead_keys),
            (&self.index_merges_running, index.merges_running),
            (&self.buffers_bytes, server.buffers_bytes),
            (&self.buffers_bytes_max, server.buffers_bytes_max),
            (&self.requests_in_flight, server.requests_in_flight),
            (&self.ready, usize::from(server.is_ready)),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        for (counter, total) in [
            (&self.messages_refused, stats.messages_refused),
            (&self.searches_aborted, stats.searches_aborted),
            (&self.index_merges_failed, index.merges_failed),
            (&self.index_merged_keys, index.merged_keys),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        if let (Some(engine), Some(replica)) = (self.engine.get(), &stats.replica) {
            engine.lag.set(replica.lag.as_secs_f64());
            let behind = i64::try_from(replica.partitions_behind);
            engine.partitions_behind.set(behind.unwrap_or(i64::MAX));
            for (counter, total) in [
                (&engine.reconnects, replica.reconnects),
                (&engine.reloads, replica.reloads),
                (&engine.repairs, replica.repairs),
            ] {
                counter.inc_by(total.saturating_sub(counter.get()));
            }
        }
        let merged_for = index.merged_for.as_secs_f64() - self.index_merge_seconds.get();
        self.index_merge_seconds.inc_by(merged_for.max(0.0));
        let trees = [
            ("fresh", index.fresh_bytes),
            ("merging", index.merging_bytes),
        ];
        for (part, bytes) in index.segment_bytes.by_part().into_iter().chain(trees) {
            let gauge = self.index_bytes.with_label_values(&[part]);
            gauge.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("memory does not fail to be written");
        String::from_utf8(text).expect("the text format is UTF-8")
    }

    /// The gauge of open connections.
    pub fn connections(&self) -> IntGauge {
        self.connections.clone()
    }

    /// Counts a connection that was cut; `reason` is `idle`, `stalled` or `refused`.
    pub fn connection_cut(&self, reason: &'static str) {
        self.connections_cut.with_label_values(&[reason]).inc();
    }

    /// Counts a request that was refused before routing.
    pub fn refused(&self, refusal: Refusal) {
        let label = refusal.label();
        self.requests_refused.with_label_values(&[label]).inc();
    }
}

impl EngineMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = HistogramOpts::new(
            "engine_request_duration_seconds",
            "How long the engine took for a request, in seconds, by what it was for",
        );
        let requests = requests
            .namespace(NAMESPACE)
            .buckets(ENGINE_BUCKETS_S.into());
        let requests = HistogramVec::new(requests, &["operation"]);
        let errors = options(
            "engine_errors_total",
            "Requests that the engine did not do, by why",
        );
        let requests = registered(registry, requests)?;
        let metrics = Self {
            requests: Operation::ALL.map(|one| requests.with_label_values(&[one.label()])),
            errors: registered(registry, IntCounterVec::new(errors, &["kind"]))?,
            reconnects: counter(
                registry,
                "engine_reconnects_total",
                "Connections to the engine that were lost and made again",
            )?,
            lag: registered(
                registry,
                Gauge::with_opts(options(
                    "engine_index_lag_seconds",
                    "How old the index of keys may be: the time since it was last brought up to date",
                )),
            )?,
            reloads: counter(
                registry,
                "engine_reloads_total",
                "Partitions that were read again since the index had diverged from the engine",
            )?,
            repairs: counter(
                registry,
                "engine_repairs_total",
                "Partitions whose index, head or log differed and was mended",
            )?,
            partitions_behind: gauge(
                registry,
                "engine_partitions_behind",
                "Partitions of 256 that the index does not hold as the engine does",
            )?,
        };
        for error in EngineError::ALL {
            metrics.errors.with_label_values(&[error.label()]);
        }
        Ok(metrics)
    }
}

impl Observer for EngineMetrics {
    fn observed(&self, operation: Operation, took: Duration, error: Option<EngineError>) {
        self.requests[operation as usize].observe(took.as_secs_f64());
        if let Some(error) = error {
            self.errors.with_label_values(&[error.label()]).inc();
        }
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace(NAMESPACE)
}

/// A metric that is in the registry too.
fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: Result<M, prometheus::Error>,
) -> Result<M, prometheus::Error> {
    let metric = metric?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    registered(registry, IntGauge::with_opts(options(name, help)))
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    registered(registry, IntCounter::with_opts(options(name, help)))
}

/// A counter with one label from a closed set, all of whose series are there from the start.
fn counter_by_reason<const N: usize>(
    registry: &Registry,
    name: &str,
    help: &str,
    reasons: [&str; N],
) -> Result<IntCounterVec, prometheus::Error> {
    let counter = IntCounterVec::new(options(name, help), &["reason"]);
    let counter = registered(registry, counter)?;
    for reason in reasons {
        counter.with_label_values(&[reason]);
    }
    Ok(counter)
}
