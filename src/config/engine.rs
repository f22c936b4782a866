//! The engine outside of this process, as the settings name it: where it is, who we are to it, and how long it may take.

use super::error::{ConfigError, out_of_range};
use super::range::{at_least, at_most, duration};
use super::settings::Filled;
use crate::valkey::{
    Address, BLOB_HEAD_BYTES_MAX, ClientCertificate, Confirmation, Credentials, LOG_ENTRIES,
    LinkSettings, Logging,
};
use std::env::VarError;
use std::path::Path;
use std::time::Duration;

/// The longest value that goes to an engine elsewhere, which takes 512 MiB with what stands before it.
const ENGINE_VALUE_BYTES_MAX: usize = 512 * 1024 * 1024 - BLOB_HEAD_BYTES_MAX;

/// The most changes of a partition that an engine's log may be told to keep.
const WATCH_ENTRIES_LIMIT: usize = 1_000_000;

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

/// The engine that the settings name; `None` for this process' memory. What is said of a wrong one
/// never holds the URL, which may have a password in it.
pub(super) fn engine(settings: &Filled) -> Result<Option<EngineConfig>, ConfigError> {
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
    variable: &'static str,
) -> Result<Option<String>, ConfigError> {
    // An optional secret that is not there is often an empty one.
    let given = |password: String| Some(password).filter(|password| !password.is_empty());
    let Some(file) = file else {
        return match std::env::var(variable) {
            Ok(password) => Ok(given(password)),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => {
                let remedy = "it is not UTF-8; give the password as text, or by a file";
                Err(out_of_range(variable, "…", remedy))
            }
        };
    };
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(given(text.lines().next().unwrap_or_default().to_owned())),
        Err(error) => {
            let remedy = format!("the file cannot be read: {error}");
            Err(out_of_range(setting, &file.to_string_lossy(), &remedy))
        }
    }
}
