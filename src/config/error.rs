//! Why a configuration is not one.

use crate::tls::TlsError;
use crate::tokens::AuthFileError;
use std::path::PathBuf;

/// Why a configuration is not one. Each names the setting and says what it takes.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a setting that there is not. Never shows the file's text, which may
    /// hold a password wherever its mistake is.
    #[error(
        "the configuration file {path} is not understood, in line {line}, column {column}: {what}"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where, from 1 on.
        line: usize,
        /// Where in the line, from 1 on.
        column: usize,
        /// What is wrong.
        what: String,
    },
    /// The file of tokens cannot be used.
    #[error(transparent)]
    Auth(#[from] AuthFileError),
    /// The files of TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A setting is out of its range.
    #[error("{setting} = {value}: {remedy}")]
    OutOfRange {
        /// The setting.
        setting: &'static str,
        /// What it was.
        value: String,
        /// What it takes.
        remedy: String,
    },
}

/// A setting that is out of its range.
pub(super) fn out_of_range(setting: &'static str, value: &str, remedy: &str) -> ConfigError {
    ConfigError::OutOfRange {
        setting,
        value: value.into(),
        remedy: remedy.into(),
    }
}
