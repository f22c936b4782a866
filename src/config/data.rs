//! The directory that data is kept in, as the settings name it, and when a change is on disk.

use super::error::{ConfigError, out_of_range};
use super::settings::Filled;
use crate::durable::Sync;
use crate::store::LOG_FILE_BYTES;
use std::path::PathBuf;
use std::time::Duration;

/// The least for the log's length: with less, checkpoints would be all that the disk does.
const LOG_BYTES_LEAST: u64 = 1024 * 1024;

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

/// Where data is kept, if it is.
pub(super) fn data(settings: &Filled) -> Result<Option<DataConfig>, ConfigError> {
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
