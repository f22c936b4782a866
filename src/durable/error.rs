//! Why what is in a directory is not taken for what was written.

use super::Position;
use std::io;
use std::path::PathBuf;

/// Why a log is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// A file cannot be read.
    #[error("{0} cannot be read: {1}")]
    Read(PathBuf, io::Error),
    /// What was synced is not what is there.
    #[error(
        "{file} is damaged at byte {offset}: {what}; nothing was changed, restore a backup or see what \
         can be saved"
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A file is not there that another names.
    #[error(
        "{0} is missing, which the checkpoint beside it names; nothing was changed, restore a backup or \
         see what can be saved"
    )]
    MissingFile(PathBuf),
    /// A file is not there.
    #[error(
        "the log's file with the record at position {} is missing in {directory}; nothing was changed, \
         restore a backup or see what can be saved", position.0
    )]
    Missing {
        /// Where it should be.
        directory: PathBuf,
        /// What it should hold.
        position: Position,
    },
}
