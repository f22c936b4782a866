//! What can go wrong with an engine outside of this process.

use super::commands;
use std::fmt;

/// Why the engine did not do what it was asked. Each says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum EngineError {
    /// There is no connection, so nothing was sent.
    #[error(
        "the engine cannot be reached; nothing was done, try again after a pause \
         (is it running at the address of the setting engine?)"
    )]
    Unreachable,
    /// Nobody knows the name of its host.
    #[error(
        "the name of the engine's host is not known, so that it cannot be reached; nothing was done, try \
         again after a pause (is the host of the setting engine right, and does DNS answer?)"
    )]
    Unresolved,
    /// Its certificate is signed by nobody whom we trust, or out of date.
    #[error(
        "the engine cannot be reached by TLS, since its certificate is not trusted; nothing was done: name \
         the file of the authority that signed it in SSL_CERT_FILE, and see whether it has expired"
    )]
    Untrusted,
    /// Its certificate is another host's.
    #[error(
        "the engine cannot be reached by TLS, since its certificate is for another name than the host of \
         the setting engine; nothing was done: use a name of the certificate, or have it signed for this one"
    )]
    OtherName,
    /// It wants a certificate of us, or another one.
    #[error(
        "the engine cannot be reached by TLS, since it asks for a client certificate and takes none or not \
         this one; nothing was done: give one that it trusts (settings engine_tls_cert_file and \
         engine_tls_key_file)"
    )]
    ClientCertificate,
    /// It does not speak TLS.
    #[error(
        "the engine cannot be reached by TLS, since what answers there is not TLS; nothing was done: give the \
         engine's TLS port, or redis:// instead of rediss://"
    )]
    NotTls,
    /// It ends the connection before it says anything.
    #[error(
        "the engine cannot be used, since connections to it are ended at once; nothing was done, try again \
         after a pause (does its port want TLS, with rediss://?)"
    )]
    HungUp,
    /// It speaks, but not the protocol.
    #[error(
        "what answers at the engine's address is no Valkey or Redis; nothing was done: check the port of \
         the setting engine"
    )]
    NotAnEngine,
    /// It has as many connections as it takes.
    #[error(
        "the engine takes no more connections (its maxclients); nothing was done: raise it, each server \
         has up to four a worker with each node"
    )]
    Crowded,
    /// It has no database of this number.
    #[error(
        "the engine has no database of the number in the setting engine (its databases); nothing was done: \
         give a lower one"
    )]
    Database,
    /// It is one node, and no cluster.
    #[error(
        "the engine is no cluster, while the setting engine says redis+cluster; nothing was done: give \
         redis:// for one node"
    )]
    NoCluster,
    /// It is one node of a cluster.
    #[error(
        "the engine is a node of a cluster, while the setting engine names one node; nothing was done: \
         give redis+cluster://"
    )]
    IsCluster,
    /// The Sentinels know no master of this name.
    #[error(
        "the engine cannot be reached, since no Sentinel that answers knows a master of the name in the \
         setting engine; nothing was done, try again after a pause"
    )]
    NoMaster,
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
    /// It refuses strangers.
    #[error(
        "the engine is in protected mode and refuses connections of other machines; nothing was done: give \
         it a password, and us the same"
    )]
    Protected,
    /// It refuses our credentials.
    #[error(
        "the engine refuses our credentials; nothing was done: check the user and password of the \
         setting engine, and those of its Sentinels"
    )]
    Denied,
    /// Our user may not do this.
    #[error(
        "the engine's user lacks a permission for {0}; nothing was done: give it what docs/operations.md \
         lists (ACL SETUSER)"
    )]
    Forbidden(Lack),
    /// It has no such command.
    #[error(
        "the engine lacks {0}, renamed or turned off; nothing was done: have it take what \
         docs/operations.md lists"
    )]
    Lacking(Lack),
    /// It runs no scripts as ours are.
    #[error(
        "the engine does not run scripts with flags, as Redis 7 and Valkey do; nothing was done: use one of \
         these, or a later version"
    )]
    Old,
    /// The value is longer than it takes.
    #[error(
        "the value is longer than the engine takes (its proto-max-bulk-len or client-query-buffer-limit); \
         nothing was done: raise that, or store less under a key"
    )]
    TooLarge,
    /// Others are before it.
    #[error(
        "values over 1 MiB go to the engine one at a time, and others were before this one; nothing was \
         done, try again after a pause"
    )]
    Queued,
    /// Something of another type is where our data should be.
    #[error(
        "something else is where the engine should hold our data (a key of another type, or a \
         value that we did not write); nothing was done: look at the keys of the setting \
         namespace with redis-cli"
    )]
    Foreign,
    /// A value is of a version that we do not know.
    #[error(
        "the value was written by a newer version of kvstore, which this one cannot read; nothing was done: \
         ask a server of that version, or upgrade this one"
    )]
    Newer,
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

/// What the engine does not let us do: the name of a command of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lack(pub(super) &'static str);

impl Lack {
    /// What is not named.
    pub(super) const SOMETHING: Self = Self("a command or key that it uses");

    /// What a command's name stands for, if it is one of ours.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_ascii_uppercase();
        let ours = commands::all().find(|command| *command == name);
        ours.map_or(Self::SOMETHING, Self)
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SOMETHING => formatter.write_str(self.0),
            Self(command) => write!(formatter, "the command {command}"),
        }
    }
}

impl EngineError {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 32] = [
        Self::Unreachable,
        Self::Unresolved,
        Self::Untrusted,
        Self::OtherName,
        Self::ClientCertificate,
        Self::NotTls,
        Self::HungUp,
        Self::NotAnEngine,
        Self::Crowded,
        Self::Database,
        Self::NoCluster,
        Self::IsCluster,
        Self::NoMaster,
        Self::Unanswered,
        Self::Unreplicated,
        Self::Loading,
        Self::ReadOnly,
        Self::Moving,
        Self::Full,
        Self::Protected,
        Self::Denied,
        Self::Forbidden(Lack::SOMETHING),
        Self::Lacking(Lack::SOMETHING),
        Self::Old,
        Self::TooLarge,
        Self::Queued,
        Self::Foreign,
        Self::Newer,
        Self::Layout,
        Self::Behind,
        Self::Unscripted,
        Self::Other,
    ];

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unresolved => "unresolved",
            Self::Untrusted => "tls_untrusted",
            Self::OtherName => "tls_other_name",
            Self::ClientCertificate => "tls_client_certificate",
            Self::NotTls => "tls_missing",
            Self::HungUp => "hung_up",
            Self::NotAnEngine => "not_an_engine",
            Self::Crowded => "max_clients",
            Self::Database => "no_database",
            Self::NoCluster => "no_cluster",
            Self::IsCluster => "is_cluster",
            Self::NoMaster => "no_master",
            Self::Unanswered => "unanswered",
            Self::Unreplicated => "unreplicated",
            Self::Loading => "loading",
            Self::ReadOnly => "read_only",
            Self::Moving => "moving",
            Self::Full => "full",
            Self::Protected => "protected",
            Self::Denied => "denied",
            Self::Forbidden(_) => "forbidden",
            Self::Lacking(_) => "lacking",
            Self::Old => "old",
            Self::TooLarge => "too_large",
            Self::Queued => "queued",
            Self::Foreign => "foreign",
            Self::Newer => "newer",
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

    /// Whether it goes on for as long as neither the engine's configuration nor ours changes.
    pub fn stays(self) -> bool {
        matches!(
            self,
            Self::Untrusted
                | Self::OtherName
                | Self::ClientCertificate
                | Self::NotTls
                | Self::NotAnEngine
                | Self::Database
                | Self::NoCluster
                | Self::IsCluster
                | Self::Protected
                | Self::Denied
                | Self::Forbidden(_)
                | Self::Lacking(_)
                | Self::Old
                | Self::Foreign
                | Self::Layout
        )
    }

    /// Whether it is what the engine holds that is wrong.
    pub fn is_of_data(self) -> bool {
        matches!(self, Self::Foreign | Self::Newer | Self::Layout)
    }

    /// Whether it is the engine that fails, rather than one request.
    pub(super) fn is_outage(self) -> bool {
        let is_of_request = matches!(
            self,
            Self::TooLarge | Self::Queued | Self::Behind | Self::Unscripted
        );
        !is_of_request && !self.is_of_data()
    }

    /// Whether it concerns changes only, so that reads that go well say nothing of it.
    pub(super) fn is_of_changes(self) -> bool {
        matches!(
            self,
            Self::Unreplicated
                | Self::ReadOnly
                | Self::Full
                | Self::Forbidden(_)
                | Self::Lacking(_)
        )
    }
}
