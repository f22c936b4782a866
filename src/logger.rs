//! The log of a server, on standard error.
//!
//! What the framework's acceptor fails at it tries again twice a second, and says so each time: where there is no
//! descriptor left, that would fill the log for as long as clients like. So of what it repeats, one line a minute
//! is let through.

use crate::log_format::LogFormat;
use env_logger::Logger;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who repeats itself.
const ACCEPTOR: &str = "actix_server::accept";

/// How long what was said is not said again.
const SILENCE: Duration = Duration::from_secs(60);

const ADVICE: &str = "new connections wait, those that are open are served; this is said once a minute at the \
                      most. Where descriptors lack, raise their limit (ulimit -n, LimitNOFILE=)";

/// Begins to log in a form: what the filters say, as of `env_logger`.
pub fn start(filters: &str, format: LogFormat) {
    let mut builder = env_logger::Builder::new();
    format.apply(&mut builder);
    let logger = builder
        .filter_module("actix_server", LevelFilter::Warn)
        // What clients send wrong is not an error of ours, and they must not fill the log.
        .filter_module("actix_http", LevelFilter::Off)
        // It says of each try to reach a node that it failed; we say when the engine begins to fail.
        .filter_module("redis", LevelFilter::Off)
        .parse_filters(filters)
        .build();
    log::set_max_level(logger.filter());
    let logger = Sparing {
        logger,
        said: Mutex::new(Said::default()),
    };
    let is_first = log::set_boxed_logger(Box::new(logger));
    is_first.expect("a process begins to log once");
}

/// A logger to which nothing is repeated.
struct Sparing {
    logger: Logger,
    said: Mutex<Said>,
}

/// What the acceptor said last that was let through.
#[derive(Debug, Default)]
struct Said(Option<(String, Instant)>);

impl Said {
    /// Whether something is to be said at a moment; then it counts as said.
    fn is_new(&mut self, text: String, now: Instant) -> bool {
        if let Some((said, at)) = &self.0
            && *said == text
            && now.saturating_duration_since(*at) < SILENCE
        {
            return false;
        }
        self.0 = Some((text, now));
        true
    }
}

impl Log for Sparing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if record.target() != ACCEPTOR || record.level() != Level::Error {
            self.logger.log(record);
            return;
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_new(record.args().to_string(), Instant::now()) {
            self.logger.log(
                &Record::builder()
                    .metadata(record.metadata().clone())
                    .module_path(record.module_path())
                    .args(format_args!("{}; {ADVICE}", record.args()))
                    .build(),
            );
        }
    }

    fn flush(&self) {
        self.logger.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_said_once_a_minute_and_what_is_new_at_once() {
        let mut said = Said::default();
        let now = Instant::now();
        let second = |number| now + Duration::from_secs(number);
        assert!(said.is_new("no descriptor".into(), now));
        assert!(!said.is_new("no descriptor".into(), second(1)));
        assert!(!said.is_new("no descriptor".into(), second(59)));
        assert!(said.is_new("no workers".into(), second(59)));
        assert!(said.is_new("no descriptor".into(), second(60)));
        assert!(!said.is_new("no descriptor".into(), second(119)));
        assert!(said.is_new("no descriptor".into(), second(120)));
    }
}
