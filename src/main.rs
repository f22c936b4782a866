//! The `kvstore` command: serves, asks a server that does, imports into it or exports from it, checks a data directory,
//! draws a token, or describes itself to shells and readers.

#![forbid(unsafe_code)]

use clap::{CommandFactory, Parser, Subcommand};
use kvstore::check::{CheckArguments, check};
use kvstore::client::Fault;
use kvstore::client::notice::say;
use kvstore::config::{Config, ConfigError, Settings};
use kvstore::export::{ExportArguments, export};
use kvstore::import::{ImportArguments, import};
use kvstore::log_format::LogFormat;
use kvstore::logger;
use kvstore::manual::{CompletionsArguments, ManArguments, completions, man};
use kvstore::server::{Server, ServerError};
use kvstore::shell::{self, EXIT_CODES, ShellCommand};
use kvstore::tokens::{TokenArguments, TokenError, draw};
use std::path::PathBuf;
use std::process::ExitCode;

/// As fast as mimalloc, and unlike that it gives memory back to the system soon after it was freed, whichever thread freed
/// it: a store that was emptied does not take its room twice while it is filled anew. `.cargo/config.toml` says how soon.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A server was asked, and the answer is no.
const EXIT_REFUSED: u8 = 1;

/// The command was used wrongly, as clap has it.
const EXIT_USAGE: u8 = 2;

/// Input or output failed (`EX_IOERR` of sysexits.h).
const EXIT_IO: u8 = 74;

/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// An HTTP key-value store that finds keys by prefix, by suffix and by both.
///
/// Each setting is taken from its flag, else from its variable, else from the file, else it has
/// its default.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
    /// A TOML file of settings, each as its flag with _ for -
    #[arg(long, env = "KVSTORE_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Shell(ShellCommand),
    /// Set many keys of a running server from lines of JSON, or from a CSV
    #[command(after_help = EXIT_CODES)]
    Import(ImportArguments),
    /// Write all keys of a running server as lines of JSON, or as a CSV
    #[command(after_help = EXIT_CODES)]
    Export(ExportArguments),
    /// Verify a data directory without serving it, and save what is whole
    Check(CheckArguments),
    /// Draw a token, print it once, and what auth_file has to say of it on standard error
    Token(TokenArguments),
    /// Write what makes a shell complete commands and flags
    Completions(CompletionsArguments),
    /// Write man pages
    Man(ManArguments),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return misused(&error),
    };
    match arguments.command {
        Some(Command::Shell(command)) => match shell::run(&command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, code_of(error.fault())),
        },
        Some(Command::Import(import_arguments)) => match import(&import_arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, code_of(error.fault())),
        },
        Some(Command::Export(export_arguments)) => match export(&export_arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, code_of(error.fault())),
        },
        Some(Command::Check(check_arguments)) => match check(&check_arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, EXIT_IO),
        },
        Some(Command::Token(token_arguments)) => match draw(&token_arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error @ TokenError::Prefixes(_)) => fail(&error, EXIT_USAGE),
            Err(error @ (TokenError::Random(_) | TokenError::Output(_))) => fail(&error, EXIT_IO),
        },
        Some(Command::Completions(shell)) => match completions(Arguments::command(), &shell) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, EXIT_IO),
        },
        Some(Command::Man(directory)) => match man(Arguments::command(), &directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, EXIT_IO),
        },
        None => match serve(arguments.settings, arguments.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Config(error)) => fail(&error, EXIT_CONFIG),
            Err(Failure::Server(error)) => fail(&error, server_code(&error)),
            Err(Failure::Logged(code)) => ExitCode::from(code),
        },
    }
}

/// What a command ends with.
fn code_of(fault: Fault) -> u8 {
    match fault {
        Fault::Refusal => EXIT_REFUSED,
        Fault::Usage => EXIT_USAGE,
        Fault::Io => EXIT_IO,
    }
}

/// Says how the command is used, or what is wrong with how it was. Of what was given, nothing is shown that may
/// hold a password: a URL, however it got where it is.
fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Nobody may be there to read it.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let mut text = error.to_string();
    // Neither need be UTF-8, whatever is wrong.
    let variables = std::env::vars_os();
    let variables = variables.filter(|(name, _)| name.to_string_lossy().starts_with("KVSTORE_"));
    let given = std::env::args_os()
        .skip(1)
        .chain(variables.map(|(_, value)| value));
    for word in given {
        let word = word.to_string_lossy();
        let value = word.split_once('=').map_or(&*word, |(_, value)| value);
        for secret in [&*word, value] {
            if secret.contains("://") || secret.contains('@') {
                text = text.replace(secret, "…");
            }
        }
    }
    say(text.trim_end());
    ExitCode::from(EXIT_USAGE)
}

enum Failure {
    Config(ConfigError),
    Server(ServerError),
    /// It is in the log, and the process ends with this code.
    Logged(u8),
}

/// What the process ends with, since it does not serve.
fn server_code(error: &ServerError) -> u8 {
    match error {
        ServerError::Engine { .. } | ServerError::Directory(_) | ServerError::Data(_) => {
            EXIT_CONFIG
        }
        ServerError::Bind { .. }
        | ServerError::System(_)
        | ServerError::Ended(_)
        | ServerError::Log(_)
        | ServerError::Metrics(_) => EXIT_IO,
    }
}

fn serve(settings: Settings, file: Option<PathBuf>) -> Result<(), Failure> {
    let settings = match file {
        Some(path) => settings.or_file(&path).map_err(Failure::Config)?,
        None => settings,
    };
    let config = Config::resolve(settings).map_err(Failure::Config)?;
    let format = config.log_format;
    logger::start(&config.log, format);
    log_panics();
    let failed = |error| match format {
        // Whoever reads the log takes each line for an object.
        LogFormat::Json if log::log_enabled!(log::Level::Error) => {
            log::error!("{error}");
            Failure::Logged(server_code(&error))
        }
        // That it does not serve is said whatever the log has.
        LogFormat::Json | LogFormat::Text => Failure::Server(error),
    };
    let server = Server::bind(config).map_err(failed)?;
    actix_web::rt::System::new()
        .block_on(server.run_until_stopped())
        .map_err(failed)
}

/// Logs where a panic was, once. What it said may hold a key, so that is for debugging only.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or("an unknown place".into(), ToString::to_string);
        log::error!("a defect of the server was met at {place}");
        log::debug!("the defect says: {panic}");
    }));
}

fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    say(format_args!("kvstore: {error}"));
    ExitCode::from(code)
}
