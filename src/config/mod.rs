//! The configuration: flags, then `KVSTORE_*` variables, then a TOML file, then the defaults.
//!
//! [`Settings`] is what may be given, all of it optional; [`Config`] is what results, checked.
//! Only this module reads the environment.

mod memory;
pub mod proxies;
mod settings;

use settings::Filled;
pub use settings::Settings;

use crate::http::Limits;
use crate::valkey::{Address, Confirmation, Credentials, LinkSettings, PARTITIONS};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest key that may be allowed, in bytes: a key must fit a request's head.
const KEY_BYTES_LIMIT: usize = 32 * 1024;

/// What the server runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads that serve.
    pub workers: usize,
    /// Shares that the keys are divided into.
    pub shards: usize,
    /// The engine outside of this process, where the data is not in it.
    pub engine: Option<EngineConfig>,
    /// The bounds on requests.
    pub limits: Limits,
    /// Messages that may wait for a shard.
    pub messages_in_flight_max: usize,
    /// The bound on the memory of keys and values, in bytes.
    pub store_bytes_max: usize,
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
    /// What to log: filters as of `env_logger`.
    pub log: String,
}

/// An engine outside of this process, and how to use it.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where it is, and how long it may take.
    pub link: LinkSettings,
    /// What all its keys begin with.
    pub namespace: String,
    /// How long it may be silent before the server is not ready.
    pub unready_after: Duration,
    /// How often a partition is compared with it.
    pub scrub_interval: Duration,
}

/// Why a configuration is not one. Each names the setting and says what it takes.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a setting that there is not.
    #[error("the configuration file {path} is not understood: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// A setting is out of its range.
    #[error("{setting} = {value}: {remedy}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// What it was.
        value: String,
        /// What it takes.
        remedy: String,
    },
}

impl Settings {
    /// These settings, and where one is not given, that of the file.
    ///
    /// # Errors
    /// Where the file cannot be read or is not understood.
    pub fn or_file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let file: Self = toml::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.into(),
            source: Box::new(source),
        })?;
        Ok(self.or(file))
    }
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
        if engine.is_some() {
            at_most("shards", shards, PARTITIONS)?;
        }
        let key_bytes_max = at_least_one("key_bytes_max", settings.key_bytes_max)?;
        let key_bytes_max = at_most("key_bytes_max", key_bytes_max, KEY_BYTES_LIMIT)?;
        let limits = Limits {
            key_bytes_max,
            value_bytes_max: at_least_one("value_bytes_max", settings.value_bytes_max)?,
            body_bytes_max: at_least_one("body_bytes_max", settings.body_bytes_max)?,
            line_bytes_max: at_least_one("line_bytes_max", settings.line_bytes_max)?,
            page_keys_max: at_least_one("page_keys_max", settings.page_keys_max)?,
            body_timeout: duration("body_timeout_ms", settings.body_timeout_ms)?,
        };
        let in_flight = settings.messages_in_flight_max;
        let in_flight = at_least_one("messages_in_flight_max", in_flight)?;
        let store_bytes_max = settings
            .store_bytes_max
            .unwrap_or_else(memory::default_bound);
        Ok(Self {
            listen: address(&settings.listen)?,
            workers,
            shards,
            engine,
            limits,
            messages_in_flight_max: at_most("messages_in_flight_max", in_flight, 1 << 20)?,
            store_bytes_max: at_least_one("store_bytes_max", store_bytes_max)?,
            connections_max: at_least_one("connections_max", settings.connections_max)?,
            keep_alive: duration("keep_alive_ms", settings.keep_alive_ms)?,
            head_timeout: duration("head_timeout_ms", settings.head_timeout_ms)?,
            write_timeout: duration("write_timeout_ms", settings.write_timeout_ms)?,
            request_timeout: duration("request_timeout_ms", settings.request_timeout_ms)?,
            drain: Duration::from_millis(settings.drain_ms),
            shutdown_timeout: duration("shutdown_timeout_ms", settings.shutdown_timeout_ms)?,
            access_log: settings.access_log,
            log: settings.log,
        })
    }
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let resolved = text.to_socket_addrs().ok().and_then(|mut all| all.next());
    let remedy = "give HOST:PORT, such as 127.0.0.1:8000, or port 0 for a free one";
    resolved.ok_or_else(|| out_of_range("listen", text, remedy))
}

/// The engine that the settings name; `None` for this process' memory. What is said of a wrong one
/// never holds the URL, which may have a password in it.
fn engine(settings: &Filled) -> Result<Option<EngineConfig>, ConfigError> {
    if settings.engine == "memory" {
        return Ok(None);
    }
    let address = Address::parse(&settings.engine);
    let address = address.map_err(|error| out_of_range("engine", "…", &error.to_string()))?;
    let credentials = Credentials {
        username: settings.engine_username.clone(),
        password: password(
            "engine_password_file",
            settings.engine_password_file.as_deref(),
            "KVSTORE_ENGINE_PASSWORD",
        )?,
    };
    let sentinel_credentials = Credentials {
        username: settings.engine_sentinel_username.clone(),
        password: password(
            "engine_sentinel_password_file",
            settings.engine_sentinel_password_file.as_deref(),
            "KVSTORE_ENGINE_SENTINEL_PASSWORD",
        )?,
    };
    let address = address
        .or_credentials(credentials)
        .with_sentinel_credentials(sentinel_credentials);
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "._-:".contains(character);
    let namespace = &settings.namespace;
    if namespace.is_empty() || namespace.len() > 64 || !namespace.chars().all(is_plain) {
        let remedy = "give 1 to 64 letters, digits, . _ - or :";
        return Err(out_of_range("namespace", namespace, remedy));
    }
    Ok(Some(EngineConfig {
        link: LinkSettings {
            address,
            connect_timeout: duration(
                "engine_connect_timeout_ms",
                settings.engine_connect_timeout_ms,
            )?,
            response_timeout: duration(
                "engine_response_timeout_ms",
                settings.engine_response_timeout_ms,
            )?,
            confirmation: confirmation(settings)?,
        },
        namespace: namespace.clone(),
        unready_after: duration("engine_unready_after_ms", settings.engine_unready_after_ms)?,
        scrub_interval: duration(
            "engine_scrub_interval_ms",
            settings.engine_scrub_interval_ms,
        )?,
    }))
}

/// Who must confirm a change, if anybody.
fn confirmation(settings: &Filled) -> Result<Option<Confirmation>, ConfigError> {
    let replicas = settings.engine_wait_replicas;
    if replicas == 0 {
        return Ok(None);
    }
    let name = "engine_wait_timeout_ms";
    let wait = settings.engine_wait_timeout_ms;
    // Else the connection is given up before the engine says how many have it.
    if wait >= settings.engine_response_timeout_ms {
        let remedy = "give less than engine_response_timeout_ms";
        return Err(out_of_range(name, &wait.to_string(), remedy));
    }
    Ok(Some(Confirmation {
        replicas: at_most("engine_wait_replicas", replicas, 1000)?,
        timeout: duration(name, wait)?,
    }))
}

/// The password in the first line of the file that a setting names, else that in a variable.
fn password(
    setting: &'static str,
    file: Option<&Path>,
    variable: &str,
) -> Result<Option<String>, ConfigError> {
    let Some(file) = file else {
        return Ok(std::env::var(variable).ok());
    };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.lines().next().unwrap_or_default().to_owned())),
        Err(error) => {
            let remedy = format!("the file cannot be read: {error}");
            Err(out_of_range(setting, &file.to_string_lossy(), &remedy))
        }
    }
}

fn at_least_one(setting: &'static str, value: usize) -> Result<usize, ConfigError> {
    match value {
        0 => Err(out_of_range(setting, "0", "give a number from 1 on")),
        _ => Ok(value),
    }
}

fn at_most(setting: &'static str, value: usize, most: usize) -> Result<usize, ConfigError> {
    if value > most {
        let remedy = format!("give a number up to {most}");
        return Err(out_of_range(setting, &value.to_string(), &remedy));
    }
    Ok(value)
}

fn duration(setting: &'static str, value_ms: u64) -> Result<Duration, ConfigError> {
    /// A day: times above are surely meant otherwise, and overflow no clock below.
    const MOST_MS: u64 = 24 * 60 * 60 * 1000;
    if value_ms == 0 || value_ms > MOST_MS {
        let remedy = format!("give a number of milliseconds from 1 to {MOST_MS}");
        return Err(out_of_range(setting, &value_ms.to_string(), &remedy));
    }
    Ok(Duration::from_millis(value_ms))
}

fn out_of_range(setting: &'static str, value: &str, remedy: &str) -> ConfigError {
    ConfigError::OutOfRange {
        setting,
        value: value.into(),
        remedy: remedy.into(),
    }
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
            "key_bytes_max = 99999: give a number up to 32768"
        );
        assert!(refused("listen = \"nowhere\"").starts_with("listen = nowhere: give HOST:PORT"));
        assert!(refused("engine = \"etcd\"").starts_with("engine = …: this is neither memory"));
        assert!(refused("body_timeout_ms = 0").starts_with("body_timeout_ms = 0: give"));
        let unknown = toml::from_str::<Settings>("worker = 1").unwrap_err();
        assert!(unknown.to_string().contains("unknown field `worker`"));
    }
}
