//! `kvstore export`: writes all keys of a running server as the lines, or the CSV, that `kvstore import` reads.
//!
//! All entries come by one answer, which is read as fast as the output takes it. Where it breaks off, since
//! the link does, or the server is restarted or has waited for a slow reader for too long, the export goes on
//! behind the last whole line. A key that is deleted meanwhile is left out; one that is set meanwhile may have
//! either value.

mod answer;
mod lines;
mod output;
mod progress;
mod rows;

use crate::client::notice::say;
use crate::client::retry::{passes, pause};
use crate::client::{Client, ClientError, Fault, ServerArguments, signals};
use answer::{ATTEMPTS, Absent, Answer, are_more};
use clap::Args;
use lines::{Form, Lines};
use output::Output;
use progress::Progress;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

/// Bytes that are read at once.
const READ_BYTES: usize = 128 * 1024;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to export, and where to.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// The file to write, which is replaced once all is written; compressed where its name ends with .gz or .zst; - for
    /// standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Write a CSV with the columns key, content_type, value, base64 and expires_at in place of lines; values that are
    /// not UTF-8 are in base64
    #[arg(long)]
    csv: bool,
    /// Print how many keys were exported as JSON on standard output; the keys themselves go to a file then
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// Why an export ended early, and how far it came.
#[derive(Debug, thiserror::Error)]
#[error("{cause}; {left}")]
pub struct ExportError {
    cause: Cause,
    /// What there is of it.
    left: String,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("cannot write {0}: {1}")]
    Output(PathBuf, io::Error),
    #[error("with --json standard output says how many keys there were: name a file for the keys")]
    Mixed,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the keys come in no order after {0} of them: is it a kvstore?")]
    Order(u64),
    #[error("what the server sends after {0} keys is no entry: is it a kvstore?")]
    Form(u64),
    #[error(
        "the server is of an older version, which gives no values with its keys (values=true): export with \
         the kvstore of its own version, whose lines this one imports"
    )]
    Older,
    #[error("the server's list of keys ends before its last key, however often it is asked")]
    Short,
}

impl ExportError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match &self.cause {
            Cause::Client(error) => error.fault(),
            Cause::Older => Fault::Refusal,
            Cause::Mixed => Fault::Usage,
            Cause::Output(..) | Cause::Order(_) | Cause::Form(_) | Cause::Short => Fault::Io,
        }
    }
}

/// Exports all keys and says on standard error how far it is.
///
/// # Errors
/// Where the output cannot be written, or the server does not answer or refuses.
pub fn export(arguments: &ExportArguments) -> Result<(), ExportError> {
    let progress = Progress::new(arguments.file.clone());
    let interrupted = progress.clone();
    signals::when_interrupted(move || interrupted.interrupted());
    run(arguments, &progress).map_err(|cause| ExportError {
        cause,
        left: progress.left(),
    })?;
    say(progress.summary());
    Ok(())
}

fn run(arguments: &ExportArguments, progress: &Progress) -> Result<(), Cause> {
    if arguments.json && output::is_standard(&arguments.file) {
        return Err(Cause::Mixed);
    }
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    // The server is asked before the output is touched. One that is not there is not waited for.
    let mut answer = Answer::begin(&client, None, Absent::Fails)?;
    let unwritable = |(path, error)| Cause::Output(path, error);
    let mut output = Output::open(&arguments.file).map_err(unwritable)?;
    progress.begin(answer.total, &output);
    let form = match arguments.csv {
        true => Form::Record,
        false => Form::Line,
    };
    let mut lines = Lines::new(&mut output, progress, form);
    let mut failures = 0;
    loop {
        let before = lines.taken();
        let taken = take_all(&mut lines, &mut answer);
        // What came before a failure is kept.
        lines.write()?;
        let lost = taken?;
        let has_partial = lines.drop_partial();
        if lost.is_none() && !has_partial && is_all(&client, &answer, &lines)? {
            break;
        }
        failures = match lines.taken() > before {
            true => 1,
            false => failures + 1,
        };
        let is_last = failures == ATTEMPTS;
        match lost {
            Some(error) if is_last || !passes(&error) => return Err(client.lost(error).into()),
            None if is_last => return Err(Cause::Short),
            Some(_) | None => sleep(pause(failures)),
        }
        lines.go_on();
        let after = lines.last_key();
        answer = Answer::begin(&client, after.as_deref(), Absent::MayReturn)?;
    }
    progress.finish(&mut output).map_err(unwritable)?;
    if arguments.json {
        writeln!(io::stdout(), "{}", progress.as_json())
            .map_err(|error| unwritable(("-".into(), error)))?;
    }
    Ok(())
}

/// Takes in what there is of an answer, and returns what it broke off by, if it did.
fn take_all(lines: &mut Lines<'_>, answer: &mut Answer) -> Result<Option<ureq::Error>, Cause> {
    let mut body = answer.body();
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match body.read(&mut bytes) {
            Ok(0) => return Ok(None),
            Ok(some) => lines.take(&bytes[..some])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Some(error.into())),
        }
    }
}

/// Whether an answer that has ended was whole. It surely was if it says where it ends and there are as many
/// keys as there were: a proxy may take the end of a connection for that of an answer.
fn is_all(client: &Client, answer: &Answer, lines: &Lines<'_>) -> Result<bool, Cause> {
    let has_all = answer.total.is_some_and(|total| lines.taken() >= total);
    if answer.tells_its_end() && has_all {
        return Ok(true);
    }
    let last = lines.last_key();
    Ok(!are_more(client, last.as_deref())?)
}
