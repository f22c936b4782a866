//! `kvstore export`: writes all keys of a running server as the lines that `kvstore import` reads.
//!
//! Keys come by pages, values by a few requests at a time, so that no answer stays unread however
//! slow the link or the reader is. A key that is deleted meanwhile is left out; one that is set
//! meanwhile may have either value.

mod output;
mod progress;
mod values;

use crate::client::{Client, ClientError, Problem, ServerArguments, problem, signals};
use crate::entry::Entry;
use clap::Args;
use output::Output;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use progress::Progress;
use std::io;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// Keys of a page, where the server gives so many.
const PAGE_KEYS: usize = 1024;

/// Bytes that are written at once.
const WRITE_BYTES: usize = 64 * 1024;

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a request is sent before the export is given up, and how long it waits before the
/// second; the double before the third, and so on. That makes 7 s, if the server does not ask for
/// more.
const ATTEMPTS: u32 = 8;
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The longest wait that a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// What to export, and where to.
#[derive(Args, Debug)]
pub struct ExportArguments {
    /// The file to write, which is replaced once all is written; - for standard output
    #[arg(default_value = "-")]
    file: PathBuf,
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
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the keys come in no order after {0} of them: is it a kvstore?")]
    Order(u64),
    #[error("the server's list of keys is none ({0}): is it a kvstore?")]
    Keys(serde_json::Error),
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
    eprintln!("{}", progress.summary());
    Ok(())
}

fn run(arguments: &ExportArguments, progress: &Progress) -> Result<(), Cause> {
    let client = Client::new(&arguments.server, values::THREADS, PATIENCE)?;
    let mut pages = Pages {
        client: &client,
        limit: PAGE_KEYS,
        after: String::new(),
        seen: 0,
    };
    // The server is asked before the output is touched.
    let (mut keys, total) = pages.first()?;
    let unwritable = |(path, error)| Cause::Output(path, error);
    let mut output = Output::open(&arguments.file).map_err(unwritable)?;
    progress.begin(total, &output);
    while !keys.is_empty() {
        let mut lines = Lines {
            output: &mut output,
            progress,
            buffer: Vec::with_capacity(WRITE_BYTES * 2),
            written: 0,
            gone: 0,
        };
        let fetched = values::in_order(
            &keys,
            |key| fetch(&client, key).map_err(Cause::from),
            |line| lines.take(line),
        );
        // What came before a failure is kept.
        lines.write()?;
        fetched?;
        keys = pages.next()?;
    }
    progress.finish(&mut output).map_err(unwritable)
}

/// Lines on their way to the output.
struct Lines<'a> {
    output: &'a mut Output,
    progress: &'a Progress,
    buffer: Vec<u8>,
    /// Lines in the buffer, and keys that were gone.
    written: u64,
    gone: u64,
}

impl Lines<'_> {
    fn take(&mut self, line: values::Line) -> Result<(), Cause> {
        match line {
            Some(line) => {
                self.buffer.extend(line);
                self.written += 1;
            }
            None => self.gone += 1,
        }
        match self.buffer.len() >= WRITE_BYTES {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result<(), Cause> {
        let (written, gone) = (self.written, self.gone);
        (self.written, self.gone) = (0, 0);
        let all = self
            .progress
            .write(self.output, &self.buffer, written, gone);
        self.buffer.clear();
        all.map_err(|error| Cause::Output(self.progress.path(), error))
    }
}

/// The server's keys, page by page.
struct Pages<'a> {
    client: &'a Client,
    limit: usize,
    after: String,
    seen: u64,
}

impl Pages<'_> {
    /// The first page, and how many keys there are. A server that is not there is not waited for.
    fn first(&mut self) -> Result<(Vec<String>, Option<u64>), Cause> {
        self.page(Absent::Fails)
    }

    /// The next page; empty after the last.
    fn next(&mut self) -> Result<Vec<String>, Cause> {
        Ok(self.page(Absent::MayReturn)?.0)
    }

    fn page(&mut self, absent: Absent) -> Result<(Vec<String>, Option<u64>), Cause> {
        let (total, text) = loop {
            let after = utf8_percent_encode(&self.after, NON_ALPHANUMERIC);
            let path = format!("/search?prefix=&limit={}&after={after}", self.limit);
            let answer = ask(self.client, &path, absent, |response| {
                let total = response.headers().get("x-total-count");
                let total = total.and_then(|total| total.to_str().ok()?.parse().ok());
                let body = response.body_mut().with_config().limit(u64::MAX);
                Ok((total, body.read_to_vec()?))
            })?;
            match answer {
                Answer::Whole(whole) => break whole,
                // Its pages are smaller.
                Answer::Refused(400, problem)
                    if problem.code == "invalid_limit" && self.limit > 1 =>
                {
                    self.limit /= 2;
                }
                Answer::Refused(status, problem) => return Err(refused(status, problem).into()),
            }
        };
        let keys: Vec<String> = serde_json::from_slice(&text).map_err(Cause::Keys)?;
        let before = std::iter::once(&self.after).chain(&keys);
        let is_first = self.seen == 0;
        if !before
            .zip(&keys)
            .all(|(before, key)| before < key || is_first && before.is_empty())
        {
            return Err(Cause::Order(self.seen));
        }
        self.seen += keys.len() as u64;
        if let Some(last) = keys.last() {
            self.after.clone_from(last);
        }
        Ok((keys, total))
    }
}

/// The line of a key; `None` where the key is gone.
fn fetch(client: &Client, key: &str) -> Result<values::Line, ClientError> {
    // A dot is encoded too, so that nobody takes `..` for a way up.
    let path = format!("/get/{}", utf8_percent_encode(key, NON_ALPHANUMERIC));
    let answer = ask(client, &path, Absent::MayReturn, |response| {
        let content_type = response.headers().get("content-type").cloned();
        let body = response.body_mut().with_config().limit(u64::MAX);
        Ok((content_type, body.read_to_vec()?))
    })?;
    match answer {
        Answer::Whole((content_type, body)) => {
            let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
            let mut line = Entry::line(key, content_type.unwrap_or_default(), &body);
            line.push(b'\n');
            Ok(Some(line))
        }
        // Any other 404 is not the server's.
        Answer::Refused(404, problem) if problem.code == "key_not_found" => Ok(None),
        Answer::Refused(status, problem) => Err(refused(status, problem)),
    }
}

/// Whether to wait for a server that takes no connections.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    Fails,
    MayReturn,
}

enum Answer<T> {
    Whole(T),
    Refused(u16, Problem),
}

/// Asks until there is a whole answer or a refusal that lasts, within [`ATTEMPTS`].
fn ask<T>(
    client: &Client,
    path: &str,
    absent: Absent,
    read: impl Fn(&mut Response<Body>) -> Result<T, ureq::Error>,
) -> Result<Answer<T>, ClientError> {
    let mut attempt = 1;
    loop {
        let pause = (PAUSE * (1 << (attempt - 1))).min(PAUSE_MAX);
        let is_last = attempt == ATTEMPTS;
        let answer = client.get(path).call().and_then(|mut response| {
            let status = response.status().as_u16();
            match status {
                200 => read(&mut response).map(|whole| (Answer::Whole(whole), pause)),
                _ => {
                    let pause = retry_after(&response).unwrap_or(pause);
                    let refused = Answer::Refused(status, problem(&mut response));
                    Ok((refused, pause))
                }
            }
        });
        let pause = match answer {
            Ok((Answer::Refused(408 | 429 | 502..=504, _), pause)) if !is_last => pause,
            Ok((answer, _)) => return Ok(answer),
            Err(error) => {
                let fails = !passes(&error);
                let error = client.lost(error);
                if is_last || fails || (absent == Absent::Fails && error.never_connected()) {
                    return Err(error);
                }
                pause
            }
        };
        sleep(pause);
        attempt += 1;
    }
}

/// Whether an error may not come again.
fn passes(error: &ureq::Error) -> bool {
    match error {
        // A certificate that is not trusted comes as this one.
        ureq::Error::Io(error) => error.kind() != io::ErrorKind::InvalidData,
        ureq::Error::Protocol(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_) => true,
        _ => false,
    }
}

fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let header = response.headers().get("retry-after")?;
    let seconds = header.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn refused(status: u16, problem: Problem) -> ClientError {
    ClientError::Refused {
        status,
        detail: problem.detail,
    }
}
