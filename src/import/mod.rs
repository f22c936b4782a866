//! `kvstore import`: sets many keys of a running server from lines of JSON, or from the records of a CSV.
//!
//! They go as lines, in requests of about a megabyte, one after the other, so that after a failure the line or record
//! to go on from is known. One that the server refuses whole for now is sent again.
//!
//! # Layout
//! - `input`: the file or standard input, decompressed
//! - `lines`: lines in bounded memory; `rows`: records as lines, by the `columns` that they have
//! - `diagnosis`: what is wrong with a line or a record
//! - `progress`: how far it is, and how to go on; `error`: why it ends early

mod columns;
mod diagnosis;
mod error;
mod input;
mod lines;
mod progress;
mod rows;

pub(crate) use columns::EXPORTED;
pub use error::ImportError;

use crate::archive::Compression;
use crate::client::notice::say;
use crate::client::retry::{pause, retry_after};
use crate::client::{Client, ClientError, Problem, ServerArguments, problem, signals};
use crate::entry::BYTE_ORDER_MARK;
use clap::Args;
use columns::ColumnArguments;
use diagnosis::Diagnosis;
use error::Cause;
use input::{Input, begun};
use lines::{Lines, Next};
use progress::{Progress, Unit};
use rows::{Begun, Rows};
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufRead, Read, Write};
use std::path::{Path, PathBuf};
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
    /// A file of lines {"key": …, "value": …} or {"key": …, "content_type": …, "base64": …}; compressed where its name
    /// ends with .gz or .zst; - for standard input
    file: PathBuf,
    /// Read a CSV (RFC 4180) with a header in place of lines
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    columns: ColumnArguments,
    /// Pass over so many lines, which an earlier import has applied; with --csv over so many records behind the header.
    /// An import that fails says how many. It sends again what may have been applied: values are the same then, but a
    /// condition that held before may not hold again, and a time to live begins anew
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        hide_default_value = true
    )]
    skip_lines: u64,
    /// Print how many keys were created and updated as JSON on standard output; where the import fails, with the number to
    /// give to --skip-lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
    /// The longest line or record to read, in bytes; the server has a bound of its own, line_bytes_max
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    line_bytes_max: usize,
}

/// Imports all lines and says on standard error how far it is.
///
/// # Errors
/// Where the input cannot be read, the server does not answer, or it refuses a line.
pub fn import(arguments: &ImportArguments) -> Result<(), ImportError> {
    let unit = match arguments.csv {
        true => Unit::Record,
        false => Unit::Line,
    };
    let progress = Progress::new(unit, arguments.skip_lines);
    let (interrupted, is_json) = (progress.clone(), arguments.json);
    signals::when_interrupted(move || {
        interrupted.interrupted();
        if is_json {
            tell_programs(&interrupted.left_as_json(None));
        }
    });
    run(arguments, &progress).map_err(|cause| failed(cause, arguments, &progress))?;
    say(progress.summary());
    Ok(())
}

/// What there is of an import that failed.
fn failed(cause: Cause, arguments: &ImportArguments, progress: &Progress) -> ImportError {
    let left = match &cause {
        Cause::Client(error) if error.never_connected() => progress.left_unsent(),
        Cause::Refused { number, status, .. } => progress.left_refused(*number, *status),
        Cause::Line { .. } | Cause::TooLong { .. } => progress.left_at_a_bad_line(),
        Cause::Kind { .. } | Cause::Before { .. } | Cause::Short { .. } | Cause::TypedInVain => {
            "nothing was sent".into()
        }
        Cause::Client(_) | Cause::Input(..) | Cause::Archive { .. } | Cause::Output(_) => {
            progress.left()
        }
    };
    let refused = match &cause {
        Cause::Refused { number, .. } => Some(*number),
        Cause::Client(_)
        | Cause::Input(..)
        | Cause::Kind { .. }
        | Cause::Archive { .. }
        | Cause::Line { .. }
        | Cause::Before { .. }
        | Cause::TooLong { .. }
        | Cause::Short { .. }
        | Cause::TypedInVain
        | Cause::Output(_) => None,
    };
    // What could not be written is not tried again.
    if arguments.json && !matches!(cause, Cause::Output(_)) {
        tell_programs(&progress.left_as_json(refused));
    }
    let cause = Box::new(cause);
    ImportError { cause, left }
}

/// Says to programs what there is of an import that failed. That nobody reads it is no worse than that.
fn tell_programs(left: &Value) {
    let _ = writeln!(io::stdout(), "{left}");
}

fn run(arguments: &ImportArguments, progress: &Progress) -> Result<(), Cause> {
    if arguments.columns.is_typed_in_vain() {
        return Err(Cause::TypedInVain);
    }
    let client = Client::new(&arguments.server, 1, PATIENCE)?;
    let mut source = Source::open(arguments, progress)?;
    let mut body = Vec::with_capacity(REQUEST_BYTES * 2);
    loop {
        let next = source.next(&mut body);
        let is_more = matches!(next, Ok(Next::Line));
        if body.len() >= REQUEST_BYTES || (!is_more && !body.is_empty()) {
            // What came before a bad line is applied.
            send(&client, &body, &source, progress)?;
            body.clear();
            source.forget();
        }
        if !source.is_line(next)? {
            break;
        }
    }
    progress.finish();
    if arguments.json {
        writeln!(io::stdout(), "{}", progress.as_json()).map_err(Cause::Output)?;
    }
    Ok(())
}

/// Lines, from wherever they come.
struct Source<'a> {
    arguments: &'a ImportArguments,
    compression: Compression,
    reader: Reader,
}

enum Reader {
    Lines(Lines<Box<dyn BufRead>>),
    Rows(Box<Rows>),
}

impl<'a> Source<'a> {
    /// Opens the input and passes over what is to be passed over.
    fn open(arguments: &'a ImportArguments, progress: &Progress) -> Result<Self, Cause> {
        let Input {
            text,
            compression,
            bytes,
            read,
        } = Input::open(&arguments.file)?;
        progress.begin(bytes, read);
        let mut source = Self {
            arguments,
            compression,
            reader: match arguments.csv {
                false => Reader::Lines(Lines::new(text, arguments.line_bytes_max)),
                true => Reader::Rows(rows(text, compression, arguments)?),
            },
        };
        let skipped = match &mut source.reader {
            Reader::Lines(lines) => lines.skip(arguments.skip_lines),
            Reader::Rows(rows) => rows.skip(arguments.skip_lines),
        };
        match source.is_line(skipped) {
            Ok(true) => Ok(source),
            Ok(false) => Err(Cause::Short {
                skipped: arguments.skip_lines,
                unit: source.unit(),
                number: source.number(),
            }),
            Err(Cause::Line { place, diagnosis }) => Err(Cause::Before { place, diagnosis }),
            Err(error) => Err(error),
        }
    }

    /// Adds the next line to a body, with its line feed.
    fn next(&mut self, body: &mut Vec<u8>) -> io::Result<Next> {
        match &mut self.reader {
            Reader::Lines(lines) => lines.next(body),
            Reader::Rows(rows) => rows.next(body),
        }
    }

    /// Whether what came next is a line; it is none at the end.
    fn is_line(&self, next: io::Result<Next>) -> Result<bool, Cause> {
        match next {
            Ok(Next::Line) => Ok(true),
            Ok(Next::End) => Ok(false),
            Ok(Next::Bad(diagnosis)) => Err(Cause::Line {
                place: match &self.reader {
                    Reader::Lines(lines) => format!("line {}", lines.number()),
                    Reader::Rows(rows) => rows.fault_place(),
                },
                diagnosis,
            }),
            Ok(Next::TooLong) => Err(Cause::TooLong {
                line: self.number(),
                bytes_max: self.arguments.line_bytes_max,
            }),
            Err(error) => {
                let (arguments, unit) = (self.arguments, self.unit());
                Err(broken(
                    arguments,
                    self.compression,
                    unit,
                    self.number(),
                    error,
                ))
            }
        }
    }

    /// How many were read.
    fn number(&self) -> u64 {
        match &self.reader {
            Reader::Lines(lines) => lines.number(),
            Reader::Rows(rows) => rows.number(),
        }
    }

    fn unit(&self) -> Unit {
        match &self.reader {
            Reader::Lines(_) => Unit::Line,
            Reader::Rows(_) => Unit::Record,
        }
    }

    /// Where one of those is that were read since [`forget`](Self::forget).
    fn place(&self, number: u64) -> String {
        match &self.reader {
            Reader::Lines(_) => format!("line {number}"),
            Reader::Rows(rows) => rows.place(number),
        }
    }

    /// What was read until now was applied.
    fn forget(&mut self) {
        match &mut self.reader {
            Reader::Lines(_) => {}
            Reader::Rows(rows) => rows.forget(),
        }
    }
}

/// The records of a text, whose header is read.
fn rows(
    text: Box<dyn BufRead>,
    compression: Compression,
    arguments: &ImportArguments,
) -> Result<Box<Rows>, Cause> {
    let failed = |error| broken(arguments, compression, Unit::Record, 0, error);
    let (beginning, mut whole) = begun(text).map_err(failed)?;
    if let Some(diagnosis) = Diagnosis::of_input(&beginning, "a CSV is expected") {
        let place = "line 1".into();
        return Err(Cause::Before { place, diagnosis });
    }
    if beginning.starts_with(BYTE_ORDER_MARK) {
        let mut mark = [0; BYTE_ORDER_MARK.len()];
        whole.read_exact(&mut mark).map_err(failed)?;
    }
    match Rows::begin(whole, arguments.line_bytes_max, &arguments.columns).map_err(failed)? {
        Begun::Rows(rows) => Ok(rows),
        Begun::Bad(line, diagnosis) => {
            let place = format!("line {line} (the header)");
            Err(Cause::Before { place, diagnosis })
        }
    }
}

/// Why an input cannot be read on: the file, or the archive in it.
fn broken(
    arguments: &ImportArguments,
    compression: Compression,
    unit: Unit,
    number: u64,
    error: io::Error,
) -> Cause {
    let path: &Path = &arguments.file;
    match compression.damage(&error) {
        Some(damage) => Cause::Archive {
            path: path.to_owned(),
            unit,
            number: number.max(1),
            damage,
        },
        None => Cause::Input(path.to_owned(), error),
    }
}

/// Sends a request, again and again where the server takes nothing of it and asks to wait: its token is used too often
/// (429), or it is overloaded, or not ready yet (503).
fn send(
    client: &Client,
    body: &[u8],
    source: &Source<'_>,
    progress: &Progress,
) -> Result<(), Cause> {
    let count = memchr::memchr_iter(b'\n', body).count() + usize::from(!body.ends_with(b"\n"));
    let mut waited = Duration::ZERO;
    let mut attempt = 1;
    loop {
        let first = progress.sends(count as u64);
        let request = client.post("/set");
        let request = request.header("Content-Type", "application/x-ndjson");
        let mut response = request.send(body).map_err(|error| client.lost(error))?;
        if response.status().is_success() {
            return applied(client, &mut response, progress);
        }
        let status = response.status().as_u16();
        let asked_for = retry_after(&response);
        let problem = problem(&mut response);
        // What names a line has applied those before it.
        let asks_to_wait =
            problem.line == 0 && matches!((status, asked_for), (429, _) | (503, Some(_)));
        // Who may not send lines, or not there, hears of it before any is looked at.
        let is_refused_whole = problem.line == 0 && matches!(status, 401 | 403 | 404 | 405 | 415);
        if asks_to_wait || is_refused_whole {
            progress.untaken();
        }
        if !asks_to_wait || waited >= WAITS_MAX {
            return Err(refused(status, problem, (first, body), source, progress));
        }
        progress.waits(status, &problem.detail);
        let wait = asked_for.unwrap_or_default().max(pause(attempt));
        sleep(wait);
        waited += wait;
        attempt += 1;
    }
}

/// What a server says of a request that it took whole. Another may take anything, and say something else.
#[derive(Deserialize)]
struct Applied {
    created: u64,
    updated: u64,
    #[serde(default)]
    unmet: u64,
    #[serde(default)]
    unmet_lines: Vec<u64>,
}

/// Takes in what the server says of a request that it took whole.
fn applied(
    client: &Client,
    response: &mut Response<Body>,
    progress: &Progress,
) -> Result<(), Cause> {
    let text = response.body_mut().read_to_string();
    let text = text.map_err(|error| client.lost(error))?;
    let Ok(answer) = serde_json::from_str::<Applied>(&text) else {
        let detail = "an answer that is none of a kvstore's".into();
        let status = response.status().as_u16();
        return Err(ClientError::Refused { status, detail }.into());
    };
    let Applied {
        created,
        updated,
        unmet,
        unmet_lines,
    } = answer;
    progress.answered(&Problem {
        created,
        updated,
        unmet,
        unmet_lines,
        ..Problem::default()
    });
    Ok(())
}

/// Why a request that begins with the line of a number was refused for good.
fn refused(
    status: u16,
    problem: Problem,
    (first, body): (u64, &[u8]),
    source: &Source<'_>,
    progress: &Progress,
) -> Cause {
    progress.refused(&problem);
    if problem.line == 0 {
        let detail = problem.detail;
        return ClientError::Refused { status, detail }.into();
    }
    let at = usize::try_from(problem.line - 1).unwrap_or(usize::MAX);
    let line = body.split(|&byte| byte == b'\n').nth(at);
    // A record is a line that we made: where in that something is helps nobody.
    let line = line.filter(|_| source.unit() == Unit::Line);
    let diagnosis = line.filter(|_| matches!(status, 400 | 422));
    let diagnosis = diagnosis.and_then(diagnosis::of_line);
    let column = line.and_then(|line| diagnosis::column_of(line, &problem));
    let number = first + problem.line - 1;
    Cause::Refused {
        number,
        place: source.place(number),
        status,
        detail: match (diagnosis, column) {
            (Some(diagnosis), _) => diagnosis.to_string(),
            (None, Some(column)) => format!("column {column}: {}", problem.detail),
            (None, None) => problem.detail,
        },
    }
}
