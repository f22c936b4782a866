//! The commands for a shell: `kvstore get`, `set`, `delete`, `search`, `expire` and `watch`, each of which asks a
//! running server for one thing.
//!
//! What they write to standard output is for programs, and the same from version to version: a value's bytes, a key a
//! line, a number, or lines of JSON as the server gives them, which `--json` asks for. Where standard output is a
//! terminal it is for people: in columns, with colours unless `NO_COLOR` is set, and without characters that a terminal
//! obeys, whatever is in keys and values. What else is for people goes to standard error; no error shows a value or a
//! token.
//!
//! # Layout
//! - a file for each command
//! - `answer`: what all of them do with one; `error`: why one fails, and whose fault that is
//! - `filter`: which keys a command is for; `parse`: what words stand for
//! - `terminal`: what people are shown; `item`: a line of an answer as a row of that

mod answer;
mod delete;
mod error;
mod expire;
mod filter;
mod get;
mod item;
mod parse;
mod search;
mod set;
mod terminal;
mod watch;

pub use error::ShellError;

use clap::Subcommand;
use delete::DeleteArguments;
use expire::ExpireArguments;
use get::GetArguments;
use search::SearchArguments;
use set::SetArguments;
use std::io;
use std::time::Duration;
use watch::WatchArguments;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The form that keys, entries and events are asked for in.
const LINES: &str = "application/x-ndjson";

/// What commands say of their exit codes.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 no such key, a condition that does not hold, or another refusal of the \
                          server; 2 wrong usage; 74 the server does not answer, or input or output failed.";

/// What to ask for.
#[derive(Debug, Subcommand)]
pub enum ShellCommand {
    /// Write a key's value to standard output, byte for byte
    #[command(after_help = EXIT_CODES)]
    Get(GetArguments),
    /// Set a key to a value
    #[command(after_help = EXIT_CODES)]
    Set(SetArguments),
    /// Delete a key, or all that match
    #[command(after_help = EXIT_CODES)]
    Delete(DeleteArguments),
    /// List the keys that match, in byte order
    #[command(after_help = EXIT_CODES)]
    Search(SearchArguments),
    /// Change when a key's value ends
    #[command(after_help = EXIT_CODES)]
    Expire(ExpireArguments),
    /// Write the changes of all keys that match as they happen, a JSON object a line
    #[command(after_help = EXIT_CODES)]
    Watch(WatchArguments),
}

/// Asks for it and writes what is answered.
///
/// # Errors
/// Where the server does not answer or refuses, a condition does not hold, or input or output fail. That nobody reads
/// the output any more is no error.
pub fn run(command: &ShellCommand) -> Result<(), ShellError> {
    let done = match command {
        ShellCommand::Get(arguments) => get::get(arguments),
        ShellCommand::Set(arguments) => set::set(arguments),
        ShellCommand::Delete(arguments) => delete::delete(arguments),
        ShellCommand::Search(arguments) => search::search(arguments),
        ShellCommand::Expire(arguments) => expire::expire(arguments),
        ShellCommand::Watch(arguments) => watch::watch(arguments),
    };
    match done {
        Err(ShellError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
