//! What the client's errors mean.

use super::error::{EngineError, Lack};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use rustls::{AlertDescription, CertificateError};
use std::error::Error;
use std::io;
use std::sync::Arc;

impl EngineError {
    /// What an error of the client means for what was asked.
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(kind) => Self::of_server(kind, error),
            ErrorKind::AuthenticationFailed => Self::of_login(error),
            ErrorKind::MasterNameNotFoundBySentinel => Self::NoMaster,
            ErrorKind::ClusterConnectionNotFound
            | ErrorKind::NoValidReplicasFoundBySentinel
            | ErrorKind::EmptySentinelList => Self::Unreachable,
            ErrorKind::Io if error.is_connection_refusal() => Self::Unreachable,
            ErrorKind::Io | ErrorKind::Parse => Self::Unanswered,
            ErrorKind::Extension => match error.code().unwrap_or_default() {
                "OOM" => Self::Full,
                "NOAUTH" | "WRONGPASS" => Self::Denied,
                "DENIED" => Self::Protected,
                "WRONGTYPE" => Self::Foreign,
                "NOREPLICAS" | "MISCONF" => Self::ReadOnly,
                "BUSY" => Self::Loading,
                _ => Self::noted(error),
            },
            _ => Self::noted(error),
        }
    }

    /// As [`EngineError::of`], of a node that should be no cluster's.
    pub(super) fn of_node(error: &RedisError) -> Self {
        match error.code() {
            Some("MOVED" | "ASK" | "CLUSTERDOWN") => Self::IsCluster,
            _ => Self::of(error),
        }
    }

    /// What it means that no connection was made. Nothing was sent then, whatever went wrong.
    pub(super) fn of_connecting(error: &RedisError) -> Self {
        if let Some(tls) = tls_error(error) {
            return Self::of_tls(tls);
        }
        let text = error.to_string();
        if text.contains("failed to lookup address") || text.contains("No address found") {
            return Self::Unresolved;
        }
        // What the library says of these has a kind of its own.
        if let Some(known) = Self::of_words(&text) {
            return known;
        }
        match Self::of(error) {
            Self::Unanswered if error.kind() == ErrorKind::Parse => Self::NotAnEngine,
            Self::Unanswered if error.is_connection_dropped() => Self::HungUp,
            Self::Unanswered | Self::Other => Self::Unreachable,
            known => known,
        }
    }

    fn of_server(kind: ServerErrorKind, error: &RedisError) -> Self {
        match kind {
            ServerErrorKind::BusyLoading => Self::Loading,
            ServerErrorKind::ReadOnly => Self::ReadOnly,
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown => Self::Moving,
            ServerErrorKind::CrossSlot => Self::IsCluster,
            ServerErrorKind::NoPerm => Self::Forbidden(lack(error.detail().unwrap_or_default())),
            ServerErrorKind::NoScript => Self::Unscripted,
            // Errors inside of scripts come as words.
            _ => {
                let known = Self::of_words(error.detail().unwrap_or_default());
                known.unwrap_or_else(|| Self::noted(error))
            }
        }
    }

    /// The user or password is refused, or the connection before they were looked at.
    fn of_login(error: &RedisError) -> Self {
        Self::of_words(error.detail().unwrap_or_default()).unwrap_or(Self::Denied)
    }

    /// What is told by nothing but an error's words.
    fn of_words(words: &str) -> Option<Self> {
        let has = |part: &str| words.contains(part);
        Some(if has("of a newer version") {
            Self::Newer
        } else if has("WRONGTYPE") || has("not our data") {
            Self::Foreign
        } else if has("max number of clients") {
            Self::Crowded
        } else if has("protected mode") {
            Self::Protected
        } else if has("DB index") {
            Self::Database
        } else if has("cluster support disabled") {
            Self::NoCluster
        } else if has("no permissions") || has("can't run this command") || has("ACL failure") {
            Self::Forbidden(lack(words))
        } else if has("nknown command") || has("Unknown Redis command") {
            Self::Lacking(lack(words))
        } else if has("compiling script") || has("shebang") {
            Self::Old
        } else if has("invalid bulk length") || has("bit offset") {
            Self::TooLarge
        } else if has("OOM command not allowed") {
            Self::Full
        } else {
            return None;
        })
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::OtherName,
            rustls::Error::InvalidCertificate(_) => Self::Untrusted,
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::NoCertificate
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure,
            ) => Self::ClientCertificate,
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            _ => Self::HungUp,
        }
    }

    /// An error without a kind of its own. What it says holds no key and no value of ours, but may
    /// quote what we sent, so that the log has it for debugging only.
    fn noted(error: &RedisError) -> Self {
        log::debug!("the engine answered with an error of no known kind: {error}");
        Self::Other
    }
}

/// What of our commands an engine's words name: the first word in quotes.
fn lack(words: &str) -> Lack {
    let quoted = words.split(['\'', '`']).nth(1);
    // In a script it is the script's hash that is quoted, or nothing.
    quoted.map_or(Lack::SOMETHING, Lack::of)
}

/// The error of TLS that lies under an error of the client.
fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(mut error) = source {
        // The client gives its source as the pointer that it shares it by.
        if let Some(shared) = error.downcast_ref::<Arc<dyn Error + Send + Sync>>() {
            error = shared.as_ref();
        }
        // An error of input and output skips the one that it wraps.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| wrapped?.downcast_ref());
        if tls.is_some() {
            return tls;
        }
        source = error.source();
    }
    None
}
