//! How many descriptors the process may have, and how they are divided: clients must never hold those that the process
//! needs itself, since a log that cannot open its next file ends it.

use crate::config::Config;
use crate::http::SPARE_CONNECTIONS;
use log::{info, warn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are left for other things than clients' connections where there are many: files, the engine's
/// connections, and each worker's loop.
const OTHERS: usize = 64;
const WORKER_OTHERS: usize = 8;

/// Those that the process cannot do without: its streams, sockets and signals, a data directory's files, which are
/// a dozen at once; each worker's loop and socket; and each worker's connections to an engine's node.
const OWN: usize = 24;
const WORKER_OWN: usize = 4;
const WORKER_ENGINE: usize = 4;

/// Connections over the bound that each worker takes however few descriptors there are: one that is kept, and one that
/// ends it.
const SPARE_LEAST: usize = 2;

/// For how many connections there are descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// Those that may be open in the whole process.
    pub(crate) open_max: usize,
    /// Those over that bound which each worker takes, so that health can be asked for.
    pub(crate) spare_max: usize,
}

impl Places {
    /// Raises the process' limit as far as it can be, and divides what there is.
    pub(crate) fn find(config: &Config) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let descriptors = limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let places = Self::within(descriptors, config);
        let connections = places.open_max;
        if connections < config.connections_max {
            warn!(
                "up to {connections} connections, not connections_max = {}, since the process may have \
                 {descriptors} descriptors; raise its limit (ulimit -n, LimitNOFILE=)",
                config.connections_max
            );
        } else {
            info!(
                "up to {connections} connections (connections_max), of {descriptors} descriptors"
            );
        }
        places
    }

    /// Where there are many descriptors, others get what they may ever need. Where there are few, half of what
    /// the process can do without is for connections within the bound, and half for those over it.
    fn within(descriptors: usize, config: &Config) -> Self {
        let workers = config.workers;
        let worker_engine = match config.engine {
            None => 0,
            Some(_) => WORKER_ENGINE,
        };
        let own = OWN + workers * (WORKER_OWN + worker_engine);
        let free = descriptors.saturating_sub(own);
        let many =
            descriptors.saturating_sub(OTHERS + workers * (SPARE_CONNECTIONS + WORKER_OTHERS));
        let few = (descriptors / 4).min(free / 2);
        let open_max = config.connections_max.min(many.max(few).max(1));
        let spare = (free / workers).saturating_sub(open_max.div_ceil(workers));
        Self {
            open_max,
            spare_max: spare.clamp(SPARE_LEAST, SPARE_CONNECTIONS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn places(descriptors: usize, workers: usize) -> Places {
        let settings = Settings {
            workers: Some(workers),
            ..Settings::default()
        };
        Places::within(descriptors, &Config::resolve(settings).unwrap())
    }

    #[test]
    fn connections_leave_the_process_what_it_needs() {
        for workers in 1..=64 {
            for descriptors in [64, 100, 128, 256, 500, 1024, 20_000, 1 << 20] {
                let own = OWN + WORKER_OWN * workers;
                let Places {
                    open_max,
                    spare_max,
                } = places(descriptors, workers);
                assert!(open_max >= 1 && spare_max >= SPARE_LEAST);
                let taken = workers * (open_max.div_ceil(workers) + spare_max) + own;
                // With less than this a worker has not even those that it takes in any case.
                if descriptors >= own + 2 * workers * (SPARE_LEAST + 1) {
                    assert!(
                        taken <= descriptors,
                        "{taken} of {descriptors} with {workers}"
                    );
                }
            }
        }
    }

    #[test]
    fn few_descriptors_are_divided_and_many_are_enough() {
        let few = Places {
            open_max: 16,
            spare_max: 8,
        };
        assert_eq!(places(64, 2), few);
        let some = Places {
            open_max: 32,
            spare_max: SPARE_CONNECTIONS,
        };
        assert_eq!(places(128, 1), some);
        let all = Places {
            open_max: 25_000,
            spare_max: SPARE_CONNECTIONS,
        };
        assert_eq!(places(1 << 20, 8), all);
    }
}
