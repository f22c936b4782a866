//! Why the server could not start or did not end well.

use crate::durable::{DirectoryError, LogError};
use crate::store::OpenError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why the server could not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}; choose another with --listen")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads, signals or random numbers.
    #[error("the system refuses what the server needs: {0}")]
    System(#[from] io::Error),
    /// It ended, though no signal had come.
    #[error("the HTTP server ended ({0}); the process ends with it, start it again")]
    Ended(String),
    /// The engine cannot be used without a change of the configuration.
    #[error("the engine at {address} cannot be used: {source}")]
    Engine {
        /// Where it is.
        address: String,
        /// Why not.
        source: OpenError,
    },
    /// The data directory cannot be used as it is.
    #[error("the data directory is not used: {0}")]
    Directory(#[from] DirectoryError),
    /// What is in the data directory is not what was acknowledged.
    #[error("the data is not served: {0}")]
    Data(OpenError),
    /// The log of the data directory cannot be begun.
    #[error("the data is not served: {0}")]
    Log(Arc<LogError>),
    /// The metrics do not fit together.
    #[error("the metrics do not fit together: {0}")]
    Metrics(String),
}
