//! Numbers and times, each within the range of its setting.

use super::error::{ConfigError, out_of_range};
use std::time::Duration;

pub(super) fn at_least_one(setting: &'static str, value: usize) -> Result<usize, ConfigError> {
    match value {
        0 => Err(out_of_range(setting, "0", "give a number from 1 on")),
        _ => Ok(value),
    }
}

pub(super) fn at_least(
    setting: &'static str,
    value: usize,
    least: usize,
) -> Result<usize, ConfigError> {
    if value < least {
        let remedy = format!("give a number from {least} on");
        return Err(out_of_range(setting, &value.to_string(), &remedy));
    }
    Ok(value)
}

pub(super) fn at_most(
    setting: &'static str,
    value: usize,
    most: usize,
) -> Result<usize, ConfigError> {
    if value > most {
        let remedy = format!("give a number up to {most}");
        return Err(out_of_range(setting, &value.to_string(), &remedy));
    }
    Ok(value)
}

pub(super) fn duration(setting: &'static str, value_ms: u64) -> Result<Duration, ConfigError> {
    /// A day: times above are surely meant otherwise, and overflow no clock below.
    const MOST_MS: u64 = 24 * 60 * 60 * 1000;
    if value_ms == 0 || value_ms > MOST_MS {
        let remedy = format!("give a number of milliseconds from 1 to {MOST_MS}");
        return Err(out_of_range(setting, &value_ms.to_string(), &remedy));
    }
    Ok(Duration::from_millis(value_ms))
}
