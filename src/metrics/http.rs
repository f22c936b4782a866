//! What is measured of the server, beside what the middleware counts of each request.

use super::table::Sampled;
use super::table::Value::{Counter, Gauge};
use super::{counter_by_reason, gauge, options, registered};
use prometheus::{Error, IntCounter, IntCounterVec, IntGauge, Registry};

/// Why a request came to no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The parser took its head for none, or there was no host in its `Host`.
    Head,
    /// There was a raw `#` in its target.
    Fragment,
    /// It came by a connection over the bound.
    Connections,
    /// No route takes its method.
    Method,
    /// No route takes its path.
    Path,
}

impl Refusal {
    const ALL: [Self; 5] = [
        Self::Head,
        Self::Fragment,
        Self::Connections,
        Self::Method,
        Self::Path,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Fragment => "fragment",
            Self::Connections => "connections",
            Self::Method => "method",
            Self::Path => "path",
        }
    }
}

/// Why a request was denied, where there is an `auth_file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It had no token, or one that nobody knows.
    Unauthenticated,
    /// Its token does not allow it.
    Forbidden,
    /// Its token was used too often.
    Rate,
}

impl Denial {
    const ALL: [Self; 3] = [Self::Unauthenticated, Self::Forbidden, Self::Rate];

    fn label(self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Rate => "rate",
        }
    }
}

/// Why a connection was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing came.
    Idle,
    /// Nothing was read.
    Stalled,
    /// A body went on that was refused.
    Refused,
    /// No TLS was agreed on.
    Handshake,
}

impl Cut {
    const ALL: [Self; 4] = [Self::Idle, Self::Stalled, Self::Refused, Self::Handshake];

    /// What it is called in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Refused => "refused",
            Self::Handshake => "handshake",
        }
    }
}

/// What the server is and has at a scrape, beside its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerStats {
    /// Bytes of bodies and answers in flight.
    pub buffers_bytes: usize,
    /// The bound on these.
    pub buffers_bytes_max: usize,
    /// Requests that are not wholly answered.
    pub requests_in_flight: usize,
    /// Clients that watch changes.
    pub watchers: usize,
    /// Events that were given to any of them.
    pub watch_events: u64,
    /// Those that were cut off, since they had fallen out of what is kept.
    pub watchers_cut: u64,
    /// Whether `/readyz` would say so.
    pub is_ready: bool,
    /// Whether the tokens in force are what their file says, or there is none.
    pub is_auth_file_valid: bool,
    /// Whether the certificate in force is what its files say, or there is none.
    pub are_tls_files_valid: bool,
    /// When it ends, in seconds since 1970, and 0 where there is none.
    pub tls_ends_s: u64,
}

pub(super) const SERVER: &[Sampled<ServerStats>] = &[
    Sampled {
        name: "buffers_bytes",
        help: "Memory set aside for bodies and answers in flight, in bytes",
        value: Gauge(|server| server.buffers_bytes as f64),
    },
    Sampled {
        name: "buffers_bytes_max",
        help: "Bound on kvstore_buffers_bytes, past which requests wait and then get 503",
        value: Gauge(|server| server.buffers_bytes_max as f64),
    },
    Sampled {
        name: "http_requests_in_flight",
        help: "Requests not wholly answered, this scrape included",
        value: Gauge(|server| server.requests_in_flight as f64),
    },
    Sampled {
        name: "watchers",
        help: "Clients that watch changes",
        value: Gauge(|server| server.watchers as f64),
    },
    Sampled {
        name: "watch_events_total",
        help: "Changes that those who watch were told of, each counted for each of them",
        value: Counter(|server| server.watch_events as f64),
    },
    Sampled {
        name: "watchers_cut_total",
        help: "Clients that were cut off since they had fallen behind what is kept of the changes",
        value: Counter(|server| server.watchers_cut as f64),
    },
    Sampled {
        name: "ready",
        help: "Whether /readyz says ready: 1, else 0",
        value: Gauge(|server| f64::from(u8::from(server.is_ready))),
    },
    Sampled {
        name: "auth_file_valid",
        help: "0 while auth_file is broken and what it said before is in force, else 1",
        value: Gauge(|server| f64::from(u8::from(server.is_auth_file_valid))),
    },
    Sampled {
        name: "tls_files_valid",
        help: "0 while the files of TLS are broken and what they said before is in force, else 1",
        value: Gauge(|server| f64::from(u8::from(server.are_tls_files_valid))),
    },
    Sampled {
        name: "tls_certificate_expiry_timestamp_seconds",
        help: "When the certificate that clients are shown ends, in seconds since 1970; 0 without TLS",
        value: Gauge(|server| server.tls_ends_s as f64),
    },
];

/// What is counted as it happens.
#[derive(Clone, Debug)]
pub(super) struct ServerEvents {
    /// Open connections.
    pub(super) connections: IntGauge,
    requests_refused: IntCounterVec,
    requests_denied: IntCounterVec,
    connections_cut: IntCounterVec,
    /// Changes whose condition did not hold.
    pub(super) conditions_unmet: IntCounter,
}

impl ServerEvents {
    pub(super) fn new(registry: &Registry) -> Result<Self, Error> {
        Ok(Self {
            connections: gauge(registry, "http_connections", "Open connections")?,
            requests_refused: counter_by_reason(
                registry,
                "http_requests_refused_total",
                "Requests refused before routing, by what was wrong with them: their head, a raw # in \
                 their target (fragment), too many connections, their method, or their path",
                Refusal::ALL.map(Refusal::label),
            )?,
            requests_denied: counter_by_reason(
                registry,
                "http_requests_denied_total",
                "Requests denied, without a token that is known (unauthenticated), beyond what it \
                 allows (forbidden), or over its rate (rate)",
                Denial::ALL.map(Denial::label),
            )?,
            connections_cut: counter_by_reason(
                registry,
                "http_connections_cut_total",
                "Connections cut since nothing came (idle), nothing was read (stalled), a body went on \
                 that was refused (refused), or no TLS was agreed on (handshake)",
                Cut::ALL.map(Cut::label),
            )?,
            conditions_unmet: registered(
                registry,
                IntCounter::with_opts(options(
                    "conditions_unmet_total",
                    "Changes that were not made, since their If-Match, If-None-Match, if_match or \
                     if_none_match did not hold",
                )),
            )?,
        })
    }

    pub(super) fn cut(&self, cut: Cut) {
        self.connections_cut.with_label_values(&[cut.label()]).inc();
    }

    pub(super) fn denied(&self, denial: Denial) {
        let label = denial.label();
        self.requests_denied.with_label_values(&[label]).inc();
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let label = refusal.label();
        self.requests_refused.with_label_values(&[label]).inc();
    }
}
