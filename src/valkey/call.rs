//! What is asked of the engine, and how.

use redis::Cmd;
use std::time::Duration;

/// A command for a partition.
#[derive(Clone, Debug)]
pub struct Call {
    /// Which partition all its keys are of.
    pub partition: usize,
    /// The command.
    pub command: Cmd,
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
