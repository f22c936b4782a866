//! Why a command fails, and whose fault that is.

use crate::client::{ClientError, Fault};
use std::io;

/// Why a command failed. None shows a value or a token.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// There is no whole answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The key names no value.
    #[error("the key names no value")]
    Absent,
    /// A condition does not hold; what the server says of it.
    #[error("{0}")]
    Unmet(String),
    /// The server refused for another reason.
    #[error("the server refused with {status}: {detail}{}", remedy(.status))]
    Refused {
        /// Its status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// What was asked back was not answered by yes.
    #[error("nothing was deleted")]
    Declined,
    /// There is nobody to ask back.
    #[error(
        "this deletes all keys that match, and there is no terminal to ask back on: give --yes, or --dry-run to count \
         them; nothing was done"
    )]
    Unasked,
    /// What is answered is of another form than a kvstore's answers.
    #[error("what the server sends is not {0}: is it a kvstore?")]
    Form(&'static str),
    /// The server gave up a watch that was read too slowly.
    #[error(
        "the output was read more slowly than changes came, and what comes next is not kept any more: begin anew with \
         --from-start"
    )]
    Behind,
    /// A watch ended before it had an event to go on behind.
    #[error("the server ended the watch before there was an event to go on behind: begin anew")]
    CutOff,
    /// Input cannot be read.
    #[error("cannot read {0}: {1}")]
    Input(String, io::Error),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl ShellError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Client(error) => error.fault(),
            Self::Absent
            | Self::Unmet(_)
            | Self::Refused { .. }
            | Self::Declined
            | Self::Behind => Fault::Refusal,
            Self::Unasked => Fault::Usage,
            Self::Form(_) | Self::CutOff | Self::Input(..) | Self::Output(_) => Fault::Io,
        }
    }
}

/// What may help where a server asks who we are, besides what it says.
fn remedy(status: &u16) -> &'static str {
    match status {
        401 => "; give a token by --token-file or KVSTORE_TOKEN",
        _ => "",
    }
}
