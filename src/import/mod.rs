//! `kvstore import`: sets many keys of a running server from lines of JSON.
//!
//! The lines go as they are, in requests of about a megabyte, one after the other, so that after a
//! failure the line to go on from is known. One that the server refuses whole for now is sent again.

mod diagnosis;
mod lines;
mod progress;

use crate::client::retry::{pause, retry_after};
use crate::client::{Client, ClientError, Problem, ServerArguments, problem, signals};
use clap::Args;
use diagnosis::{Diagnosis, EXPECTED};
use lines::{Lines, Next};
use progress::Progress;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// How large a request grows before it is sent, in bytes.
const REQUEST_BYTES: usize = 1024 * 1024;

/// How long the server may be silent: it may wait for room for two minutes.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long to wait, all told, for a server that takes a request not yet.
const WAITS_MAX: Duration = Duration::from_secs(120);

/// What to import, and where.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// A file of lines {"key": …, "value": …} or {"key": …, "content_type": …, "base64": …};
    /// - for standard input
    file: PathBuf,
    #[command(flatten)]
    server: ServerArguments,
    /// The longest line to read, in bytes; the server has a bound of its own, line_bytes_max
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    line_bytes_max: usize,
}

/// Why an import ended early, and how much of it was applied.
#[derive(Debug, thiserror::Error)]
#[error("{cause}; {left}")]
pub struct ImportError {
    cause: Box<Cause>,
    left: String,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("cannot read {0}: {1}")]
    Input(PathBuf, io::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("line {line}, {diagnosis}")]
    Line { line: u64, diagnosis: Diagnosis },
    #[error(
        "line {line} is over {bytes_max} bytes: a file has a line for each key, {EXPECTED}; for \
         longer lines give --line-bytes-max, and the server its line_bytes_max"
    )]
    TooLong { line: u64, bytes_max: usize },
    #[error("the server refused line {line} with {status}: {detail}")]
    Refused {
        line: u64,
        status: u16,
        detail: String,
    },
}

/// Imports all lines and says on standard error how far it is.
///
/// # Errors
/// Where the input cannot be read, the server does not answer, or it refuses a line.
pub fn import(arguments: &ImportArguments) -> Result<(), ImportError> {
    let progress = Progress::new(arguments.file.clone());
    let interrupted = progress.clone();
    signals::when_interrupted(move || interrupted.interrupted());
    run(arguments, &progress).map_err(|cause| ImportError {
        left: match &cause {
            Cause::Client(error) if error.never_connected() => progress.left_unsent(),
            Cause::Refused { line, status, .. } => progress.left_refused(*line, *status),
            Cause::Line { .. } | Cause::TooLong { .. } => progress.left_at_a_bad_line(),
            Cause::Client(_) | Cause::Input(..) => progress.left(),
        },
        cause: Box::new(cause),
    })?;
    eprintln!("{}", progress.summary());
    Ok(())
}

fn run(arguments: &ImportArguments, progress: &Progress) -> Result<(), Cause> {
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let input = open(arguments, progress)?;
    let mut lines = Lines::new(input, arguments.line_bytes_max);
    let mut body = Vec::with_capacity(REQUEST_BYTES * 2);
    loop {
        let next = lines.next(&mut body);
        let is_more = matches!(next, Ok(Next::Line));
        if body.len() >= REQUEST_BYTES || (!is_more && !body.is_empty()) {
            // What came before a bad line is applied.
            send(&client, &body, progress)?;
            body.clear();
        }
        match next {
            Ok(Next::Line) => {}
            Ok(Next::End) => break,
            Ok(Next::Bad(diagnosis)) => {
                let line = lines.number();
                return Err(Cause::Line { line, diagnosis });
            }
            Ok(Next::TooLong) => {
                return Err(Cause::TooLong {
                    line: lines.number(),
                    bytes_max: arguments.line_bytes_max,
                });
            }
            Err(error) => return Err(Cause::Input(arguments.file.clone(), error)),
        }
    }
    progress.finish();
    Ok(())
}

fn open(arguments: &ImportArguments, progress: &Progress) -> Result<Box<dyn BufRead>, Cause> {
    let path = &arguments.file;
    if path.as_os_str() == "-" {
        progress.begin(None);
        return Ok(Box::new(io::stdin().lock()));
    }
    let unreadable = |error| Cause::Input(path.clone(), error);
    let file = File::open(path).map_err(unreadable)?;
    let known = file.metadata().map_err(unreadable)?;
    progress.begin(known.is_file().then_some(known.len()));
    Ok(Box::new(BufReader::new(file)))
}

/// Sends a request, again and again where the server takes nothing of it and asks to wait: its token is used too often
/// (429), or it is overloaded, or not ready yet (503).
fn send(client: &Client, body: &[u8], progress: &Progress) -> Result<(), Cause> {
    let count = memchr::memchr_iter(b'\n', body).count() + usize::from(!body.ends_with(b"\n"));
    let mut waited = Duration::ZERO;
    let mut attempt = 1;
    loop {
        let first = progress.sends(count as u64);
        let request = client.post("/set");
        let request = request.header("Content-Type", "application/x-ndjson");
        let mut response = request.send(body).map_err(|error| client.lost(error))?;
        if response.status().is_success() {
            return applied(client, &mut response, body, progress);
        }
        let status = response.status().as_u16();
        let asked_for = retry_after(&response);
        let problem = problem(&mut response);
        // What names a line has applied those before it.
        let is_untaken =
            problem.line == 0 && matches!((status, asked_for), (429, _) | (503, Some(_)));
        if is_untaken {
            progress.untaken();
        }
        if !is_untaken || waited >= WAITS_MAX {
            return Err(refused(status, problem, (first, body), progress));
        }
        progress.waits(status, &problem.detail);
        let wait = asked_for.unwrap_or_default().max(pause(attempt));
        sleep(wait);
        waited += wait;
        attempt += 1;
    }
}

/// Takes in what the server says of a request that it took whole.
fn applied(
    client: &Client,
    response: &mut Response<Body>,
    body: &[u8],
    progress: &Progress,
) -> Result<(), Cause> {
    let text = response.body_mut().read_to_string();
    let text = text.map_err(|error| client.lost(error))?;
    let Ok(answer) = serde_json::from_str::<Problem>(&text) else {
        let detail = "an answer that is none of a kvstore's".into();
        let status = response.status().as_u16();
        return Err(ClientError::Refused { status, detail }.into());
    };
    progress.answered(&answer, body.len());
    Ok(())
}

/// Why a request that begins with the line of a number was refused for good.
fn refused(
    status: u16,
    problem: Problem,
    (first, body): (u64, &[u8]),
    progress: &Progress,
) -> Cause {
    progress.refused(&problem);
    if problem.line == 0 {
        let detail = problem.detail;
        return ClientError::Refused { status, detail }.into();
    }
    let at = usize::try_from(problem.line - 1).unwrap_or(usize::MAX);
    let line = body.split(|&byte| byte == b'\n').nth(at);
    let diagnosis = line
        .filter(|_| matches!(status, 400 | 422))
        .and_then(diagnosis::of_line);
    Cause::Refused {
        line: first + problem.line - 1,
        status,
        detail: diagnosis.map_or(problem.detail, |diagnosis| diagnosis.to_string()),
    }
}
