//! What is measured of the store.

use super::table::Sampled;
use super::table::Value::{Counter, Gauge, Gauges};
use crate::store::StoreStats;

pub(super) const STORE: &[Sampled<StoreStats>] = &[
    Sampled {
        name: "keys",
        help: "Keys in the store, exact at the scrape",
        value: Gauge(|stats| stats.counted.keys as f64),
    },
    Sampled {
        name: "deadlines",
        help: "Keys whose value ends; of an engine outside of this process nobody counts them",
        value: Gauge(|stats| stats.counted.ending as f64),
    },
    Sampled {
        name: "expired_keys_total",
        help: "Keys that this process took out since their value had ended",
        value: Counter(|stats| stats.counted.expired as f64),
    },
    Sampled {
        name: "expiry_lag_seconds",
        help: "How long ago the value ended that did so first of those still in searches and totals",
        value: Gauge(|stats| stats.counted.expiry_lag.as_secs_f64()),
    },
    Sampled {
        name: "store_bytes",
        help: "Memory that keys, values, their index and changes kept for watchers take, and merges of the index or what is kept free for them, in bytes",
        value: Gauge(|stats| stats.bytes as f64),
    },
    Sampled {
        name: "store_bytes_max",
        help: "Bound on kvstore_store_bytes, past which sets get 507",
        value: Gauge(|stats| stats.bytes_max as f64),
    },
    Sampled {
        name: "changes_bytes",
        help: "Memory of the changes kept for those who watch, in bytes; a part of kvstore_store_bytes",
        value: Gauge(|stats| stats.changes.bytes as f64),
    },
    Sampled {
        name: "changes_oldest_age_seconds",
        help: "How long ago the oldest change was made that is kept in memory for those who watch",
        value: Gauge(|stats| stats.changes.oldest_age.as_secs_f64()),
    },
    Sampled {
        name: "messages_in_flight",
        help: "Messages that wait for a shard or are being handled",
        value: Gauge(|stats| stats.messages_in_flight as f64),
    },
    Sampled {
        name: "messages_refused_total",
        help: "Messages refused with 503 since too many waited for a shard",
        value: Counter(|stats| stats.messages_refused as f64),
    },
    Sampled {
        name: "searches_aborted_total",
        help: "Streamed searches, and answers to POST /get, that broke off before their last key",
        value: Counter(|stats| stats.searches_aborted as f64),
    },
    Sampled {
        name: "index_segments",
        help: "Immutable segments of the key index",
        value: Gauge(|stats| stats.counted.index.segments as f64),
    },
    Sampled {
        name: "index_fresh_keys",
        help: "Keys that no segment holds yet",
        value: Gauge(|stats| stats.counted.index.fresh_keys as f64),
    },
    Sampled {
        name: "index_dead_keys",
        help: "Deleted keys that a segment still holds",
        value: Gauge(|stats| stats.counted.index.dead_keys as f64),
    },
    Sampled {
        name: "index_merges_running",
        help: "Merges of the key index under way",
        value: Gauge(|stats| stats.counted.index.merges_running as f64),
    },
    Sampled {
        name: "index_merges_failed_total",
        help: "Merges that met a defect and left their inputs in place",
        value: Counter(|stats| stats.counted.index.merges_failed as f64),
    },
    Sampled {
        name: "index_merged_keys_total",
        help: "Keys that merges of the key index went through",
        value: Counter(|stats| stats.counted.index.merged_keys as f64),
    },
    Sampled {
        name: "index_merge_seconds_total",
        help: "How long merges of the key index took, in seconds",
        value: Counter(|stats| stats.counted.index.merged_for.as_secs_f64()),
    },
    Sampled {
        name: "index_bytes",
        help: "Memory of the key index by part, in bytes",
        value: Gauges("part", |stats| {
            let index = &stats.counted.index;
            let trees = [
                ("fresh", index.fresh_bytes),
                ("merging", index.merging_bytes),
            ];
            let parts = index.segment_bytes.by_part().into_iter().chain(trees);
            parts.map(|(part, bytes)| (part, bytes as f64)).collect()
        }),
    },
];
