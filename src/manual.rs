//! What is made of the commands' own description, so that it says what they say: completions for shells, and man pages.

use clap::{Args, Command};
use clap_complete::{Shell, generate};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// What the program is called.
const NAME: &str = "kvstore";

/// Which completions to write.
#[derive(Args, Debug)]
pub struct CompletionsArguments {
    /// The shell to write them for, to standard output
    shell: Shell,
}

/// Where to write man pages.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// The directory to write them to, one for each command, made where it is not there
    directory: PathBuf,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
    /// A page cannot be written.
    #[error("cannot write man pages to {0}: {1}")]
    Pages(PathBuf, io::Error),
}

/// Writes the completions of a command for a shell. That nobody reads them is no error.
///
/// # Errors
/// Where they cannot be written.
pub fn completions(
    mut command: Command,
    arguments: &CompletionsArguments,
) -> Result<(), ManualError> {
    // It panics where it cannot write, which to memory it can.
    let mut script = Vec::new();
    generate(arguments.shell, &mut command, NAME, &mut script);
    let mut output = io::stdout().lock();
    match output.write_all(&script).and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Writes a man page of a command, and one of each of its own commands.
///
/// # Errors
/// Where they cannot be written.
pub fn man(command: Command, arguments: &ManArguments) -> Result<(), ManualError> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .map_err(|error| ManualError::Pages(directory.clone(), error))
}
