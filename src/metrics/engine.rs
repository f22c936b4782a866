//! What is measured of an engine outside of this process.

use super::table::Value::{Counter, Gauge};
use super::table::{Sampled, Table};
use super::{NAMESPACE, options, registered};
use crate::store::ReplicaStats;
use crate::valkey::{EngineError, Observer, Operation};
use prometheus::{
    Error, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Registry,
};
use std::time::Duration;

/// The upper bounds of the engine's latency histogram, in seconds.
const BUCKETS_S: [f64; 6] = [0.000_25, 0.001, 0.004, 0.016, 0.1, 1.0];

const INDEX: &[Sampled<ReplicaStats>] = &[
    Sampled {
        name: "engine_reconnects_total",
        help: "Connections to the engine that were lost and made again",
        value: Counter(|replica| replica.reconnects as f64),
    },
    Sampled {
        name: "engine_index_lag_seconds",
        help: "How old the index of keys may be: the time since it was last brought up to date",
        value: Gauge(|replica| replica.lag.as_secs_f64()),
    },
    Sampled {
        name: "engine_reloads_total",
        help: "Partitions that were read again since the index had diverged from the engine",
        value: Counter(|replica| replica.reloads as f64),
    },
    Sampled {
        name: "engine_repairs_total",
        help: "Partitions whose index, head or log differed and was mended",
        value: Counter(|replica| replica.repairs as f64),
    },
    Sampled {
        name: "engine_partitions_behind",
        help: "Partitions of 256 that the index does not hold as the engine does",
        value: Gauge(|replica| replica.partitions_behind as f64),
    },
    Sampled {
        name: "engine_evicts",
        help: "1 while the engine may drop keys when it is full, which loses data",
        value: Gauge(|replica| f64::from(u8::from(replica.evicts))),
    },
];

/// What is measured of an engine outside of this process. Made only where there is one.
#[derive(Debug)]
pub(super) struct EngineMetrics {
    /// One for each of [`Operation::ALL`], looked up once: every request has one.
    requests: [Histogram; Operation::ALL.len()],
    errors: IntCounterVec,
    /// 1 for why the engine fails, if it does.
    outage: GaugeVec,
    index: Table<ReplicaStats>,
}

impl EngineMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        let requests = HistogramOpts::new(
            "engine_request_duration_seconds",
            "How long the engine took for a request, in seconds, by what it was for",
        );
        let requests = requests.namespace(NAMESPACE).buckets(BUCKETS_S.into());
        let requests = registered(registry, HistogramVec::new(requests, &["operation"]))?;
        let errors = options(
            "engine_errors_total",
            "Requests that the engine did not do, by why",
        );
        let errors = registered(registry, IntCounterVec::new(errors, &["kind"]))?;
        let outage = options("engine_outage", "1 while the engine fails, by why");
        let outage = registered(registry, GaugeVec::new(outage, &["kind"]))?;
        for error in EngineError::ALL {
            errors.with_label_values(&[error.label()]);
            outage.with_label_values(&[error.label()]);
        }
        Ok(Self {
            requests: Operation::ALL.map(|one| requests.with_label_values(&[one.label()])),
            errors,
            outage,
            index: Table::register(registry, INDEX)?,
        })
    }

    pub(super) fn set(&self, stats: &ReplicaStats) {
        self.index.set(stats);
        for error in EngineError::ALL {
            let is_why = stats.outage.is_some_and(|why| why.label() == error.label());
            let gauge = self.outage.with_label_values(&[error.label()]);
            gauge.set(f64::from(u8::from(is_why)));
        }
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
