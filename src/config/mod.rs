//! The configuration: flags, then `KVSTORE_*` variables, then a TOML file, then the defaults.
//!
//! [`Settings`] is what may be given, all of it optional; [`Config`] is what results, checked.
//! Only this module reads the environment.
//!
//! # Layout
//! - `settings`: the one table of what may be given; `file`: the file that gives it; `memory`: defaults that depend on
//!   the machine
//! - `listen`, `data`, `engine`: settings that are checked together, by what they are of; `range`: those that are
//!   numbers or times; `error`: what is wrong with one
//! - `proxies`, `token`, `terminal`: what the environment tells the commands that are clients

mod data;
mod engine;
mod error;
mod file;
mod listen;
mod memory;
pub mod proxies;
mod range;
mod settings;
pub mod terminal;
pub mod token;

pub use data::DataConfig;
pub use engine::EngineConfig;
pub use error::ConfigError;
pub use settings::Settings;

use crate::http::Limits;
use crate::log_format::LogFormat;
use crate::tls::Tls;
use crate::tokens::Auth;
use crate::valkey::PARTITIONS;
use data::data;
use engine::engine;
use error::out_of_range;
use listen::{address, auth, tls};
use range::{at_least, at_least_one, at_most, duration};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Which part of the bound on the store the changes that are kept may take: values that replace others fill it, though the
/// store does not grow by them.
const CHANGES_SHARE: usize = 2;

/// The longest key that may be allowed, in bytes: percent-encoded, three bytes each, two of them must
/// fit a request's target, as the prefix and the end of the last page; that takes 65,534 bytes.
const KEY_BYTES_LIMIT: usize = 10 * 1024;

/// The most bytes that a bound on one body may allow, and the most keys of a page.
const BODY_BYTES_LIMIT: usize = 1 << 32;
const PAGE_KEYS_LIMIT: usize = 1_000_000;

/// The least for bodies and answers in flight, in bytes: with less, single requests would wait for
/// each other.
const BUFFERS_BYTES_LEAST: usize = 1024 * 1024;

/// What the server runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads that serve.
    pub workers: usize,
    /// Shares that the keys are divided into.
    pub shards: usize,
    /// Whether so many were asked for: else a data directory may have others.
    pub shards_asked: bool,
    /// Where the data of this process is kept, if it is.
    pub data: Option<DataConfig>,
    /// The engine outside of this process, where the data is not in it.
    pub engine: Option<EngineConfig>,
    /// Who may do what, where not everybody may do everything.
    pub auth: Option<Auth>,
    /// TLS, where it is spoken.
    pub tls: Option<Arc<Tls>>,
    /// The bounds on requests.
    pub limits: Limits,
    /// Messages that may wait for a shard.
    pub messages_in_flight_max: usize,
    /// The bound on the memory of keys and values, in bytes.
    pub store_bytes_max: usize,
    /// The bound on the memory of the changes that are kept for those who watch, in bytes.
    pub changes_bytes_max: usize,
    /// Clients that watch at once.
    pub watchers_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// How long a connection may wait for its next request.
    pub keep_alive: Duration,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long the store may take to answer.
    pub request_timeout: Duration,
    /// How long to serve on after `SIGTERM`.
    pub drain: Duration,
    /// How long requests may take to end after that.
    pub shutdown_timeout: Duration,
    /// Whether to log each request.
    pub access_log: bool,
    /// How long a request may take before it is slow, where slow ones are logged.
    pub slow_request: Option<Duration>,
    /// The form of the log's lines.
    pub log_format: LogFormat,
    /// What to log: filters as of `env_logger`.
    pub log: String,
}

impl Config {
    /// Fills in the defaults and checks every setting.
    ///
    /// # Errors
    /// Where a setting is out of its range.
    pub fn resolve(settings: Settings) -> Result<Self, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = settings.with_defaults();
        let workers = at_least_one("workers", settings.workers.unwrap_or(cores))?;
        let workers = at_most("workers", workers, 512)?;
        let shards = settings.shards.unwrap_or(workers);
        let shards = at_most("shards", at_least_one("shards", shards)?, 1024)?;
        let engine = engine(&settings)?;
        let data = data(&settings)?;
        if engine.is_some() {
            at_most("shards", shards, PARTITIONS)?;
        }
        let key_bytes_max = at_least_one("key_bytes_max", settings.key_bytes_max)?;
        let key_bytes_max = at_most("key_bytes_max", key_bytes_max, KEY_BYTES_LIMIT)?;
        let limits = Limits {
            key_bytes_max,
            value_bytes_max: body_bytes("value_bytes_max", settings.value_bytes_max)?,
            body_bytes_max: body_bytes("body_bytes_max", settings.body_bytes_max)?,
            line_bytes_max: body_bytes("line_bytes_max", settings.line_bytes_max)?,
            buffers_bytes_max: at_least(
                "buffers_bytes_max",
                settings
                    .buffers_bytes_max
                    .unwrap_or_else(memory::default_buffers),
                BUFFERS_BYTES_LEAST,
            )?,
            page_keys_max: at_most(
                "page_keys_max",
                at_least_one("page_keys_max", settings.page_keys_max)?,
                PAGE_KEYS_LIMIT,
            )?,
            body_timeout: duration("body_timeout_ms", settings.body_timeout_ms)?,
        };
        let in_flight = settings.messages_in_flight_max;
        let in_flight = at_least_one("messages_in_flight_max", in_flight)?;
        let store_bytes_max = settings
            .store_bytes_max
            .unwrap_or_else(memory::default_bound);
        let changes_bytes_max = at_least_one("changes_bytes_max", settings.changes_bytes_max)?;
        Ok(Self {
            listen: address(&settings.listen)?,
            workers,
            shards,
            shards_asked: settings.shards.is_some(),
            data,
            engine,
            auth: auth(&settings)?,
            tls: tls(&settings)?,
            limits,
            messages_in_flight_max: at_most("messages_in_flight_max", in_flight, 1 << 20)?,
            store_bytes_max: at_least_one("store_bytes_max", store_bytes_max)?,
            changes_bytes_max: changes_bytes_max.min(store_bytes_max / CHANGES_SHARE),
            watchers_max: at_least_one("watchers_max", settings.watchers_max)?,
            connections_max: at_least_one("connections_max", settings.connections_max)?,
            keep_alive: duration("keep_alive_ms", settings.keep_alive_ms)?,
            head_timeout: duration("head_timeout_ms", settings.head_timeout_ms)?,
            write_timeout: duration("write_timeout_ms", settings.write_timeout_ms)?,
            request_timeout: duration("request_timeout_ms", settings.request_timeout_ms)?,
            drain: Duration::from_millis(settings.drain_ms),
            shutdown_timeout: duration("shutdown_timeout_ms", settings.shutdown_timeout_ms)?,
            access_log: settings.access_log,
            slow_request: match settings.slow_request_ms {
                0 => None,
                some => Some(duration("slow_request_ms", some)?),
            },
            log_format: log_format(&settings.log_format)?,
            log: log_filters(&settings.log)?,
        })
    }
}

fn body_bytes(setting: &'static str, value: usize) -> Result<usize, ConfigError> {
    at_most(setting, at_least_one(setting, value)?, BODY_BYTES_LIMIT)
}

/// What to log: a level, or modules each with one.
fn log_filters(text: &str) -> Result<String, ConfigError> {
    let is_level = |level: &str| level.parse::<log::LevelFilter>().is_ok();
    let is_filter = |filter: &str| match filter.split_once('=') {
        None => is_level(filter),
        Some((module, level)) => !module.is_empty() && is_level(level),
    };
    if text.split(',').all(|filter| is_filter(filter.trim())) {
        return Ok(text.into());
    }
    let remedy = "give off, error, warn, info, debug or trace, or module=level,…";
    Err(out_of_range("log", text, remedy))
}

fn log_format(name: &str) -> Result<LogFormat, ConfigError> {
    let format = LogFormat::parse(name);
    format.ok_or_else(|| out_of_range("log_format", name, "give text or json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_its_default() {
        let config = Config::resolve(Settings::default()).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.shards, config.workers);
        assert_eq!(config.limits.key_bytes_max, 1024);
        assert_eq!(config.keep_alive, Duration::from_secs(75));
        assert!(config.store_bytes_max > 1 << 20);
    }

    #[test]
    fn errors_name_the_setting_and_what_it_takes() {
        let refused = |toml: &str| {
            let settings: Settings = toml::from_str(toml).unwrap();
            Config::resolve(settings).unwrap_err().to_string()
        };
        assert_eq!(
            refused("workers = 0"),
            "workers = 0: give a number from 1 on"
        );
        assert_eq!(
            refused("key_bytes_max = 99999"),
            "key_bytes_max = 99999: give a number up to 10240"
        );
        assert!(refused("listen = \"nowhere\"").starts_with("listen = nowhere: give HOST:PORT"));
        assert!(refused("engine = \"etcd\"").starts_with("engine = …: this is neither memory"));
        assert!(refused("body_timeout_ms = 0").starts_with("body_timeout_ms = 0: give"));
        for sync in [
            "",
            "never",
            "0ms",
            "61s",
            "-1s",
            "100",
            "1e3ms",
            "99999999999999999999s",
        ] {
            let refused = refused(&format!("sync = \"{sync}\""));
            assert!(refused.contains("give always, or a time"), "{refused}");
        }
        let elsewhere = "data_dir = \"d\"\nengine = \"redis://h\"";
        assert!(refused(elsewhere).starts_with("data_dir = d: the data is in the engine"));
        assert!(refused("data_dir = \"\"").contains("give a directory"));
        let short = "data_dir = \"d\"\nlog_bytes_max = 5";
        assert!(refused(short).starts_with("log_bytes_max = 5: give a number from"));
        let kept = refused("changes_log_bytes = 1048576");
        assert!(kept.starts_with("changes_log_bytes = 1048576: there is no log"));
        let short = refused("data_dir = \"d\"\nchanges_log_bytes = 1048576");
        assert!(
            short.starts_with("changes_log_bytes = 1048576: give 0, or a number from 67108864")
        );
        assert!(refused("log = \"inf\"").starts_with("log = inf: give off, error"));
        assert!(refused("log_format = \"xml\"").starts_with("log_format = xml: give text or json"));
        assert!(
            refused("slow_request_ms = 90000000").starts_with("slow_request_ms = 90000000: give")
        );
        assert!(refused("listen = \"no.invalid:1\"").contains("the host is not found"));
        let most = usize::MAX >> 1;
        for setting in ["page_keys_max", "value_bytes_max", "line_bytes_max"] {
            assert!(refused(&format!("{setting} = {most}")).contains("give a number up to"));
        }
    }
}
