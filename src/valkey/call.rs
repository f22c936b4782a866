//! What is asked of the engine, and how.

use redis::Cmd;
use std::time::Duration;

/// An engine may refuse an argument of more bytes (`proto-max-bulk-len`, which cannot be set lower), and
/// ends the connection that it came on.
const ALWAYS_TAKEN_BYTES: usize = 1024 * 1024;

/// A command for a partition.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which partition all its keys are of.
    pub partition: usize,
    /// The command.
    pub command: Cmd,
    /// Whether the engine may end the connection for its length, so that it has one of its own.
    pub is_large: bool,
}

impl Call {
    /// A command whose arguments are all short.
    pub fn new(partition: usize, command: Cmd) -> Self {
        Self {
            partition,
            command,
            is_large: false,
        }
    }

    /// The same command, whose longest argument has so many bytes.
    pub fn with_longest(mut self, bytes: usize) -> Self {
        self.is_large = is_large(bytes);
        self
    }
}

/// Whether an engine may refuse an argument of so many bytes.
pub fn is_large(bytes: usize) -> bool {
    bytes > ALWAYS_TAKEN_BYTES
}

/// Whether a request may be sent again where it is not known whether it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may: it changes nothing.
    Read,
    /// It may not.
    Write,
    /// It may not, and as many replicas as the settings ask for must have it too.
    ConfirmedWrite,
}

/// Who must have a change before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// How many replicas, besides the master.
    pub replicas: usize,
    /// How long they may take.
    pub timeout: Duration,
}
