//! Why an import ends early, and whose fault that is.

use super::diagnosis::{Diagnosis, EXPECTED};
use super::progress::Unit;
use crate::archive::Damage;
use crate::client::{ClientError, Fault};
use std::io;
use std::path::PathBuf;

/// Why an import ended early, and how much of it was applied.
#[derive(Debug, thiserror::Error)]
#[error("{cause}; {left}")]
pub struct ImportError {
    pub(super) cause: Box<Cause>,
    pub(super) left: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error("cannot read {0}: {1}")]
    Input(PathBuf, io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{}, byte 1: {found}, where {expected} is expected by its name: rename it after what it is", .path.display())]
    Kind {
        path: PathBuf,
        found: &'static str,
        expected: &'static str,
    },
    #[error("{}, at {unit} {number}: {damage}", .path.display())]
    Archive {
        path: PathBuf,
        unit: Unit,
        number: u64,
        damage: Damage,
    },
    #[error("{place}, {diagnosis}")]
    Line { place: String, diagnosis: Diagnosis },
    #[error("{place}, {diagnosis}")]
    Before { place: String, diagnosis: Diagnosis },
    #[error(
        "line {line} is over {bytes_max} bytes: a file has a line for each key, {EXPECTED}; for \
         longer lines give --line-bytes-max, and the server its line_bytes_max"
    )]
    TooLong { line: u64, bytes_max: usize },
    #[error("--skip-lines passes over {skipped} {unit}s, and there are only {number}")]
    Short {
        skipped: u64,
        unit: Unit,
        number: u64,
    },
    #[error("the server refused {place} with {status}: {detail}")]
    Refused {
        number: u64,
        place: String,
        status: u16,
        detail: String,
    },
    #[error(
        "--content-type says what the values of --value-column are: give that too, or leave it out, since without it a \
         value is a JSON object"
    )]
    TypedInVain,
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

impl ImportError {
    /// Whose fault it is. What is wrong with a line is wrong with the input.
    pub fn fault(&self) -> Fault {
        match &*self.cause {
            Cause::Client(error) => error.fault(),
            Cause::Short { .. } | Cause::TypedInVain => Fault::Usage,
            Cause::Input(..)
            | Cause::Kind { .. }
            | Cause::Archive { .. }
            | Cause::Line { .. }
            | Cause::Before { .. }
            | Cause::TooLong { .. }
            | Cause::Refused { .. }
            | Cause::Output(_) => Fault::Io,
        }
    }
}
