"""What the dashboard shows: rows of panels, and the expressions behind them."""

from dataclasses import dataclass, field

POD = 'namespace=~"$namespace", pod=~"$pod"'
"""What the variables select. A scrape without these labels is matched by All."""

CLIENTS = POD + ', endpoint!~"/livez|/readyz|/healthz|/metrics"'
"""Requests of clients: not the probes, and not the scrapes."""


@dataclass(frozen=True)
class Panel:
    title: str
    description: str
    unit: str
    queries: dict[str, str]
    """Expressions by the legend of their series."""
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    thresholds: tuple[tuple[float | None, str], ...] = field(default=())


def quantile(share: float) -> str:
    return (
        f"histogram_quantile({share}, sum by (endpoint, le) "
        f"(rate(kvstore_http_requests_duration_seconds_bucket{{{CLIENTS}}}[$__rate_interval])))"
    )


def rate(metric: str, by: str, more: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{POD}{more}}}[$__rate_interval]))"


ROWS: dict[str, list[Panel]] = {
    "Overview": [
        Panel("Ready", "Servers that say on /readyz that they are ready.", "short",
              {"ready": f"sum(kvstore_ready{{{POD}}})"}, kind="stat", width=4,
              thresholds=((None, "red"), (1, "green"))),
        Panel("Keys", "Keys in the store. Servers over one engine all have the same; servers in memory have their own.", "short",
              {"keys": f"max(kvstore_keys{{{POD}}})"}, kind="stat", width=4),
        Panel("Requests", "Requests of clients a second.", "reqps",
              {"requests": f"sum(rate(kvstore_http_requests_total{{{CLIENTS}}}[$__rate_interval]))"}, kind="stat", width=4),
        Panel("Errors", "Share of clients' requests that were answered with 5xx. The alerts take 0.1 % as what may fail.", "percentunit",
              {"errors": f"(sum(rate(kvstore_http_requests_total{{{CLIENTS}, status=~\"5..\"}}[$__rate_interval])) or vector(0)) / sum(rate(kvstore_http_requests_total{{{CLIENTS}}}[$__rate_interval]))"},
              kind="stat", width=4, thresholds=((None, "green"), (0.001, "orange"), (0.01, "red"))),
        Panel("GET, 99th percentile", "99 % of GETs are answered within this time.", "s",
              {"p99": f"histogram_quantile(0.99, sum by (le) (rate(kvstore_http_requests_duration_seconds_bucket{{{POD}, endpoint=\"/get\", method!=\"POST\"}}[$__rate_interval])))"},
              kind="stat", width=4, thresholds=((None, "green"), (0.01, "orange"), (0.05, "red"))),
        Panel("Memory", "Share of store_bytes_max that keys, values and index take, of the fullest server.", "percentunit",
              {"memory": f"max(kvstore_store_bytes{{{POD}}} / kvstore_store_bytes_max{{{POD}}})"},
              kind="stat", width=4, thresholds=((None, "green"), (0.7, "orange"), (0.85, "red"))),
    ],
    "Requests": [
        Panel("Requests by endpoint", "Requests of clients a second.", "reqps",
              {"{{endpoint}}": f"sum by (endpoint) (rate(kvstore_http_requests_total{{{CLIENTS}}}[$__rate_interval]))"}),
        Panel("Answers by status", "All answers but 200: 404 and 304 are normal, 4xx are clients' mistakes, 5xx are ours or the engine's.", "reqps",
              {"{{endpoint}} {{status}}": f"sum by (endpoint, status) (rate(kvstore_http_requests_total{{{CLIENTS}, status!=\"200\"}}[$__rate_interval]))"}),
        Panel("Latency, median", "Half of the requests are answered within this time, until their last byte was handed over.", "s",
              {"{{endpoint}}": quantile(0.5)}),
        Panel("Latency, 99th percentile", "99 % of the requests are answered within this time. Searches without a limit take as long as their stream, watches as long as their client.", "s",
              {"{{endpoint}}": quantile(0.99)}),
        Panel("Latency of GET", "How many GETs took how long.", "s",
              {"{{le}}": f"sum by (le) (increase(kvstore_http_requests_duration_seconds_bucket{{{POD}, endpoint=\"/get\", method!=\"POST\"}}[$__rate_interval]))"},
              kind="heatmap"),
        Panel("Searches", "Searches a second, and streams that broke off before their last key.", "reqps",
              {"searches": f"sum(rate(kvstore_http_requests_total{{{POD}, endpoint=\"/search\"}}[$__rate_interval]))",
               "broken off": f"sum(rate(kvstore_searches_aborted_total{{{POD}}}[$__rate_interval]))"}),
        Panel("Watches", "Clients that watch changes, events a second that they were told, and those cut off since they read too slowly.", "short",
              {"watching {{pod}}": f"kvstore_watchers{{{POD}}}",
               "events a second": f"sum(rate(kvstore_watch_events_total{{{POD}}}[$__rate_interval]))",
               "cut off": f"sum(increase(kvstore_watchers_cut_total{{{POD}}}[$__rate_interval]))"}),
        Panel("Denied", "Requests a second without a token that is known, beyond what it allows, or over its rate; and 1 while auth_file is as it should be.", "short",
              {"{{reason}}": rate("kvstore_http_requests_denied_total", "reason"),
               "auth_file is valid": f"min(kvstore_auth_file_valid{{{POD}}})"}),
        Panel("Certificate", "How long the certificate that clients are shown is still valid, 0 without TLS; and 1 while its files are as they should be.", "s",
              {"valid for {{pod}}": f"clamp_min(kvstore_tls_certificate_expiry_timestamp_seconds{{{POD}}} - time(), 0)",
               "its files are valid": f"min(kvstore_tls_files_valid{{{POD}}})"}),
        Panel("Conditions", "Changes a second that were not made since their condition did not hold: clients that lose a race and try again.", "reqps",
              {"unmet": f"sum(rate(kvstore_conditions_unmet_total{{{POD}}}[$__rate_interval]))"}),
    ],
    "Saturation": [
        Panel("In flight", "Requests that are not wholly answered, and messages that wait for a shard or the engine.", "short",
              {"requests {{pod}}": f"kvstore_http_requests_in_flight{{{POD}}}",
               "messages {{pod}}": f"kvstore_messages_in_flight{{{POD}}}"}),
        Panel("Refused", "Requests refused with 503 since too many wait, and before routing, by what was wrong with them.", "reqps",
              {"too many wait": f"sum(rate(kvstore_messages_refused_total{{{POD}}}[$__rate_interval]))",
               "{{reason}}": rate("kvstore_http_requests_refused_total", "reason")}),
        Panel("Bodies and answers in flight", "Memory set aside for them, and the bound past which requests wait and then get 503.", "bytes",
              {"{{pod}}": f"kvstore_buffers_bytes{{{POD}}}", "bound": f"min(kvstore_buffers_bytes_max{{{POD}}})"}),
        Panel("Connections", "Open connections, and those cut a second since nothing came or nothing was read.", "short",
              {"open {{pod}}": f"kvstore_http_connections{{{POD}}}",
               "cut, {{reason}}": rate("kvstore_http_connections_cut_total", "reason")}),
    ],
    "Keys and memory": [
        Panel("Keys", "Keys of each server.", "short", {"{{pod}}": f"kvstore_keys{{{POD}}}"}),
        Panel("Values that end", "Keys whose value ends, those taken out a second since it had, and how long the oldest of those waits that were not.", "short",
              {"with a deadline {{pod}}": f"kvstore_deadlines{{{POD}}}",
               "taken out a second": f"sum(rate(kvstore_expired_keys_total{{{POD}}}[$__rate_interval]))",
               "lag, seconds {{pod}}": f"kvstore_expiry_lag_seconds{{{POD}}}"}),
        Panel("Memory", "What keys, values, index and changes kept take, and the bound past which sets get 507.", "bytes",
              {"{{pod}}": f"kvstore_store_bytes{{{POD}}}", "bound": f"min(kvstore_store_bytes_max{{{POD}}})"}),
        Panel("Changes kept", "Memory of the changes kept for those who watch, a part of the above, and for how many seconds back they go.", "bytes",
              {"{{pod}}": f"kvstore_changes_bytes{{{POD}}}", "seconds {{pod}}": f"kvstore_changes_oldest_age_seconds{{{POD}}}"}),
        Panel("Index by part", "What the key index is made of.", "bytes",
              {"{{part}}": f"sum by (part) (kvstore_index_bytes{{{POD}}})"}, stacked=True),
        Panel("Segments", "Immutable segments of the key index; searches look into each.", "short",
              {"{{pod}}": f"kvstore_index_segments{{{POD}}}"}),
        Panel("Merges", "Keys a second that merges went through, merges under way, and merges that met a defect.", "short",
              {"keys merged a second": f"sum(rate(kvstore_index_merged_keys_total{{{POD}}}[$__rate_interval]))",
               "seconds a second": f"sum(rate(kvstore_index_merge_seconds_total{{{POD}}}[$__rate_interval]))",
               "under way": f"sum(kvstore_index_merges_running{{{POD}}})",
               "failed": f"sum(kvstore_index_merges_failed_total{{{POD}}})"}),
        Panel("Keys outside of segments", "Keys that no segment holds yet, and deleted ones that a segment still holds.", "short",
              {"fresh": f"sum(kvstore_index_fresh_keys{{{POD}}})", "dead": f"sum(kvstore_index_dead_keys{{{POD}}})"}),
    ],
    "Disk, with a data directory": [
        Panel("Syncs, 99th percentile", "How long the disk takes to have changes on it. Every acknowledged change waits for one, with sync = always.", "s",
              {"{{pod}}": f"histogram_quantile(0.99, sum by (pod, le) (rate(kvstore_data_sync_duration_seconds_bucket{{{POD}}}[$__rate_interval])))"}),
        Panel("Changes", "Changes that went to the log a second, and those that are not on disk yet.", "short",
              {"changes": f"sum(rate(kvstore_data_log_records_total{{{POD}}}[$__rate_interval]))",
               "waiting {{pod}}": f"kvstore_data_log_records_waiting{{{POD}}}"}),
        Panel("Bytes written", "To the log and for checkpoints, a second.", "Bps",
              {"log": f"sum(rate(kvstore_data_log_bytes_total{{{POD}}}[$__rate_interval]))",
               "checkpoints": f"sum(rate(kvstore_data_checkpoint_bytes_total{{{POD}}}[$__rate_interval]))"}),
        Panel("Disk", "What the data directory's files take, those of the log that are kept for watchers only among them, and what its disk has left. Where it is full, sets get 507.", "bytes",
              {"used {{pod}}": f"kvstore_data_disk_bytes{{{POD}}}", "free {{pod}}": f"kvstore_data_disk_free_bytes{{{POD}}}",
               "kept for watchers {{pod}}": f"kvstore_data_changes_log_bytes{{{POD}}}", "full {{pod}}": f"kvstore_data_disk_full{{{POD}}}"}),
        Panel("Checkpoints", "Checkpoints of a shard, those that came to nothing, and their seconds a second.", "short",
              {"taken": f"sum(increase(kvstore_data_checkpoints_total{{{POD}}}[$__rate_interval]))",
               "failed": f"sum(increase(kvstore_data_checkpoints_failed_total{{{POD}}}[$__rate_interval]))",
               "seconds": f"sum(rate(kvstore_data_checkpoint_seconds_total{{{POD}}}[$__rate_interval]))"}),
        Panel("Since the last checkpoint or start", "While nothing changes none is taken. The last start's seconds and changes say what a restart costs.", "s",
              {"{{pod}}": f"kvstore_data_checkpoint_age_seconds{{{POD}}}",
               "last load {{pod}}": f"kvstore_data_load_seconds{{{POD}}}", "changes of it {{pod}}": f"kvstore_data_load_records{{{POD}}}"}),
    ],
    "Engine": [
        Panel("Engine latency, 99th percentile", "How long Valkey or Redis takes, by what it is asked for. Empty with the memory engine.", "s",
              {"{{operation}}": f"histogram_quantile(0.99, sum by (operation, le) (rate(kvstore_engine_request_duration_seconds_bucket{{{POD}}}[$__rate_interval])))"}),
        Panel("Engine requests", "Requests to the engine a second.", "reqps",
              {"{{operation}}": rate("kvstore_engine_request_duration_seconds_count", "operation")}),
        Panel("Engine errors", "What the engine did not do, by why, and connections made again.", "reqps",
              {"{{kind}}": rate("kvstore_engine_errors_total", "kind"),
               "reconnects": f"sum(rate(kvstore_engine_reconnects_total{{{POD}}}[$__rate_interval]))"}),
        Panel("Engine outage", "Servers to which the engine fails, and those that see it set to drop keys. The errors say why.", "short",
              {"fails": f"sum(kvstore_engine_outage{{{POD}}})", "drops keys": f"sum(kvstore_engine_evicts{{{POD}}})"}),
        Panel("Index lag", "Time since each server's index was last brought up to date with the engine.", "s",
              {"{{pod}}": f"kvstore_engine_index_lag_seconds{{{POD}}}"}),
        Panel("Partitions behind", "Partitions of 256 that a server's index does not hold as the engine does.", "short",
              {"{{pod}}": f"kvstore_engine_partitions_behind{{{POD}}}"}),
        Panel("Reloads and repairs", "Partitions read again since they differed, and what was mended; 0 unless a failover lost writes or somebody changed the data.", "short",
              {"reloads": f"sum(increase(kvstore_engine_reloads_total{{{POD}}}[$__rate_interval]))",
               "repairs": f"sum(increase(kvstore_engine_repairs_total{{{POD}}}[$__rate_interval]))"}),
    ],
    "Rollouts": [
        Panel("Versions", "Servers by version.", "short", {"{{version}}": f"sum by (version) (kvstore_build_info{{{POD}}})"}, width=12),
        Panel("Uptime", "Time since each server started.", "s", {"{{pod}}": f"time() - kvstore_start_time_seconds{{{POD}}}"}, width=12),
    ],
}  # fmt: skip
