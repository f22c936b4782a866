//! The one table of settings.

use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;

/// Makes of one table the settings as they may be given, all optional, and as they are with the
/// defaults filled in. A setting without a default stays optional; its help says what happens.
macro_rules! settings {
    (
        defaulted {
            $( $name:ident: $type:ty = $default:expr, $shown:literal, $env:literal, $help:literal; )*
        }
        optional {
            $( $optional:ident: $optional_type:ty, $optional_env:literal, $optional_help:literal; )*
        }
    ) => {
        /// The settings as they may be given.
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $(
                #[doc = $help]
                #[arg(long, env = $env, help = concat!($help, " [default: ", $shown, "]"), hide_env_values = true)]
                pub $name: Option<$type>,
            )*
            $(
                #[doc = $optional_help]
                #[arg(long, env = $optional_env, help = $optional_help, hide_env_values = true)]
                pub $optional: Option<$optional_type>,
            )*
        }

        /// The settings with the defaults filled in.
        pub(super) struct Filled {
            $( pub(super) $name: $type, )*
            $( pub(super) $optional: Option<$optional_type>, )*
        }

        impl Settings {
            /// These settings, and where one is not given, the other's.
            pub(super) fn or(self, other: Self) -> Self {
                Self {
                    $( $name: self.$name.or(other.$name), )*
                    $( $optional: self.$optional.or(other.$optional), )*
                }
            }

            pub(super) fn with_defaults(self) -> Filled {
                Filled {
                    $( $name: self.$name.unwrap_or_else(|| $default.into()), )*
                    $( $optional: self.$optional, )*
                }
            }
        }
    };
}

settings! {
    defaulted {
    listen: String = "127.0.0.1:8000", "127.0.0.1:8000", "KVSTORE_LISTEN",
        "Where to listen, as HOST:PORT; port 0 picks a free one, which is logged";
    engine: String = "memory", "memory", "KVSTORE_ENGINE",
        "Where the data is: memory (in this process, kept in data_dir if that is set), or the URL of a Valkey or Redis: redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,…/MASTER, redis+cluster://HOST:PORT,…; rediss for TLS";
    namespace: String = "kv", "kv", "KVSTORE_NAMESPACE",
        "What all of the engine's keys begin with: letters, digits, . _ - and :";
    engine_connect_timeout_ms: u64 = 1_000u64, "1000", "KVSTORE_ENGINE_CONNECT_TIMEOUT_MS",
        "How long a connection to the engine may take, in ms";
    engine_response_timeout_ms: u64 = 1_000u64, "1000", "KVSTORE_ENGINE_RESPONSE_TIMEOUT_MS",
        "How long the engine may take for one command, in ms";
    engine_wait_replicas: usize = 0usize, "0", "KVSTORE_ENGINE_WAIT_REPLICAS",
        "How many replicas must have a change before it is acknowledged (WAIT); with too few, 504";
    engine_wait_timeout_ms: u64 = 500u64, "500", "KVSTORE_ENGINE_WAIT_TIMEOUT_MS",
        "How long those replicas may take, in ms; less than engine_response_timeout_ms";
    engine_unready_after_ms: u64 = 10_000u64, "10000", "KVSTORE_ENGINE_UNREADY_AFTER_MS",
        "How long the engine may be silent before the server is not ready, in ms";
    engine_scrub_interval_ms: u64 = 1_000u64, "1000", "KVSTORE_ENGINE_SCRUB_INTERVAL_MS",
        "How often one of the 256 partitions is compared with the engine, in ms";
    engine_watch_entries: usize = 10_000usize, "10000", "KVSTORE_ENGINE_WATCH_ENTRIES",
        "How many changes of each of the 256 partitions the engine's log keeps where engine_watch is true, about: who watches can be away for so many";
    sync: String = "always", "always", "KVSTORE_SYNC",
        "When a change is on disk, with data_dir: always (before it is answered), or within a time after it such as 100ms, of which a loss of power may take as much";
    key_bytes_max: usize = 1024usize, "1024", "KVSTORE_KEY_BYTES_MAX",
        "Longest key, in bytes, up to 10240";
    value_bytes_max: usize = 1024usize * 1024, "1048576", "KVSTORE_VALUE_BYTES_MAX",
        "Longest value, in bytes";
    body_bytes_max: usize = 2048usize * 1024, "2097152", "KVSTORE_BODY_BYTES_MAX",
        "Longest JSON body, in bytes";
    line_bytes_max: usize = 2048usize * 1024, "2097152", "KVSTORE_LINE_BYTES_MAX",
        "Longest line of a bulk body, in bytes";
    page_keys_max: usize = 10_000usize, "10000", "KVSTORE_PAGE_KEYS_MAX",
        "Largest limit of a search, and the most keys of one POST /get";
    watchers_max: usize = 10_000usize, "10000", "KVSTORE_WATCHERS_MAX",
        "Clients that watch changes at once; more get 503";
    changes_bytes_max: usize = 16usize * 1024 * 1024, "16777216", "KVSTORE_CHANGES_BYTES_MAX",
        "Memory of the changes kept for those who watch, in bytes, a part of store_bytes_max and at most half of that; who falls further behind goes on by the log of data_dir, or has to begin anew";
    changes_log_bytes: u64 = 0u64, "0", "KVSTORE_CHANGES_LOG_BYTES",
        "How much of the log in data_dir is kept for those who watch beyond what checkpoints need, in bytes: 0, or 67108864 (one file) and more; less where the disk has no room for it";
    messages_in_flight_max: usize = 1024usize, "1024", "KVSTORE_MESSAGES_IN_FLIGHT_MAX",
        "Messages that may wait for a shard; more get 503";
    connections_max: usize = 25_000usize, "25000", "KVSTORE_CONNECTIONS_MAX",
        "Open connections, within what the system allows; more get 503, but for health";
    keep_alive_ms: u64 = 75_000u64, "75000", "KVSTORE_KEEP_ALIVE_MS",
        "How long a connection may wait for its next request, in ms";
    head_timeout_ms: u64 = 5_000u64, "5000", "KVSTORE_HEAD_TIMEOUT_MS",
        "How long the head of a request may take, in ms (of a later one, on top of keep_alive_ms)";
    body_timeout_ms: u64 = 30_000u64, "30000", "KVSTORE_BODY_TIMEOUT_MS",
        "How long a body may take, and how long a bulk body may pause, in ms";
    write_timeout_ms: u64 = 30_000u64, "30000", "KVSTORE_WRITE_TIMEOUT_MS",
        "How long a client may leave an answer unread, in ms";
    request_timeout_ms: u64 = 5_000u64, "5000", "KVSTORE_REQUEST_TIMEOUT_MS",
        "How long the store may take to answer a request, in ms; then 504";
    drain_ms: u64 = 10_000u64, "10000", "KVSTORE_DRAIN_MS",
        "How long to serve on, unready, after SIGTERM, in ms";
    shutdown_timeout_ms: u64 = 30_000u64, "30000", "KVSTORE_SHUTDOWN_TIMEOUT_MS",
        "How long requests in flight may take to end after that, in ms";
    access_log: bool = false, "false", "KVSTORE_ACCESS_LOG",
        "Whether to log every request, without its key";
    slow_request_ms: u64 = 1_000u64, "1000", "KVSTORE_SLOW_REQUEST_MS",
        "From how many ms on a request is slow, of which the log says where its time went, without its key; 0 for none";
    log_format: String = "text", "text", "KVSTORE_LOG_FORMAT",
        "The form of the log's lines: text, or json, an object each";
    auth_metrics: bool = false, "false", "KVSTORE_AUTH_METRICS",
        "Whether /metrics takes a token too, with auth_file: any that is for all keys";
    log: String = "info", "info", "KVSTORE_LOG",
        "What to log: error, warn, info, debug, trace, or module=level,…";
    }
    optional {
    workers: usize, "KVSTORE_WORKERS",
        "Threads that serve, up to 512 [default: one for each core]";
    shards: usize, "KVSTORE_SHARDS",
        "Shares that the keys are divided into, up to 1024, and 256 with an engine elsewhere [default: one for each worker]";
    data_dir: PathBuf, "KVSTORE_DATA_DIR",
        "The directory that the memory engine keeps its data in, made where it is not there [default: none, the data is gone when the process ends]";
    log_bytes_max: u64, "KVSTORE_LOG_BYTES_MAX",
        "How long the log in data_dir may get before a checkpoint is taken, in bytes [default: a third of what keys and values take, 64 MiB at least and 512 MiB at most]";
    engine_watch: bool, "KVSTORE_ENGINE_WATCH",
        "Whether the engine's log has updates too, so that all servers of the namespace can offer /watch: true switches that on for all of them, false off [default: as it was switched last, off at first]";
    engine_username: String, "KVSTORE_ENGINE_USERNAME",
        "Who we are to the engine, where its URL does not say [default: the engine's default user]";
    engine_password_file: PathBuf, "KVSTORE_ENGINE_PASSWORD_FILE",
        "A file whose first line is the engine's password, where its URL has none; KVSTORE_ENGINE_PASSWORD is the password itself [default: none]";
    engine_sentinel_username: String, "KVSTORE_ENGINE_SENTINEL_USERNAME",
        "Who we are to the Sentinels, where they ask [default: their default user]";
    engine_sentinel_password_file: PathBuf, "KVSTORE_ENGINE_SENTINEL_PASSWORD_FILE",
        "A file whose first line is the Sentinels' own password; KVSTORE_ENGINE_SENTINEL_PASSWORD is the password itself [default: none]";
    engine_tls_cert_file: PathBuf, "KVSTORE_ENGINE_TLS_CERT_FILE",
        "A file with the certificate that is shown to an engine which asks for one, and those that vouch for it, as PEM [default: none]";
    engine_tls_key_file: PathBuf, "KVSTORE_ENGINE_TLS_KEY_FILE",
        "A file with the key of that certificate, as PEM [default: none]";
    auth_file: PathBuf, "KVSTORE_AUTH_FILE",
        "A TOML file of the tokens that requests need, as kvstore token prints them, read again when it changes [default: none, everybody may do everything]";
    tls_certificate: PathBuf, "KVSTORE_TLS_CERTIFICATE",
        "A PEM file with the certificate that clients are shown, and those that vouch for it, read again when it changes [default: none, HTTP without TLS]";
    tls_key: PathBuf, "KVSTORE_TLS_KEY",
        "A PEM file with the key of that certificate [default: none]";
    tls_client_ca: PathBuf, "KVSTORE_TLS_CLIENT_CA",
        "A PEM file with who vouches for the certificates that clients must show then [default: none, clients need no certificate]";
    buffers_bytes_max: usize, "KVSTORE_BUFFERS_BYTES_MAX",
        "Memory of bodies and answers in flight, in bytes; past it requests wait, then get 503 [default: an eighth of the memory limit in force, and 64 MiB at least]";
    store_bytes_max: usize, "KVSTORE_STORE_BYTES_MAX",
        "Memory of keys and values, or of the index of an engine's keys, in bytes, past which sets get 507 [default: 60 % of the memory limit in force]";
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        _settings: Settings,
    }

    #[test]
    fn the_readme_lists_every_setting_with_its_default() {
        let readme = include_str!("../../README.md");
        for argument in Arguments::command().get_arguments() {
            let Some(flag) = argument.get_long() else {
                continue;
            };
            let help = argument.get_help().expect("a setting has help").to_string();
            let (text, default) = help
                .rsplit_once(" [default: ")
                .expect("help names the default");
            let default = default.trim_end_matches(']');
            let row = format!("| `{}` | {default} | {text} |", flag.replace('-', "_"));
            assert!(readme.contains(&row), "the README lacks the row\n{row}");
        }
    }
}
