//! What is measured of a data directory.

use super::table::Value::{Counter, Gauge};
use super::table::{Sampled, Table};
use super::{NAMESPACE, registered};
use crate::store::{DataStats, SyncObserver};
use prometheus::{Error, Histogram, HistogramOpts, Registry};
use std::time::Duration;

/// The upper bounds of the syncs' latency histogram, in seconds.
const BUCKETS_S: [f64; 7] = [0.000_2, 0.001, 0.003, 0.01, 0.03, 0.1, 1.0];

const DATA: &[Sampled<DataStats>] = &[
    Sampled {
        name: "data_load_seconds",
        help: "How long the last start took to load what was in the data directory, in seconds",
        value: Gauge(|data| data.loaded.took.as_secs_f64()),
    },
    Sampled {
        name: "data_load_records",
        help: "Records of the log that the last start went through",
        value: Gauge(|data| data.loaded.records as f64),
    },
    Sampled {
        name: "data_log_bytes_total",
        help: "Bytes written to the log",
        value: Counter(|data| data.journal.log.bytes as f64),
    },
    Sampled {
        name: "data_log_records_total",
        help: "Changes that went to the log",
        value: Counter(|data| data.journal.log.records as f64),
    },
    Sampled {
        name: "data_log_records_waiting",
        help: "Changes that are not on disk yet",
        value: Gauge(|data| data.journal.log.waiting as f64),
    },
    Sampled {
        name: "data_checkpoints_total",
        help: "Checkpoints of a shard that were taken",
        value: Counter(|data| data.checkpoints.taken as f64),
    },
    Sampled {
        name: "data_checkpoints_failed_total",
        help: "Checkpoints of a shard that came to nothing; the log has all, and grows",
        value: Counter(|data| data.checkpoints.failed as f64),
    },
    Sampled {
        name: "data_checkpoint_seconds_total",
        help: "How long checkpoints took, in seconds",
        value: Counter(|data| data.checkpoints.took.as_secs_f64()),
    },
    Sampled {
        name: "data_checkpoint_bytes_total",
        help: "Bytes written for checkpoints",
        value: Counter(|data| data.checkpoints.bytes as f64),
    },
    Sampled {
        name: "data_checkpoint_age_seconds",
        help: "Time since a checkpoint was last taken, or the data was loaded, in seconds",
        value: Gauge(|data| {
            let last = data.checkpoints.last;
            last.map_or(0.0, |last| last.elapsed().as_secs_f64())
        }),
    },
    Sampled {
        name: "data_disk_bytes",
        help: "What all files in the data directory take, in bytes",
        value: Gauge(|data| data.checkpoints.disk_bytes as f64),
    },
    Sampled {
        name: "data_disk_free_bytes",
        help: "What the data directory's disk has left, in bytes",
        value: Gauge(|data| data.checkpoints.free_bytes as f64),
    },
    Sampled {
        name: "data_changes_log_bytes",
        help: "What the files of the log take that are kept for those who watch only, in bytes",
        value: Gauge(|data| data.journal.kept_bytes as f64),
    },
    Sampled {
        name: "data_disk_full",
        help: "1 where sets get 507 since the data directory's disk is full, else 0",
        value: Gauge(|data| f64::from(data.journal.is_full)),
    },
];

/// What is measured of a data directory. Made only where there is one.
#[derive(Debug)]
pub(super) struct DataMetrics {
    syncs: Histogram,
    table: Table<DataStats>,
}

impl DataMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        let syncs = HistogramOpts::new(
            "data_sync_duration_seconds",
            "How long the disk took to have the log on it (fdatasync), in seconds",
        );
        let syncs = syncs.namespace(NAMESPACE).buckets(BUCKETS_S.into());
        Ok(Self {
            syncs: registered(registry, Histogram::with_opts(syncs))?,
            table: Table::register(registry, DATA)?,
        })
    }

    pub(super) fn set(&self, stats: &DataStats) {
        self.table.set(stats);
    }
}

impl SyncObserver for DataMetrics {
    fn synced(&self, took: Duration) {
        self.syncs.observe(took.as_secs_f64());
    }
}
