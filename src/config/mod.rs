//! The configuration: flags, then `KVSTORE_*` variables, then a TOML file, then the defaults.
//!
//! [`Settings`] is what may be given, all of it optional; [`Config`] is what results, checked.
//! Only this module reads the environment.

mod memory;
pub mod proxies;
mod settings;
pub mod terminal;
pub mod token;

use settings::Filled;
pub use settings::Settings;

use crate::durable::Sync;
use crate::http::Limits;
use crate::log_format::LogFormat;
use crate::misread::Misread;
use crate::store::LOG_FILE_BYTES;
use crate::tls::{Tls, TlsError, TlsFiles};
use crate::tokens::{Auth, AuthFile, AuthFileError};
use crate::valkey::{
    Address, BLOB_HEAD_BYTES_MAX, ClientCertificate, Confirmation, Credentials, LOG_ENTRIES,
    LinkSettings, Logging, PARTITIONS,
};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The longest key that may be allowed, in bytes: percent-encoded, three bytes each, two of them must
/// fit a request's target, as the prefix and the end of the last page; that takes 65,534 bytes.
const KEY_BYTES_LIMIT: usize = 10 * 1024;

/// The most bytes that a bound on one body may allow, and the most keys of a page.
const BODY_BYTES_LIMIT: usize = 1 << 32;
const PAGE_KEYS_LIMIT: usize = 1_000_000;

/// The least for bodies and answers in flight, in bytes: with less, single requests would wait for
/// each other.
const BUFFERS_BYTES_LEAST: usize = 1024 * 1024;

/// The longest value that goes to an engine elsewhere, which takes 512 MiB with what stands before it.
const ENGINE_VALUE_BYTES_MAX: usize = 512 * 1024 * 1024 - BLOB_HEAD_BYTES_MAX;

/// The most changes of a partition that an engine's log may be told to keep.
const WATCH_ENTRIES_LIMIT: usize = 1_000_000;

/// The least for the log's length: with less, checkpoints would be all that the disk does.
const LOG_BYTES_LEAST: u64 = 1024 * 1024;

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

/// Where data is kept, and how.
#[derive(Clone, Debug)]
pub struct DataConfig {
    /// The directory.
    pub directory: PathBuf,
    /// When a change is on disk.
    pub sync: Sync,
    /// How long the log may get, in bytes, where that is set.
    pub log_bytes_max: Option<u64>,
    /// How much of the log is kept that no checkpoint needs, in bytes.
    pub changes_log_bytes: u64,
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
    /// What is to be in its logs, where that is not as it was.
    pub logging: Option<Logging>,
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
    /// The file is not TOML, or has a setting that there is not. Never shows the file's text, which may
    /// hold a password wherever its mistake is.
    #[error(
        "the configuration file {path} is not understood, in line {line}, column {column}: {what}"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1 on.
        line: usize,
        /// Where in the line, from 1 on.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// The file of tokens cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthFileError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
        let file: Self = toml::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
        Ok(self.or(file))
    }
}

fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let Misread { line, column, what } = Misread::of(text, error);
    ConfigError::Malformed {
        path: path.into(),
        line,
        column,
        what,
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
            changes_bytes_max: at_least_one("changes_bytes_max", settings.changes_bytes_max)?,
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

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    const FORM: &str = "give HOST:PORT, such as 127.0.0.1:8000, or port 0 for a free one";
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_port {
        return Err(out_of_range("listen", text, FORM));
    }
    let unresolved = |why: String| {
        let remedy = format!("the host is not found ({why}); {FORM}");
        out_of_range("listen", text, &remedy)
    };
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|error| unresolved(error.to_string()))?;
    addresses
        .next()
        .ok_or_else(|| unresolved("it has no address".into()))
}

/// Who may do what, where not everybody may do everything.
fn auth(settings: &Filled) -> Result<Option<Auth>, ConfigError> {
    match &settings.auth_file {
        Some(path) => Ok(Some(Auth {
            file: Arc::new(AuthFile::load(path.clone())?),
            metrics: settings.auth_metrics,
        })),
        None if settings.auth_metrics => {
            let remedy = "there are no tokens to ask for; set auth_file too";
            Err(out_of_range("auth_metrics", "true", remedy))
        }
        None => Ok(None),
    }
}

/// TLS, where it is spoken.
fn tls(settings: &Filled) -> Result<Option<Arc<Tls>>, ConfigError> {
    let lacks =
        |setting, file: &Path, remedy| Err(out_of_range(setting, &file.to_string_lossy(), remedy));
    match (
        &settings.tls_certificate,
        &settings.tls_key,
        &settings.tls_client_ca,
    ) {
        (Some(certificate), Some(key), client_ca) => Ok(Some(Arc::new(Tls::load(TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            client_ca: client_ca.clone(),
        })?))),
        (Some(file), None, _) => {
            let remedy = "the key of this certificate is missing (setting tls_key)";
            lacks("tls_certificate", file, remedy)
        }
        (None, Some(file), _) => {
            let remedy = "the certificate of this key is missing (setting tls_certificate)";
            lacks("tls_key", file, remedy)
        }
        (None, None, Some(file)) => {
            let remedy =
                "clients show certificates by TLS only; set tls_certificate and tls_key too";
            lacks("tls_client_ca", file, remedy)
        }
        (None, None, None) => Ok(None),
    }
}

/// Where data is kept, if it is.
fn data(settings: &Filled) -> Result<Option<DataConfig>, ConfigError> {
    let sync = sync(&settings.sync)?;
    let changes_log_bytes = settings.changes_log_bytes;
    let Some(directory) = &settings.data_dir else {
        if changes_log_bytes > 0 {
            let remedy = "there is no log without a directory; set data_dir too";
            let given = changes_log_bytes.to_string();
            return Err(out_of_range("changes_log_bytes", &given, remedy));
        }
        return Ok(None);
    };
    let shown = directory.to_string_lossy();
    if directory.as_os_str().is_empty() {
        return Err(out_of_range("data_dir", &shown, "give a directory"));
    }
    if settings.engine != "memory" {
        let remedy = "the data is in the engine (setting engine); leave one of the two out";
        return Err(out_of_range("data_dir", &shown, remedy));
    }
    if let Some(bytes) = settings.log_bytes_max
        && bytes < LOG_BYTES_LEAST
    {
        let remedy = format!("give a number from {LOG_BYTES_LEAST} on");
        return Err(out_of_range("log_bytes_max", &bytes.to_string(), &remedy));
    }
    if (1..LOG_FILE_BYTES).contains(&changes_log_bytes) {
        let remedy =
            format!("give 0, or a number from {LOG_FILE_BYTES} on, which is one file of the log");
        let given = changes_log_bytes.to_string();
        return Err(out_of_range("changes_log_bytes", &given, &remedy));
    }
    Ok(Some(DataConfig {
        directory: directory.clone(),
        sync,
        log_bytes_max: settings.log_bytes_max,
        changes_log_bytes: settings.changes_log_bytes,
    }))
}

/// When a change is on disk: `always`, or a number of milliseconds or seconds.
fn sync(text: &str) -> Result<Sync, ConfigError> {
    const FORM: &str = "give always, or a time from 1ms to 60s such as 100ms";
    let number = |unit| {
        text.strip_suffix(unit)
            .and_then(|number| number.parse().ok())
    };
    let interval = match (text, number("ms"), number("s")) {
        ("always", ..) => return Ok(Sync::Always),
        (_, Some(ms), _) => Some(Duration::from_millis(ms)),
        (_, None, Some(seconds)) => Some(Duration::from_secs(seconds)),
        (_, None, None) => None,
    };
    let range = Duration::from_millis(1)..=Duration::from_secs(60);
    let interval = interval.filter(|interval| range.contains(interval));
    interval
        .map(Sync::Within)
        .ok_or_else(|| out_of_range("sync", text, FORM))
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
        username: settings
            .engine_username
            .clone()
            .filter(|name| !name.is_empty()),
        password: password(
            "engine_password_file",
            settings.engine_password_file.as_deref(),
            "KVSTORE_ENGINE_PASSWORD",
        )?,
    };
    let sentinel_credentials = Credentials {
        username: settings
            .engine_sentinel_username
            .clone()
            .filter(|name| !name.is_empty()),
        password: password(
            "engine_sentinel_password_file",
            settings.engine_sentinel_password_file.as_deref(),
            "KVSTORE_ENGINE_SENTINEL_PASSWORD",
        )?,
    };
    let address = address
        .or_credentials(credentials)
        .with_sentinel_credentials(sentinel_credentials);
    let certificate = certificate(settings, &address)?;
    let value_bytes_max = settings.value_bytes_max;
    if value_bytes_max > ENGINE_VALUE_BYTES_MAX {
        let remedy = format!("an engine takes values of at most {ENGINE_VALUE_BYTES_MAX} bytes");
        let value = value_bytes_max.to_string();
        return Err(out_of_range("value_bytes_max", &value, &remedy));
    }
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
            certificate,
        },
        namespace: namespace.clone(),
        unready_after: duration("engine_unready_after_ms", settings.engine_unready_after_ms)?,
        scrub_interval: duration(
            "engine_scrub_interval_ms",
            settings.engine_scrub_interval_ms,
        )?,
        logging: logging(settings)?,
    }))
}

/// What is to be in the engine's logs, if this server has a say in it.
fn logging(settings: &Filled) -> Result<Option<Logging>, ConfigError> {
    let (name, entries) = ("engine_watch_entries", settings.engine_watch_entries);
    let entries = at_least(name, entries, LOG_ENTRIES)?;
    let entries = at_most(name, entries, WATCH_ENTRIES_LIMIT)?;
    Ok(settings.engine_watch.map(|is_on| match is_on {
        true => Logging::Updates { entries },
        false => Logging::Keys,
    }))
}

/// What we show to an engine that asks who we are, if anything.
fn certificate(
    settings: &Filled,
    address: &Address,
) -> Result<Option<ClientCertificate>, ConfigError> {
    let (certificate, key) = ("engine_tls_cert_file", "engine_tls_key_file");
    let files = (
        &settings.engine_tls_cert_file,
        &settings.engine_tls_key_file,
    );
    let (certificate_file, key_file) = match files {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(file), None) => {
            let remedy = "the key of this certificate is missing (setting engine_tls_key_file)";
            return Err(out_of_range(certificate, &file.to_string_lossy(), remedy));
        }
        (None, Some(file)) => {
            let remedy = "the certificate of this key is missing (setting engine_tls_cert_file)";
            return Err(out_of_range(key, &file.to_string_lossy(), remedy));
        }
    };
    let shown = certificate_file.to_string_lossy();
    if !address.is_tls() {
        let remedy = "the engine is not asked by TLS; give rediss:// in the setting engine";
        return Err(out_of_range(certificate, &shown, remedy));
    }
    let read = |setting, file: &Path| {
        std::fs::read(file).map_err(|error| {
            let remedy = format!("the file cannot be read: {error}");
            out_of_range(setting, &file.to_string_lossy(), &remedy)
        })
    };
    let parsed =
        ClientCertificate::parse(read(certificate, certificate_file)?, read(key, key_file)?);
    parsed
        .map(Some)
        .map_err(|error| out_of_range(certificate, &shown, &error))
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
    // An optional secret that is not there is often an empty one.
    let given = |password: String| Some(password).filter(|password| !password.is_empty());
    let Some(file) = file else {
        return Ok(std::env::var(variable).ok().and_then(given));
    };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(given(text.lines().next().unwrap_or_default().to_owned())),
        Err(error) => {
            let remedy = format!("the file cannot be read: {error}");
            Err(out_of_range(setting, &file.to_string_lossy(), &remedy))
        }
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

fn at_least_one(setting: &'static str, value: usize) -> Result<usize, ConfigError> {
    match value {
        0 => Err(out_of_range(setting, "0", "give a number from 1 on")),
        _ => Ok(value),
    }
}

fn at_least(setting: &'static str, value: usize, least: usize) -> Result<usize, ConfigError> {
    if value < least {
        let remedy = format!("give a number from {least} on");
        return Err(out_of_range(setting, &value.to_string(), &remedy));
    }
    Ok(value)
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

    #[test]
    fn a_file_that_is_not_understood_is_told_of_without_its_text() {
        let path = std::env::temp_dir().join(format!("kvstore-config-{}", std::process::id()));
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let error = Settings::default().or_file(&path).unwrap_err().to_string();
            std::fs::remove_file(&path).unwrap();
            error
        };
        let worker = refused("shards = 1\n\nworker = 1\n");
        assert!(worker.contains("in line 3, column 1"), "{worker}");
        assert!(
            worker.contains("unknown field worker, expected one of listen"),
            "{worker}"
        );
        for text in [
            "engine = redis://:S3CRET@10.0.0.1:6379",
            "engine = [redis://:S3CRET@10.0.0.1:6379]",
            "engine = [\"redis://:S3CRET@10.0.0.1:6379\"]",
            "engine = \"redis://:S3CRET@10.0.0.1:6379",
            "engine = 'redis://:S3CRET@h' x",
            "workers = \"redis://:S3CRET@h\"",
            "workers = \"a\\\"S3CRET\\\", expected S3CRET\"",
            "access_log = \"S3CRET\"",
            "\"redis://:S3CRET@h\" = 1",
            "redis://:S3CRET@h",
            "[engine]\nurl = \"redis://:S3CRET@h\"",
            "engine = {url = \"S3CRET\"}",
            "engine = \"a\"\nengine = \"redis://:S3CRET@h\"",
            "engine = \"redis://:S3CRET@h\\q\"",
            "engine = redis://:S3CRET@h\u{0}",
        ] {
            let error = refused(text);
            assert!(error.contains("in line "), "{error}");
            assert!(!error.contains("S3CRET"), "{error}");
        }
    }
}
