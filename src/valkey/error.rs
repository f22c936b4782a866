//! What can go wrong with an engine outside of this process.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why the engine did not do what it was asked. Each says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EngineError {
    /// There is no connection, so nothing was sent.
    #[error(
        "the engine cannot be reached; nothing was done, try again after a pause \
         (is it running at the address of the setting engine?)"
    )]
    Unreachable,
    /// It was sent, and no answer came.
    #[error(
        "the engine did not answer in time (settings engine_response_timeout_ms and \
         request_timeout_ms), or the connection was lost; whether a change was made is unknown: \
         read the key, or repeat the request if repeating it does no harm"
    )]
    Unanswered,
    /// It was done, but too few replicas said in time that they have it.
    #[error(
        "the change was made, but fewer replicas than the setting engine_wait_replicas have \
         confirmed it within engine_wait_timeout_ms; a failover may undo it: repeat the request if \
         repeating it does no harm, and look at the engine's replicas"
    )]
    Unreplicated,
    /// It is loading its data, or busy with somebody's script.
    #[error(
        "the engine is loading its data, or busy with a script; nothing was done, try again after \
         a pause"
    )]
    Loading,
    /// It takes no writes: a replica, or one that lacks replicas or its disk.
    #[error(
        "the engine takes no writes at the moment (a replica, a master without enough replicas, \
         or a failing disk); nothing was done, try again after a pause"
    )]
    ReadOnly,
    /// The cluster has nobody for the key now: a failover, or slots on their way.
    #[error(
        "the cluster has no node for the key at the moment (a failover, or slots that move); \
         nothing was done, try again after a pause"
    )]
    Moving,
    /// Its memory is at its bound.
    #[error("the engine is full (its maxmemory); nothing was done: delete keys or raise its bound")]
    Full,
    /// It refuses our credentials, or they do not allow a command.
    #[error(
        "the engine refuses our credentials, or they lack a permission; nothing was done: check \
         the user and password of the setting engine, those of its Sentinels, and the user's ACL"
    )]
    Denied,
    /// Something of another type is where our data should be.
    #[error(
        "something else is where the engine should hold our data (a key of another type, or a \
         value that we did not write); nothing was done: look at the keys of the setting \
         namespace with redis-cli"
    )]
    Foreign,
    /// The namespace holds data of another layout.
    #[error(
        "the namespace holds data of another layout, written by another version; nothing was \
         done: choose another namespace, or export with that version and import with this"
    )]
    Layout,
    /// The index of keys is being repaired.
    #[error(
        "the index of keys is being brought up to date with the engine; nothing was done, try \
         again after a pause"
    )]
    Behind,
    /// It does not know a script of ours, and has not run it.
    #[error("the engine does not know our script; nothing was done, try again")]
    Unscripted,
    /// Any other error.
    #[error(
        "the engine answered with an error, which the log has at level debug; nothing was done"
    )]
    Other,
}

impl EngineError {
    /// All kinds, in the order of their labels.
    pub const ALL: [Self; 13] = [
        Self::Unreachable,
        Self::Unanswered,
        Self::Unreplicated,
        Self::Loading,
        Self::ReadOnly,
        Self::Moving,
        Self::Full,
        Self::Denied,
        Self::Foreign,
        Self::Layout,
        Self::Behind,
        Self::Unscripted,
        Self::Other,
    ];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unanswered => "unanswered",
            Self::Unreplicated => "unreplicated",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::Moving => "moving",
            Self::Full => "full",
            Self::Denied => "denied",
            Self::Foreign => "foreign",
            Self::Layout => "layout",
            Self::Behind => "behind",
            Self::Unscripted => "unscripted",
            Self::Other => "other",
        }
    }

    /// Whether the same request, sent again, may go through: the engine said that it did not run,
    /// for a reason that passes.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Loading | Self::ReadOnly | Self::Moving)
    }

    /// What an error of the client means for what was asked.
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(kind) => Self::of_server(kind, error),
            ErrorKind::AuthenticationFailed => Self::Denied,
            ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel
            | ErrorKind::EmptySentinelList => Self::Unreachable,
            ErrorKind::Io if error.is_connection_refusal() => Self::Unreachable,
            ErrorKind::Io | ErrorKind::Parse => Self::Unanswered,
            ErrorKind::Extension => match error.code().unwrap_or_default() {
                "OOM" => Self::Full,
                "NOAUTH" | "WRONGPASS" => Self::Denied,
                "WRONGTYPE" => Self::Foreign,
                "NOREPLICAS" | "MISCONF" => Self::ReadOnly,
                "BUSY" => Self::Loading,
                _ => Self::noted(error),
            },
            _ => Self::noted(error),
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
            ServerErrorKind::NoPerm => Self::Denied,
            ServerErrorKind::NoScript => Self::Unscripted,
            _ => {
                // Errors inside scripts come as text.
                let detail = error.detail().unwrap_or_default();
                if detail.contains("WRONGTYPE") || detail.contains("not our data") {
                    Self::Foreign
                } else {
                    Self::noted(error)
                }
            }
        }
    }

    /// An error without a kind of its own. What it says holds no key and no value of ours, but may
    /// quote what we sent, so that the log has it for debugging only.
    fn noted(error: &RedisError) -> Self {
        log::warn!("the engine answered with the error {:?}", error.kind());
        log::debug!("the engine's error says: {error}");
        Self::Other
    }
}
