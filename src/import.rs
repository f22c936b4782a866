//! `kvstore import`: sets many keys of a running server from lines of JSON.
//!
//! The lines go as they are, in requests of about a megabyte, one after the other, so that after a
//! failure the number of applied lines is known exactly.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Uri;

/// How large a request grows before it is sent, in bytes.
const REQUEST_BYTES: usize = 1024 * 1024;

/// How long the server may take for a request.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to import, and where.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// A file of lines {"key": …, "value": …} or {"key": …, "content_type": …, "base64": …};
    /// - for standard input
    file: PathBuf,
    /// The server
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    url: Uri,
}

/// Why an import ended early, and how much of it was applied.
#[derive(Debug, thiserror::Error)]
#[error(
    "{cause}; {applied} lines were applied ({created} keys created, {updated} updated){unknown}"
)]
pub struct ImportError {
    cause: Box<Cause>,
    applied: u64,
    created: u64,
    updated: u64,
    unknown: &'static str,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("cannot read {0}: {1}")]
    Input(PathBuf, io::Error),
    #[error("{0} is not a server's address: give one such as http://127.0.0.1:8000")]
    Url(Uri),
    #[error("the server at {0} does not answer: {1}")]
    Transport(Uri, Box<ureq::Error>),
    #[error("the server refused line {line} with {status}: {detail}")]
    Refused {
        line: u64,
        status: u16,
        detail: String,
    },
}

/// What the server answers to a bulk body.
#[derive(Default, Deserialize)]
#[serde(default)]
struct BulkResponse {
    created: u64,
    updated: u64,
    line: u64,
    detail: String,
}

/// Imports all lines and says on standard error how far it is.
///
/// # Errors
/// Where the input cannot be read, the server does not answer, or it refuses a line.
pub fn import(arguments: &ImportArguments) -> Result<(), ImportError> {
    let mut import = Import::new(arguments);
    import.run().map_err(|cause| ImportError {
        unknown: match &cause {
            Cause::Transport(_, error) if !never_connected(error) => {
                "; whether those of the last request were is unknown"
            }
            Cause::Transport(..) | Cause::Input(..) | Cause::Url(_) | Cause::Refused { .. } => "",
        },
        cause: Box::new(cause),
        applied: import.created + import.updated,
        created: import.created,
        updated: import.updated,
    })
}

/// An import under way.
struct Import<'a> {
    arguments: &'a ImportArguments,
    agent: Agent,
    /// Lines of the requests that were answered.
    lines: u64,
    created: u64,
    updated: u64,
}

impl<'a> Import<'a> {
    fn new(arguments: &'a ImportArguments) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Self {
            arguments,
            agent: config.into(),
            lines: 0,
            created: 0,
            updated: 0,
        }
    }

    fn run(&mut self) -> Result<(), Cause> {
        let target = self.target()?;
        let (mut input, progress) = self.open()?;
        let unreadable = |error| Cause::Input(self.arguments.file.clone(), error);
        let mut body = Vec::with_capacity(REQUEST_BYTES * 2);
        let mut lines = 0;
        loop {
            let read = input.read_until(b'\n', &mut body).map_err(unreadable)?;
            lines += u64::from(read > 0);
            if body.len() >= REQUEST_BYTES || (read == 0 && !body.is_empty()) {
                self.send(&target, &body)?;
                self.lines += lines;
                progress.inc(body.len() as u64);
                progress.set_message(format!("{} keys", self.created + self.updated));
                body.clear();
                lines = 0;
            }
            if read == 0 {
                break;
            }
        }
        progress.finish();
        eprintln!(
            "{} lines: {} keys created, {} updated",
            self.lines, self.created, self.updated
        );
        Ok(())
    }

    /// Where the lines go. The path is taken as it is, never normalised.
    fn target(&self) -> Result<String, Cause> {
        let url = &self.arguments.url;
        match (url.scheme_str(), url.authority()) {
            (Some("http"), Some(authority)) => {
                let path = url.path().trim_end_matches('/');
                Ok(format!("http://{authority}{path}/set"))
            }
            _ => Err(Cause::Url(url.clone())),
        }
    }

    fn open(&self) -> Result<(Box<dyn BufRead>, ProgressBar), Cause> {
        let path = &self.arguments.file;
        if path.as_os_str() == "-" {
            return Ok((Box::new(io::stdin().lock()), bar(None)));
        }
        let unreadable = |error| Cause::Input(path.clone(), error);
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        Ok((Box::new(BufReader::new(file)), bar(Some(bytes))))
    }

    fn send(&mut self, target: &str, body: &[u8]) -> Result<(), Cause> {
        let lost = |error| Cause::Transport(self.arguments.url.clone(), Box::new(error));
        let request = self.agent.post(target);
        let request = request.header("Content-Type", "application/x-ndjson");
        let mut response = request.send(body).map_err(lost)?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(lost)?;
        let answer: BulkResponse = serde_json::from_str(&text).unwrap_or_default();
        self.created += answer.created;
        self.updated += answer.updated;
        if status.is_success() {
            return Ok(());
        }
        Err(Cause::Refused {
            line: self.lines + answer.line,
            status: status.as_u16(),
            detail: if answer.detail.is_empty() {
                "without saying why".into()
            } else {
                answer.detail
            },
        })
    }
}

/// Whether the request surely did not reach the server.
fn never_connected(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => true,
        _ => false,
    }
}

/// A bar where the size is known, else a counter.
fn bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (
            ProgressBar::new(bytes),
            "{wide_bar} {bytes}/{total_bytes} {msg} {eta}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg}"),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.expect("the templates are valid"))
}
